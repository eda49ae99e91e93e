//! Dependences between the definitions of a form through its states, over the loops around them.
//!
//! Input: a form with steps. Output: for every two accesses to one state of which one writes, the directions over the
//! loops that both stand in. None is missing; one may be spurious only where the integer test is inexact. For people
//! (`moat explain`) and for tests: the transformations ask their own, narrower questions.

use crate::dependence::access::{Touch, touches};
use crate::dependence::between::{Direction, refine};
use crate::form::context::{Context, contexts};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use crate::integer::set::{Answer, IntegerSet};
use std::fmt;

/// What the two ends do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Write, then read.
    Flow,
    /// Read, then write.
    Anti,
    /// Write, then write.
    Output,
}

/// One dependence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopDependence {
    /// The state both touch.
    pub state: usize,
    /// The definition that runs first.
    pub source: DefId,
    /// The definition that runs later.
    pub sink: DefId,
    /// What they do.
    pub kind: Kind,
    /// One for each common loop, outermost first.
    pub directions: Vec<Direction>,
    /// For each common loop the distance, where it is one number for all pairs.
    pub distances: Vec<Option<i64>>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Flow => "flow",
            Kind::Anti => "anti",
            Kind::Output => "output",
        })
    }
}

/// All dependences of `form`, sorted, without repetition.
pub fn loop_dependences(form: &NormalForm) -> Vec<LoopDependence> {
    dependences(form, 0)
}

/// Those between definitions that stand in a loop together.
pub fn carried_dependences(form: &NormalForm) -> Vec<LoopDependence> {
    dependences(form, 1)
}

/// Those between definitions with `least` common loops or more.
fn dependences(form: &NormalForm, least: usize) -> Vec<LoopDependence> {
    let contexts = contexts(form);
    let mut place = vec![None; form.defs.len()];
    for (at, id) in textual(&form.steps).into_iter().enumerate() {
        place[id] = Some(at);
    }
    let touched =
        form.defs.iter().enumerate().flat_map(|(id, def)| touches(def).into_iter().map(move |touch| (id, touch)));
    let touched: Vec<(DefId, Touch<'_>)> = touched.collect();
    let mut found = Vec::new();
    for (one, first) in &touched {
        for (other, second) in &touched {
            if first.state != second.state || !(first.writes || second.writes) {
                continue;
            }
            let common =
                contexts[*one].loops.iter().zip(&contexts[*other].loops).take_while(|(a, b)| a.0 == b.0).count();
            if common < least {
                continue;
            }
            let before = place[*one] < place[*other];
            between((*one, first), (*other, second), &contexts, common, before, &mut found);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Definitions in the order of the text.
fn textual(steps: &[Step]) -> Vec<DefId> {
    steps.iter().flat_map(Step::definitions).collect()
}

fn between(
    (source_def, first): (DefId, &Touch<'_>),
    (sink_def, second): (DefId, &Touch<'_>),
    contexts: &[Context],
    common: usize,
    before: bool,
    found: &mut Vec<LoopDependence>,
) {
    let (set, sink_loops) = meetings((&contexts[source_def], first), (&contexts[sink_def], second), 0);
    let mut vectors = Vec::new();
    refine(&set, sink_loops, common, &mut Vec::new(), &mut vectors);
    for directions in vectors {
        let forward = match directions.iter().find(|direction| direction.may_differ()) {
            None => before,
            Some(Direction::Greater) => false,
            Some(Direction::Less | Direction::Any | Direction::Equal) => true,
        };
        if !forward {
            continue;
        }
        let kind = match (first.writes, second.writes) {
            (true, true) => Kind::Output,
            (true, false) => Kind::Flow,
            (false, _) => Kind::Anti,
        };
        let distances = (0..common).map(|level| distance(&set, &directions, sink_loops, level)).collect();
        found.push(LoopDependence {
            state: first.state,
            source: source_def,
            sink: sink_def,
            kind,
            directions,
            distances,
        });
    }
}

/// The pairs of executions, one of each access, that touch one element in the same iteration of the outermost `shared`
/// loops. Its variables are the loops of both, then the axes of both; the second's loops begin at the number that comes with
/// it.
pub(crate) fn meetings(
    (one, first): (&Context, &Touch<'_>),
    (other, second): (&Context, &Touch<'_>),
    shared: usize,
) -> (IntegerSet, usize) {
    let sink_loops = one.loops.len();
    let source_axes = sink_loops + other.loops.len();
    let sink_axes = source_axes + first.domain.len();
    let at = |context: &Context, v: usize| context.loops.iter().position(|(known, _)| *known == v);
    let source = |v: usize| match loop_of(v) {
        Some(_) => at(one, v).unwrap_or(usize::MAX),
        None => v + source_axes,
    };
    let sink = |v: usize| match loop_of(v) {
        Some(_) => at(other, v).map_or(usize::MAX, |at| at + sink_loops),
        None => v + sink_axes,
    };
    let mut set = IntegerSet::all(sink_axes + second.domain.len());
    one.require(&mut set, source);
    other.require(&mut set, sink);
    set.require_domain(first.domain, source);
    set.require_domain(second.domain, sink);
    for (a, b) in first.index.iter().zip(second.index) {
        let a = a.substitute(|v| Affine::variable(source(v)));
        let b = b.substitute(|v| Affine::variable(sink(v)));
        set.require_zero(&a.minus(&b), |v| v);
    }
    for level in 0..shared {
        set.require_zero(&Affine::variable(sink_loops + level).minus(&Affine::variable(level)), |v| v);
    }
    (set, sink_loops)
}

/// The distance of all pairs on one loop, if it is one number.
fn distance(set: &IntegerSet, directions: &[Direction], sink: usize, level: usize) -> Option<i64> {
    /// Distances beyond this are not looked for.
    const FAR: i64 = 8;
    let difference = |level: usize| Affine::variable(sink + level).minus(&Affine::variable(level));
    let mut set = set.clone();
    for (level, direction) in directions.iter().enumerate() {
        match direction {
            Direction::Less => set.require_non_negative(&difference(level).offset(-1), |v| v),
            Direction::Equal => set.require_zero(&difference(level), |v| v),
            Direction::Greater => set.require_non_negative(&difference(level).times(-1).offset(-1), |v| v),
            Direction::Any => return None,
        }
    }
    (-FAR..=FAR).find(|&distance| {
        let beyond = |form: Affine| {
            let mut rest = set.clone();
            rest.require_non_negative(&form, |v| v);
            rest.answer() == Answer::Empty
        };
        let from = difference(level).offset(-distance);
        beyond(from.offset(-1)) && beyond(from.times(-1).offset(-1))
    })
}
