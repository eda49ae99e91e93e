//! What threads lose because one has in its cache what another needs.
//!
//! Each root stage gives its threads shares of what it stores; a stage that reads an array divided otherwise, or by one
//! thread alone, fetches from the caches of the others what its threads do not have. Arrays that no cache holds come from
//! memory in any case.

use super::constants::{FETCH, FETCH_SAMPLES, SCATTERED_FETCH};
use super::placement::Placement;
use super::rates::Rates;
use crate::cost::footprint::{LoadModel, StageModel};
use crate::form::context::Context;
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::{DefId, Source};
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use crate::schedule::{LoopSpec, Schedule, StageSchedule};
use std::collections::BTreeMap;

/// What is stored: a state, or a definition that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Array {
    State(usize),
    Def(DefId),
}

/// Who of the threads handles an element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// One does them all.
    One,
    /// Each handles all.
    All,
    /// Each handles some of the blocks of `step` along a dimension: neighbours, or in turns.
    Blocks { dim: usize, step: usize, turns: bool },
}

/// A dimension that an axis runs along.
#[derive(Clone, Copy, Debug)]
struct Along {
    dim: usize,
    /// Elements of it for each point of the axis.
    stride: i64,
}

impl Share {
    /// The share of a stage's first loop, of something that it indexes along `dim`.
    fn of(def: &Def, first: LoopSpec, Along { dim, stride }: Along) -> Share {
        let step = first.step.max(1).saturating_mul(usize::try_from(stride.unsigned_abs()).unwrap_or(usize::MAX));
        Share::Blocks { dim, step, turns: def.ragged().contains(&first.axis) }
    }
}

/// A stage's use of an array: how it is divided, and the bytes that all executions touch, more where they are scattered.
#[derive(Clone, Copy, Debug)]
struct Use {
    share: Share,
    bytes: f64,
}

#[derive(Clone, Debug, Default)]
struct Stage {
    stores: Option<(Array, Share)>,
    uses: BTreeMap<Array, Use>,
}

/// Nanoseconds of all stages that are not in time tiles.
pub(super) fn fetching(
    form: &NormalForm,
    contexts: &[Context],
    schedule: &Schedule,
    models: &[Option<StageModel>],
    placements: &[Option<Placement>],
    rates: &Rates,
) -> f64 {
    if rates.threads < 2.0 {
        return 0.0;
    }
    let stages: Vec<Option<Stage>> = (0..form.defs.len())
        .map(|id| {
            let (model, placement, decisions) =
                (models[id].as_ref()?, placements[id].as_ref()?, schedule.stages.get(id)?);
            (placement.root == id && !in_time_tiles(form, schedule, id))
                .then(|| stage(form, id, model, decisions, rates))
        })
        .collect();
    let mut sum = 0.0;
    for (id, stage) in stages.iter().enumerate() {
        for (array, here) in stage.iter().flat_map(|stage| &stage.uses) {
            let stored = |at: &DefId| {
                let (stored, share) = stages[*at].as_ref()?.stores?;
                (stored == *array).then_some((*at, share))
            };
            let inside = |at: &DefId| together(form, id, *at);
            let before = (0..id).rev().filter(inside).find_map(|at| stored(&at));
            // What the iteration before has left, and only in the first one what is stored before the loop.
            let around = || (id..stages.len()).rev().filter(inside).find_map(|at| stored(&at));
            let outside = || (0..id).rev().find_map(|at| stored(&at));
            if let Some((at, left)) = before.or_else(around).or_else(outside) {
                // What is stored before a loop is fetched in its first iteration.
                let times = if together(form, id, at) { 1.0 } else { contexts[id].executions().max(1.0) };
                sum += bytes_of_a_thread(form, *array, *here, left, rates.threads) / times;
            }
        }
    }
    let memory = rates.per_byte.last().copied().unwrap_or(0.0);
    sum * memory * FETCH
}

fn in_time_tiles(form: &NormalForm, schedule: &Schedule, id: DefId) -> bool {
    let loops = form.defs[id].scope.iter().filter_map(|scope| loop_of(scope.variable));
    loops.into_iter().any(|var| schedule.time_tiles.iter().any(|tile| tile.var == var))
}

/// Whether two definitions are in a loop together.
fn together(form: &NormalForm, one: DefId, two: DefId) -> bool {
    let outermost = |id: DefId| form.defs[id].scope.first().map(|scope| scope.variable);
    outermost(one).is_some() && outermost(one) == outermost(two)
}

fn stage(form: &NormalForm, id: DefId, model: &StageModel, decisions: &StageSchedule, rates: &Rates) -> Stage {
    let def = &form.defs[id];
    let stored = def.update.as_ref().map_or(Array::Def(id), |update| Array::State(update.state));
    let shared = decisions.shared_loop();
    let held = rates.caches.last().copied().unwrap_or(0.0);
    let mut found = Stage::default();
    let stored_along = |axis: usize| match &def.update {
        Some(update) => along(&update.base, axis),
        None => (axis < def.axes.len()).then_some(Along { dim: axis, stride: 1 }),
    };
    let share = match shared {
        None => Some(Share::One),
        Some(first) => stored_along(first.axis).map(|along| Share::of(def, first, along)),
    };
    let points: f64 = model.extents.iter().take(model.points).map(|&extent| extent as f64).product();
    if let Some(share) = share {
        found.stores = Some((stored, share));
        if points * model.bytes as f64 <= held {
            found.uses.insert(stored, Use { share, bytes: points * model.bytes as f64 * model.scale });
        }
    }
    for load in &model.loads {
        let array = match load.source {
            Source::Param(_) => continue,
            Source::State(state) => Array::State(state),
            Source::Def(read) => match form.defs.get(read).and_then(|def| def.update.as_ref()) {
                Some(update) => Array::State(update.state),
                None => Array::Def(read),
            },
        };
        let touched = load.footprint(&model.extents, rates.line);
        if touched.bytes <= held {
            let scattered = touched.rows > 1.0 && touched.run_bytes < rates.line as f64;
            let times = if scattered { SCATTERED_FETCH } else { 1.0 };
            let here = Use { share: divided(def, load, decisions), bytes: times * touched.bytes * model.scale };
            let known = found.uses.entry(array).or_insert(here);
            if here.bytes > known.bytes {
                *known = here;
            }
        }
    }
    found
}

/// The dimension that an axis runs along.
fn along(index: &[Affine], axis: usize) -> Option<Along> {
    let coefficients = index.iter().map(|form| form.coefficient(axis)).enumerate();
    coefficients.map(|(dim, stride)| Along { dim, stride }).find(|along| along.stride != 0)
}

fn divided(def: &Def, load: &LoadModel, decisions: &StageSchedule) -> Share {
    let Some(first) = decisions.shared_loop() else { return Share::One };
    match along(&load.index, first.axis) {
        Some(along) => Share::of(def, first, along),
        None => Share::All,
    }
}

/// Bytes that the thread with most of them fetches of an array, which was stored by the shares of `left`.
fn bytes_of_a_thread(form: &NormalForm, array: Array, here: Use, left: Share, threads: f64) -> f64 {
    let elsewhere = 1.0 - 1.0 / threads;
    match (left, here.share) {
        (Share::One, Share::One) | (Share::All, _) => 0.0,
        (Share::One, Share::All) => here.bytes,
        (Share::One, Share::Blocks { .. }) => here.bytes / threads,
        (Share::Blocks { .. }, Share::One | Share::All) => here.bytes * elsewhere,
        (Share::Blocks { dim: one, .. }, Share::Blocks { dim: two, .. }) if one != two => {
            here.bytes * elsewhere / threads
        }
        (Share::Blocks { dim, .. }, Share::Blocks { .. }) => {
            let extent = match array {
                Array::State(state) => form.states.get(state).and_then(|state| state.shape.get(dim)),
                Array::Def(def) => form.defs.get(def).and_then(|def| def.axes.get(dim)),
            };
            here.bytes / threads * moved(extent.copied().unwrap_or(1), left, here.share, threads as usize)
        }
    }
}

/// The share of `0..extent` that is another thread's in one division than in the other.
fn moved(extent: usize, one: Share, two: Share, threads: usize) -> f64 {
    if one == two {
        return 0.0;
    }
    let thread = |at: usize, share: Share| match share {
        Share::Blocks { step, turns: true, .. } => at / step % threads,
        Share::Blocks { step, turns: false, .. } => at / step * threads / extent.div_ceil(step),
        Share::One | Share::All => 0,
    };
    // Some elements stand for their neighbours in a long dimension.
    let step = extent.div_ceil(FETCH_SAMPLES).max(1);
    let samples = (0..extent).step_by(step);
    let elsewhere = samples.clone().filter(|&at| thread(at, one) != thread(at, two)).count();
    elsewhere as f64 / samples.count().max(1) as f64
}
