//! Orders of loops: equal forms whose loops run otherwise.
//!
//! Takes a form; gives forms in which updates are distributed, deferred, blocked, skewed into
//! wavefronts, or whose folds and scans are split into parts. Each law says what it needs of the
//! dependences. It knows nothing of schedules, and does not know `normalize`.

pub mod accumulation;
pub mod block_sizes;
pub mod blocked;
pub mod deferred;
pub mod distribution;
pub mod fold_parts;
pub mod loop_state;
pub mod right_looking;
pub mod scan_parts;
pub mod wavefront;
