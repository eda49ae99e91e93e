//! The plain kernel that stands in where the interpreter would run for hours, against the interpreter.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::inputs;
use moat_optimizer::interpret::interpret;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::tensor::Tensor;
use moat_rules::RuleBase;
use moat_tests::random_loops::random_source;
use moat_tuner::candidates::forms;
use moat_tuner::machine;
use moat_tuner::reference::plain;

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

#[test]
fn the_plain_kernel_is_within_both_bounds_of_the_interpreter() {
    let rules = RuleBase::standard().unwrap();
    let target = machine::detect();
    let handwritten =
        PROGRAMS.iter().map(|text| format!("from __future__ import annotations\nimport numpy as np\n\n{text}"));
    let sources: Vec<String> = handwritten.chain((0..12).map(|seed| random_source(seed, 5))).collect();
    let mut exact = 0;
    for source in &sources {
        let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
        let program = parse("reference.py", source, &options).unwrap().program;
        let arguments: Vec<Tensor> =
            program.params.iter().zip(0..).map(|(param, at)| inputs::random(param, at).unwrap()).collect();
        let form = forms(&program, &rules, Numerics::Exact, 1).unwrap().remove(0).normal_form;
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
                wrong.set(0, moat_optimizer::dtype::Literal::Int(first + 1));
            } else {
                let value = wrong.get_f64(0) + (largest + 1.0) * 0.01;
                wrong.set(0, moat_optimizer::dtype::Literal::float(value));
            }
            assert!(plain.check(&wrong).is_err(), "{source}\na wrong element is within the bound");
        }
    }
    assert!(exact > 3, "{exact} results are integers");
}
