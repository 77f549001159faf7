//! The page has a text for each code of a diagnostic, with the parameters of that code.

use super::{
    BadFiles, BadRequest,
    find::NoContinuation,
    jobs::BadJob,
    keys::BadKey,
    script::NoScript,
    verdict::{Limit, NotConfirmed, SearchGoal, SearchResult},
    walk::Refusal,
    world::BadWorld,
};
use crate::{
    digest_chain::BadDigest,
    progress::NoProgress,
    replay::{Disagreement, ReplayStop, Unreadable},
    timed::{Situation, TimedFailure},
    trace::{BadTraceLine, ImpossibleStep},
};
use model::system::{Cause, Diagnostic, scope::BadBound};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// All codes, each with its parameters.
fn codes() -> Vec<(&'static str, &'static [&'static str])> {
    let types = [
        BadBound::CODES,
        BadDigest::CODES,
        BadFiles::CODES,
        BadJob::CODES,
        BadKey::CODES,
        BadRequest::CODES,
        BadTraceLine::CODES,
        BadWorld::CODES,
        Cause::CODES,
        Disagreement::CODES,
        ImpossibleStep::CODES,
        Limit::CODES,
        NoContinuation::CODES,
        NoProgress::CODES,
        NoScript::CODES,
        NotConfirmed::CODES,
        Refusal::CODES,
        ReplayStop::CODES,
        SearchGoal::CODES,
        SearchResult::CODES,
        Situation::CODES,
        TimedFailure::CODES,
        Unreadable::CODES,
    ];
    types.concat()
}

/// The texts of the page by code.
fn texts() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/js/lang/es/diagnostic.js");
    let source = fs::read_to_string(file).expect("the texts");
    let entries = source.split("\n  'diagnostic.").skip(1);
    entries
        .map(|entry| {
            let (code, text) = entry.split_once("':").expect("a key");
            (code.to_owned(), text.to_owned())
        })
        .collect()
}

/// The parameters that a text inserts: `{name}`, or `{name|one|other}` for its number.
fn parameters(text: &str) -> BTreeSet<&str> {
    let inserted = text.split('{').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once('}')?;
        Some(inside.split('|').next().unwrap_or(inside))
    });
    inserted.collect()
}

#[test]
fn codes_are_unique() {
    let codes = codes();
    let names: BTreeSet<&str> = codes.iter().map(|(code, _)| *code).collect();
    assert_eq!(names.len(), codes.len());
}

#[test]
fn page_has_a_text_for_each_code_and_for_no_other() {
    let texts = texts();
    let known: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
    let codes: BTreeSet<&str> = codes().into_iter().map(|(code, _)| code).collect();
    assert_eq!(known, codes);
}

#[test]
fn texts_insert_the_parameters_of_their_code() {
    let texts = texts();
    for (code, expected) in codes() {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let text = &texts[code];
        assert_eq!(parameters(text), expected, "{code}: {text}");
    }
}
