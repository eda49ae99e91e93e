//! Matrix products from hand-built nests: what the code generator reaches when the schedule is
//! right. Prints GFLOP/s (median and quartiles) for each tile and blocking given on the command
//! line, with the emitted assembly on request.
//!
//! `cargo bench --workspace --bench matmul_nest -- [n] [rows,vectors,kc,mc,nc,order,packing]...`

use moat_codegen::{CompileOptions, CompiledNest, Workspace, emit, passes};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::{BufferRole, LoopNest, Node};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_tests::nests::*;
use std::io::Write;
use std::time::Instant;

/// How a product is blocked.
#[derive(Clone, Copy, Debug)]
struct Blocking {
    rows: usize,
    vectors: usize,
    kc: usize,
    mc: usize,
    nc: usize,
    /// 0: column panels outside row panels; 1: the other way round.
    order: usize,
    /// Of A: 0 none, 1 rows as they are, 2 transposed in panels.
    packing: usize,
}

fn block(from: usize, size: usize, limit: usize) -> Range {
    Range {
        lo: vec![Affine::variable(from)],
        hi: vec![Affine::variable(from).offset(size as i64), Affine::constant(limit as i64)],
    }
}

fn inside(from: usize, outer: usize, step: usize, size: usize, limit: usize) -> Range {
    let mut range = block(from, step, limit);
    range.hi.push(Affine::variable(outer).offset(size as i64));
    range
}

fn matmul(n: usize, m: usize, k: usize, dtype: DType, lanes: usize, b: Blocking) -> LoopNest {
    let mut nest = NestBuilder::new();
    let (x, y) = (nest.param("a", dtype, n * k), nest.param("b", dtype, k * m));
    let z = nest.output("c", dtype, n * m);
    let width = b.vectors * lanes;
    let nc = b.nc.min(m).next_multiple_of(width);
    let mc = b.mc.min(n).next_multiple_of(b.rows);
    let kc = b.kc.min(k);
    let bp = nest.scratch("b_packed", dtype, nc * kc, BufferRole::Shared);
    let ap = nest.scratch("a_packed", dtype, mc * kc, BufferRole::Shared);
    let [jc, pc, ic, jr, ir, i, j, p] = ["jc", "pc", "ic", "jr", "ir", "i", "j", "k"].map(|name| nest.var(name));
    let [jr2, j2, p2, ir2, i2, p3] = ["jr_b", "j_b", "k_b", "ir_a", "i_a", "k_a"].map(|name| nest.var(name));
    let c = |value: usize| value as i64;
    let at = |terms: &[(usize, i64)]| Affine::new(0, terms.iter().copied());
    let b_at =
        |jr: usize, p: usize, j: usize| at(&[(jr, c(kc) - 1), (jc, -c(kc)), (p, c(width)), (pc, -c(width)), (j, 1)]);
    let a_at = |ir: usize, p: usize, i: usize| match b.packing {
        0 => at(&[(i, c(k)), (p, 1)]),
        1 => at(&[(i, c(kc)), (ic, -c(kc)), (p, 1), (pc, -1)]),
        _ => at(&[(ir, c(kc) - 1), (ic, -c(kc)), (p, c(b.rows)), (pc, -c(b.rows)), (i, 1)]),
    };
    let pack_b = loop_in(
        jr2,
        block(jc, nc, m),
        width,
        vec![map_tile(
            vec![axis_in(p2, block(pc, kc, k), 4, 1), axis_in(j2, inside(jr2, jc, width, nc, m), b.vectors, lanes)],
            vec![load(y, at(&[(p2, c(m)), (j2, 1)]))],
            bp,
            b_at(jr2, p2, j2),
        )],
    );
    let pack_a = match b.packing {
        0 => vec![],
        1 => vec![map_tile(
            vec![axis_in(i2, block(ic, mc, n), 1, 1), axis_in(p3, block(pc, kc, k), 4, lanes)],
            vec![load(x, at(&[(i2, c(k)), (p3, 1)]))],
            ap,
            a_at(0, p3, i2),
        )],
        _ => vec![loop_in(
            ir2,
            block(ic, mc, n),
            b.rows,
            vec![map_tile(
                vec![axis_in(p3, block(pc, kc, k), 1, lanes), axis_in(i2, inside(ir2, ic, b.rows, mc, n), b.rows, 1)],
                vec![load(x, at(&[(i2, c(k)), (p3, 1)]))],
                ap,
                a_at(ir2, p3, i2),
            )],
        )],
    };
    let kernel = fold_tile(
        vec![
            axis_in(i, inside(ir, ic, b.rows, mc, n), b.rows, 1),
            axis_in(j, inside(jr, jc, width, nc, m), b.vectors, lanes),
        ],
        vec![axis_in(p, block(pc, kc, k), 1, 1)],
        FoldOp::Sum,
        vec![Affine::variable(pc)],
        vec![
            load(if b.packing == 0 { x } else { ap }, a_at(ir, p, i)),
            load(bp, b_at(jr, p, j)),
            binary(BinaryOp::Mul, 0, 1, dtype),
        ],
        z,
        at(&[(i, c(m)), (j, 1)]),
    );
    let rows = |body: Vec<Node>| loop_in(ir, block(ic, mc, n), b.rows, body);
    let columns = |body: Vec<Node>| loop_in(jr, block(jc, nc, m), width, body);
    let panels = if b.order == 0 { columns(vec![rows(vec![kernel])]) } else { rows(vec![columns(vec![kernel])]) };
    let mut inner = pack_a;
    inner.push(panels);
    let ic_loop = loop_in(ic, Range::constant(0, c(n)), mc, inner);
    let pc_loop = loop_in(pc, Range::constant(0, c(k)), kc, vec![pack_b, ic_loop]);
    nest.push(loop_in(jc, Range::constant(0, c(m)), nc, vec![pc_loop]));
    nest.nest
}

fn measure(n: usize, m: usize, k: usize, dtype: DType, b: Blocking, seconds: f64) -> (f64, f64, f64) {
    let options = options();
    let lanes = options.target.lanes(dtype.bytes());
    let nest = matmul(n, m, k, dtype, lanes, b);
    let kernel = CompiledNest::load(&nest, &options).expect("the test sets this up");
    let random = |count: usize| -> Aligned {
        let bytes: Vec<u8> = (0..count)
            .flat_map(|i| {
                let value = ((i * 7919 + 13) % 1000) as f64 / 500.0 - 1.0;
                if dtype == DType::F32 { (value as f32).to_ne_bytes().to_vec() } else { value.to_ne_bytes().to_vec() }
            })
            .collect();
        Aligned::new(&bytes)
    };
    let (x, y, mut z) = (random(n * k), random(k * m), random(n * m));
    let mut workspace = Workspace::new();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 20 || start.elapsed().as_secs_f64() < seconds {
        let before = Instant::now();
        let mut outputs = [z.bytes_mut()];
        kernel.call_bytes(&[x.bytes(), y.bytes()], &mut outputs, &mut workspace).expect("the test sets this up");
        times.push(before.elapsed().as_secs_f64());
    }
    check(dtype, (n, m, k), [&x, &y, &z]);
    times.sort_by(f64::total_cmp);
    let rate = |quantile: usize| 2e-9 * (n * m * k) as f64 / times[times.len() * quantile / 20];
    (rate(10), rate(15), rate(1))
}

fn check(dtype: DType, (n, m, k): (usize, usize, usize), [x, y, z]: [&Aligned; 3]) {
    let values = |bytes: &[u8]| -> Vec<f64> {
        values_of(dtype, bytes).into_iter().map(|v| if let V::F(x) = v { x } else { 0.0 }).collect()
    };
    let (x, y, z) = (values(x.bytes()), values(y.bytes()), values(z.bytes()));
    for (i, j) in [(0, 0), (n - 1, m - 1), (n / 2, m / 3)] {
        let want: f64 = (0..k).map(|p| x[i * k + p] * y[p * m + j]).sum();
        assert!((z[i * m + j] - want).abs() < 1e-4 * k as f64, "c[{i},{j}] = {}, expected {want}", z[i * m + j]);
    }
}

fn options() -> CompileOptions {
    CompileOptions {
        target: host_target(),
        numerics: Numerics::Reassociate,
        threads: 1,
        function: "matmul".to_string(),
    }
}

fn main() {
    let mut out = std::io::stdout().lock();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let n: usize = args.first().and_then(|n| n.parse().ok()).unwrap_or(512);
    let dtype = if std::env::var_os("F64").is_some() { DType::F64 } else { DType::F32 };
    let mut candidates: Vec<Blocking> = Vec::new();
    for text in args.iter().skip(1) {
        let v: Vec<usize> = text.split(',').filter_map(|part| part.parse().ok()).collect();
        if let [rows, vectors, kc, mc, nc, order, packing] = v[..] {
            candidates.push(Blocking { rows, vectors, kc, mc, nc, order, packing });
        }
    }
    if candidates.is_empty() {
        for (rows, vectors) in [(14, 2), (12, 2), (8, 3), (9, 3), (6, 4)] {
            candidates.push(Blocking { rows, vectors, kc: 256, mc: rows * 16, nc: 1024, order: 0, packing: 1 });
        }
    }
    for b in candidates {
        if std::env::var_os("ASM").is_some() {
            let context = inkwell::context::Context::create();
            let options = options();
            let lanes = options.target.lanes(dtype.bytes());
            let emitted = emit(&context, &matmul(n, n, n, dtype, lanes, b), &options).expect("the test sets this up");
            passes::optimise(&emitted.module, &emitted.machine).expect("the test sets this up");
            writeln!(out, "{}", passes::assembly(&emitted.module, &emitted.machine).expect("the test sets this up"))
                .expect("the test sets this up");
        }
        let (median, low, high) = measure(n, n, n, dtype, b, 0.7);
        writeln!(out, "{n}³ {dtype} {b:?}: {median:.1} GFLOP/s ({low:.1}–{high:.1})").expect("the test sets this up");
    }
}
