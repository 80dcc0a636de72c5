//! `cdr process`: usage from the topics, until a signal comes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use cdr_model::{PerStream, Stream};
use clap::Args;
use indicatif::HumanCount;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::commands::context::Context;
use crate::commands::sandbox::listen;
use crate::commands::signals::Signals;
use crate::config::{Config, ProcessFlags};
use crate::exit::Exit;
use crate::http;
use crate::kafka::{Lags, TopicPartition};
use crate::processing::api;
use crate::processing::metrics::{self, Metrics};
use crate::processing::store::Store;
use crate::processing::{self, Observer, ProcessConfig, Readiness, StoreRetry};
use crate::setup;

pub const EXAMPLES: &str = "\
Examples:
  cdr process                                  count what the topics hold and what comes, into usage.db, until Ctrl-C
  cdr process --until-end                      end when all that there is has been counted
  STORE_URL=postgres://… cdr process           into PostgreSQL; any number of them share the work
  API_PORT=0 METRICS_PORT=0 cdr process        another one on the same host, with ports that are free
  cdr process --restart                        forget what was counted, and begin with the first message

Sums and the place up to which the topics are read change in one transaction, so that every message counts once:
after a kill, a rebalance, or with several processors at once.";

/// `cdr process`.
#[derive(Args)]
pub struct ProcessArgs {
    /// Forget what was counted, and begin with the first message that there is
    #[arg(long)]
    pub restart: bool,

    /// Go on where messages were lost to the topics' retention before they were counted
    #[arg(long)]
    pub accept_loss: bool,

    /// End when all that there is has been counted, rather than wait for more
    #[arg(long)]
    pub until_end: bool,

    #[command(flatten)]
    pub settings: ProcessFlags,
}

/// Counts usage until a signal comes.
///
/// # Errors
/// Whatever keeps it from counting.
pub fn execute(args: &ProcessArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&args.settings.values)?;
    context.block_on(process(args, config))
}

/// At most one line about the course in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

async fn process(args: &ProcessArgs, config: Config) -> anyhow::Result<Exit> {
    let shutdown = CancellationToken::new();
    let signals = Signals::watch(shutdown.clone())?;
    let session = Arc::new(Session::new(&config));
    let servers = Servers::start(&config, &session).await?;
    let outcome = count(args, &config, &shutdown, session.clone()).await;
    servers.stop().await;
    if let Some(exit) = signals.exit() {
        session.log_end();
        return outcome.map(|()| exit).or_else(|error| {
            // Brokers or a store that are away keep nobody from stopping; the rest is kept there.
            info!("Stopped; what was not stored is read again at the next start ({error:#})");
            Ok(exit)
        });
    }
    outcome?;
    session.log_end();
    Ok(Exit::Complete)
}

async fn count(
    args: &ProcessArgs,
    config: &Config,
    shutdown: &CancellationToken,
    session: Arc<Session>,
) -> anyhow::Result<()> {
    let process = setup::process(config, args.accept_loss, args.until_end);
    let retry = retry(config, shutdown, session);
    let store = open(config, args.restart, retry.clone()).await?;
    info!("Connecting to Kafka brokers {}", process.kafka.brokers);
    info!(
        "Counting into the usage store {}, as a member of group {}",
        store.name(),
        process.settings.group
    );
    consume(process, store, retry).await
}

/// A store may be away as long as brokers may.
fn retry(config: &Config, shutdown: &CancellationToken, observer: Arc<dyn Observer>) -> StoreRetry {
    StoreRetry { observer, shutdown: shutdown.clone(), give_up_after: config.kafka.give_up_after }
}

/// Opens the store in a thread that may block, and empties it on demand.
async fn open(config: &Config, restart: bool, retry: StoreRetry) -> anyhow::Result<Store> {
    let config = config.process.store.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = retry.run(|| {
            let mut store = Store::open(&config)?;
            if restart {
                store.clear()?;
            }
            Ok(store)
        })?;
        if restart {
            info!("The usage store {} is emptied; counting from the beginning", store.name());
        }
        anyhow::Ok(store)
    });
    opened.await.context("opening the store ended unexpectedly")?
}

/// Counts in a thread that may block.
async fn consume(process: ProcessConfig, store: Store, retry: StoreRetry) -> anyhow::Result<()> {
    let work = move || processing::process(&process, store, retry);
    Ok(tokio::task::spawn_blocking(work).await.context("counting ended unexpectedly")??)
}

/// Counts what the topics hold, and gives the store.
///
/// # Errors
/// Whatever keeps it from counting.
pub(super) async fn count_to_the_end(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<Store> {
    let process = setup::process(config, false, true);
    let retry = retry(config, shutdown, Arc::new(Session::new(config)));
    let store = open(config, false, retry.clone()).await?;
    consume(process, store, retry).await?;
    Ok(Store::open(&config.process.store)?)
}

/// The usage API and the metrics.
struct Servers {
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Servers {
    async fn start(config: &Config, session: &Session) -> anyhow::Result<Servers> {
        let api = listen(config.api.address(), "API_PORT").await?;
        let metrics = listen((config.metrics.bind, config.metrics.port).into(), "METRICS_PORT").await?;
        let (api_address, metrics_address) = (api.local_addr()?, metrics.local_addr()?);
        info!("Usage API on http://{api_address}, metrics on http://{metrics_address}/metrics");
        if config.api.has_default_password() && !api_address.ip().is_loopback() {
            warn!(
                "The usage API on {api_address} can be reached from other machines, with a password that everybody \
                 knows; set API_PASSWORD"
            );
        }
        let store = config.process.store.clone();
        let answers = api::router(store, config.tariff, &config.api, session.readiness.clone());
        let (counted, readiness) = (session.metrics.clone(), session.readiness.clone());
        let stop = CancellationToken::new();
        let tasks = [
            tokio::spawn(http::serve(api, answers, http::Limits::default(), stop.clone())),
            tokio::spawn(metrics::serve(metrics, counted, readiness, stop.clone())),
        ];
        Ok(Servers { stop, tasks })
    }

    /// Ends when the requests that have begun are answered.
    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                warn!("a server has ended badly: {error}");
            }
        }
    }
}

/// What this process has counted, logged from time to time, and whether it is at work.
#[derive(Debug)]
struct Session {
    counted: PerStream<AtomicU64>,
    dead: AtomicU64,
    behind: AtomicI64,
    times: Mutex<Option<Times>>,
    topics: PerStream<String>,
    metrics: Metrics,
    health: Mutex<Health>,
    readiness: Readiness,
}

/// When something was counted.
#[derive(Clone, Copy, Debug)]
struct Times {
    first_came: Instant,
    last_stored: Instant,
    logged: Instant,
}

/// What it takes to be at work.
#[derive(Clone, Copy, Debug)]
struct Health {
    assigned: bool,
    store: bool,
    brokers: bool,
}

impl Health {
    /// Of a processor that is starting.
    const STARTING: Health = Health { assigned: false, store: true, brokers: true };

    /// What keeps it from its work.
    fn obstacle(self) -> Option<&'static str> {
        match self {
            Health { store: false, .. } => Some("the usage store does not answer"),
            Health { brokers: false, .. } => Some("no Kafka broker is connected"),
            Health { assigned: false, .. } => {
                Some("its consumer group has not assigned it anything to read")
            }
            Health { assigned: true, store: true, brokers: true } => None,
        }
    }
}

impl Session {
    fn new(config: &Config) -> Session {
        Session {
            counted: PerStream::default(),
            dead: AtomicU64::default(),
            behind: AtomicI64::default(),
            times: Mutex::default(),
            topics: config.records.topics.clone(),
            metrics: Metrics::default(),
            health: Mutex::new(Health::STARTING),
            readiness: Readiness::starting(),
        }
    }

    /// Notes something of its health, and whether it is ready then.
    fn note(&self, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut health);
        self.readiness.set(health.obstacle());
    }

    /// `1,000 data and 1,000 voice records`, and the messages that were of no use.
    fn text(&self) -> String {
        let of_stream = |(stream, count): (Stream, &AtomicU64)| {
            format!("{} {}", HumanCount(count.load(Ordering::Relaxed)), stream.short_name())
        };
        let counts: Vec<_> = self.counted.iter().map(of_stream).collect();
        let dead = match self.dead.load(Ordering::Relaxed) {
            0 => String::new(),
            dead => format!(", {} messages could not be used", HumanCount(dead)),
        };
        format!("{} records{dead}", counts.join(" and "))
    }

    fn log_end(&self) {
        let times = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Times { first_came, last_stored, .. }) = times else {
            info!("This session counted nothing: there was nothing new");
            return;
        };
        // Without the time in which it only waited for more.
        let seconds = (last_stored - first_came).as_secs_f64();
        let counted: u64 = self.counted.values().map(|count| count.load(Ordering::Relaxed)).sum();
        let rate = counted as f64 / seconds.max(0.001);
        info!(
            "This session counted {} in {seconds:.1} s: {} records/s",
            self.text(),
            HumanCount(rate as u64)
        );
    }
}

impl Observer for Session {
    fn stored(&self, counted: &PerStream<u64>, batch_time: Duration, store_time: Duration) {
        self.metrics.stored(counted, batch_time, store_time, SystemTime::now());
        for (stream, more) in counted.iter() {
            self.counted[stream].fetch_add(*more, Ordering::Relaxed);
        }
        let now = Instant::now();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let first_came = now.checked_sub(batch_time).unwrap_or(now);
        let times = times.get_or_insert(Times { first_came, last_stored: now, logged: now });
        times.last_stored = now;
        if now - times.logged >= LOG_INTERVAL {
            times.logged = now;
            info!(
                "Counted {}; {} messages behind",
                self.text(),
                HumanCount(self.behind.load(Ordering::Relaxed).unsigned_abs())
            );
        }
    }

    fn dead(&self, stream: Stream, reason: &'static str) {
        self.metrics.dead(&self.topics[stream], reason);
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
        self.note(|health| health.assigned = true);
    }

    fn store_answers(&self, answers: bool) {
        self.note(|health| health.store = answers);
    }

    fn brokers_answer(&self, answer: bool) {
        self.note(|health| health.brokers = answer);
    }

    fn revoked(&self, (topic, partition): &TopicPartition) {
        self.metrics.forget(topic, *partition);
    }
}
