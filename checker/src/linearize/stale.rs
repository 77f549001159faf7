//! Stale reads: the local state of one server, as of the entry that the response names. They have no
//! guaranteed position in the order of all operations, so the search excludes them: a stale read never
//! affects linearizability. They do guarantee that the response is the result of the log up to the named
//! entry. Versions are positions in the log, so this module compares the reads with the writes whose
//! versions are known:
//! * the value was written at its version, by a write called before the read returned;
//! * no write to the key lies between that version and the entry named.
//!
//! In doubt there is no violation: a write of unknown outcome may have created any version that no other
//! write created, and a write without a recorded version is never evidence of a violation. The age of a
//! response is not checked, because it is not guaranteed.

use super::format::{Call, ClientHistory, Operation, OperationOutcome, StaleRead};
use crate::lines::FileLine;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound::{Excluded, Included},
};

/// A stale read whose value no prefix of the log produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invented {
    /// The read.
    pub read: FileLine,
    /// The problem.
    pub why: String,
}

impl fmt::Display for Invented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.read, self.why)
    }
}

/// The known writes of a key.
#[derive(Default)]
struct Written<'a> {
    by_version: BTreeMap<u64, &'a Operation>,
    /// Writes of unknown outcome, or without a recorded version.
    elsewhere: Vec<&'a Operation>,
}

/// The first impossible stale read, if there is one.
pub(super) fn find_invented(history: &ClientHistory) -> Option<Invented> {
    if history.stale_reads.is_empty() {
        return None;
    }
    let mut keys: HashMap<&str, Written<'_>> = HashMap::new();
    let writes = history.operations.iter();
    for write in writes.filter(|operation| operation.call != Call::Get) {
        let key = keys.entry(&write.key).or_default();
        match (write.made(), &write.outcome) {
            (Some(version), _) => {
                key.by_version.insert(version, write);
            }
            (
                None,
                OperationOutcome::Unknown
                | OperationOutcome::Written(_)
                | OperationOutcome::Number(..),
            ) => {
                key.elsewhere.push(write);
            }
            // It changed nothing.
            (None, _) => {}
        }
    }
    let nothing = Written::default();
    history.stale_reads.iter().find_map(|read| {
        let why = keys
            .get(&read.key[..])
            .unwrap_or(&nothing)
            .contradicts(read)?;
        let read = read.place.clone();
        Some(Invented { read, why })
    })
}

impl Written<'_> {
    fn contradicts(&self, read: &StaleRead) -> Option<String> {
        let applied = read.applied_index;
        let version = match &read.found {
            Some((value, version)) => {
                if *version > applied {
                    return Some(format!(
                        "version {version} is not among the entries up to {applied}"
                    ));
                }
                if let Some(why) = self.disowns(read, value, *version) {
                    return Some(why);
                }
                *version
            }
            None => 0,
        };
        let mut between = self
            .by_version
            .range((Excluded(version), Included(applied)));
        let (later, write) = between.next_back()?;
        // An absent key was removed by the last write, or by a write of unknown version.
        let removes = |write: &&&Operation| write.call == Call::Delete;
        if read.found.is_none()
            && (removes(&write) || self.elsewhere.iter().any(|write| removes(&write)))
        {
            return None;
        }
        let shown = match &read.found {
            Some(_) => format!("the read has version {version}"),
            None => "the key is absent".to_owned(),
        };
        Some(format!(
            "as of entry {applied} {shown}, but {} wrote version {later}",
            write.place
        ))
    }

    /// The reason why the value was not written at this version, if any.
    fn disowns(&self, read: &StaleRead, value: &str, version: u64) -> Option<String> {
        let in_time = |write: &Operation| write.invoke <= read.returned;
        if let Some(write) = self.by_version.get(&version) {
            if !in_time(write) {
                return Some(format!("{} wrote it later", write.place));
            }
            let wrote = match &write.outcome {
                OperationOutcome::Number(number, _) => *value == number.to_string(),
                _ => write.call.may_leave(value),
            };
            return (!wrote).then(|| format!("{} wrote another value there", write.place));
        }
        let mut elsewhere = self.elsewhere.iter();
        let may_be = elsewhere.any(|write| in_time(write) && write.call.may_leave(value));
        (!may_be).then(|| format!("no operation wrote version {version} with this value"))
    }
}

impl Call {
    /// Whether the key may hold this value after the call took effect.
    fn may_leave(&self, value: &str) -> bool {
        match self {
            Self::Put(written) | Self::CompareAndSet { value: written, .. } => written == value,
            Self::Increment(_) => model::store::parse_integer(value.as_bytes()).is_some(),
            Self::Get | Self::Delete => false,
        }
    }
}
