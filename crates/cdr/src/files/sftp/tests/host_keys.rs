//! Host keys: known, new, changed, revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey};

use super::super::host_keys::{Accepted, HostKeys};
use super::server::new_key;
use super::*;

fn line(hosts: &str, key: &PublicKey) -> String {
    format!("{hosts} {}\n", key.to_openssh().unwrap().trim())
}

fn print(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The verdict on `key`, for `host:port`, when the file holds `text`.
fn check(text: &str, host: &str, port: u16, key: &PublicKey) -> Result<Accepted, SftpError> {
    let home = home();
    let mut config = config(port, &home);
    config.host = host.to_owned();
    config.known_hosts = home.path().join("known_hosts");
    config.host_key_policy = HostKeyPolicy::Strict;
    fs::write(&config.known_hosts, text).unwrap();
    HostKeys { config: Arc::new(config.clone()) }.check(key)
}

#[test]
fn names_and_patterns_are_found_as_ssh_finds_them() {
    let key = new_key().public_key().clone();
    for (hosts, host, port, found) in [
        ("example.com", "example.com", 22, true),
        ("example.com", "EXAMPLE.com", 22, true),
        ("a,example.com", "example.com", 22, true),
        ("*.com", "example.com", 22, true),
        ("ex?mple.com", "example.com", 22, true),
        ("*,!example.com", "example.com", 22, false),
        ("[example.com]:2022", "example.com", 2022, true),
        ("[example.com]:2022", "example.com", 2023, false),
        ("[example.com]:2022", "example.com", 22, false),
        ("example.com", "example.com", 2022, true),
        ("@cert-authority example.com", "example.com", 22, false),
        ("# example.com", "example.com", 22, false),
    ] {
        let outcome = check(&line(hosts, &key), host, port, &key);
        let known = matches!(outcome, Ok(Accepted::Known));
        assert_eq!(known, found, "{hosts} for {host}:{port}: {outcome:?}");
    }
}

#[test]
fn hashed_names_are_found_on_their_line() {
    // From ssh-keygen -H: example.com and this key.
    let entry = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= ssh-ed25519 \
                 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF\n";
    let other = new_key().public_key().clone();
    let text = format!("# a comment\n\n{}# more\n{entry}", line("other.org", &other));
    let key = russh::keys::parse_public_key_base64(
        "AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF",
    )
    .unwrap();
    assert_eq!(check(&text, "example.com", 22, &key).unwrap(), Accepted::Known);
    let error = check(&text, "example.com", 22, &other).unwrap_err();
    let SftpError::HostKeyChanged { line, expected, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((line, expected), (5, print(&key)));
}

#[test]
fn revoked_keys_are_refused() {
    let key = new_key().public_key().clone();
    let text = format!("{}@revoked {}", line("host", &key), line("*", &key));
    let outcome = check(&text, "host", 22, &key);
    assert!(matches!(outcome, Err(SftpError::HostKeyRevoked { line: 2, .. })), "{outcome:?}");
}

#[test]
fn lines_with_a_key_that_cannot_be_read_are_passed_over_unless_they_revoke_it() {
    let key = new_key().public_key().clone();
    let unreadable = "* ssh-ed25519 AAAA\nhost 1024 35 1234\n";
    let outcome = check(&format!("{unreadable}{}", line("host", &key)), "host", 22, &key);
    assert!(matches!(outcome, Ok(Accepted::Known)), "{outcome:?}");
    let outcome = check("@revoked host ssh-ed25519 AAAA\n", "host", 22, &key);
    assert!(matches!(outcome, Err(SftpError::KnownHosts { .. })), "{outcome:?}");
}

#[test]
fn a_key_of_another_kind_does_not_pass_as_new() {
    let curve = EcdsaCurve::NistP256;
    let random = &mut russh::keys::key::safe_rng();
    let ecdsa = PrivateKey::random(random, Algorithm::Ecdsa { curve }).unwrap();
    let text = line("host", ecdsa.public_key());
    let outcome = check(&text, "host", 22, new_key().public_key());
    assert!(matches!(outcome, Err(SftpError::HostKeyChanged { .. })), "{outcome:?}");
}

#[test]
fn strict_names_the_command_that_adds_the_key() {
    let home = home();
    let mut config = config(2022, &home);
    config.host = "example.com".to_owned();
    config.host_key_policy = HostKeyPolicy::Strict;
    let key = new_key().public_key().clone();
    let error = HostKeys { config: Arc::new(config.clone()) }.check(&key).unwrap_err();
    assert!(error.is_permanent());
    let file = config.known_hosts.display();
    let expected = format!(
        "host key of SFTP server example.com:2022 is unknown: {} is not in {file}; if that is its \
         fingerprint, add the key with: ssh-keyscan -p 2022 example.com >> {file}",
        print(&key)
    );
    assert_eq!(error.to_string(), expected);
    assert!(!config.known_hosts.exists());
}

#[tokio::test]
async fn a_new_key_is_recorded_once_with_one_line_in_the_log() {
    let (log, _guard) = capture_log();
    let (server, home) = (Server::start().await, home());
    let config = config(server.port, &home);
    let connects = (0..8).map(|_| SftpSink::new(&config).unwrap());
    let connects: JoinSet<_> = connects.map(|store| async move { store.connect().await }).collect();
    for outcome in in_time(connects.join_all()).await {
        outcome.unwrap();
    }
    let recorded = fs::read_to_string(&config.known_hosts).unwrap();
    let expected = line(&format!("[127.0.0.1]:{}", server.port), server.key.public_key());
    assert_eq!(recorded, expected);
    let mode = fs::metadata(&config.known_hosts).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let expected = format!(
        "Accepted new host key of 127.0.0.1:{}, {}, recorded in {}",
        server.port,
        print(server.key.public_key()),
        config.known_hosts.display()
    );
    assert_eq!(log.lines_with("host key").len(), 1);
    assert_eq!(log.lines_with(&expected).len(), 1);
}

#[tokio::test]
async fn a_new_key_goes_on_a_line_of_its_own() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.known_hosts = home.path().join("known_hosts");
    let other = line("other", new_key().public_key());
    fs::write(&config.known_hosts, other.trim_end()).unwrap();
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
    let recorded = fs::read_to_string(&config.known_hosts).unwrap();
    assert!(recorded.starts_with(&other), "{recorded}");
    assert_eq!(recorded.lines().count(), 2);
}

#[tokio::test]
async fn a_changed_key_is_refused_with_both_fingerprints_file_and_line() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.known_hosts = home.path().join("known_hosts");
    let expected = new_key().public_key().clone();
    let text = line(&format!("[127.0.0.1]:{}", server.port), &expected);
    fs::write(&config.known_hosts, format!("# hosts\n{text}")).unwrap();
    for policy in [HostKeyPolicy::AcceptNew, HostKeyPolicy::Strict] {
        config.host_key_policy = policy;
        let error = in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap_err();
        assert!(error.is_permanent());
        let expected = format!(
            "host key of SFTP server 127.0.0.1:{} HAS CHANGED, which may be an attack: expected \
             {} ({}:2), offered {}; if the server was set up again, remove that line",
            server.port,
            print(&expected),
            config.known_hosts.display(),
            print(server.key.public_key())
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_known_key_is_enough_for_strict() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
    config.host_key_policy = HostKeyPolicy::Strict;
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
}
