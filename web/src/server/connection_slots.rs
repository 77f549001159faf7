//! The slots of connections, and the choice of the connection to evict if all are taken.

use super::Limits;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// The minimum time before a connection without a request is evicted.
pub(super) const YOUNG: Duration = Duration::from_millis(250);
/// The same minimum after a shortage of slots for [`YOUNG`].
const YOUNG_IF_CROWDED: Duration = Duration::from_millis(25);
/// The time after which a busy connection in the reserve is evicted. A request that waits for a
/// regular slot is rejected earlier.
pub(super) const BUSY_IN_RESERVE: Duration = Duration::from_millis(500);

/// The slots of the open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    table: Mutex<Table>,
    /// Notified when a connection ends or becomes idle.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    shortage: Option<Shortage>,
    regular: BTreeMap<u64, Arc<Slot>>,
    reserved: BTreeMap<u64, Arc<Slot>>,
}

/// A shortage: new connections had to wait for a slot.
#[derive(Clone, Copy, Debug)]
struct Shortage {
    since: Instant,
    last: Instant,
}

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) accepted: Instant,
    /// Changes under the lock of [`Connections`] only.
    is_reserved: AtomicBool,
    state: Mutex<Activity>,
    /// The number of requests.
    requests: AtomicU64,
    /// Cancelled when the connection is evicted.
    pub(super) evicted: CancellationToken,
    /// A clone of [`Connections::changed`].
    changed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Activity {
    IdleSince(Instant),
    /// The request with this number is in progress: its response is incomplete.
    Busy(u64),
    /// Hyper has the whole response in its buffers and has not flushed them yet.
    Sending,
    /// The connection is evicted: it begins no further request.
    Evicted,
}

/// The slot of a connection. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Permit {
    connections: Arc<Connections>,
    id: u64,
    pub(super) slot: Arc<Slot>,
}

impl Connections {
    /// Waits for a slot for a connection. May evict another connection.
    pub(super) async fn enter(self: &Arc<Self>, limits: &Limits) -> Permit {
        loop {
            let changed = self.changed.notified();
            match self.take(limits) {
                Ok(slot) => return slot,
                Err(Some(at)) => until(at, changed).await,
                Err(None) => changed.await,
            }
        }
    }

    /// Takes a slot for a connection now, if possible.
    ///
    /// # Errors
    /// If no slot is available: the time at which a connection can be evicted, if known.
    fn take(self: &Arc<Self>, limits: &Limits) -> Result<Permit, Option<Instant>> {
        let mut table = self.lock();
        let young = table.young();
        let is_reserved = match make_room(&mut table.regular, limits.connections, young) {
            Ok(()) => false,
            Err(at) => match make_room(&mut table.reserved, limits.reserve, young) {
                Ok(()) => true,
                Err(reserve_at) => {
                    table.note_shortage();
                    return Err([at, reserve_at].into_iter().flatten().min());
                }
            },
        };
        let slot = Arc::new(Slot::new(is_reserved, Arc::clone(&self.changed)));
        let id = table.next;
        table.next += 1;
        let Table {
            regular, reserved, ..
        } = &mut *table;
        let slots = if is_reserved { reserved } else { regular };
        slots.insert(id, Arc::clone(&slot));
        drop(table);
        Ok(Permit {
            connections: Arc::clone(self),
            id,
            slot,
        })
    }

    /// Moves a connection from the reserve to a regular slot.
    ///
    /// # Errors
    /// See [`Connections::take`].
    fn promote(&self, id: u64, limits: &Limits) -> Result<(), Option<Instant>> {
        let mut table = self.lock();
        if !table.reserved.contains_key(&id) {
            return Err(None);
        }
        let young = table.young();
        make_room(&mut table.regular, limits.connections, young)?;
        if let Some(slot) = table.reserved.remove(&id) {
            slot.is_reserved.store(false, Relaxed);
            table.regular.insert(id, slot);
        }
        drop(table);
        self.changed.notify_waiters();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The time that a connection has for its first request.
    fn young(&self) -> Duration {
        match self.shortage {
            Some(shortage) if shortage.is_recent() && shortage.last - shortage.since >= YOUNG => {
                YOUNG_IF_CROWDED
            }
            _ => YOUNG,
        }
    }

    fn note_shortage(&mut self) {
        let now = Instant::now();
        let since = match self.shortage {
            Some(shortage) if shortage.is_recent() => shortage.since,
            _ => now,
        };
        self.shortage = Some(Shortage { since, last: now });
    }
}

impl Shortage {
    /// Whether the shortage continues. Places become free in batches, so some new connections do not wait
    /// during a shortage.
    fn is_recent(self) -> bool {
        self.last.elapsed() <= 2 * YOUNG
    }
}

/// Waits for a change, but no longer than until `at`.
async fn until(at: Instant, changed: impl Future<Output = ()>) {
    let _ = tokio::time::timeout_at(at, changed).await;
}

/// If all slots are taken, evicts the connection that has been evictable for the longest time.
/// `young` is the time that a connection has for its first request.
///
/// # Errors
/// If no connection is evictable: the time at which the first one becomes evictable, or `None` if all
/// are busy.
fn make_room(
    slots: &mut BTreeMap<u64, Arc<Slot>>,
    most: usize,
    young: Duration,
) -> Result<(), Option<Instant>> {
    if slots.len() < most {
        return Ok(());
    }
    let now = Instant::now();
    let mut candidates: Vec<(Instant, u64)> = slots
        .iter()
        .filter_map(|(id, slot)| Some((slot.evictable_at(*slot.lock(), young)?, *id)))
        .collect();
    candidates.sort_unstable();
    for (at, id) in candidates {
        if at > now {
            return Err(Some(at));
        }
        // A request may have begun in the meantime.
        if slots[&id].evict(now, young) {
            slots.remove(&id);
            return Ok(());
        }
    }
    Err(None)
}

impl Permit {
    /// Whether a request other than a health check may be executed. In the reserve, it needs the slot
    /// of a regular connection.
    pub(super) async fn is_admitted(&self, limits: &Limits) -> bool {
        let deadline = Instant::now() + YOUNG;
        while self.slot.is_reserved() {
            let changed = self.connections.changed.notified();
            match self.connections.promote(self.id, limits) {
                Ok(()) => break,
                Err(Some(at)) if at <= deadline => until(at, changed).await,
                Err(_) => return false,
            }
        }
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.regular.remove(&self.id);
        table.reserved.remove(&self.id);
        drop(table);
        self.connections.changed.notify_waiters();
    }
}

impl Slot {
    pub(super) fn new(is_reserved: bool, changed: Arc<Notify>) -> Self {
        let now = Instant::now();
        Self {
            accepted: now,
            is_reserved: AtomicBool::new(is_reserved),
            state: Mutex::new(Activity::IdleSince(now)),
            requests: AtomicU64::new(0),
            evicted: CancellationToken::new(),
            changed,
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved.load(Relaxed)
    }

    /// The time from which a connection in this state may be evicted.
    pub(super) fn evictable_at(&self, state: Activity, young: Duration) -> Option<Instant> {
        match (state, self.is_reserved()) {
            (Activity::IdleSince(since), true) => Some(since + young),
            (Activity::IdleSince(since), false) => match self.requests.load(Relaxed) {
                0 => Some(since + young),
                _ => Some(since),
            },
            (Activity::Busy(_) | Activity::Sending, true) => Some(self.accepted + BUSY_IN_RESERVE),
            (Activity::Busy(_) | Activity::Sending, false) | (Activity::Evicted, _) => None,
        }
    }

    /// Evicts a connection if permitted. Returns whether it did.
    pub(super) fn evict(&self, now: Instant, young: Duration) -> bool {
        let mut state = self.lock();
        let is_evictable = self.evictable_at(*state, young).is_some_and(|at| at <= now);
        if is_evictable {
            *state = Activity::Evicted;
            self.evicted.cancel();
        }
        is_evictable
    }

    pub(super) fn is_busy(&self) -> bool {
        !matches!(*self.lock(), Activity::IdleSince(_))
    }

    /// Hyper has written all its output to the socket.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if let Activity::Sending = *state {
            *state = Activity::IdleSince(Instant::now());
            drop(state);
            self.changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        let state = &self.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in progress, until hyper has taken the last frame of its response. A response may be a
/// single frame, so this does not imply that anything was written: see [`Slot::flushed`].
pub(super) struct Busy {
    slot: Arc<Slot>,
    request: u64,
}

impl Busy {
    /// Returns `None` if the connection was evicted.
    pub(super) fn begin(slot: &Arc<Slot>) -> Option<Self> {
        let mut state = slot.lock();
        if let Activity::Evicted = *state {
            return None;
        }
        let request = slot.requests.fetch_add(1, Relaxed);
        *state = Activity::Busy(request);
        drop(state);
        let slot = Arc::clone(slot);
        Some(Self { slot, request })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        // A later request may have begun.
        if matches!(*state, Activity::Busy(request) if request == self.request) {
            // Hyper flushes after each frame, the last one included.
            *state = Activity::Sending;
        }
    }
}
