//! The program `moat`: everything is in [`moat_tuner::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    moat_tuner::cli::main()
}
