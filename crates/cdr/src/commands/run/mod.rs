//! `cdr run`: finds out where to begin, and delivers from there to the end.

mod dry_run;
mod session;
mod start;

use cdr_model::resume::{IndexOwner, StartMode};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::session::Session;
use self::start::{Start, lock_index};
use crate::commands::context::Context;
use crate::commands::signals::Signals;
use crate::config::{Config, Flags, RunOnly, load};
use crate::delivery::{DeliveryError, RunEnd};
use crate::exit::Exit;
use crate::files::sftp::SftpSink;
use crate::kafka::KafkaError;
use crate::output::print;
use crate::setup;
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
pub async fn execute(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
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
    run(&config, mode, &context.terminal).await
}

/// Runs the job as configured.
pub(super) async fn run(config: &Config, mode: StartMode, terminal: &Terminal) -> anyhow::Result<Exit> {
    let signals = Signals::watch()?;
    let result = start_and_deliver(config, mode, terminal, &signals.shutdown).await;
    let exit = match (result, signals.exit()) {
        (Ok(Some(RunEnd::Finished)), _) | (Ok(None), None) => return Ok(Exit::Complete),
        // A run that stops itself does so by an error; without one, somebody requested it.
        (Ok(Some(RunEnd::Stopped)), None) => return Ok(Exit::Failed),
        (Ok(_), Some(exit)) => exit,
        (Err(error), Some(exit)) if was_interrupted(&error) => exit,
        (Err(error), _) => return Err(error),
    };
    let name = &config.run.name;
    info!("Stopped; progress is saved. Start run {name} again with the same settings to continue it");
    Ok(exit)
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
    let (targets, file_sinks) = setup::sinks(config, SftpSink::new)?;
    let start = Start { config, mode, local: index.read(), targets };
    let Some(found) = shutdown.run_until_cancelled(start.find_point(shutdown)).await else {
        return Ok(None);
    };
    let Some((point, fenced)) = found? else {
        index.remove()?;
        info!("Run {} is finished already; --restart begins a new one", config.run.name);
        return Ok(None);
    };
    let targets = start.targets;
    let records = match fenced {
        Some(fenced) => Some(point.record_start(fenced, &targets).await?),
        None => None,
    };
    let complete = point.cursors.complete_before(&targets);
    let complete = complete.and_then(|cursor| point.run.plan.before(cursor));
    let (parameters, owned) = (point.run.parameters.clone(), targets.clone());
    index.begin(&IndexOwner { parameters, targets: owned }, complete)?;
    let session = Session { config, terminal, shutdown: shutdown.clone(), point, targets };
    session.log_start();
    session.deliver(index, file_sinks, records).await.map(Some)
}
