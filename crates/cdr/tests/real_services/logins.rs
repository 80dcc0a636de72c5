//! Signing in at the SFTP server, and whether it is the server that it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::Ended;
use crate::support::scene::{Job, Scene};
use crate::support::{check, clients};

/// A small run to the SFTP server alone.
fn scene(name: &'static str) -> Scene {
    Scene::new(name, 3, 10)
}

fn run(scene: &Scene) -> Job {
    scene.run().with("SINKS", "sftp")
}

fn address(scene: &Scene) -> String {
    format!("127.0.0.1:{}", scene.services.variable("SFTP_PORT"))
}

/// With this password, only a key can open the door.
const WRONG_PASSWORD: &str = "not-the-password-6174";

#[test]
fn a_key_file_signs_in() {
    let scene = scene("key");
    let key = clients::accepted_ssh_key(&scene, "key", "");
    let job = run(&scene).with("SFTP_KEY_FILE", key.display()).with("SFTP_PASSWORD", WRONG_PASSWORD);
    job.end().expect(0);
    check::files(&scene, &scene.uploads(), 0..3);
}

#[test]
fn an_encrypted_key_file_signs_in_with_its_passphrase() {
    let scene = scene("encrypted-key");
    let key = clients::accepted_ssh_key(&scene, "key", "open sesame");
    let job = || run(&scene).with("SFTP_KEY_FILE", key.display()).with("SFTP_PASSWORD", WRONG_PASSWORD);
    let refused = |ended: Ended, why: &str| {
        let ended = ended.expect(2);
        let line = ended.line("SFTP key file");
        assert!(line.contains(&*key.to_string_lossy()) && line.contains(why), "{line}");
    };
    refused(job().end(), "is encrypted and no passphrase is configured");
    let wrong = job().with("SFTP_KEY_PASSPHRASE", "open barley").end();
    assert_eq!(wrong.count("barley"), 0, "a secret is never shown");
    refused(wrong, "passphrase is wrong");
    job().with("SFTP_KEY_PASSPHRASE", "open sesame").end().expect(0);
    check::files(&scene, &scene.uploads(), 0..3);
}

#[test]
fn the_password_can_come_from_a_file() {
    let scene = scene("password-file");
    fs::write(scene.folder.join("secret"), "password\n").expect("the folder is ours");
    run(&scene).flag("--sftp-password-file").flag("secret").end().expect(0);
    check::files(&scene, &scene.uploads(), 0..3);
}

#[test]
fn a_wrong_password_is_refused_at_once_and_never_shown() {
    let scene = scene("wrong-password");
    // Debug lines, too, must not show it.
    let job = scene.run().with("SFTP_PASSWORD", WRONG_PASSWORD).flag("-vv");
    let ended = job.end().expect(1);
    let line = ended.line("ERROR");
    let refused = format!("SFTP login of cdr_data at {} refused", address(&scene));
    assert!(line.contains(&refused) && line.contains("check user, password and key"), "{line}");
    assert_eq!(ended.count(WRONG_PASSWORD), 0, "a secret is never shown");
    assert!(!scene.uploads().exists());
    // What was delivered to Kafka until then is not delivered again.
    scene.run().end().expect(0).line("Continuing run wrong-password");
    check::delivered(&scene);
}

fn known_hosts(scene: &Scene) -> PathBuf {
    scene.folder.join(".ssh/known_hosts")
}

/// The server's line in a file of known hosts, with this key.
fn host_line(scene: &Scene, public_key: &str) -> String {
    let key: Vec<&str> = public_key.split_whitespace().take(2).collect();
    format!("[127.0.0.1]:{} {}", scene.services.variable("SFTP_PORT"), key.join(" "))
}

fn server_key(scene: &Scene) -> PathBuf {
    scene.services.variable("SFTP_HOST_KEY_FILE").into()
}

/// As OpenSSH shows it: `SHA256:…`.
fn fingerprint(scene: &Scene, public_key: &Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(public_key);
    let text = String::from_utf8(clients::output(&scene.folder, keygen)).expect("text");
    text.split_whitespace().nth(1).expect("bits, fingerprint, name").to_owned()
}

#[test]
fn an_unknown_server_is_noted_at_first_and_known_from_then_on() {
    let scene = scene("host-key-noted");
    let ended = run(&scene).end().expect(0);
    let fingerprint = fingerprint(&scene, &server_key(&scene));
    ended.line(&format!("Accepted new host key of {}, {fingerprint}", address(&scene)));
    let noted = fs::read_to_string(known_hosts(&scene)).expect("it was written");
    let key = fs::read_to_string(server_key(&scene)).expect("the services made it");
    assert_eq!(noted, host_line(&scene, &key) + "\n");

    let strict = run(&scene).flag("--sftp-host-key-policy").flag("strict").flag("--restart");
    assert_eq!(strict.end().expect(0).count("host key"), 0);
    assert_eq!(fs::read_to_string(known_hosts(&scene)).expect("it stays"), noted);
}

#[test]
fn a_server_whose_key_has_changed_is_refused() {
    let scene = scene("host-key-changed");
    let other = clients::new_ssh_key(&scene.folder, "other", "");
    let line = host_line(&scene, &clients::public_key(&other)) + "\n";
    fs::create_dir(scene.folder.join(".ssh")).expect("the folder is ours");
    fs::write(known_hosts(&scene), &line).expect("the folder is ours");

    let ended = run(&scene).end().expect(1);
    let error = ended.line("ERROR");
    assert!(error.contains("HAS CHANGED") && error.contains(&address(&scene)), "{error}");
    for key in [other.with_extension("pub"), server_key(&scene)] {
        let fingerprint = fingerprint(&scene, &key);
        assert!(error.contains(&fingerprint), "{error}\ndoes not name {fingerprint}");
    }
    assert_eq!(fs::read_to_string(known_hosts(&scene)).expect("it stays"), line);
    assert!(!scene.uploads().exists());
}

#[test]
fn an_unknown_server_is_refused_under_the_strict_policy() {
    let scene = scene("host-key-strict");
    let ended = run(&scene).with("SFTP_HOST_KEY_POLICY", "strict").end().expect(1);
    let error = ended.line("ERROR");
    let fingerprint = fingerprint(&scene, &server_key(&scene));
    assert!(error.contains(&fingerprint) && error.contains("ssh-keyscan -p"), "{error}");
    assert!(!known_hosts(&scene).exists() && !scene.uploads().exists());
}
