//! A call with its arguments bound to the parameters of a function's signature.
//!
//! Input: a function, positional and keyword arguments. Output: a [`Call`], whose arguments are asked for by name.

use super::evaluate::Evaluator;
use super::function::Function;
use super::value::{Arg, Eval, Poisoned, Value};
use crate::program::expr::Span;

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
