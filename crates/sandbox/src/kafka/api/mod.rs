//! The requests that are served, and in which versions.

mod admin;
mod cluster;
mod configs;
mod fetch;
mod groups;
mod offsets;
mod produce;
#[cfg(test)]
pub mod samples;
mod transactions;
mod versions;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey::{self, *};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::closed::Closed;
use super::core::{Core, Share};
use super::error::ApiError;

/// A request that is served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    pub key: ApiKey,
    /// The oldest version that clients are offered.
    pub advertised_min: i16,
    pub min: i16,
    pub max: i16,
}

impl Served {
    pub fn accepts(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

const fn serve(key: ApiKey, min: i16, max: i16) -> Served {
    Served { key, advertised_min: min, min, max }
}

/// Everything that is served. The versions behind these need what there is not here: the second
/// protocol version of transactions (KIP-890), the new group protocol (KIP-848), and topics named
/// by their ids alone in offsets.
pub const SERVED: &[Served] = &[
    // Versions before 3 hold another format of records and are not served, but librdkafka
    // compresses only if it is offered them (KAFKA-18659); it sends the newest.
    Served { key: Produce, advertised_min: 0, min: 3, max: 11 },
    serve(Fetch, 4, 16),
    serve(ListOffsets, 1, 10),
    serve(Metadata, 0, 12),
    serve(OffsetCommit, 2, 8),
    serve(OffsetFetch, 1, 8),
    serve(FindCoordinator, 0, 4),
    serve(JoinGroup, 0, 9),
    serve(Heartbeat, 0, 4),
    serve(LeaveGroup, 0, 5),
    serve(SyncGroup, 0, 5),
    serve(DescribeGroups, 0, 5),
    serve(ListGroups, 0, 5),
    serve(ApiVersions, 0, 4),
    serve(CreateTopics, 2, 7),
    serve(DeleteTopics, 1, 6),
    serve(DeleteRecords, 0, 2),
    serve(InitProducerId, 0, 5),
    serve(OffsetForLeaderEpoch, 2, 4),
    serve(AddPartitionsToTxn, 0, 3),
    serve(AddOffsetsToTxn, 0, 3),
    serve(EndTxn, 0, 3),
    serve(TxnOffsetCommit, 0, 3),
    serve(DescribeConfigs, 1, 4),
    serve(AlterConfigs, 0, 2),
    serve(DescribeLogDirs, 1, 4),
    serve(CreatePartitions, 0, 3),
    serve(DeleteGroups, 0, 2),
    serve(IncrementalAlterConfigs, 0, 1),
    serve(OffsetDelete, 0, 0),
    serve(DescribeCluster, 0, 1),
    serve(DescribeProducers, 0, 0),
    serve(DescribeTransactions, 0, 0),
    serve(ListTransactions, 0, 1),
];

/// How a request is served, if it is.
pub fn served(key: ApiKey) -> Option<&'static Served> {
    SERVED.iter().find(|served| served.key == key)
}

/// A request, of which the header is read.
#[derive(Clone, Debug)]
pub struct Call {
    pub key: ApiKey,
    pub version: i16,
    /// Whether the version is one that is served.
    pub fits: bool,
    pub correlation_id: i32,
    pub client_id: String,
    pub host: String,
    /// A test wants this answer, and nothing to be done.
    pub fail: Option<ResponseError>,
    pub body: Bytes,
}

/// An answer as it goes over the wire, and its share of the memory for answers.
#[derive(Debug)]
pub struct Answer {
    pub bytes: Bytes,
    _share: Option<Share>,
}

/// What a request is answered with, and from where.
#[derive(Clone, Debug)]
pub struct Context {
    core: Arc<Core>,
    version: i16,
    client_id: String,
    host: String,
    fail: Option<ResponseError>,
}

impl Context {
    /// To be checked before anything is done.
    ///
    /// # Errors
    /// When a test wants the request to fail.
    fn pass(&self) -> Result<(), ResponseError> {
        self.fail.map_or(Ok(()), Err)
    }
}

/// Answers a request; `None` where the client wants no answer.
///
/// # Errors
/// When the connection has to be closed instead.
pub async fn answer(core: &Arc<Core>, call: Call) -> Result<Option<Answer>, Closed> {
    match call.key {
        Produce => produce::answer(core, call).await,
        Fetch => fetch::answer(core, call).await,
        JoinGroup => waiting(core, call, groups::join).await,
        SyncGroup => waiting(core, call, groups::sync).await,
        ApiVersions => versions::answer(core, call).await,
        ListOffsets => plain(core, call, offsets::list_offsets).await,
        OffsetForLeaderEpoch => plain(core, call, offsets::offset_for_leader_epoch).await,
        DeleteRecords => plain(core, call, offsets::delete_records).await,
        Metadata => plain(core, call, cluster::metadata).await,
        FindCoordinator => plain(core, call, cluster::find_coordinator).await,
        DescribeCluster => plain(core, call, cluster::describe_cluster).await,
        DescribeLogDirs => plain(core, call, cluster::describe_log_dirs).await,
        OffsetCommit => plain(core, call, groups::offset_commit).await,
        OffsetFetch => plain(core, call, groups::offset_fetch).await,
        Heartbeat => plain(core, call, groups::heartbeat).await,
        LeaveGroup => plain(core, call, groups::leave).await,
        _ => answer_rarer(core, call).await,
    }
}

async fn answer_rarer(core: &Arc<Core>, call: Call) -> Result<Option<Answer>, Closed> {
    match call.key {
        DescribeGroups => plain(core, call, groups::describe).await,
        ListGroups => plain(core, call, groups::list).await,
        DeleteGroups => plain(core, call, groups::delete).await,
        OffsetDelete => plain(core, call, groups::offset_delete).await,
        InitProducerId => plain(core, call, transactions::init_producer_id).await,
        AddPartitionsToTxn => plain(core, call, transactions::add_partitions).await,
        AddOffsetsToTxn => plain(core, call, transactions::add_offsets).await,
        EndTxn => plain(core, call, transactions::end).await,
        TxnOffsetCommit => plain(core, call, transactions::offset_commit).await,
        DescribeProducers => plain(core, call, transactions::describe_producers).await,
        DescribeTransactions => plain(core, call, transactions::describe).await,
        ListTransactions => plain(core, call, transactions::list).await,
        CreateTopics => plain(core, call, admin::create_topics).await,
        DeleteTopics => plain(core, call, admin::delete_topics).await,
        CreatePartitions => plain(core, call, admin::create_partitions).await,
        DescribeConfigs => plain(core, call, configs::describe).await,
        AlterConfigs => plain(core, call, configs::alter).await,
        IncrementalAlterConfigs => plain(core, call, configs::alter_incrementally).await,
        key => Err(Closed::Unknown(key as i16)),
    }
}

/// A request that is answered without waiting. It may read and write files, so it has a thread.
async fn plain<R>(
    core: &Arc<Core>,
    call: Call,
    handle: fn(&Context, R) -> R::Response,
) -> Result<Option<Answer>, Closed>
where
    R: Request + Send + 'static,
    R::Response: Send + 'static,
{
    let (request, context) = open::<R>(core, &call)?;
    let response = on_thread(&call, move || handle(&context, request)).await?;
    encode(&call, &response, None).map(Some)
}

/// A request whose answer may have to wait for other clients.
async fn waiting<R, F>(
    core: &Arc<Core>,
    call: Call,
    handle: fn(Context, R) -> F,
) -> Result<Option<Answer>, Closed>
where
    R: Request,
    F: Future<Output = R::Response>,
{
    let (request, context) = open::<R>(core, &call)?;
    tokio::select! {
        response = handle(context, request) => encode(&call, &response, None).map(Some),
        () = core.stop.cancelled() => Err(Closed::Stopped),
    }
}

fn open<R: Request>(core: &Arc<Core>, call: &Call) -> Result<(R, Context), Closed> {
    let context = Context {
        core: core.clone(),
        version: call.version,
        client_id: call.client_id.clone(),
        host: call.host.clone(),
        fail: call.fail,
    };
    Ok((decode(call)?, context))
}

/// Reads a request's body. What follows it is ignored, as Kafka does: librdkafka 2.12 sends a few
/// bytes too many with its first question for metadata.
///
/// # Errors
/// When it is not one.
pub fn decode<R: Decodable>(call: &Call) -> Result<R, Closed> {
    let mut body = call.body.clone();
    R::decode(&mut body, call.version)
        .map_err(|error| Closed::Malformed(format!("{:?} version {}: {error}", call.key, call.version)))
}

async fn on_thread<T: Send + 'static>(
    call: &Call,
    handle: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Closed> {
    let done = tokio::task::spawn_blocking(handle).await;
    done.map_err(|error| Closed::Failed(call.key, error.to_string()))
}

fn encode<R: Encodable + HeaderVersion>(
    call: &Call,
    response: &R,
    share: Option<Share>,
) -> Result<Answer, Closed> {
    encode_as(call, response, call.version, share)
}

fn encode_as<R: Encodable + HeaderVersion>(
    call: &Call,
    response: &R,
    version: i16,
    share: Option<Share>,
) -> Result<Answer, Closed> {
    let failed = |error: &dyn std::fmt::Display| Closed::Failed(call.key, error.to_string());
    let size = response.compute_size(version).map_err(|error| failed(&error))?;
    // The length, the correlation id, and the end of the header.
    let mut bytes = BytesMut::with_capacity(size + 9);
    bytes.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(call.correlation_id);
    header.encode(&mut bytes, R::header_version(version)).map_err(|error| failed(&error))?;
    response.encode(&mut bytes, version).map_err(|error| failed(&error))?;
    let length = i32::try_from(bytes.len() - 4).map_err(|error| failed(&error))?;
    if let Some(front) = bytes.first_chunk_mut::<4>() {
        *front = length.to_be_bytes();
    }
    Ok(Answer { bytes: bytes.freeze(), _share: share })
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// Each element once: what is requested twice is answered once, so that a few bytes cannot make an answer
/// of any size.
fn once<T: Ord + Clone>(elements: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let mut seen = BTreeSet::new();
    elements.into_iter().filter(move |element| seen.insert(element.clone()))
}

/// The protocol's code of a result; 0 if it is good.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// The same with the sentence for the client.
fn code_and_message(result: Result<(), ApiError>) -> (i16, Option<StrBytes>) {
    result.err().map_or((0, None), |error| (error.code.code(), error.message.map(text)))
}

#[cfg(test)]
mod tests;
