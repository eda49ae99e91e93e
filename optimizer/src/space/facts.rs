//! The facts that the schedule rules ask about, from a form, its models and a machine.

use crate::cost::footprint::StageModel;
use crate::dependence::between::reads;
use crate::dependence::movable::stays;
use crate::form::normal_form::NormalForm;
use crate::integer::range::loop_variable;
use crate::nest::target::Target;
use crate::schedule::time::Tilable;
use moat_rules::dependence::Derived;
use moat_rules::schedule_rules::ScheduleFacts;
use std::collections::BTreeSet;

/// Candidate block sizes: 2ᵏ and 3·2ᵏ.
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
        let def = &form.defs[stage];
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
        if !stays.contains(&stage) {
            facts.add("internal", &[s]);
        }
        if def.pieces.len() == 1 {
            facts.add("one-piece", &[s]);
        }
    }
    let reads = reads(form);
    let flat: BTreeSet<usize> = reads.iter().filter(|read| read.flat).map(|read| read.producer).collect();
    for stage in (0..models.len()).filter(|stage| !flat.contains(stage)) {
        facts.add("by-axes", &[number(stage)]);
    }
    for read in reads {
        facts.add("reads", &[number(read.consumer), number(read.producer)]);
    }
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
    facts
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
