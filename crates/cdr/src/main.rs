//! The command `cdr`: parse, run, print one error.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use cdr_model::resume::Wish;
use clap::Parser;

use cdr::cli::{
    Cli, Command, ConfigArgs, DemoArgs, ProcessArgs, RunArgs, SampleArgs, SandboxArgs, UsageArgs,
    VerifyArgs,
};
use cdr::config::{Config, FlagValues, Loaded};
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
        Command::Process(args) => process(args, steps, &terminal),
        Command::Usage(args) => usage(args),
        Command::Demo(args) => demo(args, steps, &terminal),
        Command::Sandbox(args) => sandbox(args, steps, &terminal),
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
    let loaded = config::load(&args.settings.values)?;
    if args.dry_run {
        print!("{}", commands::plan::describe(&loaded.config)?);
        return Ok(Exit::Complete);
    }
    let config = begin_log(loaded, steps, terminal)?;
    let wish = match (args.restart, args.trust_index) {
        (true, _) => Wish::Restart,
        (false, true) => Wish::TrustIndex,
        (false, false) => Wish::Continue,
    };
    block_on(commands::run::run(config, wish, terminal))
}

fn verify(args: &VerifyArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let config = begin_log(config::load(&args.settings.values)?, steps, terminal)?;
    block_on(commands::verify::verify(config, args.format, terminal))
}

fn process(args: &ProcessArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let config = begin_log(config::load(&args.settings.values)?, steps, terminal)?;
    block_on(commands::process::process(args, config))
}

fn usage(args: &UsageArgs) -> anyhow::Result<Exit> {
    let loaded = config::load(&args.settings.values)?;
    loaded.warnings.iter().for_each(|warning| eprintln!("cdr: {warning}"));
    let text = commands::usage::usage(args, &loaded.config)?;
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Complete),
    }
}

fn demo(args: &DemoArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let loaded = config::load(&commands::demo::flags(args))?;
    let config = begin_log(loaded, steps, terminal)?;
    block_on(commands::demo::demo(args, config, terminal))
}

fn sandbox(args: &SandboxArgs, steps: i32, terminal: &Terminal) -> anyhow::Result<Exit> {
    let config = begin_log(config::load(&FlagValues::default())?, steps, terminal)?;
    block_on(commands::sandbox::sandbox(args, &config))
}

/// Sets logging up as configured, and gives the configuration.
fn begin_log(mut loaded: Loaded, steps: i32, terminal: &Terminal) -> anyhow::Result<Config> {
    let log = &mut loaded.config.log;
    log.level = log.level.shifted(steps);
    telemetry::init(log, terminal)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(loaded.config)
}

fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
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
