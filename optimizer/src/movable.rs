//! Which values may be computed where they are read.
//!
//! Input: a form. Output: the definitions that must be computed and stored where they stand: results, updates, and
//! values whose readers stand in another body of the tree of loops, or of which a read element of a state may be
//! overwritten before the last reader is through. A reader is through at the end of its own loops: an update that reads
//! a value must not store what the value reads, at any point. Integer elimination decides; what is not known may be any
//! element.

use crate::affine::Affine;
use crate::dependence::{Answer, IntegerSet, reads};
use crate::normal_form::{Context, DefId, NormalForm, Step, contexts, loop_of};
use crate::touch::{Touch, touches};
use std::collections::BTreeSet;

/// The definitions that must be stored whole where they stand.
pub fn stays(form: &NormalForm) -> Vec<DefId> {
    let steps: Vec<Step> = match form.steps.as_slice() {
        [] => (0..form.defs.len()).map(Step::Def).collect(),
        steps => steps.to_vec(),
    };
    let all = Movable { form, steps: &steps, contexts: contexts(form), reads: reads(form) };
    (0..form.defs.len()).filter(|&id| !all.moves(id)).collect()
}

struct Movable<'f> {
    form: &'f NormalForm,
    steps: &'f [Step],
    contexts: Vec<Context>,
    reads: Vec<crate::dependence::Read>,
}

impl Movable<'_> {
    fn moves(&self, id: DefId) -> bool {
        let def = &self.form.defs[id];
        if self.is_fixed(id) {
            return false;
        }
        let of_states: Vec<Touch<'_>> = touches(def);
        if def.scope.is_empty() && of_states.is_empty() {
            return true;
        }
        let Some((body, at)) = place_of(self.steps, id) else { return false };
        let Some(last) = self.last_reader(id, body) else { return false };
        let between = body.iter().skip(at + 1).take(last.saturating_sub(at)).flat_map(Step::definitions);
        between.into_iter().all(|other| !self.overwrites(id, &of_states, other))
    }

    fn is_fixed(&self, id: DefId) -> bool {
        self.form.outputs.contains(&id) || self.form.defs[id].update.is_some()
    }

    /// The position of the last definition that may read a value where values that read it move, too; `None` if one of
    /// them stands in another body.
    fn last_reader(&self, id: DefId, body: &[Step]) -> Option<usize> {
        let mut last = 0;
        let mut open = vec![id];
        let mut seen = BTreeSet::from([id]);
        while let Some(read) = open.pop() {
            for reader in self.reads.iter().filter(|found| found.producer == read).map(|found| found.consumer) {
                let stands = |step: &Step| matches!(step, Step::Def(found) if *found == reader);
                last = last.max(body.iter().position(stands)?);
                if seen.insert(reader) && !self.is_fixed(reader) {
                    open.push(reader);
                }
            }
        }
        Some(last)
    }

    /// Whether `other` may store an element in the iteration in which a value reads it.
    fn overwrites(&self, id: DefId, of_states: &[Touch<'_>], other: DefId) -> bool {
        let stored = touches(&self.form.defs[other]);
        let pairs = of_states.iter().flat_map(|read| stored.iter().map(move |write| (read, write)));
        pairs
            .filter(|(read, write)| write.writes && read.state == write.state)
            .any(|(read, write)| meets(read, &self.contexts[id], write, &self.contexts[other]))
    }
}

/// Whether a read and a write of one iteration of the loops around the reader may be of one element. The writer stands in
/// the same body, or deeper.
fn meets(read: &Touch<'_>, around: &Context, write: &Touch<'_>, within: &Context) -> bool {
    if !read.known || !write.known {
        return true;
    }
    let loops = within.loops.len();
    let (first, second) = (loops, loops + read.domain.len());
    let mut set = IntegerSet::all(second + write.domain.len());
    let symbol = |v: usize| within.loops.iter().position(|(variable, _)| *variable == v).unwrap_or(usize::MAX);
    let reading = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + first };
    let writing = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + second };
    around.require(&mut set, symbol);
    within.require(&mut set, symbol);
    set.require_domain(read.domain, reading);
    set.require_domain(write.domain, writing);
    for (a, b) in read.index.iter().zip(write.index) {
        let over = |form: &Affine, place: &dyn Fn(usize) -> usize| form.substitute(|v| Affine::variable(place(v)));
        set.require_zero(&over(a, &reading).minus(&over(b, &writing)), |v| v);
    }
    set.answer() != Answer::Empty
}

/// The body in which a definition stands, and where.
fn place_of(steps: &[Step], id: DefId) -> Option<(&[Step], usize)> {
    let own = steps.iter().position(|step| matches!(step, Step::Def(found) if *found == id));
    own.map(|at| (steps, at)).or_else(|| {
        steps.iter().find_map(|step| match step {
            Step::Def(_) => None,
            Step::Loop { body, .. } | Step::If { body, .. } => place_of(body, id),
        })
    })
}
