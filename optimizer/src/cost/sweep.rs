//! What time tiles do to the cost of a stage: how much an execution covers, from where its data come, how many threads
//! share the tiles.

use super::constants::{IN_AND_OUT, ROOMY, TILE_ENTRY, TILE_GUARD};
use super::execution::Residence;
use super::rates::Rates;
use crate::form::context::Context;
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::DefId;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::schedule::time::{coordinate, trips};
use crate::schedule::{Schedule, TimeTile, touched_bytes};
use std::collections::BTreeSet;

/// How a stage inside of a time loop sweeps its states: in tiles, or whole.
pub(super) struct Sweep {
    /// What an execution covers along each axis in a band, by axis.
    heights: Vec<Option<usize>>,
    /// Tiles that an iteration is cut into.
    pub(super) tiles: f64,
    /// Threads that share the tiles.
    pub(super) threads: f64,
    /// Where the states stay from one iteration to the next.
    pub(super) residence: Residence,
    /// Nanoseconds of an execution's share in bringing the states there, once for a block of iterations.
    pub(super) cold: f64,
    /// Nanoseconds of all executions to find, in every tile but one, what of them lies there.
    pub(super) entering: f64,
}

impl Sweep {
    /// `filled`: executions of the definition, those in part by as much as they fill.
    pub(super) fn new(
        form: &NormalForm,
        contexts: &[Context],
        schedule: &Schedule,
        rates: &Rates,
        id: DefId,
        filled: f64,
    ) -> Sweep {
        let def = &form.defs[id];
        let heights = vec![None; def.axes.len()];
        let mut sweep =
            Sweep { heights, tiles: 1.0, threads: 1.0, residence: Residence::default(), cold: 0.0, entering: 0.0 };
        let around = |var: usize| def.scope.iter().any(|scope| scope.variable == loop_variable(var));
        let Some(tile) = schedule.time_tiles.iter().find(|tile| around(tile.var)) else { return sweep };
        let states = updated_states(form, tile);
        let touched = touched_bytes(tile, states.iter().map(|&at| shape_of(form, at)));
        let holding = |bytes: f64| rates.caches.iter().position(|&cache| bytes <= cache).unwrap_or(rates.caches.len());
        sweep.residence.level = holding(touched);
        sweep.residence.lost =
            rates.caches.get(sweep.residence.level).map_or(0.0, |cache| (touched / cache - ROOMY).max(0.0));
        let from_there: f64 = rates.per_byte.iter().skip(sweep.residence.level).sum();
        let statements = form.defs.iter().filter(|def| def.scope.iter().any(|s| s.variable == loop_variable(tile.var)));
        // Each line comes in and goes out again.
        let context = &contexts[id];
        let inside = (context.executions() / around_loop(context, tile.var).1).max(1.0);
        let share = (tile.time.max(1) * statements.count().max(1)) as f64 * inside;
        let fresh = fresh_bytes(form, tile, &states, rates.caches.get(sweep.residence.level).copied());
        sweep.cold = IN_AND_OUT * fresh * from_there / share;
        if moves_on(def, tile.var) {
            // Each iteration has elements of its own: nothing is there before it.
            let whole = |(shape, bytes): (&[usize], usize)| (shape.iter().product::<usize>() * bytes) as f64;
            sweep.residence.level = holding(states.iter().map(|&at| whole(shape_of(form, at))).sum());
            sweep.residence.lost = 0.0;
            sweep.cold = 0.0;
        }
        let mut tiles = 1.0;
        for band in &tile.bands {
            let extent = extent_along(form, &states, band.dim);
            let moved = band.skew * tile.time.saturating_sub(1) + band.shifts.iter().max().copied().unwrap_or(0);
            // Of one iteration, the tiles that the whole extent is cut into; where bands move, one more is cut short.
            let count = |extent: usize| (extent as f64 / band.height as f64).max(1.0);
            tiles *= count(extent) + if moved > 0 { 1.0 } else { 0.0 };
            // What moves with a loop is executed as often as before.
            if let Some(axis) = coordinate(form, id, band.dim).and_then(|of| of.axis) {
                sweep.heights[axis] = Some(band.height);
                sweep.tiles *= count(def.axes[axis]);
            }
        }
        // Of the axes that a tile bounds, the innermost one's loop begins anew in every row of the others.
        let bounded = sweep.heights.iter().rposition(Option::is_some);
        let rows = bounded.map(|innermost| sweep.rows(def, innermost));
        sweep.entering = (tiles - 1.0)
            * match rows {
                Some(rows) => TILE_ENTRY * rows * filled,
                None => entering(form, context, id),
            };
        sweep.threads = Sharing::new(form, contexts, tile, rates.threads as usize).busy.max(1.0);
        sweep
    }

    /// Points of the axes before `innermost` in a tile.
    fn rows(&self, def: &Def, innermost: usize) -> f64 {
        let outer = def.axes.iter().zip(&self.heights).take(innermost);
        outer.map(|(&extent, height)| height.map_or(extent, |height| extent.min(height)) as f64).product()
    }

    /// The extents of an execution in a tile.
    pub(super) fn extents(&self, extents: &[usize]) -> Vec<usize> {
        let limit = |(axis, &extent): (usize, &usize)| match self.heights.get(axis) {
            Some(&Some(height)) => extent.min(height),
            Some(None) | None => extent,
        };
        extents.iter().enumerate().map(limit).collect()
    }
}

/// The largest extent of states along a dimension.
fn extent_along(form: &NormalForm, states: &BTreeSet<usize>, dim: usize) -> usize {
    states.iter().map(|&at| form.states[at].shape[dim]).max().unwrap_or(1)
}

/// Bytes of a tile that the one before it has not touched: a band leaves to the next one on the same dimension what it
/// moved over, if all that is touched until then stays in a cache of `held` bytes.
fn fresh_bytes(form: &NormalForm, tile: &TimeTile, states: &BTreeSet<usize>, held: Option<f64>) -> f64 {
    let touched = |tile: &TimeTile| touched_bytes(tile, states.iter().map(|&at| shape_of(form, at)));
    let (mut fresh, mut until) = (tile.clone(), tile.clone());
    for at in (0..tile.bands.len()).rev() {
        if held.is_none_or(|held| touched(&until) > held) {
            break;
        }
        fresh.bands[at].skew = 0;
        until.bands[at].height = extent_along(form, states, tile.bands[at].dim);
    }
    touched(&fresh)
}

/// Whether each iteration of a loop computes other elements: along a dimension, it alone says which.
fn moves_on(def: &Def, var: usize) -> bool {
    let Some(update) = &def.update else { return false };
    let alone = |form: &Affine| form.terms.iter().all(|&(v, _)| loop_of(v).is_some());
    update.index().iter().any(|form| form.coefficient(loop_variable(var)) != 0 && alone(form))
}

/// Nanoseconds of all executions of a definition to find which of them lie in a tile that bounds none of its axes: in the
/// innermost loop around it if it is alone there, one by one if not.
fn entering(form: &NormalForm, context: &Context, id: DefId) -> f64 {
    let innermost = |def: &Def| def.scope.last().map(|scope| scope.variable);
    let own = innermost(&form.defs[id]);
    let alone = form.defs.iter().filter(|def| def.scope.iter().any(|scope| Some(scope.variable) == own)).count() == 1;
    match own.and_then(loop_of) {
        Some(var) if alone => TILE_ENTRY * around_loop(context, var).0,
        Some(_) | None => TILE_GUARD * context.executions(),
    }
}

/// How often a loop is executed, and its body.
fn around_loop(context: &Context, var: usize) -> (f64, f64) {
    let at = context.loops.iter().position(|known| known.0 == loop_variable(var)).unwrap_or(context.loops.len());
    let executions = |loops: &[(usize, Range)]| {
        Context { loops: loops.to_vec(), conditions: context.conditions.clone() }.executions().max(1.0)
    };
    (executions(&context.loops[..at]), executions(&context.loops[..(at + 1).min(context.loops.len())]))
}

fn updated_states(form: &NormalForm, tile: &TimeTile) -> BTreeSet<usize> {
    let inside = |def: &&Def| def.scope.iter().any(|scope| scope.variable == loop_variable(tile.var));
    form.defs.iter().filter(inside).filter_map(|def| Some(def.update.as_ref()?.state)).collect()
}

fn shape_of(form: &NormalForm, state: usize) -> (&[usize], usize) {
    let state = &form.states[state];
    (&state.shape, state.dtype.bytes())
}

/// How threads share the tiles of a loop.
pub(super) struct Sharing {
    /// Threads that are busy, on average.
    busy: f64,
    /// How often threads start together, over all executions of the loop.
    pub(super) starts: f64,
}

impl Sharing {
    /// How `threads` threads share the tiles of the loop of `tile`.
    pub(super) fn new(form: &NormalForm, contexts: &[Context], tile: &TimeTile, threads: usize) -> Sharing {
        let Some(band) = tile.bands.first().filter(|_| tile.parallel) else {
            return Sharing { busy: 1.0, starts: 0.0 };
        };
        let extent = extent_along(form, &updated_states(form, tile), band.dim);
        let moved = band.skew * tile.time;
        let trips = trips(form, tile.var).unwrap_or(1);
        let blocks = trips.div_ceil(tile.time.max(1)).max(1);
        let bands = extent.div_ceil(band.height.max(1)).max(1);
        let inside = |context: &&Context| context.loops.iter().any(|known| known.0 == loop_variable(tile.var));
        let executions = contexts.iter().find(inside).map_or(1.0, |context| around_loop(context, tile.var).0);
        if band.independent {
            let busy = bands as f64 / bands.div_ceil(threads.max(1)) as f64;
            return Sharing { busy, starts: blocks as f64 * executions };
        }
        if let Some(panel) = band.panel {
            // Of all bands from the panel on, those in it run on one thread.
            let length = i64::try_from(tile.time).unwrap_or(i64::MAX).saturating_add(panel.ends - panel.begins - 1);
            let serial = (length.max(0) as f64 / band.height.max(1) as f64).ceil();
            let average = (bands as f64 / 2.0).max(serial);
            let busy = average / (serial + (average - serial) / threads.max(1) as f64);
            return Sharing { busy, starts: 2.0 * blocks as f64 * executions };
        }
        // A block is so many waves behind the one before it.
        let behind = 1 + moved.div_ceil(band.height.max(1));
        let waves = behind * (blocks - 1) + bands + behind - 1;
        let busy = (blocks * bands) as f64 / rounds(blocks, bands, behind, threads) as f64;
        Sharing { busy, starts: waves as f64 * executions }
    }
}

/// How often threads take tiles, over all waves: one with one tile more than there are threads takes as long as one with
/// twice as many tiles as threads.
fn rounds(blocks: usize, bands: usize, behind: usize, threads: usize) -> usize {
    let of_wave = |wave: usize| {
        let begun = (wave / behind + 1).min(blocks);
        let ended = (wave + 1).saturating_sub(bands).div_ceil(behind);
        begun.saturating_sub(ended).div_ceil(threads.max(1))
    };
    (0..behind * (blocks - 1) + bands).map(of_wave).sum()
}
