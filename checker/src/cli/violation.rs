//! What a violation, or a state without progress, looks like: a story on the screen, and the same
//! run in a file for programs.

use crate::{
    story,
    trace::{self, Trace},
};
use anyhow::Context;
use model::system::{Broken, Scope, System};
use program::output;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// The file a run goes to unless told: `raft-checker-SCOPE-WHAT.jsonl` in the working directory.
pub(crate) fn default_file(scope: &Scope, what: &str) -> PathBuf {
    format!("raft-checker-{}-{what}.jsonl", scope.name).into()
}

/// Tells how a law is broken in a scope, and keeps the run in a file. `path` leads from an initial
/// system to the one whose next step breaks the law. Returns whether the run is in the file; if it
/// is not, standard error says why.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_violation(
    out: &mut dyn Write,
    scope: &Scope,
    broken: &Broken,
    path: &[System],
    file: &Path,
) -> anyhow::Result<bool> {
    match trace::concrete(scope, path, broken) {
        Ok(trace) => report_trace(out, &trace, file),
        Err(error) => {
            writeln!(out, "{}: {} is violated", scope.name, broken.law)?;
            writeln!(out, "  {}", broken.why)?;
            writeln!(out, "  in the step after state {}", path.len())?;
            output::error(error.context(NO_RUN));
            Ok(false)
        }
    }
}

/// Tells how a scope comes to a state from which nothing new can be committed, and keeps the run
/// in a file. `path` leads from an initial system to that state. Returns whether the run is in the
/// file; if it is not, standard error says why.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_stuck(
    out: &mut dyn Write,
    scope: &Scope,
    path: &[System],
    file: &Path,
) -> anyhow::Result<bool> {
    if path.is_empty() {
        output::error(
            "the search for a path to the stuck state was interrupted, so there is no trace",
        );
        return Ok(false);
    }
    match trace::concrete_path(scope, path) {
        Ok(trace) => report_trace(out, &trace, file),
        Err(error) => {
            output::error(error.context(NO_RUN));
            Ok(false)
        }
    }
}

/// What is wrong if a search found what no real run shows.
const NO_RUN: &str = "no real run shows what the search found, so a reduction is at fault: try --no-symmetry and --no-reduction";

/// Tells a run and keeps it in a file. Returns whether it is in the file; if it is not, standard
/// error says why.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_trace(
    out: &mut dyn Write,
    trace: &Trace,
    file: &Path,
) -> anyhow::Result<bool> {
    writeln!(out, "{}", story::tell(trace))?;
    match keep(trace, file) {
        Ok(()) => {
            writeln!(out, "This run, for programs: {}", file.display())?;
            writeln!(out)?;
            Ok(true)
        }
        Err(error) => {
            output::error(error);
            Ok(false)
        }
    }
}

fn keep(trace: &Trace, file: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    trace.write_jsonl(&mut lines)?;
    let failed = || {
        format!(
            "cannot write the run to {}: give another --trace FILE, or make room",
            file.display()
        )
    };
    let mut out = File::create(file).with_context(failed)?;
    if let Err(error) = out.write_all(&lines) {
        // Half a run is none. Best effort: the error at hand matters more than a file left over.
        if file.is_file() {
            let _ = fs::remove_file(file);
        }
        return Err(error).with_context(failed);
    }
    Ok(())
}
