//! The loops of a stage as levels: what is touched inside of each.
//!
//! Takes an [`Execution`]; gives its [`Levels`], from the register tile out.

use super::execution::Execution;
use super::placement::block;

/// A loop around a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Around {
    /// Its axis.
    pub(super) axis: usize,
    /// Its trips.
    pub(super) trips: f64,
    /// It is a loop of the register tile's own band.
    pub(super) in_tile: bool,
}

/// A block, and the loop around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    /// Extents of the block.
    pub(super) block: Vec<usize>,
    /// The loop over such blocks; `None` around the outermost block, the whole execution.
    pub(super) around: Option<Around>,
    /// How many of the schedule's loops are outside of the block.
    pub(super) depth: usize,
}

/// The levels of one execution.
pub(super) struct Levels {
    /// From the inside out, without the whole.
    inner: Vec<Level>,
    /// The whole execution.
    pub(super) whole: Level,
}

impl Levels {
    /// The levels of `execution`.
    pub(super) fn new(execution: &Execution<'_>) -> Levels {
        let Execution { stage, extents, inner, tile, .. } = execution;
        let axes = extents.len();
        let mut levels: Vec<Level> = Vec::new();
        let mut current: Vec<usize> =
            (0..axes).map(|axis| (tile.unroll[axis] * tile.lanes[axis]).min(extents[axis].max(1))).collect();
        for spec in stage.tile.iter().rev().filter(|spec| spec.axis < axes) {
            let axis = spec.axis;
            let trips = (inner[axis] as f64 / current[axis].max(1) as f64).max(1.0);
            let around = Some(Around { axis, trips, in_tile: true });
            levels.push(Level { block: current.clone(), around, depth: stage.loops.len() });
            current[axis] = inner[axis];
        }
        for (at, step) in stage.loops.iter().enumerate().rev().filter(|(_, step)| step.axis < axes) {
            let axis = step.axis;
            let (outer, _) = block(stage, extents, at);
            let trips = (outer[axis] as f64 / current[axis].max(1) as f64).max(1.0);
            let around = Some(Around { axis, trips, in_tile: false });
            levels.push(Level { block: current.clone(), around, depth: at + 1 });
            current[axis] = outer[axis];
        }
        Levels { inner: levels, whole: Level { block: current, around: None, depth: 0 } }
    }

    /// The level at `at`, 0 the innermost.
    pub(super) fn get(&self, at: usize) -> Option<&Level> {
        if at == self.inner.len() { Some(&self.whole) } else { self.inner.get(at) }
    }

    /// The largest block that `fits`, by its number and with its level; the innermost if none does.
    pub(super) fn largest(&self, fits: impl Fn(&Level) -> bool) -> (usize, &Level) {
        let found =
            (1..self.inner.len()).rev().find_map(|at| self.get(at).filter(|level| fits(level)).map(|l| (at, l)));
        found.unwrap_or_else(|| (0, self.inner.first().unwrap_or(&self.whole)))
    }

    /// The loops around the block at `at`, from the inside out.
    pub(super) fn around(&self, at: usize) -> impl Iterator<Item = Around> + '_ {
        self.inner.iter().skip(at).filter_map(|level| level.around)
    }
}

#[cfg(test)]
mod tests {
    use super::Levels;
    use crate::cost::samples::{execution, map, rates, vectors};
    use crate::schedule::LoopSpec;

    #[test]
    fn blocks_grow_from_the_register_tile_to_the_whole() {
        let rates = rates();
        let model = map(64, 64);
        let mut stage = vectors(&model, 1);
        stage.loops = vec![LoopSpec { axis: 0, step: 8 }];
        let levels = Levels::new(&execution(&rates, &model, &stage));
        let blocks: Vec<Vec<usize>> = (0..4).map_while(|at| levels.get(at)).map(|level| level.block.clone()).collect();
        assert_eq!(blocks, [[1, 16], [1, 64], [8, 64], [64, 64]]);
        let trips: Vec<f64> = levels.around(0).map(|around| around.trips).collect();
        assert_eq!(trips, [4.0, 8.0, 8.0]);
        assert_eq!(levels.largest(|level| level.block[0] <= 8).0, 2);
    }
}
