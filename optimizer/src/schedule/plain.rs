//! The schedule that decides nothing: source order, no tiles.

use crate::form::normal_form::{Def, NormalForm};
use crate::schedule::{Place, Schedule, StageSchedule, TileSpec};

/// The schedule that decides nothing.
pub fn plain_schedule(form: &NormalForm) -> Schedule {
    let axes = |def: &Def| def.pieces.iter().map(|piece| piece.domain.len()).max().unwrap_or(0);
    Schedule { stages: form.defs.iter().map(|def| plain_stage(axes(def))).collect(), time_tiles: Vec::new() }
}

/// One definition's part of it: stored whole, its `axes` axes in order, one point at a time.
pub(crate) fn plain_stage(axes: usize) -> StageSchedule {
    StageSchedule {
        place: Place::Root,
        loops: Vec::new(),
        tile: (0..axes).map(|axis| TileSpec { axis, unroll: 1, lanes: 1 }).collect(),
        parallel: false,
        serial: 0,
        stream: false,
        packs: Vec::new(),
    }
}
