//! Small programs that use every operator, built without the frontend.

#![allow(dead_code, reason = "each test crate uses a part")]

use moat_optimizer::program::expr::{InputHint, Node, NodeId, Op, Param, Program, SliceAxis, Span, SumOrder};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// Builds a program node by node.
pub(crate) struct B {
    program: Program,
}

impl B {
    pub(crate) fn new(name: &str) -> B {
        B { program: Program { name: name.to_owned(), ..Program::default() } }
    }

    pub(crate) fn input(&mut self, name: &str, dtype: DType, shape: &[usize]) -> NodeId {
        let at = self.program.params.len();
        self.program.params.push(Param { name: name.to_owned(), dtype, shape: shape.to_vec(), hint: InputHint::Any });
        self.op(Op::Input(at), &[], shape, dtype)
    }

    pub(crate) fn f32(&mut self, name: &str, shape: &[usize]) -> NodeId {
        self.input(name, DType::F32, shape)
    }

    pub(crate) fn op(&mut self, op: Op, args: &[NodeId], shape: &[usize], dtype: DType) -> NodeId {
        self.program.nodes.push(Node {
            op,
            args: args.to_vec(),
            shape: shape.to_vec(),
            live: vec![],
            dtype,
            span: Span::default(),
        });
        self.program.nodes.len() - 1
    }

    pub(crate) fn shape(&self, node: NodeId) -> Vec<usize> {
        self.program.nodes[node].shape.clone()
    }

    pub(crate) fn dtype(&self, node: NodeId) -> DType {
        self.program.nodes[node].dtype
    }

    pub(crate) fn constant(&mut self, value: f64, dtype: DType) -> NodeId {
        let literal = if dtype.is_float() { Literal::float(value) } else { Literal::Int(value as i64) };
        self.op(Op::Const(literal.at(dtype)), &[], &[], dtype)
    }

    pub(crate) fn broadcast(&mut self, a: NodeId, shape: &[usize]) -> NodeId {
        if self.shape(a) == shape {
            return a;
        }
        let dtype = self.dtype(a);
        self.op(Op::Broadcast, &[a], shape, dtype)
    }

    pub(crate) fn bin(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> NodeId {
        let (sa, sb) = (self.shape(a), self.shape(b));
        let rank = sa.len().max(sb.len());
        let at = |s: &[usize], axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
        let shape: Vec<usize> =
            (0..rank).map(|axis| if at(&sa, axis) == 1 { at(&sb, axis) } else { at(&sa, axis) }).collect();
        let (a, b) = (self.broadcast(a, &shape), self.broadcast(b, &shape));
        let dtype = op.result(self.dtype(a));
        self.op(Op::Binary(op), &[a, b], &shape, dtype)
    }

    pub(crate) fn add(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.bin(BinaryOp::Add, a, b)
    }

    pub(crate) fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.bin(BinaryOp::Mul, a, b)
    }

    pub(crate) fn un(&mut self, op: UnaryOp, a: NodeId) -> NodeId {
        let (shape, dtype) = (self.shape(a), self.dtype(a));
        self.op(Op::Unary(op), &[a], &shape, dtype)
    }

    pub(crate) fn matmul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let (sa, sb) = (self.shape(a), self.shape(b));
        let mut shape = Vec::new();
        let batch = sa.len().max(sb.len()).saturating_sub(2);
        for axis in 0..batch {
            let at = |s: &[usize]| (axis + s.len().saturating_sub(2)).checked_sub(batch).map_or(1, |i| s[i]);
            shape.push(at(&sa).max(at(&sb)));
        }
        if sa.len() > 1 {
            shape.push(sa[sa.len() - 2]);
        }
        if sb.len() > 1 {
            shape.push(sb[sb.len() - 1]);
        }
        let dtype = self.dtype(a);
        self.op(Op::MatMul, &[a, b], &shape, dtype)
    }

    pub(crate) fn transpose(&mut self, a: NodeId, axes: &[usize]) -> NodeId {
        let shape = self.shape(a);
        let shape: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let dtype = self.dtype(a);
        self.op(Op::Transpose(axes.to_vec()), &[a], &shape, dtype)
    }

    pub(crate) fn reshape(&mut self, a: NodeId, shape: &[usize]) -> NodeId {
        let dtype = self.dtype(a);
        self.op(Op::Reshape, &[a], shape, dtype)
    }

    pub(crate) fn index(&mut self, a: NodeId, axis: usize, at: usize) -> NodeId {
        let mut shape = self.shape(a);
        shape.remove(axis);
        let dtype = self.dtype(a);
        self.op(Op::Index { axis, at }, &[a], &shape, dtype)
    }

    /// `start, step, len` for each axis.
    pub(crate) fn slice(&mut self, a: NodeId, axes: &[(i64, i64, usize)]) -> NodeId {
        let shape: Vec<usize> = axes.iter().map(|axis| axis.2).collect();
        let axes = axes.iter().map(|&(start, step, len)| SliceAxis { start, step, len }).collect();
        let dtype = self.dtype(a);
        self.op(Op::Slice(axes), &[a], &shape, dtype)
    }

    pub(crate) fn reduce(&mut self, op: FoldOp, a: NodeId, axes: &[usize]) -> NodeId {
        let shape = self.shape(a);
        let shape: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
        let dtype = self.dtype(a);
        self.op(Op::Reduce { op, axes: axes.to_vec(), order: SumOrder::default() }, &[a], &shape, dtype)
    }

    pub(crate) fn keep(&mut self, op: FoldOp, a: NodeId, axis: usize) -> NodeId {
        let reduced = self.reduce(op, a, &[axis]);
        let mut shape = self.shape(a);
        shape[axis] = 1;
        self.reshape(reduced, &shape)
    }

    pub(crate) fn concat(&mut self, axis: usize, args: &[NodeId]) -> NodeId {
        let mut shape = self.shape(args[0]);
        shape[axis] = args.iter().map(|&a| self.shape(a)[axis]).sum();
        let dtype = self.dtype(args[0]);
        self.op(Op::Concat { axis }, args, &shape, dtype)
    }

    pub(crate) fn done(mut self, roots: &[NodeId]) -> Program {
        self.program.roots = roots.to_vec();
        self.program.returns_tuple = roots.len() > 1;
        self.program
    }
}

pub(crate) fn gemm() -> Program {
    let mut b = B::new("gemm");
    let alpha = b.f32("alpha", &[]);
    let x = b.f32("A", &[6, 5]);
    let y = b.f32("B", &[5, 7]);
    let c = b.f32("C", &[6, 7]);
    let mm = b.matmul(x, y);
    let scaled = b.mul(alpha, mm);
    let out = b.add(scaled, c);
    b.done(&[out])
}

pub(crate) fn softmax() -> Program {
    let mut b = B::new("softmax");
    let x = b.f32("x", &[8, 16]);
    let m = b.keep(FoldOp::Max, x, 1);
    let d = b.bin(BinaryOp::Sub, x, m);
    let e = b.un(UnaryOp::Exp, d);
    let s = b.keep(FoldOp::Sum, e, 1);
    let out = b.bin(BinaryOp::Div, e, s);
    b.done(&[out])
}

pub(crate) fn transposed_row() -> Program {
    let mut b = B::new("transposed_row");
    let x = b.f32("A", &[64, 32]);
    let y = b.f32("B", &[64, 32]);
    let sum = b.add(x, y);
    let t = b.transpose(sum, &[1, 0]);
    let row = b.index(t, 0, 0);
    b.done(&[row])
}

pub(crate) fn blur() -> Program {
    let mut b = B::new("blur");
    let x = b.f32("x", &[20, 30]);
    let third = b.constant(1.0 / 3.0, DType::F32);
    let p = b.slice(x, &[(0, 1, 20), (0, 1, 28)]);
    let q = b.slice(x, &[(0, 1, 20), (1, 1, 28)]);
    let r = b.slice(x, &[(0, 1, 20), (2, 1, 28)]);
    let h = b.add(p, q);
    let h = b.add(h, r);
    let h = b.mul(h, third);
    let p = b.slice(h, &[(0, 1, 18), (0, 1, 28)]);
    let q = b.slice(h, &[(1, 1, 18), (0, 1, 28)]);
    let r = b.slice(h, &[(2, 1, 18), (0, 1, 28)]);
    let v = b.add(p, q);
    let v = b.add(v, r);
    let v = b.mul(v, third);
    b.done(&[v])
}

pub(crate) fn conv() -> Program {
    let mut b = B::new("conv");
    let x = b.f32("x", &[3, 10, 12]);
    let w = b.f32("w", &[4, 3, 3, 3]);
    let windows = b.op(Op::Window { windows: vec![(1, 3), (2, 3)] }, &[x], &[3, 8, 10, 3, 3], DType::F32);
    let out = b.op(
        Op::Einsum { inputs: vec![vec![0, 1, 2, 3, 4], vec![5, 0, 3, 4]], output: vec![5, 1, 2] },
        &[windows, w],
        &[4, 8, 10],
        DType::F32,
    );
    b.done(&[out])
}

pub(crate) fn kron() -> Program {
    let mut b = B::new("kron");
    let x = b.f32("A", &[3, 4]);
    let y = b.f32("B", &[5, 2]);
    let o = b.op(Op::Outer(BinaryOp::Mul), &[x, y], &[3, 4, 5, 2], DType::F32);
    let t = b.transpose(o, &[0, 2, 1, 3]);
    let out = b.reshape(t, &[15, 8]);
    b.done(&[out])
}

pub(crate) fn chain() -> Program {
    let mut b = B::new("chain");
    let x = b.f32("A", &[30, 40]);
    let y = b.f32("B", &[40, 50]);
    let v = b.f32("v", &[50]);
    let m = b.matmul(x, y);
    let out = b.matmul(m, v);
    b.done(&[out])
}

pub(crate) fn trace() -> Program {
    let mut b = B::new("trace");
    let x = b.f32("A", &[30, 40]);
    let y = b.f32("B", &[40, 30]);
    let m = b.matmul(x, y);
    let out = b.op(Op::Trace { offset: 0 }, &[m], &[], DType::F32);
    b.done(&[out])
}

pub(crate) fn pads() -> Program {
    let mut b = B::new("pads");
    let x = b.f32("x", &[4, 5]);
    let pad = b.op(Op::Pad { widths: vec![(1, 2), (0, 3)], value: Literal::float(2.5) }, &[x], &[7, 8], DType::F32);
    let roll = b.op(Op::Roll { shift: 2, axis: 1 }, &[pad], &[7, 8], DType::F32);
    let cat = b.concat(0, &[roll, pad]);
    let inner = b.slice(cat, &[(8, 1, 4), (0, 1, 5)]);
    b.done(&[cat, inner])
}

pub(crate) fn triangles() -> Program {
    let mut b = B::new("triangles");
    let x = b.f32("x", &[5, 5]);
    let lower = b.op(Op::Tril { k: -1 }, &[x], &[5, 5], DType::F32);
    let upper = b.op(Op::Triu { k: 1 }, &[x], &[5, 5], DType::F32);
    let eye = b.op(Op::Eye { k: 0 }, &[], &[5, 5], DType::F32);
    let sum = b.add(lower, upper);
    let sum = b.add(sum, eye);
    b.done(&[sum])
}

pub(crate) fn reshapes() -> Program {
    let mut b = B::new("reshapes");
    let x = b.f32("x", &[6, 4]);
    let y = b.reshape(x, &[3, 8]);
    let z = b.reshape(y, &[2, 3, 4]);
    let w = b.reshape(x, &[2, 3, 4]);
    let sum = b.add(z, w);
    let flat = b.reshape(sum, &[24]);
    let odd = b.slice(flat, &[(1, 2, 12)]);
    let odd = b.reshape(odd, &[4, 3]);
    let t = b.transpose(odd, &[1, 0]);
    let r = b.reshape(t, &[2, 6]);
    b.done(&[odd, r])
}

pub(crate) fn mixed() -> Program {
    let mut b = B::new("mixed");
    let x = b.input("x", DType::I64, &[4, 4]);
    let table = b.op(
        Op::Array(vec![Literal::Int(1), Literal::Int(1), Literal::Int(2), Literal::Int(7)]),
        &[],
        &[4],
        DType::I64,
    );
    let range = b.op(Op::Arange { start: Literal::Int(3), step: Literal::Int(2) }, &[], &[4], DType::I64);
    let y = b.mul(x, table);
    let y = b.add(y, range);
    let d = b.op(Op::Diagonal { offset: 1, axis1: 0, axis2: 1 }, &[y], &[3], DType::I64);
    let f = b.op(Op::Flip(vec![0]), &[d], &[3], DType::I64);
    let c = b.op(Op::Cast, &[f], &[3], DType::F64);
    let three = b.constant(3.0, DType::F64);
    let p = b.bin(BinaryOp::Gt, c, three);
    let three = b.broadcast(three, &[3]);
    let w = b.op(Op::Where, &[p, c, three], &[3], DType::F64);
    let any = b.reduce(FoldOp::Any, p, &[0]);
    let i = b.op(Op::Inner, &[x, table], &[4], DType::I64);
    let dot = b.op(Op::Dot, &[x, y], &[4, 4], DType::I64);
    b.done(&[w, any, i, dot, x, x])
}

pub(crate) fn minplus() -> Program {
    let mut b = B::new("minplus");
    let x = b.f32("A", &[6, 5]);
    let y = b.f32("B", &[5, 7]);
    let x3 = b.reshape(x, &[6, 5, 1]);
    let y3 = b.reshape(y, &[1, 5, 7]);
    let sum = b.add(x3, y3);
    let out = b.reduce(FoldOp::Min, sum, &[1]);
    b.done(&[out])
}

pub(crate) fn jacobi() -> Program {
    let mut b = B::new("jacobi");
    let x = b.f32("x", &[10, 10]);
    let quarter = b.constant(0.25, DType::F32);
    let n = b.slice(x, &[(0, 1, 8), (1, 1, 8)]);
    let s = b.slice(x, &[(2, 1, 8), (1, 1, 8)]);
    let w = b.slice(x, &[(1, 1, 8), (0, 1, 8)]);
    let e = b.slice(x, &[(1, 1, 8), (2, 1, 8)]);
    let sum = b.add(n, s);
    let sum = b.add(sum, w);
    let sum = b.add(sum, e);
    let inner = b.mul(sum, quarter);
    let out =
        b.op(Op::Pad { widths: vec![(1, 1), (1, 1)], value: Literal::float(0.0) }, &[inner], &[10, 10], DType::F32);
    b.done(&[out])
}

/// `((A @ B) @ C) @ D` with extents that make the order matter.
pub(crate) fn long_chain() -> Program {
    let mut b = B::new("long_chain");
    let n = [5, 30, 3, 20, 2, 40, 7];
    let mut m = b.f32("A0", &[n[0], n[1]]);
    for i in 1..n.len() - 1 {
        let next = b.f32(&format!("A{i}"), &[n[i], n[i + 1]]);
        m = b.matmul(m, next);
    }
    b.done(&[m])
}

pub(crate) fn empty() -> Program {
    let mut b = B::new("empty");
    let x = b.f32("x", &[0, 4]);
    let y = b.add(x, x);
    let s = b.reduce(FoldOp::Sum, y, &[0]);
    let r = b.reshape(y, &[2, 0]);
    b.done(&[s, r, y])
}

pub(crate) fn all() -> Vec<Program> {
    vec![
        gemm(),
        softmax(),
        transposed_row(),
        blur(),
        conv(),
        kron(),
        chain(),
        trace(),
        pads(),
        triangles(),
        reshapes(),
        mixed(),
        minplus(),
        jacobi(),
        long_chain(),
        empty(),
    ]
}
