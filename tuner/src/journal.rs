//! A run's own journal: one checksummed line per row, synced before the trial counts as recorded.
//!
//! Input: rows. Output: a file `journal/<run>.jsonl` that is locked as long as its run lives. A line is
//! `<first 16 hex digits of SHA-256 of the JSON> <JSON>`; a line that does not match its checksum (a torn write) is
//! counted and skipped. This module never interprets a row and never deletes a journal that somebody holds.

use crate::row::Row;
use moat_rules::hexadecimal;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// An open journal; its lock is held until it is dropped.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Where the last whole line ends.
    end: u64,
}

impl Journal {
    /// Creates the journal of a new run. It appears under its name only once it is locked, so that nobody takes it for
    /// a dead run's.
    ///
    /// # Errors
    /// If the directory cannot be written or the name is taken.
    pub fn create(directory: &Path, run_id: &str) -> io::Result<Journal> {
        let hidden = directory.join(format!("{run_id}.new"));
        let path = directory.join(format!("{run_id}.jsonl"));
        let file = OpenOptions::new().append(true).create_new(true).open(&hidden)?;
        file.lock()?;
        std::fs::rename(&hidden, &path)?;
        sync_directory(directory)?;
        Ok(Journal { file, path, end: 0 })
    }

    /// Takes over a journal whose run is dead; `None` if it lives.
    ///
    /// # Errors
    /// If the file cannot be opened or locked for another reason.
    pub fn adopt(path: &Path) -> io::Result<Option<Journal>> {
        let file = OpenOptions::new().append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let end = file.metadata()?.len();
                Ok(Some(Journal { file, path: path.to_owned(), end }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Appends one row and waits until it is on the disk.
    ///
    /// # Errors
    /// If it could not be written or synced; nothing of it is left then, so that the next row begins a line.
    pub fn append(&mut self, row: &Row) -> io::Result<()> {
        let json = serde_json::to_string(row)?;
        let line = format!("{} {json}\n", checksum(&json));
        match self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.end += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Where this fails, too, half a line stays, which does not match its checksum.
                let _ = self.file.set_len(self.end);
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes the file, the lock still held.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub fn delete(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// What a journal holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// The rows whose checksum matches, in order.
    pub rows: Vec<Row>,
    /// Lines that do not: torn or damaged.
    pub damaged_lines: usize,
}

/// Reads a journal, its run alive or dead.
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &Path) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut contents = Contents::default();
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match parse(line) {
            Some(row) => contents.rows.push(row),
            None => contents.damaged_lines += 1,
        }
    }
    Ok(contents)
}

fn parse(line: &[u8]) -> Option<Row> {
    let (sum, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if sum != checksum(json) {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn checksum(json: &str) -> String {
    hexadecimal(&Sha256::digest(json.as_bytes())[..8])
}

/// Makes a rename or a new file in `directory` durable.
///
/// # Errors
/// If the directory cannot be synced.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
