//! Client sessions (thesis §6.3): opened, used, closed and evicted by what the log holds.
//!
//! # Eviction
//! The store keeps at most as many sessions as the entry that opens one allows. Opening one more
//! evicts the session that was used least recently, if that one is not *in use*: a session is in use
//! for a number of applied entries after its last use, its *window*. While all sessions are in use,
//! the store refuses to open another. Capacity and window are part of the entry, so every replica
//! decides alike; no clock takes part.
//!
//! Entries age sessions only while entries are applied. A refused opening therefore ages all sessions
//! by a part of the window ([`REFUSALS_PER_WINDOW`]): after a client with many sessions crashed in an
//! otherwise idle cluster, a few attempts free its sessions. Sessions that are used meanwhile stay.
//!
//! # What remains of an evicted session
//! A write that arrives after the eviction may have been applied before it, by another copy. For the
//! sessions evicted last ([`MAX_EVICTED`]) the store remembers which sequences were never applied. A
//! write with such a sequence is answered [`Answer::NotApplied`]: no copy of it ever takes effect, so
//! its client may repeat it in another session. For any other write to a session that is not open the
//! answer is [`Answer::SessionExpired`], and its client does not know the outcome.
//!
//! # Invariants
//! * A session retains at most [`MAX_RETAINED_ANSWERS`] answers, and an answer owns no memory, so the
//!   memory of all sessions is bounded. A write beyond that is refused, not applied, and no answer is
//!   discarded that its client has not acknowledged.

use super::{Answer, Write};
use crate::{LogIndex, SessionId, config::Config, mutant::planted};
use alloc::collections::{BTreeMap, VecDeque};
use serde::{Deserialize, Serialize};

/// The most answers that a session retains for its client. A client that acknowledges what it
/// received never comes near it.
pub const MAX_RETAINED_ANSWERS: usize = 256;
/// How many evicted sessions the store remembers.
pub const MAX_EVICTED: usize = 4096;
/// After how many refused openings a session that was not used meanwhile is no longer in use.
pub const REFUSALS_PER_WINDOW: u64 = 64;

/// The most sessions that a server may be set up to keep. With more of them a state within its quota
/// would not always fit a snapshot.
pub const MAX_SESSIONS: u32 = 32 * 1024;

/// The most bytes of an encoded number.
const NUMBER: u64 = 10;
/// The most bytes of an encoded answer with its sequence: a tag and two numbers.
const ANSWER: u64 = NUMBER + 1 + 2 * NUMBER;
/// The most bytes of an encoded session with its id.
const SESSION: u64 = 4 * NUMBER + MAX_RETAINED_ANSWERS as u64 * ANSWER;
/// The most bytes that all sessions take in a snapshot.
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
    /// The sessions evicted last, in the order of their eviction.
    evicted: VecDeque<Evicted>,
    /// How many entries refused openings stand for, beyond themselves.
    aged: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Session {
    /// The client needs no answer to a sequence below this one.
    acknowledged: u64,
    answers: BTreeMap<u64, Answer>,
    /// The index of the entry that used it last, plus `aged` at that time.
    last_used: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Evicted {
    session: SessionId,
    /// No sequence from this one on was applied.
    unapplied_from: u64,
}

impl Session {
    /// The first sequence from which on none was applied: an applied sequence has an answer, or is
    /// below `acknowledged`.
    fn unapplied_from(&self) -> u64 {
        let last = self.answers.last_key_value().map_or(0, |(last, _)| *last);
        self.acknowledged.max(last.saturating_add(1))
    }

    /// Forgets the answers that the client needs no more.
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
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Forgets all of them, for a bug.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Opens the session of the entry at this index, if there is room or room can be made.
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

    /// Evicts the session used least recently, unless it is in use.
    fn evict(&mut self, now: u64, window: u64, config: &Config) -> bool {
        let least_recent = self
            .open
            .iter()
            .min_by_key(|(id, session)| (session.last_used, **id));
        let Some((id, session)) = least_recent else {
            return false;
        };
        let in_use = now.saturating_sub(session.last_used) <= window;
        if in_use && !planted!(config, SessionInUseEvicted) {
            return false;
        }
        let unapplied_from = if planted!(config, AppliedSequencesForgotten) {
            0
        } else {
            session.unapplied_from()
        };
        let session = *id;
        self.open.remove(&session);
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
        // Whether it was open or not, it is not any more.
        Answer::SessionClosed
    }

    /// Marks a session as used.
    pub(super) fn renew(&mut self, index: LogIndex, session: SessionId) -> Answer {
        let now = self.now(index);
        match self.open.get_mut(&session) {
            Some(session) => {
                session.last_used = now;
                Answer::SessionRenewed
            }
            None => Answer::SessionExpired,
        }
    }

    /// Applies a write at most once: `apply` is called the first time.
    pub(super) fn write(
        &mut self,
        index: LogIndex,
        write: &Write,
        config: &Config,
        apply: impl FnOnce() -> Answer,
    ) -> Answer {
        let now = self.now(index);
        // What such a session had applied is forgotten with it, so nothing more may be.
        let Some(session) = self.open.get_mut(&write.session) else {
            if planted!(config, UnknownSessionApplied) {
                return apply();
            }
            return self.expired(write);
        };
        session.last_used = now;
        if planted!(config, CommandAppliedTwice) {
            return apply();
        }
        session.acknowledge(write.acknowledged);
        if let Some(answer) = session.answers.get(&write.sequence) {
            return answer.clone();
        }
        // Forgotten answers: the command may have been applied, and must not be again.
        if write.sequence < session.acknowledged
            && !planted!(config, AcknowledgedSequenceAppliedAgain)
        {
            return Answer::AlreadyAcknowledged;
        }
        if session.answers.len() >= MAX_RETAINED_ANSWERS {
            return Answer::TooManyUnacknowledged;
        }
        let answer = apply();
        session.answers.insert(write.sequence, answer.clone());
        answer
    }

    /// The answer to a write of a session that is not open.
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
