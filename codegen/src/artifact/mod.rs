//! A kernel as files that other programs use.
//!
//! Input: a loop nest and its interface, compiled in memory ([`compile`]), and records about it as
//! JSON. Output of [`write`]: a folder `<stem>/` with
//!
//! | file | what |
//! |---|---|
//! | `<stem>.o` | relocatable object: raw and checked entry |
//! | `lib<stem>.so` | the same as a shared library |
//! | `<stem>.h` | C and C++ header |
//! | `<stem>.py` | the function on NumPy arrays, through ctypes |
//! | `<stem>.ll`, `<stem>.s` | LLVM IR and assembly, to read |
//! | `kernel.json` | the caller's records and the interface |
//!
//! The folder is made beside its place and renamed into it, so that a reader sees the old kernel
//! or the new one and an interrupted write leaves neither half. The stem may be any file name; the
//! names in C and Python come from the function. This module and its children write files and run
//! the linker ([`link()`]); they decide nothing about the code.

mod compiled;
mod error;
mod folder;
mod header;
mod link;
mod python;
mod text;

pub use compiled::{Compiled, compile};
pub use error::ArtifactError;
pub use folder::{ArtifactPaths, probe_folder};
pub use link::probe as probe_linker;

use error::io_error;
use folder::{put, replace};
use std::path::Path;

/// A compiled kernel with its shared library, under the name of its files: nothing is left to do but to write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    compiled: Compiled,
    stem: String,
    library: Vec<u8>,
}

/// Links a compiled kernel, whose files will be named by `stem`.
///
/// # Errors
/// A stem that is no file name, a missing C compiler or one that fails, a temporary folder that cannot be written.
pub fn link(stem: &str, compiled: Compiled) -> Result<Linked, ArtifactError> {
    check_stem(stem)?;
    let library = link::library(stem, &compiled.object, compiled.threads)?;
    Ok(Linked { compiled, stem: stem.to_owned(), library })
}

/// Whether a kernel's files may be named so.
///
/// # Errors
/// A stem that is no file name, or a hidden one.
pub fn check_stem(stem: &str) -> Result<(), ArtifactError> {
    if stem.is_empty() || stem.starts_with('.') || stem.contains(['/', '\\', '\0', '\n', '\r']) {
        return Err(ArtifactError::InvalidStem { stem: stem.to_owned() });
    }
    Ok(())
}

/// [`link()`] and [`Linked::write`].
///
/// # Errors
/// As both.
pub fn write(
    dir: &Path,
    stem: &str,
    compiled: &Compiled,
    metadata: &serde_json::Value,
) -> Result<ArtifactPaths, ArtifactError> {
    link(stem, compiled.clone())?.write(dir, metadata)
}

impl Linked {
    /// Writes a kernel's files into `<dir>/<stem>/`, replacing what is there. `metadata` is the
    /// caller's part of `kernel.json`; `interface`, `symbols`, `threads` and `files` are added to it.
    ///
    /// # Errors
    /// Metadata that is no object, or a file system that fails. What was at the place before is then still there.
    pub fn write(&self, dir: &Path, metadata: &serde_json::Value) -> Result<ArtifactPaths, ArtifactError> {
        let Linked { compiled, stem, library } = self;
        let record = record(stem, compiled, metadata)?;
        let scratch = probe_folder(dir, stem)?;
        let made = ArtifactPaths::new(scratch.path(), stem);
        let put = |path: &Path, bytes: &[u8]| put(path, bytes).map_err(io_error("write", path));
        put(&made.object, &compiled.object)?;
        put(&made.library, library)?;
        put(&made.header, header::text(stem, compiled).as_bytes())?;
        put(&made.ir, compiled.ir.as_bytes())?;
        put(&made.assembly, compiled.assembly.as_bytes())?;
        put(&made.python, python::text(stem, compiled).as_bytes())?;
        put(&made.metadata, record.as_bytes())?;

        let place = dir.join(stem);
        replace(scratch, dir, stem, &place)?;
        Ok(ArtifactPaths::new(&place, stem))
    }
}

fn record(stem: &str, compiled: &Compiled, metadata: &serde_json::Value) -> Result<String, ArtifactError> {
    let interface = &compiled.interface;
    let Some(mut record) = metadata.as_object().cloned() else {
        return Err(ArtifactError::InvalidMetadata);
    };
    record.entry("function").or_insert_with(|| interface.function.clone().into());
    record.insert("interface".to_owned(), serde_json::json!(interface));
    let symbols = serde_json::json!({
        "raw": interface.raw_symbol(),
        "checked": interface.checked_symbol(),
        "workspace_bytes": interface.workspace_bytes_symbol(),
        "cpu_supported": interface.cpu_supported_symbol(),
        "status_message": interface.status_message_symbol(),
    });
    record.insert("symbols".to_owned(), symbols);
    record.insert("threads".to_owned(), compiled.threads.into());
    let files = serde_json::json!({
        "object": format!("{stem}.o"),
        "library": format!("lib{stem}.so"),
        "header": format!("{stem}.h"),
        "ir": format!("{stem}.ll"),
        "assembly": format!("{stem}.s"),
        "python": format!("{stem}.py"),
    });
    record.insert("files".to_owned(), files);
    let mut text = serde_json::to_string_pretty(&record).map_err(|_| ArtifactError::InvalidMetadata)?;
    text.push('\n');
    Ok(text)
}
