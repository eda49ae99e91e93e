//! Skewed tiles of time loops: which are offered, drawn, varied, and legal.
//!
//! A tile is drawn for a cache: its block of iterations and its bands come from the proposals, and what it touches of
//! the states fits there. The skews and shifts are the least legal ones.

use super::choose::{percent, pick};
use super::{Choose, ScheduleSpace};
use crate::form::normal_form::NormalForm;
use crate::integer::range::loop_variable;
use crate::schedule::legality::Illegal;
use crate::schedule::time::{Tilable, offending, statements, trips};
use crate::schedule::{Band, Schedule, TimeTile, touched_bytes};
use moat_rules::schedule_rules::Proposals;
use std::collections::BTreeSet;

/// Draws of a tile before one that fits no cache is taken.
const ATTEMPTS: usize = 12;
/// The share of a cache that a tile may fill.
const SHARE: f64 = 0.8;

/// A loop that may run in skewed tiles.
#[derive(Clone, Debug)]
pub(super) struct TimeLoop {
    pub(super) var: usize,
    trips: usize,
    /// The dimensions that bands may lie along, with the heights that are proposed.
    dims: Vec<(Tilable, Vec<usize>)>,
    /// Blocks of iterations that are proposed.
    blocks: Vec<usize>,
    pub(super) wavefront: bool,
    /// Shape and bytes of an element of each state that the loop updates.
    states: Vec<(Vec<usize>, usize)>,
}

impl TimeLoop {
    pub(super) fn tilable(&self) -> impl Iterator<Item = Tilable> + '_ {
        self.dims.iter().map(|(known, _)| known.clone())
    }

    /// The dimension, if bands may lie along it, with the heights that are proposed.
    pub(super) fn along(&self, dim: usize) -> Option<&(Tilable, Vec<usize>)> {
        self.dims.iter().find(|(known, _)| known.dim == dim)
    }

    /// The dimensions, by their numbers in `dims`, along which a tile has no band.
    fn free(&self, tile: &TimeTile) -> Vec<usize> {
        let none = |at: &usize| tile.bands.iter().all(|band| band.dim != self.dims[*at].0.dim);
        (0..self.dims.len()).filter(none).collect()
    }

    fn band(&self, at: usize, height: usize) -> Option<Band> {
        let (known, _) = self.dims.get(at)?;
        let Tilable { dim, skew, shifts, independent, panel, .. } = known.clone();
        Some(Band { dim, skew, shifts, independent, panel, height })
    }
}

/// The loops of `tilable` with what the rules propose for them.
pub(super) fn time_loops(form: &NormalForm, tilable: &[Tilable], proposals: &Proposals) -> Vec<TimeLoop> {
    let vars: BTreeSet<usize> = tilable.iter().map(|known| known.var).collect();
    vars.into_iter()
        .filter_map(|var| {
            let heights = |dim: usize| -> Vec<usize> {
                proposals.bands.iter().filter(|band| (band.0, band.1) == (var, dim)).map(|band| band.2).collect()
            };
            let states: BTreeSet<usize> = statements(form, var)?
                .into_iter()
                .filter_map(|id| Some(form.defs[id].update.as_ref()?.state))
                .collect();
            Some(TimeLoop {
                var,
                trips: trips(form, var)?,
                dims: tilable
                    .iter()
                    .filter(|known| known.var == var)
                    .map(|known| (known.clone(), heights(known.dim)))
                    .collect(),
                blocks: proposals.time_blocks.iter().filter(|block| block.0 == var).map(|block| block.1).collect(),
                wavefront: proposals.wavefronts.contains(&var),
                states: states
                    .into_iter()
                    .filter_map(|state| form.states.get(state))
                    .map(|state| (state.shape.clone(), state.dtype.bytes()))
                    .collect(),
            })
        })
        .collect()
}

impl ScheduleSpace {
    /// Whether the time tiles of a schedule are legal.
    pub(super) fn check_time_tiles(&self, schedule: &Schedule) -> Result<(), Illegal> {
        let illegal = |message: String| Err(Illegal { stage: 0, rule: "time/backward", message });
        let mut seen = BTreeSet::new();
        for tile in &schedule.time_tiles {
            if !seen.insert(tile.var) {
                return illegal(format!("loop {} is tiled twice", tile.var));
            }
            if let Some(other) = schedule.time_tiles.iter().find(|other| self.nested(tile.var, other.var)) {
                return illegal(format!("loops {} and {}, one inside of the other, are tiled", tile.var, other.var));
            }
            let mut dims = BTreeSet::new();
            if tile.time == 0 || tile.bands.is_empty() || tile.bands.iter().any(|band| band.height == 0) {
                return illegal(format!("a tile of loop {} is empty", tile.var));
            }
            for band in &tile.bands {
                let of_loop = self.time_loops.iter().find(|known| known.var == tile.var);
                let known = of_loop.and_then(|known| known.along(band.dim));
                let reason = || match offending(&self.form, tile.var, band) {
                    Some(dependence) => format!(": {dependence}"),
                    None => String::new(),
                };
                let Some((known, _)) = known else {
                    return illegal(format!(
                        "loop {} cannot run in bands along dimension {}{}",
                        tile.var,
                        band.dim,
                        reason()
                    ));
                };
                if !dims.insert(band.dim) {
                    return illegal(format!("loop {} has two bands along dimension {}", tile.var, band.dim));
                }
                // What is known of the least skew holds for a greater one, but for independence.
                let moves = band.skew > known.skew;
                let apart = band.independent && (moves || !known.independent);
                let elsewhere = band.panel.is_some() && (moves || band.panel != known.panel);
                if elsewhere {
                    return illegal(format!(
                        "loop {} along dimension {} has another panel{}",
                        tile.var,
                        band.dim,
                        reason()
                    ));
                }
                if band.skew < known.skew || band.shifts != known.shifts || apart {
                    return illegal(format!(
                        "loop {} in bands along dimension {} needs a skew of {} and statements shifted by {:?}{}",
                        tile.var,
                        band.dim,
                        known.skew,
                        known.shifts,
                        reason()
                    ));
                }
            }
            if tile.parallel
                && self.inside(tile.var).any(|stage| schedule.stages.get(stage).is_some_and(|s| s.parallel))
            {
                return illegal(format!("a stage of loop {} is parallel inside of parallel tiles", tile.var));
            }
        }
        Ok(())
    }

    /// Whether one of two different loops is inside of the other.
    pub(super) fn nested(&self, one: usize, other: usize) -> bool {
        one != other && self.inside(one).any(|stage| self.inside(other).any(|found| found == stage))
    }

    /// Stages inside of a loop.
    fn inside(&self, var: usize) -> impl Iterator<Item = usize> + '_ {
        let within =
            move |stage: &usize| self.form.defs[*stage].scope.iter().any(|scope| scope.variable == loop_variable(var));
        (0..self.form.defs.len()).filter(within)
    }

    /// Inside of tiles no loop is tiled, inside of parallel ones nothing else is parallel.
    pub(super) fn repair_time_tiles(&self, wish: &mut Schedule) {
        let mut kept: Vec<TimeTile> = Vec::new();
        for tile in std::mem::take(&mut wish.time_tiles) {
            if !tile.bands.is_empty() && !kept.iter().any(|other| self.nested(tile.var, other.var)) {
                kept.push(tile);
            }
        }
        wish.time_tiles = kept;
        for tile in &wish.time_tiles {
            if tile.parallel {
                for stage in self.inside(tile.var) {
                    if let Some(stage) = wish.stages.get_mut(stage) {
                        stage.parallel = false;
                    }
                }
            }
        }
    }

    /// Skewed tiles for some loops, drawn from the proposals.
    pub(super) fn draw_time_tiles(&self, rng: &mut dyn Choose) -> Vec<TimeTile> {
        // Each loop by itself would hardly ever leave them all as they are.
        if percent(rng, 20) {
            return Vec::new();
        }
        let drawn = |known: &TimeLoop| if percent(rng, 75) { self.draw_time_tile(known, rng) } else { None };
        self.time_loops.iter().filter_map(drawn).collect()
    }

    fn draw_time_tile(&self, known: &TimeLoop, rng: &mut dyn Choose) -> Option<TimeTile> {
        let caches = &self.target.cache_bytes[..];
        let budget = *pick(rng, caches)? as f64 * SHARE;
        let mut dims: Vec<usize> = (0..known.dims.len()).collect();
        let count = [1, 1, 1, 2, 2, 2, 3][rng.below(7)].min(dims.len());
        while dims.len() > count {
            dims.remove(rng.below(dims.len()));
        }
        let parallel = known.wavefront && percent(rng, 85);
        let by_waves = percent(rng, 25);
        for _ in 0..ATTEMPTS {
            let time = *pick(rng, &known.blocks)?;
            let mut bands =
                dims.iter().map(|&at| known.band(at, *pick(rng, &known.dims[at].1)?)).collect::<Option<Vec<Band>>>()?;
            if by_waves && parallel {
                bands[0].panel = None;
            }
            let tile = TimeTile { var: known.var, time, bands, parallel };
            if known.touched(&tile) <= budget {
                return Some(tile);
            }
        }
        None
    }

    /// Changes the time tiles: mostly one number of one.
    pub(super) fn vary_time_tiles(&self, wish: &mut Schedule, rng: &mut dyn Choose) {
        if wish.time_tiles.is_empty() || percent(rng, 25) {
            wish.time_tiles = self.draw_time_tiles(rng);
            return;
        }
        let at = rng.below(wish.time_tiles.len());
        let tile = &mut wish.time_tiles[at];
        let Some(known) = self.time_loops.iter().find(|known| known.var == tile.var) else { return };
        match rng.below(5) {
            0 | 1 => {
                if let Some(&time) = pick(rng, &known.blocks) {
                    tile.time = time;
                }
            }
            2 | 3 => {
                let band = rng.below(tile.bands.len());
                let free = known.free(tile);
                let elsewhere = if percent(rng, 20) { pick(rng, &free).copied() } else { None };
                let at = elsewhere.or_else(|| known.dims.iter().position(|(of, _)| of.dim == tile.bands[band].dim));
                if let Some(at) = at
                    && let Some(&height) = pick(rng, &known.dims[at].1)
                {
                    match known.band(at, height).filter(|_| elsewhere.is_some()) {
                        Some(moved) => tile.bands[band] = moved,
                        None => tile.bands[band].height = height,
                    }
                }
            }
            _ => {
                let panel = tile.bands.first().and_then(|band| known.along(band.dim));
                if known.wavefront && percent(rng, 30) {
                    tile.parallel = !tile.parallel;
                } else if let Some((Tilable { panel: Some(panel), .. }, _)) = panel
                    && tile.parallel
                    && percent(rng, 30)
                {
                    let first = &mut tile.bands[0];
                    first.panel = if first.panel.is_some() { None } else { Some(*panel) };
                } else if tile.bands.len() > 1 && percent(rng, 50) {
                    tile.bands.remove(rng.below(tile.bands.len()));
                } else {
                    let free = known.free(tile);
                    if let Some(&at) = pick(rng, &free)
                        && let Some(&height) = pick(rng, &known.dims[at].1)
                    {
                        tile.bands.extend(known.band(at, height));
                    }
                }
            }
        }
    }

    /// Tiles that fill a share of a cache, for the default to choose from: of one and of two bands, in
    /// some proportions.
    pub(super) fn typical_time_tiles(&self) -> Vec<TimeTile> {
        let mut found: Vec<TimeTile> = Vec::new();
        for known in &self.time_loops {
            found.extend((0..known.dims.len()).filter_map(|at| self.one_band_each(known, at)));
            for &time in &known.blocks {
                for first in 0..known.dims.len() {
                    for second in std::iter::once(None).chain((first + 1..known.dims.len()).map(Some)) {
                        for budget in self.target.cache_bytes.iter().map(|&bytes| bytes as f64 * SHARE * 0.75) {
                            found.extend(self.fill(known, time, first, second, budget));
                        }
                    }
                }
            }
        }
        found
    }

    /// All iterations on independent bands, about one for each thread.
    fn one_band_each(&self, known: &TimeLoop, at: usize) -> Option<TimeTile> {
        let (of, heights) = known.dims.get(at).filter(|(of, _)| of.independent && known.wavefront)?;
        let extent = known.states.iter().filter_map(|(shape, _)| shape.get(of.dim)).max()?;
        let height = heights.iter().copied().filter(|height| height * self.threads >= *extent).min()?;
        let time = known.blocks.iter().copied().max()?;
        Some(TimeTile { var: known.var, time, bands: vec![known.band(at, height)?], parallel: true })
    }

    /// The largest tile of this form that fits, its outer band not higher than half of the inner one.
    fn fill(
        &self,
        known: &TimeLoop,
        time: usize,
        first: usize,
        second: Option<usize>,
        budget: f64,
    ) -> Option<TimeTile> {
        let parallel = known.wavefront;
        let mut best: Option<(usize, TimeTile)> = None;
        for &outer in &known.dims[first].1 {
            let inner: Vec<Option<usize>> = match second {
                None => vec![None],
                Some(second) => known.dims[second].1.iter().copied().filter(|&h| h >= outer).map(Some).collect(),
            };
            for inner in inner {
                let mut bands = vec![known.band(first, outer)?];
                if let (Some(second), Some(inner)) = (second, inner) {
                    bands.push(known.band(second, inner)?);
                }
                let tile = TimeTile { var: known.var, time, bands, parallel };
                let size = outer * inner.unwrap_or(1);
                if known.touched(&tile) <= budget && best.as_ref().is_none_or(|(known, _)| size > *known) {
                    best = Some((size, tile));
                }
            }
        }
        best.map(|(_, tile)| tile)
    }
}

impl TimeLoop {
    fn touched(&self, tile: &TimeTile) -> f64 {
        let time = tile.time.min(self.trips);
        touched_bytes(&TimeTile { time, ..tile.clone() }, self.states.iter().map(|(s, b)| (s.as_slice(), *b)))
    }
}
