//! Runs `raft-checker` on histories and traces.

use crate::{Cluster, Load, process};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A verdict: the exit code and the JSON lines.
#[derive(Debug)]
pub struct Verdict {
    /// The exit code.
    pub code: Option<i32>,
    /// The JSON lines on standard output.
    pub lines: Vec<Value>,
    /// The text on standard error.
    pub errors: String,
}

/// Ends a cluster and its load. Checks that every process still runs, no acknowledged write is lost, the
/// history is linearizable, and the traces replay.
///
/// # Panics
/// If one of these is false.
pub fn assert_sound(mut cluster: Cluster, load: Load) {
    let history = load.finish();
    cluster.leader();
    cluster.assert_all_run();
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    assert_linearizable(&path, 100);
    assert_replays(&cluster.traces());
}

/// Checks the linearizability of several histories together.
pub fn linearize(histories: &[PathBuf]) -> Verdict {
    ask("linearize", histories)
}

/// Replays the traces of all servers of a cluster.
pub fn replay(traces: &[PathBuf]) -> Verdict {
    ask("replay", traces)
}

/// Replays traces without a search.
fn replay_alone(traces: &[PathBuf]) -> Verdict {
    let mut all = vec![PathBuf::from("--no-search")];
    all.extend_from_slice(traces);
    ask("replay", &all)
}

/// Asserts that the history is linearizable and contains at least this number of completed operations.
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

/// Asserts that the servers behaved like the checked core.
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
    /// The last line, which is the overall verdict.
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
