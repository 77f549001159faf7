//! Why no order explains a key: as few operations as possible that cannot be put in order whatever
//! the others did.
//!
//! A history without an order is weakened step by step, and a step is kept while there still is no
//! order:
//! * it ends earlier: what returned later has an unknown outcome, what was called later is gone;
//! * what an operation said is forgotten: a read is gone, a write may have taken effect or not.
//!
//! Weaker histories have every order that stronger ones have. So what is left has no order either,
//! and names the operations whose answers contradict one another.

use super::{
    format::{Operation, Outcome},
    object::{State, Step, Values},
    search::{Decision, Found, Limits, search},
};
use std::{
    fmt,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// How long the search for a short explanation may take. A longer one is as true.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most configurations of one attempt.
const ATTEMPT: u64 = 200_000;
/// The most bytes of one attempt.
const MEMORY: u64 = 512 << 20;

/// Why no order explains a key.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The operations whose answers contradict one another, and those of unknown outcome that the
    /// order needs, by their call.
    pub operations: Vec<Operation>,
    /// How many operations on this key besides do not matter, whatever they did.
    pub others: usize,
    /// The order that gets furthest: places in `operations`, and what the key holds after each.
    pub order: Vec<(usize, String)>,
    /// What the key holds before any of them.
    start: String,
    /// What would have to come next, and why it cannot.
    pub blocked: Vec<(usize, String)>,
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

fn attempt(operations: &[Operation], limits: &Limits<'_>) -> Found {
    let operations: Vec<&Operation> = operations.iter().collect();
    search(&operations, limits)
}

fn is_violated(operations: &[Operation], limits: &Limits<'_>) -> bool {
    attempt(operations, limits).decision == Decision::Violated
}

/// The shortest beginning without an order.
fn shorten(whole: &[Operation], limits: &Limits<'_>) -> Vec<Operation> {
    let mut returns: Vec<u64> = whole.iter().filter_map(|op| op.returned).collect();
    returns.sort_unstable();
    returns.dedup();
    // Every beginning of a history that has an order has one, so halving finds the first without.
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
            Some(returned) if returned > time => forgotten(op),
            _ => Some(op.clone()),
        })
        .collect()
}

/// The operation without what it said; `None` if it then says nothing.
fn forgotten(operation: &Operation) -> Option<Operation> {
    let only_sees = Step::of(operation, &mut Values::default()).only_sees();
    (!only_sees).then(|| Operation {
        returned: None,
        outcome: Outcome::Unknown,
        ..operation.clone()
    })
}

/// Forgets what operations said, many at a time and then fewer, while there still is no order.
fn weaken(mut operations: Vec<Operation>, limits: &Limits<'_>) -> Vec<Operation> {
    let definite =
        |operations: &[Operation]| operations.iter().filter(|op| op.is_definite()).count();
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

/// The same with `count` operations of known outcome forgotten, from the `first` on.
fn without(operations: &[Operation], first: usize, count: usize) -> Vec<Operation> {
    let mut definite = 0;
    let mut weaker = Vec::with_capacity(operations.len());
    for operation in operations {
        let place = definite;
        definite += usize::from(operation.is_definite());
        if operation.is_definite() && (first..first + count).contains(&place) {
            weaker.extend(forgotten(operation));
        } else {
            weaker.push(operation.clone());
        }
    }
    weaker
}

fn describe(all: usize, core: &[Operation], found: &Found) -> Explanation {
    let mut shown: Vec<usize> = (0..core.len())
        .filter(|place| core[*place].is_definite() || found.longest.contains(place))
        .collect();
    shown.sort_by_key(|place| core[*place].invoke);
    let mut values = Values::default();
    let mut state = State::default();
    let start = state.told(&values);
    let mut order = Vec::new();
    for place in &found.longest {
        let step = Step::of(&core[*place], &mut values);
        state = state.after(&step, &mut values).unwrap_or(state);
        if let Some(at) = shown.iter().position(|shown| shown == place) {
            order.push((at, state.told(&values)));
        }
    }
    let waiting = |place: &usize| core[*place].is_definite() && !found.longest.contains(place);
    let first_return = shown
        .iter()
        .filter(|place| waiting(place))
        .filter_map(|place| core[*place].returned)
        .min();
    let mut blocked = Vec::new();
    for (at, place) in shown.iter().enumerate() {
        let operation = &core[*place];
        if waiting(place) && first_return.is_none_or(|time| operation.invoke <= time) {
            blocked.push((at, obstacle(operation, state, &mut values)));
        }
    }
    Explanation {
        others: all - shown.len(),
        operations: shown.iter().map(|place| core[*place].clone()).collect(),
        order,
        start,
        blocked,
    }
}

fn obstacle(operation: &Operation, state: State, values: &mut Values) -> String {
    let step = Step::of(operation, values);
    if state.after(&step, values).is_some() {
        return "it can, but then another of these never can".into();
    }
    match operation.made() {
        Some(made) if made <= state.floor => {
            format!(
                "the last write before it has version {} or more",
                state.floor
            )
        }
        _ => state.told(values),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  No order explains these operations:")?;
        let origin = self.operations.iter().map(|op| op.invoke).min();
        for (at, operation) in self.operations.iter().enumerate() {
            let since = |time: u64| milliseconds(time - origin.unwrap_or(0));
            let span = match operation.returned {
                Some(returned) => format!("{} to {} ms", since(operation.invoke), since(returned)),
                None => format!("from {} ms on", since(operation.invoke)),
            };
            writeln!(
                f,
                "    {}. {}: {} ({span}; process {}, {})",
                at + 1,
                operation.call,
                operation.outcome,
                operation.process,
                operation.place
            )?;
        }
        match self.others {
            0 => {}
            1 => writeln!(
                f,
                "  It does not matter what the other operation on this key did."
            )?,
            others => writeln!(
                f,
                "  It does not matter what the other {others} operations on this key did."
            )?,
        }
        writeln!(f, "  The order that gets furthest:")?;
        writeln!(f, "    At first {}.", self.start)?;
        for (at, then) in &self.order {
            writeln!(f, "    {}. {}: {then}.", at + 1, self.operations[*at].call)?;
        }
        writeln!(f, "  Next would have to come:")?;
        for (at, why) in &self.blocked {
            let operation = &self.operations[*at];
            writeln!(
                f,
                "    {}. {}: {}; but {why}.",
                at + 1,
                operation.call,
                operation.outcome
            )?;
        }
        Ok(())
    }
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3}", nanoseconds as f64 / 1e6)
}
