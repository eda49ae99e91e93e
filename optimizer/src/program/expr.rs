//! The array program: a DAG of surface operators with shapes and dtypes.
//!
//! This is what the frontend emits, what rule authors match by name, and what the interpreter
//! evaluates. Every extent is known, or an affine form in the variables of the loops around the
//! node; every conversion and every broadcast is a node of its own, so the arguments of an
//! element-wise operator always agree in shape and dtype.
//!
//! **Mutable arrays.** A program executes its `body` in order, then evaluates its `roots`. A node is
//! an expression, not a value: it is evaluated by each statement that uses it (the roots: at the
//! end), with the loop variables and the contents of the states as they are then. What NumPy
//! computes at one point and reads after a write is therefore kept in a state of its own; what
//! NumPy would see change, a view, is a [`Op::Section`] of a state that is read again.

use crate::integer::affine::Affine;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Index of a node in [`Program::nodes`].
pub type NodeId = usize;

/// What random inputs for a parameter must look like (from `Annotated[…]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum InputHint {
    /// Uniform in [0, 1) for floats, small integers around 0 for integers, a fair coin for bool.
    #[default]
    Any,
    /// `Range(low, high)`: uniform in [low, high), bounds as the bits of `f64`-representable
    /// numbers.
    Range(f64, f64),
    /// `SPD`: a symmetric positive definite matrix.
    Spd,
    /// `Index(n)`: integers in [0, n).
    Index(u64),
}

/// A parameter of the workload's function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// The Python name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// How to draw random inputs.
    pub hint: InputHint,
}

/// How the parameters of a function may be passed: Python's marks and defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// So many of the first are passed by position only, before a `/`.
    pub positional_only: usize,
    /// So many of the last are passed by keyword only, after a `*`.
    pub keyword_only: usize,
    /// The defaults of scalar parameters, at their dtype, by the parameter's position.
    pub defaults: BTreeMap<usize, Literal>,
}

impl Signature {
    /// Whether it says nothing.
    pub fn is_plain(&self) -> bool {
        *self == Signature::default()
    }

    /// A parameter list in Python, given the text of each parameter without its default.
    pub fn python(&self, params: &[String]) -> Vec<String> {
        let mut list = Vec::with_capacity(params.len() + 2);
        for (at, param) in params.iter().enumerate() {
            if self.keyword_only > 0 && at + self.keyword_only == params.len() {
                list.push("*".to_owned());
            }
            let default = self.defaults.get(&at).map(|value| match value {
                Literal::Bool(true) => "True".to_owned(),
                Literal::Bool(false) => "False".to_owned(),
                Literal::Int(value) => value.to_string(),
                Literal::Float(bits) => match f64::from_bits(*bits) {
                    value if value.is_finite() => format!("{value:?}"),
                    value => format!("_moat_builtins.float('{value}')"),
                },
            });
            let equals = if param.contains(':') { " = " } else { "=" };
            list.push(default.map_or_else(|| param.clone(), |default| format!("{param}{equals}{default}")));
            if at + 1 == self.positional_only {
                list.push("/".to_owned());
            }
        }
        list
    }
}

/// Byte range in the workload's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// One operand axis of a slice: indices `start, start + step, …`, as many as the result's extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SliceAxis {
    /// The first index, in `0 .. extent` (any value where `len` is 0).
    pub start: i64,
    /// The stride, not 0; may be negative.
    pub step: i64,
    /// The number of indices.
    pub len: usize,
}

/// One operand axis of a section, affine in the variables of the loops around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SectionAxis {
    /// Indices `start, start + step, …`, as many as the result's live extent: the axis stays.
    Slice {
        /// The first index.
        start: Affine,
        /// The stride, not 0; may be negative.
        step: i64,
    },
    /// One index: the axis goes.
    At(Affine),
}

/// A surface operator. Shapes: `a` is the first argument, `s = ρa`; `r` is the result's shape,
/// stored in the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Op {
    /// The i-th parameter.
    Input(usize),
    /// What state array `i` holds when the statement that this node belongs to is executed.
    State(usize),
    /// A scalar of an integer dtype: a form in the variables of the loops around it.
    LoopIndex(Affine),
    /// Basic indexing by forms in loop variables, one entry per axis of `a`.
    Section(Vec<SectionAxis>),
    /// A scalar constant, `r = ⟨⟩`.
    Const(Literal),
    /// `np.array` of literals, row-major, `r` arbitrary.
    Array(Vec<Literal>),
    /// `np.arange`: `start + step·i`, `r = ⟨n⟩`; literals at the node's dtype.
    Arange {
        /// First element.
        start: Literal,
        /// Increment.
        step: Literal,
    },
    /// `np.eye`: 1 where `column = row + k`, `r = ⟨n m⟩`.
    Eye {
        /// Diagonal offset.
        k: i64,
    },
    /// Element-wise, one argument.
    Unary(UnaryOp),
    /// Element-wise, two arguments of one shape and dtype.
    Binary(BinaryOp),
    /// `np.where(c, a, b)`: three arguments of one shape, the first `Bool`.
    Where,
    /// Conversion to the node's dtype.
    Cast,
    /// NumPy broadcasting of `a` to `r`: trailing axes aligned, extents of 1 stretched.
    Broadcast,
    /// `np.transpose(a, axes)`: result axis `j` is `a`'s axis `axes[j]`.
    Transpose(Vec<usize>),
    /// Row-major reshape to `r`; also ravel, squeeze, expand_dims and `None` indices.
    Reshape,
    /// Basic slicing, one entry per axis of `a`; `r[j] = len`.
    Slice(Vec<SliceAxis>),
    /// Integer indexing of one axis, which disappears. (`A[3]`, negative indices normalised.)
    Index {
        /// The axis of `a`.
        axis: usize,
        /// The position, in `0 .. s[axis]`.
        at: usize,
    },
    /// `np.diagonal(a, offset, axis1, axis2)`: the two axes go, the diagonal comes last.
    Diagonal {
        /// Offset above (positive) or below the main diagonal.
        offset: i64,
        /// Row axis.
        axis1: usize,
        /// Column axis.
        axis2: usize,
    },
    /// `np.flip(a, axes)`.
    Flip(Vec<usize>),
    /// `np.roll(a, shift, axis)`; `shift` in `0 .. s[axis]`.
    Roll {
        /// Result index i reads `(i − shift) mod s[axis]`.
        shift: usize,
        /// The axis.
        axis: usize,
    },
    /// `np.pad(a, widths, constant_values=value)`; `(before, after)` per axis.
    Pad {
        /// Widths.
        widths: Vec<(usize, usize)>,
        /// The fill, at the node's dtype.
        value: Literal,
    },
    /// `np.concatenate(args, axis)`; one or more arguments.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// `sliding_window_view(a, window, axes)`: `r = (s − window + 1 on axes) ⧺ window`.
    Window {
        /// `(axis, extent)` of each window dimension, in the order they are appended.
        windows: Vec<(usize, usize)>,
    },
    /// `np.tril(a, k)`: zero where `column > row + k` (last two axes).
    Tril {
        /// Diagonal offset.
        k: i64,
    },
    /// `np.triu(a, k)`: zero where `column < row + k` (last two axes).
    Triu {
        /// Diagonal offset.
        k: i64,
    },
    /// `np.trace(a, offset)` over axes 0 and 1 of an array of rank ≥ 2.
    Trace {
        /// Diagonal offset.
        offset: i64,
    },
    /// NumPy's `@` (two arguments of one dtype, rank ≥ 1 each, batch axes broadcast).
    MatMul,
    /// `np.dot`: sum over the last axis of `a` and the last but one of `b` (its only axis if 1-d).
    Dot,
    /// `np.inner`: sum over the last axis of both.
    Inner,
    /// `ufunc.outer(a, b)`: `r = ρa ⧺ ρb`.
    Outer(BinaryOp),
    /// `np.einsum`; also `tensordot`. Labels are small integers; `inputs[p][j]` labels axis `j`
    /// of argument `p`; a label absent from `output` is summed; a label repeated within one
    /// argument takes the diagonal. Sums of products at the node's dtype.
    Einsum {
        /// Labels of each argument's axes.
        inputs: Vec<Vec<usize>>,
        /// Labels of the result's axes, each once.
        output: Vec<usize>,
    },
    /// MoA's gather, `np.take` along an axis: `a` indexed by the second argument, an i64 array of
    /// shape ρx. The first `batch` axes of both are aligned: with `a` of shape b ⧺ ⟨n⟩ ⧺ c and x of
    /// b ⧺ k, `r = b ⧺ k ⧺ c`. An index is taken to the nearest in `0 .. n`, n > 0; that it is there
    /// is what a check says ([`Program::checks`]).
    Gather {
        /// The number of aligned axes.
        batch: usize,
    },
    /// Reduction over `axes` (sorted, distinct), which disappear. Accumulates at the node's dtype,
    /// which is the argument's.
    Reduce {
        /// The operator.
        op: FoldOp,
        /// The axes of `a`.
        axes: Vec<usize>,
        /// In which order a sum of floats takes its terms.
        #[serde(default, skip_serializing_if = "SumOrder::is_default")]
        order: SumOrder,
    },
}

/// In which order NumPy adds what a reduction sums, see `numpy_order`. The default, without any axis: one after
/// the other, along the axes as they come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SumOrder {
    /// Axes, outermost first, along which pairwise sums are added one after the other.
    pub in_order: Vec<usize>,
    /// Axes, outermost first, whose ravel is one pairwise sum. None: single terms are added one after the other.
    pub pairwise: Vec<usize>,
}

impl SumOrder {
    fn is_default(&self) -> bool {
        *self == SumOrder::default()
    }

    /// The order for an array with so many more axes before its own.
    #[must_use]
    pub fn shifted(&self, by: usize) -> SumOrder {
        let all = |axes: &[usize]| axes.iter().map(|axis| axis + by).collect();
        SumOrder { in_order: all(&self.in_order), pairwise: all(&self.pairwise) }
    }

    /// The axes `reduced`, outermost first: those added one after the other, and those of a pairwise sum.
    pub fn along<'o>(&'o self, reduced: &'o [usize]) -> (&'o [usize], &'o [usize]) {
        if self.is_default() { (reduced, &[]) } else { (&self.in_order, &self.pairwise) }
    }

    /// Whether the terms are added one after the other, along ascending axes.
    pub fn is_ascending(&self) -> bool {
        self.pairwise.is_empty() && self.in_order.is_sorted()
    }

    /// Additions on the longest way through the sum over `reduced` of an array of `shape`, where some are pairwise:
    /// otherwise each term may wait for all before it.
    pub fn depth(&self, shape: &[usize], reduced: &[usize]) -> Option<usize> {
        let count = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let (outer, inner) = self.along(reduced);
        (!inner.is_empty()).then(|| count(outer).saturating_sub(1) + crate::value::pairwise::depth(count(inner)))
    }
}

impl Op {
    /// Whether its value, given its arguments', is the same in every iteration and whatever the states hold.
    pub fn is_fixed(&self) -> bool {
        if let Op::Section(axes) = self {
            return axes.iter().all(|axis| match axis {
                SectionAxis::At(form) | SectionAxis::Slice { start: form, .. } => form.is_constant(),
            });
        }
        if let Op::LoopIndex(form) = self {
            return form.is_constant();
        }
        !matches!(self, Op::State(_))
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Its arguments: earlier nodes.
    pub args: Vec<NodeId>,
    /// Shape of the result: the largest, where it depends on the loops around it.
    pub shape: Vec<usize>,
    /// Empty if the shape is the same in every iteration. Otherwise for each axis how many of its
    /// indices exist, at most `shape`, affine in loop variables; no element beyond is ever used.
    #[serde(default)]
    pub live: Vec<Affine>,
    /// Element type of the result.
    pub dtype: DType,
    /// Where in the source it stands.
    pub span: Span,
}

impl Program {
    /// The roots that are no checks.
    pub fn results(&self) -> &[NodeId] {
        &self.roots[..self.roots.len() - self.checks.len().min(self.roots.len())]
    }

    /// What each check asks for.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.checks.iter().map(|check| check.requirement).collect()
    }
}

impl Node {
    /// Number of elements, at most.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The extents: `live` where the shape depends on loops, `shape` otherwise.
    pub fn extents(&self) -> Vec<Affine> {
        if self.live.is_empty() { crate::program::expr::constants(&self.shape) } else { self.live.clone() }
    }
}

/// An array that statements change: NumPy memory that the function writes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// A readable name, unique among the states.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// The whole shape.
    pub shape: Vec<usize>,
}

/// How far an update moves by a value: a scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shift {
    /// The state, an i64 scalar, that holds the distance, in elements of the updated state's ravel, when the update is
    /// executed.
    pub by: usize,
    /// The distance is taken to the nearest in `0 ..= last`, so that nothing outside is ever written.
    pub last: i64,
}

impl Shift {
    /// The distance that a value stands for.
    pub fn distance(&self, value: i64) -> i64 {
        value.max(0).min(self.last)
    }

    /// Whether nothing outside an array of `shape` is named by a region in it that is moved; `still` are the axes on
    /// which the region has index 0 only.
    pub fn fits(&self, shape: &[usize], still: &[bool]) -> bool {
        let (mut stride, mut greatest) = (1_i128, i128::from(self.last));
        for (&extent, &still) in shape.iter().zip(still).rev() {
            if !still {
                greatest += stride * (extent.max(1) as i128 - 1);
            }
            stride *= extent as i128;
        }
        self.last >= 0 && greatest < stride
    }
}

/// What a function with mutable arrays executes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Statement {
    /// `state[region] = value`, functionally: the state from here on is the old one but for the
    /// region. The value is computed whole before anything is written.
    Update {
        /// Index in [`Program::states`].
        state: usize,
        /// One entry per axis of the state. The slices, in order, are the axes of the value; no
        /// two indices of the value name the same element.
        region: Vec<SectionAxis>,
        /// The region is moved by a value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shift: Option<Shift>,
        /// Of the state's dtype; its (live) shape is the region's. Its nodes are evaluated here.
        value: NodeId,
        /// Where in the source it stands.
        span: Span,
    },
    /// `for var in range(lo, hi)`: the fold of its body over the states.
    Loop {
        /// The variable: the number of this loop in the program, in order of appearance.
        var: usize,
        /// Its Python name.
        name: String,
        /// The first value, affine in the variables of the loops around this one.
        lo: Affine,
        /// One past the last value. No iteration if it is not above `lo`.
        hi: Affine,
        /// Executed for each value.
        body: Vec<Statement>,
    },
    /// `if`: executed where every form is ≥ 0.
    If {
        /// Affine in the variables of the loops around it.
        conditions: Vec<Affine>,
        /// Executed then.
        body: Vec<Statement>,
    },
}

/// What a check asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Requirement {
    /// Indices are in range.
    #[default]
    Index,
    /// Integers are not raised to negative powers.
    Exponent,
    /// A Python number is not divided by zero.
    Divisor,
    /// A Python integer is not shifted by a negative number.
    Shift,
    /// A Python float is in the domain of the power or function that it is given to.
    Domain,
}

impl Requirement {
    /// Each of them.
    pub const ALL: [Requirement; 5] =
        [Requirement::Index, Requirement::Exponent, Requirement::Divisor, Requirement::Shift, Requirement::Domain];

    /// What is wrong where it is not met, in a few words.
    pub const fn failure(self) -> &'static str {
        match self {
            Requirement::Index => "an index is out of range",
            Requirement::Exponent => "an integer is raised to a negative power",
            Requirement::Divisor => "a Python number is divided by zero",
            Requirement::Shift => "an integer is shifted by a negative number",
            Requirement::Domain => "a Python number is outside of the domain of a power or function",
        }
    }

    fn is_default(&self) -> bool {
        *self == Requirement::default()
    }
}

/// A condition without which there are no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The expression that asks for it.
    #[serde(flatten)]
    pub span: Span,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Requirement::is_default")]
    pub requirement: Requirement,
}

/// A whole function as a DAG in topological order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The function's name.
    pub name: String,
    /// The function's parameters, in order.
    pub params: Vec<Param>,
    /// How a call may pass them.
    #[serde(default, skip_serializing_if = "Signature::is_plain")]
    pub signature: Signature,
    /// Nodes; arguments come before their users.
    pub nodes: Vec<Node>,
    /// Arrays that the body changes; empty for a function without side effects. Undefined at the
    /// start.
    #[serde(default)]
    pub states: Vec<State>,
    /// Executed before the results are evaluated.
    #[serde(default)]
    pub body: Vec<Statement>,
    /// Names of parameters that the function changes: each has a root of its own after those that
    /// it returns, what the argument holds at the end.
    #[serde(default)]
    pub mutated: Vec<usize>,
    /// The results, in order; more than one for a tuple. Then what each changed parameter holds,
    /// then the checks.
    pub roots: Vec<NodeId>,
    /// The last roots are bool scalars, one for each of these: where one is false, the expression
    /// here is an error in NumPy, and the function has no results.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Whether the Python function returns a tuple (a 1-tuple has one root, too).
    pub returns_tuple: bool,
}

/// A shape as forms.
pub(crate) fn constants(shape: &[usize]) -> Vec<Affine> {
    shape.iter().map(|&extent| Affine::constant(i64::try_from(extent).unwrap_or(i64::MAX))).collect()
}
