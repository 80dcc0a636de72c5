//! What is reported on standard error, and how.

use crate::settings::{choice, settings, word};

choice! {
    /// The least severe level that is logged.
    LogLevel {
        /// Failures only.
        Error = "error",
        /// And what needs attention.
        Warn = "warn",
        /// And the run's course.
        Info = "info",
        /// And each decision.
        Debug = "debug",
        /// And every detail, also of the client libraries.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level `steps` more verbose (negative: quieter), stopping at either end.
    pub fn shifted(self, steps: i32) -> Self {
        let index = (self as i32).saturating_add(steps).clamp(0, Self::ALL.len() as i32 - 1);
        Self::ALL[index as usize]
    }
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// `2024-12-07 10:00:00 - INFO - message`.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// How a run shows its progress.
    ProgressMode {
        /// Bars on a terminal, lines elsewhere.
        Auto = "auto",
        /// Bars, also where standard error is no terminal.
        Bar = "bar",
        /// Log lines.
        Lines = "lines",
        /// Nothing.
        None = "none",
    }
}

settings! {
    /// What is reported on standard error, and how.
    #[derive(Eq)]
    pub struct LogConfig in "log" {
        /// least severe level that is logged
        pub level: LogLevel = word("LOG_LEVEL", LogLevel::NAMES, LogLevel::from_name).value("LEVEL").default("info"),
        /// log lines as text, or as JSON objects
        pub format: LogFormat = word("LOG_FORMAT", LogFormat::NAMES, LogFormat::from_name).value("FORMAT").default("text"),
        /// bars, log lines or nothing; auto: bars on a terminal, lines elsewhere
        pub progress: ProgressMode = word("PROGRESS", ProgressMode::NAMES, ProgressMode::from_name).value("MODE").default("auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_moves_in_steps_to_either_end() {
        assert_eq!(LogLevel::Info.shifted(1), LogLevel::Debug);
        assert_eq!(LogLevel::Info.shifted(-1), LogLevel::Warn);
        assert_eq!(LogLevel::Info.shifted(9), LogLevel::Trace);
        assert_eq!(LogLevel::Debug.shifted(-9), LogLevel::Error);
    }
}
