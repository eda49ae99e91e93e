//! What a kernel's output is compared with.

use crate::value::dtype::DType;
use crate::value::tensor::{Data, Tensor};
use thiserror::Error;

/// A result with the error that a correct kernel may have made.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The value, rounded to the result's type.
    pub value: Tensor,
    /// Before rounding; empty for bools and integers.
    pub wide: Vec<f64>,
    /// Absolute error bound of each element; empty where the result is exact. A bool's or integer's
    /// bound is not 0 where it hangs on a float that rounding may push either way; an infinite
    /// one says that any value may be right. Of floats an infinite bound claims no distance: any
    /// number or infinity may be right where the value is finite, any of NaN and the infinities
    /// where it is not. Only a bound of NaN claims nothing.
    pub bound: Vec<f64>,
}

/// An element outside its bound, or a result of another type or shape.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum Mismatch {
    /// Of another type or shape.
    #[error("expected {expected_dtype}{expected_shape:?}, found {dtype}{shape:?}")]
    Type {
        /// The reference's type.
        expected_dtype: DType,
        /// The reference's shape.
        expected_shape: Vec<usize>,
        /// The result's type.
        dtype: DType,
        /// The result's shape.
        shape: Vec<usize>,
    },
    /// Too far off.
    #[error("element {index} is {got}, expected {expected} within {bound:e}")]
    Element {
        /// Its row-major offset.
        index: usize,
        /// What was found.
        got: f64,
        /// What is right.
        expected: f64,
        /// How far it may be off.
        bound: f64,
    },
}

impl Reference {
    /// Compares a result with the reference. Where the bound is 0, numbers must be equal (a zero's
    /// sign apart), NaN must meet NaN, and an infinity one of its sign; otherwise numbers may differ
    /// by the bound and the smallest normal number, and one near the type's largest may meet an
    /// infinity of its sign. NaN for a number is wrong whatever the bound is.
    /// Answers the largest error as a fraction of its bound.
    ///
    /// # Errors
    /// The first element that is off, or the type if that is.
    pub fn check(&self, got: &Tensor) -> Result<f64, Mismatch> {
        if got.dtype != self.value.dtype || got.shape != self.value.shape || got.len() != self.value.len() {
            return Err(Mismatch::Type {
                expected_dtype: self.value.dtype,
                expected_shape: self.value.shape.clone(),
                dtype: got.dtype,
                shape: got.shape.clone(),
            });
        }
        let bound = |index: usize| self.bound.get(index).copied().unwrap_or(0.0);
        let mut worst = 0.0f64;
        for index in 0..got.len() {
            let outcome = match &got.data {
                Data::F32(v) => {
                    self.check_float(index, f64::from(v[index]), f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX))
                }
                Data::F64(v) => self.check_float(index, v[index], f64::MIN_POSITIVE, f64::MAX),
                Data::Bool(v) if v[index] > 1 => None,
                Data::Bool(_)
                | Data::I8(_)
                | Data::U8(_)
                | Data::I16(_)
                | Data::I32(_)
                | Data::I64(_)
                | Data::F16(_)
                | Data::BF16(_) => {
                    let equal = got.get(index) == self.value.get(index);
                    let distance = (got.get_f64(index) - self.value.get_f64(index)).abs();
                    let allowed = bound(index);
                    if equal {
                        Some(0.0)
                    } else if distance <= allowed && allowed > 0.0 || allowed.is_nan() {
                        Some(if allowed.is_finite() { distance / allowed } else { 0.0 })
                    } else {
                        None
                    }
                }
            };
            match outcome {
                Some(fraction) => worst = worst.max(fraction),
                None => {
                    return Err(Mismatch::Element {
                        index,
                        got: match &got.data {
                            Data::Bool(v) => f64::from(v[index]),
                            Data::I8(_)
                            | Data::U8(_)
                            | Data::I16(_)
                            | Data::I32(_)
                            | Data::I64(_)
                            | Data::F16(_)
                            | Data::BF16(_)
                            | Data::F32(_)
                            | Data::F64(_) => got.get_f64(index),
                        },
                        expected: self.value.get_f64(index),
                        bound: bound(index),
                    });
                }
            }
        }
        Ok(worst)
    }

    /// The error as a fraction of the bound, or `None` if it is too large.
    fn check_float(&self, index: usize, got: f64, tiny: f64, largest: f64) -> Option<f64> {
        let expected = self.wide[index];
        let bound = self.bound.get(index).copied().unwrap_or(0.0);
        if bound.is_nan() {
            return Some(0.0);
        }
        if !expected.is_finite() {
            let same = got == expected || got.is_nan() && expected.is_nan();
            return (same || bound == f64::INFINITY && !got.is_finite()).then_some(0.0);
        }
        if got.is_nan() {
            return None;
        }
        if bound == f64::INFINITY {
            return Some(0.0);
        }
        if bound == 0.0 {
            return (got == expected).then_some(0.0);
        }
        if got.is_infinite() {
            // Overflow may come one rounding sooner.
            return (got.signum() == expected.signum() && expected.abs() >= largest * 0.999).then_some(0.0);
        }
        let (error, allowed) = ((got - expected).abs(), bound + tiny);
        (error <= allowed).then(|| error / allowed)
    }
}
