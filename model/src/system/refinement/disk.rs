//! Durable writes and restarts.

use super::{AbstractAction, Image};
use crate::{Durable, EntryId, LogIndex, NodeId, Raft, Role, system::properties::Cause};
use alloc::vec::Vec;

/// Checks a write that becomes durable. The facts `left`, `has` and `voted` of a server are exactly
/// those of its disk, so this is the moment of `update-term`, `vote`, `stand` and `accept`.
///
/// The claims of a pending write are that the candidate of its vote stands with a log that is at least as
/// up-to-date, and that its log is the leader's. They were checked when the write was made.
///
/// # Errors
/// The change of the disk that no action explains.
pub fn check_sync(
    raft: &Raft,
    before: &Durable,
    after: &Durable,
    actions: &mut Vec<AbstractAction>,
) -> Result<(), Cause> {
    let server = raft.id;
    check_term_and_vote(server, before, after, actions)?;
    let (old, new) = (Image::new(before, []), Image::new(after, []));
    let (last, kept) = (new.last_id(), old.last_id());
    if last != kept {
        // `accept` changes the log only if the server does not have the new one yet.
        let is_prefix =
            last.index <= old.base().index || old.term_at(last.index) == Some(last.term);
        if is_prefix {
            return Err(Cause::DurableEntriesLost {
                server,
                index: last.index.next(),
            });
        }
        actions.push(AbstractAction::Accept {
            server,
            term: after.hard_state.current_term,
            log: last,
        });
    }
    learn_with_term(raft, before, after, actions);
    Ok(())
}

fn check_term_and_vote(
    server: NodeId,
    before: &Durable,
    after: &Durable,
    actions: &mut Vec<AbstractAction>,
) -> Result<(), Cause> {
    let (old, new) = (before.hard_state, after.hard_state);
    if old == new {
        return Ok(());
    }
    let enters = new.current_term > old.current_term;
    let votes_late = new.current_term == old.current_term && old.voted_for.is_none();
    // Within a term, a server does not stand: it entered the term before (guard `newer-term`).
    if !enters && (!votes_late || new.voted_for == Some(server)) {
        return Err(Cause::DurableVoteChanged {
            server,
            before: old,
            after: new,
        });
    }
    let (term, log) = (new.current_term, Image::new(before, []).last_id());
    actions.push(match new.voted_for {
        None => AbstractAction::UpdateTerm { server, term },
        Some(candidate) if candidate == server => AbstractAction::Stand { server, term, log },
        Some(candidate) => AbstractAction::Vote {
            server,
            candidate,
            term,
            own_log: log,
        },
    });
    Ok(())
}

/// A server may learn a commit index before its term is durable. `learn` requires the term, so it happens with
/// the term.
fn learn_with_term(
    raft: &Raft,
    before: &Durable,
    after: &Durable,
    actions: &mut Vec<AbstractAction>,
) {
    let reaches = |disk: &Durable| disk.hard_state.current_term >= raft.current_term;
    if raft.commit_index > LogIndex::ZERO && !reaches(before) && reaches(after) {
        actions.push(AbstractAction::Learn {
            server: raft.id,
            log: EntryId {
                term: raft.log.term_at(raft.commit_index).unwrap_or_default(),
                index: raft.commit_index,
            },
        });
    }
}

/// Checks a restart: the server has its durable state and claims nothing else. In the abstract protocol
/// nothing happens, except that the server learns the end of its snapshot if it had not done so.
///
/// # Errors
/// If the server differs from its disk.
pub fn check_restart(
    raft: &Raft,
    disk: &Durable,
    actions: &mut Vec<AbstractAction>,
) -> Result<(), Cause> {
    let image = Image::new(disk, []);
    let is_restored = raft.current_term == disk.hard_state.current_term
        && raft.voted_for == disk.hard_state.voted_for
        && image.equals(&raft.log)
        && image.base() == raft.log.base()
        && raft.commit_index <= image.base().index
        && raft.durable_index <= image.last_id().index
        && matches!(raft.role, Role::Follower { .. })
        && raft.held.is_empty();
    if is_restored {
        // The write of the snapshot may have become durable before the term in which the server learned.
        if raft.commit_index > LogIndex::ZERO {
            actions.push(AbstractAction::Learn {
                server: raft.id,
                log: image.base(),
            });
        }
        Ok(())
    } else {
        Err(Cause::RestartDiffersFromDisk { server: raft.id })
    }
}
