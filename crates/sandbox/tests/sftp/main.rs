//! The SFTP server, with a client that sends whatever a test has it send.

mod client;
mod confinement;
mod faults;
mod flow;
mod lifetime;
mod login;
mod malformed;
mod requests;
mod server;
