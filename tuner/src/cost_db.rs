//! The cost database: a directory of Parquet parts, one per finished run, and of journals, one per living run.
//!
//! ```text
//! <db>/parts/<run>.parquet     written once, never changed
//! <db>/journal/<run>.jsonl     locked while its run lives; folded into a part at its end,
//!                              or by whoever opens the database after the run died
//! ```
//! Several processes may use one database; readers see the union. Nothing is deleted but a journal whose part is on
//! the disk. Columns: [`crate::row::Row`].

use crate::journal::{self, Journal, sync_directory};
use crate::row::Row;
use etcetera::BaseStrategy;
use polars::prelude::{DataFrame, ParquetReader, ParquetWriter, PolarsError, SerReader};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What can go wrong with the database as such.
#[derive(Debug, thiserror::Error)]
pub enum CostDbError {
    /// A file or directory.
    #[error("cost database: cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// A part.
    #[error("cost database: cannot {action} {}: {reason}", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        reason: PolarsError,
    },
    /// No place to put it.
    #[error("cost database: no data directory on this system ({reason}); give one with --db DIR")]
    NoDataDirectory {
        /// What the system says.
        reason: String,
    },
}

/// The directory that moat uses where `--db` is not given.
///
/// # Errors
/// If the system has no home directory.
pub fn default_directory() -> Result<PathBuf, CostDbError> {
    let strategy = etcetera::base_strategy::choose_base_strategy()
        .map_err(|error| CostDbError::NoDataDirectory { reason: error.to_string() })?;
    Ok(strategy.data_dir().join("moat"))
}

/// An open database.
#[derive(Clone, Debug)]
pub struct CostDb {
    directory: PathBuf,
}

/// A run that is being recorded.
#[derive(Debug)]
pub struct Recording {
    db: CostDb,
    run_id: String,
    journal: Journal,
}

/// All rows that could be read, and what could not.
#[derive(Debug, Default)]
pub struct Contents {
    /// Rows of all runs, in the order of the runs' identifiers, then as recorded.
    pub rows: Vec<Row>,
    /// Damaged journal lines and unreadable parts, one message each.
    pub warnings: Vec<String>,
}

impl CostDb {
    /// Opens the database in `directory`, creating it, and folds the journals of dead runs.
    ///
    /// # Errors
    /// If the directories cannot be made or listed. A dead run's journal that cannot be folded stays as it is.
    pub fn open(directory: &Path) -> Result<CostDb, CostDbError> {
        let db = CostDb { directory: directory.to_owned() };
        for path in [db.parts(), db.journals()] {
            std::fs::create_dir_all(&path).map_err(|reason| CostDbError::Io { action: "create", path, reason })?;
        }
        for path in list(&db.journals(), "jsonl")? {
            if let (Ok(Some(journal)), Some(run_id)) = (Journal::adopt(&path), stem(&path)) {
                // Its rows stay readable as a journal if this fails.
                let _ = db.fold(journal, &run_id);
            }
        }
        Ok(db)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether rows could be written now.
    ///
    /// # Errors
    /// If a file cannot be made where journals and parts are.
    pub fn probe(&self) -> Result<(), CostDbError> {
        for path in [self.journals(), self.parts()] {
            tempfile::Builder::new().prefix(".probe").tempfile_in(&path).map_err(|reason| CostDbError::Io {
                action: "write in",
                path,
                reason,
            })?;
        }
        Ok(())
    }

    /// Begins a run.
    ///
    /// # Errors
    /// If the journal cannot be created.
    pub fn record(&self) -> Result<Recording, CostDbError> {
        // The time sorts, the random part makes it unique also among machines that share a directory.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run_id = format!("{:013}-{:016x}", now.as_millis(), rand::random::<u64>());
        match Journal::create(&self.journals(), &run_id) {
            Ok(journal) => Ok(Recording { db: self.clone(), run_id, journal }),
            Err(reason) => Err(CostDbError::Io { action: "create a journal in", path: self.journals(), reason }),
        }
    }

    /// Every row of every run, living ones included.
    ///
    /// # Errors
    /// If the directories cannot be listed; a file that cannot be read is a warning in the result.
    pub fn read(&self) -> Result<Contents, CostDbError> {
        let mut contents = Contents::default();
        // Journals first: one that is folded meanwhile has its part before it vanishes.
        let mut runs: Vec<(String, Vec<Row>)> = Vec::new();
        for path in list(&self.journals(), "jsonl")? {
            let Some(run_id) = stem(&path) else { continue };
            match journal::read(&path) {
                Ok(read) => {
                    if read.damaged_lines > 0 {
                        let lines = read.damaged_lines;
                        contents.warnings.push(format!("{}: {lines} damaged line(s) skipped", path.display()));
                    }
                    runs.push((run_id, read.rows));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => contents.warnings.push(format!("{}: {error}", path.display())),
            }
        }
        for path in list(&self.parts(), "parquet")? {
            let Some(run_id) = stem(&path) else { continue };
            match read_part(&path) {
                Ok(rows) => {
                    runs.retain(|(run, _)| *run != run_id);
                    runs.push((run_id, rows));
                }
                Err(error) => contents.warnings.push(error.to_string()),
            }
        }
        runs.sort_by(|a, b| a.0.cmp(&b.0));
        contents.rows = runs.into_iter().flat_map(|(_, rows)| rows).collect();
        Ok(contents)
    }

    /// The same as one table.
    ///
    /// # Errors
    /// As [`CostDb::read`], or where polars refuses a column.
    pub fn table(&self) -> Result<DataFrame, CostDbError> {
        Row::table(&self.read()?.rows).map_err(|reason| CostDbError::Parquet {
            action: "tabulate",
            path: self.directory.clone(),
            reason,
        })
    }

    fn parts(&self) -> PathBuf {
        self.directory.join("parts")
    }

    fn journals(&self) -> PathBuf {
        self.directory.join("journal")
    }

    /// Writes a journal's rows as a part, then deletes the journal. Doing it twice does no harm.
    fn fold(&self, journal: Journal, run_id: &str) -> Result<(), CostDbError> {
        let path = journal.path().to_owned();
        let rows = journal::read(&path).map_err(|reason| CostDbError::Io { action: "read", path, reason })?.rows;
        if !rows.is_empty() {
            let part = self.parts().join(format!("{run_id}.parquet"));
            let draft = self.parts().join(format!("{run_id}.{}.draft", std::process::id()));
            if let Err(error) = write_part(&draft, &rows) {
                // What there is of it takes room that others need.
                let _ = std::fs::remove_file(&draft);
                return Err(error);
            }
            std::fs::rename(&draft, &part)
                .and_then(|()| sync_directory(&self.parts()))
                .map_err(|reason| CostDbError::Io { action: "write", path: part, reason })?;
        }
        let path = journal.path().to_owned();
        journal.delete().map_err(|reason| CostDbError::Io { action: "delete", path, reason })
    }
}

impl Recording {
    /// The run's identifier.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Records a row; it is on the disk when this returns.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), CostDbError> {
        self.journal.append(row).map_err(|reason| CostDbError::Io {
            action: "write",
            path: self.journal.path().to_owned(),
            reason,
        })
    }

    /// Ends the run: its journal becomes a part.
    ///
    /// # Errors
    /// If the part cannot be written; the journal then stays, and with it every row.
    pub fn finish(self) -> Result<(), CostDbError> {
        self.db.fold(self.journal, &self.run_id)
    }
}

fn write_part(path: &Path, rows: &[Row]) -> Result<(), CostDbError> {
    let parquet = |reason| CostDbError::Parquet { action: "write", path: path.to_owned(), reason };
    let io = |reason| CostDbError::Io { action: "write", path: path.to_owned(), reason };
    let mut table = Row::table(rows).map_err(parquet)?;
    // In memory first: what the disk says is then said in its own words.
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut table).map_err(parquet)?;
    let mut file = File::create(path).map_err(io)?;
    file.write_all(&bytes).map_err(io)?;
    file.sync_all().map_err(io)
}

fn read_part(path: &Path) -> Result<Vec<Row>, CostDbError> {
    let file = File::open(path).map_err(|reason| CostDbError::Io { action: "read", path: path.to_owned(), reason })?;
    ParquetReader::new(file).finish().and_then(|table| Row::from_table(&table)).map_err(|reason| CostDbError::Parquet {
        action: "read",
        path: path.to_owned(),
        reason,
    })
}

/// The files with `extension`, sorted by name.
fn list(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, CostDbError> {
    let error = |reason| CostDbError::Io { action: "list", path: directory.to_owned(), reason };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}
