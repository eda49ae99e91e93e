//! Values that join a term to an element of a state: what a loop adds up element by element.

use crate::form::scalar_tree::{Access, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, FoldOp};

/// How a value joins a term to an element of a state, how two terms are taken together, and the term's node.
pub(crate) fn joined(value: &Scalar, of: usize, element: &[Affine]) -> Option<(BinaryOp, FoldOp, usize)> {
    let &ScalarNode { op: ScalarOp::Binary(op, left, right), dtype } = value.nodes.last()? else { return None };
    let is_element = |at: usize| {
        matches!(&value.nodes[at].op, ScalarOp::Load(Source::State(state), Access::Axes(index))
            if *state == of && index == element)
    };
    // Of integers `and` and `or` are bitwise, which no fold is.
    let logical = |fold: &FoldOp| matches!(fold, FoldOp::All | FoldOp::Any);
    let folds = FoldOp::ALL.into_iter().filter(|fold| dtype == DType::Bool || !logical(fold));
    let combines = folds.into_iter().find(|fold| fold.combine() == op);
    match (combines, op) {
        (Some(fold), _) if is_element(left) => Some((op, fold, right)),
        (Some(fold), _) if is_element(right) => Some((op, fold, left)),
        (None, BinaryOp::Sub) if is_element(left) => Some((op, FoldOp::Sum, right)),
        (Some(_) | None, _) => None,
    }
}
