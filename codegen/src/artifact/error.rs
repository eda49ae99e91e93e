//! Why a kernel's files could not be made or written.

use crate::abi::AbiError;
use crate::error::CodegenError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a kernel's files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The nest could not be compiled.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// The checked entry could not be made.
    #[error(transparent)]
    Abi(#[from] AbiError),
    /// The nest's parameters and results are not the interface's.
    #[error("the interface does not describe the nest's `{buffer}`")]
    WrongInterface {
        /// The nest's buffer, or the function where their number differs.
        buffer: String,
    },
    /// The stem is no file name.
    #[error("`{stem}` cannot be the name of a kernel's files")]
    InvalidStem {
        /// The stem.
        stem: String,
    },
    /// The records are not a JSON object.
    #[error("a kernel's records must be a JSON object")]
    InvalidMetadata,
    /// A file could not be written, or the folder moved into its place.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The C compiler that links could not be started.
    #[error("cannot run `cc` to link {}\nhelp: install a C compiler (Debian: apt install gcc)", library.display())]
    NoLinker {
        /// The library to be made.
        library: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The linker failed.
    #[error("`cc` failed to link {}: {message}", library.display())]
    Link {
        /// The library to be made.
        library: PathBuf,
        /// The linker's words.
        message: String,
    },
}

/// What an error of the file system becomes, which came of an action on a path.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_path_buf();
    move |source| ArtifactError::Io { action, path, source }
}
