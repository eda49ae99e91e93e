//! The plain kernel that stands in where the interpreter would run for hours, against the interpreter; and where the
//! interpreter's bound says nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::Program;
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_tests::pipeline::forms;
use moat_tests::random_loops::random_source;
use moat_tuner::reference::{interpreted, plain};

/// Programs that are too long for the interpreter at their real extents, small.
const PROGRAMS: [&str; 3] = [
    "def f(A: f64[9, 9], B: f64[9, 9]):
    for t in range(5):
        B[1:-1, 1:-1] = 0.2 * (A[:-2, 1:-1] + A[2:, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[1:-1, 1:-1])
        A[1:-1, 1:-1] = B[1:-1, 1:-1]
    return A
",
    "def f(A: f32[8, 8], b: f32[8]):
    x = np.zeros_like(b)
    for i in range(8):
        x[i] = (b[i] - A[i, :i] @ x[:i]) * 0.5
    return x
",
    "def f(A: i64[7, 7]):
    for k in range(7):
        A[:, :] = np.minimum(A, A[:, k, None] + A[None, k, :])
    return A
",
];

fn with_header(text: &str) -> String {
    format!("from __future__ import annotations\nimport numpy as np\n\n{text}")
}

fn program(source: &str) -> Program {
    let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
    parse("reference.py", source, &options).unwrap().program
}

fn arguments(program: &Program) -> Vec<Tensor> {
    program.params.iter().zip(0..).map(|(param, at)| inputs::random(param, at).unwrap()).collect()
}

#[test]
fn the_plain_kernel_is_within_both_bounds_of_the_interpreter() {
    let rules = RuleBase::standard().unwrap();
    let target = host_target();
    let handwritten = PROGRAMS.iter().map(|text| with_header(text));
    let sources: Vec<String> = handwritten.chain((0..12).map(|seed| random_source(seed, 5))).collect();
    let mut exact = 0;
    for source in &sources {
        let program = program(source);
        let arguments = arguments(&program);
        let form = forms(&program, &rules, Numerics::Exact, 1).unwrap().remove(0).form;
        let interpreted = interpret(&program, &arguments, Numerics::Exact).unwrap();
        let stand_in = plain(&program, &form, &arguments, &target).unwrap();
        assert_eq!(interpreted.len(), stand_in.len());
        for (interpreted, plain) in interpreted.iter().zip(&stand_in) {
            interpreted.check(&plain.value).unwrap_or_else(|mismatch| panic!("{source}\n{mismatch}"));
            // And what is right by the interpreter is right by the stand-in, while a wrong element is not.
            plain.check(&interpreted.value).unwrap_or_else(|mismatch| panic!("{source}\n{mismatch}"));
            let mut wrong = interpreted.value.clone();
            let largest = (0..wrong.len()).map(|at| wrong.get_f64(at).abs()).fold(0.0, f64::max);
            if plain.bound.is_empty() {
                exact += 1;
                let first = wrong.get_i64(0).unwrap();
                wrong.set(0, Literal::Int(first + 1));
            } else {
                let value = wrong.get_f64(0) + (largest + 1.0) * 0.01;
                wrong.set(0, Literal::float(value));
            }
            assert!(plain.check(&wrong).is_err(), "{source}\na wrong element is within the bound");
        }
    }
    assert!(exact > 3, "{exact} results are integers");
}

/// A stable recurrence whose first-order bound grows with every step, and an unstable one.
#[test]
fn a_bound_that_says_nothing_gives_way_to_what_roundings_do() {
    let rules = RuleBase::standard().unwrap();
    let target = host_target();
    let source_form = |program: &Program| forms(program, &rules, Numerics::Exact, 1).unwrap().remove(0).form;
    for dtype in ["f32", "f64"] {
        let stable = program(&with_header(&format!(
            "def f(x: {dtype}[600]):
    y = np.zeros_like(x)
    for i in range(2, 600):
        y[i] = 1.9 * y[i - 1] - 0.95 * y[i - 2] + x[i]
    return y
"
        )));
        let given = arguments(&stable);
        let first_order = interpret(&stable, &given, Numerics::Reassociate).unwrap().remove(0);
        let form = source_form(&stable);
        let reference = interpreted(&stable, &form, &given, Numerics::Reassociate, &target).unwrap().remove(0);
        // The bound passes the largest element near the 45th.
        for at in [50, 70, 599] {
            let mut wrong = first_order.value.clone();
            wrong.set(at, Literal::float(wrong.get_f64(at) * 1.02));
            assert!(first_order.check(&wrong).is_ok(), "{dtype}: the first-order bound says something of element {at}");
            assert!(reference.check(&wrong).is_err(), "{dtype}: a wrong element {at} is within the bound");
        }
        let kernel = plain(&stable, &form, &given, &target).unwrap().remove(0).value;
        let fraction = reference.check(&kernel).unwrap_or_else(|mismatch| panic!("{dtype}: {mismatch}"));
        assert!(fraction < 0.1, "{dtype}: the plain kernel has {fraction} of the bound");
        assert_eq!(first_order.bound[..9], reference.bound[..9], "{dtype}: a bound that says something stays");

        let unstable = program(&with_header(&format!(
            "def f(x: {dtype}[4]):
    for i in range(200):
        x[:] = 3.9 * x * (1.0 - x)
    return x
"
        )));
        let constant = program(&with_header(&format!(
            "def f(x: {dtype}[4]):
    y = np.full(4, 0.3, dtype=x.dtype)
    for i in range(200):
        y[:] = 3.9 * y * (1.0 - y)
    return y + x * 0.0
"
        )));
        let given = arguments(&constant);
        let reference =
            interpreted(&constant, &source_form(&constant), &given, Numerics::Reassociate, &target).unwrap().remove(0);
        let mut other = reference.value.clone();
        other.set(1, Literal::float(0.5));
        reference.check(&other).unwrap_or_else(|mismatch| panic!("{dtype}: what no input moves: {mismatch}"));

        let mut given = arguments(&unstable);
        let form = source_form(&unstable);
        let reference = interpreted(&unstable, &form, &given, Numerics::Reassociate, &target).unwrap().remove(0);
        for input in &mut given {
            (0..input.len()).for_each(|at| input.set(at, Literal::float(input.get_f64(at) * (1.0 + 1e-7))));
        }
        let other = plain(&unstable, &form, &given, &target).unwrap().remove(0).value;
        reference.check(&other).unwrap_or_else(|mismatch| panic!("{dtype}: {mismatch}"));
    }
}

/// Where a divisor may be 0, an infinite bound let any number pass.
#[test]
fn a_quotient_by_what_may_be_zero_is_held_to_what_roundings_do() {
    let rules = RuleBase::standard().unwrap();
    let target = host_target();
    let program = program(&with_header(
        "def f(x: f64[40], y: f64[40]):
    return 1.0 / ((x + y) * (x + y) - (x * x + 2.0 * x * y + y * y) + 1e-15 * (1.0 + x))
",
    ));
    let given = arguments(&program);
    let form = forms(&program, &rules, Numerics::Exact, 1).unwrap().remove(0).form;
    let first_order = interpret(&program, &given, Numerics::Reassociate).unwrap().remove(0);
    let reference = interpreted(&program, &form, &given, Numerics::Reassociate, &target).unwrap().remove(0);
    let kernel = plain(&program, &form, &given, &target).unwrap().remove(0).value;
    reference.check(&kernel).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let unbounded: Vec<usize> = (0..40).filter(|&at| first_order.bound[at] == f64::INFINITY).collect();
    assert!(!unbounded.is_empty());
    for at in unbounded {
        for wrong in [f64::NAN, 1e200] {
            let mut found = kernel.clone();
            found.set(at, Literal::float(wrong));
            assert!(reference.check(&found).is_err(), "{wrong} at {at}");
        }
    }
}
