//! Logging to standard error, best effort: no log line ever stops or delays a program.
//!
//! Standard error may be a full disk, a closed pipe, or a pipe whose reader has stopped reading. So a
//! thread of its own writes the lines, from a bounded queue. A line that does not fit into the queue
//! is dropped and counted; a write error is ignored.

use clap::ValueEnum;
use std::io::{self, IsTerminal as _};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait for the writing thread.
const QUEUE: usize = 8192;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// Keeps the writing thread alive. When it is dropped, the lines in the queue are written, for at
/// most one second.
#[must_use]
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
    dropped: ErrorCounter,
}

impl LogGuard {
    /// The number of lines that did not fit into the queue.
    pub fn dropped_lines(&self) -> usize {
        self.dropped.dropped_lines()
    }
}

/// Starts logging. `RUST_LOG` filters; the default is `info`.
///
/// # Errors
/// If `RUST_LOG` is not a filter; the text says which part.
pub fn start(format: LogFormat) -> Result<LogGuard, String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => EnvFilter::builder()
            .parse(&text)
            .map_err(|error| format!("RUST_LOG={text}: {error}; an example is info,node=debug"))?,
        _ => EnvFilter::new("info"),
    };
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE)
        .thread_name("log")
        .finish(io::stderr());
    let dropped = writer.error_counter();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // The default prints internal errors with `eprintln!`, which panics on a closed stderr.
        .log_internal_errors(false)
        .with_writer(writer);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(LogGuard {
        _worker: worker,
        dropped,
    })
}
