//! A second, separate reading of what it means that a scope is exhausted.
//!
//! Reads a certificate (`docs/certificate.md`) and checks it against the definition, with nothing
//! but the model: no tables, no ids, no threads. The certificate's states are the scope's
//! reachable states, none less and none more, and no step out of any of them breaks a law.
//!
//! Nothing in the file is believed. Its states are only ever compared with states this module
//! reached itself, so that forged ones are never stepped; lengths are bounded, and memory grows
//! with the bytes that are really there.

use anyhow::{Context, bail, ensure};
use model::{
    Address,
    client::Ask,
    system::{Process, Reduction, Scope, System, Witnesses},
};
use sha2::{Digest, Sha256};
use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// The longest encoded state, and the longest encoding of the clients' plans.
const MAX_PART: u32 = 1 << 20;

/// A certificate that holds.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The scope with all its bounds, in words.
    pub scope_description: String,
    /// How many states.
    pub states: u64,
    /// How many steps out of them.
    pub transitions: u64,
    /// What was witnessed on the way.
    pub witnesses: Witnesses,
    /// The certificate's root hash.
    pub root: [u8; 32],
}

/// Verifies the certificate in a file.
///
/// # Errors
/// If it cannot be read or does not hold; says which check failed and where.
pub fn verify_file(path: &Path) -> anyhow::Result<Verified> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    verify(BufReader::new(file))
        .with_context(|| format!("{} is not a valid certificate", path.display()))
}

/// Verifies a certificate.
///
/// # Errors
/// If it cannot be read or does not hold; says which check failed and where.
pub fn verify(input: impl Read) -> anyhow::Result<Verified> {
    let mut input = Input {
        input,
        hasher: Sha256::new(),
        offset: 0,
    };
    let header = read_header(&mut input)?;
    let states = read_states(&mut input, &header)?;
    let root: [u8; 32] = input.hasher.finalize().into();
    ensure!(
        root == header.root,
        "root hash: the file says {}, its bytes make {}",
        hex(&header.root),
        hex(&root)
    );
    let (transitions, witnesses) = search(&header, &states)?;
    Ok(Verified {
        scope_description: describe(&header),
        states: states.len() as u64,
        transitions,
        witnesses,
        root,
    })
}

/// The bytes of the file, hashed and counted as they are read.
struct Input<R> {
    input: R,
    hasher: Sha256,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// The next `length` bytes. Memory is taken as they arrive, not as they are promised.
    fn read(&mut self, length: u32, what: &str) -> anyhow::Result<Vec<u8>> {
        let bytes = self.read_unhashed(length, what)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn read_unhashed(&mut self, length: u32, what: &str) -> anyhow::Result<Vec<u8>> {
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

    fn fixed<const N: usize>(&mut self, what: &str) -> anyhow::Result<[u8; N]> {
        let bytes = self.read(N as u32, what)?;
        Ok(bytes.try_into().expect("as many bytes as asked for"))
    }

    /// A length of four bytes, and so many bytes.
    fn part(&mut self, what: &str) -> anyhow::Result<Vec<u8>> {
        let at = self.offset;
        let length = u32::from_le_bytes(self.fixed(what)?);
        ensure!(
            length <= MAX_PART,
            "{what}: {length} bytes at offset {at} are more than {MAX_PART}"
        );
        self.read(length, what)
    }
}

struct Header {
    scope: Scope,
    symmetry: bool,
    states: u64,
    root: [u8; 32],
}

fn read_header(input: &mut Input<impl Read>) -> anyhow::Result<Header> {
    let magic: [u8; 8] = input.fixed("magic")?;
    ensure!(magic == *b"RAFTCERT", "magic: this is no certificate");
    let version = u16::from_le_bytes(input.fixed("version")?);
    ensure!(
        version == 1,
        "version: {version}, and only version 1 is known"
    );
    let [servers, terms, entries, reads, crashes, attempts] = input.fixed("bounds")?;
    let batch = u16::from_le_bytes(input.fixed("batch")?);
    let [switches, reductions, mutant, name_length] = input.fixed("switches")?;
    ensure!(switches < 1 << 5, "switches: unknown bits {switches:#010b}");
    ensure!(
        reductions < 1 << 5,
        "reductions: unknown bits {reductions:#010b}"
    );
    ensure!(mutant == 0, "mutant: a bug is planted");
    let name = String::from_utf8(input.read(name_length.into(), "name")?)
        .context("name: it is not UTF-8")?;
    let plans = input.part("plans")?;
    let (plans, rest): (Vec<Vec<Ask>>, _) =
        postcard::take_from_bytes(&plans).context("plans: they cannot be decoded")?;
    ensure!(rest.is_empty(), "plans: {} bytes too many", rest.len());
    let states = u64::from_le_bytes(input.fixed("count")?);
    let root = input.read_unhashed(32, "root hash")?;

    let bit = |bits: u8, place: u8| bits & (1 << place) != 0;
    let mut scope = Scope::new(&name, "read from a certificate");
    scope.servers = servers.into();
    scope.terms = terms.into();
    scope.budget.entries = entries;
    scope.budget.reads = reads;
    scope.budget.crashes = crashes;
    scope.attempts = attempts.into();
    scope.batch = batch.into();
    scope.append_entries = bit(switches, 0);
    scope.with_session = bit(switches, 1);
    scope.direct_clients = bit(switches, 2);
    scope.tracks_operations = bit(switches, 3);
    scope.plans = plans;
    scope.reduction = Reduction {
        merge_syncs: bit(reductions, 0),
        merge_restarts: bit(reductions, 1),
        drop_dead: bit(reductions, 2),
        send_early: bit(reductions, 3),
        forget_hints: bit(reductions, 4),
    };
    scope.validate().context("bounds")?;
    Ok(Header {
        scope,
        symmetry: bit(switches, 4),
        states,
        root: root.try_into().expect("as many bytes as asked for"),
    })
}

/// Reads all states: each well formed, in its one encoding, and after the one before it.
fn read_states(input: &mut Input<impl Read>, header: &Header) -> anyhow::Result<Vec<Vec<u8>>> {
    let shape: Vec<Address> = addresses(&header.scope.initial());
    let mut states: Vec<Vec<u8>> = Vec::new();
    for number in 0..header.states {
        let at = input.offset;
        let bytes = input.part(&format!("state {number}"))?;
        check_state(&bytes, header.symmetry, &shape)
            .with_context(|| format!("state {number} at offset {at}"))?;
        ensure!(
            states.last().is_none_or(|last| *last < bytes),
            "order: state {number} at offset {at} does not come after the one before it"
        );
        states.push(bytes);
    }
    let mut more = [0];
    let rest = input.input.read(&mut more).context("end: cannot read")?;
    ensure!(
        rest == 0,
        "count: there is more after {} states, at offset {}",
        header.states,
        input.offset
    );
    Ok(states)
}

fn check_state(bytes: &[u8], symmetry: bool, shape: &[Address]) -> anyhow::Result<()> {
    let system = System::decode(bytes).context("decoding: this is no system")?;
    ensure!(
        system.encode() == bytes,
        "encoding: the same system has another encoding"
    );
    ensure!(
        addresses(&system) == shape,
        "shape: its processes are not those of the scope"
    );
    ensure!(
        !symmetry || system.canonical() == system,
        "canonical form: a renaming of the servers comes before it"
    );
    Ok(())
}

fn addresses(system: &System) -> Vec<Address> {
    system.processes.iter().map(Process::address).collect()
}

/// Breadth-first from the initial state, by the definition.
fn search(header: &Header, states: &[Vec<u8>]) -> anyhow::Result<(u64, Witnesses)> {
    let scope = &header.scope;
    let place_of = |system: &System| {
        let bytes = if header.symmetry {
            system.canonical().encode()
        } else {
            system.encode()
        };
        states.binary_search(&bytes).ok()
    };
    let first = place_of(&scope.start()).context("initial state: it is not in the file")?;
    let mut reached = vec![false; states.len()];
    reached[first] = true;
    let mut frontier = VecDeque::from([first]);
    let mut transitions = 0;
    let mut witnesses = Witnesses::default();
    while let Some(place) = frontier.pop_front() {
        let system = System::decode(&states[place]).expect("it was decoded before");
        for action in scope.actions(&system) {
            let Some((next, witnessed)) = scope.next(&system, &action) else {
                continue;
            };
            transitions += 1;
            witnesses.add_all(witnessed);
            if let Some(broken) = &next.broken {
                bail!(
                    "{}: broken by a step of process {} from state {place} ({:?}): {}",
                    broken.law,
                    action.process + 1,
                    action.local,
                    broken.why
                );
            }
            if next == system {
                continue;
            }
            let found = place_of(&next).with_context(|| {
                format!(
                    "successor: a step of process {} from state {place} ({:?}) leads out of the file",
                    action.process + 1,
                    action.local
                )
            })?;
            if !reached[found] {
                reached[found] = true;
                frontier.push_back(found);
            }
        }
    }
    if let Some(place) = reached.iter().position(|reached| !reached) {
        bail!("reachability: state {place} cannot be reached");
    }
    Ok((transitions, witnesses))
}

/// All bounds in words.
fn describe(header: &Header) -> String {
    let scope = &header.scope;
    let budget = &scope.budget;
    let yes_no = |flag| if flag { "yes" } else { "no" };
    format!(
        "{}: servers {}, terms {}, entries {}, reads {}, crashes {}, clients {}, attempts {}, \
         batch {}, appends {}, session {}, direct clients {}, operations judged {}, symmetry {}, {:?}",
        scope.name,
        scope.servers,
        scope.terms,
        budget.entries,
        budget.reads,
        budget.crashes,
        scope.plans.len(),
        scope.attempts,
        scope.batch,
        yes_no(scope.append_entries),
        yes_no(scope.with_session),
        yes_no(scope.direct_clients),
        yes_no(scope.tracks_operations),
        yes_no(header.symmetry),
        scope.reduction,
    )
}

/// Bytes as people write hashes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
