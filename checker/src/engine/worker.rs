//! One thread's part of the search: its copies of the tables it uses, and the successors of a
//! state. After a while almost every look-up is answered here, without a lock.

use super::{
    memory::{Bundle, Ear, NOTHING, Pairs, Range, UNKNOWN},
    renaming::{MAX_SERVERS, Renaming},
    shape::Shape,
    tables::{EMPTY, Facts, GlobalStep, Meeting, NO_EFFECT, OWN, Posts, ProcessStep, Tables},
};
use model::system::{Broken, Relevance, Witnesses};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// `S` is the number of slots of a state; slots that a scope does not need are 0.
///
/// Aligned so that no two threads' workers share a line of the processor's caches.
#[repr(align(128))]
pub(crate) struct Worker<'a, const S: usize> {
    tables: &'a Tables,
    shape: Shape,
    renaming: Renaming,
    drops_dead: bool,
    remembers_again: bool,
    processes: Vec<KnownProcess>,
    /// Renamings, by process, lane and global.
    process_rows: Vec<u32>,
    lane_rows: Vec<u32>,
    global_rows: Vec<u32>,
    globals_calm: Vec<Option<bool>>,
    /// By (global, effect).
    globals: FxHashMap<u64, KnownGlobal>,
    /// By process and sender's place.
    ears: Vec<Ear>,
    meetings: FxHashMap<(u32, u32), Arc<Meeting>>,
    lanes: FxHashMap<u32, Arc<[u32]>>,
    lane_ids: FxHashMap<Box<[u32]>, u32>,
    /// Facets of servers that were judged against each other and passed.
    judged: Pairs,
    /// What the ranges point into.
    steps: Vec<KnownStep>,
    posts: Posts,
    /// What a bundle of posts is, by its id; the first is empty.
    bundles: Vec<Range>,
    known_bundles: FxHashMap<Posts, Bundle>,
    /// Posts to deliver; this and the next two are kept to reuse their memory.
    mail: Vec<Mail>,
    kept: Vec<u32>,
    tells: Vec<u32>,
    /// What was witnessed by the steps taken so far.
    pub(crate) witnesses: Witnesses,
    /// How many steps could be taken from the states expanded so far.
    pub(crate) transitions: u64,
}

/// A state that is expanded, and what all its steps need to know of it.
struct Base<'s, const S: usize> {
    state: &'s [u32; S],
    /// Places of settled processes, as bits.
    settled: u32,
    /// Whether no server can crash any more.
    calm: bool,
    /// For each lane, its cell.
    cells: [u32; S],
}

/// A lane of messages on its way from one place to another.
#[derive(Clone, Copy)]
struct Mail {
    from: usize,
    to: usize,
    lane: u32,
}

#[derive(Clone, Copy)]
struct KnownProcess {
    /// Equal for all renamings of the process; `UNKNOWN` until it is learnt.
    orbit: u32,
    /// What it is judged by beside other servers.
    facet: u32,
    settled: bool,
    /// What it does by itself; so many more events only send.
    early_count: u32,
    steps: Range,
    early: Bundle,
}

/// A step of a process, taken by itself or with a message.
#[derive(Clone, Copy)]
struct KnownStep {
    next: u32,
    effect: u32,
    /// How many deliveries or events do the same.
    count: u32,
    /// What it sends; once the step was taken, which the budget may forbid, also what the process
    /// then sends early by itself and because of the other messages in the lane.
    posts: Bundle,
    /// The lane of the message afterwards; `UNKNOWN` until the step is taken.
    lane: u32,
}

#[derive(Clone)]
enum KnownGlobal {
    Disabled,
    To(u32),
    Broken(Box<Broken>),
}

impl KnownStep {
    /// Whether nothing tells the two apart; neither was taken yet.
    fn does_as(&self, other: &Self) -> bool {
        (self.next, self.effect, self.posts) == (other.next, other.effect, other.posts)
    }
}

/// The slot of no message.
const BY_ITSELF: usize = usize::MAX;

impl<'a, const S: usize> Worker<'a, S> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            shape: tables.shape().clone(),
            renaming: Renaming::new(tables),
            drops_dead: tables.scope().reduction.drop_dead,
            remembers_again: tables.scope().reduction.remembers_again(),
            processes: Vec::new(),
            process_rows: Vec::new(),
            lane_rows: Vec::new(),
            global_rows: Vec::new(),
            globals_calm: Vec::new(),
            globals: FxHashMap::default(),
            ears: Vec::new(),
            meetings: FxHashMap::default(),
            lanes: FxHashMap::default(),
            lane_ids: FxHashMap::default(),
            kept: Vec::new(),
            tells: Vec::new(),
            judged: Pairs::default(),
            steps: Vec::new(),
            posts: Vec::new(),
            bundles: vec![Range::default()],
            known_bundles: FxHashMap::default(),
            mail: Vec::new(),
            witnesses: Witnesses::default(),
            transitions: 0,
        }
    }

    /// Calls `found` with each successor of a state, in canonical form. Counts its transitions
    /// only if `found` accepts them all; says whether it did.
    ///
    /// # Errors
    /// The law that a step breaks.
    pub(crate) fn successors(
        &mut self,
        state: &[u32; S],
        mut found: impl FnMut(&[u32; S]) -> bool,
    ) -> Result<bool, Broken> {
        let base = self.base(state);
        let mut transitions = 0;
        for place in self.shape.processes() {
            let known = self.process(state[place]);
            transitions += u64::from(known.early_count);
            for number in known.steps.numbers() {
                if let Some(next) = self.take(&base, place, BY_ITSELF, number)? {
                    transitions += u64::from(self.steps[number].count);
                    if !found(&self.canonical(next)) {
                        return Ok(false);
                    }
                }
            }
        }
        for slot in self.shape.lanes() {
            if state[slot] == EMPTY {
                continue;
            }
            let (_, to) = self.shape.ends(slot);
            let (steps, early_count) = self.steps_of(&base, slot);
            transitions += u64::from(early_count);
            for number in steps.numbers() {
                if let Some(next) = self.take(&base, to, slot, number)? {
                    transitions += u64::from(self.steps[number].count);
                    if !found(&self.canonical(next)) {
                        return Ok(false);
                    }
                }
            }
        }
        self.transitions += transitions;
        Ok(true)
    }

    fn base<'s>(&mut self, state: &'s [u32; S]) -> Base<'s, S> {
        let calm = self.is_calm(state[self.shape.global()]);
        let mut settled = 0;
        for place in self.shape.server_places() {
            settled |= u32::from(self.process(state[place]).settled) << place;
        }
        let mut cells = [UNKNOWN; S];
        for slot in self.shape.lanes() {
            let (from, to) = self.shape.ends(slot);
            let facts = self.facts(from, to, settled, calm);
            cells[slot] = self.cell(state[to], from, state[slot], facts);
        }
        Base {
            state,
            settled,
            calm,
            cells,
        }
    }

    /// What a step of the process at `place` leads to, not yet in canonical form; `None` if the
    /// budget does not allow it. `through` is the slot of the message that is delivered.
    fn take(
        &mut self,
        base: &Base<'_, S>,
        place: usize,
        through: usize,
        number: usize,
    ) -> Result<Option<[u32; S]>, Broken> {
        let step = self.steps[number];
        let global = self.shape.global();
        let mut next = *base.state;
        let mut calm = base.calm;
        if step.effect != NO_EFFECT {
            match self.apply(next[global], step.effect) {
                KnownGlobal::Disabled => return Ok(None),
                KnownGlobal::Broken(broken) => return Err(*broken),
                KnownGlobal::To(after) => {
                    if after != next[global] {
                        next[global] = after;
                        calm = self.is_calm(after);
                    }
                }
            }
        }
        self.mail.clear();
        let mut settled = base.settled;
        if step.next == next[place] {
            self.post(place, step.posts);
        } else {
            next[place] = step.next;
            if place < self.shape.servers {
                self.judge_pairs(&next, place)?;
            }
            settled |= u32::from(self.process(step.next).settled) << place;
            let step = self.taken(base, place, through, number);
            self.post(place, step.posts);
            for slot in self.shape.lanes_to(place) {
                if slot == through {
                    next[slot] = step.lane;
                } else if next[slot] != EMPTY {
                    let (from, _) = self.shape.ends(slot);
                    let facts = self.facts(from, place, base.settled, base.calm);
                    let (lane, early) = self.enter(step.next, from, next[slot], facts);
                    next[slot] = lane;
                    self.post(place, early);
                }
            }
        }
        self.deliver(&mut next, settled, calm, Some(base));
        if self.remembers_again && step.next != base.state[place] {
            self.send_again(&mut next, place, settled, calm);
        }
        if settled != base.settled || calm != base.calm {
            let of = |from| calm != base.calm || from == place;
            self.tidy_again(&mut next, of, settled, calm);
        }
        Ok(Some(next))
    }

    /// Delivers until nothing more can be sent early. Where nothing changed yet since `base`, its
    /// cells are known.
    #[inline]
    fn deliver(
        &mut self,
        next: &mut [u32; S],
        settled: u32,
        calm: bool,
        base: Option<&Base<'_, S>>,
    ) {
        while let Some(Mail { from, to, lane }) = self.mail.pop() {
            let slot = self.shape.lane(from, to);
            let facts = self.facts(from, to, settled, calm);
            let is_as_before = |base: &&Base<'_, S>| {
                next[to] == base.state[to]
                    && next[slot] == base.state[slot]
                    && facts == self.facts(from, to, base.settled, base.calm)
            };
            let cell = match base.filter(is_as_before) {
                Some(base) => base.cells[slot],
                None => self.cell(next[to], from, next[slot], facts),
            };
            let receiver = (next[to], from);
            let (lane, early) = self.add(cell, receiver, next[slot], lane, facts);
            next[slot] = lane;
            self.post(to, early);
        }
    }

    /// The process at `place` changed, and what it forgot may matter again: what others send it early
    /// comes to it once more.
    fn send_again(&mut self, next: &mut [u32; S], place: usize, settled: u32, calm: bool) {
        for from in self.shape.processes() {
            if from == place {
                continue;
            }
            let process = self.process(next[from]);
            self.mail.clear();
            self.post(from, process.early);
            for slot in self.shape.lanes_to(from) {
                let (other, _) = self.shape.ends(slot);
                let facts = self.facts(other, from, settled, calm);
                let (_, early) = self.enter(next[from], other, next[slot], facts);
                self.post(from, early);
            }
            self.mail.retain(|mail| mail.to == place);
            self.deliver(next, settled, calm, None);
        }
    }

    /// A step that changes its process, with what it brings about once it is taken.
    fn taken(
        &mut self,
        base: &Base<'_, S>,
        place: usize,
        through: usize,
        number: usize,
    ) -> KnownStep {
        let step = self.steps[number];
        if step.lane != UNKNOWN {
            return step;
        }
        let (mut lane, mut early) = (EMPTY, NOTHING);
        if through != BY_ITSELF {
            let (from, _) = self.shape.ends(through);
            let facts = self.facts(from, place, base.settled, base.calm);
            (lane, early) = self.enter(step.next, from, base.state[through], facts);
        }
        let posts = [step.posts, self.process(step.next).early, early];
        let all = posts.iter().flat_map(|posts| self.posts_of(*posts));
        let posts = self.tables.gather(all.copied().collect());
        let posts = self.keep_posts(&posts);
        self.steps[number] = KnownStep {
            posts,
            lane,
            ..step
        };
        self.steps[number]
    }

    /// Tidies the lanes of some senders under other facts than before.
    fn tidy_again(
        &mut self,
        next: &mut [u32; S],
        of: impl Fn(usize) -> bool,
        settled: u32,
        calm: bool,
    ) {
        for slot in self.shape.lanes() {
            let (from, to) = self.shape.ends(slot);
            if next[slot] != EMPTY && of(from) {
                let facts = self.facts(from, to, settled, calm);
                let cell = self.cell(next[to], from, next[slot], facts);
                let receiver = (next[to], from);
                (next[slot], _) = self.add(cell, receiver, next[slot], EMPTY, facts);
            }
        }
    }

    /// Only servers go by the facts, and only where dead messages are dropped.
    fn facts(&self, from: usize, to: usize, settled: u32, calm: bool) -> Facts {
        if self.drops_dead && to < self.shape.servers {
            let settled = settled >> from & 1 != 0;
            Facts { settled, calm }
        } else {
            Facts::default()
        }
    }

    fn is_calm(&mut self, global: u32) -> bool {
        let place = global as usize;
        if place >= self.globals_calm.len() {
            self.globals_calm.resize(place + 1, None);
        }
        *self.globals_calm[place].get_or_insert_with(|| self.tables.is_calm(global))
    }

    fn apply(&mut self, global: u32, effect: u32) -> KnownGlobal {
        let key = u64::from(global) << 32 | u64::from(effect);
        if let Some(known) = self.globals.get(&key) {
            return known.clone();
        }
        let known = match self.tables.apply(global, effect) {
            GlobalStep::Disabled => KnownGlobal::Disabled,
            GlobalStep::To { global, witnesses } => {
                self.witnesses.add_all(witnesses);
                KnownGlobal::To(global)
            }
            GlobalStep::Broken(broken) => KnownGlobal::Broken(Box::new(broken)),
        };
        self.globals.insert(key, known.clone());
        known
    }

    fn ear(&mut self, process: u32, from: usize) -> &mut Ear {
        let place = process as usize * self.shape.places.len() + from;
        if place >= self.ears.len() {
            self.ears.resize_with(place + 1, Ear::default);
        }
        &mut self.ears[place]
    }

    /// What becomes of a lane whose receiver enters a new state: it meets every message.
    fn enter(&mut self, process: u32, from: usize, lane: u32, facts: Facts) -> (u32, Bundle) {
        let heard = self.ear(process, from).heard(lane, facts);
        if heard.entered != UNKNOWN {
            return (heard.entered, heard.early);
        }
        let (entered, early) = self.tidy((process, from), EMPTY, lane, facts);
        let heard = self.ear(process, from).heard(lane, facts);
        (heard.entered, heard.early) = (entered, early);
        (entered, early)
    }

    fn cell(&mut self, process: u32, from: usize, lane: u32, facts: Facts) -> u32 {
        self.ear(process, from).cell(lane, facts)
    }

    /// What becomes of the tidied lane of a cell when a post comes to it.
    fn add(
        &mut self,
        cell: u32,
        (process, from): (u32, usize),
        lane: u32,
        post: u32,
        facts: Facts,
    ) -> (u32, Bundle) {
        let known = &self.ear(process, from).cells[cell as usize].added;
        if let Some((_, lane, early)) = known.iter().find(|(known, _, _)| *known == post) {
            return (*lane, *early);
        }
        let (after, early) = self.tidy((process, from), lane, post, facts);
        let cell = &mut self.ear(process, from).cells[cell as usize];
        cell.added.push((post, after, early));
        (after, early)
    }

    /// Sends what a process can answer to the messages it has not `met` without changing, and
    /// keeps what still matters of both ([`Relevance`] says why, and `tidy_inbox` of the model
    /// does the same to whole messages).
    fn tidy(
        &mut self,
        (process, from): (u32, usize),
        met: u32,
        new: u32,
        facts: Facts,
    ) -> (u32, Bundle) {
        let (met, new) = (self.messages(met), self.messages(new));
        let last = self.process(process).settled;
        let mut early: Vec<(usize, u32)> = Vec::new();
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        // Where several do the same, the first in the order of messages stays.
        let mut tells = std::mem::take(&mut self.tells);
        tells.clear();
        let mut refusals: Vec<(model::Term, u32)> = Vec::new();
        let new: SmallVec<[u32; 16]> = new
            .iter()
            .copied()
            .filter(|message| !met.contains(message))
            .collect();
        let all = met.iter().map(|message| (message, false));
        for (&message, is_new) in all.chain(new.iter().map(|message| (message, true))) {
            let meeting = self.meet(process, from, message);
            match meeting.relevance {
                Relevance::Live => kept.push(message),
                Relevance::Dead => continue,
                Relevance::Tells { when_calm } if when_calm && !facts.calm => kept.push(message),
                Relevance::Tells { .. } => {
                    if !last && !facts.settled {
                        tells.push(message);
                    }
                }
                Relevance::Refusal(term) => refusals.push((term, message)),
            }
            if is_new && meeting.early_count > 0 {
                early.extend(&meeting.early);
                let witnesses = meeting.early_witnesses;
                self.witnesses.add_all(witnesses);
            }
        }
        if tells.len() > 1 {
            self.tables.sort_messages(&mut tells);
        }
        kept.extend(tells.first());
        if refusals.len() > 1 {
            let mut messages: Vec<u32> = refusals.iter().map(|(_, message)| *message).collect();
            self.tables.sort_messages(&mut messages);
            let rank = |message| messages.iter().position(|other| *other == message);
            refusals.sort_by_key(|(term, message)| (*term, rank(*message)));
            refusals.dedup_by_key(|(term, _)| *term);
        }
        kept.extend(refusals.into_iter().map(|(_, message)| message));
        kept.sort_unstable();
        let lane = self.lane_id(&kept);
        (self.kept, self.tells) = (kept, tells);
        let early = self.tables.gather(early);
        (lane, self.keep_posts(&early))
    }

    fn messages(&mut self, lane: u32) -> Arc<[u32]> {
        let known = self.lanes.entry(lane);
        Arc::clone(known.or_insert_with(|| self.tables.messages(lane)))
    }

    fn lane_id(&mut self, messages: &[u32]) -> u32 {
        if messages.is_empty() {
            return EMPTY;
        }
        if let Some(id) = self.lane_ids.get(messages) {
            return *id;
        }
        let id = self.tables.lane_id(messages.into());
        self.lane_ids.insert(messages.into(), id);
        id
    }

    fn meet(&mut self, process: u32, from: usize, message: u32) -> &Arc<Meeting> {
        let receiver = process * self.shape.places.len() as u32 + from as u32;
        self.meetings
            .entry((receiver, message))
            .or_insert_with(|| self.tables.meet(process, from, message))
    }

    /// What the messages of a lane can bring about, and how many of their deliveries only send.
    fn steps_of(&mut self, base: &Base<'_, S>, slot: usize) -> (Range, u32) {
        let cell = base.cells[slot] as usize;
        let (from, to) = self.shape.ends(slot);
        let (process, lane) = (base.state[to], base.state[slot]);
        let known = &self.ear(process, from).cells[cell];
        if let Some(steps) = known.steps {
            return (steps, known.early_count);
        }
        let messages = self.messages(lane);
        let meetings: Vec<Arc<Meeting>> = messages
            .iter()
            .map(|message| Arc::clone(self.meet(process, from, *message)))
            .collect();
        let early_count = meetings.iter().map(|meeting| meeting.early_count).sum();
        let mut found: Vec<KnownStep> = Vec::new();
        for step in meetings.iter().flat_map(|meeting| &meeting.steps) {
            let step = self.known_step(step);
            match found.iter_mut().find(|known| known.does_as(&step)) {
                Some(known) => known.count += 1,
                None => found.push(step),
            }
        }
        let steps = self.keep_steps(&found);
        let known = &mut self.ear(process, from).cells[cell];
        (known.steps, known.early_count) = (Some(steps), early_count);
        (steps, early_count)
    }

    /// What is known of a process; learnt the first time.
    #[inline]
    fn process(&mut self, id: u32) -> KnownProcess {
        match self.processes.get(id as usize) {
            Some(known) if known.orbit != UNKNOWN => *known,
            _ => self.learn(id),
        }
    }

    #[cold]
    fn learn(&mut self, id: u32) -> KnownProcess {
        let (place, width) = (id as usize, self.renaming.count());
        if place >= self.processes.len() {
            let unknown = KnownProcess {
                orbit: UNKNOWN,
                facet: UNKNOWN,
                settled: false,
                early_count: 0,
                steps: Range::default(),
                early: NOTHING,
            };
            self.processes.resize(place + 1, unknown);
            self.process_rows.resize((place + 1) * width, UNKNOWN);
        }
        let row = self.tables.process_row(id);
        let process = self.tables.process(id);
        let meeting = self.tables.meet(id, self.tables.place_of(&process), OWN);
        let steps = meeting.steps.iter();
        let found: Vec<KnownStep> = steps.map(|step| self.known_step(step)).collect();
        self.witnesses.add_all(meeting.early_witnesses);
        let known = KnownProcess {
            orbit: row.iter().copied().min().unwrap_or(id),
            facet: self.tables.facet_of(&process),
            settled: self.drops_dead && self.tables.scope().is_settled(&process),
            early_count: meeting.early_count,
            steps: self.keep_steps(&found),
            early: self.keep_posts(&meeting.early),
        };
        self.processes[place] = known;
        self.process_rows[place * width..][..width].copy_from_slice(&row);
        known
    }

    /// Puts posts of the process at `from` into the mail.
    #[inline]
    fn post(&mut self, from: usize, posts: Bundle) {
        if posts == NOTHING {
            return;
        }
        let range = self.bundles[posts as usize];
        for &(to, lane) in &self.posts[range.numbers()] {
            self.mail.push(Mail { from, to, lane });
        }
    }

    fn posts_of(&self, posts: Bundle) -> &[(usize, u32)] {
        &self.posts[self.bundles[posts as usize].numbers()]
    }

    fn keep_posts(&mut self, posts: &[(usize, u32)]) -> Bundle {
        if posts.is_empty() {
            return NOTHING;
        }
        if let Some(known) = self.known_bundles.get(posts) {
            return *known;
        }
        let bundle = number(self.bundles.len());
        self.bundles.push(Range {
            first: number(self.posts.len()),
            count: number(posts.len()),
        });
        self.posts.extend_from_slice(posts);
        self.known_bundles.insert(posts.to_vec(), bundle);
        bundle
    }

    fn known_step(&mut self, step: &ProcessStep) -> KnownStep {
        KnownStep {
            next: step.next,
            effect: step.effect,
            count: 1,
            posts: self.keep_posts(&step.posts),
            lane: UNKNOWN,
        }
    }

    fn keep_steps(&mut self, steps: &[KnownStep]) -> Range {
        let first = number(self.steps.len());
        self.steps.extend_from_slice(steps);
        let count = number(steps.len());
        Range { first, count }
    }

    #[inline]
    fn judge_pairs(&mut self, state: &[u32; S], place: usize) -> Result<(), Broken> {
        let one = self.process(state[place]).facet;
        for other in self.shape.server_places() {
            if other == place {
                continue;
            }
            let other = self.process(state[other]).facet;
            if !self.judged.contains(other, one) {
                self.tables.judge_pair(one, other)?;
                self.judged.insert(other, one);
            }
        }
        Ok(())
    }

    /// Brings a state into canonical form: the least of its renamings among those that sort the
    /// servers by what renaming does not change.
    #[inline]
    pub(crate) fn canonical(&mut self, state: [u32; S]) -> [u32; S] {
        if self.renaming.count() == 1 {
            return state;
        }
        let servers = self.shape.servers;
        let mut keys = [0_u64; MAX_SERVERS];
        for (key, process) in keys[..servers].iter_mut().zip(&state) {
            *key = u64::from(self.process(*process).orbit);
        }
        match self.renaming.sorting(&keys[..servers]) {
            (0, false) => state,
            (name, false) => self.rename(&state, name),
            (_, true) => self.canonical_of_tied(&state, keys),
        }
    }

    fn canonical_of_tied(&mut self, state: &[u32; S], mut keys: [u64; MAX_SERVERS]) -> [u32; S] {
        self.refine(state, &mut keys);
        let keys = &keys[..self.shape.servers];
        if let (name, false) = self.renaming.sorting(keys) {
            return self.rename(state, name);
        }
        let mut best = [UNKNOWN; S];
        for name in 0..self.renaming.count() {
            if self.renaming.sorts(name, keys) {
                best = best.min(self.rename(state, name));
            }
        }
        best
    }

    /// Adds to each server's key what is on its way to it and from it.
    fn refine(&mut self, state: &[u32; S], keys: &mut [u64; MAX_SERVERS]) {
        let orbits = *keys;
        let servers = self.shape.servers;
        let has_names = self.tables.lanes_have_names();
        for slot in self.shape.lanes() {
            let mut lane = state[slot];
            if lane == EMPTY {
                continue;
            }
            if has_names {
                let row = self.lane_row(lane);
                lane = row.iter().copied().min().unwrap_or(lane);
            }
            let (from, to) = self.shape.ends(slot);
            // Sums do not depend on the order in which the others come.
            let end = |other: usize| match orbits.get(other) {
                Some(orbit) if other < servers => u64::from(lane) << 32 | orbit,
                _ => u64::from(lane) << 32 | (u64::from(UNKNOWN) - other as u64),
            };
            if from < servers {
                keys[from] = keys[from].wrapping_add(mix(end(to)).rotate_left(1));
            }
            if to < servers {
                keys[to] = keys[to].wrapping_add(mix(end(from)));
            }
        }
    }

    fn rename(&mut self, state: &[u32; S], name: usize) -> [u32; S] {
        let width = self.renaming.count();
        let places = self.shape.places.len();
        let has_names = self.tables.lanes_have_names();
        let mut renamed = [0; S];
        for (slot, process) in state[..places].iter().enumerate() {
            self.process(*process);
            let process = self.process_rows[*process as usize * width + name];
            renamed[self.renaming.slots(name)[slot]] = process;
        }
        for slot in self.shape.lanes() {
            let mut lane = state[slot];
            if has_names {
                lane = self.lane_row(lane)[name];
            }
            renamed[self.renaming.slots(name)[slot]] = lane;
        }
        let slot = self.shape.global();
        renamed[slot] = self.rename_global(state[slot], name);
        renamed
    }

    fn lane_row(&mut self, lane: u32) -> &[u32] {
        let (tables, width) = (self.tables, self.renaming.count());
        row_of(&mut self.lane_rows, lane, width, || tables.lane_row(lane))
    }

    fn rename_global(&mut self, global: u32, name: usize) -> u32 {
        let (tables, width) = (self.tables, self.renaming.count());
        let row = || tables.global_row(global);
        row_of(&mut self.global_rows, global, width, row)[name]
    }
}

/// A row of an array of rows; learnt the first time.
fn row_of(rows: &mut Vec<u32>, id: u32, width: usize, learn: impl FnOnce() -> Vec<u32>) -> &[u32] {
    let place = id as usize * width;
    if place >= rows.len() {
        rows.resize(place + width, UNKNOWN);
    }
    if rows[place] == UNKNOWN {
        rows[place..place + width].copy_from_slice(&learn());
    }
    &rows[place..place + width]
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 remembered steps")
}

fn mix(value: u64) -> u64 {
    let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * 0xe703_7ed1_a0b4_28db;
    (product as u64) ^ ((product >> 64) as u64)
}
