//! The verifier refuses a program as soon as one node contradicts its operator's definition.

use moat_optimizer::dtype::{DType, Literal};
use moat_optimizer::expr::{Op, Program};
use moat_optimizer::expr_verify::verify;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::scalar::BinaryOp;

const SOURCE: &str = "
def f(A: f32[3, 4], B: f32[4, 3]):
    return (A @ B)[::2] + 1, A.sum(0), np.concatenate([A, A], 1).T
";

fn program() -> Program {
    let source = format!("import numpy as np{SOURCE}");
    parse("case.py", &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}")).program
}

/// The verifier's answer to the program after a change.
fn check(change: impl FnOnce(&mut Program)) -> String {
    let mut program = program();
    change(&mut program);
    verify(&program).expect_err("the changed program is not well-formed").to_string()
}

/// The first node whose operator satisfies a predicate.
fn node(program: &Program, is: impl Fn(&Op) -> bool) -> usize {
    program.nodes.iter().position(|node| is(&node.op)).expect("the program has such a node")
}

#[test]
fn corrupted_programs_are_refused() {
    assert_eq!(verify(&program()), Ok(()));
    let product = |program: &Program| node(program, |op| *op == Op::MatMul);
    let sum = |program: &Program| node(program, |op| matches!(op, Op::Reduce { .. }));
    let answers = [
        check(|p| p.roots.clear()),
        check(|p| p.roots[0] = p.nodes.len()),
        check(|p| p.returns_tuple = false),
        check(|p| p.params[1].shape[0] = 5),
        check(|p| p.params[0].dtype = DType::F64),
        check(|p| p.nodes.swap(0, 4)),
        check(|p| {
            let at = product(p);
            p.nodes[at].args.swap(0, 1);
        }),
        check(|p| {
            let at = product(p);
            p.nodes[at].args.pop();
        }),
        check(|p| {
            let at = sum(p);
            p.nodes[at].shape = vec![3];
        }),
        check(|p| {
            let at = sum(p);
            p.nodes[at].dtype = DType::F64;
        }),
        check(|p| {
            let at = node(p, |op| matches!(op, Op::Slice(_)));
            if let Op::Slice(slices) = &mut p.nodes[at].op {
                slices[0].step = 3;
            }
        }),
        check(|p| {
            let at = node(p, |op| *op == Op::Broadcast);
            p.nodes[at].shape = vec![2, 4];
        }),
        check(|p| {
            let at = node(p, |op| matches!(op, Op::Const(_)));
            p.nodes[at].op = Op::Const(Literal::Int(1));
        }),
        check(|p| {
            let at = node(p, |op| matches!(op, Op::Const(_)));
            p.nodes[at].op = Op::Const(Literal::float(0.1));
        }),
        check(|p| {
            let at = node(p, |op| *op == Op::Binary(BinaryOp::Add));
            p.nodes[at].op = Op::Binary(BinaryOp::And);
        }),
        check(|p| {
            let at = node(p, |op| matches!(op, Op::Transpose(_)));
            p.nodes[at].op = Op::Transpose(vec![0, 0]);
        }),
        check(|p| {
            let at = node(p, |op| matches!(op, Op::Concat { .. }));
            p.nodes[at].op = Op::Concat { axis: 2 };
        }),
    ];
    let text = answers.join("\n");
    insta::assert_snapshot!(text);
}
