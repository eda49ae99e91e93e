//! Python's own numbers: the compile-time constants of a workload.
//!
//! Folds Python's arithmetic on `bool`, `int` and `float` with Python's meaning (floor division, exact integers,
//! powers). Integers are kept in 128 bits; what does not fit is refused, never wrapped.

use rustpython_ruff_python_ast::{Operator, UnaryOp};
use std::cmp::Ordering;
use std::fmt;

/// A Python number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// `True`, `False`.
    Bool(bool),
    /// An `int`.
    Int(i128),
    /// A `float`.
    Float(f64),
}

impl Number {
    /// The value as an integer, where it is a `bool` or an `int`.
    pub(super) fn as_int(self) -> Option<i128> {
        match self {
            Number::Bool(b) => Some(i128::from(b)),
            Number::Int(i) => Some(i),
            Number::Float(_) => None,
        }
    }

    /// The value as a float, rounded to nearest.
    #[expect(clippy::cast_precision_loss, reason = "Python rounds an int to a float too")]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Number::Bool(b) => f64::from(u8::from(b)),
            Number::Int(i) => i as f64,
            Number::Float(x) => x,
        }
    }

    /// Python's truth value.
    pub(super) fn truth(self) -> bool {
        match self {
            Number::Bool(b) => b,
            Number::Int(i) => i != 0,
            Number::Float(x) => x != 0.0,
        }
    }

    /// The name of the Python type.
    pub(super) const fn type_name(self) -> &'static str {
        match self {
            Number::Bool(_) => "bool",
            Number::Int(_) => "int",
            Number::Float(_) => "float",
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Bool(true) => f.write_str("True"),
            Number::Bool(false) => f.write_str("False"),
            Number::Int(i) => write!(f, "{i}"),
            Number::Float(x) => write!(f, "{x:?}"),
        }
    }
}

/// `a op b` as Python computes it.
///
/// # Errors
/// A message: division by zero, an operator that the types do not have, an integer beyond 128 bits.
pub(super) fn binary(op: Operator, a: Number, b: Number) -> Result<Number, String> {
    if let (Number::Bool(x), Number::Bool(y)) = (a, b) {
        match op {
            Operator::BitAnd => return Ok(Number::Bool(x & y)),
            Operator::BitOr => return Ok(Number::Bool(x | y)),
            Operator::BitXor => return Ok(Number::Bool(x ^ y)),
            Operator::Add
            | Operator::Sub
            | Operator::Mult
            | Operator::MatMult
            | Operator::Div
            | Operator::Mod
            | Operator::Pow
            | Operator::LShift
            | Operator::RShift
            | Operator::FloorDiv => {}
        }
    }
    match (a.as_int(), b.as_int()) {
        (Some(x), Some(y)) => int_binary(op, x, y),
        (None, _) | (_, None) => float_binary(op, a, b),
    }
}

fn int_binary(op: Operator, x: i128, y: i128) -> Result<Number, String> {
    let exact = match op {
        Operator::Add => x.checked_add(y),
        Operator::Sub => x.checked_sub(y),
        Operator::Mult => x.checked_mul(y),
        Operator::Div | Operator::Mod | Operator::FloorDiv if y == 0 => return Err("division by zero".to_owned()),
        Operator::Div => return quotient(x, y).map(Number::Float),
        Operator::FloorDiv => x.checked_div_euclid(y).map(|q| if y < 0 && x.rem_euclid(y) != 0 { q - 1 } else { q }),
        Operator::Mod => x.checked_rem_euclid(y).map(|r| if y < 0 && r != 0 { r + y } else { r }),
        Operator::Pow if y < 0 && x == 0 => return Err("0 cannot be raised to a negative power".to_owned()),
        Operator::Pow if y < 0 => return float_binary(op, Number::Int(x), Number::Int(y)),
        Operator::Pow => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        Operator::LShift | Operator::RShift if y < 0 => return Err("negative shift count".to_owned()),
        Operator::LShift => {
            u32::try_from(y).ok().filter(|&y| y < 127).and_then(|y| x.checked_mul(1_i128.checked_shl(y)?))
        }
        Operator::RShift => Some(x >> u32::try_from(y.min(127)).unwrap_or(127)),
        Operator::BitAnd => Some(x & y),
        Operator::BitOr => Some(x | y),
        Operator::BitXor => Some(x ^ y),
        Operator::MatMult => return Err(unsupported(op, "int", "int")),
    };
    exact.map(Number::Int).ok_or_else(|| "the integer result has more than 127 bits".to_owned())
}

fn float_binary(op: Operator, a: Number, b: Number) -> Result<Number, String> {
    let (x, y) = (a.as_f64(), b.as_f64());
    let value = match op {
        Operator::Add => x + y,
        Operator::Sub => x - y,
        Operator::Mult => x * y,
        Operator::Div | Operator::Mod | Operator::FloorDiv if y == 0.0 => return Err("division by zero".to_owned()),
        Operator::Div => x / y,
        Operator::FloorDiv => float_divmod(x, y).0,
        Operator::Mod => float_divmod(x, y).1,
        Operator::Pow if x == 0.0 && y < 0.0 => {
            return Err("0.0 cannot be raised to a negative power".to_owned());
        }
        Operator::Pow if x < 0.0 && y.is_finite() && y.fract() != 0.0 => {
            return Err("a negative number to a fractional power is complex".to_owned());
        }
        Operator::Pow => {
            let power = x.powf(y);
            if power.is_infinite() && x.is_finite() && y.is_finite() {
                return Err("the result of the power is too large for a float".to_owned());
            }
            power
        }
        Operator::LShift
        | Operator::RShift
        | Operator::BitAnd
        | Operator::BitOr
        | Operator::BitXor
        | Operator::MatMult => return Err(unsupported(op, a.type_name(), b.type_name())),
    };
    Ok(Number::Float(value))
}

/// `x / y` of integers, rounded once as Python rounds it.
fn quotient(x: i128, y: i128) -> Result<f64, String> {
    // Up to here an integer is a float.
    const EXACT: u128 = 1 << 53;
    if x.unsigned_abs() <= EXACT && y.unsigned_abs() <= EXACT {
        return Ok(Number::Int(x).as_f64() / Number::Int(y).as_f64());
    }
    match x.checked_rem(y) {
        Some(0) => Ok(Number::Int(x / y).as_f64()),
        Some(_) | None => Err("the quotient of integers beyond 2**53 is not supported".to_owned()),
    }
}

fn unsupported(op: Operator, a: &str, b: &str) -> String {
    format!("unsupported operand types for {}: '{a}' and '{b}'", op.as_str())
}

/// Quotient and remainder as CPython's `float_divmod` computes them; `y` is not 0.
fn float_divmod(x: f64, y: f64) -> (f64, f64) {
    let mut remainder = x % y;
    let mut quotient = (x - remainder) / y;
    if remainder == 0.0 {
        remainder = 0.0_f64.copysign(y);
    } else if (y < 0.0) != (remainder < 0.0) {
        remainder += y;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(x / y), remainder);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, remainder)
}

/// `op a` as Python computes it.
///
/// # Errors
/// A message where the operator does not apply.
pub(super) fn unary(op: UnaryOp, a: Number) -> Result<Number, String> {
    match (op, a.as_int()) {
        (UnaryOp::Not, _) => Ok(Number::Bool(!a.truth())),
        (UnaryOp::UAdd, Some(i)) => Ok(Number::Int(i)),
        (UnaryOp::USub, Some(i)) => {
            i.checked_neg().map(Number::Int).ok_or_else(|| "the integer result has more than 127 bits".to_owned())
        }
        (UnaryOp::Invert, Some(i)) => Ok(Number::Int(!i)),
        (UnaryOp::UAdd, None) => Ok(a),
        (UnaryOp::USub, None) => Ok(Number::Float(-a.as_f64())),
        (UnaryOp::Invert, None) => Err("bad operand type for unary ~: 'float'".to_owned()),
    }
}

/// How two numbers are ordered, exactly, an `int` and a `float` too; `None` where one is NaN.
pub(super) fn order(a: Number, b: Number) -> Option<Ordering> {
    match (a.as_int(), b.as_int()) {
        (Some(x), Some(y)) => Some(x.cmp(&y)),
        (Some(x), None) => int_float_order(x, b.as_f64()),
        (None, Some(y)) => int_float_order(y, a.as_f64()).map(Ordering::reverse),
        (None, None) => a.as_f64().partial_cmp(&b.as_f64()),
    }
}

/// Rounding keeps the order, so only where the rounded integer is the float does the integer itself decide.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which the case before excludes")]
fn int_float_order(i: i128, x: f64) -> Option<Ordering> {
    const ABOVE: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    match Number::Int(i).as_f64().partial_cmp(&x)? {
        Ordering::Equal if x >= ABOVE => Some(Ordering::Less),
        Ordering::Equal => Some(i.cmp(&(x as i128))),
        unequal => Some(unequal),
    }
}
