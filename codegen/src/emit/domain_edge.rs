//! Sums that a function without a value for some arguments reads.
//!
//! A difference of products that is 0 where every product rounds may be below 0 where one does not: `np.sqrt(a * a - b * b)`
//! with a = b is 0, and NaN if a multiply-add computes the difference. So such sums are not contracted, unless they cannot
//! be negative: a sum of squares, say.

use moat_optimizer::form::scalar_tree::{ScalarNode, ScalarOp};
use moat_optimizer::nest::TileScalar;
use moat_optimizer::value::scalar::{BinaryOp, UnaryOp};

/// For each node of a value whether it is a sum that has to round its products.
pub(super) fn sums(value: &[TileScalar]) -> Vec<bool> {
    let mut read = vec![false; value.len()];
    for at in (0..value.len()).rev() {
        let TileScalar::Compute(ScalarNode { op, .. }) = &value[at] else { continue };
        match op {
            ScalarOp::Unary(UnaryOp::Sqrt | UnaryOp::Log, x) | ScalarOp::Binary(BinaryOp::Pow, x, _) => read[*x] = true,
            ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_)
            | ScalarOp::Load(..)
            | ScalarOp::Const(_)
            | ScalarOp::Index(_) => {}
        }
        if read[at] {
            op.operands().into_iter().for_each(|x| read[x] = true);
        }
    }
    if !read.contains(&true) {
        return read;
    }
    let positive = not_negative(value);
    let sum = |scalar: &TileScalar| match scalar {
        TileScalar::Compute(ScalarNode { op: ScalarOp::Binary(BinaryOp::Add, x, y), .. }) => {
            !(positive[*x] && positive[*y])
        }
        TileScalar::Compute(ScalarNode { op: ScalarOp::Binary(BinaryOp::Sub, ..), .. }) => true,
        TileScalar::Compute(_) | TileScalar::Load { .. } | TileScalar::Gather { .. } => false,
    };
    value.iter().zip(read).map(|(scalar, read)| read && sum(scalar)).collect()
}

/// For each node whether it is surely no negative number.
fn not_negative(value: &[TileScalar]) -> Vec<bool> {
    let mut known: Vec<bool> = Vec::with_capacity(value.len());
    for scalar in value {
        let TileScalar::Compute(ScalarNode { op, dtype }) = scalar else {
            known.push(false);
            continue;
        };
        known.push(match op {
            ScalarOp::Const(literal) => literal.at(*dtype).as_f64() >= 0.0,
            ScalarOp::Unary(UnaryOp::Abs | UnaryOp::Sqrt | UnaryOp::Exp, _) => true,
            ScalarOp::Binary(BinaryOp::Mul, x, y) => x == y || known[*x] && known[*y],
            ScalarOp::Binary(BinaryOp::Add | BinaryOp::Div | BinaryOp::Minimum, x, y) => known[*x] && known[*y],
            ScalarOp::Binary(BinaryOp::Maximum, x, y) => known[*x] || known[*y],
            ScalarOp::Where(_, x, y) => known[*x] && known[*y],
            ScalarOp::Cast(x) => known[*x],
            ScalarOp::Unary(..) | ScalarOp::Binary(..) | ScalarOp::Load(..) | ScalarOp::Index(_) => false,
        });
    }
    known
}
