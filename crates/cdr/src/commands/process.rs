//! `cdr process`: usage from the topics, until a signal comes.

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use cdr_model::Stream;
use indicatif::HumanCount;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cli::ProcessArgs;
use crate::commands::sandbox::listen;
use crate::commands::signals::Signals;
use crate::config::Config;
use crate::delivery::board::Board;
use crate::delivery::sink::kafka::{Lags, TopicPartition};
use crate::exit::Exit;
use crate::processing::api::{self, Api, Readiness};
use crate::processing::metrics::{self, Metrics, StoredBatch};
use crate::processing::store::Store;
use crate::processing::watch::Watcher;
use crate::processing::{self, ProcessConfig};
use crate::setup;

/// At most one line about the course in this time.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Counts usage until a signal comes.
///
/// # Errors
/// Whatever keeps it from counting.
pub async fn process(args: &ProcessArgs, config: Config) -> anyhow::Result<Exit> {
    let board = Arc::new(Board::default());
    let signals = Signals::watch(board.clone())?;
    let counts = Arc::new(Counts::new(&config));
    let servers = Servers::start(&config, &counts).await?;
    let outcome = count(args, &config, &board, counts.clone()).await;
    servers.stop().await;
    if let Some(exit) = signals.exit() {
        counts.tell_end();
        return outcome.map(|()| exit).or_else(|error| {
            // Brokers or a store that are away keep nobody from stopping; the rest is kept there.
            info!("Stopped; what was not stored is read again at the next start ({error:#})");
            Ok(exit)
        });
    }
    outcome?;
    counts.tell_end();
    Ok(Exit::Complete)
}

async fn count(
    args: &ProcessArgs,
    config: &Config,
    board: &Arc<Board>,
    counts: Arc<Counts>,
) -> anyhow::Result<()> {
    let process = setup::process(config, args.accept_loss, args.until_end);
    let store = open(config, &process, args.restart, board.clone(), counts.clone()).await?;
    info!("Connecting to Kafka brokers {}", process.kafka.brokers);
    info!("Counting into the usage store {}, as a member of group {}", store.name(), process.group);
    consume(process, store, board.clone(), counts).await
}

/// Opens the store in a thread that may block, and empties it on demand.
async fn open(
    config: &Config,
    process: &ProcessConfig,
    restart: bool,
    board: Arc<Board>,
    watcher: Arc<dyn Watcher>,
) -> anyhow::Result<Store> {
    let (stored, kafka) = (config.process.store.clone(), process.kafka.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let store = processing::open(&stored, restart, &kafka, &board, &*watcher)?;
        if restart {
            info!("The usage store {} is emptied; counting anew", store.name());
        }
        anyhow::Ok(store)
    });
    opened.await.context("opening the store ended unexpectedly")?
}

/// Counts in a thread that may block.
async fn consume(
    process: ProcessConfig,
    store: Store,
    board: Arc<Board>,
    watcher: Arc<dyn Watcher>,
) -> anyhow::Result<()> {
    let work = move || processing::process(&process, store, &board, &watcher);
    Ok(tokio::task::spawn_blocking(work).await.context("counting ended unexpectedly")??)
}

/// Counts what the topics hold, and gives the store.
///
/// # Errors
/// Whatever keeps it from counting.
pub(super) async fn count_to_the_end(config: &Config, board: &Arc<Board>) -> anyhow::Result<Store> {
    let process = setup::process(config, false, true);
    let counts = Arc::new(Counts::new(config));
    let store = open(config, &process, false, board.clone(), counts.clone()).await?;
    consume(process, store, board.clone(), counts).await?;
    Ok(Store::open(&config.process.store)?)
}

/// The usage API and the metrics.
struct Servers {
    stop: CancellationToken,
    tasks: [JoinHandle<io::Result<()>>; 2],
}

impl Servers {
    async fn start(config: &Config, counts: &Counts) -> anyhow::Result<Servers> {
        let api = listen(config.api.address, "API_PORT").await?;
        let metrics = listen(config.metrics, "METRICS_PORT").await?;
        let (api_address, metrics_address) = (api.local_addr()?, metrics.local_addr()?);
        info!("Usage API on http://{api_address}, metrics on http://{metrics_address}/metrics");
        if config.api.password_is_default && !api_address.ip().is_loopback() {
            warn!(
                "The usage API on {api_address} can be reached from other machines, with a password that everybody \
                 knows; set API_PASSWORD"
            );
        }
        let store = config.process.store.clone();
        let answers = Api::new(store, config.tariff, &config.api, counts.readiness.clone());
        let stop = CancellationToken::new();
        let tasks = [
            tokio::spawn(api::serve(api, answers, stop.clone().cancelled_owned())),
            tokio::spawn(metrics::serve(
                metrics,
                counts.metrics.clone(),
                stop.clone().cancelled_owned(),
            )),
        ];
        Ok(Servers { stop, tasks })
    }

    /// Ends when the requests that have begun are answered.
    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!("a server has ended badly: {error}"),
                Err(error) => warn!("a server has ended badly: {error}"),
            }
        }
    }
}

/// What was counted by this process, told from time to time.
#[derive(Debug)]
struct Counts {
    counted: [AtomicU64; 2],
    dead: AtomicU64,
    behind: AtomicI64,
    course: Mutex<Option<Course>>,
    topics: [String; 2],
    metrics: Metrics,
    standing: Mutex<Standing>,
    readiness: Readiness,
}

/// When something was counted.
#[derive(Clone, Copy, Debug)]
struct Course {
    first_came: Instant,
    last_stored: Instant,
    told: Instant,
}

/// What it takes to be at work.
#[derive(Clone, Copy, Debug)]
struct Standing {
    assigned: bool,
    store: bool,
    brokers: bool,
}

impl Standing {
    /// Of a processor that is starting.
    const STARTING: Standing = Standing { assigned: false, store: true, brokers: true };

    /// What keeps it from its work.
    fn obstacle(self) -> Option<&'static str> {
        match self {
            Standing { store: false, .. } => Some("the usage store does not answer"),
            Standing { brokers: false, .. } => Some("no Kafka broker is connected"),
            Standing { assigned: false, .. } => Some("its consumer group has not told it what to read"),
            Standing { assigned: true, store: true, brokers: true } => None,
        }
    }
}

impl Counts {
    fn new(config: &Config) -> Counts {
        Counts {
            counted: Default::default(),
            dead: AtomicU64::default(),
            behind: AtomicI64::default(),
            course: Mutex::default(),
            topics: [config.kafka.topic_data.clone(), config.kafka.topic_voice.clone()],
            metrics: Metrics::new(),
            standing: Mutex::new(Standing::STARTING),
            readiness: Readiness::starting(),
        }
    }

    /// Notes something of its standing, and tells whether it is ready then.
    fn stands(&self, note: impl FnOnce(&mut Standing)) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut standing);
        match standing.obstacle() {
            None => self.readiness.set_ready(),
            Some(obstacle) => self.readiness.set_not_ready(obstacle),
        }
    }

    fn counted(&self) -> [u64; 2] {
        self.counted.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// `1,000 data and 1,000 voice records`, and the messages that were of no use.
    fn text(&self) -> String {
        let [data, voice] = self.counted().map(HumanCount);
        let dead = match self.dead.load(Ordering::Relaxed) {
            0 => String::new(),
            dead => format!(", {} messages could not be used", HumanCount(dead)),
        };
        format!("{data} data and {voice} voice records{dead}")
    }

    fn tell_end(&self) {
        let course = *self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Course { first_came, last_stored, .. }) = course else {
            info!("This start counted nothing: there was nothing new");
            return;
        };
        // Without the time in which it only waited for more.
        let seconds = (last_stored - first_came).as_secs_f64();
        let rate = self.counted().iter().sum::<u64>() as f64 / seconds.max(0.001);
        info!(
            "This start counted {} in {seconds:.1} s: {} records/s",
            self.text(),
            HumanCount(rate as u64)
        );
    }
}

impl Watcher for Counts {
    fn stored(&self, counted: [u64; 2], batch_time: Duration, store_time: Duration) {
        let [data, voice] = counted;
        let at = SystemTime::now();
        self.metrics.stored(&StoredBatch { data, voice, batch_time, store_time, at });
        for (count, more) in self.counted.iter().zip(counted) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        let now = Instant::now();
        let mut course = self.course.lock().unwrap_or_else(PoisonError::into_inner);
        let first_came = now.checked_sub(batch_time).unwrap_or(now);
        let course = course.get_or_insert(Course { first_came, last_stored: now, told: now });
        course.last_stored = now;
        if now - course.told >= TOLD_EVERY {
            course.told = now;
            info!(
                "Counted {}; {} messages behind",
                self.text(),
                HumanCount(self.behind.load(Ordering::Relaxed).unsigned_abs())
            );
        }
    }

    fn dead(&self, stream: Stream, reason: &'static str) {
        self.metrics.dead(&self.topics[stream as usize], reason);
        if self.dead.fetch_add(1, Ordering::Relaxed) == 0 {
            warn!(
                "A message of {stream} cannot be used ({reason}); such messages go to the dead letter topic with the \
                 reason in their headers"
            );
        }
    }

    fn lags(&self, lags: &Lags) {
        self.behind.store(lags.values().map(|lag| lag.behind).sum(), Ordering::Relaxed);
        for ((topic, partition), lag) in lags {
            self.metrics.lag(topic, *partition, lag.behind);
        }
    }

    fn assigned(&self) {
        self.stands(|standing| standing.assigned = true);
    }

    fn store_answers(&self, answers: bool) {
        self.stands(|standing| standing.store = answers);
    }

    fn brokers_answer(&self, answer: bool) {
        self.stands(|standing| standing.brokers = answer);
    }

    fn gone(&self, (topic, partition): &TopicPartition) {
        self.metrics.forget(topic, *partition);
    }
}
