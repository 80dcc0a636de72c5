//! Who gets in, and what for.

use std::sync::Arc;

use russh::client::AuthResult;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use russh::{ChannelMsg, MethodKind, MethodSet};
use tokio::time::timeout;

use crate::client::{Client, logged_in, ssh};
use crate::server::{Running, TIMEOUT};

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

async fn with_key(port: u16, user: &str, key: &PrivateKey) -> AuthResult {
    let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
    ssh(port).await.unwrap().authenticate_publickey(user, key).await.unwrap()
}

fn refused_with(result: &AuthResult) -> &MethodSet {
    match result {
        AuthResult::Failure { remaining_methods, .. } => remaining_methods,
        AuthResult::Success => panic!("it was accepted"),
    }
}

#[tokio::test]
async fn only_the_right_user_with_the_right_password_gets_in() {
    let server = Running::start_with(|config| {
        config.user = "someone".to_owned();
        config.password = Some("correct horse".into());
    })
    .await;
    for (user, password) in [("someone", "password"), ("cdr_data", "correct horse"), ("someone", "")] {
        let login = ssh(server.port).await.unwrap().authenticate_password(user, password).await.unwrap();
        assert_eq!(*refused_with(&login), MethodSet::from(&[MethodKind::Password][..]));
    }
    let login = ssh(server.port).await.unwrap().authenticate_password("someone", "correct horse").await;
    assert!(matches!(login.unwrap(), AuthResult::Success));
}

#[tokio::test]
async fn a_known_key_gets_in_without_a_password() {
    let (known, unknown) = (new_key(), new_key());
    let server = Running::start_with(|config| {
        config.password = None;
        config.authorized_keys = vec![new_key().public_key().clone(), known.public_key().clone()];
    })
    .await;
    assert!(matches!(with_key(server.port, "cdr_data", &known).await, AuthResult::Success));
    refused_with(&with_key(server.port, "root", &known).await);
    let refused = with_key(server.port, "cdr_data", &unknown).await;
    assert_eq!(*refused_with(&refused), MethodSet::from(&[MethodKind::PublicKey][..]));
    let login = ssh(server.port).await.unwrap().authenticate_password("cdr_data", "password").await;
    refused_with(&login.unwrap());
}

#[tokio::test]
async fn guessing_ends_after_some_attempts() {
    let server = Running::start_with(|config| config.limits.login_attempts = 3).await;
    let mut ssh = ssh(server.port).await.unwrap();
    for _ in 0..3 {
        refused_with(&ssh.authenticate_password("cdr_data", "wrong").await.unwrap());
    }
    let right = ssh.authenticate_password("cdr_data", "password").await;
    assert!(!matches!(right, Ok(AuthResult::Success)), "{right:?}");
    assert!(timeout(TIMEOUT, ssh).await.is_ok(), "still connected");
}

#[tokio::test]
async fn there_is_no_shell_and_nothing_else_than_files() {
    let server = Running::start().await;
    let ssh = logged_in(server.port).await;
    let mut channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "shell").await.unwrap();
    channel.exec(true, "ls").await.unwrap();
    channel.request_shell(true).await.unwrap();
    channel.request_pty(true, "xterm", 80, 25, 0, 0, &[]).await.unwrap();
    for _ in 0..4 {
        let answer = timeout(TIMEOUT, channel.wait()).await.expect("no answer");
        assert!(matches!(answer, Some(ChannelMsg::Failure)), "{answer:?}");
    }
    let forward = ssh.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await;
    assert!(forward.is_err());
    // The channel is as good as new.
    channel.request_subsystem(true, "sftp").await.unwrap();
    assert!(matches!(channel.wait().await, Some(ChannelMsg::Success)));
}

#[tokio::test]
async fn sessions_on_one_connection_are_limited() {
    let server = Running::start_with(|config| config.limits.sessions = 2).await;
    let mut client = Client::connect(&server).await;
    let second = client.ssh.channel_open_session().await.unwrap();
    assert!(client.ssh.channel_open_session().await.is_err());
    second.close().await.unwrap();
    client.make_folder("a").await.unwrap();
    client.ssh.channel_open_session().await.unwrap();
}
