//! One execution of a stage: what all terms of the cost model ask about.
//!
//! Takes a stage with its model, its decisions and its extents; gives an [`Execution`] with its register tile and the
//! blocks inside of its loops.

use super::placement::{Placement, block};
use super::rates::Rates;
use super::register_tile::RegisterTile;
use crate::cost::footprint::StageModel;
use crate::schedule::StageSchedule;

/// The cache in which an execution finds its data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Residence {
    /// The cache in which the data stay from one execution to the next: into those inside of it they come anew.
    pub(super) level: usize,
    /// The share of what an execution needs from that cache that it no longer has.
    pub(super) lost: f64,
}

/// One execution of a stage.
pub(super) struct Execution<'a> {
    /// The machine.
    pub(super) rates: &'a Rates,
    /// What the stage reads and computes.
    pub(super) model: &'a StageModel,
    /// What is decided about it.
    pub(super) stage: &'a StageSchedule,
    /// Extents of the execution.
    pub(super) extents: &'a [usize],
    /// Extents inside of all loops of the schedule.
    pub(super) inner: Vec<usize>,
    /// What is computed together.
    pub(super) tile: RegisterTile<'a>,
    /// Where the data lie before.
    pub(super) residence: Residence,
    /// Where the definitions that it reads are computed.
    pub(super) placements: &'a [Option<Placement>],
}

impl<'a> Execution<'a> {
    /// An execution of `stage` over `extents`.
    pub(super) fn new(
        rates: &'a Rates,
        model: &'a StageModel,
        stage: &'a StageSchedule,
        extents: &'a [usize],
        residence: Residence,
        placements: &'a [Option<Placement>],
    ) -> Execution<'a> {
        let (inner, _) = block(stage, extents, stage.loops.len());
        let tile = RegisterTile::new(rates, model, stage, extents);
        Execution { rates, model, stage, extents, inner, tile, residence, placements }
    }
}
