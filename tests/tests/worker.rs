//! The worker: whatever a candidate does, it becomes an outcome, and the next candidate is measured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::dtype::DType;
use moat_optimizer::interpret::Reference;
use moat_optimizer::tensor::{Data, Tensor};
use moat_tuner::machine;
use moat_tuner::measure::{Bench, BenchConfig, InputData, InputSet, Limits, Trial};
use moat_tuner::outcome::Outcome;
use moat_tuner::worker::protocol::{Argument, LONG_CALL_NS, Sampling, Source};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const LEN: usize = 8;

/// A bench for `y = 2x` on eight f64, its reference exact for one input set and bounded for the other.
fn bench(command: Vec<PathBuf>) -> Bench {
    let argument = |name: &str, output| Argument { name: name.to_owned(), dtype: DType::F64, shape: vec![LEN], output };
    let sets = [0.0, 1e-12].map(|bound| {
        let x: Vec<f64> = (0..LEN).map(|i| i as f64 + 0.5 + bound).collect();
        let doubled: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let tensor = |values: &[f64]| Tensor::new(&[LEN], Data::F64(values.to_vec())).unwrap();
        let bounds = if bound > 0.0 { vec![bound; LEN] } else { Vec::new() };
        let reference = Reference { value: tensor(&doubled), wide: doubled, bound: bounds };
        InputSet { inputs: vec![tensor(&x)], references: vec![reference] }
    });
    let limits = Limits { compile: Duration::from_secs(60), ..Limits::default() };
    let config = BenchConfig { command, cores: Vec::new(), memory_bytes: None, target: machine::detect(), limits };
    let mut data = InputData::new().unwrap();
    sets.iter().for_each(|set| data.push(set).unwrap());
    Bench::new(config, vec![argument("x", false), argument("y", true)], data)
}

fn worker_command() -> Vec<PathBuf> {
    vec![env!("CARGO_BIN_EXE_moat-under-test").into(), "worker".into()]
}

/// A module whose kernel has `body`.
fn module(body: &str) -> Source {
    let text = format!(
        "declare void @llvm.trap()\ndeclare void @exit(i32)\ndeclare void @no_such_function()\n\
         define i32 @kernel(ptr %inputs, ptr %outputs, ptr %w) {{\n\
         %x = load ptr, ptr %inputs\n%y = load ptr, ptr %outputs\n{body}\n}}\n"
    );
    Source::Ir { text, entry: "kernel".to_owned(), workspace_bytes: 64 }
}

/// Stores `2x + offset`.
fn doubling(offset: &str) -> String {
    format!(
        "%a = load <8 x double>, ptr %x, align 8
         %b = fadd <8 x double> %a, %a
         %c = fadd <8 x double> %b, splat (double {offset})
         store <8 x double> %c, ptr %y, align 8"
    )
}

fn correct() -> Source {
    module(&format!("{}\nret i32 0", doubling("0.0")))
}

fn trial(bench: &mut Bench, source: Source) -> Trial {
    let sampling = Sampling { batch_ns: 1e5, budget_ns: 1e6, ..Sampling::default() };
    bench.trial(source, Some(1e3), &sampling, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_end_is_an_outcome_and_the_next_candidate_is_measured() {
    let mut bench = bench(worker_command());
    let ok = doubling("0.0");
    let planted = [
        ("traps", Outcome::Crashed, module("call void @llvm.trap()\nunreachable")),
        ("hangs", Outcome::TimedOut, module("br label %loop\nloop:\nbr label %loop")),
        ("exits as if all were well", Outcome::Crashed, module("call void @exit(i32 0)\nret i32 0")),
        ("is wrong everywhere", Outcome::WrongResult, module(&format!("{}\nret i32 0", doubling("1.0")))),
        ("is off by more than the bound", Outcome::WrongResult, module(&format!("{}\nret i32 0", doubling("1.0e-10")))),
        ("says so itself", Outcome::WrongResult, module(&format!("{ok}\nret i32 3"))),
        ("writes nothing", Outcome::WrongResult, module("ret i32 0")),
        (
            "writes past the output",
            Outcome::Crashed,
            module(&format!("{ok}\n%p = getelementptr double, ptr %y, i64 8\nstore double 0.0, ptr %p\nret i32 0")),
        ),
        (
            "writes before the output",
            Outcome::WrongResult,
            module(&format!("{ok}\n%p = getelementptr double, ptr %y, i64 -1\nstore double 0.0, ptr %p\nret i32 0")),
        ),
        (
            "reads past the input",
            Outcome::Crashed,
            module(&format!(
                "{ok}\n%p = getelementptr double, ptr %x, i64 8\n%v = load volatile double, ptr %p\nret i32 0"
            )),
        ),
        ("writes to an input", Outcome::Crashed, module(&format!("{ok}\nstore double 0.0, ptr %x\nret i32 0"))),
        (
            "writes past the workspace",
            Outcome::Crashed,
            module(&format!("{ok}\n%p = getelementptr i8, ptr %w, i64 64\nstore i8 0, ptr %p\nret i32 0")),
        ),
        (
            "is no IR",
            Outcome::CompileFailed,
            Source::Ir { text: "no module".to_owned(), entry: "kernel".to_owned(), workspace_bytes: 0 },
        ),
        (
            "has another type",
            Outcome::CompileFailed,
            Source::Ir {
                text: "define void @kernel(ptr %x) { ret void }".to_owned(),
                entry: "kernel".to_owned(),
                workspace_bytes: 0,
            },
        ),
        ("calls what is nowhere", Outcome::Crashed, module(&format!("{ok}\ncall void @no_such_function()\nret i32 0"))),
        (
            "makes LLVM abort",
            Outcome::CompileFailed,
            module(&format!("{ok}\ncall void asm sideeffect \"no instruction\", \"\"()\nret i32 0")),
        ),
    ];
    for (what, outcome, source) in planted {
        let end = trial(&mut bench, source);
        assert_eq!(end.outcome, outcome, "a candidate that {what}: {}", end.detail);
        assert!(end.samples_ns.is_empty() && !end.detail.is_empty(), "a candidate that {what}");
        let next = trial(&mut bench, correct());
        assert_eq!(next.outcome, Outcome::Measured, "after a candidate that {what}: {}", next.detail);
        assert!(next.samples_ns.len() >= 5 && next.samples_ns.iter().all(|&ns| ns > 0.0));
        assert_eq!(next.error_fraction, Some(0.0));
    }
}

#[test]
fn a_hang_costs_its_limit_and_not_more() {
    let mut bench = bench(worker_command());
    trial(&mut bench, correct());
    let start = Instant::now();
    let end = trial(&mut bench, module("br label %loop\nloop:\nbr label %loop"));
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_batch_of_a_slow_kernel_is_not_a_hang() {
    // Warm-up measures what a call takes, so that a batch of calls has a limit of its own.
    let mut bench = bench(worker_command());
    let sampling = Sampling { batch_ns: 2e8, budget_ns: 1e6, min_samples: 2, ..Sampling::default() };
    let end = bench.trial(correct(), Some(1e3), &sampling, &AtomicBool::new(false)).unwrap();
    assert_eq!(end.outcome, Outcome::Measured, "{}", end.detail);
}

#[test]
fn one_that_lost_to_a_long_incumbent_is_called_once() {
    let mut bench = bench(worker_command());
    let interrupt = AtomicBool::new(false);
    // Any call is slower than nothing: what counts is that the incumbent is long.
    for (incumbent_ns, samples) in [(1e3, 3), (LONG_CALL_NS, 1)] {
        let sampling = Sampling { batch_ns: 1e5, hopeless_ns: Some(0.0), ..Sampling::default() };
        let end = bench.trial(correct(), Some(incumbent_ns), &sampling, &interrupt).unwrap();
        assert_eq!((end.outcome, end.samples_ns.len()), (Outcome::Measured, samples), "{}", end.detail);
    }
}

#[test]
fn an_interrupt_ends_a_hang_at_once_and_the_bench_goes_on() {
    let mut bench = bench(worker_command());
    trial(&mut bench, correct());
    let interrupt = AtomicBool::new(true);
    let hang = module("br label %loop\nloop:\nbr label %loop");
    assert_eq!(bench.trial(hang, None, &Sampling::default(), &interrupt), None);
    assert_eq!(trial(&mut bench, correct()).outcome, Outcome::Measured);
}

#[test]
fn a_worker_that_does_not_start_is_an_outcome() {
    for command in ["/nonexistent/moat", "/bin/true"] {
        let end = trial(&mut bench(vec![command.into()]), correct());
        assert_eq!(end.outcome, Outcome::WorkerLost, "{}", end.detail);
    }
}

#[test]
fn rounds_are_interleaved_and_checked() {
    let mut bench = bench(worker_command());
    let interrupt = AtomicBool::new(false);
    let rounds = bench.compare(&[correct(), correct(), correct()], 21, 1e5, 1e3, &interrupt).unwrap().unwrap();
    assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [21, 21, 21]);
    let wrong = module("ret i32 0");
    let failed = bench.compare(&[correct(), wrong], 3, 1e5, 1e3, &interrupt).unwrap_err();
    assert_eq!(failed.outcome, Outcome::WrongResult);
}
