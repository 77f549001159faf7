//! Writes and sessions.

use crate::{
    cluster,
    cluster::{Cluster, add, disk, put},
    leader, value,
};
use model::{
    Config, Payload, RequestId, SessionId, Store,
    message::{RequestBody, ResponseBody},
    store::{
        Answer, Command, Condition, MAX_EVICTED, MAX_RETAINED_ANSWERS, Operation, PAIR_BYTES,
        REFUSALS_PER_WINDOW, Write,
    },
};

/// A deposed leader does not know the outcome of the writes that it accepted, and reports them as
/// interrupted.
#[test]
fn write_at_a_deposed_leader_is_interrupted_and_may_still_happen() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let write = cluster.write(1, (session, 1, 1), put("a", "1"));
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.network.clear();
    cluster.elect(2);
    assert_eq!(
        cluster.answer(write),
        Some(&ResponseBody::Interrupted { hint: None })
    );
    assert_eq!(value(&mut cluster, 2, "a").as_deref(), Some("1"));
}

/// A repeated write is a second entry in the log, is applied once, and gets the same response.
#[test]
fn session_repeated_write_is_applied_once_and_answered_the_same() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let copies = [(); 3].map(|()| cluster.write(1, (session, 1, 1), add("a", 5)));
    cluster.settle();
    assert_eq!(cluster.terms(1).len(), 5);
    for copy in copies {
        assert_eq!(number(&cluster, copy), 5);
    }
    assert_eq!(value(&mut cluster, 1, "a").as_deref(), Some("5"));
}

/// The replicated store contains the response, so another leader returns it too.
#[test]
fn session_write_retried_at_the_next_leader_is_answered_the_same() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let first = cluster.write(1, (session, 1, 1), add("a", 5));
    cluster.settle();
    cluster.crash(1);
    cluster.elect(2);
    let other = cluster.write(2, (session, 2, 1), add("a", 1));
    let retry = cluster.write(2, (session, 1, 1), add("a", 5));
    cluster.settle();
    assert_eq!(number(&cluster, other), 6);
    assert_eq!(cluster.answer(retry), cluster.answer(first));
}

/// A failed condition is a regular response: a retry does not evaluate the condition again, and a
/// later success is not confused with the failure.
#[test]
fn session_remembers_how_a_condition_turned_out() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let create = Operation::Put {
        key: b"a".to_vec(),
        value: "1".into(),
        condition: Condition::Absent,
    };
    let mut answer = |sequence, operation: &Operation| {
        let id = cluster.write(1, (session, sequence, 1), operation.clone());
        cluster.settle();
        cluster.answer(id).cloned()
    };
    let answers = [1, 1, 2].map(|sequence| answer(sequence, &create));
    // The condition holds again, so an evaluation would succeed.
    let delete = Operation::Delete {
        key: b"a".to_vec(),
        condition: Condition::Always,
    };
    answer(3, &delete);
    let late = answer(2, &create);
    assert!(matches!(
        answers[0],
        Some(ResponseBody::Applied(Answer::Written { .. }))
    ));
    assert_eq!(answers[0], answers[1]);
    assert!(matches!(
        answers[2],
        Some(ResponseBody::Applied(Answer::ConditionFailed { .. }))
    ));
    assert_eq!(answers[2], late);
    assert_eq!(value(&mut cluster, 1, "a"), None);
}

/// The sequence numbers of one session may be reordered; each is applied once.
#[test]
fn session_sequences_out_of_order_are_each_applied_once() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    for sequence in [3, 1, 2, 1, 3, 2] {
        cluster.write(1, (session, sequence, 1), add("a", 1));
    }
    cluster.settle();
    assert_eq!(value(&mut cluster, 1, "a").as_deref(), Some("3"));
}

/// After a client acknowledges a response, the store forgets the response; a late copy of the request
/// is rejected, not applied.
#[test]
fn session_acknowledged_sequence_is_not_applied_again() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), add("a", 5));
    cluster.write(1, (session, 2, 2), add("a", 1));
    let late = cluster.write(1, (session, 1, 1), add("a", 5));
    let kept = cluster.write(1, (session, 2, 2), add("a", 1));
    cluster.settle();
    assert_eq!(
        cluster.answer(late),
        Some(&ResponseBody::Applied(Answer::AlreadyAcknowledged))
    );
    assert_eq!(number(&cluster, kept), 6);
    assert_eq!(value(&mut cluster, 1, "a").as_deref(), Some("6"));
}

/// A write in an unknown session has no effect.
#[test]
fn session_unknown_writes_nothing() {
    let mut cluster = leader(3);
    let id = cluster.write(1, (SessionId::new(9), 1, 1), put("a", "1"));
    cluster.settle();
    assert_eq!(
        cluster.answer(id),
        Some(&ResponseBody::Applied(Answer::SessionExpired))
    );
    assert_eq!(value(&mut cluster, 1, "a"), None);
}

/// The least recently used session, in log order, is evicted.
#[test]
fn session_least_recently_used_is_evicted() {
    let mut cluster = Cluster::recover(vec![disk(0, &[]); 3], |config| {
        config.max_sessions = 2;
        config.session_window = 0;
    });
    cluster.elect(1);
    let [old, idle] = [(); 2].map(|()| cluster.open_session(1));
    cluster.write(1, (old, 1, 1), add("a", 1));
    let new = cluster.open_session(1);
    let expired = cluster.write(1, (idle, 1, 1), add("a", 10));
    let kept = cluster.write(1, (old, 2, 2), add("a", 1));
    let opened = cluster.write(1, (new, 1, 1), add("a", 1));
    cluster.settle();
    assert_eq!(
        cluster.answer(expired),
        Some(&ResponseBody::Applied(Answer::NotApplied))
    );
    assert_eq!(number(&cluster, kept), 2);
    assert_eq!(number(&cluster, opened), 3);
}

/// The session limit is part of the entry, so that servers with different settings still agree.
#[test]
fn session_eviction_is_decided_by_the_log() {
    let mut stores = [1, 1024].map(|max_sessions| {
        let mut config = Config::production([cluster::node(1)].into());
        config.max_sessions = max_sessions;
        (Store::default(), config)
    });
    let open = Payload::Command(Command::OpenSession {
        capacity: 2,
        window: 0,
    });
    let write = |session| {
        Payload::Command(Command::from(Write {
            quota: u64::MAX,
            session: SessionId::new(session),
            sequence: 1,
            acknowledged: 1,
            operation: put("a", "1"),
        }))
    };
    let log = [open.clone(), open.clone(), open, write(1), write(2)];
    let answers = stores.each_mut().map(|(store, config)| {
        log.each_ref()
            .map(|payload| store.apply(payload, config))
            .to_vec()
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(stores[0].0, stores[1].0);
    assert_eq!(answers[0][3], Answer::NotApplied);
    assert!(matches!(answers[0][4], Answer::Written { .. }));
}

/// A store and the log of its commands.
struct Applied {
    store: Store,
    config: Config,
}

impl Applied {
    fn new() -> Self {
        Self {
            store: Store::default(),
            config: Config::production([cluster::node(1)].into()),
        }
    }

    fn apply(&mut self, command: Command) -> Answer {
        self.store.apply(&Payload::Command(command), &self.config)
    }

    fn noops(&mut self, count: u64) {
        for _ in 0..count {
            self.store.apply(&Payload::Noop, &self.config);
        }
    }

    fn open(&mut self, capacity: u32, window: u64) -> Answer {
        self.apply(Command::OpenSession { capacity, window })
    }

    fn session(&mut self, capacity: u32, window: u64) -> SessionId {
        match self.open(capacity, window) {
            Answer::SessionOpened(session) => session,
            other => panic!("no session: {other:?}"),
        }
    }

    fn write(
        &mut self,
        session: SessionId,
        (sequence, acknowledged): (u64, u64),
        operation: Operation,
        quota: u64,
    ) -> Answer {
        self.apply(Command::from(Write {
            session,
            sequence,
            acknowledged,
            operation,
            quota,
        }))
    }
}

fn is_written(answer: &Answer) -> bool {
    matches!(answer, Answer::Written { .. })
}

/// For `window` entries after its last use a session is protected, regardless of the number of new
/// sessions.
#[test]
fn session_in_use_is_not_evicted() {
    let window = 10;
    let mut log = Applied::new();
    let used = log.session(2, window);
    let unused = log.session(2, window);
    log.noops(6);
    assert!(is_written(&log.write(
        used,
        (1, 1),
        put("a", "1"),
        u64::MAX
    )));
    // The unused session was opened 8, 9 and 10 entries ago.
    for _ in 0..3 {
        assert_eq!(log.open(2, window), Answer::SessionsInUse);
    }
    let other = log.session(2, window);
    assert_eq!(
        log.write(unused, (1, 1), put("a", "2"), 0),
        Answer::NotApplied
    );
    for (session, sequence) in [(used, 2), (other, 1)] {
        let answer = log.write(session, (sequence, 1), put("a", "3"), u64::MAX);
        assert!(is_written(&answer), "{answer:?}");
    }
    // A renewal counts as a use.
    log.noops(window);
    let session = used;
    assert_eq!(
        log.apply(Command::RenewSession { session }),
        Answer::SessionRenewed
    );
    log.session(2, window);
    assert!(is_written(&log.write(
        used,
        (3, 1),
        put("a", "4"),
        u64::MAX
    )));
    let session = other;
    assert_eq!(
        log.apply(Command::RenewSession { session }),
        Answer::SessionExpired
    );
}

/// Even in an otherwise idle cluster, rejected requests to open a session make an eviction possible
/// after a while.
#[test]
fn session_unused_is_evicted_after_refused_openings() {
    let mut log = Applied::new();
    let [used, unused] = [(); 2].map(|()| log.session(2, 1_000_000));
    let mut refused = 0;
    while log.open(2, 1_000_000) == Answer::SessionsInUse {
        refused += 1;
        // A session that is used in the meantime stays.
        let answer = log.write(used, (refused, refused), put("a", "1"), u64::MAX);
        assert!(is_written(&answer), "{answer:?}");
    }
    assert!((60..=REFUSALS_PER_WINDOW).contains(&refused), "{refused}");
    assert_eq!(
        log.write(unused, (1, 1), put("a", "2"), 0),
        Answer::NotApplied
    );
}

/// A closed session frees its place, and late copies of its writes have no effect.
#[test]
fn session_closed_makes_room_and_writes_nothing_more() {
    let mut log = Applied::new();
    let session = log.session(1, 100);
    assert!(is_written(&log.write(
        session,
        (1, 1),
        put("a", "1"),
        u64::MAX
    )));
    assert_eq!(log.open(1, 100), Answer::SessionsInUse);
    // Closing again, or closing an unknown session, also succeeds.
    for session in [session, session, SessionId::new(99)] {
        assert_eq!(
            log.apply(Command::CloseSession { session }),
            Answer::SessionClosed
        );
    }
    let other = log.session(1, 100);
    for sequence in [1, 2] {
        assert_eq!(
            log.write(session, (sequence, 1), put("a", "2"), u64::MAX),
            Answer::SessionExpired
        );
    }
    assert!(is_written(&log.write(
        other,
        (1, 1),
        put("b", "1"),
        u64::MAX
    )));
    assert_eq!(log.store.session_count(), 1);
}

/// A client renews its session through the log of the leader.
#[test]
fn session_is_renewed_by_the_leader() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    for (session, expected) in [
        (session, Answer::SessionRenewed),
        (SessionId::new(99), Answer::SessionExpired),
    ] {
        let before = cluster.terms(1).len();
        let renewal = cluster.request(1, RequestBody::RenewSession { session });
        assert_eq!(cluster.answer(renewal), None);
        cluster.settle();
        assert_eq!(
            cluster.answer(renewal),
            Some(&ResponseBody::Applied(expected))
        );
        assert_eq!(cluster.terms(3).len(), before + 1);
    }
}

/// For a bounded number of evicted sessions, the store remembers which of their writes were never
/// applied.
#[test]
fn session_evicted_is_remembered_for_a_while() {
    let mut log = Applied::new();
    let session = log.session(1, 0);
    assert!(is_written(&log.write(
        session,
        (1, 1),
        put("a", "1"),
        u64::MAX
    )));
    assert!(is_written(&log.write(
        session,
        (3, 1),
        put("a", "1"),
        u64::MAX
    )));
    for nth in 0..MAX_EVICTED {
        log.session(1, 0);
        // As far as the store knows, the second write may have been applied.
        for (sequence, expected) in [
            (1, Answer::SessionExpired),
            (2, Answer::SessionExpired),
            (3, Answer::SessionExpired),
            (4, Answer::NotApplied),
        ] {
            if nth == 0 || nth == MAX_EVICTED - 1 {
                let answer = log.write(session, (sequence, 1), put("a", "2"), u64::MAX);
                assert_eq!(answer, expected, "{nth}");
            }
        }
    }
    log.session(1, 0);
    assert_eq!(
        log.write(session, (4, 1), put("a", "2"), u64::MAX),
        Answer::SessionExpired
    );
}

/// The number of unacknowledged responses is bounded, and none of them is forgotten.
#[test]
fn session_retains_so_many_answers_and_then_refuses() {
    let mut log = Applied::new();
    let session = log.session(1, 0);
    let most = MAX_RETAINED_ANSWERS as u64;
    let answers: Vec<Answer> = (1..=most)
        .map(|sequence| log.write(session, (sequence, 1), add("a", 1), u64::MAX))
        .collect();
    let refused = log.write(session, (most + 1, 1), add("a", 1), u64::MAX);
    assert_eq!(refused, Answer::TooManyUnacknowledged);
    for (sequence, answer) in (1..).zip(&answers) {
        let repeated = log.write(session, (sequence, 1), add("a", 1), u64::MAX);
        assert_eq!(&repeated, answer);
    }
    // The same write, with one response less to retain.
    let value = most as i64 + 1;
    let answer = log.write(session, (most + 1, 2), add("a", 1), u64::MAX);
    assert!(
        matches!(answer, Answer::Number { value: found, .. } if found == value),
        "{answer:?}"
    );
    // The size of the retained data is bounded, regardless of the client's behavior.
    let bytes = postcard::to_allocvec(&log.store).expect("a store is serialized");
    assert!(bytes.len() < 16 * MAX_RETAINED_ANSWERS, "{}", bytes.len());
}

/// At the quota, writes that make the state larger are rejected; other writes are not.
#[test]
fn state_at_its_quota_refuses_growing_writes_and_nothing_else() {
    let mut log = Applied::new();
    let session = log.session(1, 0);
    let mut sequence = 0;
    let quota = 2 * (1 + PAIR_BYTES as u64) + 10;
    let mut write = |log: &mut Applied, operation| {
        sequence += 1;
        log.write(session, (sequence, sequence), operation, quota)
    };
    assert!(is_written(&write(&mut log, put("a", "1234567"))));
    assert!(is_written(&write(&mut log, put("b", "123"))));
    assert_eq!(log.store.state_bytes(), quota);
    for growing in [put("c", ""), put("b", "1234"), add("c", 1), add("b", 999)] {
        assert_eq!(write(&mut log, growing), Answer::QuotaExceeded);
    }
    assert_eq!(log.store.state_bytes(), quota);
    // The same size, or smaller.
    assert!(is_written(&write(&mut log, put("b", "999"))));
    assert!(is_written(&write(&mut log, put("a", "7654321"))));
    let failed = Operation::Put {
        key: b"c".to_vec(),
        value: "1".into(),
        condition: Condition::Present,
    };
    let answer = write(&mut log, failed);
    assert_eq!(answer, Answer::ConditionFailed { found: None });
    let delete = Operation::Delete {
        key: b"b".to_vec(),
        condition: Condition::Always,
    };
    assert!(is_written(&write(&mut log, delete)));
    assert!(is_written(&write(&mut log, put("c", "123"))));
    // The leader writes the quota into the entry: a smaller quota permits writes that shrink the
    // state.
    let smaller = log.write(session, (99, 99), put("a", "1"), 1);
    assert!(is_written(&smaller), "{smaller:?}");
}

/// The store decides whether a condition holds and whether a sum exists. A refused write changes nothing.
#[test]
fn condition_or_sum_that_fails_changes_nothing() {
    let mut log = Applied::new();
    let session = log.session(1, 0);
    let mut sequence = 0;
    let mut write = |log: &mut Applied, operation| {
        sequence += 1;
        log.write(session, (sequence, sequence), operation, u64::MAX)
    };
    let delete = |condition| {
        let key = b"a".to_vec();
        Operation::Delete { key, condition }
    };
    assert_eq!(
        write(&mut log, delete(Condition::Present)),
        Answer::ConditionFailed { found: None }
    );
    let Answer::Written { version } = write(&mut log, put("a", "text")) else {
        panic!("an absent key is written");
    };
    assert_eq!(write(&mut log, add("a", 1)), Answer::NotANumber);
    let found = Some(version);
    for condition in [Condition::Absent, Condition::Version(version.next())] {
        assert_eq!(
            write(&mut log, delete(condition)),
            Answer::ConditionFailed { found }
        );
    }
    assert!(is_written(&write(
        &mut log,
        delete(Condition::Version(version))
    )));
    let most = |answer| {
        matches!(
            answer,
            Answer::Number {
                value: i64::MAX,
                ..
            }
        )
    };
    assert!(most(write(&mut log, add("a", i64::MAX))));
    assert_eq!(write(&mut log, add("a", 1)), Answer::Overflow);
    assert!(most(write(&mut log, add("a", 0))));
}

/// A snapshot contains everything that decides about sessions: a replica restored from it behaves
/// identically.
#[test]
fn sessions_survive_a_snapshot_with_their_last_use() {
    let mut log = Applied::new();
    let (capacity, window) = (3, 20);
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for round in 0..200 {
        let bytes = postcard::to_allocvec(&log.store).expect("a store is serialized");
        let mut other = Applied::new();
        other.store = postcard::from_bytes(&bytes).expect("and read again");
        for _ in 0..20 {
            let session = SessionId::new(
                log.store.last_applied().get() - next(40).min(log.store.last_applied().get()),
            );
            let command = match next(8) {
                0 | 1 => Command::OpenSession { capacity, window },
                2 => Command::CloseSession { session },
                3 => Command::RenewSession { session },
                _ => Command::from(Write {
                    session,
                    sequence: next(4),
                    acknowledged: next(4),
                    operation: add("a", 1),
                    quota: u64::MAX,
                }),
            };
            assert_eq!(log.apply(command.clone()), other.apply(command), "{round}");
        }
        assert_eq!(log.store, other.store);
    }
}

/// The result of an increment.
fn number(cluster: &Cluster, write: RequestId) -> i64 {
    match cluster.answer(write) {
        Some(ResponseBody::Applied(Answer::Number { value, .. })) => *value,
        other => panic!("not a number: {other:?}"),
    }
}
