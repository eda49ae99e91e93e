//! From a loop nest to machine code, through LLVM.
//!
//! [`emit`] writes LLVM IR for a `LoopNest`, [`passes`] optimises it and turns it into objects or
//! text, [`workspace`] lays out its scratch memory, [`jit`] loads it into this process. Nothing
//! here decides what is fast: every tile, loop and copy is in the nest that comes in.

pub mod emit;
pub mod error;
pub mod jit;
pub mod passes;
pub mod vector_math;
pub mod workspace;

pub use emit::{CompileOptions, Emitted, emit};
pub use error::CodegenError;
pub use jit::{CompiledNest, Workspace};
