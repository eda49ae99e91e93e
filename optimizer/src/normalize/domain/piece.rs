//! One definition over restricted domains: folds that run only over the terms that count, points
//! split by the conditions on them.

use super::Used;
use super::condition::{Condition, masks, truths, vanishing};
use super::producer::{Producers, folds_nothing, no_terms};
use super::simplify::{constant_value, simplify};
use crate::form::normal_form::{Def, Piece};
use crate::form::scalar_tree::ScalarOp;
use crate::integer::affine::Affine;
use crate::integer::region::{Region, opposite};
use crate::value::dtype::DType;

/// The most pieces that a definition is split into.
const MAX_PIECES: usize = 8;

/// `def` with its pieces restricted. Points are split only if `split`.
pub(super) fn restrict(
    def: &Def,
    split: bool,
    context: &[Affine],
    producers: &Producers<'_>,
    used: &mut Used<'_>,
) -> Def {
    let points = def.axes.len();
    let mut open: Vec<Piece> = def.pieces.iter().rev().cloned().collect();
    let mut done: Vec<Piece> = Vec::with_capacity(open.len());
    while let Some(piece) = open.pop() {
        let piece = settle(piece, points, context, producers, used);
        let room = done.len() + open.len() + 2 <= MAX_PIECES;
        let parts = if split && room { halves(&piece, points, context, producers, used) } else { None };
        match parts {
            Some(parts) => open.extend(parts.into_iter().rev()),
            None => done.push(piece),
        }
    }
    Def { pieces: done, ..def.clone() }
}

/// The piece with its expression simplified and its folds no longer than needed.
fn settle(
    mut piece: Piece,
    points: usize,
    context: &[Affine],
    producers: &Producers<'_>,
    used: &mut Used<'_>,
) -> Piece {
    loop {
        let region = Region::new(&piece.domain, context);
        let value = simplify(&piece, &region, producers, used);
        let changed = value != piece.value;
        piece.value = value;
        let Some(fold) = piece.fold.filter(|_| !folds_nothing(&piece, points) && used.may_leave_out(&piece)) else {
            return piece;
        };
        let dtype = piece.value.nodes.last().map_or(DType::Bool, |node| node.dtype);
        let mut narrowed = None;
        for rule in ["domain/identity", "domain/annihilate"] {
            let skips = rule == "domain/annihilate";
            if !used.may(rule) || skips && !used.may_skip(dtype) {
                continue;
            }
            let counts = counting(&piece, skips, &region, producers);
            if counts == Condition::Known(false) {
                used.by(rule);
                let folds = piece.domain.len() - points;
                piece.domain.truncate(points);
                piece.domain.extend(no_terms(folds));
                piece.value = constant_value(fold.identity(dtype), dtype);
                return piece;
            }
            let mut next = region.clone();
            for form in counts.necessary() {
                if next.innermost(&form).is_some_and(|axis| axis >= points)
                    && !next.holds(&form)
                    && let Some(narrower) = next.narrowed(&form)
                {
                    next = narrower;
                }
            }
            if next != region {
                used.by(rule);
                narrowed = Some(next);
                break;
            }
        }
        match narrowed {
            Some(region) => piece.domain = region.domain,
            None if changed => {}
            None => return piece,
        }
    }
}

/// A condition without which the piece's term is the identity of its fold. `skips`: so is a product with a zero of a mask.
fn counting(piece: &Piece, skips: bool, region: &Region, producers: &Producers<'_>) -> Condition {
    let Some(fold) = piece.fold else { return Condition::Known(true) };
    let nodes = &piece.value.nodes;
    let truths = truths(nodes, region);
    let masked = skips.then(|| masks(nodes, &truths, &|source, access: &_| producers.masked(source, access)));
    let zero_load = |source, access: &_| producers.zero(source, access);
    let vanishes = vanishing(nodes, &truths, fold, masked.as_deref(), &zero_load);
    vanishes.last().map_or(Condition::Known(true), |condition| condition.not().on(region))
}

/// The piece as two, by the first condition on points that decides something in it.
fn halves(
    piece: &Piece,
    points: usize,
    context: &[Affine],
    producers: &Producers<'_>,
    used: &mut Used<'_>,
) -> Option<Vec<Piece>> {
    if !used.may("domain/split") || folds_nothing(piece, points) {
        return None;
    }
    let region = Region::new(&piece.domain, context);
    let nodes = &piece.value.nodes;
    let truths = truths(nodes, &region);
    // Each with the rule that makes its split worth it.
    let mut candidates: Vec<(Affine, &'static str)> = Vec::new();
    for rule in ["domain/identity", "domain/annihilate"] {
        let skips = rule == "domain/annihilate";
        let dtype = nodes.last().map_or(DType::Bool, |node| node.dtype);
        if used.may_leave_out(piece) && used.may(rule) && (!skips || used.may_skip(dtype)) {
            let necessary = counting(piece, skips, &region, producers).necessary();
            candidates.extend(necessary.into_iter().map(|form| (form, rule)));
        }
    }
    let mut decided = |condition: &Condition| {
        if used.may("domain/decide") {
            candidates.extend(condition.on(&region).forms().into_iter().map(|form| (form, "domain/decide")));
        }
    };
    for node in nodes {
        match &node.op {
            ScalarOp::Where(c, ..) => decided(&truths[*c]),
            ScalarOp::Cast(x) if nodes[*x].dtype == DType::Bool => decided(&truths[*x]),
            ScalarOp::Load(..)
            | ScalarOp::Const(_)
            | ScalarOp::Index(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Cast(_) => {}
        }
    }
    for (form, rule) in candidates {
        if region.innermost(&form).is_none_or(|axis| axis >= points) || region.holds(&form) || region.fails(&form) {
            continue;
        }
        if let (Some(inside), Some(outside)) = (region.narrowed(&form), region.narrowed(&opposite(&form))) {
            used.by("domain/split");
            used.by(rule);
            let part = |region: Region| Piece { domain: region.domain, ..piece.clone() };
            return Some(vec![part(inside), part(outside)]);
        }
    }
    None
}
