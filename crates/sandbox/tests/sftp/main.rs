//! The SFTP server, with a client that sends what it is told to.

mod client;
mod confinement;
mod faults;
mod flow;
mod lifetime;
mod login;
mod malformed;
mod requests;
mod server;
