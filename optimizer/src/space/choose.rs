//! Draws: choices from a random stream.

/// A source of choices; implemented by the tuner for its seeded generator.
pub trait Choose {
    /// A number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize;
}

/// One of `all`; `None` if there is none.
pub(super) fn pick<'a, T>(rng: &mut dyn Choose, all: &'a [T]) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(rng.below(all.len())) }
}

/// True with a chance of so many in a hundred.
pub(super) fn percent(rng: &mut dyn Choose, chance: usize) -> bool {
    rng.below(100) < chance
}
