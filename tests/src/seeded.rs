//! Choices drawn by a seed.

use moat_optimizer::space::Choose;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of choices that begins with a seed.
pub struct Seeded(StdRng);

impl Seeded {
    /// The same choices for the same seed.
    pub fn new(seed: u64) -> Seeded {
        Seeded(StdRng::seed_from_u64(seed))
    }
}

impl Choose for Seeded {
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }
}
