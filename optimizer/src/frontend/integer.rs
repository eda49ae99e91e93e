//! Python numbers that depend on loop variables: affine forms as long as they are, nodes otherwise.

use super::evaluate::Evaluator;
use super::function::{Binary, Unary};
use super::number::Number;
use super::operand::Operand;
use super::operator::ufunc;
use super::value::{Arg, Eval, Poisoned, Range, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{Check, NodeId, Op, Requirement, Span};
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, UnaryOp};
use rustpython_ruff_python_ast::{Operator, UnaryOp as PythonUnaryOp};

/// Coefficients and constants of forms are below this, so that arithmetic on them stays inside 64 bits.
const LARGEST: u64 = 1 << 40;

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
        form.display(|var| self.control.variable_name(var))
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
        let decided = self.form_of(&b.value).is_some_and(|form| self.control.domain().proves(&form));
        if op == Operator::Pow && !operands.iter().any(is_float) && !decided {
            let help = "write the base as a float, or let the exponent be an int that is not negative";
            return Err(self.unsupported(span, "an int to the power of an int that may be negative", help));
        }
        match op {
            Operator::Div | Operator::FloorDiv | Operator::Mod => self.require_divisor(b, &operands[1], span)?,
            Operator::LShift | Operator::RShift => self.require_shift(&operands[1], span)?,
            Operator::Pow if operands.iter().any(is_float) => self.require_power(a, b, &operands, span)?,
            Operator::Pow
            | Operator::Add
            | Operator::Sub
            | Operator::Mult
            | Operator::MatMult
            | Operator::BitOr
            | Operator::BitXor
            | Operator::BitAnd => {}
        }
        let node = self.elementwise(Binary::Op(ufunc(op)), &format!("'{symbol}'"), &operands[0], &operands[1], span)?;
        Ok(Value::Weak(node))
    }

    /// Python divides by nothing that is 0, where NumPy gives a number.
    fn require_divisor(&mut self, divisor: &Arg, operand: &Operand, span: Span) -> Eval<()> {
        if let Value::Number(number) = &divisor.value {
            return if number.truth() { Ok(()) } else { Err(self.error(span, "division by zero", None)) };
        }
        if self.is_never_zero(&divisor.value) {
            return Ok(());
        }
        let node = self.strong(operand, span)?;
        let holds = self.with_scalar(BinaryOp::Ne, node, 0.0, span)?;
        self.require(holds, Check { span, requirement: Requirement::Divisor })
    }

    /// Whether a Python number is known not to be 0.
    pub(super) fn is_never_zero(&self, value: &Value) -> bool {
        match value {
            Value::Number(number) => number.truth(),
            Value::Affine(form) => {
                self.control.domain().proves(&form.offset(-1))
                    || self.control.domain().proves(&form.times(-1).offset(-1))
            }
            _ => false,
        }
    }

    fn require_shift(&mut self, operand: &Operand, span: Span) -> Eval<()> {
        let node = self.strong(operand, span)?;
        if self.is_not_negative(node) || self.dtype(node).is_float() {
            return Ok(());
        }
        let holds = self.with_scalar(BinaryOp::Ge, node, 0.0, span)?;
        self.require(holds, Check { span, requirement: Requirement::Shift })
    }

    /// A negative float has no power whose exponent is not whole, and 0 none whose exponent is negative.
    fn require_power(&mut self, base: &Arg, exponent: &Arg, operands: &[Operand], span: Span) -> Eval<()> {
        let known = |value: &Value| if let Value::Number(number) = value { Some(number.as_f64()) } else { None };
        let proves = |evaluator: &Self, offset: i64| match &base.value {
            Value::Number(number) => number.as_f64() > 0.0 || number.as_f64() == 0.0 && offset == 0,
            Value::Affine(form) => evaluator.control.domain().proves(&form.offset(-offset)),
            _ => false,
        };
        let x = self.at_dtype(&operands[0], DType::F64, span)?;
        let holds = match known(&exponent.value) {
            Some(y) if y.is_nan() || y >= 0.0 && y == y.floor() => return Ok(()),
            Some(_) | None if proves(self, 1) => return Ok(()),
            Some(y) if y > 0.0 && proves(self, 0) => return Ok(()),
            Some(y) if y == y.floor() => self.with_scalar(BinaryOp::Ne, x, 0.0, span)?,
            Some(y) => {
                let op = if y > 0.0 { BinaryOp::Lt } else { BinaryOp::Le };
                let fails = self.with_scalar(op, x, 0.0, span)?;
                self.unary(UnaryOp::Not, fails, span)?
            }
            None => {
                let y = self.at_dtype(&operands[1], DType::F64, span)?;
                let whole = self.unary(UnaryOp::Floor, y, span)?;
                let whole = self.binary(BinaryOp::Eq, y, whole, span)?;
                let negative = self.with_scalar(BinaryOp::Lt, y, 0.0, span)?;
                let rooted = self.with_scalar(BinaryOp::Ge, x, 0.0, span)?;
                let nan = self.binary(BinaryOp::Ne, x, x, span)?;
                let defined = self.binary(BinaryOp::Or, rooted, nan, span)?;
                let defined = self.binary(BinaryOp::Or, defined, whole, span)?;
                let zero = self.with_scalar(BinaryOp::Eq, x, 0.0, span)?;
                let pole = self.binary(BinaryOp::And, zero, negative, span)?;
                let finite = self.unary(UnaryOp::Not, pole, span)?;
                self.binary(BinaryOp::And, defined, finite, span)?
            }
        };
        self.require(holds, Check { span, requirement: Requirement::Domain })
    }

    /// `op a` of a Python number that is not known.
    pub(super) fn number_unary(&mut self, op: PythonUnaryOp, operand: &Arg, span: Span) -> Eval {
        match (op, &operand.value) {
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

    /// `range(…)`.
    pub(super) fn range(&mut self, args: &[Arg], span: Span) -> Eval {
        let mut forms = Vec::with_capacity(3);
        for arg in args {
            match self.form_of(&arg.value) {
                Some(form) => forms.push(form),
                None => {
                    let message = format!("a bound of range is {}", self.describe(&arg.value));
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
