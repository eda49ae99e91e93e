//! Writing to elements that arrays of integers name: assignment to `a[i]`, and `ufunc.at`.
//!
//! A scatter is a loop over the indices, one element (one row, …) after the other in the order of the index arrays, as
//! in NumPy: where an index is there twice, an assignment keeps the last value and `ufunc.at` combines both. The update
//! in the loop is moved by what a state of its own holds ([`Shift`]). Every index is checked before anything is written.

use super::call::Call;
use super::emit::{fixed, show};
use super::evaluate::Evaluator;
use super::function::{Function, Kind};
use super::gather::Mode;
use super::memory::Region;
use super::operand::Operand;
use super::promote;
use super::subscript::{Picked, Selection};
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Shift, Span, constants};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::BinaryOp;

/// What is done with each element.
pub(super) enum Scattered<'a> {
    /// It is overwritten.
    Assigned(&'a Arg),
    /// A ufunc is applied to it, and to an operand if it takes two.
    Combined(&'static Function, Option<&'a Arg>),
}

/// What is done inside of the loops over the indices, given their variables.
type Inside<'a, 's> = Box<dyn FnOnce(&mut Evaluator<'s>, &[usize]) -> Eval<()> + 'a>;

/// `ufunc.at(a, indices, b)`.
pub(super) fn at(evaluator: &mut Evaluator<'_>, ufunc: &'static Function, call: &Call) -> Eval {
    let target = call.required("a")?;
    let Value::Array(array) = &target.value else {
        let message = format!("{}.at changes an array, not {}", ufunc.name, evaluator.describe(&target.value));
        return Err(evaluator.error(target.span, message, None));
    };
    let (operands, given) = match ufunc.kind {
        Kind::Unary(_) => (0, call.optional("b")),
        Kind::Binary(_) => (1, call.optional("b")),
        Kind::Fold(_) | Kind::Other(_) => {
            let help = "it needs an element-wise function, as np.add";
            return Err(evaluator.unsupported(call.span, &format!("{}.at", ufunc.name), help));
        }
    };
    if given.iter().count() != operands {
        let message = format!("{}.at takes the array, the indices and {operands} operands", ufunc.name);
        return Err(evaluator.error(call.span, message, None));
    }
    let indices = call.required("indices")?;
    let selection = evaluator.selected_by(array, indices, call.span)?;
    match selection {
        Selection::Picked(picked) => {
            evaluator.scatter(array, &picked, &Scattered::Combined(ufunc, given), call.span)?;
        }
        // Every element is named once.
        Selection::Basic(Value::Array(part)) => {
            let part = Array { storage: array.storage, writable: array.writable, ..part };
            let other = given.map(|arg| evaluator.array(arg, ufunc.name)).transpose()?.map(|other| other.node);
            let value = evaluator.applied(ufunc, part.node, other, call.span)?;
            let dtype = evaluator.dtype(part.node);
            let node = evaluator.cast(value, dtype, call.span)?;
            let value = Value::Array(evaluator.fresh(node));
            evaluator.write(&part, &Arg { value, span: call.span }, call.span)?;
        }
        Selection::Basic(_) => return Err(Poisoned),
    }
    Ok(Value::None)
}

impl<'s> Evaluator<'s> {
    /// Writes to the elements of `array` that `picked` names.
    pub(super) fn scatter(&mut self, array: &Array, picked: &Picked, what: &Scattered<'_>, span: Span) -> Eval<()> {
        let Some(region) = self.region_to_write(array, picked.node, span)? else { return Ok(()) };
        let own = self.fixed_shape(picked.node, "writing to what an array indexes", span)?;
        let nodes: Vec<NodeId> = picked.indices.iter().map(|index| index.0).collect();
        let common = self.broadcast_extents(&nodes, "the index arrays", span)?;
        let Some(lead) = fixed(&common) else { return Err(self.changing("indexing", nodes[0], span)) };
        let kept: Vec<usize> =
            (0..own.len()).filter(|axis| !picked.axes.contains(axis)).map(|axis| own[axis]).collect();
        let (before, after) = kept.split_at(picked.first.min(kept.len()));
        let result = [before, lead.as_slice(), after].concat();
        let (ufunc, value) = match what {
            Scattered::Assigned(arg) => {
                let dtype = self.dtype(array.node);
                let operand = self.operand(arg, "an assignment")?;
                (None, Some(self.at_dtype(&operand, dtype, arg.span)?))
            }
            Scattered::Combined(ufunc, arg) => {
                let node = arg.map(|arg| self.array(arg, ufunc.name)).transpose()?.map(|array| array.node);
                (Some(*ufunc), node)
            }
        };
        let value = value.map(|node| self.stretchable(node, &result, span)).transpose()?;
        let mut indices = Vec::with_capacity(nodes.len());
        for (&axis, &(index, place)) in picked.axes.iter().zip(&picked.indices) {
            if own[axis] == 0 && !lead.contains(&0) {
                let message = format!("axis {axis} of an array of shape {} has nothing to index", show(&own));
                return Err(self.error(place, message, None));
            }
            let index = self.cast(index, DType::I64, place)?;
            self.check_range(index, own[axis], place)?;
            indices.push(if lead.is_empty() { index } else { self.steady(index, region.state, place)? });
        }
        if result.contains(&0) {
            return Ok(());
        }
        let value = match value {
            Some(node) if !lead.is_empty() => Some(self.steady(node, region.state, span)?),
            value => value,
        };
        let one = |evaluator: &mut Self, vars: &[usize]| {
            evaluator.scatter_one(picked, region, &indices, (ufunc, value), vars, span)
        };
        self.over_indices(&lead, Vec::new(), Box::new(one))
    }

    /// Loops over index arrays of these extents, broadcast against each other.
    fn over_indices(&mut self, extents: &[usize], mut vars: Vec<usize>, inside: Inside<'_, 's>) -> Eval<()> {
        const NAMES: [&str; 4] = ["i", "j", "k", "l"];
        let Some((&extent, rest)) = extents.split_first() else { return inside(self, &vars) };
        let range = (Affine::constant(0), Affine::constant(i64::try_from(extent).unwrap_or(i64::MAX)));
        self.counted_loop(NAMES[vars.len().min(3)], range, |evaluator, var| {
            vars.push(var);
            evaluator.over_indices(rest, vars, inside)
        })
    }

    /// One element, in the loops over the indices.
    fn scatter_one(
        &mut self,
        picked: &Picked,
        mut region: Region,
        indices: &[NodeId],
        (ufunc, value): (Option<&'static Function>, Option<NodeId>),
        vars: &[usize],
        span: Span,
    ) -> Eval<()> {
        let own = self.shape(picked.node).to_vec();
        let extents = self.store.state(region.state).shape.clone();
        let mut counted = Vec::with_capacity(indices.len());
        for (&axis, &index) in picked.axes.iter().zip(indices) {
            let index = self.element_at(index, (vars.len(), 0), vars, span)?;
            counted.push(self.counted_index(index, own[axis], span)?);
        }
        // How far the element is from the region's first, in elements of the state.
        let mut distance = self.constant(Literal::Int(0), DType::I64, span)?;
        let mut last = 0_i64;
        for (&axis, &index) in picked.axes.iter().zip(&counted) {
            let Some(of) = region.order[axis] else { continue };
            let stride =
                extents[of + 1..].iter().try_fold(1_i64, |stride, &n| stride.checked_mul(i64::try_from(n).ok()?));
            let stride = stride.ok_or(Poisoned)?;
            let SectionAxis::Slice { start, step } = region.axes[of].clone() else { return Err(Poisoned) };
            let factor = self.constant(Literal::Int(step * stride), DType::I64, span)?;
            let term = if step * stride == 1 { index } else { self.binary(BinaryOp::Mul, index, factor, span)? };
            distance = if self.known_literal(distance) == Some(Literal::Int(0)) {
                term
            } else {
                self.binary(BinaryOp::Add, distance, term, span)?
            };
            if start != Affine::constant(0) {
                let start = self.form_node(&start.times(stride), span)?;
                distance = self.binary(BinaryOp::Add, distance, start, span)?;
            }
            last += (i64::try_from(extents[of]).map_err(|_| Poisoned)? - 1) * stride;
            region.axes[of] = SectionAxis::At(Affine::constant(0));
        }
        let by = self.store.new_state(Some("place"), DType::I64, Vec::new());
        self.update(by, Vec::new(), distance, span)?;
        let rank = own.len() - picked.axes.len() + vars.len();
        let value = value.map(|value| self.element_at(value, (rank, picked.first), vars, span)).transpose()?;
        let kept: Vec<usize> = (0..own.len()).filter(|axis| !picked.axes.contains(axis)).collect();
        let shape: Vec<usize> = kept.iter().map(|&axis| own[axis]).collect();
        let node = match (ufunc, value) {
            (None, Some(value)) => self.broadcast(value, &constants(&shape), span)?,
            (Some(ufunc), value) => {
                let counted: Vec<(NodeId, Span)> = counted.iter().map(|&index| (index, span)).collect();
                let old = self.gather(picked.node, &picked.axes, &counted, Mode::Clip, span)?;
                let new = self.applied(ufunc, old, value, span)?;
                let dtype = self.dtype(old);
                self.cast(new, dtype, span)?
            }
            (None, None) => return Err(Poisoned),
        };
        region.order = kept.iter().map(|&axis| region.order[axis]).collect();
        self.put(region, node, Some(Shift { by, last }), span)
    }

    /// A ufunc of one or two arguments, as NumPy applies it in place.
    fn applied(&mut self, ufunc: &'static Function, old: NodeId, other: Option<NodeId>, span: Span) -> Eval<NodeId> {
        let new = match (ufunc.kind, other) {
            (Kind::Unary(kind), None) => self.apply_unary(kind, ufunc.name, &Operand::Node(old), span)?,
            (Kind::Binary(kind), Some(other)) => {
                self.elementwise(kind, ufunc.name, &Operand::Node(old), &Operand::Node(other), span)?
            }
            (Kind::Unary(_) | Kind::Binary(_) | Kind::Fold(_) | Kind::Other(_), _) => return Err(Poisoned),
        };
        let (computed, dtype) = (self.dtype(new), self.dtype(old));
        if !promote::same_kind(computed, dtype) {
            let message = format!("{}.at cannot store {computed} in an array of {dtype}", ufunc.name);
            return Err(self.error(span, message, Some("convert the array or the operand with astype")));
        }
        Ok(new)
    }

    /// A value that NumPy stretches to `result`: without leading axes of extent 1 beyond its rank.
    fn stretchable(&mut self, node: NodeId, result: &[usize], span: Span) -> Eval<NodeId> {
        let own = self.fixed_shape(node, "writing to what an array indexes", span)?;
        let surplus = own.len().saturating_sub(result.len());
        let fits = own[..surplus].iter().all(|&extent| extent == 1)
            && own.iter().rev().zip(result.iter().rev()).all(|(&own, &to)| own == to || own == 1);
        if !fits {
            let message =
                format!("a value of shape {} cannot be assigned to elements of shape {}", show(&own), show(result));
            let help = "trailing axes must have equal extents, or the value extent 1";
            return Err(self.error(span, message, Some(help)));
        }
        if surplus == 0 { Ok(node) } else { self.reshape(node, own[surplus..].to_vec(), span) }
    }

    /// An array as it is now, such that loops can pick its elements: what they change, or what is computed in a loop,
    /// is stored first.
    fn steady(&mut self, node: NodeId, written: usize, span: Span) -> Eval<NodeId> {
        let computed = self.graph.in_loop(node) && !self.in_memory(node) && !self.shape(node).is_empty();
        let changes = self.graph.reads_state(node) && (!self.in_memory(node) || self.base_state(node) == Some(written));
        if !computed && !changes {
            return Ok(node);
        }
        let shape = self.fixed_shape(node, "writing to what an array indexes", span)?;
        let state = self.store.new_state(None, self.dtype(node), shape);
        self.update_whole(state, node, span)?;
        self.state_node(state, span)
    }

    /// The state that a node in memory is, or is a section of.
    fn base_state(&self, node: NodeId) -> Option<usize> {
        match &self.graph[node].op {
            Op::State(state) => Some(*state),
            Op::Section(_) => self.base_state(*self.graph[node].args.first()?),
            _ => None,
        }
    }

    /// The part that belongs to the element that the loops `vars` stand at, of an array that is stretched to `rank` axes:
    /// the loops' are those from `first` on. What is left may still be stretched.
    fn element_at(&mut self, node: NodeId, (rank, first): (usize, usize), vars: &[usize], span: Span) -> Eval<NodeId> {
        let shape = self.shape(node).to_vec();
        if shape.is_empty() || vars.is_empty() {
            return Ok(node);
        }
        let missing = rank - shape.len();
        let (mut axes, mut extents) = (Vec::new(), Vec::new());
        for (axis, &extent) in shape.iter().enumerate() {
            match (axis + missing).checked_sub(first).and_then(|at| vars.get(at)) {
                Some(_) if extent == 1 => axes.push(SectionAxis::At(Affine::constant(0))),
                Some(&var) => axes.push(SectionAxis::At(Affine::variable(var))),
                None => {
                    axes.push(SectionAxis::Slice { start: Affine::constant(0), step: 1 });
                    extents.push(extent);
                }
            }
        }
        self.section(node, axes, constants(&extents), span)
    }
}
