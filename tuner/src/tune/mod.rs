//! The loop that tunes: draws candidates, has them measured, records every one, and lets the best ship.
//!
//! Input: a workload, what to try ([`TuneConfig`]), a database, an [`Observer`]. Output: a [`Summary`] and a folder with
//! the kernel. `prepare` comes before the first trial, `trials` are measured and recorded, the `comparison` decides what
//! ships, `ship` makes its files, and `folder` writes them. A candidate's failure is a row; only what concerns the whole
//! run is an error. Nothing is printed here.

mod comparison;
mod config;
mod error;
mod folder;
mod identity;
mod inputs;
mod observer;
mod prepare;
mod ship;
mod summary;
mod trials;

pub use config::TuneConfig;
pub use error::TuneError;
pub use identity::{derivation, workload_hash};
pub use observer::{Observer, Progress};
pub use summary::{Figure, Summary};

use crate::as_written;
use crate::cost_db::CostDb;
use crate::interrupt::Interrupts;
use crate::outcome::Outcome;
use crate::roof::Roof;
use folder::write_kernel;
use moat_optimizer::frontend::Workload;
use moat_rules::RuleBase;
use observer::Reporter;
use prepare::{Prepared, prepare};
use ship::Shipment;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use trials::{Run, template};

/// Tunes `workload`.
///
/// # Errors
/// If there is nothing to ship, or the run as a whole cannot go on. Rows recorded until then stay.
pub fn tune(
    workload: &Workload,
    config: &TuneConfig,
    db: &CostDb,
    observer: &mut dyn Observer,
    interrupts: &Interrupts,
) -> Result<Summary, TuneError> {
    let mut reporter = Reporter::new(observer, interrupts);
    let program = &workload.program;
    reporter.enter("deriving normal forms")?;
    let rules = RuleBase::standard()?;
    let Prepared { forms, mut bench, mut searcher } = prepare(program, &rules, config, db, &mut reporter)?;
    let source_flops = as_written::flops(program);

    reporter.enter("measuring the first kernel")?;
    let mut recording = db.record()?;
    let template = template(workload, config, &rules, &recording, source_flops);
    let mut run = Run::new(program, config, &forms, &mut recording, template);
    let measured = run.trials(&mut bench, &mut searcher, &mut reporter)?;
    if measured.len() > 1 && !interrupts.abandon.load(Ordering::Relaxed) {
        reporter.begin("comparing the best with the default");
    }
    let verdict = run.compare(&mut bench, &measured, interrupts)?;
    bench.stop();

    let Run { outcomes, mut ready, unrecorded, .. } = run;
    if unrecorded > 0 {
        reporter
            .note(&format!("{unrecorded} rows of this run are not in the cost database, which could not be written"));
    }
    let trials = outcomes.values().sum();
    let run_id = recording.run_id().to_owned();
    let Some(verdict) = verdict else {
        reporter.observer.finished();
        recording.finish()?;
        return Err(without_kernel(&outcomes, interrupts));
    };
    reporter.begin("writing the kernel");
    let winner = &measured[verdict.winner];
    let form = forms[winner.form].clone();
    let roof = Roof::new(&config.target, &form.form, config.threads);
    let shipment = Shipment { program, form: &form.form, nest: &winner.nest, config };
    let linked = ready.take(winner.trial, &shipment, interrupts)?;
    let written = match &linked {
        Some(linked) => write_kernel(workload, config, winner, &form, &verdict, &rules, linked),
        None => Err(TuneError::NotWritten),
    };
    // Every row is in the journal already, which stays where this fails.
    if let Err(error) = recording.finish() {
        reporter.note(&format!("{error}; the run's rows stay in its journal"));
    }
    reporter.observer.finished();
    let notes = reporter.notes;
    Ok(Summary {
        trials,
        outcomes,
        seconds: interrupts.elapsed().as_secs_f64(),
        default: verdict.default,
        shipped: verdict.shipped,
        interval: verdict.interval,
        disturbance: verdict.disturbance,
        form,
        form_index: winner.form,
        schedule: winner.schedule.clone(),
        work: winner.work,
        source_flops,
        roof,
        error_fraction: winner.end.error_fraction.unwrap_or(0.0),
        kernel_dir: written?,
        run_id,
        interrupted: interrupts.by_a_person(),
        notes,
    })
}

/// Why a run ends with nothing to ship.
fn without_kernel(outcomes: &BTreeMap<Outcome, usize>, interrupts: &Interrupts) -> TuneError {
    if interrupts.stopped() {
        return TuneError::Interrupted { why: interrupts.reason() };
    }
    let trials = outcomes.values().sum();
    let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    TuneError::NoKernel { trials, outcomes: outcomes.join(", ") }
}
