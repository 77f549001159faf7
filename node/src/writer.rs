//! The thread that writes: one sync covers everything that arrived while the last one ran.
//!
//! It reports to the driver which writes are durable, and is alone in touching the disk, so that
//! a slow disk delays neither timers nor heartbeats.

use crate::{
    disk::{Disk, DiskError},
    metrics::Metrics,
};
use model::{Payload, Write, WriteId, store};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Instant,
};
use tokio::sync::mpsc::UnboundedSender;

/// The most bytes that are begun to be written together, roughly.
const BATCH_BYTES: usize = 4 << 20;
/// More than this waiting means that the disk does not keep up: the driver takes in nothing more
/// that would have to be written.
const BACKLOG_BYTES: usize = 64 << 20;

/// What became of writes: those up to this one are durable, or none is known to be any more.
pub(crate) type Report = Result<WriteId, DiskError>;

/// The driver's end of the thread.
pub(crate) struct Writer {
    queue: mpsc::Sender<Write>,
    backlog: Arc<AtomicUsize>,
    abandoned: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(crate) fn start(
        disk: Box<dyn Disk>,
        reports: UnboundedSender<Report>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (queue, writes) = mpsc::channel();
        let backlog = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&backlog);
        let abandoned = Arc::new(AtomicBool::new(false));
        let given_up = Arc::clone(&abandoned);
        let thread = thread::Builder::new()
            .name("raft-disk".into())
            .spawn(move || {
                if let Err(error) = run(disk, &writes, &reports, &waiting, &given_up, &metrics) {
                    // Without a driver there is nobody left to tell.
                    let _ = reports.send(Err(error));
                }
            })?;
        Ok(Self {
            queue,
            backlog,
            abandoned,
            thread,
        })
    }

    /// Hands over a write. Never waits; see [`Self::is_behind`].
    pub(crate) fn write(&self, write: Write) {
        self.backlog.fetch_add(size_of(&write), Relaxed);
        // The thread only ends on its own after it reported why.
        let _ = self.queue.send(write);
    }

    /// Bytes waiting, roughly.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Relaxed)
    }

    /// Whether so much waits that nothing should be added.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog() > BACKLOG_BYTES
    }

    /// Waits for everything handed over to be written, and ends the thread.
    pub(crate) fn close(self) {
        drop(self.queue);
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    /// Ends the thread as if the process had been killed: what it has begun is all that is written.
    pub(crate) fn abandon(self) {
        self.abandoned.store(true, Relaxed);
        self.close();
    }
}

fn run(
    mut disk: Box<dyn Disk>,
    queue: &mpsc::Receiver<Write>,
    reports: &UnboundedSender<Report>,
    backlog: &AtomicUsize,
    abandoned: &AtomicBool,
    metrics: &Metrics,
) -> Result<(), DiskError> {
    let mut batch: Vec<Write> = Vec::new();
    metrics.snapshot_bytes.set(disk.snapshot_bytes());
    loop {
        let first = match queue.try_recv() {
            Ok(write) => write,
            Err(mpsc::TryRecvError::Disconnected) => break,
            Err(mpsc::TryRecvError::Empty) => {
                disk.rest()?;
                match queue.recv() {
                    Ok(write) => write,
                    Err(mpsc::RecvError) => break,
                }
            }
        };
        let mut bytes = size_of(&first);
        batch.push(first);
        while bytes < BATCH_BYTES
            && let Ok(write) = queue.try_recv()
        {
            bytes += size_of(&write);
            batch.push(write);
        }
        if abandoned.load(Relaxed) {
            return Ok(());
        }
        let begun = Instant::now();
        disk.write(&batch)?;
        if batch.iter().any(|write| write.snapshot.is_some()) {
            note_snapshot(disk.snapshot_bytes(), metrics);
        }
        metrics.synced(begun.elapsed(), batch.len());
        backlog.fetch_sub(bytes, Relaxed);
        if let Some(last) = batch.last() {
            let _ = reports.send(Ok(last.id));
        }
        batch.clear();
    }
    if abandoned.load(Relaxed) {
        return Ok(());
    }
    disk.close()
}

/// A snapshot is durable, of so many bytes.
fn note_snapshot(bytes: u64, metrics: &Metrics) {
    metrics.snapshot_bytes.set(bytes);
    let limit = metrics.snapshot_limit_bytes.get();
    if bytes > limit {
        tracing::warn!(
            bytes,
            limit,
            "the state has outgrown what can be sent to another server: one that falls behind the log cannot be brought up any more; delete keys, or keep less in this cluster"
        );
    }
}

/// About how many bytes a write takes.
fn size_of(write: &Write) -> usize {
    let entry = |payload: &Payload| match payload {
        Payload::Command(store::Command::Write(write)) => match &write.operation {
            store::Operation::Put { key, value, .. } => key.len() + value.len(),
            store::Operation::Delete { key, .. } | store::Operation::Increment { key, .. } => {
                key.len()
            }
        },
        Payload::Noop | Payload::Command(_) => 0,
    };
    let entries = write.append.iter().map(|each| 32 + entry(&each.payload));
    64 + entries.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Entry, Term};
    use std::sync::mpsc::{Receiver, Sender};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// Says what it is asked to write, and waits to be told how that goes.
    struct Asked {
        began: Sender<Vec<u64>>,
        verdicts: Receiver<Result<(), DiskError>>,
    }

    impl Disk for Asked {
        fn write(&mut self, writes: &[Write]) -> Result<(), DiskError> {
            let ids = writes.iter().map(|write| write.id.get()).collect();
            self.began.send(ids).unwrap();
            self.verdicts.recv().unwrap()
        }
    }

    fn write(id: u64) -> Write {
        let entry = Entry {
            term: Term::new(1),
            payload: Payload::Noop,
        };
        Write {
            id: WriteId::new(id),
            hard_state: None,
            truncate_from: None,
            snapshot: None,
            append: vec![entry],
        }
    }

    /// A writer whose disk is busy with the first write; what its disk begins, how that goes, and
    /// what is reported.
    #[allow(clippy::type_complexity, reason = "each end of four channels, once")]
    fn busy() -> (
        Writer,
        Receiver<Vec<u64>>,
        Sender<Result<(), DiskError>>,
        UnboundedReceiver<Report>,
    ) {
        let (began, begun) = mpsc::channel();
        let (verdict, verdicts) = mpsc::channel();
        let disk = Box::new(Asked { began, verdicts });
        let (report, reports) = unbounded_channel();
        let writer = Writer::start(disk, report, Arc::new(Metrics::new())).unwrap();
        writer.write(write(1));
        assert_eq!(begun.recv().unwrap(), [1]);
        (writer, begun, verdict, reports)
    }

    #[test]
    fn one_sync_covers_what_arrived_while_the_last_one_ran() {
        let (writer, begun, verdict, mut reports) = busy();
        for id in 2..=9 {
            writer.write(write(id));
        }
        assert!(reports.try_recv().is_err(), "nothing is durable yet");
        assert!(writer.backlog() > 0);
        verdict.send(Ok(())).unwrap();
        assert_eq!(begun.recv().unwrap(), Vec::from_iter(2..=9));
        verdict.send(Ok(())).unwrap();
        let durable = |report: Option<Report>| report.unwrap().unwrap().get();
        assert_eq!(durable(reports.blocking_recv()), 1);
        assert_eq!(durable(reports.blocking_recv()), 9);
        assert_eq!(writer.backlog(), 0);
        writer.close();
    }

    #[test]
    fn abandoned_writer_writes_only_what_it_had_begun() {
        let (writer, begun, verdict, mut reports) = busy();
        writer.write(write(2));
        let abandoned = Arc::clone(&writer.abandoned);
        let ended = thread::spawn(move || writer.abandon());
        while !abandoned.load(Relaxed) {
            thread::yield_now();
        }
        verdict.send(Ok(())).unwrap();
        ended.join().unwrap();
        assert!(begun.recv().is_err(), "the second write was never begun");
        assert_eq!(reports.blocking_recv().unwrap().unwrap().get(), 1);
        assert!(reports.blocking_recv().is_none());
    }

    #[test]
    fn failed_sync_is_reported_and_nothing_is_written_after_it() {
        let (writer, begun, verdict, mut reports) = busy();
        writer.write(write(2));
        verdict.send(Err(DiskError::Failed)).unwrap();
        assert!(matches!(
            reports.blocking_recv(),
            Some(Err(DiskError::Failed))
        ));
        assert!(begun.recv().is_err(), "the disk is gone");
        writer.close();
    }
}
