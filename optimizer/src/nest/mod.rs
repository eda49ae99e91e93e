//! MoA's operational normal form (ONF): a tree of loops over flat buffers.
//!
//! `lower` makes one with every loop plain; `apply` makes one under a schedule; codegen compiles
//! it. The leaves are [`Tile`]s: a register tile with its own step loops, so that tails are the
//! code generator's business and any extent works with any tile.

pub mod evaluate;
pub mod print;
pub mod target;
pub mod verify;
pub mod work;

use crate::form::scalar_tree::ScalarNode;
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::program::expr::Requirement;
use crate::value::dtype::DType;
use crate::value::scalar::FoldOp;
use serde::{Deserialize, Serialize};

/// Index of a loop variable in [`LoopNest::vars`]; the variables of every [`Affine`] in a nest.
pub type VarId = usize;
/// Index of a buffer in [`LoopNest::buffers`].
pub type BufferId = usize;

/// A loop program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopNest {
    /// Parameters first, in order; then outputs, in order; then scratch.
    pub buffers: Vec<Buffer>,
    /// A readable name for each variable; a variable is bound by exactly one loop or tile axis.
    pub vars: Vec<String>,
    /// Executed in order.
    pub body: Vec<Node>,
}

/// A flat array.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Buffer {
    /// A readable name, unique in the nest.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub len: usize,
    /// What it is for.
    pub role: BufferRole,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BufferRole {
    /// The i-th parameter: only read. A scalar is a buffer of one element.
    Param(usize),
    /// The i-th result: also read where a definition reads a result or accumulates into it.
    Output(usize),
    /// The i-th check, of this: one bool. Where it is false at the end, the kernel says what was not met.
    Check(usize, Requirement),
    /// Workspace shared by all threads.
    Shared,
    /// Workspace of which every thread has its own copy.
    Private,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// A loop around others.
    Loop(Loop),
    /// A register tile.
    Tile(Tile),
}

/// `for var in range(max(lo), min(hi), step)`. Bounds are affine in variables of enclosing loops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// The variable: the first index of a block of `step`, not a block number.
    pub var: VarId,
    /// The interval.
    pub range: Range,
    /// The increment, ≥ 1.
    pub step: usize,
    /// How the iterations run.
    pub kind: LoopKind,
    /// Executed for each value.
    pub body: Vec<Node>,
}

/// How a loop's iterations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// Divided among the threads. Never inside another parallel loop.
    Parallel,
}

/// The innermost band: for every point of the `points` axes, in order (first = outermost), fold
/// `value` over the `folds` axes (first = outermost), or just take it, and store it.
///
/// Each axis advances by its register tile `unroll · lanes`; the points of one register tile are
/// computed together, with their accumulators in registers over all of the fold loops. At most
/// one axis of the tile has `lanes > 1`. A fold axis with a register tile above 1 has that many
/// partial accumulators, which needs a reorderable fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// Axes of points.
    pub points: Vec<TileAxis>,
    /// Axes of the fold; empty if there is none.
    pub folds: Vec<TileAxis>,
    /// The fold.
    pub fold: Option<TileFold>,
    /// The element or the folded term; the last node is the value. Loads read buffers.
    pub value: Vec<TileScalar>,
    /// The buffer written.
    pub target: BufferId,
    /// Offset of the element, affine in the variables of enclosing loops and of `points`.
    pub offset: Affine,
    /// All elements are moved by a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<TileShift>,
    /// Whole vectors are stored past the caches, where their addresses can be aligned.
    #[serde(default)]
    pub stream: bool,
    /// Definition this computes, as an index into the normal form, or the operand that it packs.
    pub origin: String,
}

/// How far what a tile stores moves, see [`crate::program::expr::Shift`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TileShift {
    /// The buffer whose first element, an i64, is the distance. The tile does not write to it.
    pub by: BufferId,
    /// The distance is taken to the nearest in `0 ..= last`.
    pub last: i64,
}

impl Tile {
    /// The buffers that it reads, with repetitions.
    pub fn reads(&self) -> impl Iterator<Item = BufferId> + '_ {
        self.value.iter().filter_map(TileScalar::buffer).chain(self.shift.map(|shift| shift.by))
    }
}

/// Every tile below `nodes`, in order.
pub fn tiles(nodes: &[Node]) -> Box<dyn Iterator<Item = &Tile> + '_> {
    Box::new(nodes.iter().flat_map(|node| match node {
        Node::Loop(inner) => tiles(&inner.body),
        Node::Tile(tile) => Box::new(std::iter::once(tile)) as Box<dyn Iterator<Item = &Tile>>,
    }))
}

/// One axis of a tile: `var` runs over `range`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileAxis {
    /// The variable: one index.
    pub var: VarId,
    /// The interval; bounds affine in enclosing loops' and earlier tile axes' variables.
    pub range: Range,
    /// Vectors (or scalars, if `lanes` is 1) computed together, ≥ 1.
    pub unroll: usize,
    /// Vector lanes along this axis, ≥ 1.
    pub lanes: usize,
}

/// How a tile folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileFold {
    /// The operator.
    pub op: FoldOp,
    /// No term goes through more additions, as in [`crate::form::normal_form::Piece::depth`]; then `first` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// The fold begins with the identity where each of these forms is 0, and with the stored
    /// value otherwise: fold loops *around* the tile are visited in blocks. Empty: always the
    /// identity.
    pub first: Vec<Affine>,
}

/// A scalar operation of a tile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TileScalar {
    /// `buffer[offset]`, the offset affine in every variable in scope.
    Load {
        /// Read from.
        buffer: BufferId,
        /// The flat offset.
        offset: Affine,
    },
    /// `buffer[offset + stride · v]` where v is the value of node `at`, bounded as in
    /// [`crate::form::scalar_tree::Gather`].
    Gather {
        /// Read from.
        buffer: BufferId,
        /// The part of the flat offset that is known.
        offset: Affine,
        /// The factor of v.
        stride: i64,
        /// The node.
        at: usize,
    },
    /// Any operation of the normal form but a load; `Index` forms are over the nest's variables.
    Compute(ScalarNode),
}

impl TileScalar {
    /// Nodes of the tile's value that it is computed from.
    pub fn operands(&self) -> Vec<usize> {
        match self {
            TileScalar::Load { .. } => Vec::new(),
            TileScalar::Gather { at, .. } => vec![*at],
            TileScalar::Compute(node) => node.op.operands(),
        }
    }

    /// The buffer that it reads.
    pub fn buffer(&self) -> Option<BufferId> {
        match self {
            TileScalar::Load { buffer, .. } | TileScalar::Gather { buffer, .. } => Some(*buffer),
            TileScalar::Compute(_) => None,
        }
    }

    /// The operation, if it reads no buffer.
    pub fn computed(&self) -> Option<&ScalarNode> {
        match self {
            TileScalar::Load { .. } | TileScalar::Gather { .. } => None,
            TileScalar::Compute(node) => Some(node),
        }
    }
}
