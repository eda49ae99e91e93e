//! The pure middle of moat: from a NumPy program to a scheduled loop nest.
//!
//! Data flows one way: `frontend` → [`expr`] → `normalize` → [`normal_form`] → `lower` →
//! [`nest`] → `apply` (under a [`schedule`]) → [`nest`]. Nothing in this crate reads a file, a
//! clock or a random source, and nothing prints.

pub mod affine;
pub mod dependence;
pub mod draft;
pub mod dtype;
pub mod expr;
pub mod footprint;
pub mod legality;
pub mod nest;
pub mod normal_form;
pub mod numerics;
pub mod scalar;
pub mod schedule;
pub mod space;
pub mod target;
