//! Samples, mutations, crossovers and neighbours.
//!
//! A wish is drawn from the proposals, repaired to be consistent, and checked; what is refused is drawn
//! again, and after so many refusals the default or the parent stands in.

use super::heuristic::tile_of;
use super::{Choose, ScheduleSpace, plain_stage};
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule};
use crate::space::choose::{percent, pick};
use moat_rules::schedule_rules::ProposedPlace;

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
        for (number, stage) in centre.stages.iter().enumerate() {
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
            offer(&|wish| wish.stages[number].stream = !stage.stream);
            offer(&|wish| wish.stages[number].parallel = !stage.parallel);
            for at in 0..stage.loops.len() {
                offer(&|wish| (wish.stages[number].parallel, wish.stages[number].serial) = (self.threads > 1, at));
            }
            for &place in &choices.places {
                offer(&|wish| wish.stages[number].place = placed(place));
            }
        }
        found
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

    /// One stage, drawn from the proposals.
    fn draw(&self, stage: usize, rng: &mut dyn Choose) -> StageSchedule {
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

    fn draw_register_tile(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
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

    fn draw_tile_order(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
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

    fn draw_parallel(&self, stage: usize, wish: &mut StageSchedule, rng: &mut dyn Choose) {
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
    fn draw_places(&self, wish: &mut Schedule, rng: &mut dyn Choose) {
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

    /// Changes one decision of one stage, without regard to legality.
    fn vary(&self, wish: &mut Schedule, rng: &mut dyn Choose) {
        if wish.stages.is_empty() {
            return;
        }
        let number = rng.below(wish.stages.len());
        let choices = &self.choices[number];
        let axes = choices.extents.len();
        let stage = &mut wish.stages[number];
        let loops = stage.loops.len();
        match rng.below(if choices.stream { 14 } else { 13 }) {
            0 => {
                if let Some(&(axis, lanes)) = pick(rng, &choices.vectors) {
                    set_vector(stage, axis, lanes);
                }
            }
            1 | 2 => self.draw_register_tile(number, stage, rng),
            3 => {
                if axes > 0 {
                    let axis = rng.below(axes);
                    if let Some(&unroll) = pick(rng, &choices.unrolls[axis])
                        && let Some(spec) = tile_of(stage, axis)
                    {
                        spec.unroll = unroll;
                    }
                }
            }
            4 => {
                if axes > 0 {
                    let axis = rng.below(axes);
                    if let Some(&step) = pick(rng, &choices.blocks[axis]) {
                        insert_loop(stage, rng.below(loops + 1), LoopSpec { axis, step });
                    }
                }
            }
            5 => {
                if loops > 0 {
                    remove_loop(stage, rng.below(loops));
                }
            }
            6 | 7 => {
                if loops > 0 {
                    let at = rng.below(loops);
                    if let Some(&step) = pick(rng, &choices.blocks[stage.loops[at].axis]) {
                        stage.loops[at].step = step;
                    }
                }
            }
            8 => {
                if loops > 1 {
                    let at = rng.below(loops - 1);
                    stage.loops.swap(at, at + 1);
                }
            }
            9 => self.draw_tile_order(number, stage, rng),
            10 => {
                let loads: Vec<usize> = choices.packs.keys().copied().collect();
                if let Some(&load) = pick(rng, &loads) {
                    let before = stage.packs.len();
                    stage.packs.retain(|pack| pack.load != load);
                    if before == stage.packs.len() || percent(rng, 60) {
                        stage.packs.push(choices.pack(load, rng.below(loops + 1)));
                    }
                }
            }
            11 => {
                if stage.parallel {
                    stage.parallel = false;
                } else {
                    self.draw_parallel(number, stage, rng);
                }
            }
            13 => stage.stream = !stage.stream,
            _ => {
                if let Some(&place) = pick(rng, &choices.places) {
                    stage.place = placed(place);
                }
            }
        }
    }
}

fn placed(place: ProposedPlace) -> Place {
    match place {
        ProposedPlace::Root => Place::Root,
        ProposedPlace::Inline => Place::Inline,
        ProposedPlace::At { consumer, depth } => Place::At { consumer, depth },
    }
}

/// Moves the lanes to one axis.
fn set_vector(stage: &mut StageSchedule, axis: usize, lanes: usize) {
    for spec in &mut stage.tile {
        spec.lanes = if spec.axis == axis { lanes } else { 1 };
    }
}

/// Inserts a loop; packs stay inside the loops they were in.
fn insert_loop(stage: &mut StageSchedule, at: usize, step: LoopSpec) {
    stage.loops.insert(at, step);
    if stage.parallel && at <= stage.serial {
        stage.serial += 1;
    }
    for pack in &mut stage.packs {
        if pack.depth > at || (at == 0 && pack.depth > 0) {
            pack.depth += 1;
        }
    }
}

fn remove_loop(stage: &mut StageSchedule, at: usize) {
    stage.loops.remove(at);
    for pack in &mut stage.packs {
        if pack.depth > at {
            pack.depth -= 1;
        }
    }
    if at == stage.serial {
        stage.parallel = false;
    }
    if at <= stage.serial {
        stage.serial = stage.serial.saturating_sub(1);
    }
}
