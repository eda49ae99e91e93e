//! Draws: choices from a random stream.

use super::Choose;

pub(crate) fn pick<'a, T>(rng: &mut dyn Choose, all: &'a [T]) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.below(all.len())) }
}

pub(crate) fn percent(rng: &mut dyn Choose, chance: usize) -> bool {
    rng.below(100) < chance
}
