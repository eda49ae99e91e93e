//! What would fail at the end of a run, tried at its beginning: memory, disk, linker.
//!
//! Input: a program and where its kernel and its records go. Output: an error that says what is missing, with numbers and
//! a remedy. What is made to find out is gone afterwards.

use crate::cost_db::{CostDb, CostDbError};
use crate::memory::{Need, available, in_words};
use miette::Diagnostic;
use moat_codegen::artifact::{self, ArtifactError};
use moat_optimizer::nest::target::Target;
use moat_optimizer::program::expr::{Program, Span};
use moat_optimizer::value::numerics::Numerics;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use std::path::{Path, PathBuf};

/// A kernel's folder, the old one beside it until it is replaced.
const KERNEL_BYTES: u64 = 1 << 20;
/// A trial's row in the journal, and in the part that is written before the journal goes.
const ROW_BYTES: u64 = 8 << 10;

/// What is missing.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum PreflightError {
    /// Memory; shown at the largest array.
    #[error("{what} `{program}` needs about {} of memory, of which {} are free: {parts}", in_words(*needed), in_words(*free))]
    #[diagnostic(help("{REMEDY}"))]
    Memory {
        /// `tuning` or `running`.
        what: &'static str,
        /// The function.
        program: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// What they are for.
        parts: String,
        /// Where the largest array is computed.
        span: Span,
    },
    /// The system limits the size of files, and data for workers are one.
    #[error("a file may have {} here (ulimit -f), and workers read their data from one of {}", in_words(*limit), in_words(*needed))]
    #[diagnostic(help("{REMEDY}, or raise the limit"))]
    FileSize {
        /// Bytes.
        needed: u64,
        /// Bytes.
        limit: u64,
    },
    /// Room on a disk.
    #[error("{} has {} left, and {what} may need {}", path.display(), in_words(*free), in_words(*needed))]
    #[diagnostic(help("make room, or give another directory with {option}"))]
    Room {
        /// The directory.
        path: PathBuf,
        /// What goes there.
        what: &'static str,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// The option that names it.
        option: &'static str,
    },
    /// The kernel's folder cannot be written.
    #[error("the kernel could not be written at the end")]
    #[diagnostic(help("give a directory that can be written with --out"))]
    Out(#[source] ArtifactError),
    /// The kernel could not be linked, or its files cannot have their names.
    #[error("the kernel could not be made at the end")]
    Kernel(#[source] ArtifactError),
    /// The database cannot be written.
    #[error(transparent)]
    #[diagnostic(help("give a directory that can be written with --db"))]
    Database(#[from] CostDbError),
}

/// What helps against arrays that are too large.
pub const REMEDY: &str = "use smaller extents: change the module's constants, or override them with --let NAME=VALUE";

/// Where a run's results go.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The kernels' directory.
    pub out: &'a Path,
    /// The name of the kernel's files.
    pub stem: &'a str,
    /// The database.
    pub db: &'a CostDb,
    /// Trials, each a row.
    pub trials: usize,
}

/// Whether there is memory to tune `program`, with one set of inputs at least.
///
/// # Errors
/// [`PreflightError::Memory`] or [`PreflightError::FileSize`].
pub fn memory_to_tune(program: &Program, numerics: Numerics) -> Result<(), PreflightError> {
    let need = Need::of(program, numerics);
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE).unwrap_or((RLIM_INFINITY, RLIM_INFINITY));
    if need.set > limit {
        return Err(PreflightError::FileSize { needed: need.set, limit });
    }
    let parts = format!(
        "arguments {}, the reference {}, data for workers {}",
        in_words(need.arguments),
        in_words(need.interpreter),
        in_words(need.set)
    );
    enough("tuning", program, &need, need.to_tune(1), parts)
}

/// Whether there is memory to run `program` once, and to check it.
///
/// # Errors
/// [`PreflightError::Memory`].
pub fn memory_to_run(program: &Program, numerics: Numerics, check: bool) -> Result<(), PreflightError> {
    let need = Need::of(program, numerics);
    let arguments = in_words(need.arguments);
    let parts = match check {
        true => format!("arguments {arguments}, the reference {}", in_words(need.interpreter)),
        false => format!("arguments {arguments}, each copied"),
    };
    enough("running", program, &need, need.to_run(check), parts)
}

/// Whether another set of inputs fits beside the first.
pub fn another_set_fits(program: &Program, numerics: Numerics) -> bool {
    let need = Need::of(program, numerics);
    // The first is there already.
    available().is_none_or(|free| need.to_tune(2).saturating_sub(need.set) <= free)
}

fn enough(
    what: &'static str,
    program: &Program,
    need: &Need,
    needed: u64,
    parts: String,
) -> Result<(), PreflightError> {
    let Some(free) = available().filter(|&free| needed > free) else { return Ok(()) };
    let span = need.largest.map(|node| program.nodes[node].span).unwrap_or_default();
    Err(PreflightError::Memory { what, program: program.name.clone(), needed, free, parts, span })
}

/// Whether a kernel and records could be written now, and an object linked.
///
/// # Errors
/// The first thing that could not.
pub fn disk(places: &Places<'_>, target: &Target, threads: usize) -> Result<(), PreflightError> {
    artifact::check_stem(places.stem).map_err(PreflightError::Kernel)?;
    artifact::probe_folder(places.out, places.stem).map_err(PreflightError::Out)?;
    places.db.probe()?;
    let rows = ROW_BYTES.saturating_mul(places.trials as u64);
    room(places.out, "the kernel", KERNEL_BYTES, "--out")?;
    room(places.db.directory(), "the run's records", KERNEL_BYTES.saturating_add(rows), "--db")?;
    artifact::probe_linker(target, threads).map_err(PreflightError::Kernel)
}

fn room(path: &Path, what: &'static str, needed: u64, option: &'static str) -> Result<(), PreflightError> {
    // A system that does not say how much there is may have enough.
    let Ok(found) = statvfs(path) else { return Ok(()) };
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    if free >= needed {
        return Ok(());
    }
    Err(PreflightError::Room { path: path.to_owned(), what, needed, free, option })
}
