//! Requests and replies over one SFTP channel: many at once, from any number of tasks, each of which waits
//! for its own answers only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::config::SftpConfig;
use super::error::{SftpError, one_line};
use super::wire::{self, Attributes, Limits, Reply, Request, Status, WireError, status};

/// Messages that may wait for the connection; more make the senders wait, so that memory stays bounded by
/// what is on its way.
const QUEUE_LENGTH: usize = 16;
/// Data in one WRITE where the server does not report how much it takes: what every server must take, by
/// the protocol.
const WRITE_BYTES_DEFAULT: u64 = 32 * 1024;
/// No larger, whatever the server reports: OpenSSH takes 255 kiB, and beyond that there is nothing to gain.
const WRITE_BYTES_MAX: u64 = 255 * 1024;

/// Why a connection ended, once it is known: in the words of the SSH layer.
pub(super) type CloseReason = Arc<OnceLock<String>>;

/// What became of a request that the server answered: what it gives, or why it refused.
pub(super) type Answered<T> = Result<T, Status>;

/// One SFTP session. Dropping it ends its channel.
pub(super) struct Session {
    pub(super) config: Arc<SftpConfig>,
    outgoing: mpsc::Sender<Vec<u8>>,
    pending: Arc<Pending>,
    next_id: AtomicU32,
    _tasks: [AbortOnDropHandle<()>; 2],
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
    /// Starts the protocol on a channel whose `sftp` subsystem runs. The time this may take is the caller's
    /// to limit.
    pub(super) async fn start(
        channel: Channel<Msg>,
        config: Arc<SftpConfig>,
        close_reason: CloseReason,
    ) -> Result<Self, SftpError> {
        let (half, writer) = channel.split();
        let mut inbox = Inbox { half, bytes: Vec::new() };
        let state = PendingState { waiting: HashMap::new(), quiet_since: Instant::now(), lost: None };
        let pending =
            Arc::new(Pending { config: Arc::clone(&config), close_reason, state: Mutex::new(state) });
        let hello = pending.greet(&mut inbox, &writer).await?;

        let (outgoing, queue) = mpsc::channel(QUEUE_LENGTH);
        let writer = AbortOnDropHandle::new(tokio::spawn(write_requests(queue, writer)));
        let reader = AbortOnDropHandle::new(tokio::spawn({
            let (pending, writer) = (Arc::clone(&pending), writer.abort_handle());
            async move {
                pending.read_replies(inbox).await;
                // The writer may wait for a window that nobody opens any more, and senders behind it.
                writer.abort();
            }
        }));
        let mut session = Self {
            config,
            outgoing,
            pending,
            next_id: AtomicU32::new(0),
            _tasks: [reader, writer],
            write_bytes: 0,
            read_bytes: 0,
            posix_rename: hello.has(wire::POSIX_RENAME),
            fsync: hello.has(wire::FSYNC),
            open_files: Semaphore::new(Semaphore::MAX_PERMITS),
        };
        let mut limits = Limits::default();
        // Where they are offered but refused, the defaults work.
        if hello.has(wire::LIMITS)
            && let Reply::Limits(reported) = session.request(&Request::Limits).await?.reply().await?
        {
            limits = reported;
        }
        session.apply(limits);
        Ok(session)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.pending.lock().lost.is_some()
    }

    /// Requests to send together; `capacity` in bytes is about what they will take.
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

    fn apply(&mut self, limits: Limits) {
        let reported = |value: u64| (value > 0).then_some(value);
        let room = reported(limits.packet_bytes).map_or(u64::MAX, |packet| packet.saturating_sub(1024));
        let most = room.clamp(1024, WRITE_BYTES_MAX);
        let write = reported(limits.write_bytes).unwrap_or(WRITE_BYTES_DEFAULT);
        self.write_bytes = write.min(most) as usize;
        let read = reported(limits.read_bytes).unwrap_or(WRITE_BYTES_DEFAULT);
        self.read_bytes = read.min(most) as u32;
        if let Some(handles) = reported(limits.handles) {
            self.open_files = Semaphore::new(handles.min(1 << 16) as usize);
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
    pub(super) async fn done(self) -> Result<Answered<()>, SftpError> {
        self.expect(|reply| match reply {
            Reply::Status(Status { code: status::OK, .. }) => Ok(()),
            other => Err(other),
        })
        .await
    }

    pub(super) async fn handle(self) -> Result<Answered<Vec<u8>>, SftpError> {
        self.expect(|reply| match reply {
            Reply::Handle(handle) => Ok(handle),
            other => Err(other),
        })
        .await
    }

    /// The bytes read; `None` at the file's end.
    pub(super) async fn data(self) -> Result<Answered<Option<Vec<u8>>>, SftpError> {
        self.expect(|reply| match reply {
            Reply::Data(data) => Ok(Some(data)),
            Reply::Status(Status { code: status::EOF, .. }) => Ok(None),
            other => Err(other),
        })
        .await
    }

    /// The next names of a folder; `None` when there are no more.
    pub(super) async fn names(self) -> Result<Answered<Option<Vec<(String, Attributes)>>>, SftpError> {
        self.expect(|reply| match reply {
            Reply::Names(names) => Ok(Some(names)),
            Reply::Status(Status { code: status::EOF, .. }) => Ok(None),
            other => Err(other),
        })
        .await
    }

    pub(super) async fn attributes(self) -> Result<Answered<Attributes>, SftpError> {
        self.expect(|reply| match reply {
            Reply::Attributes(attributes) => Ok(attributes),
            other => Err(other),
        })
        .await
    }

    async fn expect<T>(
        self,
        pick: impl FnOnce(Reply) -> Result<T, Reply>,
    ) -> Result<Answered<T>, SftpError> {
        let pending = Arc::clone(&self.pending);
        match pick(self.reply().await?) {
            Ok(value) => Ok(Ok(value)),
            Err(Reply::Status(refusal)) => Ok(Err(refusal)),
            Err(other) => Err(pending.config.protocol(format!("unexpected answer {other:?}"))),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pending.lock().waiting.remove(&self.id);
    }
}

/// The requests that wait for their answers.
struct Pending {
    config: Arc<SftpConfig>,
    close_reason: CloseReason,
    state: Mutex<PendingState>,
}

struct PendingState {
    waiting: HashMap<u32, oneshot::Sender<Reply>>,
    /// Since when nothing has come while something was waited for.
    quiet_since: Instant,
    lost: Option<SftpError>,
}

impl Pending {
    /// Exchanges the first messages.
    async fn greet(
        &self,
        inbox: &mut Inbox,
        writer: &ChannelWriteHalf<Msg>,
    ) -> Result<wire::Hello, SftpError> {
        writer.data_bytes(wire::init()).await.map_err(|_| self.ended())?;
        let mut first = None;
        let hello = loop {
            if let Some(hello) = first.take() {
                break hello;
            }
            if !inbox.fill().await {
                return Err(self.ended());
            }
            let drained = inbox.drain(|message| wire::hello(message).map(|hello| first = Some(hello)));
            drained.map_err(|error| self.garbled(&error))?;
        };
        if hello.version < wire::VERSION {
            let detail = format!("it speaks SFTP version {}, not 3", hello.version);
            return Err(self.config.protocol(detail));
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

    /// How much longer silence is in order; `None` when it has lasted too long.
    fn silence_left(&self, limit: Duration) -> Option<Duration> {
        let state = self.lock();
        if state.waiting.is_empty() {
            return Some(limit);
        }
        let left = limit.saturating_sub(state.quiet_since.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Gives out replies until the session ends; then all who wait, and all who come later, get the error.
    async fn read_replies(&self, mut inbox: Inbox) {
        let limit = self.config.request_timeout;
        let error = loop {
            let Some(left) = self.silence_left(limit) else {
                break self.config.lost(format!("no answer within {} s", limit.as_secs_f64()));
            };
            match timeout(left, inbox.fill()).await {
                Ok(true) => self.lock().quiet_since = Instant::now(),
                Ok(false) => break self.ended(),
                Err(_) => continue,
            }
            if let Err(error) = inbox.drain(|message| self.answer(message)) {
                break self.garbled(&error);
            }
        };
        let mut state = self.lock();
        state.lost = Some(error);
        state.waiting.clear();
    }

    fn lost_error(&self) -> SftpError {
        let lost = self.lock().lost.clone();
        lost.unwrap_or_else(|| self.config.lost("it has ended".to_owned()))
    }

    fn ended(&self) -> SftpError {
        let detail = self.close_reason.get().map_or("closed by the server", String::as_str);
        self.config.lost(one_line(detail))
    }

    fn garbled(&self, error: &WireError) -> SftpError {
        self.config.protocol(format!("it sent {error}"))
    }
}

/// Bytes from the server that are not taken apart yet.
struct Inbox {
    half: ChannelReadHalf,
    bytes: Vec<u8>,
}

impl Inbox {
    /// Waits for a sign of the server; `false` when it has ended the channel. Nothing is lost when this is
    /// given up in the middle.
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
}

async fn write_requests(mut queue: mpsc::Receiver<Vec<u8>>, writer: ChannelWriteHalf<Msg>) {
    while let Some(bytes) = queue.recv().await {
        // The reading side notices the end too, and knows more of its cause.
        if writer.data_bytes(bytes).await.is_err() {
            break;
        }
    }
}
