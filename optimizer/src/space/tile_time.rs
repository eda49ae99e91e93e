//! Skewed tiles of time loops: which are offered, drawn and varied.
//!
//! A tile is drawn for a cache: its block of iterations and its bands come from the proposals, and what it touches of
//! the states fits there. The skews and shifts are the least legal ones.

use super::choose::{Choose, percent, pick};
use super::schedule_space::ScheduleSpace;
use super::time_loop::TimeLoop;
use crate::schedule::time::Tilable;
use crate::schedule::{Band, Schedule, TimeTile};

/// Draws of a tile before one that fits no cache is taken.
const ATTEMPTS: usize = 12;
/// The share of a cache that a tile may fill.
const SHARE: f64 = 0.8;

impl ScheduleSpace {
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
            2 | 3 => vary_band(known, tile, rng),
            _ => vary_bands(known, tile, rng),
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

/// Changes the height of a band, or puts it along another dimension.
fn vary_band(known: &TimeLoop, tile: &mut TimeTile, rng: &mut dyn Choose) {
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

/// Changes how threads share the tiles, or how many bands there are.
fn vary_bands(known: &TimeLoop, tile: &mut TimeTile, rng: &mut dyn Choose) {
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
