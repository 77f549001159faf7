//! The guided tours of the browser: `ui/assets/tours/NAME.json` contains the events and the texts, and
//! the `.jsonl` files beside it contain the resulting steps of the core.
//!
//! The tests execute each tour again, and the files must equal the result byte by byte;
//! `UPDATE_GOLDENFILES=1` writes them. The assertions of the cards must hold, every card must have a text
//! in both languages, and the parts that it points at must exist. `docs/tours.md` describes how to write
//! a tour.

#[path = "tours/assertions.rs"]
mod assertions;
#[path = "tours/script.rs"]
mod script;

use anyhow::{Context, Result, ensure};
use checker::trace::{Trace, read_jsonl};
use script::{Part, Tour};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// The tours, in the order of the page.
const TOURS: &[&str] = &[
    "election",
    "split-vote",
    "replication",
    "leader-crash",
    "figure-8",
    "partition",
    "exactly-once",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/tours")
}

fn read(file: &str) -> Result<String> {
    let path = folder().join(file);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

fn tour(name: &str) -> Result<Tour> {
    serde_json::from_str(&read(&format!("{name}.json"))?)
        .with_context(|| format!("{name}.json is no tour"))
}

/// Executes a part, and writes the result or compares it.
fn perform(part: &Part) -> Result<Trace> {
    let actions = script::actions(part)?;
    let trace = Trace::run(&script::scope(part)?, &actions)?;
    let mut written = Vec::new();
    trace.write_jsonl(&mut written)?;
    let file = format!("{}.jsonl", part.trace);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        fs::write(folder().join(&file), &written).with_context(|| format!("writing {file}"))?;
    }
    ensure!(
        read(&file)?.as_bytes() == written,
        "{file} is not what the core does: UPDATE_GOLDENFILES=1 writes it anew"
    );
    let again = read_jsonl(written.as_slice())?;
    ensure!(again.steps == trace.steps, "{file} reads back otherwise");
    Ok(trace)
}

fn check(name: &str) -> Result<()> {
    let tour = tour(name)?;
    ensure!(tour.name == name, "{name}.json is called {}", tour.name);
    let cards: usize = tour.parts.iter().map(|part| part.cards.len()).sum();
    ensure!(
        (8..=28).contains(&cards),
        "{cards} cards are too few or too many for a walk"
    );
    tour.title.check("the title")?;
    tour.summary.check("the summary")?;
    for part in &tour.parts {
        let trace = perform(part).with_context(|| format!("part {}", part.trace))?;
        if tour.parts.len() > 1 {
            let title = part.title.as_ref().context("a part has no title")?;
            title.check("the title of a part")?;
        }
        assertions::check(part, &trace).with_context(|| format!("part {}", part.trace))?;
    }
    Ok(())
}

macro_rules! tours {
    ($($test:ident = $name:literal,)+) => {$(
        #[test]
        fn $test() {
            if let Err(error) = check($name) {
                panic!("tour {}: {error:#}", $name);
            }
        }
    )+};
}

tours! {
    election = "election",
    split_vote = "split-vote",
    replication = "replication",
    leader_crash = "leader-crash",
    figure_8 = "figure-8",
    partition = "partition",
    exactly_once = "exactly-once",
}

/// Figure 8 is shown three times with one schedule: the schedules must be equal, and only the planted
/// bug may cause a violation.
#[test]
fn figure_8_differs_by_the_planted_bug_alone() {
    let tour = tour("figure-8").expect("it is there");
    let [bug, same, other] = tour.parts.as_slice() else {
        panic!("three parts: the bug, the same without it, and what commits");
    };
    let directives = |part: &Part| -> Vec<String> {
        let cards = part.cards.iter();
        cards.flat_map(|card| card.events.clone()).collect()
    };
    let (with, without) = (directives(bug), directives(same));
    assert_eq!(with, without[..with.len()]);
    assert!(script::scope(bug).expect("it is one").mutant.is_some());
    for part in [same, other] {
        assert!(script::scope(part).expect("it is one").mutant.is_none());
    }
    let property = |part| {
        let trace = perform(part).expect("it can be executed");
        trace.violation.map(|violation| violation.property.name())
    };
    assert_eq!(property(bug), Some("Leader Completeness"));
    assert_eq!((property(same), property(other)), (None, None));
}

/// The folder has no file of a removed tour, and the page's list equals this one.
#[test]
fn folder_holds_the_tours_and_nothing_else() {
    let mut expected: BTreeSet<String> = ["index.json".into()].into();
    for name in TOURS {
        expected.insert(format!("{name}.json"));
        let parts = tour(name).expect("it is there").parts;
        expected.extend(parts.iter().map(|part| format!("{}.jsonl", part.trace)));
    }
    let found: BTreeSet<String> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, expected);
    let index: Vec<String> =
        serde_json::from_str(&read("index.json").expect("it is there")).expect("it is a list");
    assert_eq!(index, TOURS);
}
