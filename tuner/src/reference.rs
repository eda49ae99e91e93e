//! What a candidate's output is compared with.
//!
//! The interpreter evaluates the source with an error bound for each element. A program with loops may execute so
//! many statements that it would run for hours; then the plain kernel stands in: the source form, every loop plain,
//! in exact numerics. It shares the lowering with the candidates, but no schedule and no reordering, and its bound is
//! one number for the whole array, √u of the largest element, so it is the weaker judge. Tests compare it with the
//! interpreter at extents where both run.

use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::dtype::DType;
use moat_optimizer::expr::Program;
use moat_optimizer::interpret::{InterpretError, Reference, interpret};
use moat_optimizer::lower::lower;
use moat_optimizer::normal_form::NormalForm;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::target::Target;
use moat_optimizer::tensor::Tensor;
use moat_optimizer::work;

/// Seconds that the interpreter may be expected to take.
const PATIENCE: f64 = 40.0;
/// What it takes for an operation on an element, and for a statement.
const SECONDS_PER_OPERATION: f64 = 1.5e-8;
const SECONDS_PER_STATEMENT: f64 = 2e-6;

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
    form: &NormalForm,
    inputs: &[Tensor],
    numerics: Numerics,
    target: &Target,
) -> Result<Vec<Reference>, ReferenceError> {
    if program.body.is_empty() {
        return Ok(interpret(program, inputs, numerics)?);
    }
    let nest = lower(form).map_err(|error| ReferenceError::Plain(error.to_string()))?;
    let work = work::work(&nest);
    let seconds = work.flops as f64 * SECONDS_PER_OPERATION + work.tiles as f64 * SECONDS_PER_STATEMENT;
    if seconds <= PATIENCE {
        return Ok(interpret(program, inputs, numerics)?);
    }
    plain(program, form, inputs, target)
}

/// The results of the plain kernel.
///
/// # Errors
/// If it does not compile, or the inputs do not fit.
pub fn plain(
    program: &Program,
    form: &NormalForm,
    inputs: &[Tensor],
    target: &Target,
) -> Result<Vec<Reference>, ReferenceError> {
    let nest = lower(form).map_err(|error| ReferenceError::Plain(error.to_string()))?;
    let options =
        CompileOptions { target: target.clone(), numerics: Numerics::Exact, threads: 1, function: "plain".to_owned() };
    let kernel = CompiledNest::load(&nest, &options)?;
    let mut results: Vec<Tensor> = program
        .results()
        .iter()
        .map(|&root| Tensor::poison(program.nodes[root].dtype, &program.nodes[root].shape))
        .collect();
    kernel
        .call(&inputs.iter().collect::<Vec<_>>(), &mut results, &mut Workspace::new())
        .map_err(|error| ReferenceError::Plain(error.to_string()))?;
    Ok(results.into_iter().map(normwise).collect())
}

/// A value with √u of its largest element as the bound of each; integers are exact.
fn normwise(value: Tensor) -> Reference {
    let roundoff = match value.dtype {
        DType::F64 => f64::EPSILON / 2.0,
        DType::F32 => f64::from(f32::EPSILON) / 2.0,
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => {
            return Reference { value, wide: Vec::new(), bound: Vec::new() };
        }
    };
    let wide: Vec<f64> = (0..value.len()).map(|at| value.get_f64(at)).collect();
    let largest = wide.iter().filter(|x| x.is_finite()).fold(0.0_f64, |most, x| most.max(x.abs()));
    let bound = vec![roundoff.sqrt() * largest; wide.len()];
    Reference { value, wide, bound }
}
