//! What time tiles do to the cost of a stage: how much an execution covers, from where its data come, how many threads
//! share the tiles.

use super::Rates;
use crate::normal_form::{Def, DefId, NormalForm, loop_variable};
use crate::schedule::{Schedule, TimeTile};
use crate::skew::trips;
use crate::space::touched_bytes;
use std::collections::BTreeSet;

/// How a stage inside of a time loop sweeps its states: in tiles, or whole.
pub(super) struct Sweep {
    /// What an execution covers along each axis in a band, by axis.
    heights: Vec<Option<usize>>,
    /// Tiles that an iteration is cut into.
    pub(super) tiles: f64,
    /// Threads that share the tiles.
    pub(super) threads: f64,
    /// The cache in which the states stay from one iteration to the next: into those inside of it they come anew.
    pub(super) resident: usize,
    /// Nanoseconds of an execution's share in bringing the states there, once for a block of iterations.
    pub(super) cold: f64,
}

impl Sweep {
    pub(super) fn new(form: &NormalForm, schedule: &Schedule, rates: &Rates, id: DefId) -> Sweep {
        let def = &form.defs[id];
        let heights = vec![None; def.axes.len()];
        let mut sweep = Sweep { heights, tiles: 1.0, threads: 1.0, resident: 0, cold: 0.0 };
        let around = |var: usize| def.scope.iter().any(|scope| scope.variable == loop_variable(var));
        let Some(tile) = schedule.time_tiles.iter().find(|tile| around(tile.var)) else { return sweep };
        let states = updated_states(form, tile);
        let touched = touched_bytes(tile, states.iter().map(|&at| shape_of(form, at)));
        sweep.resident = rates.caches.iter().position(|&cache| touched <= cache).unwrap_or(rates.caches.len());
        let from_there: f64 = rates.per_byte.iter().skip(sweep.resident).sum();
        let statements = form.defs.iter().filter(|def| def.scope.iter().any(|s| s.variable == loop_variable(tile.var)));
        // Each line comes in and goes out again.
        sweep.cold = 2.0 * touched * from_there / (tile.time.max(1) * statements.count().max(1)) as f64;
        for band in &tile.bands {
            let extent = states.iter().map(|&at| form.states[at].shape[band.dim]).max().unwrap_or(1);
            let moved = band.skew * tile.time.saturating_sub(1) + band.shifts.iter().max().copied().unwrap_or(0);
            // Of one iteration, the tiles that the whole extent is cut into; where bands move, some are cut short.
            let count = (extent as f64 / band.height as f64).max(1.0) + if moved > 0 { 1.0 } else { 0.0 };
            let axis = def.update.as_ref().and_then(|update| {
                let index = update.index.get(band.dim)?;
                (0..def.axes.len()).find(|&axis| index.coefficient(axis) != 0)
            });
            if let Some(axis) = axis {
                sweep.heights[axis] = Some(band.height);
                sweep.tiles *= count;
            }
        }
        if tile.parallel {
            sweep.threads = rates.threads.min(concurrency(form, tile)).max(1.0);
        }
        sweep
    }

    pub(super) fn extents(&self, extents: &[usize]) -> Vec<usize> {
        let limit = |(axis, &extent): (usize, &usize)| match self.heights.get(axis) {
            Some(&Some(height)) => extent.min(height),
            Some(None) | None => extent,
        };
        extents.iter().enumerate().map(limit).collect()
    }
}

fn updated_states(form: &NormalForm, tile: &TimeTile) -> BTreeSet<usize> {
    let inside = |def: &&Def| def.scope.iter().any(|scope| scope.variable == loop_variable(tile.var));
    form.defs.iter().filter(inside).filter_map(|def| Some(def.update.as_ref()?.state)).collect()
}

fn shape_of(form: &NormalForm, state: usize) -> (&[usize], usize) {
    let state = &form.states[state];
    (&state.shape, state.dtype.bytes())
}

/// Blocks of iterations, bands of the outermost kind, and waves that a block is behind the one before it.
fn wavefront(form: &NormalForm, tile: &TimeTile) -> (f64, f64, f64) {
    let Some(band) = tile.bands.first() else { return (1.0, 1.0, 1.0) };
    let extent = updated_states(form, tile).iter().map(|&at| form.states[at].shape[band.dim]).max().unwrap_or(1);
    let moved = band.skew * tile.time;
    let blocks = trips(form, tile.var).unwrap_or(1).div_ceil(tile.time.max(1));
    let bands = (extent + moved).div_ceil(band.height.max(1));
    (blocks as f64, bands as f64, 1.0 + moved.div_ceil(band.height.max(1)) as f64)
}

/// Tiles that run at the same time, on average over the waves.
fn concurrency(form: &NormalForm, tile: &TimeTile) -> f64 {
    let (blocks, bands, behind) = wavefront(form, tile);
    blocks * bands / (behind * (blocks - 1.0) + bands)
}

/// Waves of a tile that threads share.
pub(super) fn waves(form: &NormalForm, tile: &TimeTile) -> f64 {
    let (blocks, bands, behind) = wavefront(form, tile);
    if tile.parallel { behind * (blocks - 1.0) + bands } else { 0.0 }
}
