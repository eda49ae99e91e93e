//! A schedule applied: normal form → loop nest.
//!
//! Input: a normal form and a schedule that [`crate::schedule`] describes. Output: a loop tree in
//! which every definition stands where its schedule places it, with bounds inferred and scratch
//! allocated. It assumes legality of *order* (the legality relations decide that) but checks every
//! structural condition, so that a schedule that cannot be carried out is an error and never a
//! wrong program.

mod address;
mod allocation;
mod axis;
mod bounds;
mod builder;
mod error;
mod loops;
pub mod lower;
mod pack;
mod placement;
mod shape;
mod stage;
mod state;
mod steps;
mod tile;

pub use error::ApplyError;
pub use steps::apply;
