//! How much work a loop nest does: the operations it executes and the bytes it must move.
//!
//! Counted on the scheduled nest, so recomputation and padding show. Input: a nest. Output:
//! [`Work`].

use crate::form::scalar_tree::ScalarOp;
use crate::integer::range::Range;
use crate::nest::{BufferRole, LoopNest, Node, Tile, TileScalar};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Operations and compulsory traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Arithmetic operations executed (a fused multiply-add counts as two, a function such as
    /// `exp` as one; index arithmetic, comparisons of indices, casts and copies as none).
    pub flops: u64,
    /// Bytes of parameters, results and shared scratch touched at least once, reads and writes
    /// apart.
    pub bytes: u64,
    /// How often a tile begins.
    #[serde(default)]
    pub tiles: u64,
}

/// Counts the work of `nest`.
pub fn work(nest: &LoopNest) -> Work {
    let mut count = Count {
        values: vec![0; nest.vars.len()],
        times: 1,
        tiles: 0,
        flops: 0,
        reads: BTreeMap::new(),
        writes: BTreeMap::new(),
    };
    for node in &nest.body {
        count.node(node);
    }
    let bytes = |touched: &BTreeMap<usize, u64>| -> u64 {
        touched
            .iter()
            .filter(|&(&buffer, _)| nest.buffers[buffer].role != BufferRole::Private)
            .map(|(&buffer, &times)| {
                times.min(nest.buffers[buffer].len as u64) * nest.buffers[buffer].dtype.bytes() as u64
            })
            .sum()
    };
    Work { flops: count.flops, bytes: bytes(&count.reads) + bytes(&count.writes), tiles: count.tiles }
}

struct Count {
    values: Vec<i64>,
    /// How often what is being counted runs.
    times: u64,
    tiles: u64,
    flops: u64,
    reads: BTreeMap<usize, u64>,
    writes: BTreeMap<usize, u64>,
}

impl Count {
    fn bounds(&self, range: &Range) -> (i64, i64) {
        let value = |v: usize| self.values[v];
        let lo = range.lo.iter().map(|form| form.evaluate(value)).max().unwrap_or(0);
        let hi = range.hi.iter().map(|form| form.evaluate(value)).min().unwrap_or(0);
        (lo, hi)
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Loop(inner) => {
                let (lo, hi) = self.bounds(&inner.range);
                let step = i64::try_from(inner.step).unwrap_or(i64::MAX).max(1);
                if !inner.body.iter().any(|node| depends(node, inner.var)) {
                    // Every iteration does the same.
                    let trips = u64::try_from((hi - lo + step - 1).div_euclid(step)).unwrap_or(0);
                    let before = self.times;
                    self.times *= trips;
                    if trips > 0 {
                        for node in &inner.body {
                            self.node(node);
                        }
                    }
                    self.times = before;
                    return;
                }
                let mut at = lo;
                while at < hi {
                    self.values[inner.var] = at;
                    for node in &inner.body {
                        self.node(node);
                    }
                    at = at.saturating_add(step);
                }
            }
            Node::Tile(tile) => self.tile(tile),
        }
    }

    fn tile(&mut self, tile: &Tile) {
        let axes: Vec<&crate::nest::TileAxis> = tile.points.iter().chain(&tile.folds).collect();
        let terms = self.times * self.points(&axes);
        let stores = self.times * self.points(&axes[..tile.points.len()]);
        let operations: u64 = tile
            .value
            .iter()
            .map(|node| match node {
                TileScalar::Load { .. } | TileScalar::Gather { .. } => 0,
                TileScalar::Compute(node) => match &node.op {
                    ScalarOp::Unary(..) | ScalarOp::Binary(..) if node.dtype != crate::value::dtype::DType::Bool => 1,
                    ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Load(..)
                    | ScalarOp::Const(_)
                    | ScalarOp::Index(_)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => 0,
                },
            })
            .sum();
        self.tiles += self.times;
        self.flops += terms * (operations + u64::from(tile.fold.is_some()));
        for node in &tile.value {
            if let TileScalar::Load { buffer, .. } | TileScalar::Gather { buffer, .. } = node {
                *self.reads.entry(*buffer).or_default() += terms;
            }
        }
        if let Some(shift) = &tile.shift {
            *self.reads.entry(shift.by).or_default() += self.times;
        }
        *self.writes.entry(tile.target).or_default() += stores;
    }

    /// Number of points of tile axes; enumerates only axes that later bounds depend on.
    fn points(&mut self, axes: &[&crate::nest::TileAxis]) -> u64 {
        let Some((axis, rest)) = axes.split_first() else { return 1 };
        let (lo, hi) = self.bounds(&axis.range);
        let length = u64::try_from(hi - lo).unwrap_or(0);
        let used = rest
            .iter()
            .any(|later| later.range.lo.iter().chain(&later.range.hi).any(|form| form.coefficient(axis.var) != 0));
        if !used {
            return if length == 0 { 0 } else { length * self.points(rest) };
        }
        let mut sum = 0;
        for at in lo..hi {
            self.values[axis.var] = at;
            sum += self.points(rest);
        }
        sum
    }
}

/// Whether a bound inside `node` depends on `var`.
fn depends(node: &Node, var: usize) -> bool {
    let bounded = |range: &Range| range.lo.iter().chain(&range.hi).any(|form| form.coefficient(var) != 0);
    match node {
        Node::Loop(inner) => bounded(&inner.range) || inner.body.iter().any(|node| depends(node, var)),
        Node::Tile(tile) => tile.points.iter().chain(&tile.folds).any(|axis| bounded(&axis.range)),
    }
}
