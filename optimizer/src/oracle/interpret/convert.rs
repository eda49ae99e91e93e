//! Conversions of whole arrays from one type to another.

use super::bounds::{Model, to_float, wrapped_bound};
use super::value::{Numbers, Store, Value, bound_or_none, for_rows};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar_eval::{float_to_int, int_to_float, round, wrap};

/// Conversion of `a` to `dtype`.
pub(super) fn cast(a: &Value, dtype: DType, numerics: Numerics) -> Value {
    if dtype == a.dtype {
        return a.clone();
    }
    let model = Model::new(dtype, numerics);
    let exact = model.is_exact();
    let (numbers, bounds) = match (&a.store.numbers, dtype.is_float()) {
        (Numbers::Float(xs), true) => {
            let (floats, bounds) = each(a, xs, |x, b| {
                let rounded = round(dtype, x);
                // A value without error is rounded as the kernel rounds it, once; one that is less than half an ulp beside a
                // number of the type is rounded to that.
                let z = if exact || b == 0.0 { rounded } else { x };
                let ulp = model.roundoff * x.abs().max(model.tiny);
                let kept = b == 0.0 || x.is_nan() || dtype == DType::F64 || rounded == x && b < 0.5 * ulp;
                let local = if kept { 0.0 } else { ulp };
                model.settle(z, b + local, b == f64::INFINITY)
            });
            (Numbers::Float(floats), bounds)
        }
        (Numbers::Float(xs), false) => {
            let (ints, bounds) = each(a, xs, |x, b| {
                let z = float_to_int(dtype, x);
                (z, truncation_bound(dtype, x, b, z))
            });
            (Numbers::Int(ints), bounds)
        }
        (Numbers::Int(xs), true) => {
            let (floats, bounds) = each(a, xs, |x, b| {
                // One rounding of an integer known exactly has one outcome.
                let bound = if b == 0.0 { 0.0 } else { b + 2.0 * model.roundoff * (to_float(x).abs() + b) };
                (int_to_float(dtype, x), bound)
            });
            (Numbers::Float(floats), bounds)
        }
        (Numbers::Int(xs), false) => {
            let (ints, bounds) = each(a, xs, |x, b| {
                let bound = if dtype == DType::Bool {
                    if b > 0.0 && to_float(x).abs() <= b { 1.0 } else { 0.0 }
                } else {
                    wrapped_bound(dtype, to_float(x), b)
                };
                (wrap(dtype, x), bound)
            });
            (Numbers::Int(ints), bounds)
        }
    };
    Value::new(dtype, &a.shape, Store::new(numbers, bound_or_none(bounds)))
}

/// What `to` makes of each element and its bound, with the new bounds, in the view's order.
fn each<T: Copy, U>(a: &Value, elements: &[T], mut to: impl FnMut(T, f64) -> (U, f64)) -> (Vec<U>, Vec<f64>) {
    let (mut scratch, mut bound_scratch) = (Vec::new(), Vec::new());
    let (mut numbers, mut bounds) = (Vec::with_capacity(a.size()), Vec::with_capacity(a.size()));
    for_rows(&a.shape, [a], |length, [row]| {
        let row_elements = row.read(elements, length, &mut scratch);
        let row_bounds = row.read_or_zeros(a.store.bound.as_ref(), length, &mut bound_scratch);
        for (&x, &b) in row_elements.iter().zip(row_bounds) {
            let (z, bound) = to(x, b);
            numbers.push(z);
            bounds.push(bound);
        }
    });
    (numbers, bounds)
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
