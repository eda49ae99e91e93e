//! Arithmetic, logic and comparisons of integers and bools, with the bounds of those that hang on floats.

use super::bounds::{comparison, to_float, wrapped_bound};
use super::for_operator::for_operator;
use super::value::{Numbers, Store, Value, bound_or_none, for_rows};
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryClass, BinaryOp};
use crate::value::scalar_eval::binary_int;

/// Arithmetic, logic and comparisons on integers and bools.
pub(super) fn binary_ints(op: BinaryOp, a: &Value, xs: &[i64], b: &Value, ys: &[i64]) -> Value {
    let mut scratch: (Vec<i64>, Vec<i64>, Vec<f64>, Vec<f64>) = Default::default();
    let mut out = Vec::with_capacity(a.size());
    let mut bounds = Vec::new();
    let dtype = if op.is_comparison() { DType::Bool } else { a.dtype };
    let track = a.store.bound.is_some() || b.store.bound.is_some();
    for_rows(&a.shape, [a, b], |length, [ra, rb]| {
        let (x, y) = (ra.read(xs, length, &mut scratch.0), rb.read(ys, length, &mut scratch.1));
        for_operator!(op, OP => out.extend(x.iter().zip(y).map(|(x, y)| binary_int(OP, a.dtype, *x, *y))));
        if track {
            let bx = ra.read_or_zeros(a.store.bound.as_ref(), length, &mut scratch.2);
            let by = rb.read_or_zeros(b.store.bound.as_ref(), length, &mut scratch.3);
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
    let bound = match op.class() {
        BinaryClass::Sum => bx + by,
        BinaryClass::Product => fx.abs() * by + fy.abs() * bx + bx * by,
        BinaryClass::Extremum => return bx.max(by),
        BinaryClass::Quotient
        | BinaryClass::Division
        | BinaryClass::Power
        | BinaryClass::Bitwise
        | BinaryClass::Comparison => return f64::INFINITY,
    };
    wrapped_bound(dtype, to_float(z), bound)
}
