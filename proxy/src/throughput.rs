//! The load per second: the number of completed or failed operations of each kind, and their latency.
//! The driver measures them, because UDP, HTTP and Redis clients all pass through it: from the arrival
//! of a request to the departure of its response.
//!
//! The driver updates atomics. Once a second they are reset and become a sample of the [`EventLog`](crate::event_log::EventLog).

use model::message::RequestKind;
use serde_json::{Map, Value, json};
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The names of the kinds, by index.
const KINDS: [&str; 9] = [
    "get",
    "scan",
    "put",
    "delete",
    "increment",
    "open_session",
    "close_session",
    "renew_session",
    "transfer_leadership",
];

/// The index of a kind in [`KINDS`].
const fn index_of(kind: RequestKind) -> usize {
    match kind {
        RequestKind::Get => 0,
        RequestKind::Scan => 1,
        RequestKind::Put => 2,
        RequestKind::Delete => 3,
        RequestKind::Increment => 4,
        RequestKind::OpenSession => 5,
        RequestKind::CloseSession => 6,
        RequestKind::RenewSession => 7,
        RequestKind::TransferLeadership => 8,
    }
}

/// The number of buckets per power of two of microseconds: the error of a latency is at most 1/16.
const STEPS: u32 = 16;
/// Buckets up to 2^26 µs, about a minute.
const BUCKETS: usize = 23 * STEPS as usize + STEPS as usize;

/// The counters since the last sample.
#[derive(Debug)]
pub struct Throughput {
    answered: [AtomicU64; KINDS.len()],
    unavailable: [AtomicU64; KINDS.len()],
    reads: Durations,
    writes: Durations,
}

impl Throughput {
    pub(crate) fn new() -> Self {
        Self {
            answered: [const { AtomicU64::new(0) }; KINDS.len()],
            unavailable: [const { AtomicU64::new(0) }; KINDS.len()],
            reads: Durations::new(),
            writes: Durations::new(),
        }
    }

    /// Counts a response from a server.
    pub(crate) fn answered(&self, kind: RequestKind, took: Duration) {
        self.answered[index_of(kind)].fetch_add(1, Relaxed);
        match kind {
            // Its duration is that of an election, and no latency of the store.
            RequestKind::TransferLeadership => {}
            _ if kind.is_read() => self.reads.add(took),
            _ => self.writes.add(took),
        }
    }

    /// Counts a request that the proxy gave up.
    pub(crate) fn unavailable(&self, kind: RequestKind) {
        self.unavailable[index_of(kind)].fetch_add(1, Relaxed);
    }

    /// Returns the sample in the format of `docs/http.md`, and resets the counters. `at` is the time in
    /// milliseconds since 1970.
    pub(crate) fn take(&self, at: u64, over: Duration, in_flight: u64) -> Value {
        let mut operations = Map::new();
        for (index, name) in KINDS.iter().enumerate() {
            let answered = self.answered[index].swap(0, Relaxed);
            let unavailable = self.unavailable[index].swap(0, Relaxed);
            if answered + unavailable > 0 {
                let both = json!({ "answered": answered, "unavailable": unavailable });
                operations.insert((*name).to_owned(), both);
            }
        }
        json!({
            "at": at,
            "over_ms": u64::try_from(over.as_millis()).unwrap_or(u64::MAX),
            "operations": operations,
            "reads_us": self.reads.take(),
            "writes_us": self.writes.take(),
            "in_flight": in_flight,
        })
    }
}

/// A latency histogram.
#[derive(Debug)]
struct Durations([AtomicU32; BUCKETS]);

impl Durations {
    fn new() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }

    fn add(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// Returns the median, the 99th percentile and the maximum in microseconds, and resets the
    /// histogram. Returns `None` if it is empty.
    pub(crate) fn take(&self) -> Option<Value> {
        let counts: Vec<_> = self.0.iter().map(|count| count.swap(0, Relaxed)).collect();
        let all: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        let at = |rank: u64| {
            let mut passed = 0;
            let index = counts.iter().position(|count| {
                passed += u64::from(*count);
                passed >= rank
            });
            index.map(least)
        };
        let share = |percent: u64| at((all * percent).div_ceil(100).max(1));
        (all > 0).then(|| json!({ "p50": share(50), "p99": share(99), "max": at(all) }))
    }
}

/// The bucket of a latency: exact below 16 µs, then 16 buckets for each power of two.
fn bucket(micros: u32) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2();
    let step = (micros >> (power - 4)) - STEPS;
    (((power - 3) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The lower bound of a bucket.
fn least(bucket: usize) -> u32 {
    let bucket = bucket as u32;
    match bucket / STEPS {
        0 => bucket,
        power => (STEPS + bucket % STEPS) << (power - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name() {
        let load = Throughput::new();
        load.unavailable(RequestKind::Get);
        load.answered(RequestKind::TransferLeadership, Duration::from_secs(1));
        let sample = load.take(0, Duration::from_secs(1), 0);
        let operations = &sample["operations"];
        assert_eq!(operations["get"]["unavailable"], 1, "{sample}");
        assert_eq!(operations["transfer_leadership"]["answered"], 1, "{sample}");
        // An election is no write.
        assert!(sample["writes_us"].is_null(), "{sample}");
    }

    #[test]
    fn buckets_follow_one_another_without_gap() {
        for micros in 0..200_000 {
            let index = bucket(micros);
            assert!(least(index) <= micros, "{micros}");
            assert!(least(index + 1) > micros, "{micros}");
        }
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
        assert!(least(BUCKETS - 1) > 60_000_000);
    }

    #[test]
    fn sample_holds_what_happened_since_the_last_one() {
        let load = Throughput::new();
        for micros in 1..=100 {
            load.answered(RequestKind::Put, Duration::from_micros(micros * 10));
        }
        load.answered(RequestKind::Get, Duration::from_micros(7));
        load.unavailable(RequestKind::Get);
        let second = Duration::from_secs(1);
        let sample = load.take(1, second, 3);
        assert_eq!(
            sample["operations"],
            json!({
                "get": {"answered": 1, "unavailable": 1},
                "put": {"answered": 100, "unavailable": 0},
            })
        );
        assert_eq!(sample["reads_us"], json!({"p50": 7, "p99": 7, "max": 7}));
        assert_eq!(
            sample["writes_us"],
            json!({"p50": 496, "p99": 960, "max": 992})
        );
        assert_eq!(
            (&sample["in_flight"], &sample["over_ms"]),
            (&json!(3), &json!(1000))
        );
        let empty = load.take(1, second, 0);
        assert_eq!(empty["operations"], json!({}));
        assert_eq!(empty["writes_us"], Value::Null);
    }
}
