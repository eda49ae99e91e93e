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

use crate::affine::Affine;
use crate::normal_form::{Def, DefId, NormalForm, Range, Step, loop_of};

pub use legal::{Tilable, is_legal, tilable};
pub use offending::{Offending, offending};
pub use rewrite::{Tiled, skewed};

/// The iterations of a loop; `None` if they depend on another loop.
pub fn trips(form: &NormalForm, var: usize) -> Option<usize> {
    let range = range_of(&form.steps, var)?;
    let ([lo], [hi]) = (range.lo.as_slice(), range.hi.as_slice()) else { return None };
    let length = hi.minus(lo);
    usize::try_from(length.constant).ok().filter(|_| length.is_constant())
}

/// The definitions of a loop's body, if it consists of updates alone, in order.
pub fn statements(form: &NormalForm, var: usize) -> Option<Vec<DefId>> {
    let all = loops(&form.steps);
    let (_, body) = all.iter().find(|(known, _)| *known == var)?;
    updates(form, body)
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

fn updates(form: &NormalForm, body: &[Step]) -> Option<Vec<DefId>> {
    body.iter()
        .map(|step| match step {
            Step::Def(id) => form.defs[*id].update.is_some().then_some(*id),
            Step::Loop { .. } | Step::If { .. } => None,
        })
        .collect()
}

/// The coordinate of an update along a dimension, and its axis, if it has one; it moves with the dimension by single
/// steps.
fn coordinate(def: &Def, dim: usize) -> Option<(Affine, Option<usize>)> {
    let form = def.update.as_ref()?.index().get(dim)?.clone();
    let axes: Vec<(usize, i64)> = form.terms.iter().copied().filter(|term| loop_of(term.0).is_none()).collect();
    match axes.as_slice() {
        [] => Some((form, None)),
        [(axis, 1)] => Some((form, Some(*axis))),
        _ => None,
    }
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
