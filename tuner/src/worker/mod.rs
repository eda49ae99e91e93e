//! The worker: a child process that compiles, checks and times candidates, and that may die of any of them.
//!
//! [`protocol`] is what it is told and answers, [`child`] the process itself, [`code`] the compiled module and
//! [`guard`] the memory that catches stray accesses. The parent's side is [`crate::measure`]. The worker holds nothing
//! that is not sent again to its successor.

pub mod child;
pub mod code;
pub mod guard;
pub mod protocol;
