//! What is wrong with a workload, and where.
//!
//! Holds the error types of the frontend. Rendering with colours and source excerpts is the binary's business; the
//! plain `Display` gives `file:line:column: message` and a help line.

use crate::program::expr::Span;
use std::fmt;

/// One thing that is wrong with a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FrontendError {
    /// What is wrong, with the shapes and dtypes found and expected.
    pub message: String,
    /// What to write instead, or what is supported.
    pub help: Option<String>,
    /// A few words that stand under the marked source.
    pub label: String,
    /// Where in the source it stands.
    pub span: Span,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

/// Everything that is wrong with a workload, in source order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FrontendErrors {
    /// The file's name, as it was given.
    pub file: String,
    /// The file's text.
    pub source_text: String,
    /// At least one error.
    pub errors: Vec<FrontendError>,
}

impl fmt::Display for FrontendErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: {}", self.file, error.line, error.column, error.message)?;
            if let Some(help) = &error.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        Ok(())
    }
}

/// Line and column, counted from 1, of a byte offset; columns count characters.
pub(super) fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
