//! Which values may be computed where they are read.
//!
//! Input: a form. Output: the definitions that must be computed and stored where they stand: results, updates, and of the
//! values in loops or over states those whose readers stand in another body of the tree of loops, or may read where
//! nothing is computed, or of which a read element of a state may be overwritten before the last reader is through. A
//! reader is through at the end of its own loops: an update that reads a value must not store what the value reads, at
//! any point. Integer elimination decides; what is not known may be any element.

use crate::dependence::access::{Touch, touches};
use crate::dependence::between::reads;
use crate::form::access::loads;
use crate::form::context::{Context, contexts};
use crate::form::normal_form::{NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::integer::set::{Answer, IntegerSet};
use std::collections::BTreeSet;

/// Why a definition must be stored whole where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// It is a result or an update.
    Stored,
    /// A reader stands in another body.
    Apart {
        /// The reader.
        reader: DefId,
    },
    /// A reader may read where nothing is computed.
    Uncovered {
        /// The reader.
        reader: DefId,
    },
    /// An element that it reads may be overwritten before the last reader is through.
    Overwritten {
        /// The state.
        state: usize,
        /// The definition that stores to it.
        by: DefId,
    },
}

/// The definitions that must be stored whole where they stand.
pub fn stays(form: &NormalForm) -> Vec<DefId> {
    let fixed = fixed(form).into_iter().enumerate();
    fixed.filter_map(|(id, why)| why.map(|_| id)).collect()
}

/// For each definition, why it must be stored whole where it stands, if it must.
pub fn fixed(form: &NormalForm) -> Vec<Option<Fixed>> {
    let steps: Vec<Step> = match form.steps.as_slice() {
        [] => (0..form.defs.len()).map(Step::Def).collect(),
        steps => steps.to_vec(),
    };
    let all = Movable { form, steps: &steps, contexts: contexts(form), reads: reads(form) };
    (0..form.defs.len()).map(|id| all.fixed(id).err()).collect()
}

struct Movable<'f> {
    form: &'f NormalForm,
    steps: &'f [Step],
    contexts: Vec<Context>,
    reads: Vec<crate::dependence::between::Read>,
}

impl Movable<'_> {
    /// Nothing, or what keeps a definition where it stands.
    fn fixed(&self, id: DefId) -> Result<(), Fixed> {
        let def = &self.form.defs[id];
        if self.is_stored(id) {
            return Err(Fixed::Stored);
        }
        let of_states: Vec<Touch<'_>> = touches(def);
        if def.scope.is_empty() && of_states.is_empty() {
            return Ok(());
        }
        let (body, at) = place_of(self.steps, id).ok_or(Fixed::Stored)?;
        let last = self.last_reader(id, body)?;
        self.covered(id)?;
        let between = body.iter().skip(at + 1).take(last.saturating_sub(at)).flat_map(Step::definitions);
        match between.into_iter().find_map(|by| Some((by, self.overwritten(id, &of_states, by)?))) {
            Some((by, state)) => Err(Fixed::Overwritten { state, by }),
            None => Ok(()),
        }
    }

    fn is_stored(&self, id: DefId) -> bool {
        self.form.outputs.contains(&id) || self.form.defs[id].update.is_some()
    }

    /// The position of the last definition that may read a value where values that read it move, too.
    fn last_reader(&self, id: DefId, body: &[Step]) -> Result<usize, Fixed> {
        let mut last = 0;
        let mut open = vec![id];
        let mut seen = BTreeSet::from([id]);
        while let Some(read) = open.pop() {
            for reader in self.reads.iter().filter(|found| found.producer == read).map(|found| found.consumer) {
                let stands = |step: &Step| matches!(step, Step::Def(found) if *found == reader);
                last = last.max(body.iter().position(stands).ok_or(Fixed::Apart { reader })?);
                if seen.insert(reader) && !self.is_stored(reader) {
                    open.push(reader);
                }
            }
        }
        Ok(last)
    }

    /// Whether every reader reads what is computed. Of several pieces, whoever places them computes what there is.
    fn covered(&self, id: DefId) -> Result<(), Fixed> {
        let def = &self.form.defs[id];
        let [piece] = def.pieces.as_slice() else { return Ok(()) };
        let computed = &piece.domain[..def.axes.len()];
        let covers = |reader: DefId| {
            let context = &self.contexts[reader];
            self.form.defs[reader].pieces.iter().all(|piece| {
                let mut own = loads(piece).filter(|(source, _)| *source == Source::Def(id));
                own.all(|(_, access)| match access {
                    Access::Axes(index) => stays_inside(piece, context, index, computed),
                    Access::Flat(_) | Access::Gather(_) => false,
                })
            })
        };
        let mut readers = self.reads.iter().filter(|read| read.producer == id).map(|read| read.consumer);
        match readers.find(|&reader| !covers(reader)) {
            Some(reader) => Err(Fixed::Uncovered { reader }),
            None => Ok(()),
        }
    }

    /// A state of which `other` may store an element in the iteration in which a value reads it.
    fn overwritten(&self, id: DefId, of_states: &[Touch<'_>], other: DefId) -> Option<usize> {
        let stored = touches(&self.form.defs[other]);
        let pairs = of_states.iter().flat_map(|read| stored.iter().map(move |write| (read, write)));
        pairs
            .filter(|(read, write)| write.writes && read.state == write.state)
            .find(|(read, write)| meets(read, &self.contexts[id], write, &self.contexts[other]))
            .map(|(read, _)| read.state)
    }
}

/// Whether an index is inside of a domain at every point of a piece, whatever the loops around that have no context are.
fn stays_inside(piece: &Piece, context: &Context, index: &[Affine], domain: &[Range]) -> bool {
    let at = |form: &Affine| {
        form.substitute(|v| match loop_of(v) {
            Some(_) => Affine::variable(v),
            None => index.get(v).cloned().unwrap_or_default(),
        })
    };
    let mut inside: Vec<Affine> = Vec::new();
    for (form, range) in index.iter().zip(domain) {
        inside.extend(range.lo.iter().map(|low| form.minus(&at(low))));
        inside.extend(range.hi.iter().map(|high| at(high).minus(form).offset(-1)));
    }
    let bounds = piece.domain.iter().flat_map(|range| range.lo.iter().chain(&range.hi));
    let mut loops: Vec<usize> = context.loops.iter().map(|known| known.0).collect();
    loops.extend(
        bounds.chain(&inside).flat_map(|form| &form.terms).map(|term| term.0).filter(|&v| loop_of(v).is_some()),
    );
    loops.sort_unstable();
    loops.dedup();
    let axes = piece.domain.len();
    let place = |v: usize| match loop_of(v) {
        Some(_) => loops.binary_search(&v).map_or(usize::MAX, |at| axes + at),
        None => v,
    };
    let mut set = IntegerSet::all(axes + loops.len());
    context.require(&mut set, place);
    set.require_domain(&piece.domain, place);
    inside.iter().all(|form| {
        let mut outside = set.clone();
        outside.require_non_negative(&form.times(-1).offset(-1), place);
        outside.answer() == Answer::Empty
    })
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
