//! moat

pub mod vector_math;
