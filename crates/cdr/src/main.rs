//! The command `cdr`: parse, run, report one error.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use cdr::cli::Cli;
use cdr::commands::context::Context;
use cdr::exit::Exit;
use cdr::output;
use cdr::telemetry::Terminal;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return answered(&answer),
    };
    let context = Context { verbosity: cli.verbosity(), terminal: Terminal::stderr() };
    let exit = cli.command.execute(&context).unwrap_or_else(|error| {
        let exit = Exit::of(&error);
        context.report(&error);
        exit
    });
    exit.into()
}

/// Prints what `--help` and `--version` ask for, or what is wrong with the arguments.
fn answered(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        answer.exit();
    }
    // With colours only on a terminal, as clap itself would print it.
    match std::io::stdout().is_terminal() {
        true => answer.exit(),
        false => match output::print(&answer.to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
