//! Element types and literals.
//!
//! Promotion between types is the frontend's business (`frontend`): by the time a value is in an
//! [`crate::program::expr::Program`] every conversion is an explicit cast and no node promotes.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An element type. Programs may use [`DType::SUPPORTED`]; the others have their place so that
/// storage formats and match arms do not change when they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl DType {
    /// The types a program may use today.
    pub const SUPPORTED: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::Bool];

    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::Bool | DType::I8 | DType::U8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// True of the floating-point types.
    pub const fn is_float(self) -> bool {
        match self {
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => true,
            DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => false,
        }
    }

    /// True of the integer types; `Bool` is not one.
    pub const fn is_int(self) -> bool {
        match self {
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => true,
            DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => false,
        }
    }

    /// The name used in workloads, rules and records: `f32`, `i64`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// The inverse of [`DType::name`].
    pub fn from_name(name: &str) -> Option<DType> {
        const ALL: [DType; 10] = [
            DType::Bool,
            DType::I8,
            DType::U8,
            DType::I16,
            DType::I32,
            DType::I64,
            DType::F16,
            DType::BF16,
            DType::F32,
            DType::F64,
        ];
        ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A constant element. Floats are kept as bits so that literals are `Eq` and `Hash` (NaN
/// included).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Literal {
    /// A truth value.
    Bool(bool),
    /// Any integer type; the value is in the range of the dtype it is used at.
    Int(i64),
    /// Any float type, as the bits of an `f64`; for `f32` the value is exactly representable.
    Float(u64),
}

impl Literal {
    /// A float literal.
    pub fn float(value: f64) -> Literal {
        Literal::Float(value.to_bits())
    }

    /// The value as `f64` (`true` is 1).
    #[expect(clippy::cast_precision_loss, reason = "callers use it for estimates and for floats")]
    pub fn as_f64(self) -> f64 {
        match self {
            Literal::Bool(b) => f64::from(u8::from(b)),
            Literal::Int(i) => i as f64,
            Literal::Float(bits) => f64::from_bits(bits),
        }
    }

    /// The value as `i64`, where it is a bool or an integer.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Literal::Bool(b) => Some(i64::from(b)),
            Literal::Int(i) => Some(i),
            Literal::Float(_) => None,
        }
    }

    /// The literal `value` at `dtype`, where it is exact there (`f32` rounds to nearest).
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the meaning")]
    #[expect(clippy::cast_precision_loss, reason = "an integer literal at a float type rounds, as NumPy does")]
    pub fn at(self, dtype: DType) -> Literal {
        match (self, dtype.is_float()) {
            (Literal::Float(bits), true) if dtype == DType::F32 => {
                Literal::float(f64::from(f64::from_bits(bits) as f32))
            }
            (Literal::Int(i), true) => Literal::float(i as f64).at(dtype),
            (Literal::Bool(b), true) => Literal::float(f64::from(u8::from(b))),
            (Literal::Bool(b), false) if dtype.is_int() => Literal::Int(i64::from(b)),
            (Literal::Int(i), false) if dtype == DType::Bool => Literal::Bool(i != 0),
            (literal, _) => literal,
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Bool(b) => write!(f, "{b}"),
            Literal::Int(i) => write!(f, "{i}"),
            Literal::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
        }
    }
}
