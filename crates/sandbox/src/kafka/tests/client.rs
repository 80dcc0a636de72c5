//! A small client of the broker, made from the client's side of the message library.

use std::time::Duration;

use crate::fault::Faults;
use crate::kafka::{ApiKey, Broker, Config, Error};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, RequestHeader,
    ResponseHeader, TopicName, TransactionalId,
};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing here takes longer, unless something is broken.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A broker that serves, on a port of the kernel's choice.
pub struct Serving {
    pub port: u16,
    pub faults: Faults<ApiKey>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

pub async fn serve(config: Config) -> Serving {
    let broker = Broker::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let faults = broker.faults();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(broker.serve(listener, async { drop(stopped.await) }));
    Serving { port, faults, stop, task }
}

impl Serving {
    pub async fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        Client { stream, correlation_id: 0 }
    }

    /// Ends the broker, and waits until all is on disk.
    pub async fn stop(self) {
        drop(self.stop);
        tokio::time::timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap();
    }
}

/// A connection to the broker.
pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// What a record is sent with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender<'a> {
    /// Id, epoch and the first record's sequence number.
    pub producer: Option<(i64, i16, i32)>,
    pub transactional_id: Option<&'a str>,
}

impl Client {
    /// Sends a request and reads its answer; `None` if the connection was closed instead.
    pub async fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.send(version, request).await;
        let exchange = tokio::time::timeout(TIMEOUT, self.receive::<R>(version));
        exchange.await.expect("the broker answers or closes the connection")
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).await.expect("the connection stays open")
    }

    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("test")));
        let mut frame = BytesMut::from(&[0; 4][..]);
        encode_request_header_into_buffer(&mut frame, &header).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        // A connection that the broker closed is noticed when the answer is read.
        drop(self.stream.write_all(&frame).await);
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let length = self.stream.read_i32().await.ok()?;
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer).await.ok()?;
        let mut answer = Bytes::from(answer);
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        Some(R::Response::decode(&mut answer, version).unwrap())
    }

    pub async fn create(&mut self, topic: &str, partitions: i32) {
        let new = CreatableTopic::default().with_name(topic_name(topic)).with_num_partitions(partitions);
        let request = CreateTopicsRequest::default().with_topics(vec![new.with_replication_factor(1)]);
        let response = self.call(7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    /// Sends records to partition 0, with these values and keys.
    pub async fn produce(
        &mut self,
        topic: &str,
        values: &[&str],
        sender: Sender<'_>,
    ) -> PartitionProduceResponse {
        self.try_produce(topic, values, sender).await.expect("the connection stays open")
    }

    pub async fn try_produce(
        &mut self,
        topic: &str,
        values: &[&str],
        sender: Sender<'_>,
    ) -> Option<PartitionProduceResponse> {
        let batch = batch(values, sender);
        let data = PartitionProduceData::default().with_records(Some(batch));
        let data =
            TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let id = sender.transactional_id.map(|id| TransactionalId(text(id)));
        let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![data]);
        let response = self.try_call(9, &request.with_transactional_id(id)).await?;
        Some(response.responses[0].partition_responses[0].clone())
    }

    /// Reads partition 0 from an offset on, waiting so long for something.
    pub async fn fetch(
        &mut self,
        topic: &str,
        from: i64,
        wait_ms: i32,
        committed_only: bool,
    ) -> PartitionData {
        let response = self.call(12, &fetch_request(topic, from, wait_ms, committed_only)).await;
        response.responses[0].partitions[0].clone()
    }

    /// The values of the records of partition 0, as a client shows them.
    pub async fn values(&mut self, topic: &str, committed_only: bool) -> Vec<String> {
        let data = self.fetch(topic, 0, 0, committed_only).await;
        assert_eq!(data.error_code, 0);
        values_of(&data)
    }

    pub async fn offset(&mut self, topic: &str, timestamp: i64, committed_only: bool) -> i64 {
        let partition =
            ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
        let wanted =
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![wanted]);
        let response = self.call(7, &request.with_isolation_level(i8::from(committed_only))).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        partition.offset
    }
}

pub fn fetch_request(topic: &str, from: i64, wait_ms: i32, committed_only: bool) -> FetchRequest {
    let partition = FetchPartition::default().with_fetch_offset(from).with_partition_max_bytes(1 << 20);
    let wanted = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed_only))
        .with_topics(vec![wanted])
}

/// Leaves out markers, and what belongs to aborted transactions.
pub fn values_of(data: &PartitionData) -> Vec<String> {
    let mut records = data.records.clone().unwrap_or_default();
    let mut values = Vec::new();
    let mut aborted = data.aborted_transactions.clone().unwrap_or_default();
    while !records.is_empty() {
        let batch = RecordBatchDecoder::decode(&mut records).unwrap();
        for record in batch.records {
            let of_record = |id: i64, first: i64| id == record.producer_id && first <= record.offset;
            if record.control {
                let position =
                    aborted.iter().position(|it| of_record(it.producer_id.0, it.first_offset));
                position.map(|position| aborted.remove(position));
            } else if !(record.transactional
                && aborted.iter().any(|it| of_record(it.producer_id.0, it.first_offset)))
            {
                values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
    }
    values
}

pub fn batch(values: &[&str], sender: Sender<'_>) -> Bytes {
    let (producer_id, producer_epoch, sequence) = sender.producer.unwrap_or((-1, -1, -1));
    let record = |(at, value): (usize, &&str)| Record {
        transactional: sender.transactional_id.is_some(),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: at as i64,
        sequence: sequence.wrapping_add(at as i32),
        timestamp: 1_000,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}
