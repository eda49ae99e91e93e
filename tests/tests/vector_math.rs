//! Vector math against higher precision: every function, at f32 and f64, at several lane counts
//! and instruction sets, over all exponents and the special values.
//!
//! f32 is held to its bound against libm's f64 functions. f64 is held to its bound against
//! `vector_math_support/reference_f64.csv` (200 bits and more, rounded to sums of two doubles), and
//! to its bound plus libm's own error against libm on many more points.

#![expect(unsafe_code, reason = "calls the code that was compiled")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test: a failure panics, and the errors found are shown"
)]

use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetMachine};
use inkwell::types::BasicTypeEnum;
use inkwell::values::BasicValue;
use inkwell::{AddressSpace, IntPredicate, OptimizationLevel};
use moat_codegen::vector_math::{Function, bound, emit_pow, emit_unary};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::UnaryOp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

unsafe extern "C" {
    safe fn erf(x: f64) -> f64;
}

/// An instruction set to compile for; `None` where this machine lacks it.
#[derive(Clone, Copy, Debug)]
enum Machine {
    Host,
    /// The host with registers no longer than 256 bits.
    Half,
    Avx2,
    Baseline,
}

fn cpu_and_features(machine: Machine) -> Option<(String, String)> {
    let host = TargetMachine::get_host_cpu_features().to_string();
    match machine {
        Machine::Host | Machine::Half => Some((TargetMachine::get_host_cpu_name().to_string(), host)),
        Machine::Avx2 if host.contains("+avx2") && host.contains("+fma") => {
            Some(("haswell".to_owned(), "+avx2,+fma".to_owned()))
        }
        Machine::Baseline if host.contains("+sse2") => Some(("x86-64".to_owned(), "+sse2".to_owned())),
        Machine::Avx2 | Machine::Baseline => None,
    }
}

fn unary_op(function: Function) -> Option<UnaryOp> {
    UnaryOp::ALL.into_iter().find(|&op| Function::of_unary(op) == Some(function))
}

type Entry<T> = unsafe extern "C" fn(*const T, *const T, *mut T, i64);

/// Compiles `for i in 0 .. n by lanes: out[i..] = function(x[i..], y[i..])` and applies it; the
/// length of `x` need not be a multiple of the lanes. 1 lane is a scalar.
fn apply<T: Copy + Default>(
    function: Function,
    dtype: DType,
    lanes: u32,
    machine: Machine,
    x: &[T],
    y: &[T],
) -> Option<Vec<T>> {
    let (cpu, features) = cpu_and_features(machine)?;
    Target::initialize_native(&InitializationConfig::default()).unwrap();
    let context = Context::create();
    let module = context.create_module("vector_math");
    let element = if dtype == DType::F32 { context.f32_type() } else { context.f64_type() };
    let wide: BasicTypeEnum<'_> = if lanes == 1 { element.into() } else { element.vec_type(lanes).into() };
    let pointer = context.ptr_type(AddressSpace::default());
    let index = context.i64_type();
    let signature = context.void_type().fn_type(&[pointer.into(), pointer.into(), pointer.into(), index.into()], false);
    let kernel = module.add_function("kernel", signature, None);
    for (key, value) in [("target-cpu", &cpu), ("target-features", &features)] {
        kernel.add_attribute(AttributeLoc::Function, context.create_string_attribute(key, value));
    }
    if matches!(machine, Machine::Half) {
        for key in ["prefer-vector-width", "min-legal-vector-width"] {
            kernel.add_attribute(AttributeLoc::Function, context.create_string_attribute(key, "256"));
        }
    }
    let builder = context.create_builder();
    let entry = context.append_basic_block(kernel, "entry");
    let body = context.append_basic_block(kernel, "body");
    let done = context.append_basic_block(kernel, "done");
    builder.position_at_end(entry);
    builder.build_unconditional_branch(body).unwrap();
    builder.position_at_end(body);
    let i = builder.build_phi(index, "i").unwrap();
    let at = i.as_basic_value().into_int_value();
    let pointers: Vec<_> = (0..3)
        .map(|k| {
            let base = kernel.get_nth_param(k).unwrap().into_pointer_value();
            // SAFETY: an address computation; the caller's slices hold a multiple of `lanes`.
            unsafe { builder.build_gep(element, base, &[at], "").unwrap() }
        })
        .collect();
    let alignment = u32::try_from(dtype.bytes()).unwrap();
    let loads: Vec<_> = pointers[..2]
        .iter()
        .map(|&pointer| {
            let load = builder.build_load(wide, pointer, "").unwrap();
            load.as_instruction_value().unwrap().set_alignment(alignment).unwrap();
            load
        })
        .collect();
    let value = match unary_op(function) {
        Some(op) => emit_unary(&context, &module, &builder, op, loads[0]).unwrap(),
        None => emit_pow(&context, &module, &builder, loads[0], loads[1]).unwrap(),
    };
    builder.build_store(pointers[2], value).unwrap().set_alignment(alignment).unwrap();
    let next = builder.build_int_add(at, index.const_int(u64::from(lanes), false), "").unwrap();
    let count = kernel.get_nth_param(3).unwrap().into_int_value();
    let more = builder.build_int_compare(IntPredicate::SLT, next, count, "").unwrap();
    i.add_incoming(&[(&index.const_zero(), entry), (&next, builder.get_insert_block().unwrap())]);
    builder.build_conditional_branch(more, body, done).unwrap();
    builder.position_at_end(done);
    builder.build_return(None).unwrap();
    module.verify().unwrap();

    let triple = TargetMachine::get_default_triple();
    let target_machine = Target::from_triple(&triple)
        .unwrap()
        .create_target_machine(
            &triple,
            &cpu,
            &features,
            OptimizationLevel::Aggressive,
            RelocMode::PIC,
            CodeModel::Default,
        )
        .unwrap();
    module.set_triple(&triple);
    module.set_data_layout(&target_machine.get_target_data().get_data_layout());
    module.run_passes("default<O3>", &target_machine, PassBuilderOptions::create()).unwrap();
    let text = module.print_to_string().to_string();
    assert!(!text.contains(&format!("call {} @moat.{}", wide.print_to_string(), function.name())), "{text}");

    let engine: ExecutionEngine<'_> = module.create_jit_execution_engine(OptimizationLevel::Aggressive).unwrap();
    let padded = x.len().next_multiple_of(lanes as usize);
    let pad = |values: &[T]| {
        let mut values = values.to_vec();
        values.resize(padded, T::default());
        values
    };
    let (x_padded, y_padded) = (pad(x), pad(y));
    let mut out = vec![T::default(); padded];
    let address = engine.get_function_address("kernel").unwrap();
    // SAFETY: the address is that of the function just compiled with this signature.
    let entry: Entry<T> = unsafe { std::mem::transmute(address) };
    // SAFETY: three arrays of `padded` elements, a multiple of `lanes`.
    unsafe { entry(x_padded.as_ptr(), y_padded.as_ptr(), out.as_mut_ptr(), i64::try_from(padded).unwrap()) };
    out.truncate(x.len());
    Some(out)
}

/// libm in f64.
fn libm(function: Function, x: f64, y: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Log => x.ln(),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tanh => x.tanh(),
        Function::Erf => erf(x),
        Function::Pow => x.powf(y),
    }
}

/// 2^exponent, down to the subnormal numbers.
fn power_of_two(exponent: i32) -> f64 {
    2.0f64.powi(exponent / 2) * 2.0f64.powi(exponent - exponent / 2)
}

/// Distance of `got` from `high + low` in units in the last place of a format; infinite if one is
/// NaN, infinite or a zero of the other sign where the other is not.
fn ulps(got: f64, high: f64, low: f64, dtype: DType) -> f64 {
    let (digits, least) = if dtype == DType::F32 { (23, -149) } else { (52, -1074) };
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the format is the meaning")]
    let rounded = if dtype == DType::F32 { f64::from(high as f32) } else { high };
    if got.is_nan() || rounded.is_nan() {
        return if got.is_nan() && rounded.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == rounded && (got.is_infinite() || got == 0.0) && got.is_sign_negative() == rounded.is_sign_negative() {
        return 0.0;
    }
    if got.is_infinite() || rounded.is_infinite() {
        return f64::INFINITY;
    }
    if got == 0.0 && rounded == 0.0 {
        return f64::INFINITY;
    }
    let biased = i32::try_from(high.abs().to_bits() >> 52).unwrap();
    let exponent = (biased.max(1) - 1023 - digits).max(least);
    // Scaled first, that the quotient of subnormal numbers be exact.
    ((got - high) - low).abs() * 2.0f64.powi(200)
        / (power_of_two(exponent.max(-900)) * 2.0f64.powi(200))
        / if exponent < -900 { power_of_two(exponent + 900) } else { 1.0 }
}

const SPECIAL: [f64; 34] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    -3.0,
    1.5,
    -1.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-320,
    -1e-320,
    1e-40,
    -1e-40,
    1e300,
    -1e300,
    3.4028234663852886e38,
    88.7228,
    -87.3365,
    -103.9,
    709.78,
    -745.1,
    1e5,
    131_072.0,
    -131_073.0,
    1_073_741_824.0,
    1e22,
    0.999_999_9,
    4_503_599_627_370_497.0,
];

/// All exponents: every `stride`-th bit pattern of f32.
fn every_f32(stride: usize) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "special values that f32 rounds are still wanted")]
    let special = SPECIAL.into_iter().map(|x| x as f32);
    (0..=u32::MAX).step_by(stride).map(f32::from_bits).chain(special).collect()
}

/// Points where the function is neither constant nor NaN.
fn interesting(function: Function, rng: &mut StdRng) -> (f64, f64) {
    let span = match function {
        Function::Exp => 750.0,
        Function::Log => 4.0,
        Function::Sin | Function::Cos => 2e4,
        Function::Tanh => 20.0,
        Function::Erf => 6.5,
        Function::Pow => 8.0,
    };
    let x = rng.random_range(-span..span);
    match function {
        Function::Exp | Function::Sin | Function::Cos | Function::Tanh | Function::Erf => {
            (if rng.random_bool(0.3) { x / 64.0 } else { x }, 0.0)
        }
        Function::Log => (x.abs(), 0.0),
        Function::Pow => (2.0f64.powf(x), rng.random_range(-130.0..130.0)),
    }
}

/// The worst error and where it is.
fn worst(errors: impl Iterator<Item = (f64, f64, f64)>) -> (f64, f64, f64) {
    errors.fold((0.0, 0.0, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst })
}

#[expect(clippy::cast_possible_truncation, reason = "f64 points are rounded to f32 points")]
fn check_f32(function: Function, lanes: u32, machine: Machine, stride: usize) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut x = every_f32(stride);
    let mut y: Vec<f32> = x.iter().map(|_| rng.random_range(-20.0..20.0)).collect();
    for _ in 0..x.len() {
        let (point, exponent) = interesting(function, &mut rng);
        x.push(point as f32);
        y.push(exponent as f32);
    }
    if function == Function::Pow {
        for a in SPECIAL {
            for b in SPECIAL {
                x.push(a as f32);
                y.push(b as f32);
            }
        }
    }
    let Some(got) = apply(function, DType::F32, lanes, machine, &x, &y) else { return };
    let (error, at_x, at_y) = worst(got.iter().zip(x.iter().zip(&y)).map(|(&got, (&x, &y))| {
        let exact = libm(function, f64::from(x), f64::from(y));
        (ulps(f64::from(got), exact, 0.0, DType::F32), f64::from(x), f64::from(y))
    }));
    println!("{} f32 x {lanes} {machine:?}: {error:.3} ulp at {at_x:e} {at_y:e} of {}", function.name(), x.len());
    let allowed = bound(function, DType::F32).unwrap();
    assert!(error <= allowed, "{} f32 x {lanes} {machine:?}: {error} ulp at {at_x:e}, {at_y:e}", function.name());
}

fn check_f64(function: Function, lanes: u32, machine: Machine, points: usize) {
    let mut rng = StdRng::seed_from_u64(2);
    let (mut x, mut y, mut exact) = (Vec::new(), Vec::new(), Vec::new());
    let bits = |text: &str| f64::from_bits(u64::from_str_radix(text, 16).unwrap());
    for line in include_str!("vector_math_support/reference_f64.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[0] == function.name() {
            x.push(bits(fields[1]));
            y.push(bits(fields[2]));
            exact.push((bits(fields[3]), bits(fields[4]), 0.0));
        }
    }
    let mut push = |a: f64, b: f64| {
        x.push(a);
        y.push(b);
        exact.push((libm(function, a, b), 0.0, 1.0));
    };
    for _ in 0..points {
        push(f64::from_bits(rng.random()), rng.random_range(-20.0..20.0));
    }
    // Apart from the others: one huge lane sends its whole vector of sines to libm.
    for _ in 0..points {
        let (a, b) = interesting(function, &mut rng);
        push(a, b);
    }
    for a in SPECIAL {
        for b in SPECIAL {
            push(a, b);
        }
    }
    let Some(got) = apply(function, DType::F64, lanes, machine, &x, &y) else { return };
    let all = got.iter().zip(&exact).zip(x.iter().zip(&y));
    for precise in [true, false] {
        let (error, at_x, at_y) = worst(
            all.clone()
                .filter(|((_, (_, _, allowance)), _)| (*allowance == 0.0) == precise)
                .map(|((&got, &(high, low, _)), (&x, &y))| (ulps(got, high, low, DType::F64), x, y)),
        );
        println!(
            "{} f64 x {lanes} {machine:?} {}: {error:.3} ulp at {at_x:e} {at_y:e}",
            function.name(),
            if precise { "reference" } else { "libm" },
        );
        // What glibc's manual states of itself on x86-64.
        let of_libm = if function == Function::Tanh { 2.0 } else { 1.0 };
        let allowed = bound(function, DType::F64).unwrap() + if precise { 0.0 } else { of_libm };
        assert!(error <= allowed, "{} f64 x {lanes} {machine:?}: {error} ulp at {at_x:e}, {at_y:e}", function.name());
    }
}

fn check(function: Function) {
    for (lanes, machine, stride) in [
        (16, Machine::Host, 1009),
        (1, Machine::Host, 100_003),
        (4, Machine::Host, 100_003),
        (8, Machine::Host, 100_003),
        (32, Machine::Host, 100_003),
        (3, Machine::Host, 1_000_003),
        (16, Machine::Half, 100_003),
        (8, Machine::Avx2, 10_007),
        (1, Machine::Avx2, 100_003),
        (4, Machine::Baseline, 1_000_003),
    ] {
        check_f32(function, lanes, machine, stride);
    }
    for (lanes, machine, points) in [
        (8, Machine::Host, 500_000),
        (1, Machine::Host, 20_000),
        (2, Machine::Host, 20_000),
        (4, Machine::Host, 20_000),
        (16, Machine::Host, 20_000),
        (8, Machine::Half, 20_000),
        (4, Machine::Avx2, 200_000),
        (1, Machine::Avx2, 20_000),
        (2, Machine::Baseline, 10_000),
    ] {
        check_f64(function, lanes, machine, points);
    }
}

#[test]
fn exp_is_within_its_bound() {
    check(Function::Exp);
}

#[test]
fn log_is_within_its_bound() {
    check(Function::Log);
}

#[test]
fn sin_is_within_its_bound() {
    check(Function::Sin);
}

#[test]
fn cos_is_within_its_bound() {
    check(Function::Cos);
}

#[test]
fn tanh_is_within_its_bound() {
    check(Function::Tanh);
}

#[test]
fn erf_is_within_its_bound() {
    check(Function::Erf);
}

#[test]
fn pow_is_within_its_bound() {
    check(Function::Pow);
}

#[test]
fn other_operators_and_types_are_refused() {
    let context = Context::create();
    let module = context.create_module("refused");
    let f32_type = context.f32_type();
    let i32_type = context.i32_type();
    let kernel = module.add_function("kernel", f32_type.fn_type(&[f32_type.into(), i32_type.into()], false), None);
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(kernel, "entry"));
    let (float, int) = (kernel.get_nth_param(0).unwrap(), kernel.get_nth_param(1).unwrap());
    let refused = emit_unary(&context, &module, &builder, UnaryOp::Sqrt, float).unwrap_err();
    assert_eq!(refused.to_string(), "`sqrt` is no vector math function");
    let refused = emit_unary(&context, &module, &builder, UnaryOp::Exp, int).unwrap_err();
    assert_eq!(refused.to_string(), "`exp` exists for f32 and f64 and vectors of them, not for \"i32\"");
    let refused = emit_pow(&context, &module, &builder, float, int).unwrap_err();
    assert_eq!(refused.to_string(), "`pow` exists for f32 and f64 and vectors of them, not for \"i32\"");
}
