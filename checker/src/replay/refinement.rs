//! The property *Steps refine the abstract Raft* of each recorded step (`model::system::refinement`), with
//! the checks that the search makes.
//!
//! The checks compare logs, and a trace has many steps of servers with long logs. So they receive copies of
//! the server and of the disk whose logs begin after a *base*: a committed entry that both have. A received
//! message with earlier entries lowers the base. In a message that the server sends, the entries up to the
//! base are compared here with the log in memory, and the rest by the checks. Log compaction and snapshots
//! change the beginning of the log; steps with them have whole logs.
//!
//! A driver may report several writes at once. The checks then receive the disk after each.

use super::{
    disk::{ClusterHistory, Disk, Unsynced},
    prefixes::Prefix,
};
use model::{
    AppendEntriesRequest, Durable, Effects, EntryId, Envelope, Event, LogIndex, Message, Raft,
    Snapshot, Store, Write, WriteId,
    system::{
        AbstractAction, Cause, Property, Violation,
        process::Running,
        refinement::{self, Incoming, RaftStep},
    },
};
use std::{borrow::Cow, collections::VecDeque};

/// The check of one step.
pub(super) struct StepCheck {
    /// The log of the copy of the server begins after this entry, or later.
    base: LogIndex,
    /// The same for the disk. It differs while an installed snapshot is pending: memory begins after an entry
    /// that the disk may not have.
    disk_base: usize,
    before: Running,
    incoming: Incoming,
    /// The disk, with the writes that the step reports as durable.
    disk: Durable,
    /// These writes, and the disk after each.
    persisted: Vec<(WriteId, Durable)>,
    actions: Vec<AbstractAction>,
    verdict: Result<(), Violation>,
}

/// A server before a step.
pub(super) struct Before<'a> {
    pub(super) raft: &'a Raft,
    pub(super) log: &'a [Prefix],
    pub(super) disk: &'a Disk,
    pub(super) unsynced: &'a VecDeque<Unsynced>,
}

impl StepCheck {
    /// The check of an event at a server. Without an event, the server crashes.
    pub(super) fn new(
        before: &Before<'_>,
        event: Option<&Event>,
        history: &impl ClusterHistory,
    ) -> Self {
        let base = before.base(event);
        let last = |log: &[Prefix]| base.checked_sub(1).and_then(|last| log.get(last).copied());
        let disk_base = if last(before.log) == last(&before.disk.log) {
            base
        } else {
            0
        };
        Self {
            base: LogIndex::new(base as u64),
            disk_base,
            before: Running {
                raft: refinement::suffix(before.raft, LogIndex::new(base as u64)),
                unsynced: Vec::new(),
            },
            incoming: event.map_or(Incoming::Nothing, Incoming::new),
            disk: durable(before.disk, disk_base, history),
            persisted: Vec::new(),
            actions: Vec::new(),
            verdict: Ok(()),
        }
    }

    /// Checks a write that becomes durable. `disk` already has it.
    pub(super) fn sync(&mut self, write: WriteId, disk: &Disk, history: &impl ClusterHistory) {
        let before = std::mem::replace(&mut self.disk, durable(disk, self.disk_base, history));
        let raft = &self.before.raft;
        let checked = refinement::check_sync(raft, &before, &self.disk, &mut self.actions);
        if self.verdict.is_ok() {
            self.verdict = checked.map_err(violation);
        }
        self.persisted.push((write, self.disk.clone()));
    }

    /// The verdict about writes that reached the disk before a crash.
    ///
    /// # Errors
    /// The change of the disk that no action explains.
    pub(super) fn synced(self) -> Result<(), Violation> {
        self.verdict
    }

    /// Checks the step. `raft` is the server after it, and `unsynced` are the pending writes without the write
    /// of the step.
    ///
    /// # Errors
    /// The claim that no earlier claim and no action explains.
    pub(super) fn after(
        mut self,
        raft: &Raft,
        effects: &Effects,
        unsynced: &VecDeque<Unsynced>,
    ) -> Result<(), Violation> {
        self.verdict?;
        self.before.unsynced = unsynced.iter().map(|one| one.write.clone()).collect();
        let mut after = Running {
            raft: refinement::suffix(raft, self.base),
            unsynced: self.before.unsynced.clone(),
        };
        after
            .unsynced
            .extend(effects.write.as_ref().map(without_state));
        let effects = short(effects, raft, self.base).map_err(violation)?;
        let persisted: Vec<_> = self
            .persisted
            .iter()
            .map(|(id, disk)| (*id, disk))
            .collect();
        let step = RaftStep {
            before: &self.before,
            after: &after,
            disk: &self.disk,
            incoming: &self.incoming,
            persisted: &persisted,
            effects: &effects,
        };
        step.check(&mut self.actions).map_err(violation)
    }
}

impl Before<'_> {
    /// The last entry before the logs of the copies.
    fn base(&self, event: Option<&Event>) -> usize {
        let own = index_of(self.raft.log().base().index);
        let mut base = index_of(self.raft.commit_index());
        match event {
            None | Some(Event::Compact) => return own,
            Some(Event::Receive { message, .. }) => match message {
                Message::InstallSnapshotRequest(_) => return own,
                Message::AppendEntriesRequest(request) => {
                    base = base.min(index_of(request.prev_log_index));
                }
                _ => {}
            },
            Some(_) => {}
        }
        for Unsynced { write, .. } in self.unsynced {
            if write.snapshot.is_some() {
                return own;
            }
            if let Some(index) = write.truncate_from {
                base = base.min(index_of(index).saturating_sub(1));
            }
        }
        base = base.min(self.log.len()).min(self.disk.log.len());
        while base > own && self.log[base - 1] != self.disk.log[base - 1] {
            base -= 1;
        }
        base.max(own)
    }
}

/// Checks a restart: the server has its durable state and claims nothing else.
///
/// # Errors
/// The difference.
pub(super) fn check_restart(raft: &Raft, disk: &Durable) -> Result<(), Violation> {
    let (server, term) = (raft.id(), raft.current_term());
    let durable_term = disk.hard_state.current_term;
    if term < durable_term {
        let cause = Cause::RestartedBehindDisk {
            server,
            term,
            durable_term,
        };
        return Err(Violation::new(Property::Monotone, cause));
    }
    refinement::check_restart(raft, disk, &mut Vec::new()).map_err(violation)
}

/// A write without the state in its snapshot, which the checks do not read.
pub(super) fn without_state(write: &Write) -> Write {
    let snapshot = write.snapshot.as_ref();
    Write {
        id: write.id,
        hard_state: write.hard_state,
        truncate_from: write.truncate_from,
        snapshot: snapshot.map(|full| without_store(full.last_included())),
        append: write.append.clone(),
    }
}

/// A disk whose log begins after this entry, or after its snapshot if that ends later.
fn durable(disk: &Disk, base: usize, history: &impl ClusterHistory) -> Durable {
    let covered = disk.snapshot.as_ref();
    let covered = covered.map_or(0, |snapshot| index_of(snapshot.last_included_index));
    let base = base.max(covered).min(disk.log.len());
    let entries = |prefixes: &[Prefix]| -> Vec<_> {
        let entries = prefixes.iter().filter_map(|prefix| history.entry(*prefix));
        entries.cloned().collect()
    };
    let last = base
        .checked_sub(1)
        .and_then(|last| history.entry(disk.log[last]));
    Durable {
        hard_state: disk.hard_state,
        snapshot: last.map(|last| {
            without_store(EntryId {
                term: last.term,
                index: LogIndex::new(base as u64),
            })
        }),
        log: entries(&disk.log[base..]),
    }
}

/// The effects of a step, with messages that begin after `base`.
///
/// # Errors
/// If a part of a message up to there differs from the log.
fn short<'a>(effects: &'a Effects, raft: &Raft, base: LogIndex) -> Result<Cow<'a, Effects>, Cause> {
    let own = raft.log().base().index;
    let is_early = |index: LogIndex| own <= index && index < base;
    let mut short = Cow::Borrowed(effects);
    for (position, envelope) in effects.sends.iter().enumerate() {
        let message = match &envelope.message {
            Message::AppendEntriesRequest(request) if is_early(request.prev_log_index) => {
                Message::AppendEntriesRequest(short_request(request, raft, base)?)
            }
            Message::InstallSnapshotRequest(request)
                if is_early(request.snapshot.last_included_index) =>
            {
                let last = request.snapshot.last_included();
                if raft.log().term_at(last.index) != Some(last.term) {
                    return Err(Cause::ServerSnapshotNotCommitted {
                        server: raft.id(),
                        index: last.index,
                        term: last.term,
                    });
                }
                let mut request = request.clone();
                request.snapshot = without_store(EntryId {
                    term: raft.log().term_at(base).unwrap_or_default(),
                    index: base,
                });
                Message::InstallSnapshotRequest(request)
            }
            _ => continue,
        };
        short.to_mut().sends[position] = Envelope {
            message,
            ..envelope.clone()
        };
    }
    Ok(short)
}

/// A request without the entries up to `base`.
///
/// # Errors
/// If these entries are not those of the log.
fn short_request(
    request: &AppendEntriesRequest,
    raft: &Raft,
    base: LogIndex,
) -> Result<AppendEntriesRequest, Cause> {
    let prev = request.prev_log_index;
    let count = index_of(base) - index_of(prev);
    let (early, rest) = request.entries.split_at(count.min(request.entries.len()));
    let is_own = raft.log().term_at(prev) == Some(request.prev_log_term)
        && raft.log().slice(prev.next(), early.len()) == early;
    if !is_own {
        return Err(Cause::SentOtherLog {
            server: raft.id(),
            term: request.term,
            index: prev.plus(request.entries.len() as u64),
        });
    }
    Ok(AppendEntriesRequest {
        prev_log_index: base,
        prev_log_term: raft.log().term_at(base).unwrap_or_default(),
        entries: rest.to_vec(),
        ..*request
    })
}

/// The snapshot with this last entry, without the state.
fn without_store(last: EntryId) -> Snapshot {
    Snapshot {
        last_included_index: last.index,
        last_included_term: last.term,
        store: Store::default(),
    }
}

fn index_of(index: LogIndex) -> usize {
    usize::try_from(index.get()).unwrap_or(usize::MAX)
}

fn violation(cause: Cause) -> Violation {
    Violation::new(Property::Refinement, cause)
}
