//! The workloads of the repository.

use std::io;
use std::path::{Path, PathBuf};

/// The files of the bundled workloads, in the order of their names.
///
/// # Errors
/// If their folder cannot be read.
pub fn bundled() -> io::Result<Vec<PathBuf>> {
    python_files("")
}

/// The files of the PolyBench programs, in the order of their names.
///
/// # Errors
/// If their folder cannot be read.
pub fn polybench() -> io::Result<Vec<PathBuf>> {
    python_files("polybench")
}

fn python_files(below: &str) -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/workloads").join(below);
    let entries = std::fs::read_dir(folder)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "py"));
    files.sort();
    Ok(files)
}
