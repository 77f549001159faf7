//! The choice of the connection to close if a new client finds all connections in use.
//!
//! The first choice is the oldest *stranger*: a connection that has not authenticated although a
//! password is set, or that has not sent a valid command yet. A client sends its first command at
//! once, so silent connections cannot lock it out, regardless of their number. Only half of all
//! connections may be strangers.
//!
//! The second choice is the client with the longest idle time. Connection pools hold connections for a
//! long time and expect them to work, so it must have been idle for [`Evictions::min_idle`]. Without
//! eviction of idle clients, clients that never send another command would lock out new clients until
//! the idle timeout.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of a listener that can be evicted.
#[derive(Debug)]
pub(crate) struct Evictions {
    max_strangers: usize,
    min_idle: Duration,
    candidates: Mutex<Candidates>,
}

#[derive(Debug, Default)]
struct Candidates {
    next_id: u64,
    /// Strangers in order of arrival.
    strangers: BTreeMap<u64, CancellationToken>,
    /// Known clients without a command in progress, longest idle time first.
    idle: BTreeMap<(Instant, u64), CancellationToken>,
}

/// A tracked connection. It begins as a stranger.
#[derive(Debug)]
pub(crate) struct Tracked {
    evictions: Arc<Evictions>,
    id: u64,
    state: State,
    /// Cancelled when the connection is evicted.
    pub(crate) evicted: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stranger,
    Busy,
    IdleSince(Instant),
}

impl Evictions {
    /// Keeps at most `max_strangers` strangers, and never evicts a known client with an idle time
    /// below `min_idle`.
    pub(crate) fn new(max_strangers: usize, min_idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            max_strangers,
            min_idle,
            candidates: Mutex::default(),
        })
    }

    /// Adds a connection. Evicts the oldest stranger if there are too many strangers.
    pub(crate) fn enter(self: &Arc<Self>) -> Tracked {
        let evicted = CancellationToken::new();
        let mut candidates = self.lock();
        let id = candidates.next_id;
        candidates.next_id += 1;
        candidates.strangers.insert(id, evicted.clone());
        if candidates.strangers.len() > self.max_strangers {
            evict_stranger(&mut candidates);
        }
        drop(candidates);
        Tracked {
            evictions: Arc::clone(self),
            id,
            state: State::Stranger,
            evicted,
        }
    }

    /// Evicts a connection in favor of a new one. Returns whether it did.
    pub(crate) fn make_room(&self) -> bool {
        let mut candidates = self.lock();
        evict_stranger(&mut candidates) || self.evict_idle(&mut candidates)
    }

    fn evict_idle(&self, candidates: &mut Candidates) -> bool {
        let Some(longest) = candidates.idle.first_entry() else {
            return false;
        };
        let (since, _) = *longest.key();
        let may_close = since.elapsed() >= self.min_idle;
        if may_close {
            longest.remove().cancel();
        }
        may_close
    }

    fn lock(&self) -> MutexGuard<'_, Candidates> {
        let candidates = &self.candidates;
        candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict_stranger(candidates: &mut Candidates) -> bool {
    let oldest = candidates.strangers.pop_first();
    oldest.is_some_and(|(_, evicted)| {
        evicted.cancel();
        true
    })
}

impl Tracked {
    /// Marks the client as known, with a command in progress whose reply is not written to the socket
    /// yet.
    pub(crate) fn set_busy(&mut self) {
        self.set(State::Busy);
    }

    /// Marks the client as known, without a command in progress.
    pub(crate) fn set_idle(&mut self) {
        self.set(State::IdleSince(Instant::now()));
    }

    pub(crate) fn is_stranger(&self) -> bool {
        self.state == State::Stranger
    }

    fn set(&mut self, state: State) {
        if self.state == state {
            return;
        }
        let mut candidates = self.evictions.lock();
        remove(&mut candidates, self.id, self.state);
        // An evicted connection is about to close, so it must not be evicted again.
        if let State::IdleSince(since) = state
            && !self.evicted.is_cancelled()
        {
            candidates
                .idle
                .insert((since, self.id), self.evicted.clone());
        }
        self.state = state;
    }
}

fn remove(candidates: &mut Candidates, id: u64, state: State) {
    match state {
        State::Stranger => candidates.strangers.remove(&id),
        State::IdleSince(since) => candidates.idle.remove(&(since, id)),
        State::Busy => None,
    };
}

impl Drop for Tracked {
    fn drop(&mut self) {
        remove(&mut self.evictions.lock(), self.id, self.state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN_IDLE: Duration = Duration::from_secs(60);

    fn evicted<const N: usize>(connections: [&Tracked; N]) -> [bool; N] {
        connections.map(|connection| connection.evicted.is_cancelled())
    }

    #[test]
    fn oldest_stranger_makes_room() {
        let evictions = Evictions::new(2, MIN_IDLE);
        drop(evictions.enter());
        let [first, second, third] = [(); 3].map(|()| evictions.enter());
        assert_eq!(evicted([&first, &second, &third]), [true, false, false]);
        assert!(evictions.make_room());
        assert_eq!(evicted([&second, &third]), [true, false]);
        drop(third);
        assert!(!evictions.make_room());
    }

    #[tokio::test(start_paused = true)]
    async fn longest_idle_client_makes_room_after_a_minimum() {
        let evictions = Evictions::new(2, MIN_IDLE);
        let second = Duration::from_secs(1);
        let mut known = Vec::new();
        for _ in 0..3 {
            let mut connection = evictions.enter();
            connection.set_busy();
            connection.set_idle();
            known.push(connection);
            tokio::time::advance(second).await;
        }
        // The first client is active again, so the second client has the longest idle time.
        known[0].set_busy();
        known[0].set_idle();
        tokio::time::advance(MIN_IDLE - 3 * second).await;
        assert!(!evictions.make_room());
        tokio::time::advance(second).await;
        assert!(evictions.make_room());
        let all = |known: &[Tracked]| evicted([&known[0], &known[1], &known[2]]);
        assert_eq!(all(&known), [false, true, false]);
        assert!(!evictions.make_room());
        // A stranger is evicted first, and a client with a command in progress never.
        tokio::time::advance(MIN_IDLE).await;
        let stranger = evictions.enter();
        assert!(evictions.make_room());
        assert!(stranger.evicted.is_cancelled());
        known[2].set_busy();
        assert!(evictions.make_room());
        assert_eq!(all(&known), [true, true, false]);
        assert!(!evictions.make_room());
    }
}
