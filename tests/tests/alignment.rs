//! Tiles whose pieces are aligned at run time: right wherever the arguments lie, and aligned where that pays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use inkwell::context::Context;
use moat_codegen::{CompileOptions, CompiledNest, Workspace, emit};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{BufferRole, LoopKind, LoopNest, TileAxis};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_tests::nests::*;

/// What a tile does with rows of `extent` elements, `rows` of them, `unroll` vectors (and `together` rows) at a time.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// z = x + y, each row after the one before.
    Map,
    /// z = z one further on + x, in place: no point may be computed twice.
    InPlace,
    /// z = xᵀ: the store is not contiguous, the load is.
    Transposed,
    /// z = Σₖ x[k] y over a few k, or many.
    Fold(usize),
    /// z = x + y in the points before the diagonal.
    Triangle,
    /// z = x, then w = z one further on + y, by way of scratch memory.
    Scratch,
}

const KINDS: [Kind; 7] =
    [Kind::Map, Kind::InPlace, Kind::Transposed, Kind::Fold(3), Kind::Fold(40), Kind::Triangle, Kind::Scratch];

#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    extent: usize,
    together: usize,
    unroll: usize,
    lanes: usize,
}

fn nest(kind: Kind, dtype: DType, size: Size) -> LoopNest {
    let Size { rows, extent, together, unroll, lanes } = size;
    // Rows lie an odd number of elements apart.
    let wide = extent + 1;
    let mut b = NestBuilder::new();
    let matrix = |b: &mut NestBuilder, name: &str| b.param(name, dtype, rows * wide);
    let row_axes = |b: &mut NestBuilder| {
        let (i, j) = (b.var("i"), b.var("j"));
        (i, j, Affine::new(0, [(i, wide as i64), (j, 1)]))
    };
    let along = |i: usize, j: usize| vec![axis(i, 0, rows, together, 1), axis(j, 0, extent, unroll, lanes)];
    let sum = |a, b| binary(BinaryOp::Add, a, b, dtype);
    match kind {
        Kind::Map | Kind::Triangle => {
            let (x, y) = (matrix(&mut b, "x"), matrix(&mut b, "y"));
            let z = b.output("z", dtype, rows * wide);
            let (i, j, at) = row_axes(&mut b);
            let mut axes = along(i, j);
            if matches!(kind, Kind::Triangle) {
                let hi = vec![Affine::new(3, [(i, extent as i64 / rows as i64)]), Affine::constant(extent as i64)];
                axes[1] = TileAxis { range: Range { lo: vec![Affine::constant(0)], hi }, ..axes[1].clone() };
            }
            b.push(map_tile(axes, vec![load(x, at.clone()), load(y, at.offset(1)), sum(0, 1)], z, at));
        }
        Kind::InPlace => {
            let x = matrix(&mut b, "x");
            let z = b.output("z", dtype, rows * wide);
            let from = b.var("a");
            b.push(map_tile(vec![axis(from, 0, rows * wide, 1, 1)], vec![load(x, var(from))], z, var(from)));
            let (i, j, at) = row_axes(&mut b);
            b.push(map_tile(along(i, j), vec![load(z, at.offset(1)), load(x, at.clone()), sum(0, 1)], z, at));
        }
        Kind::Transposed => {
            let x = matrix(&mut b, "x");
            let z = b.output("z", dtype, rows * extent);
            let (i, j, at) = row_axes(&mut b);
            let to = Affine::new(0, [(i, 1), (j, rows as i64)]);
            b.push(map_tile(along(i, j), vec![load(x, at), sum(0, 0)], z, to));
        }
        Kind::Fold(terms) => {
            let (x, y) = (b.param("x", dtype, terms * extent), b.param("y", dtype, rows * terms));
            let z = b.output("z", dtype, rows * wide);
            let (i, j, at) = row_axes(&mut b);
            let k = b.var("k");
            let product = vec![
                load(x, Affine::new(0, [(k, extent as i64), (j, 1)])),
                load(y, Affine::new(0, [(i, terms as i64), (k, 1)])),
                binary(BinaryOp::Mul, 0, 1, dtype),
            ];
            b.push(fold_tile(along(i, j), vec![axis(k, 0, terms, 1, 1)], FoldOp::Sum, vec![], product, z, at));
        }
        Kind::Scratch => {
            let (x, y) = (matrix(&mut b, "x"), matrix(&mut b, "y"));
            let w = b.output("w", dtype, rows * wide);
            let z = b.scratch("z", dtype, wide, BufferRole::Private);
            let row = b.var("row");
            let (j, k) = (b.var("j"), b.var("k"));
            let at = |j: usize| Affine::new(0, [(row, wide as i64), (j, 1)]);
            let first = map_tile(vec![axis(j, 0, wide, unroll, lanes)], vec![load(x, at(j))], z, var(j));
            let value = vec![load(z, var(k).offset(1)), load(y, at(k)), sum(0, 1)];
            let second = map_tile(vec![axis(k, 0, extent, unroll, lanes)], value, w, at(k));
            b.push(loop_node(row, 0, rows, 1, LoopKind::Serial, vec![first, second]));
        }
    }
    b.nest
}

fn targets() -> [Target; 2] {
    let host = host_target();
    [(64, true), (32, false)].map(|(vector_bytes, masks)| Target { vector_bytes, masks, ..host.clone() })
}

fn options(target: Target, numerics: Numerics) -> CompileOptions {
    CompileOptions { target, numerics, threads: 1, function: "kernel".to_owned() }
}

#[test]
fn results_are_right_wherever_the_arguments_lie() {
    for kind in KINDS {
        for dtype in [DType::F32, DType::I64] {
            for (at, target) in targets().into_iter().enumerate() {
                let lanes = target.lanes(dtype.bytes());
                for (extent, together, unroll) in [(5, 1, 1), (7 * lanes + 3, 2, 1), (40 * lanes, 1, 4), (200, 4, 2)] {
                    let nest = nest(kind, dtype, Size { rows: 5, extent, together, unroll, lanes });
                    let what = format!("{kind:?} {dtype} {extent} {together} {unroll}, target {at}");
                    check(&nest, &options(target.clone(), Numerics::Exact), lanes, &what);
                }
            }
        }
    }
}

/// Calls one kernel with its arguments at every distance from a line, all at the same and each at another one.
fn check(nest: &LoopNest, options: &CompileOptions, lanes: usize, what: &str) {
    let kernel = CompiledNest::load(nest, options).unwrap();
    let start = random_buffers(nest, 3);
    let expected = interpret(nest, &start);
    let inputs = bytes_of(nest, &start, |role| matches!(role, BufferRole::Param(_)));
    let outputs = bytes_of(nest, &start, |role| matches!(role, BufferRole::Output(_)));
    let bytes = nest.buffers[0].dtype.bytes();
    for first in 0..lanes {
        for apart in [0, 1, 5] {
            let place = |(at, bytes_of): (usize, &Vec<u8>)| {
                Aligned::past_a_line(bytes_of, (first + at * apart) % lanes * bytes)
            };
            let inputs: Vec<Aligned> = inputs.iter().enumerate().map(|(at, of)| place((at + 1, of))).collect();
            let mut outputs: Vec<Aligned> = outputs.iter().enumerate().map(place).collect();
            let read: Vec<&[u8]> = inputs.iter().map(Aligned::bytes).collect();
            let mut written: Vec<&mut [u8]> = outputs.iter_mut().map(Aligned::bytes_mut).collect();
            kernel.call_bytes(&read, &mut written, &mut Workspace::new()).unwrap();
            let outputs_of = nest.buffers.iter().zip(&expected);
            let outputs_of = outputs_of.filter(|(buffer, _)| matches!(buffer.role, BufferRole::Output(_)));
            for ((buffer, values), output) in outputs_of.zip(&outputs) {
                for (index, (got, want)) in values_of(buffer.dtype, output.bytes()).iter().zip(values).enumerate() {
                    assert!(
                        close(*got, *want, 0.0),
                        "{what}: {}[{index}] is {got:?}, not {want:?} (offsets {first}, {apart})",
                        buffer.name
                    );
                }
            }
        }
    }
}

#[test]
fn long_rows_are_aligned_and_short_ones_are_not() {
    // The head of a row costs up to two register tiles: a row of a few would lose by it.
    let target = targets()[0].clone();
    let cases = [
        (Kind::Map, 160, true),
        (Kind::Map, 2, false),
        (Kind::InPlace, 160, true),
        (Kind::Transposed, 400, true),
        (Kind::Fold(3), 160, true),
        // A long sum stores one vector where it loads a hundred.
        (Kind::Fold(40), 8, false),
        (Kind::Triangle, 400, true),
        (Kind::Scratch, 160, true),
    ];
    for (kind, vectors, aligned) in cases {
        let lanes = target.lanes(4);
        let size = Size { rows: 3, extent: vectors * lanes, together: 1, unroll: 1, lanes };
        let context = Context::create();
        let options = options(target.clone(), Numerics::Reassociate);
        let emitted = emit::emit(&context, &nest(kind, DType::F32, size), &options).unwrap();
        let text = emitted.module.print_to_string().to_string();
        assert_eq!(text.contains("%address ="), aligned, "{kind:?} of {vectors} vectors:\n{text}");
    }
}

#[test]
fn rows_that_begin_anywhere_in_one_register_tile_stay_as_they_are() {
    // Two rows of a tile: one of them can be aligned. Four an odd distance apart: one of four is so anyway.
    let target = targets()[0].clone();
    for (together, aligned) in [(1, true), (2, true), (4, false)] {
        let size = Size { rows: 8, extent: 16 * 200, together, unroll: 1, lanes: 16 };
        let context = Context::create();
        let nest = nest(Kind::InPlace, DType::F32, size);
        let emitted = emit::emit(&context, &nest, &options(target.clone(), Numerics::Exact)).unwrap();
        let text = emitted.module.print_to_string().to_string();
        assert_eq!(text.contains("%address ="), aligned, "{together} rows");
    }
}
