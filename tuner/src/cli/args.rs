//! The command line's grammar and what `--help` teaches.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  moat tune datasets/workloads/matmul_1024_f32.py     tune a NumPy function for this machine
  moat tune gemm.py:gemm --let N=2048 --trials 128    another function, another size, more trials
  moat run gemm.py --random --output y.npz            run its kernel on random inputs
  moat explain gemm.py                                what moat makes of it, stage by stage
  moat target                                         this machine and its measured peaks
  moat db list                                        every run on record

A workload is a Python file with an annotated function, which also runs under NumPy:
  N, M, K = 1024, 1024, 512
  def gemm(alpha: f32, A: f32[N, K], B: f32[K, M], C: f32[N, M]):
      return alpha * (A @ B) + C

Exit codes: 0 success, 1 the goal was not met, 2 an error.";

/// From a NumPy function to a kernel that is correct, fast on this machine, and explained by records.
#[derive(Debug, Parser)]
#[command(name = "moat", version, about, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show this machine: cores, caches, vector width, measured peaks
    Target(TargetArgs),
    /// Look into the cost database
    Db(DbArgs),
    /// Serve measurements to a parent process (internal)
    #[command(hide = true)]
    Worker,
}

#[derive(Args, Debug)]
pub(super) struct TargetArgs {
    /// Measure again, even if figures for this CPU are on record
    #[arg(long)]
    pub(super) measure: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) db: DbArg,
}

#[derive(Args, Debug)]
pub(super) struct DbArg {
    /// Directory of the cost database [default: moat's directory in the platform's data directory]
    #[arg(long = "db", value_name = "DIR")]
    pub(super) db: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct DbArgs {
    #[command(subcommand)]
    pub(super) command: DbCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// One line per run: workload, trials, outcomes, best time
    List {
        /// One JSON object per run, one per line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        db: DbArg,
    },
    /// Where the database is
    Path {
        #[command(flatten)]
        db: DbArg,
    },
}
