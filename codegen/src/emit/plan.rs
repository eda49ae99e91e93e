//! What the emission of a register tile knows of it: data only.
//!
//! [`super::analysis`] finds it before any code is written.

use super::register::Reg;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::nest::{Tile, TileAxis};
use moat_optimizer::value::dtype::DType;

/// The most scalar or vector operations that one register tile may unroll to.
pub const OPERATION_LIMIT: usize = 20_000;
/// Ranges of fewer register tiles stay as they are.
const FEWEST_TILES: i64 = 2;

/// One axis of a tile, points first.
#[derive(Clone)]
pub(crate) struct Axis<'t> {
    pub(crate) axis: &'t TileAxis,
    pub(super) unroll: usize,
    pub(super) lanes: u32,
    pub(super) fold: bool,
    pub(super) name: String,
    /// The accumulator of single points left over on a fold axis with lanes.
    pub(super) scalar_partial: usize,
    /// What is shorter than a vector is a masked one.
    pub(super) masked: bool,
}

impl Axis<'_> {
    pub(super) fn register_tile(&self) -> i64 {
        i64::try_from(self.unroll).unwrap_or(i64::MAX).saturating_mul(i64::from(self.lanes))
    }
}

/// What the emission of one tile needs to know, computed once.
#[derive(Clone)]
pub(crate) struct Plan<'t> {
    pub(crate) tile: &'t Tile,
    pub(crate) axes: Vec<Axis<'t>>,
    /// How many of `axes` are points.
    pub(super) points: usize,
    /// The axis with lanes.
    pub(crate) vector: Option<usize>,
    /// Dtype of each node of the value.
    pub(crate) dtypes: Vec<DType>,
    /// Whether each node depends on each axis.
    pub(crate) depends: Vec<Vec<bool>>,
    /// Nodes that are computed, in order.
    pub(crate) needed: Vec<usize>,
    /// The value is this product, to be added by a fused multiply-add.
    pub(super) fused: Option<(usize, usize)>,
    /// Nodes that are sums which have to round their products.
    pub(super) rounded: Vec<bool>,
    /// Whole vectors are stored past the caches: the pieces of the vector axis begin at aligned addresses.
    pub(super) stream: bool,
    /// What the pieces of the vector axis are aligned for, where they are long.
    pub(super) aligned: Option<Stream>,
    /// Scalar or vector operations of one register tile.
    pub(super) operations: usize,
    /// An element may be computed and stored twice: the tile does not read what it stores to.
    pub(super) again: bool,
}

impl Plan<'_> {
    /// Whether the vector stored at one choice of registers lies at a multiple of its size.
    pub(crate) fn past_caches(&self, regs: &[Vec<Reg<'_>>], combo: &[usize]) -> bool {
        self.stream && self.vector.is_some_and(|axis| regs[axis][combo[axis]].aligned)
    }
}

/// The accesses that the pieces of a vector axis are aligned for.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) buffer: usize,
    /// Of the first element of a vector.
    pub(super) offset: Affine,
    /// It is what the tile writes to, which a value may move.
    pub(super) written: bool,
    /// Elements from one aligned address to the next.
    pub(super) unit: i64,
    /// Vectors of the shortest range in which alignment pays.
    pub(super) vectors: i64,
}

impl Stream {
    /// Points of the shortest range in which alignment pays.
    pub(super) fn least(&self, axis: &Axis<'_>) -> i64 {
        let tiles = axis.register_tile().saturating_mul(FEWEST_TILES);
        self.vectors.saturating_mul(i64::from(axis.lanes)).max(tiles)
    }
}
