//! Parallel breadth-first search to exhaustion.
//!
//! The search completes one level after another, so the first violation found has a shortest trace.
//! Within a level each thread takes one piece of the frontier at a time, batches the successors by shard
//! of the visited set, and locks a shard only to insert a batch.

use super::{
    obligations::{Checked, Ledger},
    state_layout::{self, MAX_WORDS, Packing, StateLayout},
    successor_buffer::{BATCH, Batch, SuccessorBuffer},
    successors::Worker,
    tables::{Sizes, Tables},
    visited::{Inserted, SHARDS, Shard, shard_of},
};
use model::system::{Scope, System, TransitionSystem, Violation, Witness, Witnesses};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The number of states that a thread expands between two checks of the limits.
const TASK: usize = 256;
/// The number of pieces per thread, and the maximum number of states of a piece.
const PIECES: usize = 8;
const MAX_PIECE: usize = 1 << 16;
/// The number of tasks between two checks of the memory limit.
const LOOK_AT_MEMORY: u64 = 64;
/// The number of states of each level whose canonical form is checked.
const RENAMED_STATES: usize = 64;
/// The parent of the initial state.
const ROOT: u32 = u32::MAX;

/// The limits and settings of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of threads, at least one.
    pub threads: usize,
    /// Stop when there are more states than this.
    pub max_states: Option<u64>,
    /// Stop when the process holds this many bytes.
    pub max_memory: Option<u64>,
    /// Whether symmetry reduction is on: states that differ by a permutation of the servers are one.
    pub symmetry: bool,
}

/// The progress of a running search, for other threads.
#[derive(Debug, Default)]
pub struct SearchProgress {
    /// Set this to end the search after the current task.
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

/// Why a search stopped before the frontier was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopCause {
    /// The limit of states was reached.
    MaxStates,
    /// The limit of memory was reached.
    MaxMemory,
    /// It was interrupted.
    Interrupted,
    /// There are more states than state numbers.
    Capacity,
    /// An obligation of a reduction failed; see [`Report::checked`].
    Obligation,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every state within the bounds was visited, and every property holds in all of them.
    Exhausted,
    /// Stopped early: no claim.
    Truncated(StopCause),
    /// A property is violated. `path` is a shortest path to the violation, up to a permutation of the
    /// servers, without the last system.
    Violated {
        /// The property and the reason.
        broken: Violation,
        /// From an initial system to the one with the violating step.
        path: Vec<System>,
    },
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the search ended.
    pub outcome: Outcome,
    /// Distinct states.
    pub states: u64,
    /// Steps enabled in the states expanded.
    pub transitions: u64,
    /// The number of steps to the farthest state.
    pub depth: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// The peak size in bytes of visited set, parents, index and frontier.
    pub bytes: u64,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The sizes of the tables.
    pub sizes: Sizes,
    /// The checks of the reductions' obligations.
    pub checked: Checked,
}

impl Report {
    /// The expected witnesses of the scope that were not reached.
    pub fn missing(&self, scope: &Scope) -> Vec<Witness> {
        let expected = scope.expected.iter().copied();
        expected
            .filter(|witness| !self.witnesses.contains(*witness))
            .collect()
    }

    /// Whether the scope is exhausted, every property holds and every witness was reached.
    pub fn passed(&self, scope: &Scope) -> bool {
        matches!(self.outcome, Outcome::Exhausted) && self.missing(scope).is_empty()
    }
}

/// The visited states, in breadth-first order.
pub trait StateSet: Send + Sync {
    /// The number of states.
    fn len(&self) -> usize;

    /// Whether the set is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A state in ids of the tables.
    fn key(&self, position: usize) -> Vec<u32>;
}

/// A finished search.
pub struct Explored {
    /// The result.
    pub report: Report,
    /// The tables.
    pub tables: Tables,
    /// The states.
    pub states: Box<dyn StateSet>,
}

/// Searches a scope.
pub fn check(scope: &Scope, limits: &Limits, progress: &SearchProgress) -> Explored {
    let tables = Tables::new(scope.clone(), limits.symmetry);
    state_layout::with_slots!(tables.layout().slots(), S => run::<S>(tables, limits, progress))
}

fn run<const S: usize>(tables: Tables, limits: &Limits, progress: &SearchProgress) -> Explored {
    let started = Instant::now();
    let mut search = Search::<S>::new(&tables, limits, progress);
    let found = search.run();
    // The states of an unfinished level become its segment.
    search.frontier();
    let Search {
        shards,
        packing,
        segments,
        peak_bytes,
        ..
    } = search;
    let visited = Visited::<S> {
        shards: shards.into_iter().map(Mutex::into_inner).collect(),
        packing,
        segments,
        slots: tables.layout().slots(),
    };
    let outcome = match found.end {
        End::Exhausted => Outcome::Exhausted,
        End::Stopped(cause) => Outcome::Truncated(cause),
        End::Violation(parent, broken) => Outcome::Violated {
            broken,
            path: visited.path_to(parent, &tables),
        },
    };
    let report = Report {
        outcome,
        states: visited.len() as u64,
        transitions: found.transitions,
        depth: progress.depth.load(Ordering::Relaxed),
        elapsed: started.elapsed(),
        bytes: peak_bytes.max(visited.bytes()),
        witnesses: found.witnesses,
        sizes: tables.sizes(),
        checked: found.checked,
    };
    Explored {
        report,
        tables,
        states: Box::new(visited),
    }
}

/// The states of a level that are not expanded yet.
///
/// They are sorted by their processes and then by their shared part. Neighbors use the same cached
/// steps, and the effect of a step on their processes is computed once. That saves several times the
/// cost of the sort.
#[derive(Default)]
struct Frontier(Vec<(u64, u32)>);

impl Frontier {
    fn push(&mut self, servers: &[u32], others: &[u32], shared: u32, id: u32) {
        // The key only sorts: different processes may have the same key.
        let width = (u64::BITS - MIXED_BITS) / servers.len() as u32;
        let key = servers.iter().fold(0_u64, |key, process| {
            key << width | u64::from(*process) & ((1 << width) - 1)
        });
        let mixed = others.iter().fold(u64::from(shared), |mixed, process| {
            state_layout::fold(mixed << 32 | u64::from(*process))
        });
        let mixed = state_layout::fold(mixed) >> (u64::BITS - MIXED_BITS);
        self.0.push((key << MIXED_BITS | mixed, id));
    }

    fn id(&self, position: usize) -> u32 {
        self.0[position].1
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The bits of the sort key for everything but the servers.
const MIXED_BITS: u32 = 16;

struct Search<'a, const S: usize> {
    tables: &'a Tables,
    limits: Limits,
    progress: &'a SearchProgress,
    layout: StateLayout,
    packing: Packing,
    shards: Vec<Mutex<Shard>>,
    /// The number of states of each shard in the levels begun so far.
    done: [usize; SHARDS],
    segments: Vec<Segment>,
    /// The peak size of visited set and frontier.
    peak_bytes: u64,
    /// Whether a state was found after all state numbers were used.
    is_full: AtomicBool,
    /// The number of limit checks.
    looks: AtomicU64,
}

/// The states of one level in one shard.
struct Segment {
    shard: usize,
    /// The position of the first in its shard.
    first: usize,
    /// The number of states in this segment and all segments before it.
    end: usize,
}

/// The end of a search, with its totals.
struct RunResult {
    end: End,
    transitions: u64,
    witnesses: Witnesses,
    checked: Checked,
}

enum End {
    Exhausted,
    Stopped(StopCause),
    /// The property that a step from this state violates.
    Violation(u32, Violation),
}

/// Why the threads stop before the end of a level.
enum Halt {
    Stopped(StopCause),
    Violation(u32, Violation),
    /// An id does not fit the packing.
    Widen(Packing),
}

/// The state that the threads of a level share.
struct Level {
    frontier: Frontier,
    /// The number of states that a thread takes at once.
    piece: usize,
    /// The share of each thread at the beginning.
    shares: Vec<Share>,
    is_halted: AtomicBool,
    halt: Mutex<Option<Halt>>,
    /// States that were taken and not expanded.
    left: Mutex<Frontier>,
}

/// A range of the frontier that no thread has taken yet. Neighbors in the frontier share processes, also
/// from one level to the next. So a thread that stays in its share loads less into its step cache.
#[repr(align(128))]
struct Share(AtomicU64);

impl Share {
    fn new(positions: Range<usize>) -> Self {
        Self(AtomicU64::new(Self::packed(positions)))
    }

    fn packed(positions: Range<usize>) -> u64 {
        (positions.start as u64) << 32 | positions.end as u64
    }

    fn unpacked(packed: u64) -> Range<usize> {
        (packed >> 32) as usize..(packed & u64::from(u32::MAX)) as usize
    }

    fn left(&self) -> Range<usize> {
        Self::unpacked(self.0.load(Ordering::Relaxed))
    }

    fn take_first(&self, most: usize) -> Option<Range<usize>> {
        self.take(|left| {
            let at = left.start + most.min(left.len());
            (left.start..at, at..left.end)
        })
    }

    fn take_last(&self, most: usize) -> Option<Range<usize>> {
        self.take(|left| {
            let at = left.end - most.min(left.len());
            (at..left.end, left.start..at)
        })
    }

    /// `part` splits the rest into the range taken and the range left.
    fn take(
        &self,
        part: impl Fn(Range<usize>) -> (Range<usize>, Range<usize>),
    ) -> Option<Range<usize>> {
        let part = |packed| part(Self::unpacked(packed));
        let order = Ordering::Relaxed;
        let before = self.0.fetch_update(order, order, |packed| {
            let (taken, left) = part(packed);
            (!taken.is_empty()).then(|| Self::packed(left))
        });
        before.ok().map(|packed| part(packed).0)
    }
}

impl Level {
    fn new(frontier: Frontier, threads: usize) -> Self {
        let len = frontier.len();
        let end = |thread: usize| len * thread / threads;
        Self {
            piece: (len / threads / PIECES).clamp(TASK, MAX_PIECE),
            shares: (0..threads)
                .map(|thread| Share::new(end(thread)..end(thread + 1)))
                .collect(),
            frontier,
            is_halted: AtomicBool::new(false),
            halt: Mutex::new(None),
            left: Mutex::default(),
        }
    }

    /// The next piece for a thread. A thread without a share of its own takes from the end of the largest
    /// share.
    fn take(&self, thread: usize) -> Option<Range<usize>> {
        if let Some(positions) = self.shares[thread].take_first(self.piece) {
            return Some(positions);
        }
        loop {
            let most = self.shares.iter().max_by_key(|share| share.left().len())?;
            if most.left().is_empty() {
                return None;
            }
            // The owner may have taken the rest meanwhile.
            if let Some(positions) = most.take_last(self.piece) {
                return Some(positions);
            }
        }
    }

    fn is_halted(&self) -> bool {
        self.is_halted.load(Ordering::Relaxed)
    }

    fn give_back(&self, positions: Range<usize>) {
        self.left.lock().0.extend(&self.frontier.0[positions]);
    }

    /// A violation replaces any other reason: it holds whatever the rest of the level is.
    fn halt(&self, halt: Halt) {
        let mut held = self.halt.lock();
        if held.is_none() || matches!(halt, Halt::Violation(..)) {
            *held = Some(halt);
        }
        self.is_halted.store(true, Ordering::Relaxed);
    }

    /// The reason if the level was halted, and the states that are not expanded.
    fn finish(self) -> (Option<Halt>, Frontier) {
        let mut left = self.left.into_inner();
        for share in &self.shares {
            left.0.extend(&self.frontier.0[share.left()]);
        }
        (self.halt.into_inner(), left)
    }
}

impl<'a, const S: usize> Search<'a, S> {
    fn new(tables: &'a Tables, limits: &Limits, progress: &'a SearchProgress) -> Self {
        let layout = tables.layout().clone();
        let packing = Packing::new(&layout);
        let shards = (0..SHARDS)
            .map(|_| Mutex::new(Shard::new(packing.words())))
            .collect();
        Self {
            tables,
            limits: *limits,
            progress,
            layout,
            packing,
            shards,
            done: [0; SHARDS],
            segments: Vec::new(),
            peak_bytes: 0,
            is_full: AtomicBool::new(false),
            looks: AtomicU64::new(0),
        }
    }

    fn run(&mut self) -> RunResult {
        let mut workers: Vec<Worker<'a, S>> = (0..self.limits.threads.max(1))
            .map(|_| Worker::new(self.tables))
            .collect();
        let mut ledger = Ledger::new(self.tables, &self.progress.interrupt);
        self.insert_first(&mut workers[0]);
        // Normalization already removed messages of the first state. Their obligations are checked too.
        let mut complete = self.tables.scope().clone();
        complete.reduction.drop_dead = false;
        complete.reduction.trim_appends = false;
        ledger.deliver_all(&TransitionSystem::new(complete).start());
        let mut frontier = self.frontier();
        let mut end = loop {
            let (halt, left) = self.run_level(frontier, &mut workers);
            frontier = match halt {
                Some(Halt::Violation(parent, broken)) => break End::Violation(parent, broken),
                // A state was left out, so no other result counts.
                _ if self.is_full.load(Ordering::Relaxed) => {
                    break End::Stopped(StopCause::Capacity);
                }
                // A limit that was reached with the last piece does not matter: all states are expanded.
                Some(Halt::Stopped(cause)) if left.len() > 0 || self.has_more() => {
                    break End::Stopped(cause);
                }
                Some(Halt::Widen(packing)) => {
                    self.repack(packing);
                    left
                }
                Some(Halt::Stopped(_)) | None => {
                    assert_eq!(left.len(), 0, "a level that is done leaves nothing");
                    let frontier = self.frontier();
                    let started = Instant::now();
                    ledger.advance();
                    self.check_canonical_forms(&frontier, &mut workers[0], &mut ledger);
                    ledger.checked.elapsed += started.elapsed();
                    // With a planted bug the search looks for a violation, which needs no obligation.
                    let is_hunt = self.tables.scope().mutant.is_some();
                    if frontier.len() == 0 || (ledger.has_failed() && !is_hunt) {
                        break End::Exhausted;
                    }
                    self.progress.depth.fetch_add(1, Ordering::Relaxed);
                    frontier
                }
            };
        };
        if matches!(end, End::Exhausted) {
            if !ledger.has_failed() {
                let started = Instant::now();
                ledger.finish(self.limits.threads);
                ledger.checked.elapsed += started.elapsed();
            }
            if ledger.has_failed() {
                end = End::Stopped(StopCause::Obligation);
            } else if ledger.is_interrupted() {
                end = End::Stopped(StopCause::Interrupted);
            }
        }
        let mut witnesses = Witnesses::default();
        for successors in &workers {
            witnesses.add_all(successors.witnesses());
        }
        RunResult {
            end,
            transitions: workers
                .iter()
                .map(|successors| successors.transitions)
                .sum(),
            witnesses,
            checked: ledger.checked,
        }
    }

    /// Checks the canonical form of some states of a level under every permutation.
    fn check_canonical_forms(
        &self,
        frontier: &Frontier,
        successors: &mut Worker<'a, S>,
        ledger: &mut Ledger<'a>,
    ) {
        let step = (frontier.len() / RENAMED_STATES).max(1);
        for position in (0..frontier.len()).step_by(step) {
            let (shard, at) = index_of(frontier.id(position));
            let state: [u32; S] = self.packing.unpack(self.shards[shard].lock().state(at));
            for name in 1..self.tables.permutations().count() {
                let is_same = successors.has_form(&state, name);
                ledger.note_canonical(is_same);
            }
        }
    }

    fn insert_first(&mut self, successors: &mut Worker<'a, S>) {
        let key = self.tables.key_of(&self.tables.transitions().start());
        let first = successors.canonical(self.layout.padded(&key));
        self.repack(self.packing.widened(&self.layout, &first));
        let mut words = [0; MAX_WORDS];
        let fits = self.packing.pack(&first, &mut words);
        assert!(fits, "the packing was widened for it");
        let hash = state_layout::hash(&first);
        let state = &words[..self.packing.words()];
        let mut shard = self.shards[shard_of(hash)].lock();
        shard.insert::<S>(&self.packing, state, hash, ROOT);
        self.progress.states.store(1, Ordering::Relaxed);
        self.progress.frontier.store(1, Ordering::Relaxed);
        self.progress.depth.store(0, Ordering::Relaxed);
    }

    /// The states found since the last call: the next level.
    fn frontier(&mut self) -> Frontier {
        let mut frontier = Frontier::default();
        for (number, done) in self.done.iter_mut().enumerate() {
            let shard = self.shards[number].lock();
            let first = self.segments.last().map_or(0, |segment| segment.end);
            self.segments.push(Segment {
                shard: number,
                first: *done,
                end: first + shard.len() - *done,
            });
            for position in *done..shard.len() {
                let state: [u32; S] = self.packing.unpack(shard.state(position));
                let servers = &state[self.layout.servers_range()];
                let shared = state[self.layout.shared()];
                let others = &state[self.layout.servers..self.layout.addresses.len()];
                frontier.push(servers, others, shared, id_of(number, position));
            }
            *done = shard.len();
        }
        radsort::sort_by_key(&mut frontier.0, |(key, _)| *key);
        // The sort needs a second buffer of the same size.
        let held = self.bytes() + (2 * frontier.0.capacity() * size_of::<(u64, u32)>()) as u64;
        self.peak_bytes = self.peak_bytes.max(held);
        frontier
    }

    fn has_more(&self) -> bool {
        let mut shards = self.shards.iter().zip(&self.done);
        shards.any(|(shard, done)| shard.lock().len() > *done)
    }

    fn repack(&mut self, packing: Packing) {
        let from = std::mem::replace(&mut self.packing, packing);
        for shard in &mut self.shards {
            shard.get_mut().repack::<S>(&from, &self.packing);
        }
    }

    fn run_level(
        &self,
        frontier: Frontier,
        workers: &mut [Worker<'a, S>],
    ) -> (Option<Halt>, Frontier) {
        let threads = workers.len();
        let level = Level::new(frontier, threads);
        if threads == 1 || level.frontier.len() <= TASK {
            self.work(&level, 0, &mut workers[0]);
            return level.finish();
        }
        std::thread::scope(|scope| {
            for (thread, successors) in workers.iter_mut().enumerate() {
                let level = &level;
                scope.spawn(move || {
                    // A panic leaves states out, so there must be no verdict.
                    catch_unwind(AssertUnwindSafe(|| self.work(level, thread, successors)))
                        .unwrap_or_else(|_| std::process::abort());
                });
            }
        });
        level.finish()
    }

    fn work(&self, level: &Level, thread: usize, successors: &mut Worker<'_, S>) {
        let words = self.packing.words();
        let mut packed = vec![0_u64; TASK * words];
        let mut out = SuccessorBuffer::new(&self.first_of(level));
        let mut key = [0_u64; MAX_WORDS];
        let mut piece = 0..0;
        'pieces: while !level.is_halted() {
            if piece.is_empty() {
                match level.take(thread) {
                    Some(next) => piece = next,
                    None => break,
                }
            }
            if let Some(cause) = self.limit_reached() {
                level.halt(Halt::Stopped(cause));
                break;
            }
            let positions = piece.start..piece.end.min(piece.start + TASK);
            for position in positions.clone() {
                let (shard, at) = index_of(level.frontier.id(position));
                self.shards[shard].lock().prefetch_at(at);
            }
            for (number, position) in positions.clone().enumerate() {
                let (shard, at) = index_of(level.frontier.id(position));
                packed[number * words..][..words]
                    .copy_from_slice(self.shards[shard].lock().state(at));
            }
            for (number, position) in positions.clone().enumerate() {
                let parent = level.frontier.id(position);
                let state = self.packing.unpack(&packed[number * words..][..words]);
                let mut wider = None;
                let expanded = successors.successors(&state, |next| {
                    if !self.packing.pack(next, &mut key) {
                        wider = Some(self.packing.widened(&self.layout, next));
                        return false;
                    }
                    if let Some(shard) = out.push(&key[..words], state_layout::hash(next), parent) {
                        self.deliver(shard, out.batch_of(shard));
                    }
                    true
                });
                let halt = match (expanded, wider) {
                    (Err(broken), _) => Halt::Violation(parent, broken),
                    (Ok(_), Some(packing)) => Halt::Widen(packing),
                    (Ok(_), None) => continue,
                };
                level.halt(halt);
                piece.start = position;
                break 'pieces;
            }
            let count = positions.len() as u64;
            self.progress.frontier.fetch_sub(count, Ordering::Relaxed);
            piece.start = positions.end;
        }
        level.give_back(piece);
        out.flush(|shard, batch| self.deliver(shard, batch));
    }

    /// A packed state of a level.
    fn first_of(&self, level: &Level) -> Vec<u64> {
        let (shard, at) = index_of(level.frontier.id(0));
        self.shards[shard].lock().state(at).to_vec()
    }

    /// Inserts the batch of a shard.
    fn deliver(&self, shard: usize, batch: &mut Batch<BATCH>) {
        if batch.count == 0 {
            return;
        }
        let mut held = self.shards[shard].lock();
        let before = held.len();
        for hash in &batch.hashes[..batch.count] {
            held.prefetch(*hash);
        }
        for hash in &batch.hashes[..batch.count] {
            held.prefetch_state(*hash);
        }
        for position in 0..batch.count {
            let state = batch.state(position);
            let (hash, parent) = (batch.hashes[position], batch.parents[position]);
            if held.insert::<S>(&self.packing, state, hash, parent) == Inserted::Full {
                self.is_full.store(true, Ordering::Relaxed);
            }
        }
        batch.count = 0;
        let new = (held.len() - before) as u64;
        drop(held);
        self.progress.states.fetch_add(new, Ordering::Relaxed);
        self.progress.frontier.fetch_add(new, Ordering::Relaxed);
    }

    fn limit_reached(&self) -> Option<StopCause> {
        let progress = self.progress;
        if self.is_full.load(Ordering::Relaxed) {
            return Some(StopCause::Capacity);
        }
        if progress.interrupt.load(Ordering::Relaxed) {
            return Some(StopCause::Interrupted);
        }
        let states = progress.states.load(Ordering::Relaxed);
        if self.limits.max_states.is_some_and(|most| states > most) {
            return Some(StopCause::MaxStates);
        }
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if !looks.is_multiple_of(LOOK_AT_MEMORY) {
            return None;
        }
        let bytes = self.bytes();
        progress.bytes.store(bytes, Ordering::Relaxed);
        let held = crate::machine::resident_bytes().unwrap_or(0).max(bytes);
        // While the index of a shard grows, a part of it exists twice.
        let growth = bytes / SHARDS as u64;
        let is_too_much = |most| held + growth >= most;
        self.limits
            .max_memory
            .is_some_and(is_too_much)
            .then_some(StopCause::MaxMemory)
    }

    fn bytes(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().bytes() as u64).sum()
    }
}

/// The number of a state among all shards.
fn id_of(shard: usize, position: usize) -> u32 {
    (position * SHARDS + shard) as u32
}

/// The shard of a state, and its position in the shard.
fn index_of(id: u32) -> (usize, usize) {
    (id as usize % SHARDS, id as usize / SHARDS)
}

/// A finished visited set.
struct Visited<const S: usize> {
    shards: Vec<Shard>,
    packing: Packing,
    /// In level order.
    segments: Vec<Segment>,
    slots: usize,
}

impl<const S: usize> Visited<S> {
    fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes() as u64).sum()
    }

    fn unpacked(&self, shard: usize, position: usize) -> Vec<u32> {
        let state: [u32; S] = self.packing.unpack(self.shards[shard].state(position));
        state[..self.slots].to_vec()
    }

    fn path_to(&self, last: u32, tables: &Tables) -> Vec<System> {
        let mut path = Vec::new();
        let mut id = last;
        while id != ROOT {
            let (shard, position) = index_of(id);
            path.push(tables.system(&self.unpacked(shard, position)));
            id = self.shards[shard].parent(position);
        }
        path.reverse();
        path
    }
}

impl<const S: usize> StateSet for Visited<S> {
    fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    fn key(&self, position: usize) -> Vec<u32> {
        let number = self
            .segments
            .partition_point(|segment| segment.end <= position);
        let before = number
            .checked_sub(1)
            .map_or(0, |last| self.segments[last].end);
        let segment = &self.segments[number];
        self.unpacked(segment.shard, segment.first + position - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn search_with_shards_of(most: usize) -> (End, u64) {
        let scopes = Scope::catalog();
        let scope = scopes.iter().find(|scope| scope.name == "elections");
        let tables = Tables::new(scope.expect("a scope of the catalog").clone(), true);
        let limits = Limits {
            threads: 2,
            max_states: None,
            max_memory: None,
            symmetry: true,
        };
        let progress = SearchProgress::default();
        let mut search = Search::<10>::new(&tables, &limits, &progress);
        for shard in &mut search.shards {
            *shard.get_mut() = Shard::of_at_most(search.packing.words(), most);
        }
        let end = search.run().end;
        (end, progress.states.load(Ordering::Relaxed))
    }

    #[test]
    fn state_without_a_number_left_for_it_makes_no_exhausted_scope() {
        let (end, all) = search_with_shards_of(10_000);
        assert!(matches!(end, End::Exhausted));
        for most in [1, 20, all as usize / SHARDS] {
            let (end, states) = search_with_shards_of(most);
            assert!(matches!(end, End::Stopped(StopCause::Capacity)), "{most}");
            assert!(states < all, "{most}");
        }
    }

    #[test]
    fn every_state_of_a_level_is_taken_once() {
        for (states, threads) in [(1, 1), (1, 3), (300, 2), (10_000, 2), (10_001, 3)] {
            let mut frontier = Frontier::default();
            (0..states).for_each(|id| frontier.push(&[0], &[], 0, id));
            let level = Level::new(frontier, threads);
            let taken = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (level, taken) = (&level, &taken);
                    scope.spawn(move || {
                        while let Some(positions) = level.take(thread) {
                            assert!(!positions.is_empty());
                            taken.lock().extend(positions);
                        }
                    });
                }
            });
            let mut taken = taken.into_inner();
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..states as usize));
            assert_eq!(level.finish().1.len(), 0);
        }
    }

    #[test]
    fn states_that_no_thread_took_are_left() {
        let mut frontier = Frontier::default();
        (0..10_000).for_each(|id| frontier.push(&[0], &[], 0, id));
        let level = Level::new(frontier, 2);
        let mut held: HashSet<u32> = HashSet::new();
        // The second thread finishes its share and takes from the first one's.
        for thread in [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
            let positions = level.take(thread).expect("there is more");
            held.extend(positions.map(|position| level.frontier.id(position)));
        }
        let (_, left) = level.finish();
        held.extend((0..left.len()).map(|position| left.id(position)));
        assert_eq!((held.len(), left.len() > 0), (10_000, true));
    }
}
