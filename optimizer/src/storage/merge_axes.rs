//! Merges adjacent axes: two become one where every access and the result step through them alike (the
//! stride of the outer is the stride of the inner times its length).
//!
//! Source: L. Mullin, M. Jenkins, *Effective data parallel computation using the Psi calculus* (1996).

use crate::form::access::sources;
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Gather, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, row_major};
use crate::program::expr::Param;

/// The same arrays over fewer, longer axes.
///
/// Only a definition that neither reads nor is read by another one changes: the axes of connected
/// definitions stay aligned, because bounds inference follows them.
#[must_use]
pub(super) fn merge_axes(form: &NormalForm) -> NormalForm {
    let mut merged = form.clone();
    for id in 0..form.defs.len() {
        let reads = |def: &Def| sources(def).collect::<Vec<_>>();
        let isolated = form.steps.is_empty()
            && reads(&form.defs[id]).is_empty()
            && !form.defs.iter().any(|def| reads(def).contains(&id));
        if isolated {
            while let Some(axis) = mergeable(&merged, id) {
                merged.defs[id] = merge(&form.params, &merged.defs[id], axis);
            }
        }
    }
    merged
}

/// An axis that can be merged with the next one.
fn mergeable(form: &NormalForm, id: DefId) -> Option<usize> {
    let def = &form.defs[id];
    let [piece] = def.pieces.as_slice() else { return None };
    let extents = constant_extents(piece)?;
    (0..extents.len().saturating_sub(1)).find(|&axis| {
        let both_points = axis + 1 < def.axes.len();
        let both_folds = axis >= def.axes.len();
        (both_points || both_folds)
            && forms(&form.params, piece)
                .all(|form| form.coefficient(axis) == form.coefficient(axis + 1) * extents[axis + 1])
    })
}

/// The lengths of the axes, where every one is `0 ≤ x < n`.
fn constant_extents(piece: &Piece) -> Option<Vec<i64>> {
    piece.domain.iter().map(|range| range.as_constant().and_then(|(lo, hi)| (lo == 0).then_some(hi))).collect()
}

/// Every affine form of a piece, accesses as flat offsets.
fn forms<'a>(params: &'a [Param], piece: &'a Piece) -> impl Iterator<Item = Affine> + 'a {
    piece.value.nodes.iter().filter_map(|node| match &node.op {
        ScalarOp::Load(Source::Param(at), access) => Some(flat(&params[*at], access)),
        ScalarOp::Index(form) => Some(form.clone()),
        ScalarOp::Load(Source::Def(_) | Source::State(_), _)
        | ScalarOp::Const(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    })
}

/// An access to a parameter as an offset into its ravel.
fn flat(param: &Param, access: &Access) -> Affine {
    match access {
        Access::Flat(form) => form.clone(),
        Access::Gather(gather) => gather.offset.clone(),
        Access::Axes(indices) => {
            let extents: Vec<i64> = param.shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
            indices
                .iter()
                .zip(row_major(&extents))
                .fold(Affine::constant(0), |sum, (index, stride)| sum.plus(&index.times(stride)))
        }
    }
}

/// `def` with `axis` and the next one as one axis.
fn merge(params: &[Param], def: &Def, axis: usize) -> Def {
    let rename = |form: &Affine| {
        Affine::new(
            form.constant,
            form.terms
                .iter()
                .filter(|&&(a, _)| a != axis)
                .map(|&(a, coefficient)| (if a > axis { a - 1 } else { a }, coefficient)),
        )
    };
    let mut axes = def.axes.clone();
    if axis + 1 < axes.len() {
        axes[axis] *= axes[axis + 1];
        axes.remove(axis + 1);
    }
    let pieces = def
        .pieces
        .iter()
        .map(|piece| {
            let mut domain: Vec<Range> = piece.domain.clone();
            let inner = domain.remove(axis + 1);
            if let (Some((_, outer)), Some((_, inner))) = (domain[axis].as_constant(), inner.as_constant()) {
                domain[axis] = Range::constant(0, outer * inner);
            }
            let nodes = piece
                .value
                .nodes
                .iter()
                .map(|node| ScalarNode {
                    op: match &node.op {
                        ScalarOp::Load(Source::Param(at), access) => {
                            let offset = rename(&flat(&params[*at], access));
                            let rank_one = params[*at].shape.len() == 1;
                            let access = match access {
                                Access::Gather(gather) => Access::Gather(Gather { offset, ..gather.clone() }),
                                Access::Axes(_) | Access::Flat(_) if rank_one => Access::Axes(vec![offset]),
                                Access::Axes(_) | Access::Flat(_) => Access::Flat(offset),
                            };
                            ScalarOp::Load(Source::Param(*at), access)
                        }
                        ScalarOp::Index(form) => ScalarOp::Index(rename(form)),
                        op @ (ScalarOp::Load(Source::Def(_) | Source::State(_), _)
                        | ScalarOp::Const(_)
                        | ScalarOp::Unary(..)
                        | ScalarOp::Binary(..)
                        | ScalarOp::Where(..)
                        | ScalarOp::Cast(_)) => op.clone(),
                    },
                    dtype: node.dtype,
                })
                .collect();
            Piece { domain, fold: piece.fold, depth: piece.depth, value: Scalar { nodes } }
        })
        .collect();
    Def { axes, pieces, ..def.clone() }
}
