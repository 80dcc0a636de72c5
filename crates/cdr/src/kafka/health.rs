//! What librdkafka reports in its own threads.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{debug, warn};

use crate::telemetry::{RateLimit, and_more};

/// Kinds of log lines whose news comes as an error too, where it is reported once and clearly, or is the
/// ordinary course of things, such as a coordinator that needs a moment for a new producer.
const REPORTED_OTHERWISE: [&str; 6] = ["FAIL", "ERROR", "GETPID", "TXNERR", "FATAL", "ADDPARTS"];

/// Observes everything that librdkafka reports.
#[derive(Clone)]
pub(super) struct HealthContext(pub Arc<Health>);

impl ClientContext for HealthContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            // A client that nobody polls reports a failed connection only here.
            self.0.note(Code::BrokerTransportFailure, reason_of(message));
        }
        if facility == "ADDPARTS"
            && let Some(topic) = denied_topic(message)
        {
            // The transaction's own error does not name the topic.
            self.0.deny(topic);
        }
        let serious = (level as i32) <= RDKafkaLogLevel::Warning as i32;
        if serious && !REPORTED_OTHERWISE.contains(&facility) {
            if let Some(more) = self.0.log_lines.pass(facility) {
                warn!(target: "librdkafka", "{facility}: {message}{}", and_more(more));
            }
        } else {
            debug!(target: "librdkafka", "{facility}: {message}");
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        debug!(target: "librdkafka", "{error}: {reason}");
        if let Some(code) = error.rdkafka_error_code() {
            self.0.note(code, reason);
        }
    }
}

impl ProducerContext for HealthContext {
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

impl ConsumerContext for HealthContext {}

/// What failed last on the connections to the brokers.
pub(super) struct Health {
    /// The code, and the reason in plain words.
    last: Mutex<Option<(Code, String)>>,
    /// Topics that the login may not write to.
    denied: Mutex<BTreeSet<String>>,
    denial: Condvar,
    log_lines: RateLimit,
}

impl Health {
    pub fn new() -> Self {
        let log_lines = RateLimit::new(Duration::from_secs(10));
        Health { last: Mutex::default(), denied: Mutex::default(), denial: Condvar::new(), log_lines }
    }

    fn deny(&self, topic: &str) {
        lock(&self.denied).insert(topic.to_owned());
        self.denial.notify_all();
    }

    /// Topics that were denied, as soon as there are any, and none when there are none within `longest`.
    pub fn denied(&self, longest: Duration) -> Vec<String> {
        let waited =
            self.denial.wait_timeout_while(lock(&self.denied), longest, |denied| denied.is_empty());
        let (denied, _) = waited.unwrap_or_else(PoisonError::into_inner);
        denied.iter().cloned().collect()
    }

    fn note(&self, code: Code, reason: &str) {
        let code = if code == Code::BrokerTransportFailure { code_of(reason) } else { code };
        let mut last = lock(&self.last);
        // "All brokers are down" only sums up what was logged about each.
        if last.is_none() || code != Code::AllBrokersDown {
            *last = Some((code, plain(reason).to_owned()));
        }
    }

    pub fn clear(&self) {
        *lock(&self.last) = None;
    }

    pub fn last(&self) -> Option<(Code, String)> {
        lock(&self.last).clone()
    }

    /// What was reported last, or else `otherwise`.
    pub fn last_text(&self, otherwise: &str) -> String {
        match self.last() {
            None => otherwise.to_owned(),
            Some((_, closed)) if closed.contains("connection closed by peer") => {
                format!("{closed}; listeners that want TLS or a login do so, see security.protocol")
            }
            Some((_, reason)) => reason,
        }
    }
}

/// Takes a lock, also of one who panicked.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the failure of a connection is about, as far as its words go.
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

/// What went wrong by a log line: `[thrd:x]: x/bootstrap: REASON (after 0ms in state CONNECT)`.
fn reason_of(line: &str) -> &str {
    plain(line.split_once("]: ").map_or(line, |(_, rest)| rest))
}

/// The topic of a line by which a transaction may not hold it:
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, code: Code, reason: &str) {
        assert_eq!((code_of(line), reason_of(line)), (code, reason));
    }

    #[test]
    fn a_refused_connection_is_reported_in_its_own_words() {
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
    fn the_topic_that_may_not_be_written_to_is_named() {
        let line = "[thrd:b:9092/1]: b:9092/1: Failed to add partition \"cdr_data\" [0] to transaction: Broker: \
                    Topic authorization failed";
        assert_eq!(denied_topic(line), Some("cdr_data"));
        let line =
            "Failed to add partition \"cdr_data\" [0] to transaction: Broker: Operation not attempted";
        assert_eq!(denied_topic(line), None);
    }

    #[test]
    fn a_topic_whose_denial_is_reported_late_is_waited_for() {
        let health = Health::new();
        assert_eq!(health.denied(Duration::ZERO), Vec::<String>::new());
        std::thread::scope(|scope| {
            let queried = scope.spawn(|| health.denied(Duration::from_secs(60)));
            health.deny("cdr_data");
            assert_eq!(queried.join().unwrap(), ["cdr_data"]);
        });
    }

    #[test]
    fn a_line_of_another_form_is_kept() {
        check("no form at all", Code::BrokerTransportFailure, "no form at all");
    }
}
