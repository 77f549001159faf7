//! What the checker makes of it.

use crate::process;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A verdict: the exit code, and the JSON lines that came with it.
#[derive(Debug)]
pub struct Verdict {
    /// The exit code.
    pub code: Option<i32>,
    /// What was printed.
    pub lines: Vec<Value>,
    /// What was said beside it.
    pub errors: String,
}

/// Has histories judged together.
pub fn linearize(histories: &[PathBuf]) -> Verdict {
    ask("linearize", histories)
}

/// Has the traces of all servers of a cluster stepped again.
pub fn replay(traces: &[PathBuf]) -> Verdict {
    ask("replay", traces)
}

/// The same, with no search beside it.
fn replay_alone(traces: &[PathBuf]) -> Verdict {
    let mut all = vec![PathBuf::from("--no-search")];
    all.extend_from_slice(traces);
    ask("replay", &all)
}

/// That what clients saw can be, and that they saw at least so many operations end.
///
/// # Panics
/// If not.
pub fn assert_linearizable(history: &Path, at_least: u64) {
    let verdict = linearize(&[history.to_owned()]);
    assert_eq!(verdict.code, Some(0), "{verdict:#?}");
    let count = |name: &str| verdict.last()[name].as_u64().unwrap_or(0);
    assert!(
        count("operations") >= at_least + count("unknown"),
        "too few: {verdict:?}"
    );
    eprintln!("  linearizable: {}", verdict.last());
}

/// That the servers did what the checked core does.
///
/// # Panics
/// If not.
pub fn assert_replays(traces: &[PathBuf]) {
    let verdict = replay_alone(traces);
    assert_eq!(verdict.code, Some(0), "{verdict:#?}");
    assert_eq!(verdict.last()["verdict"], "accepted");
    assert_eq!(verdict.last()["servers"], traces.len());
    eprintln!("  replayed: {}", verdict.last());
}

impl Verdict {
    /// The last line, which is the verdict on all.
    ///
    /// # Panics
    /// If nothing was printed.
    pub fn last(&self) -> &Value {
        self.lines
            .last()
            .unwrap_or_else(|| panic!("the checker said nothing: {}", self.errors))
    }
}

fn ask(command: &str, files: &[PathBuf]) -> Verdict {
    let mut arguments = vec![command.to_owned(), "--json".to_owned()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let output = process::run("raft-checker", &arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("no JSON"));
    Verdict {
        code: output.status.code(),
        lines: lines.collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
