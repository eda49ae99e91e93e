//! How the work of a schedule is divided among threads.
//!
//! What is fast on one thread is mostly fast on each of several: blocks, packs and register tiles stay, and the outermost
//! work is divided. Decided by the draft, and only where it is legal.

use super::choices::StageChoices;
use super::schedule_space::{BETTER, ScheduleSpace};
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule};

/// Blocks for each thread where they are not the same work: threads take turns then.
const TURNS: usize = 8;
/// Rounds in which stages are divided anew because of how others are.
const ROUNDS: usize = 2;

impl ScheduleSpace {
    /// A stage as it is, or with one of its loops, or a new one around them, divided among threads: what the draft likes
    /// best.
    pub(super) fn with_threads(&self, stage: usize, wish: StageSchedule) -> StageSchedule {
        let mut best = wish.clone();
        let axis = self.choices[stage].first_parallel(self.threads);
        for attempt in self.divisions(stage, &wish, axis) {
            let [new, old] = [&attempt, &best].map(|decisions| self.alone(stage, decisions));
            if self.draft_parts(&new).0 < self.draft_parts(&old).0 * BETTER && self.is_legal(&new) {
                best = attempt;
            }
        }
        best
    }

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
            let serial = shared.stages[stage].clone();
            if !serial.parallel && serial.place == Place::Root {
                let axis = self.choices[stage].first_parallel(self.threads);
                for attempt in self.divisions(stage, &serial, axis) {
                    self.keep_if_fast(&mut shared, |wish| replace(wish, stage, attempt));
                }
            }
        }
        self.agree(&mut shared);
        shared
    }

    fn keep_if_fast(&self, schedule: &mut Schedule, change: impl FnOnce(&mut Schedule)) {
        let mut wish = schedule.clone();
        self.adopt(&mut wish, |wish| {
            change(wish);
            self.repair_time_tiles(wish);
        });
        if self.draft_parts(&wish).0 <= self.draft_parts(schedule).0 {
            *schedule = wish;
        }
    }

    /// Divides stages along other axes where threads then have in their caches what they need: the rows of a matrix that
    /// another stage has left them.
    pub(super) fn agree(&self, schedule: &mut Schedule) {
        for _ in 0..ROUNDS {
            let before = schedule.clone();
            for stage in 0..schedule.stages.len().min(self.choices.len()) {
                let (alone, fetching) = self.draft_parts(schedule);
                if fetching == 0.0 {
                    return;
                }
                let mut undivided = schedule.stages[stage].clone();
                let holds =
                    |other: &StageSchedule| matches!(other.place, Place::At { consumer, .. } if consumer == stage);
                if undivided.place != Place::Root || schedule.stages.iter().any(holds) {
                    continue;
                }
                if undivided.parallel && undivided.serial == 0 && !undivided.loops.is_empty() {
                    undivided.loops.remove(0);
                    undivided.packs.iter_mut().for_each(|pack| pack.depth = pack.depth.saturating_sub(1));
                }
                (undivided.parallel, undivided.serial) = (false, 0);
                let mut best = alone + fetching;
                let axes = self.choices[stage].parallels.iter();
                let attempts = axes.flat_map(|&axis| self.divisions(stage, &undivided, Some(axis)));
                for attempt in attempts.chain([undivided.clone()]) {
                    let mut wish = schedule.clone();
                    replace(&mut wish, stage, attempt);
                    self.choices[stage].repair(&mut wish.stages[stage]);
                    self.repair_time_tiles(&mut wish);
                    let cost = self.draft(&wish);
                    if cost < best * BETTER && self.is_legal(&wish) {
                        (best, *schedule) = (cost, wish);
                    }
                }
            }
            if *schedule == before {
                return;
            }
        }
    }

    /// The ways to divide a stage that is not divided: a new loop over blocks of `axis`, or one of its loops.
    fn divisions(&self, stage: usize, serial: &StageSchedule, axis: Option<usize>) -> Vec<StageSchedule> {
        let choices = &self.choices[stage];
        let mut found = Vec::new();
        if let Some(axis) = axis {
            let mut around = serial.clone();
            divide(self.threads, choices, axis, &mut around);
            choices.repair(&mut around);
            found.push(around);
        }
        for at in shareable(self.threads, choices, serial) {
            let mut attempt = serial.clone();
            (attempt.parallel, attempt.serial) = (true, at);
            choices.repair(&mut attempt);
            found.push(attempt);
        }
        found
    }
}

/// Decides otherwise about a stage; what stands in its loops goes deeper with them.
fn replace(schedule: &mut Schedule, stage: usize, decisions: StageSchedule) {
    let deeper = decisions.loops.len() > schedule.stages[stage].loops.len();
    schedule.stages[stage] = decisions;
    for other in &mut schedule.stages {
        if let Place::At { consumer, depth } = &mut other.place
            && *consumer == stage
            && deeper
        {
            *depth += 1;
        }
    }
}

impl StageChoices {
    /// The outermost axis that threads may share, if there is one with enough for each.
    fn first_parallel(&self, threads: usize) -> Option<usize> {
        self.parallels.iter().copied().min_by_key(|&axis| (self.extents[axis] < 2 * threads, axis))
    }
}

/// A first loop for the threads over blocks of an axis: an existing one, or a new one.
fn divide(threads: usize, choices: &StageChoices, axis: usize, wish: &mut StageSchedule) {
    let first_of_axis = wish.loops.iter().position(|step| step.axis == axis);
    let uneven = choices.ragged.contains(&axis) || choices.varying.contains(&axis);
    let share = choices.extents[axis].div_ceil(threads * if uneven { TURNS } else { 1 });
    let spec = wish.tile.iter_mut().find(|spec| spec.axis == axis);
    let unit = spec.map_or(1, |spec| {
        // A register tile is no reason to leave a thread without work.
        if spec.lanes > share {
            (spec.unroll, spec.lanes) = (spec.unroll * spec.lanes, 1);
        }
        spec.unroll = spec.unroll.min((share / spec.lanes).max(1));
        spec.unroll * spec.lanes
    });
    let unit = first_of_axis.map_or(unit, |at| wish.loops[at].step.min(share).max(unit));
    let step = share.div_ceil(unit).max(1) * unit;
    for pack in &mut wish.packs {
        pack.depth += 1;
    }
    wish.serial = 0;
    wish.loops.insert(0, LoopSpec { axis, step });
    if let Some(at) = first_of_axis
        && wish.loops[at + 1].step >= step
    {
        wish.loops.remove(at + 1);
        for pack in &mut wish.packs {
            if pack.depth > at + 1 {
                pack.depth -= 1;
            }
        }
    }
    wish.parallel = true;
}

/// The loops that threads may share as they are, if each has several iterations, by their numbers.
fn shareable(threads: usize, choices: &StageChoices, wish: &StageSchedule) -> Vec<usize> {
    let mut extents = choices.extents.clone();
    let mut found = Vec::new();
    for (at, step) in wish.loops.iter().enumerate() {
        let extent = std::mem::replace(&mut extents[step.axis], step.step);
        if choices.parallels.contains(&step.axis) && extent.div_ceil(step.step.max(1)) >= threads {
            found.push(at);
        }
    }
    found
}
