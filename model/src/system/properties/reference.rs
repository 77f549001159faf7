//! The state that committed entries must produce, computed without the store's code.

use crate::{
    LogIndex, Payload, SessionId, Store,
    store::{Command, Condition, MAX_RETAINED_ANSWERS, Operation, PAIR_BYTES, REFUSALS_PER_WINDOW},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::ToString,
    vec::Vec,
};

/// The values of the keys, each with its version.
pub(in crate::system) type ReferencePairs = BTreeMap<Vec<u8>, (Vec<u8>, LogIndex)>;

/// The pairs of a store, in the form of the reference.
pub(in crate::system) fn pairs_of(store: &Store) -> ReferencePairs {
    let pairs = store.pairs();
    pairs
        .map(|(key, held)| (key.to_vec(), (held.value.to_vec(), held.version)))
        .collect()
}

/// The pairs of the store after the committed entries. This is an independent reference without the
/// cached responses of the sessions:
/// * Each (session, sequence) takes effect when it first occurs, unless the session has acknowledged it
///   earlier: in that case its client had given up the write and continued.
/// * Writes of a session that is not open have no effect. Such a session was never opened, was closed by
///   its client, or was evicted. A session may be evicted when another is opened, if it has been unused
///   for longer than the window.
/// * Writes of a session with too many unacknowledged responses have no effect, nor do writes that would
///   grow the pairs beyond the quota.
/// * A write whose condition does not hold has no effect. Nor has an increment of a value that is not an
///   integer in its shortest form, or of a number that would overflow.
///
/// The first entry has index 1.
pub(in crate::system) fn reference_pairs<'a>(
    entries: impl IntoIterator<Item = &'a crate::Entry>,
) -> ReferencePairs {
    let mut pairs = ReferencePairs::new();
    let mut seen = BTreeSet::new();
    let mut settled: BTreeMap<_, u64> = BTreeMap::new();
    // In order of last use, each with the age of the log at that use.
    let mut open: Vec<(SessionId, u64)> = Vec::new();
    let mut age: u64 = 0;
    for (index, entry) in (1..).zip(entries) {
        age = age.saturating_add(1);
        let Payload::Command(command) = &entry.payload else {
            continue;
        };
        let (used, write) = match command {
            Command::OpenSession { capacity, window } => {
                let too_many = |open: &Vec<_>| open.len() >= (*capacity).max(1) as usize;
                while too_many(&open) && age - open[0].1 > *window {
                    open.remove(0);
                }
                if too_many(&open) {
                    age = age.saturating_add((window / REFUSALS_PER_WINDOW).max(1) - 1);
                } else {
                    open.push((SessionId::new(index), age));
                }
                continue;
            }
            Command::CloseSession { session } => {
                open.retain(|(id, _)| id != session);
                continue;
            }
            Command::RenewSession { session } => (session, None),
            Command::Write(write) => (&write.session, Some(write)),
        };
        let Some(position) = open.iter().position(|(id, _)| id == used) else {
            continue;
        };
        open.remove(position);
        open.push((*used, age));
        let Some(write) = write else {
            continue;
        };
        // Sequence numbers begin at 1.
        let settled = settled.entry(write.session).or_insert(1);
        *settled = (*settled).max(write.acknowledged);
        let unacknowledged = seen.range((write.session, *settled)..=(write.session, u64::MAX));
        if write.sequence < *settled
            || seen.contains(&(write.session, write.sequence))
            || unacknowledged.count() >= MAX_RETAINED_ANSWERS
        {
            continue;
        }
        seen.insert((write.session, write.sequence));
        let version = LogIndex::new(index);
        let (key, value) = match &write.operation {
            Operation::Put {
                key,
                value,
                condition,
            } => {
                if !holds(*condition, &pairs, key) {
                    continue;
                }
                (key, value.to_vec())
            }
            Operation::Delete { key, condition } => {
                if holds(*condition, &pairs, key) {
                    pairs.remove(key);
                }
                continue;
            }
            Operation::Increment { key, by } => {
                let held = pairs
                    .get(key)
                    .map_or(Some(0), |(value, _)| canonical_integer(value));
                let Some(sum) = held.and_then(|held| held.checked_add(*by)) else {
                    continue;
                };
                (key, format!("{sum}").into_bytes())
            }
        };
        let size = |pairs: &ReferencePairs| -> usize {
            let sizes = pairs
                .iter()
                .map(|(key, (value, _))| key.len() + value.len() + PAIR_BYTES);
            sizes.sum()
        };
        let before = size(&pairs);
        let replaced = pairs.insert(key.clone(), (value, version));
        let after = size(&pairs);
        if after > before && after as u64 > write.quota {
            match replaced {
                Some(held) => pairs.insert(key.clone(), held),
                None => pairs.remove(key),
            };
        }
    }
    pairs
}

fn holds(condition: Condition, pairs: &ReferencePairs, key: &[u8]) -> bool {
    match (condition, pairs.get(key)) {
        (Condition::Always, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => true,
        (Condition::Absent, Some(_)) | (Condition::Present | Condition::Version(_), None) => false,
        (Condition::Version(expected), Some((_, version))) => *version == expected,
    }
}

/// The integer that is written exactly like this. It shares no code with the store's parser.
pub(in crate::system) fn canonical_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests;
