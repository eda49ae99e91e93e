//! Executes Python statements.

use super::elementwise::Operand;
use super::emit::show;
use super::evaluate::{Body, Closure, Eval, Evaluator, Poisoned, span_of};
use super::promote;
use super::value::{Arg, Array, Value};
use rustpython_ruff_python_ast::{self as ast, Expr, Stmt};
use std::collections::BTreeSet;

/// Where control goes after a statement.
pub(super) enum Flow {
    /// To the next statement.
    Next,
    /// Out of the function.
    Return(Arg),
}

const SUPPORTED: &str =
    "supported statements: assignment, def, return, if on compile-time values, assert, import, pass";

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
        match statement {
            Stmt::Return(ret) => {
                let nothing = Arg { value: Value::None, span: span_of(ret) };
                return Flow::Return(ret.value.as_deref().map_or(nothing, |value| self.arg(value)));
            }
            Stmt::If(conditional) => return self.conditional(conditional),
            Stmt::Assign(assign) => {
                let value = self.arg(&assign.value);
                for target in &assign.targets {
                    self.assign(target, &value);
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    let value = self.arg(value);
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
                // A docstring, or a call for its effect, of which there are none.
                if !matches!(*expr.value, Expr::StringLiteral(_) | Expr::EllipsisLiteral(_)) {
                    let value = self.eval(&expr.value);
                    if !matches!(value, Value::Poison) {
                        self.error(span_of(expr), "the value of this expression is not used", None);
                    }
                }
            }
            Stmt::Pass(_) => {}
            Stmt::Delete(delete) => {
                for target in &delete.targets {
                    if let Expr::Name(name) = target {
                        let frame = self.frame;
                        self.frames[frame].names.remove(name.id.as_str());
                    } else {
                        self.unsupported(span_of(target), "del of anything but a name", "del x");
                    }
                }
            }
            Stmt::For(_) => {
                self.refuse(statement, "a 'for' loop", "loops are not supported yet; write whole-array operations")
            }
            Stmt::While(_) => {
                self.refuse(statement, "a 'while' loop", "loops are not supported yet; write whole-array operations")
            }
            Stmt::With(_) => self.refuse(statement, "'with'", SUPPORTED),
            Stmt::Try(_) => self.refuse(statement, "'try'", SUPPORTED),
            Stmt::Raise(_) => self.refuse(statement, "'raise'", SUPPORTED),
            Stmt::ClassDef(_) => self.refuse(statement, "'class'", SUPPORTED),
            Stmt::Match(_) => self.refuse(statement, "'match'", SUPPORTED),
            Stmt::Global(_) | Stmt::Nonlocal(_) => {
                self.refuse(statement, "'global' or 'nonlocal'", "pass values as arguments and return them");
            }
            Stmt::TypeAlias(_) => self.refuse(statement, "'type'", SUPPORTED),
            Stmt::Break(_) | Stmt::Continue(_) => self.refuse(statement, "'break' or 'continue'", SUPPORTED),
            Stmt::IpyEscapeCommand(_) => self.refuse(statement, "an IPython command", SUPPORTED),
        }
        Flow::Next
    }

    /// Reports a statement outside the language; the names it would have assigned are in error from here on.
    fn refuse(&mut self, statement: &'s Stmt, construct: &str, supported: &str) {
        let mut span = span_of(statement);
        // The first line is enough to point at.
        let text = self.source.get(span.start..span.end).unwrap_or("");
        span.end = span.start + text.find('\n').unwrap_or(text.len());
        self.unsupported(span, construct, supported);
        self.poison(std::slice::from_ref(statement));
    }

    fn poison(&mut self, body: &'s [Stmt]) {
        let mut names = BTreeSet::new();
        assigned(body, &mut names);
        for name in names {
            self.bind(&name, Value::Poison);
        }
    }

    fn conditional(&mut self, conditional: &'s ast::StmtIf) -> Flow {
        let test = self.arg(&conditional.test);
        match self.truth(&test.value, test.span) {
            Ok(true) => return self.block(&conditional.body),
            Ok(false) => {}
            Err(Poisoned) => return self.undecided(conditional),
        }
        for clause in &conditional.elif_else_clauses {
            let Some(test) = &clause.test else { return self.block(&clause.body) };
            let test = self.arg(test);
            match self.truth(&test.value, test.span) {
                Ok(true) => return self.block(&clause.body),
                Ok(false) => {}
                Err(Poisoned) => return self.undecided(conditional),
            }
        }
        Flow::Next
    }

    /// After a condition in error, whatever a branch assigns or returns is in error.
    fn undecided(&mut self, conditional: &'s ast::StmtIf) -> Flow {
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
        self.closures.push(Closure {
            name,
            parameters: Some(&def.parameters),
            body: Body::Statements(&def.body),
            frame: self.frame,
            defaults,
        });
        let value = Value::Closure(self.closures.len() - 1);
        self.bind(name, value);
    }

    fn assign(&mut self, target: &'s Expr, value: &Arg) {
        match target {
            Expr::Name(name) => self.bind(name.id.as_str(), value.value.clone()),
            Expr::Tuple(ast::ExprTuple { elts, .. }) | Expr::List(ast::ExprList { elts, .. }) => {
                let items = self.unpack(elts, value, target);
                for (at, element) in elts.iter().enumerate() {
                    let item = items.as_ref().map_or(Value::Poison, |items| items[at].clone());
                    self.assign(element, &Arg { value: item, span: value.span });
                }
            }
            Expr::Subscript(_) => {
                let help = "build the result with np.where, np.concatenate, np.pad or np.stack";
                self.unsupported(span_of(target), "assignment to elements", help);
            }
            Expr::Starred(_) => {
                self.unsupported(span_of(target), "'*' in an assignment", "name every element");
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
                let message = format!("{} cannot be unpacked", other.describe());
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

    fn augmented(&mut self, assign: &'s ast::StmtAugAssign) {
        let Expr::Name(name) = &*assign.target else {
            let help = "build the result with np.where, np.concatenate, np.pad or np.stack";
            self.unsupported(span_of(&*assign.target), "assignment to elements", help);
            return;
        };
        let name = name.id.as_str();
        let value = self.try_augmented(assign, name).unwrap_or(Value::Poison);
        self.bind(name, value);
    }

    /// The new value of a name under `name op= value`. NumPy writes into the array that the name holds; that is the
    /// same as binding a new array only where nobody else sees that memory.
    fn try_augmented(&mut self, assign: &'s ast::StmtAugAssign, name: &str) -> Eval {
        let span = span_of(assign);
        let target = Arg { value: self.eval(&assign.target), span: span_of(&*assign.target) };
        let value = self.arg(&assign.value);
        if !self.frames[self.frame].names.contains_key(name) && !target.value.is_poisoned() {
            let message = format!("the local name '{name}' is used before it is assigned");
            return Err(self.error(target.span, message, None));
        }
        if let Value::List(_) = target.value {
            let construct = format!("'{}=' on a list", assign.op.as_str());
            return Err(self.unsupported(span, &construct, "write a new list: x = x + […]"));
        }
        let result = self.binary_operator(assign.op, &target, &value, span)?;
        let Value::Array(old @ Array { storage: Some(storage), .. }) = &target.value else { return Ok(result) };
        let Value::Array(new) = result else { return Ok(result) };
        let symbol = assign.op.as_str();
        let remedy = format!("write {name} = {name} {symbol} …, which makes a new array");
        if self.parameters.contains(storage) {
            let message = format!("'{symbol}=' would change an argument of the workload in place");
            return Err(self.error(span, message, Some(&remedy)));
        }
        if self.holders(old) > 1 {
            let message = format!("'{symbol}=' would change '{name}' in place, and another name shares its memory");
            return Err(self.error(span, message, Some(&remedy)));
        }
        if !old.writable {
            let message = format!("'{name}' is a read-only view");
            return Err(self.error(span, message, Some(&remedy)));
        }
        let (shape, dtype) = (self.shape(old.node).to_vec(), self.dtype(old.node));
        if self.shape(new.node) != shape {
            let message =
                format!("'{symbol}=' cannot change the shape {} to {}", show(&shape), show(self.shape(new.node)));
            return Err(self.error(span, message, Some(&remedy)));
        }
        let computed = self.dtype(new.node);
        if !promote::same_kind(computed, dtype) {
            let message = format!("'{symbol}=' cannot store {computed} in the {dtype} array '{name}'");
            return Err(self.error(span, message, Some(&remedy)));
        }
        let node = self.at_dtype(&Operand::Node(new.node), dtype, span)?;
        Ok(self.view(node, old))
    }
}

/// Collects the names that statements assign, nested blocks included.
pub(super) fn assigned(body: &[Stmt], names: &mut BTreeSet<String>) {
    for statement in body {
        match statement {
            Stmt::Assign(assign) => assign.targets.iter().for_each(|target| targets(target, names)),
            Stmt::AugAssign(assign) => targets(&assign.target, names),
            Stmt::AnnAssign(assign) if assign.value.is_some() => targets(&assign.target, names),
            Stmt::For(block) => {
                targets(&block.target, names);
                assigned(&block.body, names);
                assigned(&block.orelse, names);
            }
            Stmt::While(block) => {
                assigned(&block.body, names);
                assigned(&block.orelse, names);
            }
            Stmt::If(block) => {
                assigned(&block.body, names);
                block.elif_else_clauses.iter().for_each(|clause| assigned(&clause.body, names));
            }
            Stmt::With(block) => assigned(&block.body, names),
            Stmt::Try(block) => {
                assigned(&block.body, names);
                assigned(&block.orelse, names);
                assigned(&block.finalbody, names);
            }
            Stmt::Match(block) => block.cases.iter().for_each(|case| assigned(&case.body, names)),
            Stmt::FunctionDef(def) => {
                names.insert(def.name.as_str().to_owned());
            }
            Stmt::ClassDef(def) => {
                names.insert(def.name.as_str().to_owned());
            }
            Stmt::AnnAssign(_)
            | Stmt::Return(_)
            | Stmt::Delete(_)
            | Stmt::TypeAlias(_)
            | Stmt::Raise(_)
            | Stmt::Assert(_)
            | Stmt::Import(_)
            | Stmt::ImportFrom(_)
            | Stmt::Global(_)
            | Stmt::Nonlocal(_)
            | Stmt::Expr(_)
            | Stmt::Pass(_)
            | Stmt::Break(_)
            | Stmt::Continue(_)
            | Stmt::IpyEscapeCommand(_) => {}
        }
    }
}

fn targets(target: &Expr, names: &mut BTreeSet<String>) {
    match target {
        Expr::Name(name) => {
            names.insert(name.id.as_str().to_owned());
        }
        Expr::Tuple(tuple) => tuple.elts.iter().for_each(|element| targets(element, names)),
        Expr::List(list) => list.elts.iter().for_each(|element| targets(element, names)),
        Expr::Starred(starred) => targets(&starred.value, names),
        _ => {}
    }
}

fn has_return(body: &[Stmt]) -> bool {
    body.iter().any(|statement| match statement {
        Stmt::Return(_) => true,
        Stmt::If(block) => {
            has_return(&block.body) || block.elif_else_clauses.iter().any(|clause| has_return(&clause.body))
        }
        _ => false,
    })
}
