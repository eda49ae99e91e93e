//! Makes nodes: hash-consed, each with the shape and dtype that its operator's definition in [`crate::program::expr`] gives.
//!
//! Conversions that change nothing (a cast to the same dtype, a broadcast to the same shape, an identity permutation)
//! make no node, and casts and indexing of literals give literals.

use super::evaluate::Evaluator;
use super::promote;
use super::value::{Array, Eval, Poisoned};
use crate::integer::affine::Affine;
use crate::program::expr::{Node, NodeId, Op, SectionAxis, SliceAxis, Span, SumOrder, constants};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// No array of a workload has more elements than this, zero extents counted as ones, so products of extents and
/// strides stay far inside 64 bits.
const MAX_ELEMENTS: usize = 1 << 40;

impl Evaluator<'_> {
    /// The node of an operator that is defined on fixed extents only, made unless an equal one exists.
    pub(super) fn emit(
        &mut self,
        op: Op,
        args: Vec<NodeId>,
        shape: Vec<usize>,
        dtype: DType,
        span: Span,
    ) -> Eval<NodeId> {
        if let Some(&arg) = args.iter().find(|&&arg| !self.graph[arg].live.is_empty()) {
            return Err(self.changing(&super::listing::operator_name(&op), arg, span));
        }
        self.emit_live(op, args, constants(&shape), dtype, span)
    }

    /// Refuses an array whose extents change in a loop.
    pub(super) fn changing(&mut self, what: &str, node: NodeId, span: Span) -> Poisoned {
        let extents = self.show_extents(&self.extents(node));
        let construct = format!("{what} of an array whose shape {extents} changes in a loop");
        let help = "supported there: element-wise operators, transposes, slices, sums and other reductions, products; \
                    write to a slice of an array of fixed shape";
        self.unsupported(span, &construct, help)
    }

    /// The node, made unless an equal one exists; extents are forms in the variables of the open loops.
    pub(super) fn emit_live(
        &mut self,
        op: Op,
        args: Vec<NodeId>,
        extents: Vec<Affine>,
        dtype: DType,
        span: Span,
    ) -> Eval<NodeId> {
        let mut shape = Vec::with_capacity(extents.len());
        for extent in &extents {
            let most =
                if extent.is_constant() { Some(extent.constant) } else { self.control.domain().greatest(extent) };
            shape.push(most.map_or(usize::MAX, |most| usize::try_from(most.max(0)).unwrap_or(usize::MAX)));
        }
        self.check_size(&shape, span)?;
        let live = if extents.iter().all(Affine::is_constant) { Vec::new() } else { extents };
        Ok(self.graph.node(Node { op, args, shape, live, dtype, span }))
    }

    /// An array of its own with the elements of another one, row-major in memory: what is summed of it is summed in that
    /// order.
    pub(super) fn row_major_copy(&mut self, node: NodeId) -> NodeId {
        let of = self.graph[node].clone();
        if of.shape.len() < 2 || !of.live.is_empty() || self.graph.is_row_major(node) {
            return node;
        }
        let copy = Node { op: Op::Reshape, args: vec![node], ..of };
        self.graph.own_memory(copy, None)
    }

    /// A value stretched to an array of its own, in the order in memory of another array or row-major.
    pub(super) fn stretched(
        &mut self,
        value: NodeId,
        shape: &[usize],
        like: Option<NodeId>,
        span: Span,
    ) -> Eval<NodeId> {
        self.check_size(shape, span)?;
        if self.shape(value) == shape {
            return Ok(value);
        }
        let dtype = self.dtype(value);
        let array = Node { op: Op::Broadcast, args: vec![value], shape: shape.to_vec(), live: Vec::new(), dtype, span };
        let like = like.filter(|&like| !self.graph.is_row_major(like));
        Ok(self.graph.own_memory(array, like))
    }

    /// Refuses shapes whose element count would not be addressable.
    pub(super) fn check_size(&mut self, shape: &[usize], span: Span) -> Eval<()> {
        let elements = shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent.max(1)));
        if elements.is_some_and(|elements| elements <= MAX_ELEMENTS) {
            return Ok(());
        }
        Err(self.error(span, format!("an array of shape {} is too large", show(shape)), Some("at most 2**40 elements")))
    }

    /// The shape of a node: the largest, where it changes in a loop.
    pub(super) fn shape(&self, node: NodeId) -> &[usize] {
        &self.graph[node].shape
    }

    /// The extents of a node: forms in loop variables.
    pub(super) fn extents(&self, node: NodeId) -> Vec<Affine> {
        self.graph[node].extents()
    }

    /// The shape of a node for an operator that is defined on fixed extents only.
    pub(super) fn fixed_shape(&mut self, node: NodeId, what: &str, span: Span) -> Eval<Vec<usize>> {
        if self.graph[node].live.is_empty() {
            Ok(self.shape(node).to_vec())
        } else {
            Err(self.changing(what, node, span))
        }
    }

    /// Extents as Python prints a shape, with the names of loop variables.
    pub(super) fn show_extents(&self, extents: &[Affine]) -> String {
        let texts: Vec<String> = extents.iter().map(|extent| self.show_form(extent)).collect();
        if let [extent] = texts.as_slice() { format!("({extent},)") } else { format!("({})", texts.join(", ")) }
    }

    /// The dtype of a node.
    pub(super) fn dtype(&self, node: NodeId) -> DType {
        self.graph[node].dtype
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
        if let Some(values) = self.known_literals(node) {
            let values = values.iter().map(|&value| promote::cast(value, dtype)).collect();
            let shape = self.shape(node).to_vec();
            return self.literals(values, shape, dtype, span);
        }
        let extents = self.extents(node);
        self.emit_live(Op::Cast, vec![node], extents, dtype, span)
    }

    /// The elements of a node that is a constant or an array of literals.
    fn known_literals(&self, node: NodeId) -> Option<&[Literal]> {
        if let Op::Const(value) = &self.graph[node].op {
            Some(std::slice::from_ref(value))
        } else if let Op::Array(values) = &self.graph[node].op {
            Some(values)
        } else {
            None
        }
    }

    /// The value of a node that is a constant.
    pub(super) fn known_literal(&self, node: NodeId) -> Option<Literal> {
        if let Op::Const(value) = self.graph[node].op { Some(value) } else { None }
    }

    /// `node` broadcast to `extents`, which it must be compatible with.
    pub(super) fn broadcast(&mut self, node: NodeId, extents: &[Affine], span: Span) -> Eval<NodeId> {
        if self.extents(node) == extents {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        self.emit_live(Op::Broadcast, vec![node], extents.to_vec(), dtype, span)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, node: NodeId, span: Span) -> Eval<NodeId> {
        let (extents, dtype) = (self.extents(node), self.dtype(node));
        self.emit_live(Op::Unary(op), vec![node], extents, dtype, span)
    }

    /// `a op b` on arguments of one dtype, whose shapes broadcast.
    pub(super) fn binary(&mut self, op: BinaryOp, a: NodeId, b: NodeId, span: Span) -> Eval<NodeId> {
        self.named_binary(op, op.name(), a, b, span)
    }

    /// [`Evaluator::binary`], under the name that the source calls the operator by.
    pub(super) fn named_binary(&mut self, op: BinaryOp, name: &str, a: NodeId, b: NodeId, span: Span) -> Eval<NodeId> {
        if op == BinaryOp::Pow && self.dtype(b).is_int() {
            self.require_exponent(b, span)?;
        }
        let extents = self.broadcast_extents(&[a, b], name, span)?;
        let (a, b) = (self.broadcast(a, &extents, span)?, self.broadcast(b, &extents, span)?);
        let dtype = op.result(self.dtype(a));
        self.emit_live(Op::Binary(op), vec![a, b], extents, dtype, span)
    }

    /// `node op number`, the number at the node's dtype.
    pub(super) fn with_scalar(&mut self, op: BinaryOp, node: NodeId, value: f64, span: Span) -> Eval<NodeId> {
        let dtype = self.dtype(node);
        let scalar = self.constant(promote::cast(Literal::float(value), dtype), dtype, span)?;
        self.binary(op, node, scalar, span)
    }

    /// The common extents of nodes under broadcasting.
    pub(super) fn broadcast_extents(&mut self, nodes: &[NodeId], what: &str, span: Span) -> Eval<Vec<Affine>> {
        let shapes: Vec<Vec<Affine>> = nodes.iter().map(|&node| self.extents(node)).collect();
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let one = Affine::constant(1);
        let mut common = vec![one.clone(); rank];
        for own in &shapes {
            for (extent, common) in own.iter().rev().zip(common.iter_mut().rev()) {
                if *common == one {
                    common.clone_from(extent);
                } else if *extent != one && extent != common {
                    let shapes: Vec<String> = shapes.iter().map(|own| self.show_extents(own)).collect();
                    let message = format!("{what}: the shapes {} do not broadcast together", shapes.join(" and "));
                    let help = "trailing axes must have equal extents, or one of them extent 1; \
                                insert axes with None, as in a[:, None]";
                    return Err(self.error(span, message, Some(help)));
                }
            }
        }
        Ok(common)
    }

    /// Row-major reshape of an array of fixed shape.
    pub(super) fn reshape(&mut self, node: NodeId, shape: Vec<usize>, span: Span) -> Eval<NodeId> {
        self.fixed_shape(node, "a reshape", span)?;
        self.reshape_live(node, constants(&shape), span)
    }

    /// A reshape that only inserts or drops axes of extent 1, or one between fixed shapes.
    pub(super) fn reshape_live(&mut self, node: NodeId, extents: Vec<Affine>, span: Span) -> Eval<NodeId> {
        if self.extents(node) == extents {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        if let Some(values) = self.known_literals(node) {
            let (values, shape) = (values.to_vec(), fixed(&extents).ok_or(Poisoned)?);
            return self.literals(values, shape, dtype, span);
        }
        if self.graph[node].op == Op::Reshape {
            let source = self.graph[node].args[0];
            return self.reshape_live(source, extents, span);
        }
        self.emit_live(Op::Reshape, vec![node], extents, dtype, span)
    }

    /// The node with an axis of extent 1 at each of the positions, which are of the result and ascending.
    pub(super) fn unit_axes(&mut self, node: NodeId, positions: &[usize], span: Span) -> Eval<NodeId> {
        let mut extents = self.extents(node);
        for &at in positions {
            extents.insert(at.min(extents.len()), Affine::constant(1));
        }
        self.reshape_live(node, extents, span)
    }

    pub(super) fn transpose(&mut self, node: NodeId, axes: Vec<usize>, span: Span) -> Eval<NodeId> {
        if axes.iter().enumerate().all(|(at, &axis)| at == axis) {
            return Ok(node);
        }
        let (own, dtype) = (self.extents(node), self.dtype(node));
        let extents = axes.iter().map(|&axis| own[axis].clone()).collect();
        self.emit_live(Op::Transpose(axes), vec![node], extents, dtype, span)
    }

    /// Basic slicing of an array of fixed shape.
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

    /// One position of an axis, which goes.
    pub(super) fn index(&mut self, node: NodeId, axis: usize, at: usize, span: Span) -> Eval<NodeId> {
        if self.in_memory(node) {
            let mut axes = self.whole_section(node);
            axes[axis] = SectionAxis::At(Affine::constant(i64::try_from(at).map_err(|_| Poisoned)?));
            let mut extents = self.extents(node);
            extents.remove(axis);
            return self.section(node, axes, extents, span);
        }
        let dtype = self.dtype(node);
        let mut shape = self.fixed_shape(node, "an index", span)?;
        let extent = shape.remove(axis);
        if let Op::Array(values) = &self.graph[node].op {
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
        let kept = |(axis, extent): (usize, Affine)| (!axes.contains(&axis)).then_some(extent);
        let extents = self.extents(node).into_iter().enumerate().filter_map(kept).collect();
        let order = match op {
            FoldOp::Sum if dtype.is_float() => self.graph.sum_order(node, &axes),
            FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min | FoldOp::All | FoldOp::Any => SumOrder::default(),
        };
        let one_term = axes.iter().all(|&axis| self.extents(node)[axis] == Affine::constant(1));
        let sum = self.emit_live(Op::Reduce { op, axes, order }, vec![node], extents, dtype, span)?;
        // NumPy adds to 0, which only a single −0 shows.
        if op == FoldOp::Sum && dtype.is_float() && one_term {
            self.with_scalar(BinaryOp::Add, sum, 0.0, span)
        } else {
            Ok(sum)
        }
    }

    /// A new array in memory of its own (a NumPy scalar if of rank 0).
    pub(super) fn fresh(&mut self, node: NodeId) -> Array {
        if self.shape(node).is_empty() {
            return Array { node, storage: None, writable: true, number: false };
        }
        self.fresh_array(node)
    }

    /// A new array in memory of its own, of rank 0 too; a state where it is written to later.
    pub(super) fn fresh_array(&mut self, node: NodeId) -> Array {
        let (dtype, shape) = (self.dtype(node), self.shape(node).to_vec());
        let storage = self.new_memory(dtype, &shape);
        if self.learned.facts.written.contains(&storage)
            && let Ok(array) = self.stored(node, storage)
        {
            return array;
        }
        Array { node, storage: Some(storage), writable: true, number: false }
    }
}

/// The extents as a shape, where none changes.
pub(super) fn fixed(extents: &[Affine]) -> Option<Vec<usize>> {
    extents.iter().map(|extent| extent.is_constant().then(|| usize::try_from(extent.constant).ok()).flatten()).collect()
}

/// A shape as Python prints it.
pub(super) fn show(shape: &[usize]) -> String {
    match shape {
        [extent] => format!("({extent},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}
