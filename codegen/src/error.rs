//! What can go wrong between a loop nest and a loaded kernel.

use crate::vector_math::VectorMathError;
use inkwell::builder::BuilderError;
use moat_optimizer::value::dtype::DType;
use thiserror::Error;

/// A code-generation failure. None of them is a panic: a failed candidate is a record.
#[derive(Debug, Error)]
pub enum CodegenError {
    /// LLVM's builder refused an instruction.
    #[error("LLVM builder: {source}")]
    Builder {
        /// LLVM's reason.
        #[from]
        source: BuilderError,
    },
    /// An elementary function could not be emitted.
    #[error("vector math: {source}")]
    VectorMath {
        /// Why.
        #[from]
        source: VectorMathError,
    },
    /// The target is unknown to this build of LLVM.
    #[error("target {triple} ({cpu}): {reason}")]
    Target {
        /// The triple asked for.
        triple: String,
        /// The CPU asked for.
        cpu: String,
        /// LLVM's reason.
        reason: String,
    },
    /// The module failed LLVM's verifier: a defect of the code generator.
    #[error("invalid LLVM IR: {message}")]
    Verify {
        /// The verifier's words.
        message: String,
    },
    /// An optimisation pass or the back end failed.
    #[error("LLVM {stage}: {message}")]
    Llvm {
        /// What was being done.
        stage: &'static str,
        /// LLVM's words.
        message: String,
    },
    /// An operation has no meaning at a type.
    #[error("{operation} is not defined on {dtype}")]
    Unsupported {
        /// The operation's name.
        operation: &'static str,
        /// The type it was asked at.
        dtype: DType,
    },
    /// The nest breaks its own contract.
    #[error("malformed loop nest at `{place}`: {what}")]
    Malformed {
        /// The tile or loop.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A register tile unrolls to too much code.
    #[error("tile `{origin}` unrolls to {operations} operations, more than {limit}")]
    TooLarge {
        /// The tile's origin.
        origin: String,
        /// Operations in one register tile.
        operations: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// Partial accumulators would change the result of a fold that numerics forbid to reorder.
    #[error("tile `{origin}` has partial accumulators, but its fold may not be reordered")]
    NotReorderable {
        /// The tile's origin.
        origin: String,
    },
    /// A run-time library that the kernel needs is not on this machine.
    #[error("no {library} on this machine (needed for {needed_for})")]
    MissingLibrary {
        /// The library's name.
        library: &'static str,
        /// What it is needed for.
        needed_for: &'static str,
    },
    /// A call does not fit the kernel.
    #[error("argument {index} of kernel `{function}`: {what}")]
    Argument {
        /// The kernel.
        function: String,
        /// Which argument, inputs first.
        index: usize,
        /// What does not fit.
        what: String,
    },
    /// The kernel returned a status other than 0.
    #[error("kernel `{function}` returned status {status}")]
    Status {
        /// The kernel.
        function: String,
        /// Its status.
        status: i32,
    },
}
