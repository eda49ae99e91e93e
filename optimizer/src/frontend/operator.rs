//! The scalar operators that Python's operators stand for on arrays.
//!
//! Input: an operator of the syntax tree. Output: the element-wise function.

use crate::value::scalar::BinaryOp;
use rustpython_ruff_python_ast::Operator;

/// The element-wise function of an operator.
pub(super) fn ufunc(op: Operator) -> BinaryOp {
    match op {
        Operator::Add => BinaryOp::Add,
        Operator::Sub => BinaryOp::Sub,
        Operator::Mult | Operator::MatMult => BinaryOp::Mul,
        Operator::Div => BinaryOp::Div,
        Operator::Mod => BinaryOp::Mod,
        Operator::Pow => BinaryOp::Pow,
        Operator::LShift => BinaryOp::Shl,
        Operator::RShift => BinaryOp::Shr,
        Operator::BitOr => BinaryOp::Or,
        Operator::BitXor => BinaryOp::Xor,
        Operator::BitAnd => BinaryOp::And,
        Operator::FloorDiv => BinaryOp::FloorDiv,
    }
}
