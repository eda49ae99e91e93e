//! Wavefronts: iterations of two sequential loops that do not wait for each other, computed together.
//!
//! A sweep that reads its own new neighbours, `for t: for i: for j: A[i, j] = f(A[i, j − 1], A[i − 1, …], …)`, is one chain
//! of dependences. With b = i + skew · t, every dependence from one t to a later one leads to a later b. So of each block
//! of [`WIDTH`] iterations of t those at one b are independent, and become an axis of the definition: its points lie on
//! rows that are `skew` apart, and the chains along j run side by side. Where b leaves the rows of the first or of the
//! last iteration of the block, those that have a row there follow one another.
//!
//! Input: a form. Output: an equal form, if a nest of loops is of that kind. Legal: no dependence leads from t to a later
//! t′ with i + skew · t ≥ i′ + skew · t′. Integer elimination decides, exactly.
//!
//! Source: L. Lamport, *The parallel execution of DO loops* (CACM 1974): the hyperplane method.

use crate::dependence::access::{Touch, known_touches};
use crate::dependence::loops::meetings;
use crate::form::context::{Context, contexts};
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::DefId;
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::integer::set::Answer;
use std::collections::BTreeMap;

/// The name of the law in derivations.
pub const RULE: &str = "loop/wavefront";
/// Iterations of a block: more chains than the latency of a multiplication and an addition can use.
pub const WIDTH: usize = 8;
/// The greatest skew that is tried.
const MAX_SKEW: i64 = 4;

/// The form with every such nest in wavefronts; `None` if there is none.
#[must_use]
pub fn wavefront(form: &NormalForm) -> Option<NormalForm> {
    let mut found: Option<NormalForm> = None;
    for var in nests(&form.steps) {
        let current = found.as_ref().unwrap_or(form);
        let next = nest_of(&current.steps, var).and_then(|nest| {
            let skew = (1..=MAX_SKEW).find(|&skew| is_legal(current, &nest, skew))?;
            rewritten(current, &nest, skew)
        });
        if next.is_some() {
            found = next;
        }
    }
    found
}

/// Loops one inside the other around updates: the first two are exchanged for a wavefront.
struct Nest {
    loops: Vec<(usize, String, Range)>,
    defs: Vec<DefId>,
}

/// The loops whose body is one loop and nothing else.
fn nests(steps: &[Step]) -> Vec<usize> {
    steps
        .iter()
        .flat_map(|step| match step {
            Step::Def(_) => Vec::new(),
            Step::Loop { var, body, .. } if matches!(body.as_slice(), [Step::Loop { .. }]) => vec![*var],
            Step::Loop { body, .. } | Step::If { body, .. } => nests(body),
        })
        .collect()
}

/// The nest that begins with a loop, if it is perfect, and the ranges allow to move its loops.
fn nest_of(steps: &[Step], wanted: usize) -> Option<Nest> {
    for step in steps {
        match step {
            Step::Def(_) => {}
            Step::Loop { var, .. } if *var == wanted => {
                let mut nest = Nest { loops: Vec::new(), defs: Vec::new() };
                let mut current = step;
                while let Step::Loop { var, name, range, body } = current {
                    nest.loops.push((*var, name.clone(), range.clone()));
                    match body.as_slice() {
                        [inner @ Step::Loop { .. }] => current = inner,
                        updates => {
                            for step in updates {
                                let Step::Def(id) = step else { return None };
                                nest.defs.push(*id);
                            }
                            break;
                        }
                    }
                }
                return moves(&nest).then_some(nest);
            }
            Step::Loop { body, .. } | Step::If { body, .. } => {
                if let Some(nest) = nest_of(body, wanted) {
                    return Some(nest);
                }
            }
        }
    }
    None
}

/// Whether the ranges do not depend on the first two loops, and those of these two are single intervals.
fn moves(nest: &Nest) -> bool {
    let [first, second, ..] = nest.loops.as_slice() else { return false };
    let moving = [loop_variable(first.0), loop_variable(second.0)];
    let fixed = |range: &Range| {
        range.lo.iter().chain(&range.hi).all(|form| moving.iter().all(|&variable| form.coefficient(variable) == 0))
    };
    let single = |range: &Range| range.lo.len() == 1 && range.hi.len() == 1;
    !nest.defs.is_empty()
        && single(&first.2)
        && single(&second.2)
        && nest.loops.iter().all(|(_, _, range)| fixed(range))
}

/// What the definitions touch; `None` if one of them updates no state, or touches an element that is not known.
fn touches<'f>(form: &'f NormalForm, defs: &[DefId]) -> Option<Vec<Touch<'f>>> {
    let of = |&id: &DefId| form.defs[id].update.as_ref().and(known_touches(&form.defs[id]));
    Some(defs.iter().map(of).collect::<Option<Vec<_>>>()?.concat())
}

fn is_legal(form: &NormalForm, nest: &Nest, skew: i64) -> bool {
    let Some(touches) = touches(form, &nest.defs) else { return false };
    let Some(context) = nest.defs.first().map(|&id| contexts(form).swap_remove(id)) else { return false };
    let outer = context.loops.len() - nest.loops.len();
    touches.iter().all(|source| {
        touches
            .iter()
            .filter(|sink| sink.state == source.state && (sink.writes || source.writes))
            .all(|sink| advances(&context, outer, source, sink, skew))
    })
}

/// Whether every dependence from one iteration of the first loop to a later one leads to a later wavefront.
fn advances(context: &Context, outer: usize, source: &Touch<'_>, sink: &Touch<'_>, skew: i64) -> bool {
    let (mut set, late) = meetings((context, source), (context, sink), outer);
    let apart = |level: usize| Affine::variable(late + outer + level).minus(&Affine::variable(outer + level));
    set.require_non_negative(&apart(0).offset(-1), |v| v);
    let backward = apart(1).plus(&apart(0).times(skew)).times(-1);
    set.require_non_negative(&backward, |v| v);
    set.answer() == Answer::Empty
}

fn rewritten(form: &NormalForm, nest: &Nest, skew: i64) -> Option<NormalForm> {
    let [(first, first_name, first_range), (_, _, second_range), ..] = nest.loops.as_slice() else {
        return None;
    };
    let width = i64::try_from(WIDTH).ok()?;
    let (lo, hi) = (first_range.lo.first()?, first_range.hi.first()?);
    let (row_lo, row_hi) = (second_range.lo.first()?, second_range.hi.first()?);
    let trips = hi.minus(lo);
    if !trips.is_constant() || trips.constant < width {
        return None;
    }
    // With fewer rows, no wavefront has all iterations of a block.
    let (reach, rows) = (skew * (width - 1), row_hi.minus(row_lo));
    if rows.is_constant() && rows.constant <= reach {
        return None;
    }
    let blocks = trips.constant / width;
    let mut next = form.clone();
    let originals = nest.defs.iter().map(|&id| (id, form.defs[id].clone())).collect();
    let mut copies = Copies { originals, fresh: form.unused_loop(), used: false };

    let block = copies.fresh();
    let begin = lo.plus(&Affine::variable(loop_variable(block)).times(width));
    let end = begin.offset(width);
    let within = Range { lo: vec![begin.clone()], hi: vec![end.clone()] };
    let edge = Edge { begin: &begin, within: &within, rows: (row_lo, row_hi), skew };
    let fronts = Range { lo: vec![row_lo.clone()], hi: vec![row_lo.offset(reach)] };
    let before = copies.edge(&mut next, nest, &edge, fronts);

    let front = copies.fresh();
    let along =
        (Affine::variable(0).plus(&begin), Affine::variable(loop_variable(front)).minus(&Affine::new(0, [(0, skew)])));
    let range = Range { lo: vec![row_lo.offset(reach)], hi: vec![row_hi.clone()] };
    let during = copies.front(&mut next, nest, along, (front, range));

    let fronts = Range { lo: vec![row_hi.clone(), row_lo.offset(reach)], hi: vec![row_hi.offset(reach)] };
    let after = copies.edge(&mut next, nest, &edge, fronts);

    let mut all = vec![Step::Loop {
        var: block,
        name: format!("{first_name}_block"),
        range: Range::constant(0, blocks),
        body: vec![before, during, after],
    }];
    if trips.constant % width != 0 {
        let t = copies.fresh();
        let rest = Range { lo: vec![lo.offset(blocks * width)], hi: vec![hi.clone()] };
        all.push(copies.nest(&mut next, nest, (t, rest), second_range.clone()));
    }
    next.steps = replaced(&form.steps, *first, &|_| all.clone());
    next.update_scopes();
    Some(next)
}

/// A block of iterations at the first or the last rows.
struct Edge<'a> {
    /// The block's first iteration, and all of them.
    begin: &'a Affine,
    within: &'a Range,
    /// The first row, and the end of the rows.
    rows: (&'a Affine, &'a Affine),
    skew: i64,
}

/// Copies of a nest, each with loops and definitions of its own; the first one has the definitions that were there.
struct Copies {
    originals: Vec<(DefId, Def)>,
    /// The next number of a loop.
    fresh: usize,
    /// There is a copy.
    used: bool,
}

impl Copies {
    fn fresh(&mut self) -> usize {
        self.fresh += 1;
        self.fresh - 1
    }

    /// The nest with other ranges of the first two loops.
    fn nest(&mut self, form: &mut NormalForm, nest: &Nest, (t, iterations): (usize, Range), rows: Range) -> Step {
        let row = self.fresh();
        let mut known = BTreeMap::from([
            (loop_variable(nest.loops[0].0), Affine::variable(loop_variable(t))),
            (loop_variable(nest.loops[1].0), Affine::variable(loop_variable(row))),
        ]);
        let body = self.inner(form, nest, &mut known, false);
        let rows = Step::Loop { var: row, name: nest.loops[1].1.clone(), range: rows, body };
        Step::Loop { var: t, name: nest.loops[0].1.clone(), range: iterations, body: vec![rows] }
    }

    /// Wavefronts of which only some iterations have rows, one point after the other.
    fn edge(&mut self, form: &mut NormalForm, nest: &Nest, edge: &Edge<'_>, fronts: Range) -> Step {
        let front = self.fresh();
        let t = self.fresh();
        let behind = Affine::variable(loop_variable(t)).minus(edge.begin).times(edge.skew);
        let row = Affine::variable(loop_variable(front)).minus(&behind);
        let conditions = vec![row.minus(edge.rows.0), edge.rows.1.offset(-1).minus(&row)];
        let mut known = BTreeMap::from([
            (loop_variable(nest.loops[0].0), Affine::variable(loop_variable(t))),
            (loop_variable(nest.loops[1].0), row),
        ]);
        let body = self.inner(form, nest, &mut known, false);
        let body = vec![Step::If { conditions, body }];
        let iterations = Step::Loop { var: t, name: nest.loops[0].1.clone(), range: edge.within.clone(), body };
        Step::Loop { var: front, name: format!("{}_front", nest.loops[1].1), range: fronts, body: vec![iterations] }
    }

    /// The wavefronts: the iterations of the first loop are an axis.
    fn front(
        &mut self,
        form: &mut NormalForm,
        nest: &Nest,
        (t, row): (Affine, Affine),
        (front, range): (usize, Range),
    ) -> Step {
        let mut known = BTreeMap::from([(loop_variable(nest.loops[0].0), t), (loop_variable(nest.loops[1].0), row)]);
        let body = self.inner(form, nest, &mut known, true);
        Step::Loop { var: front, name: format!("{}_front", nest.loops[1].1), range, body }
    }

    /// What is inside the first two loops.
    fn inner(
        &mut self,
        form: &mut NormalForm,
        nest: &Nest,
        known: &mut BTreeMap<usize, Affine>,
        axis: bool,
    ) -> Vec<Step> {
        let mut loops = Vec::new();
        for (var, name, range) in &nest.loops[2..] {
            let own = self.fresh();
            let moved = |forms: &[Affine]| forms.iter().map(|form| substituted(form, known, false)).collect();
            loops.push((own, name.clone(), Range { lo: moved(&range.lo), hi: moved(&range.hi) }));
            known.insert(loop_variable(*var), Affine::variable(loop_variable(own)));
        }
        let mut steps = Vec::new();
        for (id, original) in &self.originals {
            let mut def = copy(original, known, axis);
            if self.used {
                let stem = &original.name;
                let taken = |name: &String| {
                    form.defs.iter().any(|def| def.name == *name)
                        || form.states.iter().any(|state| state.name == *name)
                        || form.params.iter().any(|param| param.name == *name)
                };
                def.name = (1..).map(|n| format!("{stem}_{n}")).find(|name| !taken(name)).unwrap_or_default();
                steps.push(Step::Def(form.defs.len()));
                form.defs.push(def);
            } else {
                steps.push(Step::Def(*id));
                form.defs[*id] = def;
            }
        }
        self.used = true;
        loops.into_iter().rev().fold(steps, |body, (var, name, range)| vec![Step::Loop { var, name, range, body }])
    }
}

/// A form over the old variables as one over the new ones; with a new first axis, the others follow it.
fn substituted(form: &Affine, known: &BTreeMap<usize, Affine>, axis: bool) -> Affine {
    form.substitute(|v| match known.get(&v) {
        Some(value) => value.clone(),
        None => Affine::variable(if axis && loop_of(v).is_none() { v + 1 } else { v }),
    })
}

fn copy(def: &Def, known: &BTreeMap<usize, Affine>, axis: bool) -> Def {
    let mut copy = def.clone();
    copy.move_forms(|form| substituted(form, known, axis));
    if axis {
        for piece in &mut copy.pieces {
            piece.domain.insert(0, Range::constant(0, i64::try_from(WIDTH).unwrap_or(i64::MAX)));
        }
        copy.axes.insert(0, WIDTH);
        copy.shape.insert(0, WIDTH);
    }
    copy
}
