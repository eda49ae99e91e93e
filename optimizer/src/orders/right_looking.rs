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

use crate::dependence::access::known_touches;
use crate::form::context::{contexts, scopes};
use crate::form::normal_form::{Def, NormalForm, Piece, Update};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::orders::loop_state::{Fold, Pair, defs_in};

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

/// The fold of a definition, if it may be taken apart.
fn candidate(form: &NormalForm, id: DefId) -> Option<Fold<'_>> {
    let update = form.defs[id].update.as_ref().filter(|update| update.shift.is_none())?;
    Fold::all(form, id, &|supplier| supplier == id).into_iter().find(|fold| is_legal(form, fold, update))
}

fn is_legal(form: &NormalForm, fold: &Fold<'_>, update: &Update) -> bool {
    let contexts = contexts(form);
    let points = fold.def.axes.len();
    let inside = defs_in(fold.body);
    let Some(&(_, own_position)) = inside.iter().find(|(id, _)| *id == fold.id) else { return false };
    let Some(own) = known_touches(fold.def) else { return false };
    let stored = &fold.piece.domain[..points];
    let apart = inside.iter().all(|&(id, position)| {
        let Some(others) = known_touches(&form.defs[id]) else { return false };
        others.iter().filter(|other| other.state == update.state).all(|other| {
            // Nobody touches an element before its fold is complete; the fold's own terms do not even meanwhile.
            let meanwhile = position < own_position || id == fold.id && !other.writes;
            let pair = Pair::new(&fold.context, &contexts[id], other, (stored, &update.base));
            pair.never(&[(&pair.other, &pair.own, !meanwhile)])
        })
    });
    apart
        && fold.keeps_its_terms(form)
        && own.iter().filter(|touch| touch.writes).all(|touch| {
            // Every term's supplier is an earlier iteration, or none.
            let mut pair = Pair::new(&fold.context, &fold.context, touch, (&fold.piece.domain, &update.base));
            pair.set.require_zero(&pair.own.minus(&pair.other), |v| v);
            pair.never(&[(&pair.own, &fold.supplier(&pair), false)])
        })
}

fn rewritten(form: &NormalForm, fold: &Fold<'_>) -> Option<NormalForm> {
    // A reduction keeps its order.
    let op = fold.piece.fold.filter(|_| fold.piece.depth.is_none())?;
    let stored = fold.def.update.as_ref()?;
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
    let index: Vec<Affine> = stored.base.iter().map(|form| moved(form, &term)).collect();
    let update = Update { state: stored.state, base: index.clone(), shift: None };

    // What is there before the loop.
    let mut domain = ranges(&term);
    let first = fold.range.lo.first()?;
    domain[points + 1].hi.push(first.minus(&fold.shift));
    let before = Def {
        shape: axes.clone(),
        axes: axes.clone(),
        pieces: vec![Piece { domain, fold: Some(op), depth: None, value: Scalar { nodes: nodes(&term) } }],
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
        pieces: vec![Piece { domain, fold: None, depth: None, value: Scalar { nodes: value } }],
        update: Some(update),
        scope,
    };

    let mut next = form.clone();
    let added = next.defs.len();
    next.defs[fold.id] = before;
    next.defs.push(sent);
    let last = Step::Def(added);
    let last = if conditions.is_empty() { last } else { Step::If { conditions, body: vec![last] } };
    // The fold before its loop, and what is sent at the end of the body.
    next.steps = replaced(&form.steps, fold.var, &|step| {
        let Step::Loop { var, name, range, body } = step else { return vec![step.clone()] };
        let rest = body.iter().filter(|step| !matches!(step, Step::Def(id) if *id == fold.id));
        let body = rest.cloned().chain([last.clone()]).collect();
        let of_rest = Step::Loop { var: *var, name: name.clone(), range: range.clone(), body };
        vec![Step::Def(fold.id), of_rest]
    });
    Some(next)
}
