//! The sequential specification of the key-value map: the results that a call may have if calls take
//! effect one at a time. It shares types and limits with the store, and no code.
//!
//! A version is the index of the log entry that wrote, and the specification does not know the log. It
//! knows only that each write that takes effect has a version of its own, higher than the versions of
//! all writes before it, on any key. A result that shows a version fixes it for the write that set the
//! key: the answer to that write, a later read, and the answer to a later write whose condition failed.
//! The versions of the other writes may be any numbers that fit between those.

use super::{Call, Result};
use crate::{
    LogIndex,
    store::{Answer, Condition, Found, MAX_SCAN_BYTES, Operation, PAIR_BYTES, Page, Query},
};
use alloc::{collections::BTreeMap, format, vec::Vec};

/// The map after some writes.
#[derive(Clone, Debug, Default)]
pub(super) struct SequentialMap {
    /// The value of each key, and the position in `versions` of the write that set it.
    pairs: BTreeMap<Vec<u8>, (Vec<u8>, usize)>,
    /// The version of each write that took effect, in their order; `None` while no result has shown it.
    versions: Vec<Option<u64>>,
}

impl SequentialMap {
    /// The map after a call that takes effect now with this result; `None` if it cannot have the result.
    /// Without a result, `None` also means that the call has no effect now. `quota` is the maximum size
    /// of the pairs in bytes.
    pub(super) fn after(&self, call: &Call, result: Option<&Result>, quota: u64) -> Option<Self> {
        match (call, result) {
            (Call::Write(operation), None) => self.written(operation, None, quota),
            (Call::Write(operation), Some(Result::Answered(answer))) => {
                self.written(operation, Some(answer), quota)
            }
            (Call::Read(query), Some(Result::Found(found))) => self.read(query, found),
            _ => None,
        }
    }

    fn written(&self, operation: &Operation, answer: Option<&Answer>, quota: u64) -> Option<Self> {
        let key = operation.key();
        let condition = match operation {
            Operation::Put { condition, .. } | Operation::Delete { condition, .. } => *condition,
            Operation::Increment { .. } => Condition::Always,
        };
        if let Some(Answer::ConditionFailed { found }) = answer {
            return self.with_failed_condition(key, condition, *found);
        }
        let map = self.with_condition(key, condition)?;
        match operation {
            Operation::Put { value, .. } => match answer {
                Some(Answer::Number { .. }) => None,
                _ => map.put(key, value, answer, quota),
            },
            Operation::Delete { .. } => {
                let mut map = map;
                map.pairs.remove(key);
                match answer {
                    None => map.with_write(None),
                    Some(Answer::Written { version }) => map.with_write(Some(*version)),
                    Some(_) => None,
                }
            }
            Operation::Increment { by, .. } => map.increment(key, *by, answer, quota),
        }
    }

    /// The same map, if the condition of a write does not hold and the write found this version.
    fn with_failed_condition(
        &self,
        key: &[u8],
        condition: Condition,
        found: Option<LogIndex>,
    ) -> Option<Self> {
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => found.is_none(),
            Condition::Present => found.is_some(),
            Condition::Version(version) => found == Some(version),
        };
        if holds {
            return None;
        }
        match found {
            Some(version) => self.clone().at_version(key, version),
            None => (!self.pairs.contains_key(key)).then(|| self.clone()),
        }
    }

    /// The same map, if the condition of a write holds.
    fn with_condition(&self, key: &[u8], condition: Condition) -> Option<Self> {
        let is_present = self.pairs.contains_key(key);
        match condition {
            Condition::Absent if is_present => None,
            Condition::Present if !is_present => None,
            Condition::Version(version) => self.clone().at_version(key, version),
            Condition::Always | Condition::Absent | Condition::Present => Some(self.clone()),
        }
    }

    fn put(self, key: &[u8], value: &[u8], answer: Option<&Answer>, quota: u64) -> Option<Self> {
        let mut next = self.clone();
        let set = (value.to_vec(), self.versions.len());
        next.pairs.insert(key.to_vec(), set);
        let is_beyond_quota = next.bytes() > self.bytes() && next.bytes() > quota;
        match answer {
            Some(Answer::QuotaExceeded) => is_beyond_quota.then_some(self),
            _ if is_beyond_quota => None,
            None => next.with_write(None),
            Some(Answer::Written { version } | Answer::Number { version, .. }) => {
                next.with_write(Some(*version))
            }
            Some(_) => None,
        }
    }

    fn increment(self, key: &[u8], by: i64, answer: Option<&Answer>, quota: u64) -> Option<Self> {
        let held = match self.pairs.get(key) {
            None => Some(0),
            Some((value, _)) => canonical_integer(value),
        };
        let Some(held) = held else {
            return (answer == Some(&Answer::NotANumber)).then_some(self);
        };
        let Some(sum) = held.checked_add(by) else {
            return (answer == Some(&Answer::Overflow)).then_some(self);
        };
        match answer {
            Some(Answer::Number { value, .. }) if *value != sum => return None,
            None | Some(Answer::Number { .. } | Answer::QuotaExceeded) => {}
            Some(_) => return None,
        }
        self.put(key, format!("{sum}").as_bytes(), answer, quota)
    }

    fn read(&self, query: &Query, found: &Found) -> Option<Self> {
        match (query, found) {
            (Query::Get { key }, Found::Value(None)) => {
                (!self.pairs.contains_key(key)).then(|| self.clone())
            }
            (Query::Get { key }, Found::Value(Some(held))) => {
                let (value, _) = self.pairs.get(key)?;
                let is_value = *held.value == **value;
                is_value
                    .then(|| self.clone())?
                    .at_version(key, held.version)
            }
            (
                Query::Scan {
                    prefix,
                    after,
                    limit,
                    bytes,
                },
                Found::Pairs(page),
            ) => {
                let is_after = |key: &Vec<u8>| after.as_ref().is_none_or(|after| key > after);
                let matching: Vec<_> = self
                    .pairs
                    .iter()
                    .filter(|(key, _)| key.starts_with(prefix) && is_after(key))
                    .map(|(key, (value, _))| (key.as_slice(), value.as_slice()))
                    .collect();
                self.scanned(&matching, (*limit, *bytes), page)
            }
            _ => None,
        }
    }

    /// The same map, if the page is the longest one within the limits, and shows possible versions.
    fn scanned(
        &self,
        matching: &[(&[u8], &[u8])],
        (limit, bytes): (u32, u32),
        page: &Page,
    ) -> Option<Self> {
        let bytes = bytes.min(MAX_SCAN_BYTES) as usize;
        let mut size = 0;
        let fitting = matching.iter().take(limit as usize).enumerate();
        let fitting = fitting.take_while(|(position, (key, value))| {
            size += size_of_pair(key, value);
            *position == 0 || size <= bytes
        });
        let length = fitting.count();
        if page.pairs.len() != length || page.more != (length < matching.len()) {
            return None;
        }
        let mut map = self.clone();
        for ((key, held), (expected, value)) in page.pairs.iter().zip(matching) {
            if key != expected || *held.value != **value {
                return None;
            }
            map = map.at_version(key, held.version)?;
        }
        Some(map)
    }

    /// The same map, now known to have this version of the key.
    fn at_version(mut self, key: &[u8], version: LogIndex) -> Option<Self> {
        let (_, write) = self.pairs.get(key)?;
        let known = &mut self.versions[*write];
        if known.is_some_and(|known| known != version.get()) {
            return None;
        }
        *known = Some(version.get());
        self.has_possible_versions().then_some(self)
    }

    /// The map after one more write.
    fn with_write(mut self, version: Option<LogIndex>) -> Option<Self> {
        self.versions.push(version.map(LogIndex::get));
        self.has_possible_versions().then_some(self)
    }

    /// Whether some numbers in place of the unknown versions make all versions ascend.
    fn has_possible_versions(&self) -> bool {
        let mut last = 0;
        self.versions.iter().all(|version| {
            let least = u64::saturating_add(last, 1);
            last = version.unwrap_or(least);
            last >= least
        })
    }

    fn bytes(&self) -> u64 {
        let sizes = self.pairs.iter();
        let sizes = sizes.map(|(key, (value, _))| size_of_pair(key, value));
        sizes.sum::<usize>() as u64
    }
}

/// The integer that is written exactly like this: in decimal digits, without a plus sign and leading zeros.
fn canonical_integer(text: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (format!("{number}") == text).then_some(number)
}

fn size_of_pair(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + PAIR_BYTES
}
