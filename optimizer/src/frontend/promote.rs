//! NumPy 2's promotion (NEP 50): which dtype an operation computes in.
//!
//! Pure rules on dtypes. Python's `int` and `float` are weak: they take the dtype of the arrays beside them, where
//! its kind is not lower. A Python `bool` promotes as NumPy's.

use super::number::Number;
use crate::value::dtype::{DType, Literal};

/// How an operand takes part in promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A NumPy array or scalar.
    Strong(DType),
    /// A Python `int`.
    WeakInt,
    /// A Python `float`.
    WeakFloat,
}

impl From<Number> for Kind {
    fn from(number: Number) -> Kind {
        match number {
            Number::Bool(_) => Kind::Strong(DType::Bool),
            Number::Int(_) => Kind::WeakInt,
            Number::Float(_) => Kind::WeakFloat,
        }
    }
}

/// `np.result_type` of the operands.
pub(super) fn common(kinds: impl IntoIterator<Item = Kind>) -> DType {
    let (mut strong, mut weak_int, mut weak_float) = (None, false, false);
    for kind in kinds {
        match kind {
            Kind::Strong(dtype) => strong = Some(strong.map_or(dtype, |have| promote(have, dtype))),
            Kind::WeakInt => weak_int = true,
            Kind::WeakFloat => weak_float = true,
        }
    }
    match strong {
        Some(dtype) if dtype.is_float() => dtype,
        Some(_) | None if weak_float => DType::F64,
        Some(dtype) if dtype.is_int() => dtype,
        Some(_) | None if weak_int => DType::I64,
        Some(dtype) => dtype,
        None => DType::F64,
    }
}

/// `np.promote_types`.
pub(super) fn promote(a: DType, b: DType) -> DType {
    if a == b {
        return a;
    }
    match (a, b) {
        (DType::Bool, other) | (other, DType::Bool) => other,
        (a, b) if a.is_float() && b.is_float() => {
            if a.bytes() == b.bytes() {
                DType::F32
            } else if a.bytes() > b.bytes() {
                a
            } else {
                b
            }
        }
        (int, float) | (float, int) if float.is_float() => match int.bytes() {
            1 => float,
            2 if float.bytes() == 2 => DType::F32,
            2 => float,
            _ => DType::F64,
        },
        (DType::I8, DType::U8) | (DType::U8, DType::I8) => DType::I16,
        (a, b) => {
            if a.bytes() >= b.bytes() {
                a
            } else {
                b
            }
        }
    }
}

/// Whether NumPy's `same_kind` casting, which in-place operators use, allows `from` to become `to`.
pub(super) const fn same_kind(from: DType, to: DType) -> bool {
    rank(from) <= rank(to)
}

const fn rank(dtype: DType) -> u8 {
    if dtype.is_float() {
        2
    } else if dtype.is_int() {
        1
    } else {
        0
    }
}

/// The dtype of a sum or product over `dtype`: small integers accumulate in 64 bits.
pub(super) const fn accumulator(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::I64 }
}

/// The dtype in which a function of real numbers (`sqrt`, `/`, `mean`) computes; bool and small integers have
/// others in NumPy where `None`.
pub(super) const fn real(dtype: DType) -> Option<DType> {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Some(dtype),
        DType::I32 | DType::I64 => Some(DType::F64),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 => None,
    }
}

/// Least and greatest value of an integer type.
pub(super) const fn int_bounds(dtype: DType) -> Option<(i128, i128)> {
    Some(match dtype {
        DType::I8 => (i8::MIN as i128, i8::MAX as i128),
        DType::U8 => (0, u8::MAX as i128),
        DType::I16 => (i16::MIN as i128, i16::MAX as i128),
        DType::I32 => (i32::MIN as i128, i32::MAX as i128),
        DType::I64 => (i64::MIN as i128, i64::MAX as i128),
        DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => return None,
    })
}

/// A Python number stored at `dtype`, as `np.array(number).astype(dtype)` stores it, but an integer that does not
/// fit is refused as NumPy refuses it.
///
/// # Errors
/// A message: the integer is out of bounds.
#[expect(clippy::cast_possible_truncation, reason = "a float stored at an integer type truncates, as in NumPy")]
pub(super) fn literal(number: Number, dtype: DType) -> Result<Literal, String> {
    if dtype == DType::Bool {
        return Ok(Literal::Bool(number.truth()));
    }
    let Some((low, high)) = int_bounds(dtype) else {
        return Ok(Literal::float(number.as_f64()).at(dtype));
    };
    match number.as_int() {
        Some(i) if (low..=high).contains(&i) => Ok(Literal::Int(i as i64)),
        Some(i) => Err(format!("Python integer {i} is out of bounds for {dtype}")),
        None => Ok(float_to_int(number.as_f64(), low, high)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
#[expect(clippy::cast_precision_loss, reason = "the bounds are rounded outwards by one unit at most")]
fn float_to_int(x: f64, low: i128, high: i128) -> Literal {
    let inside = x.trunc() >= low as f64 && (x.trunc() as i128) <= high;
    Literal::Int(if inside { x.trunc() as i64 } else { low as i64 })
}

/// A literal of one dtype converted to another, as a cast node converts it.
#[expect(clippy::cast_possible_truncation, reason = "integers wrap when they are narrowed")]
#[expect(clippy::cast_precision_loss, reason = "an integer cast to f32 rounds")]
pub(super) fn cast(value: Literal, to: DType) -> Literal {
    match (value, int_bounds(to)) {
        (Literal::Float(bits), Some((low, high))) => float_to_int(f64::from_bits(bits), low, high),
        (Literal::Float(bits), None) if to == DType::Bool => Literal::Bool(f64::from_bits(bits) != 0.0),
        // One rounding, not by way of f64.
        (Literal::Int(i), None) if to == DType::F32 => Literal::float(f64::from(i as f32)),
        (Literal::Int(i), Some(_)) => Literal::Int(match to {
            DType::I8 => i64::from(i as i8),
            DType::U8 => i64::from(i as u8),
            DType::I16 => i64::from(i as i16),
            DType::I32 => i64::from(i as i32),
            DType::I64 | DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => i,
        }),
        (literal, _) => literal.at(to),
    }
}
