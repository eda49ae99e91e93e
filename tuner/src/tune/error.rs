//! What ends a run of the tuner as a whole. A candidate's failure does not: it is a row.

use crate::cost_db::CostDbError;
use crate::interrupt::Word;
use crate::reference::ReferenceError;
use moat_codegen::artifact::ArtifactError;
use moat_optimizer::forms::FormsError;
use moat_optimizer::oracle::inputs::InputError;
use moat_optimizer::space::SpaceError;
use moat_rules::RuleError;

/// What ends a run as a whole.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The rule base.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The workload has no normal form.
    #[error(transparent)]
    Forms(#[from] FormsError),
    /// Random inputs.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The reference.
    #[error(transparent)]
    Interpret(#[from] ReferenceError),
    /// The search.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The cost database.
    #[error(transparent)]
    CostDb(#[from] CostDbError),
    /// The kernel's files.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The inputs and references cannot be given to workers.
    #[error("cannot prepare the measurements: {reason}")]
    Data {
        /// Why not.
        reason: std::io::Error,
    },
    /// A person, or the time, ended the run before there was a kernel.
    #[error("{why}")]
    Interrupted {
        /// Which of the two, and in which stage.
        why: Word,
    },
    /// An interrupted run would have had to wait for a compiler.
    #[error("the kernel was not written, as compiling it takes too long after an interrupt; its trials are on record")]
    NotWritten,
    /// Workers do not live.
    #[error("no worker could measure: {detail}")]
    Worker {
        /// The last one's end.
        detail: String,
    },
    /// Nothing was measured.
    #[error("no candidate gave a right result ({trials} trials: {outcomes})")]
    NoKernel {
        /// How many were tried.
        trials: usize,
        /// What became of them.
        outcomes: String,
    },
}
