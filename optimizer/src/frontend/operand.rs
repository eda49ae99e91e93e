//! The operands of NumPy's operations: what a value is as one, and its node at a dtype.
//!
//! Input: values. Output: operands, nodes. Nested lists of numbers become arrays here.

use super::evaluate::Evaluator;
use super::number::Number;
use super::promote::{self, Kind};
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::program::expr::{NodeId, Op, Span};
use crate::value::dtype::DType;

/// An operand of a NumPy operation.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A Python number, weak in promotion.
    Scalar(Number),
    /// A Python number that is not known at compile time, weak too.
    Weak(NodeId),
    /// A node.
    Node(NodeId),
}

impl Evaluator<'_> {
    /// The operand that a value is; lists of numbers become arrays, as in NumPy.
    pub(super) fn operand(&mut self, arg: &Arg, what: &str) -> Eval<Operand> {
        match &arg.value {
            Value::Number(_) | Value::Affine(_) | Value::Weak(_) | Value::Condition(_) => {
                self.number_operand(arg)?.ok_or(Poisoned)
            }
            _ => Ok(Operand::Node(self.array(arg, what)?.node)),
        }
    }

    /// The array that a value is, a Python number with the dtype NumPy gives it by itself.
    pub(super) fn array(&mut self, arg: &Arg, what: &str) -> Eval<Array> {
        match &arg.value {
            Value::Poison => Err(Poisoned),
            Value::Array(array) => Ok(array.clone()),
            Value::Affine(_) | Value::Weak(_) | Value::Condition(_) => match self.number_operand(arg)? {
                Some(Operand::Weak(node) | Operand::Node(node)) => Ok(self.fresh(node)),
                Some(Operand::Scalar(_)) | None => Err(Poisoned),
            },
            Value::Number(_) | Value::List(_) | Value::Tuple(_) => {
                let node = from_literals(self, arg, None)?;
                Ok(self.fresh(node))
            }
            other => {
                let message = format!("{what} needs an array or a number, not {}", self.describe(other));
                Err(self.error(arg.span, message, None))
            }
        }
    }

    /// What kind of number an operand is, for promotion.
    pub(super) fn kind(&self, operand: &Operand) -> Kind {
        match operand {
            Operand::Scalar(number) => Kind::from(*number),
            Operand::Node(node) => Kind::Strong(self.dtype(*node)),
            Operand::Weak(node) => match self.dtype(*node) {
                DType::Bool => Kind::Strong(DType::Bool),
                dtype if dtype.is_int() => Kind::WeakInt,
                _ => Kind::WeakFloat,
            },
        }
    }

    /// The operand's node at `dtype`.
    pub(super) fn at_dtype(&mut self, operand: &Operand, dtype: DType, span: Span) -> Eval<NodeId> {
        match operand {
            Operand::Scalar(number) => self.number_node(*number, dtype, span),
            Operand::Node(node) | Operand::Weak(node) => self.cast(*node, dtype, span),
        }
    }

    /// An operand as a node by itself.
    pub(super) fn strong(&mut self, operand: &Operand, span: Span) -> Eval<NodeId> {
        let dtype = promote::common([self.kind(operand)]);
        self.at_dtype(operand, dtype, span)
    }
}

/// The node of nested lists of numbers, or of arrays.
pub(super) fn from_literals(evaluator: &mut Evaluator<'_>, arg: &Arg, dtype: Option<DType>) -> Eval<NodeId> {
    let mut leaves = Vec::new();
    let mut shape = Vec::new();
    flatten(evaluator, &arg.value, 0, &mut shape, &mut leaves, arg.span)?;
    let mut kinds = Vec::with_capacity(leaves.len());
    for leaf in &leaves {
        kinds.push(match leaf {
            // Lists promote their elements as arrays of the default types.
            Operand::Scalar(number) => Kind::Strong(promote::common([Kind::from(*number)])),
            Operand::Node(node) | Operand::Weak(node) => Kind::Strong(evaluator.dtype(*node)),
        });
    }
    let dtype = dtype.unwrap_or_else(|| promote::common(kinds));
    let mut nodes = Vec::with_capacity(leaves.len());
    let mut literals = Vec::with_capacity(leaves.len());
    for leaf in &leaves {
        if let Operand::Scalar(number) = leaf {
            match promote::literal(*number, dtype) {
                Ok(literal) => literals.push(literal),
                Err(message) => return Err(evaluator.error(arg.span, message, None)),
            }
        } else {
            let node = evaluator.at_dtype(leaf, dtype, arg.span)?;
            match evaluator.known_literal(node) {
                Some(literal) => literals.push(literal),
                None => nodes.push(node),
            }
        }
    }
    if nodes.is_empty() {
        return evaluator.literals(literals, shape, dtype, arg.span);
    }
    // Elements that are computed: each a row of a concatenation.
    let inner = evaluator.shape(nodes[0]).to_vec();
    let mut rows = Vec::with_capacity(leaves.len());
    for leaf in &leaves {
        let node = evaluator.at_dtype(leaf, dtype, arg.span)?;
        if evaluator.shape(node) != inner {
            return Err(evaluator.error(arg.span, "the elements of the list differ in shape", None));
        }
        let row = [vec![1], inner.clone()].concat();
        rows.push(evaluator.reshape(node, row, arg.span)?);
    }
    let stacked = [vec![rows.len()], inner.clone()].concat();
    let node = evaluator.emit(Op::Concat { axis: 0 }, rows, stacked, dtype, arg.span)?;
    evaluator.reshape(node, [shape, inner].concat(), arg.span)
}

/// Collects the leaves of nested sequences, and the shape, which must be regular.
fn flatten(
    evaluator: &mut Evaluator<'_>,
    value: &Value,
    depth: usize,
    shape: &mut Vec<usize>,
    leaves: &mut Vec<Operand>,
    span: Span,
) -> Eval<()> {
    match value {
        Value::Poison => Err(Poisoned),
        Value::List(items) | Value::Tuple(items) => {
            if shape.len() == depth && leaves.is_empty() {
                shape.push(items.len());
            }
            if shape.get(depth) != Some(&items.len()) {
                return Err(evaluator.error(span, "the nested lists differ in length", None));
            }
            for item in items {
                flatten(evaluator, item, depth + 1, shape, leaves, span)?;
            }
            Ok(())
        }
        Value::Number(_) | Value::Array(_) | Value::Affine(_) | Value::Weak(_) | Value::Condition(_) => {
            if shape.len() != depth {
                return Err(evaluator.error(span, "the nested lists differ in depth", None));
            }
            leaves.push(match value {
                Value::Array(array) => Operand::Node(array.node),
                number => {
                    let arg = Arg { value: number.clone(), span };
                    evaluator.number_operand(&arg)?.ok_or(Poisoned)?
                }
            });
            Ok(())
        }
        other => {
            let message = format!("an array cannot hold {}", evaluator.describe(other));
            Err(evaluator.error(span, message, Some("supported: nested lists and tuples of numbers")))
        }
    }
}
