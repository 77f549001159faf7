//! Best-effort logging to standard error: a log line never stops or delays a program.
//!
//! Standard error may be a full disk, a closed pipe, or a pipe whose reader has stopped. So a separate
//! thread writes the lines from a bounded queue. A line that does not fit into the queue is dropped
//! and counted. Write errors are ignored.
//!
//! `tracing-appender` does the same, but its guard calls `println!` if the queue is full at exit. That
//! call panics if standard output is closed, and blocks if standard output is a pipe without an active
//! reader.

use crate::log_queue::{Capacity, LogQueue};
use clap::ValueEnum;
use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};
use tracing_subscriber::EnvFilter;

/// The capacity of the queue for the writer thread.
const CAPACITY: Capacity = Capacity {
    lines: 8192,
    bytes: 8 << 20,
};
/// The maximum time that a program waits at exit for the queued lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// On drop, writes the queued lines for at most one second.
#[must_use]
#[derive(Debug)]
pub struct LogGuard(LogQueue);

impl LogGuard {
    /// The number of lines that did not fit into the queue.
    pub fn dropped_lines(&self) -> usize {
        self.0.dropped_lines()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.close(CLOSE_TIMEOUT);
    }
}

/// Starts logging. `RUST_LOG` is the filter; the default is `info`.
///
/// # Errors
/// If `RUST_LOG` is not a valid filter (the text names the invalid part), or the log thread cannot be
/// started.
pub fn start(format: LogFormat) -> Result<LogGuard, String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => EnvFilter::builder()
            .parse(&text)
            .map_err(|error| format!("RUST_LOG={text}: {error}; an example is info,node=debug"))?,
        _ => EnvFilter::new("info"),
    };
    let queue = LogQueue::start(CAPACITY, io::stderr())
        .map_err(|error| format!("cannot start the log thread: {error}"))?;
    let writer = queue.clone();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // The default prints internal errors with `eprintln!`, which panics on a closed stderr.
        .log_internal_errors(false)
        .with_writer(move || writer.clone());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(LogGuard(queue))
}
