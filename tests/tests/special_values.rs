//! Compiled kernels against NumPy on NaN, infinities, zeros of both signs, subnormal, least and largest numbers, by what
//! each numerics mode promises.
//!
//! Every function stands for itself and as a part of a program of several; the arrays have more elements than whole vectors,
//! so that bodies, tails and scalars are all met.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use moat_codegen::host_target;
use moat_codegen::vector_math::{Function, bound};
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::inputs::{Density, SplitMix64};
use moat_optimizer::program::expr::Program;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::kernels::program;
use moat_tests::pipeline::forms;
use moat_tests::python::{SourceCase, run_sources};
use moat_tests::seeded::Seeded;

const ALL: [Numerics; 3] = [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic];

/// How a result must agree with NumPy's where that is a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreement {
    /// The same number under every numerics, zeros with their sign under `exact`.
    Bits,
    /// The same number; the sign of a zero is not promised.
    Number,
    /// Within the bound of a function and NumPy's own error.
    Function(Function),
    /// A quotient: half an ulp under `exact`, otherwise that of a product with the reciprocal.
    Quotient,
}

/// An expression over `x` and `y` of a float type, and `k`, which has numbers only.
const ELEMENTWISE: [(&str, Agreement); 42] = [
    ("x + y", Agreement::Bits),
    ("x - y", Agreement::Bits),
    ("x * y", Agreement::Bits),
    ("x / y", Agreement::Bits),
    ("x / 7.0", Agreement::Quotient),
    ("x / 8.0", Agreement::Bits),
    ("7.0 / x", Agreement::Bits),
    ("x * 0", Agreement::Bits),
    ("0.0 * x", Agreement::Bits),
    ("x * 1", Agreement::Bits),
    ("x + 0.0", Agreement::Bits),
    ("x - 0.0", Agreement::Bits),
    ("0.0 - x", Agreement::Bits),
    ("x - x", Agreement::Bits),
    ("x / x", Agreement::Bits),
    ("x * np.where(np.arange(67) < 40, 0.0, 1.0)", Agreement::Bits),
    ("np.where(np.arange(67) < 40, x, 0.0) * y", Agreement::Bits),
    ("x * (np.arange(67) < 40)", Agreement::Bits),
    ("x * np.zeros(67)", Agreement::Bits),
    ("-x", Agreement::Bits),
    ("abs(x)", Agreement::Bits),
    ("np.sqrt(x)", Agreement::Bits),
    ("np.square(x)", Agreement::Bits),
    ("np.reciprocal(x)", Agreement::Bits),
    ("np.sign(x)", Agreement::Bits),
    ("np.floor(x)", Agreement::Bits),
    ("np.ceil(x)", Agreement::Bits),
    ("x // y", Agreement::Bits),
    ("x % y", Agreement::Bits),
    ("np.where(x < y, x, y)", Agreement::Bits),
    ("np.minimum(x, y)", Agreement::Number),
    ("np.maximum(x, y)", Agreement::Number),
    ("np.clip(x, -0.5, 0.5)", Agreement::Number),
    ("np.maximum(np.minimum(x, y), 0.0)", Agreement::Number),
    ("np.exp(x)", Agreement::Function(Function::Exp)),
    ("np.log(x)", Agreement::Function(Function::Log)),
    ("np.sin(x)", Agreement::Function(Function::Sin)),
    ("np.cos(x)", Agreement::Function(Function::Cos)),
    ("np.tanh(x)", Agreement::Function(Function::Tanh)),
    ("x ** y", Agreement::Function(Function::Pow)),
    ("x ** 2", Agreement::Bits),
    ("x ** 0.5", Agreement::Function(Function::Pow)),
];

/// Comparisons and tests, whose results are bools or integers and equal in every mode.
const DECISIONS: [&str; 16] = [
    "x < y",
    "x <= y",
    "x > y",
    "x >= y",
    "x == y",
    "x != y",
    "x == x",
    "~(x < y)",
    "np.isnan(x)",
    "np.isinf(x)",
    "np.isfinite(x)",
    "x.astype(bool)",
    "np.argmax(x)",
    "np.argmin(x)",
    "np.logical_and(x, y)",
    "(k * 49.0).astype(np.int64)",
];

/// Reductions and contractions of small whole numbers, so that every order gives the same number.
const FOLDS: [&str; 22] = [
    "x.sum()",
    "A.sum(axis=0)",
    "A.sum(axis=1)",
    "x.max()",
    "x.min()",
    "A.max(axis=0)",
    "A.min(axis=1)",
    "A @ B",
    "A.T @ A",
    "A @ x[:19]",
    "x @ y",
    "(A @ B) @ y[:19]",
    "np.einsum('ij,ij->i', A, B)",
    "A * np.eye(19)",
    "A @ np.eye(19)",
    "A @ np.zeros((19, 2))",
    "(A * (np.arange(19)[:, None] > np.arange(19))) @ B",
    "np.tril(A) + np.triu(B, 1)",
    "np.tril(A @ B)",
    "np.cumsum(x)",
    "(2.0 * A).sum(axis=0)",
    "(A[:, None, :] + B[None, :, :]).min(axis=2)",
];

/// The parameters of all of these.
fn parameters(dtype: &str) -> String {
    format!(
        "x: {dtype}[67], y: {dtype}[67], A: {dtype}[19, 19], B: {dtype}[19, 19], k: Annotated[{dtype}[67], Range(0.0, 1000.0)]"
    )
}

fn source(dtype: &str, expressions: &[&str]) -> String {
    let results: Vec<String> = expressions
        .iter()
        // A constant of f64 does not make an f32 program one of f64.
        .map(|text| {
            text.replace("np.zeros(67)", "np.zeros(67, x.dtype)").replace("np.eye(19)", "np.eye(19, dtype=x.dtype)")
        })
        .map(|text| text.replace("np.zeros((19, 2))", "np.zeros((19, 2), x.dtype)"))
        .map(|text| format!("        {text},\n"))
        .collect();
    format!(
        "from __future__ import annotations\nimport numpy as np\nfrom typing import Annotated\n\n\ndef f({}):\n    return (\n{}    )\n",
        parameters(dtype),
        results.concat()
    )
}

/// Arguments with special values; `whole`: otherwise small whole numbers, and none so large that it overflows a sum.
fn arguments(program: &Program, seed: u64, density: Density, whole: bool) -> Vec<Tensor> {
    let mut stream = SplitMix64::new(seed);
    let mut given = Vec::new();
    for param in &program.params {
        let mut tensor = inputs::special(param, seed, density).unwrap();
        for at in 0..tensor.len() {
            let x = tensor.get_f64(at);
            if !whole || !x.is_finite() || param.name == "k" {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let small = stream.next_below(9) as f64 - 4.0;
            tensor.set(at, Literal::float(if x == 0.0 { x } else { small }));
        }
        given.push(tensor);
    }
    given
}

/// Runs every form of a program under its default schedule and a drawn one.
fn kernels(program: &Program, numerics: Numerics, sets: &[Vec<Tensor>], each: &mut dyn FnMut(usize, &[Tensor], &str)) {
    let target = host_target();
    let rules = RuleBase::standard().unwrap();
    let mut choose = Seeded::new(3);
    for (number, form) in forms(program, &rules, numerics, 2).unwrap().into_iter().enumerate() {
        let space = ScheduleSpace::new(&form.form, &target, &ScheduleRules::standard(), numerics, 1).unwrap();
        for schedule in [space.default(), space.sample(&mut choose)] {
            let nest = apply(&form.form, &schedule).unwrap();
            let options = CompileOptions { target: target.clone(), numerics, threads: 1, function: "f".to_owned() };
            let kernel = CompiledNest::load(&nest, &options).unwrap();
            for (set, inputs) in sets.iter().enumerate() {
                let results = program.results();
                let poison = |&root: &usize| Tensor::poison(program.nodes[root].dtype, &program.nodes[root].shape);
                let mut found: Vec<Tensor> = results.iter().map(poison).collect();
                kernel.call(&inputs.iter().collect::<Vec<_>>(), &mut found, &mut Workspace::new()).unwrap();
                each(set, &found, &format!("form {number}, {:?}", form.derivation.rules));
            }
        }
    }
}

/// Units in the last place between two finite numbers of a type.
fn ulps(got: f64, expected: f64, dtype: DType) -> f64 {
    let (digits, least) = if dtype == DType::F32 { (23, -149) } else { (52, -1074) };
    let exponent = if expected == 0.0 { least } else { (expected.abs().log2().floor() as i32 - digits).max(least) };
    (got - expected).abs() / 2f64.powi(exponent.max(-1000)) / 2f64.powi(exponent.min(-1000) + 1000)
}

/// What is wrong with an element, if something is.
fn fault(got: f64, expected: f64, dtype: DType, agreement: Agreement, numerics: Numerics) -> Option<&'static str> {
    let exact = numerics == Numerics::Exact;
    if !expected.is_finite() {
        let same = got == expected || got.is_nan() && expected.is_nan();
        return match numerics {
            Numerics::Exact => (!same).then_some("is another one of NaN and the infinities"),
            Numerics::Reassociate => got.is_finite().then_some("is a number where NumPy has none"),
            Numerics::Algebraic => None,
        };
    }
    if got.is_nan() {
        return Some("is NaN where NumPy has a number");
    }
    let allowed = match agreement {
        Agreement::Bits if exact && got == 0.0 && expected == 0.0 => {
            return (got.is_sign_negative() != expected.is_sign_negative()).then_some("is a zero of the other sign");
        }
        Agreement::Bits | Agreement::Number => 0.0,
        Agreement::Quotient if exact => 0.0,
        Agreement::Quotient => 1.5,
        // NumPy's functions are within 4 ulp.
        Agreement::Function(function) => bound(function, dtype).unwrap() + 4.0,
    };
    if got == expected {
        return None;
    }
    // One rounding decides about overflow.
    let edge = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    if got.is_infinite() {
        let near = expected.abs() >= 0.999 * edge && allowed > 0.0;
        return (!near).then_some("is an infinity where NumPy has a number");
    }
    (ulps(got, expected, dtype) > allowed).then_some("is another number")
}

/// A result by name and how it must agree.
type Wanted<'a> = (&'a str, Agreement);

/// Every result of a program is what NumPy gives, as far as the numerics promise; what is not is added to `faults`.
fn check(dtype: &str, text: &str, wanted: &[Wanted<'_>], whole: bool, faults: &mut Vec<String>) {
    let program = program(text);
    let sets: Vec<Vec<Tensor>> = (1..6)
        .flat_map(|seed| [(seed, Density::Many), (seed, Density::Few)])
        .map(|(seed, density)| arguments(&program, seed, density, whole))
        .collect();
    let case = |inputs| SourceCase { source: text, lets: vec![], program: &program, inputs };
    let cases: Vec<SourceCase<'_>> = sets.iter().map(|inputs| case(inputs.as_slice())).collect();
    let expected: Vec<Vec<Tensor>> = run_sources(&cases).into_iter().map(|outcome| outcome.unwrap()).collect();
    for numerics in ALL {
        kernels(&program, numerics, &sets, &mut |set, found, what| {
            for ((name, agreement), (found, expected)) in wanted.iter().zip(found.iter().zip(&expected[set])) {
                let wrong = (0..found.len()).find_map(|at| {
                    let (got, right) = (found.get_f64(at), expected.get_f64(at));
                    let fault = fault(got, right, found.dtype, *agreement, numerics)?;
                    let given: Vec<String> = program
                        .params
                        .iter()
                        .zip(&sets[set])
                        .filter(|(param, _)| param.shape == found.shape)
                        .map(|(param, input)| format!("{} = {:e}", param.name, input.get_f64(at)))
                        .collect();
                    Some(format!("element {at} {fault}: {got:e}, NumPy {right:e}; {}", given.join(", ")))
                });
                let label = format!("{dtype} {numerics}: {name}:");
                if let Some(wrong) = wrong
                    && !faults.iter().any(|fault| fault.starts_with(&label))
                {
                    faults.push(format!("{label} {wrong} ({what})"));
                }
            }
        });
    }
}

/// [`check`] of one program of several expressions.
fn agree(expressions: &[Wanted<'_>], whole: bool) {
    let mut faults: Vec<String> = Vec::new();
    let texts: Vec<&str> = expressions.iter().map(|expression| expression.0).collect();
    for dtype in ["f32", "f64"] {
        check(dtype, &source(dtype, &texts), expressions, whole, &mut faults);
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Statements on `x`, `y`, `A` and `B`, of which `x` and `A` are then returned.
const LOOPS: [&str; 9] = [
    "for i in range(1, 67): x[i] = x[i - 1] + x[i]",
    "for t in range(3): x[1:-1] = x[:-2] + x[1:-1] + x[2:]",
    // What is not read has no say.
    "for i in range(1, 19): x[i] = A[i, :i] @ y[:i]",
    "for i in range(18): x[i] = (A[i, i + 1:] * B[i, i + 1:]).sum()",
    "for k in range(19): A[k, k:] = A[k, k:] - B[k, k] * A[0, k:]",
    "for i in range(66, 0, -1): x[i - 1] = np.maximum(x[i], x[i - 1])",
    "for k in range(19): A[:, k] = np.where(A[:, k] > B[:, k], A[:, k], 0.0)",
    "for k in range(19):\n        if k > 4:\n            A[k] = B[k] + A[k]",
    "for t in range(2):\n        for i in range(1, 18): A[i, 1:-1] = A[i - 1, 1:-1] + A[i, 1:-1] + A[i + 1, 1:-1]",
];

#[test]
fn elementwise_functions_keep_the_promises() {
    for chunk in ELEMENTWISE.chunks(14) {
        agree(chunk, false);
    }
}

#[test]
fn decisions_are_the_same_in_every_mode() {
    agree(&DECISIONS.map(|text| (text, Agreement::Bits)), false);
}

#[test]
fn folds_of_special_values_keep_the_promises() {
    for chunk in FOLDS.map(|text| (text, Agreement::Number)).chunks(11) {
        agree(chunk, true);
    }
}

#[test]
fn loops_over_special_values_keep_the_promises() {
    let mut faults: Vec<String> = Vec::new();
    for statements in LOOPS {
        for dtype in ["f32", "f64"] {
            let text = format!(
                "from __future__ import annotations\nimport numpy as np\n\n\n\
                 def f(x: {dtype}[67], y: {dtype}[67], A: {dtype}[19, 19], B: {dtype}[19, 19]):\n    {statements}\n    \
                 return x.copy(), A.copy()\n"
            );
            let wanted = [(statements, Agreement::Number), (statements, Agreement::Number)];
            check(dtype, &text, &wanted, true, &mut faults);
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
