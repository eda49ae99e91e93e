//! What a search proposes.
//!
//! A candidate is a schedule with the number of the form that it schedules. Nothing here measures or ranks it.

use moat_optimizer::schedule::Schedule;

/// One schedule of one form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The form's number.
    pub form: usize,
    /// The schedule.
    pub schedule: Schedule,
}
