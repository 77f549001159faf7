//! The bytes of a certificate (`docs/certificate.md` has a drawing): the header, and the encoded states,
//! not decoded yet.
//!
//! Lengths are bounded, and memory grows only with the bytes that are really present. The header's
//! fields are listed here again, not taken from the table of bounds or from the writer: an error there
//! must not cancel itself out here.

use super::hex;
use crate::{escape::check_name, interrupted::go_on};
use anyhow::{Context, ensure};
use model::{
    client::Invocation,
    system::{Limit, Reduction, Scope},
};
use sha2::{Digest, Sha256};
use std::{io::Read, sync::atomic::AtomicBool};

/// The maximum length of an encoded state, and of the encoded plans of the clients.
const MAX_PART: u32 = 1 << 20;

/// The contents of a file.
pub(super) struct Certificate {
    pub(super) scope: Scope,
    pub(super) symmetry: bool,
    /// The encoded states, as many as the header states.
    pub(super) states: Vec<Vec<u8>>,
    /// The SHA-256 of the rest.
    pub(super) root: [u8; 32],
}

/// Reads a whole file and compares its root hash.
pub(super) fn read(input: impl Read, interrupt: &AtomicBool) -> anyhow::Result<Certificate> {
    let mut input = Input {
        input,
        hasher: Sha256::new(),
        offset: 0,
    };
    let (scope, symmetry) = read_bounds(&mut input)?;
    let count = u64::from_le_bytes(input.fixed("count")?);
    let recorded: [u8; 32] = input.unhashed("root hash")?;
    let mut states = Vec::new();
    for number in 0..count {
        go_on(interrupt)?;
        states.push(input.part(&format!("state {number}"))?);
    }
    let rest = input.input.read(&mut [0]).context("end: cannot read")?;
    ensure!(
        rest == 0,
        "count: there are more bytes after {count} states, at offset {}",
        input.offset
    );
    let root: [u8; 32] = input.hasher.finalize().into();
    ensure!(
        root == recorded,
        "root hash: recorded is {}, computed is {}",
        hex(&recorded),
        hex(&root)
    );
    Ok(Certificate {
        scope,
        symmetry,
        states,
        root,
    })
}

/// The limit of a byte: 255 is any number of times.
fn limit(byte: u8) -> Limit {
    match byte {
        u8::MAX => Limit::Any,
        times => Limit::at_most(times),
    }
}

/// Reads the scope, and whether states are canonical forms (symmetry reduction).
fn read_bounds(input: &mut Input<impl Read>) -> anyhow::Result<(Scope, bool)> {
    let magic: [u8; 8] = input.fixed("magic")?;
    ensure!(magic == *b"RAFTCERT", "magic: not a certificate");
    let version = u16::from_le_bytes(input.fixed("version")?);
    ensure!(
        version == 7,
        "version: {version} is unknown, only version 7 is supported"
    );
    let [servers, terms, entries, reads] = input.fixed("bounds")?;
    let [crashes, snapshots, client_crashes, proxy_crashes, transfers] = input.fixed("bounds")?;
    let [attempts] = input.fixed("bounds")?;
    let batch = u16::from_le_bytes(input.fixed("batch")?);
    let window = u16::from_le_bytes(input.fixed("window")?);
    let trailing_bytes = u32::from_le_bytes(input.fixed("trailing bytes")?);
    let [max_sessions] = input.fixed("sessions")?;
    let state_quota = u32::from_le_bytes(input.fixed("state quota")?);
    let [servers_do] = input.fixed("what servers do")?;
    ensure!(
        servers_do < 1 << 4,
        "what servers do: unknown bits {servers_do:#010b}"
    );
    let [switches, reductions, mutant, name_length] = input.fixed("switches")?;
    ensure!(switches < 1 << 6, "switches: unknown bits {switches:#010b}");
    ensure!(
        reductions < 1 << 6,
        "reductions: unknown bits {reductions:#010b}"
    );
    ensure!(mutant == 0, "mutant: a bug is planted");
    let name =
        String::from_utf8(input.read(name_length.into(), "name")?).context("name: not UTF-8")?;
    check_name(&name)
        .map_err(anyhow::Error::msg)
        .context("name")?;
    let plans = input.part("plans")?;
    let (plans, rest): (Vec<Vec<Invocation>>, _) =
        postcard::take_from_bytes(&plans).context("plans: cannot decode")?;
    ensure!(rest.is_empty(), "plans: {} extra bytes", rest.len());

    let bit = |bits: u8, index: u8| bits & (1 << index) != 0;
    let mut scope = Scope::new(&name, "read from a certificate");
    scope.servers = servers.into();
    scope.terms = terms.into();
    scope.budget.entries = entries;
    scope.budget.reads = reads;
    scope.budget.crashes = limit(crashes);
    scope.budget.snapshots = limit(snapshots);
    scope.budget.client_crashes = limit(client_crashes);
    scope.budget.proxy_crashes = limit(proxy_crashes);
    scope.budget.transfers = limit(transfers);
    scope.attempts = attempts.into();
    scope.batch = batch.into();
    scope.window = window.into();
    scope.trailing_bytes = trailing_bytes as usize;
    scope.max_sessions = (max_sessions != 0).then_some(max_sessions.into());
    scope.state_quota = (state_quota != 0).then_some(state_quota.into());
    scope.together = bit(servers_do, 0);
    scope.pre_vote = bit(servers_do, 1);
    scope.check_quorum = bit(servers_do, 2);
    scope.mixed_settings = bit(servers_do, 3);
    scope.append_entries = bit(switches, 0);
    scope.with_session = bit(switches, 1);
    scope.starts_with_leader = bit(switches, 5);
    scope.direct_clients = bit(switches, 2);
    scope.tracks_operations = bit(switches, 3);
    scope.plans = plans;
    scope.reduction = Reduction {
        merge_syncs: bit(reductions, 0),
        merge_restarts: bit(reductions, 1),
        drop_dead: bit(reductions, 2),
        send_early: bit(reductions, 3),
        forget_hints: bit(reductions, 4),
        trim_appends: bit(reductions, 5),
    };
    scope.validate().context("bounds")?;
    Ok((scope, bit(switches, 4)))
}

/// The bytes of the file, hashed and counted as they are read.
struct Input<R> {
    input: R,
    hasher: Sha256,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// Reads a length of four bytes, and then this number of bytes.
    fn part(&mut self, what: &str) -> anyhow::Result<Vec<u8>> {
        let at = self.offset;
        let length = u32::from_le_bytes(self.fixed(what)?);
        ensure!(
            length <= MAX_PART,
            "{what}: {length} bytes at offset {at} are more than {MAX_PART}"
        );
        self.read(length, what)
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> anyhow::Result<[u8; N]> {
        let bytes = self.unhashed(what)?;
        self.hasher.update(bytes);
        Ok(bytes)
    }

    fn unhashed<const N: usize>(&mut self, what: &str) -> anyhow::Result<[u8; N]> {
        let bytes = self.take(N as u32, what)?;
        Ok(bytes.try_into().expect("as many bytes as asked for"))
    }

    fn read(&mut self, length: u32, what: &str) -> anyhow::Result<Vec<u8>> {
        let bytes = self.take(length, what)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// Reads the next `length` bytes. Allocates memory for bytes that have arrived, not for the
    /// announced length.
    fn take(&mut self, length: u32, what: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.input)
            .take(length.into())
            .read_to_end(&mut bytes)
            .with_context(|| format!("{what}: cannot read at offset {}", self.offset))?;
        ensure!(
            read as u64 == u64::from(length),
            "{what}: the file ends after {read} of {length} bytes at offset {}",
            self.offset
        );
        self.offset += u64::from(length);
        Ok(bytes)
    }
}

impl Certificate {
    /// A description of all bounds, with the name under which the certificate is accepted.
    pub(super) fn describe(&self, name: &str) -> String {
        let scope = &self.scope;
        let budget = &scope.budget;
        let yes_no = |flag| if flag { "yes" } else { "no" };
        format!(
            "{}: servers {}, terms {}, entries {}, reads {}, crashes {}, snapshots {}, client crashes {}, \
             proxy crashes {}, transfers {}, clients {}, \
             attempts {}, \
             batch {}, window {}, trailing bytes {}, sessions {}, state quota {}, writes together {}, pre-vote {}, quorum checked {}, mixed settings {}, \
             appends {}, session {}, leader at the start {}, direct clients {}, operations checked {}, \
             symmetry {}, {}",
            name,
            scope.servers,
            scope.terms,
            budget.entries,
            budget.reads,
            budget.crashes,
            budget.snapshots,
            budget.client_crashes,
            budget.proxy_crashes,
            budget.transfers,
            scope.plans.len(),
            scope.attempts,
            scope.batch,
            scope.window,
            scope.trailing_bytes,
            scope.config().max_sessions,
            scope.quota(),
            yes_no(scope.together),
            yes_no(scope.pre_vote),
            yes_no(scope.check_quorum),
            yes_no(scope.mixed_settings),
            yes_no(scope.append_entries),
            yes_no(scope.with_session),
            yes_no(scope.starts_with_leader),
            yes_no(scope.direct_clients),
            yes_no(scope.tracks_operations),
            yes_no(self.symmetry),
            reductions(scope.reduction),
        )
    }
}

fn reductions(reduction: Reduction) -> String {
    let Reduction {
        merge_syncs,
        merge_restarts,
        drop_dead,
        send_early,
        forget_hints,
        trim_appends,
    } = reduction;
    let named = [
        (merge_syncs, "merged syncs"),
        (merge_restarts, "merged restarts"),
        (drop_dead, "dead messages dropped"),
        (send_early, "early sends"),
        (forget_hints, "forgotten hints"),
        (trim_appends, "trimmed appends"),
    ];
    let on: Vec<&str> = named
        .into_iter()
        .filter_map(|(is_on, name)| is_on.then_some(name))
        .collect();
    if on.is_empty() {
        return "no reductions".into();
    }
    format!("reductions: {}", on.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_are_told_in_words() {
        assert_eq!(reductions(Reduction::NONE), "no reductions");
        assert_eq!(
            reductions(Reduction::ALL),
            "reductions: merged syncs, merged restarts, dead messages dropped, early sends, forgotten hints, trimmed appends"
        );
    }
}
