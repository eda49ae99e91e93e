//! What is known while a schedule is applied: the form, the schedule, where definitions lie, the nest so far.

use super::builder::NestBuilder;
use super::error::ApplyError;
use crate::dependence::inline::InlinedPiece;
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::integer::affine::Affine;
use crate::nest::{BufferId, VarId};
use crate::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// Where a definition's elements are: element x at `Σ (x[a] − base[a]) · stride[a]`.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// The buffer.
    pub(super) buffer: BufferId,
    /// The first index of each axis.
    pub(super) bases: Vec<Affine>,
    /// Elements between neighbours along each axis.
    pub(super) strides: Vec<i64>,
    /// All elements are there.
    pub(super) whole: bool,
}

/// A form under a schedule, and the nest that is made of it.
pub(super) struct Apply<'a> {
    /// The form in its time tiles.
    pub(super) form: &'a NormalForm,
    /// What is decided about it.
    pub(super) schedule: &'a Schedule,
    /// The pieces of each definition, with what is inlined into them.
    pub(super) pieces: Vec<Vec<InlinedPiece>>,
    /// The nest.
    pub(super) builder: NestBuilder,
    /// Where each definition is, once it has a place.
    pub(super) storage: Vec<Option<Storage>>,
    /// The buffer of each state.
    pub(super) states: Vec<BufferId>,
    /// The nest's variable of each loop of the form that is being written.
    pub(super) loops: BTreeMap<usize, VarId>,
    /// Loops of the form whose iterations are divided among threads.
    pub(super) parallel: BTreeSet<usize>,
}

impl Apply<'_> {
    /// The error of definition `id` that says `message`.
    pub(super) fn malformed<T>(&self, id: DefId, message: impl Into<String>) -> Result<T, ApplyError> {
        Err(ApplyError::Malformed { stage: self.form.defs[id].name.clone(), message: message.into() })
    }

    /// Forms over loops of the form as forms over variables of the nest.
    pub(super) fn over_variables(&self, forms: &[Affine]) -> Vec<Affine> {
        forms.iter().map(|form| form.substitute(|v| self.loop_of_nest(v).unwrap_or_default())).collect()
    }

    /// The nest's variable of a loop of the form; `None` for an axis.
    pub(super) fn loop_of_nest(&self, variable: usize) -> Option<Affine> {
        self.loops.get(&variable).map(|&var| Affine::variable(var))
    }
}
