//! Compares the performance of the engines.
//!
//! Each run is a separate process, so that CPU time and peak memory belong to one engine. A run ends
//! when the scope is exhausted or its time is over; the results are rates. A scope that is exhausted
//! quickly is searched repeatedly, and the median is reported: on a shared machine, a single short run
//! is not reliable.

use crate::{
    engine::{self, Limits, SearchOutcome, SearchProgress},
    machine,
    stateright_engine::{self, Order},
};
use anyhow::{Context, bail};
use clap::ValueEnum;
use model::system::Scope;
use serde::{Deserialize, Serialize};
use std::{
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

/// The engine to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The built-in engine.
    BuiltIn,
    /// stateright's depth-first search.
    StaterightDfs,
    /// stateright's breadth-first search.
    StaterightBfs,
}

impl Engine {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::StaterightDfs => "stateright DFS",
            Self::StaterightBfs => "stateright BFS",
        }
    }
}

/// One run.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Task {
    /// Engine to measure
    #[arg(long, value_enum)]
    pub engine: Engine,
    /// Scope to search
    #[arg(long)]
    pub scope: String,
    /// Number of threads
    #[arg(long)]
    pub threads: usize,
    /// Enable symmetry reduction
    #[arg(long)]
    pub symmetry: bool,
    /// Stop after this many seconds, even if the scope is not exhausted
    #[arg(long)]
    pub seconds: u64,
}

/// The maximum number of runs for one median.
const MOST_RUNS: usize = 15;

/// The measurement of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// The run.
    #[serde(flatten)]
    pub task: Task,
    /// The number of runs. This is the median run by states per second of CPU time.
    pub runs: usize,
    /// Whether the scope was exhausted within the time.
    pub is_exhausted: bool,
    /// Distinct states.
    pub states: u64,
    /// Wall time in seconds.
    pub wall_seconds: f64,
    /// CPU time in seconds, user and system.
    pub cpu_seconds: f64,
    /// Bytes of visited set, parents and frontier, if the engine counts them.
    pub held_bytes: Option<u64>,
    /// The growth of the peak resident memory of the process in bytes.
    pub resident_bytes: u64,
}

impl Measurement {
    /// Distinct states per second of CPU time.
    pub fn states_per_cpu_second(&self) -> f64 {
        self.states as f64 / self.cpu_seconds.max(1e-6)
    }

    /// Distinct states per second of wall time.
    pub fn states_per_second(&self) -> f64 {
        self.states as f64 / self.wall_seconds.max(1e-6)
    }

    /// Bytes of visited set, parents and frontier per state, if the engine counts them.
    pub fn held_bytes_per_state(&self) -> Option<f64> {
        Some(self.held_bytes? as f64 / self.states as f64)
    }

    /// Bytes of memory per state.
    pub fn resident_bytes_per_state(&self) -> f64 {
        self.resident_bytes as f64 / self.states as f64
    }
}

/// Runs a task in this process.
///
/// # Errors
/// If a property is violated: the results of an incorrect model are not measured.
pub fn measure(scope: &Scope, task: &Task) -> anyhow::Result<Measurement> {
    let limits = Limits {
        threads: task.threads,
        max_states: None,
        max_memory: machine::available_bytes().map(|bytes| bytes / 100 * 80),
        symmetry: task.symmetry,
    };
    let (cpu, peak) = (machine::cpu_time(), machine::peak_resident_bytes());
    let progress = SearchProgress::default();
    let (outcome, states, elapsed, held_bytes) = with_deadline(task.seconds, &progress, || {
        let order = match task.engine {
            Engine::BuiltIn => {
                let found = engine::check(scope, &limits, &progress).report;
                return (
                    found.outcome,
                    found.states,
                    found.elapsed,
                    Some(found.bytes),
                );
            }
            Engine::StaterightDfs => Order::Depth,
            Engine::StaterightBfs => Order::Breadth,
        };
        let found = stateright_engine::check(scope, order, &limits, &progress);
        (found.outcome, found.states, found.elapsed, None)
    });
    if let SearchOutcome::Violated { violation, .. } = outcome {
        bail!(
            "{} is violated in scope {}: {}",
            violation.property,
            scope.name,
            violation.cause
        );
    }
    Ok(Measurement {
        task: task.clone(),
        runs: 1,
        is_exhausted: matches!(outcome, SearchOutcome::Exhausted),
        states,
        wall_seconds: elapsed.as_secs_f64(),
        cpu_seconds: (machine::cpu_time() - cpu).as_secs_f64(),
        held_bytes,
        resident_bytes: machine::peak_resident_bytes().saturating_sub(peak),
    })
}

/// Interrupts a search at the deadline.
fn with_deadline<T>(seconds: u64, progress: &SearchProgress, search: impl FnOnce() -> T) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            // The sender is dropped when the search ends, also by a panic.
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = is_over.recv_timeout(left);
            progress.interrupt.store(true, Ordering::Relaxed);
        });
        let found = search();
        drop(over);
        found
    })
}

/// Runs a task repeatedly in processes of its own, one after another, until its time is over. Returns
/// the median.
///
/// # Errors
/// If a process cannot be started or fails.
pub fn measure_repeatedly(task: &Task) -> anyhow::Result<Measurement> {
    let started = Instant::now();
    let mut measured = vec![measure_apart(task)?];
    while measured.len() < MOST_RUNS
        // Another run like the last one ends in time.
        && started.elapsed().as_secs_f64() + measured[measured.len() - 1].wall_seconds
            < task.seconds as f64
    {
        measured.push(measure_apart(task)?);
    }
    let runs = measured.len();
    measured.sort_by(|one, other| {
        let rate = Measurement::states_per_cpu_second;
        rate(one).total_cmp(&rate(other))
    });
    // Of an even number, the slower of the two in the middle.
    let median = measured.swap_remove((runs - 1) / 2);
    Ok(Measurement { runs, ..median })
}

/// Runs a task in a process of its own.
///
/// # Errors
/// If the process cannot be started or fails.
pub fn measure_apart(task: &Task) -> anyhow::Result<Measurement> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let engine = task.engine.to_possible_value();
    let engine = engine.expect("every engine can be named");
    let mut command = Command::new(program);
    command
        .args(["bench-run", "--engine", engine.get_name()])
        .args(["--scope", &task.scope])
        .args(["--threads", &task.threads.to_string()])
        .args(["--seconds", &task.seconds.to_string()])
        .args(task.symmetry.then_some("--symmetry"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().context("cannot start a run")?;
    if !output.status.success() {
        bail!(
            "the run of {} failed: {}",
            task.engine.name(),
            output.status
        );
    }
    serde_json::from_slice(&output.stdout).context("the output of a run cannot be parsed")
}
