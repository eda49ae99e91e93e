//! A stage while its loops are built.

use super::axis::AxisState;
use super::pack::PackedLoad;
use crate::form::scalar_tree::DefId;
use crate::schedule::{LoopSpec, StageSchedule};

/// A stage while its loops are built.
pub(super) struct Stage<'s> {
    /// The definition.
    pub(super) id: DefId,
    /// The number of the piece.
    pub(super) piece: usize,
    /// What is decided about it.
    pub(super) spec: &'s StageSchedule,
    /// The schedule's loops, and the tile's own step loops that a pack names as blocks.
    pub(super) loops: Vec<LoopSpec>,
    /// Points, then folds.
    pub(super) axes: Vec<AxisState>,
    /// Loads that read packed copies here, the innermost last.
    pub(super) packs: Vec<PackedLoad>,
}

/// The loops of a stage, followed by those step loops of its tile whose steps are blocks of a pack
/// and that the schedule does not write out: a packed digit must be a loop's variable.
pub(super) fn step_loops(spec: &StageSchedule) -> Vec<LoopSpec> {
    let mut loops = spec.loops.clone();
    for tile in &spec.tile {
        let step = LoopSpec { axis: tile.axis, step: tile.unroll * tile.lanes };
        if step.step > 1 && !loops.contains(&step) && spec.packs.iter().any(|pack| pack.layout.contains(&step)) {
            loops.push(step);
        }
    }
    loops
}
