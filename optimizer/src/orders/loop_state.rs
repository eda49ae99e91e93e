//! Folds in loops whose terms the loop supplies: term k reads what iteration k + `shift` has stored.
//!
//! Input: a form. Output: such folds, and what may be asked of the time between a term's supplier and the fold. Integer
//! elimination decides, exactly.

use crate::dependence::access::{Touch, known_touches};
use crate::form::context::{Context, contexts, scopes};
use crate::form::normal_form::{Def, NormalForm, Piece, Update};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::integer::set::{Answer, IntegerSet};

/// A fold in a loop that supplies its terms.
pub(crate) struct Fold<'f> {
    pub(crate) id: DefId,
    pub(crate) def: &'f Def,
    pub(crate) piece: &'f Piece,
    pub(crate) context: Context,
    /// The innermost loop around it.
    pub(crate) var: usize,
    pub(crate) range: Range,
    /// The loop's body.
    pub(crate) body: &'f [Step],
    /// Term k needs iteration k + `shift`.
    pub(crate) shift: Affine,
}

impl<'f> Fold<'f> {
    /// A definition that stands directly in a loop and folds over one axis, once for each way in which updates of
    /// `suppliers` may supply its terms.
    pub(crate) fn all(form: &'f NormalForm, id: DefId, suppliers: &dyn Fn(DefId) -> bool) -> Vec<Fold<'f>> {
        Fold::found(form, id, suppliers).unwrap_or_default()
    }

    fn found(form: &'f NormalForm, id: DefId, suppliers: &dyn Fn(DefId) -> bool) -> Option<Vec<Fold<'f>>> {
        let def = &form.defs[id];
        let [piece] = def.pieces.as_slice() else { return None };
        let points = def.axes.len();
        if piece.fold.is_none() || piece.fold_axes(points) != 1 {
            return None;
        }
        let InLoop { context, var, range, body } = InLoop::of(form, id)?;
        let scope = scopes(form).swap_remove(id).pop()?;
        let inside = defs_in(body);
        if is_local(&piece.value, body) || scope.min < 0 || range.lo.len() != 1 {
            return None;
        }
        let mut all: Vec<Affine> = Vec::new();
        let updates =
            inside.iter().filter(|(id, _)| suppliers(*id)).filter_map(|&(id, _)| form.defs[id].update.as_ref());
        for update in updates.filter(|update| update.shift.is_none()) {
            for node in &piece.value.nodes {
                if let ScalarOp::Load(Source::State(state), Access::Axes(index)) = &node.op
                    && *state == update.state
                {
                    all.extend(shifts(update, index, loop_variable(var), points));
                }
            }
        }
        all.sort();
        all.dedup();
        let fold = |shift| Fold { id, def, piece, context: context.clone(), var, range: range.clone(), body, shift };
        Some(all.into_iter().map(fold).collect())
    }

    /// The iteration that a term needs, in the set of a pair.
    pub(crate) fn supplier(&self, pair: &Pair) -> Affine {
        pair.of_own(&Affine::variable(self.def.axes.len()).plus(&self.shift))
    }

    /// Whether nobody writes what a term reads between its supplier's end and the fold.
    pub(crate) fn keeps_its_terms(&self, form: &NormalForm) -> bool {
        let contexts = contexts(form);
        let inside = defs_in(self.body);
        let Some(&(_, own_position)) = inside.iter().find(|(id, _)| *id == self.id) else { return false };
        let Some(own) = known_touches(self.def) else { return false };
        inside.iter().all(|&(id, position)| {
            let Some(others) = known_touches(&form.defs[id]) else { return false };
            others.iter().filter(|other| other.writes).all(|other| {
                own.iter().filter(|read| !read.writes && read.state == other.state).all(|read| {
                    let pair = Pair::new(&self.context, &contexts[id], other, (read.domain, read.index));
                    pair.never(&[
                        (&self.supplier(&pair), &pair.other, true),
                        (&pair.other, &pair.own, position >= own_position),
                    ])
                })
            })
        })
    }
}

/// Iterations that may have stored what a term k reads, each as its distance from k.
fn shifts(update: &Update, read: &[Affine], variable: usize, fold: usize) -> Vec<Affine> {
    let alone = |form: &Affine, keep: usize| {
        form.coefficient(keep) == 1
            && form.terms.iter().all(|&(v, _)| v == keep || loop_of(v).is_some() && v != variable)
    };
    let pairs = update.base.iter().zip(read);
    pairs
        .filter(|(written, read)| alone(written, variable) && alone(read, fold))
        .map(|(written, read)| read.minus(&Affine::variable(fold)).minus(&written.minus(&Affine::variable(variable))))
        .collect()
}

/// The innermost loop around a definition that stands directly in its body.
pub(crate) struct InLoop<'f> {
    pub(crate) context: Context,
    pub(crate) var: usize,
    pub(crate) range: Range,
    pub(crate) body: &'f [Step],
}

impl<'f> InLoop<'f> {
    /// `None` where the definition is in no loop, or under a condition there.
    pub(crate) fn of(form: &'f NormalForm, id: DefId) -> Option<InLoop<'f>> {
        let context = contexts(form).swap_remove(id);
        let (variable, range) = context.loops.last().cloned()?;
        let var = loop_of(variable)?;
        let body = body_of(&form.steps, var)?;
        let direct = body.iter().any(|step| matches!(step, Step::Def(found) if *found == id));
        direct.then_some(InLoop { context, var, range, body })
    }
}

/// Whether a value is that of its iteration of the loop alone: it reads what an iteration computes for itself, or elements
/// of which it is not known which they are.
pub(crate) fn is_local(value: &Scalar, body: &[Step]) -> bool {
    let inside = defs_in(body);
    value.nodes.iter().any(|node| match &node.op {
        ScalarOp::Load(Source::Def(read), _) => inside.iter().any(|(known, _)| known == read),
        ScalarOp::Load(_, Access::Flat(_) | Access::Gather(_)) => true,
        ScalarOp::Load(_, Access::Axes(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => false,
        ScalarOp::Unary(..) | ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => false,
    })
}

/// The body of a loop.
pub(crate) fn body_of(steps: &[Step], wanted: usize) -> Option<&[Step]> {
    steps.iter().find_map(|step| match step {
        Step::Def(_) => None,
        Step::Loop { var, body, .. } if *var == wanted => Some(body.as_slice()),
        Step::Loop { body, .. } | Step::If { body, .. } => body_of(body, wanted),
    })
}

/// The definitions of a body, each with the position of its step.
pub(crate) fn defs_in(body: &[Step]) -> Vec<(DefId, usize)> {
    let of = |(at, step): (usize, &Step)| step.definitions().into_iter().map(move |id| (id, at)).collect::<Vec<_>>();
    body.iter().enumerate().flat_map(of).collect()
}

/// Two iterations of a loop: an access of a statement of the body in the first, one of a definition that stands directly
/// in the body in the second.
pub(crate) struct Pair {
    pub(crate) set: IntegerSet,
    /// The loop's variable in the one and the other iteration.
    pub(crate) other: Affine,
    pub(crate) own: Affine,
    /// The loops of the second access, outermost first, and where its axes stand.
    loops: Vec<usize>,
    axes: usize,
}

impl Pair {
    /// `own_context`: of the definition; its access is `index` over `domain`.
    pub(crate) fn new(
        own_context: &Context,
        context: &Context,
        touch: &Touch<'_>,
        (domain, index): (&[Range], &[Affine]),
    ) -> Pair {
        let loops: Vec<usize> = own_context.loops.iter().map(|known| known.0).collect();
        let outer = loops.len() - 1;
        // Variables: the common loops, the loop twice, the other's own loops, its axes, the definition's axes.
        let inner = context.loops.len() - outer - 1;
        let axes = outer + 2 + inner;
        let own_axes = axes + touch.domain.len();
        let common = |v: usize| context.loops.iter().position(|(known, _)| *known == v).unwrap_or(usize::MAX);
        let other = |v: usize| match loop_of(v) {
            Some(_) => match common(v) {
                at if at <= outer => at,
                at => at.saturating_add(1),
            },
            None => v + axes,
        };
        let own = |v: usize| own_place(&loops, own_axes, v);
        let mut set = IntegerSet::all(own_axes + domain.len());
        context.require(&mut set, other);
        own_context.require(&mut set, own);
        set.require_domain(touch.domain, other);
        set.require_domain(domain, own);
        for (a, b) in touch.index.iter().zip(index) {
            let a = a.substitute(|v| Affine::variable(other(v)));
            let b = b.substitute(|v| Affine::variable(own(v)));
            set.require_zero(&a.minus(&b), |v| v);
        }
        Pair { set, other: Affine::variable(outer), own: Affine::variable(outer + 1), loops, axes: own_axes }
    }

    /// What a form over the second access's loops and axes is in the set.
    pub(crate) fn of_own(&self, form: &Affine) -> Affine {
        form.substitute(|v| Affine::variable(own_place(&self.loops, self.axes, v)))
    }

    /// Whether nothing is left where `early < late`, or `early ≤ late` if not `strictly`, for every one of `order`.
    pub(crate) fn never(&self, order: &[(&Affine, &Affine, bool)]) -> bool {
        let mut set = self.set.clone();
        for (early, late, strictly) in order {
            set.require_non_negative(&late.minus(early).offset(-i64::from(*strictly)), |v| v);
        }
        set.answer() == Answer::Empty
    }
}

/// Where a variable of the second access stands: the innermost of its `loops` after the first access's.
fn own_place(loops: &[usize], axes: usize, variable: usize) -> usize {
    match loop_of(variable) {
        Some(_) => match loops.iter().position(|&known| known == variable) {
            Some(at) if at + 1 < loops.len() => at,
            Some(at) => at + 1,
            None => usize::MAX,
        },
        None => variable + axes,
    }
}
