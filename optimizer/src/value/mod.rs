//! Values: element types, what a scalar operator computes, tensors in memory.
//!
//! Takes and gives: literals, elements and whole tensors. Everything else is built on this room; it
//! knows nothing of programs, axes or loops.

pub mod dtype;
pub mod numerics;
pub mod pairwise;
pub mod scalar;
pub mod scalar_eval;
pub mod tensor;
