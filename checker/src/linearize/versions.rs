//! Checks across all keys. A version is the position of a write in the one log that all keys share, and
//! a position is filled only after all earlier positions. So over all keys:
//! * no two writes have the same version;
//! * a write called after a response showed some version creates a higher version.

use super::format::Operation;
use crate::lines::FileLine;
use std::{collections::HashMap, fmt};

/// Versions that contradict the order in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// Two writes created the same version.
    Shared {
        /// The version.
        version: u64,
        /// The first write.
        one: FileLine,
        /// The second write.
        other: FileLine,
    },
    /// A write created a version that is not higher than a version shown before its call.
    Backwards {
        /// The version shown.
        seen: u64,
        /// The operation that showed it.
        by: FileLine,
        /// The version created later.
        made: u64,
        /// The operation that created it.
        later: FileLine,
    },
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared {
                version,
                one,
                other,
            } => write!(
                f,
                "{one} and {other} both wrote version {version}; a version is a log index, so it belongs to one write"
            ),
            Self::Backwards {
                seen,
                by,
                made,
                later,
            } => write!(
                f,
                "{by} returned version {seen} before the call of {later}, which wrote version {made}; versions are log indexes and only increase"
            ),
        }
    }
}

/// The first contradiction, if there is one.
pub(super) fn find_disorder(operations: &[Operation]) -> Option<Disorder> {
    shared(operations).or_else(|| backwards(operations))
}

fn shared(operations: &[Operation]) -> Option<Disorder> {
    let mut makers: HashMap<u64, &Operation> = HashMap::new();
    for operation in operations {
        let Some(version) = operation.made() else {
            continue;
        };
        if let Some(one) = makers.insert(version, operation) {
            return Some(Disorder::Shared {
                version,
                one: one.place.clone(),
                other: operation.place.clone(),
            });
        }
    }
    None
}

fn backwards(operations: &[Operation]) -> Option<Disorder> {
    let mut shown: Vec<(u64, u64, &Operation)> = operations
        .iter()
        .filter_map(|operation| Some((operation.returned?, operation.shows()?, operation)))
        .collect();
    shown.sort_by_key(|(returned, ..)| *returned);
    let mut making: Vec<(u64, u64, &Operation)> = operations
        .iter()
        .filter_map(|operation| Some((operation.invoke, operation.made()?, operation)))
        .collect();
    making.sort_by_key(|(invoke, ..)| *invoke);
    let mut rest = shown.into_iter().peekable();
    let mut highest: Option<(u64, &Operation)> = None;
    for (invoke, made, later) in making {
        while let Some((_, seen, by)) = rest.next_if(|(returned, ..)| *returned < invoke) {
            if highest.is_none_or(|(highest, _)| seen > highest) {
                highest = Some((seen, by));
            }
        }
        if let Some((seen, by)) = highest
            && made <= seen
        {
            return Some(Disorder::Backwards {
                seen,
                by: by.place.clone(),
                made,
                later: later.place.clone(),
            });
        }
    }
    None
}
