//! Long forms in windows: which definitions are decided about together.
//!
//! The heuristic compares schedules of all that it decides about, and a definition may be placed in the loops of any that
//! reads it, through others, too: both grow with the square of the form. So a form of more than [`WHOLE`] definitions is
//! taken in windows of neighbours, each a form of its own: what others compute is a parameter, what others read a result.
//! The windows of a program that repeats itself are equal, and decided about once.

use super::choices::moved;
use crate::form::access::sources;
use crate::form::normal_form::{Def, NormalForm, State};
use crate::form::scalar_tree::{DefId, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::program::expr::{InputHint, Param};
use crate::schedule::{Place, Schedule, StageSchedule};
use moat_rules::schedule_rules::Proposals;
use std::collections::{BTreeMap, BTreeSet};

/// A form of no more definitions is one window.
const WHOLE: usize = 48;
/// The most definitions of a window, unless they are in one loop.
const WINDOW: usize = 20;

/// The windows of a form, each definitions in ascending order: one for a short form, or one that is a single loop.
pub(super) fn windows(form: &NormalForm) -> Vec<Vec<DefId>> {
    let all = || vec![(0..form.defs.len()).collect()];
    if form.defs.len() <= WHOLE {
        return all();
    }
    let units: Vec<Vec<DefId>> = if form.steps.is_empty() {
        (0..form.defs.len()).map(|id| vec![id]).collect()
    } else {
        form.steps.iter().map(Step::definitions).collect()
    };
    if units.len() == 1 {
        return all();
    }
    let unit_of: BTreeMap<DefId, usize> =
        units.iter().enumerate().flat_map(|(at, unit)| unit.iter().map(move |&id| (id, at))).collect();
    // The last unit that reads each definition.
    let mut last = vec![0; form.defs.len()];
    for (id, def) in form.defs.iter().enumerate() {
        let at = unit_of.get(&id).copied().unwrap_or(0);
        for read in sources(def) {
            last[read] = last[read].max(at);
        }
    }
    let mut found = Vec::new();
    let mut first = 0;
    while first < units.len() {
        let mut window: Vec<DefId> = Vec::new();
        let mut best = (usize::MAX, first + 1);
        for (at, unit) in units.iter().enumerate().skip(first) {
            if !window.is_empty() && window.len() + unit.len() > WINDOW {
                break;
            }
            window.extend(unit);
            let crossing = window.iter().filter(|&&id| last[id] > at).count();
            if window.len() >= WINDOW / 2 && crossing <= best.0 {
                best = (crossing, at + 1);
            }
        }
        let end = if units[first..].iter().map(Vec::len).sum::<usize>() <= WINDOW { units.len() } else { best.1 };
        let mut window: Vec<DefId> = units[first..end].iter().flatten().copied().collect();
        window.sort_unstable();
        found.push(window);
        first = end;
    }
    found
}

/// The definitions that some definition outside of their window reads.
pub(super) fn read_outside(form: &NormalForm, windows: &[Vec<DefId>]) -> BTreeSet<DefId> {
    let mut window_of = vec![0; form.defs.len()];
    for (window, ids) in windows.iter().enumerate() {
        ids.iter().for_each(|&id| window_of[id] = window);
    }
    let reads = form.defs.iter().enumerate().flat_map(|(id, def)| sources(def).map(move |read| (id, read)));
    reads.filter(|&(id, read)| window_of[id] != window_of[read]).map(|(_, read)| read).collect()
}

/// A window as a form of its own, with names by number: equal windows are equal forms. `outside`: who is read by others.
pub(super) fn window_form(form: &NormalForm, ids: &[DefId], outside: &BTreeSet<DefId>) -> NormalForm {
    let own: BTreeMap<DefId, DefId> = ids.iter().copied().zip(0..).collect();
    let mut out = NormalForm::default();
    let mut read: BTreeMap<Source, Source> = BTreeMap::new();
    let mut states: BTreeMap<usize, usize> = BTreeMap::new();
    let mut state_of = |out: &mut NormalForm, state: usize| {
        *states.entry(state).or_insert_with(|| {
            out.states.push(State { name: format!("s{}", out.states.len()), ..form.states[state].clone() });
            out.states.len() - 1
        })
    };
    for (&id, at) in ids.iter().zip(0..) {
        let mut def = Def { name: format!("d{at}"), ..form.defs[id].clone() };
        if let Some(update) = &mut def.update {
            update.state = state_of(&mut out, update.state);
            if let Some(shift) = &mut update.shift {
                shift.by = state_of(&mut out, shift.by);
            }
        }
        for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
            let ScalarOp::Load(source, _) = &mut node.op else { continue };
            *source = match *source {
                Source::Def(id) if own.contains_key(&id) => Source::Def(own[&id]),
                Source::State(state) => Source::State(state_of(&mut out, state)),
                other @ (Source::Param(_) | Source::Def(_)) => *read.entry(other).or_insert_with(|| {
                    let name = format!("p{}", out.params.len());
                    let shape = form.source_extents(other).unwrap_or_default().to_vec();
                    out.params.push(Param { name, dtype: node.dtype, shape, hint: InputHint::Any });
                    Source::Param(out.params.len() - 1)
                }),
            };
        }
        if form.outputs.contains(&id) || outside.contains(&id) {
            out.outputs.push(at);
        }
        out.defs.push(def);
    }
    let within = |step: &&Step| step.definitions().iter().any(|id| own.contains_key(id));
    out.steps = form.steps.iter().filter(within).map(|step| renumbered(step, &own)).collect();
    out
}

fn renumbered(step: &Step, own: &BTreeMap<DefId, DefId>) -> Step {
    let all = |body: &[Step]| body.iter().map(|step| renumbered(step, own)).collect();
    match step {
        Step::Def(id) => Step::Def(own.get(id).copied().unwrap_or(*id)),
        Step::Loop { var, range, body, .. } => {
            Step::Loop { var: *var, name: format!("v{var}"), range: range.clone(), body: all(body) }
        }
        Step::If { conditions, body } => {
            Step::If { conditions: conditions.iter().map(Affine::clone).collect(), body: all(body) }
        }
    }
}

/// Puts the schedule of a window into that of the whole form.
pub(super) fn place(ids: &[DefId], schedule: &Schedule, whole: &mut Schedule) {
    for (&id, stage) in ids.iter().zip(&schedule.stages) {
        let place = match stage.place {
            Place::At { consumer, depth } => Place::At { consumer: ids[consumer], depth },
            other @ (Place::Root | Place::Inline) => other,
        };
        whole.stages[id] = StageSchedule { place, ..stage.clone() };
    }
    whole.time_tiles.extend(schedule.time_tiles.iter().cloned());
}

/// Puts what is proposed for a window to what is for the whole form. Loops have the same numbers in both.
pub(super) fn propose(ids: &[DefId], of: &Proposals, whole: &mut Proposals) {
    whole.places.extend(of.places.iter().map(|&(stage, place)| (ids[stage], moved(place, ids))));
    whole.vectors.extend(of.vectors.iter().map(|&(stage, axis, lanes)| (ids[stage], axis, lanes)));
    whole.unrolls.extend(of.unrolls.iter().map(|&(stage, axis, count)| (ids[stage], axis, count)));
    whole.register_tiles.extend(of.register_tiles.iter().map(|&(stage, rows, vectors)| (ids[stage], rows, vectors)));
    whole.tiles.extend(of.tiles.iter().map(|&(stage, axis, size, level)| (ids[stage], axis, size, level)));
    whole.orders.extend(of.orders.iter().map(|&(stage, outer, inner)| (ids[stage], outer, inner)));
    whole.parallels.extend(of.parallels.iter().map(|&(stage, axis)| (ids[stage], axis)));
    whole.streams.extend(of.streams.iter().map(|&stage| ids[stage]));
    whole.packs.extend(of.packs.iter().map(|&(stage, load, axis)| (ids[stage], load, axis)));
    whole.time_blocks.extend(&of.time_blocks);
    whole.bands.extend(&of.bands);
    whole.wavefronts.extend(&of.wavefronts);
}
