//! From the values of a program's results to what a kernel's output is compared with.
//!
//! Input: a value, and the one that the source's own operations give where it is not known to have one. Output: a
//! [`Reference`], rounded to the result's type.

use super::reference::Reference;
use super::value::{Numbers, Value};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::tensor::{Data, Tensor};
use std::sync::Arc;

/// A result as a reference; `exact` is the same one by the source's own operations, where it is not the result itself.
#[expect(clippy::cast_possible_truncation, reason = "rounding and wrapping to the result's type are the meaning")]
#[expect(clippy::cast_sign_loss, reason = "wrapping to the result's type is the meaning")]
pub(super) fn finish(value: Value, exact: Option<&Value>, numerics: Numerics) -> Reference {
    let Value { dtype, ref shape, .. } = value;
    let (shape, hangs) = (shape.clone(), value.traits.hangs);
    let (numbers, bound) = elements(value);
    let mut bound = bound.unwrap_or_default();
    let (data, wide) = match numbers {
        Numbers::Int(ints) => {
            let data = match dtype {
                DType::Bool => Data::Bool(ints.iter().map(|x| u8::from(*x != 0)).collect()),
                DType::I8 => Data::I8(ints.iter().map(|x| *x as i8).collect()),
                DType::U8 => Data::U8(ints.iter().map(|x| *x as u8).collect()),
                DType::I16 => Data::I16(ints.iter().map(|x| *x as i16).collect()),
                DType::I32 => Data::I32(ints.iter().map(|x| *x as i32).collect()),
                DType::I64 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Data::I64(ints),
            };
            (data, Vec::new())
        }
        Numbers::Float(mut floats) => {
            let sure = |(at, x): (usize, &f64)| x.is_finite() && bound.get(at).is_none_or(|bound| bound.is_finite());
            if hangs || !floats.iter().enumerate().all(sure) {
                let exact = match exact.map(|exact| (exact, &exact.store.numbers)) {
                    Some((exact, Numbers::Float(all))) => exact.gather(all),
                    Some((_, Numbers::Int(_))) | None => floats.clone(),
                };
                bound.resize(floats.len(), 0.0);
                for ((x, bound), exact) in floats.iter_mut().zip(&mut bound).zip(exact) {
                    (*x, *bound) = claim(*x, *bound, exact, numerics);
                }
            }
            let data = match dtype {
                DType::F32 => Data::F32(floats.iter().map(|x| *x as f32).collect()),
                DType::Bool
                | DType::I8
                | DType::U8
                | DType::I16
                | DType::I32
                | DType::I64
                | DType::F16
                | DType::BF16
                | DType::F64 => Data::F64(floats.clone()),
            };
            (data, floats)
        }
    };
    Reference { value: Tensor { dtype: data.dtype(), shape, data }, wide, bound }
}

/// Whether roundings decide if some element has a value.
pub(super) fn hangs(value: &Value) -> bool {
    let infinite = value.store.bound.as_ref().is_some_and(|bound| bound.contains(&f64::INFINITY));
    value.dtype.is_float() && (value.traits.hangs || infinite)
}

/// What a kernel may give for an element: the value, and the bound as [`Reference::bound`] says. `exact` is what the
/// source's own operations give.
fn claim(value: f64, bound: f64, exact: f64, numerics: Numerics) -> (f64, f64) {
    if bound.is_nan() {
        return (value, bound);
    }
    if bound == 0.0 && !value.is_finite() {
        let none = match numerics {
            Numerics::Exact => 0.0,
            Numerics::Reassociate => f64::INFINITY,
            Numerics::Algebraic => f64::NAN,
        };
        return (value, none);
    }
    match (value.is_finite(), exact.is_finite()) {
        (true, true) => (value, bound),
        (false, true) => (exact, f64::INFINITY),
        (true | false, false) => (value, f64::NAN),
    }
}

/// The elements in row-major order and their bounds: those of the store where nobody else has it.
fn elements(value: Value) -> (Numbers, Option<Vec<f64>>) {
    if value.is_dense() {
        match Arc::try_unwrap(value.store) {
            Ok(store) => return (store.numbers, store.bound),
            Err(store) => return gathered(&Value { store, ..value }),
        }
    }
    gathered(&value)
}

fn gathered(value: &Value) -> (Numbers, Option<Vec<f64>>) {
    (value.gathered_numbers(), value.store.bound.as_ref().map(|bound| value.gather(bound)))
}
