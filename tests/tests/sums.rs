//! Sums of floats: bit for bit NumPy's under exact numerics, and never through more additions than NumPy's otherwise.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::Program;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::pairwise::depth;
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::kernels::{arguments, program};
use moat_tests::pipeline::forms;
use moat_tests::python::{SourceCase, run_sources};
use moat_tests::seeded::Seeded;

/// A workload around `body`.
fn source(parameters: &str, body: &str) -> String {
    format!("from __future__ import annotations\nimport numpy as np\n\ndef f({parameters}):\n    {body}\n")
}

/// Compiles up to `most` forms of a program under the default schedule and `samples` that are drawn, and runs each.
fn run(
    program: &Program,
    inputs: &[Tensor],
    numerics: Numerics,
    (most, samples): (usize, usize),
    each: &mut dyn FnMut(Vec<Tensor>),
) {
    let (rules, target) = (RuleBase::standard().unwrap(), host_target());
    let mut choose = Seeded::new(5);
    for form in forms(program, &rules, numerics, most).unwrap() {
        let space = ScheduleSpace::new(&form.form, &target, &ScheduleRules::standard(), numerics, 1).unwrap();
        let drawn: Vec<_> = (0..samples).map(|_| space.sample(&mut choose)).collect();
        for schedule in std::iter::once(space.default()).chain(drawn) {
            let nest = apply(&form.form, &schedule).unwrap();
            let options = CompileOptions { target: target.clone(), numerics, threads: 1, function: "sums".to_owned() };
            let kernel = CompiledNest::load(&nest, &options).unwrap();
            let of = |&root: &usize| Tensor::poison(program.nodes[root].dtype, &program.nodes[root].shape);
            let mut found: Vec<Tensor> = program.results().iter().map(of).collect();
            kernel.call(&inputs.iter().collect::<Vec<_>>(), &mut found, &mut Workspace::new()).unwrap();
            each(found);
        }
    }
}

/// The bits of an array of floats.
fn bits(tensor: &Tensor) -> Vec<u64> {
    (0..tensor.len()).map(|at| tensor.get_f64(at).to_bits()).collect()
}

/// The interpreter and the kernels give NumPy's very bits.
fn equal_bits(sources: &[String]) {
    let programs: Vec<Program> = sources.iter().map(|source| program(source)).collect();
    let inputs: Vec<Vec<Tensor>> = (1..).zip(&programs).map(|(seed, program)| arguments(program, seed)).collect();
    let cases: Vec<SourceCase<'_>> = sources
        .iter()
        .zip(programs.iter().zip(&inputs))
        .map(|(source, (program, inputs))| SourceCase { source, lets: vec![], program, inputs })
        .collect();
    for (case, outcome) in cases.iter().zip(run_sources(&cases)) {
        let expected = outcome.unwrap_or_else(|error| panic!("{error}\n{}", case.source));
        let references = interpret(case.program, case.inputs, Numerics::Exact).unwrap();
        for (at, (reference, expected)) in references.iter().zip(&expected).enumerate() {
            assert_eq!(bits(&reference.value), bits(expected), "interpreted, result {at}\n{}", case.source);
        }
        run(case.program, case.inputs, Numerics::Exact, (2, 1), &mut |found| {
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(bits(found), bits(expected), "compiled, result {at}\n{}", case.source);
            }
        });
    }
}

/// Lengths around those at which NumPy's order changes.
const LENGTHS: [usize; 14] = [0, 1, 2, 7, 8, 9, 15, 127, 128, 129, 257, 1000, 1025, 4099];

#[test]
fn exact_sums_of_one_axis_are_numpys() {
    let mut sources = Vec::new();
    for dtype in ["f32", "f64"] {
        for n in LENGTHS {
            let mut body = "return x.sum(), (x * x).sum(), x[::-1].sum(), x[::3].sum(keepdims=True)".to_owned();
            if n > 0 {
                body.push_str(", x.mean(), np.var(x), np.mean(np.sqrt(x))");
            }
            sources.push(source(&format!("x: {dtype}[{n}]"), &body));
        }
    }
    equal_bits(&sources);
}

/// Arrays of NumPy's lie in memory in many ways, and its sums follow them.
#[test]
fn exact_sums_of_two_axes_are_numpys() {
    let arrays = ["x", "x.T", "x[::-1, ::-1]", "x[::2, 1:]", "x[:, ::3].T", "x * 3.0", "x.T * 3.0", "x[:, :1] * x"];
    let mut sources = Vec::new();
    for (dtype, (rows, columns)) in ["f32", "f64"]
        .into_iter()
        .flat_map(|dtype| [(9, 130), (130, 9), (33, 41), (3, 1025)].map(|shape| (dtype, shape)))
    {
        for array in arrays {
            let body = format!(
                "a = {array}\n    return a.sum(), a.sum(0), a.sum(1), a.mean(1, keepdims=True), a.sum(axis=(1, 0))"
            );
            sources.push(source(&format!("x: {dtype}[{rows}, {columns}]"), &body));
        }
    }
    sources.push(source("x: f32[0, 5]", "return x.sum(0), x.sum(1), x.sum()"));
    sources.push(source("x: f32[5, 0]", "return x.sum(0), x.sum(1), x.sum()"));
    sources.push(source("x: f64[40, 40]", "return np.trace(x), np.trace(x, 1), np.trace(x + x.T, -3)"));
    equal_bits(&sources);
}

#[test]
fn exact_sums_of_three_axes_are_numpys() {
    let arrays = ["x", "x.transpose(2, 0, 1)", "x.transpose(1, 2, 0)[:, ::-1]", "x[:, ::2]", "x.swapaxes(0, 2) + 1.0"];
    let axes = ["0", "1", "2", "(0, 1)", "(0, 2)", "(1, 2)", "(0, 1, 2)"];
    let mut sources = Vec::new();
    for array in arrays {
        for three in axes.chunks(4) {
            let sums: Vec<String> = three.iter().map(|axes| format!("a.sum({axes})")).collect();
            sources.push(source("x: f32[6, 18, 13]", &format!("a = {array}\n    return {}", sums.join(", "))));
        }
    }
    equal_bits(&sources);
}

/// A slice whose length changes in a loop is summed by its own length.
/// Arrays that are filled or copied lie in memory as NumPy lays them out, and a sum of one term adds to 0.
#[test]
fn exact_sums_of_new_arrays_are_numpys() {
    let arrays = [
        "np.full((7, 13, 2), 1e-2, dtype=np.float32)",
        "np.full_like(x.T, 1e-2)",
        "x.T.copy()",
        "np.copy(x.T)",
        "np.ascontiguousarray(x.T)",
        "np.ascontiguousarray(x.T) * np.ones((2, 13, 7), dtype=np.float32)",
        "x * 0.1 + np.full((7, 13, 2), 1e-2, dtype=np.float32)",
        "-(x[:1, :1, :1] * 0.0)",
    ];
    let sums = ["(0, 2)", "(1, 2)", "(0, 1)", "0", "1", "2", "None"];
    let sources: Vec<String> = arrays
        .iter()
        .map(|array| {
            let of = |axes: &&str| format!("np.moveaxis(a, 0, -1).sum(axis={axes}), a.sum(axis={axes})");
            let body = format!("a = {array}; return {}", sums.iter().map(of).collect::<Vec<_>>().join(", "));
            source("x: f32[7, 13, 2]", &body)
        })
        .collect();
    equal_bits(&sources);
}

#[test]
fn exact_sums_in_loops_are_numpys() {
    let sources = [
        "s = np.zeros(150)\n    for i in range(150):\n        s[i] = x[:i].sum()\n    return s",
        "s = np.zeros(150)\n    for i in range(150):\n        s[i] = (x[:i] * x[150 - i:]).sum()\n    return s",
        "s = np.zeros(150)\n    for i in range(150):\n        s[i] = np.where(x > 0.5, x, 0.0).sum() + i\n    return s",
        "s = 0.0\n    for i in range(150):\n        s += x[i]\n    return s",
        "s = np.zeros((20, 12))\n    for i in range(1, 12):\n        s[:, i] = y[:, :i].sum(1) + y[:i].sum(0).sum()\n    return s",
    ];
    equal_bits(&sources.map(|body| source("x: f64[150], y: f64[20, 12]", body)));
}

/// In f32, adding 1 to 2²⁴ changes nothing: of a sum with one such term and ones besides, each addition on that term's way
/// loses 1 at most. So what is lost is how many there were.
const BIG: f32 = 16_777_216.0;

#[test]
fn no_term_goes_through_more_additions_than_numpys() {
    for n in [2usize, 7, 8, 9, 12, 16, 31, 63, 64, 65, 100, 128, 129, 136, 500, 1000, 1025, 4096, 5003, 70_000] {
        for body in ["x.sum()", "(x * y).sum()", "np.mean(np.abs(x)) * n"] {
            let body = body.replace("* n", &format!("* {n}.0"));
            let is_mean = body.contains("mean");
            if is_mean && !n.is_power_of_two() {
                continue;
            }
            let program = program(&source(&format!("x: f32[{n}], y: f32[{n}]"), &format!("return {body}")));
            for at in [0, n / 3, n - 1] {
                let mut values = vec![1.0f32; n];
                values[at] = BIG;
                let ones = Tensor::new(&[n], Data::F32(vec![1.0; n])).unwrap();
                let inputs = [Tensor::new(&[n], Data::F32(values)).unwrap(), ones];
                let inputs = &inputs[..program.params.len()];
                run(&program, inputs, Numerics::Reassociate, (2, 3), &mut |found| {
                    let lost = f64::from(BIG) + (n - 1) as f64 - found[0].get_f64(0);
                    assert!(lost.abs() <= depth(n) as f64, "{body} of {n}, 2²⁴ at {at}: {lost} lost, of {}", depth(n));
                });
            }
        }
    }
}

/// The same of many sums side by side, whose accumulators are lanes.
#[test]
fn no_row_goes_through_more_additions_than_numpys() {
    for (rows, n) in [(40, 3), (40, 16), (33, 64), (17, 100), (16, 129), (9, 1000), (64, 72)] {
        for body in ["x.sum(1)", "(x - y).sum(1)", "(x[:, None] - y[None]).sum(-1)[:, 0]"] {
            let program =
                program(&source(&format!("x: f32[{rows}, {n}], y: f32[{rows}, {n}]"), &format!("return {body}")));
            let mut values = vec![1.0f32; rows * n];
            (0..rows).for_each(|row| values[row * n + row * 7 % n] = BIG);
            let zeros = Tensor::zeros(DType::F32, &[rows, n]);
            let inputs = [Tensor::new(&[rows, n], Data::F32(values)).unwrap(), zeros];
            run(&program, &inputs, Numerics::Reassociate, (2, 4), &mut |found| {
                for row in 0..rows {
                    let lost = f64::from(BIG) + (n - 1) as f64 - found[0].get_f64(row);
                    assert!(lost.abs() <= depth(n) as f64, "{body} of {n}: {lost} lost, of {}", depth(n));
                }
            });
        }
    }
}

/// Ones of f32 are counted past 2²⁴, where one after the other stands still.
#[test]
fn a_sum_of_many_ones_is_their_number() {
    let n = 1 << 25;
    let program = program(&source(&format!("x: f32[{n}]"), "return x.sum(), x.mean()"));
    let inputs = [Tensor::new(&[n], Data::F32(vec![1.0; n])).unwrap()];
    for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
        run(&program, &inputs, numerics, (1, 1), &mut |found| {
            assert_eq!((found[0].get_f64(0), found[1].get_f64(0)), (33_554_432.0, 1.0), "{numerics}");
        });
    }
}

/// The reference's error bound is that of the order, not of the number of terms.
#[test]
fn the_bound_of_a_sum_is_that_of_numpys_order() {
    let n = 1 << 16;
    let program = program(&source(&format!("x: f32[{n}], y: f32[16, {n}]"), "return x.sum(), y.sum(0), y.sum(1)"));
    let inputs = [
        Tensor::new(&[n], Data::F32(vec![1.0; n])).unwrap(),
        Tensor::new(&[16, n], Data::F32(vec![1.0; 16 * n])).unwrap(),
    ];
    let references = interpret(&program, &inputs, Numerics::Reassociate).unwrap();
    let roundoff = (-24f64).exp2();
    let bounds = references.iter().map(|reference| reference.bound[0] / roundoff);
    let rows = n as f64;
    assert_eq!(bounds.collect::<Vec<_>>(), [depth(n) as f64 * rows, 15.0 * 16.0, depth(n) as f64 * rows]);
}
