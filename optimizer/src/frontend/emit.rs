//! Makes nodes: hash-consed, each with the shape and dtype that its operator's definition in [`crate::expr`] gives.
//!
//! Conversions that change nothing (a cast to the same dtype, a broadcast to the same shape, an identity permutation)
//! make no node, and casts and indexing of literals give literals.

use super::evaluate::{Eval, Evaluator};
use super::promote;
use super::value::Array;
use crate::dtype::{DType, Literal};
use crate::expr::{Node, NodeId, Op, SliceAxis, Span};
use crate::scalar::{BinaryOp, FoldOp, UnaryOp};

/// No array of a workload has more elements than this, zero extents counted as ones, so products of extents and
/// strides stay far inside 64 bits.
const MAX_ELEMENTS: usize = 1 << 40;

impl Evaluator<'_> {
    /// The node, made unless an equal one exists.
    pub(super) fn emit(
        &mut self,
        op: Op,
        args: Vec<NodeId>,
        shape: Vec<usize>,
        dtype: DType,
        span: Span,
    ) -> Eval<NodeId> {
        self.check_size(&shape, span)?;
        let key = (op, args, shape, dtype);
        if let Some(&node) = self.known.get(&key) {
            return Ok(node);
        }
        let (op, args, shape, dtype) = key.clone();
        let node = self.nodes.len();
        self.nodes.push(Node { op, args, shape, live: Vec::new(), dtype, span });
        self.known.insert(key, node);
        Ok(node)
    }

    /// Refuses shapes whose element count would not be addressable.
    pub(super) fn check_size(&mut self, shape: &[usize], span: Span) -> Eval<()> {
        let elements = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent.max(1)));
        if elements.is_some_and(|elements| elements <= MAX_ELEMENTS) {
            return Ok(());
        }
        Err(self.error(span, format!("an array of shape {} is too large", show(shape)), Some("at most 2**40 elements")))
    }

    /// The shape of a node.
    pub(super) fn shape(&self, node: NodeId) -> &[usize] {
        &self.nodes[node].shape
    }

    /// The dtype of a node.
    pub(super) fn dtype(&self, node: NodeId) -> DType {
        self.nodes[node].dtype
    }

    pub(super) fn constant(&mut self, value: Literal, dtype: DType, span: Span) -> Eval<NodeId> {
        self.emit(Op::Const(value), Vec::new(), Vec::new(), dtype, span)
    }

    /// Elements of an array whose values are all known.
    pub(super) fn literals(
        &mut self,
        values: Vec<Literal>,
        shape: Vec<usize>,
        dtype: DType,
        span: Span,
    ) -> Eval<NodeId> {
        match values.first() {
            Some(&value) if shape.is_empty() => self.constant(value, dtype, span),
            Some(_) | None => self.emit(Op::Array(values), Vec::new(), shape, dtype, span),
        }
    }

    pub(super) fn cast(&mut self, node: NodeId, dtype: DType, span: Span) -> Eval<NodeId> {
        if self.dtype(node) == dtype {
            return Ok(node);
        }
        let shape = self.shape(node).to_vec();
        if let Some(values) = self.known_literals(node) {
            let values = values.iter().map(|&value| promote::cast(value, dtype)).collect();
            return self.literals(values, shape, dtype, span);
        }
        self.emit(Op::Cast, vec![node], shape, dtype, span)
    }

    /// The elements of a node that is a constant or an array of literals.
    fn known_literals(&self, node: NodeId) -> Option<&[Literal]> {
        if let Op::Const(value) = &self.nodes[node].op {
            Some(std::slice::from_ref(value))
        } else if let Op::Array(values) = &self.nodes[node].op {
            Some(values)
        } else {
            None
        }
    }

    /// The value of a node that is a constant.
    pub(super) fn known_literal(&self, node: NodeId) -> Option<Literal> {
        if let Op::Const(value) = self.nodes[node].op { Some(value) } else { None }
    }

    /// `node` broadcast to `shape`, which it must be compatible with.
    pub(super) fn broadcast(&mut self, node: NodeId, shape: &[usize], span: Span) -> Eval<NodeId> {
        if self.shape(node) == shape {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        self.emit(Op::Broadcast, vec![node], shape.to_vec(), dtype, span)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, node: NodeId, span: Span) -> Eval<NodeId> {
        let (shape, dtype) = (self.shape(node).to_vec(), self.dtype(node));
        self.emit(Op::Unary(op), vec![node], shape, dtype, span)
    }

    /// `a op b` on arguments of one dtype, whose shapes broadcast.
    pub(super) fn binary(&mut self, op: BinaryOp, a: NodeId, b: NodeId, span: Span) -> Eval<NodeId> {
        self.named_binary(op, op.name(), a, b, span)
    }

    /// [`Evaluator::binary`], under the name that the source calls the operator by.
    pub(super) fn named_binary(&mut self, op: BinaryOp, name: &str, a: NodeId, b: NodeId, span: Span) -> Eval<NodeId> {
        let shape = self.broadcast_shapes(&[a, b], name, span)?;
        let (a, b) = (self.broadcast(a, &shape, span)?, self.broadcast(b, &shape, span)?);
        let dtype = op.result(self.dtype(a));
        self.emit(Op::Binary(op), vec![a, b], shape, dtype, span)
    }

    /// `node op number`, the number at the node's dtype.
    pub(super) fn with_scalar(&mut self, op: BinaryOp, node: NodeId, value: f64, span: Span) -> Eval<NodeId> {
        let dtype = self.dtype(node);
        let scalar = self.constant(promote::cast(Literal::float(value), dtype), dtype, span)?;
        self.binary(op, node, scalar, span)
    }

    /// The common shape of nodes under broadcasting.
    pub(super) fn broadcast_shapes(&mut self, nodes: &[NodeId], what: &str, span: Span) -> Eval<Vec<usize>> {
        let rank = nodes.iter().map(|&node| self.shape(node).len()).max().unwrap_or(0);
        let mut shape = vec![1; rank];
        for &node in nodes {
            let own = self.shape(node);
            let lead = rank - own.len();
            for (axis, &extent) in own.iter().enumerate() {
                let common = &mut shape[lead + axis];
                if *common == 1 {
                    *common = extent;
                } else if extent != 1 && extent != *common {
                    let shapes: Vec<String> = nodes.iter().map(|&node| show(self.shape(node))).collect();
                    let message = format!("{what}: the shapes {} do not broadcast together", shapes.join(" and "));
                    let help = "trailing axes must have equal extents, or one of them extent 1; \
                                insert axes with None, as in a[:, None]";
                    return Err(self.error(span, message, Some(help)));
                }
            }
        }
        Ok(shape)
    }

    pub(super) fn reshape(&mut self, node: NodeId, shape: Vec<usize>, span: Span) -> Eval<NodeId> {
        if self.shape(node) == shape {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        if let Some(values) = self.known_literals(node) {
            let values = values.to_vec();
            return self.literals(values, shape, dtype, span);
        }
        if self.nodes[node].op == Op::Reshape {
            let source = self.nodes[node].args[0];
            return self.reshape(source, shape, span);
        }
        self.emit(Op::Reshape, vec![node], shape, dtype, span)
    }

    pub(super) fn transpose(&mut self, node: NodeId, axes: Vec<usize>, span: Span) -> Eval<NodeId> {
        if axes.iter().enumerate().all(|(at, &axis)| at == axis) {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        let shape = axes.iter().map(|&axis| self.shape(node)[axis]).collect();
        self.emit(Op::Transpose(axes), vec![node], shape, dtype, span)
    }

    pub(super) fn slice(&mut self, node: NodeId, slices: Vec<SliceAxis>, span: Span) -> Eval<NodeId> {
        let whole = |(slice, &extent): (&SliceAxis, &usize)| {
            slice.start == 0 && slice.len == extent && (slice.step == 1 || extent <= 1)
        };
        if slices.iter().zip(self.shape(node)).all(whole) {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        let shape = slices.iter().map(|slice| slice.len).collect();
        self.emit(Op::Slice(slices), vec![node], shape, dtype, span)
    }

    pub(super) fn index(&mut self, node: NodeId, axis: usize, at: usize, span: Span) -> Eval<NodeId> {
        let dtype = self.dtype(node);
        let mut shape = self.shape(node).to_vec();
        let extent = shape.remove(axis);
        if let Op::Array(values) = &self.nodes[node].op {
            let inner: usize = shape[axis..].iter().product();
            let rows = values.chunks((inner * extent).max(1));
            let picked = rows.flat_map(|row| row[at * inner..(at + 1) * inner].to_vec()).collect();
            return self.literals(picked, shape, dtype, span);
        }
        self.emit(Op::Index { axis, at }, vec![node], shape, dtype, span)
    }

    /// Reduction over `axes`, which are sorted and distinct; over none of them, the argument itself.
    pub(super) fn fold(&mut self, op: FoldOp, node: NodeId, axes: Vec<usize>, span: Span) -> Eval<NodeId> {
        if axes.is_empty() {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        let kept = |(axis, &extent): (usize, &usize)| (!axes.contains(&axis)).then_some(extent);
        let shape = self.shape(node).iter().enumerate().filter_map(kept).collect();
        self.emit(Op::Reduce { op, axes }, vec![node], shape, dtype, span)
    }

    /// A new array in memory of its own (a NumPy scalar if of rank 0).
    pub(super) fn fresh(&mut self, node: NodeId) -> Array {
        if self.shape(node).is_empty() {
            return Array { node, storage: None, writable: true };
        }
        self.fresh_array(node)
    }

    /// A new array in memory of its own, of rank 0 too.
    pub(super) fn fresh_array(&mut self, node: NodeId) -> Array {
        self.storages += 1;
        Array { node, storage: Some(self.storages), writable: true }
    }
}

/// A shape as Python prints it.
pub(super) fn show(shape: &[usize]) -> String {
    match shape {
        [extent] => format!("({extent},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}
