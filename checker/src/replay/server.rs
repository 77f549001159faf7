//! One server of a replay: the core that executes every step again, its disk, and its pending writes.
//!
//! A log whose beginning was replaced by a snapshot is still complete here. The entries that a snapshot
//! covers were committed, so the prefixes of the committed entries take their place.

use super::{
    Disagreement, FileLine, Rejection,
    disk::{ClusterHistory, Disk, Unsynced},
    format::{Difference, Header, Recorded, RecordedStep},
    prefixes::{EMPTY, Prefix},
    refinement::{Before, StepCheck, check_restart, without_state},
};
use crate::step_guard;
use model::{
    Address, Durable, Effects, Envelope, Event, LogIndex, Message, NodeId, Raft, Role, Write,
    WriteId,
    invariants::{self, Watermarks},
    message::ResponseBody,
    raft::Waiter,
    store::Answer,
    system::{Cause, Property, Violation},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// The number of steps since the whole log in memory was compared with the writes.
    uncompared: usize,
    /// The messages that the last step sent.
    pub(super) sends: Vec<Envelope>,
    /// The clients that wait for an entry at this leader, as its state before the step names them.
    waiting: BTreeMap<LogIndex, Waiter>,
    /// The answers that the last step sent.
    pub(super) answered: Vec<Answered>,
    last_write: WriteId,
    boots: BTreeSet<String>,
    checks_refinement: bool,
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
    /// Whether the step refines the abstract Raft.
    pub(super) refined: Result<(), Violation>,
}

impl Server {
    pub(super) fn new(id: NodeId, checks_refinement: bool) -> Self {
        Self {
            id,
            raft: None,
            steps: 0,
            runs: 0,
            disk: Disk::default(),
            log: Vec::new(),
            unsynced: VecDeque::new(),
            uncompared: 0,
            sends: Vec::new(),
            waiting: BTreeMap::new(),
            answered: Vec::new(),
            last_write: WriteId::default(),
            boots: BTreeSet::new(),
            checks_refinement,
        }
    }

    /// The core. It exists after the first header.
    pub(super) fn raft(&self) -> Option<&Raft> {
        self.raft.as_ref()
    }

    /// Checks that the log in memory is the result of the writes. The check of a step compares only its end.
    pub(super) fn check_memory(&self, history: &impl ClusterHistory) -> Result<(), Violation> {
        let Some(raft) = &self.raft else {
            return Ok(());
        };
        let base = raft.log().base().index.get() as usize;
        let written = self.log.get(base..).unwrap_or_default();
        let mut entries = written.iter().map(|prefix| history.entry(*prefix));
        if raft
            .log()
            .entries()
            .iter()
            .all(|entry| entries.next() == Some(Some(entry)))
        {
            return Ok(());
        }
        let cause = Cause::LogDiffersFromWrites { server: self.id };
        Err(Violation::new(Property::Invariants, cause))
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
        let (config, durable) = (header.config, header.durable);
        let raft = step_guard::recover(self.id, config, durable.clone(), Some(place));
        let raft = raft.map_err(|panic| violation_at(place, panicked(self.id, panic)))?;
        let checked = if self.checks_refinement {
            check_restart(&raft, &durable)
        } else {
            Ok(())
        };
        self.raft = Some(raft);
        checked.map_err(|violation| violation_at(place, violation))
    }

    /// Ends the earlier run. Its disk contains the writes that were reported durable, and of the later
    /// writes, in their order, those that had reached the disk.
    fn crash(
        &mut self,
        found: &Durable,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<(), Rejection> {
        let mut check = self.step_check(None, cluster);
        let mut promised = Ok(());
        while !self.disk.holds(found, cluster) {
            if self.unsynced.is_empty() {
                let why = Disagreement::OtherDisk { server: self.id };
                return Err(Rejection::disagreement(place, why));
            }
            promised = promised.and(self.sync(check.as_mut(), cluster));
        }
        self.unsynced.clear();
        let refined = check.map_or(Ok(()), StepCheck::synced);
        promised
            .and(refined)
            .map_err(|violation| violation_at(place, violation))
    }

    /// The check of the next step, if the replay checks the refinement. Without an event, the server crashes.
    fn step_check(
        &self,
        event: Option<&Event>,
        cluster: &impl ClusterHistory,
    ) -> Option<StepCheck> {
        let raft = self.raft.as_ref().filter(|_| self.checks_refinement)?;
        let before = Before {
            raft,
            log: &self.log,
            disk: &self.disk,
            unsynced: &self.unsynced,
        };
        Some(StepCheck::new(&before, event, cluster))
    }

    /// Makes the oldest pending write durable.
    fn sync(
        &mut self,
        check: Option<&mut StepCheck>,
        cluster: &mut impl ClusterHistory,
    ) -> Result<(), Violation> {
        let Some(pending) = self.unsynced.pop_front() else {
            return Ok(());
        };
        let before = self.disk.hard_state;
        self.disk.apply(&pending);
        if let Some(check) = check {
            check.sync(pending.write.id, &self.disk, cluster);
        }
        cluster.check_disk(self.id, before, self.disk.hard_state)
    }

    /// Makes the pending writes that a step reports durable.
    fn persist(
        &mut self,
        id: WriteId,
        mut check: Option<&mut StepCheck>,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<Result<(), Violation>, Rejection> {
        let is_reported = |server: &Self| {
            let first = server.unsynced.front();
            first.is_some_and(|first| first.write.id <= id)
        };
        if !is_reported(self) || id > self.last_write {
            let why = Disagreement::NoPendingWrite { write: id };
            return Err(Rejection::disagreement(place, why));
        }
        let mut promised = Ok(());
        while is_reported(self) {
            promised = promised.and(self.sync(check.as_deref_mut(), cluster));
        }
        Ok(promised)
    }

    /// Executes a step again, and compares the result with the record. A violating step is executed too,
    /// for display.
    pub(super) fn step(
        &mut self,
        step: RecordedStep,
        place: &FileLine,
        cluster: &mut impl ClusterHistory,
    ) -> Result<Led, Rejection> {
        if step.number != self.steps + 1 {
            let why = Disagreement::WrongStepNumber {
                step: self.steps + 1,
                recorded: step.number,
            };
            return Err(Rejection::disagreement(place, why));
        }
        self.steps += 1;
        let (event, recorded) = step.into_parts();
        let mut check = self.step_check(Some(&event), cluster);
        let promised = match &event {
            Event::Persisted(id) => self.persist(*id, check.as_mut(), place, cluster)?,
            _ => Ok(()),
        };
        let violated = |violation| violation_at(place, violation);
        let Some(raft) = &mut self.raft else {
            return Err(Rejection::disagreement(place, Disagreement::HeaderMissing));
        };
        let before = Watermarks::new(raft);
        let (led, term) = (leads(raft), raft.current_term());
        let committed_before = raft.commit_index().get() as usize;
        let effects = step_guard::step(raft, event, Some(place))
            .map_err(|panic| violated(panicked(self.id, panic)))?;
        let compared = compare(&effects, &recorded, self.id, place);
        let checked = invariants::check(before, raft, &effects).map_err(|invariant| {
            let server = self.id;
            let cause = Cause::InvariantViolated { server, invariant };
            Violation::new(Property::Invariants, cause)
        });
        let refined = check.map_or(Ok(()), |check| check.after(raft, &effects, &self.unsynced));
        let Effects { write, sends, .. } = effects;
        self.answered = take_answers(&mut self.waiting, raft, &sends);
        self.sends = sends;
        promised.map_err(violated)?;
        compared?;
        checked.map_err(violated)?;
        let is_new_leader = leads(raft) && (!led || term != raft.current_term());
        let elected_with = is_new_leader.then(|| self.log.last().copied().unwrap_or(EMPTY));
        if let Some(write) = &write {
            self.write(write, place, cluster)?;
        }
        self.uncompared += 1;
        if self.uncompared >= self.log.len() {
            self.uncompared = 0;
            self.check_memory(cluster).map_err(violated)?;
        }
        Ok(Led {
            elected_with,
            committed_before,
            refined,
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
            write: without_state(write),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        digest_chain::DigestChain,
        replay::{Source, cluster::Cluster, format::Line},
    };
    use model::{Config, Entry, HardState, Payload, Term};
    use serde_json::json;
    use std::io::Cursor;

    const STEPS: u64 = 4;

    fn entry(term: u64) -> Entry {
        Entry {
            term: Term::new(term),
            payload: Payload::Noop,
        }
    }

    /// The trace of a server that starts with two entries and takes steps without effects.
    fn lines() -> Vec<Line> {
        let id = NodeId::new(1);
        let durable = Durable {
            hard_state: HardState {
                current_term: Term::new(2),
                voted_for: None,
            },
            log: vec![entry(1), entry(1)],
            ..Durable::default()
        };
        let mut config = json!(Config::production([1, 2, 3].map(NodeId::new).into()));
        config.as_object_mut().expect("settings").remove("mutant");
        let header = json!({
            "trace": "stateraft-node",
            "version": 4,
            "node": id,
            "boot": "0000000000000001",
            "config": config,
            "durable": durable,
        });
        let effects = json!({ "write": null, "sends": [], "timers": [] });
        let steps = (1..=STEPS).map(
            |step| json!({ "step": step, "event": Event::HeartbeatTimeout, "effects": effects }),
        );
        let mut chain = DigestChain::default();
        let text: String = std::iter::once(header)
            .chain(steps)
            .map(|line| chain.close(line.to_string()) + "\n")
            .collect();
        let mut source = Source::new("node-1", Cursor::new(text.into_bytes()));
        let mut lines = Vec::new();
        while let Some(line) = source.next_line().expect("a trace") {
            lines.push(line);
        }
        lines
    }

    /// The number of steps without an error, and whether the check where the trace ends finds one. If
    /// `alters`, the first entry in memory then differs from the writes.
    fn replayed(alters: bool) -> (u64, bool) {
        let place = FileLine {
            file: "node-1".into(),
            line: 1,
        };
        let mut cluster = Cluster::new();
        let mut server = Server::new(NodeId::new(1), false);
        let mut accepted = 0;
        for line in lines() {
            match line {
                Line::Header(header) => {
                    let started = server.start(*header, &place, &mut cluster);
                    assert!(started.is_ok());
                    if alters {
                        let other = cluster.intern(EMPTY, &[entry(2)]).expect("another term");
                        server.log[0] = other[0];
                    }
                }
                Line::Step(step) => match server.step(*step, &place, &mut cluster) {
                    Ok(_) => accepted += 1,
                    Err(Rejection::Violation { violation, .. }) => {
                        let cause = Cause::LogDiffersFromWrites { server: server.id };
                        assert_eq!(*violation.cause, cause);
                        break;
                    }
                    Err(rejection) => panic!("{rejection}"),
                },
            }
        }
        (accepted, cluster.check_end(&server).is_err())
    }

    /// The entry is not the last one, which each step compares. The whole log is compared after as many steps as
    /// it has entries, and where the trace ends.
    #[test]
    fn memory_that_differs_from_the_writes_is_found() {
        assert_eq!(replayed(false), (STEPS, false));
        assert_eq!(replayed(true), (1, true));
    }
}
