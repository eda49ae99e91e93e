//! What a run tells whoever watches it, and where it is.
//!
//! Input: the stages that begin, what happens in them, and interrupts. Output: calls of an [`Observer`], and the notes that
//! the summary repeats.

use super::error::TuneError;
use crate::interrupt::Interrupts;
use crate::outcome::Outcome;
use crate::roof::Roof;
use moat_optimizer::nest::work::Work;
use std::time::Duration;

/// Sees what happens.
pub trait Observer {
    /// A phase begins that takes a while.
    fn phase(&mut self, what: &str);
    /// Something that a person should know, whatever comes of the run.
    fn note(&mut self, what: &str);
    /// A trial has ended.
    fn trial(&mut self, progress: &Progress);
    /// All trials have ended.
    fn finished(&mut self);
}

/// Where a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Trials ended.
    pub done: usize,
    /// Trials at most.
    pub trials: usize,
    /// Since the first trial began.
    pub elapsed: Duration,
    /// What is left of the time for trials.
    pub left: Option<Duration>,
    /// How the last one ended.
    pub outcome: Outcome,
    /// The best median so far, its work, and the roof over it.
    pub best: Option<(f64, Work, Roof)>,
}

/// What a run tells of itself, and asks.
pub(super) struct Reporter<'a> {
    pub(super) observer: &'a mut dyn Observer,
    pub(super) interrupts: &'a Interrupts,
    pub(super) notes: Vec<String>,
}

impl<'a> Reporter<'a> {
    /// One that has said nothing yet.
    pub(super) fn new(observer: &'a mut dyn Observer, interrupts: &'a Interrupts) -> Reporter<'a> {
        Reporter { observer, interrupts, notes: Vec::new() }
    }

    /// A stage begins before there is a kernel: not after an interrupt.
    pub(super) fn enter(&mut self, what: &str) -> Result<(), TuneError> {
        if self.interrupts.stopped() {
            return Err(TuneError::Interrupted { why: self.interrupts.reason() });
        }
        self.begin(what);
        Ok(())
    }

    /// A stage begins.
    pub(super) fn begin(&mut self, what: &str) {
        self.interrupts.enter(what);
        self.observer.phase(what);
    }

    /// Something that a person should know, now and at the end.
    pub(super) fn note(&mut self, what: &str) {
        self.observer.note(what);
        self.notes.push(what.to_owned());
    }
}
