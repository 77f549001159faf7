//! Sets of sends, each stored once.

use super::{ArenaRange, number};
use crate::engine::tables::Sends;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// The id of a set of sends to several processes.
pub(crate) type SendSet = u32;

/// The empty set.
pub(crate) const NO_SENDS: SendSet = 0;

/// The sets that a thread has seen.
pub(super) struct SendSets {
    /// The sends of all sets.
    sends: Sends,
    /// By set; the first is empty.
    ranges: Vec<ArenaRange>,
    ids: FxHashMap<Sends, SendSet>,
}

impl SendSets {
    pub(super) fn new() -> Self {
        Self {
            sends: Sends::new(),
            ranges: vec![ArenaRange::default()],
            ids: FxHashMap::default(),
        }
    }

    pub(super) fn intern(&mut self, sends: &[(usize, u32)]) -> SendSet {
        if sends.is_empty() {
            return NO_SENDS;
        }
        if let Some(known) = self.ids.get(sends) {
            return *known;
        }
        let set = number(self.ranges.len());
        self.ranges.push(ArenaRange {
            first: number(self.sends.len()),
            count: number(sends.len()),
        });
        self.sends.extend_from_slice(sends);
        self.ids.insert(sends.to_vec(), set);
        set
    }

    /// The numbers of the sends of a set.
    #[inline]
    pub(super) fn numbers(&self, set: SendSet) -> Range<usize> {
        self.ranges[set as usize].numbers()
    }

    /// A send: the receiver's process index and the channel.
    #[inline]
    pub(super) fn send(&self, number: usize) -> (usize, u32) {
        self.sends[number]
    }

    /// The sends of a set.
    pub(super) fn get(&self, set: SendSet) -> &[(usize, u32)] {
        &self.sends[self.numbers(set)]
    }
}
