//! Compiled kernels of random programs with loops against the interpreter, every dependence in order, and planted
//! schedules that reverse one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::evaluate_nest;
use moat_optimizer::expr::Program;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::inputs;
use moat_optimizer::interpret::interpret;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::schedule::{Band, Schedule, TimeTile};
use moat_optimizer::skew::Tilable;
use moat_optimizer::space::{Choose, ScheduleSpace};
use moat_optimizer::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::random_loops::random_source;
use moat_tuner::candidates::forms;
use moat_tuner::machine;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

struct Seeded(StdRng);

impl Choose for Seeded {
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }
}

/// The sampled schedules of a form, some with skewed tiles of whatever size, which the rules would find too small.
fn schedules(space: &ScheduleSpace, choose: &mut Seeded, count: usize) -> Vec<Schedule> {
    let mut all = vec![space.default()];
    for _ in 0..count {
        let mut schedule = space.sample(choose);
        schedule.time_tiles.clear();
        for Tilable { var, dim, skew, shifts, independent } in space.time_loops() {
            let more = choose.below(2);
            let independent = independent && more == 0;
            let band = Band { dim, skew: skew + more, shifts, independent, height: 1 + choose.below(5) };
            match schedule.time_tiles.iter_mut().find(|tile| tile.var == var) {
                Some(tile) if choose.below(2) > 0 => tile.bands.push(band),
                Some(_) => {}
                None if choose.below(3) > 0 => {
                    let (time, parallel) = (1 + choose.below(5), choose.below(2) > 0);
                    schedule.time_tiles.push(TimeTile { var, time, bands: vec![band], parallel });
                }
                None => {}
            }
        }
        assert!(space.is_legal(&schedule), "{:?}", space.check(&schedule));
        all.push(schedule);
    }
    all
}

/// The first difference of a program's nests or kernels from its references, as text.
fn difference(seed: u64, size: usize, samples: usize, compile: bool) -> Option<String> {
    let source = random_source(seed, size);
    let failure = |what: String| Some(format!("random_source({seed}, {size}): {what}\n{source}"));
    let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
    let program: Program = match parse("random.py", &source, &options) {
        Ok(workload) => workload.program,
        Err(errors) => return failure(format!("{errors:?}")),
    };
    let arguments: Vec<Tensor> = program
        .params
        .iter()
        .zip(0..)
        .map(|(param, at)| inputs::random(param, seed.wrapping_mul(31) + at).unwrap())
        .collect();
    let numerics = Numerics::Reassociate;
    let references = interpret(&program, &arguments, numerics).unwrap();
    let forms = match forms(&program, &RuleBase::standard().unwrap(), numerics, 2) {
        Ok(forms) => forms,
        Err(error) => return failure(format!("{error:?}")),
    };
    let target = machine::detect();
    let mut choose = Seeded(StdRng::seed_from_u64(seed));
    for form in &forms {
        let form = &form.normal_form;
        let space = ScheduleSpace::new(form, &target, &ScheduleRules::standard(), numerics, 1).unwrap();
        for schedule in schedules(&space, &mut choose, samples) {
            let nest = match apply(form, &schedule) {
                Ok(nest) => nest,
                Err(error) => return failure(format!("{error}: {schedule:?}")),
            };
            let results = if compile {
                let options = CompileOptions {
                    target: target.clone(),
                    numerics,
                    threads: 1,
                    function: "differential".to_owned(),
                };
                let kernel = match CompiledNest::load(&nest, &options) {
                    Ok(kernel) => kernel,
                    Err(error) => return failure(format!("{error}: {schedule:?}")),
                };
                let mut results: Vec<Tensor> = program
                    .roots
                    .iter()
                    .map(|&r| Tensor::poison(program.nodes[r].dtype, &program.nodes[r].shape))
                    .collect();
                let read: Vec<&Tensor> = arguments.iter().collect();
                if let Err(error) = kernel.call(&read, &mut results, &mut Workspace::new()) {
                    return failure(error.to_string());
                }
                results
            } else {
                match evaluate_nest::evaluate(&nest, &arguments) {
                    Ok(results) => results,
                    Err(error) => return failure(format!("{error}: {schedule:?}")),
                }
            };
            for (at, (reference, result)) in references.iter().zip(&results).enumerate() {
                let shape = &program.nodes[program.roots[at]].shape;
                let result = Tensor { shape: shape.clone(), ..result.clone() };
                if let Err(mismatch) = reference.check(&result) {
                    return failure(format!("result {at}: {mismatch}: {schedule:?}"));
                }
            }
        }
    }
    None
}

fn all_agree(seeds: std::ops::Range<u64>, samples: usize, compile: bool) {
    let differences: Vec<String> = seeds.filter_map(|seed| difference(seed, 6, samples, compile)).collect();
    let some: Vec<&str> = differences.iter().take(4).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} programs differ\n{}", differences.len(), some.join("\n\n"));
}

#[test]
fn kernels_of_random_loops_equal_the_interpreter() {
    all_agree(0..40, 2, true);
}

/// Without code generation, many more: the nest says in which order everything is executed.
#[test]
fn nests_of_random_loops_equal_the_interpreter() {
    all_agree(1000..1060, 3, false);
}
