//! A schedule that was made for another number of threads, with this space's.
//!
//! What is fast on one thread is mostly fast on each of several: blocks, packs and register tiles stay, and the outermost
//! work is divided.

use super::ScheduleSpace;
use super::heuristic::{divided, shareable};
use crate::schedule::{Place, Schedule};

impl ScheduleSpace {
    /// `schedule` with its work divided among the threads of this space: time tiles after their panel or on wavefronts,
    /// and of every other stage an outer axis, each where that is legal and the draft does not find it slower. With one
    /// thread, nothing is parallel. The result is not legal if `schedule` is not.
    pub fn shared(&self, schedule: &Schedule) -> Schedule {
        let mut shared = schedule.clone();
        if self.threads < 2 {
            shared.time_tiles.iter_mut().for_each(|tile| tile.parallel = false);
            shared.stages.iter_mut().for_each(|stage| (stage.parallel, stage.serial) = (false, 0));
            return shared;
        }
        for at in 0..shared.time_tiles.len() {
            let var = shared.time_tiles[at].var;
            if let Some(known) = self.time_loops.iter().find(|known| known.var == var && known.wavefront) {
                self.keep_if_fast(&mut shared, |wish| {
                    let tile = &mut wish.time_tiles[at];
                    tile.parallel = true;
                    for band in &mut tile.bands {
                        let least = known.along(band.dim).filter(|(known, _)| known.skew == band.skew);
                        band.panel = least.and_then(|(known, _)| known.panel);
                    }
                });
            }
        }
        for stage in 0..shared.stages.len().min(self.choices.len()) {
            let open = !shared.stages[stage].parallel && shared.stages[stage].place == Place::Root;
            if !open || self.choices[stage].parallels.is_empty() {
                continue;
            }
            let serial = shared.clone();
            let before = shared.stages[stage].loops.len();
            for at in shareable(self.threads, &self.choices[stage], &serial.stages[stage]) {
                self.keep_if_fast(&mut shared, |wish| {
                    (wish.stages[stage].parallel, wish.stages[stage].serial) = (true, at);
                });
            }
            self.keep_if_fast(&mut shared, |wish| {
                wish.clone_from(&serial);
                divided(self.threads, &self.choices[stage], &mut wish.stages[stage]);
                self.choices[stage].repair(&mut wish.stages[stage]);
                let deeper = wish.stages[stage].loops.len() > before;
                for other in &mut wish.stages {
                    if let Place::At { consumer, depth } = &mut other.place
                        && *consumer == stage
                        && deeper
                    {
                        *depth += 1;
                    }
                }
            });
        }
        shared
    }

    fn keep_if_fast(&self, schedule: &mut Schedule, change: impl FnOnce(&mut Schedule)) {
        let mut wish = schedule.clone();
        self.adopt(&mut wish, |wish| {
            change(wish);
            self.repair_time_tiles(wish);
        });
        if self.draft(&wish) <= self.draft(schedule) {
            *schedule = wish;
        }
    }
}
