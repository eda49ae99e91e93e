//! Storage: makes a form ready for a schedule.
//!
//! Takes a form in some order of loops; gives an equal one whose updates in place are safe, whose
//! states lie in the order in which they are walked, and whose adjacent axes are merged. It knows
//! nothing of schedules.

pub mod in_place;
pub mod merge_axes;
pub mod state_order;
