//! The limit on the number of rule matches in a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of matches that may still be made, shared by the guards of all rules of one e-graph.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    /// `matches` are left.
    pub(super) fn new(matches: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(matches)) }
    }

    /// Takes one; `false` if none is left, and from then on.
    pub(super) fn spend(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Sets how many are left.
    pub(super) fn refill(&self, matches: usize) {
        self.left.store(matches, Ordering::Relaxed);
    }
}
