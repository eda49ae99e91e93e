//! Evaluates Python expressions.

use super::dtype_name::dtype_name;
use super::evaluate::Evaluator;
use super::frames::{Body, Closure};
use super::function::{Binary, Function, Unary};
use super::functions::{self, METHODS, find, help_for};
use super::number::{self, Number};
use super::operand::Operand;
use super::operator::ufunc;
use super::promote::{self, Kind};
use super::syntax::span_of;
use super::value::{Arg, Array, Builtin, Eval, Poisoned, UfuncMethod, Value, is_number, may_be_number};
use crate::program::expr::Span;
use crate::value::dtype::DType;
use crate::value::scalar::UnaryOp;
use rustpython_ruff_python_ast::{self as ast, Expr, Number as NumberLiteral, Operator, UnaryOp as PythonUnaryOp};

/// Expressions and calls nest at most this deep.
const MAX_DEPTH: usize = 200;

/// The remedy where a Python number becomes NumPy's in a loop.
pub(super) const BEGIN_WITH_NUMPYS: &str = "begin with a NumPy number, as in s = np.float64(0)";

impl<'s> Evaluator<'s> {
    /// The value of an expression; [`Value::Poison`] where it is in error.
    pub(super) fn eval(&mut self, expr: &'s Expr) -> Value {
        if self.depth >= MAX_DEPTH {
            self.error(span_of(expr), "the expression is nested too deeply", Some("name intermediate results"));
            return Value::Poison;
        }
        self.depth += 1;
        let value = self.try_eval(expr).unwrap_or(Value::Poison);
        self.depth -= 1;
        value
    }

    /// The value of an expression, with its place.
    pub(super) fn arg(&mut self, expr: &'s Expr) -> Arg {
        Arg { value: self.eval(expr), span: span_of(expr) }
    }

    fn try_eval(&mut self, expr: &'s Expr) -> Eval {
        let span = span_of(expr);
        match expr {
            Expr::Name(name) => self.lookup(name.id.as_str(), span),
            Expr::NumberLiteral(literal) => match &literal.value {
                NumberLiteral::Int(value) => match value.as_i64() {
                    Some(value) => Ok(Value::Number(Number::Int(i128::from(value)))),
                    None => {
                        let value = value.to_string().parse().map(Number::Int);
                        value.map(Value::Number).map_err(|_| self.error(span, "the integer is too large", None))
                    }
                },
                NumberLiteral::Float(value) => Ok(Value::float(*value)),
                NumberLiteral::Complex { .. } => {
                    Err(self.unsupported(span, "a complex number", "supported: bool, int and float numbers"))
                }
            },
            Expr::BooleanLiteral(literal) => Ok(Value::Number(Number::Bool(literal.value))),
            Expr::NoneLiteral(_) => Ok(Value::None),
            Expr::EllipsisLiteral(_) => Ok(Value::Ellipsis),
            Expr::StringLiteral(literal) => Ok(Value::Str(literal.value.to_str().to_owned())),
            Expr::Tuple(tuple) => self.sequence(&tuple.elts).map(Value::Tuple),
            Expr::List(list) => self.sequence(&list.elts).map(Value::List),
            Expr::BinOp(operation) => self.binary_chain(operation),
            Expr::UnaryOp(operation) => {
                let operand = self.arg(&operation.operand);
                self.unary_operator(operation.op, &operand, span)
            }
            Expr::BoolOp(operation) => self.bool_operator(operation, span),
            Expr::Compare(comparison) => self.comparison(comparison, span),
            Expr::If(conditional) => self.conditional(conditional, span),
            Expr::Attribute(attribute) => {
                let base = self.arg(&attribute.value);
                self.attribute(&base, attribute.attr.as_str(), span)
            }
            Expr::Subscript(subscript) => {
                let base = self.arg(&subscript.value);
                self.subscript(&base, &subscript.slice, span)
            }
            Expr::Call(call) => self.call(call, span),
            Expr::Lambda(lambda) => {
                let defaults = self.defaults(lambda.parameters.as_deref());
                let closure = Closure {
                    name: "a lambda",
                    parameters: lambda.parameters.as_deref(),
                    body: Body::Expression(&lambda.body),
                    frame: self.names.frame(),
                    defaults,
                };
                let id = self.names.define(closure);
                Ok(Value::Closure(id))
            }
            Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::Generator(_) => {
                let help = "write whole-array operations, or a loop over range(…)";
                Err(self.unsupported(span, "a comprehension", help))
            }
            Expr::Starred(_) => Err(self.unsupported(span, "this '*'", "unpack in calls, tuples and lists")),
            Expr::Slice(_) => Err(self.unsupported(span, "a slice outside an index", "write it in square brackets")),
            Expr::Named(_) => Err(self.unsupported(span, "':='", "assign in a statement of its own")),
            Expr::Dict(_) | Expr::Set(_) => {
                Err(self.unsupported(span, "a dict or set", "supported: tuples, lists, arrays and numbers"))
            }
            Expr::FString(_) | Expr::TString(_) | Expr::BytesLiteral(_) => {
                Err(self.unsupported(span, "a formatted or bytes string", "supported: plain strings"))
            }
            Expr::Await(_) | Expr::Yield(_) | Expr::YieldFrom(_) => {
                Err(self.unsupported(span, "a generator or coroutine", "a workload returns arrays"))
            }
            Expr::IpyEscapeCommand(_) => Err(self.unsupported(span, "an IPython command", "write plain Python")),
        }
    }

    /// The elements of a tuple or list display, `*` unpacked.
    fn sequence(&mut self, elements: &'s [Expr]) -> Eval<Vec<Value>> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            if let Expr::Starred(starred) = element {
                let arg = self.arg(&starred.value);
                items.extend(self.unpacked(&arg)?);
            } else {
                items.push(self.eval(element));
            }
        }
        Ok(items)
    }

    pub(super) fn unpacked(&mut self, arg: &Arg) -> Eval<Vec<Value>> {
        match &arg.value {
            Value::Poison => Err(Poisoned),
            Value::Tuple(items) | Value::List(items) => Ok(items.clone()),
            other => {
                let message = format!("'*' needs a tuple or list, not {}", self.describe(other));
                Err(self.error(arg.span, message, None))
            }
        }
    }

    /// A binary operator. The left spine of a long sum is walked, not recursed into.
    fn binary_chain(&mut self, operation: &'s ast::ExprBinOp) -> Eval {
        let mut spine = vec![operation];
        let mut first: &'s Expr = &operation.left;
        while let Expr::BinOp(inner) = first {
            spine.push(inner);
            first = &inner.left;
        }
        let mut left = self.arg(first);
        for operation in spine.into_iter().rev() {
            let right = self.arg(&operation.right);
            let span = span_of(operation);
            let value = self.binary_operator(operation.op, &left, &right, span).unwrap_or(Value::Poison);
            left = Arg { value, span };
        }
        match left.value {
            Value::Poison => Err(Poisoned),
            value => Ok(value),
        }
    }

    /// `a op b` on Python values.
    pub(super) fn binary_operator(&mut self, op: Operator, a: &Arg, b: &Arg, span: Span) -> Eval {
        if a.value.is_poisoned() || b.value.is_poisoned() {
            return Err(Poisoned);
        }
        match (&a.value, &b.value) {
            (Value::Number(x), Value::Number(y)) => {
                return number::binary(op, *x, *y)
                    .map(Value::Number)
                    .map_err(|message| self.error(span, message, None));
            }
            (x, y) if is_number(x) && is_number(y) => return self.number_operator(op, a, b, span),
            (Value::Tuple(x), Value::Tuple(y)) if op == Operator::Add => {
                return Ok(Value::Tuple([x.as_slice(), y].concat()));
            }
            (Value::List(x), Value::List(y)) if op == Operator::Add => {
                return Ok(Value::List([x.as_slice(), y].concat()));
            }
            (Value::Tuple(items), Value::Number(Number::Int(times)))
            | (Value::Number(Number::Int(times)), Value::Tuple(items))
                if op == Operator::Mult =>
            {
                return self.repeated(items, *times, span).map(Value::Tuple);
            }
            (Value::List(items), Value::Number(Number::Int(times)))
            | (Value::Number(Number::Int(times)), Value::List(items))
                if op == Operator::Mult =>
            {
                return self.repeated(items, *times, span).map(Value::List);
            }
            _ => {}
        }
        let symbol = op.as_str();
        if !matches!(a.value, Value::Array(_)) && !matches!(b.value, Value::Array(_)) {
            let message =
                format!("'{symbol}' is not defined on {} and {}", self.describe(&a.value), self.describe(&b.value));
            return Err(self.error(span, message, None));
        }
        if op == Operator::MatMult {
            return self.matrix_product(a, b, span);
        }
        let x = self.operand(a, &format!("'{symbol}'"));
        let y = self.operand(b, &format!("'{symbol}'"));
        let (x, y) = (x?, y?);
        let number = may_be_number(&a.value) && may_be_number(&b.value);
        if may_be_number(&a.value) || may_be_number(&b.value) {
            self.as_python_computes(op, a, b, span)?;
        }
        let node = self.elementwise(Binary::Op(ufunc(op)), &format!("'{symbol}'"), &x, &y, span)?;
        Ok(Value::Array(Array { number, ..self.fresh(node) }))
    }

    /// Refuses an operation on what is a Python number in one iteration and a NumPy scalar in another, where that makes a
    /// difference: Python raises where NumPy gives a number, and a Python number takes the dtype of an array beside it.
    fn as_python_computes(&mut self, op: Operator, a: &Arg, b: &Arg, span: Span) -> Eval<()> {
        let symbol = op.as_str();
        let raises = match op {
            Operator::Div | Operator::FloorDiv | Operator::Mod => !self.is_never_zero(&b.value),
            Operator::Pow => !matches!(&b.value, Value::Number(number) if number.as_int().is_some_and(|n| n >= 0)),
            Operator::Add
            | Operator::Sub
            | Operator::Mult
            | Operator::MatMult
            | Operator::LShift
            | Operator::RShift
            | Operator::BitOr
            | Operator::BitXor
            | Operator::BitAnd => false,
        };
        if may_be_number(&a.value) && may_be_number(&b.value) {
            if raises {
                let message = format!("'{symbol}' of what is a Python number in one iteration and NumPy's in another");
                return Err(self.error(span, message, Some(BEGIN_WITH_NUMPYS)));
            }
            return Ok(());
        }
        let (own, other) = if may_be_number(&a.value) { (a, b) } else { (b, a) };
        let (Value::Array(number), Value::Array(array)) = (&own.value, &other.value) else { return Ok(()) };
        let (own, array) = (self.dtype(number.node), self.dtype(array.node));
        let weak = if own.is_float() { Kind::WeakFloat } else { Kind::WeakInt };
        let as_number = promote::common([weak, Kind::Strong(array)]);
        let as_scalar = promote::common([Kind::Strong(own), Kind::Strong(array)]);
        if own == DType::Bool || as_number == as_scalar {
            return Ok(());
        }
        let message = format!(
            "'{symbol}' gives {as_number} while this is a Python number and {as_scalar} once it is NumPy's {own}"
        );
        Err(self.error(span, message, Some(BEGIN_WITH_NUMPYS)))
    }

    fn repeated(&mut self, items: &[Value], times: i128, span: Span) -> Eval<Vec<Value>> {
        let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        match items.len().checked_mul(times) {
            Some(length) if length <= 1 << 20 => Ok(std::iter::repeat_n(items, times).flatten().cloned().collect()),
            Some(_) | None => Err(self.error(span, "the repeated sequence is too long", None)),
        }
    }

    fn unary_operator(&mut self, op: PythonUnaryOp, operand: &Arg, span: Span) -> Eval {
        if operand.value.is_poisoned() {
            return Err(Poisoned);
        }
        if op == PythonUnaryOp::Not {
            let truth = self.truth_of(&operand.value, operand.span)?;
            return self.negated(&truth, span).map(Evaluator::truth_value);
        }
        if let Value::Number(value) = operand.value {
            return number::unary(op, value).map(Value::Number).map_err(|message| self.error(span, message, None));
        }
        if is_number(&operand.value) {
            return self.number_unary(op, operand, span);
        }
        let (kind, name) = match op {
            PythonUnaryOp::USub => (Unary::Op(UnaryOp::Neg), "unary '-'"),
            PythonUnaryOp::UAdd | PythonUnaryOp::Not => (Unary::Positive, "unary '+'"),
            PythonUnaryOp::Invert => (Unary::Op(UnaryOp::Not), "'~'"),
        };
        let Value::Array(array) = &operand.value else {
            let message = format!("{name} is not defined on {}", self.describe(&operand.value));
            return Err(self.error(span, message, None));
        };
        let number = array.number;
        let node = self.apply_unary(kind, name, &Operand::Node(array.node), span)?;
        Ok(Value::Array(Array { number, ..self.fresh(node) }))
    }

    fn attribute(&mut self, base: &Arg, name: &str, span: Span) -> Eval {
        match &base.value {
            Value::Poison => Err(Poisoned),
            Value::Module(path) => {
                let path = path.clone();
                self.module_attribute(&path, name, span)
            }
            Value::Array(array) if array.number => {
                let message = format!(
                    "'.{name}' of what is a Python number in one iteration and NumPy's in another, which alone has it"
                );
                Err(self.error(span, message, Some(BEGIN_WITH_NUMPYS)))
            }
            Value::Array(array) => {
                let array = array.clone();
                let shape = self.shape(array.node);
                match name {
                    "shape" => {
                        let extents = self.extents(array.node);
                        Ok(Value::Tuple(extents.into_iter().map(|extent| self.form_value(extent)).collect()))
                    }
                    "ndim" => Ok(Value::int(shape.len())),
                    "size" => self.size_of(array.node, span),
                    "dtype" => Ok(Value::DType(self.dtype(array.node))),
                    "T" => {
                        let axes = (0..shape.len()).rev().collect();
                        let node = self.transpose(array.node, axes, span)?;
                        Ok(self.view(node, &array))
                    }
                    "mT" => self.matrix_transposed(&array, span),
                    _ => match find(METHODS, name) {
                        Some(method) => Ok(Value::Method(array, method)),
                        None => {
                            let help = help_for(METHODS, name)
                                .replace("supported: ", "supported: shape, ndim, size, dtype, T, mT, ");
                            Err(self.unsupported(span, &format!("the array attribute '.{name}'"), &help))
                        }
                    },
                }
            }
            Value::Function(function) if name == "outer" => Ok(Value::Ufunc(function, UfuncMethod::Outer)),
            Value::Function(function) if name == "reduce" => Ok(Value::Ufunc(function, UfuncMethod::Reduce)),
            Value::Function(function) if name == "at" => Ok(Value::Ufunc(function, UfuncMethod::At)),
            Value::Function(function) if name == "accumulate" => Ok(Value::Ufunc(function, UfuncMethod::Accumulate)),
            Value::Function(function) => {
                let construct = format!("np.{}.{name}", function.name);
                Err(self.unsupported(span, &construct, "supported: outer, reduce, accumulate, at"))
            }
            Value::DType(dtype) if name == "type" => Ok(Value::ScalarType(*dtype)),
            Value::DType(dtype) if name == "itemsize" => Ok(Value::int(dtype.bytes())),
            Value::DType(dtype) if name == "kind" => {
                let kind = if dtype.is_float() {
                    "f"
                } else if dtype.is_int() {
                    "i"
                } else {
                    "b"
                };
                Ok(Value::Str(kind.to_owned()))
            }
            other => {
                let message = format!("{} has no attribute '{name}'", self.describe(other));
                Err(self.error(span, message, None))
            }
        }
    }

    /// The value of `module.name`.
    pub(super) fn module_attribute(&mut self, path: &str, name: &str, span: Span) -> Eval {
        let (table, constants): (&'static [Function], &[(&str, f64)]) = match path {
            "numpy" => (
                functions::NUMPY,
                &[
                    ("pi", std::f64::consts::PI),
                    ("e", std::f64::consts::E),
                    ("inf", f64::INFINITY),
                    ("nan", f64::NAN),
                    ("euler_gamma", 0.577_215_664_901_532_9),
                ],
            ),
            "numpy.lib.stride_tricks" => (functions::STRIDE_TRICKS, &[]),
            "scipy.special" => (functions::SPECIAL, &[]),
            "math" => (
                &[],
                &[
                    ("pi", std::f64::consts::PI),
                    ("e", std::f64::consts::E),
                    ("tau", std::f64::consts::TAU),
                    ("inf", f64::INFINITY),
                    ("nan", f64::NAN),
                ],
            ),
            _ => (&[], &[]),
        };
        if let Some(constant) = constants.iter().find(|constant| constant.0 == name) {
            return Ok(Value::float(constant.1));
        }
        if let Some(function) = find(table, name) {
            return Ok(Value::Function(function));
        }
        let found = match (path, name) {
            ("numpy", "newaxis") => Some(Value::None),
            // Those without functions here are modules too, so that a message names the function.
            ("numpy", "lib" | "linalg" | "fft" | "random" | "ma" | "polynomial")
            | ("numpy.lib", "stride_tricks")
            | ("scipy", "special" | "linalg" | "signal" | "ndimage") => Some(Value::Module(format!("{path}.{name}"))),
            ("math", "sqrt") => Some(Value::Builtin(Builtin::MathSqrt)),
            ("math", "exp") => Some(Value::Builtin(Builtin::MathExp)),
            ("math", "log") => Some(Value::Builtin(Builtin::MathLog)),
            // CPython takes the branch that defines nothing for type checkers either.
            ("typing", "TYPE_CHECKING") => Some(Value::Number(Number::Bool(false))),
            ("typing" | "numpy.typing", _) => Some(Value::Annotation),
            _ => None,
        };
        if let Some(value) = found {
            return Ok(value);
        }
        if path == "numpy" && name.len() > 2 && !matches!(name, "float" | "int") {
            match dtype_name(name) {
                // It is a type of its own, and not the one of the dtype that it stands for.
                Some(Ok(_)) if name == "longlong" => {
                    return Err(self.unsupported(span, "np.longlong", "write np.int64"));
                }
                Some(Ok(dtype)) => return Ok(Value::ScalarType(dtype)),
                Some(Err(help)) => {
                    return Err(self.error(span, format!("the dtype np.{name} is not supported"), Some(help)));
                }
                None => {}
            }
        }
        let shown = path.strip_prefix("numpy").map_or_else(|| path.to_owned(), |rest| format!("np{rest}"));
        let help = match path {
            "numpy.lib" => "supported: np.lib.stride_tricks.sliding_window_view".to_owned(),
            "numpy.linalg" => {
                "supported of linear algebra: @, np.dot, np.einsum, np.trace; write loops over range(…)".to_owned()
            }
            "math" => "supported: math.pi, e, tau, inf, nan, sqrt, exp, log, on compile-time numbers".to_owned(),
            _ if table.is_empty() => "nothing of this module is supported".to_owned(),
            _ => help_for(table, name),
        };
        Err(self.unsupported(span, &format!("{shown}.{name}"), &help))
    }
}
