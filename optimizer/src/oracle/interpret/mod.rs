//! The oracle: evaluates the *source* program, whole arrays at a time, operator by operator, with a
//! running error bound for each element.
//!
//! Input: a [`Program`] and its inputs. Output: a [`Reference`] for each result. It shares no code
//! with `normalize`, `lower` or the code generator, and knows nothing of schedules.
//!
//! **Values.** Integers and bools are exact, wrapping as [`crate::value::scalar`] says. Floats are computed
//! in `f64`; in `f64` programs the reference's own rounding is counted by doubling the unit
//! roundoff u. In [`Numerics::Exact`] every operation is rounded at the source type, in the source's
//! order: results made only of `+ − · / // %`, `sqrt`, selections, conversions, and reductions and
//! products folded left to right from the identity (row-major over the reduced axes; `einsum` over
//! labels in order of first appearance) then have bound 0 and are compared bit for bit (a zero's
//! sign apart).
//!
//! **Statements.** A program with states runs its body statement by statement on concrete loop
//! variables: the operators that a statement's value is made of are evaluated as they are outside of
//! loops, and the elements of its region overwritten in place. What depends on no state and no loop
//! variable is evaluated once. A state holds a value and an error bound for each element and, where
//! sums may be reassociated, Σ|terms| and the number of additions of the sum that the element is:
//! further statements may add to it, and all of these terms in any order. Elements that nothing was
//! stored to are NaN, or 0 of an integer type.
//!
//! **Bounds.** Otherwise each operation adds its own rounding (½ ulp; 4 ulp for the elementary
//! functions; n·u·Σ|terms| for sums, in any order) to what it carries over from its operands
//! (|∂f|·bound, evaluated at the worst end of the interval where f bends). Comparisons, `floor`,
//! `sign` and conversions to integers whose outcome hangs on a rounding get bounds of their own. A
//! sum that feeds another sum hands on Σ|terms|, so that reassociated products, (A·B)·v = A·(B·v),
//! stay within the bound; a difference that is squared does not, so that cancellation which the
//! source does not have is caught. [`Numerics::Algebraic`] hands it on always.
//!
//! Through a long recurrence the bound grows with the recurrence's own condition, and first-order
//! bounds may grow exponentially where the error itself does not. What a statement stores is kept
//! finite: above the value, a bound ends at the fourth root of the type's largest number, where it
//! says nothing of the element any more.
//!
//! **NaN and infinities.** What overflows, or may in some order of the operations, has a bound of NaN:
//! nothing is claimed. Where a divisor may be 0, or roundings decide whether a root or logarithm has a
//! value, the source is evaluated once more as `exact` numerics do: where that has a number, NaN is
//! wrong, and where it has none nothing is claimed. What is surely no finite number must be none in
//! [`Numerics::Reassociate`], and the same one in [`Numerics::Exact`]; the laws of
//! [`Numerics::Algebraic`] may give it a value.

mod blocks;
mod bounds;
mod contract;
mod doubts;
mod elementwise;
mod memory;
mod plan;
mod reduce;
mod reference;
mod rows;
mod run;
mod structural;
mod value;

pub use crate::program::types::{ArrayType, result_type};
pub(crate) use contract::accumulate_product;
pub use memory::{Peak, peak};
pub use reference::{Mismatch, Reference};
pub use run::cut_at;

use crate::program::expr::{Op, Program, Requirement, Span, SumOrder};
use crate::program::verify::{VerifyError, verify};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::FoldOp;
use crate::value::scalar_eval::round;
use crate::value::tensor::{Data, Tensor};
use doubts::Doubts;
use std::sync::Arc;
use thiserror::Error;
use value::{Numbers, Value};

/// Why a program cannot be evaluated.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InterpretError {
    /// Too many or too few inputs.
    #[error("`{program}` takes {expected} inputs, found {found}")]
    InputCount {
        /// The program's name.
        program: String,
        /// Number of parameters.
        expected: usize,
        /// Number of inputs.
        found: usize,
    },
    /// An input of another type or shape than its parameter.
    #[error("parameter `{name}` is {expected_dtype}{expected_shape:?}, the input is {dtype}{shape:?}")]
    InputType {
        /// The parameter.
        name: String,
        /// Its type.
        expected_dtype: DType,
        /// Its shape.
        expected_shape: Vec<usize>,
        /// The input's type.
        dtype: DType,
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// A check of the program fails.
    #[error("{} in `{program}`", requirement.failure())]
    Check {
        /// The program's name.
        program: String,
        /// The expression in the source.
        span: Span,
        /// What it asks for.
        requirement: Requirement,
    },
    /// The program is not well-formed.
    #[error(transparent)]
    Malformed(#[from] VerifyError),
}

/// Evaluates `program` on `inputs`, one for each parameter; one reference for each root that is no check.
///
/// # Errors
/// If the inputs do not fit the parameters, or the program is malformed.
pub fn interpret(program: &Program, inputs: &[Tensor], numerics: Numerics) -> Result<Vec<Reference>, InterpretError> {
    check_inputs(program, inputs)?;
    verify(program)?;
    let run = |numerics| run::run(program, inputs, numerics).map_err(|node| bad_node(program, node));
    let mut results = run(numerics)?;
    let checks = results.split_off(results.len().saturating_sub(program.checks.len()));
    let fails = |check: &Value| finish(check.clone(), None, numerics).value.get(0).as_i64() != Some(1);
    if let Some(failed) = checks.iter().position(fails) {
        let (program, check) = (program.name.clone(), program.checks[failed]);
        return Err(InterpretError::Check { program, span: check.span, requirement: check.requirement });
    }
    if numerics == Numerics::Exact || !results.iter().any(hangs) {
        return Ok(results.into_iter().map(|result| finish(result, None, numerics)).collect());
    }
    let exact = run(Numerics::Exact)?;
    Ok(results.into_iter().zip(&exact).map(|(result, exact)| finish(result, Some(exact), numerics)).collect())
}

/// Whether roundings decide if some element has a value.
fn hangs(value: &Value) -> bool {
    let infinite = value.store.bound.as_ref().is_some_and(|bound| bound.contains(&f64::INFINITY));
    value.dtype.is_float() && (value.traits.hangs || infinite)
}

/// What a kernel may give for an element: the value, and the bound as [`Reference::bound`] says. `exact` is what the
/// source's own operations give.
fn claim(value: f64, bound: f64, exact: f64, numerics: Numerics) -> (f64, f64) {
    if bound.is_nan() {
        return (value, bound);
    }
    if bound == 0.0 && !value.is_finite() {
        let none = match numerics {
            Numerics::Exact => 0.0,
            Numerics::Reassociate => f64::INFINITY,
            Numerics::Algebraic => f64::NAN,
        };
        return (value, none);
    }
    match (value.is_finite(), exact.is_finite()) {
        (true, true) => (value, bound),
        (false, true) => (exact, f64::INFINITY),
        (true | false, false) => (value, f64::NAN),
    }
}

fn bad_node(program: &Program, node: usize) -> InterpretError {
    let op = program.nodes.get(node).map_or_else(String::new, |node| format!("{:?}", node.op));
    InterpretError::Malformed(VerifyError::Node { node, op, reason: "it lacks an argument".into() })
}

fn check_inputs(program: &Program, inputs: &[Tensor]) -> Result<(), InterpretError> {
    if inputs.len() != program.params.len() {
        let (expected, found) = (program.params.len(), inputs.len());
        return Err(InterpretError::InputCount { program: program.name.clone(), expected, found });
    }
    for (param, input) in program.params.iter().zip(inputs) {
        let consistent = input.data.dtype() == input.dtype && input.len() == input.shape.iter().product::<usize>();
        if input.dtype != param.dtype || input.shape != param.shape || !consistent {
            return Err(InterpretError::InputType {
                name: param.name.clone(),
                expected_dtype: param.dtype,
                expected_shape: param.shape.clone(),
                dtype: input.data.dtype(),
                shape: input.shape.clone(),
            });
        }
    }
    Ok(())
}

/// An input as a value.
fn load(tensor: &Tensor) -> Value {
    let ints = |ints: Vec<i64>| Value::ints(tensor.dtype, &tensor.shape, ints);
    match &tensor.data {
        Data::Bool(v) => ints(v.iter().map(|x| i64::from(*x != 0)).collect()),
        Data::I8(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
        Data::U8(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
        Data::I16(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
        Data::I32(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
        Data::I64(v) => ints(v.clone()),
        Data::F32(v) => Value::floats(tensor.dtype, &tensor.shape, v.iter().map(|x| f64::from(*x)).collect()),
        Data::F64(v) => Value::floats(tensor.dtype, &tensor.shape, v.clone()),
        Data::F16(_) | Data::BF16(_) => {
            Value::floats(tensor.dtype, &tensor.shape, (0..tensor.len()).map(|i| tensor.get_f64(i)).collect())
        }
    }
}

/// A result as a reference; `exact` is the same one by the source's own operations, where it is not the result itself.
#[expect(clippy::cast_possible_truncation, reason = "rounding and wrapping to the result's type are the meaning")]
#[expect(clippy::cast_sign_loss, reason = "wrapping to the result's type is the meaning")]
fn finish(value: Value, exact: Option<&Value>, numerics: Numerics) -> Reference {
    let Value { dtype, ref shape, .. } = value;
    let (shape, hangs) = (shape.clone(), value.traits.hangs);
    let (numbers, bound) = elements(value);
    let mut bound = bound.unwrap_or_default();
    let (data, wide) = match numbers {
        Numbers::Int(ints) => {
            let data = match dtype {
                DType::Bool => Data::Bool(ints.iter().map(|x| u8::from(*x != 0)).collect()),
                DType::I8 => Data::I8(ints.iter().map(|x| *x as i8).collect()),
                DType::U8 => Data::U8(ints.iter().map(|x| *x as u8).collect()),
                DType::I16 => Data::I16(ints.iter().map(|x| *x as i16).collect()),
                DType::I32 => Data::I32(ints.iter().map(|x| *x as i32).collect()),
                DType::I64 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Data::I64(ints),
            };
            (data, Vec::new())
        }
        Numbers::Float(mut floats) => {
            let sure = |(at, x): (usize, &f64)| x.is_finite() && bound.get(at).is_none_or(|bound| bound.is_finite());
            if hangs || !floats.iter().enumerate().all(sure) {
                let exact = match exact.map(|exact| (exact, &exact.store.numbers)) {
                    Some((exact, Numbers::Float(all))) => exact.gather(all),
                    Some((_, Numbers::Int(_))) | None => floats.clone(),
                };
                bound.resize(floats.len(), 0.0);
                for ((x, bound), exact) in floats.iter_mut().zip(&mut bound).zip(exact) {
                    (*x, *bound) = claim(*x, *bound, exact, numerics);
                }
            }
            let data = match dtype {
                DType::F32 => Data::F32(floats.iter().map(|x| *x as f32).collect()),
                DType::Bool
                | DType::I8
                | DType::U8
                | DType::I16
                | DType::I32
                | DType::I64
                | DType::F16
                | DType::BF16
                | DType::F64 => Data::F64(floats.clone()),
            };
            (data, floats)
        }
    };
    Reference { value: Tensor { dtype: data.dtype(), shape, data }, wide, bound }
}

/// The elements in row-major order and their bounds: those of the store where nobody else has it.
fn elements(value: Value) -> (Numbers, Option<Vec<f64>>) {
    if run::is_dense(&value) {
        match Arc::try_unwrap(value.store) {
            Ok(store) => return (store.numbers, store.bound),
            Err(store) => return gathered(&Value { store, ..value }),
        }
    }
    gathered(&value)
}

fn gathered(value: &Value) -> (Numbers, Option<Vec<f64>>) {
    let numbers = match &value.store.numbers {
        Numbers::Int(all) => Numbers::Int(value.gather(all)),
        Numbers::Float(all) => Numbers::Float(value.gather(all)),
    };
    (numbers, value.store.bound.as_ref().map(|bound| value.gather(bound)))
}

/// One operator that reads no state and no loop variable, on arguments as they are now; `shape` is its result's now.
/// `None` if an argument is missing, which the verifier rules out.
fn evaluate(
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
        Op::Cast => elementwise::cast(&args.next()?, dtype, numerics),
        Op::Broadcast => structural::broadcast(&args.next()?, shape),
        Op::Transpose(axes) => structural::transpose(&args.next()?, axes),
        Op::Reshape => {
            let a = args.next()?.contiguous();
            a.view(shape.to_vec(), value::row_major(shape), a.offset)
        }
        Op::Slice(slices) => structural::slice(&args.next()?, slices),
        Op::Index { axis, at } => structural::index(&args.next()?, *axis, *at),
        Op::Diagonal { offset, axis1, axis2 } => structural::diagonal(&args.next()?, *offset, *axis1, *axis2),
        Op::Flip(axes) => structural::flip(&args.next()?, axes),
        Op::Roll { shift, axis } => structural::roll(&args.next()?, *shift, *axis)?,
        Op::Pad { widths, value } => structural::pad(&args.next()?, widths, *value),
        Op::Window { windows } => structural::window(&args.next()?, windows),
        Op::Tril { k } => structural::triangle(&args.next()?, |row, column| column <= row + k),
        Op::Triu { k } => structural::triangle(&args.next()?, |row, column| column >= row + k),
        Op::Trace { offset } => {
            let diagonal = structural::diagonal(&args.next()?, *offset, 0, 1);
            let last = diagonal.shape.len() - 1;
            // NumPy's sum along a diagonal is pairwise; of more axes, others are innermost.
            let pairwise = if last == 0 { vec![0] } else { Vec::new() };
            let order = SumOrder { in_order: Vec::new(), pairwise };
            reduce::reduce(FoldOp::Sum, &diagonal, &[last], &order, numerics)
        }
        Op::MatMul | Op::Dot | Op::Inner => {
            let (a, b) = (args.next()?, args.next()?);
            let (inputs, output) = structural::product_labels(op, a.shape.len(), b.shape.len()).ok()?;
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

/// The element `start + step·i` of `np.arange` at a float type, and its error bound.
fn arange_float(dtype: DType, i: f64, start: f64, step: f64, numerics: Numerics) -> (f64, f64) {
    let product = step * i;
    let rounded = round(dtype, round(dtype, product) + start);
    if numerics == Numerics::Exact || round(dtype, product) == product && rounded == product + start {
        return (rounded, 0.0);
    }
    let model = bounds::Model::new(dtype, numerics);
    let z = product + start;
    (z, model.roundoff * (product.abs() + z.abs()))
}
