//! `cdr run`: finds out where to begin, and delivers from there to the end.

mod dry_run;
mod session;
mod start;

use cdr_model::resume::{Decision, IndexOwner, StartMode};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::session::{Session, log_start};
use self::start::{ResumeOutcome, Start, StartPoint, lock_index, prepare, record_start};
use crate::commands::context::Context;
use crate::commands::signals::Signals;
use crate::config::{Config, Flags, RunOnly, load};
use crate::delivery::{DeliveryError, RunEnd};
use crate::exit::Exit;
use crate::kafka::KafkaError;
use crate::output::print;
use crate::setup::{self, Access, Sinks};
use crate::telemetry::Terminal;

pub const EXAMPLES: &str = "\
Examples:
  cdr run                                      all records to SFTP and Kafka, continuing where it stopped
  cdr run --sinks directory --directory out    files to a folder only
  cdr run --start now --pace realtime --follow a live stream without end
  cdr run --shard 2/8                          the second of eight processes that share the work
  cdr run --dry-run                            what would be delivered, and where";

/// `cdr run`.
#[derive(Args)]
pub struct RunArgs {
    /// Begin again at the first record, whatever was delivered before
    #[arg(long, conflicts_with = "trust_index")]
    pub restart: bool,

    /// Continue from the local index file although the destination's progress is another
    #[arg(long)]
    pub trust_index: bool,

    /// Show what would be delivered, and deliver nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub settings: Flags<RunOnly>,
}

/// Runs the job, or shows its plan.
///
/// # Errors
/// Whatever keeps the run from its end; progress up to then is kept.
pub fn execute(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
    let loaded = load(&args.settings.values)?;
    if args.dry_run {
        print(&dry_run::describe(&loaded.config)?)?;
        return Ok(Exit::Complete);
    }
    let config = context.begin_log(loaded)?;
    let mode = match (args.restart, args.trust_index) {
        (true, _) => StartMode::Restart,
        (false, true) => StartMode::TrustIndex,
        (false, false) => StartMode::Continue,
    };
    context.block_on(run(config, mode, &context.terminal))
}

/// Runs the job as configured.
pub(super) async fn run(config: Config, mode: StartMode, terminal: &Terminal) -> anyhow::Result<Exit> {
    let shutdown = CancellationToken::new();
    let signals = Signals::watch(shutdown.clone())?;
    let result = start_and_deliver(&config, mode, terminal, &shutdown).await;
    match (result, signals.exit()) {
        (Ok(Some(RunEnd::Finished)), _) | (Ok(None), None) => Ok(Exit::Complete),
        (Ok(_), Some(exit)) => Ok(stopped(&config, exit)),
        // A run that stops itself does so by an error; without one, somebody requested it.
        (Ok(Some(RunEnd::Stopped)), None) => Ok(Exit::Failed),
        (Err(error), Some(exit)) if was_interrupted(&error) => Ok(stopped(&config, exit)),
        (Err(error), _) => Err(error),
    }
}

fn stopped(config: &Config, exit: Exit) -> Exit {
    let name = &config.run.name;
    info!("Stopped; progress is saved. Start run {name} again with the same settings to continue it");
    exit
}

/// Whether an error only means that waiting was cut short.
fn was_interrupted(error: &anyhow::Error) -> bool {
    let kafka = error.downcast_ref::<KafkaError>().or(match error.downcast_ref() {
        Some(DeliveryError::Kafka(error)) => Some(error),
        _ => None,
    });
    matches!(kafka, Some(KafkaError::Stopped { .. }))
}

/// `None`: there was nothing to do, or the run was stopped before it began.
async fn start_and_deliver(
    config: &Config,
    mode: StartMode,
    terminal: &Terminal,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<RunEnd>> {
    let index = lock_index(config).await?;
    // It reads the key file, and uses no network yet.
    let Sinks { targets, files: file_sinks } = setup::sinks(config, Access::Deliver)?;
    let start = Start::new(config, mode, index.read(), targets);
    let found = tokio::select! {
        found = start.find_point(shutdown) => found?,
        () = shutdown.cancelled() => return Ok(None),
    };
    let Some(StartPoint { resume, kafka }) = found else {
        index.remove()?;
        info!("Run {} is finished already; --restart begins a new one", config.run.name);
        return Ok(None);
    };
    let ResumeOutcome { run, cursors, decision } = resume;
    let targets = start.targets;
    let records = match kafka {
        Some((producer, state)) => {
            let ready = prepare(producer, run.plan.clone()).await?;
            Some(record_start(ready, state, &decision, &run, &targets, &cursors))
        }
        None => None,
    };
    let complete = cursors.complete_before(&targets).and_then(|cursor| run.plan.before(cursor));
    let (parameters, owned) = (run.parameters.clone(), targets.clone());
    index.begin(&IndexOwner { parameters, targets: owned }, complete)?;
    log_start(config, &run.plan, decision == Decision::Start, &cursors, &targets);
    let session = Session { config, terminal, shutdown: shutdown.clone(), run, cursors, targets };
    session.deliver(index, file_sinks, records).await.map(Some)
}
