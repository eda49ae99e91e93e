//! The interpreter against NumPy: random programs, and a table of every operator and type with the
//! special cases of `scalar.rs`.

use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::{interpret, result_type};
use moat_optimizer::program::expr::{Node, Op, Param, Program, SliceAxis, Span, SumOrder};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use moat_optimizer::value::scalar_eval::{binary_defined, unary_defined};
use moat_optimizer::value::tensor::Tensor;
use moat_tests::python::{Outcome, run_numpy, to_python};
use moat_tests::random_program::{prefixes, random_program};

/// How many random programs one test runs.
const PROGRAMS: u64 = 300;

#[test]
fn random_programs_agree_with_numpy() {
    let cases: Vec<(Program, Vec<Tensor>)> =
        (0..PROGRAMS).map(|seed| with_inputs(random_program(seed, 12), seed)).collect();
    let outcomes = run_numpy(&cases);
    let wrong =
        cases.iter().zip(&outcomes).position(|(case, outcome)| compare(case, outcome, Numerics::Reassociate).is_err());
    if let Some(seed) = wrong {
        panic!("{}", explain(&cases[seed].0, seed as u64));
    }
}

/// The smallest prefix of a program that disagrees, with what reproduces it.
fn explain(program: &Program, seed: u64) -> String {
    let cases: Vec<(Program, Vec<Tensor>)> =
        prefixes(program).into_iter().map(|prefix| with_inputs(prefix, seed)).collect();
    let outcomes = run_numpy(&cases);
    let mut failures = cases
        .iter()
        .zip(&outcomes)
        .filter_map(|(case, outcome)| compare(case, outcome, Numerics::Reassociate).err().map(|reason| (case, reason)));
    match failures.next() {
        Some((case, reason)) => format!(
            "seed {seed}: {reason}\n{}\nreproduce: random_program({seed}, 12) in tests/tests/numpy.rs\ninputs: {:?}",
            to_python(&case.0),
            case.1
        ),
        None => format!("seed {seed} fails only as a whole:\n{}", to_python(program)),
    }
}

fn with_inputs(program: Program, seed: u64) -> (Program, Vec<Tensor>) {
    let inputs = program.params.iter().map(|param| random(param, seed).expect("a fitting hint")).collect();
    (program, inputs)
}

/// NumPy's results within the reference's bounds.
fn compare((program, inputs): &(Program, Vec<Tensor>), outcome: &Outcome, numerics: Numerics) -> Result<f64, String> {
    let expected = interpret(program, inputs, numerics).map_err(|error| error.to_string())?;
    let found = outcome.as_ref().map_err(Clone::clone)?;
    let mut worst = 0.0f64;
    for (reference, found) in expected.iter().zip(found) {
        worst = worst.max(reference.check(found).map_err(|mismatch| mismatch.to_string())?);
    }
    Ok(worst)
}

/// A program of one operator on inputs given in full.
fn single(op: Op, inputs: Vec<Tensor>, declared: Option<(Vec<usize>, DType)>) -> (Program, Vec<Tensor>) {
    let mut program = Program { name: format!("{op:?}"), ..Program::default() };
    for (index, input) in inputs.iter().enumerate() {
        let (shape, dtype) = (input.shape.clone(), input.dtype);
        program.params.push(Param { name: format!("p{index}"), dtype, shape: shape.clone(), hint: Default::default() });
        program.nodes.push(Node {
            op: Op::Input(index),
            args: vec![],
            shape,
            live: vec![],
            dtype,
            span: Span::default(),
        });
    }
    let types: Vec<(Vec<usize>, DType)> = inputs.iter().map(|input| (input.shape.clone(), input.dtype)).collect();
    let declared = declared.or_else(|| types.first().cloned()).expect("a type");
    let (shape, dtype) = result_type(&op, &types, &declared).expect("a well-typed operator");
    let args = (0..inputs.len()).collect();
    program.nodes.push(Node { op, args, shape, live: vec![], dtype, span: Span::default() });
    program.roots = vec![inputs.len()];
    (program, inputs)
}

/// Runs single operators and reports all that disagree.
fn check_table(cases: Vec<(Program, Vec<Tensor>)>, numerics: Numerics) {
    let outcomes = run_numpy(&cases);
    let failures: Vec<String> = cases
        .iter()
        .zip(&outcomes)
        .filter_map(|(case, outcome)| {
            let reason = compare(case, outcome, numerics).err()?;
            Some(format!("{} on {:?}: {reason}", case.0.name, case.0.params.first().map(|param| param.dtype)))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Interesting numbers of a type.
fn specials(dtype: DType) -> Vec<Literal> {
    let ints = |min: i64, max: i64, bits: i64| {
        let near = [min, min + 1, -100, -7, -3, -2, -1, 0, 1, 2, 3, 7, bits - 1, bits, bits + 1, 100, max - 1, max];
        near.into_iter().map(Literal::Int).collect()
    };
    match dtype {
        DType::Bool => vec![Literal::Bool(false), Literal::Bool(true)],
        DType::I32 => ints(i64::from(i32::MIN), i64::from(i32::MAX), 32),
        DType::I64 => ints(i64::MIN, i64::MAX, 64),
        DType::F32 | DType::F64 => [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            0.1,
            2.0,
            -2.0,
            3.0,
            -3.5,
            7.25,
            -100.0,
            12345.678,
            1e-30,
            3e38,
            -3e38,
            16777217.0,
            1e10,
        ]
        .into_iter()
        .map(|x| Literal::float(x).at(dtype))
        .collect(),
        DType::I8 | DType::U8 | DType::I16 | DType::F16 | DType::BF16 => vec![],
    }
}

/// All pairs of special numbers as two flat arrays.
fn pairs(dtype: DType) -> (Tensor, Tensor) {
    let numbers = specials(dtype);
    let n = numbers.len();
    (Tensor::from_fn(dtype, &[n * n], |at| numbers[at / n]), Tensor::from_fn(dtype, &[n * n], |at| numbers[at % n]))
}

#[test]
fn every_scalar_operator_agrees_with_numpy() {
    let mut cases = Vec::new();
    for dtype in DType::SUPPORTED {
        let numbers = specials(dtype);
        let row = Tensor::from_fn(dtype, &[numbers.len()], |at| numbers[at]);
        for op in UnaryOp::ALL.into_iter().filter(|op| unary_defined(*op, dtype)) {
            cases.push(single(Op::Unary(op), vec![row.clone()], None));
        }
        let (x, y) = pairs(dtype);
        for op in BinaryOp::ALL.into_iter().filter(|op| binary_defined(*op, dtype)) {
            let mut y = y.clone();
            if op == BinaryOp::Pow && dtype.is_int() {
                // NumPy refuses negative exponents.
                y = Tensor::from_fn(dtype, &y.shape, |at| Literal::Int(y.get_i64(at).unwrap_or(0).max(0)));
            }
            cases.push(single(Op::Binary(op), vec![x.clone(), y.clone()], None));
        }
        for to in DType::SUPPORTED {
            let mut row = row.clone();
            if dtype.is_float() && to.is_int() && cfg!(not(target_arch = "x86_64")) {
                // Out of range the result is x86's, which elsewhere NumPy does not give.
                row =
                    Tensor::from_fn(dtype, &row.shape, |at| Literal::float(row.get_f64(at).clamp(-1e6, 1e6).max(-1e6)));
            }
            cases.push(single(Op::Cast, vec![row], Some((vec![numbers.len()], to))));
        }
    }
    check_table(cases.clone(), Numerics::Exact);
    check_table(cases, Numerics::Reassociate);
}

#[test]
fn every_array_operator_agrees_with_numpy() {
    let mut cases = Vec::new();
    for dtype in DType::SUPPORTED {
        let array = |shape: &[usize], seed: u64| {
            let param = Param { name: "a".into(), dtype, shape: shape.to_vec(), hint: Default::default() };
            random(&param, seed).expect("a fitting hint")
        };
        let a = array(&[3, 4, 5], 1);
        let flag = |shape: &[usize]| {
            let param = Param { name: "c".into(), dtype: DType::Bool, shape: shape.to_vec(), hint: Default::default() };
            random(&param, 9).expect("a fitting hint")
        };
        let gathered = |batch: usize, of: &[usize], by: &[usize]| {
            // Some of them are outside of the axis, and taken to the nearest.
            let hint = moat_optimizer::program::expr::InputHint::Range(-2.0, 8.0);
            let indices = Param { name: "x".into(), dtype: DType::I64, shape: by.to_vec(), hint };
            let indices = random(&indices, 4).expect("a fitting hint");
            single(Op::Gather { batch }, vec![array(of, 1), indices], None)
        };
        let one = |op: Op| single(op, vec![a.clone()], None);
        let slice = |start, step, len| SliceAxis { start, step, len };
        let number = Literal::Int(1).at(dtype);
        cases.extend([
            single(Op::Const(number), vec![], Some((vec![], dtype))),
            single(Op::Array(vec![number; 6]), vec![], Some((vec![2, 3], dtype))),
            single(Op::Eye { k: 1 }, vec![], Some((vec![3, 5], dtype))),
            single(Op::Eye { k: -2 }, vec![], Some((vec![5, 3], dtype))),
            single(Op::Where, vec![flag(&[3, 4]), array(&[3, 4], 1), array(&[3, 4], 2)], None),
            single(Op::Broadcast, vec![array(&[4, 1], 1)], Some((vec![2, 4, 3], dtype))),
            single(Op::Broadcast, vec![array(&[], 1)], Some((vec![2, 0], dtype))),
            // A 3-cycle: an involution would hide an inverted permutation.
            one(Op::Transpose(vec![1, 2, 0])),
            single(Op::Reshape, vec![a.clone()], Some((vec![2, 30], dtype))),
            one(Op::Slice(vec![slice(2, -1, 3), slice(1, 2, 2), slice(4, -2, 3)])),
            one(Op::Slice(vec![slice(0, 1, 0), slice(0, 1, 4), slice(3, 1, 1)])),
            one(Op::Index { axis: 1, at: 3 }),
            one(Op::Diagonal { offset: 1, axis1: 0, axis2: 2 }),
            one(Op::Diagonal { offset: -2, axis1: 2, axis2: 0 }),
            one(Op::Diagonal { offset: 7, axis1: 0, axis2: 1 }),
            one(Op::Flip(vec![0, 2])),
            one(Op::Roll { shift: 2, axis: 2 }),
            one(Op::Pad { widths: vec![(1, 0), (0, 0), (2, 3)], value: number }),
            single(Op::Concat { axis: 1 }, vec![array(&[2, 3], 1), array(&[2, 1], 2), array(&[2, 0], 3)], None),
            one(Op::Window { windows: vec![(0, 2), (2, 3)] }),
            gathered(0, &[5, 3], &[2, 4]),
            gathered(1, &[2, 5, 3], &[2, 4]),
            gathered(0, &[5], &[]),
            one(Op::Tril { k: -1 }),
            one(Op::Triu { k: 2 }),
            one(Op::Trace { offset: 1 }),
            one(Op::Trace { offset: -9 }),
            single(Op::MatMul, vec![array(&[7], 1), array(&[7], 2)], None),
            single(Op::MatMul, vec![array(&[3, 7], 1), array(&[7], 2)], None),
            single(Op::MatMul, vec![array(&[7], 1), array(&[2, 7, 3], 2)], None),
            single(Op::MatMul, vec![array(&[2, 1, 9, 7], 1), array(&[3, 7, 11], 2)], None),
            single(Op::MatMul, vec![array(&[2, 0], 1), array(&[0, 3], 2)], None),
            single(Op::Dot, vec![array(&[3, 7], 1), array(&[2, 7, 4], 2)], None),
            single(Op::Dot, vec![array(&[3, 7], 1), array(&[7], 2)], None),
            single(Op::Inner, vec![array(&[3, 7], 1), array(&[2, 4, 7], 2)], None),
            single(Op::Outer(BinaryOp::Add), vec![array(&[3], 1), array(&[2, 2], 2)], None),
            single(Op::Outer(BinaryOp::Lt), vec![array(&[3, 2], 1), array(&[4], 2)], None),
        ]);
        if dtype != DType::Bool {
            let (start, step) = (Literal::Int(-3).at(dtype), Literal::Int(2).at(dtype));
            cases.push(single(Op::Arange { start, step }, vec![], Some((vec![6], dtype))));
        }
        let einsum = |inputs: Vec<Vec<usize>>, output: Vec<usize>| Op::Einsum { inputs, output };
        cases.extend([
            single(einsum(vec![vec![0, 0]], vec![0]), vec![array(&[4, 4], 1)], None),
            single(einsum(vec![vec![0, 1]], vec![]), vec![array(&[3, 4], 1)], None),
            single(einsum(vec![vec![0, 1, 2], vec![2, 3]], vec![3, 0]), vec![a.clone(), array(&[5, 6], 2)], None),
            single(
                einsum(vec![vec![0, 1], vec![0, 1], vec![1, 2]], vec![2]),
                vec![array(&[3, 4], 1), array(&[3, 4], 2), array(&[4, 2], 3)],
                None,
            ),
            single(einsum(vec![vec![0, 1], vec![1, 0]], vec![1]), vec![array(&[1, 4], 1), array(&[4, 3], 2)], None),
        ]);
        for op in FoldOp::ALL.into_iter().filter(|op| dtype == DType::Bool || !matches!(op, FoldOp::All | FoldOp::Any))
        {
            for axes in [vec![], vec![0], vec![1], vec![2], vec![0, 2], vec![0, 1, 2]] {
                cases.push(single(Op::Reduce { op, axes, order: SumOrder::default() }, vec![a.clone()], None));
            }
            if !matches!(op, FoldOp::Max | FoldOp::Min) {
                cases.push(single(
                    Op::Reduce { op, axes: vec![1], order: SumOrder::default() },
                    vec![array(&[2, 0, 3], 1)],
                    None,
                ));
            }
        }
        if dtype.is_float() {
            let numbers = specials(dtype);
            let row = Tensor::from_fn(dtype, &[numbers.len()], |at| numbers[at]);
            for op in [FoldOp::Max, FoldOp::Min, FoldOp::Sum, FoldOp::Prod] {
                cases.push(single(
                    Op::Reduce { op, axes: vec![0], order: SumOrder::default() },
                    vec![row.clone()],
                    None,
                ));
            }
        }
    }
    check_table(cases, Numerics::Reassociate);
}
