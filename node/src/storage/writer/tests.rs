use super::*;
use model::{Entry, Term};
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

/// A disk that reports each write to the test, and waits for the result that the test supplies.
struct ScriptedDisk {
    began: Sender<Vec<u64>>,
    verdicts: Receiver<Result<(), DiskError>>,
}

impl Disk for ScriptedDisk {
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError> {
        let ids = writes.iter().map(|write| write.id.get()).collect();
        self.began.send(ids).unwrap();
        self.verdicts.recv().unwrap()
    }
}

fn writer(disk: Box<dyn Disk>, busy_poll: BusyPoll) -> Writer {
    let clock = transport::Environment::system().clock;
    Writer::new(disk, busy_poll, Arc::new(Metrics::new()), clock)
}

/// A disabled busy-poll window.
fn asleep() -> BusyPoll {
    BusyPoll::new(Duration::ZERO, Instant::now())
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
    /// The batches that the disk starts.
    begun: Receiver<Vec<u64>>,
    /// Supplies the results of these batches.
    verdict: Sender<Result<(), DiskError>>,
    /// The reports processed after each sync.
    reports: Receiver<Report>,
    at_the_disk: thread::JoinHandle<()>,
}

fn busy() -> Busy {
    let (began, begun) = channel();
    let (verdict, verdicts) = channel();
    let (sender, reports) = channel();
    let disk = Box::new(ScriptedDisk { began, verdicts });
    let writer = Arc::new(writer(disk, asleep()));
    assert!(writer.begin().is_none(), "there is nothing to write");
    writer.write(write(1));
    let lease = writer.begin().unwrap();
    let at_the_disk = thread::spawn({
        let writer = Arc::clone(&writer);
        move || {
            writer.work(lease, || {
                sender.send(writer.take_report().unwrap()).unwrap();
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
fn disk_operation_in_progress_is_seen_until_it_ends() {
    let busy = busy();
    let later = || Instant::now() + Duration::from_secs(100);
    assert!(busy.writer.busy_for(later()) >= Duration::from_secs(100));
    busy.verdict.send(Ok(())).unwrap();
    busy.at_the_disk.join().unwrap();
    assert_eq!(busy.writer.busy_for(later()), Duration::ZERO);
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
    // The previous disk is closed. Another one fails.
    let (began, _begun) = channel();
    let (verdict, verdicts) = channel();
    verdict.send(Err(DiskError::Failed)).unwrap();
    let disk = Box::new(ScriptedDisk { began, verdicts });
    let writer = writer(disk, asleep());
    writer.write(write(1));
    assert!(matches!(writer.close(), Err(DiskError::Failed)));
}

#[test]
fn writes_that_are_made_durable_alone_keep_the_server_awake() {
    let disk = Box::new(Resting(Arc::default()));
    let busy_poll = BusyPoll::new(Duration::from_secs(3600), Instant::now());
    let writer = writer(disk, busy_poll);
    let mut ids = 1..;
    let mut is_awake_after = |batch: usize| {
        ids.by_ref()
            .take(batch)
            .for_each(|id| writer.write(write(id)));
        writer.work(writer.begin().unwrap(), || {});
        writer.busy_poll.end().is_some()
    };
    let awake = [1, 1, 2, 1, 1].map(&mut is_awake_after);
    assert_eq!(awake, [false, true, false, false, true]);
}

/// Counts its idle notifications.
struct Resting(Arc<AtomicUsize>);

impl Disk for Resting {
    fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
        Ok(())
    }

    fn on_idle(&mut self) -> Result<(), DiskError> {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[test]
fn idle_disk_is_notified_once() {
    let rests = Arc::new(AtomicUsize::new(0));
    let disk = Box::new(Resting(Arc::clone(&rests)));
    let writer = writer(disk, asleep());
    let work = || {
        let lease = writer.begin();
        let any = lease.is_some();
        lease
            .into_iter()
            .for_each(|lease| writer.work(lease, || {}));
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
