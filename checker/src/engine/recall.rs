//! What one thread remembers of the tables: what becomes of processes and of the lanes to them.
//! After a while almost every look-up is answered here, without a lock.
//!
//! Renaming the servers commutes with every step (`docs/reductions.md`). So of all renamings of a
//! process only one is remembered, the *first of its orbit*, and every other process is that one
//! under some name. In what is remembered of an orbit, senders, receivers and lanes are those that
//! the first of the orbit sees; who asks for another process of the orbit renames them. Without
//! symmetry every process is an orbit of its own.

use super::{
    memory::{Bundle, Cell, Ear, Heard, LaneKey, NOTHING, Pairs, Range, UNKNOWN},
    renaming::Renaming,
    tables::{EMPTY, Facts, GlobalStep, Meeting, OWN, Posts, ProcessStep, Tables},
    visited::fetch,
};
use model::system::{Broken, Relevance, Witnesses};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::sync::Arc;

pub(crate) struct Recall<'a> {
    tables: &'a Tables,
    places: usize,
    drops_dead: bool,
    pub(crate) renaming: Renaming,
    /// Whether renaming servers may change a lane that this thread has met.
    pub(crate) lanes_have_names: bool,
    processes: Vec<KnownProcess>,
    orbits: Vec<Orbit>,
    /// By the first process of an orbit.
    known_orbits: FxHashMap<u32, u32>,
    process_rows: Rows,
    lane_rows: Rows,
    global_rows: Rows,
    effect_rows: Rows,
    globals_calm: Vec<Option<bool>>,
    /// By global and effect.
    globals: Vec<Vec<u32>>,
    /// By orbit and sender's place.
    ears: Vec<Ear>,
    cells: Vec<Cell>,
    /// By ear and message.
    meetings: FxHashMap<(u32, u32), Arc<Meeting>>,
    /// By lane, its messages among all of them; none for a lane that is not known.
    lanes: Vec<Range>,
    messages: Vec<u32>,
    lane_ids: FxHashMap<Box<[u32]>, u32>,
    /// Facets of servers that were judged against each other and passed.
    judged: Pairs,
    /// What the ranges point into.
    steps: Vec<KnownStep>,
    posts: Posts,
    outcomes: Vec<Outcome>,
    known_outcomes: FxHashMap<Outcome, u32>,
    /// What a bundle of posts is, by its id; the first is empty.
    bundles: Vec<Range>,
    known_bundles: FxHashMap<Posts, Bundle>,
    /// Kept to reuse their memory.
    kept: Vec<u32>,
    tells: Vec<u32>,
    /// What was witnessed by the steps taken so far.
    pub(crate) witnesses: Witnesses,
}

/// A process, as one of its orbit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownProcess {
    /// The first process of its orbit: equal for all of them, on every thread. `UNKNOWN` until the
    /// process is learnt.
    pub(crate) first: u32,
    /// The number of the orbit on this thread.
    pub(crate) orbit: u32,
    /// A name under which the first is this one.
    pub(crate) name: u32,
    /// What it is judged by beside other servers.
    facet: u32,
}

impl KnownProcess {
    pub(crate) const UNKNOWN: Self = Self {
        first: UNKNOWN,
        orbit: UNKNOWN,
        name: UNKNOWN,
        facet: UNKNOWN,
    };
}

/// What is known of all renamings of a process.
#[derive(Clone, Copy)]
pub(crate) struct Orbit {
    first: u32,
    pub(crate) settled: bool,
    /// What it does by itself; so many more events only send.
    pub(crate) early_count: u32,
    pub(crate) steps: Range,
    pub(crate) early: Bundle,
}

/// A step of a process, taken by itself or with a message.
#[derive(Clone, Copy)]
pub(crate) struct KnownStep {
    pub(crate) outcome: u32,
    /// How many deliveries or events do the same.
    pub(crate) count: u32,
    /// What it sends; once the step was taken, which the budget may forbid, also what the process
    /// then sends early by itself and because of the other messages in the lane.
    pub(crate) posts: Bundle,
    /// The lane of the message afterwards; `UNKNOWN` until the step is taken.
    pub(crate) lane: u32,
}

/// What a step does to its process, and to budget and history.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Outcome {
    pub(crate) next: u32,
    pub(crate) effect: u32,
}

/// What an effect does to a global.
pub(crate) enum After {
    /// The budget does not allow it.
    Disabled,
    To(u32),
    Broken(Broken),
}

/// In place of a global that the budget does not allow.
const DISABLED: u32 = UNKNOWN - 1;

impl<'a> Recall<'a> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        let renaming = Renaming::new(tables);
        let rows = || Rows::new(renaming.count());
        Self {
            tables,
            places: tables.shape().places.len(),
            drops_dead: tables.scope().reduction.drop_dead,
            lanes_have_names: tables.lanes_have_names(),
            processes: Vec::new(),
            orbits: Vec::new(),
            known_orbits: FxHashMap::default(),
            process_rows: rows(),
            lane_rows: rows(),
            global_rows: rows(),
            effect_rows: rows(),
            globals_calm: Vec::new(),
            globals: Vec::new(),
            ears: Vec::new(),
            cells: Vec::new(),
            meetings: FxHashMap::default(),
            lanes: Vec::new(),
            messages: Vec::new(),
            lane_ids: FxHashMap::default(),
            judged: Pairs::default(),
            steps: Vec::new(),
            posts: Vec::new(),
            outcomes: Vec::new(),
            known_outcomes: FxHashMap::default(),
            bundles: vec![Range::default()],
            known_bundles: FxHashMap::default(),
            kept: Vec::new(),
            tells: Vec::new(),
            witnesses: Witnesses::default(),
            renaming,
        }
    }

    /// To be called before a state is looked at that another thread may have found: its lanes may
    /// have names that none had before. What this thread learns by itself is looked after here.
    #[inline]
    pub(crate) fn look_for_names(&mut self) {
        self.lanes_have_names = self.tables.lanes_have_names();
    }

    /// What is known of a process; learnt the first time.
    #[inline]
    pub(crate) fn process(&mut self, id: u32) -> KnownProcess {
        match self.processes.get(id as usize) {
            Some(known) if known.first != UNKNOWN => *known,
            _ => self.learn(id),
        }
    }

    #[inline]
    pub(crate) fn orbit(&self, number: u32) -> &Orbit {
        &self.orbits[number as usize]
    }

    #[cold]
    fn learn(&mut self, id: u32) -> KnownProcess {
        let row = self.tables.process_row(id);
        let first = row.iter().copied().min().unwrap_or(id);
        let orbit = match self.known_orbits.get(&first) {
            Some(orbit) => *orbit,
            None => self.learn_orbit(first),
        };
        let renamed = self.tables.process_row(first);
        let name = renamed.iter().position(|renamed| *renamed == id);
        let known = KnownProcess {
            first,
            orbit,
            name: number(name.expect("a process is a renaming of the first of its orbit")),
            facet: self.tables.facet_of(&self.tables.process(id)),
        };
        let place = id as usize;
        if place >= self.processes.len() {
            self.processes.resize(place + 1, KnownProcess::UNKNOWN);
        }
        self.processes[place] = known;
        known
    }

    fn learn_orbit(&mut self, first: u32) -> u32 {
        let process = self.tables.process(first);
        let place = self.tables.place_of(&process);
        let meeting = self.tables.meet(first, place, OWN);
        let steps = meeting.steps.iter();
        let steps: Vec<KnownStep> = steps.map(|step| self.known_step(step)).collect();
        self.witnesses.add_all(meeting.early_witnesses);
        let orbit = number(self.orbits.len());
        let known = Orbit {
            first,
            settled: self.drops_dead && self.tables.scope().is_settled(&process),
            early_count: meeting.early_count,
            steps: self.keep_steps(&steps),
            early: self.keep_posts(&meeting.early),
        };
        self.orbits.push(known);
        let ears = self.orbits.len() * self.places;
        self.ears.resize_with(ears, Ear::default);
        self.known_orbits.insert(first, orbit);
        self.look_for_names();
        orbit
    }

    /// A process under another name.
    #[inline]
    pub(crate) fn renamed_process(&mut self, process: u32, name: usize) -> u32 {
        let tables = self.tables;
        self.process_rows
            .at(process, name, || tables.process_row(process))
    }

    /// A lane under another name.
    #[inline]
    pub(crate) fn renamed_lane(&mut self, lane: u32, name: usize) -> u32 {
        if !self.lanes_have_names || name == 0 {
            return lane;
        }
        let tables = self.tables;
        self.lane_rows.at(lane, name, || tables.lane_row(lane))
    }

    /// All renamings of a lane.
    pub(crate) fn lane_row(&mut self, lane: u32) -> &[u32] {
        let tables = self.tables;
        self.lane_rows.get(lane, || tables.lane_row(lane))
    }

    /// A global under another name.
    #[inline]
    pub(crate) fn renamed_global(&mut self, global: u32, name: usize) -> u32 {
        let tables = self.tables;
        self.global_rows
            .at(global, name, || tables.global_row(global))
    }

    /// Whether no server can crash any more.
    pub(crate) fn is_calm(&mut self, global: u32) -> bool {
        let place = global as usize;
        if place >= self.globals_calm.len() {
            self.globals_calm.resize(place + 1, None);
        }
        *self.globals_calm[place].get_or_insert_with(|| self.tables.is_calm(global))
    }

    /// What the effect of a step of a process with this name does to a global.
    pub(crate) fn apply(&mut self, global: u32, effect: u32, name: usize) -> After {
        let tables = self.tables;
        let row = || tables.effect_row(effect);
        let effect = self.effect_rows.at(effect, name, row);
        let known = self.globals.get(global as usize);
        match known.and_then(|known| known.get(effect as usize)) {
            None | Some(&UNKNOWN) => self.learn_apply(global, effect),
            Some(&DISABLED) => After::Disabled,
            Some(&global) => After::To(global),
        }
    }

    #[cold]
    fn learn_apply(&mut self, global: u32, effect: u32) -> After {
        let (after, known) = match self.tables.apply(global, effect) {
            GlobalStep::Broken(broken) => return After::Broken(broken),
            GlobalStep::Disabled => (After::Disabled, DISABLED),
            GlobalStep::To { global, witnesses } => {
                assert!(global < DISABLED, "more globals than can be told apart");
                self.witnesses.add_all(witnesses);
                (After::To(global), global)
            }
        };
        let (global, effect) = (global as usize, effect as usize);
        if global >= self.globals.len() {
            self.globals.resize_with(global + 1, Vec::new);
        }
        let row = &mut self.globals[global];
        if effect >= row.len() {
            row.resize(effect + 1, UNKNOWN);
        }
        row[effect] = known;
        after
    }

    /// Judges two servers beside each other.
    pub(crate) fn judge_pair(
        &mut self,
        one: KnownProcess,
        other: KnownProcess,
    ) -> Result<(), Broken> {
        if !self.judged.contains(other.facet, one.facet) {
            self.tables.judge_pair(one.facet, other.facet)?;
            self.judged.insert(other.facet, one.facet);
        }
        Ok(())
    }

    /// A process as it listens to one place.
    #[inline]
    pub(crate) fn ear_of(&self, process: KnownProcess, from: usize) -> u32 {
        let back = self.renaming.inverse(process.name as usize);
        self.ear(process.orbit, self.renaming.place(back, from))
    }

    /// The first of an orbit as it listens to one place.
    #[inline]
    fn ear(&self, orbit: u32, from: usize) -> u32 {
        orbit * self.places as u32 + from as u32
    }

    #[inline]
    fn heard(&mut self, ear: u32, key: LaneKey) -> &mut Heard {
        self.ears[ear as usize].heard(key)
    }

    /// What becomes of a lane whose receiver enters a new state: it meets every message.
    #[inline]
    pub(crate) fn enter(&mut self, ear: u32, key: LaneKey) -> (u32, Bundle) {
        let heard = self.heard(ear, key);
        if heard.entered != UNKNOWN {
            return (heard.entered, heard.early);
        }
        self.enter_first(ear, key)
    }

    #[cold]
    fn enter_first(&mut self, ear: u32, key: LaneKey) -> (u32, Bundle) {
        let (entered, early) = self.tidy(ear, EMPTY, key.lane(), key.facts());
        let heard = self.heard(ear, key);
        (heard.entered, heard.early) = (entered, early);
        (entered, early)
    }

    /// The cell of a tidied lane.
    #[inline]
    pub(crate) fn cell(&mut self, ear: u32, key: LaneKey) -> u32 {
        let new = self.cells.len();
        let heard = self.heard(ear, key);
        if heard.cell != UNKNOWN {
            return heard.cell;
        }
        heard.cell = number(new);
        self.cells.push(Cell {
            ear,
            key,
            steps: None,
            early_count: 0,
            added: SmallVec::new(),
        });
        number(new)
    }

    /// Asks the processor to fetch a cell.
    #[inline]
    pub(crate) fn fetch_cell(&self, cell: u32) {
        fetch(&self.cells[cell as usize]);
    }

    /// What becomes of the tidied lane of a cell when a post comes to it.
    #[inline]
    pub(crate) fn add(&mut self, cell: u32, post: u32) -> (u32, Bundle) {
        let known = &self.cells[cell as usize].added;
        match known.iter().find(|(known, _, _)| *known == post) {
            Some((_, lane, early)) => (*lane, *early),
            None => self.add_first(cell, post),
        }
    }

    #[cold]
    fn add_first(&mut self, cell: u32, post: u32) -> (u32, Bundle) {
        let Cell { ear, key, .. } = self.cells[cell as usize];
        let (lane, early) = self.tidy(ear, key.lane(), post, key.facts());
        let added = &mut self.cells[cell as usize].added;
        added.push((post, lane, early));
        (lane, early)
    }

    /// Sends what a process can answer to the messages it has not `met` without changing, and
    /// keeps what still matters of both ([`Relevance`] says why, and `tidy_inbox` of the model
    /// does the same to whole messages).
    fn tidy(&mut self, ear: u32, met: u32, new: u32, facts: Facts) -> (u32, Bundle) {
        let (met, new) = (self.messages_of(met), self.messages_of(new));
        let last = self.orbits[ear as usize / self.places].settled;
        let mut early: Vec<(usize, u32)> = Vec::new();
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        // Where several do the same, the first in the order of messages stays.
        let mut tells = std::mem::take(&mut self.tells);
        tells.clear();
        let mut refusals: Vec<(model::Term, u32)> = Vec::new();
        let old = met.clone().map(|place| (place, false));
        for (place, is_new) in old.chain(new.map(|place| (place, true))) {
            let message = self.messages[place];
            if is_new && self.messages[met.clone()].contains(&message) {
                continue;
            }
            let meeting = self.meet(ear, message);
            let message = meeting.trimmed;
            match meeting.relevance.now(facts.calm) {
                Relevance::Live | Relevance::TellsWhenCalm => kept.push(message),
                Relevance::Dead => continue,
                Relevance::Tells => {
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
        kept.extend(self.first_of_each(refusals));
        kept.sort_unstable();
        // Several may be the same once they are trimmed.
        kept.dedup();
        let lane = self.lane_id(&kept);
        (self.kept, self.tells) = (kept, tells);
        let early = self.tables.gather(early);
        self.look_for_names();
        (lane, self.keep_posts(&early))
    }

    /// Of the messages that do the same, the first in the order of messages.
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

    /// Where the messages of a lane are.
    fn messages_of(&mut self, lane: u32) -> std::ops::Range<usize> {
        let place = lane as usize;
        if lane == EMPTY {
            return 0..0;
        }
        if place >= self.lanes.len() {
            self.lanes.resize(place + 1, Range::default());
        }
        if self.lanes[place].count == 0 {
            let messages = self.tables.messages(lane);
            self.lanes[place] = Range {
                first: number(self.messages.len()),
                count: number(messages.len()),
            };
            self.messages.extend_from_slice(&messages);
        }
        self.lanes[place].numbers()
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

    fn meet(&mut self, ear: u32, message: u32) -> &Arc<Meeting> {
        let (tables, places) = (self.tables, self.places);
        let orbit = &self.orbits[ear as usize / places];
        self.meetings
            .entry((ear, message))
            .or_insert_with(|| tables.meet(orbit.first, ear as usize % places, message))
    }

    /// What the messages of a cell can bring about, and how many of their deliveries only send.
    #[inline]
    pub(crate) fn steps_of(&mut self, cell: u32) -> (Range, u32) {
        let known = &self.cells[cell as usize];
        match known.steps {
            Some(steps) => (steps, known.early_count),
            None => self.learn_steps_of(cell),
        }
    }

    #[cold]
    fn learn_steps_of(&mut self, cell: u32) -> (Range, u32) {
        let Cell { ear, key, .. } = self.cells[cell as usize];
        let mut early_count = 0;
        let mut found: Vec<KnownStep> = Vec::new();
        for place in self.messages_of(key.lane()) {
            let meeting = Arc::clone(self.meet(ear, self.messages[place]));
            early_count += meeting.early_count;
            for step in &meeting.steps {
                let step = self.known_step(step);
                // Neither was taken yet.
                let does = |step: &KnownStep| (step.outcome, step.posts);
                match found.iter_mut().find(|known| does(known) == does(&step)) {
                    Some(known) => known.count += 1,
                    None => found.push(step),
                }
            }
        }
        self.look_for_names();
        let steps = self.keep_steps(&found);
        let known = &mut self.cells[cell as usize];
        (known.steps, known.early_count) = (Some(steps), early_count);
        (steps, early_count)
    }

    #[inline]
    pub(crate) fn step(&self, number: usize) -> KnownStep {
        self.steps[number]
    }

    #[inline]
    pub(crate) fn outcome(&self, outcome: u32) -> Outcome {
        self.outcomes[outcome as usize]
    }

    /// A step that changes its process, with what it brings about once it is taken. `through` is
    /// the cell of the message that is delivered.
    #[inline]
    pub(crate) fn taken(&mut self, number: usize, through: Option<u32>) -> KnownStep {
        let step = self.steps[number];
        if step.lane != UNKNOWN {
            return step;
        }
        self.taken_first(number, through)
    }

    #[cold]
    fn taken_first(&mut self, number: usize, through: Option<u32>) -> KnownStep {
        let step = self.steps[number];
        let next = self.process(self.outcome(step.outcome).next);
        let name = next.name as usize;
        let mut posts = self.posts_of(step.posts).to_vec();
        self.extend_renamed(&mut posts, self.orbit(next.orbit).early, name);
        let mut lane = EMPTY;
        if let Some(cell) = through {
            let Cell { ear, key, .. } = self.cells[cell as usize];
            let back = self.renaming.inverse(name);
            let renamed = self.renamed_lane(key.lane(), back);
            let ear = self.ear_of(next, ear as usize % self.places);
            let (entered, early) = self.enter(ear, LaneKey::new(renamed, key.facts()));
            lane = self.renamed_lane(entered, name);
            self.extend_renamed(&mut posts, early, name);
        }
        let posts = self.tables.gather(posts);
        self.look_for_names();
        let posts = self.keep_posts(&posts);
        self.steps[number] = KnownStep {
            posts,
            lane,
            ..step
        };
        self.steps[number]
    }

    fn extend_renamed(&mut self, posts: &mut Posts, bundle: Bundle, name: usize) {
        for number in self.posts_in(bundle).numbers() {
            posts.push(self.renamed_post(number, name));
        }
    }

    /// The posts of a bundle.
    #[inline]
    pub(crate) fn posts_in(&self, posts: Bundle) -> Range {
        self.bundles[posts as usize]
    }

    /// A post under another name: to which place, and the lane.
    #[inline]
    pub(crate) fn renamed_post(&mut self, number: usize, name: usize) -> (usize, u32) {
        let (to, lane) = self.posts[number];
        (self.renaming.place(name, to), self.renamed_lane(lane, name))
    }

    fn posts_of(&self, posts: Bundle) -> &[(usize, u32)] {
        &self.posts[self.posts_in(posts).numbers()]
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
        let outcome = Outcome {
            next: step.next,
            effect: step.effect,
        };
        let new = number(self.outcomes.len());
        let known = *self.known_outcomes.entry(outcome).or_insert(new);
        if known == new {
            self.outcomes.push(outcome);
        }
        KnownStep {
            outcome: known,
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
}

/// For each id a row: its renamings; learnt the first time.
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
    fn get(&mut self, id: u32, learn: impl FnOnce() -> Vec<u32>) -> &[u32] {
        self.at(id, 0, learn);
        let place = id as usize * self.width;
        &self.rows[place..place + self.width]
    }

    /// One of a row.
    #[inline]
    fn at(&mut self, id: u32, name: usize, learn: impl FnOnce() -> Vec<u32>) -> u32 {
        let place = id as usize * self.width;
        match self.rows.get(place + name) {
            Some(known) if *known != UNKNOWN => *known,
            _ => self.learn(place, &learn())[name],
        }
    }

    #[cold]
    fn learn(&mut self, place: usize, row: &[u32]) -> &[u32] {
        if place >= self.rows.len() {
            self.rows.resize(place + self.width, UNKNOWN);
        }
        let known = &mut self.rows[place..place + self.width];
        known.copy_from_slice(row);
        known
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 remembered parts")
}
