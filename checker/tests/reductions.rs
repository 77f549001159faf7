//! Each reduction leaves the reachable servers what they were.
//!
//! Compared are all servers of a state *together*: a reduction that lost one combination of server
//! states would show, even if each of them were still reached in another one.

use checker::engine::{Limits, Outcome, Progress, check};
use model::{
    Role,
    system::{Budget, Process, Reduction, Scope},
};
use std::collections::BTreeSet;

fn scope(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalogue()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scope is in the catalogue");
    Scope {
        terms,
        budget,
        ..base
    }
}

/// The servers of every state in which all are up and nothing is on its way to a disk, without
/// who is taken for the leader: what every combination of reductions can show.
fn quiet_servers(scope: &Scope, reduction: Reduction) -> BTreeSet<Vec<Vec<u8>>> {
    let scope = Scope {
        reduction,
        ..scope.clone()
    };
    let limits = Limits {
        threads: 1,
        max_states: Some(4_000_000),
        max_memory: None,
        symmetry: false,
    };
    let explored = check(&scope, &limits, &Progress::default());
    assert!(
        matches!(explored.report.outcome, Outcome::Exhausted),
        "{} with {reduction:?} ends in {:?}",
        scope.name,
        explored.report.outcome
    );
    let mut found = BTreeSet::new();
    for place in 0..explored.states.len() {
        let system = explored.tables.system(&explored.states.key(place));
        let quiet = system.processes.iter().all(|process| match process {
            Process::Server(server) => {
                let running = server.running.as_ref();
                running.is_some_and(|running| running.unsynced.is_empty())
            }
            Process::Proxy(_) | Process::Client(_) => true,
        });
        if quiet {
            found.insert(system.processes.iter().map(without_hint).collect());
        }
    }
    found
}

fn without_hint(process: &Process) -> Vec<u8> {
    if process.server().is_none() {
        return format!("{process:?}").into_bytes();
    }
    let running = process.server().and_then(|server| server.running.as_ref());
    let raft = &running.expect("only running servers are compared").raft;
    let role = match raft.role() {
        Role::Follower { heard, .. } => format!("follower {heard}"),
        other => format!("{other:?}"),
    };
    format!(
        "{:?} {:?} {:?} {:?} {:?} {role}",
        raft.id(),
        raft.current_term(),
        raft.voted_for(),
        raft.log(),
        raft.commit_index()
    )
    .into_bytes()
}

fn assert_nothing_lost(scope: &Scope, variants: &[(&str, Reduction)]) {
    assert_nothing_lost_by(Reduction::ALL, scope, variants);
}

fn assert_nothing_lost_by(all: Reduction, scope: &Scope, variants: &[(&str, Reduction)]) {
    let reduced = quiet_servers(scope, all);
    for (name, reduction) in variants {
        let plain = quiet_servers(scope, *reduction);
        assert_eq!(
            reduced.len(),
            plain.len(),
            "{}: with all reductions, and without {name}",
            scope.name
        );
        assert!(reduced == plain, "{}: {name}", scope.name);
    }
}

const UNTRIMMED: Reduction = Reduction {
    trim_appends: false,
    ..Reduction::ALL
};

fn one_by_one() -> Vec<(&'static str, Reduction)> {
    one_less_than(Reduction::ALL)
}

fn one_less_than(all: Reduction) -> Vec<(&'static str, Reduction)> {
    vec![
        (
            "merge_syncs",
            Reduction {
                merge_syncs: false,
                ..all
            },
        ),
        (
            "merge_restarts",
            Reduction {
                merge_restarts: false,
                ..all
            },
        ),
        (
            "drop_dead",
            Reduction {
                drop_dead: false,
                ..all
            },
        ),
        (
            "send_early",
            Reduction {
                send_early: false,
                ..all
            },
        ),
        (
            "forget_hints",
            Reduction {
                forget_hints: false,
                ..all
            },
        ),
        (
            "trim_appends",
            Reduction {
                trim_appends: false,
                ..all
            },
        ),
    ]
}

#[test]
fn elections_with_a_crash_lose_nothing() {
    let budget = Budget {
        crashes: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("elections", 2, budget), &one_by_one());
}

#[test]
fn elections_lose_nothing_by_all_reductions_together() {
    let budget = Budget {
        crashes: 1,
        ..Budget::default()
    };
    let none = [("any", Reduction::NONE)];
    assert_nothing_lost(&scope("elections", 1, budget), &none);
}

#[test]
fn one_leader_with_a_crash_loses_nothing() {
    let budget = Budget {
        crashes: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("crashes", 1, budget), &one_by_one());
}

/// The clients and the proxy are compared too.
#[test]
fn clients_lose_nothing() {
    let budget = Budget {
        entries: 1,
        ..Budget::default()
    };
    let two = |terms| Scope {
        servers: 2,
        ..scope("fail-over", terms, budget)
    };
    assert_nothing_lost(&two(1), &one_by_one());
    let merges = one_by_one()
        .into_iter()
        .filter(|(name, _)| name.starts_with("merge"));
    assert_nothing_lost(&two(2), &merges.collect::<Vec<_>>());
}

/// A client's answers wait for no disk: a crash may take back what one of them told. So there syncs
/// are not merged, and the rest loses nothing.
#[test]
fn clients_beside_a_crash_lose_nothing() {
    let budget = Budget {
        entries: 1,
        crashes: 1,
        ..Budget::default()
    };
    let two = Scope {
        servers: 2,
        ..scope("fail-over", 1, budget)
    };
    let merged = quiet_servers(&two, Reduction::ALL);
    let apart = Reduction {
        merge_syncs: false,
        ..Reduction::ALL
    };
    assert!(merged.len() < quiet_servers(&two, apart).len());
    assert!(!two.may_merge_syncs() && two.validate().is_err());
    assert_nothing_lost_by(apart, &two, &one_less_than(apart));
}

#[test]
fn one_leader_and_an_entry_lose_nothing() {
    let budget = Budget {
        entries: 1,
        ..Budget::default()
    };
    let some = one_by_one()
        .into_iter()
        .filter(|(name, _)| *name != "merge_syncs");
    assert_nothing_lost(&scope("replication", 1, budget), &some.collect::<Vec<_>>());
}

#[test]
fn quorum_checks_lose_nothing() {
    let two = Scope {
        servers: 2,
        ..scope("quorum", 2, Budget::default())
    };
    assert_nothing_lost(&two, &one_by_one());
    let drop_dead = one_by_one()
        .into_iter()
        .filter(|(name, _)| *name == "drop_dead");
    let three = scope("quorum", 1, Budget::default());
    assert_nothing_lost(&three, &drop_dead.collect::<Vec<_>>());
}

#[test]
fn pipeline_loses_nothing() {
    let budget = Budget {
        entries: 1,
        ..Budget::default()
    };
    let some = one_by_one()
        .into_iter()
        .filter(|(name, _)| *name != "merge_syncs");
    assert_nothing_lost(&scope("pipelining", 1, budget), &some.collect::<Vec<_>>());
}

#[test]
fn snapshots_lose_nothing() {
    let budget = Budget {
        crashes: 1,
        snapshots: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("snapshots", 1, budget), &one_by_one());
}

/// A late sync of a snapshot is the one thing that merging might lose: until then the server still has
/// the entries.
#[test]
fn snapshots_beside_an_entry_lose_nothing() {
    let budget = Budget {
        entries: 1,
        snapshots: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("snapshots", 1, budget), &one_by_one());
}

#[test]
fn snapshots_of_two_leaders_lose_nothing_by_forgetting_messages() {
    let budget = Budget {
        snapshots: 1,
        ..Budget::default()
    };
    let some = one_by_one()
        .into_iter()
        .filter(|(name, _)| ["drop_dead", "merge_restarts"].contains(name));
    assert_nothing_lost(&scope("snapshots", 2, budget), &some.collect::<Vec<_>>());
}

#[test]
fn two_leaders_lose_nothing_by_forgetting_messages() {
    let all = Reduction::ALL;
    let variants = [
        (
            "drop_dead",
            Reduction {
                drop_dead: false,
                ..all
            },
        ),
        (
            "forget_hints",
            Reduction {
                forget_hints: false,
                ..all
            },
        ),
        ("trim_appends", UNTRIMMED),
    ];
    assert_nothing_lost(&scope("older-term", 2, Budget::default()), &variants);
}

/// Where trimming has most to do: entries that arrive in pieces, beside a crash, and beside a leader
/// of another term.
#[test]
fn trimming_loses_nothing() {
    let variants = [("trim_appends", UNTRIMMED)];
    let bounds = |entries, crashes| Budget {
        entries,
        crashes,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("crashes", 1, bounds(1, 1)), &variants);
    assert_nothing_lost(&scope("crashes", 2, bounds(1, 0)), &variants);
    assert_nothing_lost(&scope("pipelining", 1, bounds(2, 0)), &variants);
    assert_nothing_lost(&scope("older-term", 3, bounds(0, 0)), &variants);
}
