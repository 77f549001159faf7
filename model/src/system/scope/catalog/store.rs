//! The scopes of the store: conditions, several keys, batches, and more than one session.

use crate::{
    LogIndex,
    client::Invocation,
    store::{Condition, Operation, Query},
    system::{
        reduction::Reduction,
        scope::{Budget, Scope},
        witness::Witness,
    },
};
use alloc::{vec, vec::Vec};

/// The scopes, in the order of the catalog.
pub(super) fn scopes() -> Vec<Scope> {
    vec![store(), conditions(), batches(), sessions_2()]
}

/// One client changes two keys and scans them. With three entries, the search visits every choice of up
/// to three of the writes, and their repetitions.
fn store() -> Scope {
    Scope {
        budget: Budget {
            entries: 3,
            reads: 1,
            ..Budget::default()
        },
        // Two pairs fit if their keys and values have five bytes together, but not if they have six.
        state_quota: Some(69),
        plans: vec![vec![
            put("x", "9", Condition::Absent),
            Invocation::Write(Operation::Delete {
                key: b"x".to_vec(),
                condition: Condition::Version(LogIndex::new(3)),
            }),
            increment(),
            put("y", "77", Condition::Always),
            Invocation::Read(Query::Scan {
                prefix: Vec::new(),
                after: None,
                limit: 1,
                bytes: u32::MAX,
            }),
        ]],
        expected: vec![
            Witness::WriteAcknowledged,
            Witness::DuplicateAnswered,
            Witness::ConditionFailed,
            Witness::QuotaExceeded,
            Witness::PairsScanned,
        ],
        ..one_server(
            "store",
            "two keys: conditions, deletes, increments, a limited scan and the state quota",
        )
    }
}

/// One client compares the version that the other client creates.
fn conditions() -> Scope {
    Scope {
        budget: Budget {
            entries: 4,
            ..Budget::default()
        },
        // No session is evicted.
        max_sessions: Some(8),
        attempts: 2,
        plans: vec![
            vec![put("x", "5", Condition::Version(LogIndex::new(4)))],
            vec![increment()],
        ],
        expected: vec![
            Witness::WriteAcknowledged,
            Witness::DuplicateAnswered,
            Witness::ClientRetried,
            Witness::ConditionFailed,
            Witness::FailureRepeated,
        ],
        ..one_server(
            "conditions",
            "a compare-and-set beside another client's write: a retry receives the first answer",
        )
    }
}

/// Two different writes and a read arrive in one event.
fn batches() -> Scope {
    Scope {
        budget: Budget {
            entries: 2,
            reads: 1,
            ..Budget::default()
        },
        servers: 2,
        together: true,
        reduction: Reduction {
            merge_syncs: false,
            ..Reduction::ALL
        },
        with_session: true,
        starts_with_leader: true,
        tracks_operations: true,
        expected: vec![
            Witness::WriteAcknowledged,
            Witness::ReadServed,
            Witness::ReadSawWrite,
            Witness::WritesTogether,
            Witness::EntriesTogether,
        ],
        ..Scope::new(
            "batches",
            "a conditional write, an increment and a read arrive together",
        )
    }
}

/// Two clients, and room for two sessions: a repeated opening is a third one.
fn sessions_2() -> Scope {
    Scope {
        budget: Budget {
            entries: 5,
            ..Budget::default()
        },
        max_sessions: Some(2),
        plans: vec![vec![increment()], vec![increment()]],
        expected: vec![
            Witness::WriteAcknowledged,
            Witness::SessionEvicted,
            Witness::OneOfSeveralEvicted,
            Witness::SessionGone,
            Witness::WriteMoved,
        ],
        ..one_server(
            "sessions-2",
            "room for two sessions: a third one evicts the least recently used one",
        )
    }
}

/// A scope of client processes and one server: the log alone determines the store.
fn one_server(name: &str, summary: &'static str) -> Scope {
    Scope {
        servers: 1,
        with_session: true,
        starts_with_leader: true,
        direct_clients: false,
        tracks_operations: true,
        ..Scope::new(name, summary)
    }
}

fn put(key: &str, value: &str, condition: Condition) -> Invocation {
    Invocation::Write(Operation::Put {
        key: key.into(),
        value: value.into(),
        condition,
    })
}

fn increment() -> Invocation {
    Invocation::Write(Operation::Increment {
        key: b"x".to_vec(),
        by: 1,
    })
}
