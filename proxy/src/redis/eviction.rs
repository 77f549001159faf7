//! Which connection is closed when a new client finds all of them taken.
//!
//! First the oldest *stranger*: a connection that has not authenticated where a password is set, or has
//! sent no valid command so far. A client sends its first command at once, so silent connections,
//! however many, never keep it out. Only half of all connections may be strangers.
//!
//! Otherwise the client that has been idle for the longest time. Pools hold connections for long and
//! expect them to work, so it must have been idle for [`Evictions::min_idle`]. Without that rule,
//! clients that never send another command would keep everyone out until the idle timeout.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of a listener that may be closed for a new one.
#[derive(Debug)]
pub(crate) struct Evictions {
    max_strangers: usize,
    min_idle: Duration,
    candidates: Mutex<Candidates>,
}

#[derive(Debug, Default)]
struct Candidates {
    next_id: u64,
    /// In the order in which they came.
    strangers: BTreeMap<u64, CancellationToken>,
    /// Known clients without a command under way, the longest idle first.
    idle: BTreeMap<(Instant, u64), CancellationToken>,
}

/// A connection. It is a stranger at first.
#[derive(Debug)]
pub(crate) struct Tracked {
    evictions: Arc<Evictions>,
    id: u64,
    state: State,
    /// Cancelled when the connection must make room.
    pub(crate) evicted: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stranger,
    Busy,
    IdleSince(Instant),
}

impl Evictions {
    /// Keeps at most `max_strangers` strangers, and never closes a known client that has been idle for
    /// less than `min_idle`.
    pub(crate) fn new(max_strangers: usize, min_idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            max_strangers,
            min_idle,
            candidates: Mutex::default(),
        })
    }

    /// Adds a connection; evicts the oldest stranger if there are too many now.
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

    /// Evicts a connection for a new one; returns whether there was one to evict.
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
    /// The client is known, and a command is under way: its reply is not written to the socket yet.
    pub(crate) fn set_busy(&mut self) {
        self.set(State::Busy);
    }

    /// The client is known, and no command is under way from now on.
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
        // An evicted connection is about to close: it makes room once only.
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
        // The first one is used again, so the second one is idle for the longest time.
        known[0].set_busy();
        known[0].set_idle();
        tokio::time::advance(MIN_IDLE - 3 * second).await;
        assert!(!evictions.make_room());
        tokio::time::advance(second).await;
        assert!(evictions.make_room());
        let all = |known: &[Tracked]| evicted([&known[0], &known[1], &known[2]]);
        assert_eq!(all(&known), [false, true, false]);
        assert!(!evictions.make_room());
        // A stranger goes first, and a client with a command under way never.
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
