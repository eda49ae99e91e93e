//! `moat tune` from file to kernel: what it prints, records and writes, also when it is interrupted or killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_tuner::cost_db::CostDb;
use moat_tuner::outcome::Outcome;
use moat_tuner::row::Row;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PRODUCT: &str = "def product(A: f32[33, 65], B: f32[65, 31]):\n    return A @ B\n";

fn tune(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moat-under-test"));
    command.current_dir(directory).args(["tune", "product.py", "--db", "db"]).args(args);
    command
}

fn workload(source: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("product.py"), source).unwrap();
    directory
}

fn json(output: &Output) -> serde_json::Value {
    let err = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"))
}

fn rows(directory: &Path) -> Vec<Row> {
    let contents = CostDb::open(&directory.join("db")).unwrap().read().unwrap();
    assert!(contents.warnings.is_empty(), "{:?}", contents.warnings);
    contents.rows
}

#[test]
fn a_run_prints_records_and_writes_what_it_promises() {
    let directory = workload(PRODUCT);
    let output = tune(directory.path(), &["--trials", "8", "--json", "--seed", "5"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = json(&output);
    assert_eq!(result["workload"], "product");
    assert_eq!(result["function"], "product");
    assert_eq!(result["threads"], 1);
    assert_eq!(result["flops"], 2 * 33 * 65 * 31);
    assert_eq!(result["bytes"], 4 * (33 * 65 + 65 * 31 + 33 * 31));
    assert_eq!(result["work_reduction"], 1.0);
    let trials = result["trials"].as_u64().unwrap();
    let outcomes = result["outcomes"].as_object().unwrap();
    assert_eq!(outcomes.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut names: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
        names.sort_unstable();
        names
    });
    assert_eq!(outcomes.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), trials);
    assert!(result["best_ns"].as_f64().unwrap() > 0.0);
    assert!(result["default_ns"].as_f64().unwrap() > 0.0, "{result}");
    assert!(result["error_fraction"].as_f64().unwrap() <= 1.0);
    let folder = directory.path().join(result["kernel_dir"].as_str().unwrap());
    for name in ["product.o", "libproduct.so", "product.h", "product.ll", "product.s", "kernel.json", "product.py"] {
        assert!(folder.join(name).is_file(), "{name}");
    }

    let rows = rows(directory.path());
    let of = |stage: &str| rows.iter().filter(|row| row.stage == stage).collect::<Vec<_>>();
    assert_eq!(of("trial").len() as u64, trials);
    assert!(of("trial").iter().enumerate().all(|(at, row)| row.trial == at as u64));
    assert!(rows.iter().all(|row| row.seed == 5 && row.numerics == "reassociate" && row.workload_hash.len() == 64));
    let measured = |row: &Row| row.outcome == "measured";
    assert!(rows.iter().all(|row| measured(row) == (row.median_ns.is_some() && !row.samples_ns.is_empty())));
    assert!(rows.iter().filter(|row| measured(row)).all(|row| row.error_fraction.is_some_and(|error| error <= 1.0)));
    let finals = of("final");
    if !finals.is_empty() {
        assert!(finals.iter().all(|row| row.samples_ns.len() >= 20));
        assert_eq!(finals.iter().filter(|row| row.shipped).count(), 1);
        assert_eq!(finals[0].trial, 0, "the default takes part");
    }

    // The tuned kernel serves `moat run`, which compares it with the reference.
    let output = Command::new(env!("CARGO_BIN_EXE_moat-under-test"))
        .current_dir(directory.path())
        .args(["run", "product.py", "--random", "--check", "--kernels", "kernels"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the records fit, so there is no note");
}

#[test]
fn the_summary_is_for_people_and_progress_goes_to_stderr() {
    let directory = workload(PRODUCT);
    let output = tune(directory.path(), &["--trials", "2"]).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for expected in ["trials", "default", "best", "speedup", "error", "rules", "schedule", "kernel"] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    assert!(err.contains("1/2") && !err.contains('\x1b') && !err.contains('\r'), "{err:?}");
}

#[test]
fn one_trial_ships_the_default() {
    let directory = workload(PRODUCT);
    let result = json(&tune(directory.path(), &["--trials", "1", "--json"]).output().unwrap());
    assert_eq!((&result["trials"], &result["failed"]), (&1.into(), &0.into()));
    assert_eq!(result["default_ns"], result["best_ns"]);
}

#[test]
fn integers_and_tuples_are_exact() {
    let source = "import numpy as np\ndef f(a: i64[7], b: bool[7]):\n    return a.sum(), np.where(b, a, -a)\n";
    let directory = workload(source);
    let result = json(&tune(directory.path(), &["--trials", "3", "--json"]).output().unwrap());
    assert_eq!(result["error_fraction"], 0.0);
}

/// Waits until the journal has so many rows.
fn wait_for_rows(directory: &Path, count: usize) {
    let patience = Instant::now() + Duration::from_secs(120);
    let journals = directory.join("db/journal");
    loop {
        let lines: usize = std::fs::read_dir(&journals)
            .into_iter()
            .flatten()
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
            .map(|text| text.lines().count())
            .sum();
        if lines >= count {
            return;
        }
        assert!(Instant::now() < patience, "{lines} rows");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn long_run(directory: &Path) -> Child {
    let mut command = tune(directory, &["--trials", "4000", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn ctrl_c_keeps_everything_and_still_writes_the_best_kernel() {
    let directory = workload(PRODUCT);
    let child = long_run(directory.path());
    wait_for_rows(directory.path(), 5);
    kill(pid(&child), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = json(&output);
    assert_eq!(result["interrupted"], true);
    let trials = result["trials"].as_u64().unwrap();
    assert!((5..4000).contains(&trials), "{trials}");
    assert!(directory.path().join(result["kernel_dir"].as_str().unwrap()).join("kernel.json").is_file());
    assert_eq!(rows(directory.path()).iter().filter(|row| row.stage == "trial").count() as u64, trials);
}

#[test]
fn ctrl_c_does_not_wait_for_a_reference() {
    // Some 10¹² steps, one after the other.
    let source = "def f(x: f64[1000]):\n    x = x.copy()\n    for t in range(1000000000):\n        for i in range(1, 1000):\n            \
                  x[i] = 0.5 * x[i - 1] + 0.5 * x[i]\n    return x\n";
    let directory = workload(source);
    let mut command = tune(directory.path(), &["--trials", "4"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("computing references")));
    kill(pid(&child), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(lines.any(|line| line.unwrap().contains("interrupted while computing references")));
}

#[test]
fn a_killed_run_loses_nothing_and_leaves_no_worker() {
    let directory = workload(PRODUCT);
    let mut child = long_run(directory.path());
    wait_for_rows(directory.path(), 3);
    let workers = children_of(child.id());
    assert!(!workers.is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let rows = rows(directory.path());
    assert!(rows.len() >= 3 && rows.iter().enumerate().all(|(at, row)| row.trial == at as u64));
    assert_eq!(std::fs::read_dir(directory.path().join("db/journal")).unwrap().count(), 0, "folded");
    let patience = Instant::now() + Duration::from_secs(10);
    while workers.iter().any(|worker| is_alive(*worker)) {
        assert!(Instant::now() < patience, "a worker outlives its parent");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose parent is `parent`.
fn children_of(parent: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|process: &u32| stat(*process).is_some_and(|fields| fields[1] == parent.to_string()))
        .collect()
}

/// State, parent, … of a process.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|fields| fields[0] != "Z")
}

#[test]
fn runs_at_once_on_one_database_lose_nothing() {
    let directory = workload(PRODUCT);
    let runs: Vec<Child> = ["1", "2", "3"]
        .iter()
        .map(|seed| {
            let mut command = tune(directory.path(), &["--trials", "4", "--json", "--seed", seed, "--out"]);
            command.arg(format!("kernels{seed}")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let trials: u64 =
        runs.into_iter().map(|run| json(&run.wait_with_output().unwrap())["trials"].as_u64().unwrap()).sum();
    let rows = rows(directory.path());
    assert_eq!(rows.iter().filter(|row| row.stage == "trial").count() as u64, trials);
    let listed = Command::new(env!("CARGO_BIN_EXE_moat-under-test"))
        .current_dir(directory.path())
        .args(["db", "list", "--db", "db", "--json"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 3);
}
