//! Building loop nests by hand, and evaluating them one element at a time, as they are written.
#![expect(clippy::wildcard_enum_match_arm, reason = "an operator without a case here is a defect of the test")]

use moat_optimizer::form::scalar_tree::{ScalarNode, ScalarOp};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{Buffer, BufferRole, Loop, LoopKind, LoopNest, Node, Tile, TileAxis, TileFold, TileScalar};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A nest under construction.
pub struct NestBuilder {
    /// The nest so far.
    pub nest: LoopNest,
}

impl Default for NestBuilder {
    fn default() -> NestBuilder {
        NestBuilder::new()
    }
}

impl NestBuilder {
    /// An empty nest.
    pub fn new() -> NestBuilder {
        NestBuilder { nest: LoopNest { buffers: vec![], vars: vec![], body: vec![] } }
    }
    fn count(&self, matching: fn(&BufferRole) -> bool) -> usize {
        self.nest.buffers.iter().filter(|buffer| matching(&buffer.role)).count()
    }
    /// The next parameter.
    pub fn param(&mut self, name: &str, dtype: DType, len: usize) -> usize {
        let at = self.count(|role| matches!(role, BufferRole::Param(_)));
        self.scratch(name, dtype, len, BufferRole::Param(at))
    }
    /// The next result.
    pub fn output(&mut self, name: &str, dtype: DType, len: usize) -> usize {
        let at = self.count(|role| matches!(role, BufferRole::Output(_)));
        self.scratch(name, dtype, len, BufferRole::Output(at))
    }
    /// A buffer of any role.
    pub fn scratch(&mut self, name: &str, dtype: DType, len: usize, role: BufferRole) -> usize {
        self.nest.buffers.push(Buffer { name: name.to_string(), dtype, len, role });
        self.nest.buffers.len() - 1
    }
    /// A new variable.
    pub fn var(&mut self, name: &str) -> usize {
        self.nest.vars.push(name.to_string());
        self.nest.vars.len() - 1
    }
    /// Appends a top-level statement.
    pub fn push(&mut self, node: Node) {
        self.nest.body.push(node);
    }
}

/// The form that is one variable.
pub fn var(v: usize) -> Affine {
    Affine::variable(v)
}
/// `buffer[offset]`.
pub fn load(buffer: usize, offset: Affine) -> TileScalar {
    TileScalar::Load { buffer, offset }
}
/// Any operation.
pub fn compute(op: ScalarOp, dtype: DType) -> TileScalar {
    TileScalar::Compute(ScalarNode { op, dtype })
}
/// A constant.
pub fn constant(literal: Literal, dtype: DType) -> TileScalar {
    compute(ScalarOp::Const(literal), dtype)
}
/// An index as a number.
pub fn index(form: Affine, dtype: DType) -> TileScalar {
    compute(ScalarOp::Index(form), dtype)
}
/// `op(x)`.
pub fn unary(op: UnaryOp, x: usize, dtype: DType) -> TileScalar {
    compute(ScalarOp::Unary(op, x), dtype)
}
/// `op(x, y)`.
pub fn binary(op: BinaryOp, x: usize, y: usize, dtype: DType) -> TileScalar {
    compute(ScalarOp::Binary(op, x, y), dtype)
}
/// A tile axis over a constant range.
pub fn axis(var: usize, lo: i64, hi: usize, unroll: usize, lanes: usize) -> TileAxis {
    axis_in(var, Range::constant(lo, hi as i64), unroll, lanes)
}
/// A tile axis over any range.
pub fn axis_in(var: usize, range: Range, unroll: usize, lanes: usize) -> TileAxis {
    TileAxis { var, range, unroll, lanes }
}
/// A tile without a fold.
pub fn map_tile(points: Vec<TileAxis>, value: Vec<TileScalar>, target: usize, offset: Affine) -> Node {
    Node::Tile(Tile {
        points,
        folds: vec![],
        fold: None,
        value,
        target,
        offset,
        shift: None,
        stream: false,
        origin: "map".to_string(),
    })
}
/// A tile with a fold.
pub fn fold_tile(
    points: Vec<TileAxis>,
    folds: Vec<TileAxis>,
    op: FoldOp,
    first: Vec<Affine>,
    value: Vec<TileScalar>,
    target: usize,
    offset: Affine,
) -> Node {
    let fold = Some(TileFold { op, depth: None, first });
    Node::Tile(Tile {
        points,
        folds,
        fold,
        value,
        target,
        offset,
        shift: None,
        stream: false,
        origin: "fold".to_string(),
    })
}
/// A loop over a constant range.
pub fn loop_node(var: usize, lo: i64, hi: usize, step: usize, kind: LoopKind, body: Vec<Node>) -> Node {
    Node::Loop(Loop { var, range: Range::constant(lo, hi as i64), step, kind, body })
}
/// A serial loop over any range.
pub fn loop_in(var: usize, range: Range, step: usize, body: Vec<Node>) -> Node {
    Node::Loop(Loop { var, range, step, kind: LoopKind::Serial, body })
}

/// The machine the tests run on.
pub fn host_target() -> Target {
    let (triple, cpu, features) = moat_codegen::passes::host();
    let wide = features.contains("+avx512f");
    Target {
        triple,
        cpu,
        features,
        model: "test".to_string(),
        cores: 2,
        vector_bytes: if wide { 64 } else { 16 },
        vector_registers: if wide { 32 } else { 16 },
        masks: wide,
        cache_bytes: vec![32 << 10, 1 << 20],
        line_bytes: 64,
        peak_gflops_f32: None,
        peak_gflops_f64: None,
        bandwidth_gb_s: None,
        crossing_store: None,
    }
}

/// Bytes at an address aligned to 8 but to nothing more, or at a chosen distance from a cache line.
pub struct Aligned {
    words: Vec<u64>,
    begin: usize,
    len: usize,
}

impl Aligned {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Aligned {
        let mut aligned = Aligned { words: vec![0; bytes.len().div_ceil(8)], begin: 0, len: bytes.len() };
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }
    /// A copy of `bytes` that begins `past` bytes after a multiple of 64.
    pub fn past_a_line(bytes: &[u8], past: usize) -> Aligned {
        let words = vec![0_u64; (bytes.len() + 64 + past).div_ceil(8)];
        let begin = words.as_ptr().addr().next_multiple_of(64) - words.as_ptr().addr() + past;
        let mut aligned = Aligned { words, begin, len: bytes.len() };
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }
    /// The bytes.
    #[expect(unsafe_code, reason = "a view of words as bytes")]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: u64 has no invalid bytes, and `begin + len` is at most the words' size.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>().add(self.begin), self.len) }
    }
    /// The bytes, to write.
    #[expect(unsafe_code, reason = "a view of words as bytes")]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and any bytes make valid words.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast::<u8>().add(self.begin), self.len) }
    }
}

/// An element; floats of any width as f64, rounded to their width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum V {
    /// A float.
    F(f64),
    /// An integer.
    I(i64),
    /// A truth value.
    B(bool),
}

/// Equal (NaN to NaN), or within a relative tolerance above 0.
pub fn close(got: V, want: V, tolerance: f64) -> bool {
    match (got, want) {
        (V::F(a), V::F(b)) => {
            (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= tolerance * (1.0 + b.abs()) && tolerance > 0.0
        }
        (a, b) => a == b,
    }
}

/// Contents for every buffer; those named `…_special` hold the corners of their type.
pub fn random_buffers(nest: &LoopNest, seed: u64) -> Vec<Vec<V>> {
    let mut rng = StdRng::seed_from_u64(seed);
    nest.buffers
        .iter()
        .map(|buffer| {
            let special = buffer.name.ends_with("_special");
            (0..buffer.len)
                .map(|_| match buffer.role {
                    BufferRole::Param(_) => random(buffer.dtype, special, &mut rng),
                    _ if buffer.dtype.is_float() => V::F(f64::NAN),
                    _ if buffer.dtype == DType::Bool => V::B(true),
                    _ => V::I(-77),
                })
                .collect()
        })
        .collect()
}

fn random(dtype: DType, special: bool, rng: &mut StdRng) -> V {
    let ints: &[i64] = &[0, 1, -1, 2, -2, 3, 31, 32, 33, 63, 64, 65, -7, i64::from(i32::MIN), i64::from(i32::MAX)];
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        2147483648.0,
        -2147483648.0,
        9.3e18,
        -9.3e18,
        1e30,
    ];
    let pick = special && rng.random_bool(0.6);
    match dtype {
        DType::Bool => V::B(rng.random_bool(0.5)),
        DType::I32 if pick => V::I(ints[rng.random_range(0..ints.len())]),
        DType::I64 if pick && rng.random_bool(0.2) => V::I(if rng.random_bool(0.5) { i64::MIN } else { i64::MAX }),
        DType::I64 if pick => V::I(ints[rng.random_range(0..ints.len())]),
        _ if dtype.is_int() => V::I(rng.random_range(-9..10)),
        _ if pick => V::F(round(floats[rng.random_range(0..floats.len())], dtype)),
        _ => V::F(round(rng.random_range(-2.0..2.0), dtype)),
    }
}

fn round(x: f64, dtype: DType) -> f64 {
    if dtype == DType::F32 { f64::from(x as f32) } else { x }
}

fn wrap(x: i64, dtype: DType) -> i64 {
    if dtype == DType::I32 { i64::from(x as i32) } else { x }
}

/// The buffers of some roles as memory.
pub fn bytes_of(nest: &LoopNest, values: &[Vec<V>], which: fn(&BufferRole) -> bool) -> Vec<Vec<u8>> {
    nest.buffers
        .iter()
        .zip(values)
        .filter(|(buffer, _)| which(&buffer.role))
        .map(|(buffer, values)| {
            values
                .iter()
                .flat_map(|value| match (*value, buffer.dtype) {
                    (V::F(x), DType::F32) => (x as f32).to_ne_bytes().to_vec(),
                    (V::F(x), _) => x.to_ne_bytes().to_vec(),
                    (V::I(x), DType::I32) => (x as i32).to_ne_bytes().to_vec(),
                    (V::I(x), _) => x.to_ne_bytes().to_vec(),
                    (V::B(x), _) => vec![u8::from(x)],
                })
                .collect()
        })
        .collect()
}

/// Memory as values.
pub fn values_of(dtype: DType, bytes: &[u8]) -> Vec<V> {
    bytes
        .chunks(dtype.bytes())
        .map(|chunk| match dtype {
            DType::F32 => V::F(f64::from(f32::from_ne_bytes(chunk.try_into().expect("a test value")))),
            DType::F64 => V::F(f64::from_ne_bytes(chunk.try_into().expect("a test value"))),
            DType::I32 => V::I(i64::from(i32::from_ne_bytes(chunk.try_into().expect("a test value")))),
            DType::I64 => V::I(i64::from_ne_bytes(chunk.try_into().expect("a test value"))),
            DType::Bool => V::B(chunk[0] != 0),
            other => panic!("no test values of {other}"),
        })
        .collect()
}

/// The nest as it is written: no tiles, no vectors.
pub fn interpret(nest: &LoopNest, start: &[Vec<V>]) -> Vec<Vec<V>> {
    let mut buffers = start.to_vec();
    let mut vars = vec![0; nest.vars.len()];
    run_nodes(nest, &nest.body, &mut vars, &mut buffers);
    buffers
}

fn bounds(range: &Range, vars: &[i64]) -> (i64, i64) {
    let lo = range.lo.iter().map(|form| form.evaluate(|v| vars[v])).max().expect("a test value");
    let hi = range.hi.iter().map(|form| form.evaluate(|v| vars[v])).min().expect("a test value");
    (lo, hi)
}

fn run_nodes(nest: &LoopNest, nodes: &[Node], vars: &mut Vec<i64>, buffers: &mut Vec<Vec<V>>) {
    for node in nodes {
        match node {
            Node::Loop(inner) => {
                let (mut x, hi) = bounds(&inner.range, vars);
                while x < hi {
                    vars[inner.var] = x;
                    run_nodes(nest, &inner.body, vars, buffers);
                    x += inner.step as i64;
                }
            }
            Node::Tile(tile) => {
                each(&tile.points, vars, &mut |vars| {
                    let dtype = nest.buffers[tile.target].dtype;
                    let at = tile.offset.evaluate(|v| vars[v]) as usize;
                    let value = match &tile.fold {
                        None => scalar(nest, tile, vars, buffers),
                        Some(fold) => {
                            let first = fold.first.iter().all(|form| form.evaluate(|v| vars[v]) == 0);
                            let mut sum =
                                if first { from_literal(fold.op.identity(dtype)) } else { buffers[tile.target][at] };
                            each(&tile.folds, &mut vars.clone(), &mut |vars| {
                                sum = binary_value(fold.op.combine(), sum, scalar(nest, tile, vars, buffers), dtype);
                            });
                            sum
                        }
                    };
                    buffers[tile.target][at] = value;
                });
            }
        }
    }
}

fn each(axes: &[TileAxis], vars: &mut Vec<i64>, body: &mut dyn FnMut(&mut Vec<i64>)) {
    let Some((axis, rest)) = axes.split_first() else { return body(vars) };
    let (lo, hi) = bounds(&axis.range, vars);
    for x in lo..hi {
        vars[axis.var] = x;
        each(rest, vars, body);
    }
}

fn from_literal(literal: Literal) -> V {
    match literal {
        Literal::Bool(b) => V::B(b),
        Literal::Int(i) => V::I(i),
        Literal::Float(bits) => V::F(f64::from_bits(bits)),
    }
}

fn scalar(nest: &LoopNest, tile: &Tile, vars: &[i64], buffers: &[Vec<V>]) -> V {
    let mut values: Vec<V> = Vec::new();
    let mut dtypes: Vec<DType> = Vec::new();
    for node in &tile.value {
        let (value, dtype) = match node {
            TileScalar::Gather { buffer, offset, stride, at } => {
                let V::I(index) = values[*at] else { panic!("an index that is no integer") };
                let at = offset.evaluate(|v| vars[v]) + stride * index;
                (buffers[*buffer][at as usize], nest.buffers[*buffer].dtype)
            }
            TileScalar::Load { buffer, offset } => {
                (buffers[*buffer][offset.evaluate(|v| vars[v]) as usize], nest.buffers[*buffer].dtype)
            }
            TileScalar::Compute(node) => {
                let value = match &node.op {
                    ScalarOp::Load(..) => unreachable!(),
                    ScalarOp::Const(literal) => from_literal(literal.at(node.dtype)),
                    ScalarOp::Index(form) => V::I(wrap(form.evaluate(|v| vars[v]), node.dtype)),
                    ScalarOp::Unary(op, x) => unary_value(*op, values[*x], node.dtype),
                    ScalarOp::Binary(op, x, y) => binary_value(*op, values[*x], values[*y], dtypes[*x]),
                    ScalarOp::Where(c, x, y) => values[if values[*c] == V::B(true) { *x } else { *y }],
                    ScalarOp::Cast(x) => cast(values[*x], node.dtype),
                };
                (value, node.dtype)
            }
        };
        values.push(value);
        dtypes.push(dtype);
    }
    *values.last().expect("a test value")
}

fn cast(value: V, to: DType) -> V {
    let low = |bits: u32| -(2f64.powi(bits as i32 - 1));
    match (value, to) {
        (V::B(b), DType::Bool) => V::B(b),
        (V::I(i), DType::Bool) => V::B(i != 0),
        (V::F(x), DType::Bool) => V::B(x != 0.0),
        (V::B(b), _) if to.is_float() => V::F(f64::from(u8::from(b))),
        (V::B(b), _) => V::I(i64::from(b)),
        (V::I(i), DType::F32) => V::F(f64::from(i as f32)),
        (V::I(i), DType::F64) => V::F(i as f64),
        (V::I(i), _) => V::I(wrap(i, to)),
        (V::F(x), DType::I32) if x.is_nan() || x < low(32) || x >= -low(32) => V::I(i64::from(i32::MIN)),
        (V::F(x), DType::I64) if x.is_nan() || x < low(64) || x >= -low(64) => V::I(i64::MIN),
        (V::F(x), _) if to.is_int() => V::I(x as i64),
        (V::F(x), _) => V::F(round(x, to)),
    }
}

/// erf by a series of positive terms: e^(−x²) · 2/√π · Σ 2ⁿ x^(2n+1) / (2n+1)!!.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI * sum
}

fn unary_value(op: UnaryOp, x: V, dtype: DType) -> V {
    match x {
        V::B(b) => V::B(if op == UnaryOp::Not { !b } else { b }),
        V::I(i) => V::I(wrap(
            match op {
                UnaryOp::Neg => i.wrapping_neg(),
                UnaryOp::Not => !i,
                UnaryOp::Abs => i.wrapping_abs(),
                UnaryOp::Sign => i.signum(),
                other => panic!("{other:?} of an integer"),
            },
            dtype,
        )),
        V::F(x) => V::F(round(
            match op {
                UnaryOp::Neg => -x,
                UnaryOp::Abs => x.abs(),
                UnaryOp::Sign if x == 0.0 => 0.0,
                UnaryOp::Sign if x.is_nan() => x,
                UnaryOp::Sign => x.signum(),
                UnaryOp::Sqrt => x.sqrt(),
                UnaryOp::Exp => x.exp(),
                UnaryOp::Log => x.ln(),
                UnaryOp::Sin => x.sin(),
                UnaryOp::Cos => x.cos(),
                UnaryOp::Tanh => x.tanh(),
                UnaryOp::Erf => erf(x),
                UnaryOp::Floor => x.floor(),
                UnaryOp::Not => panic!("not of a float"),
            },
            dtype,
        )),
    }
}

fn divmod(a: f64, b: f64, dtype: DType) -> (f64, f64) {
    let r = |x| round(x, dtype);
    let mut rest = a % b;
    if b == 0.0 {
        return (r(a / b), rest);
    }
    let mut div = r(r(a - rest) / b);
    if rest != 0.0 {
        if (b < 0.0) != (rest < 0.0) {
            rest = r(rest + b);
            div = r(div - 1.0);
        }
    } else {
        rest = 0f64.copysign(b);
    }
    let whole = if div != 0.0 {
        let floor = div.floor();
        if r(div - floor) > 0.5 { floor + 1.0 } else { floor }
    } else {
        0f64.copysign(a / b)
    };
    (whole, rest)
}

fn int_value(op: BinaryOp, a: i64, b: i64, dtype: DType) -> i64 {
    let width = 8 * dtype.bytes() as i64;
    let value = match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::FloorDiv if b == 0 => 0,
        BinaryOp::FloorDiv if b == -1 => a.wrapping_neg(),
        BinaryOp::FloorDiv => a.div_euclid(b) - i64::from(b < 0 && a.rem_euclid(b) != 0),
        BinaryOp::Mod if b == 0 || b == -1 => 0,
        BinaryOp::Mod => {
            let rest = a % b;
            if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
        }
        BinaryOp::Pow if b < 0 => match a {
            1 => 1,
            -1 => 1 - 2 * (b & 1),
            _ => 0,
        },
        BinaryOp::Pow => {
            let (mut result, mut base, mut exponent) = (1i64, a, b);
            while exponent > 0 {
                if exponent & 1 == 1 {
                    result = result.wrapping_mul(base);
                }
                base = base.wrapping_mul(base);
                exponent >>= 1;
            }
            result
        }
        BinaryOp::Minimum => a.min(b),
        BinaryOp::Maximum => a.max(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl if (0..width).contains(&b) => a << b,
        BinaryOp::Shl => 0,
        BinaryOp::Shr if (0..width).contains(&b) => a >> b,
        BinaryOp::Shr => -i64::from(a < 0),
        other => panic!("{other:?} of integers"),
    };
    wrap(value, dtype)
}

fn binary_value(op: BinaryOp, a: V, b: V, dtype: DType) -> V {
    use std::cmp::Ordering::{Equal, Greater, Less};
    if op.is_comparison() {
        let order = match (a, b) {
            (V::F(a), V::F(b)) => a.partial_cmp(&b),
            (V::I(a), V::I(b)) => Some(a.cmp(&b)),
            (V::B(a), V::B(b)) => Some(a.cmp(&b)),
            other => panic!("{other:?}"),
        };
        return V::B(match op {
            BinaryOp::Eq => order == Some(Equal),
            BinaryOp::Ne => order != Some(Equal),
            BinaryOp::Lt => order == Some(Less),
            BinaryOp::Le => matches!(order, Some(Less | Equal)),
            BinaryOp::Gt => order == Some(Greater),
            _ => matches!(order, Some(Greater | Equal)),
        });
    }
    match (a, b) {
        (V::I(a), V::I(b)) => V::I(int_value(op, a, b, dtype)),
        (V::B(a), V::B(b)) => V::B(match op {
            BinaryOp::Add | BinaryOp::Or | BinaryOp::Maximum => a | b,
            BinaryOp::Mul | BinaryOp::And | BinaryOp::Minimum => a & b,
            _ => a ^ b,
        }),
        (V::F(a), V::F(b)) => V::F(round(
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::FloorDiv => divmod(a, b, dtype).0,
                BinaryOp::Mod => divmod(a, b, dtype).1,
                BinaryOp::Pow => a.powf(b),
                BinaryOp::Minimum | BinaryOp::Maximum if a.is_nan() || b.is_nan() => f64::NAN,
                BinaryOp::Minimum => a.min(b),
                BinaryOp::Maximum => a.max(b),
                other => panic!("{other:?} of floats"),
            },
            dtype,
        )),
        other => panic!("{other:?}"),
    }
}
