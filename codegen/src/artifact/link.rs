//! The shared library of a kernel: what the C compiler makes of the object, in memory.
//!
//! Input: an object file's bytes. Output: the library's bytes. The folder that the linker works in is gone afterwards.

use super::error::{ArtifactError, io_error};
use crate::passes;
use inkwell::context::Context;
use moat_optimizer::nest::target::Target;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Links an object into `lib<stem>.so`.
pub(super) fn library(stem: &str, object: &[u8], threads: usize) -> Result<Vec<u8>, ArtifactError> {
    let folder = tempfile::tempdir().map_err(io_error("create a folder in", &std::env::temp_dir()))?;
    // The folder's files have names of their own: a stem may be as long as a file name may be.
    let (given, made) = (folder.path().join("kernel.o"), folder.path().join("kernel.so"));
    fs::write(&given, object).map_err(io_error("write", &given))?;
    let mut soname = OsString::from("-Wl,-soname,");
    // A comma would end the linker's argument.
    soname.push(format!("lib{stem}.so").replace(',', "_"));
    let mut command = Command::new("cc");
    command.arg("-shared").arg("-o").arg(&made).arg(&given).arg(soname).arg("-Wl,-z,defs").arg("-lm");
    if threads > 1 {
        command.arg("-lgomp");
    }
    // A Ctrl-C is for the program that writes the kernel, which then still does.
    command.process_group(0);
    let library = PathBuf::from(format!("lib{stem}.so"));
    let output = command.output().map_err(|source| ArtifactError::NoLinker { library: library.clone(), source })?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ArtifactError::Link { library, message });
    }
    fs::read(&made).map_err(io_error("read", &made))
}

/// Links an object without functions as a kernel for so many threads would be: whether there is a C compiler, its
/// libraries and room for its files is known before there is a kernel.
///
/// # Errors
/// As linking a kernel.
pub fn probe(target: &Target, threads: usize) -> Result<(), ArtifactError> {
    let context = Context::create();
    let module = context.create_module("probe");
    let machine = passes::target_machine(target)?;
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    library("probe", &passes::object(&module, &machine)?, threads).map(|_| ())
}
