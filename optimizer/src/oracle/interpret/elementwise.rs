//! Element-wise operators over whole arrays: values and error bounds in one pass over rows. Here are functions of one
//! operand, comparisons and selections; arithmetic of two operands stands in files of its own.

use super::arithmetic::binary_floats;
use super::bounds::{Model, comparison, root_hangs, to_float, unary_roundings};
use super::integers::binary_ints;
use super::value::{Numbers, Store, Value, bound_or_none, for_rows};
use super::views::broadcast;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, UnaryOp};
use crate::value::scalar_eval::{compare, unary_int, wrap};

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
                    let b = row.read_or_zeros(a.store.bound.as_ref(), length, &mut scratch.1);
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
            let bx = ra.read_or_zeros(a.store.bound.as_ref(), length, s2);
            let by = rb.read_or_zeros(b.store.bound.as_ref(), length, s3);
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
                    let bc = rc.read_or_zeros(condition.store.bound.as_ref(), length, &mut scratch.1);
                    let bx = ra.read_or_zeros(a.store.bound.as_ref(), length, &mut scratch.2);
                    let by = rb.read_or_zeros(b.store.bound.as_ref(), length, &mut scratch.3);
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
