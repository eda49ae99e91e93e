//! Dependences: which accesses meet, in which order iterations must run, and what may move.
//!
//! Takes a normal form; gives direction vectors, the loops that carry dependences, the definitions
//! whose place is fixed, and forms with definitions written into their readers. It knows nothing of
//! schedules.

pub mod access;
pub mod between;
pub mod inline;
pub mod loops;
pub mod movable;
