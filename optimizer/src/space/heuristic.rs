//! The default schedule: what a careful author would write without measuring.
//!
//! It decides nothing that no rule proposed, and is always legal: what the check refuses is taken back,
//! down to the schedule without any decision.

use super::{ScheduleSpace, choices::StageChoices, plain_stage};
use crate::cost::footprint::{LoadModel, StageModel};
use crate::cost::recompute;
use crate::form::scalar_tree::Source;
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule, TileSpec, TimeTile};
use moat_rules::schedule_rules::ProposedPlace;
use std::collections::BTreeMap;

/// An inlined definition may repeat so many slots of work for each element of its reader.
const CHEAP: f64 = 6.0;
/// Definitions computed in a consumer's loop may compute this share of their elements, not more.
const RECOMPUTE: f64 = 1.2;
/// A strided operand that is read for so many points is packed.
const WORTH_PACKING: usize = 32;
/// Rows of a consumer, tried in turn, for which its producers are computed together.
const ROWS: [usize; 5] = [1, 4, 8, 16, 32];

impl ScheduleSpace {
    /// Makes the default schedule.
    pub(super) fn heuristic(&self) -> Schedule {
        let mut schedule = Schedule {
            stages: (0..self.choices.len()).map(|stage| self.repaired(stage, self.stage_heuristic(stage))).collect(),
            time_tiles: Vec::new(),
        };
        if !self.is_legal(&schedule) {
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

    /// Runs each time loop in the skewed tiles that the draft likes best, if it likes any.
    fn tile_time(&self, schedule: &mut Schedule) {
        let mut best = self.draft(schedule);
        for tile in self.typical_time_tiles() {
            let wish = self.with_time_tile(schedule, tile);
            let cost = self.draft(&wish);
            if cost < best * 0.99 && self.is_legal(&wish) {
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

    fn stage_heuristic(&self, stage: usize) -> StageSchedule {
        let (model, choices) = (&self.models[stage], &self.choices[stage]);
        let axes = model.extents.len();
        let mut wish = plain_stage(axes);
        let registers = self.target.vector_registers.max(4);
        let vector = vector_axis(model, choices);
        if let Some((axis, lanes)) = vector {
            wish.tile[axis].lanes = lanes;
        }
        match (model.fold.is_some(), contraction(model, vector)) {
            (true, Some(rows)) => self.contraction(model, choices, vector, rows, registers, &mut wish),
            (true, None) => self.reduction(model, vector, &mut wish),
            (false, _) => self.map(model, choices, vector, &mut wish),
        }
        if self.threads > 1 {
            wish = self.with_threads(stage, wish);
        }
        wish.stream = choices.stream;
        wish
    }

    /// A register tile of rows × vectors with packed panels, blocked for the caches.
    fn contraction(
        &self,
        model: &StageModel,
        choices: &StageChoices,
        vector: Option<(usize, usize)>,
        rows: usize,
        registers: usize,
        wish: &mut StageSchedule,
    ) {
        // Where the lanes run along the fold, the other axis of the tile is a point with no lanes.
        let across = vector.map(|v| v.0).filter(|&axis| axis < model.points);
        let columns = across.or_else(|| (0..model.points).rev().find(|&axis| axis != rows));
        let lanes = vector.map_or(1, |v| v.1);
        // Of sums in blocks about as many wait as are accumulated.
        let registers = if model.blocks && across.is_some() { registers / 2 } else { registers };
        let vectors = match columns {
            Some(axis) if across == Some(axis) => 2.min(model.extents[axis].div_ceil(lanes)),
            Some(axis) => 2.min(model.extents[axis]),
            None => 1,
        };
        let fits = |count: usize| count * vectors + vectors + 1 < registers;
        let count = (1..=16).filter(|&count| fits(count)).max().unwrap_or(1);
        // Even tiles: 13 rows as 7 + 6 rather than 12 + 1.
        let extent = model.extents[rows];
        let count = extent.div_ceil(extent.div_ceil(count).max(1));
        let proposed = |r: usize| choices.register_tiles.contains(&(r, vectors));
        let count = (1..=count).rev().find(|&r| proposed(r)).unwrap_or(1);
        wish.tile[rows].unroll = choices.unroll(rows, count);
        if let Some(axis) = columns {
            wish.tile[axis].unroll = choices.unroll(axis, vectors);
        }
        if let Some(axis) = columns.filter(|&axis| axis != rows) {
            // Columns outside rows: a panel of the second operand stays in the first cache.
            wish.tile.sort_by_key(|spec| (spec.axis >= model.points, spec.axis == rows, spec.axis != axis, spec.axis));
        }

        let cache = |level: usize| self.target.cache_bytes.get(level).copied().unwrap_or(1 << 20);
        let bytes = model.widest;
        let panel = vectors * if across.is_some() { lanes } else { 1 };
        let folds: Vec<usize> = (model.points..model.extents.len()).collect();
        let Some(&fold) = folds.iter().max_by_key(|&&axis| (model.extents[axis], usize::MAX - axis)) else { return };
        let others: usize = folds.iter().filter(|&&axis| axis != fold).map(|&axis| model.extents[axis]).product();
        let deepest = (cache(0) / (panel * bytes * others.max(1)).max(1)).max(16);
        let depth = balanced(model.extents[fold], deepest, 8);
        let unit = wish.tile.iter().find(|spec| spec.axis == rows).map_or(1, |spec| spec.unroll);
        let tallest = (cache(1) / 2 / (depth * others.max(1) * bytes).max(1)).max(unit);
        let height = balanced(model.extents[rows], tallest, unit);
        let widest = (cache(2) / 2 / (depth * others.max(1) * bytes).max(1)).max(panel);
        if let Some(axis) = columns
            && model.extents[axis] > widest
        {
            wish.loops.push(LoopSpec { axis, step: balanced(model.extents[axis], widest, panel) });
        }
        wish.loops.push(LoopSpec { axis: fold, step: depth });
        wish.loops.push(LoopSpec { axis: rows, step: height });
        let mut cleaned = wish.clone();
        choices.repair(&mut cleaned);
        wish.loops = cleaned.loops;

        // Small operands stay in the caches as they are.
        let whole: usize = model.loads.iter().map(|load| load.elements() * load.bytes).sum();
        if whole <= cache(0) {
            return;
        }
        let inside = |axis: usize| wish.loops.iter().rposition(|step| step.axis == axis).map_or(0, |at| at + 1);
        for load in &model.loads {
            let Some(own) = load.own.filter(|own| choices.packs.contains_key(own)) else { continue };
            let varies = |axis: usize| load.strides[axis] != 0;
            let folds_inside = folds.iter().filter(|&&axis| varies(axis)).map(|&axis| inside(axis)).max();
            let reused = model.extents.iter().enumerate().filter(|&(axis, _)| !varies(axis)).map(|(_, &e)| e);
            let worth = reused.product::<usize>() >= 4 * wish.tile.iter().map(|t| t.unroll).max().unwrap_or(1);
            let axes_of = |form: &Affine| form.terms.iter().filter(|term| loop_of(term.0).is_none()).count();
            let overlapping = load.index.iter().any(|form| axes_of(form) > 1);
            if !worth || overlapping {
                continue;
            }
            let depth = if varies(rows) {
                inside(rows).max(folds_inside.unwrap_or(0))
            } else {
                columns.map_or(0, inside).max(folds_inside.unwrap_or(0))
            };
            wish.packs.push(choices.pack(own, depth));
        }
    }

    /// Partial accumulators along a contiguous fold, or vectors of points around a blocked fold.
    fn reduction(&self, model: &StageModel, vector: Option<(usize, usize)>, wish: &mut StageSchedule) {
        let fold = vector.map(|v| v.0).filter(|&axis| axis >= model.points);
        if let Some(axis) = fold {
            // Rows share the loads of what they have in common; a lone row needs more accumulators.
            let rows = (0..model.points).rev().find(|&row| model.extents[row] > 3);
            let shared = rows.is_some_and(|row| model.loads.iter().any(|load| load.strides[row] == 0));
            let (down, along) = match (rows, shared) {
                (Some(_), true) => (4, 2),
                (Some(_), false) => (1, 4),
                (None, _) => (1, 8),
            };
            if let Some(row) = rows {
                wish.tile[row].unroll = self.unroll(model, row, down, 1);
            }
            wish.tile[axis].unroll = self.unroll(model, axis, along, wish.tile[axis].lanes);
            return;
        }
        if let Some((axis, lanes)) = vector {
            wish.tile[axis].unroll = self.unroll(model, axis, 4, lanes);
            // Rows far apart: a few at a time over the whole width.
            let line = self.target.line_bytes as i64;
            let steep = |fold: usize| {
                let far = |load: &LoadModel| load.strides[fold].abs() * load.bytes as i64 > 4 * line;
                model.loads.iter().any(far)
            };
            let last = model.extents.len() - 1;
            let wide = model.extents[axis] > 4 * lanes;
            if wide && steep(last) && model.extents[last] > 64 {
                wish.loops.push(LoopSpec { axis: last, step: 32 });
            }
        } else if let Some(row) = (0..model.points).rev().find(|&row| model.extents[row] > 3) {
            wish.tile[row].unroll = self.unroll(model, row, 4, 1);
        }
    }

    fn map(
        &self,
        model: &StageModel,
        choices: &StageChoices,
        vector: Option<(usize, usize)>,
        wish: &mut StageSchedule,
    ) {
        let Some((axis, lanes)) = vector else {
            // Scalars side by side hide each other's latency.
            if let Some(axis) = (0..model.points).rev().find(|&axis| model.extents[axis] > 1) {
                wish.tile[axis].unroll = self.unroll(model, axis, 4, 1);
            }
            return;
        };
        let crossing = (0..model.points).rev().find(|&other| {
            other != axis
                && model.extents[other] > 1
                && (model.store_strides[other] == 1
                    || model.loads.iter().any(|load| load.strides[other] == 1 && load.strides[axis].abs() > 1))
        });
        match crossing {
            Some(other) => {
                wish.tile[other].unroll = self.unroll(model, other, 8, 1);
                if model.extents[axis] > 64 || model.extents[other] > 64 {
                    for blocked in [axis.min(other), axis.max(other)] {
                        wish.loops.push(LoopSpec { axis: blocked, step: 64 });
                    }
                }
                let mut cleaned = wish.clone();
                choices.repair(&mut cleaned);
                wish.loops = cleaned.loops;
            }
            None => {
                let many = if model.cost > 12.0 { 2 } else { 4 };
                // Again and again over what the caches hold: rows share the loads of what they have in common.
                let common = |row: usize| {
                    model.loads.iter().any(|load| load.strides[row] == 0 && load.strides[axis] != 0)
                        && model.loads.iter().any(|load| load.strides[row] != 0 && load.strides[axis] == 0)
                };
                let rows = (0..model.points).rev().find(|&row| row != axis && model.extents[row] > 3 && common(row));
                match rows.filter(|_| model.scale > 1.0) {
                    Some(row) => {
                        wish.tile[row].unroll = self.unroll(model, row, 4, 1);
                        wish.tile[axis].unroll = self.unroll(model, axis, many / 2, lanes);
                    }
                    None => wish.tile[axis].unroll = self.unroll(model, axis, many, lanes),
                }
            }
        }
    }

    fn unroll(&self, model: &StageModel, axis: usize, wish: usize, lanes: usize) -> usize {
        wish.min(model.extents[axis].div_ceil(lanes.max(1))).max(1)
    }

    /// Inlines what is cheap, and gathers what a few rows of a result need around those rows.
    fn place(&self, schedule: &mut Schedule) {
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
    fn hold(
        &self,
        schedule: &mut Schedule,
        consumer: usize,
        decisions: impl Fn(&Schedule, usize) -> Vec<(StageSchedule, bool)>,
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
            for (decisions, taken) in decisions(schedule, producer) {
                for depth in 1..=decisions.loops.len() {
                    let place = ProposedPlace::At { consumer, depth };
                    if !self.choices[producer].places.contains(&place) {
                        continue;
                    }
                    let mut attempt = schedule.clone();
                    attempt.stages[consumer] = decisions.clone();
                    attempt.stages[producer].place = Place::At { consumer, depth };
                    if taken {
                        give_first_loop(&mut attempt.stages[producer]);
                    }
                    choices_at(&mut attempt.stages[producer], &self.choices[producer]);
                    let repeats = recompute(&self.form, &attempt, producer).map_or(f64::INFINITY, |(share, _)| share);
                    if repeats > RECOMPUTE {
                        continue;
                    }
                    let cost = self.draft(&attempt);
                    if cost < best * 0.99 && self.is_legal(&attempt) {
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
    fn with_loops_to_hold(&self, schedule: &Schedule, consumer: usize) -> Vec<(StageSchedule, bool)> {
        let as_it_is = schedule.stages[consumer].clone();
        let holds = |stage: &StageSchedule| matches!(stage.place, Place::At { consumer: at, .. } if at == consumer);
        let Some(shared) = as_it_is.shared_loop().filter(|_| !schedule.stages.iter().any(holds)) else {
            return vec![(as_it_is, false)];
        };
        let mut by_points = as_it_is.clone();
        let within = as_it_is.serial + 1;
        by_points.loops.insert(within, LoopSpec { axis: shared.axis, step: 1 });
        by_points.tile.iter_mut().filter(|spec| spec.axis == shared.axis).for_each(|spec| spec.unroll = 1);
        by_points.packs.iter_mut().filter(|pack| pack.depth >= within).for_each(|pack| pack.depth += 1);
        self.choices[consumer].repair(&mut by_points);
        vec![(as_it_is, false), (by_points, false)]
    }

    /// A consumer without loops, with the first loop of a producer of which it reads a point at each of its own: that one
    /// no longer has it then.
    fn with_first_loop_of(&self, schedule: &Schedule, consumer: usize, producer: usize) -> Vec<(StageSchedule, bool)> {
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
        vec![(wish, true)]
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

    /// True of a fold that reads every element about once: no register tile would save a load.
    fn streams(&self, stage: usize) -> bool {
        let model = &self.models[stage];
        contraction(model, vector_axis(model, &self.choices[stage])).is_none()
    }

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

/// Equal blocks of at most `most`, a multiple of `unit`.
fn balanced(extent: usize, most: usize, unit: usize) -> usize {
    let unit = unit.max(1);
    let most = (most / unit).max(1) * unit;
    let blocks = extent.div_ceil(most).max(1);
    extent.div_ceil(blocks).div_ceil(unit) * unit
}

/// The proposed vector axis with the fewest strided accesses; points before folds where equal.
fn vector_axis(model: &StageModel, choices: &StageChoices) -> Option<(usize, usize)> {
    let cost = |axis: usize| -> f64 {
        let strided = |stride: i64| -> f64 {
            match stride {
                0 | 1 => 0.0,
                -1 => 0.5,
                _ => 4.0,
            }
        };
        let store = if axis < model.points { 1.5 * strided(model.store_strides[axis]) } else { 0.4 };
        // What is packed is not strided any more, and where it is read often enough the packing costs little.
        let packed = |load: &LoadModel| {
            let again = |other: usize| load.strides[other] == 0 && model.extents[other] >= WORTH_PACKING;
            load.own.is_some_and(|own| choices.packs.contains_key(&own)) && (0..model.points).any(again)
        };
        let of_load = |load: &LoadModel| match strided(load.strides[axis]) {
            cost if packed(load) => cost.min(0.3),
            cost => cost,
        };
        let loads: f64 = model.loads.iter().map(of_load).sum();
        let lanes = choices.lanes(axis);
        let short = if model.extents[axis] < lanes { 1.0 } else { 0.0 };
        store + loads + short
    };
    let mut axes: Vec<usize> = choices.vectors.iter().map(|vector| vector.0).collect();
    axes.sort_unstable();
    axes.dedup();
    let best = axes.into_iter().min_by(|&a, &b| cost(a).total_cmp(&cost(b)))?;
    let lanes = choices
        .vectors
        .iter()
        .filter(|vector| vector.0 == best)
        .map(|vector| vector.1)
        .min_by_key(|&lanes| (model.extents[best].div_ceil(lanes), usize::MAX - lanes))?;
    Some((best, lanes))
}

/// The rows of a register tile: a point axis along which an operand that varies with the vectors is
/// the same. `None` where there is no such reuse in two directions.
fn contraction(model: &StageModel, vector: Option<(usize, usize)>) -> Option<usize> {
    model.fold?;
    let across = vector.map(|v| v.0)?;
    let varies = |load: &LoadModel, axis: usize| load.strides[axis] != 0;
    let candidates = (0..model.points).rev().filter(|&axis| axis != across && model.extents[axis] > 1);
    let reused = |axis: usize| model.loads.iter().any(|load| varies(load, across) && !varies(load, axis));
    let other = |axis: usize| {
        across < model.points && model.loads.iter().any(|load| !varies(load, across) && varies(load, axis))
    };
    let mut rows: Vec<usize> = candidates.filter(|&axis| reused(axis) && other(axis)).collect();
    rows.sort_by_key(|&axis| usize::MAX - model.extents[axis]);
    rows.first().copied()
}

/// A tile entry for one axis.
pub(super) fn tile_of(stage: &mut StageSchedule, axis: usize) -> Option<&mut TileSpec> {
    stage.tile.iter_mut().find(|spec| spec.axis == axis)
}
