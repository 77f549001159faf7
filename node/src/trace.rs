//! Every step, as JSON lines, for `raft-checker replay`.
//!
//! A run begins with a line that says what the server started from; each step is one line after
//! it. Lines are written by a thread of their own. If it cannot keep up the driver waits: a trace
//! with a gap could not be replayed.

use model::{Config, Durable, Effects, Event, NodeId};
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

/// How many steps may wait to be written.
const WAITING: usize = 4096;
/// How long a line may stay in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The driver's end of a trace.
pub(crate) struct Trace {
    lines: SyncSender<(Event, Effects)>,
    thread: thread::JoinHandle<io::Result<()>>,
}

#[derive(Serialize)]
struct Header<'a> {
    trace: &'static str,
    version: u32,
    node: NodeId,
    boot: String,
    config: &'a Config,
    durable: &'a Durable,
}

#[derive(Serialize)]
struct Step<'a> {
    step: u64,
    event: &'a Event,
    effects: &'a Effects,
}

impl Trace {
    /// Begins the trace of a run at the end of this file.
    ///
    /// # Errors
    /// If the file cannot be opened or written.
    pub(crate) fn begin(
        path: &Path,
        node: NodeId,
        boot: u64,
        config: &Config,
        durable: &Durable,
    ) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let header = Header {
            trace: "stateraft-node",
            version: 1,
            node,
            boot: format!("{boot:016x}"),
            config,
            durable,
        };
        write_line(&mut file, &header)?;
        file.flush()?;
        let (lines, queue) = mpsc::sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("raft-trace".into())
            .spawn(move || run(file, &queue))?;
        Ok(Self { lines, thread })
    }

    /// Adds a step. Returns false if the trace cannot be written any more; [`Self::end`] says why.
    #[must_use]
    pub(crate) fn add(&self, event: Event, effects: Effects) -> bool {
        self.lines.send((event, effects)).is_ok()
    }

    /// Writes what waits, and ends.
    ///
    /// # Errors
    /// If a line could not be written.
    pub(crate) fn end(self) -> io::Result<()> {
        drop(self.lines);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn run(mut file: BufWriter<File>, queue: &mpsc::Receiver<(Event, Effects)>) -> io::Result<()> {
    let mut step = 0;
    let mut flushed = Instant::now();
    loop {
        match queue.recv_timeout(FLUSH_EVERY.saturating_sub(flushed.elapsed())) {
            Ok((event, effects)) => {
                step += 1;
                let line = Step {
                    step,
                    event: &event,
                    effects: &effects,
                };
                write_line(&mut file, &line)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return file.flush(),
        }
        if flushed.elapsed() >= FLUSH_EVERY {
            file.flush()?;
            flushed = Instant::now();
        }
    }
}

fn write_line(file: &mut BufWriter<File>, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}
