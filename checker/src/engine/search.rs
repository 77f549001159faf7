//! Parallel breadth-first search to exhaustion.
//!
//! Each thread owns a shard of the visited set. A round has two halves: every thread expands a
//! piece of its own frontier and sorts the successors by the shard they belong to; then every
//! thread inserts what came for its shard. Nothing is shared but the tables, and levels are
//! completed one after another, so the first violation found has a shortest trace.

use super::{
    tables::{Sizes, Tables},
    visited::{self, Shard},
    worker::Worker,
};
use model::system::{Broken, Scope, System, Witness, Witnesses};
use serde::Serialize;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How many states a thread expands in a round.
const ROUND: usize = 1 << 14;
/// How far ahead of an insertion its slot, and then its state, is fetched.
const PREFETCH: usize = 16;

/// What ends a search early, and how it is done.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many threads, at least one.
    pub threads: usize,
    /// Stop after this many states.
    pub max_states: Option<u64>,
    /// Stop when the process holds this many bytes.
    pub max_memory: Option<u64>,
    /// Whether states that differ only in the names of servers are one.
    pub symmetry: bool,
}

/// What a running search shows to others.
#[derive(Debug, Default)]
pub struct Progress {
    /// Set this to end the search after the present round.
    pub interrupt: AtomicBool,
    /// Distinct states so far.
    pub states: AtomicU64,
    /// States found and not yet expanded.
    pub frontier: AtomicU64,
    /// Levels completed.
    pub depth: AtomicU64,
    /// Bytes of visited set, parents and frontier.
    pub bytes: AtomicU64,
}

/// Why a search stopped before the frontier ran dry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopCause {
    /// The limit of states was reached.
    MaxStates,
    /// The limit of memory was reached.
    MaxMemory,
    /// A person stopped it.
    Interrupted,
    /// More states than the index can number.
    Capacity,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every state within the bounds was visited, and every law holds in all of them.
    Exhausted,
    /// Stopped early: no claim.
    Truncated(StopCause),
    /// A law is broken. `path` are the systems on a shortest way there, up to the renaming of
    /// servers, without the one that broke it.
    Violated {
        /// The law and why.
        broken: Broken,
        /// From an initial system to the one whose step breaks the law.
        path: Vec<System>,
    },
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Distinct states.
    pub states: u64,
    /// Steps enabled in the states expanded.
    pub transitions: u64,
    /// Steps from the start to the farthest state.
    pub depth: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// Bytes of visited set, parents and frontier at the end, index included.
    pub bytes: u64,
    /// What was witnessed.
    pub witnesses: Witnesses,
    /// What the tables hold.
    pub sizes: Sizes,
}

impl Report {
    /// The witnesses the scope names that were not reached.
    pub fn missing(&self, scope: &Scope) -> Vec<Witness> {
        let expected = scope.expected.iter().copied();
        expected
            .filter(|witness| !self.witnesses.contains(*witness))
            .collect()
    }

    /// Whether the scope is exhausted, with every law kept and every witness reached.
    pub fn passed(&self, scope: &Scope) -> bool {
        matches!(self.outcome, Outcome::Exhausted) && self.missing(scope).is_empty()
    }
}

/// The states a search visited, in the order of discovery within each shard.
pub trait StateSet: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them, as the tables' ids.
    fn key(&self, place: usize) -> Vec<u32>;
}

/// A finished search.
pub struct Explored {
    /// What it found.
    pub report: Report,
    /// The tables.
    pub tables: Tables,
    /// The states.
    pub states: Box<dyn StateSet>,
}

/// Searches a scope.
pub fn check(scope: &Scope, limits: &Limits, progress: &Progress) -> Explored {
    let mut tables = Tables::new(scope.clone(), limits.symmetry);
    match tables.width() + 1 {
        2 => run::<2>(&mut tables, limits, progress),
        3 => run::<3>(&mut tables, limits, progress),
        4 => run::<4>(&mut tables, limits, progress),
        5 => run::<5>(&mut tables, limits, progress),
        6 => run::<6>(&mut tables, limits, progress),
        7 => run::<7>(&mut tables, limits, progress),
        8 => run::<8>(&mut tables, limits, progress),
        9 => run::<9>(&mut tables, limits, progress),
        10 => run::<10>(&mut tables, limits, progress),
        11 => run::<11>(&mut tables, limits, progress),
        wide => unreachable!("a scope of {wide} words passed validation"),
    }
}

/// A state on its way to the shard it belongs to.
struct Successor<const W: usize> {
    state: [u32; W],
    parent: u32,
    hash: u64,
}

/// What the threads agree on between rounds.
struct Shared<'a, const W: usize> {
    tables: &'a parking_lot::Mutex<Tables>,
    limits: Limits,
    progress: &'a Progress,
    barrier: Barrier,
    /// `mail[to][from]`: successors for a shard.
    mail: Vec<Vec<Mutex<Vec<Successor<W>>>>>,
    sizes: Vec<AtomicUsize>,
    waiting: Vec<AtomicUsize>,
    bytes: Vec<AtomicUsize>,
    violation: Mutex<Option<(u32, Broken)>>,
    decision: Mutex<Decision>,
    depth: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    GoOn,
    NextLevel,
    Finish(Option<StopCause>),
}

struct Part<const W: usize> {
    shard: Shard<W>,
    witnesses: Witnesses,
    enabled: u64,
}

fn run<const W: usize>(tables: &mut Tables, limits: &Limits, progress: &Progress) -> Explored {
    let started = Instant::now();
    let threads = limits.threads.max(1);
    let scope = tables.scope().clone();
    let first: [u32; W] = tables
        .key_of(&scope.start())
        .try_into()
        .expect("the width of a state was counted");
    let locked =
        parking_lot::Mutex::new(std::mem::replace(tables, Tables::new(scope.clone(), false)));
    let shared = Shared {
        tables: &locked,
        limits: *limits,
        progress,
        barrier: Barrier::new(threads),
        mail: (0..threads)
            .map(|_| (0..threads).map(|_| Mutex::default()).collect())
            .collect(),
        sizes: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        waiting: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        bytes: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        violation: Mutex::new(None),
        decision: Mutex::new(Decision::GoOn),
        depth: AtomicU64::new(0),
    };
    let parts: Vec<Part<W>> = std::thread::scope(|threads_scope| {
        let handles: Vec<_> = (0..threads)
            .map(|own| {
                let shared = &shared;
                threads_scope.spawn(move || {
                    // A thread that panicked would leave the others waiting for ever, and a search
                    // with a hole in it must not come to any verdict.
                    catch_unwind(AssertUnwindSafe(|| work(shared, own, first)))
                        .unwrap_or_else(|_| std::process::abort())
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("a panic aborts the process"))
            .collect()
    });
    let decision = *shared.decision.lock().expect("no thread panicked");
    let violation = shared.violation.lock().expect("no thread panicked").take();
    let depth = shared.depth.load(Ordering::Relaxed);
    drop(shared);
    let tables = locked.into_inner();
    let outcome = match (violation, decision) {
        (Some((parent, broken)), _) => Outcome::Violated {
            broken,
            path: path_to(&parts, parent, &tables),
        },
        (None, Decision::Finish(None)) => Outcome::Exhausted,
        (None, Decision::Finish(Some(cause))) => Outcome::Truncated(cause),
        (None, Decision::GoOn | Decision::NextLevel) => {
            unreachable!("the threads agreed to finish")
        }
    };
    let mut witnesses = tables.early_witnesses();
    for part in &parts {
        witnesses.add_all(part.witnesses);
    }
    let report = Report {
        outcome,
        states: parts.iter().map(|part| part.shard.len() as u64).sum(),
        transitions: parts.iter().map(|part| part.enabled).sum(),
        depth,
        elapsed: started.elapsed(),
        bytes: parts.iter().map(|part| part.shard.bytes() as u64).sum(),
        witnesses,
        sizes: tables.sizes(),
    };
    let states = Box::new(Shards(parts.into_iter().map(|part| part.shard).collect()));
    Explored {
        report,
        tables,
        states,
    }
}

fn work<const W: usize>(shared: &Shared<'_, W>, own: usize, first: [u32; W]) -> Part<W> {
    let threads = shared.mail.len();
    let mut shard = Shard::<W>::new();
    let mut worker = Worker::<W>::new(shared.tables);
    let first = worker.canonical(first);
    let hash = visited::hash(&first);
    if owner(hash, threads) == own {
        shard.insert(&first, hash, u32::MAX);
    }
    let (mut next, mut level_end) = (0, shard.len());
    loop {
        // Expand.
        let mut out: Vec<Vec<Successor<W>>> = (0..threads)
            .map(|to| {
                std::mem::take(&mut *shared.mail[to][own].lock().expect("no thread panicked"))
            })
            .collect();
        let end = level_end.min(next + ROUND);
        while next < end {
            let parent = global_place(next, own, threads);
            let state = *shard.state(next);
            let judged = worker.successors(&state, |state| {
                let hash = visited::hash(&state);
                let to = owner(hash, threads);
                out[to].push(Successor {
                    state,
                    parent,
                    hash,
                });
            });
            if let Err(violation) = judged {
                let mut found = shared.violation.lock().expect("no thread panicked");
                found.get_or_insert((parent, violation.broken));
                break;
            }
            next += 1;
        }
        for (to, successors) in out.into_iter().enumerate() {
            *shared.mail[to][own].lock().expect("no thread panicked") = successors;
        }
        shared.barrier.wait();
        // Insert.
        for from in 0..threads {
            let mut mail = shared.mail[own][from].lock().expect("no thread panicked");
            for place in 0..mail.len() {
                if let Some(ahead) = mail.get(place + 2 * PREFETCH) {
                    shard.prefetch(ahead.hash);
                }
                if let Some(ahead) = mail.get(place + PREFETCH) {
                    shard.prefetch_state(ahead.hash);
                }
                let Successor {
                    state,
                    parent,
                    hash,
                } = &mail[place];
                shard.insert(state, *hash, *parent);
            }
            mail.clear();
        }
        shared.sizes[own].store(shard.len(), Ordering::Relaxed);
        shared.waiting[own].store(level_end - next, Ordering::Relaxed);
        shared.bytes[own].store(shard.bytes() + shard.growth_bytes(), Ordering::Relaxed);
        let frontier = shard.len() - next;
        shared
            .progress
            .frontier
            .fetch_add(frontier as u64, Ordering::Relaxed);
        // Agree.
        if shared.barrier.wait().is_leader() {
            *shared.decision.lock().expect("no thread panicked") = decide(shared);
        }
        shared.barrier.wait();
        let decision = *shared.decision.lock().expect("no thread panicked");
        match decision {
            Decision::GoOn => {}
            Decision::NextLevel => level_end = shard.len(),
            Decision::Finish(_) => break,
        }
        // No thread may change what was agreed on before all have read it.
        shared.barrier.wait();
    }
    Part {
        shard,
        witnesses: worker.witnesses,
        enabled: worker.enabled,
    }
}

fn decide<const W: usize>(shared: &Shared<'_, W>) -> Decision {
    let sum = |counts: &[AtomicUsize]| -> u64 {
        counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed) as u64)
            .sum()
    };
    let states = sum(&shared.sizes);
    let bytes = sum(&shared.bytes);
    let progress = shared.progress;
    progress.states.store(states, Ordering::Relaxed);
    progress.bytes.store(bytes, Ordering::Relaxed);
    let frontier = progress.frontier.swap(0, Ordering::Relaxed);
    if shared
        .violation
        .lock()
        .expect("no thread panicked")
        .is_some()
    {
        return Decision::Finish(None);
    }
    // Everything is expanded: exhausted, whatever limit was reached at the same moment.
    if frontier == 0 {
        return Decision::Finish(None);
    }
    if progress.interrupt.load(Ordering::Relaxed) {
        return Decision::Finish(Some(StopCause::Interrupted));
    }
    if shared.limits.max_states.is_some_and(|most| states >= most) {
        return Decision::Finish(Some(StopCause::MaxStates));
    }
    // Each round adds at most a bounded number of states; leave room for it.
    if states >= u64::from(u32::MAX) / 8 * 7 {
        return Decision::Finish(Some(StopCause::Capacity));
    }
    if let Some(most) = shared.limits.max_memory {
        let held = crate::machine::resident_bytes().unwrap_or(0).max(bytes);
        // The next growth of the index comes on top of what is held.
        let growth = bytes / 5;
        if held + growth >= most {
            return Decision::Finish(Some(StopCause::MaxMemory));
        }
    }
    if sum(&shared.waiting) > 0 {
        return Decision::GoOn;
    }
    let depth = shared.depth.fetch_add(1, Ordering::Relaxed) + 1;
    progress.depth.store(depth, Ordering::Relaxed);
    Decision::NextLevel
}

/// Which shard a state belongs to: by bits that neither pick the slot nor are all of the tag.
fn owner(hash: u64, threads: usize) -> usize {
    (((hash >> 32) * threads as u64) >> 32) as usize
}

fn global_place(place: usize, own: usize, threads: usize) -> u32 {
    u32::try_from(place * threads + own).expect("the search stops before 2^32 states")
}

fn path_to<const W: usize>(parts: &[Part<W>], last: u32, tables: &Tables) -> Vec<System> {
    let threads = parts.len();
    let mut path = Vec::new();
    let mut place = last;
    while place != u32::MAX {
        let (own, local) = (place as usize % threads, place as usize / threads);
        path.push(tables.system(parts[own].shard.state(local)));
        place = parts[own].shard.parent(local);
    }
    path.reverse();
    path
}

struct Shards<const W: usize>(Vec<Shard<W>>);

impl<const W: usize> StateSet for Shards<W> {
    fn len(&self) -> usize {
        self.0.iter().map(Shard::len).sum()
    }

    fn key(&self, mut place: usize) -> Vec<u32> {
        for shard in &self.0 {
            if place < shard.len() {
                return shard.state(place).to_vec();
            }
            place -= shard.len();
        }
        unreachable!("a place past the end of the visited set")
    }
}
