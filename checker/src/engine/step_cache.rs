//! The step cache of one thread: the results of steps and of channel normalization. After a warm-up
//! almost every lookup is answered here without a lock.
//!
//! Permuting the servers commutes with every step (`docs/reductions.md`). So the cache keeps one process
//! of each orbit, its *first*; every other process of the orbit is the first under a permutation.
//! Senders, receivers and channels in the cache are those of the first process; the caller permutes them
//! for any other process. Without symmetry every process is its own orbit.

mod channel_cache;
mod normalization;
mod pairs;
mod rows;
mod send_sets;

use super::{
    permutations::SlotPermutations,
    tables::{Delivery, EMPTY, OWN, ProcessStep, Sends, SharedStep, Tables},
};
pub(crate) use channel_cache::ChannelKey;
use channel_cache::{ChannelCache, Inbox};
use model::system::{Violation, Witnesses};
use pairs::Pairs;
use rows::Rows;
use rustc_hash::FxHashMap;
use send_sets::SendSets;
pub(crate) use send_sets::{NO_SENDS, SendSet};
use std::{ops::Range, sync::Arc};

/// Not computed yet.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// The results that a thread has seen.
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
    channels: Vec<ArenaRange>,
    messages: Vec<u32>,
    channel_ids: FxHashMap<Box<[u32]>, u32>,
    /// Pairs of server facets that satisfy the pair properties.
    checked_pairs: Pairs,
    /// The arenas of the ranges.
    steps: Vec<CachedStep>,
    outcomes: Vec<StepOutcome>,
    known_outcomes: FxHashMap<StepOutcome, u32>,
    sends: SendSets,
    /// Kept to reuse their memory.
    kept: Vec<u32>,
    term_only: Vec<u32>,
    /// The witnesses of the steps taken so far.
    pub(crate) witnesses: Witnesses,
}

/// A range of a vector.
#[derive(Clone, Copy, Default)]
pub(crate) struct ArenaRange {
    first: u32,
    count: u32,
}

impl ArenaRange {
    pub(crate) fn numbers(self) -> Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
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
    pub(crate) steps: ArenaRange,
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
            outcomes: Vec::new(),
            known_outcomes: FxHashMap::default(),
            sends: SendSets::new(),
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
        let steps: Vec<CachedStep> = steps.map(|step| self.cached_step(step)).collect();
        self.witnesses.add_all(delivery.eager_witnesses);
        let orbit = number(self.orbits.len());
        let known = Orbit {
            first,
            term_final: self.drops_dead && self.tables.transitions().is_term_final(&process),
            eager_count: delivery.eager_count,
            steps: self.store_steps(&steps),
            eager: self.sends.intern(&delivery.eager),
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
            SharedStep::Violation(violation) => return Applied::Violation(violation),
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
        let mut sends = self.sends.get(step.sends).to_vec();
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
        let sends = self.sends.intern(&sends);
        self.steps[number] = CachedStep {
            sends,
            channel,
            ..step
        };
        self.steps[number]
    }

    fn extend_permuted(&mut self, sends: &mut Sends, send_set: SendSet, permutation: usize) {
        for number in self.sends.numbers(send_set) {
            sends.push(self.permuted_send(number, permutation));
        }
    }

    /// The numbers of the sends of a set, for [`Self::permuted_send`].
    #[inline]
    pub(crate) fn sends_in(&self, sends: SendSet) -> Range<usize> {
        self.sends.numbers(sends)
    }

    /// A send under a permutation: the receiver's process index and the channel.
    #[inline]
    pub(crate) fn permuted_send(&mut self, number: usize, permutation: usize) -> (usize, u32) {
        let (to, channel) = self.sends.send(number);
        (
            self.permutations.image(permutation, to),
            self.permuted_channel(channel, permutation),
        )
    }

    fn cached_step(&mut self, step: &ProcessStep) -> CachedStep {
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
            sends: self.sends.intern(&step.sends),
            channel: UNKNOWN,
        }
    }

    fn store_steps(&mut self, steps: &[CachedStep]) -> ArenaRange {
        let first = number(self.steps.len());
        self.steps.extend_from_slice(steps);
        let count = number(steps.len());
        ArenaRange { first, count }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 cached items")
}
