//! Against OpenSSH's own server, agent and tools, which must be installed: with
//! the feature `real-services`. The server runs as the user who runs the tests,
//! on a port of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::proxy::Proxy;
use super::*;

struct Sshd {
    port: u16,
    dir: TempDir,
    process: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn generate(kind: &str, path: &Path) {
    run(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(path));
}

impl Sshd {
    /// `settings` are lines of sshd_config.
    async fn start(settings: &str) -> Self {
        Self::start_with(settings, "").await
    }

    /// `arguments` are those of its SFTP server.
    async fn start_with(settings: &str, arguments: &str) -> Self {
        let dir = home();
        let path = |name: &str| dir.path().join(name);
        for (kind, name) in
            [("ed25519", "host_ed25519"), ("rsa", "host_rsa"), ("ed25519", "ed25519"), ("rsa", "rsa")]
        {
            generate(kind, &path(name));
        }
        let keys = ["ed25519.pub", "rsa.pub"].map(|name| fs::read_to_string(path(name)).unwrap());
        fs::write(path("authorized_keys"), keys.concat()).unwrap();
        fs::create_dir(path("up")).unwrap();
        // Free once this listener has gone; nobody else takes ports here
        // between that and the start.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let at = dir.path().display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_ed25519\n\
             HostKey {at}/host_rsa\nAuthorizedKeysFile {at}/authorized_keys\nStrictModes no\n\
             UsePAM no\nPidFile none\nMaxStartups 100\nSubsystem sftp internal-sftp{arguments}\n\
             {settings}\n"
        );
        fs::write(path("sshd_config"), text).unwrap();
        // Only root's server needs this folder, and only root can make it.
        let _ = fs::create_dir_all("/run/sshd");
        let process = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { port, dir, process };
        in_time(async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> SftpConfig {
        let mut config = config(self.port, &self.dir);
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        config.user = String::from_utf8(user).unwrap().trim().to_owned();
        config.password = None;
        config.key_file = Some(self.path("ed25519"));
        config.remote_path = self.path("up").display().to_string();
        config
    }
}

async fn put_and_check(server: &Sshd, config: SftpConfig, files: usize, length: usize) {
    let store = SftpSink::new(&config).unwrap();
    in_time(store.connect()).await.unwrap();
    for outcome in in_time(put_all(&store, 0..files, length)).await {
        outcome.unwrap();
    }
    check_folder(&server.path("up"), 0..files, length);
    store.close().await;
}

#[tokio::test]
async fn openssh_takes_many_files_while_keys_are_exchanged_again() {
    let server = Sshd::start("RekeyLimit 1M").await;
    put_and_check(&server, server.config(), 100, 108_000).await;
}

#[tokio::test]
async fn openssh_takes_more_files_at_once_than_handles_that_are_text() {
    let server = Sshd::start("").await;
    let mut config = server.config();
    config.connections = 1;
    put_and_check(&server, config, 400, 10_000).await;
}

#[tokio::test]
async fn openssh_takes_what_its_proxy_cut() {
    let server = Sshd::start("").await;
    let proxy = Proxy::start(server.port).await;
    let mut config = server.config();
    config.port = proxy.port;
    for round in 0..4 {
        proxy.cut_after(300_000 + 50_000 * round);
        put_and_check(&server, config.clone(), 16, 108_000).await;
        assert!(proxy.has_cut());
    }
}

#[tokio::test]
async fn openssh_takes_rsa_keys_with_sha2_only() {
    let server = Sshd::start("PubkeyAcceptedAlgorithms rsa-sha2-256,rsa-sha2-512").await;
    let mut config = server.config();
    config.key_file = Some(server.path("rsa"));
    put_and_check(&server, config, 1, 1000).await;
}

#[tokio::test]
async fn openssh_takes_keys_from_its_agent() {
    let server = Sshd::start("").await;
    let socket = server.path("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    in_time(async {
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut config = server.config();
    config.key_file = None;
    config.use_agent = true;
    let store = |config: &SftpConfig| {
        let mut store = SftpSink::new(config).unwrap();
        store.pool.connector.login.agent = Some(socket.clone().into());
        store
    };
    let empty = in_time(store(&config).connect()).await.unwrap_err().to_string();
    for key in ["rsa", "ed25519"] {
        let add = ["-q", "-D"];
        run(Command::new("ssh-add").args(add).env("SSH_AUTH_SOCK", &socket));
        run(Command::new("ssh-add").arg("-q").arg(server.path(key)).env("SSH_AUTH_SOCK", &socket));
        in_time(store(&config).connect()).await.unwrap();
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(empty.contains("tried ssh-agent (it holds no keys)"), "{empty}");
    assert!(empty.contains("the server offers publickey"), "{empty}");
}

#[tokio::test]
async fn openssh_shows_the_host_key_that_is_on_record() {
    let server = Sshd::start("").await;
    let mut config = server.config();
    config.host_key_policy = HostKeyPolicy::Strict;
    config.known_hosts = server.path("known_hosts");
    let key = fs::read_to_string(server.path("host_rsa.pub")).unwrap();
    let entry = format!("[127.0.0.1]:{} {key}", server.port);
    fs::write(&config.known_hosts, entry).unwrap();
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
    // The same with the host's name hashed.
    run(Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&config.known_hosts)
        .stderr(Stdio::null()));
    let hashed = fs::read_to_string(&config.known_hosts).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
}

#[tokio::test]
async fn openssh_without_permission_to_write_is_reported() {
    let server = Sshd::start_with("", " -R").await;
    let error = in_time(SftpSink::new(&server.config()).unwrap().connect()).await;
    assert!(matches!(error, Err(SftpError::PermissionDenied { .. })), "{error:?}");
}
