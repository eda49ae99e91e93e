//! Right-looking forms: a fold over what a loop has computed so far, term by term as soon as each is there.
//!
//! `for j: { x[j] = ⊕ f(j, k) over k < j; rest }`, where f reads what iteration k stored, is left-looking: every iteration
//! looks back at all before it. The same fold is `x[j] = ⊕` of the terms that were there before the loop, for all j, and
//! then `for j: { rest; x[j′] = x[j′] ⊕ f(j′, j) for all j′ > j }`: every iteration sends its terms to all after it. Each
//! element gets the same terms in the same order, so nothing rounds differently; but the innermost loop runs along x.
//!
//! Input: a form. Output: an equal form, if there is one. Legal where no statement of the body touches an element between
//! the time at which its first term now arrives and that of the fold, and where no element that a term reads is written
//! between the time at which the term is now computed and that of the fold. Integer elimination decides, exactly.
//!
//! Source: J. Dongarra, F. Gustavson, A. Karp, *Implementing linear algebra algorithms for dense matrices on a vector
//! pipeline machine* (SIAM Review 1984): the orders of a factorization's loops.

use crate::affine::Affine;
use crate::dependence::{Answer, IntegerSet};
use crate::normal_form::{
    Access, Context, Def, DefId, NormalForm, Piece, Range, Scalar, ScalarNode, ScalarOp, Source, Step, Update,
    contexts, loop_of, loop_variable, scopes,
};
use crate::touch::{Touch, known_touches};

/// The name of the law in derivations.
pub const RULE: &str = "loop/right-looking";

/// The form with every fold right-looking that can be; `None` if there is none.
#[must_use]
pub fn right_looking(form: &NormalForm) -> Option<NormalForm> {
    let mut found: Option<NormalForm> = None;
    for id in 0..form.defs.len() {
        let current = found.as_ref().unwrap_or(form);
        if let Some(next) = candidate(current, id).and_then(|fold| rewritten(current, &fold)) {
            found = Some(next);
        }
    }
    found
}

/// A fold in a loop that supplies its terms.
struct Fold<'f> {
    id: DefId,
    def: &'f Def,
    update: &'f Update,
    piece: &'f Piece,
    context: Context,
    /// The innermost loop around it.
    var: usize,
    range: Range,
    /// The loop's body.
    body: &'f [Step],
    /// Term k needs iteration k + `shift`.
    shift: Affine,
}

/// The fold of a definition that stands directly in a loop, if it may be taken apart.
fn candidate(form: &NormalForm, id: DefId) -> Option<Fold<'_>> {
    let def = &form.defs[id];
    let update = def.update.as_ref().filter(|update| update.shift.is_none())?;
    let [piece] = def.pieces.as_slice() else { return None };
    let points = def.axes.len();
    if piece.fold.is_none() || piece.fold_axes(points) != 1 {
        return None;
    }
    let context = contexts(form).swap_remove(id);
    let (variable, range) = context.loops.last().cloned()?;
    let var = loop_of(variable)?;
    let body = body_of(&form.steps, var)?;
    let direct = body.iter().any(|step| matches!(step, Step::Def(found) if *found == id));
    let scope = scopes(form).swap_remove(id).pop()?;
    let inside = defs_in(body);
    // What an iteration computes for itself is not there at another one.
    let local = piece.value.nodes.iter().any(|node| match &node.op {
        ScalarOp::Load(Source::Def(read), _) => inside.iter().any(|(known, _)| known == read),
        ScalarOp::Load(_, Access::Flat(_) | Access::Gather(_)) => true,
        ScalarOp::Load(_, Access::Axes(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => false,
        ScalarOp::Unary(..) | ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => false,
    });
    if !direct || local || scope.min < 0 || range.lo.len() != 1 {
        return None;
    }
    let mut suppliers: Vec<Affine> = Vec::new();
    for node in &piece.value.nodes {
        if let ScalarOp::Load(Source::State(state), Access::Axes(index)) = &node.op
            && *state == update.state
        {
            suppliers.extend(shifts(update, index, variable, points));
        }
    }
    suppliers
        .into_iter()
        .map(|shift| Fold { id, def, update, piece, context: context.clone(), var, range: range.clone(), body, shift })
        .find(|fold| is_legal(form, fold))
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

fn body_of(steps: &[Step], wanted: usize) -> Option<&[Step]> {
    steps.iter().find_map(|step| match step {
        Step::Def(_) => None,
        Step::Loop { var, body, .. } if *var == wanted => Some(body.as_slice()),
        Step::Loop { body, .. } | Step::If { body, .. } => body_of(body, wanted),
    })
}

/// The definitions of a body, each with the position of its step.
fn defs_in(body: &[Step]) -> Vec<(DefId, usize)> {
    let of = |(at, step): (usize, &Step)| step.definitions().into_iter().map(move |id| (id, at)).collect::<Vec<_>>();
    body.iter().enumerate().flat_map(of).collect()
}

/// Two iterations of the loop: an access of a statement of the body in the first, one of the fold in the second.
struct Pair {
    set: IntegerSet,
    /// The loop's variable in the one and the other iteration.
    other: Affine,
    own: Affine,
    /// The iteration that the fold's term needs.
    supplier: Affine,
}

impl Pair {
    fn new(fold: &Fold<'_>, context: &Context, touch: &Touch<'_>, domain: &[Range], index: &[Affine]) -> Pair {
        let outer = fold.context.loops.len() - 1;
        // Variables: the common loops, the loop twice, the other's own loops, its axes, the fold's axes.
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
        let own = |v: usize| match loop_of(v) {
            Some(_) => match fold.context.loops.iter().position(|(known, _)| *known == v) {
                Some(at) if at < outer => at,
                Some(_) => outer + 1,
                None => usize::MAX,
            },
            None => v + own_axes,
        };
        let mut set = IntegerSet::all(own_axes + fold.piece.domain.len());
        context.require(&mut set, other);
        fold.context.require(&mut set, own);
        set.require_domain(touch.domain, other);
        set.require_domain(domain, own);
        for (a, b) in touch.index.iter().zip(index) {
            let a = a.substitute(|v| Affine::variable(other(v)));
            let b = b.substitute(|v| Affine::variable(own(v)));
            set.require_zero(&a.minus(&b), |v| v);
        }
        let term = Affine::variable(fold.def.axes.len()).plus(&fold.shift);
        Pair {
            set,
            other: Affine::variable(outer),
            own: Affine::variable(outer + 1),
            supplier: term.substitute(|v| Affine::variable(own(v))),
        }
    }

    /// Whether nothing is left where `early < late`, or `early ≤ late` if not `strictly`, for every one of `order`.
    fn never(&self, order: &[(&Affine, &Affine, bool)]) -> bool {
        let mut set = self.set.clone();
        for (early, late, strictly) in order {
            set.require_non_negative(&late.minus(early).offset(-i64::from(*strictly)), |v| v);
        }
        set.answer() == Answer::Empty
    }
}

fn is_legal(form: &NormalForm, fold: &Fold<'_>) -> bool {
    let contexts = contexts(form);
    let points = fold.def.axes.len();
    let inside = defs_in(fold.body);
    let Some(&(_, own_position)) = inside.iter().find(|(id, _)| *id == fold.id) else { return false };
    let Some(own) = known_touches(fold.def) else { return false };
    let stored = &fold.piece.domain[..points];
    inside.iter().all(|&(id, position)| {
        let Some(others) = known_touches(&form.defs[id]) else { return false };
        others.iter().all(|other| {
            let pair = |domain: &[Range], index: &[Affine]| Pair::new(fold, &contexts[id], other, domain, index);
            // Nobody touches an element before its fold is complete; the fold's own terms do not even meanwhile.
            let meanwhile = position < own_position || id == fold.id && !other.writes;
            let apart = other.state != fold.update.state || {
                let pair = pair(stored, &fold.update.base);
                pair.never(&[(&pair.other, &pair.own, !meanwhile)])
            };
            // Nobody writes what a term reads between its supplier's end and the fold.
            apart
                && own.iter().filter(|read| !read.writes && other.writes && read.state == other.state).all(|read| {
                    let pair = pair(read.domain, read.index);
                    pair.never(&[
                        (&pair.supplier, &pair.other, true),
                        (&pair.other, &pair.own, position >= own_position),
                    ])
                })
        })
    }) && own.iter().filter(|touch| touch.writes).all(|touch| {
        // Every term's supplier is an earlier iteration, or none.
        let mut pair = Pair::new(fold, &fold.context, touch, &fold.piece.domain, &fold.update.base);
        pair.set.require_zero(&pair.own.minus(&pair.other), |v| v);
        pair.never(&[(&pair.own, &pair.supplier, false)])
    })
}

fn rewritten(form: &NormalForm, fold: &Fold<'_>) -> Option<NormalForm> {
    let op = fold.piece.fold?;
    let points = fold.def.axes.len();
    let variable = loop_variable(fold.var);
    let scope = scopes(form).swap_remove(fold.id);
    let extent = usize::try_from(scope.last()?.max + 1).ok()?;
    let axes: Vec<usize> = [extent].into_iter().chain(fold.def.axes.iter().copied()).collect();
    let names = form.defs.iter().map(|def| &def.name);
    let taken: Vec<&String> =
        names.chain(form.states.iter().map(|s| &s.name)).chain(form.params.iter().map(|p| &p.name)).collect();
    let stem = &fold.def.name;
    let name = (1..).map(|n| format!("{stem}_sent{n}")).find(|name| !taken.contains(&name))?;

    // The loop's variable becomes the first axis, the others follow.
    let term = Affine::variable(points + 1);
    let in_loop = Affine::variable(variable).minus(&fold.shift);
    let moved = |form: &Affine, term: &Affine| {
        form.substitute(|v| match v {
            v if v == variable => Affine::variable(0),
            v if loop_of(v).is_some() => Affine::variable(v),
            v if v == points => term.clone(),
            v => Affine::variable(v + 1),
        })
    };
    let ranges = |term: &Affine| -> Vec<Range> {
        let of = |range: &Range| {
            let all = |forms: &[Affine]| forms.iter().map(|form| moved(form, term)).collect();
            Range { lo: all(&range.lo), hi: all(&range.hi) }
        };
        [fold.range.clone()].into_iter().chain(fold.piece.domain.iter().map(of)).collect()
    };
    let nodes = |term: &Affine| -> Vec<ScalarNode> {
        // Offsets into a ravel were refused above: they are no index that could be moved.
        let of = |node: &ScalarNode| ScalarNode { op: node.op.with_forms(|form| moved(form, term)), dtype: node.dtype };
        fold.piece.value.nodes.iter().map(of).collect()
    };
    let index: Vec<Affine> = fold.update.base.iter().map(|form| moved(form, &term)).collect();
    let update = Update { state: fold.update.state, base: index.clone(), shift: None };

    // What is there before the loop.
    let mut domain = ranges(&term);
    let first = fold.range.lo.first()?;
    domain[points + 1].hi.push(first.minus(&fold.shift));
    let before = Def {
        shape: axes.clone(),
        axes: axes.clone(),
        pieces: vec![Piece { domain, fold: Some(op), value: Scalar { nodes: nodes(&term) } }],
        update: Some(update.clone()),
        scope: scope[..scope.len() - 1].to_vec(),
        ..fold.def.clone()
    };

    // What an iteration sends to those after it.
    let mut domain = ranges(&in_loop);
    let terms = domain.pop()?;
    domain[0].lo = vec![Affine::variable(variable).offset(1)];
    let mut conditions = Vec::new();
    let below = terms.lo.iter().map(|low| in_loop.minus(low));
    let above = terms.hi.iter().map(|high| high.minus(&in_loop).offset(-1));
    for form in below.chain(above) {
        let axis = form.terms.iter().copied().filter(|term| loop_of(term.0).is_none()).max();
        match axis {
            None => conditions.push(form),
            Some((axis, 1)) => domain[axis].lo.push(Affine::variable(axis).minus(&form)),
            Some((axis, -1)) => domain[axis].hi.push(form.plus(&Affine::variable(axis)).offset(1)),
            Some(_) => return None,
        }
    }
    let dtype = fold.def.dtype;
    let mut value = nodes(&in_loop);
    let arrived = value.len() - 1;
    value.push(ScalarNode { op: ScalarOp::Load(Source::State(update.state), Access::Axes(index)), dtype });
    value.push(ScalarNode { op: ScalarOp::Binary(op.combine(), arrived + 1, arrived), dtype });
    let sent = Def {
        name,
        dtype,
        shape: axes.clone(),
        axes,
        pieces: vec![Piece { domain, fold: None, value: Scalar { nodes: value } }],
        update: Some(update),
        scope,
    };

    let mut next = form.clone();
    let added = next.defs.len();
    next.defs[fold.id] = before;
    next.defs.push(sent);
    let last = Step::Def(added);
    let last = if conditions.is_empty() { last } else { Step::If { conditions, body: vec![last] } };
    next.steps = placed(&form.steps, fold, &last);
    Some(next)
}

/// The steps with the fold before its loop, and `last` at the end of the loop's body.
fn placed(steps: &[Step], fold: &Fold<'_>, last: &Step) -> Vec<Step> {
    let mut all = Vec::with_capacity(steps.len() + 1);
    for step in steps {
        match step {
            Step::Def(id) => all.push(Step::Def(*id)),
            Step::Loop { var, name, range, body } if *var == fold.var => {
                all.push(Step::Def(fold.id));
                let rest = body.iter().filter(|step| !matches!(step, Step::Def(id) if *id == fold.id));
                let body = rest.cloned().chain([last.clone()]).collect();
                all.push(Step::Loop { var: *var, name: name.clone(), range: range.clone(), body });
            }
            Step::Loop { var, name, range, body } => all.push(Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: placed(body, fold, last),
            }),
            Step::If { conditions, body } => {
                all.push(Step::If { conditions: conditions.clone(), body: placed(body, fold, last) });
            }
        }
    }
    all
}
