//! What one reading of a function tells the next one.
//!
//! Holds what readings found out of the memory that is written to, of the names that loops carry, and of the loops that
//! are unrolled. [`Facts`] with nothing new end the readings.

use super::twins::{Loops, Twins};
use super::value::Storage;
use crate::program::expr::Span;
use crate::value::dtype::DType;
use std::collections::{BTreeMap, BTreeSet};

/// At most so many iterations come before a loop because a condition in it is decided after them.
pub(super) const MOST_PEELED: usize = 8;

/// What readings of a function found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Memory that is written to after it was made.
    pub(super) written: BTreeSet<Storage>,
    /// For each loop or condition, by its number, the names that are a state there.
    pub(super) carried: BTreeMap<(usize, String), Carried>,
    /// For each loop, by its number and whether it is unrolled, the memory that may be one in NumPy when an iteration ends.
    pub(super) twins: BTreeMap<(usize, bool), Twins>,
    /// The loops that are read copy by copy, by their numbers.
    pub(super) unrolled: BTreeMap<usize, Unrolling>,
}

impl Facts {
    /// Whether names are bound as other facts have them, but for those of one unrolled loop.
    pub(super) fn same_bindings(&self, other: &Facts, number: usize) -> bool {
        let unrolled = |facts: &Facts| {
            let others = facts.unrolled.iter().filter(|(other, _)| **other != number);
            others.map(|(other, known)| (*other, known.clone())).collect::<Vec<_>>()
        };
        self.written == other.written && self.carried == other.carried && unrolled(self) == unrolled(other)
    }
}

/// What is known of a loop whose names stand for different memory from iteration to iteration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unrolling {
    /// Without it the loop has not NumPy's meaning; otherwise it only saves copies.
    pub(super) needed: bool,
    /// At least so many iterations come before the loop.
    pub(super) least: usize,
    /// More iterations before the loop do not decide the conditions in it.
    pub(super) exhausted: bool,
    /// How it is unrolled, or why it is not; not yet known at first.
    pub(super) plan: Option<Result<Plan, &'static str>>,
    /// How the views that names hold move from round to round.
    pub(super) growth: Growth,
    /// How many plans did not hold.
    pub(super) failures: usize,
}

/// How a loop is unrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// So many iterations come before the loop.
    pub(super) peeled: usize,
    /// After so many further ones each name stands for the same memory again.
    pub(super) period: usize,
}

/// For a name, how much each subscript of the views that it holds grows from one round to the next.
pub(super) type Growth = BTreeMap<String, Vec<i64>>;

/// The type of a carried name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    /// It is a Python number: its dtype gives way to those of arrays.
    pub(super) weak: bool,
    /// It may hold a view that NumPy does not write through.
    pub(super) read_only: bool,
    /// It may hold a Python number where its type is a NumPy scalar's.
    pub(super) number: bool,
}

/// What is known when a reading begins, and what it finds out.
#[derive(Debug)]
pub(super) struct Learned {
    /// What earlier readings found out.
    known: Facts,
    /// What earlier readings found out, and this one.
    pub(super) facts: Facts,
    /// The unrolled loops before which more iterations are to come in the next reading.
    demanded: BTreeSet<usize>,
    /// An unrolled loop of which this reading found out something new.
    pub(super) unsettled: Option<Span>,
}

impl Learned {
    /// The beginning of a reading.
    pub(super) fn new(known: Facts) -> Learned {
        Learned { facts: known.clone(), known, demanded: BTreeSet::new(), unsettled: None }
    }

    /// Whether this reading binds names as the earlier ones, but for those of one unrolled loop.
    pub(super) fn knew_bindings(&self, number: usize) -> bool {
        self.facts.same_bindings(&self.known, number)
    }

    /// Demands that loops be unrolled in the next reading; false where that is known not to help.
    pub(super) fn unroll(&mut self, loops: &Loops, needed: bool) -> bool {
        let mut helps = false;
        for &number in loops.iter().rev() {
            let known = self.facts.unrolled.entry(number).or_default();
            known.needed |= needed;
            let (plan, exhausted) = (known.plan, known.exhausted);
            match plan {
                None => helps = true,
                // Nothing is to be gained around a loop that cannot be unrolled itself.
                Some(Err(_)) if !needed => break,
                Some(Err(_)) => {}
                Some(Ok(_)) if helps || exhausted && !needed => {}
                // A condition in it merges what it unrolls: after more iterations it may be decided.
                Some(Ok(_)) if self.peel_more(number) => helps = true,
                Some(Ok(_)) if needed => {}
                Some(Ok(_)) => {
                    let known = self.facts.unrolled.entry(number).or_default();
                    (known.exhausted, known.least, known.plan) = (true, 0, None);
                }
            }
        }
        helps
    }

    /// Lets more iterations come before an unrolled loop, in the next reading; false where there are no more, or enough.
    pub(super) fn peel_more(&mut self, number: usize) -> bool {
        let Some(known) = self.facts.unrolled.get_mut(&number) else { return false };
        let Some(Ok(plan)) = known.plan else { return self.demanded.contains(&number) };
        if known.exhausted || plan.peeled < known.least || plan.peeled >= MOST_PEELED {
            return false;
        }
        known.least = (2 * known.least.max(plan.peeled)).clamp(1, MOST_PEELED);
        known.plan = None;
        self.demanded.insert(number);
        true
    }
}
