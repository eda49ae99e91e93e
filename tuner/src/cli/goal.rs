//! What a command that did not fail has to say.

/// Whether a command met its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Exit code 0.
    Met,
    /// Exit code 1.
    NotMet,
}
