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

mod arithmetic;
mod blocks;
mod bounds;
mod contract;
mod convert;
mod doubts;
mod elementwise;
mod finish;
mod for_operator;
mod integers;
mod labels;
mod matrices;
mod memory;
mod operators;
mod plan;
mod reduce;
mod reference;
mod rows;
mod run;
mod structural;
mod traits;
mod value;
mod views;

pub use crate::program::types::{ArrayType, result_type};
pub(crate) use matrices::accumulate_product;
pub use memory::{Peak, peak};
pub use reference::{Mismatch, Reference};
pub use run::cut_at;

use crate::program::expr::{Program, Requirement, Span};
use crate::program::verify::{VerifyError, verify};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::tensor::Tensor;
use finish::{finish, hangs};
use thiserror::Error;
use value::Value;

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
