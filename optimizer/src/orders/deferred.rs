//! Right-looking by blocks: what a block of iterations adds to elements that none of them needs, for all of it at once.
//!
//! `for k: { rest; x[p] = x[p] ⊕ f(p, k) for p ∈ D(k) }` is `for K: { for k of the block from K: { rest; x[p] = x[p] ⊕ f(p, k)
//! for p ∈ D(k) \ E }; y[p] = ⊞ f(p, k) over k of the block, for p ∈ E; x[p] = x[p] ⊕ y[p] for p ∈ E }`, where E is what the
//! domains of all iterations of the block share. What an iteration alone adds is an outer product of vectors; what a block
//! adds is a product of matrices, which has all that makes those fast: register tiles, packed panels, threads.
//!
//! Input: a form. Output: an equal form, if there is one. Legal where nobody in the loop touches an element of E in an
//! iteration of the block, where nobody writes what a term reads between the time at which the term was computed and the
//! block's end, and where an element's terms may be taken together. Integer elimination decides, exactly.
//!
//! Source: J. Dongarra, I. Duff, D. Sorensen, H. van der Vorst, *Numerical Linear Algebra for High-Performance Computers*
//! (SIAM 1998), 5.4: the block right-looking algorithm.

use crate::dependence::access::{Touch, known_touches};
use crate::form::context::{Context, bounding_box, contexts, scopes};
use crate::form::normal_form::{Def, NormalForm, Piece, Update};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::integer::region::pruned;
use crate::orders::accumulation::joined;
use crate::orders::block_sizes::Strips;
use crate::orders::distribution::distributed_loop;
use crate::orders::loop_state::{InLoop, Pair, defs_in, is_local};
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, FoldOp};

/// The name of the law in derivations.
pub const RULE: &str = "loop/deferred";

/// The form with every loop in blocks at whose end an update can be done, the first such of the loop; `None` if there is
/// none.
#[must_use]
pub fn deferred(form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
    for_each_loop(form, |current, sum| rewritten(current, sum, numerics, 0))
}

/// The same where what the blocks' iterations keep can be cut so that their loop falls apart, see
/// [`distribution`](crate::orders::distribution): in an elimination what is left of the columns of a block is a loop of its own,
/// and what is left of its rows another one, after it.
#[must_use]
pub fn deferred_apart(form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
    for_each_loop(form, |current, sum| {
        let mut cuts = (0..sum.from.len()).filter_map(|first| rewritten(current, sum, numerics, first));
        cuts.find_map(|next| distributed_loop(&next, sum.var))
    })
}

fn for_each_loop(
    form: &NormalForm,
    rewrite: impl Fn(&NormalForm, &Accumulation<'_>) -> Option<NormalForm>,
) -> Option<NormalForm> {
    let mut done = Vec::new();
    form.one_by_one(|current, id| {
        let sum = Accumulation::new(current, id).filter(|sum| !done.contains(&sum.var))?;
        let next = rewrite(current, &sum)?;
        done.push(sum.var);
        // Its terms stand before it.
        Some((next, 1))
    })
}

/// An update that adds a term to elements of a state, once in every iteration of the loop that it stands in.
struct Accumulation<'f> {
    id: DefId,
    def: &'f Def,
    piece: Piece,
    update: &'f Update,
    context: Context,
    /// The innermost loop around it.
    var: usize,
    range: Range,
    /// The loop's body.
    body: &'f [Step],
    /// How a term joins the element, and how terms join each other.
    joins: BinaryOp,
    among: FoldOp,
    term: Scalar,
    /// What is added to each axis to get the coordinate along the state's dimension.
    from: Vec<Affine>,
}

impl<'f> Accumulation<'f> {
    fn new(form: &'f NormalForm, id: DefId) -> Option<Accumulation<'f>> {
        let def = &form.defs[id];
        let update = def.update.as_ref().filter(|update| update.shift.is_none())?;
        let [piece] = def.pieces.as_slice() else { return None };
        let InLoop { context, var, range, body } = InLoop::of(form, id).filter(|_| piece.fold.is_none())?;
        let (joins, among, term) = joined(&piece.value, update.state, &update.base)?;
        let term = piece.value.rooted(term);
        let same = |node: &ScalarNode| node.dtype == def.dtype;
        if is_local(&term, body)
            || !term.nodes.last().is_some_and(same)
            || form.states.get(update.state)?.dtype != def.dtype
        {
            return None;
        }
        let from = coordinates(&update.base, def.axes.len(), loop_variable(var))?;
        let piece = Piece { domain: pruned(&piece.domain, &context.non_negative()), ..piece.clone() };
        Some(Accumulation { id, def, piece, update, context, var, range, body, joins, among, term, from })
    }

    /// A form over this definition's axes and loops, over coordinates instead of axes.
    fn absolute(&self, form: &Affine) -> Affine {
        form.substitute(|v| match self.from.get(v) {
            Some(from) => Affine::variable(v).minus(from),
            None => Affine::variable(v),
        })
    }

    fn is_legal(&self, form: &NormalForm) -> bool {
        let contexts = contexts(form);
        let inside = defs_in(self.body);
        let Some(&(_, own_position)) = inside.iter().find(|(id, _)| *id == self.id) else { return false };
        inside.iter().all(|&(id, position)| {
            let Some(others) = known_touches(&form.defs[id]) else { return false };
            // The element that a term joins is no term.
            let foreign = |other: &&Touch<'_>| id != self.id || !other.writes && other.index != self.update.base;
            let nobody_touches = others.iter().filter(foreign).all(|other| {
                if other.state != self.update.state {
                    return true;
                }
                let mut pair = Pair::new(&self.context, &contexts[id], other, (&self.piece.domain, &self.update.base));
                pair.set.require_zero(&pair.own.minus(&pair.other), |v| v);
                pair.never(&[])
            });
            let nobody_writes = others.iter().filter(|other| other.writes).all(|other| {
                self.reads().filter(|read| read.0 == other.state).all(|(_, index)| {
                    let mut pair = Pair::new(&self.context, &contexts[id], other, (&self.piece.domain, index));
                    self.require_shared(&mut pair);
                    pair.never(&[(&pair.own, &pair.other, position < own_position)])
                })
            });
            nobody_touches && nobody_writes
        })
    }

    /// What terms read of states.
    fn reads(&self) -> impl Iterator<Item = (usize, &[Affine])> {
        self.term.nodes.iter().filter_map(|node| match &node.op {
            ScalarOp::Load(Source::State(state), Access::Axes(index)) => Some((*state, index.as_slice())),
            ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) | ScalarOp::Unary(..) => None,
            ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => None,
        })
    }

    /// Requires the element of the second iteration of a pair to be one of the first, too.
    fn require_shared(&self, pair: &mut Pair) {
        let variable = loop_variable(self.var);
        let moved = |form: &Affine| {
            let in_first = form.substitute(|v| if v == variable { Affine::default() } else { Affine::variable(v) });
            pair.of_own(&in_first).plus(&pair.other.times(form.coefficient(variable)))
        };
        // The element's place among the points of the first iteration.
        let axes: Vec<Affine> = (0..self.from.len())
            .map(|axis| {
                let from = &self.from[axis];
                pair.of_own(&Affine::variable(axis).plus(from)).minus(&moved(from))
            })
            .collect();
        let at = |form: &Affine| {
            let points = form.terms.iter().filter(|term| term.0 < axes.len());
            let loops = form.substitute(|v| if v < axes.len() { Affine::default() } else { Affine::variable(v) });
            points.fold(moved(&loops), |sum, &(axis, factor)| sum.plus(&axes[axis].times(factor)))
        };
        let mut inside = Vec::new();
        for (axis, range) in self.piece.domain.iter().enumerate() {
            inside.extend(range.lo.iter().map(|low| axes[axis].minus(&at(low))));
            inside.extend(range.hi.iter().map(|high| at(high).minus(&axes[axis]).offset(-1)));
        }
        for form in &inside {
            pair.set.require_non_negative(form, |v| v);
        }
    }
}

/// A form over coordinates and loops, over axes instead, to which `from` is added to get the coordinates.
fn over_axes(form: &Affine, from: &[Affine]) -> Affine {
    form.substitute(|v| match from.get(v) {
        Some(from) => Affine::variable(v).plus(from),
        None => Affine::variable(v),
    })
}

/// What is added to each axis to get the coordinate along the dimension that it alone runs along; `None` if there is no
/// such dimension, or if others change with the loop.
fn coordinates(base: &[Affine], points: usize, variable: usize) -> Option<Vec<Affine>> {
    let of_axes = |form: &Affine| form.terms.iter().filter(|term| term.0 < points).count();
    let fixed = base.iter().all(|form| match of_axes(form) {
        0 => form.coefficient(variable) == 0,
        count => count == 1,
    });
    let of = |axis: usize| {
        let mut along = base.iter().filter(|form| form.coefficient(axis) != 0);
        let form = along.next().filter(|form| form.coefficient(axis) == 1)?;
        along.next().is_none().then(|| form.minus(&Affine::variable(axis)))
    };
    if fixed { (0..points).map(of).collect() } else { None }
}

/// The form with `sum` at the ends of blocks. What stays with the iterations is cut along the axis `first` before others.
fn rewritten(form: &NormalForm, sum: &Accumulation<'_>, numerics: Numerics, first: usize) -> Option<NormalForm> {
    if numerics == Numerics::Exact && !sum.among.reorders_exactly(sum.def.dtype) {
        return None;
    }
    let scope = scopes(form).swap_remove(sum.id);
    let strips = Strips::new(&scope, &sum.range, form.unused_loop())?;
    if !sum.is_legal(form) {
        return None;
    }
    let shared = Shared::new(sum, &strips);

    let mut next = form.clone();
    let rest = shared.rest(first);
    let added = next.defs.len()..next.defs.len() + rest.len();
    for (piece, _) in &rest {
        let name = next.unused_name(&format!("{}_strip", sum.def.name));
        next.defs.push(Def { name, pieces: vec![piece.clone()], ..sum.def.clone() });
    }
    next.steps = replaced(&next.steps, sum.var, &|step| {
        let Step::Loop { name, body, .. } = step else { return vec![step.clone()] };
        let with = |step: &Step| match step {
            Step::Def(id) if *id == sum.id => added.clone().map(Step::Def).collect(),
            Step::Def(_) | Step::Loop { .. } | Step::If { .. } => vec![step.clone()],
        };
        vec![strips.around(name, Vec::new(), body.iter().flat_map(with).collect(), vec![Step::Def(sum.id)])]
    });
    next.insert_before(sum.id, shared.terms(next.unused_name(&format!("{}_terms", sum.def.name))));
    next.defs[sum.id + 1] = shared.whole(sum.id);
    next.update_scopes();
    // Of the bounds that came together some imply others.
    let contexts = contexts(&next);
    let of_rest = added.map(|id| id + 1);
    for id in [sum.id, sum.id + 1].into_iter().chain(of_rest.clone()) {
        let known = contexts[id].non_negative();
        for piece in &mut next.defs[id].pieces {
            piece.domain = pruned(&piece.domain, &known);
        }
    }
    for (id, (_, narrow)) in of_rest.clone().zip(rest) {
        narrow.bound(&mut next.defs[id].pieces[0].domain);
    }
    for id in [sum.id, sum.id + 1].into_iter().chain(of_rest) {
        let def = &mut next.defs[id];
        let highest = bounding_box(&def.pieces[0].domain, &def.scope)?;
        for (extent, bounds) in def.axes.iter_mut().zip(highest) {
            *extent = usize::try_from(bounds.1 + 1).ok()?;
        }
        def.shape = def.axes.clone();
    }
    Some(next)
}

/// A bound of one axis.
struct Bound {
    axis: usize,
    low: bool,
    form: Affine,
}

impl Bound {
    fn bound(self, domain: &mut [Range]) {
        let Range { lo, hi } = &mut domain[self.axis];
        if self.low { lo.push(self.form) } else { hi.push(self.form) }
    }
}

/// What the domains of all iterations of a strip share.
struct Shared<'s> {
    sum: &'s Accumulation<'s>,
    strips: &'s Strips,
    /// Over coordinates.
    domain: Vec<Range>,
    /// What is added to an axis here to get the coordinate: where the range begins, if it begins at one place.
    from: Vec<Affine>,
}

impl<'s> Shared<'s> {
    fn new(sum: &'s Accumulation<'s>, strips: &'s Strips) -> Shared<'s> {
        let ranges = sum.piece.domain.iter().enumerate();
        let all = |axis: usize, forms: &[Affine], low: bool| {
            forms.iter().map(|form| Shared::bound(sum, strips, (axis, low), form)).collect::<Vec<Affine>>()
        };
        let domain: Vec<Range> = ranges
            .map(|(axis, range)| Range { lo: all(axis, &range.lo, true), hi: all(axis, &range.hi, false) })
            .collect();
        let begins = |range: &Range| match range.lo.as_slice() {
            [low] if low.terms.iter().all(|term| loop_of(term.0).is_some()) => low.clone(),
            _ => Affine::default(),
        };
        let from = domain.iter().map(begins).collect();
        Shared { sum, strips, domain, from }
    }

    /// A bound of an axis of the accumulation, over coordinates, at the iteration of the strip where it is tightest.
    fn bound(sum: &Accumulation<'_>, strips: &Strips, (axis, low): (usize, bool), form: &Affine) -> Affine {
        let variable = loop_variable(sum.var);
        let form = sum.absolute(form).plus(&sum.from[axis]);
        let last = (form.coefficient(variable) > 0) == low;
        let at = strips.start.offset(if last { strips.size - 1 } else { 0 });
        form.substitute(|v| if v == variable { at.clone() } else { Affine::variable(v) })
    }

    /// What of the accumulation is no element of these, in pieces, and how narrow each is along one axis: an iteration's
    /// domain begins and ends at most so far from the strip's. Cut along `first`, then along the axes after it, then along
    /// those before.
    fn rest(&self, first: usize) -> Vec<(Piece, Bound)> {
        let Accumulation { piece, var, .. } = self.sum;
        let mut kept = piece.domain.clone();
        let mut rest = Vec::new();
        let axes = piece.domain.len();
        for axis in (0..axes).map(|at| (first + at) % axes) {
            let range = &piece.domain[axis];
            let sides = [(true, &range.lo), (false, &range.hi)];
            for (low, form) in sides.into_iter().flat_map(|(low, forms)| forms.iter().map(move |form| (low, form))) {
                let in_coordinates = self.sum.absolute(form).plus(&self.sum.from[axis]);
                let moves = in_coordinates.coefficient(loop_variable(*var)).abs() * (self.strips.size - 1);
                if moves == 0 {
                    continue;
                }
                let shared = Shared::bound(self.sum, self.strips, (axis, low), form);
                let shared = over_axes(&shared, &self.sum.from).minus(&self.sum.from[axis]);
                let mut domain = kept.clone();
                Bound { axis, low: !low, form: shared.clone() }.bound(&mut domain);
                Bound { axis, low, form: shared }.bound(&mut kept);
                let narrow = Bound { axis, low: !low, form: form.offset(if low { moves } else { -moves }) };
                rest.push((Piece { domain, ..piece.clone() }, narrow));
            }
        }
        rest
    }

    /// The points of these, over their own axes.
    fn points(&self) -> Vec<Range> {
        let placed = |form: &Affine, axis: usize| over_axes(form, &self.from).minus(&self.from[axis]);
        let of = |(axis, range): (usize, &Range)| {
            let all = |forms: &[Affine]| forms.iter().map(|form| placed(form, axis)).collect();
            Range { lo: all(&range.lo), hi: all(&range.hi) }
        };
        self.domain.iter().enumerate().map(of).collect()
    }

    /// All terms of the strip together.
    fn terms(&self, name: String) -> Def {
        let Accumulation { def, among, term, from, var, .. } = self.sum;
        let points = def.axes.len();
        let iteration = self.strips.start.plus(&Affine::variable(points));
        let variable = loop_variable(*var);
        let at_iteration =
            |form: &Affine| form.substitute(|v| if v == variable { iteration.clone() } else { Affine::variable(v) });
        let moved = |form: &Affine| {
            form.substitute(|v| match from.get(v) {
                Some(from) => Affine::variable(v).plus(&self.from[v]).minus(&at_iteration(from)),
                None if v == variable => iteration.clone(),
                None => Affine::variable(v),
            })
        };
        let nodes = term.nodes.iter().map(|node| ScalarNode { op: node.op.with_forms(moved), dtype: node.dtype });
        let mut of_strip = Range::constant(0, self.strips.size);
        of_strip.hi.extend(self.strips.left());
        let mut domain = self.points();
        domain.push(of_strip);
        let value = Scalar { nodes: nodes.collect() };
        let pieces = vec![Piece { domain, fold: Some(*among), depth: None, value }];
        Def { name, pieces, update: None, ..(*def).clone() }
    }

    /// The elements with their terms; `terms` is the number of those.
    fn whole(&self, terms: DefId) -> Def {
        let Accumulation { def, update, joins, from, .. } = self.sum;
        let along = |form: &Affine| match (0..from.len()).find(|&axis| form.coefficient(axis) != 0) {
            Some(axis) => Affine::variable(axis).plus(&self.from[axis]),
            None => form.clone(),
        };
        let base: Vec<Affine> = update.base.iter().map(along).collect();
        let own = (0..from.len()).map(Affine::variable).collect();
        let ops = [
            ScalarOp::Load(Source::State(update.state), Access::Axes(base.clone())),
            ScalarOp::Load(Source::Def(terms), Access::Axes(own)),
            ScalarOp::Binary(*joins, 0, 1),
        ];
        let nodes = ops.into_iter().map(|op| ScalarNode { op, dtype: def.dtype }).collect();
        let pieces = vec![Piece { domain: self.points(), fold: None, depth: None, value: Scalar { nodes } }];
        Def { pieces, update: Some(Update { state: update.state, base, shift: None }), ..(*def).clone() }
    }
}
