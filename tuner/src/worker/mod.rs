//! The worker: a child process that compiles, checks and times candidates, and that may die of any of them.
//!
//! [`protocol`] is what it is told and answers, [`child`] the process itself, `session` what it holds between requests,
//! `call` one call of a kernel, `timing` what it does to time kernels, [`code`] the compiled module, [`guard`] the memory
//! that catches stray accesses, and [`disturbance`] what other work did meanwhile. The parent's side is
//! [`crate::measure`]. The worker holds nothing that is not sent again to its successor.

mod call;
pub mod child;
pub mod code;
pub mod disturbance;
pub mod guard;
pub mod protocol;
mod session;
mod timing;
