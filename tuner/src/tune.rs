//! The loop that tunes: draws candidates, has them measured, records every one, and lets the best ship.
//!
//! Input: a workload, what to try, a database, an observer. Output: a [`Summary`] and a folder with the kernel. A
//! candidate's failure is a row; only what concerns the whole run is an error. Nothing is printed here.

use crate::candidates;
use crate::cost_db::{CostDb, CostDbError, Recording};
use crate::interrupt::{Interrupts, Word};
use crate::measure::{Bench, BenchConfig, InputData, InputSet, Limits, Trial};
use crate::outcome::Outcome;
use crate::preflight::another_set_fits;
use crate::promotion::{Promotion, faster_beyond_noise, interquartile_range, median, promote, quantile};
use crate::reference::{ReferenceError, references};
use crate::roof::Roof;
use crate::row::Row;
use crate::search::{Candidate, Neighbour, Searcher};
use crate::ship::{Ready, Shipment};
use crate::worker::disturbance::Disturbance;
use crate::worker::protocol::{Argument, Comparison, LONG_CALL_NS, Sampling, Source};
use crate::{as_written, machine};
use moat_codegen::artifact::{ArtifactError, Linked};
use moat_optimizer::apply::apply;
use moat_optimizer::forms::{DerivedForm, FormsError, Limits as FormLimits, forms};
use moat_optimizer::frontend::Workload;
use moat_optimizer::nest::LoopNest;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::work::{Work, work};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::inputs::{Density, InputError};
use moat_optimizer::program::expr::{Program, Span};
use moat_optimizer::schedule::Schedule;
use moat_optimizer::space::SpaceError;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::{RuleBase, RuleError, hexadecimal};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds of the final comparison, the same number at each offset of the arguments.
const ROUNDS: usize = 24;
/// Fewer where they would take longer than this, but not fewer than that.
const COMPARISON_NS: f64 = 4e10;
const FEWEST_ROUNDS: usize = 5;
/// A comparison that other work disturbed is made again so often,
const COMPARISONS: usize = 3;
/// unless it takes longer than this.
const LONG_COMPARISON: Duration = Duration::from_secs(10);
/// Candidates in it, beside the default.
const FINALISTS: usize = 5;
/// Runs end after so many lost workers in a row.
const LOST_WORKERS: usize = 3;

/// What to do.
#[derive(Clone, Debug)]
pub struct TuneConfig {
    /// Name of the kernel's folder and files.
    pub stem: String,
    /// The most trials, the default included.
    pub trials: usize,
    /// Threads of the kernel.
    pub threads: usize,
    /// How far floating-point results may differ from the source program's.
    pub numerics: Numerics,
    /// Overridden module constants, for the record.
    pub lets: BTreeMap<String, Literal>,
    /// Real inputs: one of the input sets; the others are random.
    pub inputs: Option<Vec<Tensor>>,
    /// Of random inputs and of the search.
    pub seed: u64,
    /// Directory of the kernels' folders.
    pub out: PathBuf,
    /// The program and its arguments that make it a worker.
    pub worker: Vec<PathBuf>,
    /// The machine.
    pub target: Target,
}

/// What ends a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The rule base.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The workload has no normal form.
    #[error(transparent)]
    Forms(#[from] FormsError),
    /// Random inputs.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The reference.
    #[error(transparent)]
    Interpret(#[from] ReferenceError),
    /// The search.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The cost database.
    #[error(transparent)]
    CostDb(#[from] CostDbError),
    /// The kernel's files.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The inputs and references cannot be given to workers.
    #[error("cannot prepare the measurements: {reason}")]
    Data {
        /// Why not.
        reason: std::io::Error,
    },
    /// A person, or the time, ended the run before there was a kernel.
    #[error("{why}")]
    Interrupted {
        /// Which of the two, and in which stage.
        why: Word,
    },
    /// An interrupted run would have had to wait for a compiler.
    #[error("the kernel was not written, as compiling it takes too long after an interrupt; its trials are on record")]
    NotWritten,
    /// Workers do not live.
    #[error("no worker could measure: {detail}")]
    Worker {
        /// The last one's end.
        detail: String,
    },
    /// Nothing was measured.
    #[error("no candidate gave a right result ({trials} trials: {outcomes})")]
    NoKernel {
        /// How many were tried.
        trials: usize,
        /// What became of them.
        outcomes: String,
    },
}

/// Sees what happens.
pub trait Observer {
    /// A phase begins that takes a while.
    fn phase(&mut self, what: &str);
    /// Something that a person should know, whatever comes of the run.
    fn note(&mut self, what: &str);
    /// A trial has ended.
    fn trial(&mut self, progress: &Progress);
    /// All trials have ended.
    fn finished(&mut self);
}

/// Where a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Trials ended.
    pub done: usize,
    /// Trials at most.
    pub trials: usize,
    /// Since the first trial began.
    pub elapsed: Duration,
    /// What is left of the time for trials.
    pub left: Option<Duration>,
    /// How the last one ended.
    pub outcome: Outcome,
    /// The best median so far, its work, and the roof over it.
    pub best: Option<(f64, Work, Roof)>,
}

/// A kernel's final figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Trial in which it was measured first.
    pub trial: usize,
    /// Median of the final comparison, or of its trial if there was none.
    pub median_ns: f64,
    /// Interquartile range of the same samples.
    pub iqr_ns: f64,
    /// Their quartiles.
    pub quartiles_ns: (f64, f64),
    /// How many there were.
    pub samples: usize,
    /// Medians with the arguments so many bytes past a cache line, if they were moved.
    pub offset_ns: BTreeMap<usize, f64>,
    /// Median of calls after other work, which leaves nothing of the arguments in the caches, if there were any.
    pub cold_ns: Option<f64>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Trials made.
    pub trials: usize,
    /// How many ended how.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// From the beginning of the run.
    pub seconds: f64,
    /// The default's figures, if it was measured.
    pub default: Option<Figure>,
    /// Those of what ships.
    pub shipped: Figure,
    /// The interval of the shipped kernel's time ratio to the default, if that was measured.
    pub interval: Option<(f64, f64)>,
    /// What other work did while it was compared with the default.
    pub disturbance: Disturbance,
    /// The form of what ships.
    pub form: DerivedForm,
    /// Its rank.
    pub form_index: usize,
    /// Its schedule.
    pub schedule: Schedule,
    /// Work of the executed nest.
    pub work: Work,
    /// Scalar operations of the program as written.
    pub source_flops: u64,
    /// The shipped kernel's roof.
    pub roof: Roof,
    /// The largest error of an element, as a fraction of its bound.
    pub error_fraction: f64,
    /// The folder with the kernel.
    pub kernel_dir: PathBuf,
    /// The run in the database.
    pub run_id: String,
    /// A person ended it.
    pub interrupted: bool,
    /// What a person should know: what was cut short, what was not recorded.
    pub notes: Vec<String>,
}

/// One of the forms with a schedule, lowered.
struct Measured {
    trial: usize,
    form: usize,
    schedule: Schedule,
    nest: LoopNest,
    work: Work,
    end: Trial,
}

impl Measured {
    fn median_ns(&self) -> f64 {
        median(&self.end.samples_ns)
    }
}

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
    let mut stage = Stage { observer, interrupts, notes: Vec::new() };
    let program = &workload.program;
    stage.enter("deriving normal forms")?;
    let rules = RuleBase::standard()?;
    let over = || interrupts.deriving_is_over();
    let found = forms(program, &rules, config.numerics, &FormLimits { is_over: &over, ..FormLimits::default() })?;
    let forms = found.forms;
    if found.cut && !interrupts.by_a_person() {
        let others = match forms.len() {
            1 => "only the source form is".to_owned(),
            count => format!("only {count} normal forms are"),
        };
        stage.note(&format!("deriving took its share of --time: {others} tried; more time may find better ones"));
    }
    found.limits.iter().for_each(|limit| stage.note(limit));
    stage.enter("computing references")?;
    let data = input_data(program, &forms, config, &mut stage)?;
    let mut bench = Bench::new(bench_config(config, &data), arguments(program), data);
    stage.enter("preparing the search")?;
    let (numerics, threads) = (config.numerics, config.threads);
    let mut searcher = candidates::search(&forms, &config.target, numerics, threads, config.seed, config.trials)?;
    let source_flops = as_written::flops(program);
    searcher.warm_start(known(db, &forms, config)?);

    stage.enter("measuring the first kernel")?;
    let mut recording = db.record()?;
    let template = template(workload, config, &rules, &recording, source_flops);
    let mut run = Run {
        program,
        config,
        forms: &forms,
        recording: &mut recording,
        template,
        outcomes: BTreeMap::new(),
        ready: Ready::default(),
        unrecorded: 0,
    };
    let measured = run.trials(&mut bench, &mut searcher, &mut stage)?;
    if measured.len() > 1 && !interrupts.abandon.load(Ordering::Relaxed) {
        stage.begin("comparing the best with the default");
    }
    let verdict = run.compare(&mut bench, &measured, interrupts)?;
    bench.stop();

    let Run { outcomes, mut ready, unrecorded, .. } = run;
    if unrecorded > 0 {
        stage.note(&format!("{unrecorded} rows of this run are not in the cost database, which could not be written"));
    }
    let trials = outcomes.values().sum();
    let run_id = recording.run_id().to_owned();
    let Some(verdict) = verdict else {
        stage.observer.finished();
        recording.finish()?;
        if interrupts.stopped() {
            return Err(TuneError::Interrupted { why: interrupts.reason() });
        }
        let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        return Err(TuneError::NoKernel { trials, outcomes: outcomes.join(", ") });
    };
    stage.begin("writing the kernel");
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
        stage.note(&format!("{error}; the run's rows stay in its journal"));
    }
    stage.observer.finished();
    let notes = stage.notes;
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

/// What a run tells of itself, and asks.
struct Stage<'a> {
    observer: &'a mut dyn Observer,
    interrupts: &'a Interrupts,
    notes: Vec<String>,
}

impl Stage<'_> {
    /// A stage begins before there is a kernel: not after an interrupt.
    fn enter(&mut self, what: &str) -> Result<(), TuneError> {
        if self.interrupts.stopped() {
            return Err(TuneError::Interrupted { why: self.interrupts.reason() });
        }
        self.begin(what);
        Ok(())
    }

    fn begin(&mut self, what: &str) {
        self.interrupts.enter(what);
        self.observer.phase(what);
    }

    fn note(&mut self, what: &str) {
        self.observer.note(what);
        self.notes.push(what.to_owned());
    }
}

/// Schedules that were measured for one of these very forms on such a machine, fastest first: worth a trial here, and no
/// more than that. After those for as many threads come those for others.
fn known(db: &CostDb, forms: &[DerivedForm], config: &TuneConfig) -> Result<Vec<Neighbour>, TuneError> {
    let hashes: BTreeMap<String, usize> = forms.iter().enumerate().map(|(at, form)| (hash(&form.form), at)).collect();
    let mut found: Vec<(f64, Neighbour)> = Vec::new();
    for row in db.read()?.rows {
        let alike = row.cpu_model == config.target.model && row.numerics == config.numerics.name();
        if let (true, Some(ns), Some(&form)) = (alike, row.median_ns, hashes.get(&row.normal_form_hash))
            && let Ok(threads) = usize::try_from(row.threads)
            && let Ok(schedule) = serde_json::from_str(&row.schedule_json)
        {
            found.push((ns, Neighbour { candidate: Candidate { form, schedule }, threads }));
        }
    }
    let others = |neighbour: &Neighbour| neighbour.threads != config.threads;
    found.sort_by(|(ns, a), (other_ns, b)| {
        let nearest = others(a).cmp(&others(b)).then_with(|| ns.total_cmp(other_ns));
        nearest.then_with(|| a.candidate.cmp(&b.candidate))
    });
    Ok(found.into_iter().map(|(_, neighbour)| neighbour).collect())
}

/// The set with special values.
const SPECIAL_SET: u64 = 2;
/// A reference that takes longer than this is computed for one set of inputs.
const LONG_REFERENCE: Duration = Duration::from_secs(20);

/// Sets of inputs with their references: real ones first, if there are any, then random ones, and some with special values
/// among them, for checking alone. Where a program has an error of its own on special values, there are none.
fn input_data(
    program: &Program,
    forms: &[DerivedForm],
    config: &TuneConfig,
    stage: &mut Stage<'_>,
) -> Result<InputData, TuneError> {
    let mut data = InputData::new().map_err(|reason| TuneError::Data { reason })?;
    // Without parameters, every set is the same.
    let sets = if program.params.is_empty() { 1 } else { 3 };
    let started = Instant::now();
    for set in 0..sets {
        if set > 0 && started.elapsed() > LONG_REFERENCE {
            break;
        }
        if set > 0 && !another_set_fits(program, config.numerics) {
            stage.note("memory is short: candidates are checked on fewer sets of inputs than three");
            break;
        }
        let seed = config.seed.wrapping_add(set);
        let draw = |param| {
            if set == SPECIAL_SET { inputs::special(param, seed, Density::Few) } else { inputs::random(param, seed) }
        };
        let inputs = match &config.inputs {
            Some(inputs) if set == 0 => inputs.clone(),
            Some(_) | None => program.params.iter().map(draw).collect::<Result<Vec<_>, _>>()?,
        };
        let Some(source) = forms.first() else { break };
        let found = match in_background(program, &source.form, inputs, config, stage) {
            Err(TuneError::Interpret(_)) if set == SPECIAL_SET => break,
            found => found?,
        };
        data.push(found).map_err(|reason| TuneError::Data { reason })?;
    }
    Ok(data)
}

/// Inputs with their references, which a thread of its own computes: a person who interrupts does not wait for it.
fn in_background(
    program: &Program,
    source: &Schedulable,
    inputs: Vec<Tensor>,
    config: &TuneConfig,
    stage: &mut Stage<'_>,
) -> Result<InputSet, TuneError> {
    /// How long nothing is said.
    const SILENCE: Duration = Duration::from_secs(10);
    let (sender, receiver) = mpsc::channel();
    let (program, source, target) = (program.clone(), source.clone(), config.target.clone());
    let numerics = config.numerics;
    std::thread::spawn(move || {
        let found = references(&program, &source, &inputs, numerics, &target);
        // Nobody listens any more after an interrupt.
        let _ = sender.send(found.map(|references| InputSet { inputs, references }));
    });
    let started = Instant::now();
    let mut said = 0;
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(found) => return Ok(found?),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(TuneError::Data { reason: std::io::Error::other("the reference was not computed") });
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stage.interrupts.stopped() {
            return Err(TuneError::Interrupted { why: stage.interrupts.reason() });
        }
        let silent = started.elapsed().as_secs() / SILENCE.as_secs();
        if silent > said {
            said = silent;
            stage.observer.phase(&format!("computing references ({} s)", started.elapsed().as_secs()));
        }
    }
}

fn arguments(program: &Program) -> Vec<Argument> {
    let params = program.params.iter().map(|param| Argument {
        name: param.name.clone(),
        dtype: param.dtype,
        shape: param.shape.clone(),
        output: false,
    });
    let outputs = program.results().iter().enumerate().map(|(at, &root)| {
        let node = &program.nodes[root];
        Argument { name: format!("result{at}"), dtype: node.dtype, shape: node.shape.clone(), output: true }
    });
    params.chain(outputs).collect()
}

fn bench_config(config: &TuneConfig, data: &InputData) -> BenchConfig {
    // A candidate with absurd scratch memory must fail instead of driving the machine out of memory.
    let memory_bytes = machine::memory_bytes().map(|total| total.max(2 * data.bytes() + (4 << 30)));
    BenchConfig {
        command: config.worker.clone(),
        cores: machine::worker_cores(config.threads),
        memory_bytes,
        target: config.target.clone(),
        limits: Limits::default(),
    }
}

/// A row with everything that is the same for the whole run.
fn template(
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

/// Names of the rules that derive `form` from the source form, in order.
pub fn derivation(form: &DerivedForm) -> Vec<String> {
    form.derivation.rules.clone()
}

/// Hash of what is computed: nodes, shapes, dtypes, hints; not where it stands in a file.
pub fn workload_hash(program: &Program) -> String {
    let mut program = program.clone();
    for node in &mut program.nodes {
        node.span = Span::default();
    }
    hash(&program)
}

fn hash<T: Serialize>(value: &T) -> String {
    // What is hashed here is plain data, which always has a JSON form.
    hexadecimal(&Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}

/// What ships.
struct Verdict {
    /// Index among the measured.
    winner: usize,
    default: Option<Figure>,
    shipped: Figure,
    interval: Option<(f64, f64)>,
    disturbance: Disturbance,
}

/// A run that is being recorded.
struct Run<'a> {
    program: &'a Program,
    config: &'a TuneConfig,
    forms: &'a [DerivedForm],
    recording: &'a mut Recording,
    template: Row,
    outcomes: BTreeMap<Outcome, usize>,
    ready: Ready,
    /// Rows that could not be recorded.
    unrecorded: usize,
}

impl Run<'_> {
    /// Every trial; what was measured, in order.
    fn trials(
        &mut self,
        bench: &mut Bench,
        searcher: &mut Searcher,
        stage: &mut Stage<'_>,
    ) -> Result<Vec<Measured>, TuneError> {
        let interrupts = stage.interrupts;
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
            let row = self.row(trial, "trial", &candidate.schedule, candidate.form, nest.as_ref(), work, &end);
            if let Err(error) = self.recording.append(&row) {
                self.unrecorded += 1;
                if self.unrecorded == 1 {
                    stage.note(&format!("{error}; the run goes on without a record"));
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
            stage.observer.trial(&Progress {
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

    fn source(&self, nest: &LoopNest) -> Source {
        let (numerics, threads) = (self.config.numerics, self.config.threads);
        Source::Nest { nest: Box::new(nest.clone()), numerics, threads }
    }

    #[expect(clippy::too_many_arguments, reason = "a row has many columns")]
    fn row(
        &self,
        trial: usize,
        stage: &str,
        schedule: &Schedule,
        form: usize,
        nest: Option<&LoopNest>,
        work: Option<Work>,
        end: &Trial,
    ) -> Row {
        let samples = !end.samples_ns.is_empty();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Row {
            trial: trial as u64,
            stage: stage.to_owned(),
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

    /// Measures the best few and the default again, interleaved, and decides. `None` if nothing was measured.
    fn compare(
        &mut self,
        bench: &mut Bench,
        measured: &[Measured],
        interrupts: &Interrupts,
    ) -> Result<Option<Verdict>, TuneError> {
        let mut order: Vec<usize> = (0..measured.len()).collect();
        order.sort_by(|&a, &b| measured[a].median_ns().total_cmp(&measured[b].median_ns()));
        let Some(&fastest) = order.first() else { return Ok(None) };
        let default = measured.iter().position(|kernel| kernel.trial == 0);
        // Without a measured default there is nothing to be better than.
        let reference = default.unwrap_or(fastest);
        let mut entries = vec![reference];
        let time_ns = comparison_ns(interrupts);
        if order.len() == 1 && measured[reference].median_ns() * FEWEST_ROUNDS as f64 > time_ns {
            // Nothing to compare with, and no time to measure it again.
            let figure = figure(&measured[reference], &measured[reference].end.samples_ns);
            let default = default.map(|_| figure.clone());
            let disturbance = measured[reference].end.disturbance;
            return Ok(Some(Verdict { winner: reference, default, shipped: figure, interval: None, disturbance }));
        }
        // One at least, and no more than there is time for.
        let mut round = measured[reference].median_ns();
        for at in order.into_iter().filter(|&at| at != reference).take(FINALISTS) {
            round += measured[at].median_ns();
            if entries.len() > 1 && round * FEWEST_ROUNDS as f64 > time_ns {
                break;
            }
            entries.push(at);
        }
        let (entries, compared) = self.comparison(bench, measured, entries, interrupts);
        let Some(compared) = compared else {
            // Interrupted, or the default fails beside others: what the trials saw must do.
            return Ok(Some(self.without_rounds(measured, default, reference, fastest, interrupts)));
        };
        let Promotion { winner, intervals } = promote(&compared.rounds, self.config.seed);
        let mut figures = Vec::with_capacity(entries.len());
        for (at, &entry) in entries.iter().enumerate() {
            let kernel = &measured[entry];
            let figure = figure_of(kernel, &compared, at);
            let end = Trial {
                samples_ns: compared.rounds[at].clone(),
                disturbance: compared.disturbance,
                ..kernel.end.clone()
            };
            let (nest, work) = (Some(&kernel.nest), Some(kernel.work));
            let row = Row {
                shipped: at == winner,
                offset_ns: figure.offset_ns.values().copied().collect(),
                cold_ns: figure.cold_ns,
                ..self.row(kernel.trial, "final", &kernel.schedule, kernel.form, nest, work, &end)
            };
            self.unrecorded += usize::from(self.recording.append(&row).is_err());
            figures.push(figure);
        }
        Ok(Some(Verdict {
            winner: entries[winner],
            default: default.map(|_| figures[0].clone()),
            shipped: figures.swap_remove(winner),
            interval: winner.checked_sub(1).map(|at| intervals[at]),
            disturbance: compared.disturbance,
        }))
    }

    /// What ships where there are no rounds. After an interrupt the fastest does, if its trial and the default's differ
    /// beyond noise and its files are there soon.
    fn without_rounds(
        &self,
        measured: &[Measured],
        default: Option<usize>,
        reference: usize,
        fastest: usize,
        interrupts: &Interrupts,
    ) -> Verdict {
        let (base, best) = (&measured[reference], &measured[fastest]);
        let interval = faster_beyond_noise(&base.end.samples_ns, &best.end.samples_ns, self.config.seed)
            .filter(|_| interrupts.abandon.load(Ordering::Relaxed) && fastest != reference)
            .filter(|_| self.ready.is_soon(best.trial, best.end.compile_ns));
        let winner = if interval.is_some() { fastest } else { reference };
        Verdict {
            winner,
            default: default.map(|at| figure(&measured[at], &measured[at].end.samples_ns)),
            shipped: figure(&measured[winner], &measured[winner].end.samples_ns),
            interval,
            disturbance: measured[winner].end.disturbance,
        }
    }

    /// Interleaved rounds, again where other work disturbed them: of several, the least disturbed. A candidate that fails
    /// now is left out; nothing if the first one does.
    fn comparison(
        &self,
        bench: &mut Bench,
        measured: &[Measured],
        mut entries: Vec<usize>,
        interrupts: &Interrupts,
    ) -> (Vec<usize>, Option<Comparison>) {
        let batch_ns = Sampling::default().batch_ns;
        let mut compare = |entries: &[usize]| {
            let sources: Vec<Source> = entries.iter().map(|&at| self.source(&measured[at].nest)).collect();
            let slowest = entries.iter().map(|&at| measured[at].median_ns()).fold(0.0, f64::max);
            let round: f64 = entries.iter().map(|&at| measured[at].median_ns().max(batch_ns)).sum();
            let rounds = ((comparison_ns(interrupts) / round) as usize).clamp(FEWEST_ROUNDS, ROUNDS);
            bench.compare(&sources, rounds, batch_ns, slowest, &interrupts.abandon)
        };
        let begin = Instant::now();
        match compare(&entries) {
            Ok(Some(mut best)) => {
                let took = begin.elapsed();
                for _ in 1..COMPARISONS {
                    let no_time = took > LONG_COMPARISON || interrupts.left().is_some_and(|left| left < took);
                    if no_time || !best.disturbance.matters() || interrupts.stopped() {
                        break;
                    }
                    match compare(&entries) {
                        Ok(Some(again)) if again.disturbance.is_less_than(&best.disturbance) => best = again,
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => break,
                    }
                }
                return (entries, Some(best));
            }
            Ok(None) => return (entries, None),
            Err(_) if entries.len() > 1 => {}
            Err(_) => return (entries, None),
        }
        // One of them fails beside others, though it did not alone: find those that do not.
        let reference = entries[0];
        let mut sound = vec![reference];
        for candidate in entries.split_off(1) {
            match compare(&[reference, candidate]) {
                Ok(Some(_)) => sound.push(candidate),
                Ok(None) => return (sound, None),
                Err(_) => {}
            }
        }
        let compared = compare(&sound).ok().flatten();
        (sound, compared)
    }
}

/// Figures of one kernel of a comparison.
fn figure_of(kernel: &Measured, compared: &Comparison, at: usize) -> Figure {
    let mut by_offset: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (&offset, &sample) in compared.offsets.iter().zip(&compared.rounds[at]) {
        by_offset.entry(offset).or_default().push(sample);
    }
    let cold = compared.cold_ns.get(at).filter(|times| !times.is_empty());
    Figure {
        offset_ns: by_offset.into_iter().map(|(offset, samples)| (offset, median(&samples))).collect(),
        cold_ns: cold.map(|times| median(times)),
        ..figure(kernel, &compared.rounds[at])
    }
}

/// What the final comparison may take.
fn comparison_ns(interrupts: &Interrupts) -> f64 {
    interrupts.left().map_or(COMPARISON_NS, |left| COMPARISON_NS.min(left.as_secs_f64() * 1e9))
}

fn figure(kernel: &Measured, samples: &[f64]) -> Figure {
    Figure {
        trial: kernel.trial,
        median_ns: median(samples),
        iqr_ns: interquartile_range(samples),
        quartiles_ns: (quantile(samples, 0.25), quantile(samples, 0.75)),
        samples: samples.len(),
        offset_ns: BTreeMap::new(),
        cold_ns: None,
    }
}

/// Writes the folder of what ships.
fn write_kernel(
    workload: &Workload,
    config: &TuneConfig,
    winner: &Measured,
    form: &DerivedForm,
    verdict: &Verdict,
    rules: &RuleBase,
    linked: &Linked,
) -> Result<PathBuf, TuneError> {
    let time = |figure: &Figure| {
        json!({
            "median_ns": figure.median_ns,
            "iqr_ns": figure.iqr_ns,
            "quartiles_ns": figure.quartiles_ns,
            "samples": figure.samples,
            "offset_ns": figure.offset_ns,
            "cold_ns": figure.cold_ns,
        })
    };
    let metadata = json!({
        "function": workload.program.name,
        "workload": config.stem,
        "workload_hash": workload_hash(&workload.program),
        "rule_base_hash": rules.hash(),
        "numerics": config.numerics,
        "derivation": derivation(form),
        "form_index": winner.form,
        "normal_form": form.form,
        "schedule": winner.schedule,
        "target": config.target,
        "flops": winner.work.flops,
        "bytes": winner.work.bytes,
        "error_fraction": winner.end.error_fraction,
        "times": { "default": verdict.default.as_ref().map(time), "best": time(&verdict.shipped) },
        "disturbance": verdict.disturbance,
        "moat_version": env!("CARGO_PKG_VERSION"),
        "codegen_version": env!("MOAT_CODEGEN_VERSION"),
    });
    Ok(linked.write(&config.out, &metadata)?.folder)
}
