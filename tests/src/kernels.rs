//! Every form of a program, compiled under its default schedule and one that is drawn.

use crate::seeded::Seeded;
use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::expr::Program;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::inputs::random;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tuner::candidates::forms;
use moat_tuner::machine;

/// The workload of a source text.
pub fn program(source: &str) -> Program {
    parse("case.py", source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}\n{source}")).program
}

/// Random arguments of a workload.
pub fn arguments(program: &Program, seed: u64) -> Vec<Tensor> {
    program.params.iter().zip(0..).map(|(param, at)| random(param, seed * 16 + at).expect("inputs")).collect()
}

/// Compiles every form of a program under its default schedule and one that is drawn, runs each, and gives what it
/// says. Returns how many kernels there were.
pub fn kernels(
    program: &Program,
    inputs: &[Tensor],
    threads: usize,
    each: &mut dyn FnMut(Result<Vec<Tensor>, CodegenError>),
) -> usize {
    let target = machine::detect();
    let numerics = Numerics::Reassociate;
    let mut choose = Seeded::new(7);
    let mut count = 0;
    let rules = RuleBase::standard().expect("the rules load");
    for form in forms(program, &rules, numerics, 3).expect("the program has forms") {
        let form = form.normal_form;
        let space = ScheduleSpace::new(&form, &target, &ScheduleRules::standard(), numerics, threads)
            .expect("the form has schedules");
        for schedule in [space.default(), space.sample(&mut choose)] {
            let nest = apply(&form, &schedule).expect("a legal schedule");
            let options = CompileOptions { target: target.clone(), numerics, threads, function: "f".to_owned() };
            let kernel = CompiledNest::load(&nest, &options).expect("a kernel");
            let mut found: Vec<Tensor> = program
                .results()
                .iter()
                .map(|&root| Tensor::poison(program.nodes[root].dtype, &program.nodes[root].shape))
                .collect();
            let read: Vec<&Tensor> = inputs.iter().collect();
            each(kernel.call(&read, &mut found, &mut Workspace::new()).map(|()| found));
            count += 1;
        }
    }
    count
}
