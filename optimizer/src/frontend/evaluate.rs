//! The abstract interpreter: runs a function's body on nodes instead of arrays.
//!
//! Input: the syntax tree. Output: nodes, and errors. A value in error becomes [`Value::Poison`], which later
//! operations pass on in silence, so that each error reported is one of its own.

use super::control::Control;
use super::diagnostics::Diagnostics;
use super::facts::{Facts, Learned};
use super::frames::{Found, Names};
use super::graph::Graph;
use super::number::Number;
use super::place::Position;
use super::store::Store;
use super::value::{Array, Eval, Poisoned, Storage, Value};
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::{DType, Literal};

/// The state of one reading.
pub(super) struct Evaluator<'s> {
    pub(super) graph: Graph,
    pub(super) diagnostics: Diagnostics<'s>,
    pub(super) names: Names<'s>,
    /// Where the reading is.
    pub(super) position: Position,
    /// The memory of the program.
    pub(super) store: Store,
    /// What readings found out.
    pub(super) learned: Learned,
    /// The statements made so far, and what they are in.
    pub(super) control: Control,
    /// The call that is all of a statement's value.
    pub(super) whole_call: Option<Span>,
    /// The number of states when each call began that is not all of a statement's value.
    pub(super) inner_calls: Vec<usize>,
    /// How deep the expression being evaluated is nested.
    pub(super) depth: usize,
    /// How many calls have been inlined.
    pub(super) inlined: usize,
}

impl<'s> Evaluator<'s> {
    pub(super) fn new(source: &'s str, facts: Facts) -> Evaluator<'s> {
        Evaluator {
            graph: Graph::default(),
            diagnostics: Diagnostics::new(source),
            names: Names::default(),
            position: Position::default(),
            store: Store::default(),
            learned: Learned::new(facts),
            control: Control::default(),
            whole_call: None,
            inner_calls: Vec::new(),
            depth: 0,
            inlined: 0,
        }
    }

    /// Records an error, once for each place and message.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) -> Poisoned {
        self.diagnostics.error(span, message.into(), help)
    }

    /// Records that a construct is outside the language.
    pub(super) fn unsupported(&mut self, span: Span, construct: &str, supported: &str) -> Poisoned {
        self.error(span, format!("{construct} is not supported"), Some(supported))
    }

    /// The value of a name: local, enclosing, global, or Python's own.
    pub(super) fn lookup(&mut self, name: &str, span: Span) -> Eval {
        match self.names.find(name) {
            Found::Bound(Value::Poison) => return Err(Poisoned),
            Found::Bound(value) => return Ok(value.clone()),
            Found::Lost => {
                let message = format!("the name '{name}' has no one value after the loop or condition that assigns it");
                let help = "assign it before the loop or in every branch, or compute it again here";
                return Err(self.error(span, message, Some(help)));
            }
            Found::Unassigned => {
                let message = format!("the local name '{name}' is used before it is assigned");
                return Err(self.error(span, message, None));
            }
            Found::Unknown => {}
        }
        if let Some(builtin) = super::value::Builtin::from_name(name) {
            return Ok(Value::Builtin(builtin));
        }
        let help = match name {
            "enumerate" | "zip" | "map" | "filter" | "reversed" => "loops run over range(…)".to_owned(),
            "print" => "a workload has no side effects".to_owned(),
            "sum" | "any" | "all" => format!("write np.{name} or an array method"),
            "round" => "write np.floor(x + 0.5), which rounds halves up".to_owned(),
            "np" => "add 'import numpy as np'".to_owned(),
            _ => {
                let names = self.names.visible();
                format!("names here: {}", names.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        Err(self.error(span, format!("the name '{name}' is not defined"), Some(&help)))
    }

    pub(super) fn bind(&mut self, name: &str, value: Value) {
        self.names.bind(name, value);
    }

    /// How many names hold memory that `array` shares.
    pub(super) fn holders(&self, array: &Array) -> usize {
        array.storage.map_or(0, |storage| self.holders_of(storage))
    }

    /// How many names, and values on their way to one, hold a piece of memory.
    pub(super) fn holders_of(&self, storage: Storage) -> usize {
        self.names.holders(storage)
    }

    /// The integer that a value is at compile time.
    pub(super) fn known_int(&self, value: &Value) -> Option<i128> {
        match value {
            Value::Number(number) => number.as_int(),
            Value::Array(array) if self.dtype(array.node).is_int() => {
                self.known_literal(array.node).and_then(Literal::as_i64).map(i128::from)
            }
            _ => None,
        }
    }

    /// What a value is, for messages.
    pub(super) fn describe(&self, value: &Value) -> String {
        match value {
            Value::Poison => "a value in error".to_owned(),
            Value::None => "None".to_owned(),
            Value::Ellipsis => "...".to_owned(),
            Value::Number(number) => format!("the Python {} {number}", number.type_name()),
            Value::Affine(_) => "an int that depends on a loop's variable".to_owned(),
            Value::Weak(node) => {
                let dtype = self.dtype(*node);
                let name = if dtype.is_float() {
                    "float"
                } else if dtype.is_int() {
                    "int"
                } else {
                    "bool"
                };
                format!("a Python {name} that is not known at compile time")
            }
            Value::Condition(_) => "a bool that depends on a loop's variable".to_owned(),
            Value::Range(_) => "a range".to_owned(),
            Value::Str(text) => format!("the string {text:?}"),
            Value::DType(dtype) => format!("the dtype {dtype}"),
            Value::ScalarType(dtype) => format!("the type of {dtype} numbers"),
            Value::Array(array) => {
                let (dtype, scalar) = (self.dtype(array.node), self.shape(array.node).is_empty());
                match self.known_literal(array.node) {
                    Some(literal) if scalar => format!("the NumPy {dtype} {literal}"),
                    None if scalar => format!("a NumPy {dtype} that is not known at compile time"),
                    Some(_) | None => format!("an array of {dtype} and shape {}", self.show_node(array.node)),
                }
            }
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Module(name) => format!("the module {name}"),
            Value::Function(function) | Value::Ufunc(function, _) | Value::Method(_, function) => {
                format!("the function {}", function.name)
            }
            Value::Closure(_) => "a local function".to_owned(),
            Value::Builtin(builtin) => format!("the builtin {}", builtin.name()),
            Value::Annotation => "a name for annotations".to_owned(),
        }
    }

    /// `number` as a Python value's node with the dtype NumPy gives it by itself.
    pub(super) fn number_node(&mut self, number: Number, dtype: DType, span: Span) -> Eval<NodeId> {
        match super::promote::literal(number, dtype) {
            Ok(literal) => self.constant(literal, dtype, span),
            Err(message) => {
                let help = "widen the array with astype, or choose a smaller constant";
                Err(self.error(span, message, Some(help)))
            }
        }
    }
}
