//! Random histories, checked by independent definitions.

use crate::{Dice, Plan, checked, read, recording, word};
use checker::linearize::{Call, ClientHistory, OperationOutcome, Word};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::fmt::Write as _;

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
    type Ret = OperationOutcome;

    fn invoke(&mut self, call: &Call) -> OperationOutcome {
        match call {
            Call::Get => match &self.0 {
                None => OperationOutcome::Absent,
                Some(value) => OperationOutcome::Found(value.clone(), None),
            },
            Call::Put(value) => {
                self.0 = Some(value.clone());
                OperationOutcome::Written(None)
            }
            Call::Delete => {
                self.0 = None;
                OperationOutcome::Written(None)
            }
            Call::Increment(by) => {
                let held = match &self.0 {
                    None => Ok(0),
                    Some(value) => value.parse::<i64>(),
                };
                match held {
                    Err(_) => OperationOutcome::NotANumber,
                    Ok(held) => {
                        self.0 = Some((held + by).to_string());
                        OperationOutcome::Number(held + by, None)
                    }
                }
            }
            Call::CompareAndSet { value, .. } => match self.0 {
                None => {
                    self.0 = Some(value.clone());
                    OperationOutcome::Written(None)
                }
                // The version is unknown here; any version is valid.
                Some(_) => OperationOutcome::ConditionFailed(Some(0)),
            },
        }
    }

    fn is_valid_step(&mut self, call: &Call, outcome: &OperationOutcome) -> bool {
        let expected = self.invoke(call);
        match (&expected, outcome) {
            (
                OperationOutcome::ConditionFailed(Some(_)),
                OperationOutcome::ConditionFailed(found),
            ) => found.is_some(),
            _ => expected == *outcome,
        }
    }
}

/// The verdict of stateright's tester on one key.
fn stateright_accepts(history: &ClientHistory) -> bool {
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
fn is_free_of_versions(history: &ClientHistory) -> bool {
    history.operations.iter().all(|operation| {
        !matches!(
            (&operation.call, &operation.outcome),
            (
                Call::CompareAndSet {
                    expected: Some(_),
                    ..
                },
                _
            ) | (_, OperationOutcome::ConditionFailed(_))
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
        let report = checked(&history).word();
        let accepted = stateright_accepts(&history);
        let expected = if accepted {
            Word::Linearizable
        } else {
            Word::Violated
        };
        assert_eq!(report, expected, "seed {seed}: {lines:#?}");
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

    pub(super) fn accepts(history: &ClientHistory) -> bool {
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
                (Call::Increment(_), OperationOutcome::NotANumber) => number.is_none(),
                (Call::Increment(by), outcome) => match number {
                    None => *outcome == OperationOutcome::Unknown,
                    Some(number) => {
                        let sum = number + by;
                        let told =
                            !matches!(outcome, OperationOutcome::Number(told, _) if *told != sum);
                        told && write(Some(sum.to_string()), made(outcome))
                    }
                },
                (Call::Get, OperationOutcome::Absent) => held.is_none(),
                (Call::Get, OperationOutcome::Found(value, version)) => match &held {
                    Some((is, maker)) if is == value => {
                        versions[*maker].extend(*version);
                        true
                    }
                    _ => false,
                },
                (
                    Call::CompareAndSet { expected, .. },
                    OperationOutcome::ConditionFailed(found),
                ) => match (&held, found) {
                    (Some((_, maker)), Some(found)) => {
                        versions[*maker].push(*found);
                        *expected != Some(*found)
                    }
                    (None, None) => expected.is_some(),
                    _ => false,
                },
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

    fn made(outcome: &OperationOutcome) -> Option<u64> {
        match outcome {
            OperationOutcome::Written(version) | OperationOutcome::Number(_, version) => *version,
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
        let report = checked(&history);
        if report.disorder.is_some() {
            continue;
        }
        let accepted = definition::accepts(&history);
        let expected = if accepted {
            Word::Linearizable
        } else {
            Word::Violated
        };
        assert_eq!(report.word(), expected, "seed {seed}: {lines:#?}");
        right += u32::from(accepted);
        wrong += u32::from(!accepted);
    }
    assert!(right > 500 && wrong > 500, "{right} right, {wrong} wrong");
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
        let report = word(&wrong.join("\n"));
        assert!(
            report == Word::Violated || is_version,
            "line {}: {record}",
            place + 1
        );
        altered += u32::from(report == Word::Violated);
    }
    assert!(altered > 50, "{altered}");
}
