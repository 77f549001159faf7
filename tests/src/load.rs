//! A continuous load on a cluster, and the history that its clients observe.
//!
//! Each client issues one operation after the other, on a small number of keys, so that operations
//! conflict. Some clients are patient and some are hasty: an operation that a hasty client gives up
//! has an unknown outcome, and stays open in the history. In addition to shared keys, counters and
//! compare-and-set, every client writes unique keys exactly once; these keys reveal the loss of an
//! acknowledged write.

use crate::{Cluster, wait::until};
use client::{Client, Options, recorded};
use history::{Op, OpResult, Record};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet, time};

/// The number of clients that wait as long as a fault lasts.
const PATIENT: u64 = 8;
/// The number of clients with a short timeout.
const HASTY: u64 = 4;
/// The number of shared keys, and of counters.
const KEYS: u64 = 4;
/// The pause of a client after each operation: the load should be steady, not heavy.
const REST: Duration = Duration::from_millis(5);

/// The running clients.
pub struct Load {
    runtime: Runtime,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    patient: Client,
    started: Instant,
    ended: AtomicBool,
    processes: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    records: Vec<Record>,
    /// The number of the current span, and the numbers of writes that began and were acknowledged
    /// within it.
    span: u64,
    acknowledged: u64,
    /// For each counter, the number of acknowledged increments, and the number of increments with an
    /// unknown outcome.
    counters: BTreeMap<String, (i64, i64)>,
    /// The keys that were written once and acknowledged.
    once: BTreeMap<String, String>,
}

/// The history that the clients of a cluster observed.
pub struct History {
    records: Vec<Record>,
}

impl Load {
    /// Starts the clients.
    pub fn start(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("no runtime for the clients");
        let connect = |timeout, sessions| {
            let options = Options {
                timeout,
                attempt_timeout: Duration::from_millis(250),
                max_sessions: sessions as usize,
                ..cluster.options()
            };
            let client = runtime.block_on(Client::connect(options));
            client.expect("the clients have no socket")
        };
        let patient = connect(Duration::from_secs(20), PATIENT);
        let hasty = connect(Duration::from_millis(250), HASTY);
        let shared = Arc::new(Shared {
            patient: patient.clone(),
            started: Instant::now(),
            ended: AtomicBool::new(false),
            processes: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..PATIENT + HASTY {
            let client = if number < PATIENT { &patient } else { &hasty };
            let worker = Worker::new(&shared, client, number);
            tasks.spawn_on(worker.work(), runtime.handle());
        }
        let load = Self {
            runtime,
            tasks,
            shared,
        };
        load.expect_writes(50);
        load
    }

    /// Waits until this number of writes that begin from now on were acknowledged.
    pub fn expect_writes(&self, number: u64) {
        let mut seen = self.shared.seen();
        seen.span += 1;
        seen.acknowledged = 0;
        drop(seen);
        until(&format!("{number} writes to be acknowledged"), || {
            (self.shared.seen().acknowledged >= number).then_some(())
        });
    }

    /// Stops the clients, then reads back every key that they wrote.
    ///
    /// # Panics
    /// If an acknowledged write is lost, or a counter does not match its increments.
    pub fn finish(mut self) -> History {
        self.shared.ended.store(true, Relaxed);
        let shared = Arc::clone(&self.shared);
        self.runtime.block_on(async {
            while let Some(done) = self.tasks.join_next().await {
                done.expect("a client panicked");
            }
            read_back(&shared).await;
        });
        let records = std::mem::take(&mut self.shared.seen().records);
        History { records }
    }
}

/// Reads all keys. These reads are part of the history.
async fn read_back(shared: &Arc<Shared>) {
    let (counters, once) = {
        let seen = shared.seen();
        (seen.counters.clone(), seen.once.clone())
    };
    let (acknowledged, unknown) = counters
        .values()
        .fold((0, 0), |(a, u), (b, v)| (a + b, u + v));
    eprintln!(
        "  {} keys written once; {acknowledged} increments acknowledged, {unknown} unknown",
        once.len()
    );
    assert!(
        !once.is_empty() && acknowledged > 0,
        "the clients did next to nothing"
    );
    let mut worker = Worker::new(shared, &shared.patient, PATIENT + HASTY);
    for (key, value) in &once {
        let found = worker.ask(Op::Get { key: key.clone() }).await;
        let Some(OpResult::Value { value: found, .. }) = found else {
            panic!("the acknowledged write of {key} is lost: {found:?}");
        };
        assert_eq!(found, *value, "the acknowledged write of {key} is lost");
    }
    for (key, (acknowledged, unknown)) in counters {
        let found = worker.ask(Op::Get { key: key.clone() }).await;
        let number = match found {
            Some(OpResult::Value { value, .. }) => value.parse().expect("a number"),
            _ => 0,
        };
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&number),
            "{key} is {number}, after {acknowledged} increments and {unknown} of unknown outcome"
        );
    }
    for key in (0..KEYS).map(shared_key) {
        worker.ask(Op::Get { key }).await;
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_process(&self) -> u64 {
        self.processes.fetch_add(1, Relaxed)
    }

    fn nanos(&self) -> u64 {
        let nanos = self.started.elapsed().as_nanos();
        u64::try_from(nanos).expect("a test is shorter than centuries")
    }
}

/// One client.
struct Worker {
    shared: Arc<Shared>,
    client: Client,
    process: u64,
    random: SmallRng,
    values: u64,
    /// The last known version of each shared key.
    versions: BTreeMap<String, Option<u64>>,
}

impl Worker {
    fn new(shared: &Arc<Shared>, client: &Client, number: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            client: client.clone(),
            process: shared.new_process(),
            random: SmallRng::seed_from_u64(number),
            values: 0,
            versions: BTreeMap::new(),
        }
    }

    async fn work(mut self) {
        while !self.shared.ended.load(Relaxed) {
            let op = self.choose();
            self.ask(op).await;
            // This is not a wait for a result: see REST.
            time::sleep(REST).await;
        }
    }

    fn choose(&mut self) -> Op {
        let number = self.random.random_range(0..KEYS);
        let (key, counter) = (shared_key(number), format!("counter/{number}"));
        self.values += 1;
        // Each value is written at most once.
        let value = format!("{}-{}", self.process, self.values);
        match self.random.random_range(0..21) {
            0..6 => Op::Put { key, value },
            6..11 => Op::Get { key },
            11 => Op::Delete { key },
            12..15 => Op::Increment {
                key: counter,
                by: 1,
            },
            15 => Op::Get { key: counter },
            16..19 => {
                let version = self.versions.get(&key).copied().flatten();
                Op::Cas {
                    key,
                    value,
                    version,
                }
            }
            19 => Op::StaleGet { key },
            _ => Op::Put {
                key: format!("once/{value}"),
                value,
            },
        }
    }

    /// Executes an operation, records it, and returns its result; `None` if the outcome is unknown.
    async fn ask(&mut self, op: Op) -> Option<OpResult> {
        let span = self.shared.seen().span;
        let invoke = self.shared.nanos();
        let result = recorded::settle(recorded::execute(&self.client, &op).await);
        let result = result.unwrap_or_else(|error| panic!("{error}"));
        let returned = result.as_ref().map(|_| self.shared.nanos());
        self.note_version(&op, result.as_ref());
        let mut seen = self.shared.seen();
        let done = matches!(
            result,
            Some(OpResult::Written { .. } | OpResult::Number { .. })
        );
        if done && seen.span == span {
            seen.acknowledged += 1;
        }
        match &op {
            Op::Put { key, value } if done && key.starts_with("once/") => {
                seen.once.insert(key.clone(), value.clone());
            }
            Op::Increment { key, .. } => {
                let (acknowledged, unknown) = seen.counters.entry(key.clone()).or_default();
                *acknowledged += i64::from(done);
                *unknown += i64::from(result.is_none());
            }
            _ => {}
        }
        seen.records.push(Record {
            process: self.process,
            op,
            invoke,
            returned,
            result: result.clone(),
        });
        drop(seen);
        if result.is_none() {
            // A process has one operation at a time, and this operation never ends.
            self.process = self.shared.new_process();
        }
        result
    }

    /// Records the version of a key for compare-and-set.
    fn note_version(&mut self, op: &Op, result: Option<&OpResult>) {
        let (Op::Put { key, .. } | Op::Get { key } | Op::Cas { key, .. }) = op else {
            return;
        };
        let version = match result {
            Some(OpResult::Written { version } | OpResult::Value { version, .. }) => *version,
            Some(OpResult::ConditionFailed { found }) => *found,
            _ => None,
        };
        self.versions.insert(key.clone(), version);
    }
}

fn shared_key(number: u64) -> String {
    format!("shared/{number}")
}

impl History {
    /// Writes the history to a file of this name.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let lines = self.records.iter().map(|record| {
            let line = serde_json::to_string(record).expect("a record is JSON");
            line + "\n"
        });
        let path = dir.join(name);
        fs::write(&path, lines.collect::<String>()).expect("a history cannot be written");
        path
    }

    /// Returns a copy of the history with one changed read in its middle, which returns a value that
    /// was never written.
    ///
    /// # Panics
    /// If there is no such read.
    pub fn with_forged_read(&self) -> Self {
        self.forged(|result| match result {
            OpResult::Value { value, .. } => {
                *value = "forged".to_owned();
                true
            }
            _ => false,
        })
    }

    /// Returns a copy of the history with one changed increment in its middle, whose result is too
    /// large by one.
    ///
    /// # Panics
    /// If there is no such increment.
    pub fn with_forged_increment(&self) -> Self {
        self.forged(|result| match result {
            OpResult::Number { value, .. } => {
                *value += 1;
                true
            }
            _ => false,
        })
    }

    fn forged(&self, forge: impl Fn(&mut OpResult) -> bool) -> Self {
        let mut records = self.records.clone();
        let later = records.len() / 2;
        let mut results = records[later..]
            .iter_mut()
            .filter_map(|record| record.result.as_mut());
        assert!(
            results.any(forge),
            "the history has nothing of the kind to be forged"
        );
        Self { records }
    }
}
