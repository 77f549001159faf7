//! `check --certificate FILE`: the visited set of one scope as whole states, for `verify`.

use super::{
    Exit,
    format::{counted_grouped, time},
    interrupt::Interrupt,
    progress_bar,
    verdict::Verdict,
};
use crate::{
    certificate::{self, Summary},
    engine::Explored,
    interrupted::Interrupted,
    verify,
};
use program::output;
use serde::Serialize;
use std::{
    io::{self, Write},
    path::Path,
};

const INTERRUPTED: &str = "interrupted while writing";
const FAILED: &str =
    "the file cannot be written. Free disk space or give another path, and run the check again";

/// The result of a request for a certificate.
pub(crate) enum Certified {
    /// The certificate is in the file.
    Written(Summary),
    /// There is nothing to certify, for this reason.
    Withheld(String),
    /// The writing was interrupted.
    Interrupted,
    /// The certificate could not be written.
    Failed(anyhow::Error),
}

/// The line of `--json`.
#[derive(Serialize)]
struct CertificateJson {
    #[serde(rename = "type")]
    kind: &'static str,
    file: String,
    written: bool,
    /// Why it was not written.
    why: Option<String>,
    states: Option<u64>,
    bytes: Option<u64>,
    root: Option<String>,
}

/// Writes the certificate of a scope that passed, unless it is interrupted.
pub(crate) fn certify(
    explored: &Explored,
    verdict: &Verdict,
    interrupt: &Interrupt,
    file: &Path,
) -> Certified {
    if let Some(why) = verdict.fault() {
        return Certified::Withheld(why);
    }
    let (scope, symmetry) = (&verdict.scope, verdict.symmetry);
    let written = progress_bar::watch_line(
        &scope.name,
        || {},
        |elapsed| format!("writing the certificate · {}", time(elapsed)),
        || certificate::write_file(explored, scope, symmetry, interrupt.flag(), file),
    );
    match written {
        Ok(summary) => Certified::Written(summary),
        Err(error) if error.is::<Interrupted>() => Certified::Interrupted,
        Err(error) => Certified::Failed(error),
    }
}

impl Certified {
    /// The exit status of the check, which the result of the certificate may change.
    pub(crate) fn exit(&self, exit: Exit) -> Exit {
        match self {
            // The request for a certificate was not fulfilled, for a reason outside of the arguments.
            Self::Failed(_) if exit == Exit::Passed => Exit::Truncated,
            Self::Interrupted => Exit::Truncated,
            _ => exit,
        }
    }

    /// Reports the result; an error goes to standard error.
    pub(crate) fn report(&self, file: &Path, json: bool) -> anyhow::Result<()> {
        if let Self::Failed(error) = self {
            output::error(error);
        }
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, &self.as_json(file))?;
            writeln!(out)?;
            return Ok(());
        }
        match self {
            Self::Written(summary) => writeln!(
                out,
                "Certificate of {} in {}, root hash {}.",
                counted_grouped(summary.states, "state"),
                file.display(),
                verify::hex(&summary.root)
            )?,
            Self::Withheld(why) => writeln!(out, "No certificate was written: {why}.")?,
            Self::Interrupted => writeln!(out, "No certificate was written: {INTERRUPTED}.")?,
            Self::Failed(_) => writeln!(
                out,
                "No certificate was written, and the exit code makes no claim: {FAILED}."
            )?,
        }
        Ok(())
    }

    fn as_json(&self, file: &Path) -> CertificateJson {
        let (summary, why) = match self {
            Self::Written(summary) => (Some(summary), None),
            Self::Withheld(why) => (None, Some(why.clone())),
            Self::Interrupted => (None, Some(INTERRUPTED.to_owned())),
            Self::Failed(error) => (None, Some(format!("{error:#}"))),
        };
        CertificateJson {
            kind: "certificate",
            file: file.display().to_string(),
            written: summary.is_some(),
            why,
            states: summary.map(|summary| summary.states),
            bytes: summary.map(|summary| summary.bytes),
            root: summary.map(|summary| verify::hex(&summary.root)),
        }
    }
}
