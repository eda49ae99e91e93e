//! The term of the vector units: the steps of the register tile, and how often they are taken.
//!
//! Takes an [`Execution`]; gives slots, the time of a vector multiply-add each.

use super::constants::{
    BLOCK_ENTRY, FOLD_STEP, FOLD_VISIT, GATHERED_LANE, HELD_OPERANDS, ISSUE, LANES_FOLD, LANES_HALVING, LATENCY,
    LOAD_OVERLAP, MAP_STEP, MICRO_OP_CACHE, MICRO_OP_MISS, PARTIALS_HALVING, REVERSED_LOAD, SPILL, STORE,
    STORE_OVERLAP, TAIL_FIXED, TAIL_GROWING,
};
use super::execution::Execution;
use super::rates::Rates;
use super::register_tile::{RegisterTile, TileLoad};
use crate::value::numerics::Numerics;

/// Slots of one execution, without packing.
pub(super) fn slots(execution: &Execution<'_>, numerics: Numerics) -> f64 {
    let tile = &execution.tile;
    let issued = Issued::new(tile);
    let storing = storing(tile);
    let step = step(execution.rates, tile, &issued, storing, numerics);
    let trips = Trips::new(execution);
    let mut slots = trips.tiles * trips.fold_steps * step;
    if tile.model.fold.is_some() {
        slots += trips.tiles * trips.fold_blocks * visit(tile, &trips, &issued, storing);
    } else {
        slots += trips.tiles * issued.hoisted;
    }
    slots + trips.blocks * BLOCK_ENTRY
}

/// What the loads of a register tile issue.
#[derive(Default)]
struct Issued {
    /// Slots of the loads at every step.
    loading: f64,
    /// Slots of those that do not vary along the fold: they are loaded before it.
    hoisted: f64,
    /// Registers that operands take.
    operands: f64,
}

impl Issued {
    fn new(tile: &RegisterTile<'_>) -> Issued {
        let mut issued = Issued::default();
        for of in &tile.loads {
            let slots = load_slots(tile, of);
            let varies = (0..of.load.strides.len()).any(|axis| tile.is_fold(axis) && of.load.strides[axis] != 0);
            if tile.model.fold.is_some() && !varies {
                issued.hoisted += slots;
                issued.operands += of.count.min(HELD_OPERANDS);
            } else {
                issued.loading += slots;
                let broadcast = of.stride == 0 || of.count >= tile.vectors;
                issued.operands += if broadcast { 1.0 } else { of.count * tile.registers_each };
            }
        }
        issued
    }
}

/// Slots of one load at a step.
fn load_slots(tile: &RegisterTile<'_>, of: &TileLoad<'_>) -> f64 {
    match of.stride {
        _ if tile.width == 1.0 => of.count,
        0 => of.count,
        1 => of.count * tile.registers_each,
        -1 => of.count * tile.registers_each * REVERSED_LOAD,
        _ => of.count * tile.width * GATHERED_LANE,
    }
}

/// Slots to store the points of a register tile.
fn storing(tile: &RegisterTile<'_>) -> f64 {
    let points = tile.points();
    match tile.vector {
        Some(axis) if !tile.is_fold(axis) => match tile.model.store_strides[axis] {
            1 => points * tile.registers_each * STORE,
            _ => points * tile.width * STORE,
        },
        Some(_) | None => points * STORE,
    }
}

/// Slots of one step of a register tile.
fn step(rates: &Rates, tile: &RegisterTile<'_>, issued: &Issued, storing: f64, numerics: Numerics) -> f64 {
    let folds = tile.model.fold.is_some();
    let accumulators = tile.accumulators();
    let mut operating = tile.model.cost * accumulators;
    if tile.model.fused && numerics == Numerics::Exact {
        operating += accumulators;
    }
    let spilled = if folds { (accumulators + issued.operands - rates.registers).max(0.0) } else { 0.0 };
    let loading = issued.loading + SPILL * spilled;
    let latency = if folds { LATENCY * ISSUE } else { 0.0 };
    let mut step = operating.max(loading).max((operating + loading) * LOAD_OVERLAP).max(latency);
    if folds {
        step += FOLD_STEP;
    } else {
        step = step.max(storing).max((operating + loading + storing) * STORE_OVERLAP) + MAP_STEP;
    }
    // Code that leaves the micro-op cache.
    let code = tile.vectors * tile.model.nodes as f64;
    if code > MICRO_OP_CACHE {
        step *= 1.0 + MICRO_OP_MISS * (code / MICRO_OP_CACHE).ln();
    }
    step
}

/// How often things happen in one execution.
struct Trips {
    /// Register tiles of points.
    tiles: f64,
    /// Steps of the fold for each.
    fold_steps: f64,
    /// Blocks of the fold for each.
    fold_blocks: f64,
    /// Blocks of all axes.
    blocks: f64,
}

impl Trips {
    fn new(execution: &Execution<'_>) -> Trips {
        let tile = &execution.tile;
        let mut trips = Trips { tiles: 1.0, fold_steps: 1.0, fold_blocks: 1.0, blocks: 1.0 };
        for (axis, (&extent, &inner)) in execution.extents.iter().zip(&execution.inner).enumerate() {
            let (extent, inner) = (extent.max(1), inner.max(1));
            let count = |length: usize| steps_along(length, tile.lanes[axis], tile.unroll[axis]);
            let whole = extent / inner;
            let rest = extent % inner;
            let steps = whole as f64 * count(inner) + if rest > 0 { count(rest) } else { 0.0 };
            let blocks = whole as f64 + f64::from(u8::from(rest > 0));
            trips.blocks *= blocks;
            if tile.is_fold(axis) {
                trips.fold_steps *= steps;
                trips.fold_blocks *= blocks;
            } else {
                trips.tiles *= steps;
            }
        }
        trips
    }
}

/// Register tiles along a block of `length`, the last one by the time that it takes.
fn steps_along(length: usize, lanes: usize, unroll: usize) -> f64 {
    let vectors = length.div_ceil(lanes) as f64;
    let whole = (vectors / unroll as f64).floor();
    let rest = vectors - whole * unroll as f64;
    whole + if rest > 0.0 { TAIL_FIXED + TAIL_GROWING * rest / unroll as f64 } else { 0.0 }
}

/// Slots to begin and end a register tile's fold over a block of terms.
fn visit(tile: &RegisterTile<'_>, trips: &Trips, issued: &Issued, storing: f64) -> f64 {
    let reloads = if trips.fold_blocks > 1.0 { storing } else { 0.0 };
    let lanes = match tile.vector {
        Some(axis) if tile.is_fold(axis) => tile.points() * (LANES_FOLD + LANES_HALVING * tile.width.log2()),
        Some(_) | None => 0.0,
    };
    let partials = tile.vectors_along(|axis| tile.is_fold(axis)).log2() * PARTIALS_HALVING * tile.points();
    storing + reloads + issued.hoisted + lanes + partials + FOLD_VISIT
}

#[cfg(test)]
mod tests {
    use super::slots;
    use crate::cost::constants::BLOCK_ENTRY;
    use crate::cost::samples::{execution, map, product, rates, vectors};
    use crate::value::numerics::Numerics;

    #[test]
    fn twice_the_terms_cost_about_twice_and_twice_the_rows_exactly() {
        let rates = rates();
        let of = |rows, terms| {
            let model = product(rows, 64, terms);
            slots(&execution(&rates, &model, &vectors(&model, 1)), Numerics::Reassociate)
        };
        let entries = |slots: f64| slots - BLOCK_ENTRY;
        let taller = entries(of(16, 256)) / entries(of(8, 256));
        assert!((taller - 2.0).abs() < 1e-12, "{taller}");
        let longer = of(8, 512) / of(8, 256);
        assert!((1.9..=2.0).contains(&longer), "{longer}");
    }

    #[test]
    fn a_register_tile_hides_latency_until_it_spills() {
        let rates = rates();
        let model = product(96, 64, 256);
        let of = |rows| {
            let mut stage = vectors(&model, 1);
            stage.tile[0].unroll = rows;
            slots(&execution(&rates, &model, &stage), Numerics::Reassociate)
        };
        assert!(of(8) < 0.5 * of(1));
        assert!(of(48) > of(24));
    }

    #[test]
    fn lanes_along_a_row_are_faster_than_along_a_column() {
        let rates = rates();
        let model = map(256, 256);
        let of = |vector| slots(&execution(&rates, &model, &vectors(&model, vector)), Numerics::Exact);
        assert!(of(1) < of(0));
    }
}
