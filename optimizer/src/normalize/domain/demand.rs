//! What readers need of a definition: a copy of a part becomes that part, what nobody reads is
//! not computed.
//!
//! Only forms without steps: there every definition is computed once, before its readers, and nothing is stored in
//! between. The values of one statement are such a form, too, whatever states they read.

use super::Used;
use super::producer::{at, constant_piece, folds_nothing, no_terms};
use super::simplify::constant_value;
use crate::dependence::inline::{check_inlined, inline};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::region::Region;

/// Replaces a definition of several pieces that copies a fold, or is the fold's identity, by the
/// fold itself on the pieces that copied it. The fold must have no other reader.
pub(super) fn forward(form: &mut NormalForm, used: &mut Used<'_>) {
    if !form.steps.is_empty() || !used.may("domain/forward") {
        return;
    }
    while let Some((reader, def)) = (0..form.defs.len()).find_map(|reader| forwarded(form, reader)) {
        used.by("domain/forward");
        form.defs[reader] = def;
        drop_unread(form);
    }
}

fn forwarded(form: &NormalForm, reader: DefId) -> Option<(DefId, Def)> {
    let def = &form.defs[reader];
    if def.pieces.len() < 2 || def.update.is_some() {
        return None;
    }
    let copied = def.pieces.iter().find_map(|piece| copies(def, piece))?;
    let source = &form.defs[copied];
    let only = reads(form).filter(|(_, _, read, _)| *read == Source::Def(copied)).all(|(by, ..)| by == reader);
    let folds: Vec<&Piece> = source.pieces.iter().filter(|piece| piece.fold.is_some()).collect();
    let fold = folds.first()?.fold?;
    let alike = folds.iter().all(|piece| {
        piece.fold == Some(fold) && piece.depth == folds[0].depth && piece.domain.len() == folds[0].domain.len()
    });
    let fits = source.axes == def.axes && source.dtype == def.dtype && folds.len() == source.pieces.len();
    if !only || !alike || !fits || form.outputs.contains(&copied) || source.update.is_some() {
        return None;
    }
    let points = def.axes.len();
    let mut pieces = Vec::new();
    for piece in &def.pieces {
        if copies(def, piece) == Some(copied) {
            for part in &source.pieces {
                let mut region = Region::new(&part.domain, &[]);
                for condition in Region::conditions(&piece.domain) {
                    if !region.holds(&condition) {
                        region = region.narrowed(&condition)?;
                    }
                }
                if !region.is_empty() {
                    pieces.push(Piece { domain: region.domain, ..part.clone() });
                }
            }
        } else {
            constant_piece(def, piece).filter(|value| *value == fold.identity(def.dtype))?;
            let mut domain = piece.domain[..points].to_vec();
            domain.extend(no_terms(folds[0].domain.len() - points));
            let value = constant_value(fold.identity(def.dtype), def.dtype);
            pieces.push(Piece { domain, fold: Some(fold), depth: folds[0].depth, value });
        }
    }
    Some((reader, Def { pieces, ..def.clone() }))
}

/// The definition that a piece copies, point by point.
fn copies(def: &Def, piece: &Piece) -> Option<DefId> {
    let [ScalarNode { op: ScalarOp::Load(Source::Def(source), Access::Axes(index)), .. }] =
        piece.value.nodes.as_slice()
    else {
        return None;
    };
    let same =
        index.len() == def.axes.len() && index.iter().enumerate().all(|(axis, form)| *form == Affine::variable(axis));
    (same && piece.fold.is_none()).then_some(*source)
}

/// Every load: the reader, its piece, what is read and where.
fn reads(form: &NormalForm) -> impl Iterator<Item = (DefId, &Piece, Source, &Access)> {
    form.defs.iter().enumerate().flat_map(|(reader, def)| {
        def.pieces.iter().flat_map(move |piece| {
            piece.value.nodes.iter().filter_map(move |node| match &node.op {
                ScalarOp::Load(source, access) => Some((reader, piece, *source, access)),
                ScalarOp::Const(_)
                | ScalarOp::Index(_)
                | ScalarOp::Unary(..)
                | ScalarOp::Binary(..)
                | ScalarOp::Where(..)
                | ScalarOp::Cast(_) => None,
            })
        })
    })
}

/// Restricts definitions to the points that are read, consumers first.
pub(super) fn drop_unused(form: &mut NormalForm, used: &mut Used<'_>) {
    if !form.steps.is_empty() || !used.may("domain/unused") {
        return;
    }
    if drop_unread(form) {
        used.by("domain/unused");
    }
    for id in (0..form.defs.len()).rev() {
        if form.outputs.contains(&id) || form.defs[id].update.is_some() {
            continue;
        }
        let needed = needed(form, id);
        let def = &form.defs[id];
        let points = def.axes.len();
        let mut pieces = Vec::with_capacity(def.pieces.len());
        let mut changed = false;
        for piece in &def.pieces {
            let mut region = Region::new(&piece.domain, &[]);
            for form in &needed {
                if !region.holds(form)
                    && let Some(narrower) = region.narrowed(form)
                {
                    region = narrower;
                    changed = true;
                }
            }
            if !changed || !region.is_empty() {
                pieces.push(Piece { domain: region.domain, ..piece.clone() });
            }
        }
        // Of what is a constant anyway, nothing is gained.
        let computed = def.pieces.iter().any(|piece| match piece.fold {
            Some(_) => !folds_nothing(piece, points),
            None => constant_piece(def, piece).is_none(),
        });
        if changed && computed && !pieces.is_empty() {
            used.by("domain/unused");
            form.defs[id].pieces = pieces;
        }
    }
}

/// Conditions on the points of a definition that hold wherever it is read.
fn needed(form: &NormalForm, id: DefId) -> Vec<Affine> {
    let reads: Vec<(&Piece, &Access)> = reads(form)
        .filter(|(_, _, source, _)| *source == Source::Def(id))
        .map(|(_, piece, _, access)| (piece, access))
        .collect();
    let Some((piece, Access::Axes(index))) = reads.first() else { return Vec::new() };
    // The reader's axis of each index, where the index is that axis, up to a sign and a shift.
    let mut inverse: Vec<Option<Affine>> = vec![None; piece.domain.len()];
    for (axis, form) in index.iter().enumerate() {
        if let [(variable, sign @ (1 | -1))] = form.terms.as_slice()
            && let Some(slot) = inverse.get_mut(*variable)
        {
            *slot = Some(Affine::variable(axis).offset(-form.constant).times(*sign));
        }
    }
    let candidates = Region::conditions(&piece.domain).into_iter().filter_map(|form| {
        let known = form.terms.iter().all(|term| inverse.get(term.0).is_some_and(Option::is_some));
        known.then(|| form.substitute(|axis| inverse.get(axis).cloned().flatten().unwrap_or_default()))
    });
    let everywhere = |form: &Affine| {
        reads.iter().all(|(piece, access)| match access {
            Access::Axes(index) => Region::new(&piece.domain, &[]).holds(&at(form, index)),
            Access::Flat(_) | Access::Gather(_) => false,
        })
    };
    let whole = Region::whole(&form.defs[id].axes);
    candidates.filter(|form| !whole.holds(form) && everywhere(form)).collect()
}

/// Substitutes definitions that are one load or one constant.
pub(super) fn inline_copies(form: &mut NormalForm, used: &mut Used<'_>) {
    inline_where(form, used, |piece| piece.value.nodes.len() == 1);
}

/// More nodes are not computed again at every point.
const MAX_MASK: usize = 12;

/// Substitutes definitions that read nothing; true if there is one.
pub(super) fn inline_masks(form: &mut NormalForm, used: &mut Used<'_>) -> bool {
    inline_where(form, used, |piece| {
        let loads = piece.value.nodes.iter().any(|node| matches!(node.op, ScalarOp::Load(..)));
        !loads && piece.value.nodes.len() <= MAX_MASK
    })
}

fn inline_where(form: &mut NormalForm, used: &mut Used<'_>, chosen: impl Fn(&Piece) -> bool) -> bool {
    if !form.steps.is_empty() || !used.may("domain/inline") {
        return false;
    }
    let flat: Vec<DefId> = reads(form)
        .filter_map(|(_, _, source, access)| match (source, access) {
            (Source::Def(read), Access::Flat(_) | Access::Gather(_)) => Some(read),
            (Source::Def(_), Access::Axes(_)) | (Source::Param(_) | Source::State(_), _) => None,
        })
        .collect();
    let inlined = |id: DefId| {
        let def = &form.defs[id];
        let one = matches!(def.pieces.as_slice(), [piece] if piece.fold.is_none() && chosen(piece));
        one && !form.outputs.contains(&id) && def.update.is_none() && !flat.contains(&id)
    };
    if !(0..form.defs.len()).any(inlined) {
        return false;
    }
    let substituted = check_inlined(form, inlined).and_then(|()| inline(form, inlined));
    let Ok(pieces) = substituted else { return false };
    for (def, pieces) in form.defs.iter_mut().zip(pieces) {
        def.pieces = pieces.into_iter().map(|part| part.piece).collect();
    }
    used.by("domain/inline");
    drop_unread(form);
    true
}

/// Removes definitions that nobody reads and that are no results; true if there was one.
pub(in super::super) fn drop_unread(form: &mut NormalForm) -> bool {
    let mut live = vec![false; form.defs.len()];
    for id in (0..form.defs.len()).rev() {
        if form.outputs.contains(&id) || form.defs[id].update.is_some() {
            live[id] = true;
        }
        if live[id] {
            for node in form.defs[id].pieces.iter().flat_map(|piece| &piece.value.nodes) {
                if let ScalarOp::Load(Source::Def(read), _) = node.op
                    && let Some(slot) = live.get_mut(read)
                {
                    *slot = true;
                }
            }
        }
    }
    if live.iter().all(|live| *live) {
        return false;
    }
    let mut place = Vec::with_capacity(live.len());
    let mut next = 0;
    for &live in &live {
        place.push(next);
        next += usize::from(live);
    }
    let mut kept = live.iter();
    form.defs.retain(|_| kept.next().copied().unwrap_or(true));
    form.renumber(|id| place.get(id).copied().unwrap_or(id));
    true
}
