//! A scalar expression on a part of its domain: what is certain there, and what is then unused,
//! goes.

use super::Used;
use super::condition::{Condition, masks, truths};
use super::producer::Producers;
use crate::form::normal_form::Piece;
use crate::form::notation::canonical;
use crate::form::scalar_tree::{Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::region::Region;
use crate::normalize::scalars::fold_constant;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};

/// The piece's value on `region`; unchanged if nothing is certain there.
pub(super) fn simplify(piece: &Piece, region: &Region, producers: &Producers<'_>, used: &mut Used<'_>) -> Scalar {
    let value = &piece.value;
    let truths = truths(&value.nodes, region);
    let decided: Vec<Option<bool>> = truths.iter().map(|truth| known(&truth.on(region))).collect();
    let masked = masks(&value.nodes, &truths, &|source, access: &_| producers.masked(source, access));
    let masked: Vec<bool> = masked.iter().map(|mask| known(&mask.on(region)) == Some(true)).collect();
    let sums = piece.fold == Some(FoldOp::Sum);
    let mut nodes: Vec<ScalarNode> = Vec::with_capacity(value.nodes.len());
    let mut place: Vec<usize> = Vec::with_capacity(value.nodes.len());
    let mut changed = false;
    for (at, node) in value.nodes.iter().enumerate() {
        let is_constant = matches!(node.op, ScalarOp::Const(_));
        let alias = match (&node.op, decided[at]) {
            (ScalarOp::Where(c, x, y), _) => {
                if place[*x] == place[*y] {
                    Some(place[*x])
                } else {
                    let branch = constant(&nodes[place[*c]]).map(|value| value.as_i64() != Some(0));
                    branch.map(|then| if then { place[*x] } else { place[*y] })
                }
            }
            (ScalarOp::Binary(BinaryOp::Mul, x, y), _) if used.may("domain/one") => {
                let is_one = |x: usize| constant(&nodes[place[x]]).is_some_and(|value| value.as_f64() == 1.0);
                let other = if is_one(*x) { Some(place[*y]) } else { is_one(*y).then(|| place[*x]) };
                if other.is_some() {
                    used.by("domain/one");
                }
                other
            }
            (
                ScalarOp::Load(..)
                | ScalarOp::Const(_)
                | ScalarOp::Index(_)
                | ScalarOp::Unary(..)
                | ScalarOp::Binary(..)
                | ScalarOp::Cast(_),
                _,
            ) => None,
        };
        if let Some(alias) = alias {
            place.push(alias);
            changed = true;
            continue;
        }
        let replaced = match (&node.op, decided[at]) {
            (_, Some(truth)) if !is_constant && used.may("domain/decide") => {
                used.by("domain/decide");
                Some(Literal::Bool(truth))
            }
            (ScalarOp::Load(Source::Def(def), access), _) if used.may("domain/producer") => {
                let value = producers.constant(*def, access, region);
                if value.is_some() {
                    used.by("domain/producer");
                }
                value
            }
            (ScalarOp::Binary(BinaryOp::Mul, x, y), _)
                if used.may_annihilate(node.dtype) || sums && used.may_skip(node.dtype) =>
            {
                let all = used.may_annihilate(node.dtype);
                let is_zero = |x: usize| constant(&nodes[place[x]]).is_some_and(|value| value.as_f64() == 0.0);
                let zero = |x: usize| all && is_zero(x) || sums && masked[x];
                let annihilated = zero(*x) || zero(*y);
                if annihilated {
                    used.by("domain/annihilate");
                }
                annihilated.then(|| Literal::Int(0).at(node.dtype))
            }
            (
                ScalarOp::Load(..)
                | ScalarOp::Const(_)
                | ScalarOp::Index(_)
                | ScalarOp::Unary(..)
                | ScalarOp::Binary(..)
                | ScalarOp::Where(..)
                | ScalarOp::Cast(_),
                _,
            ) => None,
        };
        changed |= replaced.is_some();
        let op = match replaced {
            Some(value) => ScalarOp::Const(value),
            None => fold_constant(node.op.renumbered(|x| place[x]), node.dtype, &nodes),
        };
        nodes.push(ScalarNode { op, dtype: node.dtype });
        place.push(nodes.len() - 1);
    }
    if !changed {
        return value.clone();
    }
    nodes.truncate(place.last().map_or(0, |last| last + 1));
    canonical(&Scalar { nodes })
}

/// The value of a constant expression.
pub(super) fn constant_of(value: &Scalar) -> Option<Literal> {
    value.nodes.last().and_then(constant)
}

/// An expression that is a constant.
pub(super) fn constant_value(value: Literal, dtype: DType) -> Scalar {
    Scalar { nodes: vec![ScalarNode { op: ScalarOp::Const(value.at(dtype)), dtype }] }
}

fn constant(node: &ScalarNode) -> Option<Literal> {
    match &node.op {
        ScalarOp::Const(value) => Some(*value),
        ScalarOp::Load(..)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    }
}

fn known(condition: &Condition) -> Option<bool> {
    match condition {
        Condition::Known(truth) => Some(*truth),
        Condition::Positive(_) | Condition::All(_) | Condition::Any(_) | Condition::Unknown => None,
    }
}
