//! The verifier refuses a program as soon as one node contradicts its operator's definition.

use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::oracle::inputs::{SplitMix64, random};
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::{Op, Program, SectionAxis, Statement};
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::BinaryOp;

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

const LOOPS: &str = "
def f(A: f64[5, 5], x: f64[5]):
    total = 0.0
    for k in range(1, 5):
        A[k:, k - 1] -= A[k:, :k] @ x[k - 1 :: -1]
        if k > 2:
            total = total + A[:k, k].max() * k
    return total
";

fn loop_program() -> Program {
    let source = format!("import numpy as np{LOOPS}");
    parse("case.py", &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}")).program
}

/// The loop of [`loop_program`], and its body.
fn the_loop(program: &mut Program) -> &mut Statement {
    program.body.iter_mut().find(|body| matches!(body, Statement::Loop { .. })).expect("the program has a loop")
}

fn loop_body(program: &mut Program) -> &mut Vec<Statement> {
    match the_loop(program) {
        Statement::Loop { body, .. } => body,
        Statement::Update { .. } | Statement::If { .. } => panic!("no loop"),
    }
}

#[test]
fn corrupted_statements_are_refused() {
    assert_eq!(verify(&loop_program()), Ok(()));
    let check = |change: &dyn Fn(&mut Program)| {
        let mut program = loop_program();
        change(&mut program);
        verify(&program).expect_err("the changed program is not well-formed").to_string()
    };
    let update = |program: &mut Program, change: &dyn Fn(&mut usize, &mut Vec<SectionAxis>, &mut usize)| {
        match loop_body(program).first_mut() {
            Some(Statement::Update { state, region, value, .. }) => change(state, region, value),
            Some(Statement::Loop { .. } | Statement::If { .. }) | None => panic!("no update"),
        }
    };
    let live = |program: &Program| {
        program.nodes.iter().position(|node| !node.live.is_empty()).expect("the program has a live extent")
    };
    let answers = [
        check(&|p| p.mutated.clear()),
        check(&|p| p.mutated.push(7)),
        check(&|p| p.states[1].name = p.states[0].name.clone()),
        check(&|p| p.states[0].shape = vec![5, 4]),
        check(&|p| update(p, &|state, _, _| *state = 9)),
        check(&|p| update(p, &|_, _, value| *value = 1000)),
        check(&|p| update(p, &|_, _, value| *value = 0)),
        check(&|p| update(p, &|_, region, _| drop(region.pop()))),
        check(&|p| update(p, &|_, region, _| region[0] = SectionAxis::At(Affine::variable(0)))),
        check(&|p| update(p, &|_, region, _| region[1] = SectionAxis::At(Affine::variable(0).offset(1)))),
        check(&|p| update(p, &|_, region, _| region[1] = SectionAxis::At(Affine::variable(1)))),
        check(&|p| update(p, &|_, region, _| region[1] = SectionAxis::At(Affine::constant(i64::MAX)))),
        check(&|p| update(p, &|_, region, _| region[0] = SectionAxis::Slice { start: Affine::variable(0), step: 0 })),
        check(&|p| {
            update(p, &|_, region, _| region[0] = SectionAxis::Slice { start: Affine::variable(0).offset(1), step: 1 })
        }),
        check(&|p| {
            if let Statement::Loop { var, .. } = the_loop(p) {
                *var = 1;
            }
        }),
        check(&|p| {
            if let Statement::Loop { hi, .. } = the_loop(p) {
                *hi = Affine::variable(0);
            }
        }),
        check(&|p| {
            if let Statement::Loop { lo, .. } = the_loop(p) {
                *lo = Affine::constant(0);
            }
        }),
        check(&|p| {
            if let Some(Statement::If { conditions, .. }) = loop_body(p).last_mut() {
                conditions[0] = Affine::variable(3);
            }
        }),
        check(&|p| {
            let at = live(p);
            p.nodes[at].live.push(Affine::constant(1));
        }),
        check(&|p| {
            let at = live(p);
            p.nodes[at].live[0] = p.nodes[at].live[0].offset(1);
        }),
        check(&|p| {
            let at = live(p);
            p.nodes[at].shape[0] = 2;
        }),
        check(&|p| p.roots[0] = node(p, |op| matches!(op, Op::LoopIndex(_)))),
        check(&|p| {
            let index = node(p, |op| matches!(op, Op::LoopIndex(_)));
            p.nodes[index].dtype = DType::F64;
        }),
    ];
    let text = answers.join("\n");
    insta::assert_snapshot!(text);
}

/// Programs with random faults are refused, or run: nothing panics.
#[test]
fn faults_never_panic() {
    let original = loop_program();
    let inputs: Vec<_> = original.params.iter().map(|param| random(param, 1).expect("a fitting hint")).collect();
    let mut draw = SplitMix64::new(11);
    let mut below = |n: usize| draw.next_below(n as u64) as usize;
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut program = original.clone();
        for _ in 0..1 + below(2) {
            let forms = [
                Affine::constant(below(8) as i64 - 2),
                Affine::variable(below(2)),
                Affine::variable(0).times(below(5) as i64 - 2).offset(below(5) as i64 - 2),
                Affine::constant(i64::MIN + below(2) as i64),
                Affine { constant: i64::MAX, terms: vec![(0, i64::MAX), (0, 0), (usize::MAX, i64::MIN)] },
            ];
            let form = forms[below(forms.len())].clone();
            let nodes = program.nodes.len();
            let at = below(nodes);
            match below(9) {
                0 => program.nodes[at].args = (0..below(3)).map(|_| below(nodes + 1)).collect(),
                1 => program.nodes[at].shape = (0..below(3)).map(|_| [0, 1, 5, usize::MAX][below(4)]).collect(),
                2 => program.nodes[at].live = (0..below(3)).map(|_| form.clone()).collect(),
                3 => program.nodes[at].op = program.nodes[below(nodes)].op.clone(),
                4 => program.nodes[at].op = Op::Section(vec![SectionAxis::At(form.clone()); below(3)]),
                5 => {
                    let step = [0, 1, -1, i64::MIN][below(4)];
                    program.nodes[at].op = Op::Section(vec![SectionAxis::Slice { start: form, step }; below(3)]);
                }
                6 => program.roots = (0..below(4)).map(|_| below(nodes + 1)).collect(),
                7 => match the_loop(&mut program) {
                    Statement::Loop { lo, hi, var, .. } => match below(3) {
                        0 => *lo = form,
                        1 => *hi = form,
                        _ => *var = below(3),
                    },
                    Statement::Update { .. } | Statement::If { .. } => {}
                },
                _ => {
                    let body = loop_body(&mut program);
                    let chosen = below(body.len());
                    match &mut body[chosen] {
                        Statement::Update { state, region, value, .. } => match below(3) {
                            0 => *state = below(5),
                            1 => *value = below(nodes + 1),
                            _ => *region = vec![SectionAxis::At(form); below(3)],
                        },
                        Statement::If { conditions, .. } => *conditions = vec![form],
                        Statement::Loop { .. } => {}
                    }
                }
            }
        }
        if verify(&program).is_ok() {
            accepted += 1;
            interpret(&program, &inputs, Numerics::Reassociate).expect("a verified program");
        }
    }
    assert!(accepted > 100, "{accepted} programs were accepted");
}
