//! The sentences in which the page is told why a law is broken, and how a search ended, are there in
//! every language of the page (`ui/assets/js/why.js`). Nobody sees one that is missing until that law
//! breaks, so they are looked for where they are written.

use std::{fs, path::Path};

type Begins = fn(char) -> bool;

/// Where they are written, and how they begin there.
const SOURCES: [(&str, Begins); 6] = [
    ("model/src/system/laws.rs", char::is_lowercase),
    ("model/src/system/history.rs", char::is_lowercase),
    ("model/src/invariants.rs", char::is_lowercase),
    ("checker/src/replay/cluster.rs", char::is_lowercase),
    ("checker/src/replay/prefixes.rs", char::is_lowercase),
    ("checker/src/explore/jobs.rs", char::is_uppercase),
];

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
            // What stands at an end may be told of with more around it.
            if !known.iter().any(|known| known.contains(&sentence)) {
                missing.push(format!("{path}: {sentence}"));
            }
        }
        assert!(seen > 0, "{path} has none: is it elsewhere now?");
    }
    assert_eq!(missing, Vec::<String>::new(), "not in ui/assets/js/why.js");
}

/// What stands in quotes in the code, out of comments and of what is said to programmers.
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

/// A sentence without what is put into it.
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
