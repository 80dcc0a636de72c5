//! The command `cdr`: parse, run, print one error.

use std::io::{self, BufWriter};
use std::process::ExitCode;

use cdr_model::resume::Wish;
use clap::Parser;

use cdr::cli::{Cli, Command, ConfigArgs, RunArgs, SampleArgs, VerifyArgs};
use cdr::exit::Exit;
use cdr::telemetry::Terminal;
use cdr::{commands, config, telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::stderr();
    let steps = cli.verbosity.steps();
    let result = match &cli.command {
        Command::Run(args) => run(args, steps, &terminal),
        Command::Verify(args) => verify(args, steps, &terminal),
        Command::Sample(args) => sample(args),
        Command::Config(args) => show_config(args),
    };
    let exit = result.unwrap_or_else(|error| {
        let exit = Exit::of(&error);
        tell(&terminal, &error);
        exit
    });
    exit.into()
}

/// Prints an error once, in one line with its causes: to the log if there is one.
fn tell(terminal: &Terminal, error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{error:#}");
    } else if terminal.write(&format!("cdr: {error:#}\n")).is_err() {
        // Nobody can be told; the exit code still says that it failed.
    }
}

fn run(args: &RunArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let mut loaded = config::load(&args.settings.values)?;
    if args.dry_run {
        print!("{}", commands::plan::describe(&loaded.config)?);
        return Ok(Exit::Complete);
    }
    let log = &mut loaded.config.log;
    log.level = log.level.shifted(steps);
    telemetry::init(log, terminal)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let wish = match (args.restart, args.trust_index) {
        (true, _) => Wish::Restart,
        (false, true) => Wish::TrustIndex,
        (false, false) => Wish::Continue,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run::run(loaded.config, wish, terminal));
    // A thread that still waits for absent brokers must not keep the process.
    runtime.shutdown_background();
    result
}

fn verify(args: &VerifyArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let mut loaded = config::load(&args.settings.values)?;
    let log = &mut loaded.config.log;
    log.level = log.level.shifted(steps);
    telemetry::init(log, terminal)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(commands::verify::verify(loaded.config, args.format, terminal));
    // A thread that still waits for absent brokers must not keep the process.
    runtime.shutdown_background();
    result
}

fn sample(args: &SampleArgs) -> anyhow::Result<Exit> {
    let loaded = config::load(&args.settings.values)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match commands::sample::print(args, &loaded.config, &mut out) {
        Err(error) if !commands::sample::reader_left(&error) => Err(error),
        _ => Ok(Exit::Complete),
    }
}

fn show_config(args: &ConfigArgs) -> anyhow::Result<Exit> {
    if args.markdown {
        print!("{}", commands::config::markdown());
        return Ok(Exit::Complete);
    }
    let loaded = config::load(&args.settings.values)?;
    loaded.warnings.iter().for_each(|warning| eprintln!("cdr: {warning}"));
    print!("{}", commands::config::effective(&loaded.resolved)?);
    Ok(Exit::Complete)
}
