//! Compares the loop nests of the bundled workloads with the table `tests/nest_hashes.txt`:
//! `cargo run -p moat-tests --bin nest_hashes`, with `--bless` to write the table anew.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

use moat_tests::nest_hashes::{difference, place, table};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bless = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--bless" => true,
        _ => {
            eprintln!("usage: nest_hashes [--bless]");
            return ExitCode::from(2);
        }
    };
    let new = match table() {
        Ok(new) => new,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    if bless {
        if let Err(error) = std::fs::write(place(), &new) {
            eprintln!("{}: {error}", place().display());
            return ExitCode::FAILURE;
        }
        println!("{} nests written to {}", new.lines().count(), place().display());
        return ExitCode::SUCCESS;
    }
    let old = match std::fs::read_to_string(place()) {
        Ok(old) => old,
        Err(error) => {
            eprintln!("{}: {error}", place().display());
            return ExitCode::FAILURE;
        }
    };
    let difference = difference(&old, &new);
    print!("{difference}");
    println!("{} nests, {} lines differ", new.lines().count(), difference.lines().count());
    if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
