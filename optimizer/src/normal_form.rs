//! MoA's denotational normal form (DNF): an ordered DAG of array definitions, each a scalar
//! expression at a point of its domain, with at most one fold.
//!
//! Produced by `normalize`, consumed by `lower`. Views (transpose, slice, reverse, broadcast,
//! window, diagonal, reshape where the radices agree) no longer exist here: they are coefficients
//! in the accesses. Whether a definition is stored, and where, is left open.

use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::program::expr::{Param, Requirement, Shift};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Index of a definition in [`NormalForm::defs`].
pub type DefId = usize;

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

/// A part of what a form with states executes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Computes a definition.
    Def(DefId),
    /// The fold of its body over the states, one value of the variable after the other.
    Loop {
        /// The loop's number: its variable is [`loop_variable`] of it.
        var: usize,
        /// A readable name.
        name: String,
        /// The values; bounds affine in variables of the loops around it.
        range: Range,
        /// Executed for each value.
        body: Vec<Step>,
    },
    /// Executed where every form is ≥ 0.
    If {
        /// Affine in variables of the loops around it.
        conditions: Vec<Affine>,
        /// Executed then.
        body: Vec<Step>,
    },
}

impl Step {
    /// The step with the bounds and conditions of its loops changed.
    pub(crate) fn with_forms(&self, moved: &dyn Fn(&Affine) -> Affine) -> Step {
        let all = |forms: &[Affine]| forms.iter().map(moved).collect();
        let steps = |body: &[Step]| body.iter().map(|step| step.with_forms(moved)).collect();
        match self {
            Step::Def(id) => Step::Def(*id),
            Step::Loop { var, name, range, body } => Step::Loop {
                var: *var,
                name: name.clone(),
                range: Range { lo: all(&range.lo), hi: all(&range.hi) },
                body: steps(body),
            },
            Step::If { conditions, body } => Step::If { conditions: all(conditions), body: steps(body) },
        }
    }

    /// The definitions that it computes, in order.
    pub fn definitions(&self) -> Vec<DefId> {
        match self {
            Step::Def(id) => vec![*id],
            Step::Loop { body, .. } | Step::If { body, .. } => body.iter().flat_map(Step::definitions).collect(),
        }
    }
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

/// What a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// A parameter; scalars have an empty access.
    Param(usize),
    /// An earlier definition.
    Def(DefId),
    /// What a state holds when the reading definition is computed.
    State(usize),
}

/// Where in the source a load reads, affine over the reading piece's axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// One index per axis: of the parameter's `shape`, or of the definition's `axes`.
    Axes(Vec<Affine>),
    /// An offset into the row-major ravel: what a reshape between unrelated radices leaves. The
    /// source, if it is a definition, must be stored whole.
    Flat(Affine),
    /// A gather: an offset into the ravel that depends on a value. Any element may be read, as far
    /// as anybody knows; the source must be stored whole.
    Gather(Gather),
}

/// The offset `offset + stride · v` into a ravel, where v is the value of a scalar node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gather {
    /// The part that is known.
    pub offset: Affine,
    /// The distance between elements of the axis that is indexed.
    pub stride: i64,
    /// The node of v, an i64. It is a constant, or `(x ⌈ 0) ⌊ (n − 1)`: this bounds v, whatever x is.
    pub at: usize,
}

impl Gather {
    /// The least and greatest value of v; `None` if the nodes do not bound it.
    pub fn bounds<'n>(&self, node: impl Fn(usize) -> Option<&'n ScalarNode>) -> Option<(i64, i64)> {
        let constant = |at: usize| match node(at)?.op {
            ScalarOp::Const(Literal::Int(value)) => Some(value),
            ScalarOp::Const(_)
            | ScalarOp::Load(..)
            | ScalarOp::Index(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => None,
        };
        if node(self.at)?.dtype != DType::I64 {
            return None;
        }
        if let Some(value) = constant(self.at) {
            return Some((value, value));
        }
        let ScalarOp::Binary(BinaryOp::Minimum, inner, high) = node(self.at)?.op else { return None };
        let ScalarOp::Binary(BinaryOp::Maximum, _, low) = node(inner)?.op else { return None };
        let (low, high) = constant(low).zip(constant(high))?;
        (low <= high).then_some((low, high))
    }
}

/// A scalar expression DAG. Node `0 ..` in topological order; the last is the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// The nodes; operands come before their users; never empty.
    pub nodes: Vec<ScalarNode>,
}

/// One scalar operation with the dtype of its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScalarNode {
    /// What it computes.
    pub op: ScalarOp,
    /// The result's type.
    pub dtype: DType,
}

/// A scalar operation; operands are indices of earlier nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarOp {
    /// An element of an array.
    Load(Source, Access),
    /// A constant.
    Const(Literal),
    /// An index expression as a number (`ι`), at any integer dtype (I64 unless cast).
    Index(Affine),
    /// One operand.
    Unary(UnaryOp, usize),
    /// Two operands of one dtype.
    Binary(BinaryOp, usize, usize),
    /// `condition ? then : else`; both sides may be evaluated, so both must be in bounds.
    Where(usize, usize, usize),
    /// Conversion to the node's dtype.
    Cast(usize),
}

impl Scalar {
    /// The expression of one of its nodes alone.
    pub(crate) fn rooted(&self, root: usize) -> Scalar {
        let mut needed = vec![false; root + 1];
        needed[root] = true;
        for at in (0..=root).rev() {
            if needed[at] {
                self.nodes[at].op.operands().into_iter().for_each(|operand| needed[operand] = true);
            }
        }
        let place = |at: usize| needed[..at].iter().filter(|&&needed| needed).count();
        let kept = self.nodes.iter().zip(&needed).filter(|(_, needed)| **needed);
        Scalar { nodes: kept.map(|(node, _)| ScalarNode { op: node.op.renumbered(place), ..node.clone() }).collect() }
    }
}

impl ScalarOp {
    /// The operation with its operands renumbered.
    #[must_use]
    pub fn renumbered(&self, at: impl Fn(usize) -> usize) -> ScalarOp {
        match self {
            ScalarOp::Load(source, Access::Gather(gather)) => {
                ScalarOp::Load(*source, Access::Gather(Gather { at: at(gather.at), ..gather.clone() }))
            }
            ScalarOp::Load(_, Access::Axes(_) | Access::Flat(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => {
                self.clone()
            }
            ScalarOp::Unary(op, x) => ScalarOp::Unary(*op, at(*x)),
            ScalarOp::Binary(op, x, y) => ScalarOp::Binary(*op, at(*x), at(*y)),
            ScalarOp::Where(c, x, y) => ScalarOp::Where(at(*c), at(*x), at(*y)),
            ScalarOp::Cast(x) => ScalarOp::Cast(at(*x)),
        }
    }

    /// The operation with its index forms changed.
    #[must_use]
    pub fn with_forms(&self, moved: impl Fn(&Affine) -> Affine) -> ScalarOp {
        let access = |access: &Access| match access {
            Access::Axes(index) => Access::Axes(index.iter().map(&moved).collect()),
            Access::Flat(offset) => Access::Flat(moved(offset)),
            Access::Gather(gather) => Access::Gather(Gather { offset: moved(&gather.offset), ..gather.clone() }),
        };
        match self {
            ScalarOp::Load(source, at) => ScalarOp::Load(*source, access(at)),
            ScalarOp::Index(form) => ScalarOp::Index(moved(form)),
            ScalarOp::Const(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => self.clone(),
        }
    }

    /// Indices of the operands.
    pub fn operands(&self) -> Vec<usize> {
        match self {
            ScalarOp::Load(_, Access::Gather(gather)) => vec![gather.at],
            ScalarOp::Load(_, Access::Axes(_) | Access::Flat(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => {
                Vec::new()
            }
            ScalarOp::Unary(_, x) | ScalarOp::Cast(x) => vec![*x],
            ScalarOp::Binary(_, x, y) => vec![*x, *y],
            ScalarOp::Where(c, x, y) => vec![*c, *x, *y],
        }
    }
}

/// The steps with others in the place of a loop, which they are made from.
pub(crate) fn replaced(steps: &[Step], wanted: usize, by: &dyn Fn(&Step) -> Vec<Step>) -> Vec<Step> {
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Def(id) => all.push(Step::Def(*id)),
            Step::Loop { var, .. } if *var == wanted => all.extend(by(step)),
            Step::Loop { var, name, range, body } => all.push(Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: replaced(body, wanted, by),
            }),
            Step::If { conditions, body } => {
                all.push(Step::If { conditions: conditions.clone(), body: replaced(body, wanted, by) });
            }
        }
    }
    all
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

    /// Gives every definition the scope that its steps put it in.
    pub(crate) fn update_scopes(&mut self) {
        let scopes = scopes(self);
        for (def, scope) in self.defs.iter_mut().zip(scopes) {
            def.scope = scope;
        }
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

/// The loops and conditions under which a definition is computed, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Variables, see [`loop_variable`], with their ranges over those before them.
    pub loops: Vec<(usize, Range)>,
    /// Each is ≥ 0.
    pub conditions: Vec<Affine>,
}

/// The context of every definition.
pub fn contexts(form: &NormalForm) -> Vec<Context> {
    fn walk(steps: &[Step], context: &mut Context, found: &mut [Context]) {
        for step in steps {
            match step {
                Step::Def(id) => {
                    if let Some(slot) = found.get_mut(*id) {
                        *slot = context.clone();
                    }
                }
                Step::Loop { var, range, body, .. } => {
                    context.loops.push((loop_variable(*var), range.clone()));
                    walk(body, context, found);
                    context.loops.pop();
                }
                Step::If { conditions, body } => {
                    let before = context.conditions.len();
                    context.conditions.extend(conditions.iter().cloned());
                    walk(body, context, found);
                    context.conditions.truncate(before);
                }
            }
        }
    }
    let mut found = vec![Context::default(); form.defs.len()];
    walk(&form.steps, &mut Context::default(), &mut found);
    found
}

/// The loops around every definition, with the extreme values of their variables: its [`Def::scope`].
pub fn scopes(form: &NormalForm) -> Vec<Vec<Scope>> {
    let scope = |context: &Context| {
        let mut scope: Vec<Scope> = Vec::new();
        for (variable, range) in &context.loops {
            let known = |v: usize| scope.iter().find(|s| s.variable == v).map_or((0, 0), |s| (s.min, s.max));
            let min = range.lo.iter().map(|form| form.bounds(known).0).max().unwrap_or(0);
            let max = range.hi.iter().map(|form| form.bounds(known).1).min().unwrap_or(0) - 1;
            scope.push(Scope { variable: *variable, min, max });
        }
        scope
    };
    contexts(form).iter().map(scope).collect()
}

impl Context {
    /// What is known of the loops' variables: forms that are ≥ 0.
    pub(crate) fn non_negative(&self) -> Vec<Affine> {
        let of = |(variable, range): &(usize, Range)| {
            let variable = Affine::variable(*variable);
            let low = range.lo.iter().map(|low| variable.minus(low));
            let high = range.hi.iter().map(|high| high.minus(&variable).offset(-1));
            low.chain(high).collect::<Vec<Affine>>()
        };
        self.loops.iter().flat_map(of).chain(self.conditions.iter().cloned()).collect()
    }

    /// Requires the loops' variables, which stand at `place` in the set, to take values that they have.
    pub fn require(&self, set: &mut crate::integer::set::IntegerSet, place: impl Fn(usize) -> usize) {
        for (variable, range) in &self.loops {
            for low in &range.lo {
                set.require_non_negative(&Affine::variable(*variable).minus(low), &place);
            }
            for high in &range.hi {
                set.require_non_negative(&high.minus(&Affine::variable(*variable)).offset(-1), &place);
            }
        }
        for condition in &self.conditions {
            set.require_non_negative(condition, &place);
        }
    }

    /// How often the definition is computed, estimated by the middles of the ranges.
    pub fn executions(&self) -> f64 {
        self.middles().0
    }

    /// A domain in the middle of the ranges of the loops around it.
    pub fn typical(&self, domain: &[Range]) -> Vec<Range> {
        let middles = self.middles().1;
        let fix = |form: &Affine| {
            form.substitute(|v| match middles.iter().find(|middle| middle.0 == v) {
                Some(&(_, middle)) => Affine::constant(middle.round() as i64),
                None => Affine::variable(v),
            })
        };
        let all = |forms: &[Affine]| forms.iter().map(fix).collect();
        domain.iter().map(|range| Range { lo: all(&range.lo), hi: all(&range.hi) }).collect()
    }

    fn middles(&self) -> (f64, Vec<(usize, f64)>) {
        let mut middles: Vec<(usize, f64)> = Vec::new();
        let mut trips = 1.0;
        for (variable, range) in &self.loops {
            let value = |form: &Affine| {
                form.terms.iter().fold(form.constant as f64, |sum, &(v, c)| {
                    sum + c as f64 * middles.iter().find(|m| m.0 == v).map_or(0.0, |m| m.1)
                })
            };
            let low = range.lo.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
            let high = range.hi.iter().map(value).fold(f64::INFINITY, f64::min);
            trips *= (high - low).max(0.0);
            middles.push((*variable, f64::midpoint(low, high - 1.0)));
        }
        (trips, middles)
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
