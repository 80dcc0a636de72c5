//! Ways to log in, and the error when none works.

use std::sync::atomic::Ordering::SeqCst;

use russh::MethodKind;
use russh::keys::ssh_key::LineEnding;

use super::server::new_key;
use super::*;

const PASSPHRASE: &str = "open sesame";

/// Writes a new private key into `home`.
fn key_file(home: &TempDir, passphrase: Option<&str>) -> std::path::PathBuf {
    let mut key = new_key();
    if let Some(passphrase) = passphrase {
        let random = &mut russh::keys::key::safe_rng();
        key = key.encrypt(random, passphrase).unwrap();
    }
    let path = home.path().join("key");
    let text = key.to_openssh(LineEnding::LF).unwrap();
    std::fs::write(&path, text.as_bytes()).unwrap();
    path
}

#[tokio::test]
async fn a_wrong_password_is_reported_with_what_was_tried_and_what_is_offered() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.password = Some(Secret::new("hunter2".to_owned()));
    let store = SftpSink::new(&config).unwrap();
    let error = in_time(store.connect()).await.unwrap_err();
    assert!(error.is_permanent());
    let expected = format!(
        "SFTP login of cdr_data at 127.0.0.1:{} refused (tried password; \
         the server offers password, publickey): check user, password and key",
        server.port
    );
    assert_eq!(error.to_string(), expected);
    assert!(!format!("{error:?} {:?}", super::config(1, &home)).contains("hunter2"));
}

#[tokio::test]
async fn many_uploads_with_a_wrong_password_are_one_attempt() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.password = Some(Secret::new("hunter2".to_owned()));
    let store = SftpSink::new(&config).unwrap();
    for outcome in in_time(put_all(&store, 0..16, 1000)).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, SftpError::AuthFailed { .. }), "{error}");
    }
    assert_eq!(server.switches.login_attempts.load(SeqCst), 1);
}

#[tokio::test]
async fn keyboard_interactive_stands_in_for_the_password() {
    let (server, home) = (Server::start().await, home());
    *server.switches.methods.lock().unwrap() = vec![MethodKind::KeyboardInteractive];
    let store = SftpSink::new(&config(server.port, &home)).unwrap();
    in_time(store.connect()).await.unwrap();
    let mut config = config(server.port, &home);
    config.password = Some(Secret::new("hunter2".to_owned()));
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("tried password, keyboard-interactive;"), "{text}");
}

#[tokio::test]
async fn a_key_logs_in_and_a_password_may_have_to_follow() {
    let (server, home) = (Server::start().await, home());
    let mut config = config(server.port, &home);
    config.key_file = Some(key_file(&home, None));
    let both = config.clone();
    config.password = None;
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
    server.switches.two_factors.store(true, SeqCst);
    in_time(SftpSink::new(&both).unwrap().connect()).await.unwrap();
    let error = in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the server offers password"), "{text}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_followed_by_the_password() {
    let (server, home) = (Server::start().await, home());
    *server.switches.methods.lock().unwrap() = vec![MethodKind::Password];
    let mut config = config(server.port, &home);
    config.key_file = Some(key_file(&home, None));
    in_time(SftpSink::new(&config).unwrap().connect()).await.unwrap();
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let home = home();
    let mut config = config(22, &home);
    let path = key_file(&home, Some(PASSPHRASE));
    config.key_file = Some(path.clone());
    let problem = |config: SftpConfig| SftpSink::new(&config).err().unwrap().to_string();
    let expected = format!(
        "SFTP key file {}: is encrypted and no passphrase is configured: set the key passphrase",
        path.display()
    );
    assert_eq!(problem(config.clone()), expected);
    config.key_passphrase = Some(Secret::new("wrong".to_owned()));
    assert!(problem(config.clone()).ends_with("the configured passphrase is wrong"));
    config.key_passphrase = Some(Secret::new(PASSPHRASE.to_owned()));
    assert!(SftpSink::new(&config).is_ok());
    std::fs::write(&path, "no key").unwrap();
    assert!(problem(config.clone()).contains("holds no private key"));
    std::fs::remove_file(&path).unwrap();
    assert!(problem(config).contains("cannot be read"));
}

#[test]
fn without_any_credentials_nothing_is_tried() {
    let home = home();
    let mut config = config(22, &home);
    config.password = None;
    let error = SftpSink::new(&config).err().unwrap();
    assert!(matches!(error, SftpError::NoCredentials { .. }), "{error}");
}
