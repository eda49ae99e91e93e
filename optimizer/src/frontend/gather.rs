//! Indexing by arrays of integers: `np.take` and NumPy's advanced indexing.
//!
//! One or several axes of an array are indexed by arrays that are broadcast against each other. Several axes become
//! one, by a reshape, and their indices one number. Every index is checked: a [`Program::checks`] says that it is in
//! range, and where it is not, the function has no results. What indices depend on may change, in loops or by being
//! written to: then a state of the check's own notes whether all of them were in range so far.
//!
//! [`Program::checks`]: crate::program::expr::Program::checks

use super::call::Call;
use super::emit::{fixed, show};
use super::evaluate::Evaluator;
use super::value::{Arg, Eval, Poisoned, Value};
use crate::program::expr::{Check, Node, NodeId, Op, Requirement, Span, Statement, constants};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};

/// What is done with an index outside of its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A negative one counts from the end; any other outside is an error.
    Raise,
    /// The nearest inside.
    Clip,
    /// Modulo the extent.
    Wrap,
}

impl Evaluator<'_> {
    /// `node` with the axes `axes`, in ascending order, indexed by `indices`. The axes of the indices come before the
    /// axes of `node` that stay.
    pub(super) fn gather(
        &mut self,
        node: NodeId,
        axes: &[usize],
        indices: &[(NodeId, Span)],
        mode: Mode,
        span: Span,
    ) -> Eval<NodeId> {
        let own = self.fixed_shape(node, "indexing by an array", span)?;
        let nodes: Vec<NodeId> = indices.iter().map(|index| index.0).collect();
        let common = self.broadcast_extents(&nodes, "the index arrays", span)?;
        let Some(picked) = fixed(&common) else { return Err(self.changing("indexing", nodes[0], span)) };
        let rest: Vec<usize> = (0..own.len()).filter(|axis| !axes.contains(axis)).collect();
        let kept: Vec<usize> = rest.iter().map(|&axis| own[axis]).collect();
        let mut flat: Option<NodeId> = None;
        for (&axis, &(index, place)) in axes.iter().zip(indices) {
            let index = self.cast(index, DType::I64, place)?;
            if own[axis] == 0 && !picked.contains(&0) {
                let message = format!("axis {axis} of an array of shape {} has nothing to index", show(&own));
                return Err(self.error(place, message, None));
            }
            let index = self.counted_by(index, own[axis], mode, place)?;
            let index = self.broadcast(index, &common, place)?;
            flat = Some(match flat {
                None => index,
                Some(outer) => {
                    let extent = self.integer_array(own[axis], &picked, place)?;
                    let scaled = self.binary(BinaryOp::Mul, outer, extent, place)?;
                    self.binary(BinaryOp::Add, scaled, index, place)?
                }
            });
        }
        let result = [picked.as_slice(), &kept].concat();
        self.check_size(&result, span)?;
        let dtype = self.dtype(node);
        let Some(flat) = flat else { return Err(Poisoned) };
        let extent: usize = axes.iter().map(|&axis| own[axis]).product();
        if extent == 0 {
            let zero = self.constant(Literal::Int(0).at(dtype), dtype, span)?;
            return self.broadcast(zero, &constants(&result), span);
        }
        let front = self.transpose(node, [axes, rest.as_slice()].concat(), span)?;
        let front =
            if axes.len() == 1 { front } else { self.reshape(front, [&[extent], kept.as_slice()].concat(), span)? };
        self.emit(Op::Gather { batch: 0 }, vec![front, flat], result, dtype, span)
    }

    /// The integer `value` in an array.
    fn integer_array(&mut self, value: usize, shape: &[usize], span: Span) -> Eval<NodeId> {
        let value = Literal::Int(i64::try_from(value).map_err(|_| Poisoned)?);
        let node = self.constant(value, DType::I64, span)?;
        self.broadcast(node, &constants(shape), span)
    }

    /// An array of indices into an axis, each counted from the start; notes the check.
    fn counted_by(&mut self, index: NodeId, extent: usize, mode: Mode, span: Span) -> Eval<NodeId> {
        match mode {
            Mode::Clip => Ok(index),
            Mode::Wrap => {
                let shape = self.fixed_shape(index, "an index array", span)?;
                let length = self.integer_array(extent, &shape, span)?;
                self.binary(BinaryOp::Mod, index, length, span)
            }
            Mode::Raise => {
                self.check_range(index, extent, span)?;
                self.counted_index(index, extent, span)
            }
        }
    }

    /// An array of indices into an axis, the negative ones counted from the end.
    pub(super) fn counted_index(&mut self, index: NodeId, extent: usize, span: Span) -> Eval<NodeId> {
        let shape = self.fixed_shape(index, "an index array", span)?;
        let (zero, length) = (self.integer_array(0, &shape, span)?, self.integer_array(extent, &shape, span)?);
        let negative = self.emit(Op::Binary(BinaryOp::Lt), vec![index, zero], shape.clone(), DType::Bool, span)?;
        let from_end = self.binary(BinaryOp::Add, index, length, span)?;
        self.emit(Op::Where, vec![negative, from_end, index], shape, DType::I64, span)
    }

    /// Notes the check that all of an array of indices name elements of an axis.
    pub(super) fn check_range(&mut self, index: NodeId, extent: usize, span: Span) -> Eval<()> {
        let counted = self.counted_index(index, extent, span)?;
        let shape = self.fixed_shape(index, "an index array", span)?;
        let (zero, length) = (self.integer_array(0, &shape, span)?, self.integer_array(extent, &shape, span)?);
        let above = self.emit(Op::Binary(BinaryOp::Ge), vec![counted, zero], shape.clone(), DType::Bool, span)?;
        let below = self.emit(Op::Binary(BinaryOp::Lt), vec![counted, length], shape.clone(), DType::Bool, span)?;
        let both = self.emit(Op::Binary(BinaryOp::And), vec![above, below], shape.clone(), DType::Bool, span)?;
        let axes: Vec<usize> = (0..shape.len()).collect();
        let all = if axes.is_empty() { both } else { self.fold(FoldOp::All, both, axes, span)? };
        self.require(all, Check { span, requirement: Requirement::Index })
    }

    /// Notes that integers are raised to no negative power.
    pub(super) fn require_exponent(&mut self, exponent: NodeId, span: Span) -> Eval<()> {
        if self.is_not_negative(exponent) {
            return Ok(());
        }
        let zero = self.constant(Literal::Int(0).at(self.dtype(exponent)), self.dtype(exponent), span)?;
        let holds = self.binary(BinaryOp::Ge, exponent, zero, span)?;
        let axes = (0..self.shape(holds).len()).collect();
        let all = self.fold(FoldOp::All, holds, axes, span)?;
        self.require(all, Check { span, requirement: Requirement::Exponent })
    }

    /// Whether all elements of an array of integers are known to be ≥ 0.
    pub(super) fn is_not_negative(&self, node: NodeId) -> bool {
        let Node { op, args, shape, .. } = &self.graph[node];
        let of = |at: usize| args.get(at).is_some_and(|&arg| self.is_not_negative(arg));
        match op {
            Op::Const(value) => value.as_f64() >= 0.0,
            Op::Array(values) => values.iter().all(|value| value.as_f64() >= 0.0),
            Op::Arange { start, step } => {
                let steps = shape.first().map_or(0, |extent| extent.saturating_sub(1));
                let last = start
                    .as_i64()
                    .zip(step.as_i64())
                    .and_then(|(start, step)| start.checked_add(step.checked_mul(i64::try_from(steps).ok()?)?));
                start.as_i64().is_some_and(|start| start >= 0) && last.is_some_and(|last| last >= 0)
            }
            Op::LoopIndex(form) => self.control.domain().proves(form),
            Op::Cast => args.first().is_some_and(|&arg| self.dtype(arg) == DType::Bool),
            Op::Broadcast
            | Op::Transpose(_)
            | Op::Reshape
            | Op::Slice(_)
            | Op::Section(_)
            | Op::Index { .. }
            | Op::Flip(_)
            | Op::Roll { .. } => of(0),
            Op::Binary(BinaryOp::And | BinaryOp::Maximum) => of(0) || of(1),
            Op::Binary(BinaryOp::FloorDiv | BinaryOp::Minimum | BinaryOp::Shr) => of(0) && of(1),
            Op::Where => of(1) && of(2),
            _ => false,
        }
    }

    /// Notes that `holds`, a bool scalar, must hold here.
    pub(super) fn require(&mut self, holds: NodeId, check: Check) -> Eval<()> {
        let span = check.span;
        let changes = self.graph.reads_state(holds) || self.graph.in_loop(holds) || self.control.is_in_block();
        if !changes {
            if !self.control.is_checked(holds) {
                self.control.check(holds, check);
            }
            return Ok(());
        }
        let name = match check.requirement {
            Requirement::Index => "in_range",
            Requirement::Exponent | Requirement::Divisor | Requirement::Shift | Requirement::Domain => "in_domain",
        };
        let state = self.store.new_state(Some(name), DType::Bool, Vec::new());
        let yes = self.constant(Literal::Bool(true), DType::Bool, span)?;
        self.control.prepend(Statement::Update { state, region: Vec::new(), shift: None, value: yes, span });
        let so_far = self.state_node(state, span)?;
        let both = self.binary(BinaryOp::And, so_far, holds, span)?;
        self.update(state, Vec::new(), both, span)?;
        self.control.check(so_far, check);
        Ok(())
    }
}

/// `np.take`.
pub(super) fn take(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.array(call.required("a")?, call.function.name)?;
    let arg = call.required("indices")?;
    let indices = evaluator.array(arg, call.function.name)?;
    if !evaluator.dtype(indices.node).is_int() {
        let message = format!("take needs integer indices, not {}", evaluator.dtype(indices.node));
        return Err(evaluator.error(arg.span, message, None));
    }
    let mode = match call.optional("mode") {
        None => Mode::Raise,
        Some(Arg { value: Value::Str(text), .. }) if text == "raise" => Mode::Raise,
        Some(Arg { value: Value::Str(text), .. }) if text == "clip" => Mode::Clip,
        Some(Arg { value: Value::Str(text), .. }) if text == "wrap" => Mode::Wrap,
        Some(arg) => return Err(evaluator.error(arg.span, "the mode is 'raise', 'clip' or 'wrap'", None)),
    };
    let own = evaluator.fixed_shape(array.node, "take", call.span)?;
    let (node, axis) = match call.optional("axis") {
        Some(Arg { value: Value::None, .. }) | None => {
            (evaluator.reshape(array.node, vec![own.iter().product()], call.span)?, 0)
        }
        Some(arg) => (array.node, evaluator.axis(arg, own.len())?),
    };
    let lead = evaluator.shape(indices.node).len();
    let picked = evaluator.gather(node, &[axis], &[(indices.node, arg.span)], mode, call.span)?;
    let node = evaluator.placed(picked, lead, axis, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

impl Evaluator<'_> {
    /// The first `lead` axes moved behind `place` others.
    pub(super) fn placed(&mut self, node: NodeId, lead: usize, place: usize, span: Span) -> Eval<NodeId> {
        let rank = self.shape(node).len();
        let order = (lead..lead + place).chain(0..lead).chain(lead + place..rank).collect();
        self.transpose(node, order, span)
    }
}
