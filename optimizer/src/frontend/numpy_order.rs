//! In which order NumPy adds what a reduction sums: along the axes as they lie in memory.
//!
//! NumPy walks through an array along its strides, the least innermost. Where the innermost axes are reduced, each run along
//! them is one pairwise sum ([`crate::value::pairwise`]), and the runs of other reduced axes are added one after the other; where
//! the innermost axis stays, all terms are. So the order depends on how each array lies in memory: parameters and states
//! row-major, views with the strides that they take, results of element-wise functions in the order of their operands
//! (`order='K'`). Arrays that `np.full` and its like make, and copies, have an order of their own, which no operator shows.
//!
//! Input: the nodes of a program. Output: strides in elements, and the order of a reduction.

use crate::program::expr::{Node, NodeId, Op, SectionAxis, SumOrder};
use std::collections::BTreeMap;

/// Runs along several axes that do not follow each other in memory go through a buffer of so many elements.
const BUFFER: usize = 8192;

/// The strides of each node, as far as asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layouts {
    strides: Vec<Vec<i64>>,
    /// Nodes that are arrays of their own, each with the array in whose order it lies; row-major without one.
    own: BTreeMap<NodeId, Option<NodeId>>,
}

impl Layouts {
    /// Says that a new node is an array of its own, in the order of another array or row-major.
    pub(crate) fn owns(&mut self, node: NodeId, like: Option<NodeId>) {
        self.own.insert(node, like);
    }

    /// Whether an array lies in memory in the order of its axes.
    pub(crate) fn is_row_major(&mut self, nodes: &[Node], of: NodeId) -> bool {
        let shape = &nodes[of].shape;
        let strides = self.of(nodes, of);
        shape.iter().zip(strides).zip(row_major(shape)).all(|((&extent, &own), stride)| extent == 1 || own == stride)
    }

    /// Whether NumPy makes a view where an array is reshaped; it copies where the elements do not stand in order.
    pub(crate) fn reshape_is_view(&mut self, nodes: &[Node], of: NodeId, shape: &[usize]) -> bool {
        let own = &nodes[of].shape;
        own.contains(&0) || reshaped(own, self.of(nodes, of), shape).is_some()
    }

    fn of(&mut self, nodes: &[Node], of: NodeId) -> &[i64] {
        while self.strides.len() <= of {
            let id = self.strides.len();
            let shape = nodes[id].shape.as_slice();
            let next = match self.own.get(&id) {
                None => strides(nodes, id, &self.strides),
                Some(Some(other)) if nodes[*other].shape == shape => like(shape, &[&self.strides[*other]]),
                Some(_) => row_major(shape),
            };
            self.strides.push(next);
        }
        &self.strides[of]
    }

    /// The order of the sum over `axes` of a node.
    pub(crate) fn order(&mut self, nodes: &[Node], of: NodeId, axes: &[usize]) -> SumOrder {
        sum_order(&nodes[of].shape, self.of(nodes, of), axes)
    }
}

/// The order of the sum over `axes` of an array of `shape` with `strides`.
pub(crate) fn sum_order(shape: &[usize], strides: &[i64], axes: &[usize]) -> SumOrder {
    let reduced = |axis: &usize| axes.contains(axis);
    let order = walk(shape, &[strides]);
    let (single, mut long): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&axis| shape[axis] == 1);
    let run = long.iter().rev().take_while(|axis| reduced(axis)).count();
    let mut inner = long.split_off(long.len() - run);
    let follows = |outer: usize, inner: usize| strides[outer] == strides[inner] * to_i64(shape[inner]);
    let size = inner.iter().map(|&axis| shape[axis]).product::<usize>();
    if size > BUFFER {
        let contiguous = inner.windows(2).rev().take_while(|pair| follows(pair[0], pair[1])).count() + 1;
        long.extend(inner.drain(..inner.len() - contiguous));
    }
    // An axis of extent 1 has one term, wherever it stands.
    let in_order = single.into_iter().chain(long).filter(reduced).collect();
    SumOrder { in_order, pairwise: inner }
}

/// The axes as NumPy's iterator walks through operands of one shape, outermost first: a stable sort by strides, where an
/// axis along which nobody moves stays, and row-major order wins where operands disagree.
fn walk(shape: &[usize], operands: &[&[i64]]) -> Vec<usize> {
    let stride = |operand: &[i64], axis: usize| if shape[axis] == 1 { 0 } else { operand[axis].abs() };
    // Innermost first, as in `npyiter_find_best_axis_ordering`.
    let mut order: Vec<usize> = (0..shape.len()).rev().collect();
    for from in 1..order.len() {
        let axis = order[from];
        let mut to = from;
        for at in (0..from).rev() {
            let (mut ambiguous, mut swaps) = (true, false);
            for operand in operands {
                let (outer, inner) = (stride(operand, axis), stride(operand, order[at]));
                if outer != 0 && inner != 0 {
                    if inner <= outer {
                        swaps = false;
                    } else if ambiguous {
                        swaps = true;
                    }
                    ambiguous = false;
                }
            }
            if !ambiguous {
                if !swaps {
                    break;
                }
                to = at;
            }
        }
        order.remove(from);
        order.insert(to, axis);
    }
    order.reverse();
    order
}

/// Strides of a new array whose axes lie in memory in the order of `walk`.
fn laid_out(shape: &[usize], order: &[usize]) -> Vec<i64> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1;
    for &axis in order.iter().rev() {
        strides[axis] = next;
        next *= to_i64(shape[axis]).max(1);
    }
    strides
}

fn row_major(shape: &[usize]) -> Vec<i64> {
    laid_out(shape, &(0..shape.len()).collect::<Vec<_>>())
}

/// A new array in the order of its operands, which have its shape.
fn like(shape: &[usize], operands: &[&[i64]]) -> Vec<i64> {
    laid_out(shape, &walk(shape, operands))
}

fn strides(nodes: &[Node], id: NodeId, known: &[Vec<i64>]) -> Vec<i64> {
    let node = &nodes[id];
    let shape = node.shape.as_slice();
    let arg = |at: usize| node.args.get(at).and_then(|&arg| known.get(arg)).map_or(&[][..], Vec::as_slice);
    let arg_shape = |at: usize| node.args.get(at).map_or(&[][..], |&arg| nodes[arg].shape.as_slice());
    let all: Vec<&[i64]> = (0..node.args.len()).map(arg).collect();
    match &node.op {
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Einsum { .. }
        | Op::Gather { .. } => row_major(shape),
        Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast | Op::Roll { .. } => like(shape, &all),
        Op::Concat { .. } => like(shape, &all),
        Op::Tril { .. } | Op::Triu { .. } => {
            // The mask is an array of the last two axes.
            let mut mask = vec![0; shape.len()];
            if let Some((columns, [.., rows])) = mask.split_last_mut() {
                (*columns, *rows) = (1, shape.last().map_or(1, |&n| to_i64(n)));
            }
            like(shape, &[&mask, arg(0)])
        }
        Op::Pad { .. } => {
            let columns_first: Vec<usize> = (0..shape.len()).rev().collect();
            let source = arg_shape(0);
            let is =
                |strides: Vec<i64>| (0..shape.len()).all(|axis| source[axis] == 1 || strides[axis] == arg(0)[axis]);
            let column_major = is(laid_out(source, &columns_first)) && !is(row_major(source));
            if column_major { laid_out(shape, &columns_first) } else { row_major(shape) }
        }
        Op::Broadcast => {
            let (source, strides) = (arg_shape(0), arg(0));
            let new = shape.len() - source.len().min(shape.len());
            let stride = |axis: usize| match axis.checked_sub(new) {
                Some(own) if source[own] == shape[axis] => strides[own],
                Some(_) | None => 0,
            };
            (0..shape.len()).map(stride).collect()
        }
        Op::Transpose(axes) => axes.iter().map(|&axis| arg(0)[axis]).collect(),
        Op::Reshape => reshaped(arg_shape(0), arg(0), shape).unwrap_or_else(|| row_major(shape)),
        Op::Slice(axes) => axes.iter().zip(arg(0)).map(|(axis, stride)| stride * axis.step).collect(),
        Op::Section(axes) => axes
            .iter()
            .zip(arg(0))
            .filter_map(|(axis, stride)| match axis {
                SectionAxis::Slice { step, .. } => Some(stride * step),
                SectionAxis::At(_) => None,
            })
            .collect(),
        Op::Index { axis, .. } => without(arg(0), &[*axis]),
        Op::Diagonal { axis1, axis2, .. } => {
            let mut strides = without(arg(0), &[*axis1, *axis2]);
            strides.push(arg(0)[*axis1] + arg(0)[*axis2]);
            strides
        }
        Op::Flip(axes) => {
            arg(0).iter().enumerate().map(|(at, stride)| if axes.contains(&at) { -stride } else { *stride }).collect()
        }
        Op::Window { windows } => {
            let along = windows.iter().map(|window| arg(0)[window.0]);
            arg(0).iter().copied().chain(along).collect()
        }
        Op::Trace { .. } => like(shape, &[&arg(0)[2.min(arg(0).len())..]]),
        Op::Reduce { axes, .. } => like(shape, &[&without(arg(0), axes)]),
        Op::Outer(_) => {
            let (rows, columns) = (arg(0).len(), arg(1).len());
            let left = [arg(0), &vec![0; columns]].concat();
            let right = [&vec![0; rows], arg(1)].concat();
            like(shape, &[&left, &right])
        }
    }
}

fn without(strides: &[i64], axes: &[usize]) -> Vec<i64> {
    strides.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, stride)| *stride).collect()
}

/// The strides of a reshape that is a view; `None` if it is a copy.
fn reshaped(from: &[usize], strides: &[i64], to: &[usize]) -> Option<Vec<i64>> {
    if from.contains(&0) || to.contains(&0) {
        return None;
    }
    let long: Vec<(usize, i64)> =
        from.iter().copied().zip(strides.iter().copied()).filter(|(extent, _)| *extent != 1).collect();
    let mut result = vec![1; to.len()];
    let (mut old, mut new) = (0, 0);
    while old < long.len() && new < to.len() {
        // The least runs of axes that have equally many elements.
        let (first, start) = (old, new);
        let (mut has, mut wants) = (long[old].0, to[new]);
        (old, new) = (old + 1, new + 1);
        while has != wants {
            if has < wants {
                has *= long.get(old)?.0;
                old += 1;
            } else {
                wants *= to.get(new)?;
                new += 1;
            }
        }
        let follow = |pair: &[(usize, i64)]| pair[0].1 == pair[1].1 * to_i64(pair[1].0);
        if !long[first..old].windows(2).all(follow) {
            return None;
        }
        let mut stride = long[old - 1].1;
        for axis in (start..new).rev() {
            result[axis] = stride;
            stride *= to_i64(to[axis]);
        }
    }
    Some(result)
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
