//! What librdkafka tells in its own threads, and how long to wait for brokers that are away.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{debug, info, warn};

use super::error::{KafkaSinkError, is_permanent};
use crate::delivery::board::Board;
use crate::telemetry::{RateLimit, and_more};

/// One line about absent brokers in this time.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(5);

/// An absence shorter than this, such as an election of a leader, is not worth a line.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// A call is given at least this long, however little time is left.
const SHORTEST_CALL: Duration = Duration::from_millis(50);

/// How long the line that names a denied topic may take to come after the error.
const DENIAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long a run that is to stop still waits for brokers that are away.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Kinds of log lines whose news comes as an error too, where it is told once and clearly, or is the
/// ordinary course of things, such as a coordinator that needs a moment for a new producer.
const TOLD_OTHERWISE: [&str; 6] = ["FAIL", "ERROR", "GETPID", "TXNERR", "FATAL", "ADDPARTS"];

/// Hears everything that librdkafka has to say.
#[derive(Clone)]
pub(super) struct Watch(pub Arc<Health>);

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            // A client that nobody polls tells of a failed connection only here.
            self.0.note(Code::BrokerTransportFailure, reason_of(message));
        }
        if facility == "ADDPARTS"
            && let Some(topic) = denied_topic(message)
        {
            // The transaction's own error does not tell which topic it is about.
            self.0.deny(topic);
        }
        let serious = (level as i32) <= RDKafkaLogLevel::Warning as i32;
        if serious && !TOLD_OTHERWISE.contains(&facility) {
            if let Some(more) = self.0.log_lines.pass(facility) {
                warn!(target: "librdkafka", "{facility}: {message}{}", and_more(more));
            }
        } else {
            debug!(target: "librdkafka", "{facility}: {message}");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", "{error}: {reason}");
        if let Some(code) = error.rdkafka_error_code() {
            self.0.note(code, reason);
        }
    }
}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, message)) = result
            && let Some(code) = error.rdkafka_error_code()
        {
            if code == Code::TopicAuthorizationFailed {
                self.0.deny(message.topic());
            }
            self.0.note(code, &error.to_string());
        }
    }
}

impl ConsumerContext for Watch {}

/// The latest trouble of a connection to the brokers.
pub(super) struct Health {
    brokers: String,
    last: Mutex<Option<(Code, String)>>,
    /// Topics that the login may not write to.
    denied: Mutex<BTreeSet<String>>,
    denial: Condvar,
    log_lines: RateLimit<String>,
}

impl Health {
    pub fn new(brokers: &str) -> Self {
        let log_lines = RateLimit::new(Duration::from_secs(10));
        let (last, denied) = (Mutex::default(), Mutex::default());
        Health { brokers: brokers.to_owned(), last, denied, denial: Condvar::new(), log_lines }
    }

    fn deny(&self, topic: &str) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        self.denial.notify_all();
    }

    /// Topics that were denied, as soon as there are any, and none when there are none within `longest`.
    fn denied(&self, longest: Duration) -> Vec<String> {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let none_yet = |denied: &mut BTreeSet<String>| denied.is_empty();
        let waited = self.denial.wait_timeout_while(denied, longest, none_yet);
        let (denied, _) = waited.unwrap_or_else(PoisonError::into_inner);
        denied.iter().cloned().collect()
    }

    fn note(&self, code: Code, reason: &str) {
        let code = if code == Code::BrokerTransportFailure { code_of(reason) } else { code };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers are down" only sums up what was said about each.
        if last.is_none() || code != Code::AllBrokersDown {
            *last = Some((code, reason.to_owned()));
        }
    }

    fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last(&self) -> Option<(Code, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was heard last, or else `otherwise`.
    fn last_text(&self, otherwise: &str) -> String {
        let Some((_, reason)) = self.last() else { return otherwise.to_owned() };
        match plain(&reason) {
            closed if closed.contains("connection closed by peer") => {
                format!("{closed}; listeners that want TLS or a login do so, see security.protocol")
            }
            reason => reason.to_owned(),
        }
    }
}

/// What the failure of a connection is about, as far as its words tell.
fn code_of(reason: &str) -> Code {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("authentication") {
        Code::Authentication
    } else if reason.contains("ssl routines") {
        Code::SSL
    } else {
        Code::BrokerTransportFailure
    }
}

/// What a log line says went wrong: `[thrd:x]: x/bootstrap: REASON (after 0ms in state CONNECT)`.
fn reason_of(line: &str) -> &str {
    plain(line.split_once("]: ").map_or(line, |(_, rest)| rest))
}

/// The topic of a line that says that a transaction may not hold it:
/// `Failed to add partition "cdr_data" [0] to transaction: Broker: Topic authorization failed`.
fn denied_topic(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("partition \"")?;
    let (topic, why) = rest.split_once('"')?;
    why.contains("authorization failed").then_some(topic)
}

/// A reason without the broker's name before it and the connection's state behind it, which mean
/// little to users.
fn plain(reason: &str) -> &str {
    let reason = match reason.split_once(": ") {
        Some((broker, rest)) if broker.contains('/') => rest,
        _ => reason,
    };
    reason.split_once(" (after ").map_or(reason, |(reason, _)| reason)
}

/// Lets some time pass before brokers are asked again.
#[expect(clippy::disallowed_methods, reason = "the sink has a thread of its own, with no other task")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits for brokers: tells the user, gives up after the configured time, and ends when asked to.
pub(super) struct Patience {
    health: Arc<Health>,
    board: Arc<Board>,
    give_up_after: Duration,
    away_since: Option<Instant>,
    announced: Option<Instant>,
    /// When it was last told what is waited for.
    told: Option<Instant>,
    stopping_since: Option<Instant>,
    ever_succeeded: bool,
}

impl Patience {
    pub fn new(health: Arc<Health>, board: Arc<Board>, give_up_after: Duration) -> Self {
        Patience {
            health,
            board,
            give_up_after,
            away_since: None,
            announced: None,
            told: None,
            stopping_since: None,
            ever_succeeded: false,
        }
    }

    /// Says that the brokers did what they were asked.
    pub fn success(&mut self) {
        if self.announced.take().is_some() {
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
        self.health.denied(DENIAL_PATIENCE)
    }

    /// How long the next call may block: not beyond the time at which we give up.
    pub fn longest(&self, call: Duration) -> Duration {
        let away = self.away_since.map_or(Duration::ZERO, |since| since.elapsed());
        call.min(self.give_up_after.saturating_sub(away)).max(SHORTEST_CALL)
    }

    /// Fails when what was heard last is that the brokers let nobody in who comes like this.
    fn not_let_in(&self) -> Result<(), KafkaSinkError> {
        let Some((code, reason)) = self.health.last() else { return Ok(()) };
        let (brokers, reason) = (self.health.brokers.clone(), plain(&reason).to_owned());
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                Err(KafkaSinkError::Authentication { brokers, reason })
            }
            Code::SSL => Err(KafkaSinkError::Tls { brokers, reason }),
            _ => Ok(()),
        }
    }

    /// Says that a call which began at `since` did not succeed in its time, for `why`.
    ///
    /// # Errors
    /// When waiting longer makes no sense: the time is over, the login is refused, or the run stops.
    pub fn failure(&mut self, since: Instant, why: &str) -> Result<(), KafkaSinkError> {
        if !self.ever_succeeded {
            self.not_let_in()?;
        }
        self.check_stop()?;
        let away = self.away_since.get_or_insert(since).elapsed();
        let brokers = &self.health.brokers;
        if away >= self.give_up_after {
            let (brokers, last) = (brokers.clone(), self.health.last_text(why));
            return Err(KafkaSinkError::Unreachable { brokers, seconds: nearest(away), last });
        }
        if away >= QUIET_FOR && is_due(&mut self.announced) {
            warn!(
                "Kafka brokers {brokers} are away ({}); trying again for up to {} s. If they are not running, start \
                 them with: docker-compose up -d redpanda-0 redpanda-1 redpanda-2",
                self.health.last_text(why),
                at_most(self.give_up_after - away)
            );
        }
        Ok(())
    }

    /// Says that the brokers are there, but that `what` has not come about since then.
    ///
    /// # Errors
    /// When waiting longer makes no sense: the time is over, or the run stops.
    pub fn waiting(&mut self, since: Instant, what: &str) -> Result<(), KafkaSinkError> {
        self.check_stop()?;
        let waited = since.elapsed();
        if waited >= self.give_up_after {
            let (brokers, what) = (self.health.brokers.clone(), what.to_owned());
            return Err(KafkaSinkError::Waited { brokers, seconds: nearest(waited), what });
        }
        if waited >= QUIET_FOR && is_due(&mut self.told) {
            warn!("Waiting for {what}, for up to {} s", at_most(self.give_up_after - waited));
        }
        Ok(())
    }

    /// Fails when the run is to stop, and nothing or too much was waited for.
    fn check_stop(&mut self) -> Result<(), KafkaSinkError> {
        if self.board.is_stopping() {
            let since = *self.stopping_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= STOP_PATIENCE || !self.ever_succeeded {
                return Err(KafkaSinkError::Stopped { brokers: self.health.brokers.clone() });
            }
        }
        Ok(())
    }
}

/// Whether it is time for a line again; notes that it is written.
fn is_due(last: &mut Option<Instant>) -> bool {
    let due = last.is_none_or(|at| at.elapsed() >= ANNOUNCE_EVERY);
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

    fn check(line: &str, code: Code, reason: &str) {
        assert_eq!((code_of(line), reason_of(line)), (code, reason));
    }

    #[test]
    fn a_refused_connection_is_told_in_its_own_words() {
        check(
            "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: \
             Connection refused (after 0ms in state CONNECT)",
            Code::BrokerTransportFailure,
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
        );
    }

    #[test]
    fn a_refused_login_is_recognised() {
        check(
            "[thrd:sasl_plaintext://b:9092/bootstrap]: sasl_plaintext://b:9092/bootstrap: SASL SCRAM-SHA-512 \
             mechanism handshake failed: Authentication failed during authentication (after 5ms in state AUTH)",
            Code::Authentication,
            "SASL SCRAM-SHA-512 mechanism handshake failed: Authentication failed during authentication",
        );
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_recognised() {
        check(
            "[thrd:ssl://b:9093/bootstrap]: ssl://b:9093/bootstrap: SSL handshake failed: error:0A000086:SSL \
             routines::certificate verify failed (after 3ms in state SSL_HANDSHAKE)",
            Code::SSL,
            "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
        );
    }

    #[test]
    fn the_topic_that_may_not_be_written_to_is_told() {
        let line = "[thrd:b:9092/1]: b:9092/1: Failed to add partition \"cdr_data\" [0] to transaction: Broker: \
                    Topic authorization failed";
        assert_eq!(denied_topic(line), Some("cdr_data"));
        let line =
            "Failed to add partition \"cdr_data\" [0] to transaction: Broker: Operation not attempted";
        assert_eq!(denied_topic(line), None);
    }

    #[test]
    fn a_topic_whose_denial_is_told_late_is_waited_for() {
        let health = Health::new("b:9092");
        assert_eq!(health.denied(Duration::ZERO), Vec::<String>::new());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| health.denied(Duration::from_secs(60)));
            health.deny("cdr_data");
            assert_eq!(asked.join().unwrap(), ["cdr_data"]);
        });
    }

    fn patience(seconds: u64) -> Patience {
        let health = Arc::new(Health::new("b:9092"));
        Patience::new(health, Arc::new(Board::default()), Duration::from_secs(seconds))
    }

    fn ago(ms: u64) -> Instant {
        Instant::now() - Duration::from_millis(ms)
    }

    #[test]
    fn patience_counts_from_the_beginning_of_the_first_call_that_failed() {
        let mut patience = patience(3);
        assert!(patience.failure(ago(2_000), "no answer").is_ok());
        let left = patience.longest(Duration::from_secs(2));
        assert!(left <= Duration::from_secs(1) && left > Duration::from_millis(900), "{left:?}");
        assert!(patience.failure(ago(10), "no answer").is_ok(), "1 s is left");
        patience.away_since = Some(ago(3_001));
        let error = patience.failure(ago(10), "no answer").unwrap_err().to_string();
        assert!(error.contains("b:9092 not reachable for 3 s (no answer)"), "{error}");
        assert_eq!(patience.longest(Duration::from_secs(2)), SHORTEST_CALL);
    }

    #[test]
    fn success_ends_an_absence() {
        let mut patience = patience(3);
        patience.failure(ago(2_900), "no answer").unwrap();
        patience.success();
        assert_eq!(patience.longest(Duration::from_secs(2)), Duration::from_secs(2));
        assert!(patience.failure(ago(2_900), "no answer").is_ok());
    }

    #[test]
    fn what_is_waited_for_is_not_told_as_absent_brokers() {
        let mut patience = patience(3);
        assert!(patience.waiting(ago(2_900), "a transaction to end").is_ok());
        let error = patience.waiting(ago(3_100), "a transaction to end").unwrap_err().to_string();
        assert!(error.starts_with("waited 3 s for a transaction to end"), "{error}");
        assert!(error.contains("b:9092 are there"), "{error}");
    }

    #[test]
    fn seconds_left_are_never_none() {
        assert_eq!(at_most(Duration::from_millis(1)), 1);
        assert_eq!(at_most(Duration::from_millis(1_001)), 2);
    }

    #[test]
    fn a_line_of_another_form_is_kept() {
        check("no form at all", Code::BrokerTransportFailure, "no form at all");
    }
}
