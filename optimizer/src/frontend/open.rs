//! A loop or condition that a reading is in.
//!
//! Holds what is known of it while it is open: its number, its names, and the memory that may be one at its ends.

use super::frames::FrameId;
use super::twins::Twins;
use std::collections::BTreeSet;

/// An open loop or condition.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) number: usize,
    pub(super) frame: FrameId,
    pub(super) is_loop: bool,
    /// It is a loop that is read copy by copy.
    pub(super) unrolled: bool,
    /// Where it stands, as liveness knows it.
    pub(super) place: usize,
    /// The names that it assigns somewhere.
    pub(super) names: BTreeSet<String>,
    /// How many pieces of memory had been made when its body began.
    pub(super) began: usize,
    /// The twins when it began.
    pub(super) before: Twins,
    /// The twins at the ends of its branches.
    pub(super) after: Twins,
}
