//! Small changes of a stage's decisions.

use crate::schedule::{LoopSpec, Place, StageSchedule, TileSpec};
use moat_rules::schedule_rules::ProposedPlace;

/// A tile entry for one axis.
pub(super) fn tile_of(stage: &mut StageSchedule, axis: usize) -> Option<&mut TileSpec> {
    stage.tile.iter_mut().find(|spec| spec.axis == axis)
}

/// A place as the schedule spells it.
pub(super) fn placed(place: ProposedPlace) -> Place {
    match place {
        ProposedPlace::Root => Place::Root,
        ProposedPlace::Inline => Place::Inline,
        ProposedPlace::At { consumer, depth } => Place::At { consumer, depth },
    }
}

/// Moves the lanes to one axis.
pub(super) fn set_vector(stage: &mut StageSchedule, axis: usize, lanes: usize) {
    for spec in &mut stage.tile {
        spec.lanes = if spec.axis == axis { lanes } else { 1 };
    }
}

/// Inserts a loop; packs stay inside the loops they were in.
pub(super) fn insert_loop(stage: &mut StageSchedule, at: usize, step: LoopSpec) {
    stage.loops.insert(at, step);
    if stage.parallel && at <= stage.serial {
        stage.serial += 1;
    }
    for pack in &mut stage.packs {
        if pack.depth > at || (at == 0 && pack.depth > 0) {
            pack.depth += 1;
        }
    }
}

/// Removes a loop; packs stay inside the loops they were in.
pub(super) fn remove_loop(stage: &mut StageSchedule, at: usize) {
    stage.loops.remove(at);
    for pack in &mut stage.packs {
        if pack.depth > at {
            pack.depth -= 1;
        }
    }
    if at == stage.serial {
        stage.parallel = false;
    }
    if at <= stage.serial {
        stage.serial = stage.serial.saturating_sub(1);
    }
}
