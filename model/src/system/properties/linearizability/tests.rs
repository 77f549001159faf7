use super::*;
use crate::{LogIndex, store::Versioned};
use alloc::vec;

/// A quota that no test reaches.
const QUOTA: u64 = 1 << 20;

fn history(steps: &[(u64, Option<Call>, Option<Result>)]) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (id, call, result) in steps {
        let id = OperationId(*id, 0);
        if let Some(call) = call {
            invoke(&mut operations, id, call.clone());
        }
        if let Some(result) = result {
            complete(&mut operations, id, result.clone());
        }
    }
    operations
}

/// Whether calls that follow one another may have these results.
fn follow(steps: &[(Call, Result)]) -> bool {
    follow_within(QUOTA, steps)
}

fn follow_within(quota: u64, steps: &[(Call, Result)]) -> bool {
    let steps: Vec<_> = (1..)
        .zip(steps)
        .map(|(id, (call, result))| (id, Some(call.clone()), Some(result.clone())))
        .collect();
    is_linearizable(&history(&steps), quota)
}

fn write(operation: store::Operation) -> Call {
    Call::Write(operation)
}

fn put_if(key: &str, value: &str, condition: Condition) -> Call {
    write(store::Operation::Put {
        key: key.into(),
        value: value.into(),
        condition,
    })
}

fn put(value: &str) -> Call {
    put_if("x", value, Condition::Always)
}

fn delete_if(condition: Condition) -> Call {
    let key = b"x".to_vec();
    write(store::Operation::Delete { key, condition })
}

fn increment() -> Call {
    let key = b"x".to_vec();
    write(store::Operation::Increment { key, by: 1 })
}

fn get() -> Call {
    let key = b"x".to_vec();
    Call::Read(Query::Get { key })
}

fn scan(after: Option<&str>, limit: u32, bytes: u32) -> Call {
    Call::Read(Query::Scan {
        prefix: Vec::new(),
        after: after.map(|after| after.as_bytes().to_vec()),
        limit,
        bytes,
    })
}

fn version(version: u64) -> LogIndex {
    LogIndex::new(version)
}

fn written(number: u64) -> Result {
    let version = version(number);
    Result::Answered(Answer::Written { version })
}

fn number(value: i64, number: u64) -> Result {
    let version = version(number);
    Result::Answered(Answer::Number { value, version })
}

fn failed(found: Option<u64>) -> Result {
    let found = found.map(LogIndex::new);
    Result::Answered(Answer::ConditionFailed { found })
}

fn held(value: &str, number: u64) -> Versioned {
    Versioned {
        value: value.into(),
        version: version(number),
    }
}

fn found(value: &str, number: u64) -> Result {
    Result::Found(Found::Value(Some(held(value, number))))
}

fn absent() -> Result {
    Result::Found(Found::Value(None))
}

fn page(pairs: &[(&str, &str, u64)], more: bool) -> Result {
    let pairs = pairs
        .iter()
        .map(|(key, value, version)| (key.as_bytes().to_vec(), held(value, *version)))
        .collect();
    Result::Found(Found::Pairs(Page { pairs, more }))
}

#[test]
fn increment_is_refused_exactly_where_the_specification_refuses_it() {
    let answers = [
        Result::Answered(Answer::NotANumber),
        Result::Answered(Answer::Overflow),
        number(1, 2),
        number(8, 2),
    ];
    for (text, expected) in [("b", 0), ("007", 0), ("9223372036854775807", 1), ("7", 3)] {
        for (position, answer) in answers.iter().enumerate() {
            let steps = [(put(text), written(1)), (increment(), answer.clone())];
            assert_eq!(follow(&steps), position == expected, "{text}, {answer:?}");
        }
    }
}

#[test]
fn condition_decides_with_the_version_that_the_answer_shows() {
    use Condition::{Absent, Always, Present, Version};
    let before = (put("a"), written(3));
    for (condition, holds) in [
        (Always, true),
        (Absent, false),
        (Present, true),
        (Version(version(3)), true),
        (Version(version(2)), false),
        (Version(version(4)), false),
    ] {
        for change in [put_if("x", "b", condition), delete_if(condition)] {
            let follows = |result: Result| follow(&[before.clone(), (change.clone(), result)]);
            assert_eq!(follows(written(4)), holds, "{change}");
            assert_eq!(follows(failed(Some(3))), !holds, "{change}");
            assert!(!follows(failed(Some(2))), "{change}: another version");
            assert!(!follows(failed(None)), "{change}: the key is present");
        }
    }
    for (condition, holds) in [
        (Absent, true),
        (Present, false),
        (Version(version(3)), false),
    ] {
        let change = || put_if("x", "b", condition);
        assert_eq!(follow(&[(change(), written(4))]), holds);
        assert_eq!(follow(&[(change(), failed(None))]), !holds);
        assert!(!follow(&[(change(), failed(Some(3)))]));
    }
}

#[test]
fn versions_ascend_and_each_result_shows_the_same_one() {
    let first = (put("a"), written(3));
    let reads = |value, version| follow(&[first.clone(), (get(), found(value, version))]);
    assert!(reads("a", 3));
    assert!(!reads("a", 4) && !reads("b", 3));
    for (next, is_possible) in [(2, false), (3, false), (4, true), (9, true)] {
        let other = put_if("y", "b", Condition::Always);
        let again = [first.clone(), (other, written(next))];
        assert_eq!(follow(&again), is_possible, "another key, {next}");
    }
    // A key that was deleted and created again has a version above that of the deletion.
    for (created, is_possible) in [(4, false), (5, false), (6, true)] {
        let again = [
            first.clone(),
            (delete_if(Condition::Always), written(5)),
            (increment(), number(1, created)),
        ];
        assert_eq!(follow(&again), is_possible, "{created}");
    }
}

#[test]
fn unknown_version_is_fixed_by_the_first_result_that_shows_it() {
    let open = |shown: &[(Call, Result)]| {
        let mut steps = vec![
            (1, Some(put("a")), Some(written(3))),
            (2, Some(put("b")), None),
        ];
        let shown = shown.iter().cloned();
        steps.extend(
            (3..)
                .zip(shown)
                .map(|(id, (call, result))| (id, Some(call), Some(result))),
        );
        is_linearizable(&history(&steps), QUOTA)
    };
    assert!(open(&[(get(), found("b", 4)), (get(), found("b", 4))]));
    assert!(!open(&[(get(), found("b", 4)), (get(), found("b", 5))]));
    assert!(!open(&[(get(), found("b", 3))]), "not above version 3");
    assert!(open(&[(get(), found("b", 7)), (put("c"), written(8))]));
    assert!(!open(&[(get(), found("b", 7)), (put("c"), written(7))]));
    // No version is left between 3 and 4 for the write that the later condition needs.
    let change = |at, made| {
        (
            put_if("x", "c", Condition::Version(version(at))),
            written(made),
        )
    };
    assert!(open(&[change(4, 5)]));
    assert!(!open(&[change(4, 4)]));
    assert!(open(&[change(3, 4)]), "the open write has no effect yet");
    // The other key is written between, so its version is between too.
    let other = (put_if("y", "b", Condition::Always), written(5));
    assert!(open(&[other.clone(), (get(), found("b", 4))]));
    assert!(open(&[other.clone(), (get(), found("b", 6))]));
    assert!(!open(&[other, (get(), found("b", 5))]));
}

#[test]
fn scan_returns_the_longest_page_within_its_limits() {
    let scanned = |call: &Call, result: Result| {
        follow(&[
            (put_if("a", "1", Condition::Always), written(3)),
            (put_if("b", "22", Condition::Always), written(4)),
            (put_if("c", "3", Condition::Always), written(5)),
            (delete_if(Condition::Always), written(6)),
            (call.clone(), result),
        ])
    };
    let all = [("a", "1", 3), ("b", "22", 4), ("c", "3", 5)];
    let size = |pairs: u32| pairs * (store::PAIR_BYTES as u32 + 2) + u32::from(pairs > 1);
    for (call, expected, more) in [
        (scan(None, 9, 1000), &all[..], false),
        (scan(None, 3, 1000), &all[..], false),
        (scan(None, 2, 1000), &all[..2], true),
        (scan(None, 0, 1000), &all[..0], true),
        (scan(Some("a"), 9, 1000), &all[1..], false),
        (scan(Some("aa"), 1, 1000), &all[1..2], true),
        (scan(Some("c"), 0, 1000), &all[3..], false),
        (scan(None, 9, size(3)), &all[..], false),
        (scan(None, 9, size(3) - 1), &all[..2], true),
        (scan(None, 9, size(2) - 1), &all[..1], true),
        (scan(None, 9, 1), &all[..1], true),
    ] {
        for start in 0..all.len() {
            for end in start..=all.len() {
                for has_more in [false, true] {
                    let pairs = &all[start..end];
                    let is_expected = pairs == expected && has_more == more;
                    let result = page(pairs, has_more);
                    assert_eq!(scanned(&call, result), is_expected, "{call}: {pairs:?}");
                }
            }
        }
    }
    let call = scan(None, 1, 1000);
    for wrong in [("a", "2", 3), ("a", "1", 4), ("b", "1", 3)] {
        assert!(!scanned(&call, page(&[wrong], true)), "{wrong:?}");
    }
}

#[test]
fn scan_sees_one_moment() {
    let steps = |result: Result| {
        history(&[
            (
                1,
                Some(put_if("a", "1", Condition::Always)),
                Some(written(3)),
            ),
            (2, Some(scan(None, 9, 1000)), None),
            (
                3,
                Some(put_if("a", "2", Condition::Always)),
                Some(written(4)),
            ),
            (
                4,
                Some(put_if("b", "2", Condition::Always)),
                Some(written(5)),
            ),
            (2, None, Some(result)),
        ])
    };
    let (old, new) = (("a", "1", 3), ("a", "2", 4));
    for (pairs, is_possible) in [
        (&[old][..], true),
        (&[new], true),
        (&[new, ("b", "2", 5)], true),
        (&[old, ("b", "2", 5)], false),
        (&[("b", "2", 5)], false),
    ] {
        let operations = steps(page(pairs, false));
        assert_eq!(
            is_linearizable(&operations, QUOTA),
            is_possible,
            "{pairs:?}"
        );
    }
}

#[test]
fn write_is_refused_for_the_quota_exactly_where_it_would_exceed_it() {
    let refused = || Result::Answered(Answer::QuotaExceeded);
    let pair = store::PAIR_BYTES as u64 + 2;
    let first = (put("1"), written(3));
    for (quota, call, done, is_refused) in [
        (
            2 * pair,
            put_if("y", "1", Condition::Always),
            written(4),
            false,
        ),
        (
            2 * pair - 1,
            put_if("y", "1", Condition::Always),
            written(4),
            true,
        ),
        (pair, put("22"), written(4), true),
        (pair, put("2"), written(4), false),
        (pair, increment(), number(2, 4), false),
        (pair, delete_if(Condition::Always), written(4), false),
    ] {
        let follows = |result| follow_within(quota, &[first.clone(), (call.clone(), result)]);
        assert_eq!(follows(done), !is_refused, "{quota}, {call}");
        assert_eq!(follows(refused()), is_refused, "{quota}, {call}");
    }
    // The first pair alone exceeds the quota.
    let quota = pair - 1;
    assert!(!follow_within(quota, core::slice::from_ref(&first)));
    assert!(follow_within(quota, &[(put("1"), refused())]));
}

#[test]
fn result_of_another_kind_is_rejected() {
    for (call, results) in [
        (put("1"), [number(1, 3), absent()]),
        (increment(), [written(3), absent()]),
        (get(), [written(3), page(&[], false)]),
        (
            scan(None, 1, 1),
            [absent(), Result::Answered(Answer::Nothing)],
        ),
        (increment(), [failed(None), failed(Some(3))]),
        (
            delete_if(Condition::Always),
            [number(0, 3), Result::Answered(Answer::QuotaExceeded)],
        ),
    ] {
        for result in results {
            assert!(
                !follow(&[(call.clone(), result.clone())]),
                "{call}, {result:?}"
            );
        }
    }
}

#[test]
fn stale_read_after_an_acknowledged_write_is_rejected() {
    assert!(!follow(&[(put("a"), written(3)), (get(), absent())]));
}

#[test]
fn settled_write_takes_effect_before_the_one_that_settles_it_or_never() {
    let id = |number| OperationId(1, number);
    let counted = |results: &[i64]| {
        let mut operations = Vec::new();
        // The first operation got no response, and its client continued.
        invoke(&mut operations, id(1), increment());
        for (place, result) in (2..).zip(results) {
            invoke(&mut operations, id(place), increment());
            settle(&mut operations, id(place));
            complete(&mut operations, id(place), number(*result, place + 2));
        }
        is_linearizable(&operations, QUOTA)
    };
    assert!(counted(&[1, 2]), "it had no effect");
    assert!(counted(&[2, 3]), "it took effect first");
    assert!(!counted(&[1, 3]), "it took effect when it was settled");
}

#[test]
fn operations_are_described_with_their_order() {
    let mut operations = history(&[
        (
            1,
            Some(put_if("x", "a", Condition::Absent)),
            Some(written(3)),
        ),
        (
            2,
            Some(scan(Some("k"), 5, 1000)),
            Some(page(&[("x", "a", 3)], true)),
        ),
        (3, Some(increment()), None),
    ]);
    assert_eq!(
        describe(&operations).join("; "),
        "operation 1 (put x=a if absent) is done, version 3; \
         operation 2 (scan * after k, limit 5), called after operation 1 had returned, \
         found x=a (version 3), and further keys follow; \
         operation 3 (increment x by 1), called after operations 1 and 2 had returned, has not returned"
    );
    refuse(&mut operations, OperationId(3, 0));
    assert!(describe(&operations)[2].ends_with("was reported as not done"));
}

#[test]
fn open_write_may_be_seen_or_not_but_not_unseen_again() {
    for results in [
        [absent(), found("a", 3)],
        [absent(), absent()],
        [found("a", 3), found("a", 3)],
    ] {
        let [first, second] = results;
        let history = history(&[
            (1, Some(put("a")), None),
            (2, Some(get()), Some(first)),
            (3, Some(get()), Some(second)),
        ]);
        assert!(is_linearizable(&history, QUOTA));
    }
    let unseen_again = history(&[
        (1, Some(put("a")), None),
        (2, Some(get()), Some(found("a", 3))),
        (3, Some(get()), Some(absent())),
    ]);
    assert!(!is_linearizable(&unseen_again, QUOTA));
}

#[test]
fn refused_write_that_is_seen_is_rejected() {
    let mut operations = Vec::new();
    invoke(&mut operations, OperationId(1, 0), increment());
    refuse(&mut operations, OperationId(1, 0));
    invoke(&mut operations, OperationId(2, 0), increment());
    complete(&mut operations, OperationId(2, 0), number(2, 4));
    assert!(!is_linearizable(&operations, QUOTA));
}

#[test]
fn concurrent_increments_must_not_share_a_result() {
    let mut operations = Vec::new();
    for id in [1, 2] {
        invoke(&mut operations, OperationId(id, 0), increment());
    }
    for id in [1, 2] {
        complete(&mut operations, OperationId(id, 0), number(1, id + 2));
    }
    assert!(!is_linearizable(&operations, QUOTA));
    assert_eq!(operations[1].after, BTreeSet::new());
}
