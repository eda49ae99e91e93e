//! Element-wise operators over whole arrays: values and error bounds in one pass over rows.
//!
//! Sums of several terms carry their number of terms and Σ|terms| along, because reassociation lets
//! a kernel add them in any order: the n-term bound (n − 1)·u·Σ|xᵢ| replaces the running one from
//! the third term on. Terms that statements before have added count as well: each element of a state
//! has its own number of them.

use super::bounds::{Model, comparison, root_hangs, to_float, unary_roundings, wrapped_bound};
use super::rows::{Operands, binary_row, sum_row};
use super::value::{Numbers, Row, Store, Value, for_rows};
use super::views::broadcast;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, UnaryOp};
use crate::value::scalar_eval::{binary_int, compare, float_to_int, int_to_float, round, unary_int, wrap};

/// A row's bounds, or zeros where there are none.
fn read_bound<'a>(bound: Option<&'a Vec<f64>>, row: Row, length: usize, scratch: &'a mut Vec<f64>) -> &'a [f64] {
    match bound {
        Some(all) => row.read(all, length, scratch),
        None => {
            scratch.clear();
            scratch.resize(length, 0.0);
            scratch
        }
    }
}

/// Drops bounds that are all zero.
fn bound_or_none(bound: Vec<f64>) -> Option<Vec<f64>> {
    bound.iter().any(|b| *b != 0.0).then_some(bound)
}

/// `op a`, of `a`'s type.
pub(super) fn unary(op: UnaryOp, a: &Value, numerics: Numerics) -> Value {
    let model = Model::new(a.dtype, numerics);
    let mut scratch = (Vec::new(), Vec::new());
    let mut bounds = Vec::new();
    let track = a.store.bound.is_some() || a.dtype.is_float() && unary_roundings(op) > 0.0;
    let numbers = match &a.store.numbers {
        Numbers::Int(all) => {
            let mut out = Vec::with_capacity(a.size());
            let mut int_scratch = Vec::new();
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(all, length, &mut int_scratch);
                // `not` of a bool is logical.
                let flip = i64::from(a.dtype == DType::Bool && op == UnaryOp::Not);
                out.extend(x.iter().map(|x| if flip == 1 { 1 - x } else { wrap(a.dtype, unary_int(op, *x)) }));
                if let Some(bound) = &a.store.bound {
                    let b = row.read(bound, length, &mut scratch.1);
                    match op {
                        UnaryOp::Sign => {
                            bounds.extend(x.iter().zip(b).map(|(x, b)| model.unary(op, to_float(*x), *b).1));
                        }
                        UnaryOp::Neg
                        | UnaryOp::Not
                        | UnaryOp::Abs
                        | UnaryOp::Sqrt
                        | UnaryOp::Exp
                        | UnaryOp::Log
                        | UnaryOp::Sin
                        | UnaryOp::Cos
                        | UnaryOp::Tanh
                        | UnaryOp::Erf
                        | UnaryOp::Floor => bounds.extend_from_slice(b),
                    }
                }
            });
            Numbers::Int(out)
        }
        Numbers::Float(all) => {
            let mut out = Vec::with_capacity(a.size());
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(all, length, &mut scratch.0);
                if track {
                    let b = read_bound(a.store.bound.as_ref(), row, length, &mut scratch.1);
                    for (x, b) in x.iter().zip(b) {
                        let (z, bound) = model.unary(op, *x, *b);
                        out.push(z);
                        bounds.push(bound);
                    }
                } else {
                    out.extend(x.iter().map(|x| model.unary(op, *x, 0.0).0));
                }
            });
            Numbers::Float(out)
        }
    };
    let hangs = |(x, b): (&f64, &f64)| root_hangs(op, *x, *b);
    let hangs = match (&a.store.numbers, &a.store.bound) {
        (Numbers::Float(all), Some(bound)) if op == UnaryOp::Sqrt => all.iter().zip(bound).any(hangs),
        (Numbers::Float(_) | Numbers::Int(_), Some(_) | None) => false,
    };
    let keeps_sum = op == UnaryOp::Neg;
    let kept = |all: &Option<Vec<f64>>| all.as_ref().filter(|_| keeps_sum).map(|all| a.gather(all));
    let (magnitude, additions) = (kept(&a.store.magnitude), kept(&a.store.additions));
    let bound = if track { bound_or_none(bounds) } else { None };
    let mut result = Value::new(a.dtype, &a.shape, Store { numbers, bound, magnitude, additions });
    result.traits.hangs = hangs;
    if keeps_sum { Value { terms: a.terms, contraction: a.contraction, ..result } } else { result }
}

/// `a op b`: operands of one shape and type. `magnitude`: a later sum will ask for Σ|terms|.
pub(super) fn binary(op: BinaryOp, a: &Value, b: &Value, numerics: Numerics, magnitude: bool) -> Value {
    match (&a.store.numbers, &b.store.numbers) {
        (Numbers::Float(x), Numbers::Float(y)) if op.is_comparison() => compare_floats(op, a, x, b, y),
        (Numbers::Float(x), Numbers::Float(y)) => binary_floats(op, (a, x), (b, y), numerics, magnitude),
        (Numbers::Int(x), Numbers::Int(y)) => binary_ints(op, a, x, b, y),
        // The program was checked: operands agree in type.
        (Numbers::Int(_), Numbers::Float(_)) | (Numbers::Float(_), Numbers::Int(_)) => a.clone(),
    }
}

/// An operand of an outer product of this shape: the first has the leading axes, the second the trailing ones.
pub(super) fn spread(a: &Value, is_first: bool, shape: &[usize]) -> Value {
    if !is_first {
        return broadcast(a, shape);
    }
    let mut stretched = a.shape.clone();
    let mut strides = a.strides.clone();
    stretched.resize(shape.len(), 1);
    strides.resize(shape.len(), 0);
    broadcast(&a.view(stretched, strides, a.offset), shape)
}

/// Comparisons of floats: a bool and whether it may be the other one.
fn compare_floats(op: BinaryOp, a: &Value, xs: &[f64], b: &Value, ys: &[f64]) -> Value {
    let mut scratch: [Vec<f64>; 4] = Default::default();
    let [s0, s1, s2, s3] = &mut scratch;
    let mut out = Vec::with_capacity(a.size());
    let mut bounds = Vec::new();
    let track = a.store.bound.is_some() || b.store.bound.is_some();
    for_rows(&a.shape, [a, b], |length, [ra, rb]| {
        let (x, y) = (ra.read(xs, length, s0), rb.read(ys, length, s1));
        if track {
            let bx = read_bound(a.store.bound.as_ref(), ra, length, s2);
            let by = read_bound(b.store.bound.as_ref(), rb, length, s3);
            for i in 0..length {
                let (truth, bound) = comparison(op, x[i], bx[i], y[i], by[i]);
                out.push(i64::from(truth));
                bounds.push(bound);
            }
        } else {
            out.extend(x.iter().zip(y).map(|(x, y)| i64::from(compare(op, x.partial_cmp(y)) == Some(true))));
        }
    });
    let store = Store::new(Numbers::Int(out), bound_or_none(bounds));
    Value::new(DType::Bool, &a.shape, store)
}

/// Arithmetic on floats.
fn binary_floats(
    op: BinaryOp,
    (a, xs): (&Value, &[f64]),
    (b, ys): (&Value, &[f64]),
    numerics: Numerics,
    magnitude: bool,
) -> Value {
    let model = Model::new(a.dtype, numerics);
    let is_sum = matches!(op, BinaryOp::Add | BinaryOp::Sub);
    let is_product = matches!(op, BinaryOp::Mul | BinaryOp::Div);
    let selects = matches!(op, BinaryOp::Minimum | BinaryOp::Maximum);
    let track =
        !model.is_exact() && !selects || op == BinaryOp::Pow || a.store.bound.is_some() || b.store.bound.is_some();
    let algebraic = numerics == Numerics::Algebraic;
    let sum = Sum::new(&model, a, b);
    let contraction = is_product && (a.contraction || b.contraction);
    let continued = is_sum && !model.is_exact() && (a.store.additions.is_some() || b.store.additions.is_some());
    let with_sum = is_sum && !model.is_exact() && (sum.terms > 2.0 || continued || magnitude || algebraic);
    let with_product = is_product && !model.is_exact() && (contraction && magnitude || algebraic);
    let mut scratch: [Vec<f64>; 8] = Default::default();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = &mut scratch;
    let (mut out, mut bounds) = (Vec::with_capacity(a.size()), Vec::new());
    let (mut magnitudes, mut additions) = (Vec::new(), Vec::new());
    if track {
        bounds.reserve(a.size());
    }
    for_rows(&a.shape, [a, b], |length, [ra, rb]| {
        let (x, y) = (ra.read(xs, length, s0), rb.read(ys, length, s1));
        if !track {
            macro_rules! plain {
                ($($name:ident),*) => {
                    match op {
                        $(BinaryOp::$name => {
                            let f = |(x, y): (&f64, &f64)| model.binary(BinaryOp::$name, *x, 0.0, *y, 0.0).0;
                            out.extend(x.iter().zip(y).map(f))
                        })*
                    }
                };
            }
            plain!(
                Add, Sub, Mul, Div, FloorDiv, Mod, Pow, Minimum, Maximum, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt,
                Ge
            );
            return;
        }
        let bx = read_bound(a.store.bound.as_ref(), ra, length, s2);
        let by = read_bound(b.store.bound.as_ref(), rb, length, s3);
        let operands = Operands { x, bx, y, by };
        if !binary_row(&model, op, operands, &mut out, &mut bounds) {
            macro_rules! bounded {
                ($($name:ident),*) => {
                    match op {
                        $(BinaryOp::$name => for i in 0..length {
                            let (z, bound) = model.binary(BinaryOp::$name, x[i], bx[i], y[i], by[i]);
                            out.push(z);
                            bounds.push(bound);
                        })*
                    }
                };
            }
            bounded!(
                Add, Sub, Mul, Div, FloorDiv, Mod, Pow, Minimum, Maximum, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt,
                Ge
            );
        }
        if !with_sum && !with_product {
            return;
        }
        let mx = sum.read(a, ra, x, length, s4, is_product, algebraic);
        let my = sum.read(b, rb, y, length, s5, is_product, algebraic);
        let start = bounds.len() - length;
        if is_sum {
            magnitudes.extend(mx.iter().zip(my).map(|(x, y)| x + y));
        } else if op == BinaryOp::Mul {
            magnitudes.extend(mx.iter().zip(my).map(|(x, y)| x * y));
        } else {
            magnitudes.extend(mx.iter().zip(y).map(|(x, y)| x / y.abs()));
        }
        let several = is_sum && (sum.terms > 2.0 || continued);
        let (out, bounds) = (&out[start..], &mut bounds[start..]);
        if several {
            let magnitudes = (mx, my);
            if continued {
                let hx = read_bound(a.store.additions.as_ref(), ra, length, s6);
                let hy = read_bound(b.store.additions.as_ref(), rb, length, s7);
                additions.extend(hx.iter().zip(hy).map(|(x, y)| x.max(*y)));
                sum_row(&model, operands, magnitudes, |i| sum.weights(hx[i], hy[i]), out, bounds);
            } else {
                let weights = sum.weights(0.0, 0.0);
                sum_row(&model, operands, magnitudes, |_| weights, out, bounds);
            }
        }
        if algebraic {
            for i in 0..length {
                let local = 4.0 * model.roundoff * magnitudes[start + i];
                bounds[i] = model.settle(out[i], bounds[i] + local, bounds[i] == f64::INFINITY).1;
            }
        }
    });
    let store = Store {
        numbers: Numbers::Float(out),
        bound: bound_or_none(bounds),
        magnitude: (with_sum || with_product).then_some(magnitudes),
        additions: continued.then_some(additions),
    };
    let result = Value::new(a.dtype, &a.shape, store);
    match (with_sum, with_product) {
        (true, _) => Value { terms: sum.terms, ..result },
        (false, true) => Value { contraction: true, ..result },
        (false, false) => result,
    }
}

/// What is known of the two operands of `+` or `−` as sums themselves.
struct Sum {
    /// Number of terms of the result, in this statement.
    terms: f64,
    /// The additions of each operand in this statement.
    own: [f64; 2],
    /// Whether an operand's bound counts its additions even where there is only one.
    contraction: [bool; 2],
    roundoff: f64,
}

impl Sum {
    fn new(model: &Model, a: &Value, b: &Value) -> Sum {
        let counted = |v: &Value| if v.store.magnitude.is_some() { v.terms - 1.0 } else { 0.0 };
        Sum {
            terms: a.terms + b.terms,
            own: [counted(a), counted(b)],
            contraction: [a.contraction, b.contraction],
            roundoff: model.roundoff,
        }
    }

    /// Unit roundoffs per magnitude: what the result's additions may spend, and what the bounds of the two operands
    /// have of it already. `before_a` and `before_b`: the additions of statements before. Only one of two sums that
    /// statements before have made goes on in a loop that takes its terms in another order; the other is a term.
    #[inline(always)]
    fn weights(&self, before_a: f64, before_b: f64) -> [f64; 3] {
        // A plain sum of two terms has the running bound u·|z|, which is less than 1·u·Σ|terms|: nothing is deducted.
        let spent = |at: usize, before: f64| {
            let additions = self.own[at] + before;
            if additions > 1.0 || self.contraction[at] { additions * self.roundoff } else { 0.0 }
        };
        let all = self.terms - 1.0 + before_a.max(before_b);
        [if all > 1.0 { all * self.roundoff } else { 0.0 }, spent(0, before_a), spent(1, before_b)]
    }

    /// The magnitudes of one operand's row: Σ|terms| where it is such a sum, else |x|.
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
    fn read<'a>(
        &self,
        v: &'a Value,
        row: Row,
        x: &[f64],
        length: usize,
        scratch: &'a mut Vec<f64>,
        is_product: bool,
        algebraic: bool,
    ) -> &'a [f64] {
        // A product with what statements before have summed is not distributed over that sum.
        let applies = if is_product { v.contraction || algebraic && v.is_own_sum() } else { algebraic || v.is_sum() };
        match &v.store.magnitude {
            Some(all) if applies => row.read(all, length, scratch),
            Some(_) | None => {
                scratch.clear();
                scratch.extend(x.iter().map(|x| x.abs()));
                scratch
            }
        }
    }
}

/// Arithmetic, logic and comparisons on integers and bools.
fn binary_ints(op: BinaryOp, a: &Value, xs: &[i64], b: &Value, ys: &[i64]) -> Value {
    let mut scratch: (Vec<i64>, Vec<i64>, Vec<f64>, Vec<f64>) = Default::default();
    let mut out = Vec::with_capacity(a.size());
    let mut bounds = Vec::new();
    let dtype = if op.is_comparison() { DType::Bool } else { a.dtype };
    let track = a.store.bound.is_some() || b.store.bound.is_some();
    for_rows(&a.shape, [a, b], |length, [ra, rb]| {
        let (x, y) = (ra.read(xs, length, &mut scratch.0), rb.read(ys, length, &mut scratch.1));
        macro_rules! plain {
            ($($name:ident),*) => {
                match op {
                    $(BinaryOp::$name => {
                        out.extend(x.iter().zip(y).map(|(x, y)| binary_int(BinaryOp::$name, a.dtype, *x, *y)))
                    })*
                }
            };
        }
        plain!(
            Add, Sub, Mul, Div, FloorDiv, Mod, Pow, Minimum, Maximum, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt, Ge
        );
        if track {
            let bx = read_bound(a.store.bound.as_ref(), ra, length, &mut scratch.2);
            let by = read_bound(b.store.bound.as_ref(), rb, length, &mut scratch.3);
            let start = out.len() - length;
            bounds.extend((0..length).map(|i| int_bound(op, a.dtype, (x[i], bx[i]), (y[i], by[i]), out[start + i])));
        }
    });
    Value::new(dtype, &a.shape, Store::new(Numbers::Int(out), bound_or_none(bounds)))
}

/// How far `z = x op y` may be off where the operands are within their bounds.
fn int_bound(op: BinaryOp, dtype: DType, (x, bx): (i64, f64), (y, by): (i64, f64), z: i64) -> f64 {
    if bx == 0.0 && by == 0.0 {
        return 0.0;
    }
    let (fx, fy) = (to_float(x), to_float(y));
    if op.is_comparison() {
        return comparison(op, fx, bx, fy, by).1;
    }
    if dtype == DType::Bool {
        // Uncertain unless every combination of possible operands agrees.
        let options = |v: i64, b: f64| if b == 0.0 { vec![v] } else { vec![0, 1] };
        let differs = |x: &i64| options(y, by).iter().any(|y| binary_int(op, dtype, *x, *y) != z);
        return if options(x, bx).iter().any(differs) { 1.0 } else { 0.0 };
    }
    let bound = match op {
        BinaryOp::Add | BinaryOp::Sub => bx + by,
        BinaryOp::Mul => fx.abs() * by + fy.abs() * bx + bx * by,
        BinaryOp::Minimum | BinaryOp::Maximum => return bx.max(by),
        BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => return f64::INFINITY,
    };
    wrapped_bound(dtype, to_float(z), bound)
}

/// `np.where(condition, a, b)`.
pub(super) fn select(condition: &Value, a: &Value, b: &Value) -> Value {
    let shape = &condition.shape;
    let Numbers::Int(choice) = &condition.store.numbers else { return a.clone() };
    let mut bounds = Vec::new();
    let track = [condition, a, b].iter().any(|v| v.store.bound.is_some());
    let mut scratch: (Vec<i64>, Vec<f64>, Vec<f64>, Vec<f64>) = Default::default();
    macro_rules! choose {
        ($xs:expr, $ys:expr, $distance:expr) => {{
            let (mut sx, mut sy) = (Vec::new(), Vec::new());
            let mut out = Vec::with_capacity(condition.size());
            for_rows(shape, [condition, a, b], |length, [rc, ra, rb]| {
                let c = rc.read(choice, length, &mut scratch.0);
                let (x, y) = (ra.read($xs, length, &mut sx), rb.read($ys, length, &mut sy));
                out.extend((0..length).map(|i| if c[i] != 0 { x[i] } else { y[i] }));
                if track {
                    let bc = read_bound(condition.store.bound.as_ref(), rc, length, &mut scratch.1);
                    let bx = read_bound(a.store.bound.as_ref(), ra, length, &mut scratch.2);
                    let by = read_bound(b.store.bound.as_ref(), rb, length, &mut scratch.3);
                    bounds.extend((0..length).map(|i| match (bc[i] == 0.0, c[i] != 0) {
                        (true, true) => bx[i],
                        (true, false) => by[i],
                        (false, _) => $distance(x[i], y[i]) + larger(bx[i], by[i]),
                    }));
                }
            });
            out
        }};
    }
    let numbers = match (&a.store.numbers, &b.store.numbers) {
        (Numbers::Float(xs), Numbers::Float(ys)) => Numbers::Float(choose!(xs, ys, |x: f64, y: f64| {
            // No number on one side: whatever the kernel chooses may be right.
            if x == y || x.is_nan() && y.is_nan() {
                0.0
            } else if !x.is_finite() || !y.is_finite() {
                f64::NAN
            } else {
                (x - y).abs()
            }
        })),
        (Numbers::Int(xs), Numbers::Int(ys)) => {
            Numbers::Int(choose!(xs, ys, |x: i64, y: i64| (to_float(x) - to_float(y)).abs()))
        }
        (Numbers::Int(_), Numbers::Float(_)) | (Numbers::Float(_), Numbers::Int(_)) => return a.clone(),
    };
    Value::new(a.dtype, shape, Store::new(numbers, bound_or_none(bounds)))
}

/// The larger of two bounds; NaN if one is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// Conversion of `a` to `dtype`.
pub(super) fn cast(a: &Value, dtype: DType, numerics: Numerics) -> Value {
    if dtype == a.dtype {
        return a.clone();
    }
    let model = Model::new(dtype, numerics);
    let exact = model.is_exact();
    let track_in = a.store.bound.as_ref();
    let mut bounds = Vec::with_capacity(a.size());
    let mut scratch = Vec::new();
    let numbers = match (&a.store.numbers, dtype.is_float()) {
        (Numbers::Float(xs), true) => {
            let mut row_scratch = Vec::new();
            let mut out = Vec::with_capacity(a.size());
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(xs, length, &mut row_scratch);
                let b = read_bound(track_in, row, length, &mut scratch);
                for (x, b) in x.iter().zip(b) {
                    let rounded = round(dtype, *x);
                    // A value without error is rounded as the kernel rounds it, once; one that is less than half an
                    // ulp beside a number of the type is rounded to that.
                    let z = if exact || *b == 0.0 { rounded } else { *x };
                    let ulp = model.roundoff * x.abs().max(model.tiny);
                    let kept = *b == 0.0 || x.is_nan() || dtype == DType::F64 || rounded == *x && *b < 0.5 * ulp;
                    let local = if kept { 0.0 } else { ulp };
                    let (z, bound) = model.settle(z, b + local, *b == f64::INFINITY);
                    out.push(z);
                    bounds.push(bound);
                }
            });
            Numbers::Float(out)
        }
        (Numbers::Float(xs), false) => {
            let mut row_scratch = Vec::new();
            let mut out = Vec::with_capacity(a.size());
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(xs, length, &mut row_scratch);
                let b = read_bound(track_in, row, length, &mut scratch);
                for (x, b) in x.iter().zip(b) {
                    let z = float_to_int(dtype, *x);
                    out.push(z);
                    bounds.push(truncation_bound(dtype, *x, *b, z));
                }
            });
            Numbers::Int(out)
        }
        (Numbers::Int(xs), true) => {
            let mut row_scratch = Vec::new();
            let mut out = Vec::with_capacity(a.size());
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(xs, length, &mut row_scratch);
                let b = read_bound(track_in, row, length, &mut scratch);
                for (x, b) in x.iter().zip(b) {
                    // One rounding of an integer known exactly has one outcome.
                    out.push(int_to_float(dtype, *x));
                    bounds.push(if *b == 0.0 { 0.0 } else { b + 2.0 * model.roundoff * (to_float(*x).abs() + b) });
                }
            });
            Numbers::Float(out)
        }
        (Numbers::Int(xs), false) => {
            let mut row_scratch = Vec::new();
            let mut out = Vec::with_capacity(a.size());
            for_rows(&a.shape, [a], |length, [row]| {
                let x = row.read(xs, length, &mut row_scratch);
                let b = read_bound(track_in, row, length, &mut scratch);
                for (x, b) in x.iter().zip(b) {
                    out.push(wrap(dtype, *x));
                    bounds.push(if dtype == DType::Bool {
                        if *b > 0.0 && to_float(*x).abs() <= *b { 1.0 } else { 0.0 }
                    } else {
                        wrapped_bound(dtype, to_float(*x), *b)
                    });
                }
            });
            Numbers::Int(out)
        }
    };
    Value::new(dtype, &a.shape, Store::new(numbers, bound_or_none(bounds)))
}

/// How far the truncation `z` of an `x` known within `b` may be off.
fn truncation_bound(dtype: DType, x: f64, b: f64, z: i64) -> f64 {
    if b == 0.0 || x.is_nan() && b < f64::INFINITY {
        return 0.0;
    }
    if b.is_nan() {
        return f64::INFINITY;
    }
    if dtype == DType::Bool {
        return if x.abs() <= b { 1.0 } else { 0.0 };
    }
    let limit = if dtype == DType::I64 { 63.0 } else { 31.0 };
    let (low, high) = (x - b, x + b);
    if high.abs().max(low.abs()) >= f64::exp2(limit) {
        // Out of range on both ends: certainly the least value.
        let outside = |v: f64| v.abs() > f64::exp2(limit) + 1.0;
        return if outside(low) && outside(high) && low.signum() == high.signum() { 0.0 } else { f64::INFINITY };
    }
    let middle = x.trunc();
    wrapped_bound(dtype, to_float(z), (high.trunc() - middle).max(middle - low.trunc()))
}
