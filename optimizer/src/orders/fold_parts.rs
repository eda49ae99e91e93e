//! Folds in parts: `⊕ f(k) over k < n` is `⊕ (⊕ f(K·p + k) over k < K) over p < ⌈n / K⌉`.
//!
//! The parts are points of a definition of their own, so threads may share them, and what a term alone needs can be
//! computed with it. Of `Aᵀ(A x)`, element i of `A x` is needed by term i of every element of the result: with the
//! result's elements divided among threads, each of them needs all of `A x`; with the terms divided, each needs its part,
//! and reads its rows of A once for both products. In a loop that stores a matrix and folds over its rows, each thread folds
//! over those that it has stored.
//!
//! Input: a form. Output: an equal form, if it has a fold of which some terms read a fold by the axis alone that is cut, or
//! rows of a state that the loop around it stores. Legal where the fold may be taken in any order of its terms' groups.
//!
//! Sources: Suriana et al., *Parallel associative reductions in Halide* (CGO 2017): rfactor.

use crate::form::access::loads;
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::value::numerics::Numerics;
use crate::value::pairwise;

/// The name of the law in derivations.
pub const RULE: &str = "fold/parts";
/// A few parts for each of several threads.
const CUT: Cut = Cut { parts: 16, fewest: 8 };

/// How a length is cut into parts.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// About so many parts.
    pub parts: i64,
    /// Each has at least so many elements, but for the last one.
    pub fewest: i64,
}

impl Cut {
    /// Elements of a part of `length`: such that all parts are alike, if that leaves about as many.
    pub(crate) fn size(self, length: i64) -> Option<i64> {
        let Cut { parts, fewest } = self;
        let alike = (parts / 2..=2 * parts).filter(|some| *some > 0 && length % some == 0);
        let size = length / alike.min_by_key(|some| (some - parts).abs()).unwrap_or(parts);
        (size >= fewest).then_some(size)
    }
}

/// The form with every fold in parts that can be and gains by it; `None` if there is none.
#[must_use]
pub fn parted(form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
    form.one_by_one(|current, id| Some((Parts::of(current, id, numerics)?.rewritten(current), 1)))
}

/// A fold with a first axis over `0 ≤ k < length`, and how it is cut.
struct Parts<'f> {
    id: DefId,
    def: &'f Def,
    piece: &'f Piece,
    length: i64,
    /// Terms of a part, the last one maybe fewer.
    terms: i64,
    /// Those of a part, and of the sum of the parts.
    depths: (Option<usize>, Option<usize>),
}

impl<'f> Parts<'f> {
    fn of(form: &'f NormalForm, id: DefId, numerics: Numerics) -> Option<Parts<'f>> {
        let def = &form.defs[id];
        let points = def.axes.len();
        let [piece] = def.pieces.as_slice() else { return None };
        piece.fold.filter(|fold| numerics != Numerics::Exact || fold.reorders_exactly(def.dtype))?;
        let (0, length) = piece.domain.get(points)?.as_constant()? else { return None };
        let alone = |index: &[Affine]| {
            let mut axes = index.iter().flat_map(|form| &form.terms).map(|term| term.0).peekable();
            axes.peek().is_some() && axes.all(|axis| axis == points)
        };
        let gains = loads(piece).any(|(source, access)| match (source, access) {
            (Source::Def(read), Access::Axes(index)) => alone(index) && folds(&form.defs[read]),
            // Rows that the loop stores: what a thread has of them it keeps, if it has the same of the terms.
            (Source::State(state), Access::Axes(index)) => {
                let Some((_, rows)) = index.split_last() else { return false };
                let stored = |other: &Def| other.axes.len() > 1 && together(def, other) && stores(other, state);
                rows.iter().any(|form| form.coefficient(points) != 0) && form.defs.iter().any(stored)
            }
            (Source::Def(_) | Source::State(_), Access::Flat(_) | Access::Gather(_)) | (Source::Param(_), _) => false,
        });
        let terms = CUT.size(length)?;
        // What the sum of the parts needs of the whole's depth, the parts have less.
        let levels = pairwise::levels(usize::try_from(length.unsigned_abs().div_ceil(terms.unsigned_abs())).ok()?);
        let within = piece.depth.map(|depth| depth.checked_sub(levels).map(|left| (left, levels)));
        let depths = match within {
            Some(Some((part, whole))) if part >= pairwise::levels(usize::try_from(terms).ok()?) => {
                (Some(part), Some(whole))
            }
            Some(_) => return None,
            None => (None, None),
        };
        gains.then_some(Parts { id, def, piece, length, terms, depths })
    }

    fn rewritten(&self, form: &NormalForm) -> NormalForm {
        let Parts { id, def, piece, length, terms, depths } = *self;
        let points = def.axes.len();
        let count = length.div_euclid(terms) + i64::from(length.rem_euclid(terms) != 0);
        let part = Affine::variable(0);
        let moved = |form: &Affine| {
            form.substitute(|v| match v {
                v if loop_of(v).is_some() => Affine::variable(v),
                v if v == points => part.times(terms).plus(&Affine::variable(points + 1)),
                v => Affine::variable(v + 1),
            })
        };
        let all = |forms: &[Affine]| forms.iter().map(moved).collect::<Vec<_>>();
        let mut domain: Vec<Range> =
            piece.domain.iter().map(|range| Range { lo: all(&range.lo), hi: all(&range.hi) }).collect();
        domain.insert(0, Range::constant(0, count));
        domain[points + 1] = Range::constant(0, terms);
        if count * terms > length {
            domain[points + 1].hi.push(Affine::constant(length).minus(&part.times(terms)));
        }
        let nodes =
            piece.value.nodes.iter().map(|node| ScalarNode { op: node.op.with_forms(moved), dtype: node.dtype });
        let mut axes = def.axes.clone();
        axes.insert(0, usize::try_from(count).unwrap_or(usize::MAX));
        let partial = Def {
            name: form.unused_name(&format!("{}_parts", def.name)),
            shape: axes.clone(),
            axes,
            pieces: vec![Piece { domain, fold: piece.fold, depth: depths.0, value: Scalar { nodes: nodes.collect() } }],
            update: None,
            ..def.clone()
        };
        let mut index = vec![Affine::variable(points)];
        index.extend((0..points).map(Affine::variable));
        let load = ScalarOp::Load(Source::Def(id), Access::Axes(index));
        let mut domain = piece.domain[..points].to_vec();
        domain.push(Range::constant(0, count));
        let value = Scalar { nodes: vec![ScalarNode { op: load, dtype: def.dtype }] };
        let whole = Def { pieces: vec![Piece { domain, fold: piece.fold, depth: depths.1, value }], ..def.clone() };

        // The parts take the fold's place, and the fold the next one.
        let mut next = form.clone();
        next.insert_before(id, partial);
        next.defs[id + 1] = whole;
        next
    }
}

/// Whether two definitions stand in the same loops, at least one.
fn together(one: &Def, two: &Def) -> bool {
    let loops = |def: &Def| def.scope.iter().map(|scope| scope.variable).collect::<Vec<usize>>();
    !one.scope.is_empty() && loops(one) == loops(two)
}

fn stores(def: &Def, state: usize) -> bool {
    def.update.as_ref().is_some_and(|update| update.state == state)
}

fn folds(def: &Def) -> bool {
    def.pieces.iter().any(|piece| piece.fold.is_some())
}
