//! The expected counts of the catalog's scopes: the documents repeat them, and a search that loses states
//! or events does not have them.

use checker::{
    engine::{Limits, SearchOutcome, SearchProgress, SearchReport, StopCause, check},
    expected_counts::Counts,
};
use model::system::{Flaw, Scope};
use std::{fs, path::Path};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(name)).expect("a document of the repository")
}

/// The counts of the states, the transitions and the depth, as the documents write them.
fn written(name: &str) -> [String; 3] {
    let Counts {
        states,
        transitions,
        depth,
    } = Counts::of_catalog(name).expect("every scope has expected counts");
    [states, transitions, depth].map(|count| {
        let digits = count.to_string();
        let groups = digits.as_bytes().rchunks(3).rev();
        let groups: Vec<_> = groups.map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    })
}

/// The cells of the rows of a table.
fn rows<'a>(text: &'a str, edge: &'a [char]) -> impl Iterator<Item = Vec<&'a str>> {
    text.lines().map(move |line| {
        let cells = line.trim_matches(edge).split(edge);
        cells.map(str::trim).collect()
    })
}

#[test]
fn readme_has_the_expected_counts_of_the_default_scopes() {
    let text = document("README.md");
    let table: Vec<_> = rows(&text, &['│', '┆'])
        .filter(|row| row.get(1) == Some(&"exhausted"))
        .collect();
    for row in &table {
        assert_eq!(row[2..5], written(row[0]), "{}", row[0]);
    }
    // All but the four scopes that run only on request.
    assert_eq!(table.len(), Scope::catalog().len() - 4);
    for name in ["elections", "elections-4"] {
        let line = format!("{name}: from each of the {} states", written(name)[0]);
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn growth_tables_have_the_expected_counts() {
    let text = document("docs/scopes.md");
    let (_, growth) = text.split_once("## Growth").expect("the section");
    let (elections, rest) = growth.split_once("The scope `crashes`").expect("a table");
    let (crashes, others) = rest.split_once("The remaining scopes").expect("a table");
    for scope in Scope::catalog() {
        let name = &scope.name;
        let budget = &scope.budget;
        let (servers, terms) = (scope.servers.to_string(), scope.terms.to_string());
        let (entries, crashed) = (budget.entries.to_string(), budget.crashes.to_string());
        let quoted = format!("`{name}`");
        let (table, key) = match name.as_str() {
            "elections" | "elections-4" | "elections-5" | "elections-5-terms" => {
                (elections, vec![&servers, &terms, &crashed])
            }
            "replication" | "crashes" => (crashes, vec![&terms, &entries, &crashed]),
            _ => (others, vec![&quoted]),
        };
        let row = rows(table, &['|'])
            .find(|row| row.len() > key.len() && row[..key.len()] == key)
            .unwrap_or_else(|| panic!("no row of {name}"));
        assert_eq!(row[key.len()..][..3], written(name), "{name}");
    }
}

fn elections(flaw: Option<Flaw>) -> Scope {
    let scope = Scope::catalog().remove(0);
    assert_eq!(scope.name, "elections");
    Scope { flaw, ..scope }
}

fn limits(threads: usize) -> Limits {
    Limits {
        threads,
        max_states: None,
        max_memory: None,
        symmetry: true,
    }
}

fn searched(scope: &Scope, threads: usize) -> SearchReport {
    check(scope, &limits(threads), &SearchProgress::default()).report
}

#[test]
fn counts_do_not_depend_on_threads() {
    let scope = elections(None);
    for threads in [1, 2, 5] {
        let report = searched(&scope, threads);
        assert!(report.passed(&scope), "{threads}: {:?}", report.outcome);
        assert_eq!(report.expected, Counts::of_catalog("elections"));
    }
}

/// The search has an empty frontier, every witness and no violation: only its counts show the loss.
#[track_caller]
fn assert_counts_differ(flaw: Flaw) -> SearchReport {
    let scope = elections(Some(flaw));
    let report = searched(&scope, 1);
    assert_eq!(report.missing(&scope), [], "{flaw:?}");
    assert!(
        matches!(
            report.outcome,
            SearchOutcome::Truncated(StopCause::UnexpectedCounts)
        ),
        "{flaw:?}: {:?}",
        report.outcome
    );
    report
}

#[test]
fn lost_successor_is_no_exhausted_scope() {
    let report = assert_counts_differ(Flaw::DropsSuccessors(100));
    let expected = report.expected.expect("counts");
    assert!(report.states < expected.states, "{report:?}");
}

#[test]
fn lost_event_is_no_exhausted_scope() {
    let report = assert_counts_differ(Flaw::OnlyLeadersCrash);
    let expected = report.expected.expect("counts");
    assert!(report.transitions < expected.transitions, "{report:?}");
}

/// A changed protocol has other counts, and bounds given on the command line have none.
#[test]
fn altered_bounds_have_no_expected_counts() {
    let scope = Scope {
        terms: 2,
        ..elections(Some(Flaw::OnlyLeadersCrash))
    };
    let report = searched(&scope, 1);
    assert!(matches!(report.outcome, SearchOutcome::Exhausted));
    assert_eq!(report.expected, None);
}
