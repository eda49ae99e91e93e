//! The program `moat`, built beside the tests so that they can run it: as a user does, and as a worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    moat_tuner::cli::main()
}
