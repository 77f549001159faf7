//! One thread's part of the search: the successors of a state.
//!
//! States come in groups that have the same processes and the same global (`search` sorts them).
//! What a step does to these is worked out once for a group; only the lanes are gone through for
//! each state.

use super::{
    memory::{Bundle, LaneKey, NOTHING, UNKNOWN},
    recall::{After, KnownProcess, Recall},
    renaming::MAX_SERVERS,
    shape::Shape,
    tables::{EMPTY, Facts, NO_EFFECT, Tables},
};
use model::system::{Broken, Flaw, Witnesses};

/// `S` is the number of slots of a state; slots that a scope does not need are 0.
///
/// Aligned so that no two threads' workers share a line of the processor's caches.
#[repr(align(128))]
pub(crate) struct Worker<'a, const S: usize> {
    tables: &'a Tables,
    shape: Shape,
    recall: Recall<'a>,
    drops_dead: bool,
    remembers_again: bool,
    group: Group<S>,
    /// How many groups there were.
    groups: u32,
    /// What the outcomes taken in the present group lead to, and for each the processes and the
    /// global in canonical form, if it has a name.
    moves: Vec<Move>,
    canonical: Vec<[u32; S]>,
    /// By outcome and place: in which group it was last taken, and its move.
    marks: Vec<(u32, u32)>,
    /// The state that was expanded last, and the cells of its lanes as far as they are known.
    last: [u32; S],
    cells: [u32; S],
    /// Posts to deliver: the slot, and what to add to it.
    mail: Vec<(usize, u32)>,
    /// How many steps could be taken from the states expanded so far.
    pub(crate) transitions: u64,
}

/// What states with the same processes and the same global have in common.
struct Group<const S: usize> {
    /// Whether all of it is known.
    is_whole: bool,
    /// One of its states, without lanes.
    frame: [u32; S],
    /// By place.
    processes: [KnownProcess; S],
    /// By the slot of a lane, who listens to it and under which facts.
    ears: [u32; S],
    facts: [Facts; S],
    /// Places of settled processes, as bits.
    settled: u32,
    /// Whether no server can crash any more.
    calm: bool,
    /// What processes do by themselves: the step and its move.
    own: Vec<(usize, u32)>,
    /// How many steps these are, with those that only send.
    own_count: u64,
}

/// What an outcome does to the processes and the global of a group.
#[derive(Clone, Copy)]
struct Move {
    place: usize,
    /// The process at this place afterwards.
    process: u32,
    known: KnownProcess,
    is_changed: bool,
    global: u32,
    settled: u32,
    calm: bool,
    /// The name that brings the processes into order, `UNKNOWN` if some are alike.
    name: u32,
}

/// The move of an outcome that the budget does not allow.
const DISABLED: u32 = UNKNOWN;

/// A successor in the making.
struct Next<const S: usize> {
    state: [u32; S],
    /// The slots of lanes whose cells may not be those of the state expanded, as bits.
    touched: u64,
}

impl<'a, const S: usize> Worker<'a, S> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        const { assert!(S <= u64::BITS as usize, "slots are counted by bits") };
        Self {
            tables,
            shape: tables.shape().clone(),
            recall: Recall::new(tables),
            drops_dead: tables.scope().reduction.drop_dead,
            remembers_again: tables.scope().reduction.remembers_again(),
            group: Group {
                is_whole: false,
                frame: [EMPTY; S],
                processes: [KnownProcess::UNKNOWN; S],
                ears: [UNKNOWN; S],
                facts: [Facts::default(); S],
                settled: 0,
                calm: false,
                own: Vec::new(),
                own_count: 0,
            },
            groups: 0,
            moves: Vec::new(),
            canonical: Vec::new(),
            marks: Vec::new(),
            last: [EMPTY; S],
            cells: [UNKNOWN; S],
            mail: Vec::new(),
            transitions: 0,
        }
    }

    /// What was witnessed by the steps taken so far.
    pub(crate) fn witnesses(&self) -> Witnesses {
        self.recall.witnesses
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
        self.recall.look_for_names();
        self.enter_group(state)?;
        let mut transitions = self.group.own_count;
        for own in 0..self.group.own.len() {
            let (step, number) = self.group.own[own];
            if !found(&self.take(step, None, number)) {
                return Ok(false);
            }
        }
        for slot in self.shape.lanes() {
            if state[slot] == EMPTY {
                continue;
            }
            let (_, to) = self.shape.ends(slot);
            let cell = self.cell(slot);
            let (steps, early_count) = self.recall.steps_of(cell);
            transitions += u64::from(early_count);
            for step in steps.numbers() {
                let known = self.recall.step(step);
                let number = self.move_of(to, known.outcome)?;
                if number != DISABLED {
                    transitions += u64::from(known.count);
                    if !found(&self.take(step, Some(slot), number)) {
                        return Ok(false);
                    }
                }
            }
        }
        self.transitions += transitions;
        Ok(true)
    }

    /// Makes the group of a state the present one, and forgets the cells that are not the state's.
    fn enter_group(&mut self, state: &[u32; S]) -> Result<(), Broken> {
        let places = self.shape.places.len();
        let global = self.shape.global();
        let is_same = self.group.is_whole
            && state[..places] == self.group.frame[..places]
            && state[global] == self.group.frame[global];
        if !is_same {
            self.begin_group(state)?;
        }
        for slot in self.shape.lanes() {
            if state[slot] != self.last[slot] {
                self.cells[slot] = UNKNOWN;
            }
        }
        self.last = *state;
        // All of them now: the processor fetches many at once, and here none waits for another.
        for slot in self.shape.lanes() {
            let cell = self.cell(slot);
            self.recall.fetch_cell(cell);
        }
        Ok(())
    }

    fn begin_group(&mut self, state: &[u32; S]) -> Result<(), Broken> {
        let group = &mut self.group;
        group.is_whole = false;
        group.frame = *state;
        group.frame[self.shape.lanes()].fill(EMPTY);
        group.calm = self.recall.is_calm(state[self.shape.global()]);
        group.settled = 0;
        let mut are_others = 0_u32;
        for place in self.shape.processes() {
            let known = self.recall.process(state[place]);
            are_others |= u32::from(known != group.processes[place]) << place;
            group.processes[place] = known;
            group.settled |= u32::from(self.recall.orbit(known.orbit).settled) << place;
        }
        for slot in self.shape.lanes() {
            let (from, to) = self.shape.ends(slot);
            let (settled, calm) = (self.group.settled, self.group.calm);
            let facts = self.facts(from, to, settled, calm);
            // Neighbours in the order of states have processes in common, and their cells too.
            if are_others >> to & 1 != 0 || facts != self.group.facts[slot] {
                self.cells[slot] = UNKNOWN;
            }
            self.group.ears[slot] = self.recall.ear_of(self.group.processes[to], from);
            self.group.facts[slot] = facts;
        }
        self.groups += 1;
        self.moves.clear();
        self.canonical.clear();
        self.group.own.clear();
        self.group.own_count = 0;
        for place in self.shape.processes() {
            let orbit = *self.recall.orbit(self.group.processes[place].orbit);
            self.group.own_count += u64::from(orbit.early_count);
            for step in orbit.steps.numbers() {
                let known = self.recall.step(step);
                let number = self.move_of(place, known.outcome)?;
                if number != DISABLED {
                    self.group.own_count += u64::from(known.count);
                    self.group.own.push((step, number));
                }
            }
        }
        self.group.is_whole = true;
        Ok(())
    }

    /// The move of an outcome at a place in the present group; `DISABLED` if the budget does not
    /// allow it.
    #[inline]
    fn move_of(&mut self, place: usize, outcome: u32) -> Result<u32, Broken> {
        let mark = outcome as usize * self.shape.places.len() + place;
        match self.marks.get(mark) {
            Some((group, number)) if *group == self.groups => Ok(*number),
            _ => self.new_move(place, outcome, mark),
        }
    }

    fn new_move(&mut self, place: usize, outcome: u32, mark: usize) -> Result<u32, Broken> {
        let mut number = DISABLED;
        if let Some(found) = self.find_move(place, outcome)? {
            number = self.moves.len() as u32;
            let mut canonical = [EMPTY; S];
            if found.name != UNKNOWN && found.name != 0 {
                let mut frame = self.group.frame;
                frame[place] = found.process;
                frame[self.shape.global()] = found.global;
                canonical = self.renamed_frame(&frame, found.name as usize);
            }
            self.moves.push(found);
            self.canonical.push(canonical);
        }
        if mark >= self.marks.len() {
            self.marks.resize(mark + 1, (0, 0));
        }
        self.marks[mark] = (self.groups, number);
        Ok(number)
    }

    fn find_move(&mut self, place: usize, outcome: u32) -> Result<Option<Move>, Broken> {
        let outcome = self.recall.outcome(outcome);
        let before = self.group.processes[place];
        let mut global = self.group.frame[self.shape.global()];
        let mut calm = self.group.calm;
        if outcome.effect != NO_EFFECT {
            match self
                .recall
                .apply(global, outcome.effect, before.name as usize)
            {
                After::Disabled => return Ok(None),
                After::Broken(broken) => return Err(broken),
                After::To(after) => {
                    if after != global {
                        global = after;
                        calm = self.recall.is_calm(after);
                    }
                }
            }
        }
        let process = self
            .recall
            .renamed_process(outcome.next, before.name as usize);
        let is_changed = process != self.group.frame[place];
        let known = self.recall.process(process);
        let mut settled = self.group.settled;
        if is_changed {
            if place < self.shape.servers {
                for other in self.shape.server_places() {
                    if other != place {
                        let other = self.group.processes[other];
                        self.recall.judge_pair(known, other)?;
                    }
                }
            }
            settled |= u32::from(self.recall.orbit(known.orbit).settled) << place;
        }
        let mut keys = [0_u64; MAX_SERVERS];
        let keys = &mut keys[..self.shape.servers];
        for (at, key) in keys.iter_mut().enumerate() {
            let first = match at == place {
                true => known.first,
                false => self.group.processes[at].first,
            };
            *key = u64::from(first);
        }
        let name = match self.recall.renaming.count() {
            1 => 0,
            _ => match self.recall.renaming.sorting(keys) {
                (name, false) => name as u32,
                (_, true) => UNKNOWN,
            },
        };
        Ok(Some(Move {
            place,
            process,
            known,
            is_changed,
            global,
            settled,
            calm,
            name,
        }))
    }

    /// The cell of a lane of the state expanded.
    #[inline]
    fn cell(&mut self, slot: usize) -> u32 {
        if self.cells[slot] == UNKNOWN {
            let name = self.group.processes[self.shape.ends(slot).1].name;
            let key = self.key(self.last[slot], name, self.group.facts[slot]);
            self.cells[slot] = self.recall.cell(self.group.ears[slot], key);
        }
        self.cells[slot]
    }

    /// A lane as the first of its receiver's orbit sees it; the receiver has this name.
    #[inline]
    fn key(&mut self, lane: u32, name: u32, facts: Facts) -> LaneKey {
        let back = self.recall.renaming.inverse(name as usize);
        LaneKey::new(self.recall.renamed_lane(lane, back), facts)
    }

    /// What a step leads to, in canonical form. `through` is the slot of the message that is
    /// delivered.
    fn take(&mut self, step: usize, through: Option<usize>, number: u32) -> [u32; S] {
        let moved = self.moves[number as usize];
        let place = moved.place;
        let name = self.group.processes[place].name;
        let mut next = Next {
            state: self.last,
            touched: 0,
        };
        self.mail.clear();
        if moved.is_changed {
            let cell = through.map(|slot| self.cells[slot]);
            let step = self.recall.taken(step, cell);
            self.post(place, step.posts, name);
            for slot in self.shape.lanes_to(place) {
                next.touched |= 1 << slot;
                let lane = next.state[slot];
                if Some(slot) == through {
                    next.state[slot] = self.recall.renamed_lane(step.lane, name as usize);
                } else if lane != EMPTY {
                    let (from, _) = self.shape.ends(slot);
                    let facts = self.group.facts[slot];
                    let (lane, early) = self.enter(moved.known, from, lane, facts);
                    next.state[slot] = lane;
                    self.post(place, early, moved.known.name);
                }
            }
            next.state[place] = moved.process;
        } else {
            let step = self.recall.step(step);
            self.post(place, step.posts, name);
        }
        next.state[self.shape.global()] = moved.global;
        let facts_change = moved.settled != self.group.settled || moved.calm != self.group.calm;
        if facts_change {
            next.touched = u64::MAX;
        }
        self.deliver(&mut next, &moved);
        if self.remembers_again && moved.is_changed {
            self.send_again(&mut next, &moved);
        }
        if facts_change {
            self.tidy_again(&mut next, &moved);
        }
        match moved.name {
            UNKNOWN => self.canonical(next.state),
            // The processes lie in order as they are.
            0 => next.state,
            name => {
                let mut canonical = self.canonical[number as usize];
                self.rename_lanes(&next.state, name as usize, &mut canonical);
                canonical
            }
        }
    }

    /// What becomes of a lane whose receiver enters a new state, and what is sent early then.
    #[inline]
    fn enter(
        &mut self,
        receiver: KnownProcess,
        from: usize,
        lane: u32,
        facts: Facts,
    ) -> (u32, Bundle) {
        let key = self.key(lane, receiver.name, facts);
        let ear = self.recall.ear_of(receiver, from);
        let (lane, early) = self.recall.enter(ear, key);
        (
            self.recall.renamed_lane(lane, receiver.name as usize),
            early,
        )
    }

    /// Puts posts of the process at `from`, which has this name, into the mail.
    #[inline]
    fn post(&mut self, from: usize, posts: Bundle, name: u32) {
        if posts == NOTHING {
            return;
        }
        for number in self.recall.posts_in(posts).numbers() {
            let (to, lane) = self.recall.renamed_post(number, name as usize);
            self.mail.push((self.shape.lane(from, to), lane));
        }
    }

    /// Delivers until nothing more can be sent early.
    #[inline]
    fn deliver(&mut self, next: &mut Next<S>, moved: &Move) {
        while let Some((slot, post)) = self.mail.pop() {
            let (from, to) = self.shape.ends(slot);
            let receiver = self.receiver(to, moved);
            let cell = if next.touched >> slot & 1 == 0 {
                self.cell(slot)
            } else {
                let facts = self.facts(from, to, moved.settled, moved.calm);
                let key = self.key(next.state[slot], receiver.name, facts);
                let ear = self.recall.ear_of(receiver, from);
                self.recall.cell(ear, key)
            };
            let name = receiver.name as usize;
            let back = self.recall.renaming.inverse(name);
            let post = self.recall.renamed_lane(post, back);
            let (lane, early) = self.recall.add(cell, post);
            next.state[slot] = self.recall.renamed_lane(lane, name);
            next.touched |= 1 << slot;
            self.post(to, early, receiver.name);
        }
    }

    #[inline]
    fn receiver(&self, to: usize, moved: &Move) -> KnownProcess {
        if to == moved.place {
            moved.known
        } else {
            self.group.processes[to]
        }
    }

    /// The process that moved forgot what may matter again: what others send it early comes to it
    /// once more.
    fn send_again(&mut self, next: &mut Next<S>, moved: &Move) {
        for from in self.shape.processes() {
            if from == moved.place {
                continue;
            }
            let process = self.group.processes[from];
            self.mail.clear();
            self.post(from, self.recall.orbit(process.orbit).early, process.name);
            for slot in self.shape.lanes_to(from) {
                let (other, _) = self.shape.ends(slot);
                let facts = self.facts(other, from, moved.settled, moved.calm);
                let (_, early) = self.enter(process, other, next.state[slot], facts);
                self.post(from, early, process.name);
            }
            let shape = &self.shape;
            self.mail
                .retain(|(slot, _)| shape.ends(*slot).1 == moved.place);
            self.deliver(next, moved);
        }
    }

    /// Tidies the lanes whose facts may be others than before.
    fn tidy_again(&mut self, next: &mut Next<S>, moved: &Move) {
        for slot in self.shape.lanes() {
            let (from, to) = self.shape.ends(slot);
            let may_differ = moved.calm != self.group.calm || from == moved.place;
            if may_differ && next.state[slot] != EMPTY {
                let facts = self.facts(from, to, moved.settled, moved.calm);
                let receiver = self.receiver(to, moved);
                let key = self.key(next.state[slot], receiver.name, facts);
                let cell = self.recall.cell(self.recall.ear_of(receiver, from), key);
                let (lane, _) = self.recall.add(cell, EMPTY);
                next.state[slot] = self.recall.renamed_lane(lane, receiver.name as usize);
            }
        }
    }

    /// Only servers go by the facts, and only where dead messages are dropped.
    #[inline]
    fn facts(&self, from: usize, to: usize, settled: u32, calm: bool) -> Facts {
        if self.drops_dead && to < self.shape.servers {
            let settled = settled >> from & 1 != 0;
            Facts { settled, calm }
        } else {
            Facts::default()
        }
    }

    /// Brings a state into canonical form: the least of its renamings among those that sort the
    /// servers by what renaming does not change.
    pub(crate) fn canonical(&mut self, state: [u32; S]) -> [u32; S] {
        self.recall.look_for_names();
        if self.recall.renaming.count() == 1 {
            return state;
        }
        let servers = self.shape.servers;
        let mut keys = [0_u64; MAX_SERVERS];
        for (key, process) in keys[..servers].iter_mut().zip(&state) {
            *key = u64::from(self.recall.process(*process).first);
        }
        match self.recall.renaming.sorting(&keys[..servers]) {
            (0, false) => state,
            (name, false) => self.rename(&state, name),
            (_, true) => self.canonical_of_tied(&state, keys),
        }
    }

    /// Whether a canonical state has the same form under another name.
    pub(crate) fn has_form(&mut self, canonical: &[u32; S], name: usize) -> bool {
        self.recall.look_for_names();
        let renamed = self.rename(canonical, name);
        self.canonical(renamed) == *canonical
    }

    fn canonical_of_tied(&mut self, state: &[u32; S], mut keys: [u64; MAX_SERVERS]) -> [u32; S] {
        self.refine(state, &mut keys);
        let keys = &keys[..self.shape.servers];
        if let (name, false) = self.recall.renaming.sorting(keys) {
            return self.rename(state, name);
        }
        let takes_first = self.tables.scope().flaw == Some(Flaw::FirstOrderIsCanonical);
        let mut best = [UNKNOWN; S];
        for name in 0..self.recall.renaming.count() {
            if self.recall.renaming.sorts(name, keys) && !(takes_first && best[0] != UNKNOWN) {
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
                let row = self.recall.lane_row(lane);
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
        let mut renamed = self.renamed_frame(state, name);
        self.rename_lanes(state, name, &mut renamed);
        renamed
    }

    /// The processes and the global under another name.
    fn renamed_frame(&mut self, state: &[u32; S], name: usize) -> [u32; S] {
        let mut renamed = [EMPTY; S];
        for place in self.shape.processes() {
            let process = self.recall.renamed_process(state[place], name);
            renamed[self.recall.renaming.place(name, place)] = process;
        }
        let global = self.shape.global();
        renamed[global] = self.recall.renamed_global(state[global], name);
        renamed
    }

    #[inline]
    fn rename_lanes(&mut self, state: &[u32; S], name: usize, renamed: &mut [u32; S]) {
        let lanes = self.shape.lanes();
        if self.recall.lanes_have_names {
            for slot in lanes {
                let lane = self.recall.renamed_lane(state[slot], name);
                renamed[usize::from(self.recall.renaming.slots(name)[slot])] = lane;
            }
        } else {
            let slots = &self.recall.renaming.slots(name)[lanes.clone()];
            for (lane, slot) in state[lanes].iter().zip(slots) {
                renamed[usize::from(*slot)] = *lane;
            }
        }
    }
}

fn mix(value: u64) -> u64 {
    let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * 0xe703_7ed1_a0b4_28db;
    (product as u64) ^ ((product >> 64) as u64)
}
