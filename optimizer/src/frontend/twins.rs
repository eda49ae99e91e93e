//! Pairs of memory that may be one in NumPy though they are two here.
//!
//! Holds the relation alone; [`super::aliasing`] says when memory enters it and what follows.

use super::value::Storage;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of memory that may be one in NumPy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Twins {
    /// Each pair in both orders, with the loops that, read copy by copy, would not make them two.
    pairs: BTreeMap<(Storage, Storage), Loops>,
}

/// Numbers of loops; an outer one has a lower number.
pub(super) type Loops = BTreeSet<usize>;

impl Twins {
    /// Notes that two pieces may be one, because of loops.
    pub(super) fn add(&mut self, a: Storage, b: Storage, loops: &Loops) {
        if a != b {
            self.pairs.entry((a, b)).or_default().extend(loops);
            self.pairs.entry((b, a)).or_default().extend(loops);
        }
    }

    /// The memory that may be the same as a piece.
    pub(super) fn of(&self, storage: Storage) -> Vec<(Storage, Loops)> {
        let pairs = self.pairs.range((storage, 0)..=(storage, Storage::MAX));
        pairs.map(|(pair, loops)| (pair.1, loops.clone())).collect()
    }

    /// The piece is another one from here on.
    pub(super) fn forget(&mut self, storage: Storage) {
        self.pairs.retain(|pair, _| pair.0 != storage && pair.1 != storage);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All that may be, in this or the other case.
    pub(super) fn join(&mut self, other: &Twins) {
        for (&pair, loops) in &other.pairs {
            self.pairs.entry(pair).or_default().extend(loops);
        }
    }
}
