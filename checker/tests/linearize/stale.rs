//! Stale reads.

use crate::{
    ADD, GET, PUT_A, PUT_B, Recorded, checked, history, read, stale, value, word, written,
};
use checker::linearize::Word;

const STALE: &str = r#"{"stale_get":{"key":"k"}}"#;

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
    assert_eq!(checked(&history).word(), Word::Linearizable);
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
        let report = checked(&read(&history(&lines)));
        assert_eq!(report.word(), Word::Violated, "{name}");
        assert!(
            report.invented.is_some_and(|it| it.read.line == 3),
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
            checked(&read(&history(&lines))).invented.is_none(),
            "{answer}"
        );
    }
}
