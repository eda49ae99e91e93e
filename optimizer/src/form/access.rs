//! What a definition's loads read, and where.

use crate::form::context::Context;
use crate::form::normal_form::{Def, Piece};
use crate::form::scalar_tree::{Access, DefId, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::loop_of;
use crate::integer::set::{Answer, IntegerSet};

/// The loads of a piece in order: what a pack's `load` counts.
pub fn loads(piece: &Piece) -> impl Iterator<Item = (Source, &Access)> {
    piece.value.nodes.iter().filter_map(|node| match &node.op {
        ScalarOp::Load(source, access) => Some((*source, access)),
        ScalarOp::Const(_)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    })
}

/// The axis forms of an access: one index per axis, or the flat offset alone.
pub fn indices(access: &Access) -> &[crate::integer::affine::Affine] {
    match access {
        Access::Axes(index) => index,
        Access::Flat(offset) => std::slice::from_ref(offset),
        Access::Gather(gather) => std::slice::from_ref(&gather.offset),
    }
}

/// Whether the box of a piece's points, in every iteration of the loops around it as far as they bound it, has indices only
/// that an array of `extents` has. Of axes that an index does not use nothing is supposed, not even that they have points:
/// what is copied for all of them is copied where they have none, too.
pub(crate) fn stays_within(
    piece: &Piece,
    bounds: &[(i64, i64)],
    context: &Context,
    (index, extents): (&[Affine], &[usize]),
) -> bool {
    let loops = context.loops.len();
    let place = |v: usize| match loop_of(v) {
        Some(_) => context.loops.iter().position(|(known, _)| *known == v).unwrap_or(usize::MAX),
        None => loops + v,
    };
    let by_loops = |form: &&Affine| form.terms.iter().all(|&(v, _)| loop_of(v).is_some());
    let mut all = IntegerSet::all(loops + piece.domain.len());
    context.require(&mut all, place);
    let used = |axis: usize| index.iter().any(|form| form.coefficient(axis) != 0);
    let ranges = piece.domain.iter().zip(bounds).enumerate().filter(|(axis, _)| used(*axis));
    for (axis, (range, &(least, greatest))) in ranges {
        let axis = Affine::variable(axis);
        for low in range.lo.iter().filter(by_loops).chain([&Affine::constant(least)]) {
            all.require_non_negative(&axis.minus(low), place);
        }
        for high in range.hi.iter().filter(by_loops).chain([&Affine::constant(greatest + 1)]) {
            all.require_non_negative(&high.minus(&axis).offset(-1), place);
        }
    }
    let never = |outside: &Affine| {
        let mut set = all.clone();
        set.require_non_negative(outside, place);
        set.answer() == Answer::Empty
    };
    loops > 0
        && index.iter().zip(extents).all(|(form, &extent)| {
            let last = i64::try_from(extent).unwrap_or(i64::MAX) - 1;
            never(&form.times(-1).offset(-1)) && never(&form.offset(-last - 1))
        })
}

/// The number of axes of a definition's schedule: its points, and the folds of the piece that has
/// most of them.
pub fn axes_of(def: &Def) -> usize {
    def.pieces.iter().map(|piece| piece.domain.len()).max().unwrap_or(def.axes.len()).max(def.axes.len())
}

/// The definitions that a definition reads.
pub(crate) fn sources(def: &Def) -> impl Iterator<Item = DefId> + '_ {
    def.pieces.iter().flat_map(|piece| &piece.value.nodes).filter_map(|node| match &node.op {
        ScalarOp::Load(Source::Def(id), _) => Some(*id),
        ScalarOp::Load(Source::Param(_) | Source::State(_), _)
        | ScalarOp::Const(_)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    })
}
