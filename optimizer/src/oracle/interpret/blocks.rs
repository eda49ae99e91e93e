//! Large element-wise values, computed a block of rows at a time: the intermediate arrays stay in the cache.
//!
//! The same operators on the same elements as whole arrays would give, in the same order; only what a block of the
//! result needs is computed at once.

use super::elementwise;
use super::operators::evaluate;
use super::traits::Traits;
use super::value::{Numbers, Store, Value};
use super::views::slice;
use crate::program::expr::{NodeId, Op, Program, SliceAxis};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;

/// Elements of a block. Some ten arrays of bounds and values of this size fit the L2 cache.
const BLOCK: usize = 1 << 13;

/// The value of the last of `nodes`, of a concrete shape. `outside` gives the values of arguments that are not among
/// them. `None` if one is missing.
pub(super) fn by_blocks(
    program: &Program,
    nodes: &[NodeId],
    shape: &[usize],
    numerics: Numerics,
    sums: &[bool],
    outside: impl Fn(NodeId) -> Option<Value>,
) -> Option<Value> {
    let axis = shape.iter().position(|&extent| extent > 1).unwrap_or(0);
    let row: usize = shape[axis + 1..].iter().product();
    let rows = (BLOCK / row.max(1)).max(1);
    let leaves = leaves(program, nodes, shape, outside)?;
    let pass = Pass { program, nodes, shape, numerics, sums, axis, leaves };
    let mut whole = Whole::new(shape.iter().product());
    let extent = shape.get(axis).copied().unwrap_or(1);
    let mut done = 0;
    while done < extent {
        let count = rows.min(extent - done);
        whole.append(&pass.block(done, count)?, done * row);
        done += count;
    }
    let dtype = program.nodes[*nodes.last()?].dtype;
    Some(whole.into_value(dtype, shape))
}

/// The arguments of each node that come from outside, stretched to the whole shape: views. `None` in place of those
/// that are among the nodes.
fn leaves(
    program: &Program,
    nodes: &[NodeId],
    shape: &[usize],
    outside: impl Fn(NodeId) -> Option<Value>,
) -> Option<Vec<Vec<Option<Value>>>> {
    let of_node = |&id: &NodeId| {
        let node = &program.nodes[id];
        let leaf = |(at, &arg): (usize, &NodeId)| {
            if nodes.binary_search(&arg).is_ok() {
                return Some(None);
            }
            let value = outside(arg)?;
            let outer = matches!(node.op, Op::Outer(_));
            Some(Some(if outer { elementwise::spread(&value, at == 0, shape) } else { value }))
        };
        node.args.iter().enumerate().map(leaf).collect()
    };
    nodes.iter().map(of_node).collect()
}

/// What is computed, the same for every block.
struct Pass<'a> {
    program: &'a Program,
    nodes: &'a [NodeId],
    /// The whole result's shape.
    shape: &'a [usize],
    numerics: Numerics,
    /// For each node of the program whether a sum asks for its Σ|terms|.
    sums: &'a [bool],
    /// The axis along which blocks follow each other.
    axis: usize,
    /// See [`leaves`].
    leaves: Vec<Vec<Option<Value>>>,
}

impl Pass<'_> {
    /// The result's `count` rows from `start` on.
    fn block(&self, start: usize, count: usize) -> Option<Value> {
        let mut shape = self.shape.to_vec();
        shape[self.axis] = count;
        let mut values: Vec<Option<Value>> = vec![None; self.nodes.len()];
        for (at, &id) in self.nodes.iter().enumerate() {
            let node = &self.program.nodes[id];
            let mut args = Vec::with_capacity(node.args.len());
            for (leaf, arg) in self.leaves[at].iter().zip(&node.args) {
                args.push(match (leaf, self.nodes.binary_search(arg)) {
                    (Some(value), _) => self.part(value, start, count),
                    (None, Ok(from)) => values[from].clone()?,
                    (None, Err(_)) => return None,
                });
            }
            let value = if let Op::Outer(op) = &node.op {
                elementwise::binary(*op, args.first()?, args.get(1)?, self.numerics, self.sums[id])
            } else {
                evaluate(&node.op, &shape, node.dtype, args, self.numerics, self.sums[id])?
            };
            values[at] = Some(value);
        }
        values.pop()?
    }

    /// The same rows of an argument of the whole shape.
    fn part(&self, value: &Value, start: usize, count: usize) -> Value {
        let of_axis = |(at, &len): (usize, &usize)| {
            if at == self.axis {
                SliceAxis { start: i64::try_from(start).unwrap_or(0), step: 1, len: count }
            } else {
                SliceAxis { start: 0, step: 1, len }
            }
        };
        slice(value, &self.shape.iter().enumerate().map(of_axis).collect::<Vec<_>>())
    }
}

/// The blocks so far, one after the other.
struct Whole {
    /// Elements of the result.
    size: usize,
    floats: Vec<f64>,
    ints: Vec<i64>,
    bounds: Vec<f64>,
    magnitudes: Vec<f64>,
    additions: Vec<f64>,
    terms: f64,
    traits: Traits,
}

impl Whole {
    fn new(size: usize) -> Whole {
        let (floats, ints, bounds) = (Vec::new(), Vec::new(), Vec::new());
        let (magnitudes, additions) = (Vec::new(), Vec::new());
        Whole { size, floats, ints, bounds, magnitudes, additions, terms: 1.0, traits: Traits::default() }
    }

    /// The next block, before which there are `before` elements.
    fn append(&mut self, block: &Value, before: usize) {
        match &block.store.numbers {
            Numbers::Float(all) => extend(&mut self.floats, block.gather(all), self.size),
            Numbers::Int(all) => extend(&mut self.ints, block.gather(all), self.size),
        }
        if let Some(all) = &block.store.bound {
            self.bounds.reserve_exact(self.size - self.bounds.len());
            // The blocks before had no errors, or have written theirs.
            self.bounds.resize(before, 0.0);
            self.bounds.extend(block.gather(all));
        }
        if let Some(all) = &block.store.magnitude {
            extend(&mut self.magnitudes, block.gather(all), self.size);
        }
        if let Some(all) = &block.store.additions {
            extend(&mut self.additions, block.gather(all), self.size);
        }
        self.terms = block.terms;
        self.traits = self.traits.joined(block.traits);
    }

    /// The result of all blocks.
    fn into_value(mut self, dtype: DType, shape: &[usize]) -> Value {
        let size = self.size;
        let bound = (!self.bounds.is_empty()).then(|| {
            self.bounds.resize(size, 0.0);
            self.bounds
        });
        // What an operator knows of sums does not depend on the elements: every block knows it, or none.
        let whole = |all: Vec<f64>| (all.len() == size).then_some(all);
        let (magnitude, additions) = (whole(self.magnitudes), whole(self.additions));
        let numbers = if dtype.is_float() { Numbers::Float(self.floats) } else { Numbers::Int(self.ints) };
        let store = Store { numbers, bound, magnitude, additions };
        Value { terms: self.terms, traits: self.traits, ..Value::new(dtype, shape, store) }
    }
}

/// Appends a block's elements; memory for all of the result's is asked for at once.
fn extend<T>(all: &mut Vec<T>, block: Vec<T>, size: usize) {
    all.reserve_exact(size - all.len());
    all.extend(block);
}
