//! Interrupts and kills `moat tune` at random moments: `cargo run -p moat-tests --bin interrupt -- --runs 60`.
//!
//! `--seed` is the first seed; a seed draws the workload, the signal and the moment. For each run: the stage that was hit,
//! how long the end took, and whether everything that was reported is on record. Prints a table by stage; ends with 1 if
//! anything is lost, damaged or left over, or takes longer than `--limit` seconds.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

use moat_optimizer::oracle::inputs::SplitMix64;
use moat_tuner::cost_db::CostDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Workloads by what takes long in them, with the seconds within which the moment is drawn.
fn workloads() -> Vec<(&'static str, String, f64)> {
    let newton = "    E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))\n".repeat(14);
    let newton = format!("def f(E: f64[8], e: f64[8], M: f64[8]):\n{newton}    return E\n");
    let mut compile = "def f(x: f64[64, 64]):\n    y = x.copy()\n".to_owned();
    for at in 0..24 {
        let _ = writeln!(compile, "    y = np.exp(-y) @ x + np.sin(y[::-1] * {at}.5)");
    }
    compile.push_str("    return y\n");
    vec![
        ("product", "def f(A: f32[128, 256], B: f32[256, 64]):\n    return A @ B\n".to_owned(), 14.0),
        ("newton", newton, 10.0),
        (
            "sweep",
            "def f(x: f64[400, 400]):\n    for t in range(40):\n        x[1:-1, 1:-1] = 0.25 * (x[:-2, 1:-1] + x[2:, 1:-1] + \
             x[1:-1, :-2] + x[1:-1, 2:])\n    return x\n"
                .to_owned(),
            20.0,
        ),
        (
            "reference",
            "def f(x: f64[2000]):\n    for t in range(300):\n        for i in range(1, 2000):\n            x[i] = 0.5 * x[i - 1] \
             + 0.5 * x[i]\n    return x\n"
                .to_owned(),
            20.0,
        ),
        ("compile", compile, 30.0),
    ]
}

/// What was asked of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Once(Signal),
    Twice,
}

struct Ended {
    stage: String,
    blow: Blow,
    took: Duration,
    problems: Vec<String>,
}

fn main() -> ExitCode {
    let (mut runs, mut seed, mut limit) = (40, 0, 20.0);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<f64>().ok());
        match (name.as_str(), value) {
            ("--runs", Some(value)) => runs = value as u64,
            ("--seed", Some(value)) => seed = value as u64,
            ("--limit", Some(value)) => limit = value,
            _ => {
                eprintln!("usage: interrupt [--runs N] [--seed N] [--limit SECONDS]");
                return ExitCode::from(2);
            }
        }
    }
    let mut table: BTreeMap<(String, String), Vec<Duration>> = BTreeMap::new();
    let mut failed = 0;
    for seed in seed..seed + runs {
        let ended = match run(seed) {
            Ok(ended) => ended,
            Err(error) => {
                eprintln!("seed {seed}: {error}");
                return ExitCode::from(2);
            }
        };
        let Ended { stage, blow, took, mut problems } = ended;
        if took.as_secs_f64() > limit {
            problems.push(format!("took {:.2} s", took.as_secs_f64()));
        }
        println!(
            "seed {seed}: {blow:?} while {stage}: ended after {:.3} s {}",
            took.as_secs_f64(),
            problems.join("; ")
        );
        failed += usize::from(!problems.is_empty());
        table.entry((stage, format!("{blow:?}"))).or_default().push(took);
    }
    println!("{:<32} {:<16} {:>5} {:>9} {:>9}", "stage", "blow", "runs", "median s", "most s");
    for ((stage, blow), mut times) in table {
        times.sort();
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{stage:<32} {blow:<16} {:>5} {:>9.3} {:>9.3}", times.len(), median.as_secs_f64(), most.as_secs_f64());
    }
    println!("{runs} runs, {failed} with a problem");
    ExitCode::from(u8::from(failed > 0))
}

fn run(seed: u64) -> Result<Ended, Box<dyn Error>> {
    let mut random = SplitMix64::new(seed);
    let all = workloads();
    let (name, source, span) = &all[usize::try_from(random.next_below(all.len() as u64))?];
    let blow = match random.next_below(7) {
        0..3 => Blow::Once(Signal::SIGINT),
        3..5 => Blow::Once(Signal::SIGTERM),
        5 => Blow::Once(Signal::SIGKILL),
        _ => Blow::Twice,
    };
    let moment = Duration::from_secs_f64(span * random.next_unit());
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("w.py"), format!("import numpy as np\n{source}"))?;
    let moat = std::env::current_exe()?.with_file_name("moat-under-test");
    let mut command = Command::new(moat);
    command.current_dir(directory.path()).args(["tune", "w.py", "--db", "db", "--trials", "12", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    std::thread::sleep(moment);
    // What it was doing, and how many trials it had reported, when it was hit.
    let (mut stage, mut reported) = ("before deriving".to_owned(), 0_usize);
    for line in lines.try_iter() {
        match line.split_once('/').and_then(|(done, _)| done.parse().ok()) {
            Some(done) => (stage, reported) = ("measuring".to_owned(), done),
            None if line.starts_with("note:") => {}
            None => stage = line.split(" (").next().unwrap_or_default().to_owned(),
        }
    }
    let alive = child.try_wait()?.is_none();
    if !alive {
        "finished".clone_into(&mut stage);
    }
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let hit = Instant::now();
    let send = |signal| if alive { kill(pid, signal) } else { Ok(()) };
    match blow {
        Blow::Once(signal) => send(signal)?,
        Blow::Twice => {
            send(Signal::SIGINT)?;
            std::thread::sleep(Duration::from_millis(30));
            // It may be gone by now.
            let _ = send(Signal::SIGINT);
        }
    }
    let output = child.wait_with_output()?;
    let took = hit.elapsed();
    drop(lines);
    let _ = reader.join();
    let problems = problems(directory.path(), blow, reported, output.status.code(), &output.stdout)?;
    Ok(Ended { stage: format!("{stage} ({name})"), blow, took, problems })
}

/// What is lost, damaged or left over.
fn problems(
    directory: &Path,
    blow: Blow,
    reported: usize,
    code: Option<i32>,
    stdout: &[u8],
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut problems = Vec::new();
    let contents = CostDb::open(&directory.join("db"))?.read()?;
    problems.extend(contents.warnings);
    let rows: Vec<_> = contents.rows.iter().filter(|row| row.stage == "trial").collect();
    if rows.len() < reported || rows.iter().enumerate().any(|(at, row)| row.trial != at as u64) {
        problems.push(format!("{} rows of {reported} trials reported", rows.len()));
    }
    if blow != Blow::Once(Signal::SIGKILL) && !matches!(code, Some(0 | 1)) {
        problems.push(format!("exit code {code:?}"));
    }
    let kernel = directory.join("kernels/w");
    if code == Some(0) {
        let result: serde_json::Value = serde_json::from_slice(stdout)?;
        if result["trials"] != rows.len() {
            problems.push(format!("{} rows of {} trials", rows.len(), result["trials"]));
        }
        if !kernel.join("kernel.json").is_file() {
            problems.push("no kernel".to_owned());
        }
    } else if code == Some(1)
        && !rows.is_empty()
        && blow != Blow::Twice
        && rows.iter().any(|row| row.median_ns.is_some())
    {
        problems.push("trials, but no kernel".to_owned());
    }
    if kernel.exists() {
        for file in ["w.o", "libw.so", "w.h", "w.ll", "w.s", "w.py", "kernel.json"] {
            if !kernel.join(file).is_file() {
                problems.push(format!("half a kernel: no {file}"));
            }
        }
    }
    if blow != Blow::Once(Signal::SIGKILL) && blow != Blow::Twice && directory.join("kernels").exists() {
        for entry in std::fs::read_dir(directory.join("kernels"))? {
            let name = entry?.file_name();
            if name != "w" {
                problems.push(format!("left over: {}", name.to_string_lossy()));
            }
        }
    }
    Ok(problems)
}
