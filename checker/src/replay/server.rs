//! One server of a replay: the core that executes every step again, its disk, and its pending writes.
//!
//! A log whose beginning was replaced by a snapshot is still complete here. The entries that a snapshot
//! covers were committed, so the prefixes of the committed entries take their place.

use super::{
    Disagreement, FileLine, Rejection,
    format::{Difference, Header, Recorded, RecordedStep},
    prefixes::{EMPTY, Prefix},
};
use crate::step_guard;
use model::{
    Address, Durable, Effects, Entry, Envelope, Event, HardState, LogIndex, Message, NodeId, Raft,
    Role, Snapshot, Write, WriteId,
    invariants::{self, Watermarks},
    message::ResponseBody,
    raft::Waiter,
    store::Answer,
    system::{Cause, Property, Violation},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The history of the cluster (leaders, commits and log prefixes), as far as the replay of one server needs it.
pub(super) trait ClusterHistory {
    /// The prefixes that result when these entries are appended one by one.
    fn intern(&mut self, last: Prefix, entries: &[Entry]) -> Result<Vec<Prefix>, Violation>;

    /// The last entry of a prefix.
    fn entry(&self, prefix: Prefix) -> Option<&Entry>;

    /// Checks the hard state of a disk: a vote never changes within a term.
    fn check_disk(&mut self, id: NodeId, old: HardState, new: HardState) -> Result<(), Violation>;

    /// Checks a snapshot that is written to a disk: it ends with a committed entry, and its state is the
    /// result of the entries up to there. Returns the prefixes of these entries.
    fn check_snapshot(&mut self, id: NodeId, snapshot: &Snapshot) -> Result<&[Prefix], Violation>;
}

/// A server.
pub(super) struct Server {
    pub(super) id: NodeId,
    /// `None` before its first run.
    raft: Option<Raft>,
    pub(super) steps: u64,
    pub(super) runs: u64,
    pub(super) disk: Disk,
    /// Its log in memory: the prefix up to each entry.
    pub(super) log: Vec<Prefix>,
    unsynced: VecDeque<Unsynced>,
    /// The messages that the last step sent.
    pub(super) sends: Vec<Envelope>,
    /// The clients that wait for an entry at this leader, as its state before the step names them.
    waiting: BTreeMap<LogIndex, Waiter>,
    /// The answers that the last step sent.
    pub(super) answered: Vec<Answered>,
    last_write: WriteId,
    boots: BTreeSet<String>,
}

/// The contents of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    /// The prefix up to each entry.
    pub(super) log: Vec<Prefix>,
    /// The snapshot that replaces the beginning of the log.
    pub(super) snapshot: Option<Snapshot>,
}

/// A pending write.
struct Unsynced {
    id: WriteId,
    hard_state: Option<HardState>,
    truncate_from: Option<usize>,
    /// A snapshot that replaces the log, and the prefixes it covers.
    snapshot: Option<(Snapshot, Vec<Prefix>)>,
    append: Vec<Prefix>,
}

/// An answer to the client of an entry.
pub(super) struct Answered {
    /// The entry that the client waited for; `None` if no client waited with this request.
    pub(super) index: Option<LogIndex>,
    pub(super) answer: Answer,
}

/// The effect of a step on leadership and commits.
pub(super) struct Led {
    /// The log before the step, if the server became leader in the step.
    pub(super) elected_with: Option<Prefix>,
    /// The commit index before the step.
    pub(super) committed_before: usize,
}

impl Server {
    pub(super) fn new(id: NodeId) -> Self {
        Self {
            id,
            raft: None,
            steps: 0,
            runs: 0,
            disk: Disk::default(),
            log: Vec::new(),
            unsynced: VecDeque::new(),
            sends: Vec::new(),
            waiting: BTreeMap::new(),
            answered: Vec::new(),
            last_write: WriteId::default(),
            boots: BTreeSet::new(),
        }
    }

    /// The core. It exists after the first header.
    pub(super) fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    /// The number of pending writes.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Starts a run.
    pub(super) fn start(
        &mut self,
        header: Header,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<(), Rejection> {
        if !self.boots.insert(header.boot.clone()) {
            let why = Disagreement::BootReused { boot: header.boot };
            return Err(Rejection::disagreement(place, why));
        }
        if self.runs == 0 {
            self.disk.hard_state = header.durable.hard_state;
            let base = header.durable.base();
            if base.index > LogIndex::ZERO {
                let why = Disagreement::StartsFromSnapshot;
                return Err(Rejection::disagreement(place, why));
            }
            let log = cluster.intern(EMPTY, &header.durable.log);
            self.disk.log = log.map_err(|violation| violation_at(place, violation))?;
        } else {
            self.crash(&header.durable, place, cluster)?;
        }
        self.log.clone_from(&self.disk.log);
        self.waiting.clear();
        self.runs += 1;
        self.steps = 0;
        self.last_write = WriteId::default();
        let raft = step_guard::recover(self.id, header.config, header.durable, Some(place));
        let raft = raft.map_err(|panic| violation_at(place, panicked(self.id, panic)))?;
        self.raft = Some(raft);
        Ok(())
    }

    /// Ends the earlier run. Its disk contains the writes that were reported durable, and of the later
    /// writes, in their order, those that had reached the disk.
    fn crash(
        &mut self,
        found: &Durable,
        place: &FileLine,
        cluster: &impl ClusterHistory,
    ) -> Result<(), Rejection> {
        let mut lost = std::mem::take(&mut self.unsynced);
        loop {
            if self.disk.holds(found, cluster) {
                return Ok(());
            }
            let Some(write) = lost.pop_front() else {
                break;
            };
            self.disk.apply(&write);
        }
        let why = Disagreement::OtherDisk { server: self.id };
        Err(Rejection::disagreement(place, why))
    }

    /// Executes a step again, and compares the result with the record. A violating step is executed too,
    /// for display.
    pub(super) fn step(
        &mut self,
        step: RecordedStep,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<Led, Rejection> {
        let Some(raft) = &mut self.raft else {
            return Err(Rejection::disagreement(place, Disagreement::HeaderMissing));
        };
        if step.number != self.steps + 1 {
            let why = Disagreement::WrongStepNumber {
                step: self.steps + 1,
                recorded: step.number,
            };
            return Err(Rejection::disagreement(place, why));
        }
        self.steps += 1;
        let (event, recorded) = step.into_parts();
        let mut promised = Ok(());
        if let Event::Persisted(id) = &event {
            let is_next = self.unsynced.front().is_some_and(|first| first.id <= *id);
            if !is_next || *id > self.last_write {
                let why = Disagreement::NoPendingWrite { write: *id };
                return Err(Rejection::disagreement(place, why));
            }
            while let Some(write) = self.unsynced.pop_front_if(|write| write.id <= *id) {
                let before = self.disk.hard_state;
                self.disk.apply(&write);
                let checked = cluster.check_disk(self.id, before, self.disk.hard_state);
                promised = promised.and(checked);
            }
        }
        let before = Watermarks::new(raft);
        let (led, term) = (leads(raft), raft.current_term());
        let committed_before = raft.commit_index().get() as usize;
        let effects = step_guard::step(raft, event, Some(place))
            .map_err(|panic| violation_at(place, panicked(self.id, panic)))?;
        let compared = compare(&effects, &recorded, self.id, place);
        let checked = invariants::check(before, raft, &effects).map_err(|invariant| {
            let server = self.id;
            let cause = Cause::InvariantViolated { server, invariant };
            Violation::new(Property::Invariants, cause)
        });
        let Effects { write, sends, .. } = effects;
        self.answered = take_answers(&mut self.waiting, raft, &sends);
        self.sends = sends;
        promised.map_err(|violation| violation_at(place, violation))?;
        compared?;
        checked.map_err(|violation| violation_at(place, violation))?;
        let is_new_leader = leads(raft) && (!led || term != raft.current_term());
        let elected_with = is_new_leader.then(|| self.log.last().copied().unwrap_or(EMPTY));
        if let Some(write) = &write {
            self.write(write, place, cluster)?;
        }
        Ok(Led {
            elected_with,
            committed_before,
        })
    }

    /// Applies a write: to memory immediately, to the disk later.
    fn write(
        &mut self,
        write: &Write,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<(), Rejection> {
        let truncate_from = write.truncate_from.map(|index| index.get() as usize);
        if let Some(index) = truncate_from {
            self.log.truncate(index.saturating_sub(1));
        }
        let mut covering = None;
        if let Some(snapshot) = &write.snapshot {
            let covered = cluster
                .check_snapshot(self.id, snapshot)
                .map_err(|violation| violation_at(place, violation))?;
            self.log.clear();
            self.log.extend_from_slice(covered);
            covering = Some((snapshot.clone(), covered.to_vec()));
        }
        let last = self.log.last().copied().unwrap_or(EMPTY);
        let append = cluster
            .intern(last, &write.append)
            .map_err(|violation| violation_at(place, violation))?;
        self.log.extend_from_slice(&append);
        self.last_write = write.id;
        self.unsynced.push_back(Unsynced {
            id: write.id,
            hard_state: write.hard_state,
            truncate_from,
            snapshot: covering,
            append,
        });
        let in_memory = self.raft.as_ref().map(|raft| raft.log().last_index().get());
        if in_memory != Some(self.log.len() as u64) {
            let cause = Cause::LogDiffersFromWrites { server: self.id };
            return Err(violation_at(
                place,
                Violation::new(Property::Invariants, cause),
            ));
        }
        Ok(())
    }
}

impl Disk {
    fn apply(&mut self, write: &Unsynced) {
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(index) = write.truncate_from {
            self.log.truncate(index.saturating_sub(1));
        }
        if let Some((snapshot, covered)) = &write.snapshot {
            self.snapshot = Some(snapshot.clone());
            self.log.clone_from(covered);
        }
        self.log.extend_from_slice(&write.append);
    }

    fn holds(&self, found: &Durable, cluster: &impl ClusterHistory) -> bool {
        let same = |(entry, prefix): (&Entry, &Prefix)| cluster.entry(*prefix) == Some(entry);
        let covered = found.base().index.get() as usize;
        self.hard_state == found.hard_state
            && self.snapshot == found.snapshot
            && self.log.len() == covered + found.log.len()
            && found.log.iter().zip(&self.log[covered..]).rev().all(same)
    }
}

/// Finds the entry of each answer among the clients that waited before the step, and records the clients
/// that wait after it.
fn take_answers(
    waiting: &mut BTreeMap<LogIndex, Waiter>,
    raft: &Raft,
    sends: &[Envelope],
) -> Vec<Answered> {
    let mut answered = Vec::new();
    for envelope in sends {
        let Message::ClientResponse(response) = &envelope.message else {
            continue;
        };
        let ResponseBody::Applied(answer) = &response.body else {
            continue;
        };
        // Entries are answered in their order, so the first one is found at once.
        let mut clients = waiting.iter();
        let found = clients.find(|(_, waiter)| {
            waiter.address == envelope.to
                && waiter.client == response.client
                && waiter.id == response.id
        });
        let index = found.map(|(index, _)| *index);
        if let Some(index) = &index {
            waiting.remove(index);
        }
        answered.push(Answered {
            index,
            answer: answer.clone(),
        });
    }
    match raft.role() {
        Role::Leader(leader) => {
            let last = waiting.last_key_value();
            let next = last.map_or(LogIndex::ZERO, |(last, _)| last.next());
            waiting.extend(leader.writes.range(next..).map(|(at, it)| (*at, *it)));
        }
        _ => waiting.clear(),
    }
    answered
}

pub(super) fn violation_at(place: &FileLine, violation: Violation) -> Rejection {
    Rejection::Violation {
        place: place.clone(),
        violation,
    }
}

/// The violation of a core that panics.
fn panicked(server: NodeId, message: String) -> Violation {
    let process = Address::Node(server).to_string();
    Violation::new(
        Property::Invariants,
        Cause::StepPanicked { process, message },
    )
}

fn leads(raft: &Raft) -> bool {
    matches!(raft.role(), Role::Leader(_))
}

/// Requires that the record equals the result of the step.
fn compare(
    effects: &Effects,
    recorded: &Recorded,
    id: NodeId,
    place: &FileLine,
) -> Result<(), Rejection> {
    match recorded.difference(effects) {
        None => Ok(()),
        Some(Difference::Event(why)) => Err(Rejection::Unreadable {
            place: place.clone(),
            why,
        }),
        Some(Difference::Effects {
            part,
            real,
            recorded,
        }) => {
            let why = Disagreement::OtherEffects {
                server: id,
                part,
                result: excerpt(&real),
                recorded: excerpt(&recorded),
            };
            Err(Rejection::disagreement(place, why))
        }
    }
}

fn excerpt(value: &Value) -> String {
    const LONGEST: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
