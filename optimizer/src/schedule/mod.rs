//! What `apply` does to a loop nest: pure data, one entry per definition of the normal form.
//!
//! Names in Halide (H) and TVM (T) stand with each primitive. The empty decision is always legal.

pub mod legality;
pub mod plain;
pub mod time;

use serde::{Deserialize, Serialize};

/// Decisions for a whole normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    /// One for each definition, in order.
    pub stages: Vec<StageSchedule>,
    /// Loops over updates that run in skewed tiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_tiles: Vec<TimeTile>,
}

/// One time loop in skewed tiles, see [`crate::schedule::time`] (Pluto: time tiling; H, T: -).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeTile {
    /// The loop's number.
    pub var: usize,
    /// Iterations of a tile.
    pub time: usize,
    /// What a tile covers of the states, outermost loop first: at least one band, each along another dimension.
    pub bands: Vec<Band>,
    /// Tiles are divided among threads: the outermost bands where they are independent, those after the panel where they
    /// have one, a wavefront's otherwise.
    pub parallel: bool,
}

/// A band along one dimension of the states.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Band {
    /// The dimension.
    pub dim: usize,
    /// How far the band moves from one iteration to the next.
    pub skew: usize,
    /// How far it has moved at each statement of the body.
    pub shifts: Vec<usize>,
    /// No dependence leads from one band to another.
    #[serde(default)]
    pub independent: bool,
    /// Where the bands lie that others need, if that is made use of. Only without a skew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panel: Option<Panel>,
    /// Indices along the dimension.
    pub height: usize,
}

/// Where the panel of a block of iterations lies along a dimension: the coordinates (with the statement's shift) that
/// others need, before all that need no more than it (BLAS: the panel of a factorization).
///
/// Iteration t touches no coordinate before `t + begins`; where it needs another coordinate than the one it computes, that
/// one lies before `t + ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Panel {
    /// No coordinate is before.
    pub begins: i64,
    /// From here on, no coordinate is needed by another.
    pub ends: i64,
}

/// Decisions for one definition. Axes are numbered as in `Def`: points, then folds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageSchedule {
    /// Where the definition is computed and stored.
    pub place: Place,
    /// Loops around the tile, outermost first. An axis may occur several times, with decreasing
    /// steps, each a multiple of the next and of the register tile (H: split + reorder).
    pub loops: Vec<LoopSpec>,
    /// The innermost band in loop order, every axis exactly once: points first, then folds.
    pub tile: Vec<TileSpec>,
    /// One of `loops` is divided among threads (H, T: parallel). Only where `place` is `Root`.
    pub parallel: bool,
    /// So many of `loops` are around the parallel one. What is packed there, all threads pack together and share.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub serial: usize,
    /// Operands that are copied into contiguous scratch.
    pub packs: Vec<Pack>,
    /// The elements go to memory past the caches, by whole vectors (non-temporal stores). Worth it
    /// for what is written once and is larger than the last cache: no line is read to be overwritten.
    #[serde(default)]
    pub stream: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl StageSchedule {
    /// The loop that is divided among threads.
    pub fn shared_loop(&self) -> Option<LoopSpec> {
        self.loops.get(self.serial).copied().filter(|_| self.parallel)
    }
}

/// Where a definition lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Place {
    /// Substituted into its consumers; never stored (H: compute_inline). Only definitions without
    /// a fold and with one piece.
    Inline,
    /// Stored whole, before its consumers (H: compute_root). Results are always `Root`.
    Root,
    /// Computed inside the consumer's outer loops, as much of it as they need (H: compute_at,
    /// store_at).
    At {
        /// The definition whose loops hold it.
        consumer: usize,
        /// Inside so many of the consumer's `loops`, ≥ 1.
        depth: usize,
    },
}

/// One loop around the tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoopSpec {
    /// The axis.
    pub axis: usize,
    /// Points of the axis per iteration.
    pub step: usize,
}

/// One axis of the register tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TileSpec {
    /// The axis.
    pub axis: usize,
    /// Vectors (scalars where `lanes` is 1) computed together (T: unroll; H: unroll).
    pub unroll: usize,
    /// Vector lanes (H, T: vectorize).
    pub lanes: usize,
}

/// A copy of one operand's tile into contiguous scratch (T: cache_read; Exo: stage_mem).
///
/// The scratch is indexed by the *stage's* axes on which the load depends. Its layout, slowest
/// first, is `layout`: each entry is an axis and a block; an axis given as blocks `b₀ > b₁ > …`
/// contributes the digits `⌊x/b₀⌋`, `⌊x mod b₀ / b₁⌋`, …; the last entry of an axis has block 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pack {
    /// The load: its index among the loads of the stage's scalar expression, in order.
    pub load: usize,
    /// Placed inside so many of the stage's `loops`.
    pub depth: usize,
    /// Digits of the packed layout, slowest first.
    pub layout: Vec<LoopSpec>,
}

/// Bytes that a tile touches of states of these shapes and element sizes.
pub(crate) fn touched_bytes<'s>(tile: &TimeTile, states: impl Iterator<Item = (&'s [usize], usize)>) -> f64 {
    let of = |shape: &[usize]| -> f64 {
        shape
            .iter()
            .enumerate()
            .map(|(dim, &extent)| match tile.bands.iter().find(|band| band.dim == dim) {
                Some(band) => {
                    let moved =
                        band.skew * tile.time.saturating_sub(1) + band.shifts.iter().max().copied().unwrap_or(0);
                    (band.height + moved + 2).min(extent) as f64
                }
                None => extent as f64,
            })
            .product()
    };
    states.map(|(shape, bytes)| of(shape) * bytes as f64).sum()
}
