//! The loop that tunes: draws candidates, has them measured, records every one, and lets the best ship.
//!
//! Input: a workload, what to try, a database, an observer. Output: a [`Summary`] and a folder with the kernel. A
//! candidate's failure is a row; only what concerns the whole run is an error. Nothing is printed here.

use crate::as_written;
use crate::candidates::{self, FormsError, MAX_FORMS};
use crate::cost_db::{CostDb, CostDbError, Recording};
use crate::journal::hex;
use crate::machine;
use crate::measure::{Bench, BenchConfig, InputData, InputSet, Limits, Trial};
use crate::outcome::Outcome;
use crate::promotion::{Promotion, interquartile_range, median, promote};
use crate::reference::{ReferenceError, references};
use crate::roof::Roof;
use crate::row::Row;
use crate::search::{Candidate, Neighbour, Searcher};
use crate::worker::protocol::{Argument, LONG_CALL_NS, Sampling, Source};
use moat_codegen::abi::Interface;
use moat_codegen::artifact::{self, ArtifactError};
use moat_codegen::emit::CompileOptions;
use moat_optimizer::apply::apply;
use moat_optimizer::dtype::Literal;
use moat_optimizer::expr::{Program, Span};
use moat_optimizer::frontend::Workload;
use moat_optimizer::inputs::{self, InputError};
use moat_optimizer::nest::LoopNest;
use moat_optimizer::normal_form::NormalForm;
use moat_optimizer::normalize::Form;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::schedule::Schedule;
use moat_optimizer::space::SpaceError;
use moat_optimizer::target::Target;
use moat_optimizer::tensor::Tensor;
use moat_optimizer::work::{Work, work};
use moat_rules::{RuleBase, RuleError};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rounds of the final comparison.
const ROUNDS: usize = 21;
/// Fewer where they would take longer than this, but not fewer than that.
const COMPARISON_NS: f64 = 4e10;
const FEWEST_ROUNDS: usize = 5;
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
    /// Draw no more candidates after this time.
    pub time: Option<Duration>,
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

/// What a person may do meanwhile.
#[derive(Debug, Default)]
pub struct Interrupts {
    /// End early: no more trials; the best so far is still compared with the default and written.
    pub stop: AtomicBool,
    /// Do not even compare: the default is written.
    pub abandon: AtomicBool,
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
    /// A person ended the run before there was anything to measure.
    #[error("interrupted before the first trial")]
    Interrupted,
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
    /// The limit on it.
    pub time: Option<Duration>,
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
    /// How many there were.
    pub samples: usize,
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
    /// The form of what ships.
    pub form: Form,
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
    let begin = Instant::now();
    let program = &workload.program;
    observer.phase("deriving normal forms");
    let rules = RuleBase::standard()?;
    let forms = candidates::forms(program, &rules, config.numerics, MAX_FORMS)?;
    observer.phase("computing references");
    let data = input_data(program, &forms, config, observer, interrupts)?;
    let mut bench = Bench::new(bench_config(config, &data), arguments(program), data);
    observer.phase("preparing the search");
    let (numerics, threads) = (config.numerics, config.threads);
    let mut searcher = candidates::search(&forms, &config.target, numerics, threads, config.seed, config.trials)?;
    let source_flops = as_written::flops(program);
    searcher.warm_start(known(db, &forms, config)?);

    let mut recording = db.record()?;
    let template = template(workload, config, &rules, &recording, source_flops);
    let mut run = Run { config, forms: &forms, recording: &mut recording, template, outcomes: BTreeMap::new() };
    let measured = run.trials(&mut bench, &mut searcher, observer, interrupts)?;
    observer.phase("comparing the best with the default");
    let verdict = run.compare(&mut bench, &measured, interrupts)?;
    bench.stop();
    observer.finished();

    let outcomes = run.outcomes;
    let trials = outcomes.values().sum();
    let run_id = recording.run_id().to_owned();
    let finished = recording.finish();
    let Some(verdict) = verdict else {
        finished?;
        let outcomes: Vec<String> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        return Err(TuneError::NoKernel { trials, outcomes: outcomes.join(", ") });
    };
    let winner = &measured[verdict.winner];
    let form = forms[winner.form].clone();
    let roof = Roof::new(&config.target, &form.normal_form, config.threads);
    let kernel_dir = write_kernel(workload, config, winner, &form, &verdict, &rules)?;
    finished?;
    Ok(Summary {
        trials,
        outcomes,
        seconds: begin.elapsed().as_secs_f64(),
        default: verdict.default,
        shipped: verdict.shipped,
        interval: verdict.interval,
        form,
        form_index: winner.form,
        schedule: winner.schedule.clone(),
        work: winner.work,
        source_flops,
        roof,
        error_fraction: winner.end.error_fraction.unwrap_or(0.0),
        kernel_dir,
        run_id,
        interrupted: interrupts.stop.load(Ordering::Relaxed),
    })
}

/// Schedules that were measured for one of these very forms on such a machine, fastest first: worth a trial here, and no
/// more than that. After those for as many threads come those for others.
fn known(db: &CostDb, forms: &[Form], config: &TuneConfig) -> Result<Vec<Neighbour>, TuneError> {
    let hashes: BTreeMap<String, usize> =
        forms.iter().enumerate().map(|(at, form)| (hash(&form.normal_form), at)).collect();
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

/// A reference that takes longer than this is computed for one set of inputs.
const LONG_REFERENCE: Duration = Duration::from_secs(20);

/// Two sets of inputs with their references: real ones first, if there are any.
fn input_data(
    program: &Program,
    forms: &[Form],
    config: &TuneConfig,
    observer: &mut dyn Observer,
    interrupts: &Interrupts,
) -> Result<InputData, TuneError> {
    let mut data = InputData::new().map_err(|reason| TuneError::Data { reason })?;
    // Without parameters, every set is the same.
    let sets = if program.params.is_empty() { 1 } else { 2 };
    let started = Instant::now();
    for set in 0..sets {
        if set > 0 && started.elapsed() > LONG_REFERENCE {
            break;
        }
        let inputs = match &config.inputs {
            Some(inputs) if set == 0 => inputs.clone(),
            Some(_) | None => {
                let seed = config.seed.wrapping_add(set);
                program.params.iter().map(|param| inputs::random(param, seed)).collect::<Result<Vec<_>, _>>()?
            }
        };
        let Some(source) = forms.first() else { break };
        let set = in_background(program, &source.normal_form, inputs, config, observer, interrupts)?;
        data.push(&set).map_err(|reason| TuneError::Data { reason })?;
    }
    Ok(data)
}

/// Inputs with their references, which a thread of its own computes: a person who interrupts does not wait for it.
fn in_background(
    program: &Program,
    source: &NormalForm,
    inputs: Vec<Tensor>,
    config: &TuneConfig,
    observer: &mut dyn Observer,
    interrupts: &Interrupts,
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
        if interrupts.stop.load(Ordering::Relaxed) {
            return Err(TuneError::Interrupted);
        }
        let silent = started.elapsed().as_secs() / SILENCE.as_secs();
        if silent > said {
            said = silent;
            observer.phase(&format!("computing references ({} s)", started.elapsed().as_secs()));
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
        numerics: config.numerics.name().to_owned(),
        seed: config.seed,
        source_flops: Some(source_flops as f64),
        ..Row::default()
    }
}

/// Names of the rules that derive `form` from the source form, in order.
pub fn derivation(form: &Form) -> Vec<String> {
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
    hex(&Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}

/// What ships.
struct Verdict {
    /// Index among the measured.
    winner: usize,
    default: Option<Figure>,
    shipped: Figure,
    interval: Option<(f64, f64)>,
}

/// A run that is being recorded.
struct Run<'a> {
    config: &'a TuneConfig,
    forms: &'a [Form],
    recording: &'a mut Recording,
    template: Row,
    outcomes: BTreeMap<Outcome, usize>,
}

impl Run<'_> {
    /// Every trial; what was measured, in order.
    fn trials(
        &mut self,
        bench: &mut Bench,
        searcher: &mut Searcher,
        observer: &mut dyn Observer,
        interrupts: &Interrupts,
    ) -> Result<Vec<Measured>, TuneError> {
        let begin = Instant::now();
        let mut measured: Vec<Measured> = Vec::new();
        let mut best: Option<usize> = None;
        let mut lost = 0;
        let mut trial = 0;
        while trial < self.config.trials && !interrupts.stop.load(Ordering::Relaxed) {
            if trial > 0 && self.config.time.is_some_and(|limit| begin.elapsed() >= limit) {
                break;
            }
            let Some(candidate) = searcher.next() else { break };
            let incumbent = best.map(|at| measured[at].median_ns());
            let (nest, end) = self.attempt(bench, &candidate, incumbent, interrupts);
            let Some(end) = end else { break };
            *self.outcomes.entry(end.outcome).or_default() += 1;
            let work = nest.as_ref().map(work);
            self.record(trial, "trial", &candidate.schedule, candidate.form, nest.as_ref(), work, &end, false)?;
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
                if best.is_none_or(|at| measured[last].median_ns() < measured[at].median_ns()) {
                    best = Some(last);
                }
            }
            trial += 1;
            observer.trial(&Progress {
                done: trial,
                trials: self.config.trials,
                elapsed: begin.elapsed(),
                time: self.config.time,
                outcome,
                best: best.map(|at| {
                    let best = &measured[at];
                    let form = &self.forms[best.form].normal_form;
                    (best.median_ns(), best.work, Roof::new(&self.config.target, form, self.config.threads))
                }),
            });
        }
        Ok(measured)
    }

    /// Lowers a candidate and has it measured; no end if interrupted.
    fn attempt(
        &self,
        bench: &mut Bench,
        candidate: &Candidate,
        incumbent: Option<f64>,
        interrupts: &Interrupts,
    ) -> (Option<LoopNest>, Option<Trial>) {
        let form = &self.forms[candidate.form].normal_form;
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
    fn record(
        &mut self,
        trial: usize,
        stage: &str,
        schedule: &Schedule,
        form: usize,
        nest: Option<&LoopNest>,
        work: Option<Work>,
        end: &Trial,
        shipped: bool,
    ) -> Result<(), TuneError> {
        let samples = !end.samples_ns.is_empty();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let row = Row {
            trial: trial as u64,
            stage: stage.to_owned(),
            recorded_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            normal_form_hash: hash(&self.forms[form].normal_form),
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
            shipped,
            ..self.template.clone()
        };
        Ok(self.recording.append(&row)?)
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
        if order.len() == 1 {
            // Nothing to compare with.
            let figure = figure(&measured[reference], &measured[reference].end.samples_ns);
            let default = default.map(|_| figure.clone());
            return Ok(Some(Verdict { winner: reference, default, shipped: figure, interval: None }));
        }
        // One at least, and no more than there is time for.
        let mut round = measured[reference].median_ns();
        for at in order.into_iter().filter(|&at| at != reference).take(FINALISTS) {
            round += measured[at].median_ns();
            if entries.len() > 1 && round * FEWEST_ROUNDS as f64 > COMPARISON_NS {
                break;
            }
            entries.push(at);
        }
        let (entries, rounds) = self.rounds(bench, measured, entries, interrupts);
        let Some(rounds) = rounds else {
            // Interrupted twice, or the default fails beside others: it ships as its trial saw it.
            let figure = figure(&measured[reference], &measured[reference].end.samples_ns);
            let default = default.map(|_| figure.clone());
            return Ok(Some(Verdict { winner: reference, default, shipped: figure, interval: None }));
        };
        let Promotion { winner, intervals } = promote(&rounds, self.config.seed);
        for (at, (&entry, samples)) in entries.iter().zip(&rounds).enumerate() {
            let kernel = &measured[entry];
            let end = Trial { samples_ns: samples.clone(), ..kernel.end.clone() };
            let (nest, work) = (Some(&kernel.nest), Some(kernel.work));
            self.record(kernel.trial, "final", &kernel.schedule, kernel.form, nest, work, &end, at == winner)?;
        }
        Ok(Some(Verdict {
            winner: entries[winner],
            default: default.map(|at| figure(&measured[at], &rounds[0])),
            shipped: figure(&measured[entries[winner]], &rounds[winner]),
            interval: winner.checked_sub(1).map(|at| intervals[at]),
        }))
    }

    /// Samples of interleaved rounds. A candidate that fails now is left out; no rounds if the first one does.
    fn rounds(
        &self,
        bench: &mut Bench,
        measured: &[Measured],
        mut entries: Vec<usize>,
        interrupts: &Interrupts,
    ) -> (Vec<usize>, Option<Vec<Vec<f64>>>) {
        let batch_ns = Sampling::default().batch_ns;
        let mut compare = |entries: &[usize]| {
            let sources: Vec<Source> = entries.iter().map(|&at| self.source(&measured[at].nest)).collect();
            let slowest = entries.iter().map(|&at| measured[at].median_ns()).fold(0.0, f64::max);
            let round: f64 = entries.iter().map(|&at| measured[at].median_ns().max(batch_ns)).sum();
            let rounds = ((COMPARISON_NS / round) as usize).clamp(FEWEST_ROUNDS, ROUNDS);
            bench.compare(&sources, rounds, batch_ns, slowest, &interrupts.abandon)
        };
        match compare(&entries) {
            Ok(rounds) => return (entries, rounds),
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
        let rounds = compare(&sound).ok().flatten();
        (sound, rounds)
    }
}

fn figure(kernel: &Measured, samples: &[f64]) -> Figure {
    Figure {
        trial: kernel.trial,
        median_ns: median(samples),
        iqr_ns: interquartile_range(samples),
        samples: samples.len(),
    }
}

/// Compiles what ships once more, with its interface, and writes its folder.
fn write_kernel(
    workload: &Workload,
    config: &TuneConfig,
    winner: &Measured,
    form: &Form,
    verdict: &Verdict,
    rules: &RuleBase,
) -> Result<PathBuf, TuneError> {
    let options = CompileOptions {
        target: config.target.clone(),
        numerics: config.numerics,
        threads: config.threads,
        function: workload.program.name.clone(),
    };
    let interface = Interface::new(&workload.program, &form.normal_form);
    let compiled = artifact::compile(&winner.nest, &interface, &options)?;
    let time =
        |figure: &Figure| json!({ "median_ns": figure.median_ns, "iqr_ns": figure.iqr_ns, "samples": figure.samples });
    let metadata = json!({
        "function": workload.program.name,
        "workload": config.stem,
        "workload_hash": workload_hash(&workload.program),
        "rule_base_hash": rules.hash(),
        "numerics": config.numerics,
        "derivation": derivation(form),
        "form_index": winner.form,
        "normal_form": form.normal_form,
        "schedule": winner.schedule,
        "target": config.target,
        "flops": winner.work.flops,
        "bytes": winner.work.bytes,
        "error_fraction": winner.end.error_fraction,
        "times": { "default": verdict.default.as_ref().map(time), "best": time(&verdict.shipped) },
        "moat_version": env!("CARGO_PKG_VERSION"),
        "codegen_version": env!("MOAT_CODEGEN_VERSION"),
    });
    Ok(artifact::write(&config.out, &config.stem, &compiled, &metadata)?.folder)
}
