//! The catalog of planted bugs: none survives, and every property must detect at least one.
//!
//! Bugs that need more than a moment are left to `raft-checker mutants`, which searches for all of them.

use checker::{
    catalog::{HuntEnd, Violates, entries},
    engine::{Limits, SearchOutcome, SearchProgress, StopCause, check},
    step_guard,
};
use model::{
    mutant::Mutant,
    system::{Cause, Properties, Property, Scope, Witness},
};
use std::collections::BTreeSet;

const LIMITS: Limits = Limits {
    threads: 1,
    max_states: Some(60_000),
    max_memory: None,
    symmetry: true,
};

#[test]
fn catalog_names_every_mutant_once() {
    let named: Vec<Mutant> = entries().iter().map(|entry| entry.mutant).collect();
    assert_eq!(named, Mutant::ALL);
    let names: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    assert_eq!(names.len(), Mutant::ALL.len());
}

#[test]
fn book_of_rules_names_every_mutant() {
    let rules = include_str!("../../docs/rules.md");
    for mutant in Mutant::ALL {
        let name = format!("`{}`", mutant.name());
        assert!(rules.contains(&name), "docs/rules.md lacks {name}");
    }
}

#[test]
fn document_of_properties_has_the_definition_of_each() {
    let document = include_str!("../../docs/properties.md").replace('`', "");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let found: Vec<(&str, &str)> = rows
        .filter_map(|row| {
            let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
            Some((cells.next()?, cells.next()?))
        })
        .skip(1)
        .collect();
    let expected: Vec<(&str, &str)> = Property::ALL
        .iter()
        .map(|property| (property.name(), property.summary().trim_end_matches('.')))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn no_mutant_survives_and_the_quick_ones_are_found() {
    let mut slow = Vec::new();
    for entry in entries() {
        match entry.hunt(&LIMITS, &SearchProgress::default()).end {
            HuntEnd::Found { evidence, .. } => {
                let trace = entry
                    .trace(&evidence)
                    .expect("the path is one of real steps");
                if let Violates::Property(property) = entry.violates {
                    let violation = trace.violation.map(|violation| violation.property);
                    assert_eq!(violation, Some(property), "{}", entry.mutant.name());
                }
            }
            // A bug of the catalog shows its violation; an obligation alone would hide it.
            HuntEnd::Truncated(StopCause::Obligation) => {
                panic!("{} only fails an obligation", entry.mutant.name())
            }
            HuntEnd::Truncated(_) => slow.push(entry.mutant.name()),
            HuntEnd::Survived => panic!("{} survived", entry.mutant.name()),
        }
    }
    assert!(
        slow.len() < Mutant::ALL.len() / 3,
        "too many hide: {slow:?}"
    );
}

#[test]
fn correct_core_passes_where_the_quick_mutants_are_found() {
    for mut entry in entries() {
        entry.scope.mutant = None;
        let report = check(&entry.scope, &LIMITS, &SearchProgress::default()).report;
        let (outcome, name) = (report.outcome, entry.mutant.name());
        let broke = matches!(outcome, SearchOutcome::Violated { .. });
        assert!(!broke, "{name}: {outcome:?}");
        assert_eq!(report.checked.unmet, Vec::new(), "{name}");
    }
}

/// The scope that shows a mutant, with other properties, and with a mutant or none.
fn scope_of(shown: Mutant, mutant: Option<Mutant>, properties: Properties) -> Scope {
    let mut entries = entries().into_iter();
    let entry = entries.find(|entry| entry.mutant == shown);
    Scope {
        mutant,
        properties,
        ..entry.expect("the catalog names every mutant").scope
    }
}

fn cause_of(scope: &Scope) -> Option<Cause> {
    cause_within(scope, LIMITS.max_states)
}

fn cause_within(scope: &Scope, max_states: Option<u64>) -> Option<Cause> {
    let limits = Limits {
        max_states,
        ..LIMITS
    };
    match check(scope, &limits, &SearchProgress::default())
        .report
        .outcome
    {
        SearchOutcome::Violated { violation, .. } => Some(*violation.cause),
        _ => None,
    }
}

#[test]
fn commit_majority_does_not_depend_on_the_majority_of_the_core() {
    let property = Properties::only(Property::CommitIsDurable);
    let planted = Some(Mutant::QuorumOffByOne);
    let cause = cause_of(&scope_of(Mutant::CommitsSentEntries, planted, property));
    let Some(Cause::CommittedWithoutMajority { copies, voters, .. }) = cause else {
        panic!("{cause:?}");
    };
    assert_eq!((copies, voters), (1, 3));
}

#[test]
fn write_acknowledged_without_a_majority_of_disks_is_caught() {
    let property = Properties::only(Property::AcknowledgedWritesKept);
    let planted = Some(Mutant::CommitsSentEntries);
    let cause = cause_of(&scope_of(Mutant::CommitsSentEntries, planted, property));
    let is_caught = matches!(cause, Some(Cause::AcknowledgedWithoutMajority { .. }));
    assert!(is_caught, "{cause:?}");
}

#[test]
fn witness_of_a_repeated_write_is_its_answer() {
    for (planted, is_reached) in [(None, true), (Some(Mutant::AnswerNotRetained), false)] {
        let scope = Scope {
            servers: 1,
            ..scope_of(Mutant::AnswerNotRetained, planted, Properties::NONE)
        };
        let limits = Limits {
            max_states: None,
            ..LIMITS
        };
        let report = check(&scope, &limits, &SearchProgress::default()).report;
        let reached = report.witnesses.contains(Witness::DuplicateAnswered);
        assert_eq!(reached, is_reached, "{planted:?}: {:?}", report.outcome);
    }
}

#[test]
fn stateright_checks_every_property() {
    use model::system::RaftModel;
    use stateright::Model;
    let scope = Scope::catalog().remove(0);
    let checked: Vec<&str> = RaftModel::new(step_guard::transitions(scope), false)
        .properties()
        .iter()
        .map(|property| property.name)
        .collect();
    let properties: Vec<&str> = Property::ALL
        .iter()
        .map(|property| property.name())
        .collect();
    assert_eq!(checked, properties);
}

/// A default scope finds these bugs with its own bounds and reductions, and with all properties.
#[test]
fn plain_checks_of_default_scopes_find_bugs() {
    for (name, mutant) in [
        ("older-term", Mutant::ComparesTermOfLastEntry),
        ("replication-4", Mutant::HalfOfEvenCommits),
        ("store", Mutant::LowerSequenceGetsLatestAnswer),
        ("store", Mutant::DeleteIgnoresCondition),
        ("store", Mutant::VersionsCountPerKey),
        ("store", Mutant::QuotaNotEnforced),
        ("store", Mutant::ScanOmitsLastKey),
        ("store", Mutant::ScanExceedsLimit),
        ("store", Mutant::ScanHidesRest),
        ("conditions", Mutant::LaterVersionAccepted),
        ("conditions", Mutant::FailedConditionNotRemembered),
        ("conditions", Mutant::RetryAcknowledgesItself),
        ("sessions-2", Mutant::MostRecentSessionEvicted),
        ("sessions-2", Mutant::SessionUseNotNoted),
    ] {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == name);
        let scope = Scope {
            mutant: Some(mutant),
            ..scope.expect("the scope is in the catalog")
        };
        let limits = Limits {
            max_states: None,
            ..LIMITS
        };
        let outcome = check(&scope, &limits, &SearchProgress::default())
            .report
            .outcome;
        let is_found = matches!(outcome, SearchOutcome::Violated { .. });
        assert!(is_found, "{name}, {}: {outcome:?}", mutant.name());
    }
}

/// Bugs of clients and proxies, each in a scope of the default run with the scope's own bounds and
/// reductions, and with all properties: as `check --mutant` searches.
#[test]
fn bugs_of_clients_and_proxies_are_found_in_default_scopes() {
    use Mutant::{
        ClientIdReused, ExpiredTakenForNotDone, FollowerAnswersReads, InterruptedWriteRenumbered,
        LateResponseForwarded, ProxyDowngradesReads, RetriesUnderNewSequence, SessionResumed,
        UnavailableTakenForNotDone,
    };
    let bugs = [
        (ClientIdReused, "restarts"),
        (SessionResumed, "restarts"),
        (LateResponseForwarded, "restarts"),
        (UnavailableTakenForNotDone, "restarts"),
        (ExpiredTakenForNotDone, "restarts-reads"),
        (InterruptedWriteRenumbered, "fail-over-retries"),
        (RetriesUnderNewSequence, "fail-over-retries"),
        (FollowerAnswersReads, "client-reads"),
        (ProxyDowngradesReads, "client-reads"),
    ];
    for (mutant, name) in bugs {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == name);
        let scope = Scope {
            mutant: Some(mutant),
            ..scope.expect("a scope of the catalog")
        };
        let limits = Limits {
            threads: 2,
            max_states: None,
            ..LIMITS
        };
        let outcome = check(&scope, &limits, &SearchProgress::default())
            .report
            .outcome;
        let SearchOutcome::Violated { violation, .. } = outcome else {
            panic!("{} in {name}: {outcome:?}", mutant.name());
        };
        assert_eq!(violation.property, Property::Linearizability, "{name}");
    }
}

/// The answers and pages of the store are judged by two specifications. The sequential one alone, which
/// knows no log, finds these bugs too.
#[test]
fn linearizability_alone_finds_bugs_of_the_store() {
    for (name, mutant) in [
        ("store", Mutant::DeleteKeepsKey),
        ("store", Mutant::DeleteIgnoresCondition),
        ("store", Mutant::VersionsCountPerKey),
        ("store", Mutant::QuotaNotEnforced),
        ("store", Mutant::ScanOmitsLastKey),
        ("conditions", Mutant::LaterVersionAccepted),
        ("conditions", Mutant::CommandAppliedTwice),
    ] {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == name);
        let scope = Scope {
            mutant: Some(mutant),
            properties: Properties::only(Property::Linearizability),
            ..scope.expect("the scope is in the catalog")
        };
        let cause = cause_within(&scope, None);
        let is_found = matches!(cause, Some(Cause::NotLinearizable { .. }));
        assert!(is_found, "{name}, {}: {cause:?}", mutant.name());
    }
}
