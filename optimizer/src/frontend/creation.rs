//! Arrays from nothing: literals, `arange`, constants, `eye`.

use super::call::Call;
use super::evaluate::Evaluator;
use super::number::Number;
use super::operand::from_literals;
use super::promote::{self, Kind};
use super::value::{Arg, Eval, Poisoned, Value};
use crate::program::expr::{NodeId, Op, Span, constants};
use crate::value::dtype::{DType, Literal};

/// `np.array`: literals, or elements that are arrays, stacked; always a copy.
pub(super) fn array(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let dtype = evaluator.dtype_argument(call)?;
    let object = call.required("object")?;
    let node = match &object.value {
        Value::Array(array) => match dtype {
            Some(dtype) => evaluator.cast(array.node, dtype, call.span)?,
            None => array.node,
        },
        _ => from_literals(evaluator, object, dtype)?,
    };
    Ok(Value::Array(evaluator.fresh_array(node)))
}

/// `np.asarray`: the array itself where nothing changes.
pub(super) fn asarray(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let dtype = evaluator.dtype_argument(call)?;
    match &call.required("object")?.value {
        Value::Array(array) if dtype.is_none_or(|dtype| dtype == evaluator.dtype(array.node)) => {
            Ok(Value::Array(array.clone()))
        }
        _ => array(evaluator, call),
    }
}

/// `np.ascontiguousarray`: [`asarray`], of rank 1 at least.
pub(super) fn ascontiguousarray(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    match asarray(evaluator, call)? {
        Value::Array(array) if evaluator.shape(array.node).is_empty() => {
            let node = evaluator.reshape(array.node, vec![1], call.span)?;
            Ok(evaluator.view(node, &array))
        }
        Value::Array(array) if !evaluator.graph.is_row_major(array.node) => {
            let node = evaluator.row_major_copy(array.node);
            Ok(Value::Array(evaluator.fresh_array(node)))
        }
        value => Ok(value),
    }
}

/// `np.arange`.
pub(super) fn arange(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let first = known_number(evaluator, call.required("start")?)?;
    let (start, stop) = match call.optional("stop") {
        Some(stop) => (first, known_number(evaluator, stop)?),
        None => (Number::Int(0), first),
    };
    let step = match call.optional("step") {
        Some(step) => known_number(evaluator, step)?,
        None => Number::Int(1),
    };
    let dtype = match evaluator.dtype_argument(call)? {
        Some(DType::Bool) => {
            return Err(evaluator.unsupported(call.span, "np.arange of bools", "compare an integer arange"));
        }
        Some(dtype) => dtype,
        None => promote::common([Kind::from(start), Kind::from(stop), Kind::from(step)].map(|kind| match kind {
            Kind::Strong(_) => Kind::WeakInt,
            Kind::WeakInt | Kind::WeakFloat => kind,
        })),
    };
    if step.as_f64() == 0.0 {
        return Err(evaluator.error(call.span, "the step of arange is zero", None));
    }
    let length = arange_length(start, stop, step);
    let Some(length) = length else {
        return Err(evaluator.error(call.span, "the extent of arange is not representable", None));
    };
    let (first, step) = arange_literals(evaluator, start, step, dtype, call.span)?;
    let op = Op::Arange { start: first, step };
    let node = evaluator.emit(op, Vec::new(), vec![length], dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// First element and increment as NumPy's fill computes them: the increment is the difference of the first two
/// elements, both already at `dtype`.
fn arange_literals(
    evaluator: &mut Evaluator<'_>,
    start: Number,
    step: Number,
    dtype: DType,
    span: Span,
) -> Eval<(Literal, Literal)> {
    let second = match (start.as_int(), step.as_int()) {
        (Some(a), Some(b)) => Number::Int(a.saturating_add(b)),
        (None, _) | (_, None) => Number::Float(start.as_f64() + step.as_f64()),
    };
    let mut at = |number| promote::literal(number, dtype).map_err(|message| evaluator.error(span, message, None));
    let (first, second) = (at(start)?, at(second)?);
    let step = match (first.as_i64(), second.as_i64()) {
        (Some(a), Some(b)) => Literal::Int(b.wrapping_sub(a)),
        (None, _) | (_, None) => Literal::float(second.as_f64() - first.as_f64()).at(dtype),
    };
    Ok((first, step))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn arange_length(start: Number, stop: Number, step: Number) -> Option<usize> {
    if let (Some(start), Some(stop), Some(step)) = (start.as_int(), stop.as_int(), step.as_int()) {
        let distance = stop.checked_sub(start)?;
        let length =
            if (distance > 0) == (step > 0) { distance.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
        return usize::try_from(length).ok();
    }
    let length = ((stop.as_f64() - start.as_f64()) / step.as_f64()).ceil();
    if length.is_nan() || length > 1e15 { None } else { Some(length.max(0.0) as usize) }
}

fn known_number(evaluator: &mut Evaluator<'_>, arg: &Arg) -> Eval<Number> {
    match &arg.value {
        Value::Poison => Err(Poisoned),
        Value::Number(number) => Ok(*number),
        Value::Array(array) => match evaluator.known_literal(array.node) {
            Some(Literal::Bool(value)) => Ok(Number::Bool(value)),
            Some(Literal::Int(value)) => Ok(Number::Int(i128::from(value))),
            Some(Literal::Float(bits)) => Ok(Number::Float(f64::from_bits(bits))),
            None => Err(evaluator.error(arg.span, "a compile-time number is needed, not an array", None)),
        },
        other => {
            let message = format!("a compile-time number is needed, not {}", evaluator.describe(other));
            Err(evaluator.error(arg.span, message, None))
        }
    }
}

/// A new array, every element `value`, in the order in memory of another array or row-major.
fn filled(evaluator: &mut Evaluator<'_>, value: NodeId, shape: &[usize], like: Option<NodeId>, span: Span) -> Eval {
    let result = evaluator.fixed_shape(value, "full", span)?;
    let fits = result.len() <= shape.len()
        && result.iter().rev().zip(shape.iter().rev()).all(|(&own, &target)| own == 1 || own == target);
    if !fits {
        let message = format!(
            "a value of shape {} cannot fill an array of shape {}",
            super::emit::show(&result),
            super::emit::show(shape)
        );
        return Err(evaluator.error(span, message, None));
    }
    let node = evaluator.stretched(value, shape, like, span)?;
    Ok(Value::Array(evaluator.fresh_array(node)))
}

fn constant_filled(evaluator: &mut Evaluator<'_>, call: &Call, value: i64) -> Eval {
    let shape = evaluator.shape_argument(call.required("shape")?)?;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(DType::F64);
    let value = evaluator.constant(Literal::Int(value).at(dtype), dtype, call.span)?;
    filled(evaluator, value, &shape, None, call.span)
}

fn constant_like(evaluator: &mut Evaluator<'_>, call: &Call, value: i64) -> Eval {
    let (shape, dtype, like) = like(evaluator, call)?;
    let value = evaluator.constant(Literal::Int(value).at(dtype), dtype, call.span)?;
    filled(evaluator, value, &shape, Some(like), call.span)
}

/// Shape, dtype and prototype of `np.zeros_like` and its like.
fn like(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval<(Vec<usize>, DType, NodeId)> {
    let node = evaluator.array(call.required("a")?, call.function.name)?.node;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(evaluator.dtype(node));
    let shape = match call.optional("shape") {
        Some(arg) => evaluator.shape_argument(arg)?,
        None => evaluator.fixed_shape(node, call.function.name, call.span)?,
    };
    Ok((shape, dtype, node))
}

/// `np.empty`.
pub(super) fn empty(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let shape = evaluator.shape_argument(call.required("shape")?)?;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(DType::F64);
    evaluator.undefined(&shape, dtype, call.span).map(Value::Array)
}

/// `np.empty_like`.
pub(super) fn empty_like(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (shape, dtype, _) = like(evaluator, call)?;
    evaluator.undefined(&shape, dtype, call.span).map(Value::Array)
}

/// `np.zeros`.
pub(super) fn zeros(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    constant_filled(evaluator, call, 0)
}

/// `np.ones`.
pub(super) fn ones(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    constant_filled(evaluator, call, 1)
}

/// `np.zeros_like`.
pub(super) fn zeros_like(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    constant_like(evaluator, call, 0)
}

/// `np.ones_like`.
pub(super) fn ones_like(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    constant_like(evaluator, call, 1)
}

/// `np.full`.
pub(super) fn full(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let shape = evaluator.shape_argument(call.required("shape")?)?;
    let value = evaluator.operand(call.required("fill_value")?, "full")?;
    let dtype = evaluator.dtype_argument(call)?.unwrap_or(promote::common([evaluator.kind(&value)]));
    let value = evaluator.at_dtype(&value, dtype, call.span)?;
    filled(evaluator, value, &shape, None, call.span)
}

/// `np.full_like`.
pub(super) fn full_like(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (shape, dtype, like) = like(evaluator, call)?;
    let value = evaluator.operand(call.required("fill_value")?, "full_like")?;
    let value = evaluator.at_dtype(&value, dtype, call.span)?;
    filled(evaluator, value, &shape, Some(like), call.span)
}

/// `np.eye` and `np.identity`.
pub(super) fn eye(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (rows, columns, k, dtype) = matrix_arguments(evaluator, call)?;
    let node = evaluator.emit(Op::Eye { k }, Vec::new(), vec![rows, columns], dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.tri`: ones on and below a diagonal.
pub(super) fn tri(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (rows, columns, k, dtype) = matrix_arguments(evaluator, call)?;
    let one = evaluator.constant(Literal::Int(1).at(dtype), dtype, call.span)?;
    let ones = evaluator.broadcast(one, &constants(&[rows, columns]), call.span)?;
    let node = evaluator.emit(Op::Tril { k }, vec![ones], vec![rows, columns], dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

fn matrix_arguments(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval<(usize, usize, i64, DType)> {
    let rows = evaluator.extent(call.required("N")?, "N")?;
    let columns = match call.optional("M") {
        Some(arg) => evaluator.extent(arg, "M")?,
        None => rows,
    };
    let k = evaluator.integer_or(call, "k", 0)?;
    Ok((rows, columns, k, evaluator.dtype_argument(call)?.unwrap_or(DType::F64)))
}
