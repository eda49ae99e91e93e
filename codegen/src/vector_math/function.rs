//! The functions that there is code for: their names, their arguments and their error bounds.

use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::UnaryOp;

/// The functions of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// eˣ.
    Exp,
    /// ln x.
    Log,
    /// sin x.
    Sin,
    /// cos x.
    Cos,
    /// tanh x.
    Tanh,
    /// The error function.
    Erf,
    /// xʸ.
    Pow,
}

impl Function {
    /// Every function, in declaration order.
    pub const ALL: [Function; 7] =
        [Function::Exp, Function::Log, Function::Sin, Function::Cos, Function::Tanh, Function::Erf, Function::Pow];

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Tanh => "tanh",
            Function::Erf => "erf",
            Function::Pow => "pow",
        }
    }

    /// The function that computes a unary operator, if this module has it.
    pub const fn of_unary(op: UnaryOp) -> Option<Function> {
        match op {
            UnaryOp::Exp => Some(Function::Exp),
            UnaryOp::Log => Some(Function::Log),
            UnaryOp::Sin => Some(Function::Sin),
            UnaryOp::Cos => Some(Function::Cos),
            UnaryOp::Tanh => Some(Function::Tanh),
            UnaryOp::Erf => Some(Function::Erf),
            UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Sqrt | UnaryOp::Floor => None,
        }
    }

    /// How many arguments it takes.
    pub(super) const fn arguments(self) -> usize {
        match self {
            Function::Exp | Function::Log | Function::Sin | Function::Cos | Function::Tanh | Function::Erf => 1,
            Function::Pow => 2,
        }
    }
}

/// The greatest error of a function at `dtype` in units in the last place; `None` for a type that
/// has no code.
pub const fn bound(function: Function, dtype: DType) -> Option<f64> {
    let (single, double) = match function {
        Function::Exp => (1.0, 1.0),
        Function::Log => (1.5, 1.0),
        Function::Sin | Function::Cos => (2.0, 2.0),
        Function::Tanh => (2.5, 2.5),
        Function::Erf => (1.5, 1.5),
        Function::Pow => (1.0, 1.5),
    };
    match dtype {
        DType::F32 => Some(single),
        DType::F64 => Some(double),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => None,
    }
}
