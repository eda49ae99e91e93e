//! The scalar operations of a program as it is written: what `work_reduction` compares the executed nest with.
//!
//! Each operator on whole arrays counts what its definition says, by the conventions of `moat_optimizer::work`: one for
//! each arithmetic operator, function and fold step, none for views, conversions, selections and comparisons.

use moat_optimizer::dtype::DType;
use moat_optimizer::expr::{Node, Op, Program};
use std::collections::BTreeMap;

/// Scalar operations of all nodes, each computed once and in full.
pub fn flops(program: &Program) -> u64 {
    program.nodes.iter().map(|node| node_flops(program, node)).sum()
}

fn node_flops(program: &Program, node: &Node) -> u64 {
    let size = node.size() as u64;
    let argument = |at: usize| node.args.get(at).map(|&arg| &program.nodes[arg]);
    match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Outer(_) => {
            if node.dtype == DType::Bool {
                0
            } else {
                size
            }
        }
        Op::MatMul | Op::Dot | Op::Inner => {
            let terms = argument(0).and_then(|left| left.shape.last()).copied().unwrap_or(1) as u64;
            2 * size * terms
        }
        Op::Einsum { inputs, output } => {
            let shapes = node.args.iter().map(|&arg| &program.nodes[arg].shape);
            let mut extents: BTreeMap<usize, u64> = BTreeMap::new();
            for (labels, shape) in inputs.iter().zip(shapes) {
                for (&label, &extent) in labels.iter().zip(shape) {
                    let known = extents.entry(label).or_insert(1);
                    *known = (*known).max(extent as u64);
                }
            }
            let folds = u64::from(extents.keys().any(|label| !output.contains(label)));
            extents.values().product::<u64>() * (inputs.len().saturating_sub(1) as u64 + folds)
        }
        Op::Reduce { .. } => argument(0).map_or(0, |of| of.size() as u64),
        Op::Trace { offset } => {
            let length = argument(0).map_or(0, |of| diagonal(&of.shape, *offset));
            size * length
        }
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Section(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
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
        | Op::Triu { .. } => 0,
    }
}

/// Length of a diagonal of the first two axes.
fn diagonal(shape: &[usize], offset: i64) -> u64 {
    let (Some(&rows), Some(&columns)) = (shape.first(), shape.get(1)) else { return 0 };
    let cut = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let length =
        if offset >= 0 { rows.min(columns.saturating_sub(cut)) } else { columns.min(rows.saturating_sub(cut)) };
    length as u64
}

#[cfg(test)]
mod tests {
    use super::flops;
    use moat_optimizer::frontend::{ParseOptions, parse};

    fn count(body: &str) -> u64 {
        let source = format!("import numpy as np\ndef f(A: f32[4, 6], B: f32[6, 4], v: f32[4]):\n    return {body}\n");
        flops(&parse("f.py", &source, &ParseOptions::default()).unwrap().program)
    }

    #[test]
    fn operators_count_what_their_definitions_say() {
        assert_eq!(count("A @ B"), 2 * 4 * 6 * 4);
        assert_eq!(count("A @ B @ v"), 2 * 4 * 6 * 4 + 2 * 4 * 4);
        assert_eq!(count("np.trace(A @ B)"), 2 * 4 * 6 * 4 + 4);
        assert_eq!(count("np.exp(A) + B.T"), 2 * 24);
        assert_eq!(count("A.sum(1)"), 24);
        assert_eq!(count("np.einsum('ij,ji->', A, B)"), 2 * 24);
        assert_eq!(count("A.T[::-1]"), 0);
        assert_eq!(count("A > 0"), 0);
    }
}
