//! A workload's interpreter, forms and kernels held against each other and against NumPy: what tests of the language ask
//! of every text.

use crate::pipeline::forms;
use crate::python::{SourceCase, run_sources};
use crate::seeded::Seeded;
use moat_codegen::abi::Status;
use moat_codegen::host_target;
use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::form::evaluate::{EvaluateError, evaluate};
use moat_optimizer::form::notation;
use moat_optimizer::form::verify::verify_form;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::{InterpretError, interpret};
use moat_optimizer::program::expr::{Program, Requirement};
use moat_optimizer::program::verify::verify;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;

/// The numerics of all of this.
const NUMERICS: Numerics = Numerics::Reassociate;

/// The workload of a source text, well-formed.
pub fn program(source: &str) -> Program {
    let workload = parse("case.py", source, &ParseOptions::default());
    let program = workload.unwrap_or_else(|errors| panic!("{errors}\n{source}")).program;
    verify(&program).unwrap_or_else(|error| panic!("{error}\n{source}"));
    program
}

/// Random arguments of a workload.
pub fn arguments(program: &Program, seed: u64) -> Vec<Tensor> {
    program.params.iter().zip(0..).map(|(param, at)| random(param, seed * 16 + at).expect("inputs")).collect()
}

/// The forms of a program that schedules can be made for.
fn schedulable(program: &Program) -> Vec<Schedulable> {
    let rules = RuleBase::standard().expect("the rules load");
    let forms = forms(program, &rules, NUMERICS, 3).expect("the program has forms");
    forms.into_iter().map(|form| form.form).collect()
}

/// What a kernel of `program` gives for these arguments, its results all written anew.
///
/// # Errors
/// What the kernel says is wrong.
pub fn call(kernel: &CompiledNest, program: &Program, inputs: &[Tensor]) -> Result<Vec<Tensor>, CodegenError> {
    let nodes = program.results().iter().map(|&root| &program.nodes[root]);
    let mut results: Vec<Tensor> = nodes.map(|node| Tensor::poison(node.dtype, &node.shape)).collect();
    let read: Vec<&Tensor> = inputs.iter().collect();
    kernel.call(&read, &mut results, &mut Workspace::new()).map(|()| results)
}

/// Compiles every form of a program under its default schedule and one that is drawn, runs each, and gives what it
/// says. Returns how many kernels there were.
pub fn kernels(
    program: &Program,
    inputs: &[Tensor],
    threads: usize,
    each: &mut dyn FnMut(Result<Vec<Tensor>, CodegenError>),
) -> usize {
    let target = host_target();
    let mut choose = Seeded::new(7);
    let mut count = 0;
    for form in schedulable(program) {
        let space = ScheduleSpace::new(&form, &target, &ScheduleRules::standard(), NUMERICS, threads)
            .expect("the form has schedules");
        for schedule in [space.default(), space.sample(&mut choose)] {
            let nest = apply(&form, &schedule).expect("a legal schedule");
            let options =
                CompileOptions { target: target.clone(), numerics: NUMERICS, threads, function: "f".to_owned() };
            let kernel = CompiledNest::load(&nest, &options).expect("a kernel");
            each(call(&kernel, program, inputs));
            count += 1;
        }
    }
    count
}

/// Every form is well-formed, reads back from its notation, and gives what the interpreter does, as do its kernels.
pub fn equal_the_interpreter(program: &Program, inputs: &[Tensor], threads: usize, what: &str) {
    let expected = interpret(program, inputs, NUMERICS).unwrap_or_else(|error| panic!("{what}: {error}"));
    let check = |found: Vec<Tensor>| {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (reference, found) in expected.iter().zip(&found) {
            reference.check(found).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
        }
    };
    for form in &schedulable(program) {
        verify_form(form).unwrap_or_else(|error| panic!("{what}: {error}"));
        check(evaluate(form, inputs).unwrap_or_else(|error| panic!("{what}: {error}")));
        let text = notation::print(form);
        let again = notation::parse(&text).unwrap_or_else(|error| panic!("{what}: {error}\n{text}"));
        assert_eq!(notation::print(&again), text, "{what}");
    }
    let count = kernels(program, inputs, threads, &mut |found| check(found.expect(what)));
    assert!(count >= 2, "{what}");
}

/// The interpreter gives what NumPy does that runs the texts themselves, each on arguments drawn by its number from 1 on.
pub fn equal_numpy(sources: &[String]) {
    let programs: Vec<Program> = sources.iter().map(|source| program(source)).collect();
    let inputs: Vec<Vec<Tensor>> = (1..).zip(&programs).map(|(seed, program)| arguments(program, seed)).collect();
    let cases: Vec<SourceCase<'_>> = sources
        .iter()
        .zip(&programs)
        .zip(&inputs)
        .map(|((source, program), inputs)| SourceCase { source, lets: vec![], program, inputs })
        .collect();
    let outcomes = run_sources(&cases);
    assert_eq!(outcomes.len(), sources.len());
    for (case, outcome) in cases.iter().zip(outcomes) {
        let source = case.source;
        let found = outcome.unwrap_or_else(|error| panic!("{error}\n{source}"));
        let expected = interpret(case.program, case.inputs, NUMERICS).expect("a verified program");
        assert_eq!(found.len(), expected.len(), "{source}");
        for (reference, found) in expected.iter().zip(&found) {
            reference.check(found).unwrap_or_else(|mismatch| panic!("{mismatch}\n{source}"));
        }
    }
}

/// The interpreter, every form and every kernel say that an index is out of range.
pub fn all_out_of_range(program: &Program, inputs: &[Tensor], what: &str) {
    all_refuse(program, inputs, Requirement::Index, what);
}

/// The interpreter, every form and every kernel say what is not met.
pub fn all_refuse(program: &Program, inputs: &[Tensor], asked: Requirement, what: &str) {
    match interpret(program, inputs, NUMERICS) {
        Err(InterpretError::Check { requirement, .. }) if requirement == asked => {}
        other => panic!("{what}: {other:?}"),
    }
    for form in &schedulable(program) {
        match evaluate(form, inputs) {
            Err(EvaluateError::Check { requirement, .. }) if requirement == asked => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    kernels(program, inputs, 1, &mut |found| match found {
        Err(CodegenError::Status { status, .. }) => {
            assert_eq!(Status::of(status), Some(Status::unmet(asked)), "{what}");
        }
        other => panic!("{what}: {other:?}"),
    });
}
