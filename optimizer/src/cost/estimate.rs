//! The estimate of a whole form: the terms of all stages, and what their threads lose to each other.
//!
//! Takes a form, a schedule and a target; gives nanoseconds.

use super::affinity;
use super::execution::Execution;
use super::placement::placements;
use super::rates::Rates;
use super::stage;
use super::sweep::{Sharing, Sweep};
use super::threads;
use crate::cost::footprint::models;
use crate::form::context::contexts;
use crate::form::normal_form::NormalForm;
use crate::nest::target::Target;
use crate::schedule::Schedule;
use crate::value::numerics::Numerics;

/// Estimated time of the whole form in nanoseconds, in two summands: as if no thread ever needed what another has in its
/// cache, and what they lose because they do.
pub fn parts(
    form: &NormalForm,
    schedule: &Schedule,
    target: &Target,
    numerics: Numerics,
    threads: usize,
) -> (f64, f64) {
    let rates = Rates::new(target, threads);
    let models = models(form, schedule);
    let placements = placements(form, schedule, &models);
    let contexts = contexts(form);
    let fetching = affinity::fetching(form, &contexts, schedule, &models, &placements, &rates);
    let mut total = vec![0.0; models.len()];
    for (id, model) in models.iter().enumerate() {
        let (Some(model), Some(stage), Some(placement)) = (model, schedule.stages.get(id), &placements[id]) else {
            continue;
        };
        let sweep = Sweep::new(form, &contexts, schedule, &rates, id, model.scale);
        let extents = sweep.extents(&placement.extents);
        let execution = Execution::new(&rates, model, stage, &extents, sweep.residence, &placements);
        let cost = stage::time(&execution, numerics) + sweep.cold;
        total[placement.root] +=
            (cost * sweep.tiles * placement.executions * model.scale + sweep.entering) / sweep.threads;
    }
    let starts = |tile| Sharing::new(form, &contexts, tile, threads).starts;
    let mut sum: f64 = schedule.time_tiles.iter().map(|tile| threads::starting(starts(tile))).sum();
    for (id, time) in total.into_iter().enumerate() {
        let stage = &schedule.stages[id];
        sum += match (stage.shared_loop(), &models[id]) {
            (Some(first), Some(model)) if rates.threads > 1.0 => {
                let executions = contexts[id].executions().max(1.0);
                let def = &form.defs[id];
                threads::shared(def, stage, &model.extents, first, time, executions, rates.threads)
            }
            _ => time,
        };
    }
    (sum, fetching)
}
