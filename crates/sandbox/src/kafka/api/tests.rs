//! All requests in all versions, whole and broken, without a network.

use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::samples::{Sample, sample};
use super::*;
use crate::kafka::{Broker, Config};

/// A broker, with its folder and what it runs on.
struct TestBroker {
    runtime: Runtime,
    broker: Broker,
    _dir: tempfile::TempDir,
}

fn broker() -> TestBroker {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { rebalance_delay: Duration::ZERO, ..Config::new(dir.path()) };
    let broker = Broker::open(config).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let broker = TestBroker { runtime, broker, _dir: dir };
    broker.answer(sample(Metadata, 12).frame).unwrap();
    broker
}

impl TestBroker {
    /// Waiting for other members of a group counts as an answer.
    fn answer(&self, frame: Bytes) -> Result<Option<Bytes>, Closed> {
        self.runtime.block_on(async {
            let answer = self.broker.answer(frame);
            tokio::time::timeout(Duration::from_millis(200), answer).await.unwrap_or(Ok(None))
        })
    }
}

fn samples() -> impl Iterator<Item = (ApiKey, i16, Sample)> {
    let versions = |served: &'static Served| {
        (served.min..=served.max).map(|version| (served.key, version, sample(served.key, version)))
    };
    SERVED.iter().flat_map(versions)
}

#[test]
fn each_request_is_served_once_and_in_a_range() {
    for (at, served) in SERVED.iter().enumerate() {
        assert!(served.advertised_min <= served.min && served.min <= served.max, "{served:?}");
        assert!(SERVED[at + 1..].iter().all(|other| other.key != served.key), "{served:?}");
        let known = served.key.valid_versions();
        assert!(known.min <= served.min && served.max <= known.max, "{served:?}");
    }
}

#[test]
fn every_version_of_every_request_is_answered_in_its_layout() {
    let broker = broker();
    for (key, version, sample) in samples() {
        let answer =
            broker.answer(sample.frame).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        // The member that joins in version 0 is waited for when others come; that is no failure.
        let Some(mut answer) = answer else {
            assert_eq!(key, JoinGroup);
            continue;
        };
        let length = answer.split_to(4);
        assert_eq!(u32::from_be_bytes(length[..].try_into().unwrap()) as usize, answer.len());
        (sample.read)(&mut answer, version);
    }
}

#[test]
fn a_request_that_is_cut_off_anywhere_is_refused() {
    let broker = broker();
    for (key, version, sample) in samples() {
        for end in 0..sample.frame.len() {
            let answer = broker.answer(sample.frame.slice(..end));
            let refused = matches!(answer, Err(Closed::Malformed(_)));
            assert!(refused, "{key:?} {version} cut at {end}: {answer:?}");
        }
    }
}

#[test]
fn what_is_not_served_is_refused() {
    let broker = broker();
    let frame = |key: i16, version: i16| {
        let mut frame = BytesMut::from(&sample(Metadata, 1).frame[..]);
        frame[..2].copy_from_slice(&key.to_be_bytes());
        frame[2..4].copy_from_slice(&version.to_be_bytes());
        broker.answer(frame.freeze())
    };
    assert!(matches!(frame(9_999, 0), Err(Closed::Unknown(9_999))));
    assert!(matches!(frame(-1, 0), Err(Closed::Unknown(-1))));
    assert!(matches!(frame(Vote as i16, 0), Err(Closed::Unknown(_))));
    assert!(matches!(frame(Metadata as i16, 13), Err(Closed::Version(Metadata, 13))));
    assert!(matches!(frame(Produce as i16, 2), Err(Closed::Version(Produce, 2))));
}

#[test]
fn a_question_for_versions_in_an_unknown_version_is_answered_in_version_0() {
    let broker = broker();
    let mut frame = BytesMut::from(&sample(ApiVersions, 4).frame[..]);
    frame[2..4].copy_from_slice(&99_i16.to_be_bytes());
    let mut answer = broker.answer(frame.freeze()).unwrap().unwrap();
    let _length = answer.split_to(8);
    let response = kafka_protocol::messages::ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, ResponseError::UnsupportedVersion.code());
    assert_eq!(response.api_keys.len(), SERVED.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is changed in requests, no thread panics: that would be reported as a failure.
    #[test]
    fn changed_requests_are_answered_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let broker = broker();
        for (key, version, sample) in samples() {
            let mut frame = BytesMut::from(&sample.frame[..]);
            for (at, byte) in &changes {
                let at = sample.body_at + at.index(frame.len() - sample.body_at + 1);
                if let Some(there) = frame.get_mut(at) {
                    *there = *byte;
                }
            }
            frame.extend_from_slice(&tail);
            // Members that nobody joins would only be waited for.
            if matches!(key, JoinGroup | SyncGroup) {
                continue;
            }
            let answer = broker.answer(frame.freeze());
            prop_assert!(!matches!(answer, Err(Closed::Failed(..))), "{key:?} {version}: {answer:?}");
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), key in 0..75_i16) {
        let broker = broker();
        let framed = [&key.to_be_bytes()[..], &bytes].concat();
        for frame in [bytes, framed] {
            let answer = broker.answer(Bytes::from(frame));
            prop_assert!(!matches!(answer, Err(Closed::Failed(..))), "{answer:?}");
        }
    }
}

/// The fuzz target begins with one request of each kind. It holds them as they come over the wire.
#[test]
fn the_corpus_has_each_request() {
    let broker = broker();
    for served in SERVED {
        let name = format!("../fuzz/corpus/kafka_requests/{:?}", served.key);
        let mut wire =
            Bytes::from(std::fs::read(&name).unwrap_or_else(|error| panic!("{name}: {error}")));
        while !wire.is_empty() {
            let length = wire.split_to(4);
            let frame = wire.split_to(u32::from_be_bytes(length[..].try_into().unwrap()) as usize);
            let answer = broker.answer(frame);
            assert!(answer.is_ok(), "{name}: {answer:?}");
        }
    }
}
