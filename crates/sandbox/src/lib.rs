//! An SFTP server and a Kafka-compatible broker that run inside a process, for trying things out and
//! for tests. They serve clients that were not written here; they know nothing of what is stored.
//!
//! A service takes a bound listener and a future that ends it, so that tests bind port 0.

pub mod fault;
pub mod kafka;
pub mod sftp;
