//! MoA notation: a [`NormalForm`] as text, and back.
//!
//! ```text
//! param A : f32⟨64 512⟩
//! param B : f32⟨512 32⟩
//! def out : f32⟨64 32⟩
//!   ⟨i<64 j<32⟩ψout = + red ⟨k<512⟩ : (⟨i k⟩ψA × ⟨k j⟩ψB)
//! result out
//! ```
//!
//! ⟨i k⟩ψA is an element, `(rav A)[…]` one of the ravel, ι(…) an index as a number, `1.0:f32` a
//! constant. A definition whose axes are refined digits of its shape's says `as ⟨digits⟩`; one
//! with several pieces has a line for each. Binary operators are always bracketed.
//!
//! [`print()`] is total; [`parse`] accepts all that it prints, and gives an equal form.

mod parse;
mod print;

pub use parse::{NotationError, parse};
pub use print::print;

use crate::form::scalar_tree::{Scalar, ScalarNode};
use crate::program::expr::Requirement;
use crate::value::scalar::{BinaryOp, FoldOp};
use std::collections::HashMap;

/// The deepest nesting of brackets that is read.
const MAX_DEPTH: usize = 200;
/// An expression as deep as this is printed under a name.
const NAMED_DEPTH: usize = 64;

/// The sign of a binary operator.
fn binary_sign(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "×",
        BinaryOp::Div => "÷",
        BinaryOp::FloorDiv => "//",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "**",
        BinaryOp::Minimum => "⌊",
        BinaryOp::Maximum => "⌈",
        BinaryOp::And => "∧",
        BinaryOp::Or => "∨",
        BinaryOp::Xor => "⊻",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::Eq => "=",
        BinaryOp::Ne => "≠",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "≤",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => "≥",
    }
}

/// The word before checks.
fn check_word(of: Requirement) -> &'static str {
    match of {
        Requirement::Index => "check",
        Requirement::Exponent => "check-exponent",
        Requirement::Divisor => "check-divisor",
        Requirement::Shift => "check-shift",
        Requirement::Domain => "check-domain",
    }
}

/// The sign before `red`.
fn fold_sign(op: FoldOp) -> &'static str {
    match op {
        FoldOp::Sum => "+",
        FoldOp::Prod => "×",
        FoldOp::Max => "⌈",
        FoldOp::Min => "⌊",
        FoldOp::All => "∧",
        FoldOp::Any => "∨",
    }
}

/// The expression with equal nodes joined and every operand right before its first user: the
/// order in which [`parse`] makes the nodes.
#[must_use]
pub fn canonical(scalar: &Scalar) -> Scalar {
    let mut kept: Vec<ScalarNode> = Vec::new();
    let mut known: HashMap<ScalarNode, usize> = HashMap::new();
    let mut place: Vec<Option<usize>> = vec![None; scalar.nodes.len()];
    let Some(last) = scalar.nodes.len().checked_sub(1) else { return scalar.clone() };
    let mut stack = vec![last];
    while let Some(&at) = stack.last() {
        let node = &scalar.nodes[at];
        match node.op.operands().into_iter().find(|&operand| place[operand].is_none()) {
            Some(open) => stack.push(open),
            None => {
                stack.pop();
                if place[at].is_none() {
                    let moved = ScalarNode { op: node.op.renumbered(|x| place[x].unwrap_or(x)), dtype: node.dtype };
                    place[at] = Some(*known.entry(moved).or_insert_with_key(|moved| {
                        kept.push(moved.clone());
                        kept.len() - 1
                    }));
                }
            }
        }
    }
    Scalar { nodes: kept }
}
