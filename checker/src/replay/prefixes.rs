//! Log prefixes as numbers: two prefixes are equal if and only if their numbers are equal.
//!
//! By Log Matching, the term and the index of an entry determine the whole log up to it, permanently. So
//! a prefix is found by the term and index of its last entry. Another entry, or another prefix before
//! it, with the same term and index violates that property.

use model::{
    Entry, EntryId, LogIndex, Term,
    system::{Cause, Property, Violation},
};
use rustc_hash::FxHashMap;

/// The number of a log prefix.
pub(super) type Prefix = u32;

/// The empty prefix.
pub(super) const EMPTY: Prefix = 0;

/// All log prefixes that ever occurred.
pub(super) struct Prefixes {
    nodes: Vec<Node>,
    by_last: FxHashMap<EntryId, Prefix>,
}

struct Node {
    /// The last entry; `None` for the empty prefix.
    entry: Option<Entry>,
    /// The prefix without the last entry.
    parent: Prefix,
    /// A shorter prefix, chosen so that every prefix is reached in few jumps (Myers' skew-binary jump
    /// pointers).
    jump: Prefix,
    length: usize,
}

impl Prefixes {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node {
                entry: None,
                parent: EMPTY,
                jump: EMPTY,
                length: 0,
            }],
            by_last: FxHashMap::default(),
        }
    }

    /// The prefix that is one entry longer.
    ///
    /// # Errors
    /// If the entry violates Log Matching or the order of the terms.
    pub(super) fn longer(&mut self, parent: Prefix, entry: &Entry) -> Result<Prefix, Violation> {
        let length = self.length(parent) + 1;
        let last = EntryId {
            term: entry.term,
            index: LogIndex::new(length as u64),
        };
        if let Some(known) = self.by_last.get(&last) {
            let node = &self.nodes[*known as usize];
            if node.parent == parent && node.entry.as_ref() == Some(entry) {
                return Ok(*known);
            }
            let cause = Cause::RecordedLogsDiffer {
                index: last.index,
                term: entry.term,
            };
            return Err(Violation::new(Property::LogMatching, cause));
        }
        if entry.term < self.term(parent) {
            let cause = Cause::RecordedTermsOutOfOrder {
                index: last.index,
                term: entry.term,
                earlier_term: self.term(parent),
            };
            return Err(Violation::new(Property::TermsOrderedInLog, cause));
        }
        let new = Prefix::try_from(self.nodes.len()).expect("fewer than 2^32 entries");
        self.nodes.push(Node {
            entry: Some(entry.clone()),
            parent,
            jump: self.jump_from(parent),
            length,
        });
        self.by_last.insert(last, new);
        Ok(new)
    }

    fn jump_from(&self, parent: Prefix) -> Prefix {
        let length = |prefix: Prefix| self.nodes[prefix as usize].length;
        let jump = self.nodes[parent as usize].jump;
        let next = self.nodes[jump as usize].jump;
        if length(parent) - length(jump) == length(jump) - length(next) {
            next
        } else {
            parent
        }
    }

    pub(super) fn length(&self, prefix: Prefix) -> usize {
        self.nodes[prefix as usize].length
    }

    /// The term of the last entry.
    pub(super) fn term(&self, prefix: Prefix) -> Term {
        self.entry(prefix).map_or(Term::ZERO, |entry| entry.term)
    }

    /// The last entry.
    pub(super) fn entry(&self, prefix: Prefix) -> Option<&Entry> {
        self.nodes[prefix as usize].entry.as_ref()
    }

    /// The initial part of a prefix with this length. Returns `None` if the prefix is shorter.
    pub(super) fn beginning(&self, mut prefix: Prefix, length: usize) -> Option<Prefix> {
        if self.length(prefix) < length {
            return None;
        }
        while self.length(prefix) > length {
            let node = &self.nodes[prefix as usize];
            prefix = if self.length(node.jump) >= length {
                node.jump
            } else {
                node.parent
            };
        }
        Some(prefix)
    }

    /// The number of distinct entries so far.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.nodes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Payload;

    fn entry(term: u64) -> Entry {
        Entry {
            term: Term::new(term),
            payload: Payload::Noop,
        }
    }

    #[test]
    fn every_beginning_of_a_long_log_is_found() {
        let mut prefixes = Prefixes::new();
        let mut chain = vec![EMPTY];
        for length in 1..500 {
            let last = prefixes.longer(chain[length - 1], &entry(length as u64 / 7 + 1));
            chain.push(last.expect("terms are ordered"));
        }
        for prefix in &chain {
            for (length, beginning) in chain.iter().enumerate() {
                let expected = (length <= prefixes.length(*prefix)).then_some(*beginning);
                assert_eq!(prefixes.beginning(*prefix, length), expected);
            }
        }
        assert_eq!(prefixes.count(), 499);
    }

    #[test]
    fn another_history_under_the_same_name_violates_log_matching() {
        let mut prefixes = Prefixes::new();
        let one = prefixes
            .longer(EMPTY, &entry(1))
            .expect("terms are ordered");
        let two = prefixes
            .longer(EMPTY, &entry(2))
            .expect("terms are ordered");
        let long = prefixes.longer(one, &entry(3)).expect("terms are ordered");
        assert_eq!(prefixes.longer(one, &entry(3)).expect("the same"), long);
        let violation = prefixes.longer(two, &entry(3)).expect_err("another prefix");
        assert_eq!(violation.property, Property::LogMatching);
        let violation = prefixes.longer(two, &entry(1)).expect_err("an older term");
        assert_eq!(violation.property, Property::TermsOrderedInLog);
    }
}
