//! `cdr run` from end to end, against services as users have them: three Apache Kafka brokers and
//! OpenSSH's server, which `scripts/services` runs.
//!
//! Each module is a chapter, and each test a sentence, of what a run promises. What was delivered
//! is compared with what `cdr-model` makes, whose bytes its own tests fix. Tests share the services
//! but nothing in them: each has topics, folders and a run name of its own. Those that disturb the
//! services have others, and take turns.
//!
//! Nothing here sleeps: tests wait for what they can see, and fail when it does not come.

mod support;

mod brokers;
mod clocks;
mod disks;
mod fencing;
mod killed;
mod links;
mod logins;
mod outages;
mod pace;
mod processing;
mod readers;
mod rights;
mod schema;
mod secure;
mod shards;
mod signals;
mod sinks;
mod topics;
mod usage_api;
mod verify;
mod whole_run;
