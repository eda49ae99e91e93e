//! What is wrong with a workload, as a reading finds it out.
//!
//! Input: places and messages. Output: errors, which name the call that is being inlined.

use super::error::{FrontendError, line_column};
use super::value::Poisoned;
use crate::program::expr::Span;

/// The errors found so far, and the source that they are in.
#[derive(Debug)]
pub(super) struct Diagnostics<'s> {
    source: &'s str,
    errors: Vec<FrontendError>,
    /// The calls being inlined; the first is that of the workload.
    calls: Vec<Inlined<'s>>,
}

/// A call whose function is read in its place.
#[derive(Debug)]
struct Inlined<'s> {
    /// The number of the function.
    closure: usize,
    name: &'s str,
    /// Where the call stands.
    span: Span,
}

impl<'s> Diagnostics<'s> {
    pub(super) fn new(source: &'s str) -> Diagnostics<'s> {
        Diagnostics { source, errors: Vec::new(), calls: Vec::new() }
    }

    /// The text that is read.
    pub(super) fn source(&self) -> &'s str {
        self.source
    }

    /// Records an error, once for each place and message.
    pub(super) fn error(&mut self, span: Span, message: String, help: Option<&str>) -> Poisoned {
        if self.errors.iter().any(|error| error.span == span && error.message == message) {
            return Poisoned;
        }
        let (line, column) = line_column(self.source, span.start);
        let mut help = help.map(str::to_owned);
        if let Some(call) = self.calls.get(1..).and_then(<[_]>::last) {
            let (call_line, _) = line_column(self.source, call.span.start);
            let note = format!("{} was called from line {call_line}", call.name);
            help = Some(help.map_or(note.clone(), |help| format!("{help}; {note}")));
        }
        let label = if message.ends_with("supported") { "not supported" } else { "here" }.to_owned();
        self.errors.push(FrontendError { message, help, label, span, line, column });
        Poisoned
    }

    /// How many errors were found.
    pub(super) fn count(&self) -> usize {
        self.errors.len()
    }

    /// Gives the errors away.
    pub(super) fn take(&mut self) -> Vec<FrontendError> {
        std::mem::take(&mut self.errors)
    }

    /// Puts errors that another reading found in place of those found here.
    pub(super) fn replace(&mut self, errors: Vec<FrontendError>) {
        self.errors = errors;
    }

    /// Notes that a function is read in place of a call.
    pub(super) fn enter_call(&mut self, closure: usize, name: &'s str, span: Span) {
        self.calls.push(Inlined { closure, name, span });
    }

    /// Notes that the function of the last call was read.
    pub(super) fn leave_call(&mut self) {
        self.calls.pop();
    }

    /// Whether a function is being read already.
    pub(super) fn is_inside(&self, closure: usize) -> bool {
        self.calls.iter().any(|call| call.closure == closure)
    }
}
