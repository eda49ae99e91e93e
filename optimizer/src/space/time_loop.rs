//! Loops over states that may run in skewed tiles, with what the rules propose for them.

use crate::form::normal_form::NormalForm;
use crate::schedule::time::{Tilable, statements, trips};
use crate::schedule::{Band, TimeTile, touched_bytes};
use moat_rules::schedule_rules::Proposals;
use std::collections::BTreeSet;

/// A loop that may run in skewed tiles.
#[derive(Clone, Debug)]
pub(super) struct TimeLoop {
    /// Its number.
    pub(super) var: usize,
    /// Its iterations.
    trips: usize,
    /// The dimensions that bands may lie along, with the heights that are proposed.
    pub(super) dims: Vec<(Tilable, Vec<usize>)>,
    /// Blocks of iterations that are proposed.
    pub(super) blocks: Vec<usize>,
    /// Threads may share its tiles.
    pub(super) wavefront: bool,
    /// Shape and bytes of an element of each state that the loop updates.
    pub(super) states: Vec<(Vec<usize>, usize)>,
}

impl TimeLoop {
    /// What is known of each dimension.
    pub(super) fn tilable(&self) -> impl Iterator<Item = Tilable> + '_ {
        self.dims.iter().map(|(known, _)| known.clone())
    }

    /// The dimension, if bands may lie along it, with the heights that are proposed.
    pub(super) fn along(&self, dim: usize) -> Option<&(Tilable, Vec<usize>)> {
        self.dims.iter().find(|(known, _)| known.dim == dim)
    }

    /// The dimensions, by their numbers in `dims`, along which a tile has no band.
    pub(super) fn free(&self, tile: &TimeTile) -> Vec<usize> {
        let none = |at: &usize| tile.bands.iter().all(|band| band.dim != self.dims[*at].0.dim);
        (0..self.dims.len()).filter(none).collect()
    }

    /// A band of `height` along the dimension at `at`.
    pub(super) fn band(&self, at: usize, height: usize) -> Option<Band> {
        let (known, _) = self.dims.get(at)?;
        let Tilable { dim, skew, shifts, independent, panel, .. } = known.clone();
        Some(Band { dim, skew, shifts, independent, panel, height })
    }

    /// Bytes of the states that a tile touches.
    pub(super) fn touched(&self, tile: &TimeTile) -> f64 {
        let time = tile.time.min(self.trips);
        touched_bytes(&TimeTile { time, ..tile.clone() }, self.states.iter().map(|(s, b)| (s.as_slice(), *b)))
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
