//! Decides one key: a depth-first search over the orders that time allows (Wing and Gong), which never
//! enters a configuration twice (Lowe).
//!
//! An operation may come next if it was called before every operation that is still to be placed had
//! returned. The search is exact. Three rules keep it short without excluding a relevant order:
//! * *Operations that change nothing come immediately.* If a read is possible now and any order exists,
//!   an order with the read at this position exists too: moving it forward moves no other operation.
//! * *Versions come in ascending order.* A write of a known version waits for all lower ones. A version
//!   is not replaced while an operation must still read it.
//! * *Operations of unknown outcome come last, and only if their effect is read.* If their effect is
//!   overwritten before it is read, they can as well be left out. Among equal operations, the earliest
//!   called comes first.
//!
//! A configuration is stored exactly: the operations taken, and the state of the key. No verdict depends
//! on a hash.

use super::{
    format::Operation,
    object::{KeyState, ObjectStep, Values},
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use std::{
    collections::hash_map::Entry,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The maximum number of configurations entered for one key.
    pub max_configurations: u64,
    /// The maximum memory in bytes for the configurations of one key.
    pub max_memory: u64,
    /// The deadline.
    pub deadline: Option<Instant>,
    /// Set this to interrupt the search.
    pub interrupt: &'a AtomicBool,
}

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Linearizable,
    Violated,
    Undecided(UndecidedCause),
}

/// Why a search ended without a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndecidedCause {
    /// [`Limits::max_configurations`] was reached.
    MaxConfigurations,
    /// [`Limits::max_memory`] was reached.
    MaxMemory,
    /// [`Limits::deadline`] has passed.
    MaxTime,
    /// It was interrupted.
    Interrupted,
}

impl fmt::Display for UndecidedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxConfigurations => "the limit was reached; raise --max-configurations",
            Self::MaxMemory => "the memory limit was reached; raise --max-memory",
            Self::MaxTime => "the time limit was reached; raise --max-time",
            Self::Interrupted => "interrupted",
        })
    }
}

/// A finished search.
#[derive(Debug)]
pub(super) struct SearchResult {
    pub(super) decision: Decision,
    /// The number of configurations entered.
    pub(super) configurations: u64,
    /// The order that placed the most operations of known outcome, as indices of the operations
    /// searched. It is complete if a complete order exists.
    pub(super) longest: Vec<usize>,
}

/// Decides whether some order explains these operations, all on one key.
pub(super) fn search(operations: &[&Operation], limits: &Limits<'_>) -> SearchResult {
    Search::new(operations).run(limits)
}

/// The number of configurations between two checks of the clock.
const LOOK: u64 = 1 << 12;

struct Search {
    values: Values,
    /// The operations that an order must contain: those with a return, in the order of their calls.
    definite: Vec<Definite>,
    /// The operations that an order may contain: those of unknown outcome, in the order of their calls.
    open: Vec<Open>,
    /// Calls and returns of the definite operations that are still to be placed, in time order.
    timeline: Timeline,
    /// The versions that definite operations created, ascending. The first `versions_made` are placed.
    versions: Vec<u64>,
    versions_made: usize,
    /// The number of definite operations that must still read each version.
    to_see: FxHashMap<u64, u32>,
    taken: Bits,
    used: Bits,
    /// The number of definite operations placed.
    placed: usize,
    visited: FxHashSet<Configuration>,
    visited_bytes: u64,
}

struct Definite {
    step: ObjectStep,
    /// Its index among the operations searched.
    position: usize,
}

struct Open {
    step: ObjectStep,
    invoke: u64,
    position: usize,
    /// The previous operation with the same effect.
    twin: Option<usize>,
}

/// The complete state on which the rest of the search depends.
#[derive(PartialEq, Eq, Hash)]
struct Configuration {
    taken: Box<[u64]>,
    used: Box<[u64]>,
    state: KeyState,
    unseen: bool,
}

/// The current state of the key.
#[derive(Clone, Copy)]
struct SearchState {
    state: KeyState,
    /// Whether the last change has an unknown outcome and was not read yet.
    unseen: bool,
}

/// An operation that was taken, and the continuation after it is taken back.
struct Frame {
    taken: Choice,
    before: SearchState,
    /// The next candidate to try; `None` if no other needs to be tried.
    next: Option<Cursor>,
}

#[derive(Clone, Copy)]
enum Choice {
    Definite(usize),
    Open(usize),
}

/// The position of the search among the candidates.
#[derive(Clone, Copy)]
enum Cursor {
    /// At a node of the timeline.
    Definite(usize),
    /// At an operation of unknown outcome. Operations called after `until` are not candidates.
    Open { next: usize, until: u64 },
}

impl Search {
    fn new(operations: &[&Operation]) -> Self {
        let mut values = Values::default();
        let mut by_call: Vec<usize> = (0..operations.len()).collect();
        by_call.sort_by_key(|position| operations[*position].invoke);
        let mut definite = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut spans = Vec::new();
        let mut twins = FxHashMap::default();
        for position in by_call {
            let operation = operations[position];
            let step = ObjectStep::from_operation(operation, &mut values);
            match operation.returned {
                Some(returned) => {
                    spans.push((operation.invoke, returned));
                    definite.push(Definite { step, position });
                }
                None => {
                    let twin = match twins.entry(step) {
                        Entry::Occupied(mut last) => Some(last.insert(open.len())),
                        Entry::Vacant(first) => {
                            first.insert(open.len());
                            None
                        }
                    };
                    let invoke = operation.invoke;
                    open.push(Open {
                        step,
                        invoke,
                        position,
                        twin,
                    });
                }
            }
        }
        let mut versions: Vec<u64> = definite.iter().filter_map(|op| made(&op.step)).collect();
        versions.sort_unstable();
        let mut to_see = FxHashMap::default();
        for version in definite.iter().filter_map(|op| op.step.sees_version()) {
            *to_see.entry(version).or_default() += 1;
        }
        Self {
            values,
            timeline: Timeline::new(&spans),
            taken: Bits::default(),
            used: Bits::default(),
            definite,
            open,
            versions,
            versions_made: 0,
            to_see,
            placed: 0,
            visited: FxHashSet::default(),
            visited_bytes: 0,
        }
    }

    fn run(mut self, limits: &Limits<'_>) -> SearchResult {
        let mut frames: Vec<Frame> = Vec::new();
        let mut standing = SearchState {
            state: KeyState::default(),
            unseen: false,
        };
        let mut cursor = self.first();
        let mut longest: Option<(usize, Vec<usize>)> = None;
        let mut configurations = 0;
        let decision = loop {
            if self.placed == self.definite.len() {
                longest = Some((self.placed, self.order(&frames)));
                break Decision::Linearizable;
            }
            if let Some((taken, next, after)) = self.candidate(cursor, standing) {
                configurations += 1;
                if configurations > limits.max_configurations {
                    break Decision::Undecided(UndecidedCause::MaxConfigurations);
                }
                if self.visited_bytes > limits.max_memory {
                    break Decision::Undecided(UndecidedCause::MaxMemory);
                }
                if configurations.is_multiple_of(LOOK)
                    && let Some(cause) = stopped_by(limits)
                {
                    break Decision::Undecided(cause);
                }
                let before = standing;
                frames.push(Frame {
                    taken,
                    before,
                    next,
                });
                standing = after;
                cursor = self.first();
                continue;
            }
            if longest.as_ref().is_none_or(|(most, _)| self.placed > *most) {
                longest = Some((self.placed, self.order(&frames)));
            }
            // A dead end: backtrack until there is another candidate.
            let resumed = loop {
                let Some(frame) = frames.pop() else {
                    break None;
                };
                self.take_back(frame.taken);
                standing = frame.before;
                if frame.next.is_some() {
                    break frame.next;
                }
            };
            match resumed {
                Some(next) => cursor = next,
                None => break Decision::Violated,
            }
        };
        SearchResult {
            decision,
            configurations,
            longest: longest.map(|(_, order)| order).unwrap_or_default(),
        }
    }

    /// The order so far, up to the last definite operation.
    fn order(&self, frames: &[Frame]) -> Vec<usize> {
        let is_definite = |frame: &Frame| matches!(frame.taken, Choice::Definite(_));
        let count = frames
            .iter()
            .rposition(is_definite)
            .map_or(0, |last| last + 1);
        let position = |frame: &Frame| match frame.taken {
            Choice::Definite(op) => self.definite[op].position,
            Choice::Open(op) => self.open[op].position,
        };
        frames[..count].iter().map(position).collect()
    }

    fn first(&self) -> Cursor {
        Cursor::Definite(self.timeline.first())
    }

    /// Takes the next candidate that is possible here and leads to a new configuration. Returns the
    /// cursor to continue with after it is taken back.
    fn candidate(
        &mut self,
        mut cursor: Cursor,
        standing: SearchState,
    ) -> Option<(Choice, Option<Cursor>, SearchState)> {
        if let Cursor::Definite(node) = cursor
            && node == self.timeline.first()
            && let Some(op) = self.sure_candidate(standing)
        {
            self.take(Choice::Definite(op));
            let unseen = false;
            return Some((
                Choice::Definite(op),
                None,
                SearchState { unseen, ..standing },
            ));
        }
        loop {
            let (choice, step, next) = match cursor {
                Cursor::Definite(node) => match self.timeline.event(node) {
                    TimelineEvent::Call(op) => {
                        cursor = Cursor::Definite(self.timeline.next(node));
                        (Choice::Definite(op), self.definite[op].step, cursor)
                    }
                    TimelineEvent::Return(until) => {
                        cursor = Cursor::Open { next: 0, until };
                        continue;
                    }
                },
                Cursor::Open { next, until } => {
                    let open = self.open.get(next).filter(|open| open.invoke <= until)?;
                    let step = open.step;
                    let is_usable = !self.used.contains(next)
                        && open.twin.is_none_or(|op| self.used.contains(op));
                    cursor = Cursor::Open {
                        next: next + 1,
                        until,
                    };
                    if !is_usable {
                        continue;
                    }
                    (Choice::Open(next), step, cursor)
                }
            };
            if standing.unseen && step.is_blind() {
                continue;
            }
            let Some(state) = self.reached(standing.state, choice, &step) else {
                continue;
            };
            let after = SearchState {
                state,
                unseen: matches!(choice, Choice::Open(_)),
            };
            self.take(choice);
            if self.enter(after) {
                return Some((choice, Some(next), after));
            }
            self.take_back(choice);
        }
    }

    /// A candidate that is possible here and leaves the state unchanged: no other candidate needs to be
    /// tried.
    fn sure_candidate(&mut self, standing: SearchState) -> Option<usize> {
        let mut node = self.timeline.first();
        while let TimelineEvent::Call(op) = self.timeline.event(node) {
            let step = self.definite[op].step;
            if step.only_sees()
                && standing.state.after(&step, &mut self.values) == Some(standing.state)
            {
                return Some(op);
            }
            node = self.timeline.next(node);
        }
        None
    }

    /// The state after an operation. Returns `None` if it cannot be part of a complete order.
    fn reached(&mut self, before: KeyState, choice: Choice, step: &ObjectStep) -> Option<KeyState> {
        // Definite operations create their versions in ascending order.
        let mut due = self.versions_made;
        if let (Choice::Definite(_), Some(made)) = (choice, made(step)) {
            if self.versions.get(due) != Some(&made) {
                return None;
            }
            due += 1;
        }
        let after = before.after(step, &mut self.values)?;
        // The versions still to be created must be above the floor.
        if self
            .versions
            .get(due)
            .is_some_and(|due| *due <= after.floor)
        {
            return None;
        }
        // The operation would replace a version that a definite operation must still read.
        let still = |version: &u64| self.to_see.get(version).is_some_and(|count| *count > 0);
        let ends = !step.only_sees();
        if ends && before.version.as_ref().is_some_and(still) {
            return None;
        }
        Some(after)
    }

    /// Records a configuration. Returns whether it is new.
    fn enter(&mut self, standing: SearchState) -> bool {
        let configuration = Configuration {
            taken: self.taken.key(),
            used: self.used.key(),
            state: standing.state,
            unseen: standing.unseen,
        };
        let words = configuration.taken.len() + configuration.used.len();
        let is_new = self.visited.insert(configuration);
        if is_new {
            self.visited_bytes += (words * 8 + size_of::<Configuration>() * 2) as u64;
        }
        is_new
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Open(op) => self.used.insert(op),
            Choice::Definite(op) => {
                self.timeline.lift(op);
                self.taken.insert(op);
                self.placed += 1;
                let step = &self.definite[op].step;
                self.versions_made += usize::from(made(step).is_some());
                if let Some(version) = step.sees_version() {
                    *self.to_see.entry(version).or_default() -= 1;
                }
            }
        }
    }

    fn take_back(&mut self, choice: Choice) {
        match choice {
            Choice::Open(op) => self.used.remove(op),
            Choice::Definite(op) => {
                self.timeline.put_back(op);
                self.taken.remove(op);
                self.placed -= 1;
                let step = &self.definite[op].step;
                self.versions_made -= usize::from(made(step).is_some());
                if let Some(version) = step.sees_version() {
                    *self.to_see.entry(version).or_default() += 1;
                }
            }
        }
    }
}

fn made(step: &ObjectStep) -> Option<u64> {
    match step {
        ObjectStep::Set { made, .. } | ObjectStep::Add { made, .. } => *made,
        _ => None,
    }
}

fn stopped_by(limits: &Limits<'_>) -> Option<UndecidedCause> {
    if limits.interrupt.load(Ordering::Relaxed) {
        return Some(UndecidedCause::Interrupted);
    }
    let is_late = |deadline| Instant::now() > deadline;
    let is_late = limits.deadline.is_some_and(is_late);
    is_late.then_some(UndecidedCause::MaxTime)
}

#[derive(Clone, Copy)]
enum TimelineEvent {
    /// The call of this definite operation.
    Call(usize),
    /// A return at this time.
    Return(u64),
}

/// A doubly linked list of calls and returns. Operations are removed and then reinserted in reverse
/// order (Lowe's list; Knuth's dancing links). Node 0 is both ends.
struct Timeline {
    events: Vec<TimelineEvent>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The two nodes of each operation.
    nodes: Vec<(usize, usize)>,
}

impl Timeline {
    /// The timeline of operations with these calls and returns. If an operation returns at the same time
    /// at which another is called, they count as concurrent: clocks have a limited resolution, and in
    /// doubt there is no violation.
    fn new(spans: &[(u64, u64)]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * spans.len());
        for (op, (invoke, returned)) in spans.iter().enumerate() {
            order.push((*invoke, false, op));
            order.push((*returned, true, op));
        }
        order.sort_unstable();
        let count = order.len() + 1;
        let mut nodes = vec![(0, 0); spans.len()];
        let mut events = vec![TimelineEvent::Return(u64::MAX)];
        for (position, (time, is_return, op)) in order.into_iter().enumerate() {
            if is_return {
                nodes[op].1 = position + 1;
                events.push(TimelineEvent::Return(time));
            } else {
                nodes[op].0 = position + 1;
                events.push(TimelineEvent::Call(op));
            }
        }
        Self {
            events,
            next: (1..=count).map(|node| node % count).collect(),
            previous: (0..count).map(|node| (node + count - 1) % count).collect(),
            nodes,
        }
    }

    fn first(&self) -> usize {
        self.next[0]
    }

    fn next(&self, node: usize) -> usize {
        self.next[node]
    }

    fn event(&self, node: usize) -> TimelineEvent {
        self.events[node]
    }

    fn lift(&mut self, op: usize) {
        let (call, returned) = self.nodes[op];
        for node in [call, returned] {
            self.next[self.previous[node]] = self.next[node];
            self.previous[self.next[node]] = self.previous[node];
        }
    }

    fn put_back(&mut self, op: usize) {
        let (call, returned) = self.nodes[op];
        for node in [returned, call] {
            self.next[self.previous[node]] = node;
            self.previous[self.next[node]] = node;
        }
    }
}

/// A set of small numbers, in which most low numbers are present. The full words at the start are not
/// stored in a key, only counted.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    /// The number of full words at the start.
    full: usize,
}

impl Bits {
    fn contains(&self, bit: usize) -> bool {
        let word = self.words.get(bit / 64).copied().unwrap_or(0);
        word >> (bit % 64) & 1 == 1
    }

    fn insert(&mut self, bit: usize) {
        if self.words.len() <= bit / 64 {
            self.words.resize(bit / 64 + 1, 0);
        }
        self.words[bit / 64] |= 1 << (bit % 64);
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn remove(&mut self, bit: usize) {
        self.words[bit / 64] &= !(1 << (bit % 64));
        self.full = self.full.min(bit / 64);
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// The key of the set: two sets have equal keys if and only if they are equal.
    fn key(&self) -> Box<[u64]> {
        let mut key = vec![self.full as u64];
        key.extend_from_slice(&self.words[self.full..]);
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_sets_are_equal_exactly_for_equal_sets() {
        let mut bits = Bits::default();
        let empty = bits.key();
        for bit in 0..200 {
            bits.insert(bit);
        }
        let full = bits.key();
        assert!(full.len() < 4, "full words are counted, not kept");
        bits.remove(3);
        assert_ne!(bits.key(), full);
        assert!(!bits.contains(3) && bits.contains(4) && !bits.contains(1000));
        bits.insert(3);
        assert_eq!(bits.key(), full);
        for bit in (0..200).rev() {
            bits.remove(bit);
        }
        assert_eq!(bits.key(), empty);
    }

    #[test]
    fn timeline_gives_back_what_was_lifted_in_reverse_order() {
        let spans = [(0, 10), (5, 20), (10, 15)];
        let mut timeline = Timeline::new(&spans);
        let walk = |timeline: &Timeline| {
            let mut nodes = Vec::new();
            let mut node = timeline.first();
            while node != 0 {
                nodes.push(node);
                node = timeline.next(node);
            }
            nodes
        };
        let whole = walk(&timeline);
        // The third operation is called at the moment the first returns: they are concurrent.
        let event = timeline.event(timeline.next(timeline.next(timeline.first())));
        assert!(matches!(event, TimelineEvent::Call(2)));
        timeline.lift(1);
        timeline.lift(0);
        assert_eq!(walk(&timeline).len(), 2);
        timeline.put_back(0);
        timeline.put_back(1);
        assert_eq!(walk(&timeline), whole);
    }
}
