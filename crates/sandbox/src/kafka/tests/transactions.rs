//! Transactions over the wire, also across the end of the broker.

use crate::fault::Fault;
use crate::kafka::{ApiKey, Config};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TransactionalId,
};

use super::client::{Client, Sender, TIMEOUT, serve, text, topic_name};

const ID: &str = "writer";

fn id() -> TransactionalId {
    TransactionalId(text(ID))
}

async fn init(client: &mut Client, timeout_ms: i32) -> (i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let response = client.call(4, &request).await;
    assert_eq!(response.error_code, 0);
    (response.producer_id.0, response.producer_epoch)
}

async fn add(client: &mut Client, producer: (i64, i16), topics: &[&str]) -> Vec<i16> {
    let topic = |name: &&str| {
        AddPartitionsToTxnTopic::default().with_name(topic_name(name)).with_partitions(vec![0])
    };
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(producer.0.into())
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(topics.iter().map(topic).collect());
    let response = client.call(3, &request).await;
    let topics = response.results_by_topic_v3_and_below.iter();
    topics
        .flat_map(|topic| topic.results_by_partition.iter().map(|it| it.partition_error_code))
        .collect()
}

fn end_request(producer: (i64, i16), commit: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(producer.0.into())
        .with_producer_epoch(producer.1)
        .with_committed(commit)
}

async fn end(client: &mut Client, producer: (i64, i16), commit: bool) -> i16 {
    client.call(3, &end_request(producer, commit)).await.error_code
}

fn sender((id, epoch): (i64, i16), sequence: i32) -> Sender<'static> {
    Sender { producer: Some((id, epoch, sequence)), transactional_id: Some(ID) }
}

#[tokio::test]
async fn readers_of_committed_records_see_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let producer = init(&mut client, 60_000).await;
    let outside = client.produce("t", &["outside"], sender(producer, 0)).await;
    assert_eq!(outside.error_code, ResponseError::InvalidTxnState.code());
    for (round, commit) in [(0, true), (1, false), (2, true)] {
        assert_eq!(add(&mut client, producer, &["t"]).await, [0]);
        let value = if commit { "committed" } else { "aborted" };
        assert_eq!(client.produce("t", &[value], sender(producer, round)).await.error_code, 0);
        assert_eq!(
            client.offset("t", -1, true).await,
            i64::from(round) * 2,
            "the open one is not stable"
        );
        assert_eq!(end(&mut client, producer, commit).await, 0);
    }
    assert_eq!(client.values("t", true).await, ["committed", "committed"]);
    assert_eq!(client.values("t", false).await, ["committed", "aborted", "committed"]);
    assert_eq!(client.offset("t", -1, true).await, 6);
    broker.stop().await;
}

#[tokio::test]
async fn an_end_whose_answer_was_lost_can_be_requested_again() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let producer = init(&mut client, 60_000).await;
    add(&mut client, producer, &["t"]).await;
    client.produce("t", &["a"], sender(producer, 0)).await;
    broker.faults.plan(ApiKey::EndTxn, 0, Fault::CloseAfter);
    assert!(client.try_call(3, &end_request(producer, true)).await.is_none());
    let mut client = broker.connect().await;
    assert_eq!(end(&mut client, producer, true).await, 0);
    assert_eq!(client.offset("t", -1, true).await, 2, "there is one marker");
    broker.stop().await;
}

#[tokio::test]
async fn a_transaction_goes_on_after_the_broker_was_away() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let producer = init(&mut client, 60_000).await;
    add(&mut client, producer, &["t"]).await;
    client.produce("t", &["a"], sender(producer, 0)).await;
    broker.stop().await;

    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    assert_eq!(client.offset("t", -1, true).await, 0);
    assert_eq!(client.produce("t", &["b"], sender(producer, 1)).await.error_code, 0);
    assert_eq!(end(&mut client, producer, true).await, 0);
    assert_eq!(client.values("t", true).await, ["a", "b"]);
    broker.stop().await;
}

#[tokio::test]
async fn what_a_dead_producer_left_open_is_aborted_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let dead = init(&mut client, 60_000).await;
    add(&mut client, dead, &["t"]).await;
    client.produce("t", &["a"], sender(dead, 0)).await;
    let alive = init(&mut client, 60_000).await;
    assert!(alive.0 == dead.0 && alive.1 > dead.1);
    assert!(client.values("t", true).await.is_empty());
    assert_eq!(client.offset("t", -1, true).await, 2);
    let fenced = client.produce("t", &["b"], sender(dead, 1)).await;
    assert_eq!(fenced.error_code, ResponseError::InvalidProducerEpoch.code());
    assert_eq!(add(&mut client, dead, &["t"]).await, [ResponseError::ProducerFenced.code()]);
    assert_eq!(end(&mut client, dead, true).await, ResponseError::ProducerFenced.code());
    broker.stop().await;
}

#[tokio::test]
async fn what_a_dead_producer_left_open_is_aborted_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let (mut client, mut reader) = (broker.connect().await, broker.connect().await);
    client.create("t", 1).await;
    let producer = init(&mut client, 1_000).await;
    add(&mut client, producer, &["t"]).await;
    client.produce("t", &["a"], sender(producer, 0)).await;
    // The marker is what wakes a reader that waits for committed records.
    let wait_ms = TIMEOUT.as_millis() as i32 / 2;
    let data = reader.fetch("t", 0, wait_ms, true).await;
    assert_eq!((data.last_stable_offset, data.high_watermark), (2, 2));
    assert_eq!(data.aborted_transactions.unwrap().len(), 1);
    assert_eq!(end(&mut client, producer, true).await, ResponseError::ProducerFenced.code());
    broker.stop().await;
}

#[tokio::test]
async fn partitions_are_added_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let producer = init(&mut client, 60_000).await;
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let not_tried = ResponseError::OperationNotAttempted.code();
    assert_eq!(add(&mut client, producer, &["t", "unknown"]).await, [not_tried, unknown]);
    assert_eq!(end(&mut client, producer, true).await, ResponseError::InvalidTxnState.code());
    broker.stop().await;
}
