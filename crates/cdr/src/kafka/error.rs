//! What can go wrong with Kafka, and what to do about it.

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::config::KafkaConfig;
use super::rights::Right;

/// Why brokers cannot be worked with. Each message names the thing, the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    #[error(
        "Kafka brokers {brokers} not reachable for {seconds} s ({last}). Are they running and healthy? {hint}"
    )]
    Unreachable { brokers: String, seconds: u64, last: String, hint: String },
    #[error(
        "Kafka brokers {brokers} refused the login: {reason}. Check security.protocol, sasl.mechanism, \
         sasl.username and sasl.password in [kafka.properties]"
    )]
    Authentication { brokers: String, reason: String },
    #[error(
        "no TLS connection to Kafka brokers {brokers}: {reason}. Check in [kafka.properties] ssl.ca.location, the \
         certificate of who vouches for the brokers, and where they require one in return \
         ssl.certificate.location and ssl.key.location"
    )]
    Tls { brokers: String, reason: String },
    #[error(
        "Kafka refused {action} on brokers {brokers}: {reason}. The login lacks the right {right}. Grant it with: {} \
         (kafka-acls.sh --add takes the same options), or sign in as another user (sasl.username in \
         [kafka.properties])", right.grant()
    )]
    Unauthorized { brokers: String, action: String, right: Right, reason: String },
    #[error(
        "another run holds the transactional id \"{id}\" and has taken over; this one stops, nothing is lost. \
         For a second run beside it use --run-name or --shard"
    )]
    Fenced { id: String },
    #[error("[kafka.properties]: {0}")]
    Property(String),
    #[error("Kafka refused {action} on brokers {brokers}: {reason}. {advice}")]
    Rejected { brokers: String, action: String, reason: String, advice: &'static str },
    #[error(
        "waited {seconds} s for {what}, and it did not come about. Kafka brokers {brokers} are there; start again \
         later, or wait longer with KAFKA_GIVE_UP_SECONDS"
    )]
    Waited { brokers: String, seconds: u64, what: String },
    #[error("stopped while waiting for Kafka brokers {brokers}")]
    Stopped { brokers: String },
}

impl KafkaError {
    /// That the brokers refuse something, and will do so again: a right is missing, or it is refused for
    /// what it is.
    pub(super) fn refused(
        config: &KafkaConfig,
        action: &str,
        right: impl FnOnce() -> Right,
        code: Code,
        reason: String,
    ) -> KafkaError {
        let (brokers, action) = (config.brokers.clone(), action.to_owned());
        match recovery(Failure::plain(code)) {
            Recovery::Unauthorized => {
                KafkaError::Unauthorized { brokers, action, right: right(), reason }
            }
            _ => KafkaError::Rejected { brokers, action, reason, advice: advice(code) },
        }
    }

    /// That the client does not take its properties.
    pub(super) fn property(error: ClientError) -> KafkaError {
        KafkaError::Property(error.to_string())
    }
}

/// Why a transaction did not come to its end, and so what to do.
#[derive(Debug)]
pub enum TransactionFailure {
    /// Abort it, and send it again.
    Abort(String),
    /// The producer is of no more use: open a new one, unless another has taken over in the meantime,
    /// which a new one would fence.
    Reopen(String),
    /// Stop.
    Final(KafkaError),
}

impl TransactionFailure {
    /// The error that it ends with, which may be made of the reason.
    pub fn into_error(self, otherwise: impl FnOnce(String) -> KafkaError) -> KafkaError {
        match self {
            TransactionFailure::Final(error) => error,
            TransactionFailure::Abort(reason) | TransactionFailure::Reopen(reason) => otherwise(reason),
        }
    }
}

impl From<KafkaError> for TransactionFailure {
    fn from(error: KafkaError) -> Self {
        TransactionFailure::Final(error)
    }
}

/// What helps when brokers refuse something for what it is.
fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidReplicationFactor => {
            "Set KAFKA_REPLICATION to no more than there are brokers up; 0 chooses by itself"
        }
        Code::InvalidPartitions => "Set KAFKA_PARTITIONS to a number that the brokers allow",
        Code::PolicyViolation | Code::InvalidConfig => {
            "The cluster has a policy of its own: make the topic by hand as it is to be (rpk topic create, kafka-topics.sh --create), and \
             start again"
        }
        Code::InvalidTopic => {
            "Choose another name for the topic, with the setting TOPIC_… that names it"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "Raise max.message.bytes of the topic or message.max.bytes of the brokers, or set a smaller batch.size \
             in [kafka.properties]"
        }
        Code::InvalidTimestamp => {
            "Raise message.timestamp.before.max.ms of the topic (older brokers: \
             message.timestamp.difference.max.ms), or set KAFKA_TIMESTAMP=send"
        }
        Code::InconsistentGroupProtocol => {
            "Its other members share partitions out in another way: end them, such as an older consumer of the same \
             name, or choose another group with PROCESS_GROUP"
        }
        Code::InvalidGroupId => "Choose another name with PROCESS_GROUP",
        Code::GroupMaxSizeReached => {
            "Raise group.max.size of the brokers, or start fewer members than that"
        }
        Code::BadMessage => {
            "A stored batch is corrupt, or the network corrupts it. kcat -X check.crcs=true shows where"
        }
        Code::UnsupportedCompressionType => "Set KAFKA_COMPRESSION to one that the brokers know",
        Code::InvalidTransactionTimeout => {
            "Set KAFKA_TRANSACTION_TIMEOUT_MS to no more than transaction.max.timeout.ms of the brokers"
        }
        Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedForMessageFormat
        | Code::NotImplemented => {
            "The brokers are too old, or have transactions switched off: cdr needs Kafka 2.5 or later, or \
             Redpanda with enable_transactions"
        }
        _ => {
            "The brokers' logs have the reason; cdr run -v logs what was requested. Start again to continue"
        }
    }
}

/// What a failed call calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Call again: the brokers may only be away.
    Retry,
    /// Abort the transaction and send it again.
    Abort,
    /// Open a new producer and read what was committed.
    Reopen,
    /// Another producer has our transactional id.
    Fenced,
    /// No try will help: a right is missing.
    Unauthorized,
    /// No try will help.
    Reject,
}

/// The facts about a failed call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub code: Code,
    pub fatal: bool,
    pub retriable: bool,
    pub abortable: bool,
}

impl Failure {
    /// A code that comes without further facts.
    pub fn plain(code: Code) -> Self {
        Failure { code, fatal: code == Code::Fatal, retriable: false, abortable: false }
    }

    /// What an error has as its text.
    pub fn of(error: &ClientError) -> Failure {
        match error {
            ClientError::Transaction(error) => Failure {
                code: error.code(),
                fatal: error.is_fatal(),
                retriable: error.is_retriable(),
                abortable: error.txn_requires_abort(),
            },
            other => Failure::plain(other.rdkafka_error_code().unwrap_or(Code::Fail)),
        }
    }
}

/// Whether it makes sense to call again: the brokers may only be away.
pub(super) fn is_retriable(error: &ClientError) -> bool {
    recovery(Failure::of(error)) == Recovery::Retry
}

/// Decides what a failed call calls for.
pub(super) fn recovery(failure: Failure) -> Recovery {
    match failure.code {
        Code::Fenced | Code::ProducerFenced => Recovery::Fenced,
        Code::InvalidProducerEpoch if failure.fatal => Recovery::Fenced,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Recovery::Unauthorized,
        _ if failure.abortable => Recovery::Abort,
        _ if failure.fatal => Recovery::Reopen,
        _ if failure.retriable || is_absence(failure.code) => Recovery::Retry,
        _ => Recovery::Reject,
    }
}

/// Codes with which brokers refuse a record for what it is: sending it again does not help.
pub(super) fn is_permanent(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidMessage
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

/// Codes by which a broker, or the way to it, is away for now; among them all of the protocol's that call
/// for another try.
fn is_absence(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::DestroyBroker
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::NetworkException
            | Code::ConcurrentTransactions
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NotController
            | Code::KafkaStorageError
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
            | Code::ListenerNotFound
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
            | Code::UnknownTopicId
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, fatal: bool, retriable: bool, abortable: bool, expected: Recovery) {
        let failure = Failure { code, fatal, retriable, abortable };
        assert_eq!(recovery(failure), expected, "{failure:?}");
    }

    #[test]
    fn a_fenced_producer_never_tries_again() {
        check(Code::Fenced, true, false, false, Recovery::Fenced);
        check(Code::ProducerFenced, true, false, false, Recovery::Fenced);
        check(Code::InvalidProducerEpoch, true, false, false, Recovery::Fenced);
    }

    #[test]
    fn an_epoch_that_the_brokers_bumped_aborts_the_transaction() {
        check(Code::InvalidProducerEpoch, false, false, true, Recovery::Abort);
    }

    #[test]
    fn brokers_that_are_away_are_waited_for() {
        check(Code::AllBrokersDown, false, false, false, Recovery::Retry);
        check(Code::OperationTimedOut, false, true, false, Recovery::Retry);
        check(Code::NotCoordinator, false, false, false, Recovery::Retry);
        // After an election, until the new leader knows how far the others have come.
        check(Code::OffsetNotAvailable, false, false, false, Recovery::Retry);
        check(Code::FencedLeaderEpoch, false, false, false, Recovery::Retry);
        check(Code::KafkaStorageError, false, false, false, Recovery::Retry);
    }

    #[test]
    fn a_message_that_timed_out_aborts_the_transaction() {
        check(Code::MessageTimedOut, false, false, true, Recovery::Abort);
    }

    #[test]
    fn other_fatal_errors_need_a_new_producer() {
        check(Code::OutOfOrderSequenceNumber, true, false, false, Recovery::Reopen);
        check(Code::UnknownProducerId, true, false, false, Recovery::Reopen);
    }

    #[test]
    fn a_missing_right_stops_the_run_even_if_the_transaction_could_be_aborted() {
        check(Code::TopicAuthorizationFailed, false, false, true, Recovery::Unauthorized);
        check(Code::TransactionalIdAuthorizationFailed, true, false, false, Recovery::Unauthorized);
    }

    fn check_advice(code: Code, words: &str) {
        let config = KafkaConfig { brokers: "b:9092".to_owned(), ..KafkaConfig::for_tests() };
        let (action, reason) = ("to create topic cdr_data", code.to_string());
        let right = || Right::on_cluster("Create");
        let text = KafkaError::refused(&config, action, right, code, reason).to_string();
        assert!(
            text.starts_with("Kafka refused to create topic cdr_data on brokers b:9092: "),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn every_refusal_has_a_remedy() {
        check_advice(Code::InvalidReplicationFactor, "KAFKA_REPLICATION");
        check_advice(Code::InvalidPartitions, "KAFKA_PARTITIONS");
        check_advice(Code::PolicyViolation, "make the topic by hand");
        check_advice(Code::MessageSizeTooLarge, "max.message.bytes");
        check_advice(Code::InvalidTimestamp, "KAFKA_TIMESTAMP=send");
        check_advice(Code::InvalidTransactionTimeout, "KAFKA_TRANSACTION_TIMEOUT_MS");
        check_advice(Code::UnsupportedFeature, "too old");
        check_advice(Code::UnsupportedVersion, "too old");
        check_advice(Code::Unknown, "The brokers' logs have the reason");
    }

    #[test]
    fn a_missing_right_is_reported_with_the_command_that_grants_it() {
        let error = KafkaError::Unauthorized {
            brokers: "b:9092".to_owned(),
            action: "to store records".to_owned(),
            right: Right::on_topic("Write", "cdr_data"),
            reason: "Topic authorization failed".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "Kafka refused to store records on brokers b:9092: Topic authorization failed. The login lacks the \
             right Write on topic cdr_data. Grant it with: rpk acl create --allow-principal User:NAME --operation \
             write --topic cdr_data (kafka-acls.sh --add takes the same options), or sign in as another user \
             (sasl.username in [kafka.properties])"
        );
    }

    #[test]
    fn what_cannot_get_better_is_rejected() {
        check(Code::InvalidConfig, false, false, false, Recovery::Reject);
        check(Code::PolicyViolation, false, false, false, Recovery::Reject);
    }
}
