//! Admission by disk identity: which servers count after restarts, disk losses and restored copies,
//! with messages that are late, duplicated and reordered.

use model::{
    Address, AppendEntriesResponse, AppendOutcome, Envelope, LogIndex, Message, NodeId, Term,
    admission::{
        Acknowledged, Admission, DiskId, Effects, EntryAt, Event, IdentityMessage, LogAt, Notice,
        OwnDisk, Record, Refusal, Request, Response, SILENT_TICKS, Standing, Table,
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

    fn suspended(&self, number: u64) -> Option<Refusal> {
        self.servers[&number].admission.suspended()
    }

    fn refusal(&self, at: u64, of: u64) -> Option<Refusal> {
        let (_, refusal) = self.servers[&at].admission.refused(id(of))?;
        Some(refusal)
    }
}

#[test]
fn fresh_servers_admit_one_another_and_restarts_are_admitted_again() {
    let mut world = World::new();
    world.settle();
    assert!(world.all_admit_all());
    for number in [1, 2, 1, 3] {
        world.restart(number);
        assert!(!world.all_admit_all());
        world.settle();
        assert!(world.all_admit_all());
    }
    for number in SERVERS {
        world.restart(number);
    }
    world.settle();
    assert!(world.all_admit_all());
    // No further message is sent.
    let sent = world.sent.len();
    for number in SERVERS {
        for _ in 0..100 {
            world.tick(number);
        }
    }
    assert_eq!(world.sent.len(), sent);
}

#[test]
fn identity_counts_only_once_it_is_durable() {
    let mut world = World::new();
    for place in 0..world.sent.len() {
        world.deliver(place);
    }
    for place in 0..world.sent.len() {
        world.deliver(place);
    }
    assert!(world.servers[&1].saving.is_some());
    assert!(!world.admits(1, 2) && !world.admits(1, 3));
    world.persist(1);
    assert!(world.admits(1, 2) != world.admits(1, 3), "the first of two");
    world.persist(1);
    assert!(world.admits(1, 2) && world.admits(1, 3));
}

/// The driver must never report a table as durable too early: this test shows the consequence.
#[test]
fn identity_reported_durable_too_early_lets_a_lost_disk_count() {
    for lies in [false, true] {
        let mut world = World::new();
        world.lies = lies;
        // The others learn about server 3, and lose power before the record is on their disks.
        for place in 0..world.sent.len() {
            world.deliver(place);
        }
        for place in 0..world.sent.len() {
            world.deliver(place);
        }
        assert_eq!(
            world.admits(1, 3),
            lies,
            "it counts only if it was reported"
        );
        world.restart(1);
        world.restart(2);
        world.sent.clear();
        world.start_empty(3);
        world.settle();
        let counted_both = lies && world.admits(1, 3);
        assert_eq!(counted_both, lies, "two disks of server 3 have counted");
    }
}

#[test]
fn server_with_an_empty_disk_is_refused_and_learns_it() {
    let mut world = World::new();
    world.settle();
    world.wipe(3);
    world.settle();
    for other in [1, 2] {
        assert!(!world.admits(other, 3));
        assert_eq!(world.refusal(other, 3), Some(Refusal::OtherDisk));
    }
    assert_eq!(world.suspended(3), Some(Refusal::OtherDisk));
    assert!(world.admits(1, 2) && world.admits(2, 1));
    // The same if all servers restart.
    for number in SERVERS {
        world.restart(number);
    }
    world.settle();
    assert_eq!(world.suspended(3), Some(Refusal::OtherDisk));
    assert!(world.admits(1, 2) && world.admits(2, 1));
}

#[test]
fn right_disk_counts_again_after_a_start_without_it() {
    let mut world = World::new();
    world.settle();
    let disk = world.servers[&3].disk.clone();
    world.wipe(3);
    world.settle();
    assert!(!world.admits(1, 3));
    world.start(3, disk, 3);
    world.settle();
    assert!(world.all_admit_all());
}

#[test]
fn server_learns_of_a_peers_disk_from_others() {
    let mut world = World::new();
    // Server 2 receives nothing from server 3, and server 1 receives from both.
    let heard = |envelope: &Envelope| {
        !matches!(
            (envelope.from, envelope.to),
            (Address::Node(from), Address::Node(to))
                if [from.get(), to.get()] == [2, 3] || [from.get(), to.get()] == [3, 2]
        )
    };
    let mut place = 0;
    for _ in 0..20 {
        for number in SERVERS {
            world.tick(number);
        }
        while place < world.sent.len() {
            if heard(&world.sent[place].envelope) {
                world.deliver(place);
            }
            place += 1;
            for number in SERVERS {
                world.persist(number);
            }
        }
    }
    assert!(world.servers[&2].disk.table.contains_key(&id(3)));
    // Server 1 is gone, and server 3 returns with an empty disk.
    world.wipe(3);
    world.sent.clear();
    for _ in 0..20 {
        for number in [2, 3] {
            world.tick(number);
        }
        for place in 0..world.sent.len() {
            if heard_by(&world.sent[place].envelope, [2, 3]) {
                world.deliver(place);
                world.persist(2);
                world.persist(3);
            }
        }
    }
    assert!(!world.admits(2, 3));
    assert_eq!(world.suspended(3), Some(Refusal::OtherDisk));
}

fn heard_by(envelope: &Envelope, servers: [u64; 2]) -> bool {
    matches!(envelope.to, Address::Node(to) if servers.contains(&to.get()))
}

#[test]
fn old_copy_is_refused_however_often_it_is_started() {
    for starts in [1, 2, 3, 10] {
        let mut world = World::new();
        world.settle();
        world.copy(3);
        for _ in 0..3 {
            world.restart(3);
            world.settle();
        }
        world.restore(3, starts);
        world.settle();
        for other in [1, 2] {
            assert!(!world.admits(other, 3), "{starts} starts");
            assert_eq!(world.refusal(other, 3), Some(Refusal::OldCopy));
        }
        assert_eq!(world.suspended(3), Some(Refusal::OldCopy));
    }
}

#[test]
fn copy_beside_the_original_does_not_count_and_learns_it() {
    for has_keys in [false, true] {
        for starts in [1, 3] {
            let mut world = World::new();
            world.has_keys = has_keys;
            world.settle();
            world.start_second(3);
            for _ in 1..starts {
                world.restart(3 + SECOND);
            }
            world.settle();
            assert!(world.all_admit_all(), "the original goes on counting");
            for other in [1, 2] {
                assert!(!world.admits(other, 3 + SECOND));
                assert!(world.servers[&3].admission.is_known());
                // Without keys it gets no response, because its address is not configured.
                let refusal = has_keys.then_some(Refusal::Copy);
                assert_eq!(world.refusal(other, 3), refusal);
                assert_eq!(world.suspended(3 + SECOND), refusal);
                assert!(!world.servers[&(3 + SECOND)].admission.is_known());
            }
            // The original may restart.
            world.restart(3);
            world.settle();
            assert!(world.all_admit_all());
            for number in SERVERS {
                assert_eq!(world.suspended(number), None);
            }
        }
    }
}

/// The original is gone for good, and the copy is started again.
#[test]
fn copy_that_was_seen_beside_the_original_never_counts() {
    let mut world = World::new();
    world.settle();
    world.start_second(3);
    world.settle();
    let copy = world.servers.remove(&(3 + SECOND)).unwrap();
    world.servers.insert(3, copy);
    for number in [3, 1, 2, 3, 3] {
        world.restart(number);
        world.settle();
        for other in [1, 2] {
            assert!(!world.admits(other, 3));
            assert_eq!(world.refusal(other, 3), Some(Refusal::Copy));
        }
        assert_eq!(world.suspended(3), Some(Refusal::Copy));
        assert!(world.admits(1, 2) && world.admits(2, 1));
    }
}

#[test]
fn restart_at_another_address_counts_once_the_earlier_run_is_silent() {
    let mut world = World::new();
    world.settle();
    // The process at the configured address is gone.
    let old = world.servers[&3].boot;
    let place = world.sent.len();
    world.start_second(3);
    let is_gone = |world: &World, place: usize| world.receiver(&world.sent[place]) == 3;
    let mut place = place;
    for interval in 0..20 {
        for at in [1, 2, 3 + SECOND] {
            world.tick(at);
        }
        for to in [1, 2] {
            world.speak(3 + SECOND, to);
        }
        while place < world.sent.len() {
            if !is_gone(&world, place) {
                world.deliver(place);
            }
            place += 1;
            for at in [1, 2, 3 + SECOND] {
                world.persist(at);
            }
        }
        for other in [1, 2] {
            let is_admitted = world.admits(other, 3 + SECOND);
            assert!(
                is_admitted || interval <= SILENT_TICKS + 1,
                "interval {interval}"
            );
            assert!(
                !is_admitted || interval >= SILENT_TICKS,
                "interval {interval}"
            );
            let is_old = world.servers[&other].admission.is_admitted(id(3), old);
            assert!(is_old || interval >= SILENT_TICKS);
        }
    }
    assert_eq!(world.suspended(3 + SECOND), None);
    assert!(world.servers[&(3 + SECOND)].admission.is_known());
}

/// Messages for the core prove that the admitted run is alive, even if its responses are lost.
#[test]
fn later_run_waits_while_the_admitted_one_is_heard_from() {
    let mut world = World::new();
    world.settle();
    let original = world.servers[&3].boot;
    world.start_second(3);
    let mut place = world.sent.len() - 4;
    for _ in 0..30 {
        world.tick_with(1, [id(3)].into());
        world.tick(3 + SECOND);
        world.speak(3 + SECOND, 1);
        while place < world.sent.len() {
            if [1, 3 + SECOND].contains(&world.receiver(&world.sent[place])) {
                world.deliver(place);
            }
            place += 1;
            world.persist(1);
            world.persist(3 + SECOND);
        }
    }
    assert!(world.notices.contains(&(1, Notice::Contested(id(3)))));
    assert!(world.servers[&1].admission.is_admitted(id(3), original));
    assert!(!world.admits(1, 3 + SECOND));
}

/// Server 2 cannot reach the original and admits the copy. Server 1 can reach the original.
#[test]
fn third_server_that_admitted_a_copy_clears_nothing_and_is_corrected() {
    let mut world = World::new();
    world.settle();
    world.start_second(3);
    // The copy reaches server 2 only, and the original reaches server 1 only.
    let is_cut = |from: u64, to: u64| {
        let pair = [from.min(to), from.max(to)];
        [[2, 3], [1, 3 + SECOND], [2, 3 + SECOND]].contains(&pair) && pair != [2, 3 + SECOND]
    };
    world.settle_without(|from, to| is_cut(from, to) || [from, to].contains(&1));
    assert!(world.admits(2, 3 + SECOND), "it passes for a restart");
    assert!(world.admits(1, 3));
    world.settle_without(is_cut);
    assert!(world.admits(1, 3), "the original goes on counting");
    assert!(!world.admits(2, 3 + SECOND) && !world.admits(1, 3 + SECOND));
    assert_eq!(world.suspended(3), None);
    world.settle();
    assert!(world.all_admit_all());
    assert_eq!(world.suspended(3), None);
    assert_eq!(world.suspended(3 + SECOND), Some(Refusal::Copy));
}

/// Server 2 admitted an old copy, which still responds, before it learned about the later starts.
#[test]
fn old_copy_does_not_turn_the_later_starts_into_copies() {
    let mut world = World::new();
    world.settle();
    world.copy(3);
    let is_cut = |from: u64, to: u64| [from, to].contains(&2);
    for _ in 0..2 {
        world.restart(3);
        world.settle_without(is_cut);
    }
    assert!(world.admits(1, 3));
    world.restore(3, 1);
    world.settle_without(|from, to| [from, to].contains(&1));
    assert!(world.admits(2, 3));
    world.settle();
    for other in [1, 2] {
        assert!(!world.admits(other, 3), "server {other}");
        let record = &world.servers[&other].disk.table[&id(3)];
        assert_eq!(record.copies, BTreeSet::new());
    }
    assert_eq!(world.suspended(3), Some(Refusal::OldCopy));
}

/// The response of a run arrives after the admission of its successor.
#[test]
fn late_response_of_an_ended_run_refuses_nobody() {
    let mut world = World::new();
    world.settle();
    let old = world.servers[&3].boot;
    let is_response = |sent: &Sent| {
        sent.from == old
            && matches!(
                sent.envelope.message,
                Message::Identity(IdentityMessage::Response(_))
            )
    };
    let before = world.sent.len();
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
    world.tick(1);
    world.step(1, Event::Doubted(id(3)));
    for place in before..world.sent.len() {
        if world.receiver(&world.sent[place]) == 3 {
            world.deliver(place);
        }
    }
    let late: Vec<_> = (before..world.sent.len())
        .filter(|at| is_response(&world.sent[*at]))
        .collect();
    assert!(!late.is_empty());
    world.restart(3);
    let mut place = world.sent.len() - 2;
    world.notices.clear();
    // In one interval: the successor is admitted, and receives another request.
    for _ in 0..100 {
        world.speak(3, 1);
        while place < world.sent.len() {
            world.deliver(place);
            place += 1;
            world.persist(1);
            for late in &late {
                world.deliver(*late);
            }
        }
    }
    assert!(world.admits(1, 3));
    let refused = world
        .notices
        .iter()
        .find(|(_, notice)| matches!(notice, Notice::Refused(..)));
    assert_eq!(refused, None);
}

#[test]
fn number_with_two_disks_counts_nowhere() {
    let mut world = World::new();
    world.settle();
    // Server 2 is new, and has recorded another disk of server 3 than server 1 has.
    let other = Record {
        disk: DiskId::new(99),
        starts: [(1, boot(9999))].into(),
        earlier: BTreeMap::new(),
        copies: BTreeSet::new(),
        standing: Standing::Trusted,
    };
    let mut disk = world.servers[&2].disk.clone();
    disk.table.insert(id(3), other);
    world.start(2, disk, 2);
    world.settle();
    for at in [1, 2] {
        assert!(!world.admits(at, 3));
        let record = &world.servers[&at].disk.table[&id(3)];
        assert_eq!(record.standing, Standing::TwoDisks);
    }
    assert!(world.suspended(3).is_some());
    assert!(world.admits(1, 2) && world.admits(2, 1));
}

/// The last entry that a follower acknowledged before its current run.
const ACKNOWLEDGED: Acknowledged = Acknowledged {
    term: Term::new(5),
    index: LogIndex::new(10),
    entry: Some(Term::new(4)),
};

const fn log_at(term: u64, index: u64, entry: EntryAt) -> LogAt {
    LogAt {
        term: Term::new(term),
        index: LogIndex::new(index),
        entry,
    }
}

/// Without keys, any machine can send a response that makes a leader doubt a follower.
#[test]
fn doubted_follower_is_refused_only_if_its_own_log_lacks_the_entry() {
    let term = |term| EntryAt::Term(Term::new(term));
    for (log, is_lost) in [
        (log_at(5, 10, EntryAt::Missing), true),
        (log_at(5, 10, term(3)), true),
        (log_at(5, 10, term(4)), false),
        (log_at(5, 10, EntryAt::Compacted), false),
        // A later leader may have replaced the entry, and another index was not requested.
        (log_at(6, 10, EntryAt::Missing), false),
        (log_at(5, 11, EntryAt::Missing), false),
    ] {
        let mut world = World::new();
        world.settle();
        let leader = &mut world.servers.get_mut(&1).unwrap().admission;
        leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
        world.logs.insert(3, log);
        for _ in 0..20 {
            world.step(1, Event::Doubted(id(3)));
        }
        world.settle();
        assert_eq!(world.admits(1, 3), !is_lost, "{log:?}");
        assert_eq!(world.suspended(3).is_some(), is_lost, "{log:?}");
    }
}

#[test]
fn follower_that_lost_entries_is_refused_for_good() {
    let mut world = World::new();
    world.settle();
    let response = |term, outcome| AppendEntriesResponse {
        term: Term::new(term),
        read_round: 0,
        outcome,
    };
    let conflict = |prev, term, index| AppendOutcome::Conflict {
        prev_log_index: LogIndex::new(prev),
        conflict_term: Term::new(term),
        conflict_index: LogIndex::new(index),
    };
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    let lost = response(5, conflict(20, 3, 9));
    assert!(
        !leader.contradicts(id(3), &lost),
        "it had acknowledged nothing before this run"
    );
    leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
    for (response, proves) in [
        (lost.clone(), true),
        (response(5, conflict(20, 0, 0)), true),
        (response(5, conflict(20, 3, 10)), false),
        (response(4, conflict(20, 3, 9)), false),
        (response(6, conflict(20, 3, 9)), false),
        // A conflict after the last acknowledged entry proves nothing; a conflict at that entry is
        // proof.
        (response(5, conflict(11, 3, 10)), false),
        (response(5, conflict(10, 3, 10)), true),
        (response(5, AppendOutcome::StaleTerm), false),
        (
            response(
                5,
                AppendOutcome::Matched {
                    match_index: LogIndex::new(1),
                },
            ),
            false,
        ),
    ] {
        assert_eq!(leader.contradicts(id(3), &response), proves, "{response:?}");
    }
    // The follower's own response decides.
    world.step(1, Event::Doubted(id(3)));
    assert!(world.admits(1, 3));
    world.logs.insert(3, log_at(5, 10, EntryAt::Missing));
    world.settle();
    assert!(!world.admits(1, 3));
    world.restart(3);
    world.restart(2);
    world.settle();
    for at in [1, 2] {
        assert!(!world.admits(at, 3));
    }
    assert_eq!(world.suspended(3), Some(Refusal::LostEntries));
    assert!(world.admits(1, 2) && world.admits(2, 1));
}

#[test]
fn strangers_and_flooding_peers_change_and_cost_little() {
    let mut world = World::new();
    world.settle();
    let before = world.servers[&1].admission.clone();
    world.receive(1, 9, boot(5), forged_response(7, Table::new()));
    assert_eq!(world.servers[&1].admission, before);
    world.tick(1);
    let sent = world.sent.len();
    for random in 0..1000 {
        let event = Event::Unadmitted {
            from: id(2),
            boot: boot(1_000_000 + random),
        };
        world.step(1, event);
    }
    assert!(world.sent.len() - sent <= 8);
}

fn forged_response(disk: u128, table: Table) -> IdentityMessage {
    IdentityMessage::Response(Response {
        nonce: 0xdead,
        disk: DiskId::new(disk),
        counter: 1,
        boots: BTreeMap::new(),
        version: u64::MAX,
        table,
        merged: u64::MAX,
        log: Some(log_at(5, 10, EntryAt::Missing)),
    })
}

/// Without keys, any machine can forge the boot of an admitted server, and replay datagrams.
#[test]
fn messages_that_were_not_requested_change_no_record() {
    let mut world = World::new();
    world.settle();
    let tables = |world: &World| SERVERS.map(|at| world.servers[&at].admission.table().clone());
    let before = tables(&world);
    let record = |disk, standing| Record {
        disk: DiskId::new(disk),
        starts: [(1, boot(9999))].into(),
        earlier: BTreeMap::new(),
        copies: BTreeSet::new(),
        standing,
    };
    let request = IdentityMessage::Request(Request {
        nonce: 0xdead,
        version: u64::MAX,
        starts: (0..1000).collect(),
        entry: Some(LogIndex::new(10)),
    });
    let mut forged = vec![request];
    for about in SERVERS {
        for record in [
            record(99, Standing::Trusted),
            record(1, Standing::LostEntries),
        ] {
            // The real disks have the ids of their servers.
            forged.push(forged_response(2, [(id(about), record)].into()));
        }
    }
    forged.push(forged_response(99, Table::new()));
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    leader.note_acknowledged(id(2), Some(ACKNOWLEDGED));
    let real = world.servers[&2].boot;
    let repeated = world.sent.len();
    for message in forged {
        for boot in [real, boot(5)] {
            world.step(1, Event::Doubted(id(2)));
            world.receive(1, 2, boot, message.clone());
        }
    }
    for place in 0..repeated {
        world.deliver(place);
    }
    world.settle();
    assert!(world.all_admit_all());
    assert_eq!(SERVERS.map(|number| world.suspended(number)), [None; 3]);
    assert_eq!(tables(&world), before);
}

#[test]
fn forged_boots_do_not_keep_a_restarted_server_out() {
    let mut world = World::new();
    world.settle();
    world.restart(3);
    let mut place = world.sent.len();
    for random in 0..40 {
        world.tick(1);
        world.tick(3);
        world.speak(3, 1);
        while place < world.sent.len() {
            let forged = Event::Unadmitted {
                from: id(3),
                boot: boot(1_000_000 + random),
            };
            world.step(1, forged);
            world.deliver(place);
            world.persist(1);
            place += 1;
        }
    }
    assert!(world.admits(1, 3));
}

#[derive(Clone, Debug)]
enum Op {
    Deliver(prop::sample::Index),
    Last(u64),
    Persist(u64),
    Tick(u64, bool),
    Speak(u64, u64),
    Restart(u64),
    Wipe(u64),
    Copy(u64),
    Restore(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let server = || 1..=3_u64;
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Op::Deliver),
        20 => (1..12_u64).prop_map(Op::Last),
        8 => server().prop_map(Op::Persist),
        6 => (server(), any::<bool>()).prop_map(|(number, alive)| Op::Tick(number, alive)),
        4 => (server(), server()).prop_map(|(from, to)| Op::Speak(from, to)),
        3 => server().prop_map(Op::Restart),
        1 => server().prop_map(Op::Wipe),
        1 => server().prop_map(Op::Copy),
        1 => (server(), 1..6_u64).prop_map(|(number, starts)| Op::Restore(number, starts)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// [`World::judge`] checks after each step.
    #[test]
    fn impostor_is_never_admitted_by_whoever_recorded_more(ops in prop::collection::vec(op(), 0..300)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Deliver(at) => world.deliver(at.index(world.sent.len())),
                Op::Last(back) => {
                    let place = world.sent.len().saturating_sub(back as usize);
                    world.deliver(place.min(world.sent.len() - 1));
                }
                Op::Persist(number) => world.persist(number),
                Op::Tick(number, alive) => {
                    let alive = SERVERS.map(id).into_iter().filter(|_| alive);
                    world.tick_with(number, alive.collect());
                }
                Op::Speak(from, to) => world.speak(from, to),
                Op::Restart(number) => world.restart(number),
                Op::Wipe(number) => world.wipe(number),
                Op::Copy(number) => world.copy(number),
                Op::Restore(number, starts) => world.restore(number, starts),
            }
        }
        world.settle();
    }

    /// Without disk losses all servers count in the end, regardless of network faults and restarts.
    #[test]
    fn honest_servers_are_all_admitted_in_the_end(ops in prop::collection::vec(op(), 0..200)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Deliver(at) => world.deliver(at.index(world.sent.len())),
                Op::Last(back) => {
                    let place = world.sent.len().saturating_sub(back as usize);
                    world.deliver(place.min(world.sent.len() - 1));
                }
                Op::Persist(number) => world.persist(number),
                Op::Tick(number, alive) => {
                    let alive = SERVERS.map(id).into_iter().filter(|_| alive);
                    world.tick_with(number, alive.collect());
                }
                Op::Speak(from, to) => world.speak(from, to),
                Op::Restart(number) | Op::Restore(number, _) => world.restart(number),
                Op::Wipe(_) | Op::Copy(_) => {}
            }
        }
        world.settle();
        prop_assert!(world.all_admit_all());
        for number in SERVERS {
            prop_assert_eq!(world.suspended(number), None);
        }
    }

    /// Originals and copies of their disks run at the same time. Messages are late, duplicated and
    /// reordered, and servers restart at any time. Only the originals count, provided that they
    /// respond within each interval.
    #[test]
    fn originals_count_and_copies_do_not(
        ops in prop::collection::vec((0..8_u8, 1..=3_u64, any::<prop::sample::Index>()), 0..120),
        has_keys in any::<bool>(),
    ) {
        let mut world = World::new();
        world.has_keys = has_keys;
        world.settle();
        let mut done = world.sent.len();
        for (op, number, index) in ops {
            let second = number + SECOND;
            match op {
                0 => world.start_second(number),
                1 if world.servers.contains_key(&second) => world.restart(second),
                2 => world.restart(number),
                3 if world.servers.contains_key(&second) => {
                    world.tick(second);
                    for to in SERVERS {
                        world.speak(second, to);
                    }
                }
                4 | 5 => {
                    let place = index.index(world.sent.len());
                    let sent = world.sent[place].clone();
                    if sent.at > SECOND || world.receiver(&sent) > SECOND {
                        world.deliver(place);
                    }
                }
                _ => {
                    world.tick(number);
                    for to in SERVERS {
                        world.speak(number, to);
                    }
                }
            }
            // The originals reach each other.
            while done < world.sent.len() {
                let sent = world.sent[done].clone();
                if sent.at < SECOND && world.receiver(&sent) < SECOND {
                    world.deliver(done);
                }
                done += 1;
                for at in world.all_places() {
                    world.persist(at);
                }
            }
            world.expect_originals()?;
        }
        world.settle();
        world.expect_originals()?;
        prop_assert!(world.all_admit_all());
    }
}

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
