//! One decision of a schedule changed.

use super::choices::StageChoices;
use super::choose::{Choose, percent, pick};
use super::edit::{insert_loop, placed, remove_loop, set_vector, tile_of};
use super::schedule_space::ScheduleSpace;
use crate::schedule::{LoopSpec, Schedule, StageSchedule};

/// A kind of change of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// Lanes along a proposed axis.
    Vector,
    /// Another register tile.
    RegisterTile,
    /// Another unrolling of one axis.
    Unroll,
    /// A new loop.
    InsertLoop,
    /// A loop less.
    RemoveLoop,
    /// Another step of a loop.
    Step,
    /// Two neighbouring loops exchanged.
    SwapLoops,
    /// Another order of the tile's axes.
    TileOrder,
    /// A copy of an operand, elsewhere or no more.
    Pack,
    /// Threads share a loop, or none.
    Parallel,
    /// Another place.
    Place,
    /// Stores past the caches, or into them.
    Stream,
}

/// The moves as they are drawn: one that stands here twice comes twice as often. The last is for stages only whose stores
/// may go past the caches.
const MOVES: [Move; 14] = [
    Move::Vector,
    Move::RegisterTile,
    Move::RegisterTile,
    Move::Unroll,
    Move::InsertLoop,
    Move::RemoveLoop,
    Move::Step,
    Move::Step,
    Move::SwapLoops,
    Move::TileOrder,
    Move::Pack,
    Move::Parallel,
    Move::Place,
    Move::Stream,
];

impl ScheduleSpace {
    /// Changes one decision of one stage, without regard to legality.
    pub(super) fn vary(&self, wish: &mut Schedule, rng: &mut dyn Choose) {
        if wish.stages.is_empty() {
            return;
        }
        let number = rng.below(wish.stages.len());
        let choices = &self.choices[number];
        let axes = choices.extents.len();
        let stage = &mut wish.stages[number];
        let loops = stage.loops.len();
        let moves = &MOVES[..if choices.stream { MOVES.len() } else { MOVES.len() - 1 }];
        let Some(drawn) = pick(rng, moves) else { return };
        match drawn {
            Move::Vector => {
                if let Some(&(axis, lanes)) = pick(rng, &choices.vectors) {
                    set_vector(stage, axis, lanes);
                }
            }
            Move::RegisterTile => self.draw_register_tile(number, stage, rng),
            Move::Unroll => {
                if axes > 0 {
                    let axis = rng.below(axes);
                    if let Some(&unroll) = pick(rng, &choices.unrolls[axis])
                        && let Some(spec) = tile_of(stage, axis)
                    {
                        spec.unroll = unroll;
                    }
                }
            }
            Move::InsertLoop => {
                if axes > 0 {
                    let axis = rng.below(axes);
                    if let Some(&step) = pick(rng, &choices.blocks[axis]) {
                        insert_loop(stage, rng.below(loops + 1), LoopSpec { axis, step });
                    }
                }
            }
            Move::RemoveLoop => {
                if loops > 0 {
                    remove_loop(stage, rng.below(loops));
                }
            }
            Move::Step => {
                if loops > 0 {
                    let at = rng.below(loops);
                    if let Some(&step) = pick(rng, &choices.blocks[stage.loops[at].axis]) {
                        stage.loops[at].step = step;
                    }
                }
            }
            Move::SwapLoops => {
                if loops > 1 {
                    let at = rng.below(loops - 1);
                    stage.loops.swap(at, at + 1);
                }
            }
            Move::TileOrder => self.draw_tile_order(number, stage, rng),
            Move::Pack => vary_pack(choices, stage, rng),
            Move::Parallel => {
                if stage.parallel {
                    stage.parallel = false;
                } else {
                    self.draw_parallel(number, stage, rng);
                }
            }
            Move::Stream => stage.stream = !stage.stream,
            Move::Place => {
                if let Some(&place) = pick(rng, &choices.places) {
                    stage.place = placed(place);
                }
            }
        }
    }
}

/// Packs a load elsewhere, or no more.
fn vary_pack(choices: &StageChoices, stage: &mut StageSchedule, rng: &mut dyn Choose) {
    let loops = stage.loops.len();
    let loads: Vec<usize> = choices.packs.keys().copied().collect();
    if let Some(&load) = pick(rng, &loads) {
        let before = stage.packs.len();
        stage.packs.retain(|pack| pack.load != load);
        if before == stage.packs.len() || percent(rng, 60) {
            stage.packs.push(choices.pack(load, rng.below(loops + 1)));
        }
    }
}
