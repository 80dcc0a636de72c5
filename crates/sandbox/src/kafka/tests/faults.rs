//! What a test may make go wrong.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::kafka::{ApiKey, Config};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, MetadataRequest};

use super::client::{Sender, serve};

#[tokio::test]
async fn a_connection_is_closed_before_or_after_a_request_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    broker.connect().await.create("t", 1).await;
    for (fault, expected) in [(Fault::CloseBefore, 0), (Fault::CloseAfter, 1)] {
        broker.faults.plan(ApiKey::Produce, 0, fault);
        let mut client = broker.connect().await;
        assert!(client.try_produce("t", &["a"], Sender::default()).await.is_none());
        assert_eq!(broker.connect().await.offset("t", -1, false).await, expected, "{fault:?}");
    }
    assert!(broker.faults.are_over());
    broker.stop().await;
}

#[tokio::test]
async fn a_request_is_answered_with_a_code_and_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let code = ResponseError::NotLeaderOrFollower.code();
    broker.faults.plan(ApiKey::Produce, 1, Fault::Fail(i32::from(code)));
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(client.produce("t", &["a"], Sender::default()).await.error_code);
    }
    assert_eq!(codes, [0, code, 0]);
    assert_eq!(client.offset("t", -1, false).await, 2);
    broker.faults.plan(ApiKey::Heartbeat, 0, Fault::Fail(i32::from(code)));
    assert_eq!(client.call(4, &HeartbeatRequest::default()).await.error_code, code);
    broker.stop().await;
}

#[tokio::test]
async fn an_answer_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    broker.faults.plan(ApiKey::Metadata, 0, Fault::Delay(Duration::from_millis(100)));
    let begun = Instant::now();
    client.call(9, &MetadataRequest::default()).await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    broker.stop().await;
}

#[tokio::test]
async fn new_connections_are_not_taken_and_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let mut old = broker.connect().await;
    old.call(9, &MetadataRequest::default()).await;
    broker.faults.accept(false);
    assert!(broker.connect().await.try_call(9, &MetadataRequest::default()).await.is_none());
    old.call(9, &MetadataRequest::default()).await;
    broker.faults.accept(true);
    broker.connect().await.call(9, &MetadataRequest::default()).await;
    broker.stop().await;
}
