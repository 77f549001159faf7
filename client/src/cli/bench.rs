//! Benchmark of a cluster: throughput and latency.
//!
//! Each client issues one operation after the other (a closed loop) and has its own session; all
//! clients share one socket. With `--every`, operations begin at a fixed rate instead, independent of
//! the cluster's speed. After a warm-up, only operations that begin and end within the window count.
//!
//! Everything runs on one thread, so that the load generator costs little compared with the cluster.

use super::{Consistency, Exit, Global, Output, history::HistoryFile, proc, text};
use anyhow::Context;
use clap::{Args, ValueEnum};
use client::{CLOSE_PATIENCE, Client, Error, KeyValue as _, recorded};
use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use history::{Op, OpResult};
use program::output::note;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use transport::Environment;

/// The upper bound of the latency histogram: one minute.
const LONGEST_NS: u64 = 60_000_000_000;
/// The default number of keys for a history: small, so that operations conflict.
const HISTORY_KEYS: u64 = 4;
/// The number of keys and of counters of a history that are read before the load begins.
const PROBED_KEYS: u64 = 64;
/// The timeout for these reads.
const PROBE_TIME: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// Numbers of concurrent clients; one measurement for each [1,16,64,256; 16 for a history]
    #[arg(long, value_delimiter = ',', value_name = "N,..",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: Option<Vec<u32>>,
    /// Value sizes in bytes; one measurement for each [64,1024; 16 for a history]
    #[arg(long, value_delimiter = ',', value_name = "N,..",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    value_size: Option<Vec<u32>>,
    /// Operations; one measurement for each [put,get; mixed for a history]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "OP,..")]
    ops: Option<Vec<OperationKind>>,
    /// The number of keys [10000; 4 for a history]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<u64>,
    /// The duration of each measurement
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// The duration of the warm-up before each measurement
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = text::duration)]
    warm_up: Duration,
    /// Begin operations at this interval, except while all clients wait for a response
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    every: Option<Duration>,
    /// Record every operation in a file for `raft-checker linearize`. It expects that the keys k0, n0,
    /// k1, n1, .. are absent at the start: use a new cluster, or delete them
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Process ids whose CPU time and memory to report
    #[arg(long, value_delimiter = ',', value_name = "PID,..")]
    pids: Vec<u32>,
}

/// The kind of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum OperationKind {
    /// Writes
    Put,
    /// Linearizable reads
    Get,
    /// All operations, on few keys
    Mixed,
    /// Stale reads from any one server; the meaning of get with --consistency stale
    StaleGet,
}

/// One measurement. Latencies are in microseconds.
#[derive(Debug, Serialize)]
struct Measurement {
    route: &'static str,
    op: OperationKind,
    clients: u32,
    value_size: u32,
    seconds: f64,
    operations: u64,
    ops_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    unavailable: u64,
    unknown: u64,
    /// Operations that did not begin because all clients waited for a response (`--every`).
    skipped: u64,
    generator_cpu_us_per_op: Option<f64>,
    server_cpu_us_per_op: Option<f64>,
    server_cpu_seconds: Vec<Option<f64>>,
    server_resident_mb: Vec<Option<f64>>,
}

impl Bench {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let for_history = self.history.is_some();
        let default = |many: &[u32], one| {
            if for_history {
                vec![one]
            } else {
                many.to_vec()
            }
        };
        let clients = (self.clients.clone()).unwrap_or_else(|| default(&[1, 16, 64, 256], 16));
        let sizes = (self.value_size.clone()).unwrap_or_else(|| default(&[64, 1024], 16));
        let ops = self.ops.clone().unwrap_or_else(|| {
            if for_history {
                vec![OperationKind::Mixed]
            } else {
                vec![OperationKind::Put, OperationKind::Get]
            }
        });
        let stale = global.consistency == Consistency::Stale;
        let stale_if_asked = |op: OperationKind| match op {
            OperationKind::Get if stale => OperationKind::StaleGet,
            op => op,
        };
        let ops = Vec::from_iter(ops.into_iter().map(stale_if_asked));
        if for_history && clients.len() * sizes.len() * ops.len() > 1 {
            anyhow::bail!(
                "a history records one measurement: give one value each of --clients, --value-size and --ops"
            );
        }
        let history = match &self.history {
            Some(path) => {
                let now = Environment::system().clock.calendar();
                let create = HistoryFile::create(path, now);
                Some(create.with_context(|| format!("cannot write {}", path.display()))?)
            }
            None => None,
        };
        let history = history.map(Arc::new);
        if for_history {
            self.warn_of_used_keys(global).await?;
        }
        let mut measurements = Vec::new();
        for size in sizes {
            for op in &ops {
                if matches!(op, OperationKind::Get | OperationKind::StaleGet) && !for_history {
                    self.fill(global, size).await?;
                }
                for clients in &clients {
                    let run = self.measure(global, *op, *clients, size, history.clone());
                    let measurement = run.await?;
                    if global.output == Output::Json {
                        let mut out = std::io::stdout().lock();
                        serde_json::to_writer(&mut out, &measurement)?;
                        writeln!(out)?;
                        out.flush()?;
                    }
                    measurements.push(measurement);
                }
            }
        }
        if let Some(history) = history {
            history.flush().context("the history was not written")?;
        }
        match global.output {
            Output::Json => {}
            Output::Table => writeln!(std::io::stdout(), "{}", table(&measurements))?,
            Output::Plain => plain(&measurements, &mut std::io::stdout().lock())?,
        }
        Ok(Exit::Done)
    }

    /// Warns about keys that already exist. A history does not contain initial values, so the checker
    /// assumes that all keys are absent. Read errors are ignored: the load may begin before the
    /// cluster is up.
    async fn warn_of_used_keys(&self, global: &Global) -> anyhow::Result<()> {
        let client = self.connect(global, 1).await?;
        let find = async {
            for key in (0..self.keys().min(PROBED_KEYS)).flat_map(history_keys) {
                if client.get(key.as_str()).await.ok()?.is_some() {
                    return Some(key);
                }
            }
            None
        };
        if let Ok(Some(key)) = time::timeout(PROBE_TIME, find).await {
            note(format_args!(
                "warning: the key {key:?} is not absent: raft-checker may judge this history not \
                 linearizable. Use a new cluster, or delete the keys first"
            ));
        }
        global.clients.close(CLOSE_PATIENCE).await;
        Ok(())
    }

    fn keys(&self) -> u64 {
        let default = if self.history.is_some() {
            HISTORY_KEYS
        } else {
            10_000
        };
        self.keys.unwrap_or(default)
    }

    async fn connect(&self, global: &Global, clients: u32) -> anyhow::Result<Client> {
        let mut options = global.options().await?;
        options.max_sessions = clients as usize;
        Ok(global.clients.connect(options).await?)
    }

    /// Writes every key once, so that reads find values.
    async fn fill(&self, global: &Global, size: u32) -> anyhow::Result<()> {
        let writers = 64;
        let client = self.connect(global, writers).await?;
        let mut tasks = JoinSet::new();
        for writer in 0..u64::from(writers) {
            let (client, keys) = (client.clone(), self.keys());
            tasks.spawn(async move {
                let mut index = writer;
                while index < keys {
                    client.put(key(index), vec![b'.'; size as usize]).await?;
                    index += u64::from(writers);
                }
                Ok::<_, Error>(())
            });
        }
        let done = all_of(tasks).await;
        global.clients.close(CLOSE_PATIENCE).await;
        done.context("cannot write the keys for the reads")
    }

    async fn measure(
        &self,
        global: &Global,
        op: OperationKind,
        clients: u32,
        size: u32,
        history: Option<Arc<HistoryFile>>,
    ) -> anyhow::Result<Measurement> {
        let run = Arc::new(Run {
            client: self.connect(global, clients).await?,
            op,
            stale: global.consistency == Consistency::Stale,
            size: size as usize,
            keys: self.keys(),
            counting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            tally: Mutex::new(Tally::new()?),
            history,
        });
        let workers = (0..clients).map(|number| Worker::new(&run, number));
        let mut tasks = JoinSet::new();
        match self.every {
            None => {
                for mut worker in workers {
                    tasks.spawn(async move {
                        while !worker.run.ended.load(Relaxed) {
                            worker.work().await?;
                        }
                        anyhow::Ok(())
                    });
                }
            }
            Some(every) => {
                tasks.spawn(pace(Arc::clone(&run), workers.collect(), every));
            }
        }
        time::sleep(self.warm_up).await;
        let pids = self.pids.iter().map(u32::to_string);
        let pids = Vec::from_iter(pids);
        let servers_before = pids.iter().map(|pid| proc::cpu_seconds(pid));
        let servers_before = Vec::from_iter(servers_before);
        let own_before = proc::cpu_seconds("self");
        let started = Instant::now();
        run.counting.store(true, Relaxed);
        time::sleep(Duration::from_secs(self.seconds)).await;
        run.ended.store(true, Relaxed);
        let seconds = started.elapsed().as_secs_f64();
        let used = |before: Option<f64>, pid: &str| Some(proc::cpu_seconds(pid)? - before?);
        let own = used(own_before, "self");
        let servers = servers_before.iter().zip(&pids);
        let servers = Vec::from_iter(servers.map(|(before, pid)| used(*before, pid)));
        let resident = pids.iter().map(|pid| proc::resident_bytes(pid));
        let resident = resident.map(|bytes| Some(bytes? as f64 / 1e6));
        let server_resident_mb = resident.collect();
        let done = all_of(tasks).await;
        global.clients.close(CLOSE_PATIENCE).await;
        done?;
        let tally = run.tally();
        let operations = tally.latency.len();
        let per_op = |seconds: f64| seconds * 1e6 / operations.max(1) as f64;
        let quantile = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Measurement {
            route: if global.direct { "direct" } else { "proxy" },
            op,
            clients,
            value_size: size,
            seconds,
            operations,
            ops_per_second: operations as f64 / seconds,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: tally.latency.max() as f64 / 1e3,
            unavailable: tally.unavailable,
            unknown: tally.unknown,
            skipped: tally.skipped,
            generator_cpu_us_per_op: own.map(per_op),
            server_cpu_us_per_op: (!servers.is_empty())
                .then(|| servers.iter().copied().sum::<Option<f64>>().map(per_op))
                .flatten(),
            server_cpu_seconds: servers,
            server_resident_mb,
        })
    }
}

/// Begins an operation at each interval, if a client is free.
async fn pace(run: Arc<Run>, workers: Vec<Worker>, every: Duration) -> anyhow::Result<()> {
    let free = Arc::new(Mutex::new(workers));
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut tasks = JoinSet::new();
    while !run.ended.load(Relaxed) {
        ticks.tick().await;
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
        let Some(mut worker) = lock(&free).pop() else {
            run.tally().skipped += 1;
            continue;
        };
        let free = Arc::clone(&free);
        tasks.spawn(async move {
            let done = worker.work().await;
            lock(&free).push(worker);
            done
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// The shared state of the clients of one measurement.
struct Run {
    client: Client,
    op: OperationKind,
    /// Whether reads of mixed operations are stale reads.
    stale: bool,
    size: usize,
    keys: u64,
    counting: AtomicBool,
    ended: AtomicBool,
    tally: Mutex<Tally>,
    history: Option<Arc<HistoryFile>>,
}

struct Tally {
    latency: Histogram<u64>,
    unavailable: u64,
    unknown: u64,
    skipped: u64,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
            unavailable: 0,
            unknown: 0,
            skipped: 0,
        })
    }
}

impl Run {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client.
struct Worker {
    run: Arc<Run>,
    process: u64,
    random: SmallRng,
    /// The number of values that it has generated.
    values: u64,
    /// The last known version of each key, for compare-and-set.
    seen: BTreeMap<u64, Option<u64>>,
}

/// Waits for all tasks, or for the first task that fails.
async fn all_of<E: Into<anyhow::Error> + 'static>(
    mut tasks: JoinSet<Result<(), E>>,
) -> anyhow::Result<()> {
    while let Some(done) = tasks.join_next().await {
        done?.map_err(Into::into)?;
    }
    Ok(())
}

impl Worker {
    fn new(run: &Arc<Run>, number: u32) -> Self {
        Self {
            run: Arc::clone(run),
            process: match &run.history {
                Some(history) => history.new_process(),
                None => u64::from(number),
            },
            random: SmallRng::seed_from_u64(u64::from(number)),
            values: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Executes one operation.
    async fn work(&mut self) -> anyhow::Result<()> {
        let run = Arc::clone(&self.run);
        let index = self.random.random_range(0..run.keys);
        if run.history.is_none() && run.op != OperationKind::Mixed {
            return self.work_unrecorded(index).await;
        }
        let op = self.choose(index);
        let counted = run.counting.load(Relaxed);
        let invoke = Instant::now();
        let answer = recorded::execute(&run.client, &op).await;
        self.count(counted, invoke, answer.as_ref().err());
        let answer = recorded::settle(answer)?;
        if let Some(answer) = &answer {
            self.note_version(index, &op, answer);
        }
        if let Some(history) = &run.history {
            let recorded = history.record(self.process, op, invoke, answer);
            self.process = recorded.context("the history was not written")?;
        }
        Ok(())
    }

    /// Executes one operation and measures its latency only.
    async fn work_unrecorded(&mut self, index: u64) -> anyhow::Result<()> {
        let run = Arc::clone(&self.run);
        let key = key(index);
        let mut value = Vec::new();
        if run.op == OperationKind::Put {
            value.resize(run.size, 0);
            self.random.fill(&mut value[..]);
        }
        let counted = run.counting.load(Relaxed);
        let started = Instant::now();
        let failed = match run.op {
            OperationKind::Get => run.client.get(key).await.err(),
            OperationKind::StaleGet => run.client.get_stale(key).await.err(),
            OperationKind::Put | OperationKind::Mixed => run.client.put(key, value).await.err(),
        };
        self.count(counted, started, failed.as_ref());
        match failed {
            Some(Error::Unknown(_)) | None => Ok(()),
            Some(error) if error.is_unavailable() => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    fn count(&self, counted: bool, started: Instant, failed: Option<&Error>) {
        if !counted || self.run.ended.load(Relaxed) {
            return;
        }
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(LONGEST_NS);
        let mut tally = self.run.tally();
        match failed {
            None => tally.latency.saturating_record(nanos.clamp(1, LONGEST_NS)),
            Some(Error::Unknown(_)) => tally.unknown += 1,
            Some(_) => tally.unavailable += 1,
        }
    }

    fn choose(&mut self, index: u64) -> Op {
        let [key, counter] = history_keys(index);
        match self.run.op {
            OperationKind::Put => Op::Put {
                key,
                value: self.value(),
            },
            OperationKind::Get => Op::Get { key },
            OperationKind::StaleGet => Op::StaleGet { key },
            OperationKind::Mixed => match self.random.random_range(0..10) {
                0..=2 => Op::Put {
                    key,
                    value: self.value(),
                },
                3..=5 if self.run.stale => Op::StaleGet { key },
                3..=5 => Op::Get { key },
                6 => Op::Delete { key },
                7 => Op::Increment {
                    key: counter,
                    by: 1,
                },
                8 => Op::Get { key: counter },
                _ => Op::Cas {
                    key,
                    value: self.value(),
                    version: self.seen.get(&index).copied().flatten(),
                },
            },
        }
    }

    /// A value that is unique within this run.
    fn value(&mut self) -> String {
        self.values += 1;
        let value = format!("{}-{}", self.process, self.values);
        format!("{value:.<width$}", width = self.run.size)
    }

    fn note_version(&mut self, index: u64, op: &Op, answer: &OpResult) {
        let version = match (op, answer) {
            (Op::Increment { .. }, _) => return,
            (Op::Get { key }, _) if key.starts_with('n') => return,
            // The result may be older than the last known version.
            (Op::StaleGet { .. }, _) | (_, OpResult::Stale { .. }) => return,
            (Op::Delete { .. }, OpResult::Written { .. }) | (_, OpResult::Absent(_)) => None,
            (_, OpResult::Written { version } | OpResult::Value { version, .. }) => *version,
            (_, OpResult::ConditionFailed { found }) => *found,
            (_, OpResult::Number { .. } | OpResult::NotANumber(_) | OpResult::Unavailable(_)) => {
                return;
            }
        };
        self.seen.insert(index, version);
    }
}

/// The keys of mixed operations: one is set, the other is incremented.
fn history_keys(index: u64) -> [String; 2] {
    [format!("k{index}"), format!("n{index}")]
}

fn key(index: u64) -> String {
    format!("bench/{index:010}")
}

fn cells(measurement: &Measurement) -> [String; 10] {
    let Measurement { op, .. } = measurement;
    let cpu = |micros: Option<f64>| micros.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
    let op = op.to_possible_value();
    [
        op.map_or_else(String::new, |op| op.get_name().to_owned()),
        measurement.clients.to_string(),
        measurement.value_size.to_string(),
        format!("{:.0}", measurement.ops_per_second),
        format!("{:.0}", measurement.p50_us),
        format!("{:.0}", measurement.p99_us),
        format!("{:.0}", measurement.p999_us),
        (measurement.unavailable + measurement.unknown).to_string(),
        cpu(measurement.generator_cpu_us_per_op),
        cpu(measurement.server_cpu_us_per_op),
    ]
}

const COLUMNS: [&str; 10] = [
    "op",
    "clients",
    "value size",
    "ops/s",
    "p50 µs",
    "p99 µs",
    "p999 µs",
    "unanswered",
    "client CPU µs/op",
    "server CPU µs/op",
];

fn table(measurements: &[Measurement]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(COLUMNS);
    for measurement in measurements {
        table.add_row(cells(measurement));
    }
    table
}

fn plain(measurements: &[Measurement], to: &mut impl Write) -> std::io::Result<()> {
    writeln!(to, "{}", COLUMNS.join("\t"))?;
    for measurement in measurements {
        writeln!(to, "{}", cells(measurement).join("\t"))?;
    }
    Ok(())
}
