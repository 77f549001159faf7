//! Connections that have not shown yet that they belong here: not authenticated where a password is
//! set, or without a valid command so far.
//!
//! Only so many are kept; one more closes the oldest. A client sends its first command at once, so
//! silent connections, however many, never keep it out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// All such connections of a listener.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, CancellationToken>,
}

/// One such connection. Dropped, it is none any more.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    id: u64,
    /// Cancelled when the connection must make room.
    pub(crate) evicted: CancellationToken,
}

impl Strangers {
    /// Keeps at most `most` of them.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let queue = Mutex::default();
        Arc::new(Self { most, queue })
    }

    /// Adds a connection; evicts the oldest if there are too many now.
    pub(crate) fn enter(self: &Arc<Self>) -> Stranger {
        let evicted = CancellationToken::new();
        let mut queue = self.lock();
        let id = queue.next;
        queue.next += 1;
        queue.waiting.insert(id, evicted.clone());
        if queue.waiting.len() > self.most {
            evict_oldest(&mut queue);
        }
        drop(queue);
        Stranger {
            strangers: Arc::clone(self),
            id,
            evicted,
        }
    }

    /// Evicts the oldest; whether there was one.
    pub(crate) fn evict_oldest(&self) -> bool {
        evict_oldest(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict_oldest(queue: &mut Queue) -> bool {
    let oldest = queue.waiting.pop_first();
    oldest.is_some_and(|(_, evicted)| {
        evicted.cancel();
        true
    })
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_makes_room() {
        let strangers = Strangers::new(2);
        let known = strangers.enter();
        drop(known);
        let [first, second, third] = [(); 3].map(|()| strangers.enter());
        let evicted = [&first, &second, &third].map(|one| one.evicted.is_cancelled());
        assert_eq!(evicted, [true, false, false]);
        assert!(strangers.evict_oldest());
        assert!(second.evicted.is_cancelled() && !third.evicted.is_cancelled());
        drop(third);
        assert!(!strangers.evict_oldest());
    }
}
