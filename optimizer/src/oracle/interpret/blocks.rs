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
    let last = *nodes.last()?;
    let (mut floats, mut ints, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut magnitudes, mut additions, mut terms) = (Vec::new(), Vec::new(), 1.0);
    let mut traits = Traits::default();
    let size: usize = shape.iter().product();
    // The arguments from outside, stretched to the whole shape: views.
    let mut leaves: Vec<Vec<Option<Value>>> = Vec::with_capacity(nodes.len());
    for &id in nodes {
        let node = &program.nodes[id];
        let mut own = Vec::with_capacity(node.args.len());
        for (at, &arg) in node.args.iter().enumerate() {
            if nodes.binary_search(&arg).is_ok() {
                own.push(None);
                continue;
            }
            let value = outside(arg)?;
            let outer = matches!(node.op, Op::Outer(_));
            own.push(Some(if outer { elementwise::spread(&value, at == 0, shape) } else { value }));
        }
        leaves.push(own);
    }
    let mut values: Vec<Option<Value>> = vec![None; nodes.len()];
    let mut done = 0;
    let extent = shape.get(axis).copied().unwrap_or(1);
    while done < extent {
        let count = rows.min(extent - done);
        let part = |value: &Value| -> Value {
            let whole = |(at, &len): (usize, &usize)| {
                if at == axis {
                    SliceAxis { start: i64::try_from(done).unwrap_or(0), step: 1, len: count }
                } else {
                    SliceAxis { start: 0, step: 1, len }
                }
            };
            slice(value, &shape.iter().enumerate().map(whole).collect::<Vec<_>>())
        };
        let mut block = shape.to_vec();
        block[axis] = count;
        for (at, &id) in nodes.iter().enumerate() {
            let node = &program.nodes[id];
            let mut args = Vec::with_capacity(node.args.len());
            for (leaf, arg) in leaves[at].iter().zip(&node.args) {
                args.push(match (leaf, nodes.binary_search(arg)) {
                    (Some(value), _) => part(value),
                    (None, Ok(from)) => values[from].clone()?,
                    (None, Err(_)) => return None,
                });
            }
            let value = if let Op::Outer(op) = &node.op {
                elementwise::binary(*op, args.first()?, args.get(1)?, numerics, sums[id])
            } else {
                evaluate(&node.op, &block, node.dtype, args, numerics, sums[id])?
            };
            values[at] = Some(value);
        }
        let value = values.last_mut()?.take()?;
        match &value.store.numbers {
            Numbers::Float(all) => {
                floats.reserve_exact(size - floats.len());
                floats.extend(value.gather(all));
            }
            Numbers::Int(all) => {
                ints.reserve_exact(size - ints.len());
                ints.extend(value.gather(all));
            }
        }
        if let Some(all) = &value.store.bound {
            bounds.reserve_exact(size - bounds.len());
            bounds.resize(done * row, 0.0);
            bounds.extend(value.gather(all));
        }
        if let Some(all) = &value.store.magnitude {
            magnitudes.reserve_exact(size - magnitudes.len());
            magnitudes.extend(value.gather(all));
        }
        if let Some(all) = &value.store.additions {
            additions.reserve_exact(size - additions.len());
            additions.extend(value.gather(all));
        }
        terms = value.terms;
        traits = traits.joined(value.traits);
        done += count;
    }
    let bound = (!bounds.is_empty()).then(|| {
        bounds.resize(size, 0.0);
        bounds
    });
    // What an operator knows of sums does not depend on the elements: every block knows it, or none.
    let whole = |all: Vec<f64>| (all.len() == size).then_some(all);
    let (magnitude, additions) = (whole(magnitudes), whole(additions));
    let dtype = program.nodes[last].dtype;
    let numbers = if dtype.is_float() { Numbers::Float(floats) } else { Numbers::Int(ints) };
    Some(Value { terms, traits, ..Value::new(dtype, shape, Store { numbers, bound, magnitude, additions }) })
}
