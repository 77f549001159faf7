//! Stale reads: what one server had, as of the entry it names. They promise no place in the order
//! of all operations, so they are kept out of the search: a stale read never makes a history
//! linearizable or not. What they do promise is that the answer is what the log up to that entry
//! makes. Versions are positions in the log, so that can be held against the writes whose versions
//! are known:
//! * the value was written at its version, by a write called before the read returned;
//! * no write to the key lies between that version and the entry named.
//!
//! A doubt accuses nobody: a write of unknown outcome may have made any version that nobody else
//! did, and a write whose version the history does not tell is not held against anyone. How old an
//! answer is is not judged, for nothing is promised of it.

use super::format::{Call, History, Operation, Outcome, Place, StaleRead};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound::{Excluded, Included},
};

/// A stale read that shows what no prefix of the log makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invented {
    /// The read.
    pub read: Place,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Invented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.read, self.why)
    }
}

/// The writes of a key, as far as they are known.
#[derive(Default)]
struct Written<'a> {
    by_version: BTreeMap<u64, &'a Operation>,
    /// Of unknown outcome, or of a version that is not told.
    elsewhere: Vec<&'a Operation>,
}

/// The first stale read that cannot be, if there is one.
pub(super) fn find_invented(history: &History) -> Option<Invented> {
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
            (None, Outcome::Unknown | Outcome::Written(_) | Outcome::Number(..)) => {
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
        // A key that is absent was removed by the last write, or by one that is not known.
        let removes = |write: &&&Operation| write.call == Call::Delete;
        if read.found.is_none()
            && (removes(&write) || self.elsewhere.iter().any(|write| removes(&write)))
        {
            return None;
        }
        let shown = match &read.found {
            Some(_) => format!("version {version} is shown"),
            None => "nothing is shown".to_owned(),
        };
        Some(format!(
            "as of entry {applied} {shown}, but {} wrote version {later}",
            write.place
        ))
    }

    /// Why the value is not what was written at this version.
    fn disowns(&self, read: &StaleRead, value: &str, version: u64) -> Option<String> {
        let in_time = |write: &Operation| write.invoke <= read.returned;
        if let Some(write) = self.by_version.get(&version) {
            if !in_time(write) {
                return Some(format!("{} wrote it later", write.place));
            }
            let wrote = match &write.outcome {
                Outcome::Number(number, _) => *value == number.to_string(),
                _ => write.call.may_leave(value),
            };
            return (!wrote).then(|| format!("{} wrote something else there", write.place));
        }
        let mut elsewhere = self.elsewhere.iter();
        let may_be = elsewhere.any(|write| in_time(write) && write.call.may_leave(value));
        (!may_be).then(|| format!("nobody wrote version {version} with this value"))
    }
}

impl Call {
    /// Whether the key may hold this after it took effect.
    fn may_leave(&self, value: &str) -> bool {
        match self {
            Self::Put(written) | Self::CompareAndSet { value: written, .. } => written == value,
            Self::Increment(_) => model::store::parse_integer(value.as_bytes()).is_some(),
            Self::Get | Self::Delete => false,
        }
    }
}
