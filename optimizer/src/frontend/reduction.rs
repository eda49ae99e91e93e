//! Reductions: sums, products, extremes, tests, means, variances, traces.

use super::call::Call;
use super::evaluate::Evaluator;
use super::number::Number;
use super::operand::Operand;
use super::promote;
use super::value::{Arg, Eval, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op};
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use rustpython_ruff_python_ast::Operator;

/// `np.sum`, `prod`, `max`, `min`, `any`, `all`.
pub(super) fn fold_call(evaluator: &mut Evaluator<'_>, op: FoldOp, call: &Call) -> Eval {
    let node = evaluator.array(call.required("a")?, call.function.name)?.node;
    let axes = evaluator.reduced_axes(call, node)?;
    folded(evaluator, op, node, &axes, call)
}

/// A reduction of `node` over `axes`, which are sorted, with the arguments `dtype` and `keepdims` of the call.
pub(super) fn folded(evaluator: &mut Evaluator<'_>, op: FoldOp, node: NodeId, axes: &[usize], call: &Call) -> Eval {
    let dtype = evaluator.dtype(node);
    let extreme = matches!(op, FoldOp::Max | FoldOp::Min);
    let (op, computed) = match op {
        FoldOp::Sum | FoldOp::Prod => (op, evaluator.dtype_argument(call)?.unwrap_or(promote::accumulator(dtype))),
        FoldOp::All | FoldOp::Any => (op, DType::Bool),
        FoldOp::Max if dtype == DType::Bool => (FoldOp::Any, dtype),
        FoldOp::Min if dtype == DType::Bool => (FoldOp::All, dtype),
        FoldOp::Max | FoldOp::Min => (op, dtype),
    };
    let op = match op {
        FoldOp::Sum if computed == DType::Bool => FoldOp::Any,
        FoldOp::Prod if computed == DType::Bool => FoldOp::All,
        FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min | FoldOp::All | FoldOp::Any => op,
    };
    if extreme {
        evaluator.filled(node, axes, call)?;
    }
    let cast = evaluator.cast(node, computed, call.span)?;
    let folded = evaluator.fold(op, cast, axes.to_vec(), call.span)?;
    evaluator.finish(folded, node, axes, call)
}

/// `np.mean`: the sum in the dtype of the result, divided by the count.
pub(super) fn mean(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let node = evaluator.array(call.required("a")?, "mean")?.node;
    let axes = evaluator.reduced_axes(call, node)?;
    let cast = evaluator.real_argument(node, call)?;
    let mean = evaluator.mean_of(cast, &axes, 0, call)?;
    evaluator.finish(mean, node, &axes, call)
}

/// `np.var`: the mean of squared distances from the mean.
pub(super) fn var(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (variance, node, axes) = variance(evaluator, call)?;
    evaluator.finish(variance, node, &axes, call)
}

/// `np.std`: the root of `np.var`.
pub(super) fn std(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (variance, node, axes) = variance(evaluator, call)?;
    let root = evaluator.unary(UnaryOp::Sqrt, variance, call.span)?;
    evaluator.finish(root, node, &axes, call)
}

fn variance(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval<(NodeId, NodeId, Vec<usize>)> {
    let node = evaluator.array(call.required("a")?, call.function.name)?.node;
    let axes = evaluator.reduced_axes(call, node)?;
    let ddof = match call.optional("ddof") {
        Some(arg) => evaluator.integer(arg, "ddof")?,
        None => 0,
    };
    let cast = evaluator.real_argument(node, call)?;
    let mean = evaluator.mean_of(cast, &axes, 0, call)?;
    let kept = keep(&evaluator.extents(node), &axes);
    let mean = evaluator.reshape_live(mean, kept, call.span)?;
    let distance = evaluator.binary(BinaryOp::Sub, cast, mean, call.span)?;
    let square = evaluator.binary(BinaryOp::Mul, distance, distance, call.span)?;
    let variance = evaluator.mean_of(square, &axes, ddof, call)?;
    Ok((variance, node, axes))
}

/// `np.trace`.
pub(super) fn trace(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let node = evaluator.array(call.required("a")?, "trace")?.node;
    let (offset, axis1, axis2) = evaluator.diagonal_arguments(node, call)?;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(promote::accumulator(evaluator.dtype(node)));
    let node = evaluator.cast(node, dtype, call.span)?;
    let rank = evaluator.shape(node).len();
    let others = (0..rank).filter(|&axis| axis != axis1 && axis != axis2);
    let front = evaluator.transpose(node, [axis1, axis2].into_iter().chain(others).collect(), call.span)?;
    let shape = evaluator.shape(front)[2..].to_vec();
    let node = evaluator.emit(Op::Trace { offset }, vec![front], shape, dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// A reduction's shape with `keepdims`.
fn keep(extents: &[Affine], axes: &[usize]) -> Vec<Affine> {
    let kept = |(axis, extent): (usize, &Affine)| {
        if axes.contains(&axis) { Affine::constant(1) } else { extent.clone() }
    };
    extents.iter().enumerate().map(kept).collect()
}

impl Evaluator<'_> {
    /// The axes that a reduction of `node` runs over, sorted.
    fn reduced_axes(&mut self, call: &Call, node: NodeId) -> Eval<Vec<usize>> {
        let rank = self.shape(node).len();
        match call.optional("axis") {
            None => Ok((0..rank).collect()),
            Some(arg) => {
                let mut axes = self.axes(arg, rank)?;
                axes.sort_unstable();
                Ok(axes)
            }
        }
    }

    /// Refuses an extreme over axes that may be empty.
    pub(super) fn filled(&mut self, node: NodeId, axes: &[usize], call: &Call) -> Eval<()> {
        let extents = self.extents(node);
        if axes.iter().all(|&axis| self.control.domain().proves(&extents[axis].offset(-1))) {
            return Ok(());
        }
        let name = call.function.name;
        if self.graph[node].live.is_empty() {
            return Err(self.error(call.span, format!("{name} of an empty axis has no value"), None));
        }
        let message = format!("{name} of an array of shape {}, which may be empty", self.show_extents(&extents));
        let help = "let the loop begin where it is not empty, or write an 'if' around it";
        Err(self.error(call.span, message, Some(help)))
    }

    /// Restores the reduced axes with `keepdims`.
    pub(super) fn finish(&mut self, node: NodeId, source: NodeId, axes: &[usize], call: &Call) -> Eval {
        let keepdims = match call.optional("keepdims") {
            Some(arg) => self.truth(&arg.value, arg.span)?,
            None => false,
        };
        let node = if keepdims {
            let extents = keep(&self.extents(source), axes);
            self.reshape_live(node, extents, call.span)?
        } else {
            node
        };
        Ok(Value::Array(self.fresh(node)))
    }

    /// The argument of a mean in the dtype it is computed in.
    fn real_argument(&mut self, node: NodeId, call: &Call) -> Eval<NodeId> {
        let dtype = match self.dtype_argument(call)? {
            Some(dtype) if !dtype.is_float() => {
                let construct = format!("dtype={dtype} in {}()", call.function.name);
                return Err(self.unsupported(call.span, &construct, "supported: dtype=np.float32, dtype=np.float64"));
            }
            Some(dtype) => dtype,
            None if self.dtype(node).is_float() => self.dtype(node),
            None => DType::F64,
        };
        self.cast(node, dtype, call.span)
    }

    /// The number of elements along `axes`, less `ddof`.
    fn count_of(&mut self, node: NodeId, axes: &[usize], ddof: i64, call: &Call) -> Eval<Operand> {
        let own = self.extents(node);
        let extents: Vec<Affine> = axes.iter().map(|&axis| own[axis].clone()).collect();
        let arg = |value| Arg { value, span: call.span };
        let count = arg(self.product_of_extents(&extents, call.span)?);
        let less = arg(Value::Number(Number::Int(i128::from(ddof))));
        let count = self.binary_operator(Operator::Sub, &count, &less, call.span)?;
        if let Value::Number(count) = count {
            // NumPy divides by 0 where there are not enough.
            return Ok(Operand::Scalar(Number::Int(count.as_int().unwrap_or(0).max(0))));
        }
        self.operand(&arg(count), call.function.name)
    }

    /// Sum over `axes`, divided by the count less `ddof`.
    fn mean_of(&mut self, node: NodeId, axes: &[usize], ddof: i64, call: &Call) -> Eval<NodeId> {
        let sum = self.fold(FoldOp::Sum, node, axes.to_vec(), call.span)?;
        let dtype = self.dtype(node);
        let count = self.count_of(node, axes, ddof, call)?;
        let count = self.at_dtype(&count, dtype, call.span)?;
        self.binary(BinaryOp::Div, sum, count, call.span)
    }
}
