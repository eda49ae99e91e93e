//! Comparisons of Python's numbers, exact also of an `int` with a `float`.
//!
//! Input: an operator and two numbers, known or not. Output: a truth: known, a condition on loop variables, or a bool that
//! only a run knows.

use super::evaluate::Evaluator;
use super::number::{self, Number};
use super::truth::Truth;
use super::value::{Arg, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, UnaryOp};
use std::cmp::Ordering;

/// An order comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    /// Whether it is true of two values in this order; `None`: they have none, as with NaN.
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Comparison::Eq => order.is_some_and(Ordering::is_eq),
            Comparison::Ne => !order.is_some_and(Ordering::is_eq),
            Comparison::Lt => order.is_some_and(Ordering::is_lt),
            Comparison::Le => order.is_some_and(Ordering::is_le),
            Comparison::Gt => order.is_some_and(Ordering::is_gt),
            Comparison::Ge => order.is_some_and(Ordering::is_ge),
        }
    }

    /// The one that is true of `b` and `a` where this one is of `a` and `b`.
    fn swapped(self) -> Comparison {
        match self {
            Comparison::Eq | Comparison::Ne => self,
            Comparison::Lt => Comparison::Gt,
            Comparison::Le => Comparison::Ge,
            Comparison::Gt => Comparison::Lt,
            Comparison::Ge => Comparison::Le,
        }
    }

    pub(super) fn operator(self) -> BinaryOp {
        match self {
            Comparison::Eq => BinaryOp::Eq,
            Comparison::Ne => BinaryOp::Ne,
            Comparison::Lt => BinaryOp::Lt,
            Comparison::Le => BinaryOp::Le,
            Comparison::Gt => BinaryOp::Gt,
            Comparison::Ge => BinaryOp::Ge,
        }
    }
}

/// A Python number beside another in a comparison.
#[derive(Clone, Debug)]
enum Quantity {
    Int(i128),
    Float(f64),
    /// An `int` or a `bool`, of dtype I64, with its form if it has one.
    Integer(NodeId, Option<Affine>),
    /// A `float`.
    Real(NodeId),
}

impl Evaluator<'_> {
    /// A comparison of Python numbers, exact also of an `int` with a `float`.
    pub(super) fn compare_numbers(&mut self, op: Comparison, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        if let Some(truth) = self.compare_with_bool(op, a, b, span)? {
            return Ok(truth);
        }
        let (x, y) = (self.quantity(a)?, self.quantity(b)?);
        match (x, y) {
            (Quantity::Int(x), Quantity::Int(y)) => Ok(Truth::Known(op.holds(Some(x.cmp(&y))))),
            (Quantity::Float(x), Quantity::Float(y)) => Ok(Truth::Known(op.holds(x.partial_cmp(&y)))),
            (Quantity::Int(x), Quantity::Float(y)) => {
                Ok(Truth::Known(op.holds(number::order(Number::Int(x), Number::Float(y)))))
            }
            (Quantity::Float(x), Quantity::Int(y)) => {
                Ok(Truth::Known(op.holds(number::order(Number::Float(x), Number::Int(y)))))
            }
            (Quantity::Integer(x, form), Quantity::Float(y)) => self.integer_with_float(op, (x, form), y, span),
            (Quantity::Float(x), Quantity::Integer(y, form)) => {
                self.integer_with_float(op.swapped(), (y, form), x, span)
            }
            (Quantity::Integer(x, form), Quantity::Int(y)) => self.integer_with_int(op, (x, form), y, span),
            (Quantity::Int(x), Quantity::Integer(y, form)) => self.integer_with_int(op.swapped(), (y, form), x, span),
            (Quantity::Integer(x, Some(form)), Quantity::Integer(y, Some(other))) => {
                let node = self.binary(op.operator(), x, y, span)?;
                self.compare_forms(op, &form, &other, node, span)
            }
            (Quantity::Integer(x, _), Quantity::Integer(y, _)) | (Quantity::Real(x), Quantity::Real(y)) => {
                self.binary(op.operator(), x, y, span).map(Truth::Runtime)
            }
            (Quantity::Real(x), Quantity::Float(y)) => self.real_with(op, x, Number::Float(y), span),
            (Quantity::Float(x), Quantity::Real(y)) => self.real_with(op.swapped(), y, Number::Float(x), span),
            (Quantity::Real(x), Quantity::Int(y)) => self.real_with_int(op, x, y, span),
            (Quantity::Int(x), Quantity::Real(y)) => self.real_with_int(op.swapped(), y, x, span),
            (Quantity::Integer(x, form), Quantity::Real(y)) => self.integer_with_real(op, (x, form), y, span),
            (Quantity::Real(x), Quantity::Integer(y, form)) => self.integer_with_real(op.swapped(), (y, form), x, span),
        }
    }

    /// A bool that is not known compared with one that is: that bool, its opposite, or neither.
    fn compare_with_bool(&mut self, op: Comparison, a: &Arg, b: &Arg, span: Span) -> Eval<Option<Truth>> {
        let is_bool = |value: &Value| match value {
            Value::Condition(_) => true,
            Value::Weak(node) => self.dtype(*node) == DType::Bool,
            _ => false,
        };
        let (truth, op, number) = match (&a.value, &b.value) {
            (value, Value::Number(number)) if is_bool(value) => (self.truth_of(value, a.span)?, op, *number),
            (Value::Number(number), value) if is_bool(value) => (self.truth_of(value, b.span)?, op.swapped(), *number),
            _ => return Ok(None),
        };
        let [no, yes] = [false, true].map(|truth| op.holds(number::order(Number::Bool(truth), number)));
        Ok(Some(match (no, yes) {
            (false, true) => truth,
            (true, false) => self.negated(&truth, span)?,
            (same, _) => Truth::Known(same),
        }))
    }

    fn quantity(&mut self, arg: &Arg) -> Eval<Quantity> {
        if let Value::Number(number) = &arg.value {
            return Ok(number.as_int().map_or(Quantity::Float(number.as_f64()), Quantity::Int));
        }
        let node = match &arg.value {
            Value::Affine(form) => {
                let form = form.clone();
                return Ok(Quantity::Integer(self.form_node(&form, arg.span)?, Some(form)));
            }
            Value::Weak(node) => *node,
            Value::Condition(condition) => condition.node,
            _ => return Err(Poisoned),
        };
        if self.dtype(node).is_float() {
            return Ok(Quantity::Real(node));
        }
        Ok(Quantity::Integer(self.cast(node, DType::I64, arg.span)?, None))
    }

    fn compare_forms(&mut self, op: Comparison, x: &Affine, y: &Affine, node: NodeId, span: Span) -> Eval<Truth> {
        let (at_least, at_most) = (x.minus(y), y.minus(x));
        let (above, below) = (at_least.offset(-1), at_most.offset(-1));
        let cases = match op {
            Comparison::Lt => vec![vec![below]],
            Comparison::Le => vec![vec![at_most]],
            Comparison::Gt => vec![vec![above]],
            Comparison::Ge => vec![vec![at_least]],
            Comparison::Eq => vec![vec![at_least, at_most]],
            Comparison::Ne => vec![vec![below], vec![above]],
        };
        self.decided(cases, node, span)
    }

    fn integer_with_int(
        &mut self,
        op: Comparison,
        (node, form): (NodeId, Option<Affine>),
        value: i128,
        span: Span,
    ) -> Eval<Truth> {
        let Ok(small) = i64::try_from(value) else {
            return Ok(Truth::Known(op.holds(Some(0.cmp(&value)))));
        };
        let constant = self.number_node(Number::Int(value), DType::I64, span)?;
        let compared = self.binary(op.operator(), node, constant, span)?;
        // Forms stay small enough to subtract.
        match form {
            Some(form) if small.unsigned_abs() < 1 << 60 => {
                self.compare_forms(op, &form, &Affine::constant(small), compared, span)
            }
            Some(_) | None => Ok(Truth::Runtime(compared)),
        }
    }

    /// An integer is less than 2.5 where it is at most 2.
    fn integer_with_float(
        &mut self,
        op: Comparison,
        integer: (NodeId, Option<Affine>),
        x: f64,
        span: Span,
    ) -> Eval<Truth> {
        if let Some(whole) = exact_int(x) {
            return self.integer_with_int(op, integer, whole, span);
        }
        let Some(floor) = exact_int(x.floor()) else {
            // Infinite, or NaN.
            return Ok(Truth::Known(op.holds(0.0_f64.partial_cmp(&x))));
        };
        match op {
            Comparison::Eq => Ok(Truth::Known(false)),
            Comparison::Ne => Ok(Truth::Known(true)),
            Comparison::Lt | Comparison::Le => self.integer_with_int(Comparison::Le, integer, floor, span),
            Comparison::Gt | Comparison::Ge => self.integer_with_int(Comparison::Gt, integer, floor, span),
        }
    }

    fn real_with(&mut self, op: Comparison, node: NodeId, number: Number, span: Span) -> Eval<Truth> {
        let constant = self.number_node(number, DType::F64, span)?;
        self.binary(op.operator(), node, constant, span).map(Truth::Runtime)
    }

    /// An integer between two floats is less than a float where its upper neighbour is at most that.
    fn real_with_int(&mut self, op: Comparison, node: NodeId, value: i128, span: Span) -> Eval<Truth> {
        let rounded = Number::Float(Number::Int(value).as_f64());
        let above = match number::order(rounded, Number::Int(value)) {
            Some(Ordering::Equal) | None => return self.real_with(op, node, rounded, span),
            Some(order) => order.is_gt(),
        };
        let op = match op {
            Comparison::Eq => return Ok(Truth::Known(false)),
            Comparison::Ne => return Ok(Truth::Known(true)),
            Comparison::Lt | Comparison::Le if above => Comparison::Lt,
            Comparison::Lt | Comparison::Le => Comparison::Le,
            Comparison::Gt | Comparison::Ge if above => Comparison::Ge,
            Comparison::Gt | Comparison::Ge => Comparison::Gt,
        };
        self.real_with(op, node, rounded, span)
    }

    /// Rounding keeps the order, so only where the rounded integer is the float does the integer itself decide.
    fn integer_with_real(
        &mut self,
        op: Comparison,
        (integer, form): (NodeId, Option<Affine>),
        real: NodeId,
        span: Span,
    ) -> Eval<Truth> {
        let rounded = self.cast(integer, DType::F64, span)?;
        let bounds =
            form.and_then(|form| Some((self.control.domain().least(&form)?, self.control.domain().greatest(&form)?)));
        if bounds.is_some_and(|(least, greatest)| least >= -(1 << 53) && greatest <= 1 << 53) {
            return self.binary(op.operator(), rounded, real, span).map(Truth::Runtime);
        }
        let same = self.binary(BinaryOp::Eq, rounded, real, span)?;
        // 2**63 is a float, and above every integer.
        let limit = self.number_node(Number::Float(9_223_372_036_854_775_808.0), DType::F64, span)?;
        let fits = self.binary(BinaryOp::Lt, real, limit, span)?;
        let whole = self.cast(real, DType::I64, span)?;
        let exact = self.binary(op.operator(), integer, whole, span)?;
        let node = match op {
            Comparison::Eq => {
                let inside = self.binary(BinaryOp::And, same, fits, span)?;
                self.binary(BinaryOp::And, inside, exact, span)?
            }
            Comparison::Ne => {
                let outside = self.unary(UnaryOp::Not, fits, span)?;
                let differs = self.unary(UnaryOp::Not, same, span)?;
                let outside = self.binary(BinaryOp::Or, outside, differs, span)?;
                self.binary(BinaryOp::Or, outside, exact, span)?
            }
            Comparison::Lt | Comparison::Le => {
                let less = self.binary(BinaryOp::Lt, rounded, real, span)?;
                let outside = self.unary(UnaryOp::Not, fits, span)?;
                let decides = self.binary(BinaryOp::Or, outside, exact, span)?;
                let decides = self.binary(BinaryOp::And, same, decides, span)?;
                self.binary(BinaryOp::Or, less, decides, span)?
            }
            Comparison::Gt | Comparison::Ge => {
                let greater = self.binary(BinaryOp::Gt, rounded, real, span)?;
                let decides = self.binary(BinaryOp::And, fits, exact, span)?;
                let decides = self.binary(BinaryOp::And, same, decides, span)?;
                self.binary(BinaryOp::Or, greater, decides, span)?
            }
        };
        Ok(Truth::Runtime(node))
    }
}

/// The integer that a float is.
#[expect(clippy::cast_possible_truncation, reason = "whole, and below 2**100")]
pub(super) fn exact_int(x: f64) -> Option<i128> {
    (x.fract() == 0.0 && x.abs() < 1e30).then_some(x as i128)
}
