//! Each reduction preserves the reachable servers.
//!
//! The tests compare all servers of a state *together*: a reduction that loses one combination of server
//! states fails, even if each server state is still reachable in another combination.

use checker::engine::{Limits, SearchOutcome, SearchProgress, check};
use model::{
    Role,
    mutant::Mutant,
    system::{Budget, Limit, Permutation, Process, Reduction, Relabel, Scope, System},
};
use std::collections::{BTreeSet, HashSet};

fn scope(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scope is in the catalog");
    Scope {
        terms,
        budget,
        ..base
    }
}

/// The processes of every state in which all servers are up and no write is pending, without leader
/// hints: the part of a state that every combination of reductions preserves. With `history`, it also
/// contains the budget, elected leaders, committed entries and operations.
fn quiet_processes(scope: &Scope, reduction: Reduction, history: bool) -> BTreeSet<Vec<String>> {
    let scope = Scope {
        reduction,
        ..scope.clone()
    };
    let limits = Limits {
        threads: 1,
        max_states: Some(8_000_000),
        max_memory: None,
        symmetry: true,
    };
    let explored = check(&scope, &limits, &SearchProgress::default());
    assert!(
        matches!(explored.report.outcome, SearchOutcome::Exhausted),
        "{} with {reduction:?} ends in {:?}",
        scope.name,
        explored.report.outcome
    );
    let mut systems = BTreeSet::new();
    let mut seen = HashSet::new();
    let process_count = explored
        .tables
        .system(&explored.states.key(0))
        .processes
        .len();
    for index in 0..explored.states.len() {
        // Messages are not compared.
        let key = explored.states.key(index);
        let compared = (
            key[..process_count].to_vec(),
            key.last().copied().filter(|_| history),
        );
        if !seen.insert(compared) {
            continue;
        }
        let system = explored.tables.system(&key);
        let is_quiet = system.processes.iter().all(|process| match process {
            Process::Server(server) => {
                let running = server.running.as_ref();
                running.is_some_and(|running| running.unsynced.is_empty())
            }
            Process::Proxy(_) | Process::Client(_) => true,
        });
        if is_quiet {
            systems.insert(least_named(&system, history));
        }
    }
    systems
}

/// One description for all systems that differ only by a permutation of the servers.
fn least_named(system: &System, history: bool) -> Vec<String> {
    let servers = system.processes.iter();
    let servers = servers.filter(|process| process.server().is_some()).count();
    let all = Permutation::all(servers).into_iter();
    let described = all.map(|names| {
        let system = system.relabel(&names);
        let mut parts: Vec<String> = system.processes.iter().map(without_hint).collect();
        if history {
            parts.push(format!("{:?} {:?}", system.spent, system.history));
        }
        parts
    });
    described.min().expect("the identity is a permutation")
}

fn without_hint(process: &Process) -> String {
    if process.server().is_none() {
        return format!("{process:?}");
    }
    let running = process.server().and_then(|server| server.running.as_ref());
    let raft = &running.expect("only running servers are compared").raft;
    let role = match raft.role() {
        Role::Follower {
            recently_active, ..
        } => format!("follower {recently_active}"),
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
}

fn assert_nothing_lost(scope: &Scope, variants: &[(&str, Reduction)]) {
    assert_nothing_lost_by(Reduction::ALL, scope, variants);
}

fn assert_nothing_lost_by(all: Reduction, scope: &Scope, variants: &[(&str, Reduction)]) {
    let reduced = quiet_processes(scope, all, false);
    for (name, reduction) in variants {
        let plain = quiet_processes(scope, *reduction, false);
        assert_same(scope, name, &reduced, &plain);
    }
}

#[track_caller]
fn assert_same(
    scope: &Scope,
    without: &str,
    reduced: &BTreeSet<Vec<String>>,
    plain: &BTreeSet<Vec<String>>,
) {
    let lost: Vec<_> = plain.difference(reduced).collect();
    let invented: Vec<_> = reduced.difference(plain).collect();
    assert!(
        lost.is_empty() && invented.is_empty(),
        "{}: of {} combinations {} are lost and {} invented by {without}, such as {:#?}",
        scope.name,
        plain.len(),
        lost.len(),
        invented.len(),
        lost.first().or(invented.first())
    );
}

const UNMERGED: Reduction = Reduction {
    merge_syncs: false,
    ..Reduction::ALL
};

/// A leader may lose an entry that other servers have received from it: its next heartbeat replicates
/// the entry, and a crash loses it before it is on the leader's own disk.
#[test]
fn entries_that_a_leader_loses_are_not_lost_by_merging() {
    let budget = |entries, crashes| Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    for servers in [2, 3] {
        let snapshots = Scope {
            servers,
            ..scope("snapshots", 1, budget(1, 1))
        };
        assert_merging_loses_nothing(&snapshots, false);
    }
    let four = Scope {
        servers: 4,
        ..scope("crashes", 1, budget(1, 1))
    };
    assert_merging_loses_nothing(&four, false);
    let reads = Scope {
        servers: 2,
        ..scope(
            "reads",
            2,
            Budget {
                reads: 2,
                ..budget(1, 1)
            },
        )
    };
    assert_merging_loses_nothing(&reads, true);
}

/// If syncs are separate, a follower can have three pending writes at the same time: an older leader's
/// entry, a newer term and the new leader's entries.
#[test]
fn two_leaders_lose_nothing_by_merging() {
    let budget = |entries, crashes| Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    let two = Scope {
        servers: 2,
        ..scope("older-term", 3, budget(1, 1))
    };
    let led = [(0, 1), (1, 0)].map(|(entries, crashes)| {
        // Without snapshots, and with an initial leader.
        scope("snapshots", 2, budget(entries, crashes))
    });
    for scope in led.iter().chain([&two]) {
        assert!(scope.may_merge_syncs());
        assert_merging_loses_nothing(scope, false);
    }
}

/// The bug shows in a leader that commits an entry and loses it.
#[test]
fn leader_that_counts_itself_too_early_is_found_with_merged_syncs() {
    let budget = Budget {
        entries: 1,
        crashes: Limit::at_most(1),
        ..Budget::default()
    };
    let mut scope = scope("snapshots", 2, budget);
    scope.reduction = Reduction::ALL;
    scope.mutant = Some(Mutant::LeaderCountsItselfBeforeDurable);
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    let outcome = check(&scope, &limits, &SearchProgress::default())
        .report
        .outcome;
    assert!(
        matches!(outcome, SearchOutcome::Violated { .. }),
        "{outcome:?}"
    );
}

#[track_caller]
#[allow(clippy::print_stderr, reason = "shown by the test runner")]
fn assert_merging_loses_nothing(scope: &Scope, history: bool) {
    let reduced = quiet_processes(scope, Reduction::ALL, history);
    let plain = quiet_processes(scope, UNMERGED, history);
    assert_same(scope, "merge_syncs", &reduced, &plain);
}

const UNTRIMMED: Reduction = Reduction {
    trim_appends: false,
    ..Reduction::ALL
};

fn one_by_one() -> Vec<(&'static str, Reduction)> {
    one_less_than(Reduction::ALL)
}

fn one_less_than(all: Reduction) -> Vec<(&'static str, Reduction)> {
    let mut variants = vec![
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
    ];
    variants.retain(|(_, fewer)| *fewer != all);
    variants
}

#[test]
fn elections_with_crashes_lose_nothing() {
    let budget = Budget {
        crashes: Limit::Any,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("elections", 2, budget), &one_by_one());
}

#[test]
fn elections_lose_nothing_by_all_reductions_together() {
    let budget = Budget {
        crashes: Limit::Any,
        ..Budget::default()
    };
    let none = [("any", Reduction::NONE)];
    assert_nothing_lost(&scope("elections", 1, budget), &none);
}

#[test]
fn one_leader_with_crashes_loses_nothing() {
    let budget = Budget {
        crashes: Limit::Any,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("crashes", 1, budget), &one_by_one());
}

/// Crashes without a count reach exactly the servers that a sufficient number of counted crashes reaches,
/// with all reductions and with none.
#[test]
fn crashes_without_a_count_reach_what_counted_crashes_reach() {
    let bounded = |crashes| {
        let budget = Budget {
            entries: 1,
            crashes,
            ..Budget::default()
        };
        Scope {
            servers: 2,
            ..scope("crashes", 1, budget)
        }
    };
    let reached = |crashes, reduction| quiet_processes(&bounded(crashes), reduction, false);
    let counted = |crashes| reached(Limit::at_most(crashes), Reduction::NONE);
    let enough = counted(4);
    assert_ne!(
        counted(1),
        enough,
        "one crash suffices: the comparison is empty"
    );
    assert_eq!(counted(5), enough);
    for reduction in [Reduction::ALL, Reduction::NONE] {
        assert_same(
            &bounded(Limit::Any),
            "counting crashes",
            &reached(Limit::Any, reduction),
            &enough,
        );
    }
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

/// The scope of a client and a proxy that restart any number of times.
fn restarts(servers: u64, name: &str, terms: u64, entries: u8, reads: u8) -> Scope {
    let budget = Budget {
        entries,
        reads,
        client_crashes: Limit::Any,
        proxy_crashes: Limit::Any,
        ..Budget::default()
    };
    Scope {
        servers,
        attempts: 1,
        ..scope(name, terms, budget)
    }
}

/// With history: the operations of clients, and the budget, are compared too.
#[test]
fn restarts_of_clients_and_proxies_lose_nothing() {
    let mut variants = one_by_one();
    variants.push(("any", Reduction::NONE));
    for scope in [
        restarts(1, "restarts", 1, 2, 0),
        restarts(1, "restarts-reads", 1, 2, 1),
        restarts(2, "client-reads", 1, 0, 1),
    ] {
        let reduced = quiet_processes(&scope, Reduction::ALL, true);
        for (name, reduction) in &variants {
            let plain = quiet_processes(&scope, *reduction, true);
            assert_same(&scope, name, &reduced, &plain);
        }
    }
}

/// Crashes without a count reach exactly the processes that a sufficient number of counted crashes
/// reaches.
#[test]
fn restarts_without_a_count_reach_what_counted_restarts_reach() {
    let uncounted = restarts(1, "restarts", 1, 2, 0);
    let counted = |crashes| {
        let mut scope = uncounted.clone();
        scope.budget.client_crashes = Limit::at_most(crashes);
        scope.budget.proxy_crashes = Limit::at_most(crashes);
        quiet_processes(&scope, Reduction::ALL, false)
    };
    let reached = quiet_processes(&uncounted, Reduction::ALL, false);
    let enough = counted(2);
    assert!(counted(1) != enough, "one crash of each suffices");
    assert!(counted(3) == enough, "two crashes of each do not suffice");
    assert_same(&uncounted, "counting crashes", &reached, &enough);
}

/// A server's responses to clients do not wait for the disk: a crash may take back a state that a
/// response revealed. So syncs are not merged in this case, and the other reductions lose nothing.
#[test]
fn clients_beside_a_crash_lose_nothing() {
    let budget = Budget {
        entries: 1,
        crashes: Limit::at_most(1),
        ..Budget::default()
    };
    let two = Scope {
        servers: 2,
        ..scope("fail-over", 1, budget)
    };
    assert!(!two.may_merge_syncs() && two.validate().is_err());
    assert_nothing_lost_by(UNMERGED, &two, &one_less_than(UNMERGED));
}

#[test]
fn one_leader_and_an_entry_lose_nothing() {
    let budget = Budget {
        entries: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("replication", 1, budget), &one_by_one());
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

/// Responses that show contact alone, beside entries in a pipeline, and a leader that crashes.
#[test]
fn quorum_checks_beside_a_pipeline_lose_nothing() {
    let drop_dead = Reduction {
        drop_dead: false,
        ..UNMERGED
    };
    for (entries, crashes) in [(1, Limit::Never), (0, Limit::Any)] {
        let budget = Budget {
            entries,
            crashes,
            ..Budget::default()
        };
        let two = scope("everything", 1, budget);
        assert_nothing_lost_by(UNMERGED, &two, &[("drop_dead", drop_dead)]);
    }
}

#[test]
fn pipeline_loses_nothing() {
    let budget = Budget {
        entries: 1,
        ..Budget::default()
    };
    assert_nothing_lost(&scope("pipelining", 1, budget), &one_by_one());
}

#[test]
fn snapshots_lose_nothing() {
    let budget = Budget {
        crashes: Limit::at_most(1),
        snapshots: Limit::at_most(1),
        ..Budget::default()
    };
    let scope = scope("snapshots", 1, budget);
    assert_nothing_lost_by(UNMERGED, &scope, &one_less_than(UNMERGED));
}

#[test]
fn snapshots_beside_an_entry_lose_nothing() {
    let budget = Budget {
        entries: 1,
        snapshots: Limit::at_most(1),
        ..Budget::default()
    };
    let scope = scope("snapshots", 1, budget);
    assert_nothing_lost_by(UNMERGED, &scope, &one_less_than(UNMERGED));
}

#[test]
fn snapshots_of_two_leaders_lose_nothing_by_forgetting_messages() {
    let budget = Budget {
        snapshots: Limit::at_most(1),
        ..Budget::default()
    };
    let some = one_less_than(UNMERGED)
        .into_iter()
        .filter(|(name, _)| ["drop_dead", "merge_restarts"].contains(name));
    let scope = scope("snapshots", 2, budget);
    assert_nothing_lost_by(UNMERGED, &scope, &some.collect::<Vec<_>>());
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

/// The cases in which trimming does the most: entries that arrive in several requests, with a crash, and
/// with a leader of another term.
#[test]
fn trimming_loses_nothing() {
    let variants = [("trim_appends", UNTRIMMED)];
    let bounds = |entries, crashes| Budget {
        entries,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    };
    assert_nothing_lost(&scope("crashes", 1, bounds(1, 1)), &variants);
    assert_nothing_lost(&scope("crashes", 2, bounds(1, 0)), &variants);
    assert_nothing_lost(&scope("pipelining", 1, bounds(1, 0)), &variants);
    assert_nothing_lost(&scope("older-term", 3, bounds(0, 0)), &variants);
}

/// While a write is pending, a request is not trimmed. Before and afterwards it is.
#[test]
fn trimming_beside_separate_syncs_loses_nothing() {
    for (name, terms, entries, crashes) in [
        ("split-entries", 1, 1, Limit::Never),
        ("split-writes", 1, 0, Limit::Any),
        ("split-writes", 2, 0, Limit::Never),
    ] {
        let budget = Budget {
            entries,
            crashes,
            ..Budget::default()
        };
        let mut two = scope(name, terms, budget);
        two.servers = 2;
        let untrimmed = Reduction {
            trim_appends: false,
            ..two.reduction
        };
        assert_nothing_lost_by(two.reduction, &two, &[("trim_appends", untrimmed)]);
    }
}
