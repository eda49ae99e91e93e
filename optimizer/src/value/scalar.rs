//! Scalar operators: one enum for the array program, the normal form and the loop nest.
//!
//! # Semantics (ours, not LLVM's; the tests hold the interpreter and the kernels to this table)
//!
//! | case | result |
//! |---|---|
//! | integer `+ - *`, `abs`, negation | wraps |
//! | integer `//` and `%` by zero | 0 (NumPy's value) |
//! | integer MIN `//` −1 | MIN; MIN `%` −1 is 0 |
//! | integer `//`, `%` | rounds towards −∞; `%` has the divisor's sign |
//! | float `//`, `%` | as `np.floor_divide`, `np.remainder` (IEEE special cases included) |
//! | shift by the width or more, or negative | `<<` gives 0; `>>` gives 0 or −1 (the sign) |
//! | float → integer out of range or NaN | MIN of the type, as x86's `cvttsd2si` does (i64 via 64 bits; the others via 32 bits, then wrapped) |
//! | `minimum`, `maximum` with a NaN | NaN |
//! | `minimum`, `maximum` of zeros of both signs, and reductions by them | a zero; its sign is not promised |
//! | integer `power` with negative exponent | refused by the frontend for literals; NumPy raises for any; here 0, ±1 by truncation of the real value, and 0 for base 0 |
//! | `sign(NaN)` | NaN; `sign(±0)` is 0 |
//! | comparisons with NaN | false, `!=` true |
//! | bool `+` is or, bool `*` is and | as NumPy; bool `-` is refused by the frontend |
//!
//! Empty sum 0, prod 1, any false, all true; an empty max or min is refused by the frontend.

use crate::value::dtype::{DType, Literal};
use serde::{Deserialize, Serialize};

/// Scalar functions of one argument; the result has the argument's dtype unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnaryOp {
    /// −x.
    Neg,
    /// Logical not of a bool, bitwise not of an integer.
    Not,
    /// |x|.
    Abs,
    /// −1, 0, 1.
    Sign,
    /// √x (floats).
    Sqrt,
    /// eˣ (floats).
    Exp,
    /// Natural logarithm (floats).
    Log,
    /// sin x, x in radians (floats).
    Sin,
    /// cos x, x in radians (floats).
    Cos,
    /// tanh x (floats).
    Tanh,
    /// Error function (floats).
    Erf,
    /// ⌊x⌋ (floats).
    Floor,
}

impl UnaryOp {
    /// Every operator, in declaration order.
    pub const ALL: [UnaryOp; 12] = [
        UnaryOp::Neg,
        UnaryOp::Not,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::Sqrt,
        UnaryOp::Exp,
        UnaryOp::Log,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Tanh,
        UnaryOp::Erf,
        UnaryOp::Floor,
    ];

    /// Lower-case name, as in rules and printed forms.
    pub const fn name(self) -> &'static str {
        match self {
            UnaryOp::Neg => "neg",
            UnaryOp::Not => "not",
            UnaryOp::Abs => "abs",
            UnaryOp::Sign => "sign",
            UnaryOp::Sqrt => "sqrt",
            UnaryOp::Exp => "exp",
            UnaryOp::Log => "log",
            UnaryOp::Sin => "sin",
            UnaryOp::Cos => "cos",
            UnaryOp::Tanh => "tanh",
            UnaryOp::Erf => "erf",
            UnaryOp::Floor => "floor",
        }
    }

    /// Whether it jumps: the last bit of a float argument may decide about all of the value.
    pub fn is_discontinuous(self) -> bool {
        match self {
            UnaryOp::Floor | UnaryOp::Sign => true,
            UnaryOp::Neg
            | UnaryOp::Not
            | UnaryOp::Abs
            | UnaryOp::Sqrt
            | UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh
            | UnaryOp::Erf => false,
        }
    }

    /// The inverse of [`UnaryOp::name`].
    pub fn from_name(name: &str) -> Option<UnaryOp> {
        UnaryOp::ALL.into_iter().find(|op| op.name() == name)
    }
}

/// Scalar functions of two arguments of one dtype; comparisons give `Bool`, the others the
/// arguments' dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryOp {
    /// x + y; logical or on bools.
    Add,
    /// x − y (not on bools).
    Sub,
    /// x · y; logical and on bools.
    Mul,
    /// Float division (floats only: the frontend casts first).
    Div,
    /// NumPy's `//`.
    FloorDiv,
    /// NumPy's `%`.
    Mod,
    /// NumPy's `**`.
    Pow,
    /// The smaller; NaN if either is.
    Minimum,
    /// The larger; NaN if either is.
    Maximum,
    /// Bitwise (integers) or logical (bools) and.
    And,
    /// Bitwise or logical or.
    Or,
    /// Bitwise or logical exclusive or.
    Xor,
    /// `<<` (integers).
    Shl,
    /// Arithmetic `>>` (integers).
    Shr,
    /// x = y.
    Eq,
    /// x ≠ y.
    Ne,
    /// x < y.
    Lt,
    /// x ≤ y.
    Le,
    /// x > y.
    Gt,
    /// x ≥ y.
    Ge,
}

impl BinaryOp {
    /// Every operator, in declaration order.
    pub const ALL: [BinaryOp; 20] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::FloorDiv,
        BinaryOp::Mod,
        BinaryOp::Pow,
        BinaryOp::Minimum,
        BinaryOp::Maximum,
        BinaryOp::And,
        BinaryOp::Or,
        BinaryOp::Xor,
        BinaryOp::Shl,
        BinaryOp::Shr,
        BinaryOp::Eq,
        BinaryOp::Ne,
        BinaryOp::Lt,
        BinaryOp::Le,
        BinaryOp::Gt,
        BinaryOp::Ge,
    ];

    /// Lower-case name, as in rules and printed forms.
    pub const fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "add",
            BinaryOp::Sub => "sub",
            BinaryOp::Mul => "mul",
            BinaryOp::Div => "div",
            BinaryOp::FloorDiv => "floordiv",
            BinaryOp::Mod => "mod",
            BinaryOp::Pow => "pow",
            BinaryOp::Minimum => "minimum",
            BinaryOp::Maximum => "maximum",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Xor => "xor",
            BinaryOp::Shl => "shl",
            BinaryOp::Shr => "shr",
            BinaryOp::Eq => "eq",
            BinaryOp::Ne => "ne",
            BinaryOp::Lt => "lt",
            BinaryOp::Le => "le",
            BinaryOp::Gt => "gt",
            BinaryOp::Ge => "ge",
        }
    }

    /// Whether it jumps: the last bit of a float argument may decide about all of the value.
    pub fn is_discontinuous(self) -> bool {
        self.is_comparison() || matches!(self, BinaryOp::FloorDiv | BinaryOp::Mod)
    }

    /// The inverse of [`BinaryOp::name`].
    pub fn from_name(name: &str) -> Option<BinaryOp> {
        BinaryOp::ALL.into_iter().find(|op| op.name() == name)
    }

    /// Its class.
    pub const fn class(self) -> BinaryClass {
        match self {
            BinaryOp::Add | BinaryOp::Sub => BinaryClass::Sum,
            BinaryOp::Mul => BinaryClass::Product,
            BinaryOp::Div => BinaryClass::Quotient,
            BinaryOp::FloorDiv | BinaryOp::Mod => BinaryClass::Division,
            BinaryOp::Pow => BinaryClass::Power,
            BinaryOp::Minimum | BinaryOp::Maximum => BinaryClass::Extremum,
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => BinaryClass::Bitwise,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                BinaryClass::Comparison
            }
        }
    }

    /// True of the six comparisons, whose result is `Bool`.
    pub const fn is_comparison(self) -> bool {
        matches!(self.class(), BinaryClass::Comparison)
    }

    /// The result's dtype for arguments of dtype `argument`.
    pub const fn result(self, argument: DType) -> DType {
        if self.is_comparison() { DType::Bool } else { argument }
    }
}

/// What two-argument functions have in common, for rules that hold for all of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryClass {
    /// `add`, `sub`.
    Sum,
    /// `mul`.
    Product,
    /// `div`.
    Quotient,
    /// `floordiv`, `mod`.
    Division,
    /// `pow`.
    Power,
    /// `minimum`, `maximum`.
    Extremum,
    /// `and`, `or`, `xor`, and the shifts.
    Bitwise,
    /// The six comparisons.
    Comparison,
}

/// The operator of a reduction: associative and commutative over exact arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoldOp {
    /// Σ (or, on bools).
    Sum,
    /// Π (and, on bools).
    Prod,
    /// The largest; NaN propagates.
    Max,
    /// The smallest; NaN propagates.
    Min,
    /// ∧ on bools.
    All,
    /// ∨ on bools.
    Any,
}

impl FoldOp {
    /// Every operator, in declaration order.
    pub const ALL: [FoldOp; 6] = [FoldOp::Sum, FoldOp::Prod, FoldOp::Max, FoldOp::Min, FoldOp::All, FoldOp::Any];

    /// Lower-case name, as in rules and printed forms.
    pub const fn name(self) -> &'static str {
        match self {
            FoldOp::Sum => "sum",
            FoldOp::Prod => "prod",
            FoldOp::Max => "max",
            FoldOp::Min => "min",
            FoldOp::All => "all",
            FoldOp::Any => "any",
        }
    }

    /// The inverse of [`FoldOp::name`].
    pub fn from_name(name: &str) -> Option<FoldOp> {
        FoldOp::ALL.into_iter().find(|op| op.name() == name)
    }

    /// The binary operator that combines two partial results.
    pub const fn combine(self) -> BinaryOp {
        match self {
            FoldOp::Sum => BinaryOp::Add,
            FoldOp::Prod => BinaryOp::Mul,
            FoldOp::Max => BinaryOp::Maximum,
            FoldOp::Min => BinaryOp::Minimum,
            FoldOp::All => BinaryOp::And,
            FoldOp::Any => BinaryOp::Or,
        }
    }

    /// The identity at `dtype`.
    pub fn identity(self, dtype: DType) -> Literal {
        let (lowest, highest) = match dtype {
            DType::Bool => (Literal::Bool(false), Literal::Bool(true)),
            DType::I8 => (Literal::Int(i64::from(i8::MIN)), Literal::Int(i64::from(i8::MAX))),
            DType::U8 => (Literal::Int(0), Literal::Int(i64::from(u8::MAX))),
            DType::I16 => (Literal::Int(i64::from(i16::MIN)), Literal::Int(i64::from(i16::MAX))),
            DType::I32 => (Literal::Int(i64::from(i32::MIN)), Literal::Int(i64::from(i32::MAX))),
            DType::I64 => (Literal::Int(i64::MIN), Literal::Int(i64::MAX)),
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
                (Literal::float(f64::NEG_INFINITY), Literal::float(f64::INFINITY))
            }
        };
        match self {
            FoldOp::Sum => Literal::Int(0).at(dtype),
            FoldOp::Prod => Literal::Int(1).at(dtype),
            FoldOp::Max => lowest,
            FoldOp::Min => highest,
            FoldOp::All => Literal::Bool(true),
            FoldOp::Any => Literal::Bool(false),
        }
    }

    /// Whether partial results may be combined in any order without changing the result. A maximum of floats that is zero
    /// may have either sign in another order, as it may in NumPy, which takes maxima in the order of its vectors.
    pub const fn reorders_exactly(self, dtype: DType) -> bool {
        match self {
            FoldOp::Sum | FoldOp::Prod => !dtype.is_float(),
            FoldOp::Max | FoldOp::Min | FoldOp::All | FoldOp::Any => true,
        }
    }
}
