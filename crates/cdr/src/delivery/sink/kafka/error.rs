//! What can go wrong with Kafka, and what to do about it.

use cdr_model::resume::Conflict;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::rights::Right;

/// Why the Kafka sink cannot go on. Each message names the thing, the address and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSinkError {
    #[error(
        "Kafka brokers {brokers} not reachable for {seconds} s ({last}). Are they running and healthy? \
         Start them with: docker-compose up -d redpanda-0 redpanda-1 redpanda-2"
    )]
    Unreachable { brokers: String, seconds: u64, last: String },
    #[error(
        "Kafka brokers {brokers} refused the login: {reason}. Check security.protocol, sasl.mechanism, \
         sasl.username and sasl.password in [kafka.properties]"
    )]
    Authentication { brokers: String, reason: String },
    #[error(
        "no TLS connection to Kafka brokers {brokers}: {reason}. Check in [kafka.properties] ssl.ca.location, the \
         certificate of who vouches for the brokers, and where they ask for one in return \
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
    #[error("Kafka refused {action} on brokers {brokers}: {reason}. {}", advice(*code))]
    Rejected { brokers: String, action: String, code: Code, reason: String },
    #[error(
        "waited {seconds} s for {what}, and it did not come about. Kafka brokers {brokers} are there; start again \
         later, or wait longer with KAFKA_GIVE_UP_SECONDS"
    )]
    Waited { brokers: String, seconds: u64, what: String },
    #[error("stopped while waiting for Kafka brokers {brokers}")]
    Stopped { brokers: String },
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

/// What helps when brokers refuse something for what it is.
fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidReplicationFactor => {
            "Set KAFKA_REPLICATION to no more than there are brokers up; 0 chooses by itself"
        }
        Code::InvalidPartitions => "Set KAFKA_PARTITIONS to a number that the brokers allow",
        Code::PolicyViolation | Code::InvalidConfig => {
            "The cluster has a policy of its own: make the topic by hand as it is to be (rpk topic create), and \
             start again"
        }
        Code::InvalidTopic => "Choose another name with TOPIC_DATA, TOPIC_VOICE or TOPIC_PROGRESS",
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
            "A stored batch is damaged, or the network damages it. Where it is, kcat -X check.crcs=true tells"
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
        _ => "The brokers' logs say why; cdr run -v tells what was asked. Start again to continue",
    }
}

/// What a failed call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Call again: the brokers may only be away.
    Retry,
    /// Abort the transaction and send it again.
    Abort,
    /// Make a new producer and read what was committed.
    Reconnect,
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
}

/// Decides what a failed call asks for.
pub(super) fn remedy(failure: Failure) -> Remedy {
    match failure.code {
        Code::Fenced | Code::ProducerFenced => Remedy::Fenced,
        Code::InvalidProducerEpoch if failure.fatal => Remedy::Fenced,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Remedy::Unauthorized,
        _ if failure.abortable => Remedy::Abort,
        _ if failure.fatal => Remedy::Reconnect,
        _ if failure.retriable || is_absence(failure.code) => Remedy::Retry,
        _ => Remedy::Reject,
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

/// Codes that say that a broker, or the way to it, is away for now.
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
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, fatal: bool, retriable: bool, abortable: bool, expected: Remedy) {
        let failure = Failure { code, fatal, retriable, abortable };
        assert_eq!(remedy(failure), expected, "{failure:?}");
    }

    #[test]
    fn a_fenced_producer_never_tries_again() {
        check(Code::Fenced, true, false, false, Remedy::Fenced);
        check(Code::ProducerFenced, true, false, false, Remedy::Fenced);
        check(Code::InvalidProducerEpoch, true, false, false, Remedy::Fenced);
    }

    #[test]
    fn an_epoch_that_the_brokers_bumped_aborts_the_transaction() {
        check(Code::InvalidProducerEpoch, false, false, true, Remedy::Abort);
    }

    #[test]
    fn brokers_that_are_away_are_waited_for() {
        check(Code::AllBrokersDown, false, false, false, Remedy::Retry);
        check(Code::OperationTimedOut, false, true, false, Remedy::Retry);
        check(Code::NotCoordinator, false, false, false, Remedy::Retry);
    }

    #[test]
    fn a_message_that_timed_out_aborts_the_transaction() {
        check(Code::MessageTimedOut, false, false, true, Remedy::Abort);
    }

    #[test]
    fn other_fatal_errors_need_a_new_producer() {
        check(Code::OutOfOrderSequenceNumber, true, false, false, Remedy::Reconnect);
        check(Code::UnknownProducerId, true, false, false, Remedy::Reconnect);
    }

    #[test]
    fn a_missing_right_stops_the_run_even_if_the_transaction_could_be_aborted() {
        check(Code::TopicAuthorizationFailed, false, false, true, Remedy::Unauthorized);
        check(Code::TransactionalIdAuthorizationFailed, true, false, false, Remedy::Unauthorized);
    }

    fn check_advice(code: Code, words: &str) {
        let (brokers, action) = ("b:9092".to_owned(), "to create topic cdr_data".to_owned());
        let reason = code.to_string();
        let text = KafkaSinkError::Rejected { brokers, action, code, reason }.to_string();
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
        check_advice(Code::Unknown, "The brokers' logs say why");
    }

    #[test]
    fn a_missing_right_is_told_with_the_command_that_grants_it() {
        let error = KafkaSinkError::Unauthorized {
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
        check(Code::InvalidConfig, false, false, false, Remedy::Reject);
        check(Code::PolicyViolation, false, false, false, Remedy::Reject);
    }
}
