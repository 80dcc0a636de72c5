//! Programs that nobody here wrote.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::Process;
use super::scene::Scene;
use super::services::{Services, script};

/// Runs a command that must succeed, and gives what it wrote to standard output.
pub fn output(folder: &Path, command: Command) -> Vec<u8> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let path = folder.join(format!("output-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let file = File::create(&path).expect("the folder is ours");
    Process::start(command, Some(file.into())).end().expect(0);
    fs::read(&path).expect("it was just written")
}

/// One of Kafka's own Java tools.
pub fn kafka_tool(services: &Services, class: &str) -> Command {
    let mut tool = Command::new(script("kafka-tool"));
    tool.arg(class).args(["--bootstrap-server", services.brokers()]);
    tool
}

/// A Python program of the folder `clients`.
pub fn python(services: &Services, program: &str) -> Command {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_services/clients");
    let mut python = Command::new(services.variable("VENV_PYTHON"));
    python.arg("-B").arg(programs.join(program));
    python
}

/// Allows a principal these operations on something, and thereby nobody else any: see the program.
pub fn allow(scene: &Scene, kind: &str, name: &str, principal: &str, operations: &str) {
    let mut client = python(scene.services, "allow_confluent.py");
    client.args([scene.services.brokers(), kind, name, principal, operations]);
    output(&scene.folder, client);
}

/// Makes a key pair; gives the private key's path, beside which stands the public key.
pub fn new_ssh_key(folder: &Path, name: &str, passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f"]).arg(&path);
    output(folder, keygen);
    path
}

pub fn public_key(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote it")
}

/// Makes a key pair that the SFTP server accepts.
pub fn accepted_ssh_key(scene: &Scene, name: &str, passphrase: &str) -> PathBuf {
    let key = new_ssh_key(&scene.folder, name, passphrase);
    let file = scene.services.variable("SFTP_AUTHORIZED_KEYS");
    let mut file = OpenOptions::new().append(true).open(file).expect("the services made it");
    // One write, which other tests' writes do not come between.
    file.write_all(public_key(&key).as_bytes()).expect("the disk has room");
    key
}
