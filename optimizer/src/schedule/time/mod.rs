//! Time loops in skewed tiles.
//!
//! A loop over updates sweeps its states once in every iteration; where they do not fit in a cache, each sweep reads
//! memory again. A tile runs a block of iterations on a part of the states that stays in the cache: a band along each of
//! some dimensions. A later iteration needs its neighbours of an earlier one, so that the bands move against the sweep:
//! statement p of iteration t computes the elements whose coordinate c along a band's dimension lies in
//! `[band − φ, band − φ + height)` with φ = skew·(t − first of the block) + shift(p).
//!
//! With a skew of 0, a band runs all its iterations before the next one begins: a factorization by rows.
//!
//! The statements may stand in loops of their own inside of the time loop; c is then over their variables, too. What an
//! iteration computes for one coordinate only, it computes in the band of that.
//!
//! Legal: along each dimension every dependence from (t, p, c) to (t′, p′, c′) has
//! `c + skew·t + shift(p) ≤ c′ + skew·t′ + shift(p′)`, so that its source lies in the same band or an earlier one; inside
//! a tile the order is the source's. [`legal`] finds the least skew and shifts; integer elimination decides, exactly.
//!
//! Tiles of different blocks of iterations run together on a wavefront, see [`rewrite`].
//!
//! Sources: Wonnacott, *Using time skewing to eliminate idle time due to memory bandwidth* (IPPS 2000); Bondhugula et
//! al., *A practical automatic polyhedral parallelizer and locality optimizer* (PLDI 2008).

mod legal;
mod offending;
mod rewrite;

use crate::dependence::between::reads;
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};

pub use legal::{Tilable, is_legal, tilable};
pub use offending::{Offending, offending};
pub use rewrite::{Tiled, skewed};

/// How far beyond the state's extent a front may be.
const SPREAD: usize = 64;

/// The iterations of a loop, or the most that it has; `None` if only another loop bounds them.
pub fn trips(form: &NormalForm, var: usize) -> Option<usize> {
    let range = range_of(&form.steps, var)?;
    let [lo] = range.lo.as_slice() else { return None };
    let lengths = range.hi.iter().map(|hi| hi.minus(lo)).filter(Affine::is_constant);
    usize::try_from(lengths.map(|length| length.constant).min()?).ok()
}

/// The definitions of a loop's body, in loops of its own or not, in order; `None` if there is no such loop.
pub fn statements(form: &NormalForm, var: usize) -> Option<Vec<DefId>> {
    let all = loops(&form.steps);
    all.iter().find(|(known, _)| *known == var).map(|(_, body)| definitions(body))
}

/// Every loop with its body.
fn loops(steps: &[Step]) -> Vec<(usize, &[Step])> {
    let mut found = Vec::new();
    for step in steps {
        match step {
            Step::Def(_) => {}
            Step::Loop { var, body, .. } => {
                found.push((*var, body.as_slice()));
                found.extend(loops(body));
            }
            Step::If { body, .. } => found.extend(loops(body)),
        }
    }
    found
}

fn definitions(steps: &[Step]) -> Vec<DefId> {
    steps.iter().flat_map(Step::definitions).collect()
}

/// The definitions that read a definition.
fn readers(form: &NormalForm, id: DefId) -> impl Iterator<Item = DefId> {
    reads(form).into_iter().filter(move |read| read.producer == id).map(|read| read.consumer)
}

/// Where a statement lies along a dimension.
pub(crate) struct Coordinate {
    /// Over the loops' variables and the axis.
    pub(crate) form: Affine,
    /// The axis with which it moves, by single steps.
    pub(crate) axis: Option<usize>,
    /// Points of one instance lie elsewhere, too: `form` is where the front does.
    pub(crate) spread: bool,
}

/// The coordinate of an update along a dimension: its index; on a wavefront, where that moves by several steps with some
/// loop or axis, what moves by single steps, which is the front. What is no update lies where all lies that reads it.
pub(crate) fn coordinate(form: &NormalForm, id: DefId, dim: usize) -> Option<Coordinate> {
    let def = &form.defs[id];
    let Some(update) = &def.update else {
        let mut all = readers(form, id).map(|reader| coordinate(form, reader, dim));
        let first = all.next()??;
        let alone = first.axis.is_none() && !first.spread;
        return (alone && all.all(|other| other.is_some_and(|other| other.form == first.form))).then_some(first);
    };
    let form = update.index().get(dim)?;
    let axes: Vec<(usize, i64)> = form.terms.iter().copied().filter(|term| loop_of(term.0).is_none()).collect();
    let single = |&(v, coefficient): &(usize, i64)| loop_of(v).is_some() && coefficient.abs() == 1;
    Some(match axes.as_slice() {
        [(axis, 1)] => Coordinate { form: form.clone(), axis: Some(*axis), spread: false },
        [] if form.terms.iter().all(single) || !form.terms.iter().any(single) => {
            Coordinate { form: form.clone(), axis: None, spread: false }
        }
        _ => {
            let front = Affine::new(form.constant, form.terms.iter().copied().filter(single));
            Coordinate { form: front, axis: None, spread: true }
        }
    })
}

/// The coordinates of an update along a dimension are below this.
fn coordinates(form: &NormalForm, id: DefId, dim: usize) -> Option<usize> {
    let extent = form.states.get(form.defs[id].update.as_ref()?.state)?.shape.get(dim).copied()?;
    Some(if coordinate(form, id, dim)?.spread { extent + SPREAD } else { extent })
}

fn range_of(steps: &[Step], wanted: usize) -> Option<Range> {
    steps.iter().find_map(|step| match step {
        Step::Def(_) => None,
        Step::Loop { var, range, .. } if *var == wanted => Some(range.clone()),
        Step::Loop { body, .. } | Step::If { body, .. } => range_of(body, wanted),
    })
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
