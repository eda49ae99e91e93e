//! The schedules one step away from another.

use super::edit::{insert_loop, placed, remove_loop, set_vector};
use super::schedule_space::ScheduleSpace;
use crate::schedule::{LoopSpec, Schedule, StageSchedule};

/// Takes a change of the schedule in the centre.
type Offer<'o> = dyn FnMut(&dyn Fn(&mut Schedule)) + 'o;

impl ScheduleSpace {
    /// The legal schedules one step away, in a fixed order.
    pub fn neighbours(&self, centre: &Schedule) -> Vec<Schedule> {
        let mut found: Vec<Schedule> = Vec::new();
        let mut offer = |change: &dyn Fn(&mut Schedule)| {
            let mut wish = centre.clone();
            change(&mut wish);
            self.repair(&mut wish);
            if wish != *centre && !found.contains(&wish) && self.is_legal(&wish) {
                found.push(wish);
            }
        };
        near_time_tiles(centre, &mut offer);
        for (number, stage) in centre.stages.iter().enumerate() {
            self.near_tile(number, stage, &mut offer);
            self.near_loops(number, stage, &mut offer);
            self.near_packs(number, stage, &mut offer);
            self.near_places(number, stage, &mut offer);
        }
        found
    }

    /// Other unrolling and other lanes.
    fn near_tile(&self, number: usize, stage: &StageSchedule, offer: &mut Offer<'_>) {
        let choices = &self.choices[number];
        for (at, spec) in stage.tile.iter().enumerate() {
            let near = [spec.unroll.saturating_sub(1), spec.unroll + 1, spec.unroll * 2, spec.unroll / 2];
            for unroll in near.into_iter().filter(|&unroll| unroll > 0) {
                offer(&|wish| wish.stages[number].tile[at].unroll = unroll);
            }
            for &(axis, lanes) in choices.vectors.iter().filter(|vector| vector.0 == spec.axis) {
                offer(&|wish| set_vector(&mut wish.stages[number], axis, lanes));
            }
        }
    }

    /// Loops changed, gone, exchanged, and new ones.
    fn near_loops(&self, number: usize, stage: &StageSchedule, offer: &mut Offer<'_>) {
        let choices = &self.choices[number];
        for at in 0..stage.loops.len() {
            for (times, over) in [(2, 1), (1, 2), (3, 2), (3, 4)] {
                offer(&|wish| {
                    let step = &mut wish.stages[number].loops[at].step;
                    *step = (*step * times / over).max(1);
                });
            }
            offer(&|wish| remove_loop(&mut wish.stages[number], at));
            if at > 0 {
                offer(&|wish| wish.stages[number].loops.swap(at - 1, at));
            }
        }
        for axis in 0..choices.extents.len() {
            for &step in choices.blocks[axis].iter().rev().step_by(3) {
                offer(&|wish| insert_loop(&mut wish.stages[number], 0, LoopSpec { axis, step }));
                let last = stage.loops.len();
                offer(&|wish| insert_loop(&mut wish.stages[number], last, LoopSpec { axis, step }));
            }
        }
    }

    /// A copy more or less.
    fn near_packs(&self, number: usize, stage: &StageSchedule, offer: &mut Offer<'_>) {
        let choices = &self.choices[number];
        for &load in choices.packs.keys() {
            let packed = stage.packs.iter().position(|pack| pack.load == load);
            match packed {
                Some(at) => offer(&|wish| {
                    wish.stages[number].packs.remove(at);
                }),
                None => offer(&|wish| {
                    let depth = wish.stages[number].loops.len();
                    wish.stages[number].packs.push(choices.pack(load, depth));
                }),
            }
        }
    }

    /// Other stores, other threads, another place.
    fn near_places(&self, number: usize, stage: &StageSchedule, offer: &mut Offer<'_>) {
        let choices = &self.choices[number];
        offer(&|wish| wish.stages[number].stream = !stage.stream);
        offer(&|wish| wish.stages[number].parallel = !stage.parallel);
        for at in 0..stage.loops.len() {
            offer(&|wish| (wish.stages[number].parallel, wish.stages[number].serial) = (self.threads > 1, at));
        }
        for &place in &choices.places {
            offer(&|wish| wish.stages[number].place = placed(place));
        }
    }
}

/// Time tiles removed, and with one number changed.
fn near_time_tiles(centre: &Schedule, offer: &mut Offer<'_>) {
    for at in 0..centre.time_tiles.len() {
        offer(&|wish| {
            wish.time_tiles.remove(at);
        });
        for (times, over) in [(2, 1), (1, 2)] {
            offer(&|wish| wish.time_tiles[at].time = (wish.time_tiles[at].time * times / over).max(1));
            for band in 0..centre.time_tiles[at].bands.len() {
                offer(&|wish| {
                    let height = &mut wish.time_tiles[at].bands[band].height;
                    *height = (*height * times / over).max(1);
                });
            }
        }
        for band in 0..centre.time_tiles[at].bands.len() {
            offer(&|wish| {
                wish.time_tiles[at].bands.remove(band);
            });
        }
    }
}
