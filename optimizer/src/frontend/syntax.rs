//! Questions about the syntax tree alone: where a piece stands, which names it assigns, whether it returns.
//!
//! Input: pieces of the syntax tree. Output: spans, names, answers. Nothing here is evaluated.

use crate::program::expr::Span;
use rustpython_ruff_python_ast::{Expr, Stmt};
use rustpython_ruff_text_size::{Ranged, TextRange};
use std::collections::BTreeSet;

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

/// Collects the names that an assignment to `target` assigns.
pub(super) fn targets(target: &Expr, names: &mut BTreeSet<String>) {
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

/// Whether statements may return from the function.
pub(super) fn has_return(body: &[Stmt]) -> bool {
    body.iter().any(|statement| match statement {
        Stmt::Return(_) => true,
        Stmt::If(block) => {
            has_return(&block.body) || block.elif_else_clauses.iter().any(|clause| has_return(&clause.body))
        }
        _ => false,
    })
}

/// The byte range of a piece of syntax.
pub(super) fn span_of(node: &impl Ranged) -> Span {
    span_of_range(node.range())
}

/// The byte range as a [`Span`].
pub(super) fn span_of_range(range: TextRange) -> Span {
    Span { start: range.start().to_usize(), end: range.end().to_usize() }
}

/// The first line of a statement, which is enough to point at.
pub(super) fn first_line(source: &str, mut span: Span) -> Span {
    let text = source.get(span.start..span.end).unwrap_or("");
    span.end = span.start + text.find('\n').unwrap_or(text.len());
    span
}
