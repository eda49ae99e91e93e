//! What is known of the elements of definitions: where they are zero, where they are constant.

use super::condition::{Condition, all, any, masks, truths, vanishing};
use super::simplify::constant_of;
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::integer::region::{Region, in_loop};
use crate::value::dtype::Literal;
use crate::value::scalar::FoldOp;

/// The definitions of a form, read by later ones.
pub(super) struct Producers<'a> {
    form: &'a NormalForm,
}

/// Which zeros are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zero {
    Any,
    OfMask,
}

/// Elements of elements of … are followed so far.
const MAX_DEPTH: usize = 4;

impl<'a> Producers<'a> {
    pub(super) fn new(form: &'a NormalForm) -> Producers<'a> {
        Producers { form }
    }

    /// A sufficient condition, on the reader's axes, for a load to be zero.
    pub(super) fn zero(&self, source: Source, access: &Access) -> Condition {
        self.zero_at(source, access, Zero::Any, MAX_DEPTH)
    }

    /// A sufficient condition, on the reader's axes, for a mask to have made a load zero: where it reads a piece of zeros
    /// of a definition that is no constant elsewhere, or what was chosen so point by point.
    pub(super) fn masked(&self, source: Source, access: &Access) -> Condition {
        self.zero_at(source, access, Zero::OfMask, MAX_DEPTH)
    }

    fn zero_at(&self, source: Source, access: &Access, wanted: Zero, depth: usize) -> Condition {
        let never = Condition::Known(false);
        let Some((def, index)) = self.followed(source, access).filter(|_| depth > 0) else { return never };
        if wanted == Zero::OfMask && def.pieces.iter().all(|piece| constant_piece(def, piece).is_some()) {
            return never;
        }
        let deeper = |source: Source, access: &Access| self.zero_at(source, access, wanted, depth - 1);
        let part = |piece: &Piece| {
            let points = def.axes.len();
            let region = Region::new(&piece.domain, &[]);
            let zero = match piece.fold {
                Some(fold) if folds_nothing(piece, points) => {
                    Condition::Known(fold.identity(def.dtype).as_f64() == 0.0)
                }
                Some(_) => never.clone(),
                None if constant_of(&piece.value).is_some_and(|value| value.as_f64() == 0.0) => Condition::Known(true),
                None => {
                    let nodes = &piece.value.nodes;
                    let truths = truths(nodes, &region);
                    let mut zeros = match wanted {
                        Zero::Any => vanishing(nodes, &truths, FoldOp::Sum, None, &deeper),
                        Zero::OfMask => masks(nodes, &truths, &deeper),
                    };
                    zeros.pop().unwrap_or_else(|| never.clone())
                }
            };
            if zero == never {
                return never.clone();
            }
            let inside = Region::conditions(&piece.domain[..points]).into_iter().map(Condition::Positive);
            let inside = all(inside.map(|part| part.on(&Region::whole(&def.axes))).collect());
            all(vec![inside, zero])
        };
        substituted(&any(def.pieces.iter().map(part).collect()), index)
    }

    /// The constant that a load is on all of `region`.
    pub(super) fn constant(&self, def: DefId, access: &Access, region: &Region) -> Option<Literal> {
        let (def, index) = self.followed(Source::Def(def), access)?;
        let points = def.axes.len();
        def.pieces.iter().find_map(|piece| {
            let value = constant_piece(def, piece)?;
            let inside = Region::conditions(&piece.domain[..points]);
            inside.iter().all(|form| region.holds(&at(form, index))).then_some(value)
        })
    }

    /// The definition that an access reads and its index, if its elements are the same whenever
    /// they are read.
    fn followed<'b>(&self, source: Source, access: &'b Access) -> Option<(&'a Def, &'b [Affine])> {
        let (Source::Def(def), Access::Axes(index)) = (source, access) else { return None };
        let def = self.form.defs.get(def).filter(|def| def.update.is_none())?;
        let bounds =
            def.pieces.iter().flat_map(|piece| &piece.domain).flat_map(|range| range.lo.iter().chain(&range.hi));
        let values = def.pieces.iter().flat_map(|piece| &piece.value.nodes).any(|node| match &node.op {
            ScalarOp::Index(form) => in_loop(form),
            ScalarOp::Load(_, Access::Axes(index)) => index.iter().any(in_loop),
            ScalarOp::Load(_, Access::Flat(index)) => in_loop(index),
            ScalarOp::Load(_, Access::Gather(gather)) => in_loop(&gather.offset),
            ScalarOp::Const(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => false,
        });
        (index.len() == def.axes.len() && !values && !bounds.clone().any(in_loop)).then_some((def, index))
    }
}

/// True if a fold of the piece has no terms, whatever the point.
pub(super) fn folds_nothing(piece: &Piece, points: usize) -> bool {
    piece.domain[points..].iter().any(|range| range.as_constant().is_some_and(|(lo, hi)| lo >= hi))
}

/// Ranges of folds without terms.
pub(super) fn no_terms(folds: usize) -> Vec<Range> {
    vec![Range::constant(0, 0); folds]
}

/// The constant that a piece is.
pub(super) fn constant_piece(def: &Def, piece: &Piece) -> Option<Literal> {
    match piece.fold {
        Some(fold) if folds_nothing(piece, def.axes.len()) => Some(fold.identity(def.dtype)),
        Some(_) => None,
        None => constant_of(&piece.value),
    }
}

/// `form` with its axes replaced by an index; variables of loops stay.
pub(super) fn at(form: &Affine, index: &[Affine]) -> Affine {
    form.substitute(|axis| index.get(axis).cloned().unwrap_or_else(|| Affine::variable(axis)))
}

fn substituted(condition: &Condition, index: &[Affine]) -> Condition {
    let parts = |parts: &[Condition]| parts.iter().map(|part| substituted(part, index)).collect();
    match condition {
        Condition::Known(_) | Condition::Unknown => condition.clone(),
        Condition::Positive(form) => Condition::Positive(at(form, index)),
        Condition::All(inner) => all(parts(inner)),
        Condition::Any(inner) => any(parts(inner)),
    }
}
