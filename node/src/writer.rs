//! Making writes durable: one sync covers everything that arrived while the last one ran.
//!
//! There is one disk, and whoever has it in hand ([`Shift`]) is alone in touching it. A write is
//! handed over under the driver's lock; the thread that did so then takes the disk, if nobody has
//! it, and works off what is there, and what comes meanwhile, without that lock. So a slow disk
//! delays neither timers nor heartbeats: they are the other thread's ([`crate::crew`]).

use crate::{
    disk::{Disk, DiskError},
    metrics::Metrics,
    vigil::Vigil,
};
use model::{Payload, Write, WriteId, store};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Instant,
};

/// The most bytes that are begun to be written together, roughly.
const BATCH_BYTES: usize = 4 << 20;
/// More than this waiting means that the disk does not keep up: the driver refuses client requests
/// that would have to be written, and drops such messages of servers.
const BACKLOG_BYTES: usize = 64 << 20;

/// What became of writes: those up to this one are durable, or none is known to be any more.
pub(crate) type Report = Result<WriteId, DiskError>;

/// What waits to be written, and the disk.
pub(crate) struct Writer {
    desk: Mutex<Desk>,
    /// Bytes waiting, roughly.
    backlog: AtomicUsize,
    /// Whether there is a report, to be asked without a lock.
    reported: AtomicBool,
    abandoned: AtomicBool,
    pub(crate) vigil: Vigil,
    metrics: Arc<Metrics>,
}

struct Desk {
    queue: VecDeque<Write>,
    /// Missing while someone has it in hand, and for ever once it failed.
    disk: Option<Box<dyn Disk>>,
    /// The last word of the disk that was not taken up yet.
    report: Option<Report>,
    /// Whether anything was written since [`Writer::tick`] was called last.
    stirred: bool,
    /// Whether the disk is to be told that nothing comes.
    rest: Rest,
}

/// Whether the disk was told that nothing comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Told,
    Untold,
    /// It is time.
    Due,
}

/// The disk in someone's hand, and what to write first.
pub(crate) struct Shift {
    disk: Box<dyn Disk>,
    batch: Batch,
}

struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Writer {
    pub(crate) fn new(disk: Box<dyn Disk>, vigil: Vigil, metrics: Arc<Metrics>) -> Self {
        metrics.snapshot_bytes.set(disk.snapshot_bytes());
        Self {
            desk: Mutex::new(Desk {
                queue: VecDeque::new(),
                disk: Some(disk),
                report: None,
                stirred: false,
                rest: Rest::Told,
            }),
            backlog: AtomicUsize::new(0),
            reported: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            vigil,
            metrics,
        }
    }

    /// Hands over a write. Never waits for the disk; see [`Self::is_behind`].
    pub(crate) fn write(&self, write: Write) {
        self.backlog.fetch_add(size_of(&write), Relaxed);
        self.desk().queue.push_back(write);
    }

    /// Bytes waiting, roughly.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Relaxed)
    }

    /// Whether so much waits that nothing should be added.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog() > BACKLOG_BYTES
    }

    /// Whether the backlog is far below that bound again.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.backlog() <= BACKLOG_BYTES / 2
    }

    /// To be called now and then. The disk is told to rest when nothing was written from one call
    /// to the next: not with each pause, for that may cost as much as a write.
    pub(crate) fn tick(&self) {
        let mut desk = self.desk();
        if !std::mem::take(&mut desk.stirred) && desk.rest == Rest::Untold {
            desk.rest = Rest::Due;
        }
    }

    /// The disk, if there is something to do and nobody is at it: whoever gets it is to
    /// [work](Self::work).
    pub(crate) fn begin(&self) -> Option<Shift> {
        let mut desk = self.desk();
        if desk.queue.is_empty() && desk.rest != Rest::Due {
            return None;
        }
        let disk = desk.disk.take()?;
        let batch = desk.next_batch();
        Some(Shift { disk, batch })
    }

    /// Writes until nothing waits any more. `tell` is called after each sync, when there is a report
    /// to take up. A disk that failed is never used again, and nor is one whose use panicked.
    pub(crate) fn work(&self, shift: Shift, mut tell: impl FnMut()) {
        let Shift {
            mut disk,
            mut batch,
        } = shift;
        loop {
            while !batch.writes.is_empty() {
                if self.abandoned.load(Relaxed) {
                    return;
                }
                let report = self.carry_out(&mut *disk, &batch);
                let failed = report.is_err();
                self.report(report);
                tell();
                if failed {
                    return;
                }
                let mut desk = self.desk();
                desk.stirred = true;
                desk.rest = Rest::Untold;
                batch = desk.next_batch();
            }
            if self.abandoned.load(Relaxed) {
                return;
            }
            let mut desk = self.desk();
            batch = desk.next_batch();
            if !batch.writes.is_empty() {
                continue;
            }
            if desk.rest != Rest::Due {
                desk.disk = Some(disk);
                return;
            }
            desk.rest = Rest::Told;
            drop(desk);
            if let Err(error) = disk.rest() {
                self.report(Err(error));
                return tell();
            }
        }
    }

    fn carry_out(&self, disk: &mut dyn Disk, batch: &Batch) -> Report {
        let begun = Instant::now();
        disk.write(&batch.writes)?;
        if batch.writes.iter().any(|write| write.snapshot.is_some()) {
            note_snapshot(disk.snapshot_bytes(), &self.metrics);
        }
        let now = Instant::now();
        let entries = batch.writes.iter().map(|write| write.append.len());
        self.vigil.note(entries.sum(), now);
        self.metrics.synced(now - begun, batch.writes.len());
        self.backlog.fetch_sub(batch.bytes, Relaxed);
        let last = batch.writes.last();
        Ok(last.expect("a batch has writes").id)
    }

    fn report(&self, report: Report) {
        self.desk().report = Some(report);
        self.reported.store(true, SeqCst);
    }

    /// Whether the disk has said something that was not taken up yet.
    pub(crate) fn has_report(&self) -> bool {
        self.reported.load(SeqCst)
    }

    /// What the disk said last: what is durable now, or that it failed.
    pub(crate) fn take_report(&self) -> Option<Report> {
        if !self.has_report() {
            return None;
        }
        let mut desk = self.desk();
        self.reported.store(false, SeqCst);
        desk.report.take()
    }

    /// Writes what still waits, and leaves the disk as one that was closed.
    ///
    /// # Errors
    /// If the disk fails, now or since its last report was taken up.
    pub(crate) fn close(&self) -> Result<(), DiskError> {
        if let Some(shift) = self.begin() {
            self.work(shift, || {});
        }
        if let Some(Err(error)) = self.take_report() {
            return Err(error);
        }
        let disk = self.desk().disk.take();
        match disk {
            Some(mut disk) => disk.close(),
            None => Ok(()),
        }
    }

    /// From now on nothing more is written, as if the process had been killed.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
        self.desk().queue.clear();
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn next_batch(&mut self) -> Batch {
        let mut batch = Batch {
            writes: Vec::new(),
            bytes: 0,
        };
        while batch.bytes < BATCH_BYTES
            && let Some(write) = self.queue.pop_front()
        {
            batch.bytes += size_of(&write);
            batch.writes.push(write);
        }
        batch
    }
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
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread,
        time::Duration,
    };

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

    /// Never stays awake.
    fn asleep() -> Vigil {
        Vigil::new(Duration::ZERO)
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

    /// A writer whose disk is busy with the first write.
    struct Busy {
        writer: Arc<Writer>,
        /// What its disk begins.
        begun: Receiver<Vec<u64>>,
        /// How that goes.
        verdict: Sender<Result<(), DiskError>>,
        /// What was taken up after each sync.
        reports: Receiver<Report>,
        at_the_disk: thread::JoinHandle<()>,
    }

    fn busy() -> Busy {
        let (began, begun) = channel();
        let (verdict, verdicts) = channel();
        let (told, reports) = channel();
        let disk = Box::new(Asked { began, verdicts });
        let writer = Arc::new(Writer::new(disk, asleep(), Arc::new(Metrics::new())));
        assert!(writer.begin().is_none(), "there is nothing to write");
        writer.write(write(1));
        let shift = writer.begin().unwrap();
        let at_the_disk = thread::spawn({
            let writer = Arc::clone(&writer);
            move || {
                writer.work(shift, || {
                    told.send(writer.take_report().unwrap()).unwrap();
                });
            }
        });
        assert_eq!(begun.recv().unwrap(), [1]);
        Busy {
            writer,
            begun,
            verdict,
            reports,
            at_the_disk,
        }
    }

    #[test]
    fn one_sync_covers_what_arrived_while_the_last_one_ran() {
        let busy = busy();
        for id in 2..=9 {
            busy.writer.write(write(id));
        }
        assert!(
            busy.writer.begin().is_none(),
            "one at a time is at the disk"
        );
        assert!(!busy.writer.has_report(), "nothing is durable yet");
        assert!(busy.writer.backlog() > 0);
        busy.verdict.send(Ok(())).unwrap();
        assert_eq!(busy.begun.recv().unwrap(), Vec::from_iter(2..=9));
        busy.verdict.send(Ok(())).unwrap();
        let durable = || busy.reports.recv().unwrap().unwrap().get();
        assert_eq!((durable(), durable()), (1, 9));
        busy.at_the_disk.join().unwrap();
        assert_eq!(busy.writer.backlog(), 0);
        busy.writer.write(write(10));
        assert!(busy.writer.begin().is_some(), "the disk was put back");
    }

    #[test]
    fn abandoned_writer_writes_only_what_it_had_begun() {
        let busy = busy();
        busy.writer.write(write(2));
        busy.writer.abandon();
        busy.verdict.send(Ok(())).unwrap();
        busy.at_the_disk.join().unwrap();
        assert!(busy.begun.try_recv().is_err(), "the second was never begun");
        assert_eq!(busy.reports.recv().unwrap().unwrap().get(), 1);
    }

    #[test]
    fn failed_sync_is_reported_and_nothing_is_written_after_it() {
        let busy = busy();
        busy.writer.write(write(2));
        busy.verdict.send(Err(DiskError::Failed)).unwrap();
        let report = busy.reports.recv().unwrap();
        assert!(matches!(report, Err(DiskError::Failed)));
        busy.at_the_disk.join().unwrap();
        assert!(busy.begun.recv().is_err(), "the disk is gone");
        assert!(busy.writer.begin().is_none());
    }

    #[test]
    fn closing_writes_what_waits_and_tells_of_a_failure() {
        let busy = busy();
        for verdict in [Ok(()), Ok(()), Err(DiskError::Failed)] {
            busy.verdict.send(verdict).unwrap();
        }
        busy.at_the_disk.join().unwrap();
        busy.writer.write(write(2));
        busy.writer.close().unwrap();
        assert_eq!(busy.begun.recv().unwrap(), [2]);
        // The last disk was closed. Another one fails.
        let (began, _begun) = channel();
        let (verdict, verdicts) = channel();
        verdict.send(Err(DiskError::Failed)).unwrap();
        let disk = Box::new(Asked { began, verdicts });
        let writer = Writer::new(disk, asleep(), Arc::new(Metrics::new()));
        writer.write(write(1));
        assert!(matches!(writer.close(), Err(DiskError::Failed)));
    }

    #[test]
    fn writes_that_are_made_durable_alone_keep_the_server_awake() {
        let disk = Box::new(Resting(Arc::default()));
        let vigil = Vigil::new(Duration::from_secs(3600));
        let writer = Writer::new(disk, vigil, Arc::new(Metrics::new()));
        let mut ids = 1..;
        let mut is_awake_after = |batch: usize| {
            ids.by_ref()
                .take(batch)
                .for_each(|id| writer.write(write(id)));
            writer.work(writer.begin().unwrap(), || {});
            writer.vigil.end().is_some()
        };
        let awake = [1, 1, 2, 1, 1].map(&mut is_awake_after);
        assert_eq!(awake, [false, true, false, false, true]);
    }

    /// Counts how often it is told to rest.
    struct Resting(Arc<AtomicUsize>);

    impl Disk for Resting {
        fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
            Ok(())
        }

        fn rest(&mut self) -> Result<(), DiskError> {
            self.0.fetch_add(1, Relaxed);
            Ok(())
        }
    }

    #[test]
    fn disk_is_told_to_rest_once_when_nothing_came_for_a_while() {
        let rests = Arc::new(AtomicUsize::new(0));
        let disk = Box::new(Resting(Arc::clone(&rests)));
        let writer = Writer::new(disk, asleep(), Arc::new(Metrics::new()));
        let work = || {
            let shift = writer.begin();
            let any = shift.is_some();
            shift
                .into_iter()
                .for_each(|shift| writer.work(shift, || {}));
            (any, rests.load(Relaxed))
        };
        writer.tick();
        writer.tick();
        assert_eq!(work(), (false, 0), "nothing was ever written");
        for id in 1..=3 {
            writer.write(write(id));
            assert_eq!(work(), (true, 0));
            writer.tick();
            assert_eq!(work(), (false, 0), "something was written before this tick");
        }
        writer.tick();
        assert_eq!(work(), (true, 1));
        writer.tick();
        writer.tick();
        assert_eq!(work(), (false, 1), "once is enough");
        writer.write(write(4));
        assert_eq!(work(), (true, 1));
        writer.tick();
        writer.tick();
        assert_eq!(work(), (true, 2));
    }
}
