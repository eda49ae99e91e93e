//! What the tests share: sample programs and forms, random programs, and NumPy as a judge.

pub mod forms;
pub mod nests;
pub mod python;
pub mod random_loops;
pub mod random_program;
