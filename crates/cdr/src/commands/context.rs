//! What all commands work in.

use std::fmt::Display;

use anyhow::Context as _;
use tracing::{error, warn};

use crate::config::{Config, FlagValues, Loaded, load};
use crate::exit::Exit;
use crate::telemetry::{self, Terminal};

/// What all commands work in.
#[derive(Debug)]
pub struct Context {
    /// By how many steps more (positive) or less is logged than by the settings.
    pub verbosity: i32,
    pub terminal: Terminal,
}

impl Context {
    /// Loads the configuration, and begins to log by it.
    pub fn config(&self, flags: &FlagValues) -> anyhow::Result<Config> {
        self.begin_log(load(flags)?)
    }

    /// Begins to log as configured.
    pub fn begin_log(&self, mut loaded: Loaded) -> anyhow::Result<Config> {
        let log = &mut loaded.config.log;
        log.level = log.level.shifted(self.verbosity);
        telemetry::init(log, &self.terminal)?;
        loaded.warning.iter().for_each(|warning| warn!("{warning}"));
        Ok(loaded.config)
    }

    /// Loads the configuration for a command that has no log.
    pub fn without_log(&self, flags: &FlagValues) -> anyhow::Result<Loaded> {
        let loaded = load(flags)?;
        loaded.warning.iter().for_each(|warning| self.print_error(warning));
        Ok(loaded)
    }

    /// Runs what waits.
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
        // If nobody reads it, the exit code still reports the command's end.
        let _ = self.terminal.write(&format!("cdr: {text}\n"));
    }
}

/// Does what blocks where it may.
pub async fn blocking<T: Send + 'static, E: Into<anyhow::Error> + Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    done.with_context(|| format!("{what} ended unexpectedly"))?.map_err(Into::into)
}
