//! Python's own functions, on numbers and sequences that are known, and on those that only a run knows.
//!
//! Input: a builtin and its arguments. Output: its value.

use super::evaluate::Evaluator;
use super::function::Unary;
use super::number::{self, Number};
use super::number_comparison::Comparison;
use super::operand::Operand;
use super::value::{Arg, Builtin, Eval, Poisoned, Value, is_number};
use crate::program::expr::{Check, Requirement, Span};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};
use rustpython_ruff_python_ast::Operator;

impl Evaluator<'_> {
    /// A call of a function of Python itself.
    pub(super) fn builtin(&mut self, builtin: Builtin, args: &[Arg], span: Span) -> Eval {
        if args.iter().any(|arg| arg.value.is_poisoned()) {
            return Err(Poisoned);
        }
        let name = builtin.name();
        match (builtin, args) {
            (Builtin::Abs, [arg]) if is_number_or_array(&arg.value) => self.absolute(arg, span),
            (Builtin::Range, args) => self.range(args, span),
            (Builtin::Pow, [a, b]) => self.binary_operator(Operator::Pow, a, b, span),
            (Builtin::Len, [arg]) => self.length(arg),
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
            (Builtin::Float | Builtin::Int, [arg]) => self.converted(builtin, arg, span),
            (Builtin::Max | Builtin::Min, args) if !args.is_empty() => self.extreme(builtin, args, span),
            (Builtin::MathSqrt | Builtin::MathExp | Builtin::MathLog, [arg]) => self.real_function(builtin, arg, span),
            (_, args) => {
                let message = format!("{name}() cannot take these {} arguments", args.len());
                Err(self.error(span, message, None))
            }
        }
    }

    /// `abs` of a number or an array.
    fn absolute(&mut self, arg: &Arg, span: Span) -> Eval {
        if let Value::Number(number) = &arg.value {
            return Ok(Value::Number(match number.as_int() {
                Some(value) => Number::Int(value.saturating_abs()),
                None => Number::Float(number.as_f64().abs()),
            }));
        }
        let mut operand = self.operand(arg, "abs")?;
        if let Value::Array(_) = arg.value {
            let node = self.apply_unary(Unary::Op(UnaryOp::Abs), "abs", &operand, span)?;
            return Ok(Value::Array(self.fresh(node)));
        }
        if let Operand::Weak(node) = operand
            && self.dtype(node) == DType::Bool
        {
            operand = Operand::Weak(self.cast(node, DType::I64, span)?);
        }
        let node = self.apply_unary(Unary::Op(UnaryOp::Abs), "abs", &operand, span)?;
        Ok(Value::Weak(node))
    }

    /// `len`.
    fn length(&mut self, arg: &Arg) -> Eval {
        match &arg.value {
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
        }
    }

    /// `int` or `float` of a number.
    fn converted(&mut self, builtin: Builtin, arg: &Arg, span: Span) -> Eval {
        let name = builtin.name();
        if !self.is_unknown_number(&arg.value) {
            let number = self.python_number(arg, name)?;
            if builtin == Builtin::Float {
                return Ok(Value::float(number.as_f64()));
            }
            return match number.as_int() {
                Some(value) => Ok(Value::Number(Number::Int(value))),
                None => truncated(number.as_f64())
                    .map(|value| Value::Number(Number::Int(value)))
                    .ok_or_else(|| self.error(arg.span, "the number has no integer value", None)),
            };
        }
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

    /// `max` or `min` of numbers that are known.
    fn extreme(&mut self, builtin: Builtin, args: &[Arg], span: Span) -> Eval {
        let name = builtin.name();
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

    /// A function of Python's `math`.
    fn real_function(&mut self, builtin: Builtin, arg: &Arg, span: Span) -> Eval {
        let name = builtin.name();
        if !self.is_unknown_number(&arg.value) {
            let x = self.python_number(arg, name)?.as_f64();
            let value = if builtin == Builtin::MathSqrt {
                x.sqrt()
            } else if builtin == Builtin::MathExp {
                x.exp()
            } else {
                x.ln()
            };
            return if value.is_finite() {
                Ok(Value::float(value))
            } else {
                Err(self.error(span, format!("{name}({x:?}) has no finite value"), None))
            };
        }
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

/// Whether `abs` takes a value.
fn is_number_or_array(value: &Value) -> bool {
    is_number(value) || matches!(value, Value::Array(_))
}

#[expect(clippy::cast_possible_truncation, reason = "the magnitude is checked")]
fn truncated(x: f64) -> Option<i128> {
    (x.is_finite() && x.abs() < 1e30).then(|| x.trunc() as i128)
}
