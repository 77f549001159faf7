//! The figures of a running proxy, which the driver updates and the frontends show.

use crate::{event_log::EventLog, throughput::Throughput};
use model::{
    NodeId,
    router::{Effects, Origin},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Counters and gauges of the driver.
#[derive(Debug)]
pub struct Gauges {
    pub(crate) started: Instant,
    pub(crate) leader: AtomicU64,
    /// Requests in flight.
    pub in_flight: AtomicU64,
    /// Requests received over UDP.
    pub requests_udp: AtomicU64,
    /// Requests received from the frontends of this process.
    pub requests_frontends: AtomicU64,
    /// Requests sent to servers, including retries.
    pub sends: AtomicU64,
    /// Requests whose attempt timed out.
    pub timeouts: AtomicU64,
    /// Requests that were given up or rejected.
    pub unavailable: AtomicU64,
    /// The time of the last response from a server, in milliseconds since the start plus one; 0 before
    /// the first response.
    pub(crate) last_answer: AtomicU64,
    /// Notified when the believed leader changes.
    pub changed: Notify,
    /// The operations completed since the last sample.
    pub load: Throughput,
}

impl Gauges {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            leader: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            requests_udp: AtomicU64::new(0),
            requests_frontends: AtomicU64::new(0),
            sends: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            last_answer: AtomicU64::new(0),
            changed: Notify::new(),
            load: Throughput::new(),
        }
    }

    /// The believed leader.
    pub fn leader(&self) -> Option<NodeId> {
        // The id is stored plus one, so that 0 means "none" for any server id.
        let stored = self.leader.load(Relaxed);
        stored.checked_sub(1).map(NodeId::new)
    }

    pub(crate) fn set_leader(&self, leader: Option<NodeId>) {
        let stored = leader.map_or(0, |id| id.get().saturating_add(1));
        if self.leader.swap(stored, Relaxed) != stored {
            self.changed.notify_waiters();
        }
    }

    /// The time since the last response from a server; `None` before the first response.
    pub fn since_last_answer(&self) -> Option<Duration> {
        let at = self.last_answer.load(Relaxed).checked_sub(1)?;
        Some(
            self.started
                .elapsed()
                .saturating_sub(Duration::from_millis(at)),
        )
    }

    /// Counts the effects of one step of the router, for input from the network or from this process.
    pub(crate) fn count(&self, effects: &Effects, is_network: bool) {
        let requests = if is_network {
            &self.requests_udp
        } else {
            &self.requests_frontends
        };
        requests.fetch_add(effects.received as u64, Relaxed);
        self.sends.fetch_add(effects.sent as u64, Relaxed);
        self.timeouts.fetch_add(effects.timed_out as u64, Relaxed);
        if effects.has_answer {
            let at = self.started.elapsed().as_millis();
            self.last_answer
                .store(u64::try_from(at).unwrap_or(u64::MAX - 1) + 1, Relaxed);
        }
        for completed in &effects.completed {
            self.unavailable
                .fetch_add(u64::from(completed.is_given_up), Relaxed);
            match completed.origin {
                Origin::Internal => {}
                _ if completed.is_given_up => self.load.unavailable(completed.kind),
                _ => self.load.answered(completed.kind, completed.took),
            }
        }
    }

    pub(crate) fn set_in_flight(&self, requests: usize) {
        self.in_flight.store(requests as u64, Relaxed);
    }

    /// The time since the start of the driver.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Takes a sample every second, forever.
pub(crate) async fn sample(gauges: Arc<Gauges>, event_log: Arc<EventLog>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last = Instant::now();
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let in_flight = gauges.in_flight.load(Relaxed);
        event_log.sample(gauges.load.take(event_log.now(), now - last, in_flight));
        last = now;
    }
}
