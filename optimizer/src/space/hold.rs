//! Where definitions are computed: in their readers, inside of a reader's loops, or by themselves.

use super::choices::StageChoices;
use super::schedule_space::{BETTER, ScheduleSpace};
use crate::cost::footprint::LoadModel;
use crate::cost::recompute;
use crate::form::scalar_tree::Source;
use crate::integer::affine::Affine;
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule};
use moat_rules::schedule_rules::ProposedPlace;

/// An inlined definition may repeat so many slots of work for each element of its reader.
const CHEAP: f64 = 6.0;
/// Definitions computed in a consumer's loop may compute this share of their elements, not more.
const RECOMPUTE: f64 = 1.2;
/// Rows of a consumer, tried in turn, for which its producers are computed together.
const ROWS: [usize; 5] = [1, 4, 8, 16, 32];

/// What becomes of the first loop of a producer that is placed in its consumer's loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstLoop {
    /// The producer keeps it.
    Kept,
    /// It is its consumer's.
    Taken,
}

/// Decisions about a consumer that may hold a producer.
pub(super) struct Holder {
    decisions: StageSchedule,
    producer: FirstLoop,
}

impl Holder {
    /// Decisions that leave the producer its loops.
    fn keeping(decisions: StageSchedule) -> Holder {
        Holder { decisions, producer: FirstLoop::Kept }
    }
}

impl ScheduleSpace {
    /// Inlines what is cheap, and gathers what a few rows of a result need around those rows.
    pub(super) fn place(&self, schedule: &mut Schedule) {
        for stage in 0..schedule.stages.len() {
            if !self.choices[stage].places.contains(&ProposedPlace::Inline) {
                continue;
            }
            let model = &self.models[stage];
            let mut repeats = 0.0;
            for reader in &self.models {
                let reads = reader.loads.iter().filter(|load| load.source == Source::Def(stage)).count();
                repeats += reads as f64 * reader.iterations() * reader.scale;
            }
            let ratio = repeats / (model.iterations() * model.scale).max(1.0);
            if ratio <= 1.05 || (ratio - 1.0) * (model.cost + model.loads.len() as f64) <= CHEAP {
                self.adopt(schedule, |wish| wish.stages[stage].place = Place::Inline);
            }
        }
        for consumer in (0..schedule.stages.len()).rev() {
            self.gather(schedule, consumer);
            self.hold(schedule, consumer, |wish, _| self.with_loops_to_hold(wish, consumer));
        }
    }

    /// Places producers inside of loops that `consumer` has with one of `decisions`, where little is computed twice and the
    /// draft likes it. Decisions may take the first loop of the producer.
    pub(super) fn hold(
        &self,
        schedule: &mut Schedule,
        consumer: usize,
        decisions: impl Fn(&Schedule, usize) -> Vec<Holder>,
    ) {
        if schedule.stages[consumer].place != Place::Root {
            return;
        }
        for producer in (0..consumer).rev() {
            let proposed =
                |place: &ProposedPlace| matches!(place, ProposedPlace::At { consumer: at, .. } if *at == consumer);
            let open =
                schedule.stages[producer].place == Place::Root && self.choices[producer].places.iter().any(proposed);
            if !open {
                continue;
            }
            let mut best = self.draft(schedule);
            let mut held = None;
            for Holder { decisions, producer: of_producer } in decisions(schedule, producer) {
                for depth in 1..=decisions.loops.len() {
                    let place = ProposedPlace::At { consumer, depth };
                    if !self.choices[producer].places.contains(&place) {
                        continue;
                    }
                    let mut attempt = schedule.clone();
                    attempt.stages[consumer] = decisions.clone();
                    attempt.stages[producer].place = Place::At { consumer, depth };
                    if of_producer == FirstLoop::Taken {
                        give_first_loop(&mut attempt.stages[producer]);
                    }
                    choices_at(&mut attempt.stages[producer], &self.choices[producer]);
                    let repeats = recompute(&self.form, &attempt, producer).map_or(f64::INFINITY, |(share, _)| share);
                    if repeats > RECOMPUTE {
                        continue;
                    }
                    let cost = self.draft(&attempt);
                    if cost < best * BETTER && self.is_legal(&attempt) {
                        (best, held) = (cost, Some(attempt));
                    }
                }
            }
            if let Some(attempt) = held {
                *schedule = attempt;
            }
        }
    }

    /// A consumer as it is, and, if it holds no producer yet, with a loop over single points of what each thread has.
    fn with_loops_to_hold(&self, schedule: &Schedule, consumer: usize) -> Vec<Holder> {
        let as_it_is = schedule.stages[consumer].clone();
        let holds = |stage: &StageSchedule| matches!(stage.place, Place::At { consumer: at, .. } if at == consumer);
        let Some(shared) = as_it_is.shared_loop().filter(|_| !schedule.stages.iter().any(holds)) else {
            return vec![Holder::keeping(as_it_is)];
        };
        let mut by_points = as_it_is.clone();
        let within = as_it_is.serial + 1;
        by_points.loops.insert(within, LoopSpec { axis: shared.axis, step: 1 });
        by_points.tile.iter_mut().filter(|spec| spec.axis == shared.axis).for_each(|spec| spec.unroll = 1);
        by_points.packs.iter_mut().filter(|pack| pack.depth >= within).for_each(|pack| pack.depth += 1);
        self.choices[consumer].repair(&mut by_points);
        vec![Holder::keeping(as_it_is), Holder::keeping(by_points)]
    }

    /// A consumer without loops, with the first loop of a producer of which it reads a point at each of its own: that one
    /// no longer has it then.
    pub(super) fn with_first_loop_of(&self, schedule: &Schedule, consumer: usize, producer: usize) -> Vec<Holder> {
        let of_producer = &schedule.stages[producer];
        let mut wish = schedule.stages[consumer].clone();
        let read = |load: &&LoadModel| load.source == Source::Def(producer);
        let of_points = |first: &&LoopSpec| first.axis < self.choices[producer].points;
        let (Some(first), Some(read), true) = (
            of_producer.loops.first().filter(of_points),
            self.models[consumer].loads.iter().find(read),
            wish.loops.is_empty(),
        ) else {
            return Vec::new();
        };
        let same = |axis: &usize| read.index.get(first.axis) == Some(&Affine::variable(*axis));
        let Some(axis) = (0..self.choices[consumer].points).find(same) else { return Vec::new() };
        wish.loops = vec![LoopSpec { axis, step: first.step }];
        (wish.parallel, wish.serial) = (of_producer.parallel && of_producer.serial == 0, 0);
        wish.packs.iter_mut().for_each(|pack| pack.depth += 1);
        self.choices[consumer].repair(&mut wish);
        vec![Holder { decisions: wish, producer: FirstLoop::Taken }]
    }

    /// Places the producers of `consumer` inside a loop over a few of its rows, where little is computed
    /// twice and what they store stays in a cache.
    fn gather(&self, schedule: &mut Schedule, consumer: usize) {
        if schedule.stages[consumer].place != Place::Root || !schedule.stages[consumer].loops.is_empty() {
            // A blocked consumer keeps its loops; a parallel loop over rows can hold producers.
            let rows_only = schedule.stages[consumer].parallel && schedule.stages[consumer].loops.len() == 1;
            if schedule.stages[consumer].place != Place::Root || !rows_only {
                return;
            }
        }
        let choices = &self.choices[consumer];
        let Some(axis) = (0..choices.points).find(|&axis| choices.extents[axis] > 1) else { return };
        let capacity = self.target.cache_bytes.get(1).copied().unwrap_or(1 << 20) as f64 / 2.0;
        for rows in ROWS {
            let mut attempt = schedule.clone();
            let stage = &mut attempt.stages[consumer];
            stage.loops.push(LoopSpec { axis, step: rows });
            let vectors = stage.tile.iter().any(|spec| spec.axis == axis && spec.lanes > 1);
            if vectors {
                return;
            }
            for spec in stage.tile.iter_mut().filter(|spec| spec.axis == axis) {
                spec.unroll = spec.unroll.min(rows);
            }
            choices.repair(stage);
            let Some(depth) = stage.loops.iter().rposition(|step| step.axis == axis && step.step == rows) else {
                continue;
            };
            let depth = depth + 1;
            let mut held = Vec::new();
            for producer in (0..consumer).rev() {
                let place = ProposedPlace::At { consumer, depth };
                let fits = attempt.stages[producer].place == Place::Root
                    && self.choices[producer].places.contains(&place)
                    && (self.models[producer].fold.is_none() || self.streams(producer));
                if fits {
                    let before = attempt.stages[producer].clone();
                    attempt.stages[producer].place = Place::At { consumer, depth };
                    choices_at(&mut attempt.stages[producer], &self.choices[producer]);
                    let modest = recompute(&self.form, &attempt, producer)
                        .is_some_and(|(share, bytes)| share <= RECOMPUTE && bytes <= capacity);
                    if modest && self.is_legal(&attempt) {
                        held.push(producer);
                    } else {
                        attempt.stages[producer] = before;
                    }
                }
            }
            if !held.is_empty() && self.is_legal(&attempt) {
                if self.draft(&attempt) <= self.draft(schedule) {
                    *schedule = attempt;
                }
                return;
            }
        }
    }
}

/// Inside another's loops a stage has no threads, and its outermost blocks are its consumer's.
fn choices_at(stage: &mut StageSchedule, choices: &StageChoices) {
    if stage.parallel && stage.serial == 0 && !stage.loops.is_empty() {
        give_first_loop(stage);
    }
    (stage.parallel, stage.serial) = (false, 0);
    choices.repair(stage);
}

/// The first loop is its consumer's from here on.
fn give_first_loop(stage: &mut StageSchedule) {
    stage.loops.remove(0);
    for pack in &mut stage.packs {
        pack.depth = pack.depth.saturating_sub(1);
    }
    (stage.parallel, stage.serial) = (false, 0);
}
