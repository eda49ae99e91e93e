//! Integers: affine forms, ranges, and sets of integer points with a test for emptiness.
//!
//! Takes affine forms over axes and loops; gives bounds, counts, images and proofs that no point
//! exists. Answers are safe where they are not exact, and say which they are. This room knows
//! nothing of arrays, definitions or schedules.

pub mod affine;
pub mod affine_domain;
pub mod bounds;
pub mod count;
pub mod index_map;
pub mod intervals;
pub mod range;
pub mod region;
pub mod set;
