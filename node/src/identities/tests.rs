//! Alerts and warnings about runs that are not admitted.

use super::*;
use crate::storage::{metadata::Metadata, wal::Directory};
use crate::{config::Config, log_capture::LogCapture};
use model::{
    Message,
    admission::{DiskId, OwnDisk, Record, Request, Response, Standing, Table},
};
use rand::{SeedableRng as _, rngs::StdRng};
use std::task::Waker;
use tempfile::TempDir;
use tracing::Level;

const OTHER: NodeId = NodeId::new(2);
const PEER: NodeId = NodeId::new(3);
const ORIGINAL: BootId = boot(31);
const WIPED: BootId = boot(32);
const RESTARTED: BootId = boot(33);
const DISK: DiskId = DiskId::new(3);

const fn boot(started: u64) -> BootId {
    BootId { started, random: 0 }
}

/// Server 1, which recorded the first start of server 3.
struct Server {
    identities: Identities,
    start: Instant,
    _dir: TempDir,
}

impl Server {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let id = NodeId::new(1);
        let mut config = Config::new(id, "test", dir.path());
        config.voters = [1, 2, 3].map(NodeId::new).into();
        let files = Arc::new(Directory::open(dir.path()).unwrap());
        let mut random = StdRng::seed_from_u64(1);
        let metadata = Metadata::open(&files, &config, &mut random).unwrap();
        drop(files);
        let keeper = MetadataWriter::new(metadata, Waker::noop().clone(), &config.environment);
        let table = Table::from([
            (OTHER, record(DiskId::new(2), &[(1, boot(21))])),
            (PEER, record(DISK, &[(1, ORIGINAL)])),
        ]);
        let own = OwnDisk {
            disk: DiskId::new(1),
            starts: [(1, boot(11))].into(),
        };
        let admission = Admission::new(id, &config.voters, own, table);
        let mut server = Self {
            identities: Identities::new(
                id,
                admission,
                keeper,
                Arc::new(Metrics::new()),
                "disk".to_owned(),
                config.heartbeat,
                Arc::default(),
            ),
            start: Instant::now(),
            _dir: dir,
        };
        server.tick(0);
        server
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn tick(&mut self, millis: u64) {
        let now = self.at(millis);
        self.identities.tick(1, 0, |_| None, now);
    }

    /// A message for the core arrives from this run. Returns the requests to it.
    fn unadmitted(&mut self, boot: BootId, millis: u64) -> Vec<Envelope> {
        let now = self.at(millis);
        let actions = self.identities.unadmitted(origin(boot), None, now);
        actions
            .direct
            .into_iter()
            .map(|(_, envelope)| envelope)
            .collect()
    }

    /// This run of server 3 answers the requests.
    fn answer(&mut self, boot: BootId, own: (DiskId, u64), requests: &[Envelope], millis: u64) {
        self.answer_with(origin(boot), own, requests, Table::new(), millis);
    }

    fn answer_with(
        &mut self,
        from: Origin,
        (disk, counter): (DiskId, u64),
        requests: &[Envelope],
        table: Table,
        millis: u64,
    ) {
        let now = self.at(millis);
        let mut requests = requests
            .iter()
            .filter_map(|envelope| match &envelope.message {
                Message::Identity(IdentityMessage::Request(request)) => Some(request),
                _ => None,
            });
        let request: &Request = requests.next_back().expect("the run must identify itself");
        let response = Response {
            nonce: request.nonce,
            disk,
            counter,
            boots: [(1, Some(ORIGINAL)), (counter, Some(from.boot))].into(),
            version: 1,
            table,
            merged: 0,
            log: None,
        };
        let response = IdentityMessage::Response(response);
        self.identities
            .receive(from, response, None, true, None, now);
    }

    /// Server 2, which counts, reports its table.
    fn merge(&mut self, table: Table, millis: u64) {
        let from = Origin {
            id: OTHER,
            boot: boot(21),
            ..origin(ORIGINAL)
        };
        let request = IdentityMessage::Request(Request {
            nonce: 1,
            version: 1,
            starts: BTreeSet::new(),
            entry: None,
        });
        let now = self.at(millis);
        let actions = self
            .identities
            .receive(from, request, None, true, None, now);
        self.answer_with(from, (DiskId::new(2), 1), &actions.sends, table, millis);
    }

    /// A run on an empty disk is refused.
    fn refuse(&mut self, boot: BootId, millis: u64) {
        let requests = self.unadmitted(boot, millis);
        self.answer(boot, (DiskId::new(99), 1), &requests, millis);
        assert!(self.identities.admission.refused(PEER).is_some());
    }

    fn alerts(&self, is_follower: bool, millis: u64) -> Vec<AlertKind> {
        let now = self.at(millis);
        let alerts = self.identities.alerts(|_| None, is_follower, now);
        alerts.iter().map(|alert| alert.kind).collect()
    }
}

fn record(disk: DiskId, starts: &[(u64, BootId)]) -> Record {
    Record {
        disk,
        starts: starts.iter().copied().collect(),
        earlier: BTreeMap::new(),
        copies: BTreeSet::new(),
        standing: Standing::Trusted,
    }
}

fn origin(boot: BootId) -> Origin {
    let at = SocketAddr::from(([127, 0, 0, 1], 7103));
    Origin { id: PEER, boot, at }
}

/// A follower receives nothing from the other followers, so their silence does not make a disk lost.
#[test]
fn follower_reports_a_lost_disk_only_while_the_refused_run_is_active() {
    let mut server = Server::new();
    server.refuse(WIPED, 0);
    server.unadmitted(WIPED, 5000);
    assert_eq!(server.alerts(true, 6000), [AlertKind::LostDisk]);
    assert_eq!(server.alerts(true, 14_900), [AlertKind::LostDisk]);
    assert_eq!(server.alerts(true, 15_100), []);
    // A leader, or a server without one, receives messages of the run that counts, if it is alive.
    assert_eq!(server.alerts(false, 70_000), [AlertKind::LostDisk]);
}

#[test]
fn refused_run_does_not_make_the_restarted_original_a_duplicate() {
    let mut server = Server::new();
    let warned = LogCapture::during(Level::WARN, || {
        server.refuse(WIPED, 0);
        server.unadmitted(WIPED, 4900);
        // The original directory replaces it. Server 2 records that start first.
        server.unadmitted(RESTARTED, 5000);
        let starts = [(1, ORIGINAL), (2, RESTARTED)];
        server.merge([(PEER, record(DISK, &starts))].into(), 5010);
        let requests = server.unadmitted(RESTARTED, 5020);
        server.answer(RESTARTED, (DISK, 2), &requests, 5030);
    });
    assert!(
        !warned.iter().any(|text| text.contains("two servers")),
        "{warned:?}"
    );
    let duplicate = AlertKind::DuplicateId;
    assert!(!server.alerts(false, 5040).contains(&duplicate));
    let contested = server.identities.contested.keys().map(|(_, boot)| *boot);
    assert!(!contested.into_iter().any(|boot| boot == WIPED));
}

#[test]
fn refused_run_is_warned_of_once() {
    let mut server = Server::new();
    let warned = LogCapture::during(Level::WARN, || {
        server.refuse(WIPED, 0);
        for millis in 1..4 {
            server.tick(millis);
            server.refuse(WIPED, millis);
        }
    });
    assert_eq!(warned.len(), 1, "{warned:?}");
    // Another run is another problem.
    let warned = LogCapture::during(Level::WARN, || server.refuse(RESTARTED, 10));
    assert_eq!(warned.len(), 1, "{warned:?}");
}
