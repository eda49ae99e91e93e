//! The functions that a workload may call: their names and signatures, as tables.
//!
//! Input: a name. Output: its function, or help with what to write instead.

use super::function::{Binary, Function, Kind, Routine, Unary};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};

const REDUCE: &str = "a axis? dtype? out! keepdims? initial! where!";
const EXTREME: &str = "a axis? out! keepdims? initial! where!";
const TEST: &str = "a axis? out! keepdims? where!";
const MOMENT: &str = "a axis? dtype? out! ddof? keepdims? where! mean! correction!";
const UNARY: &str = "x out! where! casting! order! dtype? subok! signature!";
const BINARY: &str = "x1 x2 out! where! casting! order! dtype? subok! signature!";

const fn unary(name: &'static str, kind: Unary) -> Function {
    Function { name, signature: UNARY, kind: Kind::Unary(kind) }
}

const fn binary(name: &'static str, kind: BinaryOp) -> Function {
    Function { name, signature: BINARY, kind: Kind::Binary(Binary::Op(kind)) }
}

const fn logical(name: &'static str, kind: BinaryOp) -> Function {
    Function { name, signature: BINARY, kind: Kind::Binary(Binary::Logical(kind)) }
}

const fn fold(name: &'static str, signature: &'static str, op: FoldOp) -> Function {
    Function { name, signature, kind: Kind::Fold(op) }
}

const fn other(name: &'static str, signature: &'static str, routine: Routine) -> Function {
    Function { name, signature, kind: Kind::Other(routine) }
}

/// The functions of the `numpy` module.
pub(super) static NUMPY: &[Function] = &[
    unary("abs", Unary::Op(UnaryOp::Abs)),
    unary("absolute", Unary::Op(UnaryOp::Abs)),
    binary("add", BinaryOp::Add),
    fold("all", TEST, FoldOp::All),
    fold("amax", EXTREME, FoldOp::Max),
    fold("amin", EXTREME, FoldOp::Min),
    fold("any", TEST, FoldOp::Any),
    other("arange", "start stop? step? dtype? device! like!", Routine::Arange),
    other("argmax", "a axis? out! keepdims?", Routine::Argmax),
    other("argmin", "a axis? out! keepdims?", Routine::Argmin),
    other("array", "object dtype? copy? order! subok! ndmin! ndmax! like!", Routine::Array),
    other("asarray", "object dtype? order! device! copy! like!", Routine::Asarray),
    other("ascontiguousarray", "object dtype? like!", Routine::Ascontiguousarray),
    other("astype", "a dtype copy! device!", Routine::Astype),
    binary("bitwise_and", BinaryOp::And),
    unary("bitwise_invert", Unary::Op(UnaryOp::Not)),
    unary("bitwise_not", Unary::Op(UnaryOp::Not)),
    binary("bitwise_or", BinaryOp::Or),
    binary("bitwise_xor", BinaryOp::Xor),
    other("broadcast_to", "a shape subok!", Routine::BroadcastTo),
    unary("ceil", Unary::Ceil),
    other("clip", "a a_min? a_max? out! min? max?", Routine::Clip),
    other("concat", "arrays axis? out! dtype? casting!", Routine::Concatenate),
    other("concatenate", "arrays axis? out! dtype? casting!", Routine::Concatenate),
    other("copy", "a order! subok!", Routine::Copy),
    unary("cos", Unary::Op(UnaryOp::Cos)),
    other("cumprod", "a axis? dtype? out!", Routine::Cumprod),
    other("cumsum", "a axis? dtype? out!", Routine::Cumsum),
    other("diag", "v k?", Routine::Diag),
    other("diagonal", "a offset? axis1? axis2?", Routine::Diagonal),
    binary("divide", BinaryOp::Div),
    other("dot", "a b out!", Routine::Dot),
    other("einsum", "*operands out! dtype! order! casting! optimize?", Routine::Einsum),
    other("empty", "shape dtype? order! device! like!", Routine::Empty),
    other("empty_like", "a dtype? order! subok! shape? device!", Routine::EmptyLike),
    binary("equal", BinaryOp::Eq),
    unary("exp", Unary::Op(UnaryOp::Exp)),
    other("expand_dims", "a axis", Routine::ExpandDims),
    other("eye", "N M? k? dtype? order! device! like!", Routine::Eye),
    unary("fabs", Unary::Op(UnaryOp::Abs)),
    other("flip", "m axis?", Routine::Flip),
    other("fliplr", "m", Routine::Fliplr),
    other("flipud", "m", Routine::Flipud),
    unary("floor", Unary::Op(UnaryOp::Floor)),
    binary("floor_divide", BinaryOp::FloorDiv),
    other("full", "shape fill_value dtype? order! device! like!", Routine::Full),
    other("full_like", "a fill_value dtype? order! subok! shape? device!", Routine::FullLike),
    binary("greater", BinaryOp::Gt),
    binary("greater_equal", BinaryOp::Ge),
    other("hstack", "arrays dtype? casting!", Routine::Hstack),
    other("identity", "N dtype? like!", Routine::Eye),
    other("inner", "a b", Routine::Inner),
    unary("invert", Unary::Op(UnaryOp::Not)),
    unary("isfinite", Unary::IsFinite),
    unary("isinf", Unary::IsInf),
    unary("isnan", Unary::IsNan),
    binary("left_shift", BinaryOp::Shl),
    binary("less", BinaryOp::Lt),
    binary("less_equal", BinaryOp::Le),
    unary("log", Unary::Op(UnaryOp::Log)),
    logical("logical_and", BinaryOp::And),
    unary("logical_not", Unary::LogicalNot),
    logical("logical_or", BinaryOp::Or),
    logical("logical_xor", BinaryOp::Xor),
    other("matmul", "x1 x2 out! casting! order! dtype! subok! signature! axes! axis!", Routine::Matmul),
    other("matrix_transpose", "a", Routine::MatrixTranspose),
    fold("max", EXTREME, FoldOp::Max),
    binary("maximum", BinaryOp::Maximum),
    other("mean", "a axis? dtype? out! keepdims? where!", Routine::Mean),
    fold("min", EXTREME, FoldOp::Min),
    binary("minimum", BinaryOp::Minimum),
    binary("mod", BinaryOp::Mod),
    other("moveaxis", "a source destination", Routine::Moveaxis),
    binary("multiply", BinaryOp::Mul),
    other("ndim", "a", Routine::Ndim),
    unary("negative", Unary::Op(UnaryOp::Neg)),
    binary("not_equal", BinaryOp::Ne),
    other("ones", "shape dtype? order! device! like!", Routine::Ones),
    other("ones_like", "a dtype? order! subok! shape? device!", Routine::OnesLike),
    other("outer", "a b out!", Routine::Outer),
    other("pad", "array pad_width mode? constant_values?", Routine::Pad),
    other("permute_dims", "a axes?", Routine::Transpose),
    unary("positive", Unary::Positive),
    binary("pow", BinaryOp::Pow),
    binary("power", BinaryOp::Pow),
    fold("prod", REDUCE, FoldOp::Prod),
    other("ravel", "a order?", Routine::Ravel),
    unary("reciprocal", Unary::Reciprocal),
    binary("remainder", BinaryOp::Mod),
    other("reshape", "a shape order? copy!", Routine::Reshape),
    binary("right_shift", BinaryOp::Shr),
    other("roll", "a shift axis?", Routine::Roll),
    other("take", "a indices axis? out! mode?", Routine::Take),
    other("shape", "a", Routine::ShapeOf),
    unary("sign", Unary::Op(UnaryOp::Sign)),
    unary("sin", Unary::Op(UnaryOp::Sin)),
    other("size", "a axis!", Routine::Size),
    unary("sqrt", Unary::Op(UnaryOp::Sqrt)),
    unary("square", Unary::Square),
    other("squeeze", "a axis?", Routine::Squeeze),
    other("stack", "arrays axis? out! dtype? casting!", Routine::Stack),
    other("std", MOMENT, Routine::Std),
    binary("subtract", BinaryOp::Sub),
    fold("sum", REDUCE, FoldOp::Sum),
    other("swapaxes", "a axis1 axis2", Routine::Swapaxes),
    unary("tanh", Unary::Op(UnaryOp::Tanh)),
    other("tensordot", "a b axes?", Routine::Tensordot),
    other("trace", "a offset? axis1? axis2? dtype? out!", Routine::Trace),
    other("transpose", "a axes?", Routine::Transpose),
    other("tri", "N M? k? dtype? like!", Routine::Tri),
    other("tril", "m k?", Routine::Tril),
    other("triu", "m k?", Routine::Triu),
    binary("true_divide", BinaryOp::Div),
    other("var", MOMENT, Routine::Var),
    other("vdot", "a b", Routine::Vdot),
    other("vstack", "arrays dtype? casting!", Routine::Vstack),
    other("where", "condition x? y?", Routine::Select),
    other("zeros", "shape dtype? order! like!", Routine::Zeros),
    other("zeros_like", "a dtype? order! subok! shape? device!", Routine::ZerosLike),
];

/// The functions of `numpy.lib.stride_tricks`.
pub(super) static STRIDE_TRICKS: &[Function] = &[
    other("broadcast_to", "a shape subok!", Routine::BroadcastTo),
    other("sliding_window_view", "x window_shape axis? subok! writeable!", Routine::SlidingWindowView),
];

/// The functions of `scipy.special`.
pub(super) static SPECIAL: &[Function] = &[unary("erf", Unary::Op(UnaryOp::Erf))];

/// The methods of arrays; the array is the first parameter.
pub(super) static METHODS: &[Function] = &[
    fold("all", TEST, FoldOp::All),
    fold("any", TEST, FoldOp::Any),
    other("argmax", "a axis? out! keepdims?", Routine::Argmax),
    other("argmin", "a axis? out! keepdims?", Routine::Argmin),
    other("astype", "a dtype order! casting! subok! copy!", Routine::Astype),
    other("clip", "a a_min? a_max? out! min? max?", Routine::Clip),
    other("copy", "a order!", Routine::CopyMethod),
    other("cumprod", "a axis? dtype? out!", Routine::Cumprod),
    other("cumsum", "a axis? dtype? out!", Routine::Cumsum),
    other("diagonal", "a offset? axis1? axis2?", Routine::Diagonal),
    other("dot", "a b out!", Routine::Dot),
    other("flatten", "a order?", Routine::Flatten),
    fold("max", "a axis? out! keepdims? initial! where!", FoldOp::Max),
    other("mean", "a axis? dtype? out! keepdims? where!", Routine::Mean),
    fold("min", "a axis? out! keepdims? initial! where!", FoldOp::Min),
    fold("prod", "a axis? dtype? out! keepdims? initial! where!", FoldOp::Prod),
    other("ravel", "a order?", Routine::Ravel),
    other("reshape", "a *shape order? copy!", Routine::Reshape),
    other("squeeze", "a axis?", Routine::Squeeze),
    other("std", MOMENT, Routine::Std),
    fold("sum", "a axis? dtype? out! keepdims? initial! where!", FoldOp::Sum),
    other("swapaxes", "a axis1 axis2", Routine::Swapaxes),
    other("take", "a indices axis? out! mode?", Routine::Take),
    other("trace", "a offset? axis1? axis2? dtype? out!", Routine::Trace),
    other("transpose", "a *axes", Routine::Transpose),
    other("var", MOMENT, Routine::Var),
];

/// `ufunc.reduce`.
pub(super) static REDUCE_METHOD: Function = other("reduce", REDUCE, Routine::OfUfunc);

/// `ufunc.accumulate`.
pub(super) static ACCUMULATE_METHOD: Function = other("accumulate", "a axis? dtype? out!", Routine::OfUfunc);

/// `ufunc.at`.
pub(super) static AT_METHOD: Function = other("at", "a indices b?", Routine::OfUfunc);

/// What is not there yet, and what to write instead.
const LATER: &[(&str, &str)] = &[
    ("fill", "write x[...] = value"),
    ("ndarray", "write np.empty(shape, dtype)"),
    ("linspace", "write start + (stop - start) / (n - 1) * np.arange(n)"),
    ("arctan2", "supported functions of angles: sin, cos, tanh"),
    ("meshgrid", "write x[None, :] and y[:, None], which broadcast"),
    ("mgrid", "write np.arange(n)[:, None] and np.arange(m)[None, :], which broadcast"),
    ("hypot", "write np.sqrt(x * x + y * y)"),
    ("round", "write np.floor(x + 0.5), which rounds halves up"),
    ("rint", "write np.floor(x + 0.5), which rounds halves up"),
    ("repeat", "write np.broadcast_to(x[:, None], (len(x), n)).ravel()"),
    ("tile", "write np.broadcast_to(x, (n, len(x))).ravel()"),
    ("cross", "write out the products of the elements"),
];

/// The table's entry for `name`.
pub(super) fn find(table: &'static [Function], name: &str) -> Option<&'static Function> {
    table.iter().find(|function| function.name == name)
}

/// The help for a name that `table` does not have.
pub(super) fn help_for(table: &'static [Function], name: &str) -> String {
    if let Some(entry) = LATER.iter().find(|entry| entry.0 == name) {
        return entry.1.to_owned();
    }
    let wanted = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = table
        .iter()
        .map(|function| (distance(&wanted, &function.name.to_lowercase()), function.name))
        .filter(|(distance, other)| *distance <= wanted.len().max(other.len()).div_ceil(3))
        .collect();
    near.sort_unstable();
    let names: Vec<&str> = near.into_iter().take(3).map(|near| near.1).collect();
    match names.as_slice() {
        [] if table.len() <= 30 => {
            let all: Vec<&str> = table.iter().map(|function| function.name).collect();
            format!("supported: {}", all.join(", "))
        }
        [] => "no supported function has a name like it; README.md lists them".to_owned(),
        names => format!("supported names like it: {}", names.join(", ")),
    }
}

/// The least number of letters to insert, delete or replace that makes one word of another (V. Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
