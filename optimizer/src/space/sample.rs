//! Samples, mutations and crossovers.
//!
//! A wish is drawn from the proposals, repaired to be consistent, and checked; what is refused is drawn
//! again, and after so many refusals the default or the parent stands in.

use super::choose::{Choose, percent};
use super::schedule_space::ScheduleSpace;
use crate::schedule::{Place, Schedule};

/// Wishes that are drawn before the default or the parent stands in.
const ATTEMPTS: usize = 24;

impl ScheduleSpace {
    /// A legal schedule: mostly drawn anew, partly the default varied.
    pub fn sample(&self, rng: &mut dyn Choose) -> Schedule {
        for _ in 0..ATTEMPTS {
            let mut wish = if percent(rng, 40) {
                let mut wish = self.default();
                for _ in 0..1 + rng.below(5) {
                    self.vary(&mut wish, rng);
                }
                wish
            } else {
                let stages = (0..self.choices.len()).map(|stage| self.draw(stage, rng)).collect();
                Schedule { stages, time_tiles: self.draw_time_tiles(rng) }
            };
            if percent(rng, 80) {
                self.draw_places(&mut wish, rng);
            }
            self.repair(&mut wish);
            if self.is_legal(&wish) {
                return wish;
            }
        }
        self.default()
    }

    /// A legal schedule that differs from `parent` in one to three decisions; `parent` itself if none
    /// was found.
    pub fn mutate(&self, parent: &Schedule, rng: &mut dyn Choose) -> Schedule {
        for _ in 0..ATTEMPTS {
            let mut wish = parent.clone();
            let changes = [1, 1, 1, 2, 2, 3][rng.below(6)];
            for _ in 0..changes {
                self.vary(&mut wish, rng);
            }
            if percent(rng, 30) {
                self.vary_time_tiles(&mut wish, rng);
            }
            self.repair(&mut wish);
            if wish != *parent && self.is_legal(&wish) {
                return wish;
            }
        }
        parent.clone()
    }

    /// A legal schedule with each stage from one of two parents; the first parent if none was found.
    pub fn crossover(&self, one: &Schedule, other: &Schedule, rng: &mut dyn Choose) -> Schedule {
        for _ in 0..ATTEMPTS {
            let mut wish = one.clone();
            for (stage, from) in wish.stages.iter_mut().zip(&other.stages) {
                match rng.below(4) {
                    0 => *stage = from.clone(),
                    1 => stage.tile = from.tile.clone(),
                    2 => {
                        stage.loops = from.loops.clone();
                        stage.packs = from.packs.clone();
                    }
                    _ => {}
                }
            }
            if percent(rng, 50) {
                wish.time_tiles.clone_from(&other.time_tiles);
            }
            self.repair(&mut wish);
            if self.is_legal(&wish) {
                return wish;
            }
        }
        one.clone()
    }

    /// Repairs every stage; places that lost their loop move out.
    pub(super) fn repair(&self, wish: &mut Schedule) {
        for (stage, choices) in wish.stages.iter_mut().zip(&self.choices) {
            choices.repair(stage);
        }
        for stage in 0..wish.stages.len() {
            if let Place::At { consumer, depth } = wish.stages[stage].place {
                let loops = wish.stages.get(consumer).map_or(0, |holder| holder.loops.len());
                wish.stages[stage].place = match depth.min(loops) {
                    0 => Place::Root,
                    depth => Place::At { consumer, depth },
                };
            }
        }
        self.repair_time_tiles(wish);
    }
}
