//! Three servers on one thread, with a simulated clock, network and disk: from one seed they elect a
//! leader, commit a write, and keep it through a power loss of all three.

use super::*;
use crate::{
    observability::status_query::StatusQuery,
    runtime::{driver::TurnScope, poller::Wakeup},
    storage::{wal::Memory, writer::DiskLease},
};
use model::{
    Address, NodeId,
    client::{Done, Invocation, Outcome},
    store::{Condition, Found, Operation, Query},
};
use simulator::{Link, Simulation};
use transport::Clock as _;

/// The simulated time after which a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const VOTERS: std::ops::RangeInclusive<u64> = 1..=3;

/// The time, the server, whether it leads, its term and its commit index.
type Observation = (Duration, u64, bool, u64, u64);
type PendingResult = oneshot::Receiver<Outcome>;

pub(super) fn at(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, id as u8], 7101))
}

pub(super) struct Server {
    id: u64,
    driver: Driver,
    handed_out: Started,
    /// The sync in progress, and its end.
    at_the_disk: Option<(Instant, DiskLease)>,
}

impl Server {
    pub(super) fn start(simulation: &Simulation, id: u64, files: Memory) -> Self {
        let mut config = Config::new(NodeId::new(id), "simulated", format!("simulated-{id}"));
        config.listen = at(id);
        config.voters = VOTERS.map(NodeId::new).collect();
        config.environment = simulation.environment();
        // Zeroing larger segments takes most of the time of a run.
        config.segment_bytes = 1 << 20;
        let waker = Waker::noop().clone();
        let built = build(&config, Arc::new(files), open_wal, Arc::default(), waker);
        let (driver, handed_out) = built.unwrap();
        let server = Self {
            id,
            driver,
            handed_out,
            at_the_disk: None,
        };
        server.command(DriverCommand::Endpoint(Box::new(
            move |endpoint: &Endpoint| {
                for other in VOTERS.filter(|other| *other != id) {
                    endpoint.set_peer(Address::Node(NodeId::new(other)), at(other));
                }
            },
        )));
        server
    }

    fn command(&self, command: DriverCommand) {
        let sent = self.handed_out.commands.try_send(command);
        assert!(sent.is_ok());
    }

    fn execute(&self, invocation: Invocation) -> PendingResult {
        let (reply, result) = oneshot::channel();
        self.command(DriverCommand::Execute { invocation, reply });
        result
    }

    /// Runs one turn, and the disk: a sync takes 1 to 5 ms.
    pub(super) fn run(&mut self, simulation: &Simulation) {
        let now = simulation.now();
        self.driver.turn(TurnScope::Everything(Wakeup::Otherwise));
        let writer = Arc::clone(self.driver.writer());
        if let Some((_, lease)) = self.at_the_disk.take_if(|(end, _)| *end <= now) {
            writer.work(lease, || self.driver.turn(TurnScope::Reports));
        }
        if self.at_the_disk.is_none()
            && let Some(lease) = writer.begin()
        {
            let duration = Duration::from_micros(1_000 + simulation.below(4_000));
            self.at_the_disk = Some((now + duration, lease));
        }
        assert!(!self.driver.has_ended(), "server {} ended", self.id);
    }

    fn leads(&self) -> bool {
        matches!(self.driver.raft().role(), model::Role::Leader(_))
    }

    /// The next time at which something happens without a message.
    pub(super) fn deadline(&self) -> Instant {
        let synced = self.at_the_disk.as_ref().map(|(end, _)| *end);
        synced
            .into_iter()
            .fold(self.driver.deadline(), Instant::min)
    }

    /// The status, as JSON.
    fn status(&mut self) -> String {
        let (reply, mut status) = oneshot::channel();
        let query = StatusQuery {
            entries: 10,
            since: 0,
        };
        self.command(DriverCommand::Status(query, reply));
        self.driver.turn(TurnScope::Everything(Wakeup::Otherwise));
        serde_json::to_string(&status.try_recv().unwrap()).unwrap()
    }
}

/// The servers, and the observations of a run.
struct Cluster {
    simulation: Simulation,
    servers: Vec<Server>,
    files: Vec<Memory>,
    /// One for each change.
    trace: Vec<Observation>,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        simulation.set_link(Link {
            delay: [Duration::from_micros(100), Duration::from_millis(30)],
            loses_one_of: 20,
            duplicates_one_of: 20,
        });
        let mut cluster = Self {
            simulation,
            servers: Vec::new(),
            files: VOTERS.map(|_| Memory::default()).collect(),
            trace: Vec::new(),
        };
        cluster.start();
        cluster
    }

    fn start(&mut self) {
        let servers = VOTERS.zip(&self.files);
        let servers = servers.map(|(id, files)| Server::start(&self.simulation, id, files.clone()));
        self.servers = servers.collect();
    }

    /// All servers lose power. Of the bytes that no sync covered, the disks keep a random part. A write
    /// in progress is lost as a whole: the simulation writes and syncs at the end of the disk's delay.
    fn lose_power(&mut self) {
        self.servers.clear();
        let simulation = &self.simulation;
        for files in &mut self.files {
            *files = files.crash(|_| simulation.below(2) == 0);
        }
        self.start();
    }

    /// Runs until the condition holds.
    fn run_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.simulation.now() + PATIENCE;
        while !holds(self) {
            assert!(self.simulation.now() < end, "not in time: {what}");
            for server in &mut self.servers {
                server.run(&self.simulation);
                let (id, now) = (server.id, self.simulation.elapsed());
                let raft = server.driver.raft();
                let (term, commit_index) = (raft.current_term().get(), raft.commit_index().get());
                let seen = (now, id, server.leads(), term, commit_index);
                let last = self.trace.iter().rev().find(|last| last.1 == id);
                if last.is_none_or(|last| (now, last.1, last.2, last.3, last.4) != seen) {
                    self.trace.push(seen);
                }
            }
            let deadlines = self.servers.iter().map(Server::deadline);
            self.simulation.advance(deadlines.fold(end, Instant::min));
        }
    }

    fn leader(&mut self) -> usize {
        let mut leader = None;
        self.run_until("a leader commits", |cluster| {
            leader = cluster
                .servers
                .iter()
                .position(|server| server.leads() && server.driver.raft().commit_index().get() > 0);
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Executes an operation at the leader, until it succeeds.
    fn execute(&mut self, invocation: &Invocation) -> Done {
        loop {
            let leader = self.leader();
            let mut pending = self.servers[leader].execute(invocation.clone());
            let mut result = None;
            self.run_until("an operation ends", |_| {
                result = pending.try_recv().ok();
                result.is_some()
            });
            if let Some(Outcome::Done(done)) = result {
                return done;
            }
        }
    }
}

/// Runs a cluster with this seed. Returns its trace, and the final status of each server.
fn run(seed: u64) -> (Vec<Observation>, Vec<String>) {
    let mut cluster = Cluster::new(seed);
    let put = Invocation::Write(Operation::Put {
        key: b"key".to_vec(),
        value: b"value".to_vec().into(),
        condition: Condition::Always,
    });
    let answered = cluster.execute(&put);
    assert!(matches!(answered, Done::Answered(_)), "{answered:?}");
    cluster.lose_power();
    let get = Invocation::Read(Query::Get {
        key: b"key".to_vec(),
    });
    match cluster.execute(&get) {
        Done::Found(Found::Value(Some(found))) => assert_eq!(&found.value[..], b"value"),
        other => panic!("the write is lost: {other:?}"),
    }
    let status = cluster.servers.iter_mut().map(Server::status).collect();
    (cluster.trace, status)
}

#[test]
fn same_seed_same_run() {
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first.0, run(2).0);
}

#[test]
fn committed_write_survives_a_power_loss_in_every_run() {
    for seed in 10..30 {
        run(seed);
    }
}
