//! The successor function of one thread.
//!
//! States arrive in groups with equal processes and an equal shared part (`search` sorts them). The
//! effect of a step on these is computed once per group; only the channels are processed for each state.

use super::{
    canonicalization::{Canonicalizer, sorting},
    permutations::MAX_SERVERS,
    state_layout::StateLayout,
    step_cache::{Applied, CachedProcess, ChannelKey, NO_SENDS, SendSet, StepCache, UNKNOWN},
    tables::{ChannelFacts, EMPTY, NO_EFFECT, Tables},
};
use model::system::{Flaw, Violation, Witnesses};

/// `S` is the number of slots of a state; unused slots are 0.
///
/// Aligned so that the workers of two threads share no cache line.
#[repr(align(128))]
pub(crate) struct Worker<'a, const S: usize> {
    layout: StateLayout,
    cache: StepCache<'a>,
    canonicalizer: Canonicalizer<'a, S>,
    drops_dead: bool,
    remembers_again: bool,
    group: Group<S>,
    /// The number of groups so far.
    groups: u32,
    /// The moves of the current group. For each move with a unique sorting permutation, `process_parts`
    /// has the permuted processes and shared part.
    moves: Vec<Move>,
    process_parts: Vec<[u32; S]>,
    /// By outcome and process index: the group in which it was last taken, and its move.
    marks: Vec<(u32, u32)>,
    /// The state that was expanded last, and the inboxes of its channels as far as they are loaded.
    last: [u32; S],
    inboxes: [u32; S],
    /// Sends that are not yet added to the successor: the slot and the messages.
    pending: Vec<(usize, u32)>,
    /// The number of steps enabled in the states expanded so far.
    pub(crate) transitions: u64,
    /// A planted flaw: one of this many successors is dropped; 0 for none.
    dropped_of: u64,
    /// The number of successors so far, if some are dropped.
    successors: u64,
}

/// States with equal processes and an equal shared part.
struct Group<const S: usize> {
    /// Whether all fields are filled.
    is_whole: bool,
    /// The processes and the shared part, in their slots.
    process_part: [u32; S],
    /// By process index.
    processes: [CachedProcess; S],
    /// By slot: the channel's cache and facts.
    channel_caches: [u32; S],
    facts: [ChannelFacts; S],
    /// The processes that cannot enter a newer term, as bits.
    term_final: u32,
    /// Whether no server can crash later.
    no_more_crashes: bool,
    /// Own events of the processes: the step and its move.
    own: Vec<(usize, u32)>,
    /// The number of these steps, including those that only send.
    own_count: u64,
}

/// The effect of an outcome on the processes and the shared part of a group.
#[derive(Clone, Copy)]
struct Move {
    index: usize,
    /// The process at `index` after the step.
    process: u32,
    known: CachedProcess,
    is_changed: bool,
    shared: u32,
    term_final: u32,
    no_more_crashes: bool,
    /// The permutation that sorts the servers; `UNKNOWN` if two of them compare equal.
    permutation: u32,
}

/// Stands for the move of an outcome that the budget does not allow.
const DISABLED: u32 = UNKNOWN;

/// A successor under construction.
struct Next<const S: usize> {
    state: [u32; S],
    /// The slots of channels that may differ from the expanded state, as bits.
    touched: u64,
}

impl<'a, const S: usize> Worker<'a, S> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        const { assert!(S <= u64::BITS as usize, "slots are counted by bits") };
        Self {
            layout: tables.layout().clone(),
            cache: StepCache::new(tables),
            canonicalizer: Canonicalizer::new(tables),
            drops_dead: tables.scope().reduction.drop_dead,
            remembers_again: tables.scope().remembers_again(),
            group: Group {
                is_whole: false,
                process_part: [EMPTY; S],
                processes: [CachedProcess::UNKNOWN; S],
                channel_caches: [UNKNOWN; S],
                facts: [ChannelFacts::default(); S],
                term_final: 0,
                no_more_crashes: false,
                own: Vec::new(),
                own_count: 0,
            },
            groups: 0,
            moves: Vec::new(),
            process_parts: Vec::new(),
            marks: Vec::new(),
            last: [EMPTY; S],
            inboxes: [UNKNOWN; S],
            pending: Vec::new(),
            transitions: 0,
            dropped_of: match tables.scope().flaw {
                Some(Flaw::DropsSuccessors(dropped_of)) => dropped_of,
                _ => 0,
            },
            successors: 0,
        }
    }

    /// The witnesses of the steps taken so far.
    pub(crate) fn witnesses(&self) -> Witnesses {
        self.cache.witnesses
    }

    /// The canonical form of a state.
    pub(crate) fn canonical(&mut self, state: [u32; S]) -> [u32; S] {
        self.canonicalizer.canonical(&mut self.cache, state)
    }

    /// Whether the canonical form of a permuted canonical state is the state itself.
    pub(crate) fn is_canonical_form(&mut self, canonical: &[u32; S], permutation: usize) -> bool {
        let cache = &mut self.cache;
        self.canonicalizer
            .is_canonical_form(cache, canonical, permutation)
    }

    /// Calls `found` with each successor of a state, in canonical form. Counts its transitions
    /// only if `found` accepts them all; returns whether it did.
    ///
    /// # Errors
    /// The property that a step violates.
    pub(crate) fn successors(
        &mut self,
        state: &[u32; S],
        mut found: impl FnMut(&[u32; S]) -> bool,
    ) -> Result<bool, Violation> {
        self.cache.refresh_holds_ids();
        self.enter_group(state)?;
        let mut transitions = self.group.own_count;
        for own in 0..self.group.own.len() {
            let (step, number) = self.group.own[own];
            let next = self.take(step, None, number);
            if !self.drops_next() && !found(&next) {
                return Ok(false);
            }
        }
        for slot in self.layout.channels() {
            if state[slot] == EMPTY {
                continue;
            }
            let (_, to) = self.layout.ends(slot);
            let inbox = self.inbox(slot);
            let (steps, eager_count) = self.cache.steps_of(inbox);
            transitions += u64::from(eager_count);
            for step in steps.numbers() {
                let known = self.cache.step(step);
                let number = self.move_of(to, known.outcome)?;
                if number != DISABLED {
                    transitions += u64::from(known.count);
                    let next = self.take(step, Some(slot), number);
                    if !self.drops_next() && !found(&next) {
                        return Ok(false);
                    }
                }
            }
        }
        self.transitions += transitions;
        Ok(true)
    }

    /// Whether the planted flaw drops the next successor.
    #[inline]
    fn drops_next(&mut self) -> bool {
        if self.dropped_of == 0 {
            return false;
        }
        self.successors += 1;
        self.successors.is_multiple_of(self.dropped_of)
    }

    /// Switches to the group of a state, and drops the inboxes of channels that differ.
    fn enter_group(&mut self, state: &[u32; S]) -> Result<(), Violation> {
        let addresses = self.layout.addresses.len();
        let shared = self.layout.shared();
        let is_same = self.group.is_whole
            && state[..addresses] == self.group.process_part[..addresses]
            && state[shared] == self.group.process_part[shared];
        if !is_same {
            self.begin_group(state)?;
        }
        for slot in self.layout.channels() {
            if state[slot] != self.last[slot] {
                self.inboxes[slot] = UNKNOWN;
            }
        }
        self.last = *state;
        // Prefetch all inboxes together: these loads do not depend on one another.
        for slot in self.layout.channels() {
            let inbox = self.inbox(slot);
            self.cache.prefetch_inbox(inbox);
        }
        Ok(())
    }

    fn begin_group(&mut self, state: &[u32; S]) -> Result<(), Violation> {
        let group = &mut self.group;
        group.is_whole = false;
        group.process_part = *state;
        group.process_part[self.layout.channels()].fill(EMPTY);
        group.no_more_crashes = self.cache.are_crashes_over(state[self.layout.shared()]);
        group.term_final = 0;
        let mut are_others = 0_u32;
        for index in self.layout.processes() {
            let known = self.cache.process(state[index]);
            are_others |= u32::from(known != group.processes[index]) << index;
            group.processes[index] = known;
            group.term_final |= u32::from(self.cache.orbit(known.orbit).term_final) << index;
        }
        for slot in self.layout.channels() {
            let (from, to) = self.layout.ends(slot);
            let (term_final, no_more_crashes) = (self.group.term_final, self.group.no_more_crashes);
            let facts = self.facts(from, to, term_final, no_more_crashes);
            // Neighboring states share processes, and therefore inboxes.
            if are_others >> to & 1 != 0 || facts != self.group.facts[slot] {
                self.inboxes[slot] = UNKNOWN;
            }
            self.group.channel_caches[slot] =
                self.cache.channel_cache_of(self.group.processes[to], from);
            self.group.facts[slot] = facts;
        }
        self.groups += 1;
        self.moves.clear();
        self.process_parts.clear();
        self.group.own.clear();
        self.group.own_count = 0;
        for index in self.layout.processes() {
            let orbit = *self.cache.orbit(self.group.processes[index].orbit);
            self.group.own_count += u64::from(orbit.eager_count);
            for step in orbit.steps.numbers() {
                let known = self.cache.step(step);
                let number = self.move_of(index, known.outcome)?;
                if number != DISABLED {
                    self.group.own_count += u64::from(known.count);
                    self.group.own.push((step, number));
                }
            }
        }
        self.group.is_whole = true;
        Ok(())
    }

    /// The move of an outcome at a process index in the current group; `DISABLED` if the budget does not
    /// allow it.
    #[inline]
    fn move_of(&mut self, index: usize, outcome: u32) -> Result<u32, Violation> {
        let mark = outcome as usize * self.layout.addresses.len() + index;
        match self.marks.get(mark) {
            Some((group, number)) if *group == self.groups => Ok(*number),
            _ => self.new_move(index, outcome, mark),
        }
    }

    fn new_move(&mut self, index: usize, outcome: u32, mark: usize) -> Result<u32, Violation> {
        let mut number = DISABLED;
        if let Some(found) = self.find_move(index, outcome)? {
            number = self.moves.len() as u32;
            let mut process_part = [EMPTY; S];
            if found.permutation != UNKNOWN && found.permutation != 0 {
                let mut state = self.group.process_part;
                state[index] = found.process;
                state[self.layout.shared()] = found.shared;
                let permutation = found.permutation as usize;
                let canonicalizer = &self.canonicalizer;
                process_part =
                    canonicalizer.permuted_process_part(&mut self.cache, &state, permutation);
            }
            self.moves.push(found);
            self.process_parts.push(process_part);
        }
        if mark >= self.marks.len() {
            self.marks.resize(mark + 1, (0, 0));
        }
        self.marks[mark] = (self.groups, number);
        Ok(number)
    }

    fn find_move(&mut self, index: usize, outcome: u32) -> Result<Option<Move>, Violation> {
        let outcome = self.cache.outcome(outcome);
        let before = self.group.processes[index];
        let mut shared = self.group.process_part[self.layout.shared()];
        let mut no_more_crashes = self.group.no_more_crashes;
        if outcome.effect != NO_EFFECT {
            match self
                .cache
                .apply(shared, outcome.effect, before.permutation as usize)
            {
                Applied::Disabled => return Ok(None),
                Applied::Violation(violation) => return Err(violation),
                Applied::To(after) => {
                    if after != shared {
                        shared = after;
                        no_more_crashes = self.cache.are_crashes_over(after);
                    }
                }
            }
        }
        let process = self
            .cache
            .permuted_process(outcome.next, before.permutation as usize);
        let is_changed = process != self.group.process_part[index];
        let known = self.cache.process(process);
        let mut term_final = self.group.term_final;
        if is_changed {
            if index < self.layout.servers {
                for other in self.layout.servers_range() {
                    if other != index {
                        let other = self.group.processes[other];
                        self.cache.check_pair(known, other)?;
                    }
                }
            }
            term_final |= u32::from(self.cache.orbit(known.orbit).term_final) << index;
        }
        let mut keys = [0_u64; MAX_SERVERS];
        let keys = &mut keys[..self.layout.servers];
        for (at, key) in keys.iter_mut().enumerate() {
            let process = if at == index {
                known
            } else {
                self.group.processes[at]
            };
            *key = u64::from(process.first);
        }
        let permutation = sorting(&self.cache, keys);
        Ok(Some(Move {
            index,
            process,
            known,
            is_changed,
            shared,
            term_final,
            no_more_crashes,
            permutation,
        }))
    }

    /// The inbox of a channel of the expanded state.
    #[inline]
    fn inbox(&mut self, slot: usize) -> u32 {
        if self.inboxes[slot] == UNKNOWN {
            let permutation = self.group.processes[self.layout.ends(slot).1].permutation;
            let key = self.key(self.last[slot], permutation, self.group.facts[slot]);
            self.inboxes[slot] = self.cache.inbox(self.group.channel_caches[slot], key);
        }
        self.inboxes[slot]
    }

    /// The key of a channel for the first process of its receiver's orbit. `permutation` is the receiver's.
    #[inline]
    fn key(&mut self, channel: u32, permutation: u32, facts: ChannelFacts) -> ChannelKey {
        let back = self.cache.permutations.inverse(permutation as usize);
        ChannelKey::new(self.cache.permuted_channel(channel, back), facts)
    }

    /// The successor after a step, in canonical form. `through` is the slot of the delivered message.
    fn take(&mut self, step: usize, through: Option<usize>, number: u32) -> [u32; S] {
        let moved = self.moves[number as usize];
        let index = moved.index;
        let permutation = self.group.processes[index].permutation;
        let mut next = Next {
            state: self.last,
            touched: 0,
        };
        self.pending.clear();
        if moved.is_changed {
            let inbox = through.map(|slot| self.inboxes[slot]);
            let step = self.cache.taken(step, inbox);
            self.push_sends(index, step.sends, permutation);
            for slot in self.layout.channels_to(index) {
                next.touched |= 1 << slot;
                let channel = next.state[slot];
                if Some(slot) == through {
                    next.state[slot] = self
                        .cache
                        .permuted_channel(step.channel, permutation as usize);
                } else if channel != EMPTY {
                    let (from, _) = self.layout.ends(slot);
                    let facts = self.group.facts[slot];
                    let (channel, eager) = self.enter(moved.known, from, channel, facts);
                    next.state[slot] = channel;
                    self.push_sends(index, eager, moved.known.permutation);
                }
            }
            next.state[index] = moved.process;
        } else {
            let step = self.cache.step(step);
            self.push_sends(index, step.sends, permutation);
        }
        next.state[self.layout.shared()] = moved.shared;
        let facts_change = moved.term_final != self.group.term_final
            || moved.no_more_crashes != self.group.no_more_crashes;
        if facts_change {
            next.touched = u64::MAX;
        }
        self.deliver(&mut next, &moved);
        if self.remembers_again && moved.is_changed {
            self.send_again(&mut next, &moved);
        }
        if facts_change {
            self.normalize_again(&mut next, &moved);
        }
        let process_part = &self.process_parts[number as usize];
        self.canonicalizer
            .complete(&mut self.cache, moved.permutation, process_part, next.state)
    }

    /// A channel after its receiver changed, and the receiver's eager sends.
    #[inline]
    fn enter(
        &mut self,
        receiver: CachedProcess,
        from: usize,
        channel: u32,
        facts: ChannelFacts,
    ) -> (u32, SendSet) {
        let key = self.key(channel, receiver.permutation, facts);
        let channel_cache = self.cache.channel_cache_of(receiver, from);
        let (channel, eager) = self.cache.enter(channel_cache, key);
        (
            self.cache
                .permuted_channel(channel, receiver.permutation as usize),
            eager,
        )
    }

    /// Adds the sends of the process at `from` to `pending`. `permutation` is that of the process.
    #[inline]
    fn push_sends(&mut self, from: usize, sends: SendSet, permutation: u32) {
        if sends == NO_SENDS {
            return;
        }
        for number in self.cache.sends_in(sends) {
            let (to, channel) = self.cache.permuted_send(number, permutation as usize);
            self.pending.push((self.layout.channel(from, to), channel));
        }
    }

    /// Adds the pending sends to the successor, until no eager send is left.
    #[inline]
    fn deliver(&mut self, next: &mut Next<S>, moved: &Move) {
        while let Some((slot, push_sends)) = self.pending.pop() {
            let (from, to) = self.layout.ends(slot);
            let receiver = self.receiver(to, moved);
            let inbox = if next.touched >> slot & 1 == 0 {
                self.inbox(slot)
            } else {
                let facts = self.facts(from, to, moved.term_final, moved.no_more_crashes);
                let key = self.key(next.state[slot], receiver.permutation, facts);
                let channel_cache = self.cache.channel_cache_of(receiver, from);
                self.cache.inbox(channel_cache, key)
            };
            let permutation = receiver.permutation as usize;
            let back = self.cache.permutations.inverse(permutation);
            let push_sends = self.cache.permuted_channel(push_sends, back);
            let (channel, eager) = self.cache.add(inbox, push_sends);
            next.state[slot] = self.cache.permuted_channel(channel, permutation);
            next.touched |= 1 << slot;
            self.push_sends(to, eager, receiver.permutation);
        }
    }

    #[inline]
    fn receiver(&self, to: usize, moved: &Move) -> CachedProcess {
        if to == moved.index {
            moved.known
        } else {
            self.group.processes[to]
        }
    }

    /// The process that moved forgot messages that may have an effect again, so the eager sends of all
    /// other processes to it are repeated.
    fn send_again(&mut self, next: &mut Next<S>, moved: &Move) {
        for from in self.layout.processes() {
            if from == moved.index {
                continue;
            }
            let process = self.group.processes[from];
            self.pending.clear();
            self.push_sends(
                from,
                self.cache.orbit(process.orbit).eager,
                process.permutation,
            );
            for slot in self.layout.channels_to(from) {
                let (other, _) = self.layout.ends(slot);
                let facts = self.facts(other, from, moved.term_final, moved.no_more_crashes);
                let (_, eager) = self.enter(process, other, next.state[slot], facts);
                self.push_sends(from, eager, process.permutation);
            }
            let layout = &self.layout;
            self.pending
                .retain(|(slot, _)| layout.ends(*slot).1 == moved.index);
            self.deliver(next, moved);
        }
    }

    /// Normalizes the channels whose facts may have changed.
    fn normalize_again(&mut self, next: &mut Next<S>, moved: &Move) {
        for slot in self.layout.channels() {
            let (from, to) = self.layout.ends(slot);
            let may_differ =
                moved.no_more_crashes != self.group.no_more_crashes || from == moved.index;
            if may_differ && next.state[slot] != EMPTY {
                let facts = self.facts(from, to, moved.term_final, moved.no_more_crashes);
                let receiver = self.receiver(to, moved);
                let key = self.key(next.state[slot], receiver.permutation, facts);
                let inbox = self
                    .cache
                    .inbox(self.cache.channel_cache_of(receiver, from), key);
                let (channel, _) = self.cache.add(inbox, EMPTY);
                next.state[slot] = self
                    .cache
                    .permuted_channel(channel, receiver.permutation as usize);
            }
        }
    }

    /// Facts matter only to servers, and only where dead messages are dropped.
    #[inline]
    fn facts(
        &self,
        from: usize,
        to: usize,
        term_final: u32,
        no_more_crashes: bool,
    ) -> ChannelFacts {
        if self.drops_dead && to < self.layout.servers {
            let term_final = term_final >> from & 1 != 0;
            ChannelFacts {
                term_final,
                no_more_crashes,
            }
        } else {
            ChannelFacts::default()
        }
    }
}
