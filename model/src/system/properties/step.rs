//! The properties of one step: of a server, of its disk, and of each message that it sends.

use super::{Properties, Property, Violation, reference::reference_pairs};
use crate::{
    Address, AppendOutcome, Durable, Envelope, HardState, LogIndex, Message, Role, Term,
    system::process::Running,
};
use alloc::{collections::BTreeMap, format, string::String};

/// Checks one step of a running server.
pub(in crate::system) fn judge_step(
    before: &Running,
    after: &Running,
    properties: Properties,
) -> Result<(), Violation> {
    let (old, new) = (&before.raft, &after.raft);
    let id = new.id;
    let monotone = new.current_term >= old.current_term && new.commit_index >= old.commit_index;
    properties.require(Property::Monotone, monotone, || {
        format!(
            "server {id} went from term {} and commit index {} back to {} and {}",
            old.current_term, old.commit_index, new.current_term, new.commit_index
        )
    })?;
    if let (Role::Leader(_), Role::Leader(_)) = (&old.role, &new.role)
        && old.current_term == new.current_term
    {
        let kept = new.log.continues(&old.log);
        properties.require(Property::LeaderAppendOnly, kept, || {
            format!(
                "server {id} changed its log while it led term {}",
                new.current_term
            )
        })?;
    }
    let first = new.log.entries().first();
    let ordered = new.log.entries().is_sorted_by_key(|entry| entry.term)
        && first.is_none_or(|first| first.term >= new.log.base().term);
    properties.require(Property::TermsOrderedInLog, ordered, || {
        format!("the log of server {id} has an entry of an older term after one of a newer term")
    })?;
    // Without its first entries a log is not sufficient; the history checks this case
    // (`Observation::AppliedState`).
    if new.commit_index > old.commit_index && new.log.base().index == LogIndex::ZERO {
        let expected = reference_pairs(
            new.log
                .slice(LogIndex::ZERO, new.commit_index.get() as usize),
        );
        let found: BTreeMap<_, _> = new
            .store
            .pairs()
            .map(|(key, held)| (key.to_vec(), held.value.to_vec()))
            .collect();
        properties.require(Property::ExactlyOnce, expected == found, || {
            format!(
                "the store of server {id} is not what its {} committed entries make when each command is applied once",
                new.commit_index
            )
        })?;
    }
    Ok(())
}

/// Checks a disk write: a vote never changes within a term.
pub(in crate::system) fn judge_disk(
    before: &Durable,
    after: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    let (old, new) = (before.hard_state, after.hard_state);
    let kept = new.current_term > old.current_term
        || (new.current_term == old.current_term
            && (old.voted_for.is_none() || old.voted_for == new.voted_for));
    properties.require(Property::OneVotePerTerm, kept, || {
        format!(
            "a disk that held {} now holds {}",
            promise(old),
            promise(new)
        )
    })
}

/// The promise that a disk holds. The text does not call the candidate a server: a reader marks the
/// servers that a sentence names, and this sentence is about the voter.
fn promise(held: HardState) -> String {
    match held.voted_for {
        Some(id) => format!("term {} and a vote for candidate {id}", held.current_term),
        None => format!("term {} and no vote", held.current_term),
    }
}

/// Checks a message when it is sent: it promises nothing that is not on the disk.
pub(in crate::system) fn judge_send(
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
            || {
                format!(
                    "{} sent a vote in term {} that its disk does not hold",
                    envelope.from, vote.term
                )
            },
        ),
        Message::RequestVoteRequest(request) => properties.require(
            Property::OneVotePerTerm,
            held(request.term, Some(envelope.from)),
            || {
                format!(
                    "{} asked for votes in term {} before its own was durable",
                    envelope.from, request.term
                )
            },
        ),
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => {
                judge_acknowledgement(envelope, response.term, match_index, disk, properties)
            }
            _ => Ok(()),
        },
        Message::InstallSnapshotResponse(response) => judge_acknowledgement(
            envelope,
            response.term,
            response.match_index,
            disk,
            properties,
        ),
        _ => Ok(()),
    }
}

fn judge_acknowledgement(
    envelope: &Envelope,
    term: Term,
    match_index: LogIndex,
    disk: &Durable,
    properties: Properties,
) -> Result<(), Violation> {
    // In a later term, the disk may have lost acknowledged entries legitimately.
    let on_disk = disk.hard_state.current_term;
    properties.require(Property::MatchIsDurable, on_disk >= term, || {
        format!(
            "{} acknowledged entries in term {term}, but its disk holds term {on_disk}",
            envelope.from
        )
    })?;
    let durable = on_disk > term || disk.last_index() >= match_index;
    properties.require(Property::MatchIsDurable, durable, || {
        format!(
            "{} acknowledged entry {match_index}, but its disk holds {} entries",
            envelope.from,
            disk.last_index()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn disk(term: u64, voted_for: Option<u64>) -> Durable {
        let mut disk = Durable::default();
        disk.hard_state.current_term = Term::new(term);
        disk.hard_state.voted_for = voted_for.map(NodeId::new);
        disk
    }

    #[test]
    fn second_vote_in_a_term_is_told_in_a_sentence() {
        let judged = judge_disk(&disk(2, Some(1)), &disk(2, Some(3)), Properties::ALL);
        let broken = judged.expect_err("a vote is cast once in a term");
        assert_eq!(
            broken.why,
            "a disk that held term 2 and a vote for candidate 1 now holds term 2 and a vote for candidate 3"
        );
        let judged = judge_disk(&disk(2, Some(1)), &disk(1, None), Properties::ALL);
        let broken = judged.expect_err("the term on a disk never falls");
        assert!(broken.why.ends_with("now holds term 1 and no vote"));
    }
}
