//! The whole broker over TCP, with a small client made of the message library.

mod client;
mod faults;
mod frames;
mod groups;
mod records;
mod transactions;
