//! What the tests share: sample programs and forms, random programs, brute force over dependences, and NumPy as a judge.

pub mod forms;
pub mod fuzz;
pub mod kernels;
pub mod machine;
pub mod nest_hashes;
pub mod nests;
pub mod numpy_fuzz;
pub mod pipeline;
pub mod python;
pub mod random_loops;
pub mod random_program;
pub mod scheduled_order;
pub mod seeded;
pub mod source_order;
pub mod workloads;
