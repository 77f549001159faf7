//! The recent history for late observers: notable events, and one load sample per second. Both are
//! ring buffers of a fixed size with numbered items. An observer with the last number that it saw gets
//! all later items, and the number of items that were lost.

use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};
use tokio::sync::watch;
use transport::Clock;

/// The capacity of the event ring.
const EVENTS: usize = 1000;
/// The capacity of the sample ring: ten minutes of seconds.
const SAMPLES: usize = 600;

/// A notable event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The number of the event in this run of the proxy, from 1.
    pub id: u64,
    /// The time in milliseconds since 1970, by the clock of the affected process.
    pub at: u64,
    /// The kind: `became_leader`, `unreachable`, `chaos` ... `docs/http.md` lists them.
    pub what: String,
    /// Further fields of the event.
    #[serde(flatten)]
    pub about: Map<String, Value>,
}

/// The recent events and samples. See the module documentation.
#[derive(Debug)]
pub struct EventLog {
    clock: Arc<dyn Clock>,
    run: String,
    rings: Mutex<Rings>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Rings {
    events: Ring<Event>,
    samples: Ring<Value>,
}

/// The latest items of a sequence, numbered from 1.
#[derive(Debug)]
struct Ring<T> {
    kept: VecDeque<T>,
    most: usize,
    /// The number of the last item.
    last: u64,
}

impl<T: Clone> Ring<T> {
    fn new(most: usize) -> Self {
        Self {
            kept: VecDeque::new(),
            most,
            last: 0,
        }
    }

    fn push(&mut self, thing: T) {
        if self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        self.kept.push_back(thing);
        self.last += 1;
    }

    /// Returns the number of lost items after `seen`, and all remaining items after it.
    fn after(&self, seen: u64) -> (u64, Vec<T>) {
        let wanted = self.last.saturating_sub(seen);
        let there = wanted.min(self.kept.len() as u64);
        let things = self.kept.range(self.kept.len() - there as usize..);
        (wanted - there, things.cloned().collect())
    }
}

/// The read position of an observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    events: u64,
    samples: u64,
}

/// The items after a read position.
#[derive(Debug)]
pub struct UnreadItems {
    /// The number of events that were lost unread.
    pub missed: u64,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The samples, in order.
    pub samples: Vec<Value>,
}

impl EventLog {
    /// Creates an empty event log. `run` is a random number that distinguishes this run of the proxy from
    /// earlier ones.
    pub fn new(clock: Arc<dyn Clock>, run: u32) -> Self {
        let event_log = Self {
            clock,
            run: format!("{run:08x}"),
            rings: Mutex::new(Rings {
                events: Ring::new(EVENTS),
                samples: Ring::new(SAMPLES),
            }),
            changed: watch::Sender::new(()),
        };
        let version = Map::from_iter([("version".to_owned(), env!("CARGO_PKG_VERSION").into())]);
        event_log.record("proxy_started", version);
        event_log
    }

    /// The current time in milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let since = self.clock.calendar().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Adds an event with the current time.
    pub fn record(&self, what: &str, about: Map<String, Value>) {
        self.record_at(self.now(), what, about);
    }

    /// Adds an event with a given time, in milliseconds since 1970.
    pub fn record_at(&self, at: u64, what: &str, about: Map<String, Value>) {
        let mut rings = self.lock();
        let event = Event {
            id: rings.events.last + 1,
            at,
            what: what.to_owned(),
            about,
        };
        rings.events.push(event);
        drop(rings);
        self.changed.send_replace(());
    }

    /// Adds a sample.
    pub fn sample(&self, sample: Value) {
        self.lock().samples.push(sample);
        self.changed.send_replace(());
    }

    /// A receiver that is notified of each new item.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the items after a read position, and advances the position past them.
    pub fn after(&self, position: &mut Position) -> UnreadItems {
        let rings = self.lock();
        let fresh = *position == Position::default();
        let (missed, events) = rings.events.after(position.events);
        let (_, samples) = rings.samples.after(position.samples);
        *position = Position {
            events: rings.events.last,
            samples: rings.samples.last,
        };
        UnreadItems {
            // A first-time observer has missed nothing.
            missed: if fresh { 0 } else { missed },
            events,
            samples,
        }
    }

    /// Formats a read position as an id of server-sent events.
    pub fn id(&self, position: Position) -> String {
        format!("{}-{}-{}", self.run, position.events, position.samples)
    }

    /// Parses such an id. Returns `None` if the id is malformed or belongs to another run of the
    /// proxy.
    pub fn position(&self, id: &str) -> Option<Position> {
        let (run, rest) = id.split_once('-')?;
        let (events, samples) = rest.split_once('-')?;
        let position = Position {
            events: events.parse().ok()?,
            samples: samples.parse().ok()?,
        };
        let rings = self.lock();
        let known = position.events <= rings.events.last && position.samples <= rings.samples.last;
        (run == self.run && known).then_some(position)
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::Environment;

    fn event_log(run: u32) -> EventLog {
        EventLog::new(Environment::system().clock, run)
    }

    #[test]
    fn items_are_returned_once_and_lost_events_are_counted() {
        let event_log = event_log(1);
        let mut position = Position::default();
        let first = event_log.after(&mut position);
        assert_eq!((first.missed, first.events.len()), (0, 1));
        assert_eq!(first.events[0].what, "proxy_started");
        let id = event_log.id(position);
        for _ in 0..EVENTS + 5 {
            event_log.record("became_leader", Map::new());
        }
        event_log.sample(Value::Null);
        let mut resumed = event_log.position(&id).unwrap();
        assert_eq!(resumed, position);
        let news = event_log.after(&mut resumed);
        assert_eq!((news.missed, news.events.len()), (5, EVENTS));
        assert_eq!(news.events[0].id, 7);
        assert_eq!(news.samples.len(), 1);
        let none = event_log.after(&mut resumed);
        assert!(none.events.is_empty() && none.samples.is_empty() && none.missed == 0);
        // A new observer gets all remaining items. Lost items do not count as missed.
        let news = event_log.after(&mut Position::default());
        assert_eq!((news.missed, news.events.len()), (0, EVENTS));
    }

    #[test]
    fn position_of_another_run_or_beyond_the_end_is_none() {
        let (event_log, other) = (event_log(1), event_log(2));
        let position = Position {
            events: 1,
            samples: 0,
        };
        assert_eq!(event_log.position(&event_log.id(position)), Some(position));
        assert_eq!(event_log.position(&other.id(position)), None);
        let beyond = Position {
            events: 2,
            samples: 0,
        };
        assert_eq!(event_log.position(&event_log.id(beyond)), None);
        for wrong in ["", "-", "x-1-1", "1", "a-b-c"] {
            assert_eq!(event_log.position(wrong), None, "{wrong}");
        }
    }
}
