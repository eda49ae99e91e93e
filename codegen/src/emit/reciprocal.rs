//! Quotients by constants as products with the reciprocals.
//!
//! Input: a nest. Output: the same nest, where `x / c` is `x · (1 / c)` if the reciprocal is a normal number and no
//! discontinuous function ever reads the value, nor one that was computed from it: a product with a rounded reciprocal may
//! be an ulp beside the quotient, and where the quotient is a whole number its floor is then another one. Values are
//! followed through buffers. For numerics that permit it.

use moat_optimizer::form::scalar_tree::{ScalarNode, ScalarOp};
use moat_optimizer::nest::{LoopNest, Node, Tile, TileScalar};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::BinaryOp;

/// The nest with products for quotients.
pub(super) fn multiplied(nest: &LoopNest) -> LoopNest {
    let mut nest = nest.clone();
    let mut watched = vec![false; nest.buffers.len()];
    while watch(&nest.body, &mut watched) {}
    rewrite(&mut nest.body, &watched);
    nest
}

/// Marks the buffers that a watched value is loaded from; whether there are new ones.
fn watch(nodes: &[Node], watched: &mut [bool]) -> bool {
    let mut new = false;
    for node in nodes {
        match node {
            Node::Loop(inner) => new |= watch(&inner.body, watched),
            Node::Tile(tile) => {
                for (scalar, read) in tile.value.iter().zip(watched_nodes(tile, watched)) {
                    let buffer = match scalar {
                        TileScalar::Load { buffer, .. } | TileScalar::Gather { buffer, .. } => *buffer,
                        TileScalar::Compute(_) => continue,
                    };
                    new |= read && !watched[buffer];
                    watched[buffer] |= read;
                }
            }
        }
    }
    new
}

/// For each node of a tile whether a discontinuous function reads it, here or after it was stored.
fn watched_nodes(tile: &Tile, watched: &[bool]) -> Vec<bool> {
    let mut read = vec![false; tile.value.len()];
    if let Some(root) = read.last_mut() {
        *root = watched.get(tile.target).copied().unwrap_or(true);
    }
    for at in (0..tile.value.len()).rev() {
        let scalar = &tile.value[at];
        let decides = match scalar {
            TileScalar::Compute(node) => jumps(node, &tile.value),
            TileScalar::Load { .. } | TileScalar::Gather { .. } => false,
        };
        if decides || read[at] {
            scalar.operands().into_iter().for_each(|x| read[x] = true);
        }
    }
    read
}

/// Whether an operator is discontinuous in an operand that is a float.
fn jumps(node: &ScalarNode, nodes: &[TileScalar]) -> bool {
    match &node.op {
        ScalarOp::Unary(op, _) => op.is_discontinuous(),
        ScalarOp::Binary(op, ..) => op.is_discontinuous(),
        ScalarOp::Cast(x) => {
            let from_float = match &nodes[*x] {
                TileScalar::Compute(from) => from.dtype.is_float(),
                TileScalar::Load { .. } | TileScalar::Gather { .. } => true,
            };
            from_float && !node.dtype.is_float()
        }
        ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) | ScalarOp::Where(..) => false,
    }
}

fn rewrite(nodes: &mut [Node], watched: &[bool]) {
    for node in nodes {
        match node {
            Node::Loop(inner) => rewrite(&mut inner.body, watched),
            Node::Tile(tile) => {
                let read = watched_nodes(tile, watched);
                tile.value = products(&tile.value, &read);
            }
        }
    }
}

/// The expression with products for the quotients that nothing reads.
fn products(value: &[TileScalar], read: &[bool]) -> Vec<TileScalar> {
    let mut new: Vec<TileScalar> = Vec::with_capacity(value.len());
    let mut place: Vec<usize> = Vec::with_capacity(value.len());
    for (at, scalar) in value.iter().enumerate() {
        let moved = match scalar {
            TileScalar::Load { .. } => scalar.clone(),
            TileScalar::Gather { buffer, offset, stride, at } => {
                TileScalar::Gather { buffer: *buffer, offset: offset.clone(), stride: *stride, at: place[*at] }
            }
            TileScalar::Compute(node) => {
                let op = match &node.op {
                    ScalarOp::Binary(BinaryOp::Div, x, y) if !read[at] => match reciprocal(&value[*y]) {
                        Some(reciprocal) => {
                            let constant = ScalarNode { op: ScalarOp::Const(reciprocal), dtype: node.dtype };
                            new.push(TileScalar::Compute(constant));
                            ScalarOp::Binary(BinaryOp::Mul, place[*x], new.len() - 1)
                        }
                        None => node.op.renumbered(|x| place[x]),
                    },
                    ScalarOp::Binary(..)
                    | ScalarOp::Load(..)
                    | ScalarOp::Const(_)
                    | ScalarOp::Index(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => node.op.renumbered(|x| place[x]),
                };
                TileScalar::Compute(ScalarNode { op, dtype: node.dtype })
            }
        };
        new.push(moved);
        place.push(new.len() - 1);
    }
    new
}

/// The reciprocal of a constant, if both are normal numbers.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the question")]
fn reciprocal(scalar: &TileScalar) -> Option<Literal> {
    let TileScalar::Compute(ScalarNode { op: ScalarOp::Const(literal), dtype }) = scalar else { return None };
    let reciprocal = 1.0 / literal.at(*dtype).as_f64();
    let normal = match dtype {
        DType::F64 => reciprocal.is_normal(),
        DType::F32 => (reciprocal as f32).is_normal(),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => false,
        DType::F16 | DType::BF16 => false,
    };
    normal.then(|| Literal::float(reciprocal).at(*dtype))
}
