//! What a candidate's output is compared with.
//!
//! The interpreter evaluates the source with an error bound for each element. Two things may be wrong with that, and
//! in both cases the plain kernel helps: the source form, every loop plain, in exact numerics.
//!
//! - A program with loops may execute so many statements that the interpreter would run for hours. Then the plain
//!   kernel stands in. It shares the lowering with the candidates, but no schedule and no reordering, and its bound is
//!   one number for the whole array, √u of the largest element, so it is the weaker judge. Tests compare it with the
//!   interpreter at extents where both run.
//! - Through a long recurrence the first-order bound may outgrow every element, where the error itself does not: any
//!   number would pass. Where it reaches 1/√u of the largest element, or the limit where the interpreter cuts it, all
//!   bounds past the largest element are again one number for the array: √u of the largest element, or, if that is more,
//!   [`MARGIN`] times what the plain kernel's results differ by from the interpreter's, with the inputs as they are and
//!   with each of them moved by an ulp or two. So nothing is claimed of a recurrence that magnifies such a move. What
//!   does not depend on the inputs, or does not notice, keeps its bounds.
//! - Where a divisor may be 0, or a logarithm's argument, the bound is infinite. If all of these runs have a number
//!   there, they say in the same way how far from it a candidate may be.

use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::lower::lower;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::work;
use moat_optimizer::oracle::inputs::SplitMix64;
use moat_optimizer::oracle::interpret::{InterpretError, Reference, cut_at, interpret};
use moat_optimizer::program::expr::Program;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;

/// Seconds that the interpreter may be expected to take.
const PATIENCE: f64 = 40.0;
/// What it takes for an operation on an element, and for a statement.
const SECONDS_PER_OPERATION: f64 = 1.5e-8;
const SECONDS_PER_STATEMENT: f64 = 2e-6;
/// How much more than one rounding of each input the roundings of all operations may do: as n of them, which do not
/// know of each other, add like √n, this is enough for a million that matter.
const MARGIN: f64 = 1000.0;

/// Why there is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The program does not fit its inputs.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
    /// The plain kernel cannot be made.
    #[error("the plain kernel that the candidates are compared with: {0}")]
    Plain(String),
}

impl From<CodegenError> for ReferenceError {
    fn from(error: CodegenError) -> ReferenceError {
        ReferenceError::Plain(error.to_string())
    }
}

/// A reference for each result of `program` on `inputs`. `form` is its source form.
///
/// # Errors
/// If the inputs do not fit, or the plain kernel does not compile.
pub fn references(
    program: &Program,
    form: &Schedulable,
    inputs: &[Tensor],
    numerics: Numerics,
    target: &Target,
) -> Result<Vec<Reference>, ReferenceError> {
    if !program.body.is_empty() {
        let nest = lower(form).map_err(|error| ReferenceError::Plain(error.to_string()))?;
        let work = work::work(&nest);
        let seconds = work.flops as f64 * SECONDS_PER_OPERATION + work.tiles as f64 * SECONDS_PER_STATEMENT;
        if seconds > PATIENCE {
            return plain(program, form, inputs, target);
        }
    }
    interpreted(program, form, inputs, numerics, target)
}

/// The interpreter's results, with bounds that say something.
///
/// # Errors
/// As [`references`].
pub fn interpreted(
    program: &Program,
    form: &Schedulable,
    inputs: &[Tensor],
    numerics: Numerics,
    target: &Target,
) -> Result<Vec<Reference>, ReferenceError> {
    let mut references = interpret(program, inputs, numerics)?;
    let recurs = !program.body.is_empty();
    let wanted = |reference: &Reference| {
        recurs && says_nothing(reference) || numerics != Numerics::Algebraic && has_unbounded(reference)
    };
    if !references.iter().any(wanted) {
        return Ok(references);
    }
    let kernel = PlainKernel::new(program, form, target)?;
    let runs = [kernel.run(inputs)?, kernel.run(&moved(inputs))?];
    for (at, reference) in references.iter_mut().enumerate().filter(|(_, reference)| wanted(reference)) {
        let Some(roundoff) = roundoff(reference.value.dtype) else { continue };
        if runs[0][at].data == runs[1][at].data {
            continue;
        }
        if numerics != Numerics::Algebraic {
            bound_unbounded(reference, [&runs[0][at], &runs[1][at]], roundoff);
        }
        if !recurs || !says_nothing(reference) {
            continue;
        }
        let largest = largest(&reference.wide);
        let differs = runs.iter().map(|run| difference(&reference.wide, &run[at])).fold(0.0, f64::max);
        let normwise = (roundoff.sqrt() * largest).max(MARGIN * differs);
        for bound in reference.bound.iter_mut().filter(|bound| **bound >= largest && bound.is_finite()) {
            *bound = bound.min(normwise);
        }
    }
    Ok(references)
}

/// The results of the plain kernel.
///
/// # Errors
/// If it does not compile, or the inputs do not fit.
pub fn plain(
    program: &Program,
    form: &Schedulable,
    inputs: &[Tensor],
    target: &Target,
) -> Result<Vec<Reference>, ReferenceError> {
    let results = PlainKernel::new(program, form, target)?.run(inputs)?;
    Ok(results.into_iter().map(normwise).collect())
}

/// The source form, every loop plain, in exact numerics.
struct PlainKernel<'p> {
    program: &'p Program,
    kernel: CompiledNest,
}

impl PlainKernel<'_> {
    fn new<'p>(program: &'p Program, form: &Schedulable, target: &Target) -> Result<PlainKernel<'p>, ReferenceError> {
        let nest = lower(form).map_err(|error| ReferenceError::Plain(error.to_string()))?;
        let (target, function) = (target.clone(), "plain".to_owned());
        let options = CompileOptions { target, numerics: Numerics::Exact, threads: 1, function };
        Ok(PlainKernel { program, kernel: CompiledNest::load(&nest, &options)? })
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ReferenceError> {
        let nodes = self.program.results().iter().map(|&root| &self.program.nodes[root]);
        let mut results: Vec<Tensor> = nodes.map(|node| Tensor::poison(node.dtype, &node.shape)).collect();
        self.kernel
            .call(&inputs.iter().collect::<Vec<_>>(), &mut results, &mut Workspace::new())
            .map_err(|error| ReferenceError::Plain(error.to_string()))?;
        Ok(results)
    }
}

/// Unit roundoff of a float type.
fn roundoff(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F64 => Some(f64::EPSILON / 2.0),
        DType::F32 => Some(f64::from(f32::EPSILON) / 2.0),
        DType::F16 => Some(2f64.powi(-11)),
        DType::BF16 => Some(2f64.powi(-8)),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => None,
    }
}

/// The magnitude of the largest finite element.
fn largest(elements: &[f64]) -> f64 {
    elements.iter().filter(|x| x.is_finite()).fold(0.0, |most, x| most.max(x.abs()))
}

/// Whether a bound of a float is so far past every element that no cancellation explains it. An infinite one says that
/// there may be no number at all.
fn says_nothing(reference: &Reference) -> bool {
    let Some(roundoff) = roundoff(reference.value.dtype) else { return false };
    let largest = largest(&reference.wide);
    let limit = (largest / roundoff.sqrt()).min(cut_at(reference.value.dtype));
    largest > 0.0 && reference.bound.iter().any(|&bound| bound >= limit.max(largest) && bound.is_finite())
}

/// Whether an element is a number whose distance nothing is known of.
fn has_unbounded(reference: &Reference) -> bool {
    let elements = reference.wide.iter().zip(&reference.bound);
    roundoff(reference.value.dtype).is_some() && elements.clone().any(|(x, bound)| unbounded(*x, *bound))
}

fn unbounded(x: f64, bound: f64) -> bool {
    x.is_finite() && bound == f64::INFINITY
}

/// Bounds for the elements that have none and are numbers in all runs: √u of the largest element, or what these
/// elements move by.
fn bound_unbounded(reference: &mut Reference, runs: [&Tensor; 2], roundoff: f64) {
    let found: Vec<usize> = (0..reference.bound.len())
        .filter(|&at| unbounded(reference.wide[at], reference.bound[at]))
        .filter(|&at| runs.iter().all(|run| run.get_f64(at).is_finite()))
        .collect();
    let distance = |at: usize| runs.iter().map(|run| (run.get_f64(at) - reference.wide[at]).abs()).fold(0.0, f64::max);
    let differs = found.iter().map(|&at| distance(at)).fold(0.0, f64::max);
    if differs == 0.0 {
        return;
    }
    let normwise = (roundoff.sqrt() * largest(&reference.wide)).max(MARGIN * differs);
    for at in found {
        reference.bound[at] = normwise;
    }
}

/// How far elements are from finite ones at most; infinite where one is no number.
fn difference(wide: &[f64], found: &Tensor) -> f64 {
    let distances = wide.iter().enumerate().filter(|(_, x)| x.is_finite()).map(|(at, x)| (found.get_f64(at) - x).abs());
    distances.fold(0.0, |most, distance| if distance.is_nan() { f64::INFINITY } else { most.max(distance) })
}

/// The inputs, each float up to two ulp nearer to 0, so that it stays in a range that ends there.
fn moved(inputs: &[Tensor]) -> Vec<Tensor> {
    let mut random = SplitMix64::new(0);
    let mut moved = inputs.to_vec();
    for input in &mut moved {
        let Some(roundoff) = roundoff(input.dtype) else { continue };
        for at in 0..input.len() {
            let ulp = 2.0 * roundoff;
            let nearer = match random.next_below(3) {
                0 => 1.0,
                1 => 1.0 - ulp,
                _ => 1.0 - 2.0 * ulp,
            };
            input.set(at, Literal::float(input.get_f64(at) * nearer));
        }
    }
    moved
}

/// A value with √u of its largest element as the bound of each number, and no claim where there is none; integers are exact.
fn normwise(value: Tensor) -> Reference {
    let Some(roundoff) = roundoff(value.dtype) else {
        return Reference { value, wide: Vec::new(), bound: Vec::new() };
    };
    let wide: Vec<f64> = (0..value.len()).map(|at| value.get_f64(at)).collect();
    let most = roundoff.sqrt() * largest(&wide);
    let bound = wide.iter().map(|x| if x.is_finite() { most } else { f64::NAN }).collect();
    Reference { value, wide, bound }
}
