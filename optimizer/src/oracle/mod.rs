//! The oracle: evaluates source programs, and makes the inputs to evaluate them on.
//!
//! Takes a program and tensors; gives each result with a bound on its error. It shares no code with
//! `normalize`, the nest or the code generator, and knows nothing of schedules.

pub mod inputs;
pub mod interpret;
