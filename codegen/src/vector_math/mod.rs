//! exp, log, sin, cos, tanh, erf and pow of vectors, as inlined polynomials.
//!
//! Input: a builder positioned in a function, and a float or a vector of floats of any number of
//! lanes (f32 or f64). Output: the value. What each call emits is a call of an internal
//! `alwaysinline` function, made once per module, operator and type (`moat.exp.v16f32`); the pass
//! pipeline leaves nothing of it but straight-line code. No instruction carries a fast-math flag
//! and every contraction is spelled out as `llvm.fma`, so flags on the instructions around do not
//! change the results.
//!
//! The target's features are read from the `target-features` attribute of the function under
//! construction (as it stands in `Target::features`): with AVX-512 the exponentials use `vscalef` and
//! the erf of f32 looks its coefficients up in registers.
//! A target without fused multiply-add gets the same results from slow code.
//!
//! # Error bounds
//!
//! In units in the last place of the result, over the whole range, subnormal results included:
//! [`bound`]. NaN gives NaN, and the special cases are C's Annex F.
//!
//! | function | f32 | f64 | outside the reduction's range |
//! |---|---|---|---|
//! | exp | 1.0 | 1.0 | overflow to ∞, gradual underflow |
//! | log | 1.5 | 1.0 | log 0 = −∞, of a negative number NaN |
//! | sin, cos | 2.0 | 2.0 | lanes beyond 2¹⁷ (f32), 2³⁰ (f64): libm, in a branch rarely taken |
//! | tanh | 2.5 | 2.5 | ±1 |
//! | erf | 1.5 | 1.5 | ±1 |
//! | pow | 1.0 | 1.5 | Annex F |

mod attributes;
mod error;
mod exponential;
mod function;
mod lanes;
mod logarithm;
mod trigonometric;

pub use error::VectorMathError;
pub use function::{Function, bound};

use attributes::{copy_target_attributes, enum_attribute};
use error::Emit;
use inkwell::attributes::AttributeLoc;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum, FloatType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue};
use lanes::{Lanes, Width};
use moat_optimizer::value::scalar::UnaryOp;
use trigonometric::Circular;

/// Emits exp, log, sin, cos, tanh or erf of `x`: a float or a vector of floats.
///
/// # Errors
/// Another operator, another type, or a builder that is not positioned in a function.
pub fn emit_unary<'c>(
    context: &'c Context,
    module: &Module<'c>,
    builder: &Builder<'c>,
    op: UnaryOp,
    x: BasicValueEnum<'c>,
) -> Result<BasicValueEnum<'c>, VectorMathError> {
    let function = Function::of_unary(op).ok_or(VectorMathError::UnsupportedOp { op: op.name() })?;
    emit(context, module, builder, function, &[x])
}

/// Emits `x` to the power `y`: two floats, or two vectors of floats, of one type.
///
/// # Errors
/// Another type, or a builder that is not positioned in a function.
pub fn emit_pow<'c>(
    context: &'c Context,
    module: &Module<'c>,
    builder: &Builder<'c>,
    x: BasicValueEnum<'c>,
    y: BasicValueEnum<'c>,
) -> Result<BasicValueEnum<'c>, VectorMathError> {
    if x.get_type() != y.get_type() {
        return Err(unsupported(Function::Pow, y.get_type()));
    }
    emit(context, module, builder, Function::Pow, &[x, y])
}

fn unsupported(function: Function, found: BasicTypeEnum<'_>) -> VectorMathError {
    VectorMathError::UnsupportedType { op: function.name(), found: found.to_string() }
}

/// The format and the lanes of an argument type; no lanes for a scalar.
fn classify<'c>(context: &'c Context, function: Function, found: BasicTypeEnum<'c>) -> Emit<(Width, Option<u32>)> {
    let width = |float: FloatType<'c>| {
        if float == context.f32_type() {
            Ok(Width::F32)
        } else if float == context.f64_type() {
            Ok(Width::F64)
        } else {
            Err(unsupported(function, found))
        }
    };
    match found {
        BasicTypeEnum::FloatType(float) => Ok((width(float)?, None)),
        BasicTypeEnum::VectorType(vector) => match vector.get_element_type() {
            BasicTypeEnum::FloatType(float) => Ok((width(float)?, Some(vector.get_size()))),
            BasicTypeEnum::ArrayType(_)
            | BasicTypeEnum::IntType(_)
            | BasicTypeEnum::PointerType(_)
            | BasicTypeEnum::StructType(_)
            | BasicTypeEnum::VectorType(_)
            | BasicTypeEnum::ScalableVectorType(_) => Err(unsupported(function, found)),
        },
        BasicTypeEnum::ArrayType(_)
        | BasicTypeEnum::IntType(_)
        | BasicTypeEnum::PointerType(_)
        | BasicTypeEnum::StructType(_)
        | BasicTypeEnum::ScalableVectorType(_) => Err(unsupported(function, found)),
    }
}

fn emit<'c>(
    context: &'c Context,
    module: &Module<'c>,
    builder: &Builder<'c>,
    function: Function,
    arguments: &[BasicValueEnum<'c>],
) -> Emit<BasicValueEnum<'c>> {
    let Some(first) = arguments.first() else {
        return Err(VectorMathError::Internal { what: "no argument" });
    };
    let (width, lanes) = classify(context, function, first.get_type())?;
    let caller = builder
        .get_insert_block()
        .and_then(|block| block.get_parent())
        .ok_or(VectorMathError::Internal { what: "the builder stands in no function" })?;
    let callee = inlined_function(context, module, caller, function, width, lanes)?;
    let arguments: Vec<BasicMetadataValueEnum<'c>> = arguments.iter().map(|&x| x.into()).collect();
    let call = builder.build_direct_call(callee, &arguments, "")?;
    call.try_as_basic_value().basic().ok_or(VectorMathError::Internal { what: "a call that gives no value" })
}

/// The module's function of this operator and type, made on first use.
fn inlined_function<'c>(
    context: &'c Context,
    module: &Module<'c>,
    caller: FunctionValue<'c>,
    function: Function,
    width: Width,
    lanes: Option<u32>,
) -> Emit<FunctionValue<'c>> {
    let shape = lanes.map_or_else(String::new, |lanes| format!("v{lanes}"));
    let name = format!("moat.{}.{shape}{}", function.name(), width.name());
    if let Some(found) = module.get_function(&name) {
        return Ok(found);
    }
    let builder = context.create_builder();
    let m = Lanes::new(context, module, &builder, width, lanes.unwrap_or(1));
    let argument: BasicMetadataTypeEnum<'c> = match lanes {
        Some(_) => m.vector().into(),
        None => m.element().into(),
    };
    let parameters = vec![argument; function.arguments()];
    let signature = match lanes {
        Some(_) => m.vector().fn_type(&parameters, false),
        None => m.element().fn_type(&parameters, false),
    };
    let made = module.add_function(&name, signature, Some(Linkage::Internal));
    copy_target_attributes(caller, made);
    for attribute in ["alwaysinline", "nounwind"] {
        made.add_attribute(AttributeLoc::Function, enum_attribute(context, attribute)?);
    }
    builder.position_at_end(context.append_basic_block(made, "entry"));
    let mut inputs = Vec::new();
    for parameter in made.get_param_iter() {
        inputs.push(m.as_vector(parameter)?);
    }
    let result = match (function, inputs.as_slice()) {
        (Function::Exp, &[x]) => exponential::exp(&m, x)?,
        (Function::Log, &[x]) => logarithm::log(&m, x)?,
        (Function::Sin, &[x]) => trigonometric::circular(&m, Circular::Sin, made, x)?,
        (Function::Cos, &[x]) => trigonometric::circular(&m, Circular::Cos, made, x)?,
        (Function::Tanh, &[x]) => exponential::tanh(&m, x)?,
        (Function::Erf, &[x]) => exponential::erf(&m, x)?,
        (Function::Pow, &[x, y]) => logarithm::pow(&m, x, y)?,
        _ => return Err(VectorMathError::Internal { what: "wrong number of arguments" }),
    };
    let result: BasicValueEnum<'c> = match lanes {
        Some(_) => result.into(),
        None => m.first(result)?,
    };
    builder.build_return(Some(&result))?;
    Ok(made)
}
