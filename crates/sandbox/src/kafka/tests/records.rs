//! Producing, fetching, and what survives.

use std::time::{Duration, Instant};

use crate::kafka::{Broker, Config, Error};
use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::{Sender, TIMEOUT, batch, fetch_request, serve, topic_name, values_of};

#[tokio::test]
async fn what_was_produced_is_fetched_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    assert_eq!(client.produce("t", &["a", "b"], Sender::default()).await.base_offset, 0);
    assert_eq!(client.produce("t", &["c"], Sender::default()).await.base_offset, 2);
    broker.stop().await;

    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    assert_eq!(client.values("t", true).await, ["a", "b", "c"]);
    assert_eq!((client.offset("t", -2, false).await, client.offset("t", -1, false).await), (0, 3));
    assert_eq!(client.offset("t", 1_000, false).await, 0);
    assert_eq!(client.offset("t", 1_001, false).await, -1);
    broker.stop().await;
}

#[tokio::test]
async fn a_reader_that_waits_gets_a_record_as_soon_as_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let (mut writer, mut reader) = (broker.connect().await, broker.connect().await);
    writer.create("t", 1).await;
    let begun = Instant::now();
    reader.send(12, &fetch_request("t", 0, 60_000, false)).await;
    // Its wait is over without a record only after a minute.
    writer.produce("t", &["a"], Sender::default()).await;
    let response =
        tokio::time::timeout(TIMEOUT, reader.receive::<FetchRequest>(12)).await.unwrap().unwrap();
    assert_eq!(values_of(&response.responses[0].partitions[0]), ["a"]);
    assert!(begun.elapsed() < TIMEOUT);
    // And who finds nothing gets an empty answer when its time is over.
    assert!(values_of(&reader.fetch("t", 1, 20, false).await).is_empty());
    broker.stop().await;
}

#[tokio::test]
async fn a_reader_that_waits_does_not_keep_the_broker_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut reader = broker.connect().await;
    reader.create("t", 1).await;
    reader.send(12, &fetch_request("t", 0, 60_000, false)).await;
    let begun = Instant::now();
    broker.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn topics_are_made_on_demand_only_where_that_is_allowed() {
    for allowed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let config =
            Config { auto_create_topics: allowed, default_partitions: 3, ..Config::new(dir.path()) };
        let broker = serve(config).await;
        let mut client = broker.connect().await;
        let request = |create| {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
            MetadataRequest::default()
                .with_topics(Some(vec![topic]))
                .with_allow_auto_topic_creation(create)
        };
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        assert_eq!(client.call(9, &request(false)).await.topics[0].error_code, unknown);
        let topic = client.call(9, &request(true)).await.topics[0].clone();
        let expected = if allowed { (0, 3) } else { (unknown, 0) };
        assert_eq!((topic.error_code, topic.partitions.len()), expected);
        broker.stop().await;
    }
}

#[tokio::test]
async fn the_advertised_address_is_the_listeners_unless_set() {
    for advertised in [None, Some(("kafka.example".to_owned(), 9))] {
        let dir = tempfile::tempdir().unwrap();
        let broker = serve(Config { advertised: advertised.clone(), ..Config::new(dir.path()) }).await;
        let metadata = broker.connect().await.call(9, &MetadataRequest::default()).await;
        let (host, port) = advertised.unwrap_or(("127.0.0.1".to_owned(), broker.port));
        let node = &metadata.brokers[0];
        assert_eq!((node.host.to_string(), node.port), (host, i32::from(port)));
        broker.stop().await;
    }
}

#[tokio::test]
async fn batches_that_are_not_right_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config { max_message_bytes: 10_000, ..Config::new(dir.path()) }).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let good = batch(&["a", "b"], Sender::default());
    let changed = |at: usize, byte: u8| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[at] ^= byte;
        bytes.freeze()
    };
    let large = "x".repeat(10_000);
    let twice = [&good[..], &good[..]].concat().into();
    for (records, expected) in [
        (changed(70, 1), ResponseError::CorruptMessage),
        (changed(16, 3), ResponseError::UnsupportedForMessageFormat),
        (good.slice(..good.len() - 1), ResponseError::CorruptMessage),
        (good.slice(..20), ResponseError::CorruptMessage),
        (twice, ResponseError::InvalidRecord),
        (bytes::Bytes::new(), ResponseError::CorruptMessage),
        (batch(&[&large], Sender::default()), ResponseError::MessageTooLarge),
    ] {
        let data = PartitionProduceData::default().with_records(Some(records));
        let data =
            TopicProduceData::default().with_name(topic_name("t")).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
        let response = client.call(9, &request).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, expected.code(), "{expected}");
    }
    let unknown = client.produce("unknown", &["a"], Sender::default()).await;
    assert_eq!(unknown.error_code, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(client.offset("t", -1, false).await, 0);
    broker.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let sender = |sequence| Sender { producer: Some((5, 0, sequence)), ..Sender::default() };
    for expected in [0, 0] {
        let response = client.produce("t", &["a", "b"], sender(0)).await;
        assert_eq!((response.error_code, response.base_offset), (0, expected));
    }
    let gap = client.produce("t", &["x"], sender(7)).await;
    assert_eq!(gap.error_code, ResponseError::OutOfOrderSequenceNumber.code());
    assert_eq!(client.produce("t", &["c"], sender(2)).await.error_code, 0);
    assert_eq!(client.values("t", false).await, ["a", "b", "c"]);
    broker.stop().await;
}

#[tokio::test]
async fn what_is_not_a_request_closes_the_connection_and_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut good = broker.connect().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &i32::MAX.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &0_i32.to_be_bytes(),
        // A length, and then a request that is not known in a version that is not there.
        &[0, 0, 0, 4, 0x7f, 0xff, 0, 0],
        // A question for metadata that announces two thousand million topics.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ] {
        let mut client = broker.connect().await;
        client.stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(TIMEOUT, client.stream.read_to_end(&mut rest)).await;
        // Reset or ended: either is closed.
        drop(closed.expect("the broker closes the connection"));
        assert!(rest.is_empty());
    }
    good.create("t", 1).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_folder_has_one_broker_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    assert!(matches!(Broker::open(Config::new(dir.path())), Err(Error::InUse { .. })));
    broker.stop().await;
    let broker = Broker::open(Config::new(dir.path())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    broker.serve(listener, async {}).await.unwrap();
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config::new(dir.path());
    for (config, name) in [
        (Config { default_partitions: 0, ..config() }, "default_partitions"),
        (Config { segment_bytes: 5, ..config() }, "segment_bytes"),
        (Config { max_request_bytes: 1 << 20, ..config() }, "max_request_bytes"),
        (Config { in_flight_bytes: 1 << 20, ..config() }, "in_flight_bytes"),
    ] {
        let refused = Broker::open(config).unwrap_err();
        assert!(matches!(refused, Error::Setting { name: found, .. } if found == name), "{refused}");
    }
}
