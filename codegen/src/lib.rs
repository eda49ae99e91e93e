//! From a loop nest to machine code, through LLVM.
//!
//! [`emit`] writes LLVM IR for a `LoopNest`, with the functions of [`vector_math`]; [`passes`]
//! optimises it and turns it into objects or text, [`workspace`] lays out its scratch memory,
//! [`jit`] loads it into this process. [`abi`] adds the checked entry for other languages,
//! [`artifact`] writes a kernel's files, and [`host`] says what this machine is, for a target.
//! Nothing here decides what is fast: every tile, loop and copy is in the nest that comes in.

pub mod abi;
mod address;
pub mod artifact;
pub mod emit;
pub mod error;
pub mod host;
pub mod jit;
mod masked_stores;
pub mod passes;
pub mod vector_math;
pub mod workspace;

pub use emit::{CompileOptions, Emitted, emit};
pub use error::CodegenError;
pub use host::host_target;
pub use jit::{CompiledNest, Workspace};
