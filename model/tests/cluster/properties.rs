//! The properties of Raft, checked over the whole history of a cluster: Raft Figure 3, and auxiliary
//! properties that fail earlier.

use super::Server;
use model::{
    Address, ClientRequest, ClientResponse, Durable, Effects, Entry, Envelope, Event, FoundStale,
    Log, LogIndex, Message, NodeId, Raft, RequestId, Role, Store, Term,
    invariants::{self, Watermarks},
    message::{RequestBody, ResponseBody},
    store::Query,
};
use std::collections::{BTreeMap, btree_map};

/// Facts that must survive every crash.
#[derive(Default)]
pub(super) struct History {
    leaders: BTreeMap<Term, NodeId>,
    /// The candidate that received a server's vote in a term.
    votes: BTreeMap<(NodeId, Term), NodeId>,
    committed: Vec<Entry>,
    stores: BTreeMap<LogIndex, Store>,
}

/// Checks the properties of one step.
pub(super) fn step(before: &Raft, after: &Raft, effects: &Effects) -> Result<(), String> {
    invariants::check(Watermarks::new(before), after, effects)
        .map_err(|invariant| invariant.to_string())?;
    let still_leads =
        leads(before) && leads(after) && before.current_term() == after.current_term();
    property(
        !still_leads || after.log().continues(before.log()),
        "Leader Append-Only",
    )
}

impl History {
    /// Checks that sent messages do not contradict earlier messages of the server.
    pub(super) fn sent(&mut self, envelopes: &[Envelope]) -> Result<(), String> {
        for envelope in envelopes {
            if let Message::RequestVoteResponse(response) = &envelope.message
                && response.vote_granted
                && let (Address::Node(voter), Address::Node(candidate)) =
                    (envelope.from, envelope.to)
            {
                let first = *self
                    .votes
                    .entry((voter, response.term))
                    .or_insert(candidate);
                property(first == candidate, "one vote per term, across restarts")?;
            }
        }
        Ok(())
    }

    /// Checks the properties of all servers at one moment.
    pub(super) fn observe(&mut self, servers: &BTreeMap<NodeId, Server>) -> Result<(), String> {
        let up: Vec<_> = servers.values().filter_map(|s| s.raft.as_ref()).collect();
        for raft in &up {
            self.elected(raft)?;
        }
        for raft in &up {
            self.committed(raft)?;
            self.stale_read(raft)?;
        }
        // An entry committed in term T is in the log of every leader of a term above T, and of the
        // leader that committed it. So the latest elected leader has all of them.
        for raft in &up {
            let latest = self.leaders.keys().next_back() == Some(&raft.current_term());
            property(
                !(latest && leads(raft)) || self.whole(raft.log())?.starts_with(&self.committed),
                "Leader Completeness",
            )?;
        }
        let mut logs = Vec::new();
        for raft in &up {
            logs.push((self.whole(raft.log())?, raft.current_term()));
        }
        for (place, (log, term)) in logs.iter().enumerate() {
            log_matching(log, *term, &logs[place + 1..])?;
        }
        servers
            .values()
            .try_for_each(|server| self.disk_agrees(server))?;
        acknowledged_is_durable(servers)
    }

    /// The log from index 1: the committed entries replace the part that a snapshot covers.
    fn whole(&self, log: &Log) -> Result<Vec<Entry>, String> {
        let base = log.base().index.get() as usize;
        let gone = self.committed.get(..base);
        let gone = gone.filter(|gone| gone.last().is_none_or(|last| last.term == log.base().term));
        let gone = gone.ok_or("State Machine Safety: a snapshot of what was never committed")?;
        Ok(gone.iter().chain(log.entries()).cloned().collect())
    }

    fn elected(&mut self, raft: &Raft) -> Result<(), String> {
        if !leads(raft) {
            return Ok(());
        }
        let leader = *self.leaders.entry(raft.current_term()).or_insert(raft.id());
        property(leader == raft.id(), "Election Safety")
    }

    fn committed(&mut self, raft: &Raft) -> Result<(), String> {
        let commit = raft.commit_index().get() as usize;
        let known = self.committed.len().min(commit);
        let log = self.whole(raft.log())?;
        property(
            commit <= log.len() && log[..known] == self.committed[..known],
            "State Machine Safety",
        )?;
        self.committed.extend_from_slice(&log[known..commit]);
        match self.stores.entry(raft.commit_index()) {
            btree_map::Entry::Occupied(first) => property(
                first.get() == raft.store(),
                "the same entries make the same store",
            ),
            btree_map::Entry::Vacant(entry) => {
                entry.insert(raft.store().clone());
                Ok(())
            }
        }
    }

    /// Checks that the state in memory equals the disk plus the pending writes, in order.
    fn disk_agrees(&self, server: &Server) -> Result<(), String> {
        let whole = |disk: &Durable| self.whole(&Log::after(disk.base(), disk.log.clone()));
        let Some(raft) = &server.raft else {
            return Ok(());
        };
        let in_memory = self.whole(raft.log())?;
        let durable = raft.durable_index().get() as usize;
        property(
            whole(&server.disk)?.get(..durable) == in_memory.get(..durable),
            "what a server takes for durable is on its disk",
        )?;
        let mut disk = server.disk.clone();
        for write in &server.unsynced {
            disk.apply(write);
        }
        property(
            disk.hard_state.current_term == raft.current_term()
                && disk.hard_state.voted_for == raft.voted_for()
                && whole(&disk)? == in_memory,
            "what a server knows is on its way to its disk",
        )?;
        property(
            disk.base().index == raft.snapshot_index(),
            "the last snapshot is on the disk or on its way there",
        )
    }
}

impl History {
    /// Checks a stale read at this moment: the result equals the state after the committed entries up
    /// to the reported index, and the read does not change the server.
    fn stale_read(&self, raft: &Raft) -> Result<(), String> {
        let query = Query::Scan {
            prefix: Vec::new(),
            after: None,
            limit: u32::MAX,
            bytes: u32::MAX,
        };
        let Address::Client(client) = super::CLIENT else {
            return Ok(());
        };
        let id = RequestId::new(u64::MAX);
        let body = RequestBody::StaleRead {
            query: query.clone(),
        };
        let mut asked = raft.clone();
        let request = ClientRequest { client, id, body };
        let effects = asked.step(Event::Requests(vec![(super::CLIENT, request)]));
        property(asked == *raft, "a stale read changes nothing")?;
        let applied_index = raft.commit_index();
        let mut store = Store::default();
        for entry in &self.committed[..applied_index.get() as usize] {
            store.apply(&entry.payload, raft.config());
        }
        let body = ResponseBody::FoundStale(FoundStale {
            found: store.query(&query, raft.config()),
            applied_index,
        });
        let answer = Envelope {
            from: Address::Node(raft.id()),
            to: super::CLIENT,
            message: Message::ClientResponse(ClientResponse { client, id, body }),
        };
        let only = Effects {
            sends: vec![answer],
            ..Effects::default()
        };
        property(
            effects == only,
            "a stale read tells what a committed prefix makes, at once",
        )
    }
}

fn log_matching(log: &[Entry], term: Term, others: &[(Vec<Entry>, Term)]) -> Result<(), String> {
    property(
        log.is_sorted_by_key(|entry| entry.term),
        "terms never fall within a log",
    )?;
    property(
        log.last().is_none_or(|last| last.term <= term),
        "no entry is of a term its server has not reached",
    )?;
    for (other, _) in others {
        let both = log.iter().zip(other);
        let agreed = both.clone().rposition(|(a, b)| a.term == b.term);
        let agreed = agreed.map_or(0, |place| place + 1);
        property(log[..agreed] == other[..agreed], "Log Matching")?;
    }
    Ok(())
}

/// Checks that the entries that the leader of the highest term considers acknowledged are on the
/// followers' disks. (A deposed leader may rely on entries that were replaced since; it can never
/// commit them.)
fn acknowledged_is_durable(servers: &BTreeMap<NodeId, Server>) -> Result<(), String> {
    let highest = servers
        .values()
        .map(|server| match &server.raft {
            Some(raft) => raft.current_term(),
            None => server.disk.hard_state.current_term,
        })
        .max();
    for raft in servers.values().filter_map(|server| server.raft.as_ref()) {
        let Role::Leader(leader) = raft.role() else {
            continue;
        };
        if Some(raft.current_term()) != highest {
            continue;
        }
        for (id, progress) in &leader.followers {
            property(
                raft.log().agrees(
                    &Log::after(servers[id].disk.base(), servers[id].disk.log.clone()),
                    progress.match_index,
                ),
                "match_index never exceeds what the follower holds durably",
            )?;
        }
    }
    Ok(())
}

fn leads(raft: &Raft) -> bool {
    matches!(raft.role(), Role::Leader(_))
}

fn property(holds: bool, name: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(name.into()) }
}
