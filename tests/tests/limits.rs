//! What would fail at the end fails at the start, with a place and a remedy, and nothing that was recorded is lost:
//! memory, disk, linker, files of limited size, interrupts before there is a kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::forms::{Limits, forms as forms_within};
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::{interpret, peak};
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_tuner::cost_db::CostDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const MOAT: &str = env!("CARGO_BIN_EXE_moat-under-test");
const TWICE: &str = "N = 64\ndef f(x: f32[N]):\n    return x * 2\n";

fn folder(source: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("w.py"), source).unwrap();
    directory
}

fn moat(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MOAT);
    command.current_dir(directory).args(args);
    command
}

/// Exit code 2 before anything is derived; what is said.
fn refused(output: &Output, expected: &[&str]) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{err}");
    assert!(!err.contains("deriving") && !err.contains("panicked"), "{err}");
    for expected in expected {
        assert!(err.contains(expected), "{expected}: {err}");
    }
}

#[test]
fn what_cannot_be_written_or_linked_is_refused_before_anything_is_derived() {
    let directory = folder(TWICE);
    let path = directory.path();
    std::fs::write(path.join("file"), "").unwrap();
    let tune = |args: &[&str]| moat(path, &[&["tune", "w.py", "--trials", "1"], args].concat());
    refused(&tune(&["--db", "db", "--out", "file"]).output().unwrap(), &["cannot create file", "--out"]);
    refused(&tune(&["--db", "db", "--out", "file/kernels"]).output().unwrap(), &["file/kernels", "--out"]);
    refused(&tune(&["--db", "file"]).output().unwrap(), &["cost database", "file"]);
    // No compiler is found where nothing is.
    refused(&tune(&["--db", "db"]).env("PATH", path).output().unwrap(), &["cannot run `cc`", "install a C compiler"]);
    std::fs::copy(path.join("w.py"), path.join(".w.py")).unwrap();
    let hidden = moat(path, &["tune", ".w.py", "--db", "db"]).output().unwrap();
    refused(&hidden, &["cannot be the name of a kernel's files"]);
    for args in [&["--output", "nothere/y.npz"][..], &["--output", "db"]] {
        refused(&moat(path, &[&["run", "w.py", "--random"], args].concat()).output().unwrap(), &["cannot write"]);
    }
    assert!(!path.join("kernels/w").exists());
    let left: Vec<_> = std::fs::read_dir(path.join("kernels")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// `--let N=4000000000` aborted with a backtrace, and large arrays were killed for memory.
#[test]
fn more_memory_than_there_is_is_refused_with_numbers_a_place_and_a_remedy() {
    let directory = folder(TWICE);
    for n in ["1000000000000", "549755813888"] {
        let constant = format!("N={n}");
        for args in [&["tune", "--db", "db"][..], &["run", "--random"], &["run", "--random", "--check"]] {
            let output = moat(directory.path(), &[args, &["w.py", "--let", &constant]].concat()).output().unwrap();
            refused(&output, &["GiB of memory", "are free", "w.py:", "--let"]);
        }
    }
    // The limit of the process counts, too.
    let limited = |kilobytes: u32, rest: &str| {
        let script = format!("ulimit -v {kilobytes}; exec {MOAT} {rest}");
        Command::new("sh").current_dir(directory.path()).args(["-c", &script]).output().unwrap()
    };
    let output = limited(6_000_000, "run w.py --random --let N=600000000");
    refused(&output, &["GiB of memory", "--let"]);
    // And that of its files, which workers read their data from.
    let script = format!("ulimit -f 100; exec {MOAT} tune w.py --db db --let N=1000000");
    let output = Command::new("sh").current_dir(directory.path()).args(["-c", &script]).output().unwrap();
    refused(&output, &["ulimit -f", "--let"]);
}

/// The estimate for an interpretation is no less than its arrays take, and not much more.
#[test]
fn an_interpretation_takes_what_was_estimated() {
    let sources = [
        "def f(x: f32[300000]):\n    return x + 1\n",
        "def f(x: f64[1000, 300], y: f64[300, 700]):\n    return (x @ y).sum(0)\n",
        "def f(x: f32[600, 500]):\n    y = x.T * 2\n    return np.exp(y) + y, y.sum()\n",
        "def f(x: f64[200000]):\n    for t in range(3):\n        x[1:-1] = x[:-2] + x[2:]\n    return x\n",
        "def f(i: Annotated[i64[1000], Index(500)], x: f32[500, 200]):\n    return x[i]\n",
    ];
    for body in sources {
        let source = format!("import numpy as np\n{body}");
        let program = parse("f.py", &source, &ParseOptions::default()).unwrap().program;
        let inputs: Vec<_> = program.params.iter().map(|param| random(param, 0).unwrap()).collect();
        let estimate = peak(&program, Numerics::Reassociate).bytes;
        let references = interpret(&program, &inputs, Numerics::Reassociate).unwrap();
        let held: usize = references
            .iter()
            .map(|reference| {
                reference.value.len() * reference.value.dtype.bytes()
                    + 8 * (reference.wide.len() + reference.bound.len())
            })
            .sum();
        assert!(estimate >= held as u64, "{body}: {estimate} for {held}");
        let arrays: usize = inputs.iter().chain(references.iter().map(|r| &r.value)).map(|tensor| tensor.len()).sum();
        assert!(estimate <= 200 * arrays as u64, "{body}: {estimate} for {arrays} elements");
    }
}

/// A database on a full disk ended the run with "Invalid thrift: transport error". The limit on a file's size stands in for
/// the disk: the journal meets it, the kernel does not.
#[test]
fn a_journal_that_cannot_grow_costs_rows_and_not_the_run() {
    let directory = folder(TWICE);
    let script = format!("ulimit -f 128; exec {MOAT} tune w.py --db db --trials 60 --json");
    let output = Command::new("bash").current_dir(directory.path()).args(["-c", &script]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let trials = result["trials"].as_u64().unwrap();
    let contents = CostDb::open(&directory.path().join("db")).unwrap().read().unwrap();
    assert!(contents.warnings.is_empty(), "{:?}", contents.warnings);
    let rows = contents.rows.iter().filter(|row| row.stage == "trial").count() as u64;
    let notes = result["notes"].to_string();
    assert!(0 < rows && rows < trials, "{rows} of {trials} rows: {notes}");
    assert!(notes.contains("File too large") && notes.contains("not in the cost database"), "{notes}");
    assert!(contents.rows.iter().enumerate().take(5).all(|(at, row)| row.trial == at as u64));
    assert!(directory.path().join("kernels/w/libw.so").is_file());
}

/// The time covers everything; what it cuts short says so, and a kernel comes of it all the same.
#[test]
fn the_time_bounds_the_whole_run_and_the_source_form_is_always_there() {
    let directory = folder(TWICE);
    let begin = Instant::now();
    let output =
        moat(directory.path(), &["tune", "w.py", "--db", "db", "--time", "12", "--trials", "4000", "--json"]).output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(32), "{:?}", begin.elapsed());
    assert!(result["trials"].as_u64().unwrap() < 4000 && result["interrupted"] == false, "{result}");
    assert!(directory.path().join("kernels/w/kernel.json").is_file());

    let chain = "import numpy as np\ndef f(A: f64[40, 50], B: f64[50, 60], v: f64[60]):\n    return A @ B @ v\n";
    let program = parse("f.py", chain, &ParseOptions::default()).unwrap().program;
    let rules = RuleBase::standard().unwrap();
    let forms = |over: bool| {
        forms_within(&program, &rules, Numerics::Reassociate, &Limits { forms: 8, is_over: &|| over }).unwrap()
    };
    let (all, cut) = (forms(false), forms(true));
    assert!(!all.cut && all.forms.len() > 1);
    assert!(cut.cut && cut.forms.len() == 1);
    assert_eq!(cut.forms[0].form, all.forms[0].form);
}

/// Deriving was deaf to everything but SIGKILL. Wherever the signal arrives now, there is no kernel yet.
#[test]
fn every_stage_before_the_first_kernel_hears_signals_and_the_time() {
    let newton = "    E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))\n".repeat(14);
    let newton = format!("import numpy as np\ndef f(E: f64[8], e: f64[8], M: f64[8]):\n{newton}    return E\n");
    let long = "def f(x: f64[1000]):\n    for t in range(1000000000):\n        for i in range(1, 1000):\n            \
                x[i] = 0.5 * x[i - 1] + 0.5 * x[i]\n    return x\n"
        .to_owned();
    let cases = [
        (&newton, "looking at the machine", Signal::SIGINT),
        (&newton, "deriving normal forms", Signal::SIGTERM),
        (&long, "deriving normal forms", Signal::SIGINT),
        (&long, "computing references", Signal::SIGTERM),
    ];
    for (source, stage, signal) in cases {
        let directory = folder(source);
        let mut command = moat(directory.path(), &["tune", "w.py", "--db", "db"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with(stage)), "{stage}");
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let begin = Instant::now();
        assert!(lines.any(|line| line.unwrap().starts_with("interrupted while ")), "{stage}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(begin.elapsed() < Duration::from_secs(20), "{stage}: {:?}", begin.elapsed());
    }
    let directory = folder(&long);
    let output = moat(directory.path(), &["tune", "w.py", "--db", "db", "--time", "3"]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("--time 3 was over while ") && err.contains("help:"), "{err}");
}
