//! The changes of a step in its process.

use super::words;
use crate::plural::list;
use model::{
    Flow, LogIndex, NodeId, Raft, Role,
    system::{Process, Server, process::Running},
};
use std::fmt::Display;

/// The kind of change, and its description.
pub(super) type Change = (&'static str, String);

/// A line for each kind of change; none if the process did not change.
pub(super) fn between(before: &Process, after: &Process) -> Vec<Change> {
    match (before, after) {
        (Process::Server(before), Process::Server(after)) => server(before, after),
        (Process::Proxy(before), Process::Proxy(after)) => {
            let mut facts = Facts::default();
            let leader = |id: Option<NodeId>| id.map_or("none".into(), |id| format!("server {id}"));
            facts.change(
                "known leader",
                leader(before.leader()),
                leader(after.leader()),
            );
            facts.change("requests in flight", before.in_flight(), after.in_flight());
            facts.lines()
        }
        (Process::Client(before), Process::Client(after)) => {
            let mut facts = Facts::default();
            let waits = |idle| if idle { "idle" } else { "waiting" };
            let (old, new) = (before.client.is_idle(), after.client.is_idle());
            facts.change("state", waits(old), waits(new));
            facts.change("operations begun", before.invoked, after.invoked);
            facts.lines()
        }
        _ => Vec::new(),
    }
}

fn server(before: &Server, after: &Server) -> Vec<Change> {
    let mut facts = Facts::default();
    match (&before.running, &after.running) {
        (Some(old), Some(new)) => running(old, new, &mut facts),
        (Some(_), None) => facts.say("down"),
        (None, Some(new)) => {
            let raft = &new.raft;
            facts.say(format!(
                "follower in term {}, vote {}",
                raft.current_term(),
                vote(raft.voted_for())
            ));
            facts.line("log", words::kept(raft.log()));
        }
        (None, None) => {}
    }
    match (lag(before), lag(after)) {
        (old, Some(new)) if old.as_ref() != Some(&new) => facts.line("on disk", new),
        (Some(_), None) if after.running.is_some() => facts.line("on disk", "everything".into()),
        _ => {}
    }
    facts.lines()
}

fn running(before: &Running, after: &Running, facts: &mut Facts) {
    let (old, new) = (&before.raft, &after.raft);
    facts.change("role", role(old), role(new));
    facts.change("term", old.current_term(), new.current_term());
    facts.change("vote", vote(old.voted_for()), vote(new.voted_for()));
    facts.change("leader", leader(old), leader(new));
    facts.change(
        "recent message of the leader",
        recently_active(old),
        recently_active(new),
    );
    facts.change("commit", old.commit_index(), new.commit_index());
    facts.change("durable", old.durable_index(), new.durable_index());
    let votes = |raft: &Raft| match raft.role() {
        Role::PreCandidate { votes } => names(votes.iter()),
        Role::Candidate(candidate) => names(candidate.votes.iter()),
        Role::Follower { .. } | Role::Leader(_) => String::new(),
    };
    let (had, has) = (votes(old), votes(new));
    if had != has && !has.is_empty() {
        facts.say(format!("has the votes of {has}"));
    }
    if old.log() != new.log() {
        facts.line("log", words::kept(new.log()));
    }
    progress(old, new, facts);
}

/// The new replication progress that a leader knows. A new leader has no progress yet, so it gets no
/// text.
fn progress(old: &Raft, new: &Raft, facts: &mut Facts) {
    let (Role::Leader(was), Role::Leader(is)) = (old.role(), new.role()) else {
        return;
    };
    for (id, now) in &is.followers {
        let Some(then) = was.followers.get(id) else {
            continue;
        };
        facts.change(
            &format!("match_index of {id}"),
            then.match_index,
            now.match_index,
        );
        if now.next_index < then.next_index {
            facts.change(
                &format!("next_index of {id}"),
                then.next_index,
                now.next_index,
            );
        }
        if now.flow != then.flow {
            let probed = now.flow == Flow::Probe;
            facts.say(format!(
                "{} server {id}",
                if probed { "probes" } else { "pipelines to" }
            ));
        }
        facts.change(
            &format!("read round of {id}"),
            then.read_round,
            now.read_round,
        );
    }
    facts.change("reads waiting", was.reads.len(), is.reads.len());
}

/// The contents of the disk, if they differ from the state in memory.
fn lag(server: &Server) -> Option<String> {
    let running = server.running.as_ref()?;
    if running.unsynced.is_empty() {
        return None;
    }
    let disk = &server.disk;
    Some(format!(
        "only term {}, vote {}, log {}",
        disk.hard_state.current_term,
        vote(disk.hard_state.voted_for),
        words::log(&disk.log)
    ))
}

pub(super) fn role(raft: &Raft) -> &'static str {
    match raft.role() {
        Role::Follower { .. } => "follower",
        Role::PreCandidate { .. } => "pre-candidate",
        Role::Candidate(_) => "candidate",
        Role::Leader(_) => "leader",
    }
}

pub(super) fn vote(vote: Option<NodeId>) -> String {
    vote.map_or("none".into(), |id| id.to_string())
}

fn leader(raft: &Raft) -> String {
    match raft.role() {
        Role::Follower {
            leader: Some(id), ..
        } => id.to_string(),
        Role::Follower { leader: None, .. } | Role::PreCandidate { .. } | Role::Candidate(_) => {
            "unknown".into()
        }
        Role::Leader(_) => raft.id().to_string(),
    }
}

fn recently_active(raft: &Raft) -> &'static str {
    match raft.role() {
        Role::Follower {
            recently_active: true,
            ..
        } => "yes",
        _ => "no",
    }
}

fn names<'a>(ids: impl Iterator<Item = &'a NodeId>) -> String {
    let ids: Vec<String> = ids.map(NodeId::to_string).collect();
    list(&ids)
}

/// The changes: small facts share a line, logs and disks have lines of their own.
#[derive(Default)]
struct Facts {
    small: Vec<String>,
    lines: Vec<Change>,
}

impl Facts {
    fn change<T: Display + PartialEq>(&mut self, what: &str, old: T, new: T) {
        if old != new {
            self.small.push(format!("{what} {old} -> {new}"));
        }
    }

    fn say(&mut self, fact: impl Into<String>) {
        self.small.push(fact.into());
    }

    fn line(&mut self, label: &'static str, line: String) {
        self.lines.push((label, line));
    }

    fn lines(self) -> Vec<Change> {
        let small = (!self.small.is_empty()).then(|| ("now", self.small.join(", ")));
        small.into_iter().chain(self.lines).collect()
    }
}

/// The highest committed index that the server knows.
pub(super) fn commit(server: &Server) -> Option<LogIndex> {
    Some(server.running.as_ref()?.raft.commit_index())
}
