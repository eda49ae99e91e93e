//! What makes a command fail (exit code 2), as it is shown.

use crate::cost_db::CostDbError;
use crate::machine::MachineError;
use crate::npz::NpzError;
use crate::preflight::{PreflightError, REMEDY};
use crate::reference::ReferenceError;
use crate::tune::TuneError;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use moat_codegen::CodegenError;
use moat_optimizer::apply::ApplyError;
use moat_optimizer::forms::FormsError;
use moat_optimizer::frontend::{FrontendError, FrontendErrors, Workload};
use moat_optimizer::oracle::inputs::InputError;
use moat_optimizer::oracle::interpret::InterpretError;
use moat_optimizer::program::expr::Requirement;
use moat_optimizer::space::SpaceError;
use moat_rules::RuleError;
use serde_json::json;
use std::path::PathBuf;
use std::{fmt, io};

/// Any of them; miette renders it with its labels and help.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum CliError {
    /// stdout.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// The workload's file.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("a workload is a Python file: moat tune FILE[:FUNCTION]"))]
    Workload {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its text.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(SourceError),
    /// Arrays.
    #[error(transparent)]
    #[diagnostic(help("arrays are taken by parameter name, or as arr_0, arr_1, … in the parameters' order"))]
    Npz(#[from] NpzError),
    /// What would fail at the end.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Preflight(#[from] PreflightError),
    /// The cost database.
    #[error(transparent)]
    CostDb(#[from] CostDbError),
    /// This machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Tuning.
    #[error(transparent)]
    Tune(TuneError),
    /// The rule base.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// Normalizing.
    #[error(transparent)]
    Forms(#[from] FormsError),
    /// The schedule space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Applying a schedule.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Generating code.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// Random inputs.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The reference.
    #[error(transparent)]
    Interpret(#[from] InterpretError),
    /// A tuned kernel's records.
    #[error("{}: not a kernel's records: {reason}", path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The hidden command's streams.
    #[error("the worker's streams broke")]
    Worker {
        /// What is wrong with them.
        source: io::Error,
    },
    /// This program's own file, which workers are made of.
    #[error("cannot find this program's own file")]
    Program {
        /// Why not.
        source: io::Error,
    },
}

/// Everything that is wrong with a workload's text: one diagnostic each.
#[derive(Debug)]
pub(super) struct SourceError {
    file: String,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    error: FrontendError,
    source: NamedSource<String>,
}

impl SourceError {
    pub(super) fn new(errors: FrontendErrors) -> SourceError {
        let source = NamedSource::new(&errors.file, errors.source_text).with_language("Python");
        let places = errors.errors.into_iter().map(|error| Place { error, source: source.clone() }).collect();
        SourceError { file: errors.file, places }
    }
}

impl CliError {
    /// What is wrong as plain lines: `file:line:column: error: message` where it stands in a file.
    pub(super) fn to_lines(&self) -> String {
        let mut text = format!("error: {self}\n");
        if let CliError::Source(source) = self {
            for Place { error, .. } in &source.places {
                let FrontendError { line, column, message, help, .. } = error;
                text.push_str(&format!("{}:{line}:{column}: error: {message}\n", source.file));
                text.extend(help.iter().map(|help| format!("  help: {help}\n")));
            }
        } else {
            let mut cause = std::error::Error::source(self);
            while let Some(error) = cause {
                text.push_str(&format!("  because: {error}\n"));
                cause = error.source();
            }
            text.extend(self.help().map(|help| format!("  help: {help}\n")));
        }
        text
    }

    /// What is wrong as one JSON object: `{"errors": [{"message", "help", "file", "line", "column"}]}`, the last three
    /// where it stands in a file.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let errors: Vec<serde_json::Value> = if let CliError::Source(source) = self {
            let place = |Place { error, .. }: &Place| {
                json!({
                    "message": error.message,
                    "help": error.help,
                    "file": source.file,
                    "line": error.line,
                    "column": error.column,
                })
            };
            source.places.iter().map(place).collect()
        } else {
            vec![json!({ "message": self.to_string(), "help": self.help().map(|help| help.to_string()) })]
        };
        json!({ "errors": errors })
    }

    /// A check that fails, or an array too large, is shown where it stands in the workload.
    pub(super) fn located(self, workload: &Workload) -> CliError {
        if let CliError::Preflight(error @ PreflightError::Memory { span, .. }) = &self {
            return CliError::Source(SourceError::new(workload.error(
                *span,
                error.to_string(),
                Some(REMEDY.to_owned()),
            )));
        }
        let (CliError::Interpret(InterpretError::Check { span, requirement, .. })
        | CliError::Tune(TuneError::Interpret(ReferenceError::Interpret(InterpretError::Check {
            span,
            requirement,
            ..
        })))) = &self
        else {
            return self;
        };
        let help = match requirement {
            Requirement::Index => {
                "say what random indices look like, as in Annotated[i32[N], Index(n)] for 0 .. n, or give real ones \
                 with --inputs"
            }
            Requirement::Exponent => {
                "say what random exponents look like, as in Annotated[i64[N], Range(0, 8)], or give real ones with \
                 --inputs; a base of floats has negative powers"
            }
            Requirement::Divisor | Requirement::Shift | Requirement::Domain => {
                "Python raises an error here, too; give other inputs with --inputs, or say what random ones look like, as \
                 in Annotated[f64[N], Range(1, 2)]"
            }
        };
        let message = requirement.failure().to_owned();
        CliError::Source(SourceError::new(workload.error(*span, message, Some(help.to_owned()))))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.places.len() {
            1 => write!(f, "{} has an error", self.file),
            count => write!(f, "{} has {count} errors", self.file),
        }
    }
}

impl std::error::Error for SourceError {}

impl Diagnostic for SourceError {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.places.iter().map(|place| place as &dyn Diagnostic)))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.error.line, self.error.column, self.error.message)
    }
}

impl std::error::Error for Place {}

impl Diagnostic for Place {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.error.span;
        let length = span.end.saturating_sub(span.start);
        let label = Some(self.error.label.clone()).filter(|label| !label.is_empty());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, span.start, length))))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}
