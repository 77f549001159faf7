//! Explains why no order exists for a key: a set of operations, as small as possible, that cannot be
//! ordered regardless of the other operations.
//!
//! A history without an order is weakened step by step. A step is kept if there still is no order:
//! * the history ends earlier: operations that returned later become optional, and operations that were
//!   called later are removed;
//! * an operation becomes optional: a read is removed; a write took effect with its recorded result, or
//!   never.
//!
//! A weaker history has every order of the stronger one. So the remaining history has no order either,
//! and it names the operations whose results contradict one another.

use super::{
    format::Operation,
    object::{KeyState, ObjectStep, Values},
    search::{Decision, Limits, SearchResult, search},
};
use std::{
    fmt,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// The time limit of the search for a short explanation. A longer explanation is equally valid.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum number of configurations of one attempt.
const ATTEMPT: u64 = 50_000;
/// The maximum memory of one attempt in bytes.
const MEMORY: u64 = 512 << 20;

/// The explanation why no order exists for a key.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The operations whose results contradict one another, in the order of their calls.
    pub operations: Vec<Operation>,
    /// The number of other operations on this key. No order exists for any subset of them.
    pub others: usize,
    /// The longest possible order, including helpful other operations, with the state of the key after
    /// each operation.
    pub order: Vec<(Operation, String)>,
    /// The state of the key before the first operation.
    start: String,
    /// The operations that would have to come next, and the reason why each cannot.
    pub blocked: Vec<(Operation, String)>,
}

/// Explains why these operations, all on one key, have no order.
pub(super) fn explain(operations: &[&Operation], interrupt: &AtomicBool) -> Explanation {
    let limits = Limits {
        max_configurations: ATTEMPT,
        max_memory: MEMORY,
        deadline: Some(Instant::now() + PATIENCE),
        interrupt,
    };
    let whole: Vec<Operation> = operations.iter().map(|op| (*op).clone()).collect();
    let cut = shorten(&whole, &limits);
    let core = weaken(cut, &limits);
    let found = attempt(&core, &limits);
    describe(operations.len(), &core, &found)
}

fn attempt(operations: &[Operation], limits: &Limits<'_>) -> SearchResult {
    let operations: Vec<&Operation> = operations.iter().collect();
    search(&operations, limits)
}

fn is_violated(operations: &[Operation], limits: &Limits<'_>) -> bool {
    attempt(operations, limits).decision == Decision::Violated
}

/// Whether an order must contain the operation.
fn is_firm(operation: &Operation) -> bool {
    operation.returned.is_some()
}

/// The shortest prefix of the history without an order.
fn shorten(whole: &[Operation], limits: &Limits<'_>) -> Vec<Operation> {
    let mut returns: Vec<u64> = whole.iter().filter_map(|op| op.returned).collect();
    returns.sort_unstable();
    returns.dedup();
    // If a history has an order, each of its prefixes has one. So a binary search finds the shortest
    // prefix without an order.
    let (mut low, mut high) = (0, returns.len().saturating_sub(1));
    let mut shortest = whole.to_vec();
    while low < high {
        let middle = usize::midpoint(low, high);
        let until = until(whole, returns[middle]);
        if is_violated(&until, limits) {
            shortest = until;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    shortest
}

fn until(whole: &[Operation], time: u64) -> Vec<Operation> {
    let begun = whole.iter().filter(|op| op.invoke <= time);
    begun
        .filter_map(|op| match op.returned {
            Some(returned) if returned > time => optional(op),
            _ => Some(op.clone()),
        })
        .collect()
}

/// The operation as an optional one: it took effect with its recorded result, or never. Returns `None`
/// if an optional operation would not constrain the order.
fn optional(operation: &Operation) -> Option<Operation> {
    let only_sees = ObjectStep::from_operation(operation, &mut Values::default()).only_sees();
    (!only_sees).then(|| Operation {
        returned: None,
        ..operation.clone()
    })
}

/// Makes operations optional, first many at a time and then fewer, while there still is no order.
fn weaken(mut operations: Vec<Operation>, limits: &Limits<'_>) -> Vec<Operation> {
    let definite = |operations: &[Operation]| operations.iter().filter(|op| is_firm(op)).count();
    let mut size = definite(&operations).div_ceil(2);
    while size > 0 {
        let mut first = 0;
        while first < definite(&operations) {
            let weaker = without(&operations, first, size);
            if is_violated(&weaker, limits) {
                operations = weaker;
            } else {
                first += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    operations
}

/// The same history with `count` further operations optional, from the `first` definite one on.
fn without(operations: &[Operation], first: usize, count: usize) -> Vec<Operation> {
    let mut definite = 0;
    let mut weaker = Vec::with_capacity(operations.len());
    for operation in operations {
        let index = definite;
        definite += usize::from(is_firm(operation));
        if is_firm(operation) && (first..first + count).contains(&index) {
            weaker.extend(optional(operation));
        } else {
            weaker.push(operation.clone());
        }
    }
    weaker
}

fn describe(all: usize, core: &[Operation], found: &SearchResult) -> Explanation {
    let mut operations: Vec<Operation> = core.iter().filter(|op| is_firm(op)).cloned().collect();
    operations.sort_by_key(|op| op.invoke);
    let mut values = Values::default();
    let mut state = KeyState::default();
    let start = state.describe(&values);
    let mut order = Vec::new();
    for operation in found.longest.iter().map(|index| &core[*index]) {
        let step = ObjectStep::from_operation(operation, &mut values);
        state = state.after(&step, &mut values).unwrap_or(state);
        order.push((operation.clone(), state.describe(&values)));
    }
    let waiting = |op: &&Operation| !order.iter().any(|(placed, _)| placed.place == op.place);
    let left: Vec<&Operation> = operations.iter().filter(waiting).collect();
    let first_return = left.iter().filter_map(|op| op.returned).min();
    let blocked = left
        .into_iter()
        .filter(|op| first_return.is_none_or(|time| op.invoke <= time))
        .map(|op| (op.clone(), obstacle(op, state, &mut values)))
        .collect();
    Explanation {
        others: all - operations.len(),
        operations,
        order,
        start,
        blocked,
    }
}

fn obstacle(operation: &Operation, state: KeyState, values: &mut Values) -> String {
    let step = ObjectStep::from_operation(operation, values);
    if state.after(&step, values).is_some() {
        return "this is possible here, but then another of these operations never becomes possible".into();
    }
    match operation.made() {
        Some(made) if made <= state.floor => {
            format!(
                "but the last write before it has version {} or more",
                state.floor
            )
        }
        _ => format!("but {}", state.describe(values)),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  No order explains these operations:")?;
        let origin = self.operations.iter().map(|op| op.invoke).min();
        for (at, operation) in self.operations.iter().enumerate() {
            let since = |time: u64| milliseconds(time - origin.unwrap_or(0));
            writeln!(
                f,
                "    {}. {}: {} ({} to {} ms; process {}, {})",
                at + 1,
                operation.call,
                operation.outcome,
                since(operation.invoke),
                operation.returned.map(since).unwrap_or_default(),
                operation.process,
                operation.place
            )?;
        }
        match self.others {
            0 => {}
            1 => writeln!(f, "  Regardless of the other operation on this key.")?,
            others => writeln!(
                f,
                "  Regardless of the other {others} operations on this key."
            )?,
        }
        writeln!(f, "  The order that gets furthest:")?;
        writeln!(f, "    Initially {}.", self.start)?;
        for (operation, then) in &self.order {
            writeln!(
                f,
                "    {} {}: {then}.",
                self.name(operation),
                operation.call
            )?;
        }
        writeln!(f, "  The next operation would have to be:")?;
        for (operation, why) in &self.blocked {
            writeln!(
                f,
                "    {} {}: {}; {why}.",
                self.name(operation),
                operation.call,
                operation.outcome
            )?;
        }
        Ok(())
    }
}

impl Explanation {
    /// Its number among the operations, or the place where it was recorded.
    fn name(&self, operation: &Operation) -> String {
        let mut numbered = self.operations.iter();
        match numbered.position(|other| other.place == operation.place) {
            Some(at) => format!("{}.", at + 1),
            None => format!("({})", operation.place),
        }
    }
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}
