//! The command `cdr`: parse, run, report one error.

use std::process::ExitCode;

use cdr::cli::Cli;
use cdr::commands::context::Context;
use cdr::exit::Exit;
use cdr::telemetry::Terminal;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = Context { verbosity: cli.verbosity(), terminal: Terminal::stderr() };
    let exit = cli.command.execute(&context).unwrap_or_else(|error| {
        let exit = Exit::of(&error);
        context.report(&error);
        exit
    });
    exit.into()
}
