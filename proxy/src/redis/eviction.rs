//! The choice of the connection to close if a new client finds all connections in use.
//!
//! The first choice is the oldest *unverified connection*: it has not authenticated although a password
//! is set, or it has not sent a valid command yet. A client sends its first command immediately, so
//! silent connections cannot lock it out, regardless of their number. Only half of all connections may
//! be unverified.
//!
//! An unverified connection is not evicted in its first 250 ms, because its first command may be in
//! flight. Meanwhile new connections wait in the backlog of the listener. After 250 ms of this state,
//! their commands had time to arrive during the wait, so an unverified connection is evicted after
//! 25 ms: silent connections only delay a new client.
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
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The time that an unverified connection has for its first command.
const YOUNG: Duration = Duration::from_millis(250);
/// The same time after a shortage of connections for [`YOUNG`].
const YOUNG_IF_CROWDED: Duration = Duration::from_millis(25);
/// The timeout for the close of an evicted connection.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections of a listener.
#[derive(Debug)]
pub(crate) struct Evictions {
    /// One permit for each further connection.
    room: Arc<Semaphore>,
    max_unverified: usize,
    min_idle: Duration,
    candidates: Mutex<Candidates>,
    /// Notified when a connection is verified or closed.
    changed: Notify,
}

/// The connections that can be evicted.
#[derive(Debug, Default)]
struct Candidates {
    next_id: u64,
    /// Unverified connections in order of arrival.
    unverified: BTreeMap<u64, UnverifiedConnection>,
    /// Known clients without a command in progress, longest idle time first.
    idle: BTreeMap<(Instant, u64), CancellationToken>,
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct UnverifiedConnection {
    accepted: Instant,
    evicted: CancellationToken,
}

/// New connections had to wait.
#[derive(Clone, Copy, Debug)]
struct Shortage {
    since: Instant,
    last: Instant,
}

/// The result of an attempt to evict a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eviction {
    Done,
    /// No connection may be evicted before this time.
    NotBefore(Instant),
    /// There is no candidate.
    Impossible,
}

/// A tracked connection. It begins unverified. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Tracked {
    evictions: Arc<Evictions>,
    id: u64,
    state: State,
    /// Cancelled when the connection is evicted.
    pub(crate) evicted: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unverified,
    Busy,
    IdleSince(Instant),
}

impl Evictions {
    /// Keeps at most `room` connections. Half of them may be unverified. Never evicts a known client
    /// with an idle time below `min_idle`.
    pub(crate) fn new(room: usize, min_idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(room)),
            max_unverified: (room / 2).max(1),
            min_idle,
            candidates: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Waits for room for a connection. May evict another connection. Returns `None` if all
    /// connections belong to known clients that must not be evicted.
    pub(crate) async fn enter(self: &Arc<Self>) -> Option<Tracked> {
        let permit = self.permit().await?;
        // An evicted connection may be closing still. So there can be too many unverified
        // connections only after there is a permit.
        while let Some(at) = self.reduce_unverified() {
            let _ = timeout_at(at, self.changed.notified()).await;
        }
        let (accepted, evicted) = (Instant::now(), CancellationToken::new());
        let mut candidates = self.lock();
        let id = candidates.next_id;
        candidates.next_id += 1;
        let connection = UnverifiedConnection {
            accepted,
            evicted: evicted.clone(),
        };
        candidates.unverified.insert(id, connection);
        drop(candidates);
        Some(Tracked {
            evictions: Arc::clone(self),
            id,
            state: State::Unverified,
            evicted,
            _permit: permit,
        })
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                return Some(permit);
            }
            let permit = Arc::clone(&self.room).acquire_owned();
            match self.make_room() {
                Eviction::Done => return timeout(EVICTION_TIMEOUT, permit).await.ok()?.ok(),
                Eviction::NotBefore(at) => tokio::select! {
                    permit = permit => return permit.ok(),
                    () = self.changed.notified() => {}
                    () = sleep_until(at) => {}
                },
                Eviction::Impossible => return None,
            }
        }
    }

    /// Evicts a connection in favor of a new one.
    fn make_room(&self) -> Eviction {
        let mut candidates = self.lock();
        match candidates.evict_unverified() {
            Eviction::Impossible if self.evict_idle(&mut candidates) => Eviction::Done,
            eviction => eviction,
        }
    }

    /// Makes room for one more unverified connection. Returns the time of the next attempt if all of
    /// them are young.
    fn reduce_unverified(&self) -> Option<Instant> {
        let mut candidates = self.lock();
        if candidates.unverified.len() < self.max_unverified {
            return None;
        }
        match candidates.evict_unverified() {
            Eviction::NotBefore(at) => Some(at),
            Eviction::Done | Eviction::Impossible => None,
        }
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

impl Candidates {
    /// Evicts the oldest unverified connection.
    fn evict_unverified(&mut self) -> Eviction {
        let now = Instant::now();
        let young = self.young(now);
        let Some(oldest) = self.unverified.first_entry() else {
            return Eviction::Impossible;
        };
        let at = oldest.get().accepted + young;
        if at <= now {
            oldest.remove().evicted.cancel();
            return Eviction::Done;
        }
        let since = match self.shortage {
            Some(shortage) if shortage.is_recent(now) => shortage.since,
            _ => now,
        };
        self.shortage = Some(Shortage { since, last: now });
        Eviction::NotBefore(at)
    }

    /// The time that an unverified connection has for its first command.
    fn young(&self, now: Instant) -> Duration {
        match self.shortage {
            Some(shortage)
                if shortage.is_recent(now) && shortage.last - shortage.since >= YOUNG =>
            {
                YOUNG_IF_CROWDED
            }
            _ => YOUNG,
        }
    }
}

impl Shortage {
    /// Whether the shortage continues. Connections become free in batches, so some new connections do
    /// not wait during a shortage.
    fn is_recent(self, now: Instant) -> bool {
        now - self.last <= 2 * YOUNG
    }
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

    pub(crate) fn is_unverified(&self) -> bool {
        self.state == State::Unverified
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
        drop(candidates);
        if self.is_unverified() {
            self.evictions.changed.notify_one();
        }
        self.state = state;
    }
}

fn remove(candidates: &mut Candidates, id: u64, state: State) {
    match state {
        State::Unverified => {
            candidates.unverified.remove(&id);
        }
        State::IdleSince(since) => {
            candidates.idle.remove(&(since, id));
        }
        State::Busy => {}
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        remove(&mut self.evictions.lock(), self.id, self.state);
        if self.is_unverified() {
            self.evictions.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const MIN_IDLE: Duration = Duration::from_secs(60);

    fn evicted<const N: usize>(connections: [&Tracked; N]) -> [bool; N] {
        connections.map(|connection| connection.evicted.is_cancelled())
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_unverified_connection_makes_room() {
        let evictions = Evictions::new(4, MIN_IDLE);
        drop(evictions.enter().await);
        let begun = Instant::now();
        let first = evictions.enter().await.unwrap();
        let second = evictions.enter().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let third = evictions.enter().await.unwrap();
        assert_eq!(evicted([&first, &second, &third]), [true, false, false]);
        tokio::time::advance(YOUNG).await;
        assert_eq!(evictions.make_room(), Eviction::Done);
        assert_eq!(evicted([&second, &third]), [true, false]);
        drop(third);
        assert_eq!(evictions.make_room(), Eviction::Impossible);
    }

    #[tokio::test(start_paused = true)]
    async fn unverified_connection_has_time_for_its_first_command() {
        let evictions = Evictions::new(4, MIN_IDLE);
        let mut first = evictions.enter().await.unwrap();
        let second = evictions.enter().await.unwrap();
        let mut entering = std::pin::pin!(evictions.enter());
        assert!(entering.as_mut().now_or_never().is_none());
        tokio::time::advance(YOUNG / 2).await;
        assert!(entering.as_mut().now_or_never().is_none());
        // One unverified connection less: the next connection need not wait any longer.
        first.set_busy();
        let third = entering.as_mut().now_or_never().flatten().unwrap();
        assert_eq!(evicted([&first, &second, &third]), [false; 3]);
        let begun = Instant::now();
        let fourth = evictions.enter().await.unwrap();
        let waited = begun.elapsed();
        assert!((YOUNG / 2..YOUNG).contains(&waited), "{waited:?}");
        assert_eq!(evicted([&second, &third, &fourth]), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_only_delay_a_client() {
        let evictions = Evictions::new(4, MIN_IDLE);
        let begun = Instant::now();
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(evictions.enter().await.unwrap());
            if let Some(oldest) = silent
                .iter()
                .position(|connection| connection.evicted.is_cancelled())
            {
                drop(silent.remove(oldest));
            }
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn longest_idle_client_makes_room_after_a_minimum() {
        let evictions = Evictions::new(4, MIN_IDLE);
        let second = Duration::from_secs(1);
        let mut known = Vec::new();
        for _ in 0..3 {
            let mut connection = evictions.enter().await.unwrap();
            connection.set_busy();
            connection.set_idle();
            known.push(connection);
            tokio::time::advance(second).await;
        }
        // The first client is active again, so the second client has the longest idle time.
        known[0].set_busy();
        known[0].set_idle();
        tokio::time::advance(MIN_IDLE - 3 * second).await;
        assert_eq!(evictions.make_room(), Eviction::Impossible);
        tokio::time::advance(second).await;
        assert_eq!(evictions.make_room(), Eviction::Done);
        let all = |known: &[Tracked]| evicted([&known[0], &known[1], &known[2]]);
        assert_eq!(all(&known), [false, true, false]);
        assert_eq!(evictions.make_room(), Eviction::Impossible);
        // An unverified connection is evicted first, and a client with a command in progress never.
        tokio::time::advance(MIN_IDLE).await;
        let connection = evictions.enter().await.unwrap();
        tokio::time::advance(YOUNG).await;
        assert_eq!(evictions.make_room(), Eviction::Done);
        assert!(connection.evicted.is_cancelled());
        known[2].set_busy();
        assert_eq!(evictions.make_room(), Eviction::Done);
        assert_eq!(all(&known), [true, true, false]);
        assert_eq!(evictions.make_room(), Eviction::Impossible);
    }
}
