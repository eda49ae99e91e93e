//! The decisions about one stage by itself: register tile, blocks, packs, threads.

use super::choices::StageChoices;
use super::schedule_space::ScheduleSpace;
use crate::cost::footprint::{LoadModel, StageModel};
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use crate::schedule::plain::plain_stage;
use crate::schedule::{LoopSpec, StageSchedule};

/// A strided operand that is read for so many points is packed.
const WORTH_PACKING: usize = 32;

/// A fold of products whose operands are read again along rows and columns.
struct Product<'a> {
    model: &'a StageModel,
    choices: &'a StageChoices,
    rows: usize,
    columns: Option<usize>,
    /// Columns that a register tile covers.
    panel: usize,
}

impl ScheduleSpace {
    /// The decisions about a stage by itself.
    pub(super) fn stage_heuristic(&self, stage: usize) -> StageSchedule {
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
        wish.tile[rows].unroll = choices.unroll(rows, even_rows(model, choices, rows, vectors, registers));
        if let Some(axis) = columns {
            wish.tile[axis].unroll = choices.unroll(axis, vectors);
        }
        if let Some(axis) = columns.filter(|&axis| axis != rows) {
            // Columns outside rows: a panel of the second operand stays in the first cache.
            wish.tile.sort_by_key(|spec| (spec.axis >= model.points, spec.axis == rows, spec.axis != axis, spec.axis));
        }
        let panel = vectors * if across.is_some() { lanes } else { 1 };
        let product = Product { model, choices, rows, columns, panel };
        if self.block_for_caches(&product, wish) {
            self.pack_panels(&product, wish);
        }
    }

    /// Blocks of the columns, of the longest fold and of the rows, one for each cache; false if there is no fold.
    fn block_for_caches(&self, product: &Product<'_>, wish: &mut StageSchedule) -> bool {
        let &Product { model, choices, rows, columns, panel } = product;
        let cache = |level: usize| self.cache(level);
        let bytes = model.widest;
        let folds = model.points..model.extents.len();
        let Some(fold) = folds.clone().max_by_key(|&axis| (model.extents[axis], usize::MAX - axis)) else {
            return false;
        };
        let others: usize = folds.filter(|&axis| axis != fold).map(|axis| model.extents[axis]).product();
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
        true
    }

    /// Copies of the operands that are read often.
    fn pack_panels(&self, product: &Product<'_>, wish: &mut StageSchedule) {
        let &Product { model, choices, rows, columns, .. } = product;
        // Small operands stay in the caches as they are.
        let whole: usize = model.loads.iter().map(|load| load.elements() * load.bytes).sum();
        if whole <= self.cache(0) {
            return;
        }
        let inside = |axis: usize| wish.loops.iter().rposition(|step| step.axis == axis).map_or(0, |at| at + 1);
        for load in &model.loads {
            let Some(own) = load.own.filter(|own| choices.packs.contains_key(own)) else { continue };
            let varies = |axis: usize| load.strides[axis] != 0;
            let folds_inside = (model.points..model.extents.len()).filter(|&axis| varies(axis)).map(inside).max();
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

    /// Bytes of a cache.
    fn cache(&self, level: usize) -> usize {
        self.target.cache_bytes.get(level).copied().unwrap_or(1 << 20)
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

    /// True of a fold that reads every element about once: no register tile would save a load.
    pub(super) fn streams(&self, stage: usize) -> bool {
        let model = &self.models[stage];
        contraction(model, vector_axis(model, &self.choices[stage])).is_none()
    }
}

/// Rows of a register tile that the registers hold, as even as the rows can be divided: 13 as 7 + 6 rather than 12 + 1.
fn even_rows(model: &StageModel, choices: &StageChoices, rows: usize, vectors: usize, registers: usize) -> usize {
    let fits = |count: usize| count * vectors + vectors + 1 < registers;
    let count = (1..=16).filter(|&count| fits(count)).max().unwrap_or(1);
    let extent = model.extents[rows];
    let count = extent.div_ceil(extent.div_ceil(count).max(1));
    let proposed = |r: usize| choices.register_tiles.contains(&(r, vectors));
    (1..=count).rev().find(|&r| proposed(r)).unwrap_or(1)
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
