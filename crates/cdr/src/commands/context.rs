//! What all commands work in.

use std::fmt::Display;

use tracing::{error, warn};

use crate::config::{Config, FlagValues, Loaded, load};
use crate::exit::Exit;
use crate::telemetry::{self, Terminal};

/// What all commands work in.
#[derive(Debug)]
pub struct Context {
    /// By how many steps more (positive) or less (negative) is logged than by the settings.
    pub verbosity: i32,
    pub terminal: Terminal,
}

impl Context {
    /// Loads the configuration, and begins to log by it.
    ///
    /// # Errors
    /// A configuration that cannot be.
    pub fn config(&self, flags: &FlagValues) -> anyhow::Result<Config> {
        self.begin_log(load(flags)?)
    }

    /// Begins to log as configured.
    ///
    /// # Errors
    /// That there is a log already.
    pub fn begin_log(&self, mut loaded: Loaded) -> anyhow::Result<Config> {
        let log = &mut loaded.config.log;
        log.level = log.level.shifted(self.verbosity);
        telemetry::init(log, &self.terminal)?;
        loaded.warning.iter().for_each(|warning| warn!("{warning}"));
        Ok(loaded.config)
    }

    /// Loads the configuration for a command that has no log.
    ///
    /// # Errors
    /// A configuration that cannot be.
    pub fn without_log(&self, flags: &FlagValues) -> anyhow::Result<Loaded> {
        let loaded = load(flags)?;
        loaded.warning.iter().for_each(|warning| self.print_error(warning));
        Ok(loaded)
    }

    /// Runs what waits.
    ///
    /// # Errors
    /// Its own.
    pub fn block_on(&self, command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(command);
        // A thread that still waits for absent brokers must not keep the process.
        runtime.shutdown_background();
        result
    }

    /// Reports an error once, in one line with its causes: to the log if there is one.
    pub fn report(&self, failure: &anyhow::Error) {
        match tracing::dispatcher::has_been_set() {
            true => error!("{failure:#}"),
            false => self.print_error(format!("{failure:#}")),
        }
    }

    fn print_error(&self, text: impl Display) {
        if self.terminal.write(&format!("cdr: {text}\n")).is_err() {
            // Nobody reads it; the exit code still reports the command's end.
        }
    }
}
