//! Histories of a running cluster: correct ones are accepted and wrong ones are rejected, according to
//! an independent definition.

mod program;
mod random;
mod stale;
mod verdicts;

use checker::linearize::{
    Call, ClientHistory, Limits, LinearizabilityReport, ReadLimits, Word, check,
};
use model::{
    Config, NodeId, Payload, SessionId, Store,
    store::{
        Answer, Command, Condition, Found, Operation as StoreOperation, Query, Write as StoreWrite,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{fmt::Write as _, sync::atomic::AtomicBool};

/// An operation: its call, the times of call and return, and its result, in the words of the format.
type Recorded<'a> = (&'a str, u64, Option<u64>, &'a str);

fn history(lines: &[Recorded<'_>]) -> String {
    let mut text = String::new();
    for (place, (op, invoke, returned, result)) in lines.iter().enumerate() {
        let returned = returned.map_or("null".into(), |time| time.to_string());
        writeln!(
            text,
            r#"{{"process":{place},"op":{op},"invoke":{invoke},"return":{returned},"result":{result}}}"#
        )
        .expect("memory takes all");
    }
    text
}

fn read(text: &str) -> ClientHistory {
    let mut history = ClientHistory::default();
    history
        .read("history", text.as_bytes(), ReadLimits::NONE)
        .unwrap_or_else(|error| panic!("{error}"));
    history
}

fn checked(history: &ClientHistory) -> LinearizabilityReport {
    let interrupt = AtomicBool::new(false);
    let limits = Limits {
        max_configurations: 10_000_000,
        max_memory: 1 << 30,
        deadline: None,
        interrupt: &interrupt,
    };
    check(history, &limits, |_| {})
}

fn word(text: &str) -> Word {
    checked(&read(text)).word()
}

const PUT_A: &str = r#"{"put":{"key":"k","value":"a"}}"#;

const PUT_B: &str = r#"{"put":{"key":"k","value":"b"}}"#;

const GET: &str = r#"{"get":{"key":"k"}}"#;

const ADD: &str = r#"{"increment":{"key":"k","by":1}}"#;

const ABSENT: &str = r#"{"absent":true}"#;

fn written(version: u64) -> String {
    format!(r#"{{"written":{{"version":{version}}}}}"#)
}

fn value(value: &str, version: u64) -> String {
    format!(r#"{{"value":{{"value":"{value}","version":{version}}}}}"#)
}

fn number(value: i64, version: u64) -> String {
    format!(r#"{{"number":{{"value":{value},"version":{version}}}}}"#)
}

fn cas(version: &str) -> String {
    format!(r#"{{"cas":{{"key":"k","value":"c","version":{version}}}}}"#)
}

fn failed(found: &str) -> String {
    format!(r#"{{"condition_failed":{{"found":{found}}}}}"#)
}

/// Concurrent puts, and a read of a value that none of them wrote: the search tries every subset.
fn hard() -> String {
    let put = |n| format!(r#"{{"put":{{"key":"k","value":"{n}"}}}}"#);
    let puts: Vec<String> = (0..14).map(put).collect();
    let done = r#"{"written":{}}"#;
    let mut lines: Vec<_> = puts
        .iter()
        .map(|put| (put.as_str(), 0, Some(9), done))
        .collect();
    let found = r#"{"value":{"value":"a"}}"#;
    lines.push((GET, 0, Some(9), found));
    history(&lines)
}

/// A generator of small numbers.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The real store, called as a cluster calls it.
struct Cluster {
    store: Store,
    config: Config,
    session: SessionId,
    sequence: u64,
}

impl Cluster {
    fn new() -> Self {
        let config = Config::production([NodeId::new(1)].into());
        let mut store = Store::default();
        let open = Payload::Command(Command::OpenSession {
            capacity: 1,
            window: 0,
        });
        let Answer::SessionOpened(session) = store.apply(&open, &config) else {
            panic!("a session opens");
        };
        Self {
            store,
            config,
            session,
            sequence: 0,
        }
    }

    fn carry_out(&mut self, op: &Op) -> String {
        let key = format!("k{}", op.key).into_bytes();
        let operation = match &op.call {
            Call::Get => {
                let Found::Value(found) = self.store.query(&Query::Get { key }, &self.config)
                else {
                    panic!("a value is found");
                };
                return match found {
                    None => ABSENT.into(),
                    Some(held) => {
                        let text = String::from_utf8(held.value.to_vec()).expect("text");
                        value(&text, held.version.get())
                    }
                };
            }
            Call::Put(value) => StoreOperation::Put {
                key,
                value: value.clone().into(),
                condition: Condition::Always,
            },
            Call::CompareAndSet { value, expected } => StoreOperation::Put {
                key,
                value: value.clone().into(),
                condition: match expected {
                    None => Condition::Absent,
                    Some(version) => Condition::Version(model::LogIndex::new(*version)),
                },
            },
            Call::Delete => StoreOperation::Delete {
                key,
                condition: Condition::Always,
            },
            Call::Increment(by) => StoreOperation::Increment { key, by: *by },
        };
        self.sequence += 1;
        let write = Payload::Command(Command::from(StoreWrite {
            quota: u64::MAX,
            session: self.session,
            sequence: self.sequence,
            acknowledged: self.sequence,
            operation,
        }));
        match self.store.apply(&write, &self.config) {
            Answer::Written { version } => written(version.get()),
            Answer::Number { value, version } => number(value, version.get()),
            Answer::ConditionFailed { found } => {
                failed(&found.map_or("null".into(), |found| found.to_string()))
            }
            Answer::NotANumber | Answer::Overflow => r#"{"not_a_number":true}"#.into(),
            answer => panic!("no answer to a write: {answer:?}"),
        }
    }
}

/// An operation in progress.
#[derive(Clone)]
struct Op {
    process: u64,
    key: u64,
    call: Call,
    invoke: u64,
    result: Option<String>,
}

impl Op {
    fn line(&self, returned: Option<u64>) -> String {
        let key = format!("k{}", self.key);
        let op = match &self.call {
            Call::Get => format!(r#"{{"get":{{"key":"{key}"}}}}"#),
            Call::Delete => format!(r#"{{"delete":{{"key":"{key}"}}}}"#),
            Call::Put(value) => format!(r#"{{"put":{{"key":"{key}","value":"{value}"}}}}"#),
            Call::Increment(by) => format!(r#"{{"increment":{{"key":"{key}","by":{by}}}}}"#),
            Call::CompareAndSet { value, expected } => {
                let expected = expected.map_or("null".into(), |version| version.to_string());
                format!(r#"{{"cas":{{"key":"{key}","value":"{value}","version":{expected}}}}}"#)
            }
        };
        let shown = if returned.is_some() {
            self.result.as_deref()
        } else {
            None
        };
        format!(
            r#"{{"process":{},"op":{op},"invoke":{},"return":{},"result":{}}}"#,
            self.process,
            self.invoke,
            returned.map_or("null".into(), |time| time.to_string()),
            shown.unwrap_or("null")
        )
    }
}

/// The parameters of a recording.
struct Plan {
    operations: usize,
    processes: u64,
    keys: u64,
    /// One in this many responses is lost, and one in this many operations is lost.
    losses: u64,
}

/// A recording of clients of the real store, which is linearizable by construction.
fn recording(plan: &Plan, dice: &mut Dice) -> Vec<String> {
    let mut cluster = Cluster::new();
    let mut running: Vec<Option<Op>> = (0..plan.processes).map(|_| None).collect();
    let mut adrift: Vec<Op> = Vec::new();
    let mut lines = Vec::new();
    let (mut begun, mut time) = (0, 0);
    while begun < plan.operations || running.iter().any(Option::is_some) {
        time += 1 + dice.below(3);
        // An operation whose client has stopped waiting may still take effect.
        if !adrift.is_empty() && dice.one_in(8) {
            let op = adrift.swap_remove(dice.below(adrift.len() as u64) as usize);
            cluster.carry_out(&op);
        }
        let process = dice.below(plan.processes);
        match running[process as usize].take() {
            None if begun < plan.operations => {
                begun += 1;
                running[process as usize] = Some(Op {
                    process,
                    key: dice.below(plan.keys),
                    call: call(begun as u64, time, dice),
                    invoke: time,
                    result: None,
                });
            }
            None => {}
            Some(op) if op.result.is_none() && dice.one_in(plan.losses) => {
                lines.push(op.line(None));
                if dice.one_in(2) {
                    adrift.push(op);
                }
            }
            Some(mut op) if op.result.is_none() => {
                op.result = Some(cluster.carry_out(&op));
                running[process as usize] = Some(op);
            }
            Some(op) if dice.one_in(plan.losses) => lines.push(op.line(None)),
            Some(op) => lines.push(op.line(Some(time))),
        }
    }
    lines
}

fn call(number: u64, time: u64, dice: &mut Dice) -> Call {
    // Few distinct values in small histories, so that wrong orders are plausible.
    let value = format!("{}", number % 1000);
    match dice.below(8) {
        0 | 1 => Call::Put(value),
        2 => Call::Delete,
        3 => Call::Increment(1),
        4 => Call::CompareAndSet {
            value,
            expected: match dice.below(2) {
                0 => None,
                _ => Some(dice.below(time + 2)),
            },
        },
        _ => Call::Get,
    }
}

fn stale(found: Option<(&str, u64)>, applied_index: u64) -> String {
    let found = found.map_or("null".into(), |(value, version)| {
        format!(r#"{{"value":"{value}","version":{version}}}"#)
    });
    format!(r#"{{"stale":{{"found":{found},"applied_index":{applied_index}}}}}"#)
}
