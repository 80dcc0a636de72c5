//! `cdr process`: usage from the topics, until a signal comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cdr_model::{PerStream, Stream};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::commands::context::{Context, blocking};
use crate::commands::sandbox::{Servers, listen};
use crate::commands::signals::Signals;
use crate::config::{Config, Flags, ProcessOnly};
use crate::exit::Exit;
use crate::http;
use crate::kafka::{Lags, Standby, TopicPartition};
use crate::processing::api;
use crate::processing::metrics::{self, Metrics};
use crate::processing::store::Store;
use crate::processing::{self, Observer, Readiness, StoreRetry};
use crate::setup;
use crate::telemetry::units;

pub const EXAMPLES: &str = "\
Examples:
  cdr process                                  count what the topics hold and what comes, into usage.db, until Ctrl-C
  cdr process --until-end                      end when all that there is has been counted
  STORE_URL=postgres://… cdr process           into PostgreSQL; any number of them share the work
  API_PORT=0 METRICS_PORT=0 cdr process        another one on the same host, with ports that are free
  cdr process --restart                        forget what was counted, and begin with the first message

Sums and the offsets up to which the topics are read change in one transaction, so that every message counts once:
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
    pub settings: Flags<ProcessOnly>,
}

/// At most one line about the course in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts usage until a signal comes.
pub async fn execute(args: &ProcessArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&args.settings.values)?;
    let signals = Signals::watch()?;
    let session = Arc::new(Session::new(&config));
    let mut servers = serve(&config, &session).await?;
    let counting = count(args, &config, &signals.shutdown, session.clone());
    let outcome = servers.during(&signals.shutdown, counting).await;
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

/// Serves the usage API and the metrics.
async fn serve(config: &Config, session: &Session) -> anyhow::Result<Servers> {
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
    let mut servers = Servers::default();
    servers.spawn(async move |stop| {
        http::serve(api, answers, http::Limits::default(), stop).await;
        Ok(())
    });
    servers.spawn(async move |stop| {
        metrics::serve(metrics, counted, readiness, stop).await;
        Ok(())
    });
    Ok(servers)
}

async fn count(
    args: &ProcessArgs,
    config: &Config,
    shutdown: &CancellationToken,
    session: Arc<Session>,
) -> anyhow::Result<()> {
    let process = setup::process(config, args.accept_loss, args.until_end);
    let (retry, restart) = (retry(config, shutdown, session), args.restart);
    let counting = move || {
        let store = retry.run(|| {
            let mut store = Store::open(&process.settings.store)?;
            if restart {
                store.clear()?;
            }
            Ok(store)
        })?;
        let (name, group) = (store.name(), &process.settings.group);
        if restart {
            info!("The usage store {name} is emptied; counting from the beginning");
        }
        info!("Connecting to Kafka brokers {}", process.kafka.brokers);
        info!("Counting into the usage store {name}, as a member of group {group}");
        processing::process(&process, store, retry)
    };
    blocking("counting", counting).await
}

/// Counts what the topics hold, and gives the store.
pub(super) async fn count_to_the_end(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<Store> {
    let process = setup::process(config, false, true);
    let retry = retry(config, shutdown, Arc::new(Session::new(config)));
    let counting = move || {
        let store = retry.run(|| Store::open(&process.settings.store))?;
        processing::process(&process, store, retry)?;
        anyhow::Ok(Store::open(&process.settings.store)?)
    };
    blocking("counting", counting).await
}

/// A store may be away as long as brokers may.
fn retry(config: &Config, shutdown: &CancellationToken, observer: Arc<dyn Observer>) -> StoreRetry {
    let (shutdown, give_up_after) = (shutdown.clone(), config.kafka.give_up_after);
    StoreRetry { standby: Standby::default(), observer, shutdown, give_up_after }
}

/// What this process has counted, logged from time to time, and whether it is at work.
struct Session {
    course: Mutex<Course>,
    topics: PerStream<String>,
    metrics: Metrics,
    readiness: Readiness,
}

/// How it has gone so far.
#[derive(Default)]
struct Course {
    counted: PerStream<u64>,
    dead: u64,
    behind: i64,
    times: Option<Times>,
    is_assigned: bool,
    store_is_away: bool,
    brokers_are_away: bool,
}

/// When something was counted.
#[derive(Clone, Copy)]
struct Times {
    first_came: Instant,
    last_stored: Instant,
    logged: Instant,
}

impl Course {
    /// `1,000 data and 1,000 voice records`, and the messages that were of no use.
    fn text(&self) -> String {
        let counts = self.counted.iter();
        let counts = counts.map(|(of, count)| format!("{} {}", units::count(*count), of.short_name()));
        let dead = match self.dead {
            0 => String::new(),
            dead => format!(", {} messages could not be used", units::count(dead)),
        };
        format!("{} records{dead}", counts.collect::<Vec<_>>().join(" and "))
    }

    /// What keeps the processor from its work.
    fn obstacle(&self) -> Option<&'static str> {
        if self.store_is_away {
            Some("the usage store does not answer")
        } else if self.brokers_are_away {
            Some("no Kafka broker is connected")
        } else if !self.is_assigned {
            Some("its consumer group has not assigned it anything to read")
        } else {
            None
        }
    }
}

impl Session {
    fn new(config: &Config) -> Session {
        Session {
            course: Mutex::default(),
            topics: config.records.topics.clone(),
            metrics: Metrics::default(),
            readiness: Readiness::starting(),
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what decides whether it is ready.
    fn note(&self, change: impl FnOnce(&mut Course)) {
        let mut course = self.course();
        change(&mut course);
        self.readiness.set(course.obstacle());
    }

    fn log_end(&self) {
        let course = self.course();
        let Some(Times { first_came, last_stored, .. }) = course.times else {
            info!("This session counted nothing: there was nothing new");
            return;
        };
        // Without the time in which it only waited for more.
        let seconds = (last_stored - first_came).as_secs_f64();
        let rate = course.counted.values().sum::<u64>() as f64 / seconds.max(0.001);
        let (counted, rate) = (course.text(), units::count(rate as u64));
        info!("This session counted {counted} in {seconds:.1} s: {rate} records/s");
    }
}

impl Observer for Session {
    fn stored(&self, counted: &PerStream<u64>, batch_time: Duration, store_time: Duration) {
        self.metrics.stored(counted, batch_time, store_time, SystemTime::now());
        let (mut course, now) = (self.course(), Instant::now());
        for (stream, more) in counted.iter() {
            course.counted[stream] += more;
        }
        let first_came = now.checked_sub(batch_time).unwrap_or(now);
        let times = course.times.get_or_insert(Times { first_came, last_stored: now, logged: now });
        times.last_stored = now;
        if now - times.logged >= LOG_INTERVAL {
            times.logged = now;
            let behind = units::count(course.behind.unsigned_abs());
            info!("Counted {}; {behind} messages behind", course.text());
        }
    }

    fn dead(&self, stream: Stream, reason: &'static str) {
        self.metrics.dead(&self.topics[stream], reason);
        let mut course = self.course();
        course.dead += 1;
        if course.dead == 1 {
            warn!(
                "A message of {stream} cannot be used ({reason}); such messages go to the dead letter topic with the \
                 reason in their headers"
            );
        }
    }

    fn lags(&self, lags: &Lags) {
        self.course().behind = lags.values().map(|lag| lag.behind).sum();
        for ((topic, partition), lag) in lags {
            self.metrics.lag(topic, *partition, lag.behind);
        }
    }

    fn assigned(&self) {
        self.note(|course| course.is_assigned = true);
    }

    fn store_answers(&self, answers: bool) {
        self.note(|course| course.store_is_away = !answers);
    }

    fn brokers_answer(&self, answer: bool) {
        self.note(|course| course.brokers_are_away = !answer);
    }

    fn revoked(&self, (topic, partition): &TopicPartition) {
        self.metrics.forget(topic, *partition);
    }
}
