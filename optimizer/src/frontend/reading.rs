//! Reads the text of a file, as often as it takes to find out what its loops carry.
//!
//! Input: a text and options. Output: a [`Workload`], or all that is wrong with the text.

use super::diagnostics::Diagnostics;
use super::error::FrontendErrors;
use super::evaluate::Evaluator;
use super::facts::Facts;
use super::place::{Places, Position};
use super::syntax::span_of_range;
use super::workload::{ParseOptions, Workload};
use crate::program::expr::{Program, Span};
use crate::value::dtype::Literal;
use rustpython_ruff_python_parser::{Mode, ParseOptions as Syntax, parse_unchecked};
use std::collections::BTreeMap;

/// A function is read at most this often to find out what its loops carry, and what their names stand for.
const MAX_READINGS: usize = 128;

/// Brackets nest at most this deep in a source text.
const MAX_NESTING: usize = 100;

/// At most this many operators and brackets stand between two commas of a statement.
const MAX_RUN: usize = 400;

/// Statements are indented by at most this many columns.
const MAX_INDENT: usize = 200;

/// Reads the text of a workload's file.
///
/// # Errors
/// Everything that is wrong with it: syntax, constructs outside the language, shapes and dtypes that do not agree.
pub fn parse(file_name: &str, source: &str, options: &ParseOptions) -> Result<Workload, FrontendErrors> {
    let mut diagnostics = Diagnostics::new(source);
    let read = read(&mut diagnostics, options);
    let mut errors = diagnostics.take();
    match read {
        Some((program, constants)) if errors.is_empty() => {
            Ok(Workload { file: file_name.to_owned(), source: source.to_owned(), program, constants })
        }
        Some(_) | None => {
            errors.sort_by_key(|error| (error.span.start, error.span.end));
            Err(FrontendErrors { file: file_name.to_owned(), source_text: source.to_owned(), errors })
        }
    }
}

/// The program, and the module's numeric constants; without them, errors say why.
fn read(diagnostics: &mut Diagnostics<'_>, options: &ParseOptions) -> Option<(Program, BTreeMap<String, Literal>)> {
    let source = diagnostics.source();
    if let Some(at) = nested_too_deeply(source) {
        let help = "name intermediate results; at most 100 brackets, 400 operators, 200 columns of indentation";
        let message = "the statement is too long or nested too deeply".to_owned();
        diagnostics.error(Span { start: at, end: at + 1 }, message, Some(help));
        return None;
    }
    let parsed = parse_unchecked(source, Syntax::from(Mode::Module)).try_into_module()?;
    for error in parsed.errors() {
        diagnostics.error(span_of_range(error.location), format!("syntax error: {}", error.error), None);
    }
    if parsed.errors().is_empty() {
        let (mut facts, mut places) = (Facts::default(), Places::default());
        for reading in 0.. {
            // The evaluator borrows the tree, which ends with this function.
            let mut inner = Evaluator::new(source, facts.clone());
            inner.position = Position::with(std::mem::take(&mut places));
            let program = inner.file(parsed.suite(), options).ok();
            // A loop that was only looked at has no statements yet.
            let settled = inner.learned.facts == facts && inner.learned.unsettled.is_none();
            if !settled && reading < MAX_READINGS {
                if inner.learned.facts.unrolled != facts.unrolled {
                    // What was learned of the other loops is of names that now stand for other memory.
                    (inner.learned.facts.carried, inner.learned.facts.twins) = Default::default();
                }
                (facts, places) = (inner.learned.facts, inner.position.into_places());
                continue;
            }
            if !settled {
                // What such a reading finds wrong follows from what it does not know.
                inner.diagnostics.replace(Vec::new());
                let help = "give the names that loops rebind one shape and dtype from the beginning, and arrays of their \
                            own, as in y = x.copy()";
                let place = inner.learned.unsettled.unwrap_or_default();
                inner.error(place, "what the names of this loop stand for is not found out", Some(help));
            }
            diagnostics.replace(inner.diagnostics.take());
            return program.map(|program| (program, inner.constants()));
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
