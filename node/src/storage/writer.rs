//! Makes writes durable with group commit: one sync covers all writes that arrived during the
//! previous one.
//!
//! There is one disk, and only the thread that holds its lease ([`DiskLease`]) uses it. A write is
//! queued under the driver's lock. The same thread then takes the disk, if it is free, and writes
//! the queued batches, and those queued meanwhile, without that lock. A slow disk therefore delays
//! neither timers nor heartbeats: the other thread serves them ([`crate::runtime::event_loop`]).

use crate::{
    observability::metrics::Metrics,
    runtime::busy_poll::BusyPoll,
    storage::disk::{Disk, DiskError},
};
use model::{Payload, Write, WriteId, store};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use transport::Clock;

/// The approximate limit of one batch, in bytes.
const BATCH_BYTES: usize = 4 << 20;
/// The backlog above which the disk counts as behind: the driver then refuses client requests that
/// need a write, and drops messages of servers that need one.
const BACKLOG_BYTES: usize = 64 << 20;

/// The result of a sync: all writes up to this one are durable, or the contents of the disk are
/// unknown.
pub(crate) type Report = Result<WriteId, DiskError>;

/// The queue of writes, and the disk.
pub(crate) struct Writer {
    queue: Mutex<WriteQueue>,
    /// The approximate number of queued bytes.
    backlog: AtomicUsize,
    /// Whether there is a report; readable without a lock.
    reported: AtomicBool,
    abandoned: AtomicBool,
    clock: Arc<dyn Clock>,
    created: Instant,
    /// When the current disk operation began, in nanoseconds since `created`; 0 if there is none.
    busy_since: AtomicU64,
    pub(crate) busy_poll: BusyPoll,
    metrics: Arc<Metrics>,
}

struct WriteQueue {
    pending: VecDeque<Write>,
    /// `None` while a thread holds the lease, and for good once the disk failed, was closed or was
    /// abandoned.
    disk: Option<Box<dyn Disk>>,
    /// The latest report of the disk that the driver did not process yet.
    report: Option<Report>,
    /// Whether anything was written since the last call of [`Writer::tick`].
    written: bool,
    /// The state of the idle notification ([`Disk::on_idle`]).
    idle: IdleState,
}

/// Whether the disk was notified that it is idle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdleState {
    Notified,
    Active,
    /// The notification is due.
    Due,
}

/// The exclusive lease of the disk, and the first batch to write.
pub(crate) struct DiskLease {
    disk: Box<dyn Disk>,
    batch: Batch,
}

/// A disk operation in progress.
struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(0, Relaxed);
    }
}

struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(
        disk: Box<dyn Disk>,
        busy_poll: BusyPoll,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        metrics.snapshot_bytes.set(disk.snapshot_bytes());
        Self {
            queue: Mutex::new(WriteQueue {
                pending: VecDeque::new(),
                disk: Some(disk),
                report: None,
                written: false,
                idle: IdleState::Notified,
            }),
            backlog: AtomicUsize::new(0),
            reported: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            created: clock.now(),
            clock,
            busy_since: AtomicU64::new(0),
            busy_poll,
            metrics,
        }
    }

    /// Queues a write. Never waits for the disk; see [`Self::is_behind`].
    pub(crate) fn write(&self, write: Write) {
        self.backlog.fetch_add(size_of(&write), Relaxed);
        self.queue().pending.push_back(write);
    }

    /// The approximate number of queued bytes.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Relaxed)
    }

    /// Whether the backlog is so large that nothing should be added.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog() > BACKLOG_BYTES
    }

    /// Whether the backlog is far below that bound again.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.backlog() <= BACKLOG_BYTES / 2
    }

    /// How long the current disk operation has lasted; zero if there is none.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        match self.busy_since.load(Relaxed) {
            0 => Duration::ZERO,
            since => now.saturating_duration_since(self.created + Duration::from_nanos(since)),
        }
    }

    /// Records that a disk operation begins now, until the returned value is dropped.
    fn note_busy(&self, now: Instant) -> Busy<'_> {
        let since = now.saturating_duration_since(self.created).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.busy_since.store(since, Relaxed);
        Busy(&self.busy_since)
    }

    /// Called periodically. The disk is notified that it is idle if nothing was written between
    /// two calls. A notification at each pause would be too often, because it may cost as much as a
    /// write.
    pub(crate) fn tick(&self) {
        let mut queue = self.queue();
        if !std::mem::take(&mut queue.written) && queue.idle == IdleState::Active {
            queue.idle = IdleState::Due;
        }
    }

    /// Takes the lease of the disk, if there is work and the disk is free. The caller must call
    /// [`work`](Self::work).
    pub(crate) fn begin(&self) -> Option<DiskLease> {
        let mut queue = self.queue();
        if queue.pending.is_empty() && queue.idle != IdleState::Due {
            return None;
        }
        let disk = queue.disk.take()?;
        let batch = queue.next_batch();
        Some(DiskLease { disk, batch })
    }

    /// Writes until the queue is empty. Calls `on_synced` after each sync, when there is a report to
    /// process. A disk that failed is never used again, nor is a disk whose use panicked.
    pub(crate) fn work(&self, lease: DiskLease, mut on_synced: impl FnMut()) {
        let DiskLease {
            mut disk,
            mut batch,
        } = lease;
        loop {
            while !batch.writes.is_empty() {
                if self.abandoned.load(Relaxed) {
                    return;
                }
                let report = self.carry_out(&mut *disk, &batch);
                let failed = report.is_err();
                self.report(report);
                on_synced();
                if failed {
                    return;
                }
                let mut queue = self.queue();
                queue.written = true;
                queue.idle = IdleState::Active;
                batch = queue.next_batch();
            }
            if self.abandoned.load(Relaxed) {
                return;
            }
            let mut queue = self.queue();
            batch = queue.next_batch();
            if !batch.writes.is_empty() {
                continue;
            }
            if queue.idle != IdleState::Due {
                queue.disk = Some(disk);
                return;
            }
            queue.idle = IdleState::Notified;
            drop(queue);
            let busy = self.note_busy(self.clock.now());
            let notified = disk.on_idle();
            drop(busy);
            if let Err(error) = notified {
                self.report(Err(error));
                return on_synced();
            }
        }
    }

    fn carry_out(&self, disk: &mut dyn Disk, batch: &Batch) -> Report {
        let begun = self.clock.now();
        let busy = self.note_busy(begun);
        disk.write(&batch.writes)?;
        drop(busy);
        if batch.writes.iter().any(|write| write.snapshot.is_some()) {
            note_snapshot(disk.snapshot_bytes(), &self.metrics);
        }
        let now = self.clock.now();
        let entries = batch.writes.iter().map(|write| write.append.len());
        self.busy_poll.note(entries.sum(), now);
        self.metrics.synced(now - begun, batch.writes.len());
        self.backlog.fetch_sub(batch.bytes, Relaxed);
        let last = batch.writes.last();
        Ok(last.expect("a batch has writes").id)
    }

    fn report(&self, report: Report) {
        self.queue().report = Some(report);
        self.reported.store(true, SeqCst);
    }

    /// Whether the disk has a report that was not processed yet.
    pub(crate) fn has_report(&self) -> bool {
        self.reported.load(SeqCst)
    }

    /// Takes the latest report: the last durable write, or an error.
    pub(crate) fn take_report(&self) -> Option<Report> {
        if !self.has_report() {
            return None;
        }
        let mut queue = self.queue();
        self.reported.store(false, SeqCst);
        queue.report.take()
    }

    /// Writes the queued writes, and closes the disk.
    ///
    /// # Errors
    /// If the disk fails now, or failed since its last report was processed.
    pub(crate) fn close(&self) -> Result<(), DiskError> {
        if let Some(lease) = self.begin() {
            self.work(lease, || {});
        }
        if let Some(Err(error)) = self.take_report() {
            return Err(error);
        }
        let disk = self.queue().disk.take();
        match disk {
            Some(mut disk) => disk.close(),
            None => Ok(()),
        }
    }

    /// Discards all further writes, as if the process had been killed.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
        self.queue().pending.clear();
    }

    fn queue(&self) -> MutexGuard<'_, WriteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteQueue {
    fn next_batch(&mut self) -> Batch {
        let mut batch = Batch {
            writes: Vec::new(),
            bytes: 0,
        };
        while batch.bytes < BATCH_BYTES
            && let Some(write) = self.pending.pop_front()
        {
            batch.bytes += size_of(&write);
            batch.writes.push(write);
        }
        batch
    }
}

/// Records the size of a durable snapshot.
fn note_snapshot(bytes: u64, metrics: &Metrics) {
    metrics.snapshot_bytes.set(bytes);
    let limit = metrics.snapshot_limit_bytes.get();
    if bytes > limit {
        tracing::warn!(
            bytes,
            limit,
            "the state exceeds the largest snapshot that can be sent: a server that falls behind the log can no longer catch up; delete keys or store less in this cluster"
        );
    }
}

/// The approximate size of a write, in bytes.
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
mod tests;
