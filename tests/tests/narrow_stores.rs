//! Vectors of narrow elements that are computed as wide ones, stored in rows that are shorter than a vector: what lies
//! beside a row stays.

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest};
use moat_optimizer::apply::apply;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::Param;
use moat_optimizer::schedule::Place;
use moat_optimizer::schedule::plain::plain_schedule;
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_tests::kernels::{call, program};
use moat_tests::pipeline::forms;

/// Values of each narrow dtype, out of wider ones.
const VALUES: [(&str, &str); 7] = [
    ("i32", "x * y < 0"),
    ("i64", "x * y < 0"),
    ("i64", "(x * y).astype(np.int32)"),
    ("i64", "(x * y).astype(np.bool_)"),
    ("f64", "(x - y).astype(np.float32)"),
    ("f64", "x > y"),
    ("f64", "(x - y).astype(np.int32)"),
];

#[test]
fn short_rows_are_stored_without_what_lies_beside_them() {
    let target = host_target();
    let rules = RuleBase::standard().expect("the rules load");
    for (dtype, value) in VALUES {
        for n in [2, 5, 6, 9] {
            let source = format!(
                "import numpy as np\n\n\ndef f(x: {dtype}[{n}, 1], y: {dtype}[1, {n}]):\n    v = {value}\n    \
                 below = np.tril(np.ones(({n}, {n}), dtype=np.bool_))\n    return np.where(below, v, v.T), np.where(below, v.T, v)\n"
            );
            let program = program(&source);
            // All products are below zero, all differences above.
            let number = |at: usize, is_x: bool| i64::try_from(at).map_or(0, |at| if is_x { at + 2 } else { -at - 3 });
            let tensor = |(param, is_x): (&Param, bool)| {
                Tensor::from_fn(param.dtype, &param.shape, |at| Literal::Int(number(at, is_x)).at(param.dtype))
            };
            let inputs: Vec<Tensor> = program.params.iter().zip([true, false]).map(tensor).collect();
            let expected = interpret(&program, &inputs, Numerics::Exact).expect("the interpreter's results");
            let source_form = &forms(&program, &rules, Numerics::Exact, 1).expect("the program has forms")[0];
            for lanes in [1, 4, 8, 16] {
                let mut schedule = plain_schedule(&source_form.form);
                // The values are computed where they are stored.
                let last = schedule.stages.len() - program.results().len();
                schedule.stages[..last].iter_mut().for_each(|stage| stage.place = Place::Inline);
                for tile in schedule.stages.iter_mut().filter_map(|stage| stage.tile.last_mut()) {
                    tile.lanes = lanes;
                }
                let nest = apply(&source_form.form, &schedule).expect("the schedule fits");
                let numerics = Numerics::Exact;
                let options = CompileOptions { target: target.clone(), numerics, threads: 1, function: "f".to_owned() };
                let kernel = CompiledNest::load(&nest, &options).expect("a kernel");
                let found = call(&kernel, &program, &inputs).expect("the kernel runs");
                for (expected, found) in expected.iter().zip(&found) {
                    assert_eq!(expected.value.data, found.data, "{lanes} lanes\n{source}");
                }
            }
        }
    }
}
