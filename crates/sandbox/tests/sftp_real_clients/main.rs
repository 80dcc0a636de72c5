//! The SFTP server, with clients that were not written here: OpenSSH's `sftp` and `scp`, paramiko, lftp.
//!
//! `scripts/install-test-services` installs them. What is missing makes a test fail.

mod lftp;
mod openssh;
mod paramiko;
#[path = "../sftp/server.rs"]
#[allow(dead_code, reason = "the other tests with the server use all of it")]
mod server;
mod support;
