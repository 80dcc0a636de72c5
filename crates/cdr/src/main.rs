//! The command `cdr`: parse, run, report one error.

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;

use cdr::cli::Cli;
use cdr::commands::context::Context;
use cdr::exit::Exit;
use cdr::output::print;
use cdr::telemetry::Terminal;
use clap::Parser;

fn main() -> ExitCode {
    let terminal = Terminal::stderr();
    let (context, done) = match Cli::try_parse() {
        Ok(cli) => {
            let context = Context { verbosity: cli.verbosity(), terminal };
            let done = cli.command.execute(&context);
            (context, done)
        }
        Err(answer) if answer.use_stderr() || stdout().is_terminal() => answer.exit(),
        // What `--help` and `--version` ask for is printed as all else is.
        Err(answer) => {
            let printed = print(&answer.to_string()).map(|()| Exit::Complete);
            (Context { verbosity: 0, terminal }, printed.map_err(Into::into))
        }
    };
    let exit = done.unwrap_or_else(|error| {
        let exit = Exit::of(&error);
        context.report(&error);
        exit
    });
    exit.into()
}
