//! The canonical form of a system: one form for all systems that differ only by a permutation of the
//! servers, with one encoding.

use checker::{
    engine::{Explored, Limits, SearchProgress, check},
    step_guard,
};
use model::system::{Budget, Limit, Permutation, Reduction, Relabel, Scope, System};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::collections::BTreeMap;

fn scope(name: &str) -> Scope {
    let mut scopes = Scope::catalog().into_iter();
    let found = scopes.find(|scope| scope.name == name);
    found.unwrap_or_else(|| panic!("there is no scope {name}"))
}

fn bounded(name: &str, terms: u64, budget: Budget) -> Scope {
    Scope {
        terms,
        budget,
        ..scope(name)
    }
}

fn budget(entries: u8, reads: u8, crashes: u8) -> Budget {
    Budget {
        entries,
        reads,
        crashes: Limit::at_most(crashes),
        ..Budget::default()
    }
}

fn explore(scope: &Scope, symmetry: bool) -> Explored {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry,
    };
    check(scope, &limits, &SearchProgress::default())
}

/// Every state is in the same class as its permutations, and the search with symmetry reduction counts
/// the classes.
#[track_caller]
fn assert_classes_are_orbits(scope: &Scope) {
    let plain = explore(scope, false);
    let mut classes: BTreeMap<System, u64> = BTreeMap::new();
    for place in 0..plain.states.len() {
        let system = plain.tables.system(&plain.states.key(place));
        *classes.entry(system.canonical()).or_default() += 1;
    }
    let reported = explore(scope, true).report.states;
    assert_eq!(classes.len() as u64, reported, "{}", scope.name);
    let all = Permutation::all(scope.servers as usize);
    let mut symmetric = 0;
    for (canonical, size) in classes {
        let renamed: Vec<System> = all.iter().map(|names| canonical.relabel(names)).collect();
        let fixed = renamed.iter().filter(|system| **system == canonical);
        let stabilizer = fixed.count() as u64;
        assert_eq!(size * stabilizer, all.len() as u64, "{canonical:#?}");
        symmetric += u64::from(stabilizer > 1);
        for system in renamed {
            assert_eq!(system.canonical(), canonical);
        }
    }
    assert!(symmetric > 0, "{}: no state is symmetric", scope.name);
}

#[test]
fn orbits_of_elections_are_classes() {
    assert_classes_are_orbits(&bounded("elections", 2, budget(0, 0, 0)));
    assert_classes_are_orbits(&bounded("elections", 1, budget(0, 0, 1)));
}

#[test]
fn orbits_of_four_servers_are_classes() {
    assert_classes_are_orbits(&bounded("elections-4", 1, budget(0, 0, 0)));
}

#[test]
fn orbits_of_logs_and_reads_are_classes() {
    assert_classes_are_orbits(&bounded("replication", 1, budget(1, 0, 0)));
    assert_classes_are_orbits(&bounded("reads", 1, budget(0, 1, 0)));
    let mut two_leaders = bounded("replication", 2, budget(1, 0, 0));
    two_leaders.servers = 2;
    assert_classes_are_orbits(&two_leaders);
}

/// Here messages and proxies contain server ids, too.
#[test]
fn orbits_with_clients_are_classes() {
    let mut scope = scope("fail-over");
    // An initial leader would be distinguishable from the other servers.
    scope.starts_with_leader = false;
    (scope.servers, scope.terms) = (2, 1);
    (scope.budget.entries, scope.attempts) = (1, 1);
    assert_classes_are_orbits(&scope);
}

#[test]
fn orbits_without_reductions_are_classes() {
    let mut scope = bounded("elections", 1, budget(0, 0, 0));
    scope.reduction = Reduction::NONE;
    assert_classes_are_orbits(&scope);
}

/// A system that these choices lead to.
fn wander(scope: &Scope, choices: &[Index]) -> System {
    let transitions = step_guard::transitions(scope.clone());
    let mut system = transitions.start();
    for choice in choices {
        let actions = transitions.actions(&system).into_iter();
        let mut ways: Vec<System> = actions
            .filter_map(|action| transitions.next(&system, &action))
            .map(|(next, _)| next)
            .filter(|next| *next != system)
            .collect();
        if ways.is_empty() {
            break;
        }
        system = ways.swap_remove(choice.index(ways.len()));
    }
    system
}

fn any_system() -> impl Strategy<Value = System> {
    let names = [
        "crashes",
        "split-writes",
        "reads",
        "snapshots",
        "end-to-end",
        "restarts",
        "client-reads",
        "elections-4",
    ];
    let choices = vec(any::<Index>(), 0..30);
    (prop::sample::select(names.to_vec()), choices)
        .prop_map(|(name, choices)| wander(&scope(name), &choices))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn canonical_form_is_the_same_under_all_names(system in any_system()) {
        let canonical = system.canonical();
        prop_assert_eq!(&canonical.canonical(), &canonical);
        let servers = system.processes.iter().filter_map(|process| process.server());
        let mut is_own = false;
        for names in Permutation::all(servers.count()) {
            prop_assert_eq!(&system.relabel(&names).canonical(), &canonical);
            is_own |= system.relabel(&names) == canonical;
        }
        prop_assert!(is_own, "it is another system's");
    }

    #[test]
    fn canonical_form_travels_as_bytes_and_no_other_bytes_say_it(
        system in any_system(),
        at in any::<Index>(),
        bits in 1_u8..,
    ) {
        let canonical = system.canonical();
        let bytes = canonical.encode();
        prop_assert_eq!(&System::decode(&bytes).expect("it was encoded"), &canonical);
        for length in 0..bytes.len() {
            prop_assert!(System::decode(&bytes[..length]).is_err(), "of length {}", length);
        }
        prop_assert!(System::decode(&[&bytes[..], &[0]].concat()).is_err());
        let mut altered = bytes.clone();
        altered[at.index(bytes.len())] ^= bits;
        if let Ok(other) = System::decode(&altered) {
            prop_assert_ne!(other, canonical);
        }
    }
}
