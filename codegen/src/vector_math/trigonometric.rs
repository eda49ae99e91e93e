//! sin and cos.
//!
//! |x| = n·π/2 + r in three fused steps (Cody and Waite; the first is exact), both polynomials in
//! r, and a choice by the quadrant n mod 4. The reduction holds up to [`reduction_limit`]; lanes
//! beyond it are computed by libm in a block that is not entered otherwise.

use super::attributes::{copy_target_attributes, enum_attribute};
use super::error::{Emit, VectorMathError};
use super::function::Function;
use super::lanes::{Lanes, Vector, Width};
use inkwell::attributes::AttributeLoc;
use inkwell::values::FunctionValue;
use inkwell::{IntPredicate, module::Linkage};

const HALF_PI_F32: [f64; 3] = [1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15];
const HALF_PI_F64: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];

/// (sin(r)/r − 1) / r² in r², relative error of the sine 2^-27.8.
const SIN_F32: [f64; 3] = [-0.16666653752326965, 0.008332106284797192, -0.00019507884280756116];
/// (cos r − 1 + ½r²) / r⁴ in r², relative error of the cosine 2^-32.8.
const COS_F32: [f64; 3] = [0.04166664555668831, -0.0013887297827750444, 2.443008816044312e-05];
/// (sin(r)/r − 1) / r² in r², relative error of the sine 2^-57.7.
const SIN_F64: [f64; 6] = [
    -0.16666666666666627,
    0.008333333333321067,
    -0.00019841269828696378,
    2.7557313297925787e-06,
    -2.5050695375724336e-08,
    1.5893107650658008e-10,
];
/// (cos r − 1 + ½r²) / r⁴ in r², relative error of the cosine 2^-63.4.
const COS_F64: [f64; 6] = [
    0.04166666666666658,
    -0.001388888888887097,
    2.48015872875374e-05,
    -2.7557313800359817e-07,
    2.087564977886885e-09,
    -1.1355924389017095e-11,
];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Circular {
    /// sin.
    Sin,
    /// cos.
    Cos,
}

/// The bits of the largest |x| that is reduced here: 2¹⁷ at f32, 2³⁰ at f64.
const fn reduction_limit(width: Width) -> u64 {
    match width {
        Width::F32 => (127 + 17) << 23,
        Width::F64 => (1023 + 30) << 52,
    }
}

/// The body of the function `into`: emits its blocks and returns the value to return, the builder
/// standing behind it.
pub(super) fn circular<'c>(
    m: &Lanes<'_, 'c>,
    which: Circular,
    into: FunctionValue<'c>,
    x: Vector<'c>,
) -> Emit<Vector<'c>> {
    let context = m.context();
    let builder = m.builder();
    // A masked-off lane may hold poison, and the branch below depends on every lane.
    let x = m.freeze(x, into)?;
    let reduced = reduced_circular(m, which, x)?;

    let sign = m.width.sign_bit();
    let magnitude = m.and(m.bits_of(x)?, m.int(sign - 1))?;
    let limit = reduction_limit(m.width);
    // One unsigned comparison: above the limit and below infinity and the NaNs.
    let above = m.int_sub(magnitude, m.int(limit + 1))?;
    let huge = m.compare_int(IntPredicate::ULT, above, m.int(m.width.infinity_bits() - limit - 1))?;
    let any_huge = m.unlikely(m.any(huge)?)?;

    let start = builder.get_insert_block().ok_or(VectorMathError::Internal { what: "no block to build in" })?;
    let exact = context.append_basic_block(into, "huge");
    let done = context.append_basic_block(into, "done");
    builder.build_conditional_branch(any_huge, exact, done)?;
    builder.position_at_end(exact);
    let library = library_function(m, which, into)?;
    let called = m.call(library, &[x.into()])?;
    builder.build_unconditional_branch(done)?;
    builder.position_at_end(done);
    let phi = builder.build_phi(m.vector(), "")?;
    phi.add_incoming(&[(&reduced, start), (&called, exact)]);
    m.expect_vector(phi.as_basic_value())
}

fn reduced_circular<'c>(m: &Lanes<'_, 'c>, which: Circular, x: Vector<'c>) -> Emit<Vector<'c>> {
    let (half_pi, sine, cosine): (&[f64; 3], &[f64], &[f64]) = match m.width {
        Width::F32 => (&HALF_PI_F32, &SIN_F32, &COS_F32),
        Width::F64 => (&HALF_PI_F64, &SIN_F64, &COS_F64),
    };
    let size = m.abs(x)?;
    let n = m.round_scaled(size, std::f64::consts::FRAC_2_PI)?;
    let mut r = size;
    for part in half_pi {
        r = m.fma(n.value, m.float(-part), r)?;
    }
    let z = m.mul(r, r)?;
    let sine = m.fma(m.mul(r, z)?, m.polynomial(z, sine)?, r)?;
    let head = m.fma(z, m.float(-0.5), m.float(1.0))?;
    let cosine = m.fma(m.mul(z, z)?, m.polynomial(z, cosine)?, head)?;

    // cos x = sin(x + π/2): one quadrant further, and no sign of x.
    let quadrant = match which {
        Circular::Sin => n.bits,
        Circular::Cos => m.int_add(n.bits, m.int(1))?,
    };
    let odd = m.and(quadrant, m.int(1))?;
    let odd = m.compare_int(IntPredicate::NE, odd, m.int(0))?;
    let value = m.select(odd, cosine, sine)?;
    let top = u64::from(m.width.bits()) - 2;
    let flip = m.shift_left(quadrant, top)?;
    let flip = match which {
        Circular::Sin => m.xor(flip, m.bits_of(x)?)?,
        Circular::Cos => flip,
    };
    let flip = m.and(flip, m.int(m.width.sign_bit()))?;
    m.float_of(m.xor(m.bits_of(value)?, flip)?)
}

/// A function of this module that applies libm's to every lane. Not inlined: it is rarely called.
fn library_function<'c>(m: &Lanes<'_, 'c>, which: Circular, like: FunctionValue<'c>) -> Emit<FunctionValue<'c>> {
    let (function, scalar) = match (which, m.width) {
        (Circular::Sin, Width::F32) => (Function::Sin, "sinf"),
        (Circular::Sin, Width::F64) => (Function::Sin, "sin"),
        (Circular::Cos, Width::F32) => (Function::Cos, "cosf"),
        (Circular::Cos, Width::F64) => (Function::Cos, "cos"),
    };
    let name = format!("moat.libm.{}.v{}{}", function.name(), m.lanes, m.width.name());
    if let Some(found) = m.module().get_function(&name) {
        return Ok(found);
    }
    let context = m.context();
    let element = m.element();
    let scalar = m
        .module()
        .get_function(scalar)
        .unwrap_or_else(|| m.module().add_function(scalar, element.fn_type(&[element.into()], false), None));
    let function =
        m.module().add_function(&name, m.vector().fn_type(&[m.vector().into()], false), Some(Linkage::Internal));
    copy_target_attributes(like, function);
    for attribute in ["noinline", "cold", "nounwind"] {
        function.add_attribute(AttributeLoc::Function, enum_attribute(context, attribute)?);
    }
    let argument = function.get_first_param().ok_or(VectorMathError::Internal { what: "no parameter" })?;
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(function, "entry"));
    let inner = Lanes::new(context, m.module(), &builder, m.width, m.lanes);
    let x = inner.expect_vector(argument)?;
    let mut result = m.vector().get_poison();
    for lane in 0..m.lanes {
        let at = context.i32_type().const_int(u64::from(lane), false);
        let element = builder.build_extract_element(x, at, "")?;
        let call = builder.build_direct_call(scalar, &[element.into()], "")?;
        let value = call
            .try_as_basic_value()
            .basic()
            .ok_or(VectorMathError::Internal { what: "a libm function that gives no value" })?;
        result = builder.build_insert_element(result, value, at, "")?;
    }
    builder.build_return(Some(&result))?;
    Ok(function)
}
