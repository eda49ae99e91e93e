//! The facts that the schedule rules ask about, from a form, its models and a machine.

use crate::cost::footprint::StageModel;
use crate::dependence::between::reads;
use crate::dependence::movable::stays;
use crate::form::normal_form::{Def, NormalForm};
use crate::integer::range::loop_variable;
use crate::nest::target::Target;
use crate::schedule::time::Tilable;
use moat_rules::dependence::Derived;
use moat_rules::schedule_rules::ScheduleFacts;
use std::collections::BTreeSet;

/// The largest candidate for a block size is at most three times that: candidates are 2ᵏ and 3·2ᵏ.
const LARGEST_SIZE: i64 = 8192;

/// The rows of `rules/schedule/facts.egg`.
pub(super) fn question(
    form: &NormalForm,
    models: &[StageModel],
    derived: &Derived,
    target: &Target,
    threads: usize,
    tilable: &[Tilable],
) -> ScheduleFacts {
    let mut facts = ScheduleFacts::default();
    let stays = stays(form);
    for (stage, model) in models.iter().enumerate() {
        add_stage(&mut facts, &form.defs[stage], stage, model, target);
        if !stays.contains(&stage) {
            facts.add("internal", &[number(stage)]);
        }
        if form.defs[stage].pieces.len() == 1 {
            facts.add("one-piece", &[number(stage)]);
        }
    }
    add_reads(&mut facts, form, models.len());
    add_derived(&mut facts, derived);
    add_time_loops(&mut facts, form, tilable);
    add_machine(&mut facts, target, threads);
    facts
}

/// The axes of a stage, what it loads, and how much it does.
fn add_stage(facts: &mut ScheduleFacts, def: &Def, stage: usize, model: &StageModel, target: &Target) {
    let s = number(stage);
    facts.add("stage", &[s]);
    for (axis, &extent) in model.extents.iter().enumerate() {
        let row = [s, number(axis), number(extent)];
        facts.add(if axis < model.points { "point" } else { "fold" }, &row);
        facts.add("axis", &row);
        facts.add("store-stride", &[s, number(axis), model.store_strides[axis]]);
    }
    facts.add(if model.fold.is_some() { "folds" } else { "pure" }, &[s]);
    facts.add("bytes", &[s, number(model.widest)]);
    if def.scope.is_empty() {
        facts.add("elements", &[s, number(def.size())]);
    }
    facts.add("lanes", &[s, number(target.lanes(model.widest))]);
    let operations = model.iterations() * model.scale * (model.operations + model.loads.len() as f64);
    facts.add("work", &[s, operations.min(1e18) as i64]);
    for load in &model.loads {
        let Some(own) = load.own.map(number) else { continue };
        facts.add("load", &[s, own, number(load.bytes), number(load.elements())]);
        for (axis, &stride) in load.strides.iter().enumerate() {
            facts.add("load-stride", &[s, own, number(axis), stride]);
        }
    }
}

/// Which stage reads which, and how.
fn add_reads(facts: &mut ScheduleFacts, form: &NormalForm, stages: usize) {
    let reads = reads(form);
    let flat: BTreeSet<usize> = reads.iter().filter(|read| read.flat).map(|read| read.producer).collect();
    for stage in (0..stages).filter(|stage| !flat.contains(stage)) {
        facts.add("by-axes", &[number(stage)]);
    }
    for read in reads {
        facts.add("reads", &[number(read.consumer), number(read.producer)]);
    }
}

/// What is derived of dependences.
fn add_derived(facts: &mut ScheduleFacts, derived: &Derived) {
    for &(stage, axis) in &derived.parallel {
        facts.add("independent", &[number(stage), number(axis)]);
    }
    for &(stage, axis) in &derived.vector {
        facts.add("together", &[number(stage), number(axis)]);
    }
    for &(stage, axis) in &derived.tilable {
        facts.add("tilable", &[number(stage), number(axis)]);
    }
    for &(stage, a, b) in &derived.permutable {
        facts.add("permutable", &[number(stage), number(a), number(b)]);
    }
}

/// Loops that may run in skewed tiles.
fn add_time_loops(facts: &mut ScheduleFacts, form: &NormalForm, tilable: &[Tilable]) {
    for &Tilable { var, dim, skew, .. } in tilable {
        let Some(trips) = crate::schedule::time::trips(form, var) else { continue };
        let states: BTreeSet<usize> = form
            .defs
            .iter()
            .filter(|def| def.scope.iter().any(|scope| scope.variable == loop_variable(var)))
            .filter_map(|def| Some(def.update.as_ref()?.state))
            .collect();
        let row: usize = states
            .iter()
            .map(|&state| {
                let state = &form.states[state];
                let others = state.shape.iter().enumerate().filter(|(axis, _)| *axis != dim);
                others.map(|(_, &extent)| extent).product::<usize>() * state.dtype.bytes()
            })
            .sum();
        facts.add("time-loop", &[number(var), number(dim), number(skew), number(trips), number(row)]);
    }
}

/// The machine, and the numbers to choose from.
fn add_machine(facts: &mut ScheduleFacts, target: &Target, threads: usize) {
    facts.add("registers", &[number(target.vector_registers)]);
    for (level, &bytes) in target.cache_bytes.iter().enumerate() {
        facts.add("cache", &[number(level + 1), number(bytes)]);
    }
    facts.add("last-cache", &[number(target.cache_bytes.iter().copied().max().unwrap_or(0))]);
    facts.add("line", &[number(target.line_bytes)]);
    facts.add("threads", &[number(threads)]);
    for count in 1..=16 {
        facts.add("count", &[count]);
    }
    let mut size = 1;
    while size <= LARGEST_SIZE {
        facts.add("size", &[size]);
        facts.add("size", &[3 * size]);
        size *= 2;
    }
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
