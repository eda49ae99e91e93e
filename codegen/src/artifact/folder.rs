//! The folder of a kernel: where its files are, and how a finished folder takes its place.
//!
//! Input: paths and bytes. Output: files that are on the disk, and a folder that readers see whole or not at all.

use super::error::{ArtifactError, io_error};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

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
    /// The files in a folder.
    pub(super) fn new(folder: &Path, stem: &str) -> ArtifactPaths {
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

/// A file that is on the disk when this returns: a folder that was moved to its place is whole after a power cut, too.
pub(super) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
pub(super) fn replace(finished: tempfile::TempDir, dir: &Path, stem: &str, place: &Path) -> Result<(), ArtifactError> {
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
