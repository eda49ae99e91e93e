//! Random expressions of a type that is asked for: arrays of that shape and dtype, from arrays that there are, new
//! parameters and constants.
//!
//! Each production gives an expression of exactly the type, by NumPy's rules of broadcasting and promotion, or nothing.

use super::generate::{Draft, Kind};
use super::program::{Dim, Expr, Type};
use moat_optimizer::value::dtype::DType;

/// The most elements of an array.
pub(super) const LARGEST: usize = 400;

/// The name of an element type in a program.
pub(super) fn numpy_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "np.float32",
        DType::F64 => "np.float64",
        DType::I32 => "np.int32",
        DType::I64 => "np.int64",
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::F16 | DType::BF16 => "np.bool_",
    }
}

/// A tuple as Python writes it.
pub(super) fn tuple(items: &[usize]) -> String {
    let items: Vec<String> = items.iter().map(usize::to_string).collect();
    if let [one] = items.as_slice() { format!("({one},)") } else { format!("({})", items.join(", ")) }
}

impl Draft {
    /// An expression of exactly this type.
    pub(super) fn value(&mut self, of: &Type, depth: usize) -> Expr {
        if depth > 0 && self.spend() {
            for _ in 0..4 {
                if let Some(expr) = self.production(of, depth - 1) {
                    return expr;
                }
            }
        }
        self.leaf(of)
    }

    fn production(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let Some(shape) = of.extents() else {
            return match self.below(6) {
                0 => self.unary(of, depth),
                1 => self.select(of, depth),
                _ => self.binary(of, depth),
            };
        };
        match self.below(48) {
            0..=10 => self.binary(of, depth),
            11..=14 => self.unary(of, depth),
            15 | 16 => self.select(of, depth),
            17 | 18 => self.cast(of, depth),
            19..=22 => self.reduction(of, &shape, depth),
            23 => self.scan(of, &shape, depth),
            24 | 25 => self.product(of, &shape, depth),
            26 => self.contraction(of, &shape, depth),
            27 | 28 => self.transposed(of, &shape, depth),
            29 => self.reshaped(of, &shape, depth),
            30..=32 => self.sliced(of, &shape, depth),
            33 | 34 => self.joined(of, &shape, depth),
            35 => self.moved(of, &shape, depth),
            36 => self.diagonal(of, &shape, depth),
            37 => self.window(of, &shape, depth),
            38..=40 => self.gathered(of, &shape, depth),
            41 => Some(self.created(of, &shape)),
            42 | 43 => self.helped(of, depth),
            44 => self.clipped(of, depth),
            45 => self.broadcast(of, &shape, depth),
            46 => self.chosen(of, depth),
            _ => self.position(of, &shape, depth),
        }
    }

    /// A variable, an element or part of one, a new parameter, or a constant.
    pub(super) fn leaf(&mut self, of: &Type) -> Expr {
        if of.extents().is_none() {
            return self.live_leaf(of);
        }
        let shape = of.extents().unwrap_or_default();
        let fitting: Vec<usize> = (0..self.vars.len()).filter(|&at| self.vars[at].of == *of).collect();
        if !fitting.is_empty() && self.below(10) > 0 {
            let at = self.choose(&fitting);
            return Expr::new("name", self.vars[at].name.clone(), vec![], of.clone());
        }
        if shape.is_empty()
            && self.below(3) > 0
            && let Some(element) = self.element(of.dtype)
        {
            return element;
        }
        if self.below(3) > 0
            && let Some(part) = self.part_of_variable(of, &shape)
        {
            return part;
        }
        if self.params.len() < 6 && of.size() <= LARGEST && self.below(5) > 0 {
            return self.parameter(&shape, of.dtype);
        }
        if let Some(part) = self.part_of_variable(of, &shape) {
            return part;
        }
        self.of_another_dtype(of).unwrap_or_else(|| self.created(of, &shape))
    }

    /// A variable of the shape, cast.
    fn of_another_dtype(&mut self, of: &Type) -> Option<Expr> {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                let whole = !(var.of.dtype.is_float() && of.dtype.is_int());
                var.of.shape == of.shape && var.kind == Kind::Array && whole
            })
            .collect();
        if fitting.is_empty() || self.below(8) == 0 {
            return None;
        }
        let at = self.choose(&fitting);
        let var = self.vars[at].clone();
        let part = Expr::new("name", var.name, vec![], var.of);
        Some(Expr::new("cast", format!("({{}}).astype({})", numpy_name(of.dtype)), vec![part], of.clone()))
    }

    /// An element of an array at indices that are in range.
    pub(super) fn element(&mut self, dtype: DType) -> Option<Expr> {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                let some = !var.of.shape.is_empty() && var.of.size() > 0;
                some && var.of.dtype == dtype && var.kind == Kind::Array
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let at = self.choose(&fitting);
        let (name, shape) = (self.vars[at].name.clone(), self.vars[at].of.extents()?);
        let index: Vec<String> = shape.iter().map(|&extent| self.index(extent)).collect();
        let separate = index.len() > 1 && self.below(8) == 0;
        let index = index.join(if separate { "][" } else { ", " });
        Some(Expr::new("element", format!("{name}[{index}]"), vec![], Type::fixed(&[], dtype)))
    }

    /// An index into an axis: affine in loop variables where one fits, or a constant.
    pub(super) fn index(&mut self, extent: usize) -> String {
        let extent = extent as i64;
        if !self.loops.is_empty() && self.below(4) > 0 {
            let at = self.below(self.loops.len());
            let (name, low, high) = (self.loops[at].name.clone(), self.loops[at].low, self.loops[at].high);
            let offset = self.choose(&[0, 0, 0, -1, 1, 2, -2]);
            if low + offset >= 0 && high + offset < extent {
                return match offset {
                    0 => name,
                    o if o < 0 => format!("{name} - {}", -o),
                    o => format!("{name} + {o}"),
                };
            }
            if low >= 0 && high < extent && self.below(2) == 0 {
                return if self.below(2) == 0 { format!("{} - {name}", extent - 1) } else { format!("-1 - {name}") };
            }
            if 2 * low >= 0 && 2 * high < extent {
                return format!("2 * {name}");
            }
            if low >= 0 && high < extent {
                return name;
            }
        }
        let at = self.below(extent as usize) as i64;
        if self.below(4) == 0 { (at - extent).to_string() } else { at.to_string() }
    }

    /// A slice of one axis of `extent` that has `length` elements, by a constant step.
    pub(super) fn slice(&mut self, extent: usize, length: usize) -> Option<String> {
        let (extent, length) = (extent as i64, length as i64);
        if length > extent {
            return None;
        }
        if length == extent && self.below(3) > 0 {
            return Some(if self.below(4) == 0 { "::-1".to_owned() } else { ":".to_owned() });
        }
        if length == 0 {
            return Some(self.choose(&["0:0", "3:1", "-1:0", ":0"]).to_owned());
        }
        let most = if length > 1 { (extent - 1) / (length - 1) } else { 3 };
        let step = 1 + self.below(most.clamp(1, 3) as usize) as i64;
        let span = (length - 1) * step + 1;
        let start = self.below((extent - span + 1) as usize) as i64;
        if step == 1 {
            // A loop's variable may say where it begins.
            let fitting: Vec<usize> = (0..self.loops.len())
                .filter(|&at| self.loops[at].low >= 0 && self.loops[at].high + length <= extent)
                .collect();
            if !fitting.is_empty() && self.below(3) > 0 {
                let at = self.choose(&fitting);
                let name = &self.loops[at].name;
                return Some(format!("{name}:{name} + {length}"));
            }
        }
        // Up to any end that adds no element.
        let end = start + span + self.below(step as usize) as i64;
        Some(match self.below(5) {
            0 => {
                let last = start + span - 1;
                let stop = if start == 0 { String::new() } else { (start - 1).to_string() };
                format!("{last}:{stop}:-{step}")
            }
            1 if end < extent => format!("{start}:{}:{step}", end - extent),
            2 if end >= extent => format!("{}::{step}", start - extent),
            3 if start == 0 && step == 1 => format!(":{end}"),
            _ if step == 1 && end >= extent => format!("{start}:"),
            _ if step == 1 => format!("{start}:{end}"),
            _ => format!("{start}:{end}:{step}"),
        })
    }

    /// A slice of a variable that has the type.
    pub(super) fn part_of_variable(&mut self, of: &Type, shape: &[usize]) -> Option<Expr> {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                var.kind == Kind::Array
                    && var.of.dtype == of.dtype
                    && var.of.shape.len() >= shape.len()
                    && !var.of.shape.is_empty()
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        for _ in 0..3 {
            let at = self.choose(&fitting);
            let (name, own) = (self.vars[at].name.clone(), self.vars[at].of.extents()?);
            if let Some(subscript) = self.subscript(&own, shape) {
                return Some(Expr::new("slice", format!("{name}[{subscript}]"), vec![], of.clone()));
            }
        }
        None
    }

    /// A subscript of an array of shape `own` that selects `shape`: slices, and an index for each axis that goes.
    pub(super) fn subscript(&mut self, own: &[usize], shape: &[usize]) -> Option<String> {
        let mut gone = own.len().checked_sub(shape.len())?;
        let mut wanted = shape.iter();
        let mut parts = Vec::new();
        for (at, &extent) in own.iter().enumerate() {
            let left = own.len() - at;
            if gone > 0 && extent > 0 && (gone == left || self.below(left) < gone) {
                parts.push(self.index(extent));
                gone -= 1;
            } else {
                parts.push(self.slice(extent, *wanted.next()?)?);
            }
        }
        if gone > 0 || wanted.next().is_some() {
            return None;
        }
        while parts.len() > 1 && parts.last().is_some_and(|part| part == ":") && self.below(2) == 0 {
            parts.pop();
        }
        if parts.len() > 1
            && parts.first().is_some_and(|part| part == ":")
            && self.below(3) == 0
            && parts.len() == own.len()
        {
            parts[0] = "...".to_owned();
        }
        Some(parts.join(", "))
    }

    /// Parts of arrays whose live axes are cut by the same slices.
    fn live_leaf(&mut self, of: &Type) -> Expr {
        let live: Vec<Dim> = of.shape.iter().copied().filter(|dim| dim.live > 0).collect();
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                let extents = var.of.extents().unwrap_or_default();
                var.kind == Kind::Array
                    && var.of.dtype == of.dtype
                    && live.iter().all(|dim| extents.contains(&dim.size))
                    && extents.iter().all(|&extent| extent > 0)
            })
            .collect();
        let [dim] = live.as_slice() else { return self.live_parameter(of) };
        if of.shape.len() != 1 || fitting.is_empty() || self.below(10) == 0 {
            return self.live_parameter(of);
        }
        let at = self.choose(&fitting);
        let (name, extents) = (self.vars[at].name.clone(), self.vars[at].of.extents().unwrap_or_default());
        let fits: Vec<usize> = (0..extents.len()).filter(|&axis| extents[axis] == dim.size).collect();
        let axis = self.choose(&fits);
        let cut = self.lives[dim.live - 1].clone();
        let parts: Vec<String> = extents
            .iter()
            .enumerate()
            .map(|(at, &extent)| if at == axis { cut.clone() } else { self.index(extent) })
            .collect();
        Expr::new("live slice", format!("{name}[{}]", parts.join(", ")), vec![], of.clone())
    }

    fn live_parameter(&mut self, of: &Type) -> Expr {
        let shape: Vec<usize> = of.shape.iter().map(|dim| dim.size).collect();
        let cuts: Vec<String> = of
            .shape
            .iter()
            .map(|dim| if dim.live > 0 { self.lives[dim.live - 1].clone() } else { ":".to_owned() })
            .collect();
        let whole = self.parameter(&shape, of.dtype);
        Expr::new("live slice", format!("{}[{}]", whole.text, cuts.join(", ")), vec![], of.clone())
    }

    /// A new array of constants.
    pub(super) fn created(&mut self, of: &Type, shape: &[usize]) -> Expr {
        let dtype = numpy_name(of.dtype);
        let number = self.number(of.dtype);
        let new = |what, text: String| Expr::new(what, text, vec![], of.clone());
        if shape.is_empty() {
            return new("scalar", format!("{dtype}({number})"));
        }
        let size: usize = shape.iter().product();
        let shown = tuple(shape);
        match self.below(7) {
            0 => new("zeros", format!("np.zeros({shown}, dtype={dtype})")),
            1 => new("ones", format!("np.ones({shown}, dtype={dtype})")),
            2 if of.dtype == DType::F64 => new("zeros", format!("np.zeros({shown})")),
            3 if shape.len() == 2 && of.dtype != DType::Bool => {
                let offset = self.below(3) as i64 - 1;
                new("eye", format!("np.eye({}, {}, k={offset}, dtype={dtype})", shape[0], shape[1]))
            }
            4 | 5 if of.dtype != DType::Bool && size > 0 => {
                let start = self.below(5) as i64 - 2;
                let row = if of.dtype == DType::I64 && self.below(2) == 0 {
                    format!("np.arange({start}, {})", start + size as i64)
                } else {
                    format!("np.arange({size}, dtype={dtype})")
                };
                new("arange", if shape.len() == 1 { row } else { format!("{row}.reshape{shown}") })
            }
            6 if shape.len() == 1 && size > 0 && size <= 6 && of.dtype != DType::F32 && of.dtype != DType::I32 => {
                let items: Vec<String> = (0..size).map(|_| self.number(of.dtype)).collect();
                new("array", format!("np.array([{}])", items.join(", ")))
            }
            _ => new("full", format!("np.full({shown}, {number}, dtype={dtype})")),
        }
    }

    /// A Python number that the dtype holds.
    pub(super) fn number(&mut self, dtype: DType) -> String {
        match dtype {
            DType::Bool => self.choose(&["True", "False"]).to_owned(),
            DType::F32 | DType::F64 => {
                self.choose(&["0.5", "2.0", "0.1", "-1.5", "1.0", "3.0", "0.0", "1e-3", "-0.25", "49.0"]).to_owned()
            }
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
                self.choose(&["1", "2", "3", "-1", "7", "0", "-5", "10"]).to_owned()
            }
        }
    }

    /// Something that broadcasts to the type and does not raise its dtype.
    pub(super) fn operand(&mut self, of: &Type, depth: usize) -> Expr {
        let weak = !matches!(of.dtype, DType::Bool);
        match self.below(10) {
            0 | 1 if weak => {
                let text = self.number(of.dtype);
                Expr::bare("number", text)
            }
            2 if weak && !self.loops.is_empty() => {
                let at = self.below(self.loops.len());
                let name = self.loops[at].name.clone();
                let text = match self.below(4) {
                    0 => format!("({name} + 1)"),
                    1 => format!("({name} * 2 - 3)"),
                    _ => name,
                };
                Expr::bare("loop variable", text)
            }
            3 | 4 if !of.shape.is_empty() && of.extents().is_some() => {
                let from = self.below(of.shape.len() + 1);
                let mut shape = of.shape[from..].to_vec();
                for dim in &mut shape {
                    if self.below(4) == 0 {
                        dim.size = 1;
                    }
                }
                let smaller = Type { shape, dtype: of.dtype };
                let value = self.value(&smaller, depth);
                self.with_new_axes(value, of)
            }
            5 => {
                let lower: &[DType] = match of.dtype {
                    DType::F64 => &[DType::F32, DType::I64, DType::I32, DType::Bool],
                    DType::F32 => &[DType::Bool],
                    DType::I64 => &[DType::I32, DType::Bool],
                    DType::I32 => &[DType::Bool],
                    DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::F16 | DType::BF16 => &[DType::Bool],
                };
                let dtype = self.choose(lower);
                self.value(&of.at(dtype), depth)
            }
            _ => self.value(of, depth),
        }
    }

    /// `x[:, None]` for an operand whose axes are the first of the result's, now and then.
    fn with_new_axes(&mut self, value: Expr, of: &Type) -> Expr {
        let Some(shape) = value.of.as_ref().map(|own| own.shape.clone()) else { return value };
        let [dim] = shape.as_slice() else { return value };
        let first = of.shape.first().is_some_and(|first| first == dim);
        if of.shape.len() == 2 && first && self.below(2) == 0 {
            let (axis, name) = self.choose(&[(", None", ":"), (", np.newaxis", ":")]);
            let unit = Type { shape: vec![*dim, Dim { size: 1, live: 0 }], dtype: of.dtype };
            return Expr::new("newaxis", format!("{{}}[{name}{axis}]"), vec![value], unit);
        }
        value
    }

    /// Integers that index an axis: a parameter, or computed ones, made so by a remainder.
    pub(super) fn indices(&mut self, shape: &[usize], extent: usize, depth: usize) -> Expr {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                var.kind == Kind::Index(extent) && var.of.extents().is_some_and(|own| own == shape)
            })
            .collect();
        if !fitting.is_empty() && self.below(4) > 0 {
            let at = self.choose(&fitting);
            let (name, of) = (self.vars[at].name.clone(), self.vars[at].of.clone());
            return Expr { text: name, parts: vec![], of: Some(of), what: "indices" };
        }
        if self.params.len() < 5 && self.below(4) > 0 {
            return self.index_parameter(shape, extent);
        }
        let dtype = self.choose(&[DType::I64, DType::I32]);
        let of = Type::fixed(shape, dtype);
        let part = self.value(&of, depth.min(1));
        Expr::new("computed indices", format!("({{}} % {extent})"), vec![part], of)
    }
}
