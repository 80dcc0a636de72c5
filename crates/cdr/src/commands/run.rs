//! `cdr run`: finds out where to begin, and delivers from there to the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cdr_model::progress::{Cursors, Parameters, Places, Progress, RecordCursor, Sinks};
use cdr_model::resume::{Decision, Destination, Facts, IndexOwner, LocalIndex, Wish, decide, stands};
use cdr_model::{Generator, Micros, PartIndex, Plan, Scenario, Shard};
use chrono::{NaiveDateTime, SubsecRound, TimeDelta, Utc};
use tracing::info;

use crate::commands::signals::Signals;
use crate::config::{Config, Pace, StartTime};
use crate::delivery::board::Board;
use crate::delivery::index::{IndexError, IndexFile};
use crate::delivery::milestones::Milestones;
use crate::delivery::pace::SimulatedClock;
use crate::delivery::sink::directory::DirectoryStore;
use crate::delivery::sink::files::Store;
use crate::delivery::sink::kafka::{Claim, Connection, KafkaSinkError, Lookout, next_time};
use crate::delivery::sink::sftp::SftpStore;
use crate::delivery::{Job, KafkaStart, Outcome};
use crate::exit::Exit;
use crate::setup;
use crate::telemetry::{self, Counters, Display, Mode, Snapshot, Terminal};

/// Runs the job as configured.
///
/// # Errors
/// Whatever keeps the run from its end; progress up to then is kept.
pub async fn run(config: Config, wish: Wish, terminal: &Terminal) -> anyhow::Result<Exit> {
    let board = Arc::new(Board::default());
    let signals = Signals::watch(board.clone())?;
    let result = begin_and_deliver(&config, wish, terminal, board.clone()).await;
    match (result, signals.exit()) {
        (Ok(Some(Outcome::Finished)), _) | (Ok(None), None) => Ok(Exit::Complete),
        (Ok(_), Some(exit)) => Ok(stopped(&config, exit)),
        // A run that stops itself does so by an error; without one, somebody asked for it.
        (Ok(Some(Outcome::Stopped)), None) => Ok(Exit::Failed),
        (Err(error), Some(exit)) if was_interrupted(&error) => Ok(stopped(&config, exit)),
        (Err(error), _) => Err(error),
    }
}

fn stopped(config: &Config, exit: Exit) -> Exit {
    let name = &config.run.name;
    info!("Stopped; progress is saved. Start run {name} again with the same settings to continue it");
    exit
}

/// Whether an error only says that waiting was cut short.
fn was_interrupted(error: &anyhow::Error) -> bool {
    use crate::delivery::DeliveryError;
    let kafka = error.downcast_ref::<KafkaSinkError>().or(match error.downcast_ref() {
        Some(DeliveryError::Kafka(error)) => Some(error),
        _ => None,
    });
    matches!(kafka, Some(KafkaSinkError::Stopped { .. }))
}

/// `None`: there was nothing to do, or the run was stopped before it began.
async fn begin_and_deliver(
    config: &Config,
    wish: Wish,
    terminal: &Terminal,
    board: Arc<Board>,
) -> anyhow::Result<Option<Outcome>> {
    let index = lock_index(config).await?;
    // It reads the key file, and uses no network yet.
    let sftp = setup::sinks(config).sftp.then(|| SftpStore::new(setup::sftp(config))).transpose()?;
    let start = Start::new(config, wish, index.read());
    let begin = tokio::select! {
        found = start.find_beginning(&board) => found?,
        () = board.stopped() => return Ok(None),
    };
    let Some(Beginning { judgement, kafka }) = begin else {
        index.remove()?;
        info!("Run {} is finished already; --restart begins a new one", config.run.name);
        return Ok(None);
    };
    let Judgement { world, cursors, decision } = judgement;
    let (sinks, places) = (start.sinks, start.places);
    let (claim, found) = kafka.unzip();
    let kafka = prepare(claim).await?.zip(found).map(|(connection, found)| {
        let begun_ms = Utc::now().timestamp_millis();
        let new = || {
            let parameters = world.parameters.clone();
            connection.new_progress(parameters, places.clone(), &found, cursors, begun_ms)
        };
        let known = match decision {
            Decision::Continue(_) => found.progress.clone(),
            _ => None,
        };
        let mut progress = Progress { cursors, finished: false, ..known.unwrap_or_else(new) };
        progress.places.extend(places.clone());
        KafkaStart { connection, progress, recorded: found.progress }
    });
    let stores = stores(config, sftp)?;
    let complete = cursors.complete_before(sinks).and_then(|cursor| world.plan.before(cursor));
    let parameters = world.parameters.clone();
    index.begin(&IndexOwner { parameters, places }, complete)?;
    let anew = matches!(decision, Decision::Start);
    announce(config, &world.plan, anew, &cursors, sinks);
    let run = Run { config, terminal, board, world, cursors, sinks };
    run.deliver(index, stores, kafka).await.map(Some)
}

/// A start that has not found out yet where to begin.
struct Start<'a> {
    config: &'a Config,
    wish: Wish,
    local: LocalIndex,
    index_file: String,
    sinks: Sinks,
    places: Places,
}

/// What some facts say of the run, and where it begins by them.
struct Judgement {
    world: World,
    decision: Decision,
    /// Of a decision to deliver.
    cursors: Cursors,
}

/// Where a run begins, and its hold on Kafka, if it delivers there.
struct Beginning {
    judgement: Judgement,
    kafka: Option<(Claim, Destination)>,
}

impl<'a> Start<'a> {
    fn new(config: &'a Config, wish: Wish, local: LocalIndex) -> Self {
        let index_file = config.run.index_file.display().to_string();
        let (sinks, places) = (setup::sinks(config), setup::places(config));
        Start { config, wish, local, index_file, sinks, places }
    }

    /// Decides where to begin, by Kafka and the index file alone; `None` if the run is finished.
    ///
    /// The first decision is made by a look that disturbs nobody: a start that is refused must not
    /// end a healthy process of the run. The one that counts is made once all others are fenced.
    async fn find_beginning(&self, board: &Arc<Board>) -> anyhow::Result<Option<Beginning>> {
        if !self.sinks.kafka {
            let judgement = self.judge(None)?.into_action()?;
            return Ok(judgement.map(|judgement| Beginning { judgement, kafka: None }));
        }
        let (lookout, seen) = look(self.config, board).await?;
        let judgement = self.judge(Some(&seen))?;
        if stands(&judgement.decision, &seen) && judgement.into_action()?.is_none() {
            return Ok(None);
        }
        let (claim, found) = blocking("claiming the run's transactions", || lookout.claim()).await?;
        let Some(judgement) = self.judge(Some(&found))?.into_action()? else { return Ok(None) };
        Ok(Some(Beginning { judgement, kafka: Some((claim, found)) }))
    }

    fn judge(&self, destination: Option<&Destination>) -> anyhow::Result<Judgement> {
        let start = start_time(self.config, self.wish, &self.local, destination)?;
        let world = World::new(self.config, start)?;
        let decision = decide(&Facts {
            plan: &world.plan,
            parameters: &world.parameters,
            sinks: self.sinks,
            places: &self.places,
            destination: destination.cloned(),
            local: self.local.clone(),
            index_file: &self.index_file,
            wish: self.wish,
        });
        let cursors = match decision {
            Decision::Continue(cursors) | Decision::Adopt(cursors) => cursors,
            _ => world.first_cursors(self.sinks),
        };
        Ok(Judgement { world, decision, cursors })
    }
}

impl Judgement {
    /// `None` if nothing is left to do.
    ///
    /// # Errors
    /// The conflict for which the run is refused.
    fn into_action(self) -> anyhow::Result<Option<Judgement>> {
        match self.decision {
            Decision::Refuse(conflict) => Err(conflict.into()),
            Decision::Finished => Ok(None),
            Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => Ok(Some(self)),
        }
    }
}

/// A process that was just killed may hold the lock for a moment longer.
async fn lock_index(config: &Config) -> anyhow::Result<IndexFile> {
    let (path, shard) = (&config.run.index_file, setup::run_id(config)?.shard);
    for _ in 0..20 {
        match IndexFile::lock(path, shard) {
            Err(IndexError::Locked(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            result => return Ok(result?),
        }
    }
    Ok(IndexFile::lock(path, shard)?)
}

async fn look(config: &Config, board: &Arc<Board>) -> anyhow::Result<(Lookout, Destination)> {
    let (kafka, id, board) = (setup::kafka(config), setup::run_id(config)?, board.clone());
    info!("Connecting to Kafka brokers {}", kafka.brokers);
    blocking("connecting to Kafka", move || Lookout::open(kafka, id, board)).await
}

async fn prepare(claim: Option<Claim>) -> anyhow::Result<Option<Connection>> {
    let Some(claim) = claim else { return Ok(None) };
    blocking("preparing Kafka", || claim.prepare()).await.map(Some)
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> Result<T, KafkaSinkError> + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    Ok(done.with_context(|| format!("{what} ended unexpectedly"))??)
}

/// The file stores of the run. The SFTP server is connected to beside the delivery of records, which
/// its absence does not hold up.
fn stores(config: &Config, sftp: Option<SftpStore>) -> anyhow::Result<Vec<(Store, usize)>> {
    let sftp = sftp.map(|store| (Store::Sftp(store), config.sftp.in_flight));
    let directory = match setup::sinks(config).directory {
        true => {
            let store = DirectoryStore::open(&config.run.directory)?;
            Some((Store::Directory(store), DIRECTORY_IN_FLIGHT))
        }
        false => None,
    };
    Ok(sftp.into_iter().chain(directory).collect())
}

/// Files written to the local directory at once; some wait for the disk while others are made.
const DIRECTORY_IN_FLIGHT: usize = 8;

/// The run's base time. A run that began "now" keeps the time at which it began.
fn start_time(
    config: &Config,
    wish: Wish,
    local: &LocalIndex,
    found: Option<&Destination>,
) -> anyhow::Result<NaiveDateTime> {
    if let StartTime::At(start) = config.data.start {
        return Ok(start);
    }
    let noted = noted_start(found.and_then(|found| found.progress.as_ref()), local);
    noted.filter(|_| wish != Wish::Restart).map_or_else(|| begin_now(config), Ok)
}

/// The base time that a run has noted when it began: in its progress, or else beside its index file.
pub(super) fn noted_start(recorded: Option<&Progress>, local: &LocalIndex) -> Option<NaiveDateTime> {
    let local = match local {
        LocalIndex::Complete { owner, .. } => owner.as_ref().map(|owner| &owner.parameters),
        _ => None,
    };
    let known = recorded.map(|progress| &progress.parameters).or(local)?;
    NaiveDateTime::parse_from_str(known.get("START")?, "%Y-%m-%d %H:%M:%S").ok()
}

/// The base time of a run that begins now: the first window begins one interval after it.
///
/// # Errors
/// A scenario that cannot be simulated.
pub(super) fn begin_now(config: &Config) -> anyhow::Result<NaiveDateTime> {
    let now = Utc::now().naive_utc().trunc_subsecs(0);
    let interval_s = World::new(config, now)?.plan.interval_s();
    Ok(now - TimeDelta::seconds(i64::try_from(interval_s)?))
}

/// What is simulated, and how it is cut into parts.
pub struct World {
    pub scenario: Scenario,
    pub plan: Plan,
    pub parameters: Parameters,
}

impl World {
    /// # Errors
    /// A scenario that cannot be simulated.
    pub fn new(config: &Config, start: NaiveDateTime) -> anyhow::Result<World> {
        let scenario = setup::scenario(config, start)?;
        let plan = Plan::new(&scenario, setup::run_id(config)?.shard)?;
        let plan = if config.run.follow { plan.without_end() } else { plan };
        let parameters = setup::parameters(config, &scenario);
        Ok(World { scenario, plan, parameters })
    }

    /// The same over all shards.
    ///
    /// # Errors
    /// As `new`.
    pub fn whole(config: &Config, start: NaiveDateTime) -> anyhow::Result<World> {
        let World { scenario, plan: _, parameters } = World::new(config, start)?;
        let plan = Plan::new(&scenario, Shard::WHOLE)?;
        let plan = if config.run.follow { plan.without_end() } else { plan };
        Ok(World { scenario, plan, parameters })
    }

    fn first_cursors(&self, sinks: Sinks) -> Cursors {
        let first = self.plan.first();
        Cursors {
            kafka: sinks.kafka.then_some(RecordCursor::at(first)),
            sftp: sinks.sftp.then_some(first),
            directory: sinks.directory.then_some(first),
        }
    }
}

fn announce(config: &Config, plan: &Plan, anew: bool, cursors: &Cursors, sinks: Sinks) {
    let name = &config.run.name;
    let shard = match setup::run_id(config) {
        Ok(id) if !id.shard.is_whole() => format!(", shard {}", id.shard),
        _ => String::new(),
    };
    let (parts, lines) = (plan.parts(), plan.line_count());
    if anew {
        info!("Starting run {name}{shard}: {parts} parts of {lines} + {lines} records");
    } else {
        let at = |used: bool, what: &str, cursor: Option<PartIndex>| {
            let done = cursor.filter(|_| used).map(|cursor| plan.parts_before(cursor));
            done.map(|done| format!("{what} of {done}"))
        };
        let done: Vec<String> = [
            at(sinks.kafka, "records", cursors.kafka.map(|cursor| cursor.part)),
            at(sinks.sftp, "files", cursors.sftp),
            at(sinks.directory, "local files", cursors.directory),
        ]
        .into_iter()
        .flatten()
        .collect();
        info!("Continuing run {name}{shard}: {} of {parts} parts are delivered", done.join(", "));
    }
    if sinks.sftp {
        let sftp = setup::sftp(config);
        info!("Connecting to SFTP server {} as {}", sftp.address(), sftp.user);
    }
    if plan.is_endless() {
        info!("Following without end after these; stop with Ctrl-C");
    }
}

/// A run that knows where it begins.
struct Run<'a> {
    config: &'a Config,
    terminal: &'a Terminal,
    board: Arc<Board>,
    world: World,
    cursors: Cursors,
    sinks: Sinks,
}

impl Run<'_> {
    async fn deliver(
        self,
        index: IndexFile,
        stores: Vec<(Store, usize)>,
        kafka: Option<KafkaStart>,
    ) -> anyhow::Result<Outcome> {
        let World { scenario, plan, .. } = &self.world;
        let generator = Arc::new(Generator::new(scenario)?);
        let counters = Arc::new(self.counters(kafka.as_ref().map(|start| &start.progress)));
        let clock = Arc::new(self.clock(&generator));
        let display = self.display(&counters)?;
        let (begun, before) = (Instant::now(), counters.snapshot());
        let sftp = stores.iter().find_map(|(store, _)| match store {
            Store::Sftp(store) => Some(store.clone()),
            Store::Directory(_) => None,
        });
        let job = Job {
            plan: plan.clone(),
            generator,
            line_end: setup::line_end(self.config),
            clock,
            board: self.board.clone(),
            counters: counters.clone(),
            cursors: self.cursors,
            milestones: Milestones::new(plan.clone(), self.sinks, index, counters.clone()),
            stores,
            kafka,
        };
        let outcome = job.deliver().await;
        if let Some(sftp) = sftp {
            sftp.close().await;
        }
        display.stop();
        let outcome = outcome?;
        self.summarise(&counters, before, begun, outcome);
        Ok(outcome)
    }

    /// Counts from where earlier starts of the same run came to.
    fn counters(&self, progress: Option<&Progress>) -> Counters {
        let plan = &self.world.plan;
        let counters = Counters::new(if plan.is_endless() { 0 } else { plan.parts() });
        let before = |cursor| plan.parts_before(cursor);
        let complete = self.cursors.complete_before(self.sinks).map_or(0, before);
        let files = [self.cursors.sftp.filter(|_| self.sinks.sftp), self.cursors.directory];
        let files = files.into_iter().flatten().min().map_or(0, before);
        let kafka = self.cursors.kafka.map_or(0, |cursor| before(cursor.part));
        let delivered = |topic: &str| {
            let counts = progress.and_then(|progress| progress.delivered.get(topic));
            counts.map_or(0, |counts| counts.iter().sum::<i64>().unsigned_abs())
        };
        let data = delivered(&self.config.kafka.topic_data);
        let voice = delivered(&self.config.kafka.topic_voice);
        counters.preset(complete, [kafka, files], [data, voice]);
        counters
    }

    fn clock(&self, generator: &Generator) -> SimulatedClock {
        let plan = &self.world.plan;
        let realtime = matches!(self.config.run.pace, Pace::Factor(1.0));
        if self.config.data.start == StartTime::Now && (realtime || self.config.run.follow) {
            return SimulatedClock::wall();
        }
        let Cursors { kafka, sftp, directory } = self.cursors;
        let record = kafka.and_then(|cursor| next_time(generator, plan, &cursor));
        let files = [sftp, directory].into_iter().flatten().map(|cursor| plan.part(cursor).start);
        // The sink that came furthest shows how far simulated time had come.
        let at = files.chain(record).max().unwrap_or(Micros(0));
        SimulatedClock::new(setup::pace(self.config, plan), at, plan.history_end())
    }

    fn display(&self, counters: &Arc<Counters>) -> anyhow::Result<Display> {
        let mode = Mode::choose(&self.config.log, self.terminal.is_terminal());
        let files = self.sinks.sftp || self.sinks.directory;
        let sinks = telemetry::Sinks { kafka: self.sinks.kafka, files };
        Display::start(mode, sinks, counters.clone(), self.terminal).context("cannot show progress")
    }

    fn summarise(&self, counters: &Counters, before: Snapshot, begun: Instant, outcome: Outcome) {
        let (plan, now) = (&self.world.plan, counters.snapshot());
        let parts = now.parts_complete;
        let [data, voice] = match self.sinks.kafka {
            true => counters.records(),
            false => [parts * u64::from(plan.line_count()); 2],
        };
        if outcome == Outcome::Finished {
            telemetry::log_completion(data, voice, parts);
        }
        let mut done = now.since(&before);
        if !self.sinks.kafka {
            done.records = 2 * done.parts_complete * u64::from(plan.line_count());
        }
        telemetry::log_effort(&done, begun.elapsed());
    }
}
