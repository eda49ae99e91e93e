//! The command line's grammar and what `--help` teaches.

use clap::{Args, Parser, Subcommand, ValueEnum};
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use std::path::PathBuf;
use std::time::Duration;

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

const TUNE_EXAMPLES: &str = "\
Examples:
  moat tune softmax.py                         64 trials, one thread, kernels/softmax/
  moat tune softmax.py --time 60 --threads 2   as many trials as a minute allows (64 at most)
  moat tune softmax.py --numerics exact        NumPy's operations in NumPy's order, bit for bit
  moat tune softmax.py --inputs x.npz --json   on real data; one JSON object on stdout

Trial 0 is the default: the program as written under the heuristic schedule. It ships unless it is
beaten beyond noise in interleaved rounds. Ctrl-C (or SIGTERM) ends any stage within a second, keeps
every trial on record, and writes the best kernel so far, without the rounds; before the first kernel
was measured nothing is written, and the exit code is 1. A second Ctrl-C leaves at once.

The folder kernels/<file stem>/ gets the object, a shared library, a C header, LLVM IR, assembly,
kernel.json, and <file stem>.py, which calls the kernel on NumPy arrays:
  from softmax import softmax
  y = softmax(x)";

const RUN_EXAMPLES: &str = "\
Examples:
  moat run gemm.py --random --check                  run once and compare with the reference
  moat run gemm.py --inputs x.npz --output y.npz     arrays by parameter name (or arr_0, arr_1, …)
  moat run gemm.py --kernels kernels --random        the tuned kernel, if its records fit the file

A single result is stored as `result`, a tuple as `result0`, `result1`, …, and what the function wrote to
an argument under the parameter's name (a result whose name a parameter has gets a `_`). An array that
the file lacks is the parameter's default, if it has one.";

/// From a NumPy function to a kernel that is correct, fast on this machine, and explained by records.
#[derive(Debug, Parser)]
#[command(name = "moat", version, about, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find the fastest correct kernel for a function
    Tune(TuneArgs),
    /// Run a function's kernel on given or random inputs
    Run(RunArgs),
    /// Show what moat makes of a function, stage by stage
    Explain(ExplainArgs),
    /// Show this machine: cores, caches, vector width, measured peaks
    Target(TargetArgs),
    /// Look into the cost database
    Db(DbArgs),
    /// Serve measurements to a parent process (internal)
    #[command(hide = true)]
    Worker,
}

impl Command {
    /// Whether its result is JSON, and so is what it says where it fails.
    pub(super) fn is_json(&self) -> bool {
        match self {
            Command::Tune(args) => args.json,
            Command::Target(args) => args.json,
            Command::Db(DbArgs { command: DbCommand::List { json, .. } | DbCommand::Show { json, .. } }) => *json,
            Command::Db(DbArgs { command: DbCommand::Path { .. } })
            | Command::Run(_)
            | Command::Explain(_)
            | Command::Worker => false,
        }
    }
}

/// How a workload is named and read; the same for all commands.
#[derive(Args, Debug)]
pub(super) struct WorkloadArgs {
    /// Python file with the workload, and the function if it has several
    #[arg(value_name = "FILE[:FUNCTION]")]
    pub(super) workload: String,
    /// Override a module constant, e.g. --let N=2048 (repeatable)
    #[arg(long = "let", value_name = "NAME=VALUE", value_parser = parse_let)]
    pub(super) lets: Vec<(String, Literal)>,
    /// How far floating-point results may differ from NumPy's
    ///
    /// exact: + - * /, square roots, comparisons, casts and sums are NumPy's bit for bit. Functions are within these ulps
    /// of the true value: exp 1, log 1.5, sin and cos 2, tanh 2.5, erf 1.5, pow 1.5. Products of matrices, dot and einsum,
    /// whose order NumPy does not state, multiply from the left and add one term after the other. Sums that NumPy cuts into
    /// chunks are not promised bit for bit: with dtype= that converts, and over several axes of a slice with gaps that has
    /// more than 8192 elements.
    ///
    /// reassociate: also multiply-adds that round once, sums and products in any order and grouping, and x * (1 / c) for
    /// x / c. Where neither the sum of all |terms| nor a product on the way overflows, every result is within the bound that
    /// such roundings have. What is NaN or infinite in NumPy is so here, though perhaps another one of these; but a sum may
    /// leave out terms that a mask (tril, triu, where, pad, concatenate) has made 0, whatever they are multiplied by. What
    /// floor, ceil, sign, //, %, a comparison, argmax or a cast to integers reads differs by multiply-adds and the order of
    /// sums and products alone.
    ///
    /// algebraic: also laws of the reals, log(exp(x)) = x say, within the bound of the laws used: cancellation may cost
    /// many digits. No NaN takes the place of a number, unless something overflows on the way.
    ///
    /// No mode promises the sign of a zero that a minimum or maximum gives, or what becomes of NaN and of numbers out of
    /// range in a cast to integers.
    #[arg(long, value_enum, default_value_t = NumericsArg::Reassociate)]
    pub(super) numerics: NumericsArg,
}

/// [`Numerics`] as the command line spells and explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum NumericsArg {
    /// NumPy's operations in NumPy's order
    Exact,
    /// Also FMA, and any order and grouping of sums and products
    Reassociate,
    /// Also laws of the reals
    Algebraic,
}

impl NumericsArg {
    pub(super) fn numerics(self) -> Numerics {
        match self {
            NumericsArg::Exact => Numerics::Exact,
            NumericsArg::Reassociate => Numerics::Reassociate,
            NumericsArg::Algebraic => Numerics::Algebraic,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = TUNE_EXAMPLES)]
pub(super) struct TuneArgs {
    #[command(flatten)]
    pub(super) workload: WorkloadArgs,
    /// The most candidates to try, the default included
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) trials: u32,
    /// Seconds for everything, from deriving forms to writing the kernel
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(super) time: Option<Duration>,
    /// Threads of the kernel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: u16,
    /// Real inputs, one array for each parameter (otherwise random)
    #[arg(long, value_name = "X.npz")]
    pub(super) inputs: Option<PathBuf>,
    /// Directory of the kernels' folders
    #[arg(long, value_name = "DIR", default_value = "kernels")]
    pub(super) out: PathBuf,
    /// Seed of random inputs and of the search
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// One JSON object on stdout instead of the summary
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) db: DbArg,
}

#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) workload: WorkloadArgs,
    /// Inputs, one array for each parameter
    #[arg(long, value_name = "X.npz", required_unless_present = "random")]
    pub(super) inputs: Option<PathBuf>,
    /// Random inputs, as the parameters' annotations describe them
    #[arg(long, conflicts_with = "inputs")]
    pub(super) random: bool,
    /// Seed of random inputs
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Where to store the results
    #[arg(long, value_name = "Y.npz")]
    pub(super) output: Option<PathBuf>,
    /// Compare with the reference interpreter; exit code 1 if a result is off
    #[arg(long)]
    pub(super) check: bool,
    /// Directory where `moat tune` wrote kernels: use the tuned one if there is one for this workload
    #[arg(long, value_name = "DIR")]
    pub(super) kernels: Option<PathBuf>,
    /// Threads of the kernel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: u16,
}

#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) workload: WorkloadArgs,
    /// Show every normal form, not only the source form and the one ranked best
    #[arg(long)]
    pub(super) all: bool,
    /// Threads to schedule for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: u16,
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
    /// Every trial of one run: outcome, time, rules, what went wrong
    Show {
        /// The run, or the beginning of its identifier [default: the latest]
        run: Option<String>,
        /// One JSON object per row, one per line, with every column
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

/// `N=2048`, `eps=1e-5`, `flag=True`.
fn parse_let(text: &str) -> Result<(String, Literal), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, e.g. N=2048")?;
    let (name, value) = (name.trim(), value.trim());
    let starts_well = name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
    if !starts_well || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is not a name"));
    }
    let literal = match value {
        "True" => Literal::Bool(true),
        "False" => Literal::Bool(false),
        number => match number.replace('_', "").parse::<i64>() {
            Ok(integer) => Literal::Int(integer),
            Err(_) => match number.parse::<f64>() {
                Ok(float) if float.is_finite() => Literal::float(float),
                Ok(_) | Err(_) => return Err(format!("`{value}` is not a number, True or False")),
            },
        },
    };
    Ok((name.to_owned(), literal))
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "expected a positive number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Cli, parse_let};
    use clap::CommandFactory;
    use moat_optimizer::value::dtype::Literal;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn constants() {
        assert_eq!(parse_let("N=1_024"), Ok(("N".to_owned(), Literal::Int(1024))));
        assert_eq!(parse_let(" eps = 1e-5"), Ok(("eps".to_owned(), Literal::float(1e-5))));
        assert_eq!(parse_let("b=True"), Ok(("b".to_owned(), Literal::Bool(true))));
        for wrong in ["N", "N=", "=3", "2N=3", "N=x", "N=inf", "N=1;2"] {
            assert!(parse_let(wrong).is_err(), "{wrong}");
        }
    }
}
