//! What the frontend is asked for, and what it gives: options, and a program with its source.
//!
//! Holds both types, and the error of a program at a place in its source. Nothing is read here.

use super::error::{FrontendError, FrontendErrors, line_column};
use crate::program::expr::{Program, Span};
use crate::value::dtype::Literal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// What is wrong with the source at a node's span, in the form of what [`super::parse`] finds wrong.
    pub fn error(&self, span: Span, message: String, help: Option<String>) -> FrontendErrors {
        let (line, column) = line_column(&self.source, span.start);
        let error = FrontendError { message, help, label: "here".to_owned(), span, line, column };
        FrontendErrors { file: self.file.clone(), source_text: self.source.clone(), errors: vec![error] }
    }
}
