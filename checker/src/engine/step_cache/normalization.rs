//! Channels and their receivers: normalization, and the steps that the messages cause.

use super::{
    ArenaRange, CachedStep, SendSet, StepCache, UNKNOWN,
    channel_cache::{ChannelEntry, ChannelKey, Inbox},
    number,
};
use crate::engine::{
    prefetch::prefetch,
    tables::{ChannelFacts, Delivery, EMPTY},
};
use model::{Term, system::Relevance};
use smallvec::SmallVec;
use std::{ops::Range, sync::Arc};

impl StepCache<'_> {
    #[inline]
    fn entry(&mut self, channel_cache: u32, key: ChannelKey) -> &mut ChannelEntry {
        self.channel_caches[channel_cache as usize].entry(key)
    }

    /// The channel after its receiver changed: every message is normalized again.
    #[inline]
    pub(crate) fn enter(&mut self, channel_cache: u32, key: ChannelKey) -> (u32, SendSet) {
        let entry = self.entry(channel_cache, key);
        if entry.entered != UNKNOWN {
            return (entry.entered, entry.eager);
        }
        self.enter_first(channel_cache, key)
    }

    #[cold]
    fn enter_first(&mut self, channel_cache: u32, key: ChannelKey) -> (u32, SendSet) {
        let (entered, eager) = self.normalize(channel_cache, EMPTY, key.channel(), key.facts());
        let entry = self.entry(channel_cache, key);
        (entry.entered, entry.eager) = (entered, eager);
        (entered, eager)
    }

    /// The inbox of a normalized channel.
    #[inline]
    pub(crate) fn inbox(&mut self, channel_cache: u32, key: ChannelKey) -> u32 {
        let new = self.inboxes.len();
        let entry = self.entry(channel_cache, key);
        if entry.inbox != UNKNOWN {
            return entry.inbox;
        }
        entry.inbox = number(new);
        self.inboxes.push(Inbox {
            channel_cache,
            key,
            steps: None,
            eager_count: 0,
            added: SmallVec::new(),
        });
        number(new)
    }

    /// Prefetches an inbox.
    #[inline]
    pub(crate) fn prefetch_inbox(&self, inbox: u32) {
        prefetch(&self.inboxes[inbox as usize]);
    }

    /// The channel of an inbox after more messages were sent on it.
    #[inline]
    pub(crate) fn add(&mut self, inbox: u32, send: u32) -> (u32, SendSet) {
        let known = &self.inboxes[inbox as usize].added;
        match known.iter().find(|(known, _, _)| *known == send) {
            Some((_, channel, eager)) => (*channel, *eager),
            None => self.add_first(inbox, send),
        }
    }

    #[cold]
    fn add_first(&mut self, inbox: u32, send: u32) -> (u32, SendSet) {
        let Inbox {
            channel_cache, key, ..
        } = self.inboxes[inbox as usize];
        let (channel, eager) = self.normalize(channel_cache, key.channel(), send, key.facts());
        let added = &mut self.inboxes[inbox as usize].added;
        added.push((send, channel, eager));
        (channel, eager)
    }

    /// Normalizes the messages `old` and `new` of a channel: drops those without an effect (see
    /// [`Relevance`]), and takes the eager deliveries of the new ones. `normalize_inbox` of the model
    /// does the same with complete messages.
    fn normalize(
        &mut self,
        channel_cache: u32,
        old: u32,
        new: u32,
        facts: ChannelFacts,
    ) -> (u32, SendSet) {
        let (old, new) = (self.messages_of(old), self.messages_of(new));
        let last = self.orbits[channel_cache as usize / self.process_count].term_final;
        let mut eager: Vec<(usize, u32)> = Vec::new();
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        // Of several messages with the same effect, the first in message order stays.
        let mut term_only = std::mem::take(&mut self.term_only);
        term_only.clear();
        let mut refusals: Vec<(Term, u32)> = Vec::new();
        let mut contacts: Vec<(Term, u32)> = Vec::new();
        let all = old.clone().map(|index| (index, false));
        for (index, is_new) in all.chain(new.map(|index| (index, true))) {
            let message = self.messages[index];
            if is_new && self.messages[old.clone()].contains(&message) {
                continue;
            }
            let delivery = self.delivery(channel_cache, message);
            let message = delivery.trimmed;
            match delivery.relevance.now(facts.no_more_crashes) {
                Relevance::Live | Relevance::TermOnlyAfterCrashes => kept.push(message),
                Relevance::Dead => continue,
                Relevance::TermOnly => {
                    if !last && !facts.term_final {
                        term_only.push(message);
                    }
                }
                Relevance::Refusal(term) => refusals.push((term, message)),
                Relevance::Contact(term) => contacts.push((term, message)),
            }
            if is_new && delivery.eager_count > 0 {
                eager.extend(&delivery.eager);
                let witnesses = delivery.eager_witnesses;
                self.witnesses.add_all(witnesses);
            }
        }
        if term_only.len() > 1 {
            self.tables.sort_messages(&mut term_only);
        }
        kept.extend(term_only.first());
        kept.extend(self.first_of_each(refusals));
        kept.extend(self.first_of_each(contacts));
        kept.sort_unstable();
        // Trimmed messages may be equal.
        kept.dedup();
        let channel = self.channel_id(&kept);
        (self.kept, self.term_only) = (kept, term_only);
        let eager = self.tables.gather(eager);
        self.refresh_holds_ids();
        (channel, self.sends.intern(&eager))
    }

    /// The first in message order of each group with the same effect.
    fn first_of_each<K: Ord>(&self, mut alike: Vec<(K, u32)>) -> impl Iterator<Item = u32> {
        if alike.len() > 1 {
            let mut messages: Vec<u32> = alike.iter().map(|(_, message)| *message).collect();
            self.tables.sort_messages(&mut messages);
            let rank = |message| messages.iter().position(|other| *other == message);
            alike.sort_by(|(key, message), (other_key, other)| {
                key.cmp(other_key)
                    .then_with(|| rank(*message).cmp(&rank(*other)))
            });
            alike.dedup_by(|(key, _), (kept, _)| key == kept);
        }
        alike.into_iter().map(|(_, message)| message)
    }

    /// The range of a channel in `messages`.
    fn messages_of(&mut self, channel: u32) -> Range<usize> {
        let index = channel as usize;
        if channel == EMPTY {
            return 0..0;
        }
        if index >= self.channels.len() {
            self.channels.resize(index + 1, ArenaRange::default());
        }
        if self.channels[index].count == 0 {
            let messages = self.tables.messages(channel);
            self.channels[index] = ArenaRange {
                first: number(self.messages.len()),
                count: number(messages.len()),
            };
            self.messages.extend_from_slice(&messages);
        }
        self.channels[index].numbers()
    }

    fn channel_id(&mut self, messages: &[u32]) -> u32 {
        if messages.is_empty() {
            return EMPTY;
        }
        if let Some(id) = self.channel_ids.get(messages) {
            return *id;
        }
        let id = self.tables.channel_id(messages.into());
        self.channel_ids.insert(messages.into(), id);
        id
    }

    fn delivery(&mut self, channel_cache: u32, message: u32) -> &Arc<Delivery> {
        let (tables, process_count) = (self.tables, self.process_count);
        let orbit = &self.orbits[channel_cache as usize / process_count];
        self.deliveries
            .entry((channel_cache, message))
            .or_insert_with(|| {
                tables.delivery(orbit.first, channel_cache as usize % process_count, message)
            })
    }

    /// The steps that the messages of an inbox cause, and the number of deliveries that only send.
    #[inline]
    pub(crate) fn steps_of(&mut self, inbox: u32) -> (ArenaRange, u32) {
        let known = &self.inboxes[inbox as usize];
        match known.steps {
            Some(steps) => (steps, known.eager_count),
            None => self.load_steps_of(inbox),
        }
    }

    #[cold]
    fn load_steps_of(&mut self, inbox: u32) -> (ArenaRange, u32) {
        let Inbox {
            channel_cache, key, ..
        } = self.inboxes[inbox as usize];
        let mut eager_count = 0;
        let mut found: Vec<CachedStep> = Vec::new();
        for index in self.messages_of(key.channel()) {
            let delivery = Arc::clone(self.delivery(channel_cache, self.messages[index]));
            eager_count += delivery.eager_count;
            for step in &delivery.steps {
                let step = self.cached_step(step);
                // Neither step was taken yet, so their sends are comparable.
                let does = |step: &CachedStep| (step.outcome, step.sends);
                match found.iter_mut().find(|known| does(known) == does(&step)) {
                    Some(known) => known.count += 1,
                    None => found.push(step),
                }
            }
        }
        self.refresh_holds_ids();
        let steps = self.store_steps(&found);
        let known = &mut self.inboxes[inbox as usize];
        (known.steps, known.eager_count) = (Some(steps), eager_count);
        (steps, eager_count)
    }
}
