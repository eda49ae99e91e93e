//! The oracle's bounds accept what the numerics allow and nothing else; the evaluators and
//! verifiers of forms and nests agree with each other on the sample forms.

use moat_optimizer::apply::lower::lower;
use moat_optimizer::form::evaluate as evaluate_form;
use moat_optimizer::form::verify::{FormError, verify_form};
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::evaluate::NestRunError;
use moat_optimizer::nest::verify::{NestError, verify_nest};
use moat_optimizer::nest::{BufferRole, LoopKind, LoopNest, Node as NestNode, evaluate as evaluate_nest};
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::{InterpretError, Mismatch, interpret};
use moat_optimizer::program::expr::{Node, Op, Param, Program, Span, SumOrder};
use moat_optimizer::program::verify::VerifyError;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_tests::forms;

/// Builds programs node by node.
struct Build(Program);

impl Build {
    fn new(params: &[(&[usize], DType)]) -> Build {
        let mut build = Build(Program::default());
        for (index, (shape, dtype)) in params.iter().enumerate() {
            let name = format!("p{index}");
            build.0.params.push(Param { name, dtype: *dtype, shape: shape.to_vec(), hint: Default::default() });
            build.add(Op::Input(index), &[], shape, *dtype);
        }
        build
    }

    fn add(&mut self, op: Op, args: &[usize], shape: &[usize], dtype: DType) -> usize {
        self.0.nodes.push(Node {
            op,
            args: args.to_vec(),
            shape: shape.to_vec(),
            live: vec![],
            dtype,
            span: Span::default(),
        });
        self.0.roots = vec![self.0.nodes.len() - 1];
        self.0.nodes.len() - 1
    }
}

fn f32s(values: &[f32]) -> Tensor {
    Tensor::new(&[values.len()], Data::F32(values.to_vec())).expect("a row")
}

#[test]
fn a_sum_in_another_order_is_accepted_and_a_wrong_one_is_not() {
    let mut build = Build::new(&[(&[1000], DType::F32)]);
    build.add(Op::Reduce { op: FoldOp::Sum, axes: vec![0], order: SumOrder::default() }, &[0], &[], DType::F32);
    let values: Vec<f32> = (0..1000u16).map(|i| (f32::from(i) * 0.37).sin()).collect();
    let reference = &interpret(&build.0, &[f32s(&values)], Numerics::Reassociate).expect("a program")[0];
    let scalar = |x: f32| Tensor::new(&[], Data::F32(vec![x])).expect("a scalar");
    let forwards: f32 = values.iter().sum();
    let backwards: f32 = values.iter().rev().sum();
    assert!(reference.check(&scalar(forwards)).is_ok() && reference.check(&scalar(backwards)).is_ok());
    let without_one: f32 = values[1..].iter().sum::<f32>() - values[7];
    assert!(matches!(reference.check(&scalar(without_one)), Err(Mismatch::Element { index: 0, .. })));
    assert!(matches!(reference.check(&scalar(f32::NAN)), Err(Mismatch::Element { .. })));
    assert!(matches!(reference.check(&Tensor::zeros(DType::F64, &[])), Err(Mismatch::Type { .. })));
    // In exact numerics only the order of the source will do.
    let exact = &interpret(&build.0, &[f32s(&values)], Numerics::Exact).expect("a program")[0];
    let in_order = values.iter().fold(0.0f32, |sum, x| sum + x);
    assert_eq!(exact.check(&scalar(in_order)), Ok(0.0));
    assert!(exact.check(&scalar(in_order + in_order.abs() * f32::EPSILON)).is_err());
}

/// The two-pass variance bounds its own error, and the one-pass rewrite's cancellation exceeds it:
/// accepted only where the numerics say so.
#[test]
fn cancellation_that_the_source_does_not_have_is_caught() {
    let n = 256usize;
    let mut build = Build::new(&[(&[n], DType::F32)]);
    let sum = Op::Reduce { op: FoldOp::Sum, axes: vec![0], order: SumOrder::default() };
    let total = build.add(sum.clone(), &[0], &[], DType::F32);
    let count = build.add(Op::Const(Literal::float(256.0)), &[], &[], DType::F32);
    let mean = build.add(Op::Binary(BinaryOp::Div), &[total, count], &[], DType::F32);
    let mean = build.add(Op::Broadcast, &[mean], &[n], DType::F32);
    let deviation = build.add(Op::Binary(BinaryOp::Sub), &[0, mean], &[n], DType::F32);
    let square = build.add(Op::Binary(BinaryOp::Mul), &[deviation, deviation], &[n], DType::F32);
    let squares = build.add(sum, &[square], &[], DType::F32);
    build.add(Op::Binary(BinaryOp::Div), &[squares, count], &[], DType::F32);
    let values: Vec<f32> = (0..256u16).map(|i| 1000.0 + (f32::from(i) * 0.7).sin()).collect();
    let two_pass = {
        let mean = values.iter().sum::<f32>() / 256.0;
        values.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 256.0
    };
    let one_pass = {
        let mean = values.iter().sum::<f32>() / 256.0;
        values.iter().map(|x| x * x).sum::<f32>() / 256.0 - mean * mean
    };
    let check = |numerics, x: f32| {
        let reference = interpret(&build.0, &[f32s(&values)], numerics).expect("a program").remove(0);
        reference.check(&Tensor::new(&[], Data::F32(vec![x])).expect("a scalar")).is_ok()
    };
    assert!(check(Numerics::Reassociate, two_pass));
    assert!(!check(Numerics::Reassociate, one_pass), "{one_pass} for {two_pass}");
    assert!(check(Numerics::Algebraic, one_pass));
}

/// (A·B)·v as A·(B·v), with a cancellation in A·B that the second order does not have.
#[test]
fn products_may_be_reassociated() {
    let (m, k, n) = (4, 3, 400);
    let mut build = Build::new(&[(&[m, k], DType::F32), (&[k, n], DType::F32), (&[n], DType::F32)]);
    let product = build.add(Op::MatMul, &[0, 1], &[m, n], DType::F32);
    build.add(Op::MatMul, &[product, 2], &[m], DType::F32);
    let draw = |index: usize| random(&build.0.params[index], 3).expect("a fitting hint");
    let (mut a, b, v) = (draw(0), draw(1), draw(2));
    for row in 0..m {
        let rest = -a.get_f64(row * k) - a.get_f64(row * k + 1);
        a.set(row * k + 2, Literal::float(rest));
    }
    let other = {
        let single = |t: &Tensor, at: usize| t.get_f64(at) as f32;
        let inner: Vec<f32> = (0..k).map(|p| (0..n).map(|j| single(&b, p * n + j) * single(&v, j)).sum()).collect();
        (0..m).map(|i| (0..k).map(|p| single(&a, i * k + p) * inner[p]).sum()).collect::<Vec<f32>>()
    };
    let reference = &interpret(&build.0, &[a, b, v], Numerics::Reassociate).expect("a program")[0];
    assert!(reference.check(&f32s(&other)).is_ok());
}

/// The bound of a conversion to f32 was that of its argument alone where the argument is a number of f32. But the kernel
/// converts what it has, which is beside that number and may be rounded to another one.
#[test]
fn a_conversion_rounds_what_the_kernel_has() {
    let mut build = Build::new(&[(&[1], DType::F32), (&[1], DType::F64)]);
    let square = build.add(Op::Binary(BinaryOp::Mul), &[0, 0], &[1], DType::F32);
    let wide = build.add(Op::Cast, &[square], &[1], DType::F64);
    let sum = build.add(Op::Binary(BinaryOp::Add), &[wide, 1], &[1], DType::F64);
    build.add(Op::Cast, &[sum], &[1], DType::F32);
    // (1 + 2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴, which f32 rounds down to even; so is the sum with 2⁻²⁴.
    let (x, y) = (1.0 + f32::exp2(-12.0), f64::exp2(-24.0));
    let got = (f64::from(x * x) + y) as f32;
    let inputs = [f32s(&[x]), Tensor::new(&[1], Data::F64(vec![y])).expect("a row")];
    let reference = &interpret(&build.0, &inputs, Numerics::Reassociate).expect("a program")[0];
    assert_ne!(reference.wide[0], f64::from(got));
    assert!(reference.check(&f32s(&[got])).is_ok());
    assert!(reference.check(&f32s(&[got - 4.0 * f32::EPSILON])).is_err());
}

/// The program of a function `f` in Python.
fn parsed(source: &str) -> Program {
    let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
    parse("test.py", source, &options).unwrap_or_else(|errors| panic!("{errors}\n{source}")).program
}

/// Every partial sum of the source's order is exact, and those of another order are not.
#[test]
fn the_terms_that_a_loop_adds_may_come_in_any_order() {
    let source = "
import numpy as np
def f(x: f32[4]):
    y = np.zeros(4, dtype=np.float32)
    y[0] = x[0]
    for i in range(1, 4):
        y[i] = y[i - 1] + x[i]
    return y
";
    let large = f32::exp2(24.0);
    let inputs = [f32s(&[-1.0, 1.0 - large, large, 1.0])];
    let reference = &interpret(&parsed(source), &inputs, Numerics::Reassociate).expect("a program")[0];
    assert_eq!(reference.wide, [-1.0, f64::from(-large), 0.0, 1.0]);
    // (x₀ + x₁) + (x₂ + x₃)
    let in_parts = -large + (large + 1.0);
    assert_eq!(in_parts, 0.0);
    assert!(reference.check(&f32s(&[-1.0, -large, 0.0, in_parts])).is_ok());
    assert!(reference.check(&f32s(&[-1.0, -large, 0.0, 12.0])).is_err());
    // Two terms have one order.
    assert!(reference.check(&f32s(&[-1.0, 2.0 - large, 0.0, 1.0])).is_err());
    let exact = &interpret(&parsed(source), &inputs, Numerics::Exact).expect("a program")[0];
    assert!(exact.check(&f32s(&[-1.0, -large, 0.0, in_parts])).is_err());
    assert_eq!(exact.check(&f32s(&[-1.0, -large, 0.0, 1.0])), Ok(0.0));
}

/// The terms of an element are its own: what a loop has added to others, or to what was there before, does not count.
#[test]
fn each_element_counts_the_terms_that_it_has() {
    let source = "
import numpy as np
def f(a: f64[300, 4]):
    c = np.zeros(300)
    for i in range(300):
        for k in range(4):
            c[i] = c[i] + 9.0
        c[i] = 0.0
        for k in range(4):
            c[i] = c[i] - a[i, k]
    return c
";
    let program = parsed(source);
    let inputs = [random(&program.params[0], 3).expect("a fitting hint")];
    let reference = &interpret(&program, &inputs, Numerics::Reassociate).expect("a program")[0];
    for (i, bound) in reference.bound.iter().enumerate() {
        let magnitude: f64 = (0..4).map(|k| inputs[0].get_f64(4 * i + k).abs()).sum();
        let counted = bound / (f64::EPSILON * magnitude);
        assert!((3.9..4.1).contains(&counted), "{counted} additions of element {i}");
    }
}

/// A sum that is scaled before it is stored is a term of later ones: its bound stays that of the recurrence.
#[test]
fn a_scaled_sum_is_a_term_of_later_ones() {
    let source = "
import numpy as np
def f(x: f64[2000]):
    y = np.zeros(2000)
    for i in range(1, 2000):
        y[i] = (y[i - 1] + x[i]) * 0.3
    return y
";
    let program = parsed(source);
    let inputs = [random(&program.params[0], 3).expect("a fitting hint")];
    let reference = &interpret(&program, &inputs, Numerics::Reassociate).expect("a program")[0];
    assert!(reference.bound[1999] < 4.0 * f64::EPSILON, "{}", reference.bound[1999]);
}

/// A root at the edge of its domain had an infinite bound, by which NaN passed.
#[test]
fn nan_for_a_number_is_wrong_in_every_mode() {
    let source = "
import numpy as np
def f(p: f64[6, 3]):
    return np.sqrt(((p[:, None] - p[None]) ** 2).sum(-1))
";
    let program = parsed(source);
    let inputs = [random(&program.params[0], 3).expect("a fitting hint")];
    for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
        let reference = &interpret(&program, &inputs, numerics).expect("a program")[0];
        assert_eq!(reference.wide[0], 0.0);
        assert!(reference.check(&reference.value).is_ok(), "{numerics}");
        for at in [0, 1] {
            for wrong in [f64::NAN, f64::INFINITY] {
                let mut found = reference.value.clone();
                found.set(at, Literal::float(wrong));
                assert!(reference.check(&found).is_err(), "{numerics}: {wrong} at {at}");
            }
        }
        // The law Σ (a − b)² = Σ a² − 2 Σ ab + Σ b² leaves what its terms round, and its root.
        let mut found = reference.value.clone();
        found.set(0, Literal::float(1e-8));
        assert_eq!(reference.check(&found).is_ok(), numerics == Numerics::Algebraic, "{numerics}");
        found.set(0, Literal::float(1e-3));
        assert!(reference.check(&found).is_err(), "{numerics}");
    }
}

#[test]
fn what_is_no_number_is_held_to_each_modes_promise() {
    let program = parsed(
        "
import numpy as np
def f(x: f32[4], n: f32[1]):
    return x * 2.0 + n
",
    );
    let inputs = [f32s(&[1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]), f32s(&[0.5])];
    let right = [2.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
        let reference = &interpret(&program, &inputs, numerics).expect("a program")[0];
        let passes = |found: [f32; 4]| reference.check(&f32s(&found)).is_ok();
        assert!(passes(right), "{numerics}");
        // Another one of NaN and the infinities.
        assert_eq!(passes([2.5, f32::INFINITY, f32::NAN, f32::INFINITY]), numerics != Numerics::Exact, "{numerics}");
        // A number.
        assert_eq!(passes([2.5, 7.0, right[2], right[3]]), numerics == Numerics::Algebraic, "{numerics}");
        assert!(!passes([f32::NAN, right[1], right[2], right[3]]), "{numerics}");
        assert!(!passes([f32::INFINITY, right[1], right[2], right[3]]), "{numerics}");
    }
}

/// Of finite terms whose sum overflows in one order and not in another, nothing is claimed but under `exact`.
#[test]
fn what_overflows_in_some_order_is_not_held_to_anything() {
    let program = parsed(
        "
import numpy as np
def f(x: f64[4]):
    return np.array([x.sum(), x[0] + x[2]])
",
    );
    let (large, small) = (f64::MAX, 1.0);
    let input = Tensor::new(&[4], Data::F64(vec![large, large, -large, small])).expect("a row");
    let reference = &interpret(&program, std::slice::from_ref(&input), Numerics::Reassociate).expect("a program")[0];
    let pair = |sum: f64, rest: f64| Tensor::new(&[2], Data::F64(vec![sum, rest])).expect("a row");
    for sum in [f64::NAN, f64::INFINITY, large] {
        assert!(reference.check(&pair(sum, 0.0)).is_ok(), "{sum}");
        assert!(reference.check(&pair(sum, f64::NAN)).is_err(), "{sum}");
    }
    let exact = &interpret(&program, &[input], Numerics::Exact).expect("a program")[0];
    assert_eq!(exact.check(&pair(f64::INFINITY, 0.0)), Ok(0.0));
    assert!(exact.check(&pair(large, 0.0)).is_err(), "{exact:?}");
}

/// Terms that a mask has made zero may be left out; the program's own zeros may not.
#[test]
fn a_masks_zero_may_hide_what_is_no_number() {
    let finite = |source: &str| {
        let program = parsed(&format!("import numpy as np\ndef f(A: f64[4, 4], B: f64[4, 4]):\n    return {source}\n"));
        let mut inputs: Vec<Tensor> = program.params.iter().map(|param| random(param, 3).expect("fits")).collect();
        inputs[1].set(15, Literal::float(f64::NAN));
        let reference = interpret(&program, &inputs, Numerics::Reassociate).expect("a program").remove(0);
        let mut found = reference.value.clone();
        let lost = (0..found.len()).find(|&at| found.get_f64(at).is_nan()).expect("NaN spreads");
        found.set(lost, Literal::float(1.0));
        reference.check(&found).is_ok()
    };
    for masked in ["np.tril(A) @ B", "(np.where(A < 0.5, A, 0.0) * B).sum(axis=1)", "np.pad(A[:3, :3], 1)[:4, :4] @ B"]
    {
        assert!(finite(masked), "{masked}");
    }
    for written in ["A @ B", "A * B", "np.tril(A) * B", "np.eye(4) @ B", "B * 0"] {
        assert!(!finite(written), "{written}");
    }
}

/// Products are distributed over the sums of their own statement, not over those that a state holds: Σ|terms| of
/// these, multiplied again and again, would leave no bound.
#[test]
fn what_a_state_holds_is_a_factor_as_it_is() {
    let source = "
import numpy as np
def f(A: f64[4, 4]):
    X = A * 0.2 + np.eye(4) * 0.2
    for i in range(12):
        X[:, :] = 1.5 * X - 0.5 * (X @ X.T @ X)
    return X
";
    let program = parsed(source);
    let inputs = [random(&program.params[0], 3).expect("a fitting hint")];
    for numerics in [Numerics::Reassociate, Numerics::Algebraic] {
        let reference = &interpret(&program, &inputs, numerics).expect("a program")[0];
        assert!(reference.bound.iter().all(|&bound| bound < 1e-3), "{numerics:?}: {:?}", reference.bound);
    }
}

#[test]
fn malformed_programs_and_inputs_are_errors() {
    let mut build = Build::new(&[(&[3], DType::F32)]);
    build.add(Op::Binary(BinaryOp::Add), &[0, 0], &[4], DType::F32);
    let input = f32s(&[1.0, 2.0, 3.0]);
    let run = |inputs: &[Tensor]| interpret(&build.0, inputs, Numerics::Exact).map(|_| ());
    assert!(matches!(run(&[input]), Err(InterpretError::Malformed(VerifyError::Node { node: 1, .. }))));
    assert!(matches!(run(&[f32s(&[1.0])]), Err(InterpretError::InputType { .. })));
    assert!(matches!(run(&[]), Err(InterpretError::InputCount { expected: 1, found: 0, .. })));
}

#[test]
fn sample_forms_verify_and_evaluate_as_their_plain_nests() {
    for dtype in [DType::F32, DType::F64] {
        for (name, form) in forms::samples(dtype) {
            verify_form(&form).unwrap_or_else(|error| panic!("{name}: {error}"));
            let inputs: Vec<Tensor> =
                form.params.iter().map(|param| random(param, 5).expect("a fitting hint")).collect();
            let expected = evaluate_form::evaluate(&form, &inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
            let nest = lower(&form).unwrap_or_else(|error| panic!("{name}: {error}"));
            verify_nest(&nest).unwrap_or_else(|error| panic!("{name}: {error}"));
            let found = evaluate_nest::evaluate(&nest, &inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
            for (expected, found) in expected.iter().zip(&found) {
                assert_eq!(expected.data, found.data, "{name}");
            }
        }
    }
}

#[test]
fn broken_forms_are_refused() {
    let form = forms::matmul(3, 4, 5, DType::F32).into_form();
    let mut gap = form.clone();
    gap.defs[0].pieces[0].domain[0] = Range::constant(1, 3);
    assert!(matches!(verify_form(&gap), Err(FormError::Cover { .. })));
    let mut outside = form.clone();
    outside.defs[0].pieces[0].domain[2] = Range::constant(0, 6);
    assert!(matches!(verify_form(&outside), Err(FormError::Node { .. })));
    let mut digits = form.clone();
    digits.defs[0].axes = vec![4, 3];
    assert!(matches!(verify_form(&digits), Err(FormError::Digits { .. })));
    let mut twice = form;
    twice.outputs = vec![0, 0];
    assert!(matches!(verify_form(&twice), Err(FormError::Output { .. })));
}

/// Makes every loop of a nest parallel, or changes its step.
fn change_loops(nodes: &mut [NestNode], change: &impl Fn(&mut moat_optimizer::nest::Loop)) {
    for node in nodes {
        if let NestNode::Loop(inner) = node {
            change(inner);
            change_loops(&mut inner.body, change);
        }
    }
}

#[test]
fn broken_nests_are_refused_or_caught() {
    use moat_optimizer::integer::affine::Affine;
    use moat_optimizer::nest::{Buffer, Loop, Tile, TileScalar};
    use moat_optimizer::value::scalar::UnaryOp;
    // for i in 0 .. 4: s[0] = x[i]; y[i] = -s[0]
    let tile = |value: Vec<TileScalar>, target, offset| {
        NestNode::Tile(Tile {
            points: vec![],
            folds: vec![],
            fold: None,
            value,
            target,
            offset,
            shift: None,
            stream: false,
            origin: "t".into(),
        })
    };
    let load = |buffer, offset| TileScalar::Load { buffer, offset };
    let negative = TileScalar::Compute(moat_optimizer::form::scalar_tree::ScalarNode {
        op: moat_optimizer::form::scalar_tree::ScalarOp::Unary(UnaryOp::Neg, 0),
        dtype: DType::F32,
    });
    let buffer = |name: &str, len, role| Buffer { name: name.into(), dtype: DType::F32, len, role };
    let i = Affine::variable(0);
    let nest = |scratch: BufferRole, kind: LoopKind, step: usize, shift: i64| LoopNest {
        buffers: vec![
            buffer("x", 4, BufferRole::Param(0)),
            buffer("y", 4, BufferRole::Output(0)),
            buffer("s", 1, scratch),
        ],
        vars: vec!["i".into()],
        body: vec![NestNode::Loop(Loop {
            var: 0,
            range: Range::constant(0, 4),
            step,
            kind,
            body: vec![
                tile(vec![load(0, i.offset(shift))], 2, Affine::constant(0)),
                tile(vec![load(2, Affine::constant(0)), negative.clone()], 1, i.clone()),
            ],
        })],
    };
    let x = [f32s(&[1.0, 2.0, 3.0, 4.0])];
    let run = |nest: &LoopNest| evaluate_nest::evaluate(nest, &x);
    let sound = nest(BufferRole::Private, LoopKind::Parallel, 1, 0);
    assert_eq!(verify_nest(&sound), Ok(()));
    assert_eq!(run(&sound).map(|y| y[0].data.clone()), Ok(Data::F32(vec![-1.0, -2.0, -3.0, -4.0])));
    let raced = nest(BufferRole::Shared, LoopKind::Parallel, 1, 0);
    assert!(matches!(run(&raced), Err(NestRunError::Race { .. })));
    let outside = nest(BufferRole::Shared, LoopKind::Serial, 1, 1);
    assert!(matches!(verify_nest(&outside), Err(NestError::Tile { .. })));
    assert!(matches!(run(&outside), Err(NestRunError::OutOfBounds { .. })));
    let holes = nest(BufferRole::Shared, LoopKind::Serial, 2, 0);
    assert!(matches!(run(&holes), Err(NestRunError::Unwritten { offset: 1, .. })));
    let mut stuck = sound.clone();
    change_loops(&mut stuck.body, &|inner| inner.step = 0);
    assert!(matches!(verify_nest(&stuck), Err(NestError::Loop { .. })));
    let mut early = sound;
    if let NestNode::Loop(inner) = &mut early.body[0] {
        inner.body.swap(0, 1);
    }
    assert!(matches!(run(&early), Err(NestRunError::Uninitialised { .. })));
}
