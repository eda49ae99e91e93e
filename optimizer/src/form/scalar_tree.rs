//! The scalar expression of a piece: operators, constants, and loads with their accesses.

use crate::integer::affine::Affine;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};
use serde::{Deserialize, Serialize};

/// What a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// A parameter; scalars have an empty access.
    Param(usize),
    /// An earlier definition.
    Def(DefId),
    /// What a state holds when the reading definition is computed.
    State(usize),
}

/// Where in the source a load reads, affine over the reading piece's axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// One index per axis: of the parameter's `shape`, or of the definition's `axes`.
    Axes(Vec<Affine>),
    /// An offset into the row-major ravel: what a reshape between unrelated radices leaves. The
    /// source, if it is a definition, must be stored whole.
    Flat(Affine),
    /// A gather: an offset into the ravel that depends on a value. Any element may be read, as far
    /// as anybody knows; the source must be stored whole.
    Gather(Gather),
}

/// The offset `offset + stride · v` into a ravel, where v is the value of a scalar node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gather {
    /// The part that is known.
    pub offset: Affine,
    /// The distance between elements of the axis that is indexed.
    pub stride: i64,
    /// The node of v, an i64. It is a constant, or `(x ⌈ 0) ⌊ (n − 1)`: this bounds v, whatever x is.
    pub at: usize,
}

impl Gather {
    /// The least and greatest value of v; `None` if the nodes do not bound it.
    pub fn bounds<'n>(&self, node: impl Fn(usize) -> Option<&'n ScalarNode>) -> Option<(i64, i64)> {
        let constant = |at: usize| match node(at)?.op {
            ScalarOp::Const(Literal::Int(value)) => Some(value),
            ScalarOp::Const(_)
            | ScalarOp::Load(..)
            | ScalarOp::Index(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => None,
        };
        if node(self.at)?.dtype != DType::I64 {
            return None;
        }
        if let Some(value) = constant(self.at) {
            return Some((value, value));
        }
        let ScalarOp::Binary(BinaryOp::Minimum, inner, high) = node(self.at)?.op else { return None };
        let ScalarOp::Binary(BinaryOp::Maximum, _, low) = node(inner)?.op else { return None };
        let (low, high) = constant(low).zip(constant(high))?;
        (low <= high).then_some((low, high))
    }
}

/// A scalar expression DAG. Node `0 ..` in topological order; the last is the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// The nodes; operands come before their users; never empty.
    pub nodes: Vec<ScalarNode>,
}

/// One scalar operation with the dtype of its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScalarNode {
    /// What it computes.
    pub op: ScalarOp,
    /// The result's type.
    pub dtype: DType,
}

/// A scalar operation; operands are indices of earlier nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarOp {
    /// An element of an array.
    Load(Source, Access),
    /// A constant.
    Const(Literal),
    /// An index expression as a number (`ι`), at any integer dtype (I64 unless cast).
    Index(Affine),
    /// One operand.
    Unary(UnaryOp, usize),
    /// Two operands of one dtype.
    Binary(BinaryOp, usize, usize),
    /// `condition ? then : else`; both sides may be evaluated, so both must be in bounds.
    Where(usize, usize, usize),
    /// Conversion to the node's dtype.
    Cast(usize),
}

impl Scalar {
    /// The expression of one of its nodes alone.
    pub(crate) fn rooted(&self, root: usize) -> Scalar {
        let mut needed = vec![false; root + 1];
        needed[root] = true;
        for at in (0..=root).rev() {
            if needed[at] {
                self.nodes[at].op.operands().into_iter().for_each(|operand| needed[operand] = true);
            }
        }
        let place = |at: usize| needed[..at].iter().filter(|&&needed| needed).count();
        let kept = self.nodes.iter().zip(&needed).filter(|(_, needed)| **needed);
        Scalar { nodes: kept.map(|(node, _)| ScalarNode { op: node.op.renumbered(place), ..node.clone() }).collect() }
    }
}

impl ScalarOp {
    /// The operation with its operands renumbered.
    #[must_use]
    pub fn renumbered(&self, at: impl Fn(usize) -> usize) -> ScalarOp {
        match self {
            ScalarOp::Load(source, Access::Gather(gather)) => {
                ScalarOp::Load(*source, Access::Gather(Gather { at: at(gather.at), ..gather.clone() }))
            }
            ScalarOp::Load(_, Access::Axes(_) | Access::Flat(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => {
                self.clone()
            }
            ScalarOp::Unary(op, x) => ScalarOp::Unary(*op, at(*x)),
            ScalarOp::Binary(op, x, y) => ScalarOp::Binary(*op, at(*x), at(*y)),
            ScalarOp::Where(c, x, y) => ScalarOp::Where(at(*c), at(*x), at(*y)),
            ScalarOp::Cast(x) => ScalarOp::Cast(at(*x)),
        }
    }

    /// The operation with its index forms changed.
    #[must_use]
    pub fn with_forms(&self, moved: impl Fn(&Affine) -> Affine) -> ScalarOp {
        let access = |access: &Access| match access {
            Access::Axes(index) => Access::Axes(index.iter().map(&moved).collect()),
            Access::Flat(offset) => Access::Flat(moved(offset)),
            Access::Gather(gather) => Access::Gather(Gather { offset: moved(&gather.offset), ..gather.clone() }),
        };
        match self {
            ScalarOp::Load(source, at) => ScalarOp::Load(*source, access(at)),
            ScalarOp::Index(form) => ScalarOp::Index(moved(form)),
            ScalarOp::Const(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => self.clone(),
        }
    }

    /// Indices of the operands.
    pub fn operands(&self) -> Vec<usize> {
        match self {
            ScalarOp::Load(_, Access::Gather(gather)) => vec![gather.at],
            ScalarOp::Load(_, Access::Axes(_) | Access::Flat(_)) | ScalarOp::Const(_) | ScalarOp::Index(_) => {
                Vec::new()
            }
            ScalarOp::Unary(_, x) | ScalarOp::Cast(x) => vec![*x],
            ScalarOp::Binary(_, x, y) => vec![*x, *y],
            ScalarOp::Where(c, x, y) => vec![*c, *x, *y],
        }
    }
}

/// Index of a definition in [`NormalForm::defs`].
pub type DefId = usize;
