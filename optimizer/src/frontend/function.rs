//! What a function that a workload may call is: its name, its signature, and what it does.
//!
//! Holds descriptions alone, which values refer to. [`super::functions`] lists the functions; [`super::routines`] runs
//! them.

use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// A function of NumPy (or a method, or `erf`).
#[derive(Debug)]
pub(super) struct Function {
    /// The name as it is called, without the module.
    pub(super) name: &'static str,
    /// Parameters in NumPy's order, separated by blanks: `a` required, `a?` optional, `a!` known but not supported,
    /// `*a` takes the remaining positional arguments.
    pub(super) signature: &'static str,
    /// What it does.
    pub(super) kind: Kind,
}

/// What a function does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An element-wise function of one argument.
    Unary(Unary),
    /// An element-wise function of two arguments.
    Binary(Binary),
    /// A reduction.
    Fold(FoldOp),
    /// Anything else.
    Other(Routine),
}

/// Element-wise functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    /// A scalar operator.
    Op(UnaryOp),
    /// Round up.
    Ceil,
    /// The argument.
    Positive,
    /// x · x.
    Square,
    /// 1 / x.
    Reciprocal,
    /// x is zero.
    LogicalNot,
    /// x is NaN.
    IsNan,
    /// x is infinite.
    IsInf,
    /// x is neither.
    IsFinite,
}

/// Element-wise functions of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    /// A scalar operator.
    Op(BinaryOp),
    /// Both are non-zero: `And`, `Or`, `Xor` on truth values.
    Logical(BinaryOp),
}

/// Functions that have code of their own, by the names that NumPy gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routine {
    Arange,
    Argmax,
    Argmin,
    Array,
    Asarray,
    Ascontiguousarray,
    Astype,
    BroadcastTo,
    Clip,
    Concatenate,
    Copy,
    CopyMethod,
    Cumprod,
    Cumsum,
    Diag,
    Diagonal,
    Dot,
    Einsum,
    Empty,
    EmptyLike,
    ExpandDims,
    Eye,
    Flatten,
    Flip,
    Fliplr,
    Flipud,
    Full,
    FullLike,
    Hstack,
    Inner,
    Matmul,
    MatrixTranspose,
    Mean,
    Moveaxis,
    Ndim,
    Ones,
    OnesLike,
    Outer,
    Pad,
    Ravel,
    Reshape,
    Roll,
    Select,
    ShapeOf,
    Size,
    SlidingWindowView,
    Squeeze,
    Stack,
    Std,
    Swapaxes,
    Take,
    Tensordot,
    Trace,
    Transpose,
    Tri,
    Tril,
    Triu,
    Var,
    Vdot,
    Vstack,
    Zeros,
    ZerosLike,
    /// A method of a ufunc, which is called with the ufunc.
    OfUfunc,
}
