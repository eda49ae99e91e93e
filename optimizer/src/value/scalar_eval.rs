//! The scalar operators as functions: the table of [`crate::value::scalar`] in code.
//!
//! The interpreter, the evaluators of normal forms and loop nests, and the constant folder all come
//! here; kernels are tested against it. Input: elements and the dtype of the operands. A float of
//! type `F32` is an `f64` that is exactly representable there, and results are rounded to it.

use crate::value::dtype::{DType, Literal};
use crate::value::pairwise;
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use thiserror::Error;

/// An operator applied at a type it has no meaning at.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{op}` is not defined on {dtype}")]
pub struct ScalarError {
    /// The operator's name.
    pub op: &'static str,
    /// The operands' type.
    pub dtype: DType,
}

/// `op x` where `x` is of `dtype`, and so is the result.
///
/// # Errors
/// If `op` is not defined on `dtype`.
pub fn unary(op: UnaryOp, dtype: DType, x: Literal) -> Result<Literal, ScalarError> {
    if !unary_defined(op, dtype) {
        return Err(ScalarError { op: op.name(), dtype });
    }
    Ok(match x.at(dtype) {
        Literal::Float(bits) => Literal::float(round(dtype, unary_float(op, f64::from_bits(bits)))),
        Literal::Int(i) => Literal::Int(wrap(dtype, unary_int(op, i))),
        // Only `not` and `abs` are defined on bools.
        Literal::Bool(b) => Literal::Bool(b != (op == UnaryOp::Not)),
    })
}

/// `x op y` where both are of `dtype`; a comparison gives a bool, the others the operands' type.
///
/// # Errors
/// If `op` is not defined on `dtype`.
pub fn binary(op: BinaryOp, dtype: DType, x: Literal, y: Literal) -> Result<Literal, ScalarError> {
    if !binary_defined(op, dtype) {
        return Err(ScalarError { op: op.name(), dtype });
    }
    if let (Literal::Float(x), Literal::Float(y)) = (x.at(dtype), y.at(dtype)) {
        let (x, y) = (f64::from_bits(x), f64::from_bits(y));
        return Ok(match compare(op, x.partial_cmp(&y)) {
            Some(truth) => Literal::Bool(truth),
            None => Literal::float(binary_float_at(op, dtype, x, y)),
        });
    }
    let (x, y) = (x.at(dtype).as_i64().unwrap_or(0), y.at(dtype).as_i64().unwrap_or(0));
    Ok(match compare(op, Some(x.cmp(&y))) {
        Some(truth) => Literal::Bool(truth),
        None if dtype == DType::Bool => Literal::Bool(binary_bool(op, x != 0, y != 0)),
        None => Literal::Int(binary_int(op, dtype, x, y)),
    })
}

/// Conversion to `dtype`. Floats are truncated towards 0 on the way to an integer; NaN and what is
/// out of range give the type's least value (types below 32 bits are reached by way of `I32`).
pub fn cast(dtype: DType, x: Literal) -> Literal {
    match x {
        Literal::Float(bits) if dtype.is_float() => Literal::float(round(dtype, f64::from_bits(bits))),
        Literal::Float(bits) if dtype == DType::Bool => Literal::Bool(f64::from_bits(bits) != 0.0),
        Literal::Float(bits) => Literal::Int(float_to_int(dtype, f64::from_bits(bits))),
        Literal::Int(i) if dtype == DType::Bool => Literal::Bool(i != 0),
        Literal::Int(i) if dtype.is_float() => Literal::float(int_to_float(dtype, i)),
        Literal::Int(i) => Literal::Int(wrap(dtype, i)),
        Literal::Bool(_) => x.at(dtype),
    }
}

/// Whether `op` has a meaning at `dtype`.
pub const fn unary_defined(op: UnaryOp, dtype: DType) -> bool {
    match op {
        UnaryOp::Abs => true,
        UnaryOp::Neg | UnaryOp::Sign => !matches!(dtype, DType::Bool),
        UnaryOp::Not => !dtype.is_float(),
        UnaryOp::Sqrt
        | UnaryOp::Exp
        | UnaryOp::Log
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Floor => dtype.is_float(),
    }
}

/// Whether `op` has a meaning at `dtype`.
pub const fn binary_defined(op: BinaryOp, dtype: DType) -> bool {
    match op {
        BinaryOp::Add | BinaryOp::Mul | BinaryOp::Minimum | BinaryOp::Maximum => true,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => true,
        BinaryOp::Sub | BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow => !matches!(dtype, DType::Bool),
        BinaryOp::Div => dtype.is_float(),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !dtype.is_float(),
        BinaryOp::Shl | BinaryOp::Shr => dtype.is_int(),
    }
}

/// An integer reduced to the width of `dtype` (two's complement); unchanged for floats.
#[expect(clippy::cast_possible_truncation, reason = "wrapping is the meaning")]
#[expect(clippy::cast_sign_loss, reason = "wrapping is the meaning")]
#[inline]
pub const fn wrap(dtype: DType, x: i64) -> i64 {
    match dtype {
        DType::Bool => (x != 0) as i64,
        DType::I8 => x as i8 as i64,
        DType::U8 => x as u8 as i64,
        DType::I16 => x as i16 as i64,
        DType::I32 => x as i32 as i64,
        DType::I64 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => x,
    }
}

/// A float rounded to the nearest of `dtype`; unchanged for `F64` and, so far, for the 16-bit types.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the meaning")]
#[inline]
pub const fn round(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F32 => x as f32 as f64,
        DType::Bool
        | DType::I8
        | DType::U8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::F16
        | DType::BF16
        | DType::F64 => x,
    }
}

/// An integer at a float type, rounded once.
#[expect(clippy::cast_precision_loss, reason = "rounding is the meaning")]
#[inline]
pub const fn int_to_float(dtype: DType, x: i64) -> f64 {
    match dtype {
        // Not by way of f64, which would round twice.
        DType::F32 => x as f32 as f64,
        DType::Bool
        | DType::I8
        | DType::U8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::F16
        | DType::BF16
        | DType::F64 => x as f64,
    }
}

/// Truncation towards 0, as x86's `cvttsd2si` does it at 64 or 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
#[inline]
pub const fn float_to_int(dtype: DType, x: f64) -> i64 {
    match dtype {
        DType::Bool => (x != 0.0) as i64,
        DType::I64 => {
            if x >= -9_223_372_036_854_775_808.0 && x < 9_223_372_036_854_775_808.0 {
                x as i64
            } else {
                i64::MIN
            }
        }
        DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
            let int = if x > -2_147_483_649.0 && x < 2_147_483_648.0 { x as i32 as i64 } else { i32::MIN as i64 };
            wrap(dtype, int)
        }
    }
}

/// The truth of a comparison given how the operands compare (`None`: one is NaN); `None` if `op` is
/// no comparison.
#[inline]
pub fn compare(op: BinaryOp, order: Option<std::cmp::Ordering>) -> Option<bool> {
    match op {
        BinaryOp::Eq => Some(order.is_some_and(|o| o.is_eq())),
        BinaryOp::Ne => Some(order.is_none_or(|o| o.is_ne())),
        BinaryOp::Lt => Some(order.is_some_and(|o| o.is_lt())),
        BinaryOp::Le => Some(order.is_some_and(|o| o.is_le())),
        BinaryOp::Gt => Some(order.is_some_and(|o| o.is_gt())),
        BinaryOp::Ge => Some(order.is_some_and(|o| o.is_ge())),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Minimum
        | BinaryOp::Maximum
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => None,
    }
}

/// A unary operator in `f64`; NaN where it is not defined on floats.
#[inline]
pub fn unary_float(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Not => f64::NAN,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign => sign(x),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Floor => x.floor(),
    }
}

/// A unary operator on an integer, before wrapping to its width; 0 where it is not defined.
#[inline]
pub const fn unary_int(op: UnaryOp, x: i64) -> i64 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Not => !x,
        UnaryOp::Abs => x.wrapping_abs(),
        UnaryOp::Sign => x.signum(),
        UnaryOp::Sqrt
        | UnaryOp::Exp
        | UnaryOp::Log
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Floor => 0,
    }
}

/// −1, 0, 1 or NaN; ±0 gives 0.
#[inline]
pub const fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else if x == 0.0 {
        0.0
    } else {
        f64::NAN
    }
}

/// A binary operator at `dtype`, rounded as that type rounds; for comparisons 1 or 0.
///
/// `+ − · /` of `F32` operands in `f64` and then rounded are the correctly rounded results (53 ≥
/// 2·24 + 2 bits: S. Figueroa, *When is double rounding innocuous?*, 1995); `//` and `%` take
/// several roundings in NumPy and are computed at the type itself.
#[expect(clippy::cast_possible_truncation, reason = "the operands are exactly representable")]
#[inline]
pub fn binary_float_at(op: BinaryOp, dtype: DType, x: f64, y: f64) -> f64 {
    match (op, dtype) {
        (BinaryOp::FloorDiv, DType::F32) => f64::from(floor_divide_f32(x as f32, y as f32)),
        (BinaryOp::Mod, DType::F32) => f64::from(remainder_f32(x as f32, y as f32)),
        (_, _) => round(dtype, binary_float(op, x, y)),
    }
}

/// A fold of `terms` that goes on from `state`: one after the other, or, of floats that are summed, as one pairwise sum.
///
/// # Errors
/// If the operator is not defined on `dtype`.
pub(crate) fn fold(
    op: FoldOp,
    dtype: DType,
    pairwise: bool,
    state: Literal,
    terms: &[Literal],
) -> Result<Literal, ScalarError> {
    if pairwise {
        let add = |x: f64, y: f64| binary_float_at(BinaryOp::Add, dtype, x, y);
        let terms: Vec<f64> = terms.iter().map(|term| term.at(dtype).as_f64()).collect();
        return Ok(Literal::float(pairwise::sum(&terms, state.at(dtype).as_f64(), &add)));
    }
    terms.iter().try_fold(state, |state, &term| binary(op.combine(), dtype, state, term))
}

/// A binary operator in `f64`; for comparisons 1 or 0, NaN where it is not defined on floats.
#[inline]
pub fn binary_float(op: BinaryOp, x: f64, y: f64) -> f64 {
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::FloorDiv => floor_divide(x, y),
        BinaryOp::Mod => remainder(x, y),
        BinaryOp::Pow => power(x, y),
        BinaryOp::Minimum => minimum(x, y),
        BinaryOp::Maximum => maximum(x, y),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => f64::NAN,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
            f64::from(u8::from(compare(op, x.partial_cmp(&y)) == Some(true)))
        }
    }
}

/// `np.minimum`: NaN if either is.
#[inline]
pub const fn minimum(x: f64, y: f64) -> f64 {
    if x.is_nan() || x <= y { x } else { y }
}

/// `np.maximum`: NaN if either is.
#[inline]
pub const fn maximum(x: f64, y: f64) -> f64 {
    if x.is_nan() || x >= y { x } else { y }
}

/// C's `pow`, which is NumPy's: the real power, 1 for `x⁰` and `1ʸ` even with NaN.
#[inline]
pub fn power(x: f64, y: f64) -> f64 {
    x.powf(y)
}

/// NumPy's `npy_divmod` and its two users, at one float type.
macro_rules! divmod {
    ($float:ty, $divmod:ident, $floor_divide:ident, $remainder:ident) => {
        /// Quotient and remainder for a divisor other than 0.
        #[inline]
        fn $divmod(x: $float, y: $float) -> ($float, $float) {
            // `%` on floats is C's fmod, which is exact.
            let mut rest = x % y;
            let mut quotient = (x - rest) / y;
            if rest != 0.0 {
                if (y < 0.0) != (rest < 0.0) {
                    rest += y;
                    quotient -= 1.0;
                }
            } else {
                rest = (0.0 as $float).copysign(y);
            }
            if quotient != 0.0 {
                let floor = quotient.floor();
                return (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest);
            }
            ((0.0 as $float).copysign(x / y), rest)
        }

        /// `np.floor_divide` at this type.
        #[inline]
        pub fn $floor_divide(x: $float, y: $float) -> $float {
            if y == 0.0 { x / y } else { $divmod(x, y).0 }
        }

        /// `np.remainder` at this type.
        #[inline]
        pub fn $remainder(x: $float, y: $float) -> $float {
            if y == 0.0 { x % y } else { $divmod(x, y).1 }
        }
    };
}
divmod!(f64, divmod, floor_divide, remainder);
divmod!(f32, divmod_f32, floor_divide_f32, remainder_f32);

/// A binary operator on bools; false where it is not defined on them.
#[inline]
pub const fn binary_bool(op: BinaryOp, x: bool, y: bool) -> bool {
    match op {
        BinaryOp::Add | BinaryOp::Or | BinaryOp::Maximum => x | y,
        BinaryOp::Mul | BinaryOp::And | BinaryOp::Minimum => x & y,
        BinaryOp::Xor | BinaryOp::Ne => x ^ y,
        BinaryOp::Eq => x == y,
        BinaryOp::Lt => !x & y,
        BinaryOp::Le => !x | y,
        BinaryOp::Gt => x & !y,
        BinaryOp::Ge => x | !y,
        BinaryOp::Sub
        | BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Shl
        | BinaryOp::Shr => false,
    }
}

/// A binary operator on integers of `dtype`, wrapped to its width; for comparisons 1 or 0, and 0
/// where it is not defined on integers.
#[inline]
pub const fn binary_int(op: BinaryOp, dtype: DType, x: i64, y: i64) -> i64 {
    let result = match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::FloorDiv => floor_divide_int(x, y),
        BinaryOp::Mod => remainder_int(x, y),
        BinaryOp::Pow => power_int(x, y),
        BinaryOp::Minimum => {
            if x < y {
                x
            } else {
                y
            }
        }
        BinaryOp::Maximum => {
            if x > y {
                x
            } else {
                y
            }
        }
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl => {
            if y >= 0 && y < 8 * dtype.bytes() as i64 {
                x << y
            } else {
                0
            }
        }
        BinaryOp::Shr => {
            if y >= 0 && y < 8 * dtype.bytes() as i64 {
                x >> y
            } else {
                x >> 63
            }
        }
        BinaryOp::Eq => (x == y) as i64,
        BinaryOp::Ne => (x != y) as i64,
        BinaryOp::Lt => (x < y) as i64,
        BinaryOp::Le => (x <= y) as i64,
        BinaryOp::Gt => (x > y) as i64,
        BinaryOp::Ge => (x >= y) as i64,
        BinaryOp::Div => 0,
    };
    wrap(dtype, result)
}

/// Rounds towards −∞; 0 for a divisor of 0; MIN for MIN // −1 (after wrapping).
const fn floor_divide_int(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let quotient = x.wrapping_div(y);
    if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { quotient - 1 } else { quotient }
}

/// Has the divisor's sign; 0 for a divisor of 0.
const fn remainder_int(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let rest = x.wrapping_rem(y);
    if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
}

/// Wraps; for a negative exponent the real value truncated (0, ±1), and 0 for a base of 0.
const fn power_int(x: i64, y: i64) -> i64 {
    if y < 0 {
        return match x {
            1 => 1,
            -1 => {
                if y % 2 == 0 {
                    1
                } else {
                    -1
                }
            }
            _ => 0,
        };
    }
    let (mut result, mut base, mut exponent) = (1i64, x, y);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use crate::value::scalar_eval::*;

    #[test]
    fn integer_corner_cases_are_the_tables() {
        let int = |op, dtype, x, y| match binary(op, dtype, Literal::Int(x), Literal::Int(y)) {
            Ok(Literal::Int(z)) => z,
            other => panic!("{other:?}"),
        };
        let (min32, min64) = (i64::from(i32::MIN), i64::MIN);
        assert_eq!(int(BinaryOp::FloorDiv, DType::I32, min32, -1), min32);
        assert_eq!(int(BinaryOp::FloorDiv, DType::I64, min64, -1), min64);
        assert_eq!(int(BinaryOp::Mod, DType::I64, min64, -1), 0);
        assert_eq!(int(BinaryOp::FloorDiv, DType::I32, 7, 0), 0);
        assert_eq!(int(BinaryOp::Mod, DType::I32, -7, 3), 2);
        assert_eq!(int(BinaryOp::FloorDiv, DType::I32, -7, 3), -3);
        assert_eq!(int(BinaryOp::Shl, DType::I32, 1, 32), 0);
        assert_eq!(int(BinaryOp::Shr, DType::I32, -5, -1), -1);
        assert_eq!(int(BinaryOp::Pow, DType::I32, 3, 200), -1_426_542_431);
        assert_eq!(int(BinaryOp::Pow, DType::I32, -1, -3), -1);
        assert_eq!(unary(UnaryOp::Not, DType::Bool, Literal::Bool(true)), Ok(Literal::Bool(false)));
        assert_eq!(unary(UnaryOp::Abs, DType::Bool, Literal::Bool(true)), Ok(Literal::Bool(true)));
        assert!(unary(UnaryOp::Exp, DType::I32, Literal::Int(1)).is_err());
        assert!(binary(BinaryOp::Sub, DType::Bool, Literal::Bool(true), Literal::Bool(true)).is_err());
    }

    #[test]
    fn floats_out_of_range_become_the_least_integer() {
        for x in [f64::NAN, f64::INFINITY, 3e9, -3e9, 1e20] {
            assert_eq!(cast(DType::I32, Literal::float(x)), Literal::Int(i64::from(i32::MIN)));
        }
        assert_eq!(cast(DType::I32, Literal::float(-2_147_483_648.9)), Literal::Int(i64::from(i32::MIN)));
        assert_eq!(cast(DType::I64, Literal::float(3e9)), Literal::Int(3_000_000_000));
        assert_eq!(cast(DType::I64, Literal::float(9.3e18)), Literal::Int(i64::MIN));
        assert_eq!(cast(DType::Bool, Literal::float(f64::NAN)), Literal::Bool(true));
    }

    #[test]
    fn float_division_rounds_down_as_numpy() {
        assert!(floor_divide(1.0, 0.0) == f64::INFINITY && floor_divide(0.0, 0.0).is_nan());
        assert_eq!((floor_divide(-5.0, f64::INFINITY), remainder(-5.0, f64::INFINITY)), (-1.0, f64::INFINITY));
        assert_eq!((floor_divide(1.0, 0.1), floor_divide(5.5, -2.0), remainder(5.5, -2.0)), (9.0, -3.0, -0.5));
        assert!(remainder(0.0, -3.0).is_sign_negative() && !remainder(-0.0, 3.0).is_sign_negative());
        assert!(minimum(1.0, f64::NAN).is_nan() && maximum(f64::NAN, 1.0).is_nan());
    }
}
