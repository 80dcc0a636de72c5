//! A server, a key to log in with, and programs to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use cdr_sandbox::sftp::read_authorized_keys;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::server::Running;

/// No program here takes longer unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server, and what a client of it needs.
pub struct Setup {
    pub server: Running,
    /// The client's own folder, in which programs run.
    pub folder: TempDir,
}

impl Setup {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        succeed(run(&mut keygen, "").await);
        let server = Running::start_with(|config| {
            config.authorized_keys = read_authorized_keys(&key.with_extension("pub")).unwrap();
        })
        .await;
        let known = format!("[127.0.0.1]:{} {}\n", server.port, server.host_key);
        fs::write(folder.path().join("known_hosts"), known).unwrap();
        Self { server, folder }
    }

    /// A path in the client's own folder.
    pub fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Options that OpenSSH's programs share: this key, these known hosts, and nobody's configuration.
    pub fn ssh_options(&self) -> Vec<String> {
        let option = |name: &str, value: &str| format!("-o{name}={value}");
        vec![
            "-Fnone".to_owned(),
            option("IdentityFile", &self.own("key").to_string_lossy()),
            option("IdentitiesOnly", "yes"),
            option("UserKnownHostsFile", &self.own("known_hosts").to_string_lossy()),
            option("GlobalKnownHostsFile", "/dev/null"),
            option("StrictHostKeyChecking", "yes"),
            option("BatchMode", "yes"),
            option("Port", &self.server.port.to_string()),
        ]
    }

    /// A program that runs in the client's own folder.
    pub fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        // Messages are compared, so they must be in one language.
        command.current_dir(self.folder.path()).env("HOME", self.folder.path()).env("LC_ALL", "C");
        command
    }
}

/// Runs a program to its end with `input`.
pub async fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let install = "is it installed? scripts/install-test-services does that";
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; {install}"));
    let mut stdin = child.stdin.take().unwrap();
    let running = async {
        // One that ends early has its reasons, which it prints.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.unwrap()
    };
    timeout(TIMEOUT, running).await.unwrap_or_else(|_| panic!("{name} hangs"))
}

/// What a program printed, if it went well.
pub fn succeed(output: Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{errors}", output.status);
    printed
}

/// What a program complained of, if it went wrong.
pub fn fail(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes in which any two pieces differ.
pub fn content(length: usize) -> Vec<u8> {
    (0..length as u64 / 8 + 1).flat_map(u64::to_le_bytes).take(length).collect()
}
