//! Whether a program decides by what it computes.
//!
//! A discontinuous function (`floor`, a comparison, a conversion to integers, …) may give another value where the last bit of
//! its argument is another one. Input: a program. Output: whether such a function reads a float that products or sums were
//! computed for; then rules that regroup products are not for it, and only the order of sums and products is free.

use crate::program::expr::{Node, NodeId, Op, Program, Statement};
use crate::value::scalar::{BinaryOp, FoldOp};

/// Whether a discontinuous function reads, of floats, a product, a quotient or a sum, or what was computed from one.
pub(super) fn reads_computed(program: &Program) -> bool {
    let mut stored: Vec<Vec<NodeId>> = vec![Vec::new(); program.states.len()];
    values(&program.body, &mut stored);
    let decides = |node: &&Node| {
        let floats = node.args.iter().any(|&arg| program.nodes[arg].dtype.is_float());
        floats && jumps(node) && (node.args.len() != 2 || node.args[0] != node.args[1])
    };
    let mut open: Vec<NodeId> = program.nodes.iter().filter(decides).flat_map(|node| node.args.clone()).collect();
    let mut seen = vec![false; program.nodes.len()];
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        let node = &program.nodes[id];
        if node.dtype.is_float() && regroups(&node.op) {
            return true;
        }
        open.extend(&node.args);
        if let Op::State(at) = node.op {
            open.extend(stored.get(at).into_iter().flatten());
        }
    }
    false
}

/// The values that statements store to each state.
fn values(statements: &[Statement], stored: &mut [Vec<NodeId>]) {
    for statement in statements {
        match statement {
            Statement::Update { state, value, .. } => {
                if let Some(values) = stored.get_mut(*state) {
                    values.push(*value);
                }
            }
            Statement::Loop { body, .. } | Statement::If { body, .. } => values(body, stored),
        }
    }
}

/// Whether an operator of floats is discontinuous.
fn jumps(node: &Node) -> bool {
    match &node.op {
        Op::Unary(op) => op.is_discontinuous(),
        Op::Binary(op) | Op::Outer(op) => op.is_discontinuous(),
        Op::Cast => !node.dtype.is_float(),
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Section(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Where
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Einsum { .. }
        | Op::Gather { .. }
        | Op::Reduce { .. } => false,
    }
}

/// Whether rules that regroup products apply to an operator.
fn regroups(op: &Op) -> bool {
    match op {
        Op::Binary(op) | Op::Outer(op) => matches!(op, BinaryOp::Mul | BinaryOp::Div),
        Op::MatMul | Op::Dot | Op::Inner | Op::Einsum { .. } | Op::Trace { .. } => true,
        Op::Reduce { op, .. } => *op == FoldOp::Sum,
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Section(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Unary(_)
        | Op::Where
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Gather { .. } => false,
    }
}
