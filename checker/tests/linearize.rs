//! Histories of a running cluster: correct ones are accepted and wrong ones are rejected, according to
//! an independent definition.

use checker::linearize::{
    Call, History, Judgement, Limits, Outcome, ReadLimits, Verdict, Word, judge,
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
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::{
    fmt::Write as _,
    fs,
    process::{Command as Process, Output},
    sync::atomic::AtomicBool,
};

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

fn read(text: &str) -> History {
    let mut history = History::default();
    history
        .read("history", text.as_bytes(), ReadLimits::NONE)
        .unwrap_or_else(|error| panic!("{error}"));
    history
}

fn judged(history: &History) -> Judgement {
    let interrupt = AtomicBool::new(false);
    let limits = Limits {
        max_configurations: 10_000_000,
        max_memory: 1 << 30,
        deadline: None,
        interrupt: &interrupt,
    };
    judge(history, &limits, |_| {})
}

fn word(text: &str) -> Word {
    judged(&read(text)).word()
}

const PUT_A: &str = r#"{"put":{"key":"k","value":"a"}}"#;
const PUT_B: &str = r#"{"put":{"key":"k","value":"b"}}"#;
const GET: &str = r#"{"get":{"key":"k"}}"#;
const DELETE: &str = r#"{"delete":{"key":"k"}}"#;
const ADD: &str = r#"{"increment":{"key":"k","by":1}}"#;
const ABSENT: &str = r#"{"absent":true}"#;
const GONE: &str = r#"{"unavailable":true}"#;

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

#[test]
fn histories_that_some_order_explains_are_accepted() {
    let right: &[&[Recorded<'_>]] = &[
        &[],
        // A read concurrent with a write returns the old or the new value.
        &[
            (PUT_A, 0, Some(10), &written(3)),
            (GET, 5, Some(15), ABSENT),
        ],
        &[
            (PUT_A, 0, Some(10), &written(3)),
            (GET, 5, Some(8), &value("a", 3)),
        ],
        // An operation that returns when another is called is concurrent with it.
        &[
            (PUT_A, 0, Some(10), &written(3)),
            (GET, 10, Some(15), ABSENT),
        ],
        // A write of unknown outcome is read late, or never, or immediately.
        &[
            (PUT_A, 0, None, "null"),
            (GET, 5, Some(8), ABSENT),
            (GET, 10, Some(15), &value("a", 9)),
        ],
        &[(PUT_A, 0, None, "null"), (GET, 5, Some(8), ABSENT)],
        &[(PUT_A, 0, None, "null"), (GET, 5, Some(8), &value("a", 9))],
        // It may also have been overwritten before any read.
        &[
            (PUT_A, 0, None, "null"),
            (PUT_B, 5, Some(8), &written(9)),
            (GET, 10, Some(15), &value("b", 9)),
        ],
        // An increment of unknown outcome explains the gap.
        &[
            (ADD, 0, Some(5), &number(1, 3)),
            (ADD, 6, None, "null"),
            (ADD, 7, Some(9), &number(3, 7)),
        ],
        // Operations that certainly had no effect had no effect.
        &[(PUT_A, 0, Some(5), GONE), (GET, 6, Some(9), ABSENT)],
        &[(PUT_A, 0, None, GONE), (GET, 6, Some(9), ABSENT)],
        // Conditions.
        &[
            (&cas("null"), 0, Some(5), &written(3)),
            (&cas("null"), 6, Some(9), &failed("3")),
            (&cas("3"), 10, Some(12), &written(8)),
            (&cas("3"), 13, Some(15), &failed("8")),
            (DELETE, 16, Some(18), &written(9)),
            (&cas("8"), 19, Some(20), &failed("null")),
        ],
        // A value that is not a number rejects an increment.
        &[
            (PUT_A, 0, Some(5), &written(3)),
            (ADD, 6, Some(9), r#"{"not_a_number":true}"#),
        ],
        // Versions may be omitted.
        &[
            (PUT_A, 0, Some(5), r#"{"written":{"version":null}}"#),
            (GET, 6, Some(9), r#"{"value":{"value":"a"}}"#),
        ],
        // A conditional write of unknown outcome replaced the version of another write of unknown
        // outcome.
        &[
            (PUT_A, 0, None, "null"),
            (&cas("9"), 1, None, "null"),
            (GET, 5, Some(8), &value("c", 12)),
        ],
    ];
    for (place, lines) in right.iter().enumerate() {
        assert_eq!(
            word(&history(lines)),
            Word::Linearizable,
            "{place}: {lines:?}"
        );
    }
}

#[test]
fn histories_that_no_order_explains_are_rejected() {
    let wrong: &[(&str, &[Recorded<'_>])] = &[
        (
            "stale read",
            &[
                (PUT_A, 0, Some(5), &written(3)),
                (PUT_B, 6, Some(9), &written(4)),
                (GET, 10, Some(15), &value("a", 3)),
            ],
        ),
        (
            "lost write",
            &[(PUT_A, 0, Some(5), &written(3)), (GET, 6, Some(9), ABSENT)],
        ),
        (
            "double increment",
            &[
                (ADD, 0, Some(5), &number(1, 3)),
                (GET, 6, Some(9), &value("2", 4)),
            ],
        ),
        (
            "one result for two increments",
            &[
                (ADD, 0, Some(9), &number(1, 3)),
                (ADD, 0, Some(9), &number(1, 4)),
            ],
        ),
        (
            "a value never written",
            &[(GET, 0, Some(5), &value("z", 3))],
        ),
        (
            "unknown write seen, then unseen",
            &[
                (PUT_A, 0, None, "null"),
                (GET, 5, Some(8), &value("a", 9)),
                (GET, 10, Some(15), ABSENT),
            ],
        ),
        (
            "a write seen before its call",
            &[
                (GET, 0, Some(5), &value("a", 3)),
                (PUT_A, 6, Some(9), &written(3)),
            ],
        ),
        (
            "unknown write seen before its call",
            &[(GET, 0, Some(5), &value("a", 3)), (PUT_A, 6, None, "null")],
        ),
        (
            "a write that was told not done is seen",
            &[(PUT_A, 0, Some(5), GONE), (GET, 6, Some(9), &value("a", 3))],
        ),
        (
            "a condition held that did not",
            &[
                (PUT_A, 0, Some(5), &written(3)),
                (&cas("null"), 6, Some(9), &written(4)),
            ],
        ),
        (
            "a condition failed that held",
            &[
                (PUT_A, 0, Some(5), &written(3)),
                (&cas("3"), 6, Some(9), &failed("3")),
            ],
        ),
        (
            "the right value of the wrong version",
            &[
                (PUT_A, 0, Some(5), &written(3)),
                (GET, 6, Some(9), &value("a", 4)),
            ],
        ),
        (
            "one version for two writes",
            &[
                (PUT_A, 0, Some(9), &written(3)),
                (PUT_B, 0, Some(9), &written(3)),
            ],
        ),
        (
            "versions against the order of time",
            &[
                (PUT_A, 0, Some(5), &written(4)),
                (PUT_B, 6, Some(9), &written(3)),
            ],
        ),
        (
            "unknown increment counted twice",
            &[
                (ADD, 0, None, "null"),
                (GET, 5, Some(8), &value("1", 3)),
                (GET, 10, Some(15), &value("2", 4)),
            ],
        ),
        (
            "no room for the version of the unknown write between",
            &[
                (PUT_A, 0, Some(5), &written(3)),
                (PUT_B, 6, None, "null"),
                (GET, 7, Some(8), r#"{"value":{"value":"b"}}"#),
                (PUT_A, 9, Some(12), &written(4)),
            ],
        ),
    ];
    for (name, lines) in wrong {
        assert_eq!(word(&history(lines)), Word::Violated, "{name}: {lines:?}");
    }
}

#[test]
fn versions_of_different_keys_follow_time() {
    let other = r#"{"put":{"key":"other","value":"a"}}"#;
    let right = history(&[
        (PUT_A, 0, Some(5), &written(3)),
        (other, 6, Some(9), &written(4)),
    ]);
    assert_eq!(word(&right), Word::Linearizable);
    for (first, second) in [(4, 3), (3, 3)] {
        let wrong = history(&[
            (PUT_A, 0, Some(5), &written(first)),
            (other, 6, Some(9), &written(second)),
        ]);
        let judgement = judged(&read(&wrong));
        assert_eq!(judgement.word(), Word::Violated);
        let told = judgement.disorder.expect("told").to_string();
        assert!(
            told.contains("history:1") && told.contains("history:2"),
            "{told}"
        );
    }
    // The version that a read returned is also a lower bound for later writes of other keys.
    let wrong = history(&[
        (PUT_A, 0, None, "null"),
        (GET, 1, Some(5), &value("a", 9)),
        (other, 6, Some(9), &written(8)),
    ]);
    assert_eq!(word(&wrong), Word::Violated);
}

#[test]
fn explanation_names_the_operations_that_contradict_and_no_others() {
    let mut lines = vec![
        (PUT_A, 0, Some(5), written(3)),
        (PUT_B, 6, Some(9), written(4)),
        (GET, 10, Some(15), value("a", 3)),
    ];
    for time in (20..400).step_by(4) {
        lines.push((PUT_A, time, Some(time + 1), written(time)));
        lines.push((GET, time + 2, Some(time + 3), value("a", time)));
    }
    let borrowed: Vec<_> = lines
        .iter()
        .map(|(op, invoke, returned, result)| (*op, *invoke, *returned, result.as_str()))
        .collect();
    let judgement = judged(&read(&history(&borrowed)));
    let Verdict::Violated(explanation) = &judgement.keys[0].verdict else {
        panic!("a stale read");
    };
    let named: Vec<usize> = explanation
        .operations
        .iter()
        .map(|op| op.place.line)
        .collect();
    assert_eq!(
        named,
        [2, 3],
        "the first put may have happened or not:\n{explanation}"
    );
    assert_eq!(explanation.others, 191);
    let told = explanation.to_string();
    for words in [
        "1. put \"b\": done, version 4",
        "2. get: found \"a\", version 3",
        "but the key holds \"b\", version 4",
        "any of the other 191",
        "history:3",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
}

#[test]
fn explanation_of_doubled_operations_is_a_sentence() {
    let line = (DELETE, 0, Some(9), written(17));
    let line = (line.0, line.1, line.2, line.3.as_str());
    let judgement = judged(&read(&history(&[line, line])));
    let Verdict::Violated(explanation) = &judgement.keys[0].verdict else {
        panic!("two writes of one version");
    };
    let told = explanation.to_string();
    let words = "1. delete: done, version 17; this is possible here, but then another of these operations never is.";
    assert!(told.contains(words), "{told}");
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

#[test]
fn interrupted_search_names_its_cause() {
    let history = read(&hard());
    let limits = Limits {
        max_configurations: u64::MAX,
        max_memory: u64::MAX,
        deadline: None,
        interrupt: &AtomicBool::new(true),
    };
    let judgement = judge(&history, &limits, |_| {});
    let Verdict::Undecided(cause) = judgement.keys[0].verdict else {
        panic!("it is too hard for one look");
    };
    assert_eq!(cause.to_string(), "interrupted");
}

#[test]
fn search_that_meets_a_bound_decides_nothing() {
    // Twelve concurrent increments whose numbers no order explains.
    let results: Vec<String> = (1..=12)
        .map(|n| number(if n == 12 { 40 } else { n }, 0))
        .collect();
    let lines: Vec<_> = results
        .iter()
        .map(|result| (ADD, 0, Some(9), result.as_str()))
        .collect();
    let text = history(&lines).replace(r#","version":0"#, "");
    assert_eq!(word(&text), Word::Violated);
    let history = read(&text);
    let go_on = AtomicBool::new(false);
    let limits = Limits {
        max_configurations: 5,
        max_memory: 1 << 30,
        deadline: None,
        interrupt: &go_on,
    };
    assert_eq!(judge(&history, &limits, |_| {}).word(), Word::Undecided);
    let limits = Limits {
        max_configurations: 1 << 30,
        max_memory: 1,
        ..limits
    };
    assert_eq!(judge(&history, &limits, |_| {}).word(), Word::Undecided);
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
        let config = Config::new([NodeId::new(1)].into());
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
                let Found::Value(found) = self.store.query(&Query::Get { key }) else {
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

/// Changes one record of a recording at random.
fn alter(lines: &mut [String], dice: &mut Dice) {
    let place = dice.below(lines.len() as u64) as usize;
    let mut record: serde_json::Value = serde_json::from_str(&lines[place]).expect("JSON");
    let other: serde_json::Value = {
        let donor = dice.below(lines.len() as u64) as usize;
        serde_json::from_str(&lines[donor]).expect("JSON")
    };
    match dice.below(3) {
        0 => {
            // A little later, or earlier.
            let invoke = record["invoke"].as_u64().expect("a time");
            record["invoke"] = (invoke.saturating_sub(dice.below(9)) + dice.below(4)).into();
        }
        1 if other["op"].as_object().map(|op| op.keys().next().cloned())
            == record["op"].as_object().map(|op| op.keys().next().cloned()) =>
        {
            record["result"] = other["result"].clone();
        }
        _ => {
            if let Some(result) = record["result"].as_object_mut() {
                for field in ["value", "number"] {
                    if let Some(inner) = result.get_mut(field) {
                        let old = inner["value"].clone();
                        inner["value"] = match old {
                            serde_json::Value::String(_) => dice.below(4).to_string().into(),
                            _ => dice.below(4).into(),
                        };
                    }
                }
            }
        }
    }
    if record["result"].is_null() {
        record["return"] = serde_json::Value::Null;
    } else if record["return"].is_null() {
        record["return"] = (record["invoke"].as_u64().expect("a time") + 9).into();
    }
    let (invoke, returned) = (record["invoke"].as_u64(), record["return"].as_u64());
    if returned.is_none_or(|returned| Some(returned) >= invoke) {
        lines[place] = record.to_string();
    }
}

fn without_versions(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let mut record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for field in ["written", "value", "number"] {
            if let Some(inner) = record["result"].get_mut(field) {
                inner["version"] = serde_json::Value::Null;
            }
        }
        writeln!(lines, "{record}").expect("memory takes all");
    }
    lines
}

/// One key of a store, for stateright. Results have no versions.
#[derive(Clone)]
struct OneKey(Option<String>);

impl SequentialSpec for OneKey {
    type Op = Call;
    type Ret = Outcome;

    fn invoke(&mut self, call: &Call) -> Outcome {
        match call {
            Call::Get => match &self.0 {
                None => Outcome::Absent,
                Some(value) => Outcome::Found(value.clone(), None),
            },
            Call::Put(value) => {
                self.0 = Some(value.clone());
                Outcome::Written(None)
            }
            Call::Delete => {
                self.0 = None;
                Outcome::Written(None)
            }
            Call::Increment(by) => {
                let held = match &self.0 {
                    None => Ok(0),
                    Some(value) => value.parse::<i64>(),
                };
                match held {
                    Err(_) => Outcome::NotANumber,
                    Ok(held) => {
                        self.0 = Some((held + by).to_string());
                        Outcome::Number(held + by, None)
                    }
                }
            }
            Call::CompareAndSet { value, .. } => match self.0 {
                None => {
                    self.0 = Some(value.clone());
                    Outcome::Written(None)
                }
                // The version is unknown here; any version is valid.
                Some(_) => Outcome::ConditionFailed(Some(0)),
            },
        }
    }

    fn is_valid_step(&mut self, call: &Call, outcome: &Outcome) -> bool {
        let expected = self.invoke(call);
        match (&expected, outcome) {
            (Outcome::ConditionFailed(Some(_)), Outcome::ConditionFailed(found)) => found.is_some(),
            _ => expected == *outcome,
        }
    }
}

/// The verdict of stateright's tester on one key.
fn stateright_accepts(history: &History) -> bool {
    let mut events = Vec::new();
    for (place, operation) in history.operations.iter().enumerate() {
        events.push((operation.invoke, false, place));
        events.extend(operation.returned.map(|time| (time, true, place)));
    }
    events.sort_unstable();
    let mut tester = LinearizabilityTester::new(OneKey(None));
    for (_, is_return, place) in events {
        let operation = &history.operations[place];
        // Every operation is its own thread: only time orders them.
        if is_return {
            tester.on_return(place, operation.outcome.clone())
        } else {
            tester.on_invoke(place, operation.call.clone())
        }
        .expect("calls and returns alternate");
    }
    tester.is_consistent()
}

/// Whether the conditional writes of a history only require absence, and fail without a version. Such a
/// history can be checked without versions.
fn is_free_of_versions(history: &History) -> bool {
    history.operations.iter().all(|operation| {
        !matches!(
            (&operation.call, &operation.outcome),
            (
                Call::CompareAndSet {
                    expected: Some(_),
                    ..
                },
                _
            ) | (_, Outcome::ConditionFailed(_))
        )
    })
}

#[test]
fn verdicts_without_versions_are_those_of_stateright() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..12_000 {
        let mut dice = Dice::new(seed);
        let plan = Plan {
            operations: 3 + dice.below(5) as usize,
            processes: 2 + dice.below(3),
            keys: 1,
            losses: 3 + dice.below(10),
        };
        let mut lines = recording(&plan, &mut dice);
        for _ in 0..dice.below(8) {
            alter(&mut lines, &mut dice);
        }
        let history = read(&without_versions(&lines.join("\n")));
        if !is_free_of_versions(&history) {
            continue;
        }
        let judgement = judged(&history).word();
        let accepted = stateright_accepts(&history);
        let expected = if accepted {
            Word::Linearizable
        } else {
            Word::Violated
        };
        assert_eq!(judgement, expected, "seed {seed}: {lines:#?}");
        right += u32::from(accepted);
        wrong += u32::from(!accepted);
    }
    assert!(right > 1000 && wrong > 800, "{right} right, {wrong} wrong");
}

/// The definition: all orders of all choices of operations of unknown outcome, and a check whether
/// versions can be assigned to all writes.
mod definition {
    use super::*;

    /// The state of the key along an order: the value, and the index of the write that created it.
    type Held = Option<(String, usize)>;

    pub(super) fn accepts(history: &History) -> bool {
        let operations: Vec<_> = history.operations.iter().collect();
        extend(&operations, &mut Vec::new())
    }

    fn extend(operations: &[&checker::linearize::Operation], order: &mut Vec<usize>) -> bool {
        let left: Vec<usize> = (0..operations.len())
            .filter(|op| !order.contains(op))
            .collect();
        if left.iter().all(|op| !operations[*op].is_definite()) && explains(operations, order) {
            return true;
        }
        for op in left.iter().copied() {
            let early = left.iter().all(|other| {
                operations[*other]
                    .returned
                    .is_none_or(|returned| returned >= operations[op].invoke)
            });
            if early {
                order.push(op);
                let found = extend(operations, order);
                order.pop();
                if found {
                    return true;
                }
            }
        }
        false
    }

    /// Executes an order, and collects the known versions of its writes.
    fn explains(operations: &[&checker::linearize::Operation], order: &[usize]) -> bool {
        let mut held: Held = None;
        // For each write, in order: the required versions.
        let mut versions: Vec<Vec<u64>> = Vec::new();
        for op in order {
            let operation = operations[*op];
            let number = match &held {
                None => Some(0),
                Some((value, _)) => value.parse::<i64>().ok(),
            };
            let mut write = |value: Option<String>, version: Option<u64>| {
                held = value.map(|value| (value, versions.len()));
                versions.push(version.into_iter().collect());
                true
            };
            let fits = match (&operation.call, &operation.outcome) {
                (Call::Put(value), outcome) => write(Some(value.clone()), made(outcome)),
                (Call::Delete, outcome) => write(None, made(outcome)),
                (Call::Increment(_), Outcome::NotANumber) => number.is_none(),
                (Call::Increment(by), outcome) => match number {
                    None => *outcome == Outcome::Unknown,
                    Some(number) => {
                        let sum = number + by;
                        let told = !matches!(outcome, Outcome::Number(told, _) if *told != sum);
                        told && write(Some(sum.to_string()), made(outcome))
                    }
                },
                (Call::Get, Outcome::Absent) => held.is_none(),
                (Call::Get, Outcome::Found(value, version)) => match &held {
                    Some((is, maker)) if is == value => {
                        versions[*maker].extend(*version);
                        true
                    }
                    _ => false,
                },
                (Call::CompareAndSet { expected, .. }, Outcome::ConditionFailed(found)) => {
                    match (&held, found) {
                        (Some((_, maker)), Some(found)) => {
                            versions[*maker].push(*found);
                            *expected != Some(*found)
                        }
                        (None, None) => expected.is_some(),
                        _ => false,
                    }
                }
                (Call::CompareAndSet { value, expected }, outcome) => {
                    let holds = match (&held, expected) {
                        (None, None) => true,
                        (Some((_, maker)), Some(expected)) => {
                            versions[*maker].push(*expected);
                            true
                        }
                        _ => false,
                    };
                    if holds {
                        held = Some((value.clone(), versions.len()));
                        versions.push(made(outcome).into_iter().collect());
                    }
                    holds
                }
                (Call::Get, _) => false,
            };
            if !fits {
                return false;
            }
        }
        // Versions increase along the order; an unknown version gets the least remaining value.
        let mut last = 0;
        for known in &versions {
            let version = match known.first() {
                None => last + 1,
                Some(version) => *version,
            };
            if version <= last || known.iter().any(|other| *other != version) {
                return false;
            }
            last = version;
        }
        true
    }

    fn made(outcome: &Outcome) -> Option<u64> {
        match outcome {
            Outcome::Written(version) | Outcome::Number(_, version) => *version,
            _ => None,
        }
    }
}

#[test]
fn verdicts_with_versions_are_those_of_the_definition() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..6_000 {
        let mut dice = Dice::new(1_000_000 + seed);
        let plan = Plan {
            operations: 3 + dice.below(4) as usize,
            processes: 2 + dice.below(2),
            keys: 1,
            losses: 2 + dice.below(8),
        };
        let mut lines = recording(&plan, &mut dice);
        for _ in 0..dice.below(6) {
            alter(&mut lines, &mut dice);
        }
        let history = read(&lines.join("\n"));
        let judgement = judged(&history);
        if judgement.disorder.is_some() {
            continue;
        }
        let accepted = definition::accepts(&history);
        let expected = if accepted {
            Word::Linearizable
        } else {
            Word::Violated
        };
        assert_eq!(judgement.word(), expected, "seed {seed}: {lines:#?}");
        right += u32::from(accepted);
        wrong += u32::from(!accepted);
    }
    assert!(right > 500 && wrong > 500, "{right} right, {wrong} wrong");
}

const LARGE: Plan = Plan {
    operations: 100_000,
    processes: 40,
    keys: 30,
    losses: 100,
};

#[test]
fn a_hundred_thousand_operations_are_judged() {
    let lines = recording(&LARGE, &mut Dice::new(1));
    let text = lines.join("\n");
    let judgement = judged(&read(&text));
    assert_eq!(judgement.word(), Word::Linearizable);
    let configurations: u64 = judgement.keys.iter().map(|key| key.configurations).sum();
    assert!(
        configurations < 1_000_000,
        "{configurations}: the search is not direct"
    );
}

#[test]
fn a_real_history_with_one_answer_altered_is_rejected() {
    let plan = Plan {
        operations: 2000,
        processes: 12,
        keys: 5,
        losses: 50,
    };
    let lines = recording(&plan, &mut Dice::new(2));
    assert_eq!(word(&lines.join("\n")), Word::Linearizable);
    let mut altered = 0;
    for place in (0..lines.len()).step_by(23) {
        let mut record: serde_json::Value = serde_json::from_str(&lines[place]).expect("JSON");
        let Some(result) = record["result"].as_object_mut() else {
            continue;
        };
        let (kind, inner) = result.iter_mut().next().expect("a result has a kind");
        match kind.as_str() {
            "written" => inner["version"] = (inner["version"].as_u64().expect("told") - 1).into(),
            "value" => inner["value"] = "never written".into(),
            "number" => inner["value"] = (inner["value"].as_i64().expect("told") + 1000).into(),
            "condition_failed" => {
                inner["found"] = match inner["found"].as_u64() {
                    None => 1.into(),
                    Some(_) => 1_000_000.into(),
                };
            }
            _ => continue,
        }
        let mut wrong = lines.clone();
        wrong[place] = record.to_string();
        // A version that is one lower, and that no other write has, may be correct: it fills the gap of
        // a lost response.
        let is_version = lines[place].contains("written");
        let judgement = word(&wrong.join("\n"));
        assert!(
            judgement == Word::Violated || is_version,
            "line {}: {record}",
            place + 1
        );
        altered += u32::from(judgement == Word::Violated);
    }
    assert!(altered > 50, "{altered}");
}

const STALE: &str = r#"{"stale_get":{"key":"k"}}"#;

fn stale(found: Option<(&str, u64)>, applied_index: u64) -> String {
    let found = found.map_or("null".into(), |(value, version)| {
        format!(r#"{{"value":"{value}","version":{version}}}"#)
    });
    format!(r#"{{"stale":{{"found":{found},"applied_index":{applied_index}}}}}"#)
}

#[test]
fn stale_reads_are_no_part_of_the_order() {
    let delete = r#"{"delete":{"key":"k"}}"#;
    let text = history(&[
        (PUT_A, 0, Some(5), &written(3)),
        (PUT_B, 6, Some(9), &written(5)),
        (delete, 20, Some(25), &written(8)),
        // Long after the writes. Each reads as of some entry, in no order.
        (STALE, 30, Some(31), &stale(Some(("b", 5)), 7)),
        (STALE, 30, Some(31), &stale(Some(("a", 3)), 4)),
        (STALE, 30, Some(31), &stale(None, 2)),
        (STALE, 30, Some(31), &stale(None, 0)),
        (STALE, 30, Some(31), &stale(None, 9)),
        (STALE, 30, None, "null"),
        (STALE, 30, Some(31), r#"{"unavailable":true}"#),
    ]);
    let history = read(&text);
    assert_eq!(
        (history.operations.len(), history.stale_reads.len()),
        (3, 5)
    );
    assert_eq!(judged(&history).word(), Word::Linearizable);
    // No order explains the same response to a linearizable read.
    let fresh = text
        .replace(STALE, GET)
        .replace(&stale(Some(("a", 3)), 4), &value("a", 3));
    let line = fresh.lines().nth(4).expect("a line");
    let others = text.lines().take(3);
    let text = Vec::from_iter(others.chain([line])).join("\n");
    assert_eq!(word(&text), Word::Violated);
}

#[test]
fn stale_reads_of_no_prefix_of_the_log_are_rejected() {
    let writes: [Recorded<'_>; 2] = [
        (PUT_A, 0, Some(5), &written(3)),
        (PUT_B, 6, Some(9), &written(5)),
    ];
    for (name, invoke, answer) in [
        ("a write that was undone", 30, stale(Some(("a", 3)), 5)),
        ("an entry not applied yet", 30, stale(Some(("b", 5)), 4)),
        ("another value", 30, stale(Some(("c", 3)), 3)),
        ("a version nobody made", 30, stale(Some(("a", 4)), 4)),
        ("nothing, after a write", 30, stale(None, 3)),
        ("a write to come", 1, stale(Some(("b", 5)), 5)),
    ] {
        let mut lines = Vec::from(writes);
        lines.push((STALE, invoke, Some(invoke + 1), &answer));
        let judgement = judged(&read(&history(&lines)));
        assert_eq!(judgement.word(), Word::Violated, "{name}");
        assert!(
            judgement.invented.is_some_and(|it| it.read.line == 3),
            "{name}"
        );
    }
    // A write of unknown outcome may have written or removed the value, so this is not a violation.
    let delete = r#"{"delete":{"key":"k"}}"#;
    for (unknown, answer) in [
        (
            r#"{"put":{"key":"k","value":"c"}}"#,
            stale(Some(("c", 4)), 4),
        ),
        (ADD, stale(Some(("7", 4)), 4)),
        (delete, stale(None, 7)),
    ] {
        let mut lines = Vec::from(writes);
        lines.push((unknown, 7, None, "null"));
        lines.push((STALE, 30, Some(31), &answer));
        assert!(
            judged(&read(&history(&lines))).invented.is_none(),
            "{answer}"
        );
    }
}

fn program(arguments: &[&str]) -> Output {
    Process::new(env!("CARGO_BIN_EXE_raft-checker"))
        .arg("linearize")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn program_ends_with_the_code_of_its_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let one = file("one", &history(&[(PUT_A, 0, Some(5), &written(3))]));
    let fresh = file("fresh", &history(&[(GET, 6, Some(9), &value("a", 3))]));
    let stale = file("stale", &history(&[(GET, 6, Some(9), ABSENT)]));
    let torn = file(
        "torn",
        &format!("{}{{\"proc", history(&[(PUT_A, 0, Some(5), &written(3))])),
    );
    let hard = file("hard", &hard());
    let few: &[&str] = &["--max-configurations", "2"];
    for (arguments, code, words) in [
        (&[one.as_str(), &fresh][..], 0, "linearizable\n"),
        (&[&one, &stale], 1, "not linearizable\n"),
        (&[&fresh], 1, "not linearizable\n"),
        (
            &[few[0], few[1], &hard],
            3,
            "the limit was reached; raise --max-configurations\n",
        ),
        (
            &["--max-memory", "4K", &hard],
            3,
            "the memory limit was reached; raise --max-memory\n",
        ),
        (
            &["--max-time", "0", &hard],
            3,
            "the time limit was reached; raise --max-time\n",
        ),
        (&[&torn], 2, ""),
        (&["/nowhere"], 2, ""),
        (&[], 2, ""),
    ] {
        let output = program(arguments);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}{err}"
        );
        assert!(out.contains(words), "{arguments:?}: {out}");
        if arguments == [torn.as_str()] {
            assert!(err.contains("torn:2"), "{err}");
        }
    }
    let output = program(&["--json", few[0], few[1], &hard]);
    let key: serde_json::Value = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .next()
        .expect("a line")
        .expect("JSON");
    assert_eq!(key["stopped_by"], "max-configurations");
    let output = program(&["--json", &one, &stale]);
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["key"], "k");
    assert_eq!(lines[1]["verdict"], "violated");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn lines_that_are_no_operations_are_refused_by_number() {
    let good = history(&[(PUT_A, 0, Some(5), &written(3))]);
    for (bad, words) in [
        ("", "not a JSON object"),
        ("{}", "missing field"),
        (
            &good.replace("\"return\":5", "\"return\":null"),
            "did not return",
        ),
        (
            &good.replace("\"invoke\":0", "\"invoke\":9"),
            "returns before",
        ),
        (&good.replace(&written(3), ABSENT), "no result"),
        (
            &good.replace(&written(3), r#"{"absent":false}"#),
            "only true",
        ),
        (&good.replace("\"process\"", "\"proces\""), "unknown field"),
        (
            &good.replace(",\"result\":{\"written\":{\"version\":3}}", ""),
            "missing field",
        ),
    ] {
        let text = format!("{good}{bad}\n");
        let mut history = History::default();
        let error = history
            .read("file", text.as_bytes(), ReadLimits::NONE)
            .expect_err(bad);
        let told = error.to_string();
        assert!(
            told.starts_with("file:2: ") && told.contains(words),
            "{bad}: {told}"
        );
    }
}
