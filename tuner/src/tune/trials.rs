//! The trials: one candidate after the other is lowered, measured and recorded.
//!
//! Input: what was prepared. Output: the candidates that were measured, and a row for every trial in the database.

use super::config::TuneConfig;
use super::error::TuneError;
use super::identity::{derivation, hash, workload_hash};
use super::observer::{Progress, Reporter};
use super::ship::{Ready, Shipment};
use crate::cost_db::Recording;
use crate::interrupt::Interrupts;
use crate::measure::{Bench, Trial};
use crate::outcome::Outcome;
use crate::promotion::{interquartile_range, median};
use crate::roof::Roof;
use crate::row::{Row, Stage};
use crate::search::{Candidate, Searcher};
use crate::worker::protocol::{LONG_CALL_NS, Sampling, Source};
use moat_optimizer::apply::apply;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::frontend::Workload;
use moat_optimizer::nest::LoopNest;
use moat_optimizer::nest::work::{Work, work};
use moat_optimizer::program::expr::Program;
use moat_optimizer::schedule::Schedule;
use moat_rules::RuleBase;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Runs end after so many lost workers in a row.
const LOST_WORKERS: usize = 3;

/// One of the forms with a schedule, lowered.
pub(super) struct Measured {
    pub(super) trial: usize,
    pub(super) form: usize,
    pub(super) schedule: Schedule,
    pub(super) nest: LoopNest,
    pub(super) work: Work,
    pub(super) end: Trial,
}

impl Measured {
    /// Median of its trial.
    pub(super) fn median_ns(&self) -> f64 {
        median(&self.end.samples_ns)
    }
}

/// A measurement of a candidate, which a row records.
#[derive(Clone, Copy)]
pub(super) struct Measurement<'a> {
    pub(super) trial: usize,
    pub(super) stage: Stage,
    pub(super) form: usize,
    pub(super) schedule: &'a Schedule,
    /// Where the schedule is legal.
    pub(super) nest: Option<&'a LoopNest>,
    pub(super) work: Option<Work>,
    pub(super) end: &'a Trial,
}

/// A run that is being recorded.
pub(super) struct Run<'a> {
    pub(super) program: &'a Program,
    pub(super) config: &'a TuneConfig,
    pub(super) forms: &'a [DerivedForm],
    pub(super) recording: &'a mut Recording,
    pub(super) template: Row,
    pub(super) outcomes: BTreeMap<Outcome, usize>,
    pub(super) ready: Ready,
    /// Rows that could not be recorded.
    pub(super) unrecorded: usize,
}

impl<'a> Run<'a> {
    /// A run without trials; `template` is what all its rows have in common.
    pub(super) fn new(
        program: &'a Program,
        config: &'a TuneConfig,
        forms: &'a [DerivedForm],
        recording: &'a mut Recording,
        template: Row,
    ) -> Run<'a> {
        let (outcomes, ready) = (BTreeMap::new(), Ready::default());
        Run { program, config, forms, recording, template, outcomes, ready, unrecorded: 0 }
    }

    /// Every trial; what was measured, in order.
    pub(super) fn trials(
        &mut self,
        bench: &mut Bench,
        searcher: &mut Searcher,
        reporter: &mut Reporter<'_>,
    ) -> Result<Vec<Measured>, TuneError> {
        let interrupts = reporter.interrupts;
        let begin = Instant::now();
        let mut measured: Vec<Measured> = Vec::new();
        let mut best: Option<usize> = None;
        let mut lost = 0;
        let mut trial = 0;
        while trial < self.config.trials && !interrupts.stopped() {
            let Some(candidate) = searcher.next_unless(&|| interrupts.stopped()) else { break };
            let incumbent = best.map(|at| measured[at].median_ns());
            let (nest, end) = self.attempt(bench, &candidate, incumbent, interrupts);
            let Some(end) = end else { break };
            *self.outcomes.entry(end.outcome).or_default() += 1;
            let work = nest.as_ref().map(work);
            let row = self.row(&Measurement {
                trial,
                stage: Stage::Trial,
                schedule: &candidate.schedule,
                form: candidate.form,
                nest: nest.as_ref(),
                work,
                end: &end,
            });
            if let Err(error) = self.recording.append(&row) {
                self.unrecorded += 1;
                if self.unrecorded == 1 {
                    reporter.note(&format!("{error}; the run goes on without a record"));
                }
            }
            let samples = !end.samples_ns.is_empty();
            searcher.observe(&candidate, samples.then(|| median(&end.samples_ns)));
            lost = if end.outcome == Outcome::WorkerLost { lost + 1 } else { 0 };
            if lost >= LOST_WORKERS {
                return Err(TuneError::Worker { detail: end.detail });
            }
            let outcome = end.outcome;
            if let (Outcome::Measured, Some(nest), Some(work)) = (outcome, nest, work) {
                let (form, schedule) = (candidate.form, candidate.schedule);
                measured.push(Measured { trial, form, schedule, nest, work, end });
                let last = measured.len() - 1;
                if measured.len() == 1 {
                    interrupts.has_kernel();
                    interrupts.enter("measuring");
                }
                if best.is_none_or(|at| measured[last].median_ns() < measured[at].median_ns()) {
                    best = Some(last);
                    self.prepare(&measured[last], interrupts)?;
                }
            }
            trial += 1;
            reporter.observer.trial(&Progress {
                done: trial,
                trials: self.config.trials,
                elapsed: begin.elapsed(),
                left: interrupts.trials_limit().map(|limit| limit.saturating_sub(interrupts.elapsed())),
                outcome,
                best: best.map(|at| {
                    let best = &measured[at];
                    let form = &self.forms[best.form].form;
                    (best.median_ns(), best.work, Roof::new(&self.config.target, form, self.config.threads))
                }),
            });
        }
        Ok(measured)
    }

    /// The files of a new best kernel, where they take long.
    fn prepare(&mut self, kernel: &Measured, interrupts: &Interrupts) -> Result<(), TuneError> {
        let form = &self.forms[kernel.form].form;
        let shipment = Shipment { program: self.program, form, nest: &kernel.nest, config: self.config };
        Ok(self.ready.prepare(kernel.trial, kernel.end.compile_ns, &shipment, interrupts)?)
    }

    /// Lowers a candidate and has it measured; no end if interrupted.
    fn attempt(
        &self,
        bench: &mut Bench,
        candidate: &Candidate,
        incumbent: Option<f64>,
        interrupts: &Interrupts,
    ) -> (Option<LoopNest>, Option<Trial>) {
        let form = &self.forms[candidate.form].form;
        let nest = match apply(form, &candidate.schedule) {
            Ok(nest) => nest,
            Err(error) => return (None, Some(Trial::failed(Outcome::Illegal, error.to_string()))),
        };
        // Long calls vary little: what is a tenth slower once is slower.
        let hopeless = |ns: f64| if ns >= LONG_CALL_NS { 1.1 * ns } else { 1.5 * ns };
        let sampling = Sampling { hopeless_ns: incumbent.map(hopeless), ..Sampling::default() };
        let end = bench.trial(self.source(&nest), incumbent, &sampling, &interrupts.stop);
        (Some(nest), end)
    }

    /// What a worker compiles.
    pub(super) fn source(&self, nest: &LoopNest) -> Source {
        let (numerics, threads) = (self.config.numerics, self.config.threads);
        Source::Nest { nest: Box::new(nest.clone()), numerics, threads }
    }

    /// What is recorded of a measurement.
    pub(super) fn row(&self, of: &Measurement<'_>) -> Row {
        let &Measurement { trial, stage, schedule, form, nest, work, end } = of;
        let samples = !end.samples_ns.is_empty();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Row {
            trial: trial as u64,
            stage: stage.name().to_owned(),
            recorded_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            normal_form_hash: hash(&self.forms[form].form),
            form_index: form as u64,
            derivation: derivation(&self.forms[form]),
            schedule_json: json!(schedule).to_string(),
            nest_hash: nest.map(hash).unwrap_or_default(),
            outcome: end.outcome.name().to_owned(),
            detail: end.detail.clone(),
            median_ns: samples.then(|| median(&end.samples_ns)),
            iqr_ns: samples.then(|| interquartile_range(&end.samples_ns)),
            samples_ns: end.samples_ns.clone(),
            compile_ns: end.compile_ns,
            flops: work.map(|work| work.flops as f64),
            bytes: work.map(|work| work.bytes as f64),
            error_fraction: end.error_fraction,
            workspace_bytes: end.workspace_bytes as u64,
            disturbed_samples: end.disturbance.disturbed as u64,
            other_cores: end.disturbance.other_cores,
            ..self.template.clone()
        }
    }
}

/// A row with everything that is the same for the whole run.
pub(super) fn template(
    workload: &Workload,
    config: &TuneConfig,
    rules: &RuleBase,
    recording: &Recording,
    source_flops: u64,
) -> Row {
    let target = &config.target;
    let (major, minor, patch) = inkwell::support::get_llvm_version();
    let lets: BTreeMap<&str, String> =
        config.lets.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    Row {
        run_id: recording.run_id().to_owned(),
        moat_version: env!("CARGO_PKG_VERSION").to_owned(),
        codegen_version: env!("MOAT_CODEGEN_VERSION").to_owned(),
        llvm_version: format!("{major}.{minor}.{patch}"),
        workload: config.stem.clone(),
        function: workload.program.name.clone(),
        lets_json: json!(lets).to_string(),
        workload_hash: workload_hash(&workload.program),
        rule_base_hash: rules.hash().to_owned(),
        triple: target.triple.clone(),
        cpu: target.cpu.clone(),
        cpu_model: target.model.clone(),
        cpu_features: target.features.clone(),
        vector_bytes: target.vector_bytes as u64,
        cache_bytes: target.cache_bytes.iter().map(|&bytes| bytes as u64).collect(),
        cores: target.cores as u64,
        threads: config.threads as u64,
        peak_gflops_f32: target.peak_gflops_f32,
        peak_gflops_f64: target.peak_gflops_f64,
        bandwidth_gb_s: target.bandwidth_gb_s,
        crossing_store: target.crossing_store,
        numerics: config.numerics.name().to_owned(),
        seed: config.seed,
        source_flops: Some(source_flops as f64),
        ..Row::default()
    }
}
