//! The page translates causes of violations by their codes. It has translations (`ui/assets/js/why.js`)
//! of the other sentences that it receives: the ends of searches, and the rejections with their reasons.
//! A missing translation would show only when that sentence occurs, so this test finds the sentences in
//! the source code.

use model::{invariants::Invariant, system::{Cause, Diagnostic}};
use std::{collections::BTreeSet, fs, path::Path};

type Begins = fn(char) -> bool;

/// The source files with sentences, and the first characters of the sentences there.
const SOURCES: [(&str, Begins); 15] = [
    ("checker/src/explore/jobs.rs", is_any),
    ("checker/src/timed.rs", is_plain),
    ("checker/src/explore.rs", is_plain),
    ("checker/src/explore/find.rs", is_plain),
    ("web/src/site.rs", is_plain),
    ("checker/src/explore/keys.rs", is_plain),
    ("checker/src/explore/script.rs", is_plain),
    ("checker/src/explore/traces.rs", is_plain),
    ("checker/src/explore/walk.rs", is_plain),
    ("checker/src/explore/world.rs", is_plain),
    ("checker/src/replay/cause.rs", is_plain),
    ("checker/src/replay/format.rs", is_plain),
    ("checker/src/replay/server.rs", is_plain),
    ("checker/src/digest_chain.rs", is_plain),
    ("checker/src/trace/jsonl.rs", is_quoting),
];

/// Strings that look like sentences but are displayed differently: in a script, in a story that the page
/// replaces by its own, as a name, or within another sentence.
const OTHERWISE: [&str; 14] = [
    "{} close session {}",
    "{} renew session {}",
    "{} is not a host name: give it without scheme and port, as in raft.example",
    "server 1 is elected; what else was sent is lost",
    "n{} down t{} log {}",
    "n{} {} log {} commit {}{}",
    " durable {}",
    "{} open session",
    "{} s{}/{} {}",
    "the network drops {} from {} to {}",
    "servers run by a clock",
    " at line ",
    "follower t{} of n{}",
    "{} {} {}",
];

fn is_plain(first: char) -> bool {
    first.is_lowercase() || first == '{'
}

fn is_quoting(first: char) -> bool {
    is_plain(first) || first == '"'
}

fn is_any(first: char) -> bool {
    first.is_alphabetic() || is_quoting(first)
}

#[test]
fn every_sentence_of_a_verdict_is_in_every_language() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let page = read("ui/assets/js/why.js").replace("\\'", "'");
    let known: Vec<String> = page
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("['"))
        .filter_map(|line| Some(blank(line.split_once("', '")?.0)))
        .collect();
    let mut missing = Vec::new();
    let mut otherwise = BTreeSet::new();
    for (path, begins) in SOURCES {
        let source = read(path);
        let (code, _tests) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
        let sentences = literals(code)
            .into_iter()
            .filter(|text| text.split(' ').count() > 2)
            .filter(|text| text.trim_start().starts_with(begins));
        let mut seen = 0;
        for sentence in sentences {
            seen += 1;
            let sentence = blank(&sentence);
            if OTHERWISE.contains(&sentence.as_str()) {
                otherwise.insert(sentence);
                continue;
            }
            // A sentence may be part of a longer one, which contains the translation.
            if !known.iter().any(|known| known.contains(&sentence)) {
                missing.push(format!("{path}: {sentence}"));
            }
        }
        assert!(seen > 0, "{path} has none: is it elsewhere now?");
    }
    assert_eq!(missing, Vec::<String>::new(), "not in ui/assets/js/why.js");
    let stale = OTHERWISE.iter().filter(|text| !otherwise.contains(**text));
    assert_eq!(stale.count(), 0, "some are nowhere now: {otherwise:#?}");
}

/// The page has a Spanish text for each cause and each invariant, and for no others.
#[test]
fn every_cause_is_in_spanish() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let texts = fs::read_to_string(root.join("ui/assets/js/lang/es/stage.js")).expect("the texts");
    let keys = |prefix: &str| -> BTreeSet<String> {
        let keys = texts.lines().filter_map(|line| {
            let key = line.trim_start().strip_prefix(prefix)?;
            Some(key.split_once("':")?.0.to_owned())
        });
        // The parts of a sentence begin with a lowercase letter.
        keys.filter(|key| key.starts_with(char::is_uppercase))
            .collect()
    };
    let codes = Cause::CODES.iter().map(|(code, _)| code.to_string());
    assert_eq!(keys("'stage.cause-"), codes.collect());
    let invariants = Invariant::ALL
        .iter()
        .map(|invariant| format!("{invariant:?}"));
    assert_eq!(keys("'stage.invariant-"), invariants.collect());
}

/// The proxy rejects requests with a code and an English sentence; the page has a text for each code.
#[test]
fn every_code_of_the_proxy_is_in_spanish() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let docs = read("docs/http.md");
    let (_, table) = docs
        .split_once("| status | code |")
        .expect("the table of codes");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let quoted = table.split('`').skip(1).step_by(2);
    let codes: BTreeSet<&str> = quoted
        .filter(|code| !code.starts_with(['/', '-']))
        .collect();
    assert!(codes.len() > 15, "{codes:?}");
    let texts = read("ui/assets/js/lang/es/live.js");
    let missing = codes
        .iter()
        .filter(|code| !texts.contains(&format!("'live.code-{code}':")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// The string literals of the code, without comments and messages for programmers.
fn literals(code: &str) -> Vec<String> {
    let lines = code.lines().map(str::trim).filter(|line| {
        let aside = ["//", "#[", ".expect(", "panic!(", "assert"];
        let is_name = line.contains(" = \"") && line.ends_with("\";");
        !is_name
            && !aside.iter().any(|start| line.starts_with(start))
            && !line.contains(".expect(\"")
    });
    let code = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    let quoted = code.replace("\\\"", "\u{1}");
    let inside = quoted.split('"').skip(1).step_by(2);
    inside.map(|text| text.replace('\u{1}', "\"")).collect()
}

/// A sentence without the inserted values.
fn blank(sentence: &str) -> String {
    let mut blank = String::new();
    for (place, part) in sentence.split('{').enumerate() {
        let rest = if place == 0 {
            part
        } else {
            blank.push_str("{}");
            part.split_once('}').map_or("", |(_, rest)| rest)
        };
        blank.push_str(rest);
    }
    blank
}
