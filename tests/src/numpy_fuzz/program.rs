//! A generated program as a tree of Python statements and expressions, which prints as a file and can be cut down.
//!
//! An expression is a text with holes, its parts, and its type; so a part can take its parent's place where their types
//! agree, whatever Python makes of it. Nothing here knows what an operation means.

use moat_optimizer::value::dtype::DType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An extent. A live one is that of a slice that a loop's variable bounds: `size` is the whole axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dim {
    /// Elements; of the whole axis, if live.
    pub size: usize,
    /// The number of the slice, from 1; 0 where the extent is fixed.
    pub live: usize,
}

/// Shape and element type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Extents.
    pub shape: Vec<Dim>,
    /// Element type.
    pub dtype: DType,
}

impl Type {
    /// A type of fixed extents.
    pub fn fixed(shape: &[usize], dtype: DType) -> Type {
        Type { shape: shape.iter().map(|&size| Dim { size, live: 0 }).collect(), dtype }
    }

    /// Its extents, if all are fixed.
    pub fn extents(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(|dim| (dim.live == 0).then_some(dim.size)).collect()
    }

    /// Another element type, the same shape.
    pub fn at(&self, dtype: DType) -> Type {
        Type { shape: self.shape.clone(), dtype }
    }

    /// Elements, those of a live axis all counted.
    pub fn size(&self) -> usize {
        self.shape.iter().map(|dim| dim.size).product()
    }
}

/// A Python expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its text, `{}` for each part.
    pub text: String,
    /// Its parts.
    pub parts: Vec<Expr>,
    /// Its type; `None` for a Python number, an index, and whatever else is no array.
    pub of: Option<Type>,
    /// The construct, for the counts.
    pub what: &'static str,
}

impl Expr {
    /// An expression of a type.
    pub fn new(what: &'static str, text: impl Into<String>, parts: Vec<Expr>, of: Type) -> Expr {
        Expr { text: text.into(), parts, of: Some(of), what }
    }

    /// Something that is no array.
    pub fn bare(what: &'static str, text: impl Into<String>) -> Expr {
        Expr { text: text.into(), parts: Vec::new(), of: None, what }
    }

    fn print(&self, to: &mut String) {
        fill(&self.text, &self.parts, to);
    }

    /// Calls `each` on it and all parts.
    pub fn visit(&self, each: &mut dyn FnMut(&Expr)) {
        each(self);
        self.parts.iter().for_each(|part| part.visit(each));
    }
}

fn fill(text: &str, parts: &[Expr], to: &mut String) {
    let mut pieces = text.split("{}");
    to.push_str(pieces.next().unwrap_or_default());
    for (piece, part) in pieces.zip(parts) {
        part.print(to);
        to.push_str(piece);
    }
}

/// A Python statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// One line.
    Line {
        /// Its text, `{}` for each part.
        text: String,
        /// Its parts.
        parts: Vec<Expr>,
        /// The construct.
        what: &'static str,
    },
    /// A `for` or an `if`.
    Block {
        /// Its first line, with the colon.
        head: String,
        /// What stands for the block where it is taken apart: the first value of a loop's variable.
        first: Option<String>,
        /// The statements in it.
        body: Vec<Stmt>,
        /// Those after `else:`.
        otherwise: Vec<Stmt>,
        /// The construct.
        what: &'static str,
    },
}

impl Stmt {
    /// A line.
    pub fn line(what: &'static str, text: impl Into<String>, parts: Vec<Expr>) -> Stmt {
        Stmt::Line { text: text.into(), parts, what }
    }

    fn print(&self, depth: usize, to: &mut String) {
        let indent = "    ".repeat(depth);
        match self {
            Stmt::Line { text, parts, .. } => {
                to.push_str(&indent);
                fill(text, parts, to);
                to.push('\n');
            }
            Stmt::Block { head, body, otherwise, .. } => {
                to.push_str(&format!("{indent}{head}\n"));
                print_all(body, depth + 1, to);
                if !otherwise.is_empty() {
                    to.push_str(&format!("{indent}else:\n"));
                    print_all(otherwise, depth + 1, to);
                }
            }
        }
    }

    /// Calls `each` with the name of every construct in it.
    pub fn constructs(&self, each: &mut dyn FnMut(&'static str)) {
        match self {
            Stmt::Line { parts, what, .. } => {
                each(what);
                parts.iter().for_each(|part| part.visit(&mut |expr| each(expr.what)));
            }
            Stmt::Block { body, otherwise, what, .. } => {
                each(what);
                body.iter().chain(otherwise).for_each(|statement| statement.constructs(each));
            }
        }
    }
}

fn print_all(body: &[Stmt], depth: usize, to: &mut String) {
    if body.is_empty() {
        to.push_str(&format!("{}pass\n", "    ".repeat(depth)));
    }
    body.iter().for_each(|statement| statement.print(depth, to));
}

/// A parameter of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Vec<usize>,
    /// For an array of indices: the extent that they index.
    pub index: Option<usize>,
}

impl Param {
    fn print(&self) -> String {
        let extents: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let array =
            if extents.is_empty() { self.dtype.to_string() } else { format!("{}[{}]", self.dtype, extents.join(", ")) };
        match self.index {
            Some(bound) => format!("{}: Annotated[{array}, Index({bound})]", self.name),
            None => format!("{}: {array}", self.name),
        }
    }
}

/// A function beside the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its name.
    pub name: String,
    /// Its text, with a newline at the end.
    pub text: String,
}

/// A program: one function `f`, and what it calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// The parameters.
    pub params: Vec<Param>,
    /// Functions that the body may call.
    pub helpers: Vec<Helper>,
    /// The statements.
    pub body: Vec<Stmt>,
    /// What it returns.
    pub returns: Vec<Expr>,
}

impl Generated {
    /// The file's text.
    pub fn print(&self) -> String {
        let mut body = String::new();
        self.body.iter().for_each(|statement| statement.print(1, &mut body));
        let mut returned = String::new();
        for (at, value) in self.returns.iter().enumerate() {
            returned.push_str(if at > 0 { ", " } else { "" });
            value.print(&mut returned);
        }
        if !self.returns.is_empty() {
            body.push_str(&format!("    return {returned}\n"));
        } else if self.body.is_empty() {
            body.push_str("    pass\n");
        }
        let mut text = String::from("from __future__ import annotations\nimport numpy as np\n");
        if body.contains("erf(") {
            text.push_str("from scipy.special import erf\n");
        }
        for helper in self.helpers.iter().filter(|helper| needed_in(&helper.name, &body)) {
            text.push('\n');
            text.push_str(&helper.text);
        }
        let params: Vec<String> = self.params.iter().map(Param::print).collect();
        text.push_str(&format!("\ndef f({}):\n{body}", params.join(", ")));
        text
    }

    /// The names of its constructs.
    pub fn constructs(&self) -> BTreeSet<&'static str> {
        let mut all = BTreeSet::new();
        let mut each = |what| {
            all.insert(what);
        };
        self.body.iter().for_each(|statement| statement.constructs(&mut each));
        self.returns.iter().for_each(|value| value.visit(&mut |expr| each(expr.what)));
        all
    }

    /// Without the parameters whose names stand nowhere, but for one.
    pub fn pruned(mut self) -> Generated {
        let all = self.params.clone();
        self.params.clear();
        let text = self.print();
        self.params = all.iter().filter(|param| needed_in(&param.name, &text)).cloned().collect();
        if self.params.is_empty() {
            self.params = all.into_iter().take(1).collect();
        }
        self
    }
}

/// Whether a name stands in a text as a word.
pub fn needed_in(name: &str, text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = text[at + name.len()..].chars().next().is_some_and(is_word);
        !before && !after
    })
}
