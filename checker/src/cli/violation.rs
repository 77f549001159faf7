//! Reports a violation, or a state without progress: an explanation on the screen, and the same run in a
//! file for programs.

use crate::{
    engine::Disagreement,
    explain,
    trace::{self, Trace},
};
use anyhow::{Context, ensure};
use model::system::{Scope, System, Violation};
use program::output;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// The default file for a run: `raft-checker-SCOPE-WHAT.jsonl` in the working directory.
pub(crate) fn default_file(scope: &Scope, what: &str) -> PathBuf {
    format!("raft-checker-{}-{what}.jsonl", scope.name).into()
}

/// Checks before a long search whether a run can be written to a file. Leaves the file as it was.
///
/// # Errors
/// If it cannot: the error states the reason and the remedy.
pub(crate) fn try_file(file: &Path) -> anyhow::Result<()> {
    ensure!(
        !file.is_dir(),
        "{} is a directory: give another --trace FILE",
        file.display()
    );
    let exists = file.exists();
    if exists && !file.is_file() {
        // A pipe must not be opened twice: its reader would see an end.
        return Ok(());
    }
    File::options()
        .append(true)
        .create(true)
        .open(file)
        .with_context(|| cannot_write(file))?;
    if !exists {
        // The path may be a symbolic link to a file that did not exist.
        fs::canonicalize(file)
            .and_then(fs::remove_file)
            .with_context(|| cannot_write(file))?;
    }
    Ok(())
}

fn cannot_write(file: &Path) -> String {
    format!(
        "cannot write the run to {}: give another --trace FILE, or free disk space",
        file.display()
    )
}

/// Prints how a property is violated in a scope, and writes the run to a file. `path` leads from an
/// initial system to the one whose next step violates the property. Returns whether the run is in the
/// file; otherwise the reason is on standard error.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_violation(
    out: &mut dyn Write,
    scope: &Scope,
    violation: &Violation,
    path: &[System],
    file: &Path,
) -> anyhow::Result<bool> {
    match trace::concrete(scope, path, violation) {
        Ok(trace) => report_trace(out, &trace, file),
        Err(error) => {
            writeln!(out, "{}: {} is violated", scope.name, violation.property)?;
            writeln!(out, "  {}", violation.cause)?;
            writeln!(out, "  in the step after state {}", path.len())?;
            output::error(error.context(NO_RUN));
            Ok(false)
        }
    }
}

/// Prints how a scope reaches a state from which no new entry can be committed, and writes the run to a
/// file. `path` leads from an initial system to that state. Returns whether the run is in the file;
/// otherwise the reason is on standard error.
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
    report_path(out, scope, path, file, NO_RUN)
}

/// Prints how a scope reaches a step that the search does not have, and writes the run to a file. Returns
/// whether the run is in the file; otherwise the reason is on standard error.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_missing(
    out: &mut dyn Write,
    scope: &Scope,
    found: &Disagreement,
    file: &Path,
) -> anyhow::Result<bool> {
    if let Some(violation) = found.violation() {
        return report_violation(out, scope, violation, &found.path, file);
    }
    let mut path = found.path.clone();
    path.push(found.next.clone());
    let failed = "no real run leads to the step that the search does not have";
    report_path(out, scope, &path, file, failed)
}

fn report_path(
    out: &mut dyn Write,
    scope: &Scope,
    path: &[System],
    file: &Path,
    failed: &'static str,
) -> anyhow::Result<bool> {
    match trace::concrete_path(scope, path) {
        Ok(trace) => report_trace(out, &trace, file),
        Err(error) => {
            output::error(error.context(failed));
            Ok(false)
        }
    }
}

/// The error if a search found a violation that no real run shows.
const NO_RUN: &str = "no real run shows the violation found, so a reduction is at fault: try --no-symmetry and --no-reduction";

/// Prints a run and writes it to a file. Returns whether it is in the file; otherwise the reason is on
/// standard error.
///
/// # Errors
/// If `out` cannot be written.
pub(crate) fn report_trace(
    out: &mut dyn Write,
    trace: &Trace,
    file: &Path,
) -> anyhow::Result<bool> {
    writeln!(out, "{}", explain::explain(trace))?;
    match keep(trace, file) {
        Ok(()) => {
            writeln!(out, "This run, for programs: {}", file.display())?;
            writeln!(out)?;
            Ok(true)
        }
        Err(error) => {
            writeln!(
                out,
                "This run was not written to {}: the reason is on standard error. The verdict holds.",
                file.display()
            )?;
            writeln!(out)?;
            output::error(error);
            Ok(false)
        }
    }
}

fn keep(trace: &Trace, file: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    trace.write_jsonl(&mut lines)?;
    let failed = || cannot_write(file);
    let mut out = File::create(file).with_context(failed)?;
    if let Err(error) = out.write_all(&lines) {
        // An incomplete run is useless. The removal is best effort: the original error is more important
        // than a leftover file.
        if file.is_file() {
            let _ = fs::remove_file(file);
        }
        return Err(error).with_context(failed);
    }
    Ok(())
}
