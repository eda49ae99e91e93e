//! moat

pub mod search;
