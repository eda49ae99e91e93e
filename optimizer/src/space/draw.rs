//! One stage, or one part of its decisions, drawn from the proposals.

use super::choose::{Choose, percent, pick};
use super::edit::{insert_loop, placed, set_vector, tile_of};
use super::schedule_space::ScheduleSpace;
use crate::schedule::plain::plain_stage;
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule};
use moat_rules::schedule_rules::ProposedPlace;

impl ScheduleSpace {
    /// One stage, drawn from the proposals.
    pub(super) fn draw(&self, stage: usize, rng: &mut dyn Choose) -> StageSchedule {
        let choices = &self.choices[stage];
        let mut wish = plain_stage(choices.extents.len());
        if percent(rng, 92)
            && let Some(&(axis, lanes)) = pick(rng, &choices.vectors)
        {
            set_vector(&mut wish, axis, lanes);
        }
        self.draw_register_tile(stage, &mut wish, rng);
        self.draw_tile_order(stage, &mut wish, rng);
        self.draw_loops(stage, &mut wish, rng);
        choices.repair(&mut wish);
        for (&load, axes) in &choices.packs {
            if percent(rng, 50) {
                let positions: Vec<usize> = wish
                    .loops
                    .iter()
                    .enumerate()
                    .filter(|(_, step)| axes.contains(&step.axis))
                    .map(|(at, _)| at + 1)
                    .chain([0])
                    .collect();
                if let Some(&depth) = pick(rng, &positions) {
                    wish.packs.push(choices.pack(load, depth));
                }
            }
        }
        if self.threads > 1 && percent(rng, 80) {
            self.draw_parallel(stage, &mut wish, rng);
        }
        wish.stream = choices.stream && percent(rng, 60);
        wish
    }

    /// Draws the unrolling of a stage.
    pub(super) fn draw_register_tile(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
        let choices = &self.choices[stage];
        let vector = wish.tile.iter().find(|spec| spec.lanes > 1).map(|spec| spec.axis);
        for spec in &mut wish.tile {
            spec.unroll = 1;
        }
        if let Some(&(rows, vectors)) = pick(rng, &choices.register_tiles) {
            let points: Vec<usize> =
                (0..choices.points).filter(|&axis| Some(axis) != vector && choices.extents[axis] > 1).collect();
            if let Some(axis) = vector
                && let Some(spec) = tile_of(wish, axis)
            {
                spec.unroll = choices.unroll(axis, vectors);
            }
            if let Some(&axis) = pick(rng, &points) {
                let split = percent(rng, 25);
                let second = pick(rng, &points).copied().filter(|&second| split && second != axis);
                let mut rows = rows;
                if let (Some(second), Some(factor)) = (second, [2, 3, 4].into_iter().find(|f| rows % f == 0)) {
                    if let Some(spec) = tile_of(wish, second) {
                        spec.unroll = choices.unroll(second, factor);
                    }
                    rows /= factor;
                }
                if let Some(spec) = tile_of(wish, axis) {
                    spec.unroll = choices.unroll(axis, rows);
                }
            }
        }
        if let Some(axis) = vector.filter(|&axis| axis >= choices.points).or_else(|| {
            percent(rng, 10).then(|| choices.extents.len().checked_sub(1)).flatten().filter(|&a| a >= choices.points)
        }) && let Some(&unroll) = pick(rng, &choices.unrolls[axis])
            && let Some(spec) = tile_of(wish, axis)
        {
            spec.unroll = unroll;
        }
    }

    /// Draws the order of the tile's axes.
    pub(super) fn draw_tile_order(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
        let points = self.choices[stage].points;
        for at in 1..points.min(wish.tile.len()) {
            wish.tile[..points].swap(at, rng.below(at + 1));
        }
        let folds = wish.tile.len().saturating_sub(points);
        for at in 1..folds {
            if percent(rng, 40) {
                wish.tile[points..].swap(at, rng.below(at + 1));
            }
        }
    }

    fn draw_loops(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
        let choices = &self.choices[stage];
        let mut steps: Vec<LoopSpec> = Vec::new();
        for (axis, blocks) in choices.blocks.iter().enumerate() {
            let count = [0, 0, 0, 0, 1, 1, 1, 1, 2, 1][rng.below(10)];
            let mut sizes: Vec<usize> = (0..count).filter_map(|_| pick(rng, blocks).copied()).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            // A random merge keeps the sizes of one axis in order.
            let mut earliest = 0;
            for step in sizes {
                let at = earliest + rng.below(steps.len() + 1 - earliest);
                steps.insert(at, LoopSpec { axis, step });
                earliest = at + 1;
            }
        }
        wish.loops = steps;
    }

    /// Draws the loop that threads share.
    pub(super) fn draw_parallel(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
        let choices = &self.choices[stage];
        let may_be: Vec<usize> =
            (0..wish.loops.len()).filter(|&at| choices.parallels.contains(&wish.loops[at].axis)).collect();
        if let Some(&at) = pick(rng, &may_be)
            && percent(rng, 60)
        {
            (wish.parallel, wish.serial) = (true, at);
            return;
        }
        let Some(&axis) = pick(rng, &choices.parallels) else { return };
        let parts = self.threads * [1, 1, 2, 4, 8][rng.below(5)];
        let step = choices.extents[axis].div_ceil(parts).max(1);
        insert_loop(wish, 0, LoopSpec { axis, step });
        (wish.parallel, wish.serial) = (true, 0);
    }

    /// Places for all stages, consumers first.
    pub(super) fn draw_places(&self, wish: &mut Schedule, rng: &mut dyn Choose) {
        for stage in (0..wish.stages.len()).rev() {
            let choices = &self.choices[stage];
            let loops = |consumer: usize| wish.stages.get(consumer).map_or(0, |holder| holder.loops.len());
            let options: Vec<ProposedPlace> = choices
                .places
                .iter()
                .copied()
                .filter(|place| match place {
                    ProposedPlace::Root | ProposedPlace::Inline => true,
                    ProposedPlace::At { consumer, depth } => *depth <= loops(*consumer),
                })
                .collect();
            let kinds: [Vec<ProposedPlace>; 3] = [
                options.iter().copied().filter(|place| *place == ProposedPlace::Root).collect(),
                options.iter().copied().filter(|place| *place == ProposedPlace::Inline).collect(),
                options.iter().copied().filter(|place| matches!(place, ProposedPlace::At { .. })).collect(),
            ];
            let kind = [0, 1, 1, 2, 2, 2][rng.below(6)];
            if let Some(&place) = pick(rng, &kinds[kind]) {
                wish.stages[stage].place = placed(place);
                if wish.stages[stage].place != Place::Root {
                    wish.stages[stage].parallel = false;
                }
            }
        }
    }
}
