//! Each kind of failure: a real step that is altered in one place.

use super::*;
use crate::{
    Address, AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Config, Entry, EntryId,
    Envelope, Event, HardState, Log, Message, NodeId, Payload, Raft, RequestVoteRequest, Role,
    Snapshot, Term, message::RequestVoteResponse,
};
use alloc::{format, string::String, vec};

/// A step with everything that the check compares.
struct Taken {
    before: Running,
    after: Running,
    disk: Durable,
    incoming: Incoming,
    persisted: Option<WriteId>,
    effects: Effects,
    actions: Vec<AbstractAction>,
}

impl Taken {
    /// The name of the failure, or the kinds of the actions.
    fn result(mut self) -> Result<Vec<&'static str>, String> {
        let persisted = self.persisted.map(|write| (write, &self.disk));
        let step = RaftStep {
            before: &self.before,
            after: &self.after,
            disk: &self.disk,
            incoming: &self.incoming,
            persisted: persisted.as_slice(),
            effects: &self.effects,
        };
        match step.check(&mut self.actions) {
            Ok(()) => Ok(self.actions.iter().map(|one| one.kind().name()).collect()),
            Err(cause) => Err(format!("{cause:?}")),
        }
    }

    /// Requires a failure.
    #[track_caller]
    fn fails(self, cause: &str) {
        let found = self.result().expect_err("the alteration is a failure");
        assert!(found.starts_with(cause), "{found}, and not {cause}");
    }

    fn leader(&mut self) -> &mut crate::raft::Leader {
        match &mut self.after.raft.role {
            Role::Leader(leader) => leader,
            role => panic!("{role:?}"),
        }
    }
}

/// A server of three, with its disk.
struct Machine {
    running: Running,
    disk: Durable,
}

impl Machine {
    fn new(id: u64, disk: Durable) -> Self {
        let mut config = Config::production((1..=3).map(NodeId::new).collect());
        (config.pre_vote, config.check_quorum) = (false, false);
        Self {
            running: Running {
                raft: Raft::recover(NodeId::new(id), config, disk.clone()),
                unsynced: Vec::new(),
            },
            disk,
        }
    }

    fn step(&mut self, event: Event) -> Taken {
        let before = self.running.clone();
        let incoming = Incoming::new(&event);
        let persisted = match event {
            Event::Persisted(write) => Some(write),
            _ => None,
        };
        let effects = self.running.raft.step(event);
        self.running.unsynced.extend(effects.write.clone());
        Taken {
            before,
            after: self.running.clone(),
            disk: self.disk.clone(),
            incoming,
            persisted,
            effects,
            actions: Vec::new(),
        }
    }

    fn receive(&mut self, from: u64, message: Message) -> Taken {
        let from = Address::Node(NodeId::new(from));
        self.step(Event::Receive { from, message })
    }

    /// Makes the oldest write durable.
    fn sync(&mut self) -> Taken {
        let write = self.running.unsynced.remove(0);
        let before = self.disk.clone();
        self.disk.apply(&write);
        let mut actions = Vec::new();
        check_sync(&self.running.raft, &before, &self.disk, &mut actions).expect("it refines");
        let mut taken = self.step(Event::Persisted(write.id));
        taken.actions = actions;
        taken
    }

    /// A candidate of the next term, with its own vote durable.
    fn candidate(disk: Durable) -> Self {
        let mut machine = Self::new(1, disk);
        machine.step(Event::ElectionTimeout);
        machine.sync();
        machine
    }

    /// A leader of the next term, with its no-op durable.
    fn leader(disk: Durable) -> Self {
        let mut machine = Self::candidate(disk);
        machine.receive(2, vote(machine.running.raft.current_term.get()));
        machine.sync();
        machine
    }
}

fn entry(term: u64) -> Entry {
    Entry {
        term: Term::new(term),
        payload: Payload::Noop,
    }
}

/// A disk in a term, without a vote, with entries of these terms.
fn disk(term: u64, terms: &[u64]) -> Durable {
    Durable {
        hard_state: HardState {
            current_term: Term::new(term),
            voted_for: None,
        },
        snapshot: None,
        log: terms.iter().map(|term| entry(*term)).collect(),
    }
}

fn vote(term: u64) -> Message {
    Message::RequestVoteResponse(RequestVoteResponse {
        term: Term::new(term),
        vote_granted: true,
    })
}

fn candidacy(term: u64, last: (u64, u64)) -> Message {
    Message::RequestVoteRequest(RequestVoteRequest {
        term: Term::new(term),
        last_log_index: LogIndex::new(last.0),
        last_log_term: Term::new(last.1),
        leadership_transfer: false,
    })
}

/// Entries of these terms after the entry `prev` (index and term).
fn append(term: u64, prev: (u64, u64), terms: &[u64], commit: u64) -> Message {
    Message::AppendEntriesRequest(AppendEntriesRequest {
        term: Term::new(term),
        prev_log_index: LogIndex::new(prev.0),
        prev_log_term: Term::new(prev.1),
        entries: terms.iter().map(|term| entry(*term)).collect(),
        leader_commit: LogIndex::new(commit),
        read_round: 0,
    })
}

fn matched(term: u64, index: u64) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        term: Term::new(term),
        read_round: 0,
        outcome: AppendOutcome::Matched {
            match_index: LogIndex::new(index),
        },
    })
}

fn sent(to: u64, message: Message) -> Envelope {
    Envelope {
        from: Address::Node(NodeId::new(1)),
        to: Address::Node(NodeId::new(to)),
        message,
    }
}

#[test]
fn honest_steps_are_mapped_to_their_actions() {
    let kinds = |taken: Taken| taken.result().expect("it refines");
    let mut leader = Machine::new(1, Durable::default());
    assert!(kinds(leader.step(Event::ElectionTimeout)).is_empty());
    assert_eq!(kinds(leader.sync()), ["stand"]);
    assert_eq!(
        kinds(leader.receive(2, vote(1))),
        ["elect", "client-request"]
    );
    assert_eq!(kinds(leader.sync()), ["accept"]);
    assert_eq!(
        kinds(leader.receive(3, matched(1, 1))),
        ["accept", "commit", "learn"]
    );
    let mut follower = Machine::new(2, Durable::default());
    assert!(kinds(follower.receive(1, candidacy(1, (0, 0)))).is_empty());
    assert_eq!(kinds(follower.sync()), ["vote"]);
    assert!(kinds(follower.receive(1, append(1, (0, 0), &[1], 0))).is_empty());
    assert_eq!(kinds(follower.sync()), ["accept", "accept"]);
    assert_eq!(
        kinds(follower.receive(1, append(1, (1, 1), &[], 1))),
        ["learn", "accept"]
    );
    assert!(kinds(follower.receive(3, append(2, (1, 1), &[], 1))).is_empty());
    assert_eq!(kinds(follower.sync()), ["update-term", "learn", "accept"]);
}

#[test]
fn forged_votes_are_failures() {
    let mut taken = Machine::candidate(disk(0, &[])).receive(2, vote(1));
    taken.incoming = Incoming::Nothing;
    taken.fails("ElectedWithoutMajority");
    let mut machine = Machine::new(1, disk(0, &[]));
    machine.step(Event::ElectionTimeout);
    let mut taken = machine.sync();
    if let Role::Candidate(candidate) = &mut taken.after.raft.role {
        candidate.votes.insert(NodeId::new(3));
    }
    taken.fails("CountedMissingVote");
}

#[test]
fn elections_without_a_durable_candidacy_are_failures() {
    let mut taken = Machine::candidate(disk(0, &[])).receive(2, vote(1));
    taken.disk.hard_state.voted_for = None;
    taken.before.raft.voted_for = None;
    taken.after.raft.voted_for = None;
    taken.fails("LedWithoutCandidacy");
    let mut taken = Machine::candidate(disk(1, &[1])).receive(2, vote(2));
    // Its log is not that of the candidate.
    taken.before.raft.log.append([entry(1)]);
    taken.before.raft.log.append([entry(1)]);
    taken
        .result()
        .expect_err("the log of the leader lacks entries");
    let mut machine = Machine::new(1, disk(0, &[]));
    machine.disk.hard_state.current_term = Term::new(1);
    machine
        .step(Event::ElectionTimeout)
        .fails("BecameCandidateTwice");
    let mut taken = Machine::new(1, disk(0, &[])).step(Event::ElectionTimeout);
    taken.effects.sends.push(sent(2, candidacy(1, (0, 0))));
    taken.fails("CandidacyNotDurable");
}

#[test]
fn wrong_votes_are_failures() {
    let voter = || Machine::new(2, disk(1, &[1])).receive(1, candidacy(2, (1, 1)));
    assert_eq!(voter().result(), Ok(vec![]));
    let mut taken = voter();
    taken.incoming = Incoming::Nothing;
    taken.fails("VotedWithoutRequest");
    let mut taken = voter();
    taken.incoming = Incoming::Candidacy {
        from: NodeId::new(1),
        term: Term::new(2),
        last: EntryId::default(),
    };
    taken.fails("VotedForOutdatedLog");
    let own_vote = Envelope {
        from: Address::Node(NodeId::new(2)),
        ..sent(1, vote(2))
    };
    let mut taken = voter();
    taken.effects.sends.push(own_vote.clone());
    taken.fails("VoteNotDurable");
    let mut taken = voter();
    taken.effects.sends.push(Envelope {
        from: Address::Node(NodeId::new(3)),
        ..own_vote
    });
    taken.fails("SentForAnother");
    let mut taken = voter();
    taken.after.unsynced.clear();
    taken.effects.write = None;
    taken.fails("TermNotWritten");
}

#[test]
fn entries_that_no_leader_sent_are_failures() {
    let follower = || Machine::new(2, disk(1, &[1])).receive(1, append(2, (1, 1), &[2], 1));
    assert_eq!(follower().result(), Ok(vec![]));
    let other = |message| {
        Incoming::new(&Event::Receive {
            from: Address::Node(NodeId::new(1)),
            message,
        })
    };
    for message in [
        append(3, (1, 1), &[2], 1),
        append(2, (1, 2), &[2], 1),
        append(2, (1, 1), &[1], 1),
        // The server has no entry 2 before this message.
        append(2, (2, 2), &[2], 1),
    ] {
        let mut taken = follower();
        taken.incoming = other(message);
        taken.fails("LogNotFromLeader");
    }
    let mut taken = follower();
    taken.incoming = other(append(2, (1, 1), &[2], 0));
    taken.fails("LearnedNotCommitted");
    let mut taken = follower();
    taken.after.unsynced[0].append.clear();
    taken.fails("DiskDiffersFromMemory");
    let mut taken = follower();
    taken.after.raft.durable_index = LogIndex::new(2);
    taken.fails("DurableIndexAhead");
    // The log in memory begins after an entry that is not committed.
    let mut taken = Machine::new(2, disk(1, &[1, 1])).step(Event::HeartbeatTimeout);
    let log = &mut taken.after.raft.log;
    let first = EntryId {
        term: Term::new(1),
        index: LogIndex::new(1),
    };
    *log = crate::Log::after(first, vec![entry(1)]);
    taken.fails("ServerSnapshotNotCommitted");
}

#[test]
fn acknowledgements_without_the_entry_are_failures() {
    let released = || {
        let mut machine = Machine::new(2, disk(1, &[1]));
        machine.receive(1, append(1, (1, 1), &[1], 0));
        machine.sync()
    };
    assert_eq!(released().result(), Ok(vec!["accept", "accept"]));
    let mut taken = released();
    taken.disk.log.pop();
    taken.after.raft.durable_index = LogIndex::new(1);
    taken.fails("AcknowledgedOtherLog");
    // It leaves before its write, while the disk has another entry there.
    let mut machine = Machine::new(2, disk(2, &[1, 1]));
    machine.receive(1, append(2, (1, 1), &[2], 0));
    let mut taken = machine.step(Event::HeartbeatTimeout);
    let held = taken.after.raft.held.remove(0);
    let held = held.expect("an acknowledgement waits");
    taken.effects.sends.push(held.envelope);
    taken.fails("AcknowledgedOtherLog");
    // It leaves in another term.
    let mut taken = released();
    taken.disk.hard_state.current_term = Term::new(2);
    taken.fails("AcknowledgedOtherLog");
    let mut taken = Machine::new(2, disk(1, &[1])).receive(1, append(1, (1, 1), &[1], 0));
    let held = taken.after.raft.held[0].envelope.clone();
    taken.effects.sends.push(held);
    taken.fails("AcknowledgedOtherLog");
}

#[test]
fn wrong_leaders_are_failures() {
    let acknowledged = || Machine::leader(disk(1, &[1])).receive(3, matched(2, 2));
    let all = vec!["accept", "commit", "learn"];
    assert_eq!(acknowledged().result(), Ok(all));
    let mut taken = acknowledged();
    taken.incoming = Incoming::Nothing;
    taken.fails("MatchedWithoutAcknowledgement");
    let mut taken = acknowledged();
    taken.after.raft.commit_index = LogIndex::new(1);
    taken.fails("CommittedOtherTerm");
    let mut taken = acknowledged();
    for progress in taken.leader().followers.values_mut() {
        progress.match_index = LogIndex::ZERO;
    }
    taken.fails("CommittedWithoutMajority");
    let mut taken = acknowledged();
    taken.after.raft.log.truncate_from(LogIndex::new(2));
    taken.after.raft.log.append([entry(1)]);
    taken.disk.log = taken.after.raft.log.entries().to_vec();
    taken.fails("LeaderChangedLog");
    let mut taken = Machine::leader(disk(1, &[1])).step(Event::HeartbeatTimeout);
    taken.after.raft.log.append([entry(1)]);
    taken.disk.log = taken.after.raft.log.entries().to_vec();
    taken.fails("AppendedOtherTerm");
}

#[test]
fn wrong_messages_of_leaders_are_failures() {
    let beats = || Machine::leader(disk(1, &[1])).step(Event::HeartbeatTimeout);
    assert_eq!(beats().result(), Ok(vec![]));
    for (message, cause) in [
        (append(2, (1, 1), &[2], 2), "SentCommitIndexAhead"),
        (append(2, (1, 1), &[1], 0), "SentOtherLog"),
        (append(2, (1, 2), &[], 0), "SentOtherLog"),
        (append(1, (1, 1), &[], 0), "SentOtherLog"),
    ] {
        let mut taken = beats();
        taken.effects.sends.push(sent(2, message));
        taken.fails(cause);
    }
}

#[test]
fn wrong_disks_and_restarts_are_failures() {
    let raft = Machine::new(1, disk(1, &[1])).running.raft;
    let sync = |before: &Durable, after: &Durable| {
        check_sync(&raft, before, after, &mut Vec::new()).map_err(|cause| format!("{cause:?}"))
    };
    let held = disk(1, &[1, 1]);
    assert_eq!(sync(&held, &disk(2, &[1, 2])), Ok(()));
    let lost = sync(&held, &disk(1, &[1])).expect_err("entries are lost");
    assert!(lost.starts_with("DurableEntriesLost"), "{lost}");
    let mut voted = held.clone();
    voted.hard_state.voted_for = Some(NodeId::new(1));
    for (before, after) in [(&voted, &held), (&disk(2, &[1, 1]), &held), (&held, &voted)] {
        let changed = sync(before, after).expect_err("a term or a vote changes");
        assert!(changed.starts_with("DurableVoteChanged"), "{changed}");
    }
    let restart = |raft: &Raft, disk: &Durable| check_restart(raft, disk, &mut Vec::new());
    assert!(restart(&raft, &disk(1, &[1])).is_ok());
    let mut kept = raft.clone();
    kept.commit_index = LogIndex::new(1);
    assert!(restart(&kept, &disk(1, &[1])).is_err());
    for other in [disk(2, &[1]), disk(1, &[]), disk(1, &[1, 1]), voted] {
        assert!(restart(&raft, &other).is_err(), "{other:?}");
    }
}

fn id(index: u64, term: u64) -> EntryId {
    EntryId {
        term: Term::new(term),
        index: LogIndex::new(index),
    }
}

/// A log that begins after an entry, with entries of these terms.
fn log_after(base: EntryId, terms: &[u64]) -> Log {
    Log::after(base, terms.iter().map(|term| entry(*term)).collect())
}

/// The disk of `disk(1, &[1, 1])` after a snapshot of its first entry.
fn compacted() -> Durable {
    let mut store = crate::Store::default();
    store.apply(&Payload::Noop, &Config::production([NodeId::new(1)].into()));
    let mut compacted = disk(1, &[1]);
    compacted.snapshot = Some(Snapshot {
        last_included_index: LogIndex::new(1),
        last_included_term: Term::new(1),
        store,
    });
    compacted
}

#[test]
fn restart_begins_its_log_after_its_snapshot() {
    let restart = |raft: &Raft| check_restart(raft, &compacted(), &mut Vec::new());
    assert!(restart(&Machine::new(1, compacted()).running.raft).is_ok());
    assert!(restart(&Machine::new(1, disk(1, &[1, 1])).running.raft).is_err());
}

/// The log in memory never begins earlier than before, even if a snapshot that ends there arrives.
#[test]
fn snapshot_is_never_undone() {
    let older = Incoming::Snapshot {
        term: Term::new(1),
        last: id(1, 1),
    };
    let mut taken = Machine::new(2, compacted()).step(Event::HeartbeatTimeout);
    taken.incoming = older;
    taken.before.raft.log = log_after(id(2, 1), &[]);
    taken.fails("ServerSnapshotNotCommitted");
}

/// A received snapshot replaces the log up to its last entry. What follows stays if the log had that entry.
#[test]
fn received_snapshot_keeps_the_entries_after_it() {
    let received = Incoming::Snapshot {
        term: Term::new(2),
        last: id(2, 1),
    };
    let start = EntryId::default();
    for (is_kept, before, after) in [
        (true, log_after(start, &[2, 2, 2]), log_after(id(2, 1), &[])),
        (
            true,
            log_after(start, &[1, 1, 1]),
            log_after(id(2, 1), &[1]),
        ),
        (
            true,
            log_after(start, &[1, 1, 1]),
            log_after(id(1, 1), &[1, 1]),
        ),
        // Another entry was at the end of the snapshot.
        (
            false,
            log_after(start, &[1, 2, 2]),
            log_after(id(2, 1), &[2]),
        ),
        // The entries after the snapshot change.
        (
            false,
            log_after(start, &[1, 1, 1]),
            log_after(id(2, 1), &[2]),
        ),
        (
            false,
            log_after(start, &[1, 1, 1]),
            log_after(id(2, 1), &[1, 1]),
        ),
        // The entries before its end change, and the log does not begin after it.
        (false, log_after(start, &[1, 1]), log_after(id(1, 2), &[1])),
    ] {
        assert_eq!(
            received.keeps(&before, &after),
            is_kept,
            "{before:?} {after:?}"
        );
    }
}

/// The image of a disk equals the disk.
#[test]
fn image_is_the_content_of_the_disk() {
    let mut machine = Machine::new(2, disk(1, &[1, 1, 1]));
    machine.receive(1, append(2, (1, 1), &[2, 2], 2));
    machine.step(Event::Compact);
    machine.receive(3, append(3, (2, 2), &[3], 2));
    let writes = &machine.running.unsynced;
    let mut written = machine.disk.clone();
    for count in 0..=writes.len() {
        let image = Image::new(&machine.disk, &writes[..count]);
        assert_eq!(image.hard_state(), written.hard_state);
        assert_eq!(image.base(), written.base());
        assert_eq!(image.last_id().index, written.last_index());
        assert!(image.equals(&crate::Log::after(written.base(), written.log.clone())));
        if let Some(write) = writes.get(count) {
            written.apply(write);
        }
    }
    assert_eq!(writes.len(), 3);
}
