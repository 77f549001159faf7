//! Writes the visited set of an exhausted scope as whole states: a certificate.
//!
//! The module `verify` checks a certificate independently of the search. `docs/certificate.md` has a
//! drawing of the format byte by byte, and describes the claim of a certificate.
//!
//! The encoded states are in memory once, to be sorted: a few hundred bytes per state. So this is for
//! scopes of up to a few million states.

use crate::{
    engine::{Explored, SearchOutcome},
    interrupted::{Interrupted, go_on},
};
use anyhow::{Context, bail, ensure};
use model::system::{Limit, Properties, Reduction, Scope};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// The first bytes of every certificate.
const MAGIC: &[u8; 8] = b"RAFTCERT";
/// The version of the format.
const VERSION: u16 = 7;

/// A summary of a written certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number of states.
    pub states: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// The SHA-256 over the bounds and all states.
    pub root: [u8; 32],
}

/// Writes the certificate of an exhausted search to a file. It writes a temporary file beside it, and
/// renames it once it is durable. So the file is either a complete certificate or unchanged, even if
/// `interrupt` is set before the end.
///
/// # Errors
/// As [`write()`]; if the file cannot be written; [`Interrupted`].
pub fn write_file(
    explored: &Explored,
    scope: &Scope,
    symmetry: bool,
    interrupt: &AtomicBool,
    path: &Path,
) -> anyhow::Result<Summary> {
    let partial = beside(path)?;
    let written =
        write_partial(explored, scope, symmetry, interrupt, &partial).and_then(|summary| {
            fs::rename(&partial, path)
                .and_then(|()| sync_directory(path))
                .with_context(|| format!("cannot move the certificate to {}", path.display()))?;
            Ok(summary)
        });
    if written.is_err() {
        // Best effort: the original error is more important than a leftover file.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Checks before a long search whether a certificate can be written to a file.
///
/// # Errors
/// If it cannot: the error states the reason and the remedy.
pub fn try_file(path: &Path) -> anyhow::Result<()> {
    let partial = beside(path)?;
    File::create(&partial)
        .and_then(|_| fs::remove_file(&partial))
        .with_context(|| {
            format!(
                "cannot write the certificate to {}: give the path of a file that can be written",
                path.display()
            )
        })
}

/// The path of the temporary file: in the same directory, so that a rename is sufficient.
fn beside(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| {
        format!(
            "{} does not name a file: give the path of the certificate to write",
            path.display()
        )
    })?;
    ensure!(
        !path.is_dir(),
        "{} is a directory: give the path of the certificate to write",
        path.display()
    );
    // The rename replaces the file of this name, which must not be a device or a pipe.
    ensure!(
        path.is_file() || !path.exists(),
        "{} is not a regular file: give the path of the certificate to write",
        path.display()
    );
    let mut partial = OsString::from(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

fn write_partial(
    explored: &Explored,
    scope: &Scope,
    symmetry: bool,
    interrupt: &AtomicBool,
    partial: &Path,
) -> anyhow::Result<Summary> {
    let failed = || {
        format!(
            "cannot write the certificate to {}: give another path, or free disk space",
            partial.display()
        )
    };
    let mut out = BufWriter::new(File::create(partial).with_context(failed)?);
    let written = write_until(explored, scope, symmetry, interrupt, &mut out);
    let summary = written.map_err(|error| {
        if error.is::<std::io::Error>() {
            error.context(failed())
        } else {
            error
        }
    })?;
    let file = out
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(failed)?;
    file.sync_all().with_context(failed)?;
    Ok(summary)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes the certificate of an exhausted search. `scope` and `symmetry` are those of the search.
///
/// # Errors
/// If the search did not exhaust the scope with all properties checked and no planted bug, if a bound
/// does not fit the format, or if `out` cannot be written.
pub fn write(
    explored: &Explored,
    scope: &Scope,
    symmetry: bool,
    out: &mut impl Write,
) -> anyhow::Result<Summary> {
    write_until(explored, scope, symmetry, &AtomicBool::new(false), out)
}

fn write_until(
    explored: &Explored,
    scope: &Scope,
    symmetry: bool,
    interrupt: &AtomicBool,
    out: &mut impl Write,
) -> anyhow::Result<Summary> {
    match &explored.report.outcome {
        SearchOutcome::Exhausted => {}
        SearchOutcome::Truncated(cause) => bail!(
            "no certificate for {}: the search was stopped early ({cause:?}); raise the limit",
            scope.name
        ),
        SearchOutcome::Violated { violation, .. } => {
            bail!(
                "no certificate for {}: it violates {}",
                scope.name,
                violation.property
            )
        }
    }
    let states = sorted_states(explored, symmetry, interrupt)?;
    let head = head(scope, symmetry, states.len() as u64)?;
    let root = root(&head, &states);
    let mut bytes = (head.len() + root.len()) as u64;
    let failed = "cannot write the certificate";
    out.write_all(&head).context(failed)?;
    out.write_all(&root).context(failed)?;
    for state in &states {
        go_on(interrupt)?;
        out.write_all(&length(state)).context(failed)?;
        out.write_all(state).context(failed)?;
        bytes += 4 + state.len() as u64;
    }
    out.flush().context(failed)?;
    Ok(Summary {
        states: states.len() as u64,
        bytes,
        root,
    })
}

fn sorted_states(
    explored: &Explored,
    symmetry: bool,
    interrupt: &AtomicBool,
) -> Result<Vec<Vec<u8>>, Interrupted> {
    let mut states = Vec::new();
    for index in 0..explored.states.len() {
        go_on(interrupt)?;
        let system = explored.tables.system(&explored.states.key(index));
        // The search has its own canonical form. The canonical form of the definition is the least
        // permutation.
        states.push(if symmetry {
            system.canonical().encode()
        } else {
            system.encode()
        });
    }
    states.sort_unstable();
    Ok(states)
}

/// The bytes before the root hash.
fn head(scope: &Scope, symmetry: bool, states: u64) -> anyhow::Result<Vec<u8>> {
    // The pattern has no `..`, so that a new bound must get a place in the format.
    let Scope {
        name,
        summary: _,
        servers,
        terms,
        budget,
        batch,
        window,
        together,
        pre_vote,
        check_quorum,
        trailing_bytes,
        max_sessions,
        mixed_settings,
        state_quota,
        append_entries,
        with_session,
        starts_with_leader,
        direct_clients,
        tracks_operations,
        plans,
        attempts,
        reduction,
        mutant,
        flaw: _,
        properties,
        expected: _,
    } = scope;
    let Reduction {
        merge_syncs,
        merge_restarts,
        drop_dead,
        send_early,
        forget_hints,
        trim_appends,
    } = reduction;
    scope.validate()?;
    ensure!(
        mutant.is_none(),
        "no certificate for {name}: a bug is planted in it"
    );
    ensure!(
        *properties == Properties::ALL,
        "no certificate for {name}: not every property was checked"
    );
    let name_length = u8::try_from(name.len())
        .with_context(|| format!("the name {name} is longer than 255 bytes"))?;
    let plans = postcard::to_allocvec(plans).context("cannot encode the clients' plans")?;
    let mut head = Vec::new();
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.push(u8::try_from(*servers)?);
    head.push(u8::try_from(*terms)?);
    head.extend([
        budget.entries,
        budget.reads,
        limit(budget.crashes),
        limit(budget.snapshots),
        limit(budget.client_crashes),
        limit(budget.proxy_crashes),
        limit(budget.transfers),
    ]);
    head.push(u8::try_from(*attempts)?);
    head.extend(u16::try_from(*batch)?.to_le_bytes());
    head.extend(u16::try_from(*window)?.to_le_bytes());
    head.extend(u32::try_from(*trailing_bytes)?.to_le_bytes());
    // 0: the number that the other bounds imply.
    head.push(u8::try_from(max_sessions.unwrap_or(0))?);
    // 0: the number of production.
    head.extend(u32::try_from(state_quota.unwrap_or(0))?.to_le_bytes());
    head.push(bits(&[
        *together,
        *pre_vote,
        *check_quorum,
        *mixed_settings,
    ]));
    head.push(bits(&[
        *append_entries,
        *with_session,
        *direct_clients,
        *tracks_operations,
        symmetry,
        *starts_with_leader,
    ]));
    head.push(bits(&[
        *merge_syncs,
        *merge_restarts,
        *drop_dead,
        *send_early,
        *forget_hints,
        *trim_appends,
    ]));
    head.push(0); // no bug is planted
    head.push(name_length);
    head.extend(name.as_bytes());
    head.extend(length(&plans));
    head.extend(plans);
    head.extend(states.to_le_bytes());
    Ok(head)
}

/// Packs flags into a byte. The first flag is the lowest bit.
/// A limit as a byte: the number of times, or 255 for any.
fn limit(limit: Limit) -> u8 {
    match limit {
        Limit::Never => 0,
        Limit::AtMost(times) => times,
        Limit::Any => u8::MAX,
    }
}

fn bits(flags: &[bool]) -> u8 {
    flags
        .iter()
        .enumerate()
        .map(|(index, flag)| u8::from(*flag) << index)
        .sum()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    let length = u32::try_from(bytes.len()).expect("a part is shorter than 4 GiB");
    length.to_le_bytes()
}

fn root(head: &[u8], states: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(head);
    for state in states {
        hasher.update(length(state));
        hasher.update(state);
    }
    hasher.finalize().into()
}
