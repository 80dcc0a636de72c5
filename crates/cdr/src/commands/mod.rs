//! The subcommands: one file for each, with its arguments, its examples and what it does.

pub(crate) mod config;
pub mod context;
mod demo;
mod process;
mod run;
mod sample;
mod sandbox;
mod schema;
mod signals;
mod stats;
mod usage;
mod verify;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Subcommand, ValueEnum};

use self::context::Context;
use crate::exit::Exit;

/// What `cdr` does.
#[derive(Subcommand)]
pub enum Command {
    /// Generate the records and deliver them, continuing where an earlier run stopped
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::RunArgs>),

    /// Compare what was delivered with what should be: nothing missing, doubled or altered
    #[command(after_help = verify::EXAMPLES)]
    Verify(Box<verify::VerifyArgs>),

    /// Count usage from the topics, exactly once, and answer questions about it
    #[command(after_help = process::EXAMPLES)]
    Process(Box<process::ProcessArgs>),

    /// Show what a subscriber used, or who used most
    #[command(after_help = usage::EXAMPLES)]
    Usage(Box<usage::UsageArgs>),

    /// See the whole job work, with an SFTP server and a broker of its own
    #[command(after_help = demo::EXAMPLES)]
    Demo(Box<demo::DemoArgs>),

    /// Serve SFTP and Kafka from this process, to try things out
    #[command(after_help = sandbox::EXAMPLES)]
    Sandbox(sandbox::SandboxArgs),

    /// Print some records
    #[command(after_help = sample::EXAMPLES)]
    Sample(Box<sample::SampleArgs>),

    /// Measure what records are like, against the laws that they should obey
    #[command(after_help = stats::EXAMPLES)]
    Stats(Box<stats::StatsArgs>),

    /// Describe what records hold, for other programs and for people
    #[command(after_help = schema::EXAMPLES)]
    Schema(schema::SchemaArgs),

    /// Show the configuration in force
    #[command(after_help = config::EXAMPLES)]
    Config(Box<config::ConfigArgs>),
}

impl Command {
    /// Does it.
    pub fn execute(&self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Command::Run(args) => context.block_on(run::execute(args, context)),
            Command::Verify(args) => context.block_on(verify::execute(args, context)),
            Command::Process(args) => context.block_on(process::execute(args, context)),
            Command::Usage(args) => usage::execute(args, context),
            Command::Demo(args) => context.block_on(demo::execute(args, context)),
            Command::Sandbox(args) => context.block_on(sandbox::execute(args, context)),
            Command::Sample(args) => sample::execute(args, context),
            Command::Stats(args) => context.block_on(stats::execute(args, context)),
            Command::Schema(args) => schema::execute(args),
            Command::Config(args) => config::execute(args, context),
        }
    }
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// One of some values, by its name.
fn named<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let find = move |given: &str| all.into_iter().find(|one| name(*one) == given);
    PossibleValuesParser::new(all.map(name)).try_map(move |given| find(&given).ok_or("is not known"))
}
