//! The default schedule: what a careful author would write without measuring.
//!
//! It decides nothing that no rule proposed, and is always legal: what the check refuses is taken back,
//! down to the schedule without any decision.

use super::schedule_space::{BETTER, ScheduleSpace};
use crate::schedule::plain::plain_stage;
use crate::schedule::{Schedule, StageSchedule, TimeTile};
use std::collections::BTreeMap;

impl ScheduleSpace {
    /// Makes the default schedule.
    pub(super) fn heuristic(&self) -> Schedule {
        let mut schedule = Schedule {
            stages: (0..self.choices.len()).map(|stage| self.repaired(stage, self.stage_heuristic(stage))).collect(),
            time_tiles: Vec::new(),
        };
        if !self.is_legal(&schedule) {
            self.take_back(&mut schedule);
        }
        self.place(&mut schedule);
        if !self.is_legal(&schedule) {
            return self.plain();
        }
        self.agree(&mut schedule);
        self.tile_time(&mut schedule);
        // Only now it is known which thread has what.
        for consumer in (0..schedule.stages.len()).rev() {
            self.hold(&mut schedule, consumer, |wish, producer| self.with_first_loop_of(wish, consumer, producer));
        }
        schedule
    }

    /// Takes back what makes a stage illegal by itself: its packs, then its loops, then all of it.
    fn take_back(&self, schedule: &mut Schedule) {
        for stage in 0..schedule.stages.len() {
            let found = schedule.stages[stage].clone();
            for taken_back in 0..3 {
                match taken_back {
                    0 => {}
                    1 => schedule.stages[stage].packs.clear(),
                    _ => schedule.stages[stage].loops.clear(),
                }
                if self.is_legal(&self.alone(stage, &schedule.stages[stage])) {
                    break;
                }
                if taken_back == 2 {
                    schedule.stages[stage] = plain_stage(found.tile.len());
                }
            }
        }
    }

    /// Runs each time loop in the skewed tiles that the draft likes best, if it likes any.
    fn tile_time(&self, schedule: &mut Schedule) {
        let mut best = self.draft(schedule);
        for tile in self.typical_time_tiles() {
            let wish = self.with_time_tile(schedule, tile);
            let cost = self.draft(&wish);
            if cost < best * BETTER && self.is_legal(&wish) {
                (best, *schedule) = (cost, wish);
            }
        }
    }

    fn with_time_tile(&self, schedule: &Schedule, tile: TimeTile) -> Schedule {
        let mut wish = schedule.clone();
        wish.time_tiles.retain(|known| known.var != tile.var && !self.nested(known.var, tile.var));
        wish.time_tiles.push(tile);
        self.repair(&mut wish);
        wish
    }

    /// The default, the same without tiles of its loops over states, and with tiles on bands along each other choice of
    /// dimensions: what pays is what the draft knows least about. Those that it likes come first.
    pub fn defaults(&self) -> Vec<Schedule> {
        let untiled = Schedule { time_tiles: Vec::new(), ..self.default() };
        let along = |tile: &TimeTile| (tile.var, tile.bands.iter().map(|band| band.dim).collect::<Vec<usize>>());
        let mut others: BTreeMap<(usize, Vec<usize>), (f64, Schedule)> = BTreeMap::new();
        for tile in self.typical_time_tiles() {
            let key = along(&tile);
            if self.default.time_tiles.iter().any(|known| along(known) == key) {
                continue;
            }
            let wish = self.with_time_tile(&self.default, tile);
            let cost = self.draft(&wish);
            if others.get(&key).is_none_or(|known| cost < known.0) {
                others.insert(key, (cost, wish));
            }
        }
        let mut others: Vec<(f64, Schedule)> = others.into_values().collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0));
        let legal = others.into_iter().map(|(_, schedule)| schedule).filter(|schedule| self.is_legal(schedule));
        [self.default(), untiled].into_iter().chain(legal).collect()
    }

    fn repaired(&self, stage: usize, mut wish: StageSchedule) -> StageSchedule {
        self.choices[stage].repair(&mut wish);
        wish
    }

    /// The plain schedule with one stage replaced.
    pub(super) fn alone(&self, stage: usize, decisions: &StageSchedule) -> Schedule {
        let mut schedule = self.plain();
        schedule.stages[stage] = decisions.clone();
        schedule
    }

    /// Changes a schedule, if what is left of the change after repair is legal.
    pub(super) fn adopt(&self, schedule: &mut Schedule, change: impl FnOnce(&mut Schedule)) {
        let mut attempt = schedule.clone();
        change(&mut attempt);
        for (stage, choices) in attempt.stages.iter_mut().zip(&self.choices) {
            choices.repair(stage);
        }
        if self.is_legal(&attempt) {
            *schedule = attempt;
        }
    }
}
