//! Requests and replies over one SFTP channel: many at once, from any number of
//! tasks, each of which waits for its own answers only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::error::{SftpError, one_line};
use super::wire::{self, Attributes, Limits, Reply, Request, Status, WireError, status};

/// Messages that may wait for the connection; more make the senders wait, so
/// that memory stays bounded by what is on its way.
const QUEUE_LENGTH: usize = 16;
/// Data in one WRITE where the server does not report how much it takes: what
/// every server must take, by the protocol.
const WRITE_BYTES_DEFAULT: u64 = 32 * 1024;
/// No larger, whatever the server reports: OpenSSH takes 255 kiB, and beyond that
/// there is nothing to gain.
const WRITE_BYTES_MAX: u64 = 255 * 1024;

/// Why a connection ended, once it is known: in the words of the SSH layer.
pub(super) type CloseReason = Arc<OnceLock<String>>;

/// One SFTP session. Dropping it ends its channel.
pub(super) struct Session {
    outgoing: mpsc::Sender<Vec<u8>>,
    pending: Arc<Pending>,
    next_id: AtomicU32,
    tasks: [AbortHandle; 2],
    /// Data that goes into one WRITE request, in bytes.
    pub(super) write_bytes: usize,
    /// Data that one READ requests, in bytes.
    pub(super) read_bytes: u32,
    /// Whether a rename may replace a file.
    pub(super) posix_rename: bool,
    /// Whether an open file can be written to the server's disk.
    pub(super) fsync: bool,
    /// One permit for each file the server lets a client hold open.
    pub(super) open_files: Semaphore,
}

/// A request that did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused.
    Status(Status),
    /// There was no answer, or not one that can be understood.
    Session(SftpError),
}

/// Requests that go out together, in this order.
pub(super) struct RequestGroup<'s> {
    session: &'s Session,
    bytes: Vec<u8>,
}

/// The answer to come to one request. Dropping it is to stop waiting.
pub(super) struct Answer {
    id: u32,
    reply: oneshot::Receiver<Reply>,
    pending: Arc<Pending>,
}

impl Session {
    /// Starts the protocol on a channel whose `sftp` subsystem runs. The time
    /// this may take is the caller's to limit.
    pub(super) async fn start(
        channel: Channel<Msg>,
        address: &str,
        request_timeout: Duration,
        close_reason: CloseReason,
    ) -> Result<Self, SftpError> {
        let (half, writer) = channel.split();
        let mut inbox = Inbox { half, bytes: Vec::new() };
        let pending = Arc::new(Pending::new(address));
        let hello = pending.greet(&mut inbox, &writer, &close_reason).await?;

        let (outgoing, queue) = mpsc::channel(QUEUE_LENGTH);
        let writer = tokio::spawn(write_requests(queue, writer)).abort_handle();
        let reader = tokio::spawn({
            let (pending, writer) = (Arc::clone(&pending), writer.clone());
            async move {
                read_replies(inbox, pending, request_timeout, close_reason).await;
                // The writer may wait for a window that nobody opens any more,
                // and senders behind it.
                writer.abort();
            }
        });
        let mut session = Self {
            outgoing,
            pending,
            next_id: AtomicU32::new(0),
            tasks: [reader.abort_handle(), writer],
            write_bytes: 0,
            read_bytes: 0,
            posix_rename: hello.has(wire::POSIX_RENAME),
            fsync: hello.has(wire::FSYNC),
            open_files: Semaphore::new(Semaphore::MAX_PERMITS),
        };
        let limits = session.limits(hello.has(wire::LIMITS)).await?;
        session.apply(limits);
        Ok(session)
    }

    /// The error that ended the session, if it has ended.
    pub(super) fn lost(&self) -> Option<SftpError> {
        self.pending.lock().lost.clone()
    }

    /// Requests to send together; `capacity` in bytes is what they will take.
    pub(super) fn group(&self, capacity: usize) -> RequestGroup<'_> {
        RequestGroup { session: self, bytes: Vec::with_capacity(capacity) }
    }

    /// Sends one request. Its answer is to be waited for.
    pub(super) async fn request(&self, request: &Request<'_>) -> Result<Answer, SftpError> {
        let mut group = self.group(256);
        let answer = group.add(request)?;
        group.send().await?;
        Ok(answer)
    }

    async fn limits(&self, offered: bool) -> Result<Limits, SftpError> {
        if !offered {
            return Ok(Limits::default());
        }
        match self.request(&Request::Limits).await?.reply().await? {
            Reply::Extended(body) => wire::limits(&body).map_err(|error| self.pending.garbled(&error)),
            // Offered but refused: the defaults always work.
            _ => Ok(Limits::default()),
        }
    }

    fn apply(&mut self, limits: Limits) {
        let reported = |value: u64| (value > 0).then_some(value);
        let room = reported(limits.packet_bytes)
            .map_or(u64::MAX, |packet| packet.saturating_sub(1024))
            .max(1024);
        let write = reported(limits.write_bytes).unwrap_or(WRITE_BYTES_DEFAULT);
        self.write_bytes = write.min(room).min(WRITE_BYTES_MAX) as usize;
        let read = reported(limits.read_bytes).unwrap_or(WRITE_BYTES_DEFAULT);
        self.read_bytes = read.min(room).min(WRITE_BYTES_MAX) as u32;
        if let Some(handles) = reported(limits.handles) {
            self.open_files = Semaphore::new(handles.min(1 << 16) as usize);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl RequestGroup<'_> {
    /// Adds a request, to be sent after those added before.
    pub(super) fn add(&mut self, request: &Request<'_>) -> Result<Answer, SftpError> {
        let id = self.session.next_id.fetch_add(1, Ordering::Relaxed);
        let reply = self.session.pending.expect(id)?;
        wire::put_request(&mut self.bytes, id, request);
        Ok(Answer { id, reply, pending: Arc::clone(&self.session.pending) })
    }

    /// Hands the requests to the connection; waits only while many others wait.
    pub(super) async fn send(self) -> Result<(), SftpError> {
        let sent = self.session.outgoing.send(self.bytes).await;
        sent.map_err(|_| self.session.pending.lost_error())
    }
}

impl Answer {
    /// Waits for an answer of any kind.
    async fn reply(mut self) -> Result<Reply, SftpError> {
        let reply = (&mut self.reply).await;
        reply.map_err(|_| self.pending.lost_error())
    }

    /// Waits for the status that all went well.
    pub(super) async fn done(self) -> Result<(), Failure> {
        self.expect(|reply| match reply {
            Reply::Status(Status { code: status::OK, .. }) => Ok(()),
            other => Err(other),
        })
        .await
    }

    pub(super) async fn handle(self) -> Result<Vec<u8>, Failure> {
        self.expect(|reply| match reply {
            Reply::Handle(handle) => Ok(handle),
            other => Err(other),
        })
        .await
    }

    /// The bytes read; `None` at the file's end.
    pub(super) async fn data(self) -> Result<Option<Vec<u8>>, Failure> {
        self.expect(|reply| match reply {
            Reply::Data(data) => Ok(Some(data)),
            Reply::Status(Status { code: status::EOF, .. }) => Ok(None),
            other => Err(other),
        })
        .await
    }

    /// The next names of a folder; `None` when there are no more.
    pub(super) async fn names(self) -> Result<Option<Vec<(String, Attributes)>>, Failure> {
        self.expect(|reply| match reply {
            Reply::Names(names) => Ok(Some(names)),
            Reply::Status(Status { code: status::EOF, .. }) => Ok(None),
            other => Err(other),
        })
        .await
    }

    pub(super) async fn attributes(self) -> Result<Attributes, Failure> {
        self.expect(|reply| match reply {
            Reply::Attributes(attributes) => Ok(attributes),
            other => Err(other),
        })
        .await
    }

    async fn expect<T>(self, pick: impl FnOnce(Reply) -> Result<T, Reply>) -> Result<T, Failure> {
        let pending = Arc::clone(&self.pending);
        match pick(self.reply().await?) {
            Ok(value) => Ok(value),
            Err(Reply::Status(status)) => Err(Failure::Status(status)),
            Err(other) => {
                let detail = format!("unexpected answer {other:?}");
                Err(Failure::Session(pending.protocol(detail)))
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

impl From<SftpError> for Failure {
    fn from(error: SftpError) -> Self {
        Self::Session(error)
    }
}

/// The requests that wait for their answers.
struct Pending {
    address: String,
    state: Mutex<PendingState>,
}

struct PendingState {
    waiting: HashMap<u32, oneshot::Sender<Reply>>,
    /// Since when nothing has come while something was waited for.
    quiet_since: Instant,
    lost: Option<SftpError>,
}

impl Pending {
    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            state: Mutex::new(PendingState {
                waiting: HashMap::new(),
                quiet_since: Instant::now(),
                lost: None,
            }),
        }
    }

    /// Exchanges the first messages.
    async fn greet(
        &self,
        inbox: &mut Inbox,
        writer: &ChannelWriteHalf<Msg>,
        close_reason: &CloseReason,
    ) -> Result<wire::Hello, SftpError> {
        let sent = writer.data_bytes(wire::init()).await;
        sent.map_err(|_| self.ended(close_reason))?;
        let hello = inbox.hello().await.map_err(|error| self.garbled(&error))?;
        let hello = hello.ok_or_else(|| self.ended(close_reason))?;
        if hello.version < wire::VERSION {
            let detail = format!("it speaks SFTP version {}, not 3", hello.version);
            return Err(self.protocol(detail));
        }
        Ok(hello)
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        // Each change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, id: u32) -> Result<oneshot::Receiver<Reply>, SftpError> {
        let mut state = self.lock();
        if let Some(error) = &state.lost {
            return Err(error.clone());
        }
        if state.waiting.is_empty() {
            state.quiet_since = Instant::now();
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(id, sender);
        Ok(receiver)
    }

    fn answer(&self, message: &[u8]) -> Result<(), WireError> {
        let (id, reply) = wire::reply(message)?;
        let waiting = self.lock().waiting.remove(&id);
        if let Some(sender) = waiting {
            // Who has stopped waiting does not want to know.
            let _ = sender.send(reply);
        }
        Ok(())
    }

    fn received(&self) {
        self.lock().quiet_since = Instant::now();
    }

    /// How much longer silence is in order; `None` when it has lasted too long.
    fn silence_left(&self, limit: Duration) -> Option<Duration> {
        let state = self.lock();
        if state.waiting.is_empty() {
            return Some(limit);
        }
        let left = limit.saturating_sub(state.quiet_since.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Ends the session: all who wait, and all who come later, get `error`.
    fn fail(&self, error: SftpError) {
        let mut state = self.lock();
        state.lost.get_or_insert(error);
        state.waiting.clear();
    }

    fn lost_error(&self) -> SftpError {
        let lost = self.lock().lost.clone();
        lost.unwrap_or_else(|| self.connection_lost("it has ended".to_owned()))
    }

    fn ended(&self, close_reason: &CloseReason) -> SftpError {
        let detail = close_reason.get().map_or("closed by the server", String::as_str);
        self.connection_lost(one_line(detail))
    }

    fn connection_lost(&self, detail: String) -> SftpError {
        SftpError::ConnectionLost { address: self.address.clone(), detail }
    }

    fn protocol(&self, detail: String) -> SftpError {
        SftpError::Protocol { address: self.address.clone(), detail }
    }

    fn garbled(&self, error: &WireError) -> SftpError {
        self.protocol(format!("it sent {error}"))
    }
}

/// Bytes from the server that are not taken apart yet.
struct Inbox {
    half: ChannelReadHalf,
    bytes: Vec<u8>,
}

impl Inbox {
    /// Waits for a sign of the server; `false` when it has ended the channel.
    /// Nothing is lost when this is given up in the middle.
    async fn fill(&mut self) -> bool {
        match self.half.wait().await {
            Some(ChannelMsg::Data { data }) => self.bytes.extend_from_slice(&data),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return false,
            Some(_) => {}
        }
        true
    }

    /// Gives all complete messages to `take`.
    fn drain(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), WireError>) -> Result<(), WireError> {
        let mut rest = self.bytes.as_slice();
        while let Some((message, after)) = wire::split_message(rest)? {
            take(message)?;
            rest = after;
        }
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        Ok(())
    }

    /// The server's first message; `None` when the channel ends before.
    async fn hello(&mut self) -> Result<Option<wire::Hello>, WireError> {
        let mut hello = None;
        while hello.is_none() {
            if !self.fill().await {
                return Ok(None);
            }
            self.drain(|message| {
                hello = Some(wire::hello(message)?);
                Ok(())
            })?;
        }
        Ok(hello)
    }
}

async fn read_replies(
    mut inbox: Inbox,
    pending: Arc<Pending>,
    request_timeout: Duration,
    close_reason: CloseReason,
) {
    let error = loop {
        let Some(left) = pending.silence_left(request_timeout) else {
            let silence = request_timeout.as_secs_f64();
            break pending.connection_lost(format!("no answer within {silence} s"));
        };
        match timeout(left, inbox.fill()).await {
            Ok(true) => pending.received(),
            Ok(false) => break pending.ended(&close_reason),
            Err(_) => continue,
        }
        if let Err(error) = inbox.drain(|message| pending.answer(message)) {
            break pending.garbled(&error);
        }
    };
    pending.fail(error);
}

async fn write_requests(mut queue: mpsc::Receiver<Vec<u8>>, writer: ChannelWriteHalf<Msg>) {
    while let Some(bytes) = queue.recv().await {
        // The reading side notices the end too, and knows more of its cause.
        if writer.data_bytes(bytes).await.is_err() {
            break;
        }
    }
}

impl wire::Hello {
    fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|name| name == extension)
    }
}
