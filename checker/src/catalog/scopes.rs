//! The scopes that mutants need: those of the catalog of scopes with other bounds.

use model::{
    client::Invocation,
    store::{Condition, Operation, Query},
    system::{Budget, Limit, Reduction, Scope},
};

/// A scope of the catalog with other bounds.
pub(super) fn bounded(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scopes that mutants use are in the catalog");
    Scope {
        terms,
        budget,
        ..base
    }
}

pub(super) fn elections(servers: u64, terms: u64, crashes: u8) -> Scope {
    let budget = Budget {
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    alone(servers, bounded("elections", terms, budget))
}

pub(super) fn logs(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    bounded("crashes", terms, budget)
}

/// Servers with different quotas.
pub(super) fn mixed_settings(terms: u64, entries: u8) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    bounded("mixed-settings", terms, budget)
}

/// With one snapshot.
pub(super) fn snapshots(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes: Limit::at_most(crashes),
        snapshots: Limit::at_most(1),
        ..Budget::default()
    };
    bounded("snapshots", terms, budget)
}

pub(super) fn reads(terms: u64, entries: u8, reads: u8) -> Scope {
    let budget = Budget {
        entries,
        reads,
        ..Budget::default()
    };
    bounded("reads", terms, budget)
}

/// One client with `operations` increments, and the faults that make it retry.
pub(super) fn end_to_end(entries: u8, operations: usize, attempts: u32) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let base = bounded("end-to-end", 1, budget);
    let plans = base
        .plans
        .iter()
        .take(1)
        .map(|plan| plan.iter().cycle().take(operations).cloned().collect())
        .collect();
    Scope {
        plans,
        attempts,
        ..base
    }
}

/// The scope `sessions`, with a first client that increments a counter this many times.
pub(super) fn sessions(entries: u8, operations: usize) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let mut scope = bounded("sessions", 1, budget);
    scope.plans[0].truncate(operations);
    scope
}

pub(super) fn alone(servers: u64, scope: Scope) -> Scope {
    Scope { servers, ..scope }
}

/// With servers that run a pre-vote before an election.
pub(super) fn quiet(scope: Scope) -> Scope {
    Scope {
        pre_vote: true,
        ..scope
    }
}

pub(super) fn pipelined(scope: Scope) -> Scope {
    Scope {
        window: 2,
        ..one_by_one(scope)
    }
}

pub(super) fn one_by_one(scope: Scope) -> Scope {
    Scope { batch: 1, ..scope }
}

pub(super) fn without_session(scope: Scope) -> Scope {
    Scope {
        with_session: false,
        ..scope
    }
}

/// For mutants that break an assumption of `drop_dead` or `trim_appends`. With these reductions an
/// obligation fails, and the violation may be hidden.
pub(super) fn kept(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            drop_dead: false,
            trim_appends: false,
            ..scope.reduction
        },
        ..scope
    }
}

pub(super) fn split(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            merge_syncs: false,
            ..scope.reduction
        },
        ..scope
    }
}

/// With clients that have these operations, through a proxy.
pub(super) fn clients(entries: u8, reads: u8, plans: Vec<Vec<Invocation>>) -> Scope {
    let budget = Budget {
        entries,
        reads,
        ..Budget::default()
    };
    let attempts = 1;
    Scope {
        plans,
        attempts,
        ..bounded("end-to-end", 1, budget)
    }
}

/// A server with clients that have these operations, through a proxy.
pub(super) fn store(entries: u8, plans: Vec<Vec<Invocation>>) -> Scope {
    alone(1, clients(entries, 0, plans))
}

/// A client's write, during which the leader may change.
pub(super) fn fail_over(entries: u8, attempts: u32) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    Scope {
        attempts,
        ..bounded("fail-over", 2, budget)
    }
}

/// A client and a proxy that restart any number of times.
pub(super) fn restarts(entries: u8) -> Scope {
    let budget = Budget {
        entries,
        client_crashes: Limit::Any,
        proxy_crashes: Limit::Any,
        ..Budget::default()
    };
    Scope {
        attempts: 1,
        ..bounded("restarts", 1, budget)
    }
}

/// Leadership transfers, any number of times.
pub(super) fn transfers(terms: u64, entries: u8) -> Scope {
    let budget = Budget {
        entries,
        transfers: Limit::Any,
        ..Budget::default()
    };
    bounded("transfers", terms, budget)
}

/// Elections with PreVote and CheckQuorum. A leader's entries reach no other server.
pub(super) fn quorum_elections(servers: u64, terms: u64) -> Scope {
    Scope {
        append_entries: false,
        ..alone(servers, bounded("quorum", terms, Budget::default()))
    }
}

pub(super) fn window(window: usize, scope: Scope) -> Scope {
    Scope { window, ..scope }
}

/// The key of the scopes.
const KEY: &[u8] = b"x";
/// A second key.
const OTHER_KEY: &[u8] = b"y";

pub(super) fn get() -> Invocation {
    Invocation::Read(Query::Get { key: KEY.into() })
}

pub(super) fn add(by: i64) -> Operation {
    let key = KEY.into();
    Operation::Increment { key, by }
}

pub(super) fn increment() -> Invocation {
    Invocation::Write(add(1))
}

pub(super) fn put(text: &str, condition: Condition) -> Invocation {
    Invocation::Write(Operation::Put {
        key: KEY.into(),
        value: text.into(),
        condition,
    })
}

pub(super) fn put_other(text: &str) -> Invocation {
    Invocation::Write(Operation::Put {
        key: OTHER_KEY.into(),
        value: text.into(),
        condition: Condition::Always,
    })
}

pub(super) fn delete(condition: Condition) -> Invocation {
    let key = KEY.into();
    Invocation::Write(Operation::Delete { key, condition })
}

/// A scan of all keys.
pub(super) fn scan(limit: u32) -> Invocation {
    Invocation::Read(Query::Scan {
        prefix: Vec::new(),
        after: None,
        limit,
        bytes: u32::MAX,
    })
}
