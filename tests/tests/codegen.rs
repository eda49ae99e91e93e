//! Kernels of hand-built loop nests against a literal evaluation of the same nests.

use moat_codegen::{CodegenError, CompileOptions, CompiledNest, Workspace};
use moat_optimizer::form::scalar_tree::ScalarOp;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{BufferRole, LoopKind, LoopNest, Node};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use moat_tests::nests::*;

/// The variants every nest is compiled for.
fn variants() -> Vec<Target> {
    let host = host_target();
    [(64, true), (64, false), (32, false), (16, false)]
        .into_iter()
        .map(|(vector_bytes, masks)| Target { vector_bytes, masks, ..host.clone() })
        .collect()
}

fn check_with(nest: &LoopNest, numerics: Numerics, threads: usize, tolerance: f64) {
    for target in variants() {
        let options = CompileOptions { target, numerics, threads, function: "kernel".to_string() };
        let kernel = CompiledNest::load(nest, &options).expect("the test sets this up");
        for seed in 0..2 {
            let start = random_buffers(nest, seed);
            let expected = interpret(nest, &start);
            let inputs: Vec<Vec<u8>> = bytes_of(nest, &start, |role| matches!(role, BufferRole::Param(_)));
            let mut outputs: Vec<Vec<u8>> = bytes_of(nest, &start, |role| matches!(role, BufferRole::Output(_)));
            let inputs: Vec<Aligned> = inputs.iter().map(|bytes| Aligned::new(bytes)).collect();
            let mut aligned: Vec<Aligned> = outputs.iter().map(|bytes| Aligned::new(bytes)).collect();
            let input_slices: Vec<&[u8]> = inputs.iter().map(Aligned::bytes).collect();
            let mut output_slices: Vec<&mut [u8]> = aligned.iter_mut().map(Aligned::bytes_mut).collect();
            kernel.call_bytes(&input_slices, &mut output_slices, &mut Workspace::new()).expect("the test sets this up");
            outputs = aligned.iter().map(|output| output.bytes().to_vec()).collect();
            let mut at = 0;
            for (buffer, values) in nest.buffers.iter().zip(&expected) {
                if !matches!(buffer.role, BufferRole::Output(_)) {
                    continue;
                }
                let got = values_of(buffer.dtype, &outputs[at]);
                at += 1;
                for (index, (got, want)) in got.iter().zip(values).enumerate() {
                    assert!(
                        close(*got, *want, tolerance),
                        "{}[{index}]: {got:?}, expected {want:?} (seed {seed}, {} bytes, masks {})",
                        buffer.name,
                        options.target.vector_bytes,
                        options.target.masks
                    );
                }
            }
        }
    }
}

fn check(nest: &LoopNest) {
    check_with(nest, Numerics::Exact, 1, 0.0);
    check_with(nest, Numerics::Reassociate, 1, 1e-5);
}

#[test]
fn element_wise_tiles_of_every_extent() {
    for extent in [1, 7, 16, 33, 64, 65, 100] {
        for (unroll, lanes) in [(1, 1), (3, 1), (1, 16), (2, 16), (4, 8)] {
            let mut b = NestBuilder::new();
            let x = b.param("x", DType::F32, extent);
            let y = b.param("y", DType::F32, extent);
            let z = b.output("z", DType::F32, extent);
            let i = b.var("i");
            let value = vec![
                load(x, var(i)),
                load(y, var(i)),
                constant(Literal::float(2.0), DType::F32),
                binary(BinaryOp::Mul, 0, 2, DType::F32),
                binary(BinaryOp::Add, 3, 1, DType::F32),
            ];
            b.push(map_tile(vec![axis(i, 0, extent, unroll, lanes)], value, z, var(i)));
            check(&b.nest);
        }
    }
}

#[test]
fn a_range_whose_rest_is_only_known_at_run_time() {
    // Triangle: j ≤ i, vectors along j.
    for (unroll, lanes) in [(1, 1), (4, 1), (1, 16), (3, 8)] {
        let n = 53;
        let mut b = NestBuilder::new();
        let x = b.param("x", DType::F32, n * n);
        let z = b.output("z", DType::F32, n * n);
        let (i, j) = (b.var("i"), b.var("j"));
        let offset = Affine::new(0, [(i, n as i64), (j, 1)]);
        let value = vec![load(x, offset.clone()), unary(UnaryOp::Neg, 0, DType::F32)];
        let range = Range { lo: vec![Affine::constant(0)], hi: vec![Affine::variable(i).offset(1)] };
        // The outer axis of the same tile may ask for any unroll: its points stay apart.
        let tile = map_tile(vec![axis(i, 0, n, 2, 1), axis_in(j, range, unroll, lanes)], value, z, offset);
        b.push(tile);
        check(&b.nest);
    }
}

#[test]
fn blocks_leave_a_static_rest() {
    let n = 101;
    let mut b = NestBuilder::new();
    let x = b.param("x", DType::F64, n);
    let z = b.output("z", DType::F64, n);
    let (v, i) = (b.var("v"), b.var("i"));
    let range =
        Range { lo: vec![Affine::variable(v)], hi: vec![Affine::variable(v).offset(48), Affine::constant(n as i64)] };
    let value = vec![load(x, var(i)), binary(BinaryOp::Mul, 0, 0, DType::F64)];
    let tile = map_tile(vec![axis_in(i, range, 2, 8)], value, z, var(i));
    b.nest.body.push(loop_node(v, 0, n, 48, LoopKind::Serial, vec![tile]));
    check(&b.nest);
}

#[test]
fn reversed_strided_and_transposed_accesses() {
    for n in [33usize] {
        for (scale, lanes) in [(-1i64, 16), (2, 16), (3, 8), (4, 4), (-2, 8), (7, 16), (-5, 8)] {
            let span = scale.unsigned_abs() as usize * (n - 1) + 1;
            let constant_part = if scale < 0 { span as i64 - 1 } else { 0 };
            let form = |i| Affine::new(constant_part, [(i, scale)]);
            for (read, write) in [(true, false), (false, true), (true, true)] {
                let mut b = NestBuilder::new();
                let x = b.param("x", DType::F32, span);
                let z = b.output("z", DType::F32, span);
                let i = b.var("i");
                let from = if read { form(i) } else { var(i) };
                let to = if write { form(i) } else { var(i) };
                let value = vec![load(x, from), binary(BinaryOp::Add, 0, 0, DType::F32)];
                b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value.clone(), z, to.clone()));
                check(&b.nest);
                // The same with a rest known only at run time.
                let mut b2 = NestBuilder::new();
                let (x, z) = (b2.param("x", DType::F32, span), b2.output("z", DType::F32, span));
                let (v, i2) = (b2.var("v"), b2.var("i"));
                let shift = |form: &Affine| form.substitute(|_| Affine::variable(i2));
                let range = Range { lo: vec![Affine::variable(v)], hi: vec![Affine::constant(n as i64)] };
                let value =
                    vec![load(x, shift(&if read { form(0) } else { var(0) })), binary(BinaryOp::Add, 0, 0, DType::F32)];
                let to = shift(&if write { form(0) } else { var(0) });
                let tile = map_tile(vec![axis_in(i2, range, 1, lanes)], value, z, to);
                b2.nest.body.push(loop_node(v, 0, n, 5, LoopKind::Serial, vec![tile]));
                check(&b2.nest);
            }
        }
    }
}

#[test]
fn blocks_are_transposed_in_registers() {
    for dtype in [DType::F32, DType::F64, DType::Bool] {
        for (unroll, lanes) in [(16, 16), (8, 16), (16, 8), (4, 4), (32, 8), (5, 8)] {
            let (n, m) = (37, 51);
            let mut b = NestBuilder::new();
            let x = b.param("x", dtype, n * m);
            let z = b.output("z", dtype, n * m);
            let (i, j) = (b.var("i"), b.var("j"));
            let value = vec![load(x, Affine::new(0, [(j, m as i64), (i, 1)]))];
            let to = Affine::new(0, [(i, n as i64), (j, 1)]);
            b.push(map_tile(vec![axis(i, 0, m, unroll, 1), axis(j, 0, n, 1, lanes)], value, z, to));
            check_with(&b.nest, Numerics::Exact, 1, 0.0);
        }
    }
}

fn matmul(n: usize, m: usize, k: usize, tile: [(usize, usize); 3], block: usize, dtype: DType) -> LoopNest {
    let mut b = NestBuilder::new();
    let (x, y) = (b.param("a", dtype, n * k), b.param("b", dtype, k * m));
    let z = b.output("c", dtype, n * m);
    let (v, i, j, p) = (b.var("kb"), b.var("i"), b.var("j"), b.var("k"));
    let value = vec![
        load(x, Affine::new(0, [(i, k as i64), (p, 1)])),
        load(y, Affine::new(0, [(p, m as i64), (j, 1)])),
        binary(BinaryOp::Mul, 0, 1, dtype),
    ];
    let range = Range {
        lo: vec![Affine::variable(v)],
        hi: vec![Affine::variable(v).offset(block as i64), Affine::constant(k as i64)],
    };
    let tile = fold_tile(
        vec![axis(i, 0, n, tile[0].0, tile[0].1), axis(j, 0, m, tile[1].0, tile[1].1)],
        vec![axis_in(p, range, tile[2].0, tile[2].1)],
        FoldOp::Sum,
        vec![Affine::variable(v)],
        value,
        z,
        Affine::new(0, [(i, m as i64), (j, 1)]),
    );
    b.nest.body.push(loop_node(v, 0, k, block, LoopKind::Serial, vec![tile]));
    b.nest
}

#[test]
fn contractions_with_tails_and_blocks() {
    for (n, m, k) in [(5, 33, 7), (15, 47, 33)] {
        for block in [8, 64] {
            for tile in [[(1, 1), (1, 1), (1, 1)], [(4, 1), (2, 16), (1, 1)], [(3, 1), (2, 8), (1, 1)]] {
                check_with(&matmul(n, m, k, tile, block, DType::F32), Numerics::Exact, 1, 0.0);
                check_with(&matmul(n, m, k, tile, block, DType::F32), Numerics::Reassociate, 1, 1e-5);
                check_with(&matmul(n, m, k, tile, block, DType::I32), Numerics::Exact, 1, 0.0);
            }
            // Vectors and partial accumulators along the fold.
            for tile in [[(2, 1), (2, 1), (2, 16)], [(1, 1), (1, 16), (4, 1)], [(1, 1), (3, 1), (1, 8)]] {
                check_with(&matmul(n, m, k, tile, block, DType::F64), Numerics::Reassociate, 1, 1e-9);
                check_with(&matmul(n, m, k, tile, block, DType::I64), Numerics::Exact, 1, 0.0);
            }
        }
    }
}

#[test]
fn exact_numerics_refuse_partial_sums() {
    let nest = matmul(4, 4, 4, [(1, 1), (1, 1), (2, 1)], 4, DType::F32);
    let options =
        CompileOptions { target: host_target(), numerics: Numerics::Exact, threads: 1, function: "kernel".to_string() };
    assert!(matches!(CompiledNest::load(&nest, &options), Err(CodegenError::NotReorderable { .. })));
}

#[test]
fn a_tile_that_unrolls_too_far_is_an_error() {
    let nest = matmul(4, 4, 4, [(300, 1), (300, 1), (1, 1)], 4, DType::F32);
    let options =
        CompileOptions { target: host_target(), numerics: Numerics::Exact, threads: 1, function: "kernel".to_string() };
    assert!(matches!(CompiledNest::load(&nest, &options), Err(CodegenError::TooLarge { .. })));
}

#[test]
fn folds_of_every_operator_along_rows() {
    for (op, dtype) in [
        (FoldOp::Sum, DType::F64),
        (FoldOp::Prod, DType::F64),
        (FoldOp::Max, DType::F32),
        (FoldOp::Min, DType::F32),
        (FoldOp::Max, DType::I32),
        (FoldOp::Min, DType::I64),
        (FoldOp::Sum, DType::I32),
        (FoldOp::Prod, DType::I64),
        (FoldOp::All, DType::Bool),
        (FoldOp::Any, DType::Bool),
        (FoldOp::Sum, DType::Bool),
        (FoldOp::Prod, DType::Bool),
    ] {
        for k in [5usize, 77] {
            for (unroll, lanes) in [(3, 1), (1, 8), (2, 16)] {
                let rows = 3;
                let mut b = NestBuilder::new();
                let x = b.param("x", dtype, rows * k);
                let z = b.output("z", dtype, rows);
                let (i, p) = (b.var("i"), b.var("k"));
                let value = vec![load(x, Affine::new(0, [(i, k as i64), (p, 1)]))];
                b.push(fold_tile(
                    vec![axis(i, 0, rows, 2, 1)],
                    vec![axis(p, 0, k, unroll, lanes)],
                    op,
                    vec![],
                    value,
                    z,
                    var(i),
                ));
                let sum = matches!(op, FoldOp::Sum | FoldOp::Prod) && dtype.is_float();
                check_with(&b.nest, Numerics::Reassociate, 1, if sum { 1e-9 } else { 0.0 });
            }
        }
    }
}

#[test]
fn extremes_keep_nan_wherever_it_stands() {
    for k in [5usize, 16, 40] {
        for (unroll, lanes) in [(1, 1), (1, 16), (2, 8)] {
            let mut b = NestBuilder::new();
            let x = b.param("x", DType::F32, k * k);
            let z = b.output("z", DType::F32, k);
            let (i, p) = (b.var("i"), b.var("k"));
            // Row i has its NaN in column i: 0/0 there.
            let value = vec![
                load(x, Affine::new(0, [(i, k as i64), (p, 1)])),
                index(Affine::new(0, [(i, 1), (p, -1)]), DType::I64),
                constant(Literal::Int(0), DType::I64),
                binary(BinaryOp::Eq, 1, 2, DType::Bool),
                constant(Literal::float(f64::NAN), DType::F32),
                compute(ScalarOp::Where(3, 4, 0), DType::F32),
            ];
            b.push(fold_tile(
                vec![axis(i, 0, k, 1, 1)],
                vec![axis(p, 0, k, unroll, lanes)],
                FoldOp::Max,
                vec![],
                value,
                z,
                var(i),
            ));
            check_with(&b.nest, Numerics::Exact, 1, 0.0);
        }
    }
}

#[test]
fn integer_operators_follow_the_table() {
    for dtype in [DType::I32, DType::I64] {
        for op in BinaryOp::ALL {
            if op == BinaryOp::Div {
                continue;
            }
            for lanes in [1, 8] {
                let n = 97;
                let mut b = NestBuilder::new();
                let (x, y) = (b.param("x_special", dtype, n), b.param("y_special", dtype, n));
                let z = b.output("z", op.result(dtype), n);
                let i = b.var("i");
                let value = vec![load(x, var(i)), load(y, var(i)), binary(op, 0, 1, op.result(dtype))];
                b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value, z, var(i)));
                check_with(&b.nest, Numerics::Exact, 1, 0.0);
            }
        }
        for op in [UnaryOp::Neg, UnaryOp::Not, UnaryOp::Abs, UnaryOp::Sign] {
            unary_case(op, dtype, 0.0);
        }
    }
}

fn unary_case(op: UnaryOp, dtype: DType, tolerance: f64) {
    for lanes in [1, 8] {
        let n = 97;
        let mut b = NestBuilder::new();
        let x = b.param("x_special", dtype, n);
        let z = b.output("z", dtype, n);
        let i = b.var("i");
        let value = vec![load(x, var(i)), unary(op, 0, dtype)];
        b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value, z, var(i)));
        check_with(&b.nest, Numerics::Exact, 1, tolerance);
    }
}

#[test]
fn float_operators_follow_the_table() {
    for dtype in [DType::F32, DType::F64] {
        let bits = [BinaryOp::And, BinaryOp::Or, BinaryOp::Xor, BinaryOp::Shl, BinaryOp::Shr];
        for op in BinaryOp::ALL {
            if bits.contains(&op) {
                continue;
            }
            for lanes in [1, 8] {
                let n = 193;
                let mut b = NestBuilder::new();
                let (x, y) = (b.param("x_special", dtype, n), b.param("y_special", dtype, n));
                let z = b.output("z", op.result(dtype), n);
                let i = b.var("i");
                let value = vec![load(x, var(i)), load(y, var(i)), binary(op, 0, 1, op.result(dtype))];
                b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value, z, var(i)));
                let tolerance = if op == BinaryOp::Pow { 1e-6 } else { 0.0 };
                check_with(&b.nest, Numerics::Exact, 1, tolerance);
            }
        }
        for op in [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Sign, UnaryOp::Sqrt, UnaryOp::Floor] {
            unary_case(op, dtype, 0.0);
        }
        for op in [UnaryOp::Exp, UnaryOp::Log, UnaryOp::Sin, UnaryOp::Cos, UnaryOp::Tanh, UnaryOp::Erf] {
            unary_case(op, dtype, 1e-6);
        }
    }
}

#[test]
fn casts_between_all_supported_types() {
    for from in DType::SUPPORTED {
        for to in DType::SUPPORTED {
            for lanes in [1, 8] {
                let n = 61;
                let mut b = NestBuilder::new();
                let x = b.param("x_special", from, n);
                let z = b.output("z", to, n);
                let i = b.var("i");
                let value = vec![load(x, var(i)), compute(ScalarOp::Cast(0), to)];
                b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value, z, var(i)));
                check_with(&b.nest, Numerics::Exact, 1, 0.0);
            }
        }
    }
}

#[test]
fn bools_are_bytes() {
    for lanes in [1, 16] {
        let n = 77;
        let mut b = NestBuilder::new();
        let (x, y) = (b.param("x", DType::Bool, n), b.param("y", DType::Bool, n));
        let z = b.output("z", DType::Bool, n);
        let i = b.var("i");
        let value = vec![
            load(x, var(i)),
            load(y, Affine::new(n as i64 - 1, [(i, -1)])),
            binary(BinaryOp::Xor, 0, 1, DType::Bool),
            unary(UnaryOp::Not, 2, DType::Bool),
        ];
        b.push(map_tile(vec![axis(i, 0, n, 1, lanes)], value, z, var(i)));
        check(&b.nest);
    }
}

#[test]
fn indices_as_numbers() {
    let n = 45;
    for lanes in [1, 8] {
        let mut b = NestBuilder::new();
        let z = b.output("z", DType::I64, n * n);
        let w = b.output("w", DType::F64, n * n);
        let (i, j) = (b.var("i"), b.var("j"));
        let form = Affine::new(7, [(i, 3), (j, -2)]);
        let to = Affine::new(0, [(i, n as i64), (j, 1)]);
        let axes = vec![axis(i, 0, n, 2, 1), axis(j, 0, n, 1, lanes)];
        b.push(map_tile(axes, vec![index(form.clone(), DType::I64)], z, to.clone()));
        let (i2, j2) = (b.var("i2"), b.var("j2"));
        let rename = |form: &Affine| form.substitute(|v| Affine::variable(if v == i { i2 } else { j2 }));
        let axes = vec![axis(i2, 0, n, 2, 1), axis(j2, 0, n, 1, lanes)];
        let value = vec![index(rename(&form), DType::I64), compute(ScalarOp::Cast(0), DType::F64)];
        b.push(map_tile(axes, value, w, rename(&to)));
        check(&b.nest);
    }
}

/// Softmax-like: three tiles in a row loop, a private scratch row and shared scratch.
fn rows(n: usize, m: usize, kind: LoopKind, lanes: usize) -> LoopNest {
    let mut b = NestBuilder::new();
    let x = b.param("x", DType::F32, n * m);
    let z = b.output("z", DType::F32, n * m);
    let largest = b.scratch("largest", DType::F32, 1, BufferRole::Private);
    let shifted = b.scratch("shifted", DType::F32, m, BufferRole::Private);
    let factor = b.scratch("factor", DType::F32, n, BufferRole::Shared);
    let r = b.var("row");
    let at = |j| Affine::new(0, [(r, m as i64), (j, 1)]);
    let j0 = b.var("j0");
    let f = b.var("f");
    b.push(map_tile(
        vec![axis(f, 0, n, 1, lanes)],
        vec![index(var(f), DType::I64), compute(ScalarOp::Cast(0), DType::F32)],
        factor,
        var(f),
    ));
    let first = fold_tile(
        vec![],
        vec![axis(j0, 0, m, 2, lanes)],
        FoldOp::Max,
        vec![],
        vec![load(x, at(j0))],
        largest,
        Affine::constant(0),
    );
    let j1 = b.var("j1");
    let second = map_tile(
        vec![axis(j1, 0, m, 2, lanes)],
        vec![load(x, at(j1)), load(largest, Affine::constant(0)), binary(BinaryOp::Sub, 0, 1, DType::F32)],
        shifted,
        var(j1),
    );
    let j2 = b.var("j2");
    let third = map_tile(
        vec![axis(j2, 0, m, 1, lanes)],
        vec![load(shifted, var(j2)), load(factor, var(r)), binary(BinaryOp::Mul, 0, 1, DType::F32)],
        z,
        at(j2),
    );
    b.nest.body.push(loop_node(r, 0, n, 1, kind, vec![first, second, third]));
    b.nest
}

#[test]
fn parallel_loops_divide_rows() {
    for n in [1, 2, 3, 10] {
        check_with(&rows(n, 37, LoopKind::Parallel, 16), Numerics::Exact, 1, 0.0);
        check_with(&rows(n, 37, LoopKind::Parallel, 16), Numerics::Exact, 3, 0.0);
        check_with(&rows(n, 37, LoopKind::Serial, 16), Numerics::Exact, 3, 0.0);
    }
    // A parallel loop inside a serial one, with an uneven last block.
    let (n, m) = (10, 23);
    let mut b = NestBuilder::new();
    let x = b.param("x", DType::I64, n * m);
    let z = b.output("z", DType::I64, n * m);
    let (v, w, i) = (b.var("v"), b.var("w"), b.var("i"));
    let at = Affine::new(0, [(v, m as i64), (i, 1)]);
    let range =
        Range { lo: vec![Affine::variable(w)], hi: vec![Affine::variable(w).offset(4), Affine::constant(m as i64)] };
    let tile = map_tile(vec![axis_in(i, range, 1, 4)], vec![load(x, at.clone())], z, at);
    let inner = loop_node(w, 0, m, 4, LoopKind::Parallel, vec![tile]);
    b.nest.body.push(loop_node(v, 0, n, 1, LoopKind::Serial, vec![inner]));
    check_with(&b.nest, Numerics::Exact, 4, 0.0);
}

#[test]
fn a_malformed_nest_is_an_error() {
    let options =
        CompileOptions { target: host_target(), numerics: Numerics::Exact, threads: 1, function: "kernel".to_string() };
    let mut b = NestBuilder::new();
    let x = b.param("x", DType::F32, 8);
    let z = b.output("z", DType::F32, 8);
    let (i, free) = (b.var("i"), b.var("free"));
    for (offset, buffer, value_dtype) in [(var(free), x, DType::F32), (var(i), 9, DType::F32), (var(i), x, DType::F64)]
    {
        let mut nest = b.nest.clone();
        let value = vec![load(buffer, offset), compute(ScalarOp::Cast(0), value_dtype)];
        nest.body.push(map_tile(vec![axis(i, 0, 8, 1, 4)], value, z, var(i)));
        assert!(matches!(CompiledNest::load(&nest, &options), Err(CodegenError::Malformed { .. })));
    }
}

#[test]
fn a_call_with_wrong_arguments_is_an_error() {
    let options =
        CompileOptions { target: host_target(), numerics: Numerics::Exact, threads: 1, function: "kernel".to_string() };
    let kernel = CompiledNest::load(&rows(2, 8, LoopKind::Serial, 8), &options).expect("the test sets this up");
    let (short, mut out) = (Aligned::new(&[0; 60]), Aligned::new(&[0; 64]));
    let mut outputs = [out.bytes_mut()];
    let refused = kernel.call_bytes(&[short.bytes()], &mut outputs, &mut Workspace::new());
    assert!(matches!(refused, Err(CodegenError::Argument { index: 0, .. })));
    assert!(matches!(kernel.call_bytes(&[], &mut [], &mut Workspace::new()), Err(CodegenError::Argument { .. })));
}

#[test]
fn scratch_buffers_that_never_meet_share_their_bytes() {
    let mut b = NestBuilder::new();
    let x = b.param("x", DType::F32, 64);
    let z = b.output("z", DType::F32, 64);
    let first = b.scratch("first", DType::F32, 64, BufferRole::Shared);
    let second = b.scratch("second", DType::F32, 64, BufferRole::Shared);
    let third = b.scratch("third", DType::F32, 64, BufferRole::Shared);
    for (from, to) in [(x, first), (first, second), (second, third), (third, z)] {
        let i = b.var("i");
        let value = vec![load(from, var(i)), binary(BinaryOp::Add, 0, 0, DType::F32)];
        b.push(map_tile(vec![axis(i, 0, 64, 1, 16)], value, to, var(i)));
    }
    let plan = moat_codegen::workspace::plan(&b.nest, 1);
    assert_eq!(plan.bytes, 512);
    assert_eq!(plan.offsets[&first], plan.offsets[&third]);
    assert!(matches!(&b.nest.body[0], Node::Tile(_)));
    check(&b.nest);
}
