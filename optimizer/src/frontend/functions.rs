//! The functions a workload may call: their names, signatures and handlers, as one table, and the binding of a
//! call's arguments to a signature.

use super::evaluate::{Eval, Evaluator, Poisoned};
use super::value::{Arg, Value};
use super::{creation, elementwise, gather, product, reduction, scan, structural};
use crate::program::expr::Span;
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// A function of NumPy (or a method, or `erf`).
#[derive(Debug)]
pub(super) struct Function {
    /// The name as it is called, without the module.
    pub(super) name: &'static str,
    /// Parameters in NumPy's order, separated by blanks: `a` required, `a?` optional, `a!` known but not supported,
    /// `*a` takes the remaining positional arguments.
    pub(super) signature: &'static str,
    /// What it does.
    pub(super) kind: Kind,
}

/// What a function does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An element-wise function of one argument.
    Unary(Unary),
    /// An element-wise function of two arguments.
    Binary(Binary),
    /// A reduction.
    Fold(FoldOp),
    /// Anything else.
    Other(Handler),
}

/// The code of a function.
pub(super) type Handler = fn(&mut Evaluator<'_>, &Call) -> Eval;

/// Element-wise functions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    /// A scalar operator.
    Op(UnaryOp),
    /// Round up.
    Ceil,
    /// The argument.
    Positive,
    /// x · x.
    Square,
    /// 1 / x.
    Reciprocal,
    /// x is zero.
    LogicalNot,
    /// x is NaN.
    IsNan,
    /// x is infinite.
    IsInf,
    /// x is neither.
    IsFinite,
}

/// Element-wise functions of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    /// A scalar operator.
    Op(BinaryOp),
    /// Both are non-zero: `And`, `Or`, `Xor` on truth values.
    Logical(BinaryOp),
}

/// A call with its arguments bound.
#[derive(Debug)]
pub(super) struct Call {
    /// The function.
    pub(super) function: &'static Function,
    /// Where the call stands.
    pub(super) span: Span,
    /// The arguments given, by parameter.
    args: Vec<(&'static str, Arg)>,
    /// What a `*` parameter took.
    pub(super) rest: Vec<Arg>,
}

impl Call {
    /// The argument of `parameter`, if it was given.
    pub(super) fn given(&self, parameter: &str) -> Option<&Arg> {
        self.args.iter().find(|entry| entry.0 == parameter).map(|entry| &entry.1)
    }

    /// The argument of `parameter`, if it was given and is not `None`.
    pub(super) fn optional(&self, parameter: &str) -> Option<&Arg> {
        self.given(parameter).filter(|arg| !matches!(arg.value, Value::None))
    }

    /// The argument of a required parameter.
    pub(super) fn required(&self, parameter: &str) -> Eval<&Arg> {
        self.given(parameter).ok_or(Poisoned)
    }
}

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

const fn other(name: &'static str, signature: &'static str, handler: Handler) -> Function {
    Function { name, signature, kind: Kind::Other(handler) }
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
    other("arange", "start stop? step? dtype? device! like!", creation::arange),
    other("argmax", "a axis? out! keepdims?", scan::argmax),
    other("argmin", "a axis? out! keepdims?", scan::argmin),
    other("array", "object dtype? copy? order! subok! ndmin! ndmax! like!", creation::array),
    other("asarray", "object dtype? order! device! copy! like!", creation::asarray),
    other("ascontiguousarray", "object dtype? like!", creation::ascontiguousarray),
    other("astype", "a dtype copy! device!", structural::astype),
    binary("bitwise_and", BinaryOp::And),
    unary("bitwise_invert", Unary::Op(UnaryOp::Not)),
    unary("bitwise_not", Unary::Op(UnaryOp::Not)),
    binary("bitwise_or", BinaryOp::Or),
    binary("bitwise_xor", BinaryOp::Xor),
    other("broadcast_to", "a shape subok!", structural::broadcast_to),
    unary("ceil", Unary::Ceil),
    other("clip", "a a_min? a_max? out! min? max?", elementwise::clip),
    other("concat", "arrays axis? out! dtype? casting!", structural::concatenate),
    other("concatenate", "arrays axis? out! dtype? casting!", structural::concatenate),
    other("copy", "a order! subok!", structural::copy),
    unary("cos", Unary::Op(UnaryOp::Cos)),
    other("cumprod", "a axis? dtype? out!", scan::cumprod),
    other("cumsum", "a axis? dtype? out!", scan::cumsum),
    other("diag", "v k?", structural::diag),
    other("diagonal", "a offset? axis1? axis2?", structural::diagonal),
    binary("divide", BinaryOp::Div),
    other("dot", "a b out!", product::dot),
    other("einsum", "*operands out! dtype! order! casting! optimize?", product::einsum),
    other("empty", "shape dtype? order! device! like!", creation::empty),
    other("empty_like", "a dtype? order! subok! shape? device!", creation::empty_like),
    binary("equal", BinaryOp::Eq),
    unary("exp", Unary::Op(UnaryOp::Exp)),
    other("expand_dims", "a axis", structural::expand_dims),
    other("eye", "N M? k? dtype? order! device! like!", creation::eye),
    unary("fabs", Unary::Op(UnaryOp::Abs)),
    other("flip", "m axis?", structural::flip),
    other("fliplr", "m", structural::fliplr),
    other("flipud", "m", structural::flipud),
    unary("floor", Unary::Op(UnaryOp::Floor)),
    binary("floor_divide", BinaryOp::FloorDiv),
    other("full", "shape fill_value dtype? order! device! like!", creation::full),
    other("full_like", "a fill_value dtype? order! subok! shape? device!", creation::full_like),
    binary("greater", BinaryOp::Gt),
    binary("greater_equal", BinaryOp::Ge),
    other("hstack", "arrays dtype? casting!", structural::hstack),
    other("identity", "N dtype? like!", creation::eye),
    other("inner", "a b", product::inner),
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
    other("matmul", "x1 x2 out! casting! order! dtype! subok! signature! axes! axis!", product::matmul),
    other("matrix_transpose", "a", structural::matrix_transpose),
    fold("max", EXTREME, FoldOp::Max),
    binary("maximum", BinaryOp::Maximum),
    other("mean", "a axis? dtype? out! keepdims? where!", reduction::mean),
    fold("min", EXTREME, FoldOp::Min),
    binary("minimum", BinaryOp::Minimum),
    binary("mod", BinaryOp::Mod),
    other("moveaxis", "a source destination", structural::moveaxis),
    binary("multiply", BinaryOp::Mul),
    other("ndim", "a", structural::ndim),
    unary("negative", Unary::Op(UnaryOp::Neg)),
    binary("not_equal", BinaryOp::Ne),
    other("ones", "shape dtype? order! device! like!", creation::ones),
    other("ones_like", "a dtype? order! subok! shape? device!", creation::ones_like),
    other("outer", "a b out!", product::outer),
    other("pad", "array pad_width mode? constant_values?", structural::pad),
    other("permute_dims", "a axes?", structural::transpose),
    unary("positive", Unary::Positive),
    binary("pow", BinaryOp::Pow),
    binary("power", BinaryOp::Pow),
    fold("prod", REDUCE, FoldOp::Prod),
    other("ravel", "a order?", structural::ravel),
    unary("reciprocal", Unary::Reciprocal),
    binary("remainder", BinaryOp::Mod),
    other("reshape", "a shape order? copy!", structural::reshape),
    binary("right_shift", BinaryOp::Shr),
    other("roll", "a shift axis?", structural::roll),
    other("take", "a indices axis? out! mode?", gather::take),
    other("shape", "a", structural::shape_of),
    unary("sign", Unary::Op(UnaryOp::Sign)),
    unary("sin", Unary::Op(UnaryOp::Sin)),
    other("size", "a axis!", structural::size),
    unary("sqrt", Unary::Op(UnaryOp::Sqrt)),
    unary("square", Unary::Square),
    other("squeeze", "a axis?", structural::squeeze),
    other("stack", "arrays axis? out! dtype? casting!", structural::stack),
    other("std", MOMENT, reduction::std),
    binary("subtract", BinaryOp::Sub),
    fold("sum", REDUCE, FoldOp::Sum),
    other("swapaxes", "a axis1 axis2", structural::swapaxes),
    unary("tanh", Unary::Op(UnaryOp::Tanh)),
    other("tensordot", "a b axes?", product::tensordot),
    other("trace", "a offset? axis1? axis2? dtype? out!", reduction::trace),
    other("transpose", "a axes?", structural::transpose),
    other("tri", "N M? k? dtype? like!", creation::tri),
    other("tril", "m k?", structural::tril),
    other("triu", "m k?", structural::triu),
    binary("true_divide", BinaryOp::Div),
    other("var", MOMENT, reduction::var),
    other("vdot", "a b", product::vdot),
    other("vstack", "arrays dtype? casting!", structural::vstack),
    other("where", "condition x? y?", elementwise::select),
    other("zeros", "shape dtype? order! like!", creation::zeros),
    other("zeros_like", "a dtype? order! subok! shape? device!", creation::zeros_like),
];

/// The functions of `numpy.lib.stride_tricks`.
pub(super) static STRIDE_TRICKS: &[Function] = &[
    other("broadcast_to", "a shape subok!", structural::broadcast_to),
    other("sliding_window_view", "x window_shape axis? subok! writeable!", structural::sliding_window_view),
];

/// The functions of `scipy.special`.
pub(super) static SPECIAL: &[Function] = &[unary("erf", Unary::Op(UnaryOp::Erf))];

/// The methods of arrays; the array is the first parameter.
pub(super) static METHODS: &[Function] = &[
    fold("all", TEST, FoldOp::All),
    fold("any", TEST, FoldOp::Any),
    other("argmax", "a axis? out! keepdims?", scan::argmax),
    other("argmin", "a axis? out! keepdims?", scan::argmin),
    other("astype", "a dtype order! casting! subok! copy!", structural::astype),
    other("clip", "a a_min? a_max? out! min? max?", elementwise::clip),
    other("copy", "a order!", structural::copy_method),
    other("cumprod", "a axis? dtype? out!", scan::cumprod),
    other("cumsum", "a axis? dtype? out!", scan::cumsum),
    other("diagonal", "a offset? axis1? axis2?", structural::diagonal),
    other("dot", "a b out!", product::dot),
    other("flatten", "a order?", structural::flatten),
    fold("max", "a axis? out! keepdims? initial! where!", FoldOp::Max),
    other("mean", "a axis? dtype? out! keepdims? where!", reduction::mean),
    fold("min", "a axis? out! keepdims? initial! where!", FoldOp::Min),
    fold("prod", "a axis? dtype? out! keepdims? initial! where!", FoldOp::Prod),
    other("ravel", "a order?", structural::ravel),
    other("reshape", "a *shape order? copy!", structural::reshape),
    other("squeeze", "a axis?", structural::squeeze),
    other("std", MOMENT, reduction::std),
    fold("sum", "a axis? dtype? out! keepdims? initial! where!", FoldOp::Sum),
    other("swapaxes", "a axis1 axis2", structural::swapaxes),
    other("take", "a indices axis? out! mode?", gather::take),
    other("trace", "a offset? axis1? axis2? dtype? out!", reduction::trace),
    other("transpose", "a *axes", structural::transpose),
    other("var", MOMENT, reduction::var),
];

/// `ufunc.reduce`.
pub(super) static REDUCE_METHOD: Function = other("reduce", REDUCE, method_of_ufunc);

/// `ufunc.accumulate`.
pub(super) static ACCUMULATE_METHOD: Function = other("accumulate", "a axis? dtype? out!", method_of_ufunc);

/// `ufunc.at`.
pub(super) static AT_METHOD: Function = other("at", "a indices b?", method_of_ufunc);

/// A ufunc's methods are called with the ufunc, not by their table entry.
fn method_of_ufunc(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    Err(evaluator.unsupported(call.span, call.function.name, "call it as np.add.reduce(a)"))
}

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

/// The element type that an attribute of `numpy` or a string names: `None` if it is none that is known here.
pub(super) fn dtype_name(name: &str) -> Option<Result<DType, &'static str>> {
    Some(Ok(match name {
        "float32" | "single" | "f4" | "<f4" | "=f4" | "|f4" | "f" => DType::F32,
        "float64" | "double" | "f8" | "<f8" | "=f8" | "|f8" | "d" | "float" => DType::F64,
        "int32" | "intc" | "i4" | "<i4" | "=i4" | "|i4" | "i" => DType::I32,
        "int64" | "int_" | "intp" | "long" | "longlong" | "i8" | "<i8" | "=i8" | "|i8" | "int" | "l" | "n" | "p"
        | "q" => DType::I64,
        "bool_" | "bool" | "?" | "b1" | "<b1" | ">b1" | "=b1" | "|b1" => DType::Bool,
        "float16" | "half" | "f2" | "int8" | "i1" | "uint8" | "u1" | "int16" | "i2" | "uint16" | "u2" | "uint32"
        | "u4" | "uint64" | "u8" | "complex64" | "c8" | "complex128" | "complex" | "c16" | "longdouble"
        | "bfloat16" | ">f4" | ">f8" | ">i4" | ">i8" | "object" | "O" | "str" => {
            return Some(Err("supported dtypes: f32, f64, i32, i64, bool"));
        }
        _ => return None,
    }))
}

impl Evaluator<'_> {
    /// Binds the arguments of a call to the function's signature.
    pub(super) fn bind_call(
        &mut self,
        function: &'static Function,
        positional: Vec<Arg>,
        keywords: Vec<(String, Arg)>,
        span: Span,
    ) -> Eval<Call> {
        let parameters: Vec<&'static str> = function.signature.split(' ').collect();
        let mut call = Call { function, span, args: Vec::new(), rest: Vec::new() };
        let mut values = positional.into_iter();
        for &parameter in &parameters {
            if parameter.starts_with('*') {
                call.rest = values.by_ref().collect();
            } else if let Some(arg) = values.next() {
                call.args.push((parameter, arg));
            } else {
                break;
            }
        }
        if let Some(extra) = values.next() {
            let message = format!("{}() takes at most {} positional arguments", function.name, parameters.len());
            return Err(self.error(extra.span, message, Some(&describe(function))));
        }
        for (keyword, arg) in keywords {
            let known = parameters.iter().find(|parameter| parameter.trim_matches(['?', '!']) == keyword);
            match known {
                None => {
                    let message = format!("{}() has no keyword '{keyword}'", function.name);
                    return Err(self.error(arg.span, message, Some(&describe(function))));
                }
                Some(parameter) if call.args.iter().any(|entry| entry.0 == *parameter) => {
                    let message = format!("{}() got two values for '{keyword}'", function.name);
                    return Err(self.error(arg.span, message, None));
                }
                Some(parameter) => call.args.push((parameter, arg)),
            }
        }
        for (parameter, arg) in &mut call.args {
            let harmless = matches!(arg.value, Value::None);
            if let Some(name) = parameter.strip_suffix('!').filter(|_| !harmless) {
                let construct = format!("the argument '{name}' of {}()", function.name);
                return Err(self.unsupported(arg.span, &construct, &describe(function)));
            }
            *parameter = parameter.trim_matches(['?', '!']);
        }
        let missing = parameters.iter().find(|parameter| {
            !parameter.starts_with('*') && !parameter.ends_with(['?', '!']) && call.given(parameter).is_none()
        });
        if let Some(parameter) = missing {
            let message = format!("{}() needs the argument '{parameter}'", function.name);
            return Err(self.error(span, message, Some(&describe(function))));
        }
        let poisoned = call.args.iter().any(|entry| entry.1.value.is_poisoned());
        if poisoned || call.rest.iter().any(|arg| arg.value.is_poisoned()) { Err(Poisoned) } else { Ok(call) }
    }

    /// Runs a bound call.
    pub(super) fn run_call(&mut self, call: &Call) -> Eval {
        match call.function.kind {
            Kind::Unary(kind) => elementwise::unary_call(self, kind, call),
            Kind::Binary(kind) => elementwise::binary_call(self, kind, call),
            Kind::Fold(op) => reduction::fold_call(self, op, call),
            Kind::Other(handler) => handler(self, call),
        }
    }
}

/// The arguments that a function takes, for help lines.
fn describe(function: &Function) -> String {
    let supported: Vec<String> = function
        .signature
        .split(' ')
        .filter(|parameter| !parameter.ends_with('!'))
        .map(|parameter| parameter.strip_suffix('?').map_or_else(|| parameter.to_owned(), |name| format!("{name}=…")))
        .collect();
    format!("supported: {}({})", function.name, supported.join(", "))
}
