//! NumPy source → [`Workload`].
//!
//! Reads a `.py` file with annotated top-level functions and abstractly interprets the chosen one: every extent is
//! known, Python numbers are compile-time constants, arrays become nodes of an [`crate::program::expr::Program`] with explicit
//! casts and broadcasts. Loops over `range` and arrays that are written to become its statements; a function that has
//! them is read until what its loops carry is known ([`carry`]). Local functions are inlined. Whatever is outside the language is an error with its place, and
//! all independent errors are reported at once. Reads no file: the caller passes the text.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Python is dynamically typed: a kind of value or syntax that an operation does not name is an error in \
              the workload, also a kind that is added later; matches over operators have no such arm"
)]

mod arguments;
mod calls;
mod carry;
mod comparison;
mod creation;
mod elementwise;
mod emit;
mod error;
mod evaluate;
mod expression;
mod functions;
mod gather;
mod integer;
mod listing;
mod liveness;
mod loops;
mod memory;
mod module;
mod number;
pub mod numpy_order;
mod place;
mod product;
mod promote;
mod prune;
mod reduction;
mod scan;
mod scatter;
mod statement;
mod structural;
mod subscript;
mod truth;
mod twins;
mod unroll;
mod value;

pub use error::{FrontendError, FrontendErrors};
pub use listing::listing;

use crate::program::expr::{Program, Span};
use crate::value::dtype::Literal;
use carry::Facts;
use error::line_column;
use evaluate::{Evaluator, span_of_range};
use rustpython_ruff_python_parser::{Mode, ParseOptions as Syntax, parse_unchecked};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A function is read at most this often to find out what its loops carry, and what their names stand for.
const MAX_READINGS: usize = 128;

/// Brackets nest at most this deep in a source text.
const MAX_NESTING: usize = 100;

/// At most this many operators and brackets stand between two commas of a statement.
const MAX_RUN: usize = 400;

/// Statements are indented by at most this many columns.
const MAX_INDENT: usize = 200;

/// What to read of a file, and with which constants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// The function's name; by default the only one whose parameters are all annotated.
    pub function: Option<String>,
    /// Values for module constants, instead of those in the file.
    pub lets: BTreeMap<String, Literal>,
}

/// A NumPy program with shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The file's name, as it was given.
    pub file: String,
    /// The file's text; the nodes' spans are byte ranges of it.
    pub source: String,
    /// The chosen function: live nodes only, no two equal.
    pub program: Program,
    /// The module's numeric constants, those of the options included.
    pub constants: BTreeMap<String, Literal>,
}

impl Workload {
    /// What is wrong with the source at a node's span, in the form of what [`parse`] finds wrong.
    pub fn error(&self, span: Span, message: String, help: Option<String>) -> FrontendErrors {
        let (line, column) = line_column(&self.source, span.start);
        let error = FrontendError { message, help, label: "here".to_owned(), span, line, column };
        FrontendErrors { file: self.file.clone(), source_text: self.source.clone(), errors: vec![error] }
    }
}

/// Reads the text of a workload's file.
///
/// # Errors
/// Everything that is wrong with it: syntax, constructs outside the language, shapes and dtypes that do not agree.
pub fn parse(file_name: &str, source: &str, options: &ParseOptions) -> Result<Workload, FrontendErrors> {
    let mut evaluator = Evaluator::new(source, Facts::default());
    let program = read(&mut evaluator, options);
    let mut errors = std::mem::take(&mut evaluator.errors);
    match program {
        Some(program) if errors.is_empty() => Ok(Workload {
            file: file_name.to_owned(),
            source: source.to_owned(),
            program,
            constants: evaluator.constants(),
        }),
        Some(_) | None => {
            errors.sort_by_key(|error| (error.span.start, error.span.end));
            Err(FrontendErrors { file: file_name.to_owned(), source_text: source.to_owned(), errors })
        }
    }
}

fn read(evaluator: &mut Evaluator<'_>, options: &ParseOptions) -> Option<Program> {
    let source = evaluator.source;
    if let Some(at) = nested_too_deeply(source) {
        let help = "name intermediate results; at most 100 brackets, 400 operators, 200 columns of indentation";
        evaluator.error(Span { start: at, end: at + 1 }, "the statement is too long or nested too deeply", Some(help));
        return None;
    }
    let parsed = parse_unchecked(source, Syntax::from(Mode::Module)).try_into_module()?;
    for error in parsed.errors() {
        evaluator.error(span_of_range(error.location), format!("syntax error: {}", error.error), None);
    }
    if parsed.errors().is_empty() {
        let (mut facts, mut places) = (Facts::default(), place::Places::default());
        for reading in 0.. {
            // The evaluator borrows the tree, which ends with this function.
            let mut inner = Evaluator::new(source, facts.clone());
            inner.places = std::mem::take(&mut places);
            let program = inner.file(parsed.suite(), options).ok();
            // A loop that was only looked at has no statements yet.
            let settled = inner.facts == facts && inner.unsettled.is_none();
            if !settled && reading < MAX_READINGS {
                if inner.facts.unrolled != facts.unrolled {
                    // What was learned of the other loops is of names that now stand for other memory.
                    (inner.facts.carried, inner.facts.twins) = Default::default();
                }
                (facts, places) = (inner.facts, inner.places);
                continue;
            }
            if !settled {
                // What such a reading finds wrong follows from what it does not know.
                inner.errors.clear();
                let help = "give the names that loops rebind one shape and dtype from the beginning, and arrays of their \
                            own, as in y = x.copy()";
                let place = inner.unsettled.unwrap_or_default();
                inner.error(place, "what the names of this loop stand for is not found out", Some(help));
            }
            evaluator.errors = std::mem::take(&mut inner.errors);
            evaluator.frames = std::mem::take(&mut inner.frames);
            return program;
        }
    }
    None
}

/// The place where a text nests deeper than any program needs, if there is one: parser and tree recurse, and must not
/// exhaust the stack on hostile input. Counts operators, brackets and words that can nest, between commas.
fn nested_too_deeply(source: &str) -> Option<usize> {
    let (mut depth, mut run, mut indent, mut at_start, mut word) = (0_usize, 0_usize, 0_usize, true, 0_usize);
    for (at, byte) in source.bytes().enumerate() {
        let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        if !is_word && at > word {
            run += usize::from(matches!(&source.as_bytes()[word..at], b"not" | b"lambda" | b"if" | b"else" | b"await"));
        }
        if !is_word {
            word = at + 1;
        }
        match byte {
            b' ' | b'\t' if at_start => indent += 1,
            b'\n' if depth == 0 => (run, indent, at_start) = (0, 0, true),
            b',' | b';' => run = 0,
            b'(' | b'[' | b'{' => (depth, run) = (depth + 1, run + 1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'@' | b'~' | b'&' | b'|' | b'^' | b'<' | b'>' | b'.' => run += 1,
            _ => {}
        }
        if !matches!(byte, b' ' | b'\t' | b'\n') {
            at_start = false;
        }
        if depth > MAX_NESTING || run > MAX_RUN || (indent > MAX_INDENT && depth == 0) {
            return Some(at);
        }
    }
    None
}
