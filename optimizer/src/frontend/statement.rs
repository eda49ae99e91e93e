//! Executes Python statements.

use super::emit::show;
use super::evaluate::Evaluator;
use super::frames::{Body, Closure};
use super::operand::Operand;
use super::promote;
use super::scatter::Scattered;
use super::subscript::{Picked, Selection};
use super::syntax::{assigned, has_return, span_of};
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::program::expr::NodeId;
use rustpython_ruff_python_ast::{self as ast, Expr, Stmt};
use std::collections::BTreeSet;

/// Where control goes after a statement.
pub(super) enum Flow {
    /// To the next statement.
    Next,
    /// Out of the function.
    Return(Arg),
}

/// The elements that an assignment by subscript writes to.
enum Target {
    /// One, named by integers alone.
    Element(Array),
    /// A view.
    View(Array),
    /// Those of an array that arrays of integers name.
    Picked(Array, Picked),
}

const SUPPORTED: &str = "supported statements: assignment, for over range, def, return, if on compile-time values and loop variables, assert, \
     import, pass";

impl<'s> Evaluator<'s> {
    /// Runs statements in order.
    pub(super) fn block(&mut self, body: &'s [Stmt]) -> Flow {
        for statement in body {
            match self.statement(statement) {
                Flow::Next => {}
                returned @ Flow::Return(_) => return returned,
            }
        }
        Flow::Next
    }

    pub(super) fn statement(&mut self, statement: &'s Stmt) -> Flow {
        let outer = self.position.enter(span_of(statement).start);
        let flow = self.execute(statement);
        self.position.leave(outer);
        flow
    }

    fn execute(&mut self, statement: &'s Stmt) -> Flow {
        match statement {
            Stmt::Return(ret) => {
                let nothing = Arg { value: Value::None, span: span_of(ret) };
                return Flow::Return(ret.value.as_deref().map_or(nothing, |value| self.whole_value(value)));
            }
            Stmt::If(conditional) => {
                let test = self.arg(&conditional.test);
                return self.decide(conditional, &test, &conditional.body, &conditional.elif_else_clauses);
            }
            Stmt::For(block) => return self.for_loop(block),
            Stmt::Assign(assign) => {
                let mut value = self.whole_value(&assign.value);
                if let [Expr::Name(name)] = assign.targets.as_slice() {
                    value.value = self.in_place_of(name.id.as_str(), value.value);
                } else if assign.targets.len() > 1 {
                    value.value = self.settled(None, value.value, value.span);
                }
                for target in &assign.targets {
                    self.assign(target, &value);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    let value = self.whole_value(value);
                    self.assign(&assign.target, &value);
                }
            }
            Stmt::AugAssign(assign) => self.augmented(assign),
            Stmt::FunctionDef(def) => self.define(def),
            Stmt::Import(import) => self.import(import),
            Stmt::ImportFrom(import) => self.import_from(import),
            Stmt::Assert(assert) => {
                let test = self.arg(&assert.test);
                if let Ok(false) = self.truth(&test.value, test.span) {
                    self.error(test.span, "the assertion does not hold", None);
                }
            }
            Stmt::Expr(expr) => {
                // A docstring, or a call of a local function for its effect.
                if !matches!(*expr.value, Expr::StringLiteral(_) | Expr::EllipsisLiteral(_)) {
                    let value = self.whole_value(&expr.value).value;
                    let effect = matches!(value, Value::None) && matches!(*expr.value, Expr::Call(_));
                    if !effect && !matches!(value, Value::Poison) {
                        self.error(span_of(expr), "the value of this expression is not used", None);
                    }
                }
            }
            Stmt::Pass(_) => {}
            Stmt::Delete(delete) => {
                for target in &delete.targets {
                    if let Expr::Name(name) = target {
                        self.names.unbind(name.id.as_str());
                    } else {
                        self.unsupported(span_of(target), "del of anything but a name", "del x");
                    }
                }
            }
            Stmt::While(_) => self.refuse(statement, "a 'while' loop", "write for k in range(n) with a number of iterations that is known, and keep with np.where what shall no longer change"),
            Stmt::With(_) => self.refuse(statement, "'with'", SUPPORTED),
            Stmt::Try(_) => self.refuse(statement, "'try'", SUPPORTED),
            Stmt::Raise(_) => self.refuse(statement, "'raise'", SUPPORTED),
            Stmt::ClassDef(_) => self.refuse(statement, "'class'", SUPPORTED),
            Stmt::Match(_) => self.refuse(statement, "'match'", SUPPORTED),
            Stmt::Global(_) | Stmt::Nonlocal(_) => {
                self.refuse(statement, "'global' or 'nonlocal'", "pass values as arguments and return them");
            }
            Stmt::TypeAlias(_) => self.refuse(statement, "'type'", SUPPORTED),
            Stmt::Break(_) => self.refuse(statement, "'break'", "let the range end earlier, or select with np.where"),
            Stmt::Continue(_) => self.refuse(
                statement,
                "'continue'",
                "write an 'if' around the rest of the body, or select with np.where",
            ),
            Stmt::IpyEscapeCommand(_) => self.refuse(statement, "an IPython command", SUPPORTED),
        }
        Flow::Next
    }

    /// Reports a statement outside the language; the names it would have assigned are in error from here on.
    fn refuse(&mut self, statement: &'s Stmt, construct: &str, supported: &str) {
        let mut span = span_of(statement);
        // The first line is enough to point at.
        let text = self.diagnostics.source().get(span.start..span.end).unwrap_or("");
        span.end = span.start + text.find('\n').unwrap_or(text.len());
        self.unsupported(span, construct, supported);
        self.poison(std::slice::from_ref(statement));
    }

    /// The value of a statement, which may be a call that changes arrays.
    fn whole_value(&mut self, expr: &'s Expr) -> Arg {
        let call = matches!(expr, Expr::Call(_)).then(|| span_of(expr));
        let outer = std::mem::replace(&mut self.whole_call, call);
        let value = self.arg(expr);
        self.whole_call = outer;
        value
    }

    pub(super) fn poison(&mut self, body: &'s [Stmt]) {
        let mut names = BTreeSet::new();
        assigned(body, &mut names);
        for name in names {
            self.bind(&name, Value::Poison);
        }
    }

    /// After a condition in error, whatever a branch assigns or returns is in error.
    pub(super) fn undecided(&mut self, conditional: &'s ast::StmtIf) -> Flow {
        self.poison(&conditional.body);
        let mut returns = has_return(&conditional.body);
        for clause in &conditional.elif_else_clauses {
            self.poison(&clause.body);
            returns |= has_return(&clause.body);
        }
        let poison = Arg { value: Value::Poison, span: span_of(&*conditional.test) };
        if returns { Flow::Return(poison) } else { Flow::Next }
    }

    /// `def`.
    pub(super) fn define(&mut self, def: &'s ast::StmtFunctionDef) {
        let name = def.name.as_str();
        if let Some(decorator) = def.decorator_list.first() {
            self.unsupported(span_of(decorator), "a decorator", "write a plain function");
        }
        if def.is_async {
            self.unsupported(span_of(&def.name), "'async'", "write a plain function");
        }
        let mut seen = BTreeSet::new();
        for parameter in def.parameters.iter_non_variadic_params() {
            let parameter = &parameter.parameter;
            if !seen.insert(parameter.name.as_str()) {
                let message = format!("two parameters are named '{}'", parameter.name.as_str());
                self.error(span_of(&parameter.name), message, None);
            }
        }
        let defaults = self.defaults(Some(&def.parameters));
        let id = self.names.define(Closure {
            name,
            parameters: Some(&def.parameters),
            body: Body::Statements(&def.body),
            frame: self.names.frame(),
            defaults,
        });
        let value = Value::Closure(id);
        self.bind(name, value);
    }

    fn assign(&mut self, target: &'s Expr, value: &Arg) {
        match target {
            Expr::Name(name) => self.assign_name(name.id.as_str(), value),
            Expr::Tuple(ast::ExprTuple { elts, .. }) | Expr::List(ast::ExprList { elts, .. }) => {
                let mut items = self.unpack(elts, value, target);
                // All of them are values before the first is assigned.
                for item in items.iter_mut().flatten().skip(1) {
                    *item = self.settled(None, std::mem::replace(item, Value::None), value.span);
                }
                let others = self.names.pending();
                for item in items.iter().flatten() {
                    self.names.hold(item);
                }
                for (at, element) in elts.iter().enumerate() {
                    let item = items.as_ref().map_or(Value::Poison, |items| items[at].clone());
                    self.names.release(&item, others);
                    self.assign(element, &Arg { value: item, span: value.span });
                }
                self.names.release_all(others);
            }
            Expr::Subscript(subscript) => {
                // An error is reported; there is nothing to poison.
                let _ = match self.element_target(subscript) {
                    Ok(Target::Element(array)) => match self.one_number(value) {
                        Ok(()) => self.write(&array, value, span_of(target)),
                        Err(Poisoned) => Ok(()),
                    },
                    Ok(Target::View(array)) => self.write(&array, value, span_of(target)),
                    Ok(Target::Picked(array, picked)) => {
                        self.scatter(&array, &picked, &Scattered::Assigned(value), span_of(target))
                    }
                    Err(Poisoned) => Ok(()),
                };
            }
            Expr::Starred(_) => {
                self.unsupported(span_of(target), "'*' in an assignment", "name every element");
            }
            Expr::Attribute(attribute) if attribute.attr.as_str() == "shape" => {
                self.unsupported(span_of(target), "assignment to .shape", "write y = y.reshape(…)");
            }
            _ => {
                self.unsupported(span_of(target), "this target of an assignment", "assign to names");
            }
        }
    }

    /// The elements of a value that is unpacked, as many as there are targets; `None` where it is in error.
    fn unpack(&mut self, targets: &[Expr], value: &Arg, place: &Expr) -> Option<Vec<Value>> {
        let items = match &value.value {
            Value::Poison => return None,
            Value::Tuple(items) | Value::List(items) => items.clone(),
            Value::Array(array) if self.shape(array.node).first() == Some(&targets.len()) => {
                let array = array.clone();
                let mut rows = Vec::with_capacity(targets.len());
                for at in 0..targets.len() {
                    let node = self.index(array.node, 0, at, value.span).ok()?;
                    let scalar = self.shape(node).is_empty();
                    rows.push(if scalar { Value::Array(self.fresh(node)) } else { self.view(node, &array) });
                }
                rows
            }
            Value::Array(array) => {
                let shape = show(self.shape(array.node));
                let message = format!("an array of shape {shape} does not unpack into {} names", targets.len());
                self.error(span_of(place), message, None);
                return None;
            }
            other => {
                let message = format!("{} cannot be unpacked", self.describe(other));
                self.error(value.span, message, None);
                return None;
            }
        };
        if items.len() == targets.len() {
            return Some(items);
        }
        let message = format!("{} values do not unpack into {} names", items.len(), targets.len());
        self.error(span_of(place), message, None);
        None
    }

    /// The elements that a subscript assigns to.
    fn element_target(&mut self, subscript: &'s ast::ExprSubscript) -> Eval<Target> {
        let base = self.arg(&subscript.value);
        match &base.value {
            Value::Poison => return Err(Poisoned),
            Value::Array(Array { storage: Some(_), .. }) => {}
            Value::Array(_) => {
                return Err(self.error(base.span, "a NumPy scalar has no elements to assign to", None));
            }
            other => {
                let construct = format!("assignment to elements of {}", self.describe(other));
                return Err(self.unsupported(span_of(subscript), &construct, "supported: elements of arrays"));
            }
        }
        let Value::Array(array) = base.value else { return Err(Poisoned) };
        match self.selection(&array, &subscript.slice, span_of(subscript))? {
            Selection::Basic(Value::Array(part)) => {
                let element = part.storage.is_none();
                let part = Array { storage: array.storage, writable: array.writable, ..part };
                Ok(if element { Target::Element(part) } else { Target::View(part) })
            }
            Selection::Basic(_) => Err(Poisoned),
            Selection::Picked(picked) => Ok(Target::Picked(array, picked)),
        }
    }

    /// Refuses an array as a single element, also one that has only one.
    fn one_number(&mut self, value: &Arg) -> Eval<()> {
        let is_array = match &value.value {
            Value::Array(array) => !self.shape(array.node).is_empty(),
            Value::Tuple(_) | Value::List(_) => true,
            _ => false,
        };
        if is_array {
            let message = format!("{} cannot be assigned to one element", self.describe(&value.value));
            return Err(self.error(value.span, message, Some("index it, as in x[0], or assign to a slice")));
        }
        Ok(())
    }

    fn augmented(&mut self, assign: &'s ast::StmtAugAssign) {
        match &*assign.target {
            Expr::Name(name) => {
                let name = name.id.as_str();
                match self.augmented_name(assign, name) {
                    Ok(Some(value)) => self.assign_name(name, &Arg { value, span: span_of(assign) }),
                    Ok(None) => {}
                    Err(Poisoned) => self.bind(name, Value::Poison),
                }
            }
            Expr::Subscript(subscript) => {
                let _ = self.augmented_elements(assign, subscript);
            }
            _ => {
                self.unsupported(span_of(&*assign.target), "this target of an assignment", "assign to names");
            }
        }
    }

    /// `array[subscript] op= value`.
    fn augmented_elements(&mut self, assign: &'s ast::StmtAugAssign, subscript: &'s ast::ExprSubscript) -> Eval<()> {
        let span = span_of(assign);
        let target = self.element_target(subscript)?;
        let old = match &target {
            Target::Element(array) | Target::View(array) => Value::Array(array.clone()),
            // All of them are read before any is written.
            Target::Picked(_, picked) => self.gathered(picked, span_of(subscript))?,
        };
        let value = self.whole_value(&assign.value);
        let left = Arg { value: old.clone(), span: span_of(subscript) };
        let result = self.binary_operator(assign.op, &left, &value, span)?;
        // A single element is a NumPy scalar: its new value is converted as in a plain assignment.
        if let (Value::Array(new), Value::Array(old)) = (&result, &old)
            && !self.shape(old.node).is_empty()
        {
            self.stores(assign, old, new.node, "the array")?;
        }
        let result = Arg { value: result, span: value.span };
        match &target {
            Target::Element(array) => {
                self.one_number(&result)?;
                self.write(array, &result, span)
            }
            Target::View(array) => self.write(array, &result, span),
            Target::Picked(array, picked) => self.scatter(array, picked, &Scattered::Assigned(&result), span),
        }
    }

    /// Refuses what NumPy does not store in place.
    fn stores(&mut self, assign: &'s ast::StmtAugAssign, old: &Array, new: NodeId, name: &str) -> Eval<()> {
        let (span, symbol) = (span_of(assign), assign.op.as_str());
        let remedy = format!("write x = x {symbol} …, which makes a new array");
        let (before, after) = (self.extents(old.node), self.extents(new));
        if before != after {
            let (before, after) = (self.show_extents(&before), self.show_extents(&after));
            let message = format!("'{symbol}=' cannot change the shape {before} to {after}");
            return Err(self.error(span, message, Some(&remedy)));
        }
        let (computed, dtype) = (self.dtype(new), self.dtype(old.node));
        if !promote::same_kind(computed, dtype) {
            let message = format!("'{symbol}=' cannot store {computed} in the {dtype} array {name}");
            return Err(self.error(span, message, Some(&remedy)));
        }
        Ok(())
    }

    /// `name op= value`: the name's new value, or `None` where NumPy writes into the array that the name holds. A new
    /// array is the same where nobody else sees that memory.
    fn augmented_name(&mut self, assign: &'s ast::StmtAugAssign, name: &str) -> Eval<Option<Value>> {
        let span = span_of(assign);
        let target = Arg { value: self.eval(&assign.target), span: span_of(&*assign.target) };
        let value = self.whole_value(&assign.value);
        if self.names.value(name).is_none() && !target.value.is_poisoned() {
            let message = format!("the local name '{name}' is used before it is assigned");
            return Err(self.error(target.span, message, None));
        }
        if let Value::List(_) = target.value {
            let construct = format!("'{}=' on a list", assign.op.as_str());
            return Err(self.unsupported(span, &construct, "write a new list: x = x + […]"));
        }
        let result = self.binary_operator(assign.op, &target, &value, span)?;
        let Value::Array(old @ Array { storage: Some(storage), .. }) = &target.value else { return Ok(Some(result)) };
        let Value::Array(new) = &result else { return Ok(Some(result)) };
        if !old.writable {
            let remedy = format!("write {name} = {name} {} …, which makes a new array", assign.op.as_str());
            return Err(self.error(span, format!("'{name}' is a read-only view"), Some(&remedy)));
        }
        self.stores(assign, old, new.node, &format!("'{name}'"))?;
        let private = !self.store.is_parameter(*storage)
            && !self.store.is_state(*storage)
            && self.holders(old) <= 1
            && self.control.depth() == 0;
        if private {
            let dtype = self.dtype(old.node);
            let node = self.at_dtype(&Operand::Node(new.node), dtype, span)?;
            return Ok(Some(self.view(node, old)));
        }
        self.write(old, &Arg { value: result.clone(), span }, span)?;
        Ok(None)
    }
}
