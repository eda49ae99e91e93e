//! Where each definition runs, how often, and on how much.
//!
//! Takes a form, a schedule and the models of its stages; gives a [`Placement`] for each definition that is stored, and
//! the blocks that the loops of a stage make.

use crate::cost::footprint::{StageModel, models};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::Source;
use crate::schedule::{Place, Schedule, StageSchedule};

/// Where a definition runs, how often, and on how much.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placement {
    /// The stage stored whole whose loops hold it in the end.
    pub(super) root: usize,
    /// How often it is executed for one execution of the root.
    pub(super) executions: f64,
    /// Of one execution.
    pub(super) extents: Vec<usize>,
}

/// Blocks of `step` that an extent is cut into, at least one.
pub(super) fn ceil(extent: usize, step: usize) -> usize {
    extent.div_ceil(step.max(1)).max(1)
}

/// Extents of one block inside the first `depth` loops, and how many blocks there are.
pub(super) fn block(stage: &StageSchedule, extents: &[usize], depth: usize) -> (Vec<usize>, f64) {
    let mut block = extents.to_vec();
    let mut trips = 1.0;
    for step in stage.loops.iter().take(depth) {
        if let Some(extent) = block.get_mut(step.axis) {
            trips *= (*extent as f64 / step.step.max(1) as f64).max(1.0);
            *extent = (*extent).min(step.step.max(1));
        }
    }
    (block, trips)
}

/// The placements of all definitions, `None` for those that are inlined.
pub(super) fn placements(
    form: &NormalForm,
    schedule: &Schedule,
    models: &[Option<StageModel>],
) -> Vec<Option<Placement>> {
    let mut found: Vec<Option<Placement>> = vec![None; models.len()];
    for id in (0..models.len()).rev() {
        let (Some(model), Some(stage)) = (&models[id], schedule.stages.get(id)) else { continue };
        let whole = Placement { root: id, executions: 1.0, extents: model.extents.clone() };
        let Place::At { consumer, depth } = stage.place else {
            found[id] = Some(whole);
            continue;
        };
        let (Some(holder), Some(outer)) = (schedule.stages.get(consumer), found.get(consumer).cloned().flatten())
        else {
            found[id] = Some(whole);
            continue;
        };
        let (inner, trips) = block(holder, &outer.extents, depth);
        // The hull of what every reader inside needs.
        let mut hull: Option<Vec<(i64, i64)>> = None;
        for (reader, reading) in models.iter().enumerate() {
            let Some(reading) = reading else { continue };
            let extents = match &found[reader] {
                _ if reader == consumer => &inner,
                Some(placement) => &placement.extents,
                None => continue,
            };
            for load in reading.loads.iter().filter(|load| load.source == Source::Def(id)) {
                let region = load.region(extents);
                hull = Some(match hull {
                    Some(hull) if hull.len() == region.len() => {
                        hull.iter().zip(&region).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect()
                    }
                    Some(_) | None => region,
                });
            }
        }
        let mut extents = model.extents.clone();
        if let Some(hull) = hull.filter(|hull| hull.len() == form.defs[id].axes.len()) {
            for (extent, (low, high)) in extents.iter_mut().zip(hull) {
                *extent = (*extent).min(usize::try_from(high - low + 1).unwrap_or(1).max(1));
            }
        }
        found[id] = Some(Placement { root: outer.root, executions: outer.executions * trips, extents });
    }
    found
}

/// The share of a definition's elements computed again when it is placed so: 1 for none.
pub fn recompute(form: &NormalForm, schedule: &Schedule, id: usize) -> Option<(f64, f64)> {
    let models = models(form, schedule);
    let placement = placements(form, schedule, &models).into_iter().nth(id).flatten()?;
    let model = models[id].as_ref()?;
    let region: f64 = placement.extents.iter().take(model.points).map(|&e| e as f64).product();
    let whole: f64 = model.extents.iter().take(model.points).map(|&e| e as f64).product();
    Some((region * placement.executions / whole.max(1.0), region * model.bytes as f64))
}
