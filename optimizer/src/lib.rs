//! The pure middle of moat: from a NumPy program to a scheduled loop nest.
//!
//! Data flows one way: `frontend` → [`expr`] → `normalize` → [`normal_form`] → `lower` →
//! [`nest`] → `apply` (under a [`schedule`]) → [`nest`]. Nothing in this crate reads a file, a
//! clock or a random source, and nothing prints.

mod accumulation;
pub mod apply;
pub mod blocked;
pub mod deferred;
pub mod dependence;
pub mod distribution;
pub mod draft;
pub mod footprint;
pub mod form;
pub mod frontend;
pub mod integer;
pub mod lower;
pub mod nest;
pub mod normalize;
pub mod oracle;
mod pack;
pub mod parts;
pub mod program;
pub mod right_looking;
pub mod scan;
pub mod schedule;
pub mod space;
pub mod storage;
mod strips;
mod supplied;
pub mod value;
pub mod wavefront;
