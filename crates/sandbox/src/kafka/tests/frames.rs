//! Frames that are no requests, or claim more than there is.

use std::cell::Cell;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, RequestHeader,
};
use kafka_protocol::protocol::{Decodable, encode_request_header_into_buffer};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::client::{Sender, Serving, TIMEOUT, fetch_request, serve, text, topic_name};
use crate::kafka::api::SERVED;
use crate::kafka::api::samples::sample;
use crate::kafka::{ApiKey, Config};

#[tokio::test]
async fn a_newer_client_learns_which_versions_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::ApiVersions as i16)
        .with_request_api_version(4)
        .with_correlation_id(9)
        .with_client_id(Some(text("newer")));
    let mut frame = BytesMut::from(&[0; 4][..]);
    encode_request_header_into_buffer(&mut frame, &header).unwrap();
    frame[6..8].copy_from_slice(&99_i16.to_be_bytes());
    frame.extend_from_slice(b"fields that are not known yet");
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    client.stream.write_all(&frame).await.unwrap();
    let length = client.stream.read_i32().await.unwrap();
    let mut answer = vec![0; length as usize];
    client.stream.read_exact(&mut answer).await.unwrap();
    let (correlation_id, mut body) = answer.split_first_chunk::<4>().unwrap();
    assert_eq!(*correlation_id, 9_i32.to_be_bytes());
    let versions = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!(versions.error_code, ResponseError::UnsupportedVersion.code());
    assert_eq!(versions.api_keys.len(), SERVED.len());
    // And it can send another request on the same connection.
    assert_eq!(client.call(4, &ApiVersionsRequest::default()).await.error_code, 0);
    broker.stop().await;
}

#[tokio::test]
async fn an_answer_with_records_has_the_size_that_was_requested() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 2).await;
    let value = "x".repeat(1_000);
    for _ in 0..10 {
        client.produce("t", &[&value], Sender::default()).await;
    }
    let fetched = async |client: &mut super::client::Client, max_bytes: i32, partition_bytes: i32| {
        let mut request = fetch_request("t", 0, 0, false).with_max_bytes(max_bytes);
        request.topics[0].partitions[0].partition_max_bytes = partition_bytes;
        let empty = FetchPartition::default().with_partition(1).with_partition_max_bytes(1 << 20);
        request.topics[0].partitions.push(empty);
        let response = client.call(12, &request).await;
        response.responses[0].partitions[0].records.as_ref().unwrap().len()
    };
    let one = fetched(&mut client, 1, 1 << 20).await;
    assert!((1_000..1_200).contains(&one), "one batch comes in any case");
    assert_eq!(fetched(&mut client, 1 << 20, 1).await, one);
    let some = fetched(&mut client, 4_500, 1 << 20).await;
    assert!(some <= 4_500 && some > 3_000, "{some}");
    assert_eq!(fetched(&mut client, 1 << 20, 1 << 20).await, 10 * one);
    broker.stop().await;
}

#[tokio::test]
async fn what_is_requested_many_times_is_logged_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 100).await;
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted; 10_000]));
    let response = client.call(9, &request).await;
    assert_eq!((response.topics.len(), response.topics[0].partitions.len()), (1, 100));
    broker.stop().await;
}

/// Sends bytes and reads until the broker closes the connection, or has nothing more to send.
async fn closed_after(broker: &Serving, bytes: &[u8]) {
    let mut client = broker.connect().await;
    // The broker may have closed it already.
    drop(client.stream.write_all(bytes).await);
    drop(client.stream.shutdown().await);
    let mut rest = Vec::new();
    let read = tokio::time::timeout(TIMEOUT, client.stream.read_to_end(&mut rest)).await;
    drop(read.expect("the broker closes the connection"));
}

thread_local! {
    static WARNINGS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the warnings of each thread. One for the whole process: what tests of other threads log first
/// would otherwise be taken for a repetition.
struct Watching;

impl Subscriber for Watching {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        WARNINGS.set(WARNINGS.get() + 1);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The connections are served by the test's own thread.
#[tokio::test]
async fn what_is_not_a_request_is_logged_in_one_line() {
    tracing::subscriber::set_global_default(Watching).unwrap();
    tracing::callsite::rebuild_interest_cache();
    WARNINGS.set(0);
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    for (number, frame) in [
        &[0x7f; 8][..],
        &[0, 0, 0, 2, 0, 18],
        &[0, 0, 0, 4, 0x7f, 0xff, 0, 0],
        &[0, 0, 0, 4, 0, 3, 0x7f, 0xff],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ]
    .into_iter()
    .enumerate()
    {
        closed_after(&broker, frame).await;
        assert_eq!(WARNINGS.get(), number + 1, "{frame:?}");
    }
    // Who goes in good order, or in the middle of a request, is none of anybody's concern.
    closed_after(&broker, &[]).await;
    closed_after(&broker, &[0, 0, 0, 100, 1]).await;
    broker.stop().await;
    assert_eq!(WARNINGS.get(), 5);
}

/// Requests that may wait for others longer than a test wants to.
fn may_wait(key: ApiKey) -> bool {
    matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Fetch)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes over the wire, the broker ends the connection, and serves the next one.
    #[test]
    fn the_broker_outlives_any_bytes(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let broker = serve(Config::new(dir.path())).await;
            closed_after(&broker, &noise).await;
            let framed = |bytes: &[u8]| [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat();
            closed_after(&broker, &framed(&noise)).await;
            let served: Vec<_> = SERVED.iter().filter(|served| !may_wait(served.key)).collect();
            let served = served[which.index(served.len())];
            for version in served.min..=served.max {
                let sample = sample(served.key, version);
                let mut request = sample.frame.to_vec();
                for (at, byte) in &changes {
                    let at = sample.body_at + at.index(request.len() - sample.body_at + 1);
                    if let Some(there) = request.get_mut(at) {
                        *there = *byte;
                    }
                }
                closed_after(&broker, &framed(&request)).await;
            }
            let mut client = broker.connect().await;
            let versions = client.call(4, &ApiVersionsRequest::default()).await;
            assert_eq!(versions.error_code, 0);
            broker.stop().await;
        });
    }
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    client.send::<FetchRequest>(12, &fetch_request("t", 0, 60_000, false)).await;
    drop(client);
    tokio::time::timeout(TIMEOUT, broker.stop()).await.unwrap();
}

#[tokio::test]
async fn who_only_announces_long_requests_keeps_nobody_from_sending_some() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path());
    let longest = i32::try_from(config.max_request_bytes).unwrap();
    let broker = serve(Config { in_flight_bytes: config.max_request_bytes, ..config }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut client = broker.connect().await;
        client.stream.write_all(&longest.to_be_bytes()).await.unwrap();
        client.stream.write_all(&[0, 0, 0, 9]).await.unwrap();
        silent.push(client);
    }
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let large = "x".repeat(900_000);
    assert_eq!(client.produce("t", &[&large], Sender::default()).await.error_code, 0);
    // Nor is the rest waited for when the broker is to end.
    tokio::time::timeout(TIMEOUT, broker.stop()).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_request_may_come_in_pieces_and_several_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    let frame = sample(ApiKey::ApiVersions, 0).frame;
    let framed = [&(frame.len() as i32).to_be_bytes()[..], &frame].concat();
    for byte in &framed {
        client.stream.write_all(&[*byte]).await.unwrap();
    }
    client.stream.write_all(&framed.repeat(2)).await.unwrap();
    for _ in 0..3 {
        let length = client.stream.read_i32().await.unwrap();
        let mut answer = vec![0; length as usize];
        client.stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..4], 77_i32.to_be_bytes());
    }
    broker.stop().await;
}
