//! Why a function could not be emitted.

use inkwell::builder::BuilderError;

/// Why a function could not be emitted.
#[derive(Debug, thiserror::Error)]
pub enum VectorMathError {
    /// The operator is not one of this module's functions.
    #[error("`{op}` is no vector math function")]
    UnsupportedOp {
        /// The operator's name.
        op: &'static str,
    },
    /// The argument is not a float, or of a format that has no code.
    #[error("`{op}` exists for f32 and f64 and vectors of them, not for {found}")]
    UnsupportedType {
        /// The operator's name.
        op: &'static str,
        /// The argument's LLVM type.
        found: String,
    },
    /// This LLVM lacks an intrinsic.
    #[error("LLVM has no intrinsic `{name}` at this type")]
    MissingIntrinsic {
        /// The intrinsic.
        name: String,
    },
    /// The builder refused an instruction.
    #[error("LLVM's builder refused an instruction")]
    Builder(#[from] BuilderError),
    /// A bug of this module.
    #[error("internal error in vector math: {what}")]
    Internal {
        /// What was found.
        what: &'static str,
    },
}

/// What an emission step returns.
pub(super) type Emit<T> = Result<T, VectorMathError>;
