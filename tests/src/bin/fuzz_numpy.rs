//! Many generated programs against NumPy: `cargo run -p moat-tests --bin fuzz_numpy -- --programs 10000`.
//!
//! `--seed` is the first seed, 0 by default; `--numerics` one of `exact`, `reassociate` and `algebraic` for all programs,
//! which else draw theirs by seed. `--state FILE` remembers how far it came: programs run in slices of 1000, and the next
//! run begins after the last slice that is there; without it every run begins at the first seed. `--show` prints each
//! program. A failure prints the smallest program found that fails in the same way, its inputs and how to run it again;
//! `--seed S --programs 1` is that case alone. Ctrl-C prints the counts so far. Ends with 1 if anything differs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

use moat_optimizer::value::numerics::Numerics;
use moat_tests::numpy_fuzz::generate;
use moat_tests::numpy_fuzz::run::{Counts, SERVE, Slice, run, serve};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// E-graphs are copied for each program: a third of the time was in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Programs of a slice.
const SLICE: u64 = 1000;

struct Options {
    seed: u64,
    programs: u64,
    numerics: Option<Numerics>,
    state: Option<PathBuf>,
    show: bool,
}

fn options() -> Option<Options> {
    let mut options = Options { seed: 0, programs: SLICE, numerics: None, state: None, show: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--seed" => options.seed = arguments.next()?.parse().ok()?,
            "--programs" => options.programs = arguments.next()?.parse().ok()?,
            "--numerics" => {
                let wanted = arguments.next()?;
                let all = [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic];
                options.numerics = Some(all.into_iter().find(|numerics| numerics.name() == wanted)?);
            }
            "--state" => options.state = Some(PathBuf::from(arguments.next()?)),
            "--show" => options.show = true,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return match serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        };
    }
    let Some(options) = options() else {
        eprintln!(
            "usage: fuzz_numpy [--seed N] [--programs N] [--numerics exact|reassociate|algebraic] [--state FILE] [--show]"
        );
        return ExitCode::from(2);
    };
    match slices(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Runs all slices; how many programs fail.
fn slices(options: &Options) -> Result<usize, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted)).map_err(|e| e.to_string())?;
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&interrupted)).map_err(|e| e.to_string())?;
    let stop = || interrupted.load(Ordering::Relaxed);
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut from = options.seed;
    if let Some(state) = &options.state
        && let Ok(text) = std::fs::read_to_string(state)
    {
        // The last line says where the next slice begins.
        let next = text.lines().rev().find_map(|line| line.split(' ').next()?.parse::<u64>().ok());
        from = next.map_or(from, |next| next.max(from));
    }
    println!("from seed {from}, {} programs", options.programs);
    if options.show {
        for seed in from..from + options.programs {
            println!("# seed {seed}\n{}", generate(seed).print());
        }
    }
    let begun = Instant::now();
    let mut failures = 0;
    let mut all = Counts::default();
    let end = from + options.programs;
    while from < end && !stop() {
        let slice = Slice { numerics: options.numerics, ..Slice::new(from, SLICE.min(end - from)) };
        let counts = run(&slice, &executable, &stop, &mut |failure| {
            println!("FAILS seed {}: {}\n", failure.seed, failure.report)
        })?;
        failures += counts.failures.len();
        let whole = counts.programs == slice.programs;
        from += counts.programs;
        all += counts;
        println!("{}\n{:.0} s, next seed {from}", all.summary(), begun.elapsed().as_secs_f64());
        if let Some(state) = options.state.as_ref().filter(|_| whole) {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(state)
                .map_err(|error| format!("{}: {error}", state.display()))?;
            let seeds: Vec<String> = all.failures.iter().map(|failure| failure.seed.to_string()).collect();
            writeln!(file, "{from} {} programs, failing seeds: {}", slice.programs, seeds.join(" "))
                .map_err(|error| format!("{}: {error}", state.display()))?;
        }
    }
    Ok(failures)
}
