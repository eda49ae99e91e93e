//! What makes a command fail (exit code 2), as it is shown.

use crate::cost_db::CostDbError;
use crate::machine::MachineError;
use std::io;

/// Any of them; miette renders it with its labels and help.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CliError {
    /// stdout.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
    /// The cost database.
    #[error(transparent)]
    CostDb(#[from] CostDbError),
    /// This machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The hidden command's streams.
    #[error("the worker's streams: {source}")]
    Worker {
        /// What is wrong with them.
        source: io::Error,
    },
}
