//! The scopes and the tests of a coverage run, as child processes.

use super::{
    regions::{Export, Regions},
    toolchain::{Program, Toolchain, counters_file},
};
use crate::cli::interrupt::Interrupt;
use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

/// The regions of each source, by its path.
pub(super) type Sources = BTreeMap<String, Regions>;

/// The interval at which an interrupt is noticed.
const POLL: Duration = Duration::from_millis(50);

/// A scope of the catalog, with bounds that replace its own.
pub(super) struct Run {
    pub(super) scope: &'static str,
    pub(super) bounds: &'static str,
}

/// The scopes that are searched, the slowest first. They take a small part of the time of
/// all scopes. A line that only another scope executes needs that scope here, or names a test.
pub(super) const RUNS: &[Run] = &[
    Run {
        scope: "everything",
        bounds: "",
    },
    Run {
        scope: "pipelining-terms",
        bounds: "",
    },
    Run {
        scope: "replication",
        bounds: "",
    },
    Run {
        scope: "quorum",
        bounds: "",
    },
    // A restarted client reads.
    Run {
        scope: "restarts-reads",
        bounds: "",
    },
    Run {
        scope: "store",
        bounds: "",
    },
    Run {
        scope: "conditions",
        bounds: "",
    },
    Run {
        scope: "batches",
        bounds: "",
    },
    Run {
        scope: "sessions-2",
        bounds: "",
    },
    Run {
        scope: "restarts",
        bounds: "",
    },
    // A server whose quota differs from that of the leader.
    Run {
        scope: "mixed-settings",
        bounds: "--terms 1",
    },
    Run {
        scope: "client-reads",
        bounds: "--terms 1",
    },
    Run {
        scope: "transfers",
        bounds: "--crashes 0",
    },
    // A refused snapshot of an older term.
    Run {
        scope: "snapshots",
        bounds: "--crashes 0",
    },
    Run {
        scope: "snapshots-entries",
        bounds: "",
    },
    Run {
        scope: "older-term",
        bounds: "--terms 3",
    },
    Run {
        scope: "sessions",
        bounds: "--entries 3",
    },
    Run {
        scope: "end-to-end",
        bounds: "--entries 1",
    },
    Run {
        scope: "reads",
        bounds: "--terms 1 --reads 1",
    },
    // A candidate and a pre-candidate with two votes that are no majority.
    Run {
        scope: "quorum",
        bounds: "--servers 4 --terms 1",
    },
    Run {
        scope: "elections",
        bounds: "",
    },
    // A candidate receives a request of a client, and a request is interrupted.
    Run {
        scope: "fail-over",
        bounds: "--servers 2",
    },
    // A client reads.
    Run {
        scope: "end-to-end-reads",
        bounds: "--servers 1",
    },
];

/// The result of a search.
#[derive(Clone, Debug)]
pub(super) struct Searched {
    /// The name of the scope, and the bounds that are not its own.
    pub(super) scope: String,
    pub(super) verdict: Found,
    /// Whether the search succeeded: it also reached each required witness.
    pub(super) is_passed: bool,
}

/// A verdict in the output of `check --json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Found {
    pub(super) verdict: String,
    pub(super) states: u64,
    pub(super) transitions: u64,
    pub(super) seconds: f64,
}

impl Searched {
    /// Whether the executed lines are those of an exhausted scope that passes.
    pub(super) fn is_accepted(&self) -> bool {
        self.verdict.verdict == "exhausted" && self.is_passed
    }
}

/// Searches the scopes with the instrumented checker. Returns the verdicts, and the regions that they
/// executed. `None` after an interrupt.
pub(super) fn search(
    toolchain: &Toolchain,
    checker: &Path,
    threads: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<(Vec<Searched>, Sources)>> {
    let folders = RUNS
        .iter()
        .map(|run| toolchain.counters(&format!("scope-{}", run.name())));
    let folders = folders.collect::<anyhow::Result<Vec<_>>>()?;
    let search = |nth: usize| {
        let run = &RUNS[nth];
        let mut command = Command::new(checker);
        // The counters are exact because the search has one thread: threads would overwrite each
        // other's counters, and the counter of a branch may be the difference of two others.
        command
            .args([
                "check",
                "--json",
                "--threads",
                "1",
                "--no-progress",
                "--recheck",
                "0",
            ])
            .args(["--scope", run.scope])
            .args(run.bounds.split_whitespace())
            .envs([counters_file(&folders[nth])]);
        let Some(output) = output_of(&mut command, interrupt)? else {
            return Ok(None);
        };
        let text = String::from_utf8(output.stdout)?;
        let verdict = text.lines().next().unwrap_or_default();
        let scope = run.name();
        let Ok(verdict) = serde_json::from_str::<Found>(verdict) else {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!(
                "no verdict about the scope {scope}: {}: {}",
                output.status,
                stderr.trim_end()
            );
        };
        Ok(Some(Searched {
            scope,
            verdict,
            is_passed: output.status.success(),
        }))
    };
    let Some(searched) = in_parallel(RUNS.len(), threads, search)? else {
        return Ok(None);
    };
    let export: Export = toolchain.export(checker, &folders)?;
    Ok(Some((searched, export.by_source(&toolchain.root))))
}

impl Run {
    fn name(&self) -> String {
        format!("{} {}", self.scope, self.bounds)
            .trim_end()
            .to_owned()
    }
}

/// The regions that a test executed, or the reason why it did not run.
pub(super) type TestRun = Result<Sources, String>;

/// Runs each of these tests by itself. `None` after an interrupt.
pub(super) fn test(
    toolchain: &Toolchain,
    programs: &[Program],
    tests: &BTreeSet<&str>,
    threads: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<BTreeMap<String, TestRun>>> {
    let tests: Vec<&str> = tests.iter().copied().collect();
    let run = |nth: usize| {
        let test: &str = tests[nth];
        let found = test.split_once("::").and_then(|(name, path)| {
            let program = programs.iter().find(|program| program.is_test(name))?;
            Some((program.executable.as_deref()?, path))
        });
        let Some((program, path)) = found else {
            return Ok(Some((test.to_owned(), Err("does not exist".to_owned()))));
        };
        let run = run_test(toolchain, program, test, path, interrupt)?;
        Ok(run.map(|run| (test.to_owned(), run)))
    };
    let runs = in_parallel(tests.len(), threads, run)?;
    Ok(runs.map(|runs| runs.into_iter().collect()))
}

fn run_test(
    toolchain: &Toolchain,
    program: &Path,
    test: &str,
    path: &str,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<TestRun>> {
    let folder = toolchain.counters(&format!("test-{}", test.replace("::", "-")))?;
    let mut command = Command::new(program);
    command
        .args(["--exact", path, "--test-threads", "1"])
        .current_dir(toolchain.root.join("model"))
        .envs([counters_file(&folder)]);
    let Some(output) = output_of(&mut command, interrupt)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Ok(Some(Err("fails".to_owned())));
    }
    if !text.contains("test result: ok. 1 passed") {
        return Ok(Some(Err("does not exist".to_owned())));
    }
    let export: Export = toolchain.export(program, &[folder])?;
    Ok(Some(Ok(export.by_source(&toolchain.root))))
}

/// The results of some jobs, at most `threads` at a time. `None` if one of them was interrupted.
fn in_parallel<T: Send>(
    jobs: usize,
    threads: usize,
    job: impl Fn(usize) -> anyhow::Result<Option<T>> + Sync,
) -> anyhow::Result<Option<Vec<T>>> {
    let next = Mutex::new(0..jobs);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(nth) = next.lock().next() else {
                        return;
                    };
                    let result = job(nth);
                    done.lock().push((nth, result));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The output of a program. `None` if it was interrupted.
fn output_of(command: &mut Command, interrupt: &Interrupt) -> anyhow::Result<Option<Output>> {
    if interrupt.is_asked() {
        return Ok(None);
    }
    let name = PathBuf::from(command.get_program());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.with_context(|| format!("cannot start {}", name.display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if interrupt.is_asked() {
                child.kill()?;
            }
            thread::sleep(POLL);
        };
        let stdout = stdout.join().expect("the reader does not panic")?;
        let stderr = stderr.join().expect("the reader does not panic")?;
        Ok((!interrupt.is_asked()).then_some(Output {
            status,
            stdout,
            stderr,
        }))
    })
}

fn read_all(pipe: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
