//! An independent definition of an exhausted scope.
//!
//! Checks a certificate against the definition, using only the model: no tables, no ids, no threads. The
//! certificate's states must be exactly the scope's reachable states, and no step from any of them may
//! violate a property. `format` reads the bytes; this module checks their meaning. `origin` compares the
//! scope with the catalog's scope of the same name.
//!
//! The file is not trusted. This module compares its states only with states that it reached itself, so
//! that forged states are never stepped.

mod format;
mod origin;

pub use origin::Origin;

use crate::{explain::describe_action, interrupted::go_on, step_guard};
use anyhow::{Context, bail, ensure};
use format::Certificate;
use model::{
    Address,
    system::{Process, Property, System, Witnesses},
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, Read},
    path::Path,
    sync::atomic::AtomicBool,
};

/// A valid certificate.
#[derive(Clone, Debug)]
pub struct Verified {
    /// A description of the scope with all its bounds. It begins with the scope's name only if the scope
    /// is one of the catalog.
    pub scope_description: String,
    /// The relation of the scope to the catalog.
    pub origin: Origin,
    /// The number of states.
    pub states: u64,
    /// The number of steps from these states.
    pub transitions: u64,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The certificate's root hash.
    pub root: [u8; 32],
}

/// A step of the model violates a property. Unlike any other error it is a result about the protocol: the
/// verification reached this step itself.
#[derive(Debug, thiserror::Error)]
#[error("{property}: violated in state {state} when {event}: {why}")]
pub struct PropertyViolated {
    /// The name of the property.
    pub property: Property,
    /// The number of the state in the certificate.
    pub state: usize,
    /// The step from this state.
    pub event: String,
    /// The cause.
    pub why: String,
}

/// Verifies the certificate in a file, until `interrupt` is set.
///
/// # Errors
/// If the file cannot be read, or the certificate is not valid (the error names the failed check and the
/// position). [`PropertyViolated`]. [`crate::Interrupted`].
pub fn verify_file(path: &Path, interrupt: &AtomicBool) -> anyhow::Result<Verified> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    verify_until(BufReader::new(file), interrupt).map_err(|error| {
        let problem = if error.is::<PropertyViolated>() {
            "certifies states that violate a property"
        } else {
            "is not a valid certificate"
        };
        error.context(format!("{} {problem}", path.display()))
    })
}

/// Verifies a certificate.
///
/// # Errors
/// If the input cannot be read, or the certificate is not valid (the error names the failed check and
/// the position). [`PropertyViolated`].
pub fn verify(input: impl Read) -> anyhow::Result<Verified> {
    verify_until(input, &AtomicBool::new(false))
}

fn verify_until(input: impl Read, interrupt: &AtomicBool) -> anyhow::Result<Verified> {
    let certificate = format::read(input, interrupt)?;
    check_states(&certificate, interrupt)?;
    let (transitions, witnesses) = search(&certificate, interrupt)?;
    let origin = Origin::new(&certificate.scope);
    Ok(Verified {
        scope_description: certificate.describe(&origin.qualified(&certificate.scope.name)),
        origin,
        states: certificate.states.len() as u64,
        transitions,
        witnesses,
        root: certificate.root,
    })
}

/// Checks that each state is well-formed, has its canonical encoding, and is greater than the state
/// before it.
fn check_states(certificate: &Certificate, interrupt: &AtomicBool) -> anyhow::Result<()> {
    let shape = addresses(&step_guard::transitions(certificate.scope.clone()).initial());
    let states = &certificate.states;
    for (index, bytes) in states.iter().enumerate() {
        go_on(interrupt)?;
        check_state(bytes, certificate.symmetry, &shape)
            .with_context(|| format!("state {index}"))?;
        ensure!(
            index == 0 || states[index - 1] < *bytes,
            "order: state {index} is not greater than the previous state"
        );
    }
    Ok(())
}

fn check_state(bytes: &[u8], symmetry: bool, shape: &[Address]) -> anyhow::Result<()> {
    let system = System::decode(bytes).context("decoding: not a system")?;
    ensure!(
        system.encode() == bytes,
        "encoding: not the canonical encoding of this system"
    );
    ensure!(
        addresses(&system) == shape,
        "shape: its processes are not those of the scope"
    );
    ensure!(
        !symmetry || system.canonical() == system,
        "canonical form: a permutation of the servers is smaller"
    );
    Ok(())
}

fn addresses(system: &System) -> Vec<Address> {
    system.processes.iter().map(Process::address).collect()
}

/// Searches breadth-first from the initial state, by the definition.
fn search(certificate: &Certificate, interrupt: &AtomicBool) -> anyhow::Result<(u64, Witnesses)> {
    let transitions = step_guard::transitions(certificate.scope.clone());
    let states = &certificate.states;
    let index_of = |system: &System| {
        let bytes = if certificate.symmetry {
            system.canonical().encode()
        } else {
            system.encode()
        };
        states.binary_search(&bytes).ok()
    };
    let first = index_of(&transitions.start()).context("initial state: not in the file")?;
    let mut reached = vec![false; states.len()];
    reached[first] = true;
    let mut frontier = VecDeque::from([first]);
    let mut taken = 0;
    let mut witnesses = Witnesses::default();
    while let Some(index) = frontier.pop_front() {
        go_on(interrupt)?;
        let system = System::decode(&states[index]).expect("it was decoded before");
        for action in transitions.actions(&system) {
            let Some((next, witnessed)) = transitions.next(&system, &action) else {
                continue;
            };
            taken += 1;
            witnesses.add_all(witnessed);
            let event = || describe_action(&action, &system);
            if let Some(violation) = &next.violation {
                return Err(PropertyViolated {
                    property: violation.property,
                    state: index,
                    event: event(),
                    why: violation.cause.to_string(),
                }
                .into());
            }
            if next == system {
                continue;
            }
            let found = index_of(&next).with_context(|| {
                format!(
                    "successor: state {index} has a successor that is not in the file, when {}",
                    event()
                )
            })?;
            if !reached[found] {
                reached[found] = true;
                frontier.push_back(found);
            }
        }
    }
    if let Some(index) = reached.iter().position(|reached| !reached) {
        bail!("reachability: state {index} cannot be reached");
    }
    Ok((taken, witnesses))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        mutant::Mutant,
        system::{Properties, Scope},
    };
    use std::collections::BTreeSet;

    /// The certificate of a scope from a search that checks only `properties`.
    fn certificate(scope: Scope, properties: Properties) -> Certificate {
        let scope = Scope {
            properties,
            ..scope
        };
        let transitions = step_guard::transitions(scope.clone());
        let mut states = BTreeSet::from([transitions.start().encode()]);
        let mut frontier = vec![transitions.start()];
        while let Some(system) = frontier.pop() {
            for action in transitions.actions(&system) {
                if let Some((next, _)) = transitions.next(&system, &action)
                    && states.insert(next.encode())
                {
                    frontier.push(next);
                }
            }
        }
        Certificate {
            scope,
            symmetry: false,
            states: states.into_iter().collect(),
            root: [0; 32],
        }
    }

    /// Two servers, each a majority on its own. No file can contain this scope: a header with a bug is
    /// rejected.
    fn unchecked() -> Scope {
        let mut scope = Scope::new("unchecked", "");
        scope.servers = 2;
        scope.append_entries = false;
        scope.mutant = Some(Mutant::QuorumOffByOne);
        scope
    }

    #[test]
    fn step_that_violates_a_property_is_rejected_though_all_states_are_there() {
        let go_on = AtomicBool::new(false);
        // A certificate without checks is complete: only the checks of the verification can reject it.
        let mut unchecked = certificate(unchecked(), Properties::only(Property::Linearizability));
        check_states(&unchecked, &go_on).expect("well-formed states");
        search(&unchecked, &go_on).expect("all successors are there");
        let words = [
            (
                Properties::ALL,
                [
                    "Steps refine the abstract Raft",
                    "becomes a candidate",
                    "1 of 2",
                ],
            ),
            (
                Properties::only(Property::ElectionSafety),
                ["Election Safety", " when server ", "both elected"],
            ),
        ];
        for (properties, words) in words {
            unchecked.scope.properties = properties;
            let error = search(&unchecked, &go_on).expect_err("two leaders of one term");
            assert!(error.is::<PropertyViolated>(), "{error:#}");
            let text = format!("{error:#}");
            for word in [": violated in state "].into_iter().chain(words) {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }

    #[test]
    fn interrupted_verification_concludes_nothing() {
        let stop = AtomicBool::new(true);
        let mut scope = unchecked();
        scope.mutant = None;
        let whole = certificate(scope, Properties::ALL);
        for error in [
            check_states(&whole, &stop).expect_err("stopped"),
            search(&whole, &stop).expect_err("stopped"),
        ] {
            assert!(error.is::<crate::Interrupted>(), "{error:#}");
        }
    }
}
