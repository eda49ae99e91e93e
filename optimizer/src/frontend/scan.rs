//! Scans and searches along an axis: `cumsum`, `cumprod`, `ufunc.accumulate`, `ufunc.reduce`, `argmax`, `argmin`.
//!
//! A scan is a loop over a state: each element is the one before it and the next of the array, combined. A search is a
//! minimum of indices, over those whose element is the extreme.

use super::call::Call;
use super::evaluate::Evaluator;
use super::function::{Binary, Function, Kind};
use super::number::Number;
use super::operand::Operand;
use super::promote;
use super::reduction::folded;
use super::value::{Array, Eval, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Span};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};

/// `np.cumsum`: the sums of all beginnings, of the flattened array if no axis is given.
pub(super) fn cumsum(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    cumulative(evaluator, call, BinaryOp::Add)
}

/// `np.cumprod`.
pub(super) fn cumprod(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    cumulative(evaluator, call, BinaryOp::Mul)
}

fn cumulative(evaluator: &mut Evaluator<'_>, call: &Call, op: BinaryOp) -> Eval {
    let node = evaluator.array(call.required("a")?, call.function.name)?.node;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(promote::accumulator(evaluator.dtype(node)));
    let (node, axis) = evaluator.one_axis(call, node)?;
    let node = evaluator.cast(node, dtype, call.span)?;
    evaluator.scanned(op, node, axis, call).map(Value::Array)
}

/// `ufunc.accumulate(a, axis=0)`.
pub(super) fn accumulate(evaluator: &mut Evaluator<'_>, ufunc: &'static Function, call: &Call) -> Eval {
    let (op, node) = operands(evaluator, ufunc, call)?;
    let rank = evaluator.shape(node).len();
    if rank == 0 {
        return Err(evaluator.error(call.span, "cannot accumulate on a scalar", None));
    }
    let axis = match call.optional("axis") {
        Some(arg) => evaluator.axis(arg, rank)?,
        None => 0,
    };
    evaluator.scanned(op, node, axis, call).map(Value::Array)
}

/// `ufunc.reduce(a, axis=0)`.
pub(super) fn reduce(evaluator: &mut Evaluator<'_>, ufunc: &'static Function, call: &Call) -> Eval {
    let (op, node) = operands(evaluator, ufunc, call)?;
    let fold = match op {
        BinaryOp::Add => Some(FoldOp::Sum),
        BinaryOp::Mul => Some(FoldOp::Prod),
        BinaryOp::Maximum => Some(FoldOp::Max),
        BinaryOp::Minimum => Some(FoldOp::Min),
        BinaryOp::And if evaluator.dtype(node) == DType::Bool => Some(FoldOp::All),
        BinaryOp::Or if evaluator.dtype(node) == DType::Bool => Some(FoldOp::Any),
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Sub
        | BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => None,
    };
    let Some(fold) = fold else {
        let construct = format!("np.{}.reduce", ufunc.name);
        let help =
            "supported: add, multiply, maximum, minimum, logical_and, logical_or; others as a loop over range(…)";
        return Err(evaluator.unsupported(call.span, &construct, help));
    };
    let rank = evaluator.shape(node).len();
    let axes = match (call.given("axis"), call.optional("axis")) {
        (None, _) => (0..rank.min(1)).collect(),
        (Some(_), None) => (0..rank).collect(),
        (Some(_), Some(arg)) => {
            let mut axes = evaluator.axes(arg, rank)?;
            axes.sort_unstable();
            axes
        }
    };
    folded(evaluator, fold, node, &axes, call)
}

/// The operator of a ufunc's method, and its array at the dtype that NumPy computes in.
fn operands(evaluator: &mut Evaluator<'_>, ufunc: &'static Function, call: &Call) -> Eval<(BinaryOp, NodeId)> {
    let node = evaluator.array(call.required("a")?, ufunc.name)?.node;
    let own = evaluator.dtype(node);
    let (op, dtype) = match ufunc.kind {
        Kind::Binary(Binary::Logical(op)) => (op, DType::Bool),
        Kind::Binary(Binary::Op(op)) if !op.is_comparison() => {
            let sums = matches!(op, BinaryOp::Add | BinaryOp::Mul);
            let given = evaluator.dtype_argument(call)?;
            let dtype = given.unwrap_or(if sums { promote::accumulator(own) } else { own });
            evaluator.binary_dtype(Binary::Op(op), ufunc.name, [promote::Kind::Strong(dtype); 2], call.span)?
        }
        Kind::Binary(Binary::Op(_)) | Kind::Unary(_) | Kind::Fold(_) | Kind::Other(_) => {
            let construct = format!("{}.{}", ufunc.name, call.function.name);
            let help = "it needs an arithmetic or logical function of two arguments, as np.add";
            return Err(evaluator.unsupported(call.span, &construct, help));
        }
    };
    Ok((op, evaluator.cast(node, dtype, call.span)?))
}

/// `np.argmax`: the first index of the largest element, or of a NaN.
pub(super) fn argmax(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    search(evaluator, call, FoldOp::Max)
}

/// `np.argmin`.
pub(super) fn argmin(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    search(evaluator, call, FoldOp::Min)
}

fn search(evaluator: &mut Evaluator<'_>, call: &Call, op: FoldOp) -> Eval {
    let span = call.span;
    let source = evaluator.array(call.required("a")?, call.function.name)?.node;
    let (node, axis) = evaluator.one_axis(call, source)?;
    let node = if evaluator.dtype(node) == DType::Bool { evaluator.cast(node, DType::I32, span)? } else { node };
    let extents = evaluator.extents(node);
    evaluator.filled(node, &[axis], call)?;
    let extreme = evaluator.fold(op, node, vec![axis], span)?;
    let extreme = evaluator.unit_axes(extreme, &[axis], span)?;
    let mut found = evaluator.binary(BinaryOp::Eq, node, extreme, span)?;
    if evaluator.dtype(node).is_float() {
        // A NaN is the extreme, and equals nothing.
        let nan = evaluator.binary(BinaryOp::Ne, node, node, span)?;
        found = evaluator.binary(BinaryOp::Or, found, nan, span)?;
    }
    let ascending = Op::Arange { start: Literal::Int(0), step: Literal::Int(1) };
    let along = vec![extents[axis].clone()];
    let index = evaluator.emit_live(ascending, Vec::new(), along, DType::I64, span)?;
    let behind: Vec<usize> = (1..extents.len() - axis).collect();
    let index = evaluator.unit_axes(index, &behind, span)?;
    let index = evaluator.broadcast(index, &extents, span)?;
    let beyond = Number::Int(i128::try_from(evaluator.shape(node)[axis]).unwrap_or(i128::MAX));
    let beyond = evaluator.at_dtype(&Operand::Scalar(beyond), DType::I64, span)?;
    let beyond = evaluator.broadcast(beyond, &extents, span)?;
    let candidates = evaluator.emit_live(Op::Where, vec![found, index, beyond], extents, DType::I64, span)?;
    let first = evaluator.fold(FoldOp::Min, candidates, vec![axis], span)?;
    let whole = call.optional("axis").is_none();
    let axes: Vec<usize> = if whole { (0..evaluator.shape(source).len()).collect() } else { vec![axis] };
    evaluator.finish(first, source, &axes, call)
}

impl Evaluator<'_> {
    /// The array and the one axis that a function runs along: flattened where none is given.
    fn one_axis(&mut self, call: &Call, node: NodeId) -> Eval<(NodeId, usize)> {
        let rank = self.shape(node).len();
        match call.optional("axis") {
            Some(arg) => {
                let axis = self.axis(arg, rank)?;
                Ok((node, axis))
            }
            None if rank == 1 => Ok((node, 0)),
            None => {
                let size = self.fixed_shape(node, call.function.name, call.span)?.iter().product();
                Ok((self.reshape(node, vec![size], call.span)?, 0))
            }
        }
    }

    /// `out[…, i, …] = out[…, i − 1, …] op node[…, i, …]` from the first element on.
    fn scanned(&mut self, op: BinaryOp, node: NodeId, axis: usize, call: &Call) -> Eval<Array> {
        let (span, name) = (call.span, call.function.name);
        let shape = self.fixed_shape(node, name, span)?;
        let extent = i64::try_from(shape[axis]).unwrap_or(i64::MAX);
        if extent == 0 {
            return Ok(self.fresh_array(node));
        }
        // What was computed from states is stored once, not computed for every element.
        let node = if self.graph.reads_state(node) && !self.in_memory(node) {
            let state = self.store.new_state(None, self.dtype(node), shape.clone());
            self.update_whole(state, node, span)?;
            self.state_node(state, span)?
        } else {
            node
        };
        let storage = self.new_memory(self.dtype(node), &shape);
        let array = self.reserved(node, storage)?;
        let element = |evaluator: &mut Self, of: NodeId, at: Affine| -> Eval<NodeId> {
            let mut axes = evaluator.whole_section(of);
            axes[axis] = SectionAxis::At(at);
            let mut extents = evaluator.extents(of);
            extents.remove(axis);
            evaluator.section(of, axes, extents, span)
        };
        let first = element(self, node, Affine::constant(0))?;
        self.store_at(&array, axis, Affine::constant(0), first, span)?;
        let range = (Affine::constant(1), Affine::constant(extent));
        self.counted_loop("i", range, |evaluator, var| {
            let at = Affine::variable(var);
            let before = element(evaluator, array.node, at.offset(-1))?;
            let next = element(evaluator, node, at.clone())?;
            let value = evaluator.binary(op, before, next, span)?;
            evaluator.store_at(&array, axis, at, value, span)
        })?;
        Ok(array)
    }

    /// `array[…, at, …] = value`.
    fn store_at(&mut self, array: &Array, axis: usize, at: Affine, value: NodeId, span: Span) -> Eval<()> {
        let Some(state) = array.storage.and_then(|storage| self.store.state_of(storage)) else { return Ok(()) };
        let mut region = self.whole_section(array.node);
        region[axis] = SectionAxis::At(at);
        self.update(state, region, value, span)
    }
}
