//! What forms and terms cost: the guide of extraction. Measured time decides later.

use super::term::Term;
use crate::form::context::{bounding_box, contexts};
use crate::form::normal_form::{NormalForm, Piece};
use crate::form::scalar_tree::{Access, ScalarOp, Source};
use crate::integer::count::points;
use crate::integer::range::Range;
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryClass, BinaryOp, UnaryOp};
use std::collections::BTreeMap;

/// Ranks normal forms before anything is measured. A learned cost takes the place of
/// [`Roofline`] without a change elsewhere.
pub trait ExtractionCost {
    /// The cost of a form; lower is better; finite.
    fn cost(&self, form: &NormalForm) -> f64;
}

/// Weighted operations plus weighted memory traffic, every definition computed once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofline {
    /// The cost of one byte moved, in additions. Small: most of it is served by caches.
    pub byte: f64,
}

impl Default for Roofline {
    fn default() -> Roofline {
        Roofline { byte: 0.5 }
    }
}

impl ExtractionCost for Roofline {
    fn cost(&self, form: &NormalForm) -> f64 {
        let mut operations = 0.0;
        for (piece, times) in pieces(form) {
            let fold = if piece.fold.is_some() { 1.0 } else { 0.0 };
            operations += times * volume(&piece) * (piece_weight(&piece) + fold);
        }
        operations + self.byte * bytes_moved(form) as f64
    }
}

/// Scalar operations of a form, each definition computed once at every point: one for each
/// operator, comparison, conversion and fold step.
pub fn flops(form: &NormalForm) -> u64 {
    let mut total = 0.0;
    for (piece, times) in pieces(form) {
        let operations = piece.value.nodes.iter().filter(|node| match node.op {
            ScalarOp::Unary(..) | ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => true,
            ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) => false,
        });
        let each = operations.count() + usize::from(piece.fold.is_some());
        total += times * volume(&piece) * each as f64;
    }
    total as u64
}

/// Bytes that a form moves if every definition is stored and each reads each of its sources once.
pub fn bytes_moved(form: &NormalForm) -> u64 {
    let mut total = 0.0;
    for def in &form.defs {
        total += (def.size() * def.dtype.bytes()) as f64;
        for piece in &def.pieces {
            let mut read: BTreeMap<Source, f64> = BTreeMap::new();
            for node in &piece.value.nodes {
                if let ScalarOp::Load(source, access) = &node.op {
                    let bytes = node.dtype.bytes() as f64;
                    let size = form.source_extents(*source).map_or(0.0, |e| e.iter().product::<usize>() as f64);
                    let points = reads(piece, access).min(size);
                    *read.entry(*source).or_default() += points * bytes;
                }
            }
            for (source, bytes) in read {
                let elements = form.source_extents(source).map_or(0, |e| e.iter().product::<usize>());
                let size = (elements * form.source_dtype(source).map_or(0, DType::bytes)) as f64;
                total += bytes.min(size);
            }
        }
    }
    total as u64
}

/// Number of different points that an access reads, at most.
fn reads(piece: &Piece, access: &Access) -> f64 {
    let rows: &[crate::integer::affine::Affine] = match access {
        Access::Axes(rows) => rows,
        Access::Flat(row) => std::slice::from_ref(row),
        // As many as there are points, for all that is known.
        Access::Gather(_) => return volume(piece),
    };
    let used: Vec<usize> =
        (0..piece.domain.len()).filter(|&axis| rows.iter().any(|row| row.coefficient(axis) != 0)).collect();
    let known = |form: &crate::integer::affine::Affine| form.terms.iter().all(|term| used.contains(&term.0));
    let place =
        |axis: usize| crate::integer::affine::Affine::variable(used.iter().position(|&u| u == axis).unwrap_or(axis));
    let bounds = |axis: usize| piece.domain[axis].lo.iter().chain(&piece.domain[axis].hi);
    if volume(piece) == 0.0 {
        return 0.0;
    }
    if used.iter().all(|&axis| bounds(axis).all(known)) {
        let moved =
            |forms: &[crate::integer::affine::Affine]| forms.iter().map(|form| form.substitute(place)).collect();
        let domain: Vec<Range> = used
            .iter()
            .map(|&axis| Range { lo: moved(&piece.domain[axis].lo), hi: moved(&piece.domain[axis].hi) })
            .collect();
        return points(&domain);
    }
    let boxed = bounding_box(&piece.domain, &[]).unwrap_or_default();
    used.iter().filter_map(|&axis| boxed.get(axis)).map(|&(low, high)| (high - low + 1) as f64).product()
}

/// Every piece, in the middle of the loops around it, and how often it is computed.
fn pieces(form: &NormalForm) -> impl Iterator<Item = (Piece, f64)> + '_ {
    form.defs.iter().zip(contexts(form)).flat_map(|(def, context)| {
        let executions = context.executions();
        def.pieces
            .iter()
            .map(move |piece| (Piece { domain: context.typical(&piece.domain), ..piece.clone() }, executions))
            .collect::<Vec<_>>()
    })
}

/// What the expression of a piece costs at one point, in additions.
pub(super) fn piece_weight(piece: &Piece) -> f64 {
    piece.value.nodes.iter().map(|node| scalar_weight(&node.op, node.dtype)).sum()
}

/// Number of points of a piece, folds included; where a loop's variable bounds an axis, at its 0.
pub(super) fn volume(piece: &Piece) -> f64 {
    points(&piece.domain)
}

fn scalar_weight(op: &ScalarOp, dtype: DType) -> f64 {
    match op {
        ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) => 0.0,
        ScalarOp::Unary(op, _) => unary_weight(*op),
        ScalarOp::Binary(op, ..) => binary_weight(*op, dtype),
        ScalarOp::Where(..) | ScalarOp::Cast(_) => 1.0,
    }
}

/// The cost of one element of an element-wise term, in additions.
pub(super) fn weight_of(term: &Term, dtype: DType) -> f64 {
    match term {
        Term::Map1(op, _) => unary_weight(*op),
        Term::Map2(op, ..) => binary_weight(*op, dtype),
        Term::Select(..) | Term::Cast(_) => 1.0,
        // Bounding the index, and a load that nothing foresees.
        Term::Pick(..) => 4.0,
        Term::Contract(spec, args) => (args.len().max(2) - 1) as f64 * binary_weight(spec.product, dtype),
        Term::Input(_)
        | Term::Const(_)
        | Term::Iota(_)
        | Term::Table(_)
        | Term::View(..)
        | Term::Cat { .. }
        | Term::Reshape(_) => 0.0,
    }
}

fn unary_weight(op: UnaryOp) -> f64 {
    match op {
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Floor => 1.0,
        UnaryOp::Sign => 2.0,
        UnaryOp::Sqrt => 6.0,
        UnaryOp::Exp => 12.0,
        UnaryOp::Log | UnaryOp::Sin | UnaryOp::Cos => 16.0,
        UnaryOp::Tanh | UnaryOp::Erf => 20.0,
    }
}

fn binary_weight(op: BinaryOp, dtype: DType) -> f64 {
    match op.class() {
        BinaryClass::Sum
        | BinaryClass::Product
        | BinaryClass::Extremum
        | BinaryClass::Bitwise
        | BinaryClass::Comparison => 1.0,
        BinaryClass::Quotient => 4.0,
        BinaryClass::Division if dtype.is_float() => 8.0,
        BinaryClass::Division => 20.0,
        BinaryClass::Power => 30.0,
    }
}
