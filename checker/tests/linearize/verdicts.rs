//! Histories written by hand, the explanation of a rejection, and the limits of a search.

use crate::{
    ABSENT, ADD, Dice, GET, PUT_A, PUT_B, Plan, Recorded, cas, checked, failed, hard, history,
    number, read, recording, value, word, written,
};
use checker::linearize::{KeyVerdict, Limits, Word, check};
use std::sync::atomic::AtomicBool;

const DELETE: &str = r#"{"delete":{"key":"k"}}"#;

const GONE: &str = r#"{"unavailable":true}"#;

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
        let report = checked(&read(&wrong));
        assert_eq!(report.word(), Word::Violated);
        let told = report.disorder.expect("told").to_string();
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
    let report = checked(&read(&history(&borrowed)));
    let KeyVerdict::Violated(explanation) = &report.keys[0].verdict else {
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
        "Regardless of the other 191 operations",
        "history:3",
    ] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
}

#[test]
fn explanation_of_doubled_operations_is_a_sentence() {
    let line = (DELETE, 0, Some(9), written(17));
    let line = (line.0, line.1, line.2, line.3.as_str());
    let report = checked(&read(&history(&[line, line])));
    let KeyVerdict::Violated(explanation) = &report.keys[0].verdict else {
        panic!("two writes of one version");
    };
    let told = explanation.to_string();
    let words = "1. delete: done, version 17; this is possible here, but then another of these operations never becomes possible.";
    assert!(told.contains(words), "{told}");
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
    let report = check(&history, &limits, |_| {});
    let KeyVerdict::Undecided(cause) = report.keys[0].verdict else {
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
    assert_eq!(check(&history, &limits, |_| {}).word(), Word::Undecided);
    let limits = Limits {
        max_configurations: 1 << 30,
        max_memory: 1,
        ..limits
    };
    assert_eq!(check(&history, &limits, |_| {}).word(), Word::Undecided);
}

const LARGE: Plan = Plan {
    operations: 100_000,
    processes: 40,
    keys: 30,
    losses: 100,
};

#[test]
fn a_hundred_thousand_operations_are_checked() {
    let lines = recording(&LARGE, &mut Dice::new(1));
    let text = lines.join("\n");
    let report = checked(&read(&text));
    assert_eq!(report.word(), Word::Linearizable);
    let configurations: u64 = report.keys.iter().map(|key| key.configurations).sum();
    assert!(
        configurations < 1_000_000,
        "{configurations}: the search is not direct"
    );
}
