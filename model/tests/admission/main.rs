//! Admission by disk identity: which servers count after restarts, disk losses and restored copies,
//! with messages that are late, duplicated and reordered.

mod copies;
mod evidence;
mod identity;
mod random;

use model::{
    Address, Envelope, LogIndex, Message, NodeId, Term,
    admission::{
        Acknowledged, Admission, AdmissionRefusal, DiskId, Effects, Event, IdentityMessage, LogAt,
        Notice, OwnDisk, Record, Standing, Table,
    },
    wire::BootId,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The ids of the servers. The process at the configured address of a server has its id as place; a
/// second process with that id has the place id + [`SECOND`].
const SERVERS: [u64; 3] = [1, 2, 3];

const SECOND: u64 = 100;

fn id(number: u64) -> NodeId {
    NodeId::new(number)
}

fn boot(random: u64) -> BootId {
    BootId { started: 0, random }
}

/// The durable state of a server.
#[derive(Clone, Debug)]
struct Disk {
    own: OwnDisk,
    table: Table,
}

/// A process that runs under an id.
#[derive(Clone)]
struct Server {
    disk: Disk,
    boot: BootId,
    admission: Admission,
    /// The table version that is being written, and the next version.
    saving: Option<(u64, Table)>,
    waiting: Option<(u64, Table)>,
}

/// A message. With `to`, it is only for that run of the receiver.
#[derive(Clone)]
struct Sent {
    from: BootId,
    at: u64,
    to: Option<BootId>,
    envelope: Envelope,
}

/// The servers, all messages ever sent, and the boots that must not count.
struct World {
    /// The processes by place.
    servers: BTreeMap<u64, Server>,
    sent: Vec<Sent>,
    /// The place of each run.
    places: BTreeMap<BootId, u64>,
    /// Whether a run at an unconfigured address is reachable: only with keys.
    has_keys: bool,
    /// The old copies that can be restored.
    copies: BTreeMap<u64, Disk>,
    next_disk: u128,
    next_boot: u64,
    /// The disk history to which a boot belongs.
    lineages: BTreeMap<BootId, u64>,
    next_lineage: u64,
    next_nonce: u64,
    /// The responses of servers to requests for an entry of their logs.
    logs: BTreeMap<u64, LogAt>,
    forbidden: BTreeSet<(u64, u64)>,
    /// Whether the driver reports a table as durable too early.
    lies: bool,
    notices: Vec<(u64, Notice)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            servers: BTreeMap::new(),
            sent: Vec::new(),
            places: BTreeMap::new(),
            has_keys: true,
            copies: BTreeMap::new(),
            next_disk: 1,
            next_boot: 1,
            lineages: BTreeMap::new(),
            next_lineage: 0,
            next_nonce: 1,
            logs: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            lies: false,
            notices: Vec::new(),
        };
        for number in SERVERS {
            world.start_empty(number);
        }
        world
    }

    fn start_empty(&mut self, number: u64) {
        let disk = Disk {
            own: OwnDisk {
                disk: DiskId::new(self.next_disk),
                starts: BTreeMap::new(),
            },
            table: Table::new(),
        };
        self.next_disk += 1;
        self.next_lineage += 1;
        self.start(number, disk, self.next_lineage);
    }

    fn start(&mut self, number: u64, mut disk: Disk, lineage: u64) {
        let boot = boot(self.next_boot);
        self.next_boot += 1;
        self.lineages.insert(boot, lineage);
        self.places.insert(boot, number);
        let last = disk.own.starts.keys().next_back().copied().unwrap_or(0);
        disk.own.starts.insert(last + 1, boot);
        let voters = SERVERS.map(id).into();
        let admission = Admission::new(
            id(number % SECOND),
            &voters,
            disk.own.clone(),
            disk.table.clone(),
        );
        let server = Server {
            disk,
            boot,
            admission,
            saving: None,
            waiting: None,
        };
        self.servers.insert(number, server);
        self.tick(number);
    }

    fn restart(&mut self, number: u64) {
        let server = &self.servers[&number];
        let (disk, lineage) = (server.disk.clone(), self.lineages[&server.boot]);
        self.start(number, disk, lineage);
    }

    /// Starts a copy of a server's disk beside the original.
    fn start_second(&mut self, number: u64) {
        let disk = self.servers[&number].disk.clone();
        self.next_lineage += 1;
        self.start(number + SECOND, disk, self.next_lineage);
    }

    /// The server returns with an empty disk.
    fn wipe(&mut self, number: u64) {
        self.start_empty(number);
        self.forget(number);
        self.forbid(number, |_| true);
    }

    fn copy(&mut self, number: u64) {
        self.copies
            .insert(number, self.servers[&number].disk.clone());
    }

    /// The server returns with an old copy of its disk, and then restarts the given number of times.
    fn restore(&mut self, number: u64, starts: u64) {
        let Some(copy) = self.copies.get(&number).cloned() else {
            return;
        };
        let (disk, last) = (copy.own.disk, *copy.own.starts.keys().next_back().unwrap());
        self.next_lineage += 1;
        self.start(number, copy, self.next_lineage);
        self.forget(number);
        self.forbid(number, |record| {
            let later = record
                .starts
                .keys()
                .next_back()
                .is_some_and(|start| *start > last);
            record.disk != disk || later
        });
        for _ in 1..starts {
            self.restart(number);
        }
    }

    /// The server loses its records together with its disk.
    fn forget(&mut self, number: u64) {
        self.forbidden.retain(|(at, _)| *at != number);
    }

    /// Forbids a server that recorded something unknown to this lineage to count the lineage.
    fn forbid(&mut self, number: u64, contradicts: impl Fn(&Record) -> bool) {
        for (other, server) in &self.servers {
            let record = server.disk.table.get(&id(number));
            if *other % SECOND != number && record.is_some_and(&contradicts) {
                self.forbidden.insert((*other, self.next_lineage));
            }
        }
    }

    fn step(&mut self, number: u64, event: Event) {
        let server = self.servers.get_mut(&number).unwrap();
        let Effects {
            save,
            sends,
            direct,
            notices,
        } = server.admission.step(event);
        let from = server.boot;
        let sends = sends.into_iter().map(|envelope| (None, envelope));
        let direct = direct
            .into_iter()
            .map(|(boot, envelope)| (Some(boot), envelope));
        self.sent
            .extend(sends.chain(direct).map(|(to, envelope)| Sent {
                from,
                at: number,
                to,
                envelope,
            }));
        self.notices
            .extend(notices.into_iter().map(|notice| (number, notice)));
        if let Some((version, table)) = save {
            if server.saving.is_none() {
                server.saving = Some((version, table));
            } else {
                server.waiting = Some((version, table));
            }
            if self.lies {
                self.step(number, Event::Persisted(version));
            }
        }
        self.judge();
    }

    fn tick(&mut self, number: u64) {
        self.tick_with(number, BTreeSet::new());
    }

    fn tick_with(&mut self, number: u64, alive: BTreeSet<NodeId>) {
        // Nonces of different ticks do not overlap, regardless of the number drawn in one tick.
        let nonce = self.next_nonce << 32;
        self.next_nonce += 1;
        self.step(number, Event::Tick { nonce, alive });
    }

    fn persist(&mut self, number: u64) {
        let server = self.servers.get_mut(&number).unwrap();
        if let Some((version, table)) = server.saving.take() {
            server.disk.table = table;
            server.saving = server.waiting.take();
            self.step(number, Event::Persisted(version));
        }
    }

    /// The process that receives a message.
    fn receiver(&self, sent: &Sent) -> u64 {
        let Address::Node(to) = sent.envelope.to else {
            panic!("only servers are sent to");
        };
        let second = to.get() + SECOND;
        let followed = self.servers.get(&sent.at).and_then(|from| {
            // The message follows the admitted run.
            sent.to.or_else(|| from.admission.admitted(to))
        });
        match self.servers.get(&second) {
            Some(server) if self.has_keys && followed == Some(server.boot) => second,
            _ => to.get(),
        }
    }

    fn deliver(&mut self, place: usize) {
        let sent = self.sent[place].clone();
        let at = self.receiver(&sent);
        let Envelope { from, message, .. } = sent.envelope;
        let (Address::Node(from), Message::Identity(message)) = (from, message) else {
            panic!("only servers speak, and only of identities");
        };
        let recorded = self.servers[&at].admission.recorded_boot(from);
        let known = recorded.and_then(|boot| self.places.get(&boot));
        let event = Event::Receive {
            from,
            boot: sent.from,
            message,
            is_at_known_address: known == self.places.get(&sent.from),
            log: self.logs.get(&(at % SECOND)).copied(),
        };
        self.step(at, event);
    }

    /// Delivers a message that no server sent.
    fn receive(&mut self, at: u64, from: u64, boot: BootId, message: IdentityMessage) {
        let event = Event::Receive {
            from: id(from),
            boot,
            message,
            is_at_known_address: true,
            log: None,
        };
        self.step(at, event);
    }

    /// Sends a message for the core.
    fn speak(&mut self, from: u64, to: u64) {
        let boot = self.servers[&from].boot;
        let number = id(from % SECOND);
        let is_same = from % SECOND == to % SECOND;
        if !is_same && !self.servers[&to].admission.is_admitted(number, boot) {
            self.step(to, Event::Unadmitted { from: number, boot });
        }
    }

    fn judge(&self) {
        for (number, server) in &self.servers {
            for (boot, lineage) in &self.lineages {
                if self.forbidden.contains(&(*number, *lineage)) {
                    let admitted = SERVERS
                        .iter()
                        .find(|from| server.admission.is_admitted(id(**from), *boot));
                    assert_eq!(admitted, None, "admitted by server {number} as {boot:?}");
                }
            }
        }
    }

    fn all_places(&self) -> Vec<u64> {
        self.servers.keys().copied().collect()
    }

    /// Delivers all messages in order and advances the time until nothing changes.
    fn settle(&mut self) {
        self.settle_without(|_, _| false);
    }

    /// Like [`World::settle`], while these places cannot reach each other.
    fn settle_without(&mut self, is_cut: impl Fn(u64, u64) -> bool) {
        let mut place = 0;
        for _ in 0..40 {
            for at in self.all_places() {
                self.tick(at);
                for other in SERVERS {
                    if !is_cut(at, other) {
                        self.speak(at, other);
                    }
                }
            }
            while place < self.sent.len() {
                // A message that is addressed to a server arrives at its current process.
                let sent = self.sent[place].clone();
                if !is_cut(sent.at, self.receiver(&sent)) {
                    self.deliver(place);
                }
                place += 1;
                for at in self.all_places() {
                    self.persist(at);
                }
            }
        }
    }

    fn admits(&self, at: u64, from: u64) -> bool {
        let boot = self.servers[&from].boot;
        let from = id(from % SECOND);
        self.servers[&at].admission.is_admitted(from, boot)
    }

    fn all_admit_all(&self) -> bool {
        let mut pairs = SERVERS
            .iter()
            .flat_map(|at| SERVERS.map(|from| (*at, from)));
        pairs.all(|(at, from)| at == from || self.admits(at, from))
    }

    fn suspended(&self, number: u64) -> Option<AdmissionRefusal> {
        self.servers[&number].admission.suspended()
    }

    fn refusal(&self, at: u64, of: u64) -> Option<AdmissionRefusal> {
        let (_, refusal) = self.servers[&at].admission.refused(id(of))?;
        Some(refusal)
    }
}

/// The last entry that a follower acknowledged before its current run.
const ACKNOWLEDGED: Acknowledged = Acknowledged {
    term: Term::new(5),
    index: LogIndex::new(10),
    entry: Some(Term::new(4)),
};

impl World {
    fn expect_originals(&self) -> Result<(), TestCaseError> {
        for at in SERVERS {
            let server = &self.servers[&at];
            prop_assert_eq!(server.admission.suspended(), None, "server {}", at);
            for second in SERVERS.map(|number| number + SECOND) {
                if self.servers.contains_key(&second) && second - SECOND != at {
                    prop_assert!(!self.admits(at, second), "{} at {}", second, at);
                }
            }
            for record in server.admission.table().values() {
                prop_assert_eq!(record.standing, Standing::Trusted);
                for (_, boot) in &record.copies {
                    prop_assert!(self.places[boot] > SECOND, "{:?} is an original", boot);
                }
            }
        }
        Ok(())
    }
}
