//! Buffers of parameters, results, states and definitions that are stored whole.

use super::state::{Apply, Storage};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::{Access, DefId, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::row_major;
use crate::nest::{Buffer, BufferId, BufferRole};
use crate::schedule::Place;

impl Apply<'_> {
    /// Buffers of parameters, results, states and definitions stored whole.
    pub(super) fn allocate_whole(&mut self) {
        for (at, param) in self.form.params.iter().enumerate() {
            self.builder.nest.buffers.push(Buffer {
                name: param.name.clone(),
                dtype: param.dtype,
                len: param.shape.iter().product(),
                role: BufferRole::Param(at),
            });
        }
        let mut states: Vec<Option<BufferId>> = vec![None; self.form.states.len()];
        for (at, &id) in self.form.outputs.iter().enumerate() {
            let results = self.form.outputs.len() - self.form.checks.len().min(self.form.outputs.len());
            let check = at.checked_sub(results).and_then(|check| Some((check, *self.form.checks.get(check)?)));
            let role = check.map_or(BufferRole::Output(at), |(check, of)| BufferRole::Check(check, of));
            self.allocate_def(id, role);
            // A state that is returned lives where the result does.
            if let (Some(state), Some(storage)) = (returned_state(self.form, id), &self.storage[id])
                && let Some(slot @ None) = states.get_mut(state)
            {
                *slot = Some(storage.buffer);
            }
        }
        for (at, state) in states.into_iter().enumerate() {
            let of = &self.form.states[at];
            let len = of.shape.iter().product();
            let buffer = state.unwrap_or_else(|| self.builder.buffer(&of.name, of.dtype, len, BufferRole::Shared));
            self.states.push(buffer);
        }
        for id in 0..self.form.defs.len() {
            let own = self.form.defs[id].update.is_none();
            if own && self.schedule.stages[id].place == Place::Root && self.storage[id].is_none() {
                self.allocate_def(id, BufferRole::Shared);
            }
        }
    }

    fn allocate_def(&mut self, id: DefId, role: BufferRole) {
        let def = &self.form.defs[id];
        let extents: Vec<i64> = def.axes.iter().map(|&n| Interval::whole(n).extent).collect();
        let buffer = self.builder.buffer(&def.name, def.dtype, def.size(), role);
        let bases = vec![Affine::constant(0); extents.len()];
        self.storage[id] = Some(Storage { buffer, bases, strides: row_major(&extents), whole: true });
    }
}

/// The state that a definition is a copy of, element by element; such a result needs no copy.
pub(super) fn returned_state(form: &NormalForm, id: DefId) -> Option<usize> {
    let def = form.defs.get(id)?;
    let [piece] = def.pieces.as_slice() else { return None };
    let [ScalarNode { op: ScalarOp::Load(Source::State(state), Access::Axes(index)), .. }] =
        piece.value.nodes.as_slice()
    else {
        return None;
    };
    let copies = form.outputs.contains(&id)
        && def.scope.is_empty()
        && def.axes == form.states.get(*state)?.shape
        && index.iter().enumerate().all(|(axis, form)| *form == Affine::variable(axis));
    copies.then_some(*state)
}
