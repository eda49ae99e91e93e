//! Where elements lie: the flat offset of an access over a nest's variables.

use super::error::ApplyError;
use super::state::Apply;
use crate::form::scalar_tree::{Access, DefId, Source};
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::{loop_of, row_major};
use crate::nest::BufferId;

/// A flat offset: a part over a reader's axes and a part over variables.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) axes: Affine,
    pub(super) variables: Affine,
}

impl Address {
    /// The offset over variables, where axis `a` has the value `axis(a)`.
    pub(super) fn over(&self, axis: impl FnMut(usize) -> Affine) -> Affine {
        self.axes.substitute(axis).plus(&self.variables)
    }
}

/// `Σ formsⱼ · weightsⱼ`.
pub(super) fn dot(forms: &[Affine], weights: &[i64]) -> Affine {
    forms.iter().zip(weights).fold(Affine::constant(0), |sum, (form, &weight)| sum.plus(&form.times(weight)))
}

impl Apply<'_> {
    /// A form over axes and loops as one over axes alone and one over the nest's variables.
    pub(super) fn parted(&self, form: &Affine) -> (Affine, Affine) {
        let axes = form.terms.iter().copied().filter(|term| loop_of(term.0).is_none());
        let loops = Affine::new(0, form.terms.iter().copied().filter(|term| loop_of(term.0).is_some()));
        (Affine::new(form.constant, axes), loops.substitute(|v| self.loop_of_nest(v).unwrap_or_default()))
    }

    /// The buffer that an access reads and its flat offset over the reader's axes, plus a part
    /// over variables (the base of a region).
    pub(super) fn address(
        &self,
        reader: DefId,
        source: Source,
        access: &Access,
    ) -> Result<(BufferId, Address), ApplyError> {
        match source {
            Source::Param(at) => Ok((at, self.flat(&self.form.params[at].shape, access))),
            Source::State(at) => match self.states.get(at) {
                Some(&buffer) => Ok((buffer, self.flat(&self.form.states[at].shape, access))),
                None => self.malformed(reader, "it reads a state that does not exist"),
            },
            Source::Def(id) => {
                let Some(storage) = &self.storage[id] else {
                    return self
                        .malformed(id, format!("`{}` reads it before it is computed", self.form.defs[reader].name));
                };
                match access {
                    Access::Flat(form) if storage.whole => {
                        let (axes, variables) = self.parted(form);
                        Ok((storage.buffer, Address { axes, variables }))
                    }
                    Access::Gather(gather) if storage.whole => {
                        let (axes, variables) = self.parted(&gather.offset);
                        Ok((storage.buffer, Address { axes, variables }))
                    }
                    Access::Flat(_) | Access::Gather(_) => self.malformed(
                        id,
                        format!(
                            "`{}` reads it through a reshape, so it must be stored whole",
                            self.form.defs[reader].name
                        ),
                    ),
                    Access::Axes(indices) => {
                        let (axes, outer) = self.parted(&dot(indices, &storage.strides));
                        let variables = outer.minus(&dot(&storage.bases, &storage.strides));
                        Ok((storage.buffer, Address { axes, variables }))
                    }
                }
            }
        }
    }

    /// Where an access reads an array of `shape` that is stored whole.
    fn flat(&self, shape: &[usize], access: &Access) -> Address {
        let offset = match access {
            Access::Flat(form) => form.clone(),
            Access::Gather(gather) => gather.offset.clone(),
            Access::Axes(indices) => {
                let extents: Vec<i64> = shape.iter().map(|&n| Interval::whole(n).extent).collect();
                dot(indices, &row_major(&extents))
            }
        };
        let (axes, variables) = self.parted(&offset);
        Address { axes, variables }
    }
}
