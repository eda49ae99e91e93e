//! One operator on whole arrays: chooses who computes it, and adds what the numerics leave open of its value.
//!
//! It knows nothing of programs, states and loop variables: an operator that reads those is evaluated in `run`.

use super::doubts::Doubts;
use super::value::{self, Value};
use super::{contract, convert, elementwise, labels, reduce, structural, views};
use crate::program::expr::{Op, SumOrder};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::FoldOp;

/// One operator that reads no state and no loop variable, on arguments as they are now; `shape` is its result's now.
/// `None` if an argument is missing, which the verifier rules out.
pub(super) fn evaluate(
    op: &Op,
    shape: &[usize],
    dtype: DType,
    args: Vec<Value>,
    numerics: Numerics,
    feeds_sum: bool,
) -> Option<Value> {
    let doubts = Doubts::of(op, &args, dtype, numerics);
    Some(doubts.about(computed(op, shape, dtype, args, numerics, feeds_sum)?))
}

/// The value and its bounds.
fn computed(
    op: &Op,
    shape: &[usize],
    dtype: DType,
    args: Vec<Value>,
    numerics: Numerics,
    feeds_sum: bool,
) -> Option<Value> {
    if let Op::Concat { axis } = op {
        return structural::concatenate(&args, shape, *axis);
    }
    if let Op::Einsum { inputs, output } = op {
        return contract::einsum(args.into_iter().zip(inputs.iter().cloned()).collect(), output, numerics);
    }
    let mut args = args.into_iter();
    Some(match op {
        Op::Input(_) | Op::State(_) | Op::LoopIndex(_) | Op::Section(_) | Op::Concat { .. } | Op::Einsum { .. } => {
            return None;
        }
        Op::Const(literal) => structural::filled(dtype, shape, |_| *literal),
        Op::Array(literals) => structural::filled(dtype, shape, |i| literals[i]),
        Op::Arange { start, step } => structural::arange(dtype, shape[0], *start, *step, numerics),
        Op::Eye { k } => structural::eye(dtype, shape, *k),
        Op::Unary(op) => elementwise::unary(*op, &args.next()?, numerics),
        Op::Binary(op) => elementwise::binary(*op, &args.next()?, &args.next()?, numerics, feeds_sum),
        Op::Where => elementwise::select(&args.next()?, &args.next()?, &args.next()?),
        Op::Cast => convert::cast(&args.next()?, dtype, numerics),
        Op::Broadcast => views::broadcast(&args.next()?, shape),
        Op::Transpose(axes) => views::transpose(&args.next()?, axes),
        Op::Reshape => {
            let a = args.next()?.contiguous();
            a.view(shape.to_vec(), value::row_major(shape), a.offset)
        }
        Op::Slice(slices) => views::slice(&args.next()?, slices),
        Op::Index { axis, at } => views::index(&args.next()?, *axis, *at),
        Op::Diagonal { offset, axis1, axis2 } => views::diagonal(&args.next()?, *offset, *axis1, *axis2),
        Op::Flip(axes) => views::flip(&args.next()?, axes),
        Op::Roll { shift, axis } => structural::roll(&args.next()?, *shift, *axis)?,
        Op::Pad { widths, value } => structural::pad(&args.next()?, widths, *value),
        Op::Window { windows } => views::window(&args.next()?, windows),
        Op::Tril { k } => structural::triangle(&args.next()?, |row, column| column <= row + k),
        Op::Triu { k } => structural::triangle(&args.next()?, |row, column| column >= row + k),
        Op::Trace { offset } => {
            let diagonal = views::diagonal(&args.next()?, *offset, 0, 1);
            let last = diagonal.shape.len() - 1;
            // NumPy's sum along a diagonal is pairwise; of more axes, others are innermost.
            let pairwise = if last == 0 { vec![0] } else { Vec::new() };
            let order = SumOrder { in_order: Vec::new(), pairwise };
            reduce::reduce(FoldOp::Sum, &diagonal, &[last], &order, numerics)
        }
        Op::MatMul | Op::Dot | Op::Inner => {
            let (a, b) = (args.next()?, args.next()?);
            let (inputs, output) = labels::product_labels(op, a.shape.len(), b.shape.len()).ok()?;
            contract::einsum(vec![a, b].into_iter().zip(inputs).collect(), &output, numerics)?
        }
        Op::Gather { batch } => structural::gather(&args.next()?, &args.next()?, *batch)?,
        Op::Outer(op) => {
            let (a, b) = (args.next()?, args.next()?);
            let (a, b) = (elementwise::spread(&a, true, shape), elementwise::spread(&b, false, shape));
            elementwise::binary(*op, &a, &b, numerics, feeds_sum)
        }
        Op::Reduce { op, axes, order } => reduce::reduce(*op, &args.next()?, axes, order, numerics),
    })
}
