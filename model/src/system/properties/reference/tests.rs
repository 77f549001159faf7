use super::*;
use crate::{
    Config, Entry, NodeId, Term,
    client::Invocation,
    store::Write,
    system::{
        Scope, TransitionSystem,
        properties::linearizability::{End, Result},
    },
};
use alloc::{collections::BTreeSet, vec};
use proptest::prelude::*;

/// Operations on two keys.
fn operation() -> impl Strategy<Value = Operation> {
    let key = || (0..2_u8).prop_map(|key| vec![b'a' + key]);
    let condition = || {
        prop_oneof![
            4 => Just(Condition::Always),
            1 => Just(Condition::Absent),
            1 => Just(Condition::Present),
            2 => (1..30_u64).prop_map(|index| Condition::Version(LogIndex::new(index))),
        ]
    };
    // Integers at their limits, other spellings of integers, and text.
    const TEXTS: [&str; 13] = [
        "0",
        "7",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "+5",
        "007",
        "-0",
        " 1",
        "1 ",
        "b",
        "",
    ];
    let value = prop_oneof![
        (0..12_usize).prop_map(|length| vec![b'1'; length]),
        prop::sample::select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec()),
    ];
    let by = prop_oneof![-2..3_i64, Just(i64::MAX), Just(i64::MIN)];
    prop_oneof![
        (key(), value, condition()).prop_map(|(key, value, condition)| Operation::Put {
            key,
            value: value.into(),
            condition,
        }),
        (key(), condition()).prop_map(|(key, condition)| Operation::Delete { key, condition }),
        (key(), by).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

/// Commands over few sessions, sequences and keys, so that all rules interact.
fn command() -> impl Strategy<Value = Command> {
    let session = || (1..12_u64).prop_map(SessionId::new);
    prop_oneof![
        2 => (1..3_u32, prop_oneof![0..4_u64, 100..300_u64])
            .prop_map(|(capacity, window)| Command::OpenSession { capacity, window }),
        1 => session().prop_map(|session| Command::CloseSession { session }),
        1 => session().prop_map(|session| Command::RenewSession { session }),
        8 => (session(), 0..5_u64, 0..5_u64, operation(), 40..130_u64).prop_map(
            |(session, sequence, acknowledged, operation, quota)| {
                Command::from(Write {
                    session,
                    sequence,
                    acknowledged,
                    operation,
                    quota,
                })
            }
        ),
    ]
}

proptest! {
    /// The store and the reference produce the same pairs and answers for any commands.
    #[test]
    fn store_agrees_with_the_reference(commands in prop::collection::vec(command(), 0..60)) {
        prop_assert_eq!(differs_after(commands), None);
    }

    /// They agree on operations in an open session: each operation sees the effects of the earlier ones.
    #[test]
    fn operations_agree_with_the_reference(
        operations in prop::collection::vec(operation(), 0..40),
        quota in prop_oneof![Just(u64::MAX), 60..200_u64],
    ) {
        let writes = (1..).zip(operations).map(|(sequence, operation)| {
            Command::from(Write {
                session: SessionId::new(1),
                sequence,
                acknowledged: sequence,
                operation,
                quota,
            })
        });
        let opening = Command::OpenSession { capacity: 1, window: 0 };
        prop_assert_eq!(differs_after([opening].into_iter().chain(writes)), None);
    }
}

/// The pairs of the reference and of the store, and the answer to the last command, where they first
/// differ.
fn differs_after(
    commands: impl IntoIterator<Item = Command>,
) -> Option<(
    ReferencePairs,
    ReferencePairs,
    Option<ExpectedAnswer>,
    Answer,
)> {
    let (mut store, config) = (
        Store::default(),
        Config::production([NodeId::new(1)].into()),
    );
    let mut log = Vec::new();
    for command in commands {
        let payload = Payload::Command(command);
        let answer = store.apply(&payload, &config);
        log.push(Entry {
            term: Term::new(1),
            payload,
        });
        let (expected, found) = (reference_pairs(&log), pairs_of(&store));
        let permitted = reference_answer(&log);
        let is_permitted = permitted.as_ref().is_some_and(|it| it.permits(&answer));
        if expected != found || !is_permitted {
            return Some((expected, found, permitted, answer));
        }
    }
    None
}

#[test]
fn reference_refuses_a_session_that_leaves_too_much_unacknowledged() {
    let (mut store, config) = (
        Store::default(),
        Config::production([NodeId::new(1)].into()),
    );
    let mut log = vec![Command::OpenSession {
        capacity: 1,
        window: 0,
    }];
    let more = MAX_RETAINED_ANSWERS as u64 + 2;
    for (sequence, acknowledged) in (1..=more).map(|nth| (nth, 1)).chain([(more, 3)]) {
        log.push(Command::from(Write {
            session: SessionId::new(1),
            sequence,
            acknowledged,
            operation: Operation::Increment {
                key: b"n".to_vec(),
                by: 1,
            },
            quota: u64::MAX,
        }));
    }
    let log: Vec<_> = log
        .into_iter()
        .map(|command| Entry {
            term: Term::new(1),
            payload: Payload::Command(command),
        })
        .collect();
    for entry in &log {
        store.apply(&entry.payload, &config);
    }
    let expected = format!("{}", MAX_RETAINED_ANSWERS + 1).into_bytes();
    assert_eq!(reference_pairs(&log)[&b"n".to_vec()].0, expected);
    let found = store.pairs().next().map(|(_, held)| held.value.to_vec());
    assert_eq!(found, Some(expected));
}

/// A client writes a value and increments it. All states are visited: the refused increment violates no
/// property, and the client learns the reason.
#[test]
fn refused_increment_violates_no_property_and_its_reason_is_recorded() {
    let too_large = format!("{}", i64::MAX);
    for (value, reason) in [
        ("b", Answer::NotANumber),
        (too_large.as_str(), Answer::Overflow),
    ] {
        let key = b"x".to_vec();
        let put = Operation::Put {
            key: key.clone(),
            value: value.as_bytes().to_vec().into(),
            condition: Condition::Always,
        };
        let increment = Operation::Increment { key, by: 1 };
        let catalog = Scope::catalog();
        let mut scope = catalog
            .into_iter()
            .find(|scope| scope.name == "sessions")
            .expect("the scope is in the catalog");
        scope.plans = vec![[put, increment].map(Invocation::Write).into()];
        scope.budget.entries = 2;
        let transitions = TransitionSystem::new(scope);
        let mut seen = BTreeSet::new();
        let mut unvisited = vec![transitions.start()];
        let mut is_recorded = false;
        while let Some(system) = unvisited.pop() {
            assert_eq!(system.violation, None);
            let mut operations = system.history.operations.iter();
            is_recorded |=
                operations.any(|it| it.end == End::Returned(Result::Answered(reason.clone())));
            if seen.insert(format!("{system:?}")) {
                let actions = transitions.actions(&system);
                let next = actions
                    .iter()
                    .filter_map(|it| transitions.next(&system, it));
                unvisited.extend(next.map(|(next, _)| next));
            }
        }
        assert!(is_recorded, "{reason:?}");
    }
}
