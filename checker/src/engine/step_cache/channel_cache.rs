//! The cached results for channels. Entries are grouped by receiver and sender, then by channel, then by
//! the messages sent. So the entries that states with equal processes need lie close together in memory.

use super::{ArenaRange, NO_SENDS, SendSet, UNKNOWN};
use crate::engine::tables::ChannelFacts;
use smallvec::SmallVec;

/// The cached channels from one sender to one receiver.
#[derive(Default)]
pub(crate) struct ChannelCache {
    /// An open-addressing hash table. Its length is a power of two, or 0.
    channels: Vec<ChannelEntry>,
    len: usize,
}

/// A channel and its facts in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKey(u32);

impl ChannelKey {
    #[inline]
    pub(crate) fn new(channel: u32, facts: ChannelFacts) -> Self {
        assert!(channel < 1 << 30, "too many channels for the key");
        Self(channel << 2 | u32::from(facts.term_final) << 1 | u32::from(facts.no_more_crashes))
    }

    pub(crate) fn channel(self) -> u32 {
        self.0 >> 2
    }

    pub(crate) fn facts(self) -> ChannelFacts {
        ChannelFacts {
            term_final: self.0 & 2 != 0,
            no_more_crashes: self.0 & 1 != 0,
        }
    }
}

/// The cached results for one channel and its receiver.
#[derive(Clone, Copy)]
pub(crate) struct ChannelEntry {
    key: ChannelKey,
    /// The channel after its receiver changed to this state; [`UNKNOWN`] until it is needed.
    pub(crate) entered: u32,
    /// The eager sends of the receiver at that moment.
    pub(crate) eager: SendSet,
    /// The inbox of the channel; [`UNKNOWN`] until it is needed.
    pub(crate) inbox: u32,
}

const VACANT: ChannelEntry = ChannelEntry {
    key: ChannelKey(UNKNOWN),
    entered: UNKNOWN,
    eager: NO_SENDS,
    inbox: UNKNOWN,
};

impl ChannelCache {
    /// The entry of a channel; inserted on the first call.
    #[inline]
    pub(crate) fn entry(&mut self, key: ChannelKey) -> &mut ChannelEntry {
        let mut mask = self.channels.len().wrapping_sub(1);
        let mut index = Self::hash(key) & mask;
        loop {
            match self.channels.get(index) {
                Some(entry) if entry.key == key => break,
                Some(entry) if entry.key != VACANT.key => index = (index + 1) & mask,
                _ => {
                    index = self.insert(key);
                    mask = self.channels.len() - 1;
                    break;
                }
            }
        }
        &mut self.channels[index & mask]
    }

    #[cold]
    fn insert(&mut self, key: ChannelKey) -> usize {
        if self.len * 2 >= self.channels.len() {
            let larger = vec![VACANT; (self.channels.len() * 2).max(4)];
            for entry in std::mem::replace(&mut self.channels, larger) {
                if entry.key != VACANT.key {
                    let index = self.vacancy(entry.key);
                    self.channels[index] = entry;
                }
            }
        }
        self.len += 1;
        let index = self.vacancy(key);
        self.channels[index].key = key;
        index
    }

    fn vacancy(&self, key: ChannelKey) -> usize {
        let mask = self.channels.len() - 1;
        let mut index = Self::hash(key) & mask;
        while self.channels[index].key != VACANT.key {
            index = (index + 1) & mask;
        }
        index
    }

    fn hash(key: ChannelKey) -> usize {
        (key.0.wrapping_mul(0x9e37_79b1) >> 8) as usize
    }
}

/// A normalized channel and its receiver, with the steps that its messages cause.
#[repr(align(64))]
pub(crate) struct Inbox {
    /// The sender and the receiver.
    pub(crate) channel_cache: u32,
    /// The channel and its facts.
    pub(crate) key: ChannelKey,
    /// The steps that the messages cause; `None` until they are needed.
    pub(crate) steps: Option<ArenaRange>,
    /// The number of deliveries that only send.
    pub(crate) eager_count: u32,
    /// The channel after more messages were sent on it: (messages, channel afterwards, eager sends).
    pub(crate) added: SmallVec<[(u32, u32, SendSet); 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn cache_keeps_channels_and_facts_apart(
            channels in prop::collection::vec((0_u32..300, any::<bool>(), any::<bool>()), 2000),
        ) {
            let mut channel_cache = ChannelCache::default();
            let mut plain = HashMap::new();
            for (number, (channel, term_final, no_more_crashes)) in channels.into_iter().enumerate() {
                let key = ChannelKey::new(channel, ChannelFacts { term_final, no_more_crashes });
                prop_assert_eq!((key.channel(), key.facts()), (channel, ChannelFacts { term_final, no_more_crashes }));
                let entry = channel_cache.entry(key);
                let expected = plain.entry((channel, term_final, no_more_crashes)).or_insert(UNKNOWN);
                prop_assert_eq!(entry.entered, *expected);
                (entry.entered, *expected) = (number as u32, number as u32);
            }
            prop_assert_eq!(channel_cache.len, plain.len());
        }
    }
}
