//! Element-wise operators and functions: promotion, casts, broadcasts, and the node.

use super::call::Call;
use super::evaluate::Evaluator;
use super::function::{Binary, Unary};
use super::number::Number;
use super::operand::Operand;
use super::promote::{self, Kind};
use super::value::{Eval, Value};
use crate::program::expr::{NodeId, Op, Span};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, UnaryOp};

impl Evaluator<'_> {
    /// `a op b` with NumPy's promotion and broadcasting.
    pub(super) fn elementwise(
        &mut self,
        kind: Binary,
        name: &str,
        a: &Operand,
        b: &Operand,
        span: Span,
    ) -> Eval<NodeId> {
        if let Binary::Op(op) = kind
            && op.is_comparison()
            && let Some(node) = self.compare_out_of_range(op, a, b, span)?
        {
            return Ok(node);
        }
        let kinds = [self.kind(a), self.kind(b)];
        let (op, dtype) = self.binary_dtype(kind, name, kinds, span)?;
        if op == BinaryOp::Pow
            && let Some(node) = self.power(a, b, dtype, span)?
        {
            return Ok(node);
        }
        let (a, b) = (self.at_dtype(a, dtype, span)?, self.at_dtype(b, dtype, span)?);
        self.named_binary(op, name, a, b, span)
    }

    /// The scalar operator, and the dtype its arguments are cast to.
    pub(super) fn binary_dtype(
        &mut self,
        kind: Binary,
        name: &str,
        kinds: [Kind; 2],
        span: Span,
    ) -> Eval<(BinaryOp, DType)> {
        let op = match kind {
            Binary::Logical(op) => return Ok((op, DType::Bool)),
            Binary::Op(op) => op,
        };
        let dtype = promote::common(kinds);
        let refused = |evaluator: &mut Self, help: &str| {
            Err(evaluator.error(span, format!("{name} is not defined on {dtype}"), Some(help)))
        };
        match op {
            BinaryOp::Add | BinaryOp::Mul => Ok((op, dtype)),
            BinaryOp::Sub if dtype == DType::Bool => refused(self, "write ^ or np.logical_xor"),
            BinaryOp::Sub => Ok((op, dtype)),
            BinaryOp::Div => {
                Ok((op, if dtype == DType::Bool { DType::F64 } else { promote::real(dtype).unwrap_or(DType::F64) }))
            }
            BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Shl | BinaryOp::Shr
                if dtype == DType::Bool =>
            {
                refused(self, "NumPy computes it in int8, which is not supported; use astype(np.int32) first")
            }
            BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow => Ok((op, dtype)),
            BinaryOp::Minimum if dtype == DType::Bool => Ok((BinaryOp::And, dtype)),
            BinaryOp::Maximum if dtype == DType::Bool => Ok((BinaryOp::Or, dtype)),
            BinaryOp::Minimum | BinaryOp::Maximum => Ok((op, dtype)),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor if dtype.is_float() => {
                refused(self, "bitwise operators need integers or bools; combine conditions such as (a > 0) & (b > 0)")
            }
            BinaryOp::Shl | BinaryOp::Shr if dtype.is_float() => refused(self, "shifts need integers"),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => Ok((op, dtype)),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => Ok((op, dtype)),
        }
    }

    /// A comparison of an integer array with a Python integer that its dtype cannot hold: decided by the sign alone.
    fn compare_out_of_range(&mut self, op: BinaryOp, a: &Operand, b: &Operand, span: Span) -> Eval<Option<NodeId>> {
        let (node, number, number_is_right) = match (a, b) {
            (Operand::Node(node), Operand::Scalar(number)) => (*node, *number, true),
            (Operand::Scalar(number), Operand::Node(node)) => (*node, *number, false),
            (Operand::Node(_) | Operand::Weak(_), _) | (Operand::Scalar(_), Operand::Weak(_) | Operand::Scalar(_)) => {
                return Ok(None);
            }
        };
        let (Number::Int(value), Some((low, high))) = (number, promote::int_bounds(self.dtype(node))) else {
            return Ok(None);
        };
        if (low..=high).contains(&value) {
            return Ok(None);
        }
        let array_is_less = value > high;
        let left_is_less = array_is_less == number_is_right;
        let truth = match op {
            BinaryOp::Ne => true,
            BinaryOp::Lt | BinaryOp::Le => left_is_less,
            BinaryOp::Gt | BinaryOp::Ge => !left_is_less,
            BinaryOp::Eq
            | BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::FloorDiv
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Minimum
            | BinaryOp::Maximum
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr => false,
        };
        let extents = self.extents(node);
        let constant = self.constant(Literal::Bool(truth), DType::Bool, span)?;
        self.broadcast(constant, &extents, span).map(Some)
    }

    /// `a ** b` for the exponents that NumPy computes without a power function, bit for bit; `None` for the others.
    fn power(&mut self, a: &Operand, b: &Operand, dtype: DType, span: Span) -> Eval<Option<NodeId>> {
        let exponent = match b {
            Operand::Scalar(number) => *number,
            Operand::Node(_) | Operand::Weak(_) => return Ok(None),
        };
        if dtype.is_int() {
            let exponent = exponent.as_int().unwrap_or(0);
            if exponent < 0 {
                let help = "make the base a float array first";
                return Err(self.error(span, "integers to negative integer powers are not allowed", Some(help)));
            }
            // Wrapping products associate, so any order gives NumPy's bits.
            let base = self.at_dtype(a, dtype, span)?;
            return if exponent <= 64 { self.product_of(base, exponent, span).map(Some) } else { Ok(None) };
        }
        let base = self.at_dtype(a, dtype, span)?;
        let exponent = exponent.as_f64();
        Ok(if exponent == 2.0 {
            Some(self.binary(BinaryOp::Mul, base, base, span)?)
        } else if exponent == 1.0 {
            Some(base)
        } else if exponent == 0.0 {
            Some(self.product_of(base, 0, span)?)
        } else if exponent == 0.5 {
            Some(self.unary(UnaryOp::Sqrt, base, span)?)
        } else if exponent == -1.0 {
            let one = self.constant(Literal::float(1.0), dtype, span)?;
            Some(self.binary(BinaryOp::Div, one, base, span)?)
        } else {
            None
        })
    }

    fn product_of(&mut self, base: NodeId, exponent: i128, span: Span) -> Eval<NodeId> {
        if exponent == 0 {
            let (dtype, extents) = (self.dtype(base), self.extents(base));
            let one = self.constant(Literal::Int(1).at(dtype), dtype, span)?;
            return self.broadcast(one, &extents, span);
        }
        if exponent == 1 {
            return Ok(base);
        }
        let half = self.product_of(base, exponent / 2, span)?;
        let square = self.binary(BinaryOp::Mul, half, half, span)?;
        if exponent % 2 == 0 { Ok(square) } else { self.binary(BinaryOp::Mul, square, base, span) }
    }

    /// A function of one argument with NumPy's promotion.
    pub(super) fn apply_unary(&mut self, kind: Unary, name: &str, operand: &Operand, span: Span) -> Eval<NodeId> {
        let node = self.strong(operand, span)?;
        let dtype = self.dtype(node);
        let refused = |evaluator: &mut Self, help: &str| {
            Err(evaluator.error(span, format!("{name} is not defined on {dtype}"), Some(help)))
        };
        let small = "NumPy computes it in a small type that is not supported; use astype first";
        match kind {
            Unary::Op(op) => match op {
                UnaryOp::Neg | UnaryOp::Sign if dtype == DType::Bool => refused(self, "write ~ or np.logical_not"),
                UnaryOp::Abs if name == "fabs" && dtype.is_int() => {
                    let node = self.cast(node, DType::F64, span)?;
                    self.unary(op, node, span)
                }
                UnaryOp::Abs if name == "fabs" && dtype == DType::Bool => refused(self, small),
                UnaryOp::Abs | UnaryOp::Floor if dtype == DType::Bool => Ok(node),
                UnaryOp::Floor if dtype.is_int() => Ok(node),
                UnaryOp::Neg | UnaryOp::Sign | UnaryOp::Abs | UnaryOp::Floor => self.unary(op, node, span),
                UnaryOp::Not if dtype.is_float() => refused(self, "~ needs integers or bools"),
                UnaryOp::Not => self.unary(op, node, span),
                UnaryOp::Sqrt
                | UnaryOp::Exp
                | UnaryOp::Log
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Erf => match promote::real(dtype) {
                    Some(real) => {
                        let node = self.cast(node, real, span)?;
                        self.unary(op, node, span)
                    }
                    None => refused(self, small),
                },
            },
            Unary::Ceil if !dtype.is_float() => Ok(node),
            Unary::Ceil => {
                let negated = self.unary(UnaryOp::Neg, node, span)?;
                let floor = self.unary(UnaryOp::Floor, negated, span)?;
                self.unary(UnaryOp::Neg, floor, span)
            }
            Unary::Positive if dtype == DType::Bool => refused(self, "write the value itself"),
            Unary::Positive => Ok(node),
            Unary::Square if dtype == DType::Bool => refused(self, small),
            Unary::Square => self.binary(BinaryOp::Mul, node, node, span),
            Unary::Reciprocal if !dtype.is_float() => {
                refused(self, "the reciprocal of an integer truncates; write 1 / x, or astype first")
            }
            Unary::Reciprocal => {
                let one = self.constant(Literal::float(1.0), dtype, span)?;
                self.binary(BinaryOp::Div, one, node, span)
            }
            Unary::LogicalNot => {
                let truth = self.cast(node, DType::Bool, span)?;
                self.unary(UnaryOp::Not, truth, span)
            }
            Unary::IsNan | Unary::IsInf | Unary::IsFinite if !dtype.is_float() => {
                let extents = self.extents(node);
                let truth = self.constant(Literal::Bool(kind == Unary::IsFinite), DType::Bool, span)?;
                self.broadcast(truth, &extents, span)
            }
            Unary::IsNan => self.binary(BinaryOp::Ne, node, node, span),
            Unary::IsInf | Unary::IsFinite => {
                let op = if kind == Unary::IsInf { BinaryOp::Eq } else { BinaryOp::Lt };
                let magnitude = self.unary(UnaryOp::Abs, node, span)?;
                self.with_scalar(op, magnitude, f64::INFINITY, span)
            }
        }
    }
}

/// `np.f(x)`.
pub(super) fn unary_call(evaluator: &mut Evaluator<'_>, kind: Unary, call: &Call) -> Eval {
    let operand = evaluator.ufunc_operand("x", call)?;
    let node = evaluator.apply_unary(kind, call.function.name, &operand, call.span)?;
    evaluator.ufunc_result(node, call)
}

/// `np.f(x1, x2)`.
pub(super) fn binary_call(evaluator: &mut Evaluator<'_>, kind: Binary, call: &Call) -> Eval {
    let a = evaluator.ufunc_operand("x1", call)?;
    let b = evaluator.ufunc_operand("x2", call)?;
    let node = evaluator.elementwise(kind, call.function.name, &a, &b, call.span)?;
    evaluator.ufunc_result(node, call)
}

impl Evaluator<'_> {
    /// An argument of a ufunc, already at the argument `dtype` if that is given.
    fn ufunc_operand(&mut self, parameter: &str, call: &Call) -> Eval<Operand> {
        let arg = call.required(parameter)?;
        let operand = self.operand(arg, call.function.name)?;
        let Some(dtype) = self.dtype_argument(call)? else { return Ok(operand) };
        let own = promote::common([self.kind(&operand)]);
        if !promote::same_kind(own, dtype) {
            let message = format!("{}: an argument of {own} cannot be computed in {dtype}", call.function.name);
            return Err(self.error(arg.span, message, Some("write astype")));
        }
        self.at_dtype(&operand, dtype, call.span).map(Operand::Node)
    }

    /// The result of a ufunc, which is of the argument `dtype` if that is given.
    fn ufunc_result(&mut self, node: NodeId, call: &Call) -> Eval {
        if let Some(dtype) = self.dtype_argument(call)?
            && dtype != self.dtype(node)
        {
            let construct = format!("dtype={dtype} in {}()", call.function.name);
            return Err(self.unsupported(call.span, &construct, "write astype on the arguments or on the result"));
        }
        Ok(Value::Array(self.fresh(node)))
    }
}

/// `np.where(condition, x, y)`.
pub(super) fn select(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (Some(x), Some(y)) = (call.given("x"), call.given("y")) else {
        let help = "supported: np.where(condition, x, y)";
        return Err(evaluator.unsupported(call.span, "np.where with a condition alone", help));
    };
    let condition = evaluator.array(call.required("condition")?, "where")?.node;
    let (x, y) = (evaluator.operand(x, "where")?, evaluator.operand(y, "where")?);
    let dtype = promote::common([evaluator.kind(&x), evaluator.kind(&y)]);
    let condition = evaluator.cast(condition, DType::Bool, call.span)?;
    let x = evaluator.at_dtype(&x, dtype, call.span)?;
    let y = evaluator.at_dtype(&y, dtype, call.span)?;
    let extents = evaluator.broadcast_extents(&[condition, x, y], "where", call.span)?;
    let mut args = Vec::with_capacity(3);
    for node in [condition, x, y] {
        args.push(evaluator.broadcast(node, &extents, call.span)?);
    }
    let node = evaluator.emit_live(Op::Where, args, extents, dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.clip(a, low, high)`: `minimum(maximum(a, low), high)`.
pub(super) fn clip(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let a = evaluator.operand(call.required("a")?, "clip")?;
    let mut bounds = [None, None];
    for (bound, names) in bounds.iter_mut().zip([["a_min", "min"], ["a_max", "max"]]) {
        if let Some(arg) = call.optional(names[0]).or_else(|| call.optional(names[1])) {
            *bound = Some(evaluator.operand(arg, "clip")?);
        }
    }
    let mut kinds = vec![evaluator.kind(&a)];
    kinds.extend(bounds.iter().flatten().map(|bound| evaluator.kind(bound)));
    let dtype = promote::common(kinds);
    let mut node = evaluator.at_dtype(&a, dtype, call.span)?;
    for (bound, op) in bounds.iter().zip([BinaryOp::Maximum, BinaryOp::Minimum]) {
        if let Some(bound) = bound {
            let bound = Operand::Node(evaluator.at_dtype(bound, dtype, call.span)?);
            node = evaluator.elementwise(Binary::Op(op), "clip", &Operand::Node(node), &bound, call.span)?;
        }
    }
    Ok(Value::Array(evaluator.fresh(node)))
}
