//! The abstract interpreter: runs a function's body on nodes instead of arrays.
//!
//! Input: the syntax tree. Output: nodes, and errors. A value in error becomes [`Value::Poison`], which later
//! operations pass on in silence, so that each error reported is one of its own.

use super::carry::{Facts, Slot};
use super::error::{FrontendError, line_column};
use super::liveness::Liveness;
use super::number::Number;
use super::place::{Here, Places};
use super::twins::{Open, Twins};
use super::value::{Array, Storage, Value};
use crate::frontend::numpy_order::Layouts;
use crate::integer::affine::Affine;
use crate::integer::affine_domain::Domain;
use crate::program::expr::{Check, Node, NodeId, Op, Span, State, Statement};
use crate::value::dtype::{DType, Literal};
use rustpython_ruff_python_ast::{Expr, Parameters, Stmt};
use rustpython_ruff_text_size::{Ranged, TextRange};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The mark of a failure that is already reported, or of an argument in error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poisoned;

/// A result whose error is already reported.
pub(super) type Eval<T = Value> = Result<T, Poisoned>;

/// Index of a frame.
pub(super) type FrameId = usize;

/// The names of one call.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The frame in which the function was defined.
    pub(super) parent: Option<FrameId>,
    /// Names that the function's body assigns somewhere.
    pub(super) locals: BTreeSet<String>,
    /// The values of those assigned so far.
    pub(super) names: BTreeMap<String, Value>,
    /// Names that are one state through all iterations of an open loop, or in all branches of an open condition.
    pub(super) carried: BTreeMap<String, Slot>,
    /// Names that a loop or a branch assigned and that have no one value after it.
    pub(super) lost: BTreeSet<String>,
    /// Which names are read after each statement of the body.
    pub(super) liveness: Rc<Liveness>,
}

/// The code of a function or lambda, and where it was defined.
#[derive(Clone, Debug)]
pub(super) struct Closure<'s> {
    pub(super) name: &'s str,
    pub(super) parameters: Option<&'s Parameters>,
    pub(super) body: Body<'s>,
    pub(super) frame: FrameId,
    /// Values of the parameters' defaults, by name.
    pub(super) defaults: BTreeMap<&'s str, Value>,
}

/// What a call runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'s> {
    /// A `def`'s statements.
    Statements(&'s [Stmt]),
    /// A lambda's expression.
    Expression(&'s Expr),
}

/// What tells an array with an order of its own in memory apart: operator, arguments, shape, and the array it lies like.
type OwnKey = (Op, Vec<NodeId>, Vec<usize>, Option<NodeId>);

/// Identity of a node, for sharing.
type NodeKey = (Op, Vec<NodeId>, Vec<usize>, Vec<Affine>, DType);

/// The state of one reading.
pub(super) struct Evaluator<'s> {
    pub(super) source: &'s str,
    pub(super) nodes: Vec<Node>,
    /// How NumPy lays out each node, as far as a sum has asked.
    pub(super) layouts: Layouts,
    /// For each node whether a state's contents make a difference.
    pub(super) reads_state: Vec<bool>,
    /// For each node whether a loop's variable makes a difference.
    pub(super) in_loop: Vec<bool>,
    pub(super) shared: HashMap<NodeKey, NodeId>,
    /// Arrays with an order of their own in memory.
    pub(super) owned: HashMap<OwnKey, NodeId>,
    pub(super) errors: Vec<FrontendError>,
    pub(super) frames: Vec<Frame>,
    pub(super) frame: FrameId,
    pub(super) closures: Vec<Closure<'s>>,
    /// The calls being inlined: closure and place of the call.
    pub(super) calls: Vec<(usize, Span)>,
    /// The numbers of places, which readings share.
    pub(super) places: Places,
    /// The place that is being read.
    pub(super) here: Here,
    /// How often each position was entered in each place.
    pub(super) visits: BTreeMap<(usize, usize), usize>,
    /// When each piece of memory was made: how many had been made then.
    pub(super) made: BTreeMap<Storage, usize>,
    /// How many pieces of memory were made.
    pub(super) clock: usize,
    /// The unrolled loops before which more iterations are to come in the next reading.
    pub(super) demanded: BTreeSet<usize>,
    /// States of memory that was made in an unrolled loop, to be used again.
    pub(super) reusable: BTreeMap<Storage, usize>,
    /// How many unrolled loops are open.
    pub(super) unrolled: usize,
    /// An unrolled loop of which this reading found out something new.
    pub(super) unsettled: Option<Span>,
    /// How many copies of bodies of unrolled loops were read.
    pub(super) bodies: usize,
    /// Memory of values that no name holds yet.
    pub(super) pending: Vec<Storage>,
    /// Pairs of memory here that may be one in NumPy.
    pub(super) twins: Twins,
    /// For each state's memory of a carried name the loops whose iterations it merges.
    pub(super) merged: BTreeMap<Storage, Vec<usize>>,
    /// The open loops and conditions of all functions.
    pub(super) open: Vec<Open>,
    /// Memory that belongs to the caller of the workload, with the parameter.
    pub(super) parameters: BTreeMap<Storage, usize>,
    /// What earlier readings found out.
    pub(super) known: Facts,
    /// What earlier readings found out, and this one.
    pub(super) facts: Facts,
    /// The arrays that statements change.
    pub(super) states: Vec<State>,
    /// States that are called by a name of the source.
    pub(super) named: BTreeSet<usize>,
    /// Memory that is a state.
    pub(super) memory: BTreeMap<Storage, usize>,
    /// Memory that NumPy would share with an array of which it is the part at integers that only a run knows.
    pub(super) loose: BTreeSet<Storage>,
    /// States of [`Frame::carried`], each with its memory.
    pub(super) slots: BTreeMap<usize, Storage>,
    /// What must hold for there to be results: a bool scalar each, with the expression it belongs to.
    pub(super) checks: Vec<(NodeId, Check)>,
    /// The statements of the program, of the open loop, of the open condition in it, …
    pub(super) blocks: Vec<Vec<Statement>>,
    /// The open loops and conditions.
    pub(super) domain: Domain,
    /// The name of each loop's variable.
    pub(super) loops: Vec<String>,
    /// How many loops and conditions were read.
    pub(super) joins: usize,
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
            source,
            nodes: Vec::new(),
            layouts: Layouts::default(),
            reads_state: Vec::new(),
            in_loop: Vec::new(),
            shared: HashMap::new(),
            owned: HashMap::new(),
            errors: Vec::new(),
            frames: vec![Frame::default()],
            frame: 0,
            closures: Vec::new(),
            calls: Vec::new(),
            places: Places::default(),
            here: Here::default(),
            visits: BTreeMap::new(),
            made: BTreeMap::new(),
            clock: 0,
            demanded: BTreeSet::new(),
            reusable: BTreeMap::new(),
            unrolled: 0,
            unsettled: None,
            bodies: 0,
            pending: Vec::new(),
            twins: Twins::default(),
            merged: BTreeMap::new(),
            open: Vec::new(),
            parameters: BTreeMap::new(),
            known: facts.clone(),
            facts,
            states: Vec::new(),
            named: BTreeSet::new(),
            memory: BTreeMap::new(),
            loose: BTreeSet::new(),
            slots: BTreeMap::new(),
            checks: Vec::new(),
            blocks: vec![Vec::new()],
            domain: Domain::default(),
            loops: Vec::new(),
            joins: 0,
            whole_call: None,
            inner_calls: Vec::new(),
            depth: 0,
            inlined: 0,
        }
    }

    /// Records an error, once for each place and message.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) -> Poisoned {
        let message = message.into();
        if self.errors.iter().any(|error| error.span == span && error.message == message) {
            return Poisoned;
        }
        let (line, column) = line_column(self.source, span.start);
        let mut help = help.map(str::to_owned);
        if let Some(&(closure, call)) = self.calls.get(1..).and_then(<[_]>::last) {
            let (call_line, _) = line_column(self.source, call.start);
            let note = format!("{} was called from line {call_line}", self.closures[closure].name);
            help = Some(help.map_or(note.clone(), |help| format!("{help}; {note}")));
        }
        let label = if message.ends_with("supported") { "not supported" } else { "here" }.to_owned();
        self.errors.push(FrontendError { message, help, label, span, line, column });
        Poisoned
    }

    /// Records that a construct is outside the language.
    pub(super) fn unsupported(&mut self, span: Span, construct: &str, supported: &str) -> Poisoned {
        self.error(span, format!("{construct} is not supported"), Some(supported))
    }

    /// The value of a name: local, enclosing, global, or Python's own.
    pub(super) fn lookup(&mut self, name: &str, span: Span) -> Eval {
        let mut frame = Some(self.frame);
        while let Some(id) = frame {
            if let Some(value) = self.frames[id].names.get(name) {
                return if let Value::Poison = value { Err(Poisoned) } else { Ok(value.clone()) };
            }
            if self.frames[id].lost.contains(name) {
                let message = format!("the name '{name}' has no one value after the loop or condition that assigns it");
                let help = "assign it before the loop or in every branch, or compute it again here";
                return Err(self.error(span, message, Some(help)));
            }
            if id != 0 && self.frames[id].locals.contains(name) {
                let message = format!("the local name '{name}' is used before it is assigned");
                return Err(self.error(span, message, None));
            }
            frame = self.frames[id].parent;
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
                let mut names: BTreeSet<&str> = BTreeSet::new();
                let mut frame = Some(self.frame);
                while let Some(id) = frame {
                    names.extend(self.frames[id].names.keys().map(String::as_str));
                    frame = self.frames[id].parent;
                }
                format!("names here: {}", names.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        Err(self.error(span, format!("the name '{name}' is not defined"), Some(&help)))
    }

    pub(super) fn bind(&mut self, name: &str, value: Value) {
        let frame = self.frame;
        self.frames[frame].lost.remove(name);
        self.frames[frame].names.insert(name.to_owned(), value);
    }

    /// How many names hold memory that `array` shares.
    pub(super) fn holders(&self, array: &Array) -> usize {
        array.storage.map_or(0, |storage| self.holders_of(storage))
    }

    /// How many names, and values on their way to one, hold a piece of memory.
    pub(super) fn holders_of(&self, storage: Storage) -> usize {
        let holds = |value: &&Value| {
            let mut found = false;
            value.arrays(&mut |held| found |= held.storage == Some(storage));
            found
        };
        let names = self.frames.iter().flat_map(|frame| frame.names.values());
        let defaults = self.closures.iter().flat_map(|closure| closure.defaults.values());
        let pending = self.pending.iter().filter(|held| **held == storage).count();
        names.chain(defaults).filter(holds).count() + pending
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

/// The byte range of a piece of syntax.
pub(super) fn span_of(node: &impl Ranged) -> Span {
    span_of_range(node.range())
}

/// The byte range as a [`Span`].
pub(super) fn span_of_range(range: TextRange) -> Span {
    Span { start: range.start().to_usize(), end: range.end().to_usize() }
}
