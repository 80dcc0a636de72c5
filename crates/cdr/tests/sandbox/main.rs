//! The whole pipeline with nothing installed: `cdr run` and `cdr process` as processes of their own,
//! against the sandbox's servers in this one, which do wrong what a test has them do.
//!
//! Whether all was delivered is reported by `cdr verify`, whose own tests show that it sees what is wrong.
//! Nothing here sleeps: tests wait for what they can see, and fail when it does not come.

mod commands;
mod crashes;
mod faults;
mod index;
mod processing;
mod processing_faults;
mod support;
mod takeover;
