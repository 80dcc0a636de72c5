//! How a client stands to the brokers: how long it tries again while they are away, and what people
//! learn meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config::KafkaConfig;
use super::error::{KafkaError, is_retriable};
use super::health::{Health, HealthContext};
use crate::pause::pause;

/// One line about absent brokers in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// An absence shorter than this, such as an election of a leader, is not worth a line.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// A call is given at least this long, however little time is left.
const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// Between the beginnings of two calls: some errors come at once.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long a shutdown still waits for brokers that are away.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The brokers of a client: logs what is waited for, gives up after the configured time, and ends on
/// shutdown.
pub(super) struct Connection {
    pub config: Arc<KafkaConfig>,
    pub health: Arc<Health>,
    pub shutdown: CancellationToken,
    away_since: Option<Instant>,
    away_logged: Option<Instant>,
    waiting_logged: Option<Instant>,
    shutdown_since: Option<Instant>,
    ever_succeeded: bool,
}

/// Makes a client with a context of its own.
pub(super) fn client_with<C: ClientContext, T: FromClientConfigAndContext<C>>(
    properties: &ClientConfig,
    context: C,
) -> Result<T, KafkaError> {
    // Before the client does it: so OpenSSL does not clean up when the process ends, while threads of
    // clients that were let go (see `close`) free what they hold of it. That ended in SIGABRT.
    #[cfg(feature = "tls")]
    openssl_sys::init();
    properties.create_with_context(context).map_err(KafkaError::property)
}

impl Connection {
    pub fn new(config: &Arc<KafkaConfig>, shutdown: &CancellationToken) -> Self {
        Connection {
            config: config.clone(),
            health: Arc::new(Health::new()),
            shutdown: shutdown.clone(),
            away_since: None,
            away_logged: None,
            waiting_logged: None,
            shutdown_since: None,
            ever_succeeded: false,
        }
    }

    /// Makes a client, which connects when it is used.
    pub fn client<T: FromClientConfigAndContext<HealthContext>>(
        &self,
        properties: &ClientConfig,
    ) -> Result<T, KafkaError> {
        client_with(properties, HealthContext(self.health.clone()))
    }

    /// Calls, each time for at most `longest`, until an answer comes, or an error for which calling
    /// again makes no sense. Fails as [`failure`](Self::failure) does.
    pub fn retry<T>(
        &mut self,
        longest: Duration,
        mut call: impl FnMut(Duration) -> Result<T, ClientError>,
    ) -> Result<Result<T, ClientError>, KafkaError> {
        loop {
            let begun = Instant::now();
            match call(self.longest(longest)) {
                Ok(answer) => {
                    self.success();
                    return Ok(Ok(answer));
                }
                Err(error) if is_retriable(&error) => {
                    self.failure(begun, &error.to_string())?;
                    pause(RETRY_INTERVAL.saturating_sub(begun.elapsed()));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Notes that the brokers did what was requested.
    pub fn success(&mut self) {
        if self.away_logged.take().is_some() {
            info!("Kafka brokers {} are back", self.config.brokers);
        }
        self.away_since = None;
        self.ever_succeeded = true;
        self.health.clear();
    }

    /// How long the next call may block: not beyond the time at which we give up.
    pub fn longest(&self, call: Duration) -> Duration {
        let away = self.away_since.map_or(Duration::ZERO, |since| since.elapsed());
        call.min(self.config.give_up_after.saturating_sub(away)).max(SHORTEST_CALL)
    }

    /// Fails when what was reported last is that the brokers refuse the login or the TLS handshake.
    fn check_login(&self) -> Result<(), KafkaError> {
        let Some((code, reason)) = self.health.last() else { return Ok(()) };
        let brokers = self.config.brokers.clone();
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                Err(KafkaError::Authentication { brokers, reason })
            }
            Code::SSL => Err(KafkaError::Tls { brokers, reason }),
            _ => Ok(()),
        }
    }

    /// Notes that a call which began at `since` did not succeed in its time, for `why`. Fails when waiting
    /// longer makes no sense: the time is over, the login is refused, or on shutdown.
    pub fn failure(&mut self, since: Instant, why: &str) -> Result<(), KafkaError> {
        if !self.ever_succeeded {
            self.check_login()?;
        }
        self.check_shutdown()?;
        let away = self.away_since.get_or_insert(since).elapsed();
        let brokers = &self.config.brokers;
        if away >= self.config.give_up_after {
            let (brokers, last) = (brokers.clone(), self.health.last_text(why));
            let hint = self.config.start_hint.clone();
            return Err(KafkaError::Unreachable { brokers, seconds: nearest(away), last, hint });
        }
        if away >= QUIET_FOR && is_due(&mut self.away_logged) {
            warn!(
                "Kafka brokers {brokers} are away ({}); trying again for up to {} s. {}",
                self.health.last_text(why),
                at_most(self.config.give_up_after - away),
                self.config.start_hint
            );
        }
        Ok(())
    }

    /// Notes that the brokers are there, but that `what` has not come about since then. Fails when the time
    /// is over, or on shutdown.
    pub fn waiting(&mut self, since: Instant, what: &str) -> Result<(), KafkaError> {
        self.check_shutdown()?;
        let waited = since.elapsed();
        if waited >= self.config.give_up_after {
            let (brokers, what) = (self.config.brokers.clone(), what.to_owned());
            return Err(KafkaError::Waited { brokers, seconds: nearest(waited), what });
        }
        if waited >= QUIET_FOR && is_due(&mut self.waiting_logged) {
            warn!("Waiting for {what}, for up to {} s", at_most(self.config.give_up_after - waited));
        }
        Ok(())
    }

    /// Fails on shutdown, unless brokers that answered before are away only for a moment.
    fn check_shutdown(&mut self) -> Result<(), KafkaError> {
        if self.shutdown.is_cancelled() {
            let since = *self.shutdown_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SHUTDOWN_TIMEOUT || !self.ever_succeeded {
                return Err(KafkaError::Stopped { brokers: self.config.brokers.clone() });
            }
        }
        Ok(())
    }
}

/// Whether it is time for a line again; notes that it is written.
fn is_due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// In whole seconds, rounded.
fn nearest(time: Duration) -> u64 {
    time.as_secs_f64().round() as u64
}

/// In whole seconds, and never none while there is some time left.
fn at_most(time: Duration) -> u64 {
    time.as_secs_f64().ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(seconds: u64) -> Connection {
        let (brokers, give_up_after) = ("b:9092".to_owned(), Duration::from_secs(seconds));
        let config = KafkaConfig { brokers, give_up_after, ..KafkaConfig::for_tests() };
        Connection::new(&Arc::new(config), &CancellationToken::new())
    }

    fn ago(ms: u64) -> Instant {
        Instant::now() - Duration::from_millis(ms)
    }

    #[test]
    fn the_deadline_counts_from_the_beginning_of_the_first_call_that_failed() {
        let mut connection = connection(3);
        assert!(connection.failure(ago(2_000), "no answer").is_ok());
        let left = connection.longest(Duration::from_secs(2));
        assert!(left <= Duration::from_secs(1) && left > Duration::from_millis(900), "{left:?}");
        assert!(connection.failure(ago(10), "no answer").is_ok(), "1 s is left");
        connection.away_since = Some(ago(3_001));
        let error = connection.failure(ago(10), "no answer").unwrap_err().to_string();
        assert!(error.contains("b:9092 not reachable for 3 s (no answer)"), "{error}");
        assert_eq!(connection.longest(Duration::from_secs(2)), SHORTEST_CALL);
    }

    #[test]
    fn success_ends_an_absence() {
        let mut connection = connection(3);
        connection.failure(ago(2_900), "no answer").unwrap();
        connection.success();
        assert_eq!(connection.longest(Duration::from_secs(2)), Duration::from_secs(2));
        assert!(connection.failure(ago(2_900), "no answer").is_ok());
    }

    #[test]
    fn what_is_waited_for_is_not_reported_as_absent_brokers() {
        let mut connection = connection(3);
        assert!(connection.waiting(ago(2_900), "a transaction to end").is_ok());
        let error = connection.waiting(ago(3_100), "a transaction to end").unwrap_err().to_string();
        assert!(error.starts_with("waited 3 s for a transaction to end"), "{error}");
        assert!(error.contains("b:9092 are there"), "{error}");
    }

    #[test]
    fn seconds_left_are_never_none() {
        assert_eq!(at_most(Duration::from_millis(1)), 1);
        assert_eq!(at_most(Duration::from_millis(1_001)), 2);
    }
}
