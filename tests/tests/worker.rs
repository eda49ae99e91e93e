//! The worker: whatever a candidate does, it becomes an outcome, and the next candidate is measured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_optimizer::oracle::interpret::Reference;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_tuner::measure::{Bench, BenchConfig, InputData, InputSet, Limits, Trial};
use moat_tuner::outcome::Outcome;
use moat_tuner::worker::protocol::{Argument, LONG_CALL_NS, OFFSETS, Sampling, Source, TRIAL_OFFSET};
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
    let config = BenchConfig { command, cores: Vec::new(), memory_bytes: None, target: host_target(), limits };
    let mut data = InputData::new().unwrap();
    sets.iter().for_each(|set| data.push(set.clone()).unwrap());
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
fn one_that_lost_is_given_up_by_its_calls_in_warm_memory() {
    // The first calls run in fresh memory between guard pages: what they took decided about kernels as good as the best.
    let mut bench = bench(worker_command());
    let interrupt = AtomicBool::new(false);
    let sampling = Sampling { batch_ns: 1e5, hopeless_ns: Some(0.0), ..Sampling::default() };
    for incumbent_ns in [1e3, LONG_CALL_NS] {
        let end = bench.trial(correct(), Some(incumbent_ns), &sampling, &interrupt).unwrap();
        assert_eq!((end.outcome, end.samples_ns.len()), (Outcome::Measured, 3), "{}", end.detail);
    }
}

#[test]
fn a_long_call_that_lost_is_timed_once_and_not_in_memory_new_to_it() {
    let mut bench = bench(worker_command());
    let interrupt = AtomicBool::new(false);
    let spin = format!(
        "br label %loop\nloop:\n%n = phi i64 [0, %0], [%m, %loop]\n%m = add i64 %n, 1\n\
         call void asm sideeffect \"\", \"\"()\n%more = icmp ult i64 %m, 1500000000\n\
         br i1 %more, label %loop, label %done\ndone:\n{}\nret i32 0",
        doubling("0.0")
    );
    let sampling = Sampling { hopeless_ns: Some(0.0), ..Sampling::default() };
    for trial in ["its first call warms the memory", "its first call counts"] {
        let end = bench.trial(module(&spin), None, &sampling, &interrupt).unwrap();
        assert_eq!((end.outcome, end.samples_ns.len()), (Outcome::Measured, 1), "{trial}: {}", end.detail);
        assert!(end.samples_ns[0] >= LONG_CALL_NS, "the call is too short for this test: {} ns", end.samples_ns[0]);
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
fn rounds_are_interleaved_at_every_offset_and_checked() {
    let mut bench = bench(worker_command());
    let interrupt = AtomicBool::new(false);
    for rounds in [1, 5, 21, 24] {
        let compared =
            bench.compare(&[correct(), correct(), correct()], rounds, 1e5, 1e3, &interrupt).unwrap().unwrap();
        assert_eq!(compared.rounds.iter().map(Vec::len).collect::<Vec<_>>(), [rounds; 3]);
        let at = |offset: usize| compared.offsets.iter().filter(|&&of| of == offset).count();
        let counts = OFFSETS.map(at);
        assert_eq!(counts.iter().sum::<usize>(), rounds);
        assert!(counts.iter().all(|&count| count == rounds / 4 || count == rounds.div_ceil(4)), "{counts:?}");
        assert!(counts[3] > 0, "where trials are timed, the finalists are in any case");
        assert!(compared.cold_ns.iter().all(|times| !times.is_empty() && times.iter().all(|&ns| ns > 0.0)));
        assert!(compared.disturbance.samples >= 3 * rounds);
    }
    let wrong = module("ret i32 0");
    let failed = bench.compare(&[correct(), wrong], 3, 1e5, 1e3, &interrupt).unwrap_err();
    assert_eq!(failed.outcome, Outcome::WrongResult);
}

#[test]
fn arguments_lie_where_they_are_said_to() {
    // A kernel that checks its output's address, and says so by its status.
    let at = |past: usize| {
        module(&format!(
            "{}\n%p = ptrtoint ptr %y to i64\n%q = and i64 %p, 63\n%r = icmp ne i64 %q, {past}\n\
             %status = zext i1 %r to i32\nret i32 %status",
            doubling("0.0")
        ))
    };
    let mut bench = bench(worker_command());
    // Between guard pages an array of 64 bytes lies on a line, and a trial's past one.
    let end = trial(&mut bench, at(0));
    assert_eq!((end.outcome, end.error_fraction), (Outcome::WrongResult, Some(0.0)), "{}", end.detail);
    let end = trial(&mut bench, at(TRIAL_OFFSET));
    assert_eq!((end.outcome, end.error_fraction), (Outcome::WrongResult, None), "{}", end.detail);
}
