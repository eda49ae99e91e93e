//! What became of a candidate: the vocabulary of the cost database's `outcome` column.
//!
//! An outcome is decided by *where* something happened (which message of the worker was awaited, how the process
//! ended), never by the text of an error.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Correct on every input set, and timed.
    Measured,
    /// The schedule could not be applied, or was not proven legal.
    Illegal,
    /// Code generation or LLVM refused it, or took the process down with it.
    CompileFailed,
    /// The compiled code took the process down: a signal or an exit inside a call.
    Crashed,
    /// Compiling or a call took longer than its limit.
    TimedOut,
    /// An output differed from the reference by more than its bound, or was not written, or memory around the buffers
    /// was.
    WrongResult,
    /// The worker was lost for a reason outside of the candidate's code.
    WorkerLost,
}

impl Outcome {
    /// Every outcome, in declaration order.
    pub const ALL: [Outcome; 7] = [
        Outcome::Measured,
        Outcome::Illegal,
        Outcome::CompileFailed,
        Outcome::Crashed,
        Outcome::TimedOut,
        Outcome::WrongResult,
        Outcome::WorkerLost,
    ];

    /// The word stored in records.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Measured => "measured",
            Outcome::Illegal => "illegal",
            Outcome::CompileFailed => "compile_failed",
            Outcome::Crashed => "crashed",
            Outcome::TimedOut => "timed_out",
            Outcome::WrongResult => "wrong_result",
            Outcome::WorkerLost => "worker_lost",
        }
    }

    /// The inverse of [`Outcome::name`].
    pub fn from_name(name: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
