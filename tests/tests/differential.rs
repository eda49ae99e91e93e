//! Compiled kernels against the interpreter: random programs, every normal form, random schedules.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::pipeline::forms;
use moat_tests::python::to_python;
use moat_tests::random_program::random_program;
use moat_tests::seeded::Seeded;

/// The first difference of a program's kernels from its references, as text.
fn difference(seed: u64, numerics: Numerics, threads: usize) -> Option<String> {
    let program = random_program(seed, 8);
    let arguments: Vec<Tensor> = program
        .params
        .iter()
        .zip(0..)
        .map(|(param, at)| inputs::random(param, seed.wrapping_mul(31) + at).unwrap())
        .collect();
    let references = interpret(&program, &arguments, numerics).unwrap();
    let failure = |form: usize, what: String| {
        Some(format!("random_program({seed}, 8), {numerics}, form {form}: {what}\n{}", to_python(&program)))
    };
    let forms = match forms(&program, &RuleBase::standard().unwrap(), numerics, 3) {
        Ok(forms) => forms,
        Err(error) => return failure(0, error.to_string()),
    };
    let target = host_target();
    let mut choose = Seeded::new(seed);
    for (number, form) in forms.iter().enumerate() {
        let space = moat_optimizer::space::ScheduleSpace::new(
            &form.form,
            &target,
            &ScheduleRules::standard(),
            numerics,
            threads,
        )
        .unwrap();
        // Random programs are too small for stores past the caches to be proposed; they are always legal.
        let mut streaming = space.sample(&mut choose);
        streaming.stages.iter_mut().for_each(|stage| stage.stream = true);
        for schedule in [space.default(), space.sample(&mut choose), streaming] {
            let nest = match apply(&form.form, &schedule) {
                Ok(nest) => nest,
                Err(error) => return failure(number, format!("{error}: {schedule:?}")),
            };
            let options =
                CompileOptions { target: target.clone(), numerics, threads, function: "differential".to_owned() };
            let kernel = match CompiledNest::load(&nest, &options) {
                Ok(kernel) => kernel,
                Err(error) => return failure(number, format!("{error}: {schedule:?}")),
            };
            let mut results: Vec<Tensor> = program
                .roots
                .iter()
                .map(|&r| Tensor::poison(program.nodes[r].dtype, &program.nodes[r].shape))
                .collect();
            let read: Vec<&Tensor> = arguments.iter().collect();
            if let Err(error) = kernel.call(&read, &mut results, &mut Workspace::new()) {
                return failure(number, error.to_string());
            }
            for (reference, result) in references.iter().zip(&results) {
                if let Err(mismatch) = reference.check(result) {
                    return failure(number, format!("{mismatch}: {schedule:?}"));
                }
            }
        }
    }
    None
}

fn all_agree(seeds: std::ops::Range<u64>, numerics: Numerics, threads: usize) {
    let differences: Vec<String> = seeds.filter_map(|seed| difference(seed, numerics, threads)).collect();
    assert!(differences.is_empty(), "{} programs differ\n{}", differences.len(), differences.join("\n\n"));
}

#[test]
fn kernels_of_random_programs_equal_the_interpreter() {
    all_agree(0..60, Numerics::Reassociate, 1);
}

#[test]
fn threaded_kernels_equal_the_interpreter() {
    all_agree(100..120, Numerics::Reassociate, 2);
}
