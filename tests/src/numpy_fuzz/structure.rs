//! Expressions of a type from arrays of other shapes: reductions and scans, products, views, joins, gathers.

use super::expressions::{LARGEST, tuple};
use super::generate::Draft;
use super::program::{Expr, Type};
use moat_optimizer::value::dtype::DType;

impl Draft {
    /// A reduction that keeps an axis as one of extent 1.
    fn kept(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let axis = shape.iter().position(|&extent| extent == 1)?;
        let mut source = shape.to_vec();
        source[axis] = self.extent().max(1);
        let name = match of.dtype {
            DType::Bool => self.choose(&["any", "all"]),
            DType::F32 | DType::F64 => self.choose(&["sum", "mean", "max", "min", "var"]),
            DType::I64 => self.choose(&["sum", "max", "min", "argmax"]),
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::F16 | DType::BF16 => self.choose(&["max", "min"]),
        };
        if source.iter().product::<usize>() > LARGEST {
            return None;
        }
        let part = self.value(&Type::fixed(&source, of.dtype), depth);
        let text = if self.below(3) == 0 {
            format!("({{}}).{name}(axis={axis}, keepdims=True)")
        } else {
            format!("np.{name}({{}}, axis={axis}, keepdims=True)")
        };
        Some(Expr::new("keepdims", text, vec![part], of.clone()))
    }

    pub(super) fn reduction(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if shape.contains(&1) && self.below(2) == 0 {
            return self.kept(of, shape, depth);
        }
        let count = if shape.len() < 3 { 1 + self.below(2.min(3 - shape.len())) } else { return None };
        let mut source = shape.to_vec();
        let mut axes = Vec::new();
        for _ in 0..count {
            let at = self.below(source.len() + 1);
            let extent = self.extent();
            source.insert(at, extent);
            axes.iter_mut().filter(|axis| **axis >= at).for_each(|axis| *axis += 1);
            axes.push(at);
        }
        if source.iter().product::<usize>() > LARGEST {
            return None;
        }
        let reduced: usize = axes.iter().map(|&axis| source[axis]).product();
        let (what, names, dtypes): (&'static str, &[&str], &[DType]) = match of.dtype {
            DType::Bool => ("any", &["any", "all"], &[DType::Bool, DType::Bool, DType::F64, DType::I64]),
            DType::F64 if self.below(4) == 0 => {
                ("mean", &["mean", "var", "std"], &[DType::F64, DType::I64, DType::I32])
            }
            DType::F32 if self.below(4) == 0 => ("mean", &["mean", "var", "std"], &[DType::F32]),
            DType::F32 | DType::F64 | DType::I32 | DType::I64 if reduced > 0 && self.below(3) == 0 => {
                ("max", &["max", "min", "amax", "amin"], &[])
            }
            DType::F32 | DType::F64 => ("sum", &["sum", "sum", "sum", "prod"], &[]),
            DType::I64 => ("sum", &["sum", "sum", "prod"], &[DType::I64, DType::I32, DType::Bool]),
            DType::I32 | DType::I8 | DType::U8 | DType::I16 | DType::F16 | DType::BF16 => return None,
        };
        let dtype = if dtypes.is_empty() { of.dtype } else { self.choose(dtypes) };
        let name = self.choose(names);
        let part = self.value(&Type::fixed(&source, dtype), depth);
        let all = axes.len() == source.len();
        let mut axes: Vec<String> =
            axes.iter()
                .map(|&axis| {
                    if self.below(4) == 0 { (axis as i64 - source.len() as i64).to_string() } else { axis.to_string() }
                })
                .collect();
        let axis = if all && self.below(3) > 0 {
            String::new()
        } else if let [axis] = axes.as_slice() {
            format!("axis={axis}")
        } else {
            axes.sort();
            format!("axis=({})", axes.join(", "))
        };
        let method = !name.starts_with("am") && self.below(3) == 0;
        let ufunc = match name {
            "sum" => Some("add"),
            "prod" => Some("multiply"),
            "max" => Some("maximum"),
            "min" => Some("minimum"),
            _ => None,
        };
        let comma = if axis.is_empty() || method { "" } else { ", " };
        if let Some(ufunc) = ufunc.filter(|_| source.len() == 1 && self.below(4) == 0 && dtype == of.dtype) {
            return Some(Expr::new("ufunc.reduce", format!("np.{ufunc}.reduce({{}})"), vec![part], of.clone()));
        }
        let text = if method { format!("({{}}).{name}({axis})") } else { format!("np.{name}({{}}{comma}{axis})") };
        Some(Expr::new(what, text, vec![part], of.clone()))
    }

    pub(super) fn scan(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if shape.is_empty() || of.dtype == DType::Bool {
            return None;
        }
        let axis = self.below(shape.len());
        let part = self.value(of, depth);
        let sums = of.dtype != DType::I32;
        let text = match self.below(5) {
            0 | 1 if sums => format!("np.cumsum({{}}, axis={axis})"),
            2 if sums => format!("np.cumprod({{}}, axis={axis})"),
            3 if sums && shape.len() == 1 => "({}).cumsum()".to_owned(),
            3 if sums => format!("np.add.accumulate({{}}, axis={axis})"),
            _ => format!("np.{}.accumulate({{}}, axis={axis})", self.choose(&["maximum", "minimum"])),
        };
        Some(Expr::new("scan", text, vec![part], of.clone()))
    }

    /// `@`, `dot`, `matmul`.
    pub(super) fn product(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if of.dtype == DType::Bool {
            return None;
        }
        let k = self.extent();
        let (a, b): (Vec<usize>, Vec<usize>) = match shape {
            [] => (vec![k], vec![k]),
            [n] => {
                if self.below(2) == 0 {
                    (vec![*n, k], vec![k])
                } else {
                    (vec![k], vec![k, *n])
                }
            }
            [m, n] => (vec![*m, k], vec![k, *n]),
            [p, m, n] => {
                if self.below(2) == 0 {
                    (vec![*p, *m, k], vec![*p, k, *n])
                } else {
                    (vec![*p, *m, k], vec![k, *n])
                }
            }
            _ => return None,
        };
        if a.iter().product::<usize>() > LARGEST || b.iter().product::<usize>() > LARGEST {
            return None;
        }
        let rank = shape.len();
        let (x, y) = (self.value(&Type::fixed(&a, of.dtype), depth), self.value(&Type::fixed(&b, of.dtype), depth));
        let text = match self.below(5) {
            0 if rank < 3 => "np.dot({}, {})",
            1 => "np.matmul({}, {})",
            2 if rank < 3 && self.below(2) == 0 => "({}).dot({})",
            _ => "({} @ {})",
        };
        Some(Expr::new("matmul", text, vec![x, y], of.clone()))
    }

    /// `einsum`, `tensordot`, `outer`, `inner`, `vdot`, `trace`.
    pub(super) fn contraction(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if of.dtype == DType::Bool {
            return None;
        }
        let k = self.extent();
        let (what, text, shapes): (&'static str, String, Vec<Vec<usize>>) = match (shape, self.below(4)) {
            ([], 0) => ("trace", "np.trace({})".to_owned(), vec![vec![k.max(1), k.max(1)]]),
            ([], 1) => ("vdot", "np.vdot({}, {})".to_owned(), vec![vec![k], vec![k]]),
            ([], 2) => ("einsum", "np.einsum('i,i->', {}, {})".to_owned(), vec![vec![k], vec![k]]),
            ([], _) => ("einsum", "np.einsum('ii', {})".to_owned(), vec![vec![k, k]]),
            ([n], 0) => ("einsum", "np.einsum('ij,j->i', {}, {})".to_owned(), vec![vec![*n, k], vec![k]]),
            ([n], 1) => ("einsum", "np.einsum('ji,j', {}, {})".to_owned(), vec![vec![k, *n], vec![k]]),
            ([n], 2) => ("tensordot", "np.tensordot({}, {}, axes=1)".to_owned(), vec![vec![*n, k], vec![k]]),
            ([n], _) => ("einsum", "np.einsum('ii->i', {})".to_owned(), vec![vec![*n, *n]]),
            ([m, n], 0) => ("outer", "np.outer({}, {})".to_owned(), vec![vec![*m], vec![*n]]),
            ([m, n], 1) => {
                let ufunc = self.choose(&["add", "subtract", "multiply", "maximum", "minimum"]);
                ("ufunc.outer", format!("np.{ufunc}.outer({{}}, {{}})"), vec![vec![*m], vec![*n]])
            }
            ([m, n], 2) => ("inner", "np.inner({}, {})".to_owned(), vec![vec![*m, k], vec![*n, k]]),
            ([m, n], _) => {
                let (subscripts, a, b) = self.choose(&[
                    ("ik,kj->ij", [0, 2], [2, 1]),
                    ("ki,kj->ij", [2, 0], [2, 1]),
                    ("ik,jk->ij", [0, 2], [1, 2]),
                    ("...k,kj", [0, 2], [2, 1]),
                ]);
                let extents = [*m, *n, k];
                let shapes = vec![a.iter().map(|&at| extents[at]).collect(), b.iter().map(|&at| extents[at]).collect()];
                ("einsum", format!("np.einsum('{subscripts}', {{}}, {{}})"), shapes)
            }
            ([p, m, n], 0 | 1) => {
                ("tensordot", "np.tensordot({}, {}, axes=([1], [0]))".to_owned(), vec![vec![*p, k], vec![k, *m, *n]])
            }
            ([p, m, n], _) => {
                ("einsum", "np.einsum('bik,bkj->bij', {}, {})".to_owned(), vec![vec![*p, *m, k], vec![*p, k, *n]])
            }
            _ => return None,
        };
        if shapes.iter().any(|shape| shape.iter().product::<usize>() > LARGEST)
            || (what == "trace" && of.dtype == DType::I32)
        {
            return None;
        }
        let parts = shapes.iter().map(|shape| self.value(&Type::fixed(shape, of.dtype), depth)).collect();
        Some(Expr::new(what, text, parts, of.clone()))
    }

    pub(super) fn transposed(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let rank = shape.len();
        if rank < 2 {
            return None;
        }
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        let swapped = |a: usize, b: usize| {
            let mut own = shape.to_vec();
            own.swap(a, b);
            own
        };
        let (a, b) = (self.below(rank), self.below(rank));
        let (text, own): (String, Vec<usize>) = match self.below(6) {
            0 | 1 => ("({}).T".to_owned(), reversed),
            2 => ("np.transpose({})".to_owned(), reversed),
            3 => (format!("np.swapaxes({{}}, {a}, {b})"), swapped(a, b)),
            4 if rank == 3 => ("np.transpose({}, (1, 2, 0))".to_owned(), vec![shape[2], shape[0], shape[1]]),
            4 => (format!("({{}}).swapaxes({a}, {b})"), swapped(a, b)),
            _ => ("np.moveaxis({}, 0, -1)".to_owned(), {
                let mut own = vec![shape[rank - 1]];
                own.extend(&shape[..rank - 1]);
                own
            }),
        };
        let part = self.value(&Type::fixed(&own, of.dtype), depth);
        Some(Expr::new("transpose", text, vec![part], of.clone()))
    }

    pub(super) fn reshaped(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let size: usize = shape.iter().product();
        let (text, own): (String, Vec<usize>) = match self.below(4) {
            0 if shape.len() == 1 => {
                let split = (2..size.max(2)).find(|by| size.is_multiple_of(*by)).unwrap_or(1);
                let text = self.choose(&["np.ravel({})", "({}).ravel()", "({}).flatten()", "({}).reshape(-1)"]);
                (text.to_owned(), vec![size / split.max(1), split])
            }
            1 if shape.contains(&1) && shape.len() > 1 => {
                let axis = shape.iter().position(|&extent| extent == 1)?;
                let mut own = shape.to_vec();
                own.remove(axis);
                (format!("np.expand_dims({{}}, {axis})"), own)
            }
            2 if shape.len() < 3 && !shape.contains(&1) => {
                let axis = self.below(shape.len() + 1);
                let mut own = shape.to_vec();
                own.insert(axis, 1);
                (format!("np.squeeze({{}}, {axis})"), own)
            }
            _ if !shape.is_empty() => {
                let own = if shape.len() == 1 || self.below(2) == 0 {
                    vec![size]
                } else {
                    let mut own = shape.to_vec();
                    own.reverse();
                    own
                };
                let shown = tuple(shape);
                let text = match self.below(3) {
                    0 => format!("np.reshape({{}}, {shown})"),
                    1 if shape.len() > 1 && size > 0 => {
                        let rest: Vec<String> = shape[1..].iter().map(usize::to_string).collect();
                        format!("({{}}).reshape(-1, {})", rest.join(", "))
                    }
                    _ => format!("({{}}).reshape({shown})"),
                };
                (text, own)
            }
            _ => return None,
        };
        let part = self.value(&Type::fixed(&own, of.dtype), depth);
        Some(Expr::new("reshape", text, vec![part], of.clone()))
    }

    pub(super) fn sliced(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let mut own: Vec<usize> = Vec::new();
        for &extent in shape {
            let more = self.below(4);
            own.push(extent + more);
        }
        if own.len() < 3 && (own.is_empty() || self.below(3) == 0) {
            let at = self.below(own.len() + 1);
            let extent = self.extent().max(1);
            own.insert(at, extent);
        }
        if own.iter().product::<usize>() > LARGEST {
            return None;
        }
        let subscript = self.subscript(&own, shape)?;
        let part = self.value(&Type::fixed(&own, of.dtype), depth);
        Some(Expr::new("slice", format!("({{}})[{subscript}]"), vec![part], of.clone()))
    }

    pub(super) fn joined(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if shape.is_empty() {
            return None;
        }
        let axis = self.below(shape.len());
        if self.below(2) == 0 && shape[axis] > 0 && shape[axis] <= 3 {
            let mut own = shape.to_vec();
            let count = own.remove(axis);
            let parts: Vec<Expr> = (0..count).map(|_| self.value(&Type::fixed(&own, of.dtype), depth)).collect();
            let list = vec!["{}"; count].join(", ");
            let text = match axis {
                0 if own.is_empty() && of.dtype != DType::Bool && self.below(2) == 0 => format!("np.array([{list}])"),
                0 if !own.is_empty() && own.len() == 1 && self.below(3) == 0 => format!("np.vstack(({list},))"),
                _ => format!("np.stack([{list}], axis={axis})"),
            };
            return Some(Expr::new("stack", text, parts, of.clone()));
        }
        let cut = self.below(shape[axis] + 1);
        let (mut a, mut b) = (shape.to_vec(), shape.to_vec());
        (a[axis], b[axis]) = (cut, shape[axis] - cut);
        let parts = vec![self.value(&Type::fixed(&a, of.dtype), depth), self.value(&Type::fixed(&b, of.dtype), depth)];
        let text = if shape.len() == 1 && self.below(3) == 0 {
            "np.hstack([{}, {}])".to_owned()
        } else if axis == 0 && self.below(2) == 0 {
            "np.concatenate(({}, {}))".to_owned()
        } else {
            format!("np.concatenate([{{}}, {{}}], axis={axis})")
        };
        Some(Expr::new("concatenate", text, parts, of.clone()))
    }

    /// `flip`, `roll`, `pad`, `tril`, `triu`.
    pub(super) fn moved(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if shape.is_empty() {
            return None;
        }
        let axis = self.below(shape.len());
        let shift = self.below(7) as i64 - 3;
        match self.below(5) {
            0 => {
                let text = if self.below(2) == 0 { format!("np.flip({{}}, {axis})") } else { "np.flip({})".to_owned() };
                let part = self.value(of, depth);
                Some(Expr::new("flip", text, vec![part], of.clone()))
            }
            1 => {
                let part = self.value(of, depth);
                Some(Expr::new("roll", format!("np.roll({{}}, {shift}, axis={axis})"), vec![part], of.clone()))
            }
            2 | 3 if shape.len() == 2 => {
                let part = self.value(of, depth);
                let name = self.choose(&["tril", "triu"]);
                Some(Expr::new("tri", format!("np.{name}({{}}, {})", shift.clamp(-2, 2)), vec![part], of.clone()))
            }
            _ => {
                if of.dtype == DType::Bool {
                    return None;
                }
                let mut widths = Vec::new();
                let mut own = Vec::new();
                for &extent in shape {
                    let before = self.below(extent.min(2) + 1);
                    let after = self.below((extent - before).min(2) + 1);
                    own.push(extent - before - after);
                    widths.push(format!("({before}, {after})"));
                }
                let part = self.value(&Type::fixed(&own, of.dtype), depth);
                let value = if self.below(2) == 0 {
                    String::new()
                } else {
                    format!(", constant_values={}", self.number(of.dtype))
                };
                let text = format!("np.pad({{}}, ({},){value})", widths.join(", "));
                Some(Expr::new("pad", text, vec![part], of.clone()))
            }
        }
    }

    pub(super) fn diagonal(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        match shape {
            [n] if *n > 0 => {
                let more = self.below(3);
                let (rows, columns) = if self.below(2) == 0 { (*n, n + more) } else { (n + more, *n) };
                let part = self.value(&Type::fixed(&[rows, columns], of.dtype), depth);
                let text = self.choose(&["np.diagonal({})", "np.diag({})", "({}).diagonal()"]);
                Some(Expr::new("diagonal", text, vec![part], of.clone()))
            }
            [m, n] if m == n => {
                let part = self.value(&Type::fixed(&[*m], of.dtype), depth);
                Some(Expr::new("diagonal", "np.diag({})", vec![part], of.clone()))
            }
            _ => None,
        }
    }

    pub(super) fn window(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let view = "np.lib.stride_tricks.sliding_window_view";
        match shape {
            [m, n] if *n > 0 && *m > 0 => {
                let part = self.value(&Type::fixed(&[m + n - 1], of.dtype), depth);
                Some(Expr::new("window", format!("{view}({{}}, {n})"), vec![part], of.clone()))
            }
            [p, m, n] if *n > 0 && *m > 0 => {
                let axis = self.below(2);
                let own = if axis == 0 { [p + n - 1, *m] } else { [*p, m + n - 1] };
                if *p == 0 {
                    return None;
                }
                let part = self.value(&Type::fixed(&own, of.dtype), depth);
                Some(Expr::new("window", format!("{view}({{}}, {n}, axis={axis})"), vec![part], of.clone()))
            }
            _ => None,
        }
    }

    /// By an array of indices.
    pub(super) fn gathered(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        let extent = self.extent().max(1);
        let (index_shape, own): (Vec<usize>, Vec<usize>) = match shape {
            [] => (vec![], vec![extent]),
            [first, rest @ ..] => {
                let mut own = vec![extent];
                own.extend(rest);
                (vec![*first], own)
            }
        };
        if own.iter().product::<usize>() > LARGEST {
            return None;
        }
        let index = self.indices(&index_shape, extent, depth);
        let part = self.value(&Type::fixed(&own, of.dtype), depth);
        let text = match self.below(4) {
            0 => "np.take({}, {}, axis=0)",
            1 if shape.len() > 1 => "({})[{}, ...]",
            _ => "({})[{}]",
        };
        Some(Expr::new("gather", text, vec![part, index], of.clone()))
    }

    pub(super) fn broadcast(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if shape.is_empty() {
            return None;
        }
        let from = self.below(shape.len() + 1);
        let mut own = shape[from..].to_vec();
        for extent in &mut own {
            if self.below(2) == 0 {
                *extent = 1;
            }
        }
        let part = self.value(&Type::fixed(&own, of.dtype), depth);
        Some(Expr::new("broadcast_to", format!("np.broadcast_to({{}}, {})", tuple(shape)), vec![part], of.clone()))
    }

    /// `argmax`, `argmin`.
    pub(super) fn position(&mut self, of: &Type, shape: &[usize], depth: usize) -> Option<Expr> {
        if of.dtype != DType::I64 || shape.len() > 2 {
            return None;
        }
        let axis = self.below(shape.len() + 1);
        let mut own = shape.to_vec();
        let extent = self.extent().max(1);
        own.insert(axis, extent);
        if own.iter().product::<usize>() > LARGEST {
            return None;
        }
        let dtype = self.choose(&[DType::F64, DType::F32, DType::I64, DType::I32]);
        let part = self.value(&Type::fixed(&own, dtype), depth);
        let name = self.choose(&["argmax", "argmin"]);
        Some(Expr::new("argmax", format!("np.{name}({{}}, axis={axis})"), vec![part], of.clone()))
    }
}
