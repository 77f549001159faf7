//! Garbage runs.

use crate::{
    cluster,
    cluster::Cluster,
    random, victim,
    victim::{Garbage, Victim},
};
use model::{
    Address, AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, ClientId, ClientRequest,
    ClientResponse, Durable, Effects, Entry, Event, InstallSnapshotRequest,
    InstallSnapshotResponse, LogIndex, Message, NodeId, Payload, PreVoteRequest, PreVoteResponse,
    ProxyId, RequestId, RequestVoteRequest, RequestVoteResponse, Role, SessionId, Snapshot, Store,
    Term, TimeoutNowRequest,
    message::{RequestBody, ResponseBody},
    store::{Command, Condition, Operation, Query, Write},
};
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// Small numbers, which are meaningful, and the ends of the range, where arithmetic overflows.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => 0..5_u64,
        1 => u64::MAX - 2..=u64::MAX,
        1 => any::<u64>(),
    ]
}

fn garbage_entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        Just(Payload::Noop),
        (any::<u32>(), number()).prop_map(|(capacity, window)| {
            Payload::Command(Command::OpenSession { capacity, window })
        }),
        number().prop_map(|session| {
            let session = SessionId::new(session);
            Payload::Command(Command::CloseSession { session })
        }),
        number().prop_map(|session| {
            let session = SessionId::new(session);
            Payload::Command(Command::RenewSession { session })
        }),
        (number(), number(), number(), garbage_operation(), number()).prop_map(
            |(session, sequence, acknowledged, operation, quota)| {
                Payload::Command(Command::from(Write {
                    quota,
                    session: SessionId::new(session),
                    sequence,
                    acknowledged,
                    operation,
                }))
            }
        ),
    ];
    (number(), payload).prop_map(|(term, payload)| Entry {
        term: Term::new(term),
        payload,
    })
}

fn garbage_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(b'a'..b'c', 0..2),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        vec(any::<u8>(), 0..4),
    ]
}

fn garbage_operation() -> impl Strategy<Value = Operation> {
    let condition = prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        Just(Condition::Present),
        number().prop_map(|version| Condition::Version(LogIndex::new(version))),
    ];
    let key = garbage_bytes;
    prop_oneof![
        (key(), garbage_bytes(), condition.clone()).prop_map(|(key, value, condition)| {
            Operation::Put {
                key,
                value: value.into(),
                condition,
            }
        }),
        (key(), condition).prop_map(|(key, condition)| Operation::Delete { key, condition }),
        (key(), any::<i64>()).prop_map(|(key, by)| Operation::Increment { key, by }),
    ]
}

fn garbage_query() -> impl Strategy<Value = Query> {
    let key = garbage_bytes;
    prop_oneof![
        key().prop_map(|key| Query::Get { key }),
        (key(), option::of(key()), any::<u32>(), any::<u32>()).prop_map(
            |(prefix, after, limit, bytes)| Query::Scan {
                prefix,
                after,
                limit,
                bytes,
            }
        ),
    ]
}

/// An empty store that claims this applied index, as a peer may send it.
fn empty_store(last_applied: u64) -> Store {
    let (no_pairs, no_sessions) = (0_u8, [0_u8; 3]);
    let bytes = postcard::to_allocvec(&(no_pairs, no_sessions, last_applied));
    postcard::from_bytes(&bytes.expect("numbers")).expect("a store")
}

fn garbage_message() -> impl Strategy<Value = Message> {
    let term = || number().prop_map(Term::new);
    let index = || number().prop_map(LogIndex::new);
    let outcome = prop_oneof![
        index().prop_map(|match_index| AppendOutcome::Matched { match_index }),
        (index(), term(), index()).prop_map(|(prev_log_index, conflict_term, conflict_index)| {
            AppendOutcome::Conflict {
                prev_log_index,
                conflict_term,
                conflict_index,
            }
        }),
        Just(AppendOutcome::StaleTerm),
    ];
    let body = prop_oneof![
        Just(RequestBody::OpenSession),
        number().prop_map(|session| {
            let session = SessionId::new(session);
            RequestBody::CloseSession { session }
        }),
        number().prop_map(|session| {
            let session = SessionId::new(session);
            RequestBody::RenewSession { session }
        }),
        (number(), number(), number(), garbage_operation()).prop_map(
            |(session, sequence, acknowledged, operation)| RequestBody::Write {
                session: SessionId::new(session),
                sequence,
                acknowledged,
                operation,
            }
        ),
        garbage_query().prop_map(|query| RequestBody::Read { query }),
        garbage_query().prop_map(|query| RequestBody::StaleRead { query }),
    ];
    prop_oneof![
        1 => (term(), index(), term(), any::<bool>()).prop_map(
            |(term, last_log_index, last_log_term, leadership_transfer)| {
                Message::RequestVoteRequest(RequestVoteRequest {
                    term,
                    last_log_index,
                    last_log_term,
                    leadership_transfer,
                })
            },
        ),
        1 => term().prop_map(|term| Message::TimeoutNowRequest(TimeoutNowRequest { term })),
        3 => (term(), any::<bool>()).prop_map(|(term, vote_granted)| {
            Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted })
        }),
        1 => (term(), index(), term()).prop_map(|(next_term, last_log_index, last_log_term)| {
            Message::PreVoteRequest(PreVoteRequest {
                next_term,
                last_log_index,
                last_log_term,
            })
        }),
        2 => (term(), term(), any::<bool>()).prop_map(|(term, next_term, vote_granted)| {
            Message::PreVoteResponse(PreVoteResponse {
                term,
                next_term,
                vote_granted,
            })
        }),
        2 => (term(), index(), term(), vec(garbage_entry(), 0..4), index(), number()).prop_map(
            |(term, prev_log_index, prev_log_term, entries, leader_commit, read_round)| {
                Message::AppendEntriesRequest(AppendEntriesRequest {
                    term,
                    prev_log_index,
                    prev_log_term,
                    entries,
                    leader_commit,
                    read_round,
                })
            }
        ),
        2 => (term(), index(), term(), option::weighted(0.2, number())).prop_map(
            |(term, last_included_index, last_included_term, applied)| {
                let applied = applied.unwrap_or(last_included_index.get());
                Message::InstallSnapshotRequest(InstallSnapshotRequest {
                    term,
                    snapshot: Snapshot {
                        last_included_index,
                        last_included_term,
                        store: empty_store(applied),
                    },
                })
            }
        ),
        2 => (term(), index()).prop_map(|(term, match_index)| {
            Message::InstallSnapshotResponse(InstallSnapshotResponse { term, match_index })
        }),
        3 => (term(), number(), outcome).prop_map(|(term, read_round, outcome)| {
            Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                read_round,
                outcome,
            })
        }),
        2 => (number(), number(), body).prop_map(|(client, id, body)| {
            Message::ClientRequest(ClientRequest {
                client: ClientId::new(client),
                id: RequestId::new(id),
                body,
            })
        }),
        1 => (number(), number()).prop_map(|(client, id)| {
            Message::ClientResponse(ClientResponse {
                client: ClientId::new(client),
                id: RequestId::new(id),
                body: ResponseBody::Unavailable,
            })
        }),
    ]
}

fn garbage_address() -> impl Strategy<Value = Address> {
    prop_oneof![
        4 => number().prop_map(|id| Address::Node(NodeId::new(id))),
        1 => number().prop_map(|id| Address::Proxy(ProxyId::new(id))),
        1 => number().prop_map(|id| Address::Client(ClientId::new(id))),
    ]
}

fn garbage() -> impl Strategy<Value = Garbage> {
    prop_oneof![
        8 => (garbage_address(), garbage_message())
            .prop_map(|(from, message)| Garbage::Event(Event::Receive { from, message })),
        20 => (2..=5_u64, garbage_message())
            .prop_map(|(from, message)| Garbage::Insider(NodeId::new(from), message)),
        2 => Just(Garbage::Event(Event::ElectionTimeout)),
        2 => Just(Garbage::Event(Event::HeartbeatTimeout)),
        1 => Just(Garbage::Event(Event::QuorumTimeout)),
        2 => Just(Garbage::Event(Event::Compact)),
        6 => (1..4_usize).prop_map(Garbage::Sync),
        1 => (0..3_usize).prop_map(Garbage::CrashAfterWriting),
    ]
}

proptest! {
    #![proptest_config(random(2000))]

    /// Bytes from a peer never cause a panic and violate no invariant, and the step stays
    /// deterministic.
    #[test]
    fn garbage_breaks_nothing(size in 1..=5_u64, pre_vote: bool, run in vec(garbage(), 0..100)) {
        let mut victim = Victim::new(size, pre_vote);
        for garbage in run {
            victim.suffer(garbage);
        }
    }
}

/// A forged term near the end of the range must not prevent all later elections: a message raises the
/// term by a bounded step.
#[test]
fn forged_last_term_raises_the_term_by_a_bounded_step() {
    let messages = |term| {
        let (term, zero) = (Term::new(term), LogIndex::ZERO);
        [
            Message::RequestVoteRequest(RequestVoteRequest {
                term,
                last_log_index: zero,
                last_log_term: Term::ZERO,
                leadership_transfer: false,
            }),
            Message::RequestVoteResponse(RequestVoteResponse {
                term,
                vote_granted: false,
            }),
            Message::PreVoteResponse(PreVoteResponse {
                term,
                next_term: term,
                vote_granted: false,
            }),
            Message::AppendEntriesRequest(AppendEntriesRequest {
                term,
                prev_log_index: zero,
                prev_log_term: Term::ZERO,
                entries: Vec::new(),
                leader_commit: zero,
                read_round: 0,
            }),
            Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                read_round: 0,
                outcome: AppendOutcome::StaleTerm,
            }),
            Message::InstallSnapshotRequest(InstallSnapshotRequest {
                term,
                snapshot: Snapshot {
                    last_included_index: LogIndex::new(1),
                    last_included_term: Term::new(1),
                    store: empty_store(1),
                },
            }),
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term,
                match_index: zero,
            }),
        ]
    };
    for term in [Term::MAX_JUMP + 2, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        for message in messages(term) {
            let mut victim = Victim::new(3, true);
            let from = Address::Node(NodeId::new(2));
            victim.step(Event::Receive { from, message });
            let term = victim.raft.current_term();
            assert_eq!(term, Term::new(1 + Term::MAX_JUMP));
            assert_eq!(victim.raft.log().last_index(), LogIndex::new(1));
            // Elections still work.
            victim.step(Event::ElectionTimeout);
            let message = Message::PreVoteResponse(PreVoteResponse {
                term,
                next_term: term.next(),
                vote_granted: true,
            });
            victim.step(Event::Receive { from, message });
            assert!(matches!(victim.raft.role(), Role::Candidate(_)));
        }
    }
}

/// A pre-vote request grants nothing, so it raises no term, regardless of its own term.
#[test]
fn forged_pre_vote_request_raises_no_term() {
    let mut victim = Victim::new(3, true);
    victim.step(Event::Receive {
        from: Address::Node(NodeId::new(2)),
        message: Message::PreVoteRequest(PreVoteRequest {
            next_term: Term::LAST,
            last_log_index: LogIndex::new(9),
            last_log_term: Term::new(9),
        }),
    });
    assert_eq!(victim.raft.current_term(), Term::new(1));
}

/// A server that missed more elections than one message may compensate for still catches up.
#[test]
fn server_far_behind_catches_up_with_the_term() {
    let ahead = 3 * Term::MAX_JUMP;
    let mut cluster = Cluster::recover(
        vec![
            cluster::disk(ahead, &[1]),
            cluster::disk(ahead, &[1]),
            Durable::default(),
        ],
        |_| {},
    );
    cluster.isolate(&[3]);
    cluster.elect(1);
    cluster.heal();
    for _ in 0..4 {
        cluster.heartbeat(1);
        cluster.settle();
    }
    assert_eq!(cluster.term(3), ahead + 1);
    assert_eq!(cluster.terms(3), [1, ahead + 1]);
}

/// Acknowledgements of a log near the end of the range: sums of indexes do not overflow.
#[test]
fn acknowledgements_of_an_enormous_log_do_not_overflow() {
    let mut victim = Victim::new(5, false);
    let last = u64::MAX / 2;
    let insider = |from, message| Garbage::Insider(NodeId::new(from), message);
    let snapshot = Snapshot {
        last_included_index: LogIndex::new(last),
        last_included_term: Term::new(1),
        store: empty_store(last),
    };
    let (term, match_index) = (Term::new(0), LogIndex::new(last));
    victim.suffer(insider(
        2,
        Message::InstallSnapshotRequest(InstallSnapshotRequest { term, snapshot }),
    ));
    victim.suffer(Garbage::Sync(9));
    victim.suffer(Garbage::Event(Event::ElectionTimeout));
    victim.suffer(Garbage::Sync(9));
    for from in 2..=5 {
        let vote_granted = true;
        let vote = RequestVoteResponse { term, vote_granted };
        victim.suffer(insider(from, Message::RequestVoteResponse(vote)));
    }
    assert!(matches!(victim.raft.role(), Role::Leader(_)));
    for from in 2..=5 {
        let response = InstallSnapshotResponse { term, match_index };
        victim.suffer(insider(from, Message::InstallSnapshotResponse(response)));
    }
    let Role::Leader(leader) = victim.raft.role() else {
        panic!("the server leads");
    };
    let mut followers = leader.followers.values();
    assert!(followers.all(|progress| progress.match_index == match_index));
}

/// A message that no correct server sends changes nothing, and the server stays up.
#[test]
fn impossible_requests_are_dropped() {
    let append = |term, (index, prev_term), terms: &[u64]| {
        Message::AppendEntriesRequest(AppendEntriesRequest {
            term: Term::new(term),
            prev_log_index: LogIndex::new(index),
            prev_log_term: Term::new(prev_term),
            entries: cluster::entries(terms),
            leader_commit: LogIndex::ZERO,
            read_round: 0,
        })
    };
    let install = |term, last_included_index, last_included_term| {
        Message::InstallSnapshotRequest(InstallSnapshotRequest {
            term: Term::new(term),
            snapshot: Snapshot {
                last_included_index: LogIndex::new(last_included_index),
                last_included_term: Term::new(last_included_term),
                store: empty_store(last_included_index),
            },
        })
    };
    let cases = [
        (
            "entries of a term above the leader's",
            append(3, (2, 2), &[5]),
        ),
        ("terms that decrease", append(3, (2, 2), &[3, 2])),
        (
            "an entry of the term before all terms",
            append(3, (0, 0), &[0]),
        ),
        ("a term before the log", append(3, (0, 1), &[1])),
        (
            "a first entry older than the one before",
            append(3, (2, 2), &[1]),
        ),
        (
            "an entry before of a term above the leader's",
            append(3, (2, 4), &[]),
        ),
        (
            "entries past the end of the range",
            append(3, (u64::MAX, 2), &[2]),
        ),
        ("a committed entry that differs", append(3, (0, 0), &[2])),
        (
            "a committed entry before that differs",
            append(3, (1, 2), &[2]),
        ),
        ("a snapshot of a term above the leader's", install(3, 9, 4)),
        ("a snapshot of the term before all terms", install(3, 9, 0)),
        (
            "a snapshot that differs from what is committed",
            install(3, 1, 2),
        ),
        ("a snapshot of nothing", install(3, 0, 0)),
    ];
    for (what, message) in cases {
        let mut cluster = Cluster::recover(vec![cluster::disk(2, &[1, 2]); 3], |_| {});
        // The first entry is committed.
        cluster.receive(1, 3, append(2, (1, 1), &[2]));
        let mut commit = append(2, (1, 1), &[]);
        if let Message::AppendEntriesRequest(request) = &mut commit {
            request.leader_commit = LogIndex::new(1);
        }
        cluster.receive(1, 3, commit);
        assert_eq!(cluster.commit(1), 1);
        cluster.network.clear();
        let before = cluster.raft(1).clone();
        assert!(before.is_impossible(&message), "{what}");
        let (mut raft, from) = (before.clone(), Address::Node(NodeId::new(2)));
        let effects = raft.step(Event::Receive { from, message });
        assert_eq!((raft, effects), (before, Effects::default()), "{what}");
    }
}

/// A leader ignores acknowledgements and read rounds that it cannot have caused.
#[test]
fn impossible_responses_are_dropped() {
    let responses = [
        (
            0,
            AppendOutcome::Matched {
                match_index: LogIndex::new(4),
            },
        ),
        (
            1,
            AppendOutcome::Matched {
                match_index: LogIndex::new(3),
            },
        ),
        (
            u64::MAX,
            AppendOutcome::Matched {
                match_index: LogIndex::new(3),
            },
        ),
    ];
    for (read_round, outcome) in responses {
        let mut cluster = Cluster::recover(vec![cluster::disk(1, &[1, 1]); 3], |_| {});
        cluster.elect_by(1, &[2]);
        let before = cluster.raft(1).clone();
        let term = before.current_term();
        let response = AppendEntriesResponse {
            term,
            read_round,
            outcome,
        };
        cluster.receive(1, 2, Message::AppendEntriesResponse(response));
        assert_eq!(*cluster.raft(1), before);
    }
}

proptest! {
    #![proptest_config(random(400))]

    /// The byte interpreter of the fuzz target terminates for any input.
    #[test]
    fn garbage_bytes_break_nothing(bytes in vec(any::<u8>(), 0..2000)) {
        victim::run(&bytes);
    }
}

/// The garbage runs are only useful if they reach every role.
#[test]
fn garbage_meets_every_role() {
    let mut runner = TestRunner::deterministic();
    let (mut candidates, mut leaders, mut committed) = (0, 0, 0);
    let mut pre_candidates = 0;
    for round in 0..400 {
        let tree = vec(garbage(), 0..100).new_tree(&mut runner);
        let mut victim = Victim::new(3, round % 2 == 0);
        for garbage in tree.expect("a run").current() {
            victim.suffer(garbage);
            let asks = matches!(victim.raft.role(), Role::PreCandidate { .. });
            pre_candidates += usize::from(asks);
            candidates += usize::from(matches!(victim.raft.role(), Role::Candidate(_)));
            leaders += usize::from(matches!(victim.raft.role(), Role::Leader(_)));
            committed += usize::from(victim.raft.commit_index() > LogIndex::ZERO);
        }
    }
    for (steps, what) in [
        (pre_candidates, "pre-candidates"),
        (candidates, "candidates"),
        (leaders, "leaders"),
        (committed, "a commit index"),
    ] {
        assert!(steps > 100, "garbage met {what} {steps} times");
    }
}
