//! The program `moat`: arguments in, exit code out.
//!
//! Results go to stdout, diagnostics and progress to stderr. Exit codes: 0 success, 1 the goal was not met (no kernel
//! passed, a check failed), 2 an error. Each command is a module; this one parses and dispatches.
#![expect(clippy::result_large_err, reason = "an error is made once in a process")]

mod args;
mod db;
mod error;
mod explain;
mod goal;
mod progress;
mod run;
mod target;
mod text;
mod tune;
mod workload;

use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use goal::Goal;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results (stdout, 0), the rest are errors (stderr, 2).
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let json = cli.command.is_json();
    match dispatch(cli.command) {
        Ok(Goal::Met) => ExitCode::SUCCESS,
        Ok(Goal::NotMet) => ExitCode::from(1),
        // Whoever reads our output has seen enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                let _ = writeln!(io::stdout(), "{}", error.to_json());
            }
            // Boxes and colours are for people; other programs get lines.
            let _ = if io::stderr().is_terminal() {
                writeln!(io::stderr(), "{:?}", miette::Report::new(error))
            } else {
                write!(io::stderr(), "{}", error.to_lines())
            };
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<Goal, CliError> {
    let mut out = io::stdout().lock();
    match command {
        Command::Tune(args) => tune::run(&args, &mut out),
        Command::Run(args) => run::run(&args, &mut out),
        Command::Explain(args) => explain::run(&args, &mut out),
        Command::Target(args) => target::run(&args, &mut out),
        Command::Db(args) => db::run(&args, &mut out),
        Command::Worker => {
            let served = crate::worker::child::serve(&mut io::stdin().lock(), &mut out);
            served.map(|()| Goal::Met).map_err(|source| CliError::Worker { source })
        }
    }
}
