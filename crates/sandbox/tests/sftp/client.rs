//! A client that sends whatever a test has it send.

use std::sync::Arc;

use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{ChannelId, ChannelStream, Disconnect};
use russh_sftp::protocol::{
    Close, Data, Extended, ExtendedReply, File, FileAttributes, Fstat, Init, Lstat, MkDir, Name, Open,
    OpenDir, OpenFlags, Packet, Read, ReadDir, RealPath, Remove, Rename, RmDir, SetStat, Stat, Write,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::{Running, TIMEOUT};

pub const OK: u32 = 0;
pub const EOF: u32 = 1;
pub const NO_SUCH_FILE: u32 = 2;
pub const PERMISSION_DENIED: u32 = 3;
pub const FAILURE: u32 = 4;
pub const OP_UNSUPPORTED: u32 = 8;

/// The server's refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct No {
    pub code: u32,
    pub message: String,
}

/// Takes any host key, and sends its fingerprint.
#[derive(Default)]
pub struct Trusting {
    pub fingerprint: Option<tokio::sync::oneshot::Sender<String>>,
    /// Whether to open the channel's window once only.
    pub stingy: bool,
}

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        if let Some(sender) = self.fingerprint.take() {
            let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
                panic!("a certificate");
            };
            sender.send(key.fingerprint(HashAlg::Sha256).to_string()).unwrap();
        }
        Ok(true)
    }

    fn adjust_window(&mut self, _channel: ChannelId, current: u32) -> u32 {
        // A window that is to be one byte wide is never too narrow.
        if self.stingy { 1 } else { current }
    }
}

pub async fn ssh(port: u16) -> Result<Handle<Trusting>, russh::Error> {
    // The connection does not wait for who does not take its answers.
    ssh_with(port, Trusting::default(), 10_000).await
}

/// Connects; the connection stops while more than `channel_buffer_size` pieces of answers wait.
pub async fn ssh_with(
    port: u16,
    handler: Trusting,
    channel_buffer_size: usize,
) -> Result<Handle<Trusting>, russh::Error> {
    let config = client::Config { nodelay: true, channel_buffer_size, ..client::Config::default() };
    let connecting = client::connect(Arc::new(config), ("127.0.0.1", port), handler);
    timeout(TIMEOUT, connecting).await.expect("the server does not speak")
}

pub async fn logged_in(port: u16) -> Handle<Trusting> {
    log_in(ssh(port).await.unwrap()).await
}

pub async fn log_in(mut ssh: Handle<Trusting>) -> Handle<Trusting> {
    let login = ssh.authenticate_password("cdr_data", "password").await.unwrap();
    assert!(matches!(login, AuthResult::Success), "{login:?}");
    ssh
}

pub struct Client {
    pub ssh: Handle<Trusting>,
    pub stream: ChannelStream<Msg>,
    next_id: u32,
}

impl Client {
    /// Logs in and begins a session.
    pub async fn connect(server: &Running) -> Self {
        Self::over(logged_in(server.port).await).await
    }

    /// Begins a session on a connection.
    pub async fn over(ssh: Handle<Trusting>) -> Self {
        let mut client = Self::without_greeting(ssh).await;
        client.send(Init::new().into()).await;
        assert!(matches!(client.receive().await, Some(Packet::Version(_))));
        client
    }

    pub async fn without_greeting(ssh: Handle<Trusting>) -> Self {
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        Self { ssh, stream: channel.into_stream(), next_id: 0 }
    }

    pub fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    pub async fn send(&mut self, packet: Packet) {
        self.send_bytes(&bytes::Bytes::try_from(packet).unwrap()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(TIMEOUT, self.stream.write_all(bytes)).await.expect("nothing is taken").unwrap();
    }

    /// The bytes of the next answer, without their length; `None` when the session has ended.
    pub async fn receive_bytes(&mut self) -> Option<Vec<u8>> {
        let receiving = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(bytes)
        };
        timeout(TIMEOUT, receiving).await.expect("no answer")
    }

    pub async fn receive(&mut self) -> Option<Packet> {
        let bytes = self.receive_bytes().await?;
        Some(Packet::try_from(&mut bytes::Bytes::from(bytes)).unwrap())
    }

    /// Sends a request and gives its answer.
    pub async fn request(&mut self, request: impl Into<Packet>) -> Result<Packet, No> {
        let request = request.into();
        let id = request.get_request_id();
        self.send(request).await;
        let answer = self.receive().await.expect("the session has ended");
        assert_eq!(answer_id(&answer), id);
        match answer {
            Packet::Status(status) if status.status_code as u32 != OK => {
                Err(No { code: status.status_code as u32, message: status.error_message })
            }
            answer => Ok(answer),
        }
    }

    async fn done(&mut self, request: impl Into<Packet>) -> Result<(), No> {
        let answer = self.request(request).await?;
        assert!(matches!(answer, Packet::Status(_)), "{answer:?}");
        Ok(())
    }

    pub async fn open(&mut self, path: &str, flags: OpenFlags) -> Result<String, No> {
        let attrs = FileAttributes::empty();
        let open = Open { id: self.id(), filename: path.to_owned(), pflags: flags, attrs };
        handle(self.request(open).await?)
    }

    pub async fn open_folder(&mut self, path: &str) -> Result<String, No> {
        let open = OpenDir { id: self.id(), path: path.to_owned() };
        handle(self.request(open).await?)
    }

    pub async fn close(&mut self, handle: &str) -> Result<(), No> {
        let close = Close { id: self.id(), handle: handle.to_owned() };
        self.done(close).await
    }

    pub async fn write(&mut self, handle: &str, offset: u64, data: &[u8]) -> Result<(), No> {
        let handle = handle.to_owned();
        let write = Write { id: self.id(), handle, offset, data: data.to_vec() };
        self.done(write).await
    }

    pub async fn read(&mut self, handle: &str, offset: u64, len: u32) -> Result<Vec<u8>, No> {
        let read = Read { id: self.id(), handle: handle.to_owned(), offset, len };
        match self.request(read).await? {
            Packet::Data(Data { data, .. }) => Ok(data),
            other => panic!("{other:?}"),
        }
    }

    pub async fn read_folder(&mut self, handle: &str) -> Result<Vec<File>, No> {
        let read = ReadDir { id: self.id(), handle: handle.to_owned() };
        match self.request(read).await? {
            Packet::Name(Name { files, .. }) => Ok(files),
            other => panic!("{other:?}"),
        }
    }

    pub async fn stat(&mut self, path: &str) -> Result<FileAttributes, No> {
        let stat = Stat { id: self.id(), path: path.to_owned() };
        attributes(self.request(stat).await?)
    }

    pub async fn lstat(&mut self, path: &str) -> Result<FileAttributes, No> {
        let stat = Lstat { id: self.id(), path: path.to_owned() };
        attributes(self.request(stat).await?)
    }

    pub async fn fstat(&mut self, handle: &str) -> Result<FileAttributes, No> {
        let stat = Fstat { id: self.id(), handle: handle.to_owned() };
        attributes(self.request(stat).await?)
    }

    pub async fn set(&mut self, path: &str, attrs: FileAttributes) -> Result<(), No> {
        let set = SetStat { id: self.id(), path: path.to_owned(), attrs };
        self.done(set).await
    }

    pub async fn remove(&mut self, path: &str) -> Result<(), No> {
        let remove = Remove { id: self.id(), filename: path.to_owned() };
        self.done(remove).await
    }

    pub async fn make_folder(&mut self, path: &str) -> Result<(), No> {
        let make = MkDir { id: self.id(), path: path.to_owned(), attrs: FileAttributes::empty() };
        self.done(make).await
    }

    pub async fn remove_folder(&mut self, path: &str) -> Result<(), No> {
        let remove = RmDir { id: self.id(), path: path.to_owned() };
        self.done(remove).await
    }

    pub async fn rename(&mut self, from: &str, to: &str) -> Result<(), No> {
        let rename = Rename { id: self.id(), oldpath: from.to_owned(), newpath: to.to_owned() };
        self.done(rename).await
    }

    pub async fn posix_rename(&mut self, from: &str, to: &str) -> Result<(), No> {
        let data = [string(from), string(to)].concat();
        self.extended("posix-rename@openssh.com", data).await.map(drop)
    }

    pub async fn real_path(&mut self, path: &str) -> Result<String, No> {
        let real = RealPath { id: self.id(), path: path.to_owned() };
        match self.request(real).await? {
            Packet::Name(Name { mut files, .. }) => Ok(files.remove(0).filename),
            other => panic!("{other:?}"),
        }
    }

    /// The numbers in the answer, if it has some.
    pub async fn extended(&mut self, name: &str, data: Vec<u8>) -> Result<Vec<u64>, No> {
        let extended = Extended { id: self.id(), request: name.to_owned(), data };
        match self.request(extended).await? {
            Packet::ExtendedReply(ExtendedReply { data, .. }) => {
                let numbers = data.chunks_exact(8).map(|number| number.try_into().unwrap());
                Ok(numbers.map(u64::from_be_bytes).collect())
            }
            Packet::Status(_) => Ok(Vec::new()),
            other => panic!("{other:?}"),
        }
    }

    /// Makes a file of `content`.
    pub async fn put(&mut self, path: &str, content: &[u8]) -> Result<(), No> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.open(path, flags).await?;
        self.write(&handle, 0, content).await?;
        self.close(&handle).await
    }

    pub async fn disconnect(self) {
        self.ssh.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    }
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn handle(answer: Packet) -> Result<String, No> {
    match answer {
        Packet::Handle(handle) => Ok(handle.handle),
        other => panic!("{other:?}"),
    }
}

fn attributes(answer: Packet) -> Result<FileAttributes, No> {
    match answer {
        Packet::Attrs(attrs) => Ok(attrs.attrs),
        other => panic!("{other:?}"),
    }
}

fn answer_id(answer: &Packet) -> u32 {
    match answer {
        Packet::Status(status) => status.id,
        Packet::Handle(handle) => handle.id,
        Packet::Data(data) => data.id,
        Packet::Name(name) => name.id,
        Packet::Attrs(attrs) => attrs.id,
        Packet::ExtendedReply(reply) => reply.id,
        other => panic!("not an answer: {other:?}"),
    }
}
