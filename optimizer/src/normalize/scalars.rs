//! Hash-consed scalar expressions while their accesses are still open.

use crate::form::notation::canonical;
use crate::form::scalar_tree::{Scalar, ScalarNode, ScalarOp};
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};
use crate::value::scalar_eval;
use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Open {
    /// The n-th leaf of the piece.
    Leaf(usize),
    Closed(ScalarOp),
}

/// A scalar expression whose loads are numbers of leaves.
#[derive(Clone, Debug, Default)]
pub(super) struct ScalarBuilder {
    nodes: Vec<(Open, DType)>,
    /// Where each node stands.
    known: HashMap<(Open, DType), usize>,
    value: usize,
}

impl ScalarBuilder {
    fn add(&mut self, op: Open, dtype: DType) -> usize {
        *self.known.entry((op, dtype)).or_insert_with_key(|node| {
            self.nodes.push(node.clone());
            self.nodes.len() - 1
        })
    }

    pub(super) fn leaf(&mut self, leaf: usize, dtype: DType) -> usize {
        self.add(Open::Leaf(leaf), dtype)
    }

    pub(super) fn constant(&mut self, value: Literal, dtype: DType) -> usize {
        self.add(Open::Closed(ScalarOp::Const(value.at(dtype))), dtype)
    }

    pub(super) fn unary(&mut self, op: UnaryOp, x: usize, dtype: DType) -> usize {
        self.add(Open::Closed(ScalarOp::Unary(op, x)), dtype)
    }

    pub(super) fn binary(&mut self, op: BinaryOp, x: usize, y: usize, dtype: DType) -> usize {
        self.add(Open::Closed(ScalarOp::Binary(op, x, y)), dtype)
    }

    pub(super) fn select(&mut self, c: usize, x: usize, y: usize, dtype: DType) -> usize {
        self.add(Open::Closed(ScalarOp::Where(c, x, y)), dtype)
    }

    pub(super) fn cast(&mut self, x: usize, dtype: DType) -> usize {
        if self.nodes[x].1 == dtype {
            return x;
        }
        self.add(Open::Closed(ScalarOp::Cast(x)), dtype)
    }

    /// Says which node is the value.
    pub(super) fn finish(&mut self, value: usize) {
        self.value = value;
    }

    /// The expression with its leaves filled in, index arithmetic folded into index forms, and
    /// what is then unused left out.
    pub(super) fn emit(
        &self,
        domain: &[Range],
        mut leaf: impl FnMut(usize, &dyn Fn(usize) -> usize) -> ScalarOp,
    ) -> Scalar {
        let mut nodes: Vec<ScalarNode> = Vec::new();
        let mut known: HashMap<ScalarNode, usize> = HashMap::new();
        let mut place = Vec::with_capacity(self.nodes.len());
        for (open, dtype) in &self.nodes {
            let op = match open {
                Open::Leaf(n) => leaf(*n, &|x: usize| place[x]),
                Open::Closed(op) => op.renumbered(|x| place[x]),
            };
            let op = fold_constant(op, *dtype, &nodes);
            let node = ScalarNode { op: fold_index(op, *dtype, &nodes, domain), dtype: *dtype };
            let at = *known.entry(node).or_insert_with_key(|node| {
                nodes.push(node.clone());
                nodes.len() - 1
            });
            place.push(at);
        }
        nodes.truncate(place[self.value] + 1);
        canonical(&Scalar { nodes })
    }
}

/// Whether a unary operator of a constant has one right value, bit for bit.
pub(super) fn folds_unary(op: UnaryOp) -> bool {
    match op {
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Sqrt | UnaryOp::Floor => true,
        UnaryOp::Exp | UnaryOp::Log | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tanh | UnaryOp::Erf => false,
    }
}

/// The same of a binary operator.
pub(super) fn folds_binary(op: BinaryOp) -> bool {
    op != BinaryOp::Pow
}

/// An operation on constants as its value, where that is the same bit for bit.
pub(super) fn fold_constant(op: ScalarOp, dtype: DType, nodes: &[ScalarNode]) -> ScalarOp {
    let constant = |x: usize| match &nodes[x].op {
        ScalarOp::Const(value) => Some(*value),
        ScalarOp::Load(..)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    };
    let value = match &op {
        ScalarOp::Unary(unary, x) if folds_unary(*unary) => {
            constant(*x).and_then(|x| scalar_eval::unary(*unary, dtype, x).ok())
        }
        ScalarOp::Binary(binary, x, y) if folds_binary(*binary) => {
            let operands = constant(*x).zip(constant(*y));
            operands.and_then(|(a, b)| scalar_eval::binary(*binary, nodes[*x].dtype, a, b).ok())
        }
        ScalarOp::Cast(x) => constant(*x).map(|x| scalar_eval::cast(dtype, x)),
        ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Load(..)
        | ScalarOp::Const(_)
        | ScalarOp::Index(_) => None,
    };
    value.map_or(op, ScalarOp::Const)
}

/// Sums, differences and multiples of index forms as one index form, where no intermediate value
/// leaves the dtype's range.
fn fold_index(op: ScalarOp, dtype: DType, nodes: &[ScalarNode], domain: &[Range]) -> ScalarOp {
    let form = |x: usize| match &nodes[x].op {
        ScalarOp::Index(form) => Some(form.clone()),
        ScalarOp::Const(value) if dtype.is_int() => {
            value.as_i64().filter(|n| n.unsigned_abs() <= 1 << 40).map(Affine::constant)
        }
        ScalarOp::Const(_)
        | ScalarOp::Load(..)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => None,
    };
    let is_index = |x: usize| matches!(nodes[x].op, ScalarOp::Index(_));
    if !dtype.is_int() {
        return op;
    }
    let folded = match op {
        ScalarOp::Binary(binary, x, y) if is_index(x) || is_index(y) => {
            form(x).zip(form(y)).and_then(|(a, b)| match binary {
                BinaryOp::Add => Some(a.plus(&b)),
                BinaryOp::Sub => Some(a.minus(&b)),
                BinaryOp::Mul if b.is_constant() => scaled(&a, b.constant, domain),
                BinaryOp::Mul if a.is_constant() => scaled(&b, a.constant, domain),
                BinaryOp::Mul
                | BinaryOp::Div
                | BinaryOp::FloorDiv
                | BinaryOp::Mod
                | BinaryOp::Pow
                | BinaryOp::Minimum
                | BinaryOp::Maximum
                | BinaryOp::And
                | BinaryOp::Or
                | BinaryOp::Xor
                | BinaryOp::Shl
                | BinaryOp::Shr
                | BinaryOp::Eq
                | BinaryOp::Ne
                | BinaryOp::Lt
                | BinaryOp::Le
                | BinaryOp::Gt
                | BinaryOp::Ge => None,
            })
        }
        ScalarOp::Cast(x) if is_index(x) => form(x),
        ScalarOp::Binary(..)
        | ScalarOp::Cast(_)
        | ScalarOp::Load(..)
        | ScalarOp::Const(_)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Where(..) => None,
    };
    folded.filter(|form| fits(form, dtype, domain)).map_or(op, ScalarOp::Index)
}

fn scaled(form: &Affine, by: i64, domain: &[Range]) -> Option<Affine> {
    const LIMIT: i64 = 1 << 30;
    let (low, high) = bounds(form, domain)?;
    let small = |n: i64| (-LIMIT..=LIMIT).contains(&n);
    (small(by) && small(low) && small(high) && form.terms.iter().all(|(_, c)| small(*c))).then(|| form.times(by))
}

fn bounds(form: &Affine, domain: &[Range]) -> Option<(i64, i64)> {
    let ranges = domain.iter().map(Range::as_constant).collect::<Option<Vec<_>>>()?;
    Some(form.bounds(|v| (ranges[v].0, (ranges[v].1 - 1).max(ranges[v].0))))
}

fn fits(form: &Affine, dtype: DType, domain: &[Range]) -> bool {
    let Some((low, high)) = bounds(form, domain) else { return false };
    let (least, greatest) = match dtype {
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::U8 => (0, i64::from(u8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 => (-(1 << 61), 1 << 61),
        DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => return false,
    };
    low >= least && high <= greatest
}
