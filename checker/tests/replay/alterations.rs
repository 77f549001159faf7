//! Altered, missing and repeated lines.

use crate::{Files, World, sample, sealed};
use checker::replay::{Conditions, Rejection, ReplayReport, Source, replay};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::atomic::{AtomicBool, AtomicU64},
};

/// Checks the given traces of a cluster.
fn checked_texts(texts: &BTreeMap<String, String>) -> Result<ReplayReport, Rejection> {
    let sources = texts
        .iter()
        .map(|(file, text)| Source::new(file, Cursor::new(text.clone().into_bytes())));
    let (lines, interrupt) = (AtomicU64::new(0), AtomicBool::new(false));
    let conditions = Conditions {
        used_disks: false,
        checks_refinement: true,
        lines: &lines,
        interrupt: &interrupt,
    };
    replay(sources.collect(), conditions)
}

/// The alteration of any field of any line is rejected with this line: the digest is wrong, or the line
/// cannot be parsed.
#[test]
fn any_altered_field_of_any_line_is_rejected_with_just_that_line() {
    let mut world = World::new(3, None, 7);
    world.run(150);
    let files = world.files();
    let texts: BTreeMap<_, _> = files
        .0
        .iter()
        .map(|(file, lines)| (file.clone(), sealed(lines)))
        .collect();
    checked_texts(&texts).expect("honest");
    let mut tried = 0;
    for (file, text) in &texts {
        let lines = Vec::from_iter(text.lines().map(str::to_owned));
        for (place, line) in lines.iter().enumerate() {
            let value: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(rewritten(value.clone()), *line, "nothing altered");
            // One alteration of each field: for a digest, all alterations are equivalent.
            let mut paths = BTreeSet::new();
            let each_field = alterations(&value)
                .into_iter()
                .filter(|(path, _)| paths.insert(path.clone()));
            for (path, other) in each_field {
                tried += 1;
                let mut lines = lines.clone();
                lines[place] = rewritten(other);
                let mut texts = texts.clone();
                texts.insert(file.clone(), lines.join("\n") + "\n");
                let rejection = checked_texts(&texts).expect_err("altered");
                let told = rejection.to_string();
                let named = format!("{file}:{}: ", place + 1);
                assert!(told.starts_with(&named), "{named}{path}: {told}");
                // The kind of the file is checked before its contents.
                let is_header = line.contains("\"trace\":");
                let is_kind = is_header && ["/trace", "/version"].contains(&path.as_str());
                let why = if is_kind {
                    "this is a trace of"
                } else {
                    "digest"
                };
                assert!(told.contains(why), "{named}{path}: {told}");
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}

/// A line as it was written: its digest comes last.
fn rewritten(mut line: Value) -> String {
    let digest = line.as_object_mut().expect("a line").remove("digest");
    let text = line.to_string();
    let body = text.strip_suffix('}').expect("an object");
    format!("{body},\"digest\":{}}}", digest.unwrap_or_default())
}

/// Every alteration of one field of a value, with the path to the field: numbers plus and minus one,
/// texts changed, flags inverted, elements removed.
fn alterations(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    match value {
        Value::Null => {}
        Value::Bool(flag) => found.push((String::new(), (!flag).into())),
        Value::Number(number) => {
            let number = number.as_i64().expect("a small number");
            found.push((String::new(), (number + 1).into()));
            if number > 0 {
                found.push((String::new(), (number - 1).into()));
            }
        }
        Value::String(text) => {
            // An alteration of every character would take too long: only the first and the last.
            for place in [0, text.len() - 1] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
                let other = String::from_utf8(bytes).expect("text");
                found.push((String::new(), other.into()));
            }
        }
        Value::Array(elements) => {
            for place in 0..elements.len() {
                let mut fewer = elements.clone();
                fewer.remove(place);
                found.push((format!("/{place} left out"), fewer.into()));
                for (path, other) in alterations(&elements[place]) {
                    let mut changed = elements.clone();
                    changed[place] = other;
                    found.push((format!("/{place}{path}"), changed.into()));
                }
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                for (path, other) in alterations(inner) {
                    let mut changed = fields.clone();
                    changed[name] = other;
                    found.push((format!("/{name}{path}"), changed.into()));
                }
            }
        }
    }
    found
}

/// Whether an alteration gives another valid trace, because the rest of the trace does not depend on it:
/// * Nothing else depends on the name of a run.
/// * Client requests come from outside. If a request had no effect in the trace (a server refused it
///   because it was not the leader, or a read returned the same value), it could have been different.
/// * Of several writes, fewer may have been reported durable first.
/// * Another message of the same server may have been received in place of this one, and also been
///   ignored.
fn is_free(files: &Files, file: &str, path: &str, step: &Value) -> bool {
    path == "/boot"
        || path == "/event/Persisted"
        || ((path.starts_with("/event/Requests/")
            || path.starts_with("/event/RequestsUnderBackpressure/"))
            && (step["effects"]["write"].is_null() || !path.contains("/operation/")))
        || files.have_sent(file, step)
}

#[test]
fn any_altered_field_is_rejected_with_its_line() {
    let mut world = World::new(3, None, 7);
    world.run(500);
    let files = world.files();
    let report = files.checked().expect("honest");
    assert!(report.runs > 3 && report.committed > 5, "{report:?}");
    let (mut tried, mut exact, mut free) = (0, 0, 0);
    for (file, lines) in &files.0 {
        for line in (0..lines.len()).step_by(23).chain([lines.len() - 1]) {
            let value: Value = serde_json::from_str(&lines[line]).expect("JSON");
            for (path, other) in alterations(&value) {
                tried += 1;
                let place = format!("{file}:{}", line + 1);
                match files.altered(file, line, &other).checked() {
                    Ok(_) => {
                        let is_free = is_free(&files, file, &path, &other);
                        assert!(is_free, "{place}{path} altered is accepted: {other}");
                        free += 1;
                    }
                    Err(rejection) => {
                        let told = rejection.to_string();
                        let names = |end: char| told.contains(&format!("{place}{end}"));
                        exact += u32::from(names(':') || names(' '));
                    }
                }
            }
        }
    }
    // An alteration of an input whose effect the server sends only later is found later.
    assert!(tried > 500, "{tried}");
    assert!(free * 10 < tried, "{free} of {tried} accepted");
    assert!(
        (exact + free) * 100 > tried * 97,
        "{exact} of {tried} by their line, {free} accepted"
    );
}

#[test]
fn lines_left_out_or_doubled_are_rejected() {
    let files = sample();
    for (file, lines) in &files.0 {
        for line in (0..lines.len() - 1).step_by(17) {
            // A run may have ended one step earlier: then no other server received a message of its last
            // step.
            if lines[line + 1].contains("\"trace\"") {
                continue;
            }
            let mut fewer = files.clone();
            fewer.0.get_mut(file).expect("a file").remove(line);
            fewer.rejected();
            let mut more = files.clone();
            more.0
                .get_mut(file)
                .expect("a file")
                .insert(line, lines[line].clone());
            more.rejected();
        }
    }
}
