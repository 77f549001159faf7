//! Ids for everything a system is made of, and the remembered outcomes of local steps.
//!
//! A *view* is what one process can act on: its state, the messages that wait for it, and what
//! else decides which of them still matter (which senders are settled, whether crashes are over). A system state is one view for each process and one *global* (budget and
//! history). Servers are renamed (symmetry) by tables too: all renamings of a view are interned
//! together, as one *orbit*.

use model::{
    Envelope,
    system::{
        Broken, Budget, History, LocalStep, Observation, Process, Relabel, Relabelling, Relevance,
        Scope, System, Witnesses,
    },
};
use rustc_hash::FxHashMap;
use std::{collections::BTreeSet, hash::Hash, sync::Arc};

/// Gives equal values equal ids, counted from 0.
#[derive(Debug)]
pub(crate) struct Interner<T> {
    values: Vec<Arc<T>>,
    ids: FxHashMap<Arc<T>, u32>,
}

impl<T: Eq + Hash> Interner<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            ids: FxHashMap::default(),
        }
    }

    fn get(&self, value: &T) -> Option<u32> {
        self.ids.get(value).copied()
    }

    fn intern(&mut self, value: T) -> u32 {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 distinct parts");
        let value = Arc::new(value);
        self.values.push(Arc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

impl<T> std::ops::Index<u32> for Interner<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.values[id as usize]
    }
}

/// What one process can act on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct View {
    process: u32,
    /// Message ids, ascending.
    inbox: Box<[u32]>,
    /// Places of settled senders, as bits, and [`CALM`].
    marks: u32,
}

/// The mark that no server can crash any more.
const CALM: u32 = 1 << 31;

/// The post that brings nothing but [`CALM`].
pub(crate) const CALM_POST: u32 = 0;

/// What one step puts into another process's inbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Post {
    /// Message ids, ascending.
    messages: Box<[u32]>,
    /// The sender's place as a bit, if it is settled from now on; [`CALM`] from now on.
    marks: u32,
}

/// What a step does beside changing its process and sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Effect {
    cost: Budget,
    observed: Vec<Observation>,
    witnesses: Witnesses,
    broken: Option<Broken>,
}

/// Budget and history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Global {
    spent: Budget,
    history: History,
}

impl Relabel for Global {
    fn relabel(&self, names: &Relabelling) -> Self {
        Self {
            spent: self.spent,
            history: self.history.relabel(names),
        }
    }
}

/// A step of one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewStep {
    /// The view afterwards.
    pub(crate) next: u32,
    /// Which effect; 0 for none.
    pub(crate) effect: u32,
    /// What goes to whom, the early sends of the new view included: (place, post).
    pub(crate) posts: Vec<(u32, u32)>,
}

/// What becomes of a view when a post arrives.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The view afterwards.
    pub(crate) view: u32,
    /// What can be sent at once because of it, without any other change.
    pub(crate) early: Vec<(u32, u32)>,
}

/// All that a view can do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expansion {
    /// Steps that change something, without repetitions.
    pub(crate) steps: Vec<ViewStep>,
    /// How many steps were enabled, repetitions and those that only send included.
    pub(crate) enabled: u32,
}

/// What an effect does to a global.
#[derive(Clone, Debug)]
pub(crate) enum GlobalStep {
    /// The budget does not allow it.
    Disabled,
    /// It leads to this global; `calms` if no server can crash from now on.
    To {
        /// The global afterwards.
        global: u32,
        /// What was witnessed.
        witnesses: Witnesses,
        /// Whether crashes were possible before and are not now.
        calms: bool,
    },
    /// It breaks a law.
    Broken(Broken),
}

/// A remembered local step: what [`LocalStep`] says, in ids.
#[derive(Clone, Debug)]
struct ProcessStep {
    next: u32,
    only_sends: bool,
    effect: u32,
    /// Message ids by receiver's place.
    sent: Vec<(u32, Box<[u32]>)>,
}

/// What happens to a process: by itself, or when this message arrives.
const OWN: u32 = u32::MAX;

/// All tables of one scope.
#[derive(Debug)]
pub struct Tables {
    scope: Scope,
    symmetric: bool,
    names: Vec<Relabelling>,
    /// `composed[a][b]` is the renaming "first a, then b".
    composed: Vec<Vec<u32>>,
    places: Vec<model::Address>,
    servers: usize,
    processes: Interner<Process>,
    messages: Interner<Envelope>,
    views: Interner<View>,
    posts: Interner<Post>,
    effects: Interner<Effect>,
    globals: Interner<Global>,
    /// For each process and message (or [`OWN`]), what can become of it.
    process_steps: FxHashMap<(u32, u32), Arc<[ProcessStep]>>,
    relevance: FxHashMap<(u32, u32), Relevance>,
    /// What one thread has worked out, for the others.
    expansions: FxHashMap<u32, Arc<Expansion>>,
    arrivals: FxHashMap<(u32, u32), Arc<Arrival>>,
    local_steps: usize,
    /// For each value, all its renamings, in the order of `names`.
    process_renamings: Vec<u32>,
    message_renamings: Vec<u32>,
    view_renamings: Vec<u32>,
    global_renamings: Vec<u32>,
    /// Views that are renamings of one another have the same orbit.
    orbits: Vec<u32>,
    orbit_count: u32,
    /// What steps that only send bore witness to.
    early_witnesses: Witnesses,
}

impl Tables {
    /// Empty tables for a scope.
    pub fn new(scope: Scope, symmetric: bool) -> Self {
        let servers = scope.servers as usize;
        let all = Relabelling::all(servers);
        let names = if symmetric {
            all
        } else {
            all.into_iter().take(1).collect()
        };
        let composed = names
            .iter()
            .map(|first| {
                names
                    .iter()
                    .map(|second| {
                        let both: Vec<usize> = (0..servers)
                            .map(|place| second.place(first.place(place)))
                            .collect();
                        let found = names.iter().position(|name| {
                            (0..servers).all(|place| name.place(place) == both[place])
                        });
                        found.expect("permutations are closed under composition") as u32
                    })
                    .collect()
            })
            .collect();
        let places = scope
            .initial()
            .processes
            .iter()
            .map(Process::address)
            .collect();
        let mut effects = Interner::new();
        effects.intern(Effect::default());
        let mut posts = Interner::new();
        let (messages, marks) = (Box::default(), CALM);
        posts.intern(Post { messages, marks });
        Self {
            scope,
            symmetric,
            names,
            composed,
            places,
            servers,
            processes: Interner::new(),
            messages: Interner::new(),
            views: Interner::new(),
            posts,
            effects,
            globals: Interner::new(),
            process_steps: FxHashMap::default(),
            relevance: FxHashMap::default(),
            expansions: FxHashMap::default(),
            arrivals: FxHashMap::default(),
            local_steps: 0,
            process_renamings: Vec::new(),
            message_renamings: Vec::new(),
            view_renamings: Vec::new(),
            global_renamings: Vec::new(),
            orbits: Vec::new(),
            orbit_count: 0,
            early_witnesses: Witnesses::default(),
        }
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many processes a state has.
    pub fn width(&self) -> usize {
        self.places.len()
    }

    /// How many of them are servers; they come first.
    pub(crate) fn servers(&self) -> usize {
        self.servers
    }

    /// Whether renamings are identified.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.symmetric
    }

    /// The permutations of places, in the order of all tables.
    pub(crate) fn permutations(&self) -> Vec<Vec<usize>> {
        self.names
            .iter()
            .map(|name| (0..self.servers).map(|place| name.place(place)).collect())
            .collect()
    }

    /// The views and the global of a system in normal form.
    pub(crate) fn key_of(&mut self, system: &System) -> Vec<u32> {
        let settled: u32 = system
            .processes
            .iter()
            .enumerate()
            .filter(|(_, process)| self.scope.is_settled(process))
            .map(|(place, _)| 1 << place)
            .sum();
        let mut key = Vec::new();
        for (place, process) in system.processes.iter().enumerate() {
            let address = self.places[place];
            let waiting = system
                .network
                .iter()
                .filter(|envelope| envelope.to == address);
            let mut inbox: Vec<u32> = Vec::new();
            for envelope in waiting {
                inbox.push(self.intern_message(envelope.clone()));
            }
            inbox.sort_unstable();
            let process = self.intern_process(process.clone());
            let calm = if self.scope.is_calm(&system.spent) {
                CALM
            } else {
                0
            };
            let marks = self.marks_at(place, settled | calm);
            key.push(self.intern_view(View {
                process,
                inbox: inbox.into(),
                marks,
            }));
        }
        key.push(self.intern_global(Global {
            spent: system.spent,
            history: system.history.clone(),
        }));
        key
    }

    /// The system that a state stands for.
    pub fn system(&self, key: &[u32]) -> System {
        let (global, views) = key.split_last().expect("a state has a global");
        let views: Vec<&View> = views.iter().map(|view| &self.views[*view]).collect();
        let global = &self.globals[*global];
        System {
            processes: views
                .iter()
                .map(|view| self.processes[view.process].clone())
                .collect(),
            network: views
                .iter()
                .flat_map(|view| view.inbox.iter())
                .map(|message| self.messages[*message].clone())
                .collect(),
            spent: global.spent,
            history: global.history.clone(),
            broken: None,
        }
    }

    /// The process of a view.
    pub(crate) fn process_of(&self, view: u32) -> u32 {
        self.views[view].process
    }

    /// A process by its id.
    pub(crate) fn process(&self, id: u32) -> &Process {
        &self.processes[id]
    }

    pub(crate) fn orbit(&self, view: u32) -> u32 {
        self.orbits[view as usize]
    }

    pub(crate) fn view_renaming_row(&self, view: u32) -> &[u32] {
        let count = self.names.len();
        &self.view_renamings[view as usize * count..][..count]
    }

    pub(crate) fn global_renaming_row(&self, global: u32) -> &[u32] {
        let count = self.names.len();
        &self.global_renamings[global as usize * count..][..count]
    }

    /// The marks that matter to the process at `place`: only servers go by them, and nobody sends
    /// to itself.
    fn marks_at(&self, place: usize, marks: u32) -> u32 {
        if place < self.servers && self.scope.reduction.drop_dead {
            marks & !(1 << place)
        } else {
            0
        }
    }

    /// Everything the view can do.
    pub(crate) fn expand(&mut self, view: u32) -> Arc<Expansion> {
        if let Some(known) = self.expansions.get(&view) {
            return Arc::clone(known);
        }
        let expansion = Arc::new(self.work_out(view));
        self.expansions.insert(view, Arc::clone(&expansion));
        expansion
    }

    fn work_out(&mut self, id: u32) -> Expansion {
        let view = self.views[id].clone();
        let mut expansion = Expansion::default();
        for &message in std::iter::once(&OWN).chain(&view.inbox) {
            let steps = self.process_steps(view.process, message);
            expansion.enabled += steps.len() as u32;
            for step in steps.iter() {
                if step.only_sends && self.scope.reduction.send_early {
                    continue;
                }
                let step = self.view_step(&view, step);
                if !expansion.steps.contains(&step) {
                    expansion.steps.push(step);
                }
            }
        }
        expansion
    }

    fn view_step(&mut self, view: &View, step: &ProcessStep) -> ViewStep {
        let settles = self.scope.reduction.drop_dead
            && self.scope.is_settled(&self.processes[step.next])
            && !self.scope.is_settled(&self.processes[view.process]);
        let place = self.place_of(view.process);
        let mut posts = self.posts_of(&step.sent);
        if settles {
            let (messages, marks) = (Box::default(), 1 << place);
            let post = self.posts.intern(Post { messages, marks });
            let others = (0..self.servers as u32).filter(|to| *to != place);
            posts.extend(others.map(|to| (to, post)));
        }
        let arrival = self.arrive(step.next, true, &[], &view.inbox, view.marks);
        posts.extend(arrival.early);
        ViewStep {
            next: arrival.view,
            effect: step.effect,
            posts,
        }
    }

    fn posts_of(&mut self, sent: &[(u32, Box<[u32]>)]) -> Vec<(u32, u32)> {
        sent.iter()
            .map(|(to, messages)| {
                let (messages, marks) = (messages.clone(), 0);
                (*to, self.posts.intern(Post { messages, marks }))
            })
            .collect()
    }

    /// A process meets messages: those in `old` it has met in its present state, those in `new`
    /// it has not. What it can answer without changing is sent; what can no longer matter goes.
    fn arrive(
        &mut self,
        process: u32,
        is_new: bool,
        old: &[u32],
        new: &[u32],
        marks: u32,
    ) -> Arrival {
        let mut inbox = old.to_vec();
        let mut met = Vec::new();
        if is_new {
            met.push(OWN);
        }
        for &message in new {
            if !old.contains(&message) && self.relevance(process, message) != Relevance::Dead {
                inbox.push(message);
                met.push(message);
            }
        }
        let mut early: Vec<(u32, BTreeSet<u32>)> = Vec::new();
        if self.scope.reduction.send_early {
            for message in met {
                let steps = self.process_steps(process, message);
                for step in steps.iter().filter(|step| step.only_sends) {
                    self.early_witnesses
                        .add_all(self.effects[step.effect].witnesses);
                    for (to, messages) in &step.sent {
                        match early.iter_mut().find(|(known, _)| known == to) {
                            Some((_, all)) => all.extend(messages.iter().copied()),
                            None => early.push((*to, messages.iter().copied().collect())),
                        }
                    }
                }
            }
        }
        let early: Vec<(u32, Box<[u32]>)> = early
            .into_iter()
            .map(|(to, messages)| (to, messages.into_iter().collect()))
            .collect();
        Arrival {
            view: self.tidy(process, inbox, marks),
            early: self.posts_of(&early),
        }
    }

    /// The remembered outcomes of a message, or of what the process does by itself; runs the real
    /// code the first time.
    fn process_steps(&mut self, process: u32, message: u32) -> Arc<[ProcessStep]> {
        if let Some(known) = self.process_steps.get(&(process, message)) {
            return Arc::clone(known);
        }
        let locals = if message == OWN {
            self.scope.local_events(&self.processes[process])
        } else {
            self.scope.deliveries(&self.messages[message])
        };
        self.local_steps += locals.len();
        let mut steps = Vec::new();
        for local in &locals {
            let step = self.scope.local_step(&self.processes[process], local);
            steps.extend(step.map(|step| self.intern_step(process, step)));
        }
        let steps: Arc<[ProcessStep]> = steps.into();
        self.process_steps
            .insert((process, message), Arc::clone(&steps));
        steps
    }

    fn relevance(&mut self, process: u32, message: u32) -> Relevance {
        *self.relevance.entry((process, message)).or_insert_with(|| {
            self.scope
                .relevance(&self.processes[process], &self.messages[message])
        })
    }

    fn intern_step(&mut self, process: u32, step: LocalStep) -> ProcessStep {
        let only_sends = step.only_sends(&self.processes[process]);
        let mut sent: Vec<(u32, BTreeSet<u32>)> = Vec::new();
        for envelope in step.sent {
            // A message to someone who is not part of the system is lost.
            let Some(place) = self.places.iter().position(|place| *place == envelope.to) else {
                continue;
            };
            let place = place as u32;
            let message = self.intern_message(envelope);
            match sent.iter_mut().find(|(to, _)| *to == place) {
                Some((_, messages)) => {
                    messages.insert(message);
                }
                None => sent.push((place, BTreeSet::from([message]))),
            }
        }
        sent.sort_unstable_by_key(|(to, _)| *to);
        ProcessStep {
            next: self.intern_process(step.next),
            only_sends,
            effect: self.effects.intern(Effect {
                cost: step.cost,
                observed: step.observed,
                witnesses: step.witnesses,
                broken: step.broken,
            }),
            sent: sent
                .into_iter()
                .map(|(to, messages)| (to, messages.into_iter().collect()))
                .collect(),
        }
    }

    /// What becomes of a view when a post arrives.
    pub(crate) fn add(&mut self, view: u32, post: u32) -> Arc<Arrival> {
        if let Some(known) = self.arrivals.get(&(view, post)) {
            return Arc::clone(known);
        }
        let before = self.views[view].clone();
        let brings = self.posts[post].clone();
        let place = self.place_of(before.process) as usize;
        let marks = before.marks | self.marks_at(place, brings.marks);
        let arrival = self.arrive(
            before.process,
            false,
            &before.inbox,
            &brings.messages,
            marks,
        );
        let arrival = Arc::new(arrival);
        self.arrivals.insert((view, post), Arc::clone(&arrival));
        arrival
    }

    /// What an effect does to a global.
    pub(crate) fn apply(&mut self, global: u32, effect: u32) -> GlobalStep {
        let effect = &self.effects[effect];
        let Global { spent, history } = &self.globals[global];
        let step = LocalStep {
            // The process plays no part in what is recorded.
            next: self.processes[0].clone(),
            sent: Vec::new(),
            observed: effect.observed.clone(),
            cost: effect.cost,
            witnesses: effect.witnesses,
            broken: effect.broken.clone(),
        };
        match self.scope.record(spent, history, &step) {
            None => GlobalStep::Disabled,
            Some((_, _, _, Some(broken))) => GlobalStep::Broken(broken),
            Some((after, history, witnesses, None)) => GlobalStep::To {
                calms: self.scope.reduction.drop_dead
                    && self.scope.is_calm(&after)
                    && !self.scope.is_calm(spent),
                global: self.intern_global(Global {
                    spent: after,
                    history,
                }),
                witnesses,
            },
        }
    }

    /// Interns the view of a process with this inbox, without what can no longer matter
    /// ([`Relevance`] says why, and `tidy_inbox` of the model does the same to whole messages).
    fn tidy(&mut self, process: u32, mut inbox: Vec<u32>, marks: u32) -> u32 {
        let calm = marks & CALM != 0;
        let last = self.scope.is_settled(&self.processes[process]);
        // Where several do the same, the first in the order of messages stays.
        let mut tells: Vec<u32> = Vec::new();
        let mut refusals: Vec<(model::Term, u32)> = Vec::new();
        inbox.retain(|&message| match self.relevance(process, message) {
            Relevance::Live => true,
            Relevance::Dead => false,
            Relevance::Tells { when_calm } if when_calm && !calm => true,
            Relevance::Tells { .. } => {
                let sender = self.sender(message);
                let needed = !last && sender.is_none_or(|place| marks & (1 << place) == 0);
                if needed {
                    tells.push(message);
                }
                false
            }
            Relevance::Refusal(term) => {
                refusals.push((term, message));
                false
            }
        });
        tells.sort_unstable_by_key(|message| &self.messages[*message]);
        tells.dedup_by_key(|message| self.messages[*message].from);
        refusals.sort_unstable_by_key(|(term, message)| (*term, &self.messages[*message]));
        refusals.dedup_by_key(|(term, message)| (*term, self.messages[*message].from));
        inbox.extend(tells);
        inbox.extend(refusals.into_iter().map(|(_, message)| message));
        inbox.sort_unstable();
        let inbox = inbox.into();
        self.intern_view(View {
            process,
            inbox,
            marks,
        })
    }

    fn sender(&self, message: u32) -> Option<usize> {
        let from = self.messages[message].from;
        self.places.iter().position(|place| *place == from)
    }

    fn place_of(&self, process: u32) -> u32 {
        let address = self.processes[process].address();
        let place = self.places.iter().position(|place| *place == address);
        place.expect("every process has a place") as u32
    }

    /// Interns a view with all its renamings.
    fn intern_view(&mut self, view: View) -> u32 {
        if let Some(id) = self.views.get(&view) {
            return id;
        }
        let row: Vec<u32> = (0..self.names.len())
            .map(|name| {
                let renamed = self.rename_view(&view, name);
                self.views.intern(renamed)
            })
            .collect();
        let orbit = self.orbit_count;
        self.orbit_count += 1;
        self.orbits.resize(self.views.len(), orbit);
        fill_rows(
            &mut self.view_renamings,
            &self.composed,
            &row,
            self.views.len(),
        );
        row[0]
    }

    fn rename_view(&self, view: &View, name: usize) -> View {
        let count = self.names.len();
        let process = self.process_renamings[view.process as usize * count + name];
        let mut inbox: Box<[u32]> = view
            .inbox
            .iter()
            .map(|message| self.message_renamings[*message as usize * count + name])
            .collect();
        inbox.sort_unstable();
        let settled: u32 = (0..self.servers)
            .filter(|place| view.marks & (1 << place) != 0)
            .map(|place| 1 << self.names[name].place(place))
            .sum();
        View {
            process,
            inbox,
            marks: settled | view.marks & CALM,
        }
    }

    fn intern_process(&mut self, process: Process) -> u32 {
        intern_orbit(
            &mut self.processes,
            &mut self.process_renamings,
            &self.names,
            &self.composed,
            process,
        )
    }

    fn intern_message(&mut self, message: Envelope) -> u32 {
        intern_orbit(
            &mut self.messages,
            &mut self.message_renamings,
            &self.names,
            &self.composed,
            message,
        )
    }

    fn intern_global(&mut self, global: Global) -> u32 {
        intern_orbit(
            &mut self.globals,
            &mut self.global_renamings,
            &self.names,
            &self.composed,
            global,
        )
    }

    /// What steps that only send bore witness to.
    pub(crate) fn early_witnesses(&self) -> Witnesses {
        self.early_witnesses
    }

    /// How many distinct values of each kind there are, for reports.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            processes: self.processes.len(),
            messages: self.messages.len(),
            views: self.views.len(),
            histories: self.globals.len(),
            local_steps: self.local_steps,
        }
    }
}

/// Interns a value with all its renamings.
fn intern_orbit<T: Relabel + Eq + Hash>(
    interner: &mut Interner<T>,
    rows: &mut Vec<u32>,
    names: &[Relabelling],
    composed: &[Vec<u32>],
    value: T,
) -> u32 {
    if let Some(id) = interner.get(&value) {
        return id;
    }
    let row: Vec<u32> = names
        .iter()
        .map(|name| interner.intern(value.relabel(name)))
        .collect();
    fill_rows(rows, composed, &row, interner.len());
    row[0]
}

/// Fills the renaming rows of a whole orbit from one of its rows: renaming `row[a]` by b is
/// renaming the first by "a, then b".
fn fill_rows(rows: &mut Vec<u32>, composed: &[Vec<u32>], row: &[u32], count: usize) {
    let width = row.len();
    rows.resize(count * width, u32::MAX);
    for (a, member) in row.iter().enumerate() {
        for b in 0..width {
            rows[*member as usize * width + b] = row[composed[a][b] as usize];
        }
    }
}

/// How many distinct values the tables hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sizes {
    /// Process states.
    pub processes: usize,
    /// Messages.
    pub messages: usize,
    /// Processes with their inboxes.
    pub views: usize,
    /// Budgets with histories.
    pub histories: usize,
    /// (process state, event) pairs: how often the real code ran.
    pub local_steps: usize,
}
