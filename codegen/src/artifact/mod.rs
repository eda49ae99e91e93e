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

mod header;
mod link;
mod python;

pub use link::probe as probe_linker;

use crate::abi::{self, AbiError, Interface};
use crate::emit::{CompileOptions, emit};
use crate::error::CodegenError;
use crate::passes;
use inkwell::context::Context;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{BufferRole, LoopNest};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the back end made of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The object file's bytes, with the entries of [`crate::abi`].
    pub object: Vec<u8>,
    /// The optimised module as LLVM IR.
    pub ir: String,
    /// The assembly.
    pub assembly: String,
    /// The kernel's interface.
    pub interface: Interface,
    /// LLVM's feature string of the target.
    pub features: String,
    /// Threads that the kernel divides its work among; above 1 it needs libgomp.
    pub threads: usize,
}

/// Compiles `nest` with its checked entry. The interface names the function and the shapes; its
/// workspace is filled in.
///
/// # Errors
/// A nest that cannot be compiled, or whose parameters and results are not the interface's.
pub fn compile(nest: &LoopNest, interface: &Interface, options: &CompileOptions) -> Result<Compiled, ArtifactError> {
    compare(nest, interface)?;
    let options = CompileOptions { function: interface.function.clone(), ..options.clone() };
    let context = Context::create();
    let emitted = emit(&context, nest, &options)?;
    let interface = Interface { workspace_bytes: emitted.workspace.bytes, ..interface.clone() };
    let Target { triple, features, .. } = &options.target;
    abi::add_checked_entry(&context, &emitted.module, &interface, triple, features)?;
    passes::optimise(&emitted.module, &emitted.machine)?;
    Ok(Compiled {
        object: passes::object(&emitted.module, &emitted.machine)?,
        ir: passes::ir_text(&emitted.module),
        assembly: passes::assembly(&emitted.module, &emitted.machine)?,
        interface,
        features: features.clone(),
        threads: options.threads,
    })
}

/// The nest's parameters and results are those of the interface, in number, type and size.
fn compare(nest: &LoopNest, interface: &Interface) -> Result<(), ArtifactError> {
    let (mut inputs, mut outputs) = (0, 0);
    for buffer in &nest.buffers {
        let argument = match buffer.role {
            BufferRole::Param(at) => {
                inputs += 1;
                interface.inputs.get(at)
            }
            BufferRole::Output(at) => {
                outputs += 1;
                interface.outputs.get(at)
            }
            BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => continue,
        };
        if argument.is_none_or(|argument| argument.dtype != buffer.dtype || argument.elements() != buffer.len) {
            return Err(ArtifactError::WrongInterface { buffer: buffer.name.clone() });
        }
    }
    if (inputs, outputs) != (interface.inputs.len(), interface.outputs.len()) {
        return Err(ArtifactError::WrongInterface { buffer: interface.function.clone() });
    }
    Ok(())
}

/// The files of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactPaths {
    /// The folder.
    pub folder: PathBuf,
    /// `<stem>.o`.
    pub object: PathBuf,
    /// `lib<stem>.so`.
    pub library: PathBuf,
    /// `<stem>.h`.
    pub header: PathBuf,
    /// `<stem>.ll`.
    pub ir: PathBuf,
    /// `<stem>.s`.
    pub assembly: PathBuf,
    /// `<stem>.py`.
    pub python: PathBuf,
    /// `kernel.json`.
    pub metadata: PathBuf,
}

impl ArtifactPaths {
    fn new(folder: &Path, stem: &str) -> ArtifactPaths {
        let file = |name: String| folder.join(name);
        ArtifactPaths {
            folder: folder.to_path_buf(),
            object: file(format!("{stem}.o")),
            library: file(format!("lib{stem}.so")),
            header: file(format!("{stem}.h")),
            ir: file(format!("{stem}.ll")),
            assembly: file(format!("{stem}.s")),
            python: file(format!("{stem}.py")),
            metadata: file("kernel.json".to_owned()),
        }
    }
}

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

/// A file that is on the disk when this returns: a folder that was moved to its place is whole after a power cut, too.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// A folder in which a kernel's files could be written now, gone when it is dropped.
///
/// # Errors
/// If `dir` cannot be made or written.
pub fn probe_folder(dir: &Path, stem: &str) -> Result<tempfile::TempDir, ArtifactError> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    scratch_folder(dir, stem)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.to_path_buf();
    move |source| ArtifactError::Io { action, path, source }
}

/// A fresh hidden folder beside the place, removed on drop.
fn scratch_folder(dir: &Path, stem: &str) -> Result<tempfile::TempDir, ArtifactError> {
    let prefix = format!(".{stem}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary folder is private by default; this one becomes the kernel's.
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(dir).map_err(io_error("create a folder in", dir))
}

/// Moves the finished folder to its place. A folder cannot be renamed over one that is not empty:
/// the old one steps aside first and comes back if the new one cannot take its place.
fn replace(finished: tempfile::TempDir, dir: &Path, stem: &str, place: &Path) -> Result<(), ArtifactError> {
    // Where the system can exchange two names, there is a kernel at the place at all times.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if exchange(finished.path(), place) {
        return Ok(());
    }
    let aside = scratch_folder(dir, stem)?;
    let old = aside.path().join("old");
    let had_old = match fs::rename(place, &old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(io_error("move aside", place)(error)),
    };
    if let Err(error) = fs::rename(finished.path(), place) {
        if had_old {
            fs::rename(&old, place).map_err(io_error("move back", place))?;
        }
        return Err(io_error("move a finished kernel to", place)(error));
    }
    // The folder is not at its temporary path any more; nothing is left to remove.
    let _moved = finished.keep();
    Ok(())
}

/// Exchanges two names, if the file system can.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange(a: &Path, b: &Path) -> bool {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).is_ok()
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

/// `f32[4, 8]`; `f32` for a scalar.
fn type_text(argument: &crate::abi::Argument) -> String {
    if argument.shape.is_empty() {
        return argument.dtype.name().to_owned();
    }
    let extents: Vec<String> = argument.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", argument.dtype.name(), extents.join(", "))
}

/// `gemm(alpha: f32, A: f32[4, 8]) -> f32[4]`.
fn signature_text(interface: &Interface) -> String {
    let inputs: Vec<String> =
        interface.inputs.iter().map(|input| format!("{}: {}", input.name, type_text(input))).collect();
    let outputs: Vec<String> = interface.returned().iter().map(type_text).collect();
    let result = match (outputs.as_slice(), interface.returns_tuple) {
        ([], _) => "None".to_owned(),
        ([one], false) => one.clone(),
        ([one], true) => format!("({one},)"),
        (several, _) => format!("({})", several.join(", ")),
    };
    let inputs = interface.signature.python(&inputs).join(", ").replace("_moat_builtins.", "");
    format!("{}({inputs}) -> {result}", interface.function)
}

/// A template with each `@KEY@` replaced, in one pass: what is put in is not searched again.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        text.push_str(before);
        let found = after
            .split_once('@')
            .and_then(|(key, tail)| values.iter().find(|(name, _)| *name == key).map(|(_, value)| (value, tail)));
        match found {
            Some((value, tail)) => {
                text.push_str(value);
                rest = tail;
            }
            None => {
                text.push('@');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}
