//! MoA's denotational normal form (DNF): an ordered DAG of array definitions, each a scalar
//! expression at a point of its domain, with at most one fold.
//!
//! Produced by `normalize`, consumed by `lower`. Views (transpose, slice, reverse, broadcast,
//! window, diagonal, reshape where the radices agree) no longer exist here: they are coefficients
//! in the accesses. Whether a definition is stored, and where, is left open.

use crate::form::scalar_tree::{DefId, Scalar, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::program::expr::{Param, Requirement, Shift};
use crate::value::dtype::DType;
use crate::value::scalar::FoldOp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An array program in normal form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NormalForm {
    /// The parameters, as in the program.
    pub params: Vec<Param>,
    /// Definitions; one reads only parameters and earlier definitions.
    pub defs: Vec<Def>,
    /// The definition of each result, in order. Two results may not share a definition.
    pub outputs: Vec<DefId>,
    /// The last results are checks of these, as in the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "requirements")]
    pub checks: Vec<Requirement>,
    /// Arrays that definitions update. Undefined at the start.
    #[serde(default)]
    pub states: Vec<State>,
    /// What is executed, each definition once. Empty for a form without states: all definitions
    /// in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Checks in a record: their number where all are of indices, as records have always said it.
mod requirements {
    use super::Requirement;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Checks {
        OfIndices(usize),
        Of(Vec<Requirement>),
    }

    #[expect(clippy::ptr_arg, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(checks: &Vec<Requirement>, to: S) -> Result<S::Ok, S::Error> {
        let plain = checks.iter().all(|check| *check == Requirement::Index);
        if plain { Checks::OfIndices(checks.len()) } else { Checks::Of(checks.clone()) }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Requirement>, D::Error> {
        Ok(match Checks::deserialize(from)? {
            Checks::OfIndices(count) => vec![Requirement::Index; count],
            Checks::Of(checks) => checks,
        })
    }
}

/// An array that definitions update.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// A readable name, unique in the form.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// The shape; stored row-major.
    pub shape: Vec<usize>,
}

/// A definition that is stored into a part of a state instead of an array of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Update {
    /// Index in [`NormalForm::states`].
    pub state: usize,
    /// One index for each axis of the state, affine in the definition's points and the loops
    /// around it; no two points have the same. Where it is moved is another question: see
    /// [`Update::index`].
    #[serde(rename = "index")]
    pub base: Vec<Affine>,
    /// All points are moved by a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

impl Update {
    /// The index of each axis; empty where a value moves it, as any element may be written then.
    pub fn index(&self) -> &[Affine] {
        if self.shift.is_some() { &[] } else { &self.base }
    }
}

/// One array: `name[x] = value(x)` for every point x of the box of `axes`.
///
/// Axes are numbered `0 .. axes.len()` for the points and go on with the fold axes of each piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Def {
    /// A readable name, unique in the form.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// The logical shape; stored row-major.
    pub shape: Vec<usize>,
    /// Extents of the digits that the shape's axes were refined to, most significant first: the
    /// row-major offset over `axes` is the row-major offset over `shape`.
    pub axes: Vec<usize>,
    /// Disjoint pieces that cover the box; one in the common case. Those of a definition that is
    /// no result cover at least what is read of it; those of an update what is written.
    pub pieces: Vec<Piece>,
    /// Where it is stored, if not in an array of its own. All of it is computed before any is
    /// written; nobody reads it but through the state.
    #[serde(default)]
    pub update: Option<Update>,
    /// The loops around it, outermost first.
    #[serde(default)]
    pub scope: Vec<Scope>,
}

impl Def {
    /// Changes every form over its axes and the loops around it.
    pub(crate) fn move_forms(&mut self, moved: impl Fn(&Affine) -> Affine) {
        let all = |forms: &mut Vec<Affine>| forms.iter_mut().for_each(|form| *form = moved(form));
        if let Some(update) = &mut self.update {
            all(&mut update.base);
        }
        for piece in &mut self.pieces {
            for range in &mut piece.domain {
                all(&mut range.lo);
                all(&mut range.hi);
            }
            for node in &mut piece.value.nodes {
                node.op = node.op.with_forms(&moved);
            }
        }
    }
}

/// A part of a definition's domain with its own expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// One range for each point axis, then one for each fold axis.
    pub domain: Vec<Range>,
    /// The operator that folds `value` over the axes after the points; `None` if there are none.
    pub fold: Option<FoldOp>,
    /// Of a sum of floats that stands for a reduction: no term goes through more additions, and under exact numerics the
    /// ravel of the fold's axes is summed in NumPy's order, see [`crate::value::pairwise`]. None: the terms may be added one after
    /// the other, and are under exact numerics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// The element, or the folded term.
    pub value: Scalar,
}

impl NormalForm {
    /// Rewrites definition after definition. `rewrite` gives the form with one of them rewritten, and how many definitions it
    /// put before that one; `None` if there was nothing to rewrite at all.
    pub(crate) fn one_by_one(
        &self,
        mut rewrite: impl FnMut(&NormalForm, DefId) -> Option<(NormalForm, usize)>,
    ) -> Option<NormalForm> {
        let mut found: Option<NormalForm> = None;
        let mut id = 0;
        while let Some(current) = found.as_ref().or(Some(self)).filter(|current| id < current.defs.len()) {
            if let Some((next, before)) = rewrite(current, id) {
                found = Some(next);
                id += before;
            }
            id += 1;
        }
        found
    }

    /// A number that no loop has: one more than the greatest.
    pub(crate) fn unused_loop(&self) -> usize {
        fn above(steps: &[Step]) -> usize {
            let of = |step: &Step| match step {
                Step::Def(_) => 0,
                Step::Loop { var, body, .. } => above(body).max(var + 1),
                Step::If { body, .. } => above(body),
            };
            steps.iter().map(of).max().unwrap_or(0)
        }
        above(&self.steps)
    }

    /// A name that nothing has, `stem` if it is free.
    pub(crate) fn unused_name(&self, stem: &str) -> String {
        let mut names: std::collections::BTreeSet<&String> = self.defs.iter().map(|def| &def.name).collect();
        names.extend(self.params.iter().map(|param| &param.name));
        names.extend(self.states.iter().map(|state| &state.name));
        std::iter::once(stem.to_owned())
            .chain((1..).map(|n| format!("{stem}_{n}")))
            .find(|name| !names.contains(name))
            .unwrap_or_default()
    }

    /// Gives every definition its new number wherever the results and the definitions name it; steps stay.
    pub(crate) fn renumber(&mut self, place: impl Fn(DefId) -> DefId) {
        for output in &mut self.outputs {
            *output = place(*output);
        }
        for node in self.defs.iter_mut().flat_map(|def| &mut def.pieces).flat_map(|piece| &mut piece.value.nodes) {
            if let ScalarOp::Load(Source::Def(read), _) = &mut node.op {
                *read = place(*read);
            }
        }
    }

    /// Puts a definition before another, which has the next number then, and is computed next.
    pub(crate) fn insert_before(&mut self, id: DefId, def: Def) {
        fn placed(steps: &mut Vec<Step>, id: DefId) {
            let mut all = Vec::with_capacity(steps.len() + 1);
            for mut step in std::mem::take(steps) {
                match &mut step {
                    Step::Def(at) if *at == id => {
                        all.push(Step::Def(id));
                        *at += 1;
                    }
                    Step::Def(at) => *at += usize::from(*at > id),
                    Step::Loop { body, .. } | Step::If { body, .. } => placed(body, id),
                }
                all.push(step);
            }
            *steps = all;
        }
        self.renumber(|at| at + usize::from(at >= id));
        placed(&mut self.steps, id);
        self.defs.insert(id, def);
    }
}

impl NormalForm {
    /// Element type of what a load reads; `None` if it does not exist.
    pub fn source_dtype(&self, source: Source) -> Option<DType> {
        match source {
            Source::Param(at) => self.params.get(at).map(|param| param.dtype),
            Source::Def(at) => self.defs.get(at).map(|def| def.dtype),
            Source::State(at) => self.states.get(at).map(|state| state.dtype),
        }
    }

    /// Extents that [`Access::Axes`] indexes; `None` if the source does not exist.
    pub fn source_extents(&self, source: Source) -> Option<&[usize]> {
        match source {
            Source::Param(at) => self.params.get(at).map(|param| param.shape.as_slice()),
            Source::Def(at) => self.defs.get(at).map(|def| def.axes.as_slice()),
            Source::State(at) => self.states.get(at).map(|state| state.shape.as_slice()),
        }
    }

    /// The name of what a load reads; `None` if it does not exist.
    pub fn source_name(&self, source: Source) -> Option<&str> {
        match source {
            Source::Param(at) => self.params.get(at).map(|param| param.name.as_str()),
            Source::Def(at) => self.defs.get(at).map(|def| def.name.as_str()),
            Source::State(at) => self.states.get(at).map(|state| state.name.as_str()),
        }
    }
}

impl Def {
    /// Number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Axes that the bounds of others depend on.
    pub fn ragged(&self) -> BTreeSet<usize> {
        let bounds =
            |range: &'_ Range| range.lo.iter().chain(&range.hi).flat_map(|bound| bound.terms.clone()).collect();
        let terms = self.pieces.iter().flat_map(|piece| &piece.domain).flat_map(|range| -> Vec<_> { bounds(range) });
        terms.map(|term| term.0).filter(|&variable| loop_of(variable).is_none()).collect()
    }

    /// Whether a loop around bounds an axis.
    pub fn varies(&self, axis: usize) -> bool {
        let of_loop = |bound: &Affine| bound.terms.iter().any(|term| loop_of(term.0).is_some());
        let ranges = self.pieces.iter().filter_map(|piece| piece.domain.get(axis));
        ranges.flat_map(|range| range.lo.iter().chain(&range.hi)).any(of_loop)
    }
}

impl Piece {
    /// Number of fold axes of this piece in a definition with `points` point axes.
    pub fn fold_axes(&self, points: usize) -> usize {
        self.domain.len() - points
    }
}

/// A loop around a definition, as far as an estimate needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Its variable, see [`loop_variable`].
    pub variable: usize,
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
}
