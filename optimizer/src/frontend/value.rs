//! What a Python expression evaluates to while a workload is read.

use super::function::Function;
use super::number::Number;
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::DType;

/// The mark of a failure that is already reported, or of an argument in error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poisoned;

/// A result whose error is already reported.
pub(super) type Eval<T = Value> = Result<T, Poisoned>;

/// Identity of a piece of NumPy memory: views of one array share it.
pub(super) type Storage = usize;

/// A NumPy array or scalar: a node, and what assignment through it would touch.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// The node that computes it.
    pub(super) node: NodeId,
    /// The memory behind it; `None` for NumPy scalars, which are immutable.
    pub(super) storage: Option<Storage>,
    /// Whether NumPy would allow writing through it.
    pub(super) writable: bool,
    /// A scalar that is a Python number in some iterations: of a name that began as one, or computed from such alone.
    pub(super) number: bool,
}

/// A Python value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The value of an expression that is in error; it silences follow-on errors.
    Poison,
    /// `None`, also `np.newaxis`.
    None,
    /// `...`.
    Ellipsis,
    /// A compile-time number.
    Number(Number),
    /// A Python `int` that is a form in the variables of the open loops, and no constant.
    Affine(Affine),
    /// A Python number that is not known at compile time, of rank 0: an `int` (I64), a `float` (F64) or a `bool`.
    Weak(NodeId),
    /// A Python `bool` that depends on the variables of the open loops.
    Condition(Condition),
    /// `range(…)`.
    Range(Range),
    /// A string.
    Str(String),
    /// A dtype: `A.dtype`.
    DType(DType),
    /// The type of NumPy's scalars of a dtype, as `np.float32`; where a dtype is wanted, that dtype.
    ScalarType(DType),
    /// An array.
    Array(Array),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A list.
    List(Vec<Value>),
    /// An imported module by its full name.
    Module(String),
    /// A NumPy function.
    Function(&'static Function),
    /// `ufunc.outer` and the like.
    Ufunc(&'static Function, UfuncMethod),
    /// A method of an array, with the array.
    Method(Array, &'static Function),
    /// A function or lambda of the workload, by index.
    Closure(usize),
    /// A function of Python itself.
    Builtin(Builtin),
    /// A name that only annotations use.
    Annotation,
}

/// A method of an element-wise function of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UfuncMethod {
    /// `ufunc.outer`.
    Outer,
    /// `ufunc.reduce`.
    Reduce,
    /// `ufunc.at`.
    At,
    /// `ufunc.accumulate`.
    Accumulate,
}

/// Where a `bool` that depends on loop variables is true.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// No two hold at once; each is that all its forms are ≥ 0.
    pub(super) cases: Vec<Vec<Affine>>,
    /// The same as a node of rank 0.
    pub(super) node: NodeId,
}

/// `range(start, stop, step)`.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// The first value.
    pub(super) start: Affine,
    /// The bound that is not reached.
    pub(super) stop: Affine,
    /// Not 0.
    pub(super) step: i64,
}

/// Python's own functions, on compile-time values (`abs` and `len` on arrays too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// `abs`.
    Abs,
    /// `bool`; as a dtype, NumPy's bool.
    Bool,
    /// `float`; as a dtype, f64.
    Float,
    /// `int`; as a dtype, i64.
    Int,
    /// `len`.
    Len,
    /// `list`.
    List,
    /// `max`.
    Max,
    /// `min`.
    Min,
    /// `pow`.
    Pow,
    /// `range`.
    Range,
    /// `tuple`.
    Tuple,
    /// `math.sqrt`.
    MathSqrt,
    /// `math.exp`.
    MathExp,
    /// `math.log` of one argument.
    MathLog,
}

impl Builtin {
    const ALL: [(&'static str, Builtin); 14] = [
        ("abs", Builtin::Abs),
        ("bool", Builtin::Bool),
        ("float", Builtin::Float),
        ("int", Builtin::Int),
        ("len", Builtin::Len),
        ("list", Builtin::List),
        ("max", Builtin::Max),
        ("min", Builtin::Min),
        ("pow", Builtin::Pow),
        ("range", Builtin::Range),
        ("tuple", Builtin::Tuple),
        ("math.sqrt", Builtin::MathSqrt),
        ("math.exp", Builtin::MathExp),
        ("math.log", Builtin::MathLog),
    ];

    pub(super) fn from_name(name: &str) -> Option<Builtin> {
        Builtin::ALL.into_iter().find(|entry| entry.0 == name).map(|entry| entry.1)
    }

    pub(super) fn name(self) -> &'static str {
        Builtin::ALL.into_iter().find(|entry| entry.1 == self).map_or("", |entry| entry.0)
    }
}

impl Value {
    pub(super) fn int(value: usize) -> Value {
        Value::Number(Number::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    pub(super) fn float(value: f64) -> Value {
        Value::Number(Number::Float(value))
    }

    /// Calls `visit` with every array inside.
    pub(super) fn arrays(&self, visit: &mut impl FnMut(&Array)) {
        match self {
            Value::Array(array) | Value::Method(array, _) => visit(array),
            Value::Tuple(items) | Value::List(items) => items.iter().for_each(|item| item.arrays(visit)),
            Value::Poison
            | Value::None
            | Value::Ellipsis
            | Value::Number(_)
            | Value::Affine(_)
            | Value::Weak(_)
            | Value::Condition(_)
            | Value::Range(_)
            | Value::Str(_)
            | Value::DType(_)
            | Value::ScalarType(_)
            | Value::Module(_)
            | Value::Function(_)
            | Value::Ufunc(..)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Annotation => {}
        }
    }

    /// True if it is, or contains, a value in error.
    pub(super) fn is_poisoned(&self) -> bool {
        match self {
            Value::Poison => true,
            Value::Tuple(items) | Value::List(items) => items.iter().any(Value::is_poisoned),
            Value::None
            | Value::Ellipsis
            | Value::Number(_)
            | Value::Affine(_)
            | Value::Weak(_)
            | Value::Condition(_)
            | Value::Range(_)
            | Value::Str(_)
            | Value::DType(_)
            | Value::ScalarType(_)
            | Value::Array(_)
            | Value::Module(_)
            | Value::Function(_)
            | Value::Ufunc(..)
            | Value::Method(..)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Annotation => false,
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Arg {
    /// The value.
    pub(super) value: Value,
    /// Where it stands.
    pub(super) span: Span,
}

/// Whether a value is memory, or holds some.
pub(super) fn is_memory(value: &Value) -> bool {
    let mut found = false;
    value.arrays(&mut |array| found |= array.storage.is_some());
    found
}

/// Whether two values are one and the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(x), Value::Array(y)) => x.node == y.node && x.storage == y.storage && x.writable == y.writable,
        (Value::Weak(x), Value::Weak(y)) => x == y,
        (Value::Affine(x), Value::Affine(y)) => x == y,
        // Zeros of both signs are equal, not the same.
        (Value::Number(Number::Float(x)), Value::Number(Number::Float(y))) => x.to_bits() == y.to_bits(),
        (Value::Number(x), Value::Number(y)) => x == y,
        (Value::Str(x), Value::Str(y)) => x == y,
        (Value::DType(x), Value::DType(y)) | (Value::ScalarType(x), Value::ScalarType(y)) => x == y,
        (Value::Closure(x), Value::Closure(y)) => x == y,
        (Value::Module(x), Value::Module(y)) => x == y,
        (Value::Function(x), Value::Function(y)) => std::ptr::eq(*x, *y),
        (Value::None, Value::None) => true,
        (Value::Tuple(x), Value::Tuple(y)) | (Value::List(x), Value::List(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        _ => false,
    }
}

/// Whether a value is a Python number that may depend on loop variables.
pub(super) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::Affine(_) | Value::Weak(_) | Value::Condition(_))
}

/// Whether a value is a Python number in some iterations.
pub(super) fn may_be_number(value: &Value) -> bool {
    is_number(value) || matches!(value, Value::Array(Array { number: true, .. }))
}
