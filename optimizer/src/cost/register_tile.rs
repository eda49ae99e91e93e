//! The register tile of a stage: which values it holds, and how each load behaves in it.
//!
//! Takes a stage's model, its decisions and the extents of one execution; gives a [`RegisterTile`], which the terms of the
//! cost model read.

use super::placement::{block, ceil};
use super::rates::Rates;
use crate::cost::footprint::{LoadModel, StageModel};
use crate::schedule::{Pack, StageSchedule};

/// How one load behaves in the register tile.
pub(super) struct TileLoad<'a> {
    /// The load.
    pub(super) load: &'a LoadModel,
    /// The copy that it is taken from, if there is one.
    pub(super) pack: Option<&'a Pack>,
    /// Stride along the vector axis where the load is taken from.
    pub(super) stride: i64,
    /// Vectors or broadcasts per register tile.
    pub(super) count: f64,
}

/// What is computed together.
pub(super) struct RegisterTile<'a> {
    /// The stage.
    pub(super) model: &'a StageModel,
    /// Vectors (scalars where there are no lanes) along each axis.
    pub(super) unroll: Vec<usize>,
    /// Lanes along each axis.
    pub(super) lanes: Vec<usize>,
    /// The axis with lanes.
    pub(super) vector: Option<usize>,
    /// Lanes of the vector axis, 1 without one.
    pub(super) width: f64,
    /// Vectors computed together, those of accumulators that are added up in the end included.
    pub(super) vectors: f64,
    /// Registers that each of them fills.
    pub(super) registers_each: f64,
    /// The loads of the stage, in order.
    pub(super) loads: Vec<TileLoad<'a>>,
    /// Extents of one execution.
    extents: &'a [usize],
}

impl<'a> RegisterTile<'a> {
    /// The tile of one execution over `extents`.
    pub(super) fn new(
        rates: &Rates,
        model: &'a StageModel,
        stage: &'a StageSchedule,
        extents: &'a [usize],
    ) -> RegisterTile<'a> {
        let axes = extents.len();
        let mut unroll = vec![1usize; axes];
        let mut lanes = vec![1usize; axes];
        for tile in &stage.tile {
            if tile.axis < axes {
                unroll[tile.axis] = tile.unroll.max(1);
                lanes[tile.axis] = tile.lanes.max(1);
            }
        }
        let vector = lanes.iter().position(|&n| n > 1);
        let width = lanes.iter().product::<usize>() as f64;
        let registers_each = ((width * model.widest as f64) / rates.vector_bytes as f64).ceil().max(1.0);
        let mut tile = RegisterTile {
            model,
            unroll,
            lanes,
            vector,
            width,
            vectors: 0.0,
            registers_each,
            loads: Vec::new(),
            extents,
        };
        tile.vectors = tile.vectors_along(|_| true);
        let (inner, _) = block(stage, extents, stage.loops.len());
        tile.loads = model.loads.iter().map(|load| tile.load(load, stage, &inner)).collect();
        tile
    }

    fn load(&self, load: &'a LoadModel, stage: &'a StageSchedule, inner: &[usize]) -> TileLoad<'a> {
        let pack = load.own.and_then(|own| stage.packs.iter().find(|pack| pack.load == own));
        let stride = self.vector.map_or(0, |axis| match pack {
            Some(pack) if load.strides[axis] != 0 => packed_stride(pack, axis, inner),
            Some(_) | None => load.strides[axis],
        });
        let count = self.vectors_along(|axis| load.strides[axis] != 0);
        TileLoad { load, pack, stride, count }
    }

    /// Vectors along the axes that are `wanted`.
    pub(super) fn vectors_along(&self, wanted: impl Fn(usize) -> bool) -> f64 {
        (0..self.extents.len())
            .filter(|&axis| wanted(axis))
            .map(|axis| self.unroll[axis].min(self.extents[axis].max(1)) as f64)
            .product()
    }

    /// Whether an axis is one of the fold.
    pub(super) fn is_fold(&self, axis: usize) -> bool {
        axis >= self.model.points
    }

    /// Vectors of points: accumulators of one point count once.
    pub(super) fn points(&self) -> f64 {
        self.vectors_along(|axis| !self.is_fold(axis))
    }

    /// Registers that the values computed together fill.
    pub(super) fn accumulators(&self) -> f64 {
        self.vectors * self.registers_each
    }
}

/// Elements between neighbours along `axis` in a packed layout.
fn packed_stride(pack: &Pack, axis: usize, extents: &[usize]) -> i64 {
    let mut stride: i64 = 1;
    for (at, digit) in pack.layout.iter().enumerate().rev() {
        if digit.axis == axis && digit.step == 1 {
            return stride;
        }
        let outer = pack.layout[..at].iter().rev().find(|other| other.axis == digit.axis).map(|other| other.step);
        let extent = outer.unwrap_or_else(|| extents.get(digit.axis).copied().unwrap_or(1));
        stride = stride.saturating_mul(ceil(extent, digit.step) as i64);
    }
    stride
}
