//! The order of a state's axes in memory.
//!
//! Input: a form. Output: an equal form in which a state that nobody outside sees is stored with the axis last that
//! its readers and writers step along most, so that vectors of it are contiguous.

use crate::form::context::contexts;
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::{Access, ScalarOp, Source};
use crate::integer::affine::Affine;

/// The form with the axes of its internal states in the order of their use.
#[must_use]
pub(super) fn order_states(form: &NormalForm) -> NormalForm {
    let mut ordered = form.clone();
    for state in 0..form.states.len() {
        if let Some(last) = best_last(form, state) {
            let rank = form.states[state].shape.len();
            let order: Vec<usize> = (0..rank).filter(|&axis| axis != last).chain([last]).collect();
            permute(&mut ordered, state, &order);
        }
    }
    ordered
}

/// What is read and written of a state: the index, and the definition it belongs to.
fn accesses(form: &NormalForm, state: usize) -> Option<Vec<(&Def, &[Affine], usize)>> {
    let mut found = Vec::new();
    for (id, def) in form.defs.iter().enumerate() {
        if let Some(update) = def.update.as_ref().filter(|update| update.state == state) {
            // A distance in the whole fixes the order.
            if update.shift.is_some() {
                return None;
            }
            found.push((def, update.index(), id));
        }
        for node in def.pieces.iter().flat_map(|piece| &piece.value.nodes) {
            if let ScalarOp::Load(Source::State(read), access) = &node.op
                && *read == state
            {
                // An offset into the whole fixes the order.
                let Access::Axes(index) = access else { return None };
                found.push((def, index.as_slice(), id));
            }
        }
    }
    Some(found)
}

/// The axis that most accesses step along, if it is another one than the last and the state is internal.
fn best_last(form: &NormalForm, state: usize) -> Option<usize> {
    let rank = form.states[state].shape.len();
    let contexts = contexts(form);
    let mut votes = vec![0.0; rank];
    for (def, index, id) in accesses(form, state)? {
        // A result that is the whole state is the state's own memory.
        if form.outputs.contains(&id) {
            return None;
        }
        let points = def.axes.len();
        let weight = contexts[id].executions().max(1.0) * def.axes.iter().map(|&extent| extent as f64).product::<f64>();
        // The innermost axis of the definition that this access depends on is what vectors run along.
        let innermost = (0..points).rev().find(|&axis| def.axes[axis] > 1);
        for (axis, form) in index.iter().enumerate() {
            if innermost.is_some_and(|inner| form.coefficient(inner) != 0) {
                votes[axis] += weight;
            }
        }
    }
    let best = (0..rank).max_by(|&a, &b| votes[a].total_cmp(&votes[b]))?;
    (best + 1 != rank && votes[best] > votes[rank - 1]).then_some(best)
}

fn permute(form: &mut NormalForm, state: usize, order: &[usize]) {
    let moved = |index: &mut Vec<Affine>| *index = order.iter().map(|&axis| index[axis].clone()).collect();
    form.states[state].shape = order.iter().map(|&axis| form.states[state].shape[axis]).collect();
    for def in &mut form.defs {
        if let Some(update) = def.update.as_mut().filter(|update| update.state == state) {
            moved(&mut update.base);
        }
        for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
            if let ScalarOp::Load(Source::State(read), Access::Axes(index)) = &mut node.op
                && *read == state
            {
                moved(index);
            }
        }
    }
}
