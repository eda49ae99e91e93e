//! Whether the decisions about a stage fit its axes.

use super::error::ApplyError;
use super::stage::Stage;
use super::state::Apply;
use crate::schedule::Place;

impl Apply<'_> {
    /// Whether the decisions about a stage describe it.
    pub(super) fn check_shape(&self, stage: &Stage<'_>) -> Result<(), ApplyError> {
        let points = self.form.defs[stage.id].axes.len();
        let mut seen = vec![0; stage.axes.len()];
        let mut folds = false;
        for tile in &stage.spec.tile {
            if tile.axis >= stage.axes.len() {
                return self.malformed(stage.id, format!("the tile has axis {}, which does not exist", tile.axis));
            }
            if tile.unroll == 0 || tile.lanes == 0 {
                return self.malformed(stage.id, format!("a register tile of 0 along axis {}", tile.axis));
            }
            seen[tile.axis] += 1;
            folds |= tile.axis >= points;
            if folds && tile.axis < points {
                return self.malformed(stage.id, "a fold axis stands before a point axis in the tile");
            }
        }
        if seen.iter().any(|&count| count != 1) {
            return self.malformed(stage.id, "the tile must hold every axis exactly once");
        }
        for (at, spec) in stage.spec.loops.iter().enumerate() {
            if spec.axis >= stage.axes.len() || spec.step == 0 {
                return self.malformed(stage.id, format!("loop {at} is over axis {} by {}", spec.axis, spec.step));
            }
        }
        let bounded = self.pieces[stage.id][stage.piece].piece.depth.is_some();
        if bounded && stage.spec.loops.iter().any(|spec| spec.axis >= points) {
            return self.malformed(stage.id, "a loop over terms of a sum that is pairwise");
        }
        let depth = stage.spec.loops.len();
        if stage.spec.packs.iter().any(|pack| pack.depth > depth) {
            return self.malformed(stage.id, "a pack is placed deeper than the loops");
        }
        if stage.spec.parallel {
            if stage.spec.place != Place::Root {
                return self.malformed(stage.id, "only a definition stored whole has a parallel loop");
            }
            match stage.spec.shared_loop() {
                Some(shared) if shared.axis < points => {}
                _ => return self.malformed(stage.id, "the parallel loop must be over a point axis"),
            }
        }
        Ok(())
    }
}
