//! The claims of servers and messages as facts.

use super::{AbstractAction, Fact, Ground, Image, Terms, acknowledged, small};
use crate::{
    Address, EntryId, Envelope, LogIndex, Message, Role, Term,
    system::{
        process::{Running, Server},
        spec::signature::Relation,
    },
};
use alloc::{vec, vec::Vec};

impl Ground<'_> {
    /// The claims of a server.
    pub(super) fn server(&self, server: &Server) -> Option<Vec<Fact>> {
        let id = self.node(server.id)?;
        let disk = server.disk.hard_state;
        let term = self.term(disk.current_term)?;
        let mut facts: Vec<Fact> = (0..term)
            .map(|left| (Relation::Left, vec![id, left]))
            .collect();
        let image = Image::new(&server.disk, []);
        facts.extend(self.committed_up_to(image.base())?);
        let logs = self.prefixes(&self.terms_of(&image)?)?.into_iter();
        facts.extend(logs.map(|log| (Relation::Has, vec![id, log])));
        if let Some(candidate) = disk.voted_for {
            facts.push((Relation::Voted, vec![id, term, self.node(candidate)?]));
        }
        if let Some(running) = &server.running {
            facts.extend(self.pending(server, running)?);
            facts.extend(self.role(server, running)?);
            let raft = &running.raft;
            facts.extend(self.committed_up_to(raft.log.base())?);
            let log = self.memory(&raft.log)?;
            let log = log.get(..usize::try_from(raft.commit_index.get()).ok()?)?;
            if !log.is_empty() {
                let log = self.log(log)?;
                facts.push((Relation::Committed, vec![log]));
                if disk.current_term >= raft.current_term {
                    facts.push((Relation::Learned, vec![id, log]));
                }
            }
        }
        Some(facts)
    }

    /// The claim that the entries in a snapshot are committed.
    fn committed_up_to(&self, base: EntryId) -> Option<Vec<Fact>> {
        let log = self.log(&self.covered(base)?)?;
        let is_empty = base.index == LogIndex::ZERO;
        Some(Vec::from_iter(
            (!is_empty).then(|| (Relation::Committed, vec![log])),
        ))
    }

    /// The claims of pending writes, and of acknowledgements that wait for them.
    fn pending(&self, server: &Server, running: &Running) -> Option<Vec<Fact>> {
        let mut facts = Vec::new();
        let mut previous = Image::new(&server.disk, []);
        for (number, write) in running.unsynced.iter().enumerate() {
            let image = Image::new(&server.disk, &running.unsynced[..=number]);
            let (log, held) = (self.terms_of(&image)?, image.hard_state());
            facts.extend(self.committed_up_to(image.base())?);
            if let Some(candidate) = held.voted_for
                && candidate != server.id
                && held != previous.hard_state()
            {
                let candidate = self.node(candidate)?;
                let term = self.term(held.current_term)?;
                facts.push((Relation::Candidate, vec![candidate, term, self.log(&log)?]));
            }
            if image.last_id() != previous.last_id() {
                facts.extend(self.leader_log(held.current_term, &log)?);
            }
            let waiting = running.raft.held.iter().filter(|one| one.after == write.id);
            for message in waiting.map(|held| &held.envelope.message) {
                if let Some((term, index)) = acknowledged(message) {
                    let count = usize::try_from(index.get()).ok()?;
                    facts.extend(self.leader_log(term, log.get(..count)?)?);
                }
            }
            previous = image;
        }
        Some(facts)
    }

    /// The claims of a candidate or a leader.
    fn role(&self, server: &Server, running: &Running) -> Option<Vec<Fact>> {
        let raft = &running.raft;
        let (id, term) = (self.node(raft.id)?, self.term(raft.current_term)?);
        let log = self.memory(&raft.log)?;
        let mut facts = Vec::new();
        match &raft.role {
            Role::Candidate(candidate) => {
                let held = server.disk.hard_state;
                if (held.current_term, held.voted_for) == (raft.current_term, Some(raft.id)) {
                    facts.push((Relation::Candidate, vec![id, term, self.log(&log)?]));
                }
                for voter in &candidate.votes {
                    facts.push((Relation::Voted, vec![self.node(*voter)?, term, id]));
                }
            }
            Role::Leader(leader) => {
                facts.push((Relation::Elected, vec![term, id]));
                facts.extend(self.leader_log(raft.current_term, &log)?);
                for (follower, progress) in &leader.followers {
                    let count = usize::try_from(progress.match_index.get()).ok()?;
                    if count > 0 {
                        facts.extend(self.acked(
                            *follower,
                            raft.current_term,
                            log.get(..count)?,
                        )?);
                    }
                }
            }
            Role::Follower { .. } | Role::PreCandidate { .. } => {}
        }
        Some(facts)
    }

    /// The claims of a message. An acknowledgement names its log if one of these actions, those of its
    /// sender, accepts it.
    pub(super) fn message(
        &self,
        envelope: &Envelope,
        actions: &[AbstractAction],
    ) -> Option<Vec<Fact>> {
        let (Address::Node(from), Address::Node(to)) = (envelope.from, envelope.to) else {
            return Some(Vec::new());
        };
        let mut facts = Vec::new();
        match &envelope.message {
            Message::RequestVoteRequest(request) => {
                let log = self.log_named(EntryId {
                    term: request.last_log_term,
                    index: request.last_log_index,
                })?;
                let term = self.term(request.term)?;
                facts.push((Relation::Candidate, vec![self.node(from)?, term, log]));
            }
            Message::RequestVoteResponse(response) if response.vote_granted => {
                let (voter, term) = (self.node(from)?, self.term(response.term)?);
                facts.push((Relation::Voted, vec![voter, term, self.node(to)?]));
            }
            Message::AppendEntriesRequest(request) => {
                let mut log = self.named(EntryId {
                    term: request.prev_log_term,
                    index: request.prev_log_index,
                })?;
                let entries = request.entries.iter().map(|entry| small(entry.term.get()));
                log.extend(entries.collect::<Option<Terms>>()?);
                facts.extend(self.leader_log(request.term, &log)?);
                let count = usize::try_from(request.leader_commit.get()).ok()?;
                if count > 0 {
                    let log = self.log(log.get(..count)?)?;
                    facts.push((Relation::Committed, vec![log]));
                }
            }
            Message::InstallSnapshotRequest(request) => {
                let log = self.named(request.snapshot.last_included())?;
                facts.extend(self.leader_log(request.term, &log)?);
                facts.push((Relation::Committed, vec![self.log(&log)?]));
            }
            message => {
                if let Some((term, index)) = acknowledged(message) {
                    let log = self.acknowledged_log(term, index, actions)?;
                    facts.extend(self.acked(from, term, &log)?);
                }
            }
        }
        Some(facts)
    }

    /// The log that an acknowledgement names.
    fn acknowledged_log(
        &self,
        term: Term,
        index: LogIndex,
        actions: &[AbstractAction],
    ) -> Option<Terms> {
        let accepted = actions.iter().find_map(|action| match action {
            AbstractAction::Accept { term: own, log, .. } if *own == term && log.index == index => {
                Some(*log)
            }
            _ => None,
        });
        if let Some(log) = accepted {
            return self.named(log);
        }
        // The receiver judges it by its own log, which is the leader's.
        let length = usize::try_from(index.get()).ok()?;
        let known = self.known.iter().find(|terms| terms.len() >= length);
        Some(known?[..length].to_vec())
    }
}
