//! Client sessions (thesis §6.3). Log entries open, use, close and evict them.
//!
//! # Eviction
//! The entry that opens a session sets the maximum number of sessions. At that maximum the store
//! evicts the least recently used session (LRU), unless that session is *in use*: a session is in
//! use for a number of applied entries after its last use, its *window*. While all sessions are in
//! use, the store refuses to open another. Capacity and window are part of the entry, so every
//! replica makes the same decision; no clock takes part.
//!
//! Sessions age only while entries are applied. A refused opening therefore ages all sessions by a
//! part of the window ([`REFUSALS_PER_WINDOW`]): after a client with many sessions crashed in an
//! otherwise idle cluster, a few attempts free its sessions. Sessions that are used in the meantime
//! stay.
//!
//! # The record of an evicted session
//! Another copy of a write may have been applied before the eviction of its session. For the most
//! recently evicted sessions ([`MAX_EVICTED`]) the store records which sequence numbers were never
//! applied. A write with such a sequence number is answered [`Answer::NotApplied`]: no copy of it
//! ever takes effect, so its client may repeat it in another session. Any other write to a session
//! that is not open is answered [`Answer::SessionExpired`], and its client does not know the
//! outcome.
//!
//! # Invariants
//! * A session retains at most [`MAX_RETAINED_ANSWERS`] answers, and an answer owns no memory, so
//!   the memory of all sessions is bounded. A write beyond that is refused and not applied. An
//!   answer is never discarded before its client has acknowledged it.

use super::{Answer, Write};
use crate::{LogIndex, SessionId, config::Config, mutant::planted};
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// The maximum number of answers that a session retains for its client. A client that acknowledges
/// its answers never comes close to it.
pub const MAX_RETAINED_ANSWERS: usize = 256;
/// The maximum number of evicted sessions that the store records.
pub const MAX_EVICTED: usize = 4096;
/// The number of refused openings after which a session without further use is no longer in use.
pub const REFUSALS_PER_WINDOW: u64 = 64;

/// The maximum number of sessions that a server may be configured with. With more sessions, a state
/// within its quota would not always fit into a snapshot.
pub const MAX_SESSIONS: u32 = 32 * 1024;

/// The maximum size of an encoded number in bytes.
const NUMBER: u64 = 10;
/// The maximum size of an encoded answer with its sequence number, in bytes: a tag and two numbers.
const ANSWER: u64 = NUMBER + 1 + 2 * NUMBER;
/// The maximum size of an encoded session with its id, in bytes.
const SESSION: u64 = 4 * NUMBER + MAX_RETAINED_ANSWERS as u64 * ANSWER;
/// The maximum size of all encoded sessions in a snapshot, in bytes.
pub(super) const MAX_ENCODED_BYTES: u64 =
    MAX_SESSIONS as u64 * SESSION + MAX_EVICTED as u64 * 2 * NUMBER + 3 * NUMBER;

const _: () = assert!(
    !core::mem::needs_drop::<Answer>() && size_of::<Answer>() <= 24,
    "answers are bounded by their number"
);

/// All sessions. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, Session>,
    /// The most recently evicted sessions, in the order of their eviction.
    evicted: VecDeque<Evicted>,
    /// The number of entries by which refused openings have aged the sessions, beyond the entries
    /// themselves.
    aged: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Session {
    /// The client needs no answer to a sequence number below this one.
    acknowledged: u64,
    answers: BTreeMap<u64, Answer>,
    /// The index of the entry that used it last, plus `aged` at that time.
    last_used: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Evicted {
    session: SessionId,
    /// No sequence number from this one on was applied.
    unapplied_from: u64,
}

impl Session {
    /// The lowest sequence number from which on none was applied: an applied sequence number has an
    /// answer or is below `acknowledged`.
    fn unapplied_from(&self) -> u64 {
        let last = self.answers.last_key_value().map_or(0, |(last, _)| *last);
        self.acknowledged.max(last.saturating_add(1))
    }

    /// Discards the answers that the client has acknowledged.
    fn acknowledge(&mut self, acknowledged: u64) {
        self.acknowledged = self.acknowledged.max(acknowledged);
        while let Some(first) = self.answers.first_entry()
            && *first.key() < self.acknowledged
        {
            first.remove();
        }
    }
}

impl Sessions {
    /// The number of open sessions.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Discards all sessions, for a planted bug.
    #[cfg(feature = "mutants")]
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Opens the session of the entry at this index, if there is room or an eviction can make room.
    pub(super) fn open(
        &mut self,
        index: LogIndex,
        capacity: u32,
        window: u64,
        config: &Config,
    ) -> Answer {
        let now = self.now(index);
        while self.open.len() >= capacity.max(1) as usize && !planted!(config, SessionsNeverEvicted)
        {
            if !self.evict(now, window, config) {
                #[cfg(feature = "mutants")]
                if planted!(config, SessionInUseGivenToAnother)
                    && let Some(id) = self.open.keys().next()
                {
                    return Answer::SessionOpened(*id);
                }
                self.aged = self
                    .aged
                    .saturating_add((window / REFUSALS_PER_WINDOW).saturating_sub(1));
                return Answer::SessionsInUse;
            }
        }
        let id = SessionId::new(index.get());
        self.open.insert(
            id,
            Session {
                acknowledged: 1,
                answers: BTreeMap::new(),
                last_used: now,
            },
        );
        Answer::SessionOpened(id)
    }

    /// Evicts the least recently used session, unless it is in use.
    fn evict(&mut self, now: u64, window: u64, config: &Config) -> bool {
        let last_use = |(id, session): &(&SessionId, &Session)| (session.last_used, **id);
        let least_recent = if planted!(config, MostRecentSessionEvicted) {
            self.open.iter().max_by_key(last_use)
        } else {
            self.open.iter().min_by_key(last_use)
        };
        let Some((id, session)) = least_recent else {
            unreachable!("the maximum number of sessions is open, and it is at least 1");
        };
        let in_use = now.saturating_sub(session.last_used) <= window;
        if in_use && !planted!(config, SessionInUseEvicted) {
            return false;
        }
        let unapplied_from = match session.unapplied_from() {
            _ if planted!(config, AppliedSequencesForgotten) => 0,
            from if planted!(config, EvictedSequenceOffByOne) => from - 1,
            from => from,
        };
        let session = *id;
        self.open.remove(&session);
        // Executed by the test `clients::writes::session_evicted_is_remembered_for_a_while`.
        if self.evicted.len() >= MAX_EVICTED {
            self.evicted.pop_front();
        }
        self.evicted.push_back(Evicted {
            session,
            unapplied_from,
        });
        true
    }

    /// Closes a session at the request of its client.
    pub(super) fn close(&mut self, session: SessionId, config: &Config) -> Answer {
        if !planted!(config, ClosedSessionKept) {
            self.open.remove(&session);
        }
        // It is closed now, open before or not.
        Answer::SessionClosed
    }

    /// Marks a session as used.
    // Executed by the test `clients::writes::session_is_renewed_by_the_leader`.
    pub(super) fn renew(&mut self, index: LogIndex, session: SessionId, config: &Config) -> Answer {
        let now = self.now(index);
        match self.open.get_mut(&session) {
            Some(session) => {
                if !planted!(config, RenewalNotNoted) {
                    session.last_used = now;
                }
                Answer::SessionRenewed
            }
            None => Answer::SessionExpired,
        }
    }

    /// Applies a write at most once: calls `apply` only for the first copy.
    pub(super) fn write(
        &mut self,
        index: LogIndex,
        write: &Write,
        config: &Config,
        apply: impl FnOnce() -> Answer,
    ) -> Answer {
        let now = self.now(index);
        // The record of applied sequence numbers is gone with the session, so no further write may
        // be applied.
        let Some(session) = self.open.get_mut(&write.session) else {
            if planted!(config, UnknownSessionApplied) {
                return apply();
            }
            return self.expired(write);
        };
        if !planted!(config, SessionUseNotNoted) {
            session.last_used = now;
        }
        if planted!(config, CommandAppliedTwice) {
            return apply();
        }
        session.acknowledge(write.acknowledged);
        if planted!(config, AnswerDiscardedTooEarly) {
            session.answers.remove(&write.acknowledged);
        }
        if let Some(answer) = session.answers.get(&write.sequence) {
            return match *answer {
                Answer::Number { value, .. } if planted!(config, RepeatAnsweredWithOwnVersion) => {
                    let version = index;
                    Answer::Number { value, version }
                }
                _ => answer.clone(),
            };
        }
        // The answer is discarded: the command may have been applied and must not be applied again.
        if write.sequence < session.acknowledged
            && !planted!(config, AcknowledgedSequenceAppliedAgain)
        {
            return match session.answers.last_key_value() {
                Some((_, latest)) if planted!(config, LowerSequenceGetsLatestAnswer) => {
                    latest.clone()
                }
                _ => Answer::AlreadyAcknowledged,
            };
        }
        // Executed by the test `clients::writes::session_retains_so_many_answers_and_then_refuses`.
        if session.answers.len() >= MAX_RETAINED_ANSWERS {
            return Answer::TooManyUnacknowledged;
        }
        let answer = apply();
        let is_remembered = !matches!(answer, Answer::ConditionFailed { .. })
            || !planted!(config, FailedConditionNotRemembered);
        if is_remembered {
            session.answers.insert(write.sequence, answer.clone());
        }
        if planted!(config, AnswerNotRetained) {
            session.acknowledge(write.sequence.saturating_add(1));
        }
        answer
    }

    /// The answer to a write in a session that is not open.
    fn expired(&self, write: &Write) -> Answer {
        let evicted = self
            .evicted
            .iter()
            .rfind(|evicted| evicted.session == write.session);
        match evicted {
            Some(evicted) if write.sequence >= evicted.unapplied_from => Answer::NotApplied,
            _ => Answer::SessionExpired,
        }
    }

    fn now(&self, index: LogIndex) -> u64 {
        index.get().saturating_add(self.aged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_session_is_no_larger_than_its_bound() {
        let answers = (0..MAX_RETAINED_ANSWERS as u64).map(|nth| {
            let version = LogIndex::new(u64::MAX);
            let value = i64::MIN;
            (u64::MAX - nth, Answer::Number { value, version })
        });
        let session = Session {
            acknowledged: u64::MAX,
            answers: answers.collect(),
            last_used: u64::MAX,
        };
        let evicted = Evicted {
            session: SessionId::new(u64::MAX),
            unapplied_from: u64::MAX,
        };
        let size = |sessions: &Sessions| {
            let bytes = postcard::to_allocvec(sessions).expect("sessions can be encoded");
            bytes.len() as u64
        };
        let mut sessions = Sessions {
            aged: u64::MAX,
            ..Sessions::default()
        };
        sessions.evicted.push_back(evicted);
        let without = size(&sessions);
        assert!(without <= 2 * NUMBER + 3 * NUMBER);
        sessions.open.insert(SessionId::new(u64::MAX), session);
        let encoded = size(&sessions) - without;
        assert!(encoded <= SESSION, "{encoded} bytes");
        assert!(encoded > SESSION - 10, "{encoded} bytes of {SESSION}");
    }
}
