//! Comparisons: `==` and `<`, `is`, `in`, and chains of them.
//!
//! Each gives Python's and NumPy's answer, a condition on loop variables, or a bool that only a run knows; what neither
//! language defines, and what this reader does not know, is an error. Two kinds of value that it does not list as equal
//! are unequal only where Python says so ([`family`]).

use super::dtype_name::dtype_name;
use super::evaluate::Evaluator;
use super::function::{Binary, Function};
use super::number::{self, Number};
use super::number_comparison::{Comparison, exact_int};
use super::truth::Truth;
use super::value::{Arg, Builtin, Eval, Poisoned, Range, Value};
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::DType;
use crate::value::scalar::FoldOp;
use rustpython_ruff_python_ast::{self as ast, CmpOp};

/// Kinds of value; values of two of them are unequal, but for a dtype and what names one, and arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Number,
    Array,
    None,
    Ellipsis,
    Str,
    Tuple,
    List,
    Range,
    DType,
    ScalarType,
    Module,
    Function,
    Bound,
    Closure,
    Builtin,
    Annotation,
}

fn family(value: &Value) -> Eval<Family> {
    Ok(match value {
        Value::Poison => return Err(Poisoned),
        Value::None => Family::None,
        Value::Ellipsis => Family::Ellipsis,
        Value::Number(_) | Value::Affine(_) | Value::Weak(_) | Value::Condition(_) => Family::Number,
        Value::Range(_) => Family::Range,
        Value::Str(_) => Family::Str,
        Value::DType(_) => Family::DType,
        Value::ScalarType(_) => Family::ScalarType,
        Value::Array(_) => Family::Array,
        Value::Tuple(_) => Family::Tuple,
        Value::List(_) => Family::List,
        Value::Module(_) => Family::Module,
        Value::Function(_) => Family::Function,
        Value::Ufunc(..) | Value::Method(..) => Family::Bound,
        Value::Closure(_) => Family::Closure,
        Value::Builtin(_) => Family::Builtin,
        Value::Annotation => Family::Annotation,
    })
}

impl<'s> Evaluator<'s> {
    /// `a < b < c`: `a < b and b < c`, where `c` is evaluated only if the first holds.
    pub(super) fn comparison(&mut self, comparison: &'s ast::ExprCompare, span: Span) -> Eval {
        let mut left = self.arg(&comparison.left);
        let mut so_far: Option<Arg> = None;
        for (&op, right) in comparison.ops.iter().zip(&comparison.comparators) {
            let mut undecided = None;
            if let Some(known) = so_far.take() {
                self.refuse_chain(&known, span)?;
                match self.truth_of(&known.value, span)? {
                    Truth::Known(false) => return Ok(known.value),
                    Truth::Known(true) => {}
                    truth => undecided = Some((known, truth)),
                }
            }
            let right = if undecided.is_some() { self.conditional_operand(right)? } else { self.arg(right) };
            let mut next = Arg { value: self.compare(op, &left, &right, span)?, span };
            if let Some((known, truth)) = undecided {
                self.refuse_chain(&next, span)?;
                next.value = self.either(false, &known, &truth, &next, span)?;
            }
            so_far = Some(next);
            left = right;
        }
        so_far.map(|result| result.value).ok_or(Poisoned)
    }

    /// Arrays have no truth that a chain could use.
    fn refuse_chain(&mut self, known: &Arg, span: Span) -> Eval<()> {
        match &known.value {
            Value::Array(array) if !self.shape(array.node).is_empty() => {
                let help = "write (a < b) & (b < c)";
                Err(self.unsupported(span, "a chained comparison of arrays", help))
            }
            _ => Ok(()),
        }
    }

    fn compare(&mut self, op: CmpOp, a: &Arg, b: &Arg, span: Span) -> Eval {
        if a.value.is_poisoned() || b.value.is_poisoned() {
            return Err(Poisoned);
        }
        let op = match op {
            CmpOp::Is => return self.identical(a, b, span).map(Evaluator::truth_value),
            CmpOp::IsNot => {
                let same = self.identical(a, b, span)?;
                return self.negated(&same, span).map(Evaluator::truth_value);
            }
            CmpOp::In => return self.contained(a, b, span).map(Evaluator::truth_value),
            CmpOp::NotIn => {
                let found = self.contained(a, b, span)?;
                return self.negated(&found, span).map(Evaluator::truth_value);
            }
            CmpOp::Eq => Comparison::Eq,
            CmpOp::NotEq => Comparison::Ne,
            CmpOp::Lt => Comparison::Lt,
            CmpOp::LtE => Comparison::Le,
            CmpOp::Gt => Comparison::Gt,
            CmpOp::GtE => Comparison::Ge,
        };
        let families = [family(&a.value)?, family(&b.value)?];
        if !families.contains(&Family::Array) {
            return self.answer(op, a, b, span).map(Evaluator::truth_value);
        }
        let numeric = [Family::Array, Family::Number, Family::Tuple, Family::List];
        if families.iter().all(|family| numeric.contains(family)) {
            return self.compare_arrays(op, a, b, span).map(|node| Value::Array(self.fresh(node)));
        }
        let scalars = [a, b].iter().all(|arg| match &arg.value {
            Value::Array(array) => self.shape(array.node).is_empty() && array.storage.is_none(),
            Value::None => true,
            _ => false,
        });
        match op {
            // No number is None; an array compares its elements with it.
            Comparison::Eq | Comparison::Ne if scalars => Ok(Value::Number(Number::Bool(op == Comparison::Ne))),
            _ => Err(self.incomparable(a, b, span)),
        }
    }

    /// Element by element.
    fn compare_arrays(&mut self, op: Comparison, a: &Arg, b: &Arg, span: Span) -> Eval<NodeId> {
        let (x, y) = (self.operand(a, "a comparison")?, self.operand(b, "a comparison")?);
        self.elementwise(Binary::Op(op.operator()), "a comparison", &x, &y, span)
    }

    fn incomparable(&mut self, a: &Arg, b: &Arg, span: Span) -> Poisoned {
        let message = format!("{} and {} cannot be compared", self.describe(&a.value), self.describe(&b.value));
        self.error(span, message, None)
    }

    /// A comparison that Python answers by a bool.
    fn answer(&mut self, op: Comparison, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        match (&a.value, &b.value) {
            (Value::Str(x), Value::Str(y)) => Ok(Truth::Known(op.holds(Some(x.cmp(y))))),
            (Value::Tuple(x), Value::Tuple(y)) | (Value::List(x), Value::List(y)) => {
                self.compare_sequences(op, x, y, (a.span, b.span), span)
            }
            (x, y) if family(x)? == Family::Number && family(y)? == Family::Number => {
                self.compare_numbers(op, a, b, span)
            }
            _ => match op {
                Comparison::Eq => self.equal(a, b, span),
                Comparison::Ne => {
                    let equal = self.equal(a, b, span)?;
                    self.negated(&equal, span)
                }
                Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => Err(self.incomparable(a, b, span)),
            },
        }
    }

    /// Python's rule: the first two elements that differ decide, then the lengths.
    fn compare_sequences(
        &mut self,
        op: Comparison,
        x: &[Value],
        y: &[Value],
        (at_x, at_y): (Span, Span),
        span: Span,
    ) -> Eval<Truth> {
        let mut result = Truth::Known(op.holds(Some(x.len().cmp(&y.len()))));
        for (x, y) in x.iter().zip(y).rev() {
            let (x, y) = (Arg { value: x.clone(), span: at_x }, Arg { value: y.clone(), span: at_y });
            let same = self.same_or_equal(&x, &y, span)?;
            let rest = self.joined_truth(false, &same, &result, span)?;
            result = match (op, &same) {
                (_, Truth::Known(true)) | (Comparison::Eq, _) => rest,
                _ => {
                    let differs = self.negated(&same, span)?;
                    let here = if op == Comparison::Ne {
                        differs
                    } else {
                        let ordered = self.element_order(op, &x, &y, span)?;
                        self.joined_truth(false, &differs, &ordered, span)?
                    };
                    self.joined_truth(true, &here, &rest, span)?
                }
            };
        }
        Ok(result)
    }

    /// The order of two elements of sequences.
    fn element_order(&mut self, op: Comparison, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        if [family(&a.value)?, family(&b.value)?].contains(&Family::Array) {
            let node = self.compare_arrays(op, a, b, span)?;
            let array = self.fresh(node);
            return self.truth_of(&Value::Array(array), span);
        }
        self.answer(op, a, b, span)
    }

    /// Whether two elements of sequences are one object or equal, which is what `==` and `in` ask of them.
    fn same_or_equal(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        if self.may_be_nan(&a.value) && self.may_be_nan(&b.value) {
            let message = "whether the elements are one object decides here if they are NaN, and is not known";
            let help = "compare the numbers themselves, as in a == b and c == d";
            return Err(self.error(span, message, Some(help)));
        }
        let is_array = |value: &Value| matches!(value, Value::Array(array) if array.storage.is_some());
        if is_array(&a.value) && is_array(&b.value) {
            let message = "whether the arrays in the sequences are one object is not known";
            return Err(self.error(span, message, Some("compare the arrays themselves, and reduce with np.all")));
        }
        if [family(&a.value)?, family(&b.value)?].contains(&Family::Array) {
            let array = self.compare(CmpOp::Eq, a, b, span)?;
            return self.truth_of(&array, span);
        }
        self.equal(a, b, span)
    }

    fn may_be_nan(&self, value: &Value) -> bool {
        match value {
            Value::Number(Number::Float(x)) => x.is_nan(),
            Value::Weak(node) => self.node_may_be_nan(*node),
            Value::Array(array) => self.node_may_be_nan(array.node),
            _ => false,
        }
    }

    fn node_may_be_nan(&self, node: NodeId) -> bool {
        self.dtype(node).is_float() && self.known_literal(node).is_none_or(|literal| literal.as_f64().is_nan())
    }

    /// `a == b` of what is no array.
    fn equal(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        let known = |truth: bool| Ok(Truth::Known(truth));
        match (&a.value, &b.value) {
            (Value::Str(x), Value::Str(y)) => known(x == y),
            (Value::DType(x), Value::DType(y)) | (Value::ScalarType(x), Value::ScalarType(y)) => known(x == y),
            (Value::DType(dtype), other) | (other, Value::DType(dtype)) => match named_dtype(other) {
                Some(named) => known(named == Some(*dtype)),
                None => Err(self.incomparable(a, b, span)),
            },
            (Value::Tuple(x), Value::Tuple(y)) | (Value::List(x), Value::List(y)) => {
                self.compare_sequences(Comparison::Eq, x, y, (a.span, b.span), span)
            }
            (Value::Range(x), Value::Range(y)) => match equal_ranges(x, y) {
                Some(same) => known(same),
                None => Err(self.incomparable(a, b, span)),
            },
            (Value::Module(x), Value::Module(y)) => known(x == y),
            (Value::Function(x), Value::Function(y)) => known(same_function(x, y)),
            (Value::Closure(x), Value::Closure(y)) => known(x == y),
            (Value::Builtin(x), Value::Builtin(y)) => known(x == y),
            (x, y) => match (family(x)?, family(y)?) {
                (Family::Number, Family::Number) => self.compare_numbers(Comparison::Eq, a, b, span),
                (Family::Array | Family::Annotation, _)
                | (_, Family::Array | Family::Annotation)
                | (Family::Bound, Family::Bound) => Err(self.incomparable(a, b, span)),
                (x, y) => known(x == y),
            },
        }
    }

    /// `a is b`, where that is more than a property of CPython's memory.
    fn identical(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        let known = |truth: bool| Ok(Truth::Known(truth));
        match (&a.value, &b.value) {
            (Value::Array(x), Value::Array(y)) => {
                let types = |node: NodeId| (self.dtype(node), self.shape(node).len());
                if types(x.node) == types(y.node) { Err(self.no_identity(a, b, span)) } else { known(false) }
            }
            (Value::Str(x), Value::Str(y)) if x != y => known(false),
            (Value::Tuple(x), Value::Tuple(y)) | (Value::List(x), Value::List(y)) if x.len() != y.len() => known(false),
            (Value::Builtin(Builtin::Bool), Value::ScalarType(DType::Bool)) => known(false),
            (x, y) => match (family(x)?, family(y)?) {
                (Family::Number, Family::Number) => self.identical_numbers(a, b, span),
                (Family::Annotation, _) | (_, Family::Annotation) => Err(self.no_identity(a, b, span)),
                (x, y) if x != y => known(false),
                // Of these there is one for each value.
                (
                    Family::None
                    | Family::Ellipsis
                    | Family::DType
                    | Family::ScalarType
                    | Family::Module
                    | Family::Function
                    | Family::Closure
                    | Family::Builtin,
                    _,
                ) => self.equal(a, b, span),
                (
                    Family::Number
                    | Family::Array
                    | Family::Str
                    | Family::Tuple
                    | Family::List
                    | Family::Range
                    | Family::Bound,
                    _,
                ) => Err(self.no_identity(a, b, span)),
            },
        }
    }

    fn no_identity(&mut self, a: &Arg, b: &Arg, span: Span) -> Poisoned {
        let (a, b) = (self.describe(&a.value), self.describe(&b.value));
        let message = format!("whether {a} is {b}, the very object, is not defined or not known");
        self.error(span, message, Some("compare values with =="))
    }

    /// Of numbers, bools are one object for each value, and in CPython the ints from −5 to 256.
    fn identical_numbers(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        let kinds = [self.number_dtype(&a.value)?, self.number_dtype(&b.value)?];
        if kinds[0] != kinds[1] {
            return Ok(Truth::Known(false));
        }
        let small = |value: &Value| matches!(value, Value::Number(Number::Int(-5..=256)));
        let unequal = match (&a.value, &b.value) {
            (Value::Number(x), Value::Number(y)) => Comparison::Ne.holds(number::order(*x, *y)),
            _ => false,
        };
        let nan = self.may_be_nan(&a.value) || self.may_be_nan(&b.value);
        if unequal && !nan {
            return Ok(Truth::Known(false));
        }
        if kinds[0] == DType::Bool || kinds[0] == DType::I64 && (small(&a.value) || small(&b.value)) {
            return self.compare_numbers(Comparison::Eq, a, b, span);
        }
        Err(self.no_identity(a, b, span))
    }

    /// Bool, I64 or F64.
    fn number_dtype(&self, value: &Value) -> Eval<DType> {
        match value {
            Value::Number(Number::Bool(_)) | Value::Condition(_) => Ok(DType::Bool),
            Value::Number(Number::Int(_)) | Value::Affine(_) => Ok(DType::I64),
            Value::Number(Number::Float(_)) => Ok(DType::F64),
            Value::Weak(node) => Ok(self.dtype(*node)),
            _ => Err(Poisoned),
        }
    }

    /// `a in b`.
    fn contained(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval<Truth> {
        match &b.value {
            Value::Tuple(items) | Value::List(items) => {
                let mut found = Truth::Known(false);
                for item in items {
                    let item = Arg { value: item.clone(), span: b.span };
                    let here = self.same_or_equal(&item, a, span)?;
                    found = self.joined_truth(true, &found, &here, span)?;
                    if let Truth::Known(true) = found {
                        break;
                    }
                }
                Ok(found)
            }
            Value::Str(text) => match &a.value {
                Value::Str(part) => Ok(Truth::Known(text.contains(part.as_str()))),
                other => {
                    let message = format!("'in' a string needs a string, not {}", self.describe(other));
                    Err(self.error(span, message, None))
                }
            },
            Value::Range(range) => {
                let range = range.clone();
                self.in_range(a, &range, span)
            }
            // Any element equals it.
            Value::Array(array) if !self.shape(array.node).is_empty() => {
                if !matches!(family(&a.value)?, Family::Number | Family::Array) {
                    return Err(self.incomparable(a, b, span));
                }
                let equal = self.compare_arrays(Comparison::Eq, b, a, span)?;
                let axes = (0..self.shape(equal).len()).collect();
                let any = self.fold(FoldOp::Any, equal, axes, span)?;
                self.truth_of_node(any, span)
            }
            other => {
                let construct = format!("'in' {}", self.describe(other));
                let help = "supported: in a tuple, a list, a range, a string or an array";
                Err(self.unsupported(span, &construct, help))
            }
        }
    }

    /// `a in range(…)`.
    fn in_range(&mut self, a: &Arg, range: &Range, span: Span) -> Eval<Truth> {
        let value = match &a.value {
            Value::Number(Number::Float(x)) => match exact_int(*x) {
                Some(value) => Value::Number(Number::Int(value)),
                None => return Ok(Truth::Known(false)),
            },
            Value::Number(Number::Bool(truth)) => Value::Number(Number::Int(i128::from(*truth))),
            Value::Number(_) | Value::Affine(_) => a.value.clone(),
            Value::Weak(node) if !self.dtype(*node).is_float() => a.value.clone(),
            Value::Condition(_) => a.value.clone(),
            Value::Array(array) if self.shape(array.node).is_empty() && !self.dtype(array.node).is_float() => {
                Value::Weak(self.cast(array.node, DType::I64, span)?)
            }
            Value::None | Value::Str(_) | Value::Tuple(_) | Value::List(_) => return Ok(Truth::Known(false)),
            other => {
                let construct = format!("whether {} is in a range", self.describe(other));
                return Err(self.unsupported(span, &construct, "compare it with the bounds"));
            }
        };
        let arg = |value: Value| Arg { value, span };
        let value = arg(value);
        let start = arg(self.form_value(range.start.clone()));
        let stop = arg(self.form_value(range.stop.clone()));
        let [first, last] =
            if range.step > 0 { [Comparison::Ge, Comparison::Lt] } else { [Comparison::Le, Comparison::Gt] };
        let after = self.compare_numbers(first, &value, &start, span)?;
        let before = self.compare_numbers(last, &value, &stop, span)?;
        let inside = self.joined_truth(false, &after, &before, span)?;
        if range.step.unsigned_abs() == 1 || matches!(inside, Truth::Known(false)) {
            return Ok(inside);
        }
        let distance = arg(self.binary_operator(ast::Operator::Sub, &value, &start, span)?);
        let step = arg(Value::Number(Number::Int(i128::from(range.step))));
        let rest = arg(self.binary_operator(ast::Operator::Mod, &distance, &step, span)?);
        let on_step = self.compare_numbers(Comparison::Eq, &rest, &arg(Value::int(0)), span)?;
        self.joined_truth(false, &inside, &on_step, span)
    }
}

/// The dtype that a value stands for beside one: `Some(None)` is one that is not among ours, or none at all; `None` is
/// not known.
fn named_dtype(value: &Value) -> Option<Option<DType>> {
    match value {
        Value::DType(dtype) | Value::ScalarType(dtype) => Some(Some(*dtype)),
        // NumPy's default, also in a comparison.
        Value::Builtin(Builtin::Float) | Value::None => Some(Some(DType::F64)),
        Value::Builtin(Builtin::Int) => Some(Some(DType::I64)),
        Value::Builtin(Builtin::Bool) => Some(Some(DType::Bool)),
        Value::Str(name) => dtype_name(name).map(Result::ok),
        Value::Ellipsis
        | Value::Number(_)
        | Value::Affine(_)
        | Value::Weak(_)
        | Value::Condition(_)
        | Value::Range(_)
        | Value::Module(_)
        | Value::Closure(_)
        | Value::Builtin(_)
        | Value::Function(_) => Some(None),
        Value::Poison
        | Value::Array(_)
        | Value::Tuple(_)
        | Value::List(_)
        | Value::Ufunc(..)
        | Value::Method(..)
        | Value::Annotation => None,
    }
}

/// Whether two functions of NumPy are one: some have several names.
fn same_function(a: &Function, b: &Function) -> bool {
    const ALIASES: [&[&str]; 8] = [
        &["abs", "absolute"],
        &["bitwise_invert", "bitwise_not", "invert"],
        &["concat", "concatenate"],
        &["divide", "true_divide"],
        &["mod", "remainder"],
        &["permute_dims", "transpose"],
        &["pow", "power"],
        &["broadcast_to"],
    ];
    std::ptr::eq(a, b) || ALIASES.iter().any(|names| names.contains(&a.name) && names.contains(&b.name))
}

/// Ranges are equal as sequences; `None` where that depends on loop variables.
fn equal_ranges(a: &Range, b: &Range) -> Option<bool> {
    let facts = |range: &Range| {
        let distance = range.stop.minus(&range.start);
        let known = range.start.is_constant() && range.stop.is_constant();
        let signed = i128::from(distance.constant) * i128::from(range.step.signum());
        let length = u128::try_from(signed.max(0)).ok()?.div_ceil(u128::from(range.step.unsigned_abs()));
        known.then_some((length, range.start.constant, range.step))
    };
    let ((length, start, step), (other_length, other_start, other_step)) = (facts(a)?, facts(b)?);
    let same = length == 0 || start == other_start && (length == 1 || step == other_step);
    Some(length == other_length && same)
}
