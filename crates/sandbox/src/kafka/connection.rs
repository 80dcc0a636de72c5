//! One client: reads its requests one by one, and answers in that order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::api::{self, Answer, Call};
use super::closed::Closed;
use super::core::{Core, Share};
use super::schema;
use crate::fault::{Fault, Faults};

/// A request, once begun, has to arrive within this time, and an answer has to be taken.
const TRANSFER_TIME: Duration = Duration::from_secs(60);

/// Memory is taken for so much of a request before any of it is there.
const READ_BYTES: usize = 256 << 10;

/// Only records need long requests. Of others, each element can be answered with many more bytes.
const OTHER_BYTES_MAX: usize = 1 << 20;

/// A whole request, and its share of the memory for requests.
struct Frame {
    bytes: Bytes,
    _share: Option<Share>,
}

/// Serves a client until it goes, does something wrong, or the broker ends.
pub async fn run(mut stream: TcpStream, peer: SocketAddr, core: Arc<Core>, faults: Faults<ApiKey>) {
    debug!("{peer} has connected");
    // Answers are written with one call, and waiting for more would only delay them.
    let closed = match stream.set_nodelay(true) {
        Ok(()) => serve(&mut stream, peer, &core, &faults).await,
        Err(error) => Closed::Io(error),
    };
    match closed {
        Closed::Gone | Closed::Fault | Closed::Stopped | Closed::Io(_) => debug!("{peer}: {closed}"),
        _ => warn!("closed the connection of {peer}: {closed}"),
    }
}

async fn serve(
    stream: &mut TcpStream,
    peer: SocketAddr,
    core: &Arc<Core>,
    faults: &Faults<ApiKey>,
) -> Closed {
    loop {
        let result = async {
            let frame = read_frame(stream, core).await?;
            let answer = answer(frame, peer, core, faults).await?;
            write(stream, answer).await
        };
        if let Err(closed) = result.await {
            return closed;
        }
    }
}

async fn read_frame(stream: &mut TcpStream, core: &Core) -> Result<Frame, Closed> {
    let size = tokio::select! {
        () = core.stop.cancelled() => return Err(Closed::Stopped),
        size = stream.read_i32() => match size {
            Ok(size) => i64::from(size),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Closed::Gone),
            Err(error) => return Err(error.into()),
        },
    };
    let limit = core.config.max_request_bytes;
    let size = match usize::try_from(size) {
        Ok(fitting) if fitting <= limit => fitting,
        _ => return Err(Closed::TooLong(size, limit)),
    };
    tokio::select! {
        () = core.stop.cancelled() => Err(Closed::Stopped),
        frame = read_body(stream, size, core) => frame,
    }
}

/// The memory for a long request is taken when its beginning is there: who only announces one takes
/// none from others.
async fn read_body(stream: &mut TcpStream, size: usize, core: &Core) -> Result<Frame, Closed> {
    let mut bytes = BytesMut::with_capacity(size.min(READ_BYTES));
    read_until(stream, &mut bytes, size.min(READ_BYTES)).await?;
    let share = if size > READ_BYTES { core.requests.take(size).await } else { None };
    read_until(stream, &mut bytes, size).await?;
    Ok(Frame { bytes: bytes.freeze(), _share: share })
}

async fn read_until(stream: &mut TcpStream, bytes: &mut BytesMut, size: usize) -> Result<(), Closed> {
    let read = async {
        let mut rest = stream.take((size - bytes.len()) as u64);
        while bytes.len() < size {
            // Memory grows with what is there, not with what was announced.
            let room = bytes.len().max(READ_BYTES).min(size - bytes.len());
            bytes.reserve(room);
            if rest.read_buf(bytes).await? == 0 {
                return Err(Closed::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok::<(), Closed>(())
    };
    timeout(TRANSFER_TIME, read).await.map_err(|_| Closed::TooSlow(TRANSFER_TIME))?
}

/// Reads what all requests begin with, and checks that the rest is what it has to be.
///
/// # Errors
/// When it is not, or the request is not served.
pub fn parse(mut bytes: Bytes) -> Result<Call, Closed> {
    let malformed = |what: &str| Closed::Malformed(what.to_owned());
    let (Some(&[k0, k1]), Some(&[v0, v1])) =
        (bytes.get(..2).and_then(|b| b.first_chunk()), bytes.get(2..4).and_then(|b| b.first_chunk()))
    else {
        return Err(malformed("it is too short"));
    };
    let (code, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    let key = ApiKey::try_from(code).map_err(|()| Closed::Unknown(code))?;
    let served = api::served(key).ok_or(Closed::Unknown(code))?;
    if bytes.len() > OTHER_BYTES_MAX && key != ApiKey::Produce {
        return Err(Closed::TooLong(bytes.len() as i64, OTHER_BYTES_MAX));
    }
    let fits = served.accepts(version);
    if !fits && key != ApiKey::ApiVersions {
        return Err(Closed::Version(key, version));
    }
    // To a question for versions in a version that is not known, the answer is one in version 0;
    // only the first fields of its header are looked at.
    let header_version = if fits { key.request_header_version(version) } else { 1 };
    schema::check_header(&bytes, header_version).map_err(malformed)?;
    let header = RequestHeader::decode(&mut bytes, header_version)
        .map_err(|error| Closed::Malformed(error.to_string()))?;
    if fits {
        schema::check(key, version, &bytes).map_err(malformed)?;
    }
    Ok(Call {
        key,
        version,
        fits,
        correlation_id: header.correlation_id,
        client_id: header.client_id.map(|id| id.to_string()).unwrap_or_default(),
        host: String::new(),
        fail: None,
        body: bytes,
    })
}

async fn answer(
    frame: Frame,
    peer: SocketAddr,
    core: &Arc<Core>,
    faults: &Faults<ApiKey>,
) -> Result<Option<Answer>, Closed> {
    let mut call = parse(frame.bytes.clone())?;
    call.host = peer.ip().to_string();
    let fault = faults.meet(call.key);
    match fault {
        Some(Fault::CloseBefore) => return Err(Closed::Fault),
        Some(Fault::Fail(code)) => {
            let code = i16::try_from(code).unwrap_or(ResponseError::UnknownServerError.code());
            call.fail = ResponseError::try_from_code(code);
        }
        _ => {}
    }
    let answer = api::answer(core, call).await?;
    match fault {
        Some(Fault::CloseAfter) => Err(Closed::Fault),
        Some(Fault::Delay(time)) => {
            sleep(time).await;
            Ok(answer)
        }
        _ => Ok(answer),
    }
}

async fn write(stream: &mut TcpStream, answer: Option<Answer>) -> Result<(), Closed> {
    let Some(answer) = answer else { return Ok(()) };
    timeout(TRANSFER_TIME, stream.write_all(&answer.bytes))
        .await
        .map_err(|_| Closed::TooSlow(TRANSFER_TIME))??;
    Ok(())
}
