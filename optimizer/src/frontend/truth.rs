//! What is true: of values, of conditions on loop variables, and what `and`, `or` and `not` make of it.
//!
//! A truth is known, or it depends on loop variables by affine forms, which can steer control flow, or only a run knows
//! it. Where Python gives no truth, as of an array of several elements, there is an error: nowhere is there a default.

use super::evaluate::Evaluator;
use super::number::Number;
use super::value::{Arg, Array, Condition, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, Span};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};
use rustpython_ruff_python_ast::{self as ast, Expr};

/// A condition has at most this many cases.
const MAX_CASES: usize = 16;

/// Whether something is true.
#[derive(Clone, Debug)]
pub(super) enum Truth {
    /// It is known.
    Known(bool),
    /// Loop variables decide.
    Condition(Condition),
    /// Only a run knows: a bool of rank 0.
    Runtime(NodeId),
}

/// The Python or NumPy type of a scalar, as far as promotion sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Float,
    Numpy(DType),
}

impl Type {
    fn show(self) -> String {
        match self {
            Type::Bool => "a Python bool".to_owned(),
            Type::Int => "a Python int".to_owned(),
            Type::Float => "a Python float".to_owned(),
            Type::Numpy(dtype) => format!("a NumPy {dtype}"),
        }
    }
}

impl<'s> Evaluator<'s> {
    /// Python's `bool(value)`.
    pub(super) fn truth_of(&mut self, value: &Value, span: Span) -> Eval<Truth> {
        match value {
            Value::Poison => Err(Poisoned),
            Value::None => Ok(Truth::Known(false)),
            Value::Number(number) => Ok(Truth::Known(number.truth())),
            Value::Str(text) => Ok(Truth::Known(!text.is_empty())),
            Value::Tuple(items) | Value::List(items) => Ok(Truth::Known(!items.is_empty())),
            Value::Array(array) => self.truth_of_array(array, span),
            Value::Affine(form) => {
                let node = self.form_node(form, span)?;
                let node = self.cast(node, DType::Bool, span)?;
                let cases = vec![vec![form.offset(-1)], vec![form.times(-1).offset(-1)]];
                self.decided(cases, node, span)
            }
            Value::Condition(condition) => Ok(Truth::Condition(condition.clone())),
            Value::Weak(node) => self.truth_of_node(*node, span),
            Value::Range(range) => {
                let distance = range.stop.minus(&range.start).times(range.step.signum()).offset(-1);
                if distance.is_constant() {
                    return Ok(Truth::Known(distance.constant >= 0));
                }
                let node = self.form_node(&distance, span)?;
                let zero = self.constant(Literal::Int(0), DType::I64, span)?;
                let node = self.binary(BinaryOp::Ge, node, zero, span)?;
                self.decided(vec![vec![distance]], node, span)
            }
            Value::Ellipsis
            | Value::DType(_)
            | Value::ScalarType(_)
            | Value::Module(_)
            | Value::Function(_)
            | Value::Ufunc(..)
            | Value::Method(..)
            | Value::Closure(_)
            | Value::Builtin(_) => Ok(Truth::Known(true)),
            Value::Annotation => Err(self.error(span, "the truth of a name for annotations is not known", None)),
        }
    }

    /// Of an array with one element, NumPy's rule.
    fn truth_of_array(&mut self, array: &Array, span: Span) -> Eval<Truth> {
        let shape = self.fixed_shape(array.node, "the truth", span)?;
        match shape.iter().product::<usize>() {
            1 => {}
            0 => {
                let message = format!("an empty array of shape {} has no truth", super::emit::show(&shape));
                return Err(self.error(span, message, Some("compare its size, as in x.size > 0")));
            }
            _ => {
                let message = format!("an array of shape {} has no truth of its own", super::emit::show(&shape));
                let help = "select elements with np.where, combine conditions with & | ~, reduce with np.all or np.any";
                return Err(self.error(span, message, Some(help)));
            }
        }
        let node = self.reshape(array.node, Vec::new(), span)?;
        self.truth_of_node(node, span)
    }

    /// Of a number.
    pub(super) fn truth_of_node(&mut self, node: NodeId, span: Span) -> Eval<Truth> {
        match self.known_literal(node) {
            Some(Literal::Bool(value)) => Ok(Truth::Known(value)),
            Some(Literal::Int(value)) => Ok(Truth::Known(value != 0)),
            Some(Literal::Float(bits)) => Ok(Truth::Known(f64::from_bits(bits) != 0.0)),
            None => self.cast(node, DType::Bool, span).map(Truth::Runtime),
        }
    }

    /// The Python truth of a value that must be known at compile time.
    pub(super) fn truth(&mut self, value: &Value, span: Span) -> Eval<bool> {
        match self.truth_of(value, span)? {
            Truth::Known(truth) => Ok(truth),
            Truth::Condition(_) => {
                let message = "the condition depends on a loop's variable";
                let help = "only an 'if' statement can; select elements with np.where";
                Err(self.error(span, message, Some(help)))
            }
            Truth::Runtime(_) => Err(self.undecided_truth(value, span)),
        }
    }

    /// Reports that control flow would depend on what only a run knows.
    pub(super) fn undecided_truth(&mut self, value: &Value, span: Span) -> Poisoned {
        let message = format!("control flow would depend on {}", self.describe(value));
        let help = "select with np.where(condition, a, b); only compile-time values and conditions on loop variables \
                    can steer control flow";
        self.error(span, message, Some(help))
    }

    /// A truth as a Python bool.
    pub(super) fn truth_value(truth: Truth) -> Value {
        match truth {
            Truth::Known(truth) => Value::Number(Number::Bool(truth)),
            Truth::Condition(condition) => Value::Condition(condition),
            Truth::Runtime(node) => Value::Weak(node),
        }
    }

    /// A truth as a bool of rank 0.
    pub(super) fn truth_node(&mut self, truth: &Truth, span: Span) -> Eval<NodeId> {
        match truth {
            Truth::Known(truth) => self.constant(Literal::Bool(*truth), DType::Bool, span),
            Truth::Condition(condition) => Ok(condition.node),
            Truth::Runtime(node) => Ok(*node),
        }
    }

    /// `not truth`.
    pub(super) fn negated(&mut self, truth: &Truth, span: Span) -> Eval<Truth> {
        match truth {
            Truth::Known(truth) => Ok(Truth::Known(!truth)),
            Truth::Condition(condition) => {
                let node = self.unary(UnaryOp::Not, condition.node, span)?;
                let cases = self.negation(&condition.cases, span)?;
                Ok(Truth::Condition(Condition { cases, node }))
            }
            Truth::Runtime(node) => self.unary(UnaryOp::Not, *node, span).map(Truth::Runtime),
        }
    }

    /// `a or b`, or `a and b`, of truths.
    pub(super) fn joined_truth(&mut self, is_or: bool, a: &Truth, b: &Truth, span: Span) -> Eval<Truth> {
        match (a, b) {
            (Truth::Known(known), other) | (other, Truth::Known(known)) => {
                Ok(if *known == is_or { Truth::Known(is_or) } else { other.clone() })
            }
            (Truth::Condition(a), Truth::Condition(b)) => {
                let node = self.binary(if is_or { BinaryOp::Or } else { BinaryOp::And }, a.node, b.node, span)?;
                let cases = if is_or {
                    let rest = conjunction(&self.negation(&a.cases, span)?, &b.cases);
                    [a.cases.clone(), rest].concat()
                } else {
                    conjunction(&a.cases, &b.cases)
                };
                self.decided(cases, node, span)
            }
            (a, b) => {
                let (a, b) = (self.truth_node(a, span)?, self.truth_node(b, span)?);
                self.binary(if is_or { BinaryOp::Or } else { BinaryOp::And }, a, b, span).map(Truth::Runtime)
            }
        }
    }

    /// A condition, decided where that is possible.
    pub(super) fn decided(&mut self, cases: Vec<Vec<Affine>>, node: NodeId, span: Span) -> Eval<Truth> {
        let cases: Vec<Vec<Affine>> = cases.into_iter().filter(|case| self.is_possible(case)).collect();
        if cases.is_empty() {
            return Ok(Truth::Known(false));
        }
        if cases.iter().any(|case| case.iter().all(|form| self.control.domain().proves(form))) {
            return Ok(Truth::Known(true));
        }
        if cases.len() > MAX_CASES {
            return Err(self.too_many_cases(span));
        }
        Ok(Truth::Condition(Condition { cases, node }))
    }

    fn too_many_cases(&mut self, span: Span) -> Poisoned {
        self.error(span, "the condition has too many cases", Some("split it into several 'if's"))
    }

    /// Whether all forms may be ≥ 0 here at once.
    fn is_possible(&self, case: &[Affine]) -> bool {
        let mut domain = self.control.domain().clone();
        domain.conditions.extend(case.iter().cloned());
        !domain.is_empty()
    }

    /// Where none of the cases holds, as cases of which no two hold at once.
    pub(super) fn negation(&mut self, cases: &[Vec<Affine>], span: Span) -> Eval<Vec<Vec<Affine>>> {
        let mut result = vec![Vec::new()];
        for case in cases {
            // Not all of it: the first does not hold, or it holds and the second does not, …
            let mut negated = Vec::with_capacity(case.len());
            for (at, form) in case.iter().enumerate() {
                let mut prefix = case[..at].to_vec();
                prefix.push(form.times(-1).offset(-1));
                negated.push(prefix);
            }
            result = conjunction(&result, &negated);
            result.retain(|case| self.is_possible(case));
            if result.len() > MAX_CASES {
                return Err(self.too_many_cases(span));
            }
        }
        Ok(result)
    }

    /// `a and b and …`, `a or b or …`: the value of the operand that decides.
    pub(super) fn bool_operator(&mut self, operation: &'s ast::ExprBoolOp, span: Span) -> Eval {
        let is_or = operation.op == ast::BoolOp::Or;
        let Some((first, rest)) = operation.values.split_first() else { return Err(Poisoned) };
        let mut value = self.arg(first);
        for operand in rest {
            let truth = self.truth_of(&value.value, value.span)?;
            value = match truth {
                Truth::Known(known) if known == is_or => return Ok(value.value),
                Truth::Known(_) => self.arg(operand),
                Truth::Condition(_) | Truth::Runtime(_) => {
                    let next = self.conditional_operand(operand)?;
                    let value = self.either(is_or, &value, &truth, &next, span)?;
                    Arg { value, span }
                }
            };
        }
        Ok(value.value)
    }

    /// An operand that Python evaluates only if a condition holds which is not known: it must do nothing but compute.
    pub(super) fn conditional_operand(&mut self, operand: &'s Expr) -> Eval<Arg> {
        let before = self.control.effects();
        let arg = self.arg(operand);
        if self.control.effects() == before {
            return Ok(arg);
        }
        let message = "whether this is evaluated is not known at compile time, and it may fail or change an array";
        let help = "compute it in a statement before, or write an 'if' around the whole";
        Err(self.error(arg.span, message, Some(help)))
    }

    /// `a or b`, or `a and b`, where the truth of `a` is not known. Its type must be the same either way.
    pub(super) fn either(&mut self, is_or: bool, a: &Arg, truth: &Truth, b: &Arg, span: Span) -> Eval {
        if a.value.is_poisoned() || b.value.is_poisoned() {
            return Err(Poisoned);
        }
        let name = if is_or { "'or'" } else { "'and'" };
        if self.one_type(name, a, b, span)? == Type::Bool {
            let second = self.truth_of(&b.value, b.span)?;
            return self.joined_truth(is_or, truth, &second, span).map(Evaluator::truth_value);
        }
        let [held, otherwise] = if is_or { [a, b] } else { [b, a] };
        self.selected_value(truth, held, otherwise, name, span)
    }

    /// `a if test else b`. Where the test is not known, both are numbers of one type that only compute.
    pub(super) fn conditional(&mut self, conditional: &'s ast::ExprIf, span: Span) -> Eval {
        let test = self.arg(&conditional.test);
        let truth = match self.truth_of(&test.value, test.span)? {
            Truth::Known(true) => return Ok(self.eval(&conditional.body)),
            Truth::Known(false) => return Ok(self.eval(&conditional.orelse)),
            truth => truth,
        };
        let a = self.conditional_operand(&conditional.body)?;
        let b = self.conditional_operand(&conditional.orelse)?;
        if a.value.is_poisoned() || b.value.is_poisoned() {
            return Err(Poisoned);
        }
        if self.one_type("the conditional expression", &a, &b, span)? == Type::Bool {
            let (first, second) = (self.truth_of(&a.value, a.span)?, self.truth_of(&b.value, b.span)?);
            let opposite = self.negated(&truth, span)?;
            let first = self.joined_truth(false, &truth, &first, span)?;
            let second = self.joined_truth(false, &opposite, &second, span)?;
            return self.joined_truth(true, &first, &second, span).map(Evaluator::truth_value);
        }
        self.selected_value(&truth, &a, &b, "a conditional expression", span)
    }

    /// The type of both of two numbers, one of which an expression gives.
    fn one_type(&mut self, name: &str, a: &Arg, b: &Arg, span: Span) -> Eval<Type> {
        let types = (self.scalar_type(&a.value), self.scalar_type(&b.value));
        if let (Some(first), Some(second)) = types
            && first == second
        {
            return Ok(first);
        }
        let show = |evaluator: &Self, kind: Option<Type>, value: &Value| {
            kind.map_or_else(|| evaluator.describe(value), Type::show)
        };
        let (first, second) = (show(self, types.0, &a.value), show(self, types.1, &b.value));
        let message = format!("{name} gives {first} or {second}, depending on what is not known at compile time");
        let help = "select with np.where(condition, a, b), which gives one type; combine conditions with & and |";
        Err(self.error(span, message, Some(help)))
    }

    /// One of two numbers of one type.
    fn selected_value(&mut self, truth: &Truth, held: &Arg, otherwise: &Arg, name: &str, span: Span) -> Eval {
        let condition = self.truth_node(truth, span)?;
        let (x, y) = (self.array(held, name)?.node, self.array(otherwise, name)?.node);
        let dtype = self.dtype(x);
        let node = self.emit(Op::Where, vec![condition, x, y], Vec::new(), dtype, span)?;
        Ok(match held.value {
            Value::Array(_) => Value::Array(self.fresh(node)),
            _ => Value::Weak(node),
        })
    }

    /// The type of a number; `None` of anything else, arrays of rank 0 among them, which can be written to.
    fn scalar_type(&self, value: &Value) -> Option<Type> {
        match value {
            Value::Number(Number::Bool(_)) | Value::Condition(_) => Some(Type::Bool),
            Value::Number(Number::Int(_)) | Value::Affine(_) => Some(Type::Int),
            Value::Number(Number::Float(_)) => Some(Type::Float),
            Value::Weak(node) => Some(match self.dtype(*node) {
                DType::Bool => Type::Bool,
                dtype if dtype.is_int() => Type::Int,
                _ => Type::Float,
            }),
            Value::Array(array) => array.storage.is_none().then(|| Type::Numpy(self.dtype(array.node))),
            Value::Poison
            | Value::None
            | Value::Ellipsis
            | Value::Range(_)
            | Value::Str(_)
            | Value::DType(_)
            | Value::ScalarType(_)
            | Value::Tuple(_)
            | Value::List(_)
            | Value::Module(_)
            | Value::Function(_)
            | Value::Ufunc(..)
            | Value::Method(..)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Annotation => None,
        }
    }
}

/// Both hold: every pair of cases.
fn conjunction(a: &[Vec<Affine>], b: &[Vec<Affine>]) -> Vec<Vec<Affine>> {
    a.iter().flat_map(|x| b.iter().map(|y| [x.as_slice(), y].concat())).collect()
}
