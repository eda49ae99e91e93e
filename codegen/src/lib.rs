//! moat

pub mod abi;
pub mod artifact;
pub mod vector_math;
