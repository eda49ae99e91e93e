//! Normal forms written by hand: samples for the stages after `normalize`.
//!
//! Every function gives a well-formed [`NormalForm`] from extents and an element type. Nothing
//! here depends on any stage, so that a test of one stage cannot fail because of another.

use moat_optimizer::form::normal_form::{Def, NormalForm, Piece};
use moat_optimizer::form::scalar_tree::{Access, Scalar, ScalarNode, ScalarOp, Source};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::program::expr::{InputHint, Param};
use moat_optimizer::storage::{Schedulable, accept};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// Writes a scalar expression node by node.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    nodes: Vec<ScalarNode>,
}

impl Terms {
    /// Appends a node and gives its index.
    pub fn push(&mut self, op: ScalarOp, dtype: DType) -> usize {
        self.nodes.push(ScalarNode { op, dtype });
        self.nodes.len() - 1
    }

    /// `source[index…]`.
    pub fn load(&mut self, source: Source, index: Vec<Affine>, dtype: DType) -> usize {
        self.push(ScalarOp::Load(source, Access::Axes(index)), dtype)
    }

    /// `parameter[index…]`.
    pub fn param(&mut self, parameter: usize, index: Vec<Affine>, dtype: DType) -> usize {
        self.load(Source::Param(parameter), index, dtype)
    }

    /// `definition[index…]`.
    pub fn def(&mut self, definition: usize, index: Vec<Affine>, dtype: DType) -> usize {
        self.load(Source::Def(definition), index, dtype)
    }

    /// A number at `dtype`; a whole one for an integer type.
    pub fn number(&mut self, value: f64, dtype: DType) -> usize {
        let literal = if dtype.is_float() { Literal::float(value).at(dtype) } else { Literal::Int(value as i64) };
        self.push(ScalarOp::Const(literal), dtype)
    }

    /// `op(left, right)`; not for comparisons.
    pub fn binary(&mut self, op: BinaryOp, left: usize, right: usize, dtype: DType) -> usize {
        self.push(ScalarOp::Binary(op, left, right), op.result(dtype))
    }

    /// `op(operand)`.
    pub fn unary(&mut self, op: UnaryOp, operand: usize, dtype: DType) -> usize {
        self.push(ScalarOp::Unary(op, operand), dtype)
    }

    /// The expression; its value is the last node.
    pub fn scalar(self) -> Scalar {
        Scalar { nodes: self.nodes }
    }
}

/// The variable `axis`.
pub fn axis(axis: usize) -> Affine {
    Affine::variable(axis)
}

/// A parameter with no hint.
pub fn param(name: &str, dtype: DType, shape: &[usize]) -> Param {
    Param { name: name.to_string(), dtype, shape: shape.to_vec(), hint: InputHint::Any }
}

/// `0 ≤ x < extent` for each extent.
pub fn boxed(extents: &[usize]) -> Vec<Range> {
    extents.iter().map(|&extent| Range::constant(0, extent as i64)).collect()
}

/// A definition with one piece over the box `shape ⧺ folds`.
pub fn def(name: &str, dtype: DType, shape: &[usize], fold: Option<(FoldOp, &[usize])>, value: Scalar) -> Def {
    let mut domain = boxed(shape);
    domain.extend(boxed(fold.map_or(&[], |(_, extents)| extents)));
    let pieces = vec![Piece { domain, fold: fold.map(|(op, _)| op), depth: None, value }];
    Def {
        name: name.to_string(),
        dtype,
        shape: shape.to_vec(),
        axes: shape.to_vec(),
        pieces,
        update: None,
        scope: vec![],
    }
}

fn ready(form: NormalForm) -> Schedulable {
    accept(form).unwrap_or_else(|error| panic!("{error}"))
}

/// `C[i, j] = Σ_k A[i, k] · B[k, j]`, A: [m, k], B: [k, n].
pub fn matmul(m: usize, n: usize, k: usize, dtype: DType) -> Schedulable {
    ready(NormalForm {
        params: vec![param("A", dtype, &[m, k]), param("B", dtype, &[k, n])],
        defs: vec![product("C", m, n, k, dtype, 0, 1)],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

fn product(name: &str, m: usize, n: usize, k: usize, dtype: DType, a: usize, b: usize) -> Def {
    let mut terms = Terms::default();
    let left = terms.param(a, vec![axis(0), axis(2)], dtype);
    let right = terms.param(b, vec![axis(2), axis(1)], dtype);
    terms.binary(BinaryOp::Mul, left, right, dtype);
    def(name, dtype, &[m, n], Some((FoldOp::Sum, &[k])), terms.scalar())
}

/// `out[i, j] = alpha · mm[i, j] + beta · C[i, j]` with `mm = A @ B`.
pub fn gemm(m: usize, n: usize, k: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let alpha = terms.param(0, vec![], dtype);
    let mm = terms.def(0, vec![axis(0), axis(1)], dtype);
    let left = terms.binary(BinaryOp::Mul, alpha, mm, dtype);
    let beta = terms.param(1, vec![], dtype);
    let c = terms.param(4, vec![axis(0), axis(1)], dtype);
    let right = terms.binary(BinaryOp::Mul, beta, c, dtype);
    terms.binary(BinaryOp::Add, left, right, dtype);
    ready(NormalForm {
        params: vec![
            param("alpha", dtype, &[]),
            param("beta", dtype, &[]),
            param("A", dtype, &[m, k]),
            param("B", dtype, &[k, n]),
            param("C", dtype, &[m, n]),
        ],
        defs: vec![product("mm", m, n, k, dtype, 2, 3), def("out", dtype, &[m, n], None, terms.scalar())],
        outputs: vec![1],
        ..NormalForm::default()
    })
}

/// Row-wise softmax of `x: [rows, columns]`: definitions m (row maximum), e, s (row sum), out.
pub fn softmax(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let at = || vec![axis(0), axis(1)];
    let mut m = Terms::default();
    m.param(0, at(), dtype);
    let mut e = Terms::default();
    let x = e.param(0, at(), dtype);
    let peak = e.def(0, vec![axis(0)], dtype);
    let difference = e.binary(BinaryOp::Sub, x, peak, dtype);
    e.unary(UnaryOp::Exp, difference, dtype);
    let mut s = Terms::default();
    s.def(1, at(), dtype);
    let mut out = Terms::default();
    let numerator = out.def(1, at(), dtype);
    let denominator = out.def(2, vec![axis(0)], dtype);
    out.binary(BinaryOp::Div, numerator, denominator, dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[rows, columns])],
        defs: vec![
            def("m", dtype, &[rows], Some((FoldOp::Max, &[columns])), m.scalar()),
            def("e", dtype, &[rows, columns], None, e.scalar()),
            def("s", dtype, &[rows], Some((FoldOp::Sum, &[columns])), s.scalar()),
            def("out", dtype, &[rows, columns], None, out.scalar()),
        ],
        outputs: vec![3],
        ..NormalForm::default()
    })
}

/// The separable 3×3 box blur of `x: [rows, columns]`: definitions h: [rows, columns − 2] and
/// out: [rows − 2, columns − 2].
pub fn blur(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let mean = |source: Source, along: usize| {
        let mut terms = Terms::default();
        let mut sum = None;
        for shift in 0..3 {
            let mut index = vec![axis(0), axis(1)];
            index[along] = index[along].offset(shift);
            let x = terms.load(source, index, dtype);
            sum = Some(match sum {
                None => x,
                Some(before) => terms.binary(BinaryOp::Add, before, x, dtype),
            });
        }
        let three = terms.number(3.0, dtype);
        terms.binary(BinaryOp::Div, sum.unwrap_or(three), three, dtype);
        terms.scalar()
    };
    ready(NormalForm {
        params: vec![param("x", dtype, &[rows, columns])],
        defs: vec![
            def("h", dtype, &[rows, columns - 2], None, mean(Source::Param(0), 1)),
            def("out", dtype, &[rows - 2, columns - 2], None, mean(Source::Def(0), 0)),
        ],
        outputs: vec![1],
        ..NormalForm::default()
    })
}

/// `out[i] = Σ_j x[i, j]`.
pub fn rowsum(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    terms.param(0, vec![axis(0), axis(1)], dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[rows, columns])],
        defs: vec![def("out", dtype, &[rows], Some((FoldOp::Sum, &[columns])), terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[j] = Σ_i x[i, j]`.
pub fn colsum(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    terms.param(0, vec![axis(1), axis(0)], dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[rows, columns])],
        defs: vec![def("out", dtype, &[columns], Some((FoldOp::Sum, &[rows])), terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[i, j] = x[j, i]`, x: [n, m].
pub fn transpose(m: usize, n: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    terms.param(0, vec![axis(1), axis(0)], dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[n, m])],
        defs: vec![def("out", dtype, &[m, n], None, terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[i, j] = x[j, i] + y[i, j]`.
pub fn transpose_add(m: usize, n: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let x = terms.param(0, vec![axis(1), axis(0)], dtype);
    let y = terms.param(1, vec![axis(0), axis(1)], dtype);
    terms.binary(BinaryOp::Add, x, y, dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[n, m]), param("y", dtype, &[m, n])],
        defs: vec![def("out", dtype, &[m, n], None, terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// One Jacobi step of the five-point stencil that keeps the border: `x: [n, n]`, five pieces.
pub fn jacobi(n: usize, dtype: DType) -> Schedulable {
    let last = n as i64 - 1;
    let mut copy = Terms::default();
    copy.param(0, vec![axis(0), axis(1)], dtype);
    let copy = copy.scalar();
    let mut inner = Terms::default();
    let mut sum = inner.param(0, vec![axis(0), axis(1)], dtype);
    for (down, right) in [(0, -1), (0, 1), (1, 0), (-1, 0)] {
        let x = inner.param(0, vec![axis(0).offset(down), axis(1).offset(right)], dtype);
        sum = inner.binary(BinaryOp::Add, sum, x, dtype);
    }
    let fifth = inner.number(0.2, dtype);
    inner.binary(BinaryOp::Mul, fifth, sum, dtype);
    let inner = inner.scalar();
    let piece = |rows: (i64, i64), columns: (i64, i64), value: &Scalar| Piece {
        domain: vec![Range::constant(rows.0, rows.1), Range::constant(columns.0, columns.1)],
        fold: None,
        depth: None,
        value: value.clone(),
    };
    let pieces = vec![
        piece((0, 1), (0, last + 1), &copy),
        piece((1, last), (0, 1), &copy),
        piece((1, last), (1, last), &inner),
        piece((1, last), (last, last + 1), &copy),
        piece((last, last + 1), (0, last + 1), &copy),
    ];
    ready(NormalForm {
        params: vec![param("x", dtype, &[n, n])],
        defs: vec![Def {
            name: "out".to_string(),
            dtype,
            shape: vec![n, n],
            axes: vec![n, n],
            pieces,
            update: None,
            scope: vec![],
        }],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[i] = 2·a[i] + 3·b[i]`.
pub fn axpby(n: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let mut products = Vec::new();
    for (parameter, factor) in [(0, 2.0), (1, 3.0)] {
        let factor = terms.number(factor, dtype);
        let x = terms.param(parameter, vec![axis(0)], dtype);
        products.push(terms.binary(BinaryOp::Mul, factor, x, dtype));
    }
    terms.binary(BinaryOp::Add, products[0], products[1], dtype);
    ready(NormalForm {
        params: vec![param("a", dtype, &[n]), param("b", dtype, &[n])],
        defs: vec![def("out", dtype, &[n], None, terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[i] = Σ_j A[i, j] · v[j]`.
pub fn matvec(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let a = terms.param(0, vec![axis(0), axis(1)], dtype);
    let v = terms.param(1, vec![axis(1)], dtype);
    terms.binary(BinaryOp::Mul, a, v, dtype);
    ready(NormalForm {
        params: vec![param("A", dtype, &[rows, columns]), param("v", dtype, &[columns])],
        defs: vec![def("out", dtype, &[rows], Some((FoldOp::Sum, &[columns])), terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out = Σ_i Σ_j x[i, j] · y[i, j]`: a scalar with two fold axes.
pub fn frobenius(rows: usize, columns: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let x = terms.param(0, vec![axis(0), axis(1)], dtype);
    let y = terms.param(1, vec![axis(0), axis(1)], dtype);
    terms.binary(BinaryOp::Mul, x, y, dtype);
    ready(NormalForm {
        params: vec![param("x", dtype, &[rows, columns]), param("y", dtype, &[rows, columns])],
        defs: vec![def("out", dtype, &[], Some((FoldOp::Sum, &[rows, columns])), terms.scalar())],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `out[o, i, j] = Σ_c Σ_p Σ_q w[o, c, p, q] · x[c, i + p, j + q]`, a valid convolution.
pub fn conv(outputs: usize, inputs: usize, size: usize, window: usize, dtype: DType) -> Schedulable {
    let mut terms = Terms::default();
    let w = terms.param(1, vec![axis(0), axis(3), axis(4), axis(5)], dtype);
    let x = terms.param(0, vec![axis(3), axis(1).plus(&axis(4)), axis(2).plus(&axis(5))], dtype);
    terms.binary(BinaryOp::Mul, w, x, dtype);
    let out = size - window + 1;
    ready(NormalForm {
        params: vec![param("x", dtype, &[inputs, size, size]), param("w", dtype, &[outputs, inputs, window, window])],
        defs: vec![def(
            "out",
            dtype,
            &[outputs, out, out],
            Some((FoldOp::Sum, &[inputs, window, window])),
            terms.scalar(),
        )],
        outputs: vec![0],
        ..NormalForm::default()
    })
}

/// `C[i, j] = Σ_{k ≤ i} A[i, k] · B[k, j]`: a lower triangular A, only its non-zero half.
pub fn triangular(n: usize, columns: usize, dtype: DType) -> Schedulable {
    let mut form = NormalForm::clone(&matmul(n, columns, n, dtype));
    form.defs[0].pieces[0].domain[2].hi = vec![axis(0).offset(1)];
    ready(form)
}

/// `out = concatenate(x, y) + ravel(t)`: two pieces that read a stored definition by its
/// flat offset. `x, y: [n]`, `t: [2, n]` is `t[r, i] = x[i] + r`, `out[i] = cat(x, y)[i] + ravel(t)[i]`.
pub fn flat(n: usize, dtype: DType) -> Schedulable {
    let mut t = Terms::default();
    let x = t.param(0, vec![axis(1)], dtype);
    let row = t.push(ScalarOp::Index(axis(0)), DType::I64);
    let row = t.push(ScalarOp::Cast(row), dtype);
    t.binary(BinaryOp::Add, x, row, dtype);
    let half = |parameter: usize, shift: i64| {
        let mut terms = Terms::default();
        let x = terms.param(parameter, vec![axis(0).offset(-shift)], dtype);
        let t = terms.push(ScalarOp::Load(Source::Def(0), Access::Flat(axis(0))), dtype);
        terms.binary(BinaryOp::Add, x, t, dtype);
        Piece { domain: vec![Range::constant(shift, shift + n as i64)], fold: None, depth: None, value: terms.scalar() }
    };
    let pieces = vec![half(0, 0), half(1, n as i64)];
    ready(NormalForm {
        params: vec![param("x", dtype, &[n]), param("y", dtype, &[n])],
        defs: vec![
            def("t", dtype, &[2, n], None, t.scalar()),
            Def {
                name: "out".to_string(),
                dtype,
                shape: vec![2 * n],
                axes: vec![2 * n],
                pieces,
                update: None,
                scope: vec![],
            },
        ],
        outputs: vec![1],
        ..NormalForm::default()
    })
}

/// Every sample at small extents, with its name.
pub fn samples(dtype: DType) -> Vec<(&'static str, Schedulable)> {
    vec![
        ("matmul", matmul(13, 21, 17, dtype)),
        ("gemm", gemm(9, 18, 7, dtype)),
        ("softmax", softmax(5, 37, dtype)),
        ("blur", blur(11, 40, dtype)),
        ("rowsum", rowsum(7, 45, dtype)),
        ("colsum", colsum(45, 19, dtype)),
        ("transpose", transpose(19, 23, dtype)),
        ("transpose_add", transpose_add(19, 23, dtype)),
        ("jacobi", jacobi(21, dtype)),
        ("axpby", axpby(77, dtype)),
        ("matvec", matvec(9, 41, dtype)),
        ("frobenius", frobenius(6, 35, dtype)),
        ("conv", conv(5, 3, 12, 3, dtype)),
        ("triangular", triangular(17, 20, dtype)),
        ("flat", flat(21, dtype)),
    ]
}
