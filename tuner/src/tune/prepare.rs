//! Everything before the first trial: forms, inputs with references, the workers' setup, and the search.
//!
//! Input: a workload, what to try, and the database, for what is known of these forms. Output: [`Prepared`].

use super::config::TuneConfig;
use super::error::TuneError;
use super::identity::hash;
use super::inputs::input_data;
use super::observer::Reporter;
use crate::cost_db::CostDb;
use crate::measure::{Bench, BenchConfig, InputData, Limits};
use crate::search::{Candidate, Neighbour, Searcher};
use crate::worker::protocol::Argument;
use crate::{candidates, machine};
use moat_optimizer::forms::{DerivedForm, Limits as FormLimits, forms};
use moat_optimizer::program::expr::Program;
use moat_rules::RuleBase;
use std::collections::BTreeMap;

/// What trials need.
pub(super) struct Prepared {
    /// The source form first.
    pub(super) forms: Vec<DerivedForm>,
    pub(super) bench: Bench,
    pub(super) searcher: Searcher,
}

/// Derives the forms, computes the references, and sets the workers and the search up.
pub(super) fn prepare(
    program: &Program,
    rules: &RuleBase,
    config: &TuneConfig,
    db: &CostDb,
    reporter: &mut Reporter<'_>,
) -> Result<Prepared, TuneError> {
    let forms = derive(program, rules, config, reporter)?;
    reporter.enter("computing references")?;
    let data = input_data(program, &forms, config, reporter)?;
    let bench = Bench::new(bench_config(config, &data), arguments(program), data);
    reporter.enter("preparing the search")?;
    let (numerics, threads) = (config.numerics, config.threads);
    let mut searcher = candidates::search(&forms, &config.target, numerics, threads, config.seed, config.trials)?;
    searcher.warm_start(known(db, &forms, config)?);
    Ok(Prepared { forms, bench, searcher })
}

/// The normal forms of a program, with a note of what limits left out.
fn derive(
    program: &Program,
    rules: &RuleBase,
    config: &TuneConfig,
    reporter: &mut Reporter<'_>,
) -> Result<Vec<DerivedForm>, TuneError> {
    let interrupts = reporter.interrupts;
    let over = || interrupts.deriving_is_over();
    let found = forms(program, rules, config.numerics, &FormLimits { is_over: &over, ..FormLimits::default() })?;
    if found.cut && !interrupts.by_a_person() {
        let others = match found.forms.len() {
            1 => "only the source form is".to_owned(),
            count => format!("only {count} normal forms are"),
        };
        reporter.note(&format!("deriving took its share of --time: {others} tried; more time may find better ones"));
    }
    found.limits.iter().for_each(|limit| reporter.note(limit));
    Ok(found.forms)
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
