//! Generated NumPy programs against NumPy itself: what interpreter and compiler share, they cannot check in each other.
//!
//! [`generate()`] draws a program by its seed, [`oracle`] has NumPy run it and say how far a result may be off, [`kernel`]
//! compiles it once and compares, [`shrink`] cuts what fails down to a few lines, [`run`] does all of this for slices of
//! seeds, in a process of its own that may crash or hang.

mod arithmetic;
mod control;
mod expressions;
pub mod generate;
mod helpers;
pub mod inputs;
pub mod kernel;
pub mod oracle;
pub mod program;
pub mod run;
pub mod shrink;
mod structure;

pub use generate::{generate, has_loops};
