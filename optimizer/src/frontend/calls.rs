//! Calls: which function an expression calls, and of local functions the body, which is inlined.
//!
//! Input: the syntax of a call. Output: its value. NumPy's functions run in [`super::routines`], Python's own in
//! [`super::builtins`].

use super::evaluate::Evaluator;
use super::frames::{Body, Closure, Frame};
use super::functions;
use super::liveness::Liveness;
use super::statement::Flow;
use super::syntax::{assigned, span_of};
use super::value::{Arg, Eval, Poisoned, UfuncMethod, Value};
use super::{product, scan, scatter, structural};
use crate::program::expr::Span;
use rustpython_ruff_python_ast::{self as ast, Expr};
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
        let closure = self.names.closure(id).clone();
        if self.diagnostics.is_inside(id) {
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
            assigned(body, &mut locals);
            liveness = Rc::new(Liveness::of(body));
        }
        for (name, default) in &closure.defaults {
            names.entry((*name).to_owned()).or_insert_with(|| default.clone());
        }
        locals.extend(names.keys().cloned());
        let place = self.position.enter(span.start);
        let parent = Some(closure.frame);
        let caller = self.names.enter(Frame { parent, locals, names, liveness, ..Frame::default() });
        let frame = self.names.frame();
        self.diagnostics.enter_call(id, closure.name, span);
        let inner = self.whole_call != Some(span);
        if inner {
            self.inner_calls.push(self.store.state_count());
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
        self.diagnostics.leave_call();
        self.position.leave(place);
        self.names.leave(caller);
        self.names.clear(frame);
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
}
