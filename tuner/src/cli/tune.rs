//! `moat tune`: arguments to a run, a run to a summary.

use super::args::TuneArgs;
use super::db;
use super::error::CliError;
use super::goal::Goal;
use super::progress::Stderr;
use super::text::{percent, schedule_in_words, seconds, significant, time};
use super::workload::{Loaded, load};
use crate::cost_db::CostDb;
use crate::interrupt::{Interrupts, Word, watch};
use crate::machine::{self, Kept};
use crate::npz;
use crate::outcome::Outcome;
use crate::preflight::{self, Places};
use crate::tune::{Figure, Observer, Summary, TuneConfig, TuneError, tune};
use crate::worker::disturbance::Disturbance;
use moat_codegen::host_target;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

pub(super) fn run(args: &TuneArgs, out: &mut impl Write) -> Result<Goal, CliError> {
    let directory = db::directory(&args.db)?;
    let interrupts = watched(args, &directory);
    let Loaded { workload, stem } = load(&args.workload)?;
    let numerics = args.workload.numerics.numerics();
    interrupts.enter("looking at memory and disk");
    preflight::memory_to_tune(&workload.program, numerics).map_err(|error| CliError::from(error).located(&workload))?;
    let db = CostDb::open(&directory)?;
    let trials = usize::try_from(args.trials).unwrap_or(usize::MAX);
    let places = Places { out: &args.out, stem: &stem, db: &db, trials };
    preflight::disk(&places, &host_target(), usize::from(args.threads))?;
    let inputs = match &args.inputs {
        Some(path) => Some(npz::read(path, &workload.program.params, &workload.program.signature)?),
        None => None,
    };
    interrupts.enter("looking at the machine");
    let mut progress = Stderr::new();
    progress.phase("looking at the machine");
    let config = TuneConfig {
        stem,
        trials,
        threads: usize::from(args.threads),
        numerics,
        lets: args.workload.lets.iter().cloned().collect(),
        inputs,
        seed: args.seed,
        out: args.out.clone(),
        worker: worker_command()?,
        target: machine::describe(&directory, Kept::Improve)?,
    };
    let tuned = tune(&workload, &config, &db, &mut progress, &interrupts);
    interrupts.finish();
    let goal = match tuned {
        Ok(summary) => {
            if args.json {
                writeln!(out, "{}", to_json(&summary, &config, &workload.program.name))?;
            } else {
                write_summary(&summary, &config, &workload.program.name, out)?;
            }
            Ok(Goal::Met)
        }
        Err(error @ (TuneError::NoKernel { .. } | TuneError::Interrupted { .. } | TuneError::NotWritten)) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            Ok(Goal::NotMet)
        }
        Err(error) => Err(CliError::Tune(error).located(&workload)),
    };
    if let (true, Ok(goal)) = (interrupts.stopped(), &goal) {
        // A thread that nobody waits for any more may still be in LLVM, whose own end it must not see.
        out.flush()?;
        signal_hook::low_level::exit(i32::from(*goal != Goal::Met));
    }
    goal
}

/// This program as a worker.
pub(super) fn worker_command() -> Result<Vec<PathBuf>, CliError> {
    let program = std::env::current_exe().map_err(|source| CliError::Program { source })?;
    Ok(vec![program, "worker".into()])
}

/// A run that a first Ctrl-C (or SIGTERM) ends early, a second at once, and its time in any case. Where signals cannot be
/// watched they end the process; the next `moat` folds its journal.
fn watched(args: &TuneArgs, db: &Path) -> Arc<Interrupts> {
    let interrupts = Arc::new(Interrupts::new(args.time));
    let (sender, requests) = mpsc::channel();
    if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) {
        let sender = sender.clone();
        std::thread::spawn(move || signals.forever().try_for_each(|_| sender.send(())));
    }
    // A file that grows past a limit is an error to report, like a full disk, and not the end of the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let (seen, db) = (Arc::clone(&interrupts), db.to_owned());
    std::thread::spawn(move || {
        // Lasts as long as there may be requests.
        let _sender = sender;
        watch(&seen, requests, |word| say(&word, &db));
    });
    interrupts
}

/// Says what becomes of an interrupted run, and ends the process unless the run ends by itself.
fn say(word: &Word, db: &Path) {
    let rest = match word {
        Word::Twice(_) => format!("; every trial so far is on record in {}", db.display()),
        Word::Ending(_) | Word::Nothing(_) | Word::TimeOver(..) => String::new(),
    };
    let mut stderr = std::io::stderr();
    let clear = if stderr.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(stderr, "{clear}{word}{rest}");
    if !matches!(word, Word::Ending(_)) {
        signal_hook::low_level::exit(1);
    }
}

fn to_json(summary: &Summary, config: &TuneConfig, function: &str) -> serde_json::Value {
    let outcomes: BTreeMap<&str, usize> = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.name(), summary.outcomes.get(outcome).copied().unwrap_or(0)))
        .collect();
    let best = &summary.shipped;
    json!({
        "workload": config.stem,
        "function": function,
        "trials": summary.trials,
        "failed": failed(summary),
        "threads": config.threads,
        "seconds": summary.seconds,
        "default_ns": summary.default.as_ref().map(|figure| figure.median_ns),
        "default_quartiles_ns": summary.default.as_ref().map(|figure| figure.quartiles_ns),
        "best_ns": best.median_ns,
        "best_quartiles_ns": best.quartiles_ns,
        "best_offset_ns": best.offset_ns,
        "best_cold_ns": best.cold_ns,
        "disturbance": summary.disturbance,
        "flops": summary.work.flops,
        "bytes": summary.work.bytes,
        "work_reduction": work_reduction(summary),
        "peak_fraction": summary.roof.fraction(summary.work, best.median_ns),
        "error_fraction": summary.error_fraction,
        "numerics": config.numerics.name(),
        "seed": config.seed,
        "interrupted": summary.interrupted,
        "run_id": summary.run_id,
        "kernel_dir": summary.kernel_dir,
        "notes": summary.notes,
        "outcomes": outcomes,
    })
}

fn failed(summary: &Summary) -> usize {
    summary.trials - summary.outcomes.get(&Outcome::Measured).copied().unwrap_or(0)
}

/// Scalar operations of the program as written over those of the executed nest; 1 where neither has any.
fn work_reduction(summary: &Summary) -> f64 {
    if summary.source_flops == summary.work.flops {
        return 1.0;
    }
    summary.source_flops as f64 / (summary.work.flops as f64).max(1.0)
}

fn write_summary(summary: &Summary, config: &TuneConfig, function: &str, out: &mut impl Write) -> Result<(), CliError> {
    let failures: Vec<String> = summary
        .outcomes
        .iter()
        .filter(|(outcome, _)| **outcome != Outcome::Measured)
        .map(|(outcome, count)| format!("{count} {}", outcome.name().replace('_', " ")))
        .collect();
    let failures = if failures.is_empty() { String::new() } else { format!(" ({})", failures.join(", ")) };
    let early = if summary.interrupted { ", ended early" } else { "" };
    let plural = if config.threads == 1 { "" } else { "s" };
    writeln!(out, "{}:{function}", config.stem)?;
    writeln!(
        out,
        "  trials    {}{failures} in {}{early}; {} thread{plural}",
        summary.trials,
        seconds(summary.seconds),
        config.threads
    )?;
    if let Some(default) = &summary.default {
        writeln!(out, "  default   {}", figure(default))?;
    }
    let best = &summary.shipped;
    let rate = summary.roof.rate(summary.work, best.median_ns);
    let fraction = summary.roof.fraction(summary.work, best.median_ns);
    let fraction =
        fraction.map_or_else(String::new, |fraction| format!(", {} of this machine's peak", percent(fraction)));
    writeln!(out, "  best      {}", figure(best))?;
    writeln!(out, "            {} {}{fraction}", significant(rate.value), rate.unit)?;
    match (&summary.default, summary.interval) {
        (Some(default), Some((low, high))) => writeln!(
            out,
            "  speedup   {}× the default (interval {} to {})",
            significant(default.median_ns / best.median_ns),
            significant(1.0 / high),
            significant(1.0 / low)
        )?,
        (Some(_), None) => writeln!(out, "  speedup   none beyond noise: the default ships")?,
        (None, _) => writeln!(out, "  speedup   unknown: the default gave no right result")?,
    }
    if let Some(note) = disturbance(&summary.disturbance) {
        writeln!(out, "  note      {note}")?;
    }
    let reduction = work_reduction(summary);
    if (reduction - 1.0).abs() > 0.005 {
        writeln!(out, "  work      {}× less than as written", significant(reduction))?;
    }
    writeln!(out, "  error     {} of its bound ({})", significant(summary.error_fraction), config.numerics)?;
    let rules = crate::tune::derivation(&summary.form);
    writeln!(out, "  rules     {}", if rules.is_empty() { "the source form".to_owned() } else { rules.join(" → ") })?;
    for (at, line) in schedule_in_words(&summary.form.form, &summary.schedule).iter().enumerate() {
        writeln!(out, "  {:<9} {line}", if at == 0 { "schedule" } else { "" })?;
    }
    writeln!(out, "  kernel    {}", summary.kernel_dir.display())?;
    Ok(())
}

/// What is wrong with figures that other work disturbed.
fn disturbance(seen: &Disturbance) -> Option<String> {
    let Disturbance { samples, repeated, disturbed, other_cores } = *seen;
    if !seen.matters() {
        return None;
    }
    let cores = other_cores.filter(|cores| *cores > 0.0).map(|cores| format!("used {} cores", significant(cores)));
    let taken = (disturbed > 0)
        .then(|| format!("took the core away in {disturbed} of {samples} samples ({repeated} more were repeated)"));
    let what: Vec<String> = cores.into_iter().chain(taken).collect();
    Some(format!(
        "other work {} meanwhile: times may be too long; tune again when the machine is idle",
        what.join(" and ")
    ))
}

fn figure(figure: &Figure) -> String {
    let Figure { trial, median_ns, quartiles_ns: (low, high), samples, offset_ns, cold_ns, iqr_ns: _ } = figure;
    let least = offset_ns.values().copied().fold(f64::INFINITY, f64::min);
    let most = offset_ns.values().copied().fold(0.0, f64::max);
    let moved =
        (most > 1.1 * least).then(|| format!("; {} to {} by the arguments' alignment", time(least), time(most)));
    let cold = cold_ns.filter(|cold| *cold > 1.1 * median_ns).map(|cold| format!("; {} after other work", time(cold)));
    format!(
        "{} (median of {samples}, half of them in {} to {}{}{}; trial {trial})",
        time(*median_ns),
        time(*low),
        time(*high),
        moved.unwrap_or_default(),
        cold.unwrap_or_default()
    )
}
