//! The step cache of one thread: the results of steps and of channel normalization. After a warm-up
//! almost every lookup is answered here without a lock.
//!
//! Permuting the servers commutes with every step (`docs/reductions.md`). So the cache keeps one process
//! of each orbit, its *first*; every other process of the orbit is the first under a permutation.
//! Senders, receivers and channels in the cache are those of the first process; the caller permutes them
//! for any other process. Without symmetry every process is its own orbit.

use super::{
    channel_cache::{
        ChannelCache, ChannelEntry, ChannelKey, Inbox, NO_SENDS, Pairs, Range, SendSet, UNKNOWN,
    },
    permutations::SlotPermutations,
    tables::{ChannelFacts, Delivery, EMPTY, OWN, ProcessStep, Sends, SharedStep, Tables},
    visited::fetch,
};
use model::system::{Relevance, Violation, Witnesses};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

pub(crate) struct StepCache<'a> {
    tables: &'a Tables,
    process_count: usize,
    drops_dead: bool,
    pub(crate) permutations: SlotPermutations,
    /// Whether a permutation may change the messages of a channel that this thread has seen.
    pub(crate) channels_hold_ids: bool,
    processes: Vec<CachedProcess>,
    orbits: Vec<Orbit>,
    /// By the first process of an orbit.
    orbit_numbers: FxHashMap<u32, u32>,
    process_rows: Rows,
    channel_rows: Rows,
    shared_rows: Rows,
    effect_rows: Rows,
    crashes_over: Vec<Option<bool>>,
    /// By shared part and effect.
    shared_parts: Vec<Vec<u32>>,
    /// By orbit and the sender's process index.
    channel_caches: Vec<ChannelCache>,
    inboxes: Vec<Inbox>,
    /// By channel cache and message.
    deliveries: FxHashMap<(u32, u32), Arc<Delivery>>,
    /// The messages of each channel, as ranges of `messages`; empty until they are loaded.
    channels: Vec<Range>,
    messages: Vec<u32>,
    channel_ids: FxHashMap<Box<[u32]>, u32>,
    /// Pairs of server facets that satisfy the pair properties.
    checked_pairs: Pairs,
    /// The arenas of the ranges.
    steps: Vec<CachedStep>,
    sends: Sends,
    outcomes: Vec<StepOutcome>,
    known_outcomes: FxHashMap<StepOutcome, u32>,
    /// The sends of each set, as ranges of `sends`; the first is empty.
    send_sets: Vec<Range>,
    known_send_sets: FxHashMap<Sends, SendSet>,
    /// Kept to reuse their memory.
    kept: Vec<u32>,
    term_only: Vec<u32>,
    /// The witnesses of the steps taken so far.
    pub(crate) witnesses: Witnesses,
}

/// A process as a permutation of the first of its orbit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedProcess {
    /// The first process of its orbit, equal on every thread; `UNKNOWN` until the process is loaded.
    pub(crate) first: u32,
    /// The orbit's number on this thread.
    pub(crate) orbit: u32,
    /// A permutation that maps the first process to this one.
    pub(crate) permutation: u32,
    /// The part of it that pair properties compare.
    facet: u32,
}

impl CachedProcess {
    pub(crate) const UNKNOWN: Self = Self {
        first: UNKNOWN,
        orbit: UNKNOWN,
        permutation: UNKNOWN,
        facet: UNKNOWN,
    };
}

/// The cached results for all processes of an orbit.
#[derive(Clone, Copy)]
pub(crate) struct Orbit {
    first: u32,
    pub(crate) term_final: bool,
    /// The number of its own events that only send; the others are in `steps`.
    pub(crate) eager_count: u32,
    pub(crate) steps: Range,
    pub(crate) eager: SendSet,
}

/// A step of a process: an own event or a delivery.
#[derive(Clone, Copy)]
pub(crate) struct CachedStep {
    pub(crate) outcome: u32,
    /// The number of deliveries or events with this result.
    pub(crate) count: u32,
    /// The messages that it sends. After the step was first taken (the budget may forbid it), also the
    /// eager sends that follow from the new process and from the other messages of the channel.
    pub(crate) sends: SendSet,
    /// The channel of the message after the step; `UNKNOWN` until the step is taken.
    pub(crate) channel: u32,
}

/// The process after a step, and the effect on the shared part.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StepOutcome {
    pub(crate) next: u32,
    pub(crate) effect: u32,
}

/// The shared part after an effect.
pub(crate) enum Applied {
    /// The budget does not allow it.
    Disabled,
    To(u32),
    Violation(Violation),
}

/// Stands for a shared part that the budget does not allow.
const DISABLED: u32 = UNKNOWN - 1;

impl<'a> StepCache<'a> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        let permutations = SlotPermutations::new(tables);
        let rows = || Rows::new(permutations.count());
        Self {
            tables,
            process_count: tables.layout().addresses.len(),
            drops_dead: tables.scope().reduction.drop_dead,
            channels_hold_ids: tables.channels_hold_ids(),
            processes: Vec::new(),
            orbits: Vec::new(),
            orbit_numbers: FxHashMap::default(),
            process_rows: rows(),
            channel_rows: rows(),
            shared_rows: rows(),
            effect_rows: rows(),
            crashes_over: Vec::new(),
            shared_parts: Vec::new(),
            channel_caches: Vec::new(),
            inboxes: Vec::new(),
            deliveries: FxHashMap::default(),
            channels: Vec::new(),
            messages: Vec::new(),
            channel_ids: FxHashMap::default(),
            checked_pairs: Pairs::default(),
            steps: Vec::new(),
            sends: Vec::new(),
            outcomes: Vec::new(),
            known_outcomes: FxHashMap::default(),
            send_sets: vec![Range::default()],
            known_send_sets: FxHashMap::default(),
            kept: Vec::new(),
            term_only: Vec::new(),
            witnesses: Witnesses::default(),
            permutations,
        }
    }

    /// Must be called before this thread handles a state that another thread may have found: a channel of
    /// that state may be the first that a permutation changes. The cache calls it after its own loads.
    #[inline]
    pub(crate) fn refresh_holds_ids(&mut self) {
        self.channels_hold_ids = self.tables.channels_hold_ids();
    }

    /// The cached process; loaded on the first call.
    #[inline]
    pub(crate) fn process(&mut self, id: u32) -> CachedProcess {
        match self.processes.get(id as usize) {
            Some(known) if known.first != UNKNOWN => *known,
            _ => self.load(id),
        }
    }

    #[inline]
    pub(crate) fn orbit(&self, number: u32) -> &Orbit {
        &self.orbits[number as usize]
    }

    #[cold]
    fn load(&mut self, id: u32) -> CachedProcess {
        let row = self.tables.process_row(id);
        let first = row.iter().copied().min().unwrap_or(id);
        let orbit = match self.orbit_numbers.get(&first) {
            Some(orbit) => *orbit,
            None => self.load_orbit(first),
        };
        let permuted = self.tables.process_row(first);
        let permutation = permuted.iter().position(|permuted| *permuted == id);
        let known = CachedProcess {
            first,
            orbit,
            permutation: number(
                permutation.expect("a process is a permutation of the first of its orbit"),
            ),
            facet: self.tables.facet_of(&self.tables.process(id)),
        };
        let index = id as usize;
        if index >= self.processes.len() {
            self.processes.resize(index + 1, CachedProcess::UNKNOWN);
        }
        self.processes[index] = known;
        known
    }

    fn load_orbit(&mut self, first: u32) -> u32 {
        let process = self.tables.process(first);
        let index = self.tables.index_of(&process);
        let delivery = self.tables.delivery(first, index, OWN);
        let steps = delivery.steps.iter();
        let steps: Vec<CachedStep> = steps.map(|step| self.known_step(step)).collect();
        self.witnesses.add_all(delivery.eager_witnesses);
        let orbit = number(self.orbits.len());
        let known = Orbit {
            first,
            term_final: self.drops_dead && self.tables.transitions().is_term_final(&process),
            eager_count: delivery.eager_count,
            steps: self.store_steps(&steps),
            eager: self.intern_sends(&delivery.eager),
        };
        self.orbits.push(known);
        let channel_caches = self.orbits.len() * self.process_count;
        self.channel_caches
            .resize_with(channel_caches, ChannelCache::default);
        self.orbit_numbers.insert(first, orbit);
        self.refresh_holds_ids();
        orbit
    }

    /// A process under a permutation.
    #[inline]
    pub(crate) fn permuted_process(&mut self, process: u32, permutation: usize) -> u32 {
        let tables = self.tables;
        self.process_rows
            .at(process, permutation, || tables.process_row(process))
    }

    /// A channel under a permutation.
    #[inline]
    pub(crate) fn permuted_channel(&mut self, channel: u32, permutation: usize) -> u32 {
        if !self.channels_hold_ids || permutation == 0 {
            return channel;
        }
        let tables = self.tables;
        self.channel_rows
            .at(channel, permutation, || tables.channel_row(channel))
    }

    /// A channel under all permutations.
    pub(crate) fn channel_row(&mut self, channel: u32) -> &[u32] {
        let tables = self.tables;
        self.channel_rows
            .get(channel, || tables.channel_row(channel))
    }

    /// A shared part under a permutation.
    #[inline]
    pub(crate) fn permuted_shared(&mut self, shared: u32, permutation: usize) -> u32 {
        let tables = self.tables;
        self.shared_rows
            .at(shared, permutation, || tables.shared_row(shared))
    }

    /// Whether no server can crash later.
    pub(crate) fn are_crashes_over(&mut self, shared: u32) -> bool {
        let index = shared as usize;
        if index >= self.crashes_over.len() {
            self.crashes_over.resize(index + 1, None);
        }
        *self.crashes_over[index].get_or_insert_with(|| self.tables.are_crashes_over(shared))
    }

    /// Applies the effect of a step to a shared part. `permutation` is that of the process.
    pub(crate) fn apply(&mut self, shared: u32, effect: u32, permutation: usize) -> Applied {
        let tables = self.tables;
        let row = || tables.effect_row(effect);
        let effect = self.effect_rows.at(effect, permutation, row);
        let known = self.shared_parts.get(shared as usize);
        match known.and_then(|known| known.get(effect as usize)) {
            None | Some(&UNKNOWN) => self.load_apply(shared, effect),
            Some(&DISABLED) => Applied::Disabled,
            Some(&shared) => Applied::To(shared),
        }
    }

    #[cold]
    fn load_apply(&mut self, shared: u32, effect: u32) -> Applied {
        let (after, known) = match self.tables.apply(shared, effect) {
            SharedStep::Violation(broken) => return Applied::Violation(broken),
            SharedStep::Disabled => (Applied::Disabled, DISABLED),
            SharedStep::To { shared, witnesses } => {
                assert!(shared < DISABLED, "too many shared parts for the ids");
                self.witnesses.add_all(witnesses);
                (Applied::To(shared), shared)
            }
        };
        let (shared, effect) = (shared as usize, effect as usize);
        if shared >= self.shared_parts.len() {
            self.shared_parts.resize_with(shared + 1, Vec::new);
        }
        let row = &mut self.shared_parts[shared];
        if effect >= row.len() {
            row.resize(effect + 1, UNKNOWN);
        }
        row[effect] = known;
        after
    }

    /// Checks the pair properties of two servers.
    pub(crate) fn check_pair(
        &mut self,
        one: CachedProcess,
        other: CachedProcess,
    ) -> Result<(), Violation> {
        if !self.checked_pairs.contains(other.facet, one.facet) {
            self.tables.check_pair(one.facet, other.facet)?;
            self.checked_pairs.insert(other.facet, one.facet);
        }
        Ok(())
    }

    /// The channel cache of a process and one sender.
    #[inline]
    pub(crate) fn channel_cache_of(&self, process: CachedProcess, from: usize) -> u32 {
        let back = self.permutations.inverse(process.permutation as usize);
        self.channel_cache(process.orbit, self.permutations.image(back, from))
    }

    /// The channel cache of the first process of an orbit and one sender.
    #[inline]
    fn channel_cache(&self, orbit: u32, from: usize) -> u32 {
        orbit * self.process_count as u32 + from as u32
    }

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
    pub(crate) fn fetch_inbox(&self, inbox: u32) {
        fetch(&self.inboxes[inbox as usize]);
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
        let mut refusals: Vec<(model::Term, u32)> = Vec::new();
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
        kept.sort_unstable();
        // Trimmed messages may be equal.
        kept.dedup();
        let channel = self.channel_id(&kept);
        (self.kept, self.term_only) = (kept, term_only);
        let eager = self.tables.gather(eager);
        self.refresh_holds_ids();
        (channel, self.intern_sends(&eager))
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
    fn messages_of(&mut self, channel: u32) -> std::ops::Range<usize> {
        let index = channel as usize;
        if channel == EMPTY {
            return 0..0;
        }
        if index >= self.channels.len() {
            self.channels.resize(index + 1, Range::default());
        }
        if self.channels[index].count == 0 {
            let messages = self.tables.messages(channel);
            self.channels[index] = Range {
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
    pub(crate) fn steps_of(&mut self, inbox: u32) -> (Range, u32) {
        let known = &self.inboxes[inbox as usize];
        match known.steps {
            Some(steps) => (steps, known.eager_count),
            None => self.load_steps_of(inbox),
        }
    }

    #[cold]
    fn load_steps_of(&mut self, inbox: u32) -> (Range, u32) {
        let Inbox {
            channel_cache, key, ..
        } = self.inboxes[inbox as usize];
        let mut eager_count = 0;
        let mut found: Vec<CachedStep> = Vec::new();
        for index in self.messages_of(key.channel()) {
            let delivery = Arc::clone(self.delivery(channel_cache, self.messages[index]));
            eager_count += delivery.eager_count;
            for step in &delivery.steps {
                let step = self.known_step(step);
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

    #[inline]
    pub(crate) fn step(&self, number: usize) -> CachedStep {
        self.steps[number]
    }

    #[inline]
    pub(crate) fn outcome(&self, outcome: u32) -> StepOutcome {
        self.outcomes[outcome as usize]
    }

    /// A step that changes its process, with the eager sends that follow. `through` is the inbox of the
    /// delivered message.
    #[inline]
    pub(crate) fn taken(&mut self, number: usize, through: Option<u32>) -> CachedStep {
        let step = self.steps[number];
        if step.channel != UNKNOWN {
            return step;
        }
        self.take_first(number, through)
    }

    #[cold]
    fn take_first(&mut self, number: usize, through: Option<u32>) -> CachedStep {
        let step = self.steps[number];
        let next = self.process(self.outcome(step.outcome).next);
        let permutation = next.permutation as usize;
        let mut sends = self.sends_of(step.sends).to_vec();
        self.extend_permuted(&mut sends, self.orbit(next.orbit).eager, permutation);
        let mut channel = EMPTY;
        if let Some(inbox) = through {
            let Inbox {
                channel_cache, key, ..
            } = self.inboxes[inbox as usize];
            let back = self.permutations.inverse(permutation);
            let permuted = self.permuted_channel(key.channel(), back);
            let channel_cache =
                self.channel_cache_of(next, channel_cache as usize % self.process_count);
            let (entered, eager) =
                self.enter(channel_cache, ChannelKey::new(permuted, key.facts()));
            channel = self.permuted_channel(entered, permutation);
            self.extend_permuted(&mut sends, eager, permutation);
        }
        let sends = self.tables.gather(sends);
        self.refresh_holds_ids();
        let sends = self.intern_sends(&sends);
        self.steps[number] = CachedStep {
            sends,
            channel,
            ..step
        };
        self.steps[number]
    }

    fn extend_permuted(&mut self, sends: &mut Sends, send_set: SendSet, permutation: usize) {
        for number in self.sends_in(send_set).numbers() {
            sends.push(self.permuted_send(number, permutation));
        }
    }

    /// The sends of a set.
    #[inline]
    pub(crate) fn sends_in(&self, sends: SendSet) -> Range {
        self.send_sets[sends as usize]
    }

    /// A send under a permutation: the receiver's process index and the channel.
    #[inline]
    pub(crate) fn permuted_send(&mut self, number: usize, permutation: usize) -> (usize, u32) {
        let (to, channel) = self.sends[number];
        (
            self.permutations.image(permutation, to),
            self.permuted_channel(channel, permutation),
        )
    }

    fn sends_of(&self, sends: SendSet) -> &[(usize, u32)] {
        &self.sends[self.sends_in(sends).numbers()]
    }

    fn intern_sends(&mut self, sends: &[(usize, u32)]) -> SendSet {
        if sends.is_empty() {
            return NO_SENDS;
        }
        if let Some(known) = self.known_send_sets.get(sends) {
            return *known;
        }
        let send_set = number(self.send_sets.len());
        self.send_sets.push(Range {
            first: number(self.sends.len()),
            count: number(sends.len()),
        });
        self.sends.extend_from_slice(sends);
        self.known_send_sets.insert(sends.to_vec(), send_set);
        send_set
    }

    fn known_step(&mut self, step: &ProcessStep) -> CachedStep {
        let outcome = StepOutcome {
            next: step.next,
            effect: step.effect,
        };
        let new = number(self.outcomes.len());
        let known = *self.known_outcomes.entry(outcome).or_insert(new);
        if known == new {
            self.outcomes.push(outcome);
        }
        CachedStep {
            outcome: known,
            count: 1,
            sends: self.intern_sends(&step.sends),
            channel: UNKNOWN,
        }
    }

    fn store_steps(&mut self, steps: &[CachedStep]) -> Range {
        let first = number(self.steps.len());
        self.steps.extend_from_slice(steps);
        let count = number(steps.len());
        Range { first, count }
    }
}

/// For each id a row with its permutations; loaded on first use.
struct Rows {
    width: usize,
    rows: Vec<u32>,
}

impl Rows {
    fn new(width: usize) -> Self {
        Self {
            width,
            rows: Vec::new(),
        }
    }

    #[inline]
    fn get(&mut self, id: u32, load: impl FnOnce() -> Vec<u32>) -> &[u32] {
        self.at(id, 0, load);
        let index = id as usize * self.width;
        &self.rows[index..index + self.width]
    }

    /// One element of a row.
    #[inline]
    fn at(&mut self, id: u32, permutation: usize, load: impl FnOnce() -> Vec<u32>) -> u32 {
        let index = id as usize * self.width;
        match self.rows.get(index + permutation) {
            Some(known) if *known != UNKNOWN => *known,
            _ => self.load(index, &load())[permutation],
        }
    }

    #[cold]
    fn load(&mut self, index: usize, row: &[u32]) -> &[u32] {
        if index >= self.rows.len() {
            self.rows.resize(index + self.width, UNKNOWN);
        }
        let known = &mut self.rows[index..index + self.width];
        known.copy_from_slice(row);
        known
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 cached items")
}
