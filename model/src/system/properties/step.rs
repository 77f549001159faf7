//! The properties of one step: of a server, of its disk, and of each message that it sends.

use super::{
    Cause, Properties, Property, Violation,
    reference::{pairs_of, reference_pairs},
};
use crate::{
    Address, AppendOutcome, Durable, Envelope, LogIndex, Message, NodeId, Raft, Role, Term,
    system::process::Running,
};

/// Checks one step of a running server.
pub(in crate::system) fn check_step(
    before: &Running,
    after: &Running,
    properties: Properties,
) -> Result<(), Violation> {
    let (old, new) = (&before.raft, &after.raft);
    let id = new.id;
    let monotone = new.current_term >= old.current_term && new.commit_index >= old.commit_index;
    properties.require(Property::Monotone, monotone, || Cause::TermOrCommitFell {
        server: id,
        term: old.current_term,
        commit_index: old.commit_index,
        new_term: new.current_term,
        new_commit_index: new.commit_index,
    })?;
    if let (Role::Leader(_), Role::Leader(_)) = (&old.role, &new.role)
        && old.current_term == new.current_term
    {
        let kept = new.log.continues(&old.log);
        properties.require(Property::LeaderAppendOnly, kept, || {
            Cause::LeaderChangedLog {
                server: id,
                term: new.current_term,
            }
        })?;
    }
    let first = new.log.entries().first();
    let ordered = new.log.entries().is_sorted_by_key(|entry| entry.term)
        && first.is_none_or(|first| first.term >= new.log.base().term);
    properties.require(Property::TermsOrderedInLog, ordered, || {
        Cause::TermsOutOfOrder { server: id }
    })?;
    // Without its first entries a log is not sufficient; the history checks this case
    // (`Observation::AppliedState`).
    if new.commit_index > old.commit_index && new.log.base().index == LogIndex::ZERO {
        let expected = reference_pairs(
            new.log
                .slice(LogIndex::ZERO, new.commit_index.get() as usize),
        );
        let found = pairs_of(&new.store);
        properties.require(Property::ExactlyOnce, expected == found, || {
            Cause::StoreDiffers {
                server: id,
                index: new.commit_index,
            }
        })?;
    }
    Ok(())
}

/// Checks a step in which a leader's commit index rises: a majority has the entry durably, and the entry
/// is of the leader's own term. The majority follows from the number of servers, so that a wrong majority
/// in the core is a violation too.
pub(in crate::system) fn check_commit(
    before: &Raft,
    after: &Raft,
    disk: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    let (server, index) = (after.id, after.commit_index);
    if index <= before.commit_index || !matches!(after.role, Role::Leader(_)) {
        return Ok(());
    }
    let (copies, voters) = (
        durable_copies(after, disk, index),
        after.config.voters.len(),
    );
    let is_durable = 2 * copies > voters;
    properties.require(Property::CommitIsDurable, is_durable, || {
        Cause::CommittedWithoutMajority {
            server,
            index,
            copies: copies as u64,
            voters: voters as u64,
        }
    })?;
    let (term, entry_term) = (after.current_term, after.log.term_at(index));
    properties.require(Property::CommitsOwnTerm, entry_term == Some(term), || {
        Cause::CommittedOtherTerm {
            server,
            term,
            index,
            entry_term: entry_term.unwrap_or_default(),
        }
    })
}

/// Checks the answer to the client of an entry when it is sent: a majority has the entry durably.
pub(in crate::system) fn check_answer(
    after: &Raft,
    disk: &Durable,
    index: LogIndex,
    properties: Properties,
) -> Result<(), Violation> {
    let (copies, voters) = (
        durable_copies(after, disk, index),
        after.config.voters.len(),
    );
    let is_durable = 2 * copies > voters;
    properties.require(Property::AcknowledgedWritesKept, is_durable, || {
        Cause::AcknowledgedWithoutMajority {
            server: after.id,
            index,
            copies: copies as u64,
            voters: voters as u64,
        }
    })
}

/// The number of servers that have the leader's log up to this entry durably, as far as the leader knows:
/// its own disk, and the followers that acknowledged the entry.
fn durable_copies(raft: &Raft, disk: &Durable, index: LogIndex) -> usize {
    let Role::Leader(leader) = &raft.role else {
        return 0;
    };
    let others = leader.followers.iter();
    let others = others
        .filter(|(id, progress)| **id != raft.id && progress.match_index >= index)
        .count();
    others + usize::from(has_durably(raft, disk, index))
}

/// Whether the disk of a server has the entry that its log in memory has at this index.
fn has_durably(raft: &Raft, disk: &Durable, index: LogIndex) -> bool {
    let base = disk.base();
    let Some(after) = index.get().checked_sub(base.index.get()) else {
        // The snapshot covers the entry.
        return true;
    };
    let on_disk = match after.checked_sub(1) {
        None => Some(base.term),
        Some(position) => disk.log.get(position as usize).map(|entry| entry.term),
    };
    on_disk.is_some() && on_disk == raft.log.term_at(index)
}

/// Checks a disk write: a vote never changes within a term.
pub(in crate::system) fn check_disk(
    server: NodeId,
    before: &Durable,
    after: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    let (old, new) = (before.hard_state, after.hard_state);
    let kept = new.current_term > old.current_term
        || (new.current_term == old.current_term
            && (old.voted_for.is_none() || old.voted_for == new.voted_for));
    properties.require(Property::OneVotePerTerm, kept, || {
        Cause::DurableVoteChanged {
            server,
            before: old,
            after: new,
        }
    })
}

/// Checks a message when it is sent: it promises nothing that is not on the disk, and its term is.
pub(in crate::system) fn check_send(
    server: NodeId,
    envelope: &Envelope,
    disk: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    check_promise(server, envelope, disk, properties)?;
    let durable_term = disk.hard_state.current_term;
    let is_durable = envelope.message.is_term_durable(durable_term);
    properties.require(Property::TermIsDurable, is_durable, || {
        Cause::SentTermNotDurable {
            server,
            term: envelope.message.sender_term(),
            durable_term,
        }
    })
}

/// Checks the vote or the acknowledgement in a message.
fn check_promise(
    server: NodeId,
    envelope: &Envelope,
    disk: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    let hard_state = disk.hard_state;
    let held = |term, vote: Option<Address>| {
        hard_state.current_term == term && hard_state.voted_for.map(Address::Node) == vote
            // The disk may hold a newer term by now; in that case the vote was cast earlier.
            || hard_state.current_term > term
    };
    match &envelope.message {
        Message::RequestVoteResponse(vote) if vote.vote_granted => properties.require(
            Property::OneVotePerTerm,
            held(vote.term, Some(envelope.to)),
            || Cause::VoteNotDurable {
                server,
                term: vote.term,
            },
        ),
        Message::RequestVoteRequest(request) => properties.require(
            Property::OneVotePerTerm,
            held(request.term, Some(envelope.from)),
            || Cause::CandidacyNotDurable {
                server,
                term: request.term,
            },
        ),
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => {
                check_acknowledgement(server, response.term, match_index, disk, properties)
            }
            _ => Ok(()),
        },
        Message::InstallSnapshotResponse(response) => check_acknowledgement(
            server,
            response.term,
            response.match_index,
            disk,
            properties,
        ),
        _ => Ok(()),
    }
}

fn check_acknowledgement(
    server: NodeId,
    term: Term,
    match_index: LogIndex,
    disk: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    // In a later term, the disk may have lost acknowledged entries legitimately.
    let on_disk = disk.hard_state.current_term;
    properties.require(Property::MatchIsDurable, on_disk >= term, || {
        Cause::AcknowledgedTermNotDurable {
            server,
            term,
            durable_term: on_disk,
        }
    })?;
    let durable = on_disk > term || disk.last_index() >= match_index;
    properties.require(Property::MatchIsDurable, durable, || {
        Cause::AcknowledgedEntryNotDurable {
            server,
            index: match_index,
            last_index: disk.last_index(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn disk(term: u64, voted_for: Option<u64>) -> Durable {
        let mut disk = Durable::default();
        disk.hard_state.current_term = Term::new(term);
        disk.hard_state.voted_for = voted_for.map(NodeId::new);
        disk
    }

    #[test]
    fn second_vote_in_a_term_is_a_sentence() {
        let server = NodeId::new(2);
        let check = |before, after| check_disk(server, &before, &after, Properties::ALL);
        let violation =
            check(disk(2, Some(1)), disk(2, Some(3))).expect_err("a vote is cast once in a term");
        assert_eq!(
            violation.cause.to_string(),
            "the disk of server 2 held term 2 and a vote for candidate 1 \
             and now holds term 2 and a vote for candidate 3"
        );
        assert_eq!(
            violation.cause.servers(),
            [server],
            "the candidates are not accused"
        );
        let violation =
            check(disk(2, Some(1)), disk(1, None)).expect_err("the term on a disk never falls");
        let sentence = violation.cause.to_string();
        assert!(sentence.ends_with("now holds term 1 and no vote"));
    }
}
