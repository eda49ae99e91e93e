//! Python numbers that depend on loop variables: affine forms as long as they are, nodes otherwise.

use super::elementwise::Operand;
use super::evaluate::{Eval, Evaluator, Poisoned};
use super::expression::ufunc;
use super::functions::{Binary, Unary};
use super::number::Number;
use super::value::{Arg, Condition, Range, Value};
use crate::affine::Affine;
use crate::dtype::DType;
use crate::expr::{NodeId, Op, Span};
use crate::scalar::{BinaryOp, UnaryOp};
use rustpython_ruff_python_ast::{CmpOp, Operator, UnaryOp as PythonUnaryOp};

/// Coefficients and constants of forms are below this, so that arithmetic on them stays inside 64 bits.
const LARGEST: u64 = 1 << 40;

/// A condition has at most this many cases.
const MAX_CASES: usize = 16;

impl Evaluator<'_> {
    /// The form that a value is, where it is an integer known but for loop variables.
    pub(super) fn form_of(&self, value: &Value) -> Option<Affine> {
        match value {
            Value::Affine(form) => Some(form.clone()),
            Value::Number(Number::Bool(_)) => None,
            other => {
                let number = i64::try_from(self.known_int(other)?).ok()?;
                (number.unsigned_abs() < LARGEST).then(|| Affine::constant(number))
            }
        }
    }

    /// The value of a form: a plain number where it is constant.
    pub(super) fn form_value(&self, form: Affine) -> Value {
        if form.is_constant() { Value::Number(Number::Int(i128::from(form.constant))) } else { Value::Affine(form) }
    }

    /// A form with the names of loop variables; the counter of a loop that does not count up by 1 is `k'`.
    pub(super) fn show_form(&self, form: &Affine) -> String {
        form.display(|var| self.loops.get(var).cloned().unwrap_or_default())
    }

    /// A form as a number of dtype I64.
    pub(super) fn form_node(&mut self, form: &Affine, span: Span) -> Eval<NodeId> {
        if form.is_constant() {
            return self.number_node(Number::Int(i128::from(form.constant)), DType::I64, span);
        }
        self.emit_live(Op::LoopIndex(form.clone()), Vec::new(), Vec::new(), DType::I64, span)
    }

    /// A number that depends on loop variables as an operand; `None` of other values.
    pub(super) fn number_operand(&mut self, arg: &Arg) -> Eval<Option<Operand>> {
        Ok(match &arg.value {
            Value::Number(number) => Some(Operand::Scalar(*number)),
            Value::Affine(form) => Some(Operand::Weak(self.form_node(form, arg.span)?)),
            Value::Weak(node) => Some(Operand::Weak(*node)),
            Value::Condition(condition) => Some(Operand::Weak(condition.node)),
            _ => None,
        })
    }

    /// `a op b` of Python numbers that are not both known.
    pub(super) fn number_operator(&mut self, op: Operator, a: &Arg, b: &Arg, span: Span) -> Eval {
        if let (Some(x), Some(y)) = (self.form_of(&a.value), self.form_of(&b.value))
            && let Some(form) = affine_operator(op, &x, &y)
        {
            return Ok(self.form_value(form));
        }
        if op == Operator::MatMult {
            return Err(self.error(span, "'@' is not defined on numbers", Some("write *")));
        }
        let symbol = op.as_str();
        let mut operands = Vec::with_capacity(2);
        for arg in [a, b] {
            let operand = self.number_operand(arg)?.ok_or(Poisoned)?;
            // Python's bools count in arithmetic.
            operands.push(match operand {
                Operand::Weak(node) if self.dtype(node) == DType::Bool => {
                    Operand::Weak(self.cast(node, DType::I64, span)?)
                }
                Operand::Scalar(Number::Bool(truth)) => Operand::Scalar(Number::Int(i128::from(truth))),
                other => other,
            });
        }
        let is_float = |operand: &Operand| match operand {
            Operand::Scalar(number) => number.as_int().is_none(),
            Operand::Weak(node) | Operand::Node(node) => self.dtype(*node).is_float(),
        };
        let decided = self.form_of(&b.value).is_some_and(|form| self.domain.proves(&form));
        if op == Operator::Pow && !operands.iter().any(is_float) && !decided {
            let help = "write the base as a float, or let the exponent be an int that is not negative";
            return Err(self.unsupported(span, "an int to the power of an int that may be negative", help));
        }
        let node = self.elementwise(Binary::Op(ufunc(op)), &format!("'{symbol}'"), &operands[0], &operands[1], span)?;
        Ok(Value::Weak(node))
    }

    /// `op a` of a Python number that is not known.
    pub(super) fn number_unary(&mut self, op: PythonUnaryOp, operand: &Arg, span: Span) -> Eval {
        match (op, &operand.value) {
            (PythonUnaryOp::Not, Value::Condition(condition)) => {
                let node = self.unary(UnaryOp::Not, condition.node, span)?;
                let cases = self.negation(&condition.cases, span)?;
                return Ok(Value::Condition(Condition { cases, node }));
            }
            (PythonUnaryOp::Not, value) => {
                let truth = self.truth(value, operand.span)?;
                return Ok(Value::Number(Number::Bool(!truth)));
            }
            (PythonUnaryOp::UAdd, Value::Affine(form)) => return Ok(Value::Affine(form.clone())),
            (PythonUnaryOp::USub, Value::Affine(form)) => return Ok(Value::Affine(form.times(-1))),
            _ => {}
        }
        let kind = match op {
            PythonUnaryOp::USub => Unary::Op(UnaryOp::Neg),
            PythonUnaryOp::UAdd | PythonUnaryOp::Not => Unary::Positive,
            PythonUnaryOp::Invert => Unary::Op(UnaryOp::Not),
        };
        let mut number = self.number_operand(operand)?.ok_or(Poisoned)?;
        if let Operand::Weak(node) = number
            && self.dtype(node) == DType::Bool
        {
            number = Operand::Weak(self.cast(node, DType::I64, span)?);
        }
        let node = self.apply_unary(kind, "a unary operator", &number, span)?;
        Ok(Value::Weak(node))
    }

    /// An order comparison of Python numbers that are not both known; `None` where one is no number.
    pub(super) fn number_comparison(&mut self, op: CmpOp, a: &Arg, b: &Arg, span: Span) -> Eval<Option<Value>> {
        let (Some(x), Some(y)) = (self.number_operand(a)?, self.number_operand(b)?) else { return Ok(None) };
        let operator = comparison(op).ok_or(Poisoned)?;
        let node = self.elementwise(Binary::Op(operator), "a comparison", &x, &y, span)?;
        let (Some(x), Some(y)) = (self.form_of(&a.value), self.form_of(&b.value)) else {
            return Ok(Some(Value::Weak(node)));
        };
        let (at_least, at_most) = (x.minus(&y), y.minus(&x));
        let (above, below) = (at_least.offset(-1), at_most.offset(-1));
        let cases = match op {
            CmpOp::Lt => vec![vec![below]],
            CmpOp::LtE => vec![vec![at_most]],
            CmpOp::Gt => vec![vec![above]],
            CmpOp::GtE => vec![vec![at_least]],
            CmpOp::Eq => vec![vec![at_least, at_most]],
            CmpOp::NotEq => vec![vec![below], vec![above]],
            CmpOp::Is | CmpOp::IsNot | CmpOp::In | CmpOp::NotIn => return Err(Poisoned),
        };
        self.condition(cases, node, span).map(Some)
    }

    /// A condition, decided where that is possible.
    fn condition(&mut self, cases: Vec<Vec<Affine>>, node: NodeId, span: Span) -> Eval {
        let possible = |case: &Vec<Affine>| {
            let mut domain = self.domain.clone();
            domain.conditions.extend(case.iter().cloned());
            !domain.is_empty()
        };
        let cases: Vec<Vec<Affine>> = cases.into_iter().filter(possible).collect();
        if cases.is_empty() {
            return Ok(Value::Number(Number::Bool(false)));
        }
        if cases.iter().any(|case| case.iter().all(|form| self.domain.proves(form))) {
            return Ok(Value::Number(Number::Bool(true)));
        }
        if cases.len() > MAX_CASES {
            return Err(self.error(span, "the condition has too many cases", Some("split it into several 'if's")));
        }
        Ok(Value::Condition(Condition { cases, node }))
    }

    /// `a and b`, `a or b` of conditions.
    pub(super) fn combined(&mut self, is_or: bool, a: &Condition, b: &Condition, span: Span) -> Eval {
        let op = if is_or { BinaryOp::Or } else { BinaryOp::And };
        let node = self.binary(op, a.node, b.node, span)?;
        let cases = if is_or {
            let rest = conjunction(&self.negation(&a.cases, span)?, &b.cases);
            [a.cases.clone(), rest].concat()
        } else {
            conjunction(&a.cases, &b.cases)
        };
        self.condition(cases, node, span)
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
            result.retain(|case| {
                let mut domain = self.domain.clone();
                domain.conditions.extend(case.iter().cloned());
                !domain.is_empty()
            });
            if result.len() > MAX_CASES {
                return Err(self.error(span, "the condition has too many cases", Some("split it into several 'if's")));
            }
        }
        Ok(result)
    }

    /// `range(…)`.
    pub(super) fn range(&mut self, args: &[Arg], span: Span) -> Eval {
        let mut forms = Vec::with_capacity(3);
        for arg in args {
            match self.form_of(&arg.value) {
                Some(form) => forms.push(form),
                None => {
                    let message = format!("a bound of range is {}", arg.value.describe());
                    let help =
                        "bounds are compile-time integers, or sums of such and multiples of outer loops' variables";
                    return Err(self.error(arg.span, message, Some(help)));
                }
            }
        }
        let mut forms = forms.into_iter();
        let (start, stop, step) = match (forms.next(), forms.next(), forms.next()) {
            (Some(stop), None, _) => (Affine::constant(0), stop, Affine::constant(1)),
            (Some(start), Some(stop), None) => (start, stop, Affine::constant(1)),
            (Some(start), Some(stop), Some(step)) => (start, stop, step),
            (None, _, _) => return Err(self.error(span, "range() needs an argument", None)),
        };
        if !step.is_constant() || step.constant == 0 {
            let help = "write a compile-time integer other than 0";
            return Err(self.error(span, "the step of range changes in a loop or is 0", Some(help)));
        }
        Ok(Value::Range(Range { start, stop, step: step.constant }))
    }

    /// `⌈form / divisor⌉` where that is a form; `divisor` ≥ 1.
    pub(super) fn quotient(form: &Affine, divisor: i64) -> Option<Affine> {
        let whole = form.terms.iter().all(|term| term.1 % divisor == 0);
        let terms = form.terms.iter().map(|&(var, coefficient)| (var, coefficient / divisor));
        let rounded = -((-form.constant).div_euclid(divisor));
        whole.then(|| Affine::new(rounded, terms))
    }
}

/// The operator of an order comparison.
pub(super) fn comparison(op: CmpOp) -> Option<BinaryOp> {
    match op {
        CmpOp::Eq => Some(BinaryOp::Eq),
        CmpOp::NotEq => Some(BinaryOp::Ne),
        CmpOp::Lt => Some(BinaryOp::Lt),
        CmpOp::LtE => Some(BinaryOp::Le),
        CmpOp::Gt => Some(BinaryOp::Gt),
        CmpOp::GtE => Some(BinaryOp::Ge),
        CmpOp::Is | CmpOp::IsNot | CmpOp::In | CmpOp::NotIn => None,
    }
}

/// Both hold: every pair of cases.
fn conjunction(a: &[Vec<Affine>], b: &[Vec<Affine>]) -> Vec<Vec<Affine>> {
    a.iter().flat_map(|x| b.iter().map(|y| [x.as_slice(), y].concat())).collect()
}

/// `a op b` where that is a form again.
fn affine_operator(op: Operator, x: &Affine, y: &Affine) -> Option<Affine> {
    let scale = |form: &Affine, factor: i64| {
        let fits = |value: i64| value.checked_mul(factor).is_some_and(|value| value.unsigned_abs() < LARGEST);
        (fits(form.constant) && form.terms.iter().all(|term| fits(term.1))).then(|| form.times(factor))
    };
    let form = match op {
        Operator::Add => x.plus(y),
        Operator::Sub => x.minus(y),
        Operator::Mult if y.is_constant() => scale(x, y.constant)?,
        Operator::Mult if x.is_constant() => scale(y, x.constant)?,
        Operator::Mult
        | Operator::MatMult
        | Operator::Div
        | Operator::Mod
        | Operator::Pow
        | Operator::LShift
        | Operator::RShift
        | Operator::BitOr
        | Operator::BitXor
        | Operator::BitAnd
        | Operator::FloorDiv => return None,
    };
    let small = form.constant.unsigned_abs() < LARGEST && form.terms.iter().all(|term| term.1.unsigned_abs() < LARGEST);
    small.then_some(form)
}
