//! Which names are read later: what a loop must carry from one iteration to the next, and what is left of it.
//!
//! The classic backward analysis on the syntax tree of one function's body. Names that a nested function or a lambda
//! reads count as read everywhere, because it may be called anywhere.

use super::syntax::targets;
use rustpython_ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use rustpython_ruff_python_ast::{Expr, ExprContext, Stmt};
use rustpython_ruff_text_size::Ranged;
use std::collections::{BTreeMap, BTreeSet};

/// A set of names.
pub(super) type Names = BTreeSet<String>;

/// For the loops and conditions of a body, by their place in the source, what is read later.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// The names that are read after a loop or condition; for a loop that includes what its next iteration reads.
    after: BTreeMap<usize, Names>,
    /// What each statement does.
    summaries: BTreeMap<usize, Summary>,
    /// What an iteration of each loop may read before it assigns it.
    exposed: BTreeMap<usize, Names>,
    /// What an iteration of each loop surely assigns.
    assigned: BTreeMap<usize, Names>,
    /// Names that nested functions read.
    captured: Names,
}

/// What a statement does with names.
#[derive(Clone, Debug, Default)]
struct Summary {
    /// Read, maybe, before they are assigned.
    reads: Names,
    /// Assigned, surely.
    assigns: Names,
}

impl Liveness {
    /// The analysis of a function's body.
    pub(super) fn of(body: &[Stmt]) -> Liveness {
        let mut captured = Captured { names: Names::new(), depth: 0 };
        body.iter().for_each(|statement| captured.visit_stmt(statement));
        let mut liveness = Liveness { captured: captured.names.clone(), ..Liveness::default() };
        liveness.block(body);
        liveness.record(body, captured.names);
        liveness
    }

    /// Whether a name is read after the statement at `place`, or in its next iteration.
    pub(super) fn is_read_after(&self, place: usize, name: &str) -> bool {
        // A statement that was not analysed: whatever it assigns may be read.
        self.after.get(&place).is_none_or(|names| names.contains(name))
    }

    /// Whether an iteration of the loop at `place` may read a name before it assigns it.
    pub(super) fn is_exposed(&self, place: usize, name: &str) -> bool {
        self.exposed.get(&place).is_none_or(|names| names.contains(name)) || self.captured.contains(name)
    }

    /// Whether an iteration of the loop at `place` surely assigns a name.
    pub(super) fn is_assigned_by(&self, place: usize, name: &str) -> bool {
        self.assigned.get(&place).is_some_and(|names| names.contains(name))
    }

    /// The summary of a block; those of its statements are kept.
    fn block(&mut self, body: &[Stmt]) -> Summary {
        let mut whole = Summary::default();
        for statement in body {
            let summary = self.statement(statement);
            self.summaries.insert(statement.range().start().to_usize(), summary.clone());
            whole.reads.extend(summary.reads.difference(&whole.assigns).cloned());
            whole.assigns.extend(summary.assigns);
        }
        whole
    }

    fn statement(&mut self, statement: &Stmt) -> Summary {
        let place = statement.range().start().to_usize();
        match statement {
            Stmt::For(block) => {
                let Summary { reads: iteration, assigns } = self.block(&block.body);
                self.assigned.insert(place, assigns);
                let exposed: Names = iteration.difference(&target_names(&block.target)).cloned().collect();
                self.exposed.insert(place, exposed.clone());
                let mut reads = read_by(&block.iter);
                reads.extend(exposed);
                reads.extend(self.block(&block.orelse).reads);
                // There may be no iteration.
                Summary { reads, assigns: Names::new() }
            }
            Stmt::If(block) => {
                let mut branches = vec![self.block(&block.body)];
                let mut reads = read_by(&block.test);
                let mut otherwise = false;
                for clause in &block.elif_else_clauses {
                    branches.push(self.block(&clause.body));
                    match &clause.test {
                        Some(test) => reads.extend(read_by(test)),
                        None => otherwise = true,
                    }
                }
                let first = branches.first().map(|branch| branch.assigns.clone()).filter(|_| otherwise);
                let assigns = first.unwrap_or_default();
                let all = |name: &&String| branches.iter().all(|branch| branch.assigns.contains(*name));
                let assigns = assigns.iter().filter(all).cloned().collect();
                reads.extend(branches.into_iter().flat_map(|branch| branch.reads));
                Summary { reads, assigns }
            }
            Stmt::Assign(assign) => {
                let mut summary = Summary { reads: read_by(&assign.value), assigns: Names::new() };
                for target in &assign.targets {
                    summary.reads.extend(read_by(target));
                    summary.assigns.extend(target_names(target));
                }
                summary
            }
            Stmt::AnnAssign(assign) => {
                let mut summary = Summary::default();
                if let Some(value) = &assign.value {
                    summary.reads = read_by(value);
                    summary.assigns = target_names(&assign.target);
                }
                summary.reads.extend(read_by(&assign.target));
                summary
            }
            _ => {
                let mut reads = Reads { names: Names::new() };
                reads.visit_stmt(statement);
                // An augmented assignment reads its target.
                if let Stmt::AugAssign(assign) = statement {
                    reads.names.extend(target_names(&assign.target));
                }
                Summary { reads: reads.names, assigns: Names::new() }
            }
        }
    }

    /// Notes for each loop and condition of a block what is read after it.
    fn record(&mut self, body: &[Stmt], after: Names) {
        let mut live = after;
        for statement in body.iter().rev() {
            let place = statement.range().start().to_usize();
            match statement {
                Stmt::For(block) => {
                    self.record(&block.orelse, live.clone());
                    let mut head = block.orelse.iter().rev().fold(live.clone(), |live, last| self.before(last, &live));
                    head.extend(self.exposed.get(&place).into_iter().flatten().cloned());
                    self.after.insert(place, head.clone());
                    self.record(&block.body, head);
                }
                Stmt::If(block) => {
                    self.after.insert(place, live.clone());
                    self.record(&block.body, live.clone());
                    for clause in &block.elif_else_clauses {
                        self.record(&clause.body, live.clone());
                    }
                }
                _ => {}
            }
            live = self.before(statement, &live);
        }
    }

    /// What is read before a statement, given what is read after it.
    fn before(&self, statement: &Stmt, after: &Names) -> Names {
        let Some(summary) = self.summaries.get(&statement.range().start().to_usize()) else { return after.clone() };
        let kept = after.iter().filter(|name| !summary.assigns.contains(*name) || self.captured.contains(*name));
        summary.reads.iter().chain(kept).cloned().collect()
    }
}

/// The names that an expression reads.
fn read_by(expr: &Expr) -> Names {
    let mut reads = Reads { names: Names::new() };
    reads.visit_expr(expr);
    reads.names
}

/// The names that an assignment to `target` assigns.
fn target_names(target: &Expr) -> Names {
    let mut names = Names::new();
    targets(target, &mut names);
    names
}

/// Collects names that are read.
struct Reads {
    names: Names,
}

impl<'a> Visitor<'a> for Reads {
    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Name(name) = expr
            && name.ctx == ExprContext::Load
        {
            self.names.insert(name.id.as_str().to_owned());
        }
        walk_expr(self, expr);
    }
}

/// Collects names that nested functions read.
struct Captured {
    names: Names,
    depth: usize,
}

impl<'a> Visitor<'a> for Captured {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let nested = usize::from(matches!(statement, Stmt::FunctionDef(_)));
        self.depth += nested;
        walk_stmt(self, statement);
        self.depth -= nested;
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        let nested = usize::from(matches!(expr, Expr::Lambda(_)));
        self.depth += nested;
        if let Expr::Name(name) = expr
            && self.depth > 0
        {
            self.names.insert(name.id.as_str().to_owned());
        }
        walk_expr(self, expr);
        self.depth -= nested;
    }
}
