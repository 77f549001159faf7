//! The settings of scopes beside those of production.

use super::*;
use crate::system::Limit;
use alloc::{string::String, vec};

/// The differences of a scope's settings from those of production: the name of the setting, and
/// whether the scope has a lower number or `false` in place of `true`.
///
/// The pattern has no `..`, so that a new setting must be compared.
fn differences(production: &Config, scope: &Config) -> Vec<(&'static str, bool)> {
    let Config {
        voters,
        max_entries_per_append,
        max_bytes_per_append,
        max_entries_in_flight,
        max_bytes_in_flight,
        max_uncommitted_entries,
        max_uncommitted_bytes,
        max_pending_reads,
        pre_vote,
        check_quorum,
        max_sessions,
        session_window,
        state_quota,
        trailing_bytes,
        snapshot_patience,
        #[cfg(feature = "mutants")]
        mutant,
    } = scope;
    assert_eq!(*voters, production.voters);
    #[cfg(feature = "mutants")]
    assert_eq!(*mutant, production.mutant);
    let size = |name, of: &usize, was: &usize| (name, *of as u64, *was as u64);
    let numbers = [
        size(
            "batch",
            max_entries_per_append,
            &production.max_entries_per_append,
        ),
        size(
            "batch bytes",
            max_bytes_per_append,
            &production.max_bytes_per_append,
        ),
        size(
            "window",
            max_entries_in_flight,
            &production.max_entries_in_flight,
        ),
        size(
            "window bytes",
            max_bytes_in_flight,
            &production.max_bytes_in_flight,
        ),
        size(
            "uncommitted",
            max_uncommitted_entries,
            &production.max_uncommitted_entries,
        ),
        size(
            "uncommitted bytes",
            max_uncommitted_bytes,
            &production.max_uncommitted_bytes,
        ),
        size("reads", max_pending_reads, &production.max_pending_reads),
        ("pre-vote", (*pre_vote).into(), production.pre_vote.into()),
        (
            "check-quorum",
            (*check_quorum).into(),
            production.check_quorum.into(),
        ),
        (
            "sessions",
            (*max_sessions).into(),
            production.max_sessions.into(),
        ),
        ("session window", *session_window, production.session_window),
        ("quota", *state_quota, production.state_quota),
        size("trailing bytes", trailing_bytes, &production.trailing_bytes),
        (
            "patience",
            (*snapshot_patience).into(),
            production.snapshot_patience.into(),
        ),
    ];
    let different = numbers.into_iter().filter(|(_, of, was)| of != was);
    different.map(|(name, of, was)| (name, of < was)).collect()
}

/// A scope differs from production in reduced numbers and in the features that it declares.
fn undeclared(scope: &Scope) -> Vec<&'static str> {
    const NUMBERS: [&str; 7] = [
        "batch",
        "window",
        "sessions",
        "session window",
        "quota",
        "trailing bytes",
        "patience",
    ];
    let disabled = scope.disabled_features();
    let config = scope.config();
    let is_declared = |name: &str| match name {
        "pre-vote" => disabled.contains(&Feature::PreVote),
        "check-quorum" => disabled.contains(&Feature::CheckQuorum),
        // A number that disables a feature is declared as that feature.
        "window" if config.max_entries_in_flight == 0 => disabled.contains(&Feature::Pipelining),
        "batch" if config.max_entries_per_append == 1 => disabled.contains(&Feature::EntryBatching),
        "trailing bytes" if config.trailing_bytes == 0 => {
            disabled.contains(&Feature::TrailingEntries)
        }
        name => NUMBERS.contains(&name),
    };
    let found = differences(&Config::production(scope.nodes().collect()), &config);
    let wrong = found
        .into_iter()
        .filter(|(name, is_reduced)| !is_reduced || !is_declared(name));
    wrong.map(|(name, _)| name).collect()
}

#[test]
fn scopes_differ_from_production_only_as_they_declare() {
    for scope in Scope::catalog() {
        assert_eq!(undeclared(&scope), Vec::<&str>::new(), "{}", scope.name);
    }
}

#[test]
fn feature_is_enabled_by_its_setting_alone() {
    let everything = Scope {
        pre_vote: true,
        check_quorum: true,
        window: 2,
        together: true,
        trailing_bytes: 64,
        ..Scope::new("mine", "")
    };
    let bare = Scope {
        append_entries: false,
        ..Scope::new("mine", "")
    };
    let mut enabled = everything.clone();
    enabled.budget.entries = 2;
    enabled.budget.reads = 1;
    enabled.budget.snapshots = Limit::Any;
    enabled.budget.transfers = Limit::Any;
    assert_eq!(enabled.disabled_features(), [Feature::Proxy]);
    let config = enabled.config();
    assert!(config.pre_vote && config.check_quorum);
    assert_eq!(config.max_entries_in_flight, 2);
    assert_eq!(config.trailing_bytes, 64);
    assert_eq!(bare.disabled_features(), Feature::ALL);
    enabled.plans = vec![Vec::new()];
    enabled.direct_clients = false;
    assert_eq!(enabled.disabled_features(), [Feature::RequestBatching]);
}

#[test]
fn numbers_above_production_have_no_effect() {
    let mut scope = Scope::new("mine", "");
    let production = Config::production(scope.nodes().collect());
    scope.batch = usize::MAX;
    scope.window = usize::MAX;
    scope.trailing_bytes = usize::MAX;
    scope.budget.snapshots = Limit::Any;
    let config = scope.config();
    assert_eq!(
        config.max_entries_per_append,
        production.max_entries_per_append
    );
    assert_eq!(
        config.max_entries_in_flight,
        production.max_entries_in_flight
    );
    assert_eq!(config.trailing_bytes, production.trailing_bytes);
}

#[test]
fn every_feature_has_its_own_name() {
    let mut names: Vec<&str> = Feature::ALL.iter().map(|one| one.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Feature::ALL.len());
    for feature in Feature::ALL {
        let about = String::from(feature.about());
        assert!(about.ends_with('.') && !about.starts_with(' '), "{about}");
    }
}
