use super::*;
use crate::storage::wal::Directory;
use model::admission::{Record, Standing};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{fs, sync::mpsc, task::Wake};

fn boot(random: u64) -> BootId {
    BootId { started: 1, random }
}

fn table() -> Table {
    let record = Record {
        disk: DiskId::new(5),
        starts: [(3, boot(9))].into(),
        earlier: [(2, boot(8))].into(),
        copies: [(3, boot(10))].into(),
        standing: Standing::Trusted,
    };
    [(NodeId::new(2), record)].into()
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(NodeId::new(1), "test", dir);
    config.voters = [1, 2, 3].map(NodeId::new).into();
    config
}

fn open(dir: &Path) -> Result<Metadata, MetadataError> {
    open_with(&config(dir))
}

fn open_with(config: &Config) -> Result<Metadata, MetadataError> {
    let files = Arc::new(Directory::open(&config.data_dir).unwrap());
    let mut random = StdRng::from_rng(&mut rand::rng());
    Metadata::open(&files, config, &mut random)
}

fn keeper(metadata: Metadata) -> MetadataWriter {
    MetadataWriter::new(metadata, Waker::noop().clone(), &Environment::system())
}

/// Creates the first segment and its record, as a start of the log would.
fn begin_log(dir: &Path) {
    fs::write(dir.join("log-0000000001.wal"), "").unwrap();
    fs::write(dir.join("lock"), wal::encode_record(1)).unwrap();
}

#[test]
fn first_start_draws_an_identity_that_later_starts_keep() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = open(one.path()).unwrap();
    begin_log(one.path());
    first.begin_start(boot(1)).unwrap();
    first.begin_start(boot(2)).unwrap();
    let written = first.contents.clone();
    drop(first);
    let again = open(one.path()).unwrap();
    assert_eq!(again.contents, written);
    assert_eq!(again.own_disk().starts, [(1, boot(1)), (2, boot(2))].into());
    let other = open(other.path()).unwrap();
    assert_ne!(other.own_disk().disk, again.own_disk().disk);
}

#[test]
fn start_that_ended_before_its_log_began_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap().contents;
    assert_eq!(open(dir.path()).unwrap().contents, first);
}

#[test]
fn other_voters_another_server_and_another_cluster_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    let with = |change: fn(&mut Config)| {
        let mut config = config(dir.path());
        change(&mut config);
        open_with(&config).unwrap_err().to_string()
    };
    let text = with(|config| config.voters = [NodeId::new(1)].into());
    assert!(
        text.contains("a cluster with voters 1, 2, 3, but this start names voter 1"),
        "{text}"
    );
    let text = with(|config| config.id = NodeId::new(2));
    assert!(text.contains("belongs to node 1"), "{text}");
    let text = with(|config| config.cluster = "other".into());
    assert!(text.contains("belongs to cluster \"test\""), "{text}");
}

#[test]
fn log_without_metadata_and_metadata_without_log_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    begin_log(dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, MetadataError::Missing { .. }), "{error}");
    for name in ["log-0000000001.wal", "lock"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    open(dir.path()).unwrap().begin_start(boot(1)).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, MetadataError::LogGone { .. }), "{error}");
}

#[test]
fn starts_are_bounded_and_the_latest_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut metadata = open(dir.path()).unwrap();
    let many = (1..=STARTS as u64).map(|counter| (counter, boot(counter)));
    metadata.contents.starts = many.collect();
    metadata.begin_start(boot(0)).unwrap();
    let starts = metadata.own_disk().starts;
    assert_eq!(starts.len(), STARTS);
    assert_eq!(
        starts.last_key_value(),
        Some((&(STARTS as u64 + 1), &boot(0)))
    );
}

#[test]
fn keeper_reports_a_version_once_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut metadata = open(dir.path()).unwrap();
    begin_log(dir.path());
    metadata.begin_start(boot(1)).unwrap();
    let keeper = keeper(metadata);
    keeper.save(7, table());
    let deadline = Instant::now() + std::time::Duration::from_secs(30);
    let report = loop {
        if let Some(report) = keeper.take_report() {
            break report;
        }
        assert!(Instant::now() < deadline, "no report comes");
        thread::yield_now();
    };
    assert_eq!(report.unwrap(), 7);
    let written = fs::read(dir.path().join(METADATA)).unwrap();
    let contents = Contents::decode(dir.path(), &written).unwrap();
    assert_eq!(contents.table, table());
    // The directory stays locked while this thread may still write.
    let error = Directory::open(dir.path()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    // A missing directory must cause an error report.
    fs::remove_dir_all(dir.path()).unwrap();
    keeper.save(8, table());
    let report = loop {
        if let Some(report) = keeper.take_report() {
            break report;
        }
        assert!(Instant::now() < deadline, "no report comes");
        thread::yield_now();
    };
    report.unwrap_err();
}

#[test]
fn keeper_shows_how_long_a_write_has_lasted() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path()).unwrap();
    let keeper = keeper(metadata);
    let is_busy = || {
        let later = Instant::now() + Duration::from_secs(100);
        keeper.busy_for(later) >= Duration::from_secs(100)
    };
    assert!(!is_busy());
    // Opening a pipe blocks until the test reads from it.
    let new = dir.path().join(NEW_METADATA);
    let (kind, mode) = (FileType::Fifo, Mode::RUSR | Mode::WUSR);
    mknodat(CWD, &new, kind, mode, 0).unwrap();
    keeper.save(7, table());
    let deadline = Instant::now() + Duration::from_secs(30);
    let wait_until = |is_met: &dyn Fn() -> bool| {
        while !is_met() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    };
    wait_until(&is_busy);
    fs::read(&new).unwrap();
    wait_until(&|| !is_busy());
    assert!(keeper.take_report().is_some());
}

/// The system starts no thread.
#[derive(Debug)]
struct NoThreads;

impl Threads for NoThreads {
    fn spawn(&self, _: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Err(io::Error::other("no thread"))
    }
}

struct Wakes(mpsc::Sender<()>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

fn counted() -> (Waker, mpsc::Receiver<()>) {
    let (sender, wakes) = mpsc::channel();
    (Arc::new(Wakes(sender)).into(), wakes)
}

/// A wake-up would cause a turn, and the turn the next attempt, without a pause.
#[test]
fn thread_that_cannot_be_spawned_wakes_nothing_and_counts_as_a_slow_disk() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = open(dir.path()).unwrap();
    let (waker, wakes) = counted();
    let threads = Arc::new(NoThreads);
    let environment = Environment {
        threads,
        ..Environment::system()
    };
    let keeper = MetadataWriter::new(metadata, waker, &environment);
    keeper.save(7, table());
    let begun = Instant::now();
    assert!(keeper.take_report().is_none());
    assert!(keeper.busy_for(begun + Duration::from_secs(9)) >= Duration::from_secs(9));
    assert!(wakes.try_recv().is_err());
}

#[test]
fn panic_of_the_thread_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut metadata = open(dir.path()).unwrap();
    metadata.replace = Box::new(|_| panic!("planted"));
    let (waker, wakes) = counted();
    let keeper = MetadataWriter::new(metadata, waker, &Environment::system());
    keeper.save(7, table());
    wakes.recv_timeout(Duration::from_secs(30)).unwrap();
    keeper.take_report().unwrap().unwrap_err();
}

proptest! {
    #[test]
    fn damage_anywhere_is_noticed(place in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<bool>()) {
        let contents = Contents {
            cluster: "test".into(),
            node: 1,
            voters: [1, 2, 3].map(NodeId::new).into(),
            disk: DiskId::new(u128::MAX - 1),
            starts: [(1, boot(1)), (2, boot(2))].into(),
            table: table(),
        };
        let mut bytes = contents.encode();
        let dir = Path::new("dir");
        prop_assert_eq!(Contents::decode(dir, &bytes).unwrap(), contents);
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << bit;
        }
        prop_assert!(Contents::decode(dir, &bytes).is_err());
    }
}
