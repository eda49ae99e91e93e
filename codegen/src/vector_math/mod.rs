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

mod exponential;
mod lanes;
mod logarithm;
mod trigonometric;

use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::{Builder, BuilderError};
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum, FloatType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue};
use lanes::{Emit, Lanes, Width};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::UnaryOp;
use trigonometric::Circular;

/// Why a function could not be emitted.
#[derive(Debug, thiserror::Error)]
pub enum VectorMathError {
    /// The operator is not one of this module's functions.
    #[error("`{op}` is no vector math function")]
    UnsupportedOp {
        /// The operator's name.
        op: &'static str,
    },
    /// The argument is not a float, or of a format that has no code.
    #[error("`{op}` exists for f32 and f64 and vectors of them, not for {found}")]
    UnsupportedType {
        /// The operator's name.
        op: &'static str,
        /// The argument's LLVM type.
        found: String,
    },
    /// This LLVM lacks an intrinsic.
    #[error("LLVM has no intrinsic `{name}` at this type")]
    MissingIntrinsic {
        /// The intrinsic.
        name: String,
    },
    /// The builder refused an instruction.
    #[error("LLVM's builder refused an instruction")]
    Builder(#[from] BuilderError),
    /// A bug of this module.
    #[error("internal error in vector math: {what}")]
    Internal {
        /// What was found.
        what: &'static str,
    },
}

/// The functions of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// eˣ.
    Exp,
    /// ln x.
    Log,
    /// sin x.
    Sin,
    /// cos x.
    Cos,
    /// tanh x.
    Tanh,
    /// The error function.
    Erf,
    /// xʸ.
    Pow,
}

impl Function {
    /// Every function, in declaration order.
    pub const ALL: [Function; 7] =
        [Function::Exp, Function::Log, Function::Sin, Function::Cos, Function::Tanh, Function::Erf, Function::Pow];

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Tanh => "tanh",
            Function::Erf => "erf",
            Function::Pow => "pow",
        }
    }

    /// The function that computes a unary operator, if this module has it.
    pub const fn of_unary(op: UnaryOp) -> Option<Function> {
        match op {
            UnaryOp::Exp => Some(Function::Exp),
            UnaryOp::Log => Some(Function::Log),
            UnaryOp::Sin => Some(Function::Sin),
            UnaryOp::Cos => Some(Function::Cos),
            UnaryOp::Tanh => Some(Function::Tanh),
            UnaryOp::Erf => Some(Function::Erf),
            UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Sqrt | UnaryOp::Floor => None,
        }
    }

    const fn arguments(self) -> usize {
        match self {
            Function::Exp | Function::Log | Function::Sin | Function::Cos | Function::Tanh | Function::Erf => 1,
            Function::Pow => 2,
        }
    }
}

/// The greatest error of a function at `dtype` in units in the last place; `None` for a type that
/// has no code.
pub const fn bound(function: Function, dtype: DType) -> Option<f64> {
    let (single, double) = match function {
        Function::Exp => (1.0, 1.0),
        Function::Log => (1.5, 1.0),
        Function::Sin | Function::Cos => (2.0, 2.0),
        Function::Tanh => (2.5, 2.5),
        Function::Erf => (1.5, 1.5),
        Function::Pow => (1.0, 1.5),
    };
    match dtype {
        DType::F32 => Some(single),
        DType::F64 => Some(double),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => None,
    }
}

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

/// The same CPU and features as `from`, without which LLVM refuses to inline.
fn copy_target_attributes(from: FunctionValue<'_>, to: FunctionValue<'_>) {
    for key in ["target-cpu", "target-features", "tune-cpu", "prefer-vector-width", "min-legal-vector-width"] {
        if let Some(attribute) = from.get_string_attribute(AttributeLoc::Function, key) {
            to.add_attribute(AttributeLoc::Function, attribute);
        }
    }
}

fn enum_attribute(context: &Context, name: &'static str) -> Emit<Attribute> {
    match Attribute::get_named_enum_kind_id(name) {
        0 => Err(VectorMathError::Internal { what: "an attribute that this LLVM does not know" }),
        kind => Ok(context.create_enum_attribute(kind, 0)),
    }
}
