//! How long to retry while brokers are away, and what people learn meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::config::KafkaConfig;
use super::error::{KafkaError, is_permanent};
use super::health::{Health, plain};

/// One line about absent brokers in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// An absence shorter than this, such as an election of a leader, is not worth a line.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// A call is given at least this long, however little time is left.
const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// How long the line that names a denied topic may take to come after the error.
const DENIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a shutdown still waits for brokers that are away.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The deadline of retries: logs what is waited for, gives up after the configured time, and ends on
/// shutdown.
pub(super) struct RetryDeadline {
    health: Arc<Health>,
    shutdown: CancellationToken,
    give_up_after: Duration,
    start_hint: String,
    away_since: Option<Instant>,
    away_logged: Option<Instant>,
    waiting_logged: Option<Instant>,
    shutdown_since: Option<Instant>,
    ever_succeeded: bool,
}

impl RetryDeadline {
    pub fn new(health: Arc<Health>, shutdown: CancellationToken, config: &KafkaConfig) -> Self {
        RetryDeadline {
            health,
            shutdown,
            give_up_after: config.give_up_after,
            start_hint: config.start_hint.clone(),
            away_since: None,
            away_logged: None,
            waiting_logged: None,
            shutdown_since: None,
            ever_succeeded: false,
        }
    }

    /// Notes that the brokers did what was requested.
    pub fn success(&mut self) {
        if self.away_logged.take().is_some() {
            info!("Kafka brokers {} are back", self.health.brokers);
        }
        self.away_since = None;
        self.ever_succeeded = true;
        self.health.clear();
    }

    /// Why the brokers refuse records whatever is tried, if they do.
    pub fn refusal(&self) -> Option<(Code, String)> {
        let (code, reason) = self.health.last()?;
        is_permanent(code).then(|| (code, plain(&reason).to_owned()))
    }

    /// Topics that the login turned out not to be allowed to write to. The client's calls fail before
    /// its log lines arrive, which come by another thread and are alone in naming the topic.
    pub fn denied_topics(&self) -> Vec<String> {
        self.health.denied(DENIAL_TIMEOUT)
    }

    /// How long the next call may block: not beyond the time at which we give up.
    pub fn longest(&self, call: Duration) -> Duration {
        let away = self.away_since.map_or(Duration::ZERO, |since| since.elapsed());
        call.min(self.give_up_after.saturating_sub(away)).max(SHORTEST_CALL)
    }

    /// Fails when what was reported last is that the brokers refuse the login or the TLS handshake.
    fn check_login(&self) -> Result<(), KafkaError> {
        let Some((code, reason)) = self.health.last() else { return Ok(()) };
        let (brokers, reason) = (self.health.brokers.clone(), plain(&reason).to_owned());
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                Err(KafkaError::Authentication { brokers, reason })
            }
            Code::SSL => Err(KafkaError::Tls { brokers, reason }),
            _ => Ok(()),
        }
    }

    /// Notes that a call which began at `since` did not succeed in its time, for `why`.
    ///
    /// # Errors
    /// When waiting longer makes no sense: the time is over, the login is refused, or on shutdown.
    pub fn failure(&mut self, since: Instant, why: &str) -> Result<(), KafkaError> {
        if !self.ever_succeeded {
            self.check_login()?;
        }
        self.check_shutdown()?;
        let away = self.away_since.get_or_insert(since).elapsed();
        let brokers = &self.health.brokers;
        if away >= self.give_up_after {
            let (brokers, last) = (brokers.clone(), self.health.last_text(why));
            let hint = self.start_hint.clone();
            return Err(KafkaError::Unreachable { brokers, seconds: nearest(away), last, hint });
        }
        if away >= QUIET_FOR && is_due(&mut self.away_logged) {
            warn!(
                "Kafka brokers {brokers} are away ({}); trying again for up to {} s. {}",
                self.health.last_text(why),
                at_most(self.give_up_after - away),
                self.start_hint
            );
        }
        Ok(())
    }

    /// Notes that the brokers are there, but that `what` has not come about since then.
    ///
    /// # Errors
    /// When waiting longer makes no sense: the time is over, or on shutdown.
    pub fn waiting(&mut self, since: Instant, what: &str) -> Result<(), KafkaError> {
        self.check_shutdown()?;
        let waited = since.elapsed();
        if waited >= self.give_up_after {
            let (brokers, what) = (self.health.brokers.clone(), what.to_owned());
            return Err(KafkaError::Waited { brokers, seconds: nearest(waited), what });
        }
        if waited >= QUIET_FOR && is_due(&mut self.waiting_logged) {
            warn!("Waiting for {what}, for up to {} s", at_most(self.give_up_after - waited));
        }
        Ok(())
    }

    /// Fails on shutdown, unless brokers that answered before are away only for a moment.
    fn check_shutdown(&mut self) -> Result<(), KafkaError> {
        if self.shutdown.is_cancelled() {
            let since = *self.shutdown_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SHUTDOWN_TIMEOUT || !self.ever_succeeded {
                return Err(KafkaError::Stopped { brokers: self.health.brokers.clone() });
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

    fn deadline(seconds: u64) -> RetryDeadline {
        let give_up_after = Duration::from_secs(seconds);
        let config = KafkaConfig { give_up_after, ..KafkaConfig::for_tests() };
        let health = Arc::new(Health::new("b:9092"));
        RetryDeadline::new(health, CancellationToken::new(), &config)
    }

    fn ago(ms: u64) -> Instant {
        Instant::now() - Duration::from_millis(ms)
    }

    #[test]
    fn the_deadline_counts_from_the_beginning_of_the_first_call_that_failed() {
        let mut deadline = deadline(3);
        assert!(deadline.failure(ago(2_000), "no answer").is_ok());
        let left = deadline.longest(Duration::from_secs(2));
        assert!(left <= Duration::from_secs(1) && left > Duration::from_millis(900), "{left:?}");
        assert!(deadline.failure(ago(10), "no answer").is_ok(), "1 s is left");
        deadline.away_since = Some(ago(3_001));
        let error = deadline.failure(ago(10), "no answer").unwrap_err().to_string();
        assert!(error.contains("b:9092 not reachable for 3 s (no answer)"), "{error}");
        assert_eq!(deadline.longest(Duration::from_secs(2)), SHORTEST_CALL);
    }

    #[test]
    fn success_ends_an_absence() {
        let mut deadline = deadline(3);
        deadline.failure(ago(2_900), "no answer").unwrap();
        deadline.success();
        assert_eq!(deadline.longest(Duration::from_secs(2)), Duration::from_secs(2));
        assert!(deadline.failure(ago(2_900), "no answer").is_ok());
    }

    #[test]
    fn what_is_waited_for_is_not_reported_as_absent_brokers() {
        let mut deadline = deadline(3);
        assert!(deadline.waiting(ago(2_900), "a transaction to end").is_ok());
        let error = deadline.waiting(ago(3_100), "a transaction to end").unwrap_err().to_string();
        assert!(error.starts_with("waited 3 s for a transaction to end"), "{error}");
        assert!(error.contains("b:9092 are there"), "{error}");
    }

    #[test]
    fn seconds_left_are_never_none() {
        assert_eq!(at_most(Duration::from_millis(1)), 1);
        assert_eq!(at_most(Duration::from_millis(1_001)), 2);
    }
}
