//! Calls: of NumPy's functions and methods, of Python's own on compile-time values, and of local functions, whose
//! bodies are inlined.

use super::comparison::Comparison;
use super::elementwise::Operand;
use super::evaluate::{Body, Closure, Eval, Evaluator, Frame, Poisoned, span_of};
use super::functions::{self, Unary};
use super::liveness::Liveness;
use super::number::{self, Number};
use super::statement::Flow;
use super::value::{Arg, Builtin, UfuncMethod, Value};
use super::{product, scan, scatter, structural};
use crate::program::expr::{Check, Requirement, Span};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};
use rustpython_ruff_python_ast::{self as ast, Expr, Operator};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A workload inlines at most this many calls.
const MAX_CALLS: usize = 20_000;

impl<'s> Evaluator<'s> {
    /// `f(…)`.
    pub(super) fn call(&mut self, call: &'s ast::ExprCall, span: Span) -> Eval {
        let callee = self.arg(&call.func);
        let mut positional = Vec::with_capacity(call.arguments.args.len());
        let mut failed = matches!(callee.value, Value::Poison);
        for argument in &call.arguments.args {
            if let Expr::Starred(starred) = argument {
                let arg = self.arg(&starred.value);
                match self.unpacked(&arg) {
                    Ok(items) => positional.extend(items.into_iter().map(|value| Arg { value, span: arg.span })),
                    Err(Poisoned) => failed = true,
                }
            } else {
                positional.push(self.arg(argument));
            }
        }
        let mut keywords: Vec<(String, Arg)> = Vec::with_capacity(call.arguments.keywords.len());
        for keyword in &call.arguments.keywords {
            let value = self.arg(&keyword.value);
            match &keyword.arg {
                Some(name) => keywords.push((name.as_str().to_owned(), value)),
                None => {
                    self.unsupported(value.span, "'**' in a call", "write the keywords out");
                    failed = true;
                }
            }
        }
        if failed {
            return Err(Poisoned);
        }
        match callee.value {
            Value::Function(function) => {
                let bound = self.bind_call(function, positional, keywords, span)?;
                self.run_call(&bound)
            }
            Value::Method(array, method) => {
                positional.insert(0, Arg { value: Value::Array(array), span: callee.span });
                let bound = self.bind_call(method, positional, keywords, span)?;
                self.run_call(&bound)
            }
            Value::Ufunc(function, UfuncMethod::Reduce) => {
                let bound = self.bind_call(&functions::REDUCE_METHOD, positional, keywords, span)?;
                scan::reduce(self, function, &bound)
            }
            Value::Ufunc(function, UfuncMethod::Accumulate) => {
                let bound = self.bind_call(&functions::ACCUMULATE_METHOD, positional, keywords, span)?;
                scan::accumulate(self, function, &bound)
            }
            Value::Ufunc(function, UfuncMethod::At) => {
                let bound = self.bind_call(&functions::AT_METHOD, positional, keywords, span)?;
                scatter::at(self, function, &bound)
            }
            Value::Ufunc(function, UfuncMethod::Outer) if keywords.is_empty() => {
                if positional.iter().any(|arg| arg.value.is_poisoned()) {
                    return Err(Poisoned);
                }
                product::ufunc_outer(self, function, &positional, span)
            }
            Value::Closure(closure) => self.inline(closure, positional, keywords, span),
            Value::ScalarType(dtype) if keywords.is_empty() => match positional.as_slice() {
                [arg] => structural::convert(self, arg, dtype, span),
                _ => Err(self.error(span, format!("{dtype} takes one argument"), None)),
            },
            Value::Builtin(builtin) if keywords.is_empty() => self.builtin(builtin, &positional, span),
            module @ Value::Module(_) => {
                let message = format!("{} cannot be called", self.describe(&module));
                Err(self.error(span, message, Some("call one of its functions")))
            }
            other => {
                let message = format!("{} cannot be called with these arguments", self.describe(&other));
                Err(self.error(span, message, None))
            }
        }
    }

    /// The values of parameters' defaults.
    pub(super) fn defaults(&mut self, parameters: Option<&'s ast::Parameters>) -> BTreeMap<&'s str, Value> {
        let mut defaults = BTreeMap::new();
        for parameter in parameters.into_iter().flat_map(ast::Parameters::iter_non_variadic_params) {
            if let Some(default) = &parameter.default {
                let value = self.eval(default);
                defaults.insert(parameter.parameter.name.as_str(), value);
            }
        }
        defaults
    }

    /// Runs a local function's body in place of the call.
    fn inline(&mut self, id: usize, positional: Vec<Arg>, keywords: Vec<(String, Arg)>, span: Span) -> Eval {
        let closure = self.closures[id].clone();
        if self.calls.iter().any(|call| call.0 == id) {
            let message = format!("the function {} calls itself", closure.name);
            return Err(self.error(span, message, Some("recursion is not supported; local functions are inlined")));
        }
        self.inlined += 1;
        if self.inlined > MAX_CALLS {
            return Err(self.error(span, "too many calls are inlined", Some("at most 20000 in one workload")));
        }
        let mut names = self.bind_parameters(&closure, positional, keywords, span)?;
        for (name, value) in &mut names {
            let given = std::mem::replace(value, Value::None);
            *value = self.settled(Some(name), given, span);
        }
        let mut locals = std::collections::BTreeSet::new();
        let mut liveness = Rc::default();
        if let Body::Statements(body) = closure.body {
            super::statement::assigned(body, &mut locals);
            liveness = Rc::new(Liveness::of(body));
        }
        for (name, default) in &closure.defaults {
            names.entry((*name).to_owned()).or_insert_with(|| default.clone());
        }
        locals.extend(names.keys().cloned());
        let caller = self.frame;
        let place = self.enter(span.start);
        self.frames.push(Frame { parent: Some(closure.frame), locals, names, liveness, ..Frame::default() });
        let frame = self.frames.len() - 1;
        self.frame = frame;
        self.calls.push((id, span));
        let inner = self.whole_call != Some(span);
        if inner {
            self.inner_calls.push(self.states.len());
        }
        let value = match closure.body {
            Body::Expression(body) => self.eval(body),
            Body::Statements(body) => match self.block(body) {
                Flow::Return(arg) => arg.value,
                Flow::Next => Value::None,
            },
        };
        if inner {
            self.inner_calls.pop();
        }
        self.calls.pop();
        self.leave(place);
        self.frame = caller;
        if !self.closures.iter().any(|closure| closure.frame == frame) {
            self.frames[frame].names.clear();
        }
        match value {
            Value::Poison => Err(Poisoned),
            value => Ok(value),
        }
    }

    fn bind_parameters(
        &mut self,
        closure: &Closure<'s>,
        positional: Vec<Arg>,
        keywords: Vec<(String, Arg)>,
        span: Span,
    ) -> Eval<BTreeMap<String, Value>> {
        let mut names = BTreeMap::new();
        let Some(parameters) = closure.parameters else {
            return if positional.is_empty() && keywords.is_empty() {
                Ok(names)
            } else {
                Err(self.error(span, format!("{} takes no arguments", closure.name), None))
            };
        };
        if let Some(variadic) = parameters.vararg.as_deref().or(parameters.kwarg.as_deref()) {
            let place = span_of(variadic);
            return Err(self.unsupported(place, "a '*' parameter", "write the parameters out"));
        }
        let mut slots = parameters.posonlyargs.iter().chain(&parameters.args);
        for arg in positional {
            let Some(slot) = slots.next() else {
                return Err(self.error(arg.span, format!("too many arguments for {}", closure.name), None));
            };
            names.insert(slot.parameter.name.as_str().to_owned(), arg.value);
        }
        for (keyword, arg) in keywords {
            let known = parameters.args.iter().chain(&parameters.kwonlyargs);
            if !known.into_iter().any(|slot| slot.parameter.name.as_str() == keyword) {
                let message = format!("{} has no parameter '{keyword}'", closure.name);
                return Err(self.error(arg.span, message, None));
            }
            if names.insert(keyword.clone(), arg.value).is_some() {
                let message = format!("{} got two values for '{keyword}'", closure.name);
                return Err(self.error(arg.span, message, None));
            }
        }
        for slot in parameters.iter_non_variadic_params() {
            let name = slot.parameter.name.as_str();
            if !names.contains_key(name) && !closure.defaults.contains_key(name) {
                return Err(self.error(span, format!("{} needs the argument '{name}'", closure.name), None));
            }
        }
        Ok(names)
    }

    /// A function of Python itself.
    fn builtin(&mut self, builtin: Builtin, args: &[Arg], span: Span) -> Eval {
        if args.iter().any(|arg| arg.value.is_poisoned()) {
            return Err(Poisoned);
        }
        let name = builtin.name();
        match (builtin, args) {
            (Builtin::Abs, [arg]) if matches!(arg.value, Value::Array(_)) => {
                let operand = self.operand(arg, "abs")?;
                let node = self.apply_unary(Unary::Op(UnaryOp::Abs), "abs", &operand, span)?;
                Ok(Value::Array(self.fresh(node)))
            }
            (Builtin::Abs, [Arg { value: Value::Number(number), .. }]) => Ok(Value::Number(match number.as_int() {
                Some(value) => Number::Int(value.saturating_abs()),
                None => Number::Float(number.as_f64().abs()),
            })),
            (Builtin::Abs, [Arg { value: Value::Affine(_) | Value::Weak(_) | Value::Condition(_), .. }]) => {
                let mut operand = self.operand(&args[0], "abs")?;
                if let Operand::Weak(node) = operand
                    && self.dtype(node) == DType::Bool
                {
                    operand = Operand::Weak(self.cast(node, DType::I64, span)?);
                }
                let node = self.apply_unary(Unary::Op(UnaryOp::Abs), "abs", &operand, span)?;
                Ok(Value::Weak(node))
            }
            (Builtin::Range, args) => self.range(args, span),
            (Builtin::Pow, [a, b]) => self.binary_operator(Operator::Pow, a, b, span),
            (Builtin::Len, [arg]) => match &arg.value {
                Value::Tuple(items) | Value::List(items) => Ok(Value::int(items.len())),
                Value::Str(text) => Ok(Value::int(text.chars().count())),
                Value::Array(array) if !self.shape(array.node).is_empty() => {
                    let extent = self.extents(array.node).swap_remove(0);
                    Ok(self.form_value(extent))
                }
                other => {
                    let message = format!("{} has no length", self.describe(other));
                    Err(self.error(arg.span, message, None))
                }
            },
            (Builtin::Tuple, [Arg { value: Value::Tuple(items) | Value::List(items), .. }]) => {
                Ok(Value::Tuple(items.clone()))
            }
            (Builtin::List, [Arg { value: Value::Tuple(items) | Value::List(items), .. }]) => {
                Ok(Value::List(items.clone()))
            }
            (Builtin::Bool, [arg]) => self.truth_of(&arg.value, arg.span).map(Evaluator::truth_value),
            (Builtin::Float, [Arg { value: Value::Str(text), .. }]) => match text.trim().parse::<f64>() {
                Ok(value) if text.trim().is_ascii() => Ok(Value::float(value)),
                Ok(_) | Err(_) => Err(self.error(args[0].span, format!("float({text:?}) is no number"), None)),
            },
            (Builtin::Float | Builtin::Int, [arg]) if self.is_unknown_number(&arg.value) => {
                let (Operand::Weak(node) | Operand::Node(node)) = self.operand(arg, name)? else {
                    return Err(Poisoned);
                };
                if builtin == Builtin::Int && self.dtype(node).is_float() {
                    // Neither NaN nor what is beyond 64 bits.
                    let size = self.unary(UnaryOp::Abs, node, span)?;
                    let holds = self.with_scalar(BinaryOp::Lt, size, 9_223_372_036_854_775_808.0, span)?;
                    self.require(holds, Check { span, requirement: Requirement::Domain })?;
                }
                let node = self.cast(node, if builtin == Builtin::Float { DType::F64 } else { DType::I64 }, span)?;
                Ok(if let (Builtin::Int, Value::Affine(_)) = (builtin, &arg.value) {
                    arg.value.clone()
                } else {
                    Value::Weak(node)
                })
            }
            (Builtin::Float | Builtin::Int, [arg]) => {
                let number = self.python_number(arg, name)?;
                if builtin == Builtin::Float {
                    return Ok(Value::float(number.as_f64()));
                }
                match number.as_int() {
                    Some(value) => Ok(Value::Number(Number::Int(value))),
                    None => truncated(number.as_f64())
                        .map(|value| Value::Number(Number::Int(value)))
                        .ok_or_else(|| self.error(arg.span, "the number has no integer value", None)),
                }
            }
            (Builtin::Max | Builtin::Min, args) if !args.is_empty() => {
                let items = match args {
                    [arg @ Arg { value: Value::Tuple(_) | Value::List(_), .. }] => self.items(arg),
                    [arg] => {
                        let message = format!("{name}() of one argument needs a tuple or list");
                        return Err(self.error(arg.span, message, Some("on arrays write np.max or np.min")));
                    }
                    several => several.to_vec(),
                };
                // The first of the greatest, as it is: a NumPy scalar stays one.
                let mut best: Option<(Number, Value)> = None;
                for item in &items {
                    let number = self.python_number(item, name)?;
                    let op = if builtin == Builtin::Max { Comparison::Gt } else { Comparison::Lt };
                    if best.as_ref().is_none_or(|best| op.holds(number::order(number, best.0))) {
                        best = Some((number, item.value.clone()));
                    }
                }
                best.map(|best| best.1).ok_or_else(|| self.error(span, format!("{name} of nothing"), None))
            }
            (Builtin::MathSqrt | Builtin::MathExp | Builtin::MathLog, [arg]) if self.is_unknown_number(&arg.value) => {
                let (Operand::Weak(node) | Operand::Node(node)) = self.operand(arg, name)? else {
                    return Err(Poisoned);
                };
                let node = self.cast(node, DType::F64, span)?;
                let (op, fails) = match builtin {
                    Builtin::MathExp => (UnaryOp::Exp, None),
                    Builtin::MathLog => (UnaryOp::Log, Some(BinaryOp::Le)),
                    _ => (UnaryOp::Sqrt, Some(BinaryOp::Lt)),
                };
                if let Some(fails) = fails {
                    let fails = self.with_scalar(fails, node, 0.0, span)?;
                    let holds = self.unary(UnaryOp::Not, fails, span)?;
                    self.require(holds, Check { span, requirement: Requirement::Domain })?;
                }
                self.unary(op, node, span).map(Value::Weak)
            }
            (Builtin::MathSqrt | Builtin::MathExp | Builtin::MathLog, [arg]) => {
                let x = self.python_number(arg, name)?.as_f64();
                let value = if builtin == Builtin::MathSqrt {
                    x.sqrt()
                } else if builtin == Builtin::MathExp {
                    x.exp()
                } else {
                    x.ln()
                };
                if value.is_finite() {
                    Ok(Value::float(value))
                } else {
                    Err(self.error(span, format!("{name}({x:?}) has no finite value"), None))
                }
            }
            (_, args) => {
                let message = format!("{name}() cannot take these {} arguments", args.len());
                Err(self.error(span, message, None))
            }
        }
    }

    /// Whether a value is one number that is not known at compile time.
    fn is_unknown_number(&self, value: &Value) -> bool {
        match value {
            Value::Affine(_) | Value::Weak(_) | Value::Condition(_) => true,
            Value::Array(array) => self.shape(array.node).is_empty() && self.known_literal(array.node).is_none(),
            _ => false,
        }
    }

    fn python_number(&mut self, arg: &Arg, name: &str) -> Eval<Number> {
        match &arg.value {
            Value::Number(number) => Ok(*number),
            Value::Array(array) if let Some(literal) = self.known_literal(array.node) => Ok(match literal {
                Literal::Bool(value) => Number::Bool(value),
                Literal::Int(value) => Number::Int(i128::from(value)),
                Literal::Float(bits) => Number::Float(f64::from_bits(bits)),
            }),
            other => {
                let message = format!("{name}() needs a compile-time number, not {}", self.describe(other));
                let help = match name {
                    "max" => "write np.maximum(a, b), or np.max of an array",
                    "min" => "write np.minimum(a, b), or np.min of an array",
                    _ => "convert arrays with astype",
                };
                Err(self.error(arg.span, message, Some(help)))
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the magnitude is checked")]
fn truncated(x: f64) -> Option<i128> {
    (x.is_finite() && x.abs() < 1e30).then(|| x.trunc() as i128)
}
