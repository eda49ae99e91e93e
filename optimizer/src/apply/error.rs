//! Why a schedule cannot be applied.

use crate::dependence::inline::InlineError;

/// Why a schedule does not fit a normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The schedule has the wrong number of stages, an axis is missing, or the like.
    #[error("schedule of `{stage}`: {message}")]
    Malformed {
        /// The definition.
        stage: String,
        /// What is wrong.
        message: String,
    },
    /// A definition cannot be inlined.
    #[error(transparent)]
    Inline(#[from] InlineError),
}
