//! Ids for everything a system is made of, and the remembered outcomes of local steps. All threads
//! share them.
//!
//! A *lane* is what is on its way from one process to another: a set of messages, tidied of what
//! can no longer matter to its receiver. A *global* is budget and history. A system state is one
//! process for each place, one lane for each pair that talks, and one global. What a message does
//! depends on the process that meets it alone, and what tidying leaves in a lane on that process,
//! on the lane, and on two facts about the rest ([`Facts`]); so a few thousand remembered outcomes
//! make up millions of states. Servers are renamed (symmetry) by tables too ([`Orbits`]).

use super::{
    interner::{Interner, Names, Orbits},
    shape::Shape,
};
use model::{
    Envelope, Message,
    system::{
        Broken, Budget, Facet, History, Local, LocalStep, Observation, Process, Relabel,
        Relabelling, Relevance, Scope, System, Witnesses, laws,
    },
};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use std::{
    collections::BTreeSet,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Message ids, ascending.
type Messages = Arc<[u32]>;

/// The lane without messages.
pub(crate) const EMPTY: u32 = 0;

/// The effect that is none.
pub(crate) const NO_EFFECT: u32 = 0;

/// What else decides which messages of a lane still matter to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The sender can meet no newer term.
    pub(crate) settled: bool,
    /// No server can crash any more.
    pub(crate) calm: bool,
}

/// What a step does beside changing its process and sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Effect {
    cost: Budget,
    observed: Vec<Observation>,
    witnesses: Witnesses,
    broken: Option<Broken>,
}

impl Relabel for Effect {
    /// What is said of a broken law keeps the names it was said with: a path to it is one up to
    /// renaming as well.
    fn relabel(&self, names: &Relabelling) -> Self {
        let observed = self.observed.iter();
        Self {
            observed: observed.map(|seen| seen.relabel(names)).collect(),
            ..self.clone()
        }
    }
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

/// What an effect does to a global.
#[derive(Clone, Debug)]
pub(crate) enum GlobalStep {
    /// The budget does not allow it.
    Disabled,
    /// It leads to this global.
    To {
        /// The global afterwards.
        global: u32,
        /// What was witnessed.
        witnesses: Witnesses,
    },
    /// It breaks a law.
    Broken(Broken),
}

/// What a process and a message are to one another; or a process and what it does by itself.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) relevance: Relevance,
    /// The message without what the process holds for good.
    pub(crate) trimmed: u32,
    /// The remembered outcomes, without those that only send where these are taken early.
    pub(crate) steps: Vec<ProcessStep>,
    /// How many outcomes only send and are taken early.
    pub(crate) early_count: u32,
    /// What these send.
    pub(crate) early: Posts,
    /// What they bear witness to.
    pub(crate) early_witnesses: Witnesses,
}

/// A remembered local step: what [`LocalStep`] says, in ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStep {
    pub(crate) next: u32,
    pub(crate) effect: u32,
    pub(crate) posts: Posts,
}

/// What is sent: lanes to add, by the receiver's place, ascending.
pub(crate) type Posts = Vec<(usize, u32)>;

/// All tables of one scope.
#[derive(Debug)]
pub struct Tables {
    scope: Scope,
    names: Names,
    shape: Shape,
    processes: RwLock<Orbits<Process>>,
    messages: RwLock<Orbits<Message>>,
    lanes: RwLock<Orbits<Messages>>,
    globals: RwLock<Orbits<Global>>,
    effects: RwLock<Orbits<Effect>>,
    facets: RwLock<Interner<Option<Facet>>>,
    /// By process, sender's place and message; the process's own place and [`OWN`] for what it
    /// does by itself.
    meetings: RwLock<FxHashMap<(u32, usize, u32), Arc<Meeting>>>,
    /// Their keys, in the order in which they were found.
    met: RwLock<Vec<(u32, usize, u32)>>,
    /// Whether any lane has another name than its own.
    lanes_have_names: Apart<AtomicBool>,
}

/// On lines of the processor's caches of its own: it is read all the time, and what lies around it
/// is written.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

/// No message: what happens to a process by itself.
pub(crate) const OWN: u32 = u32::MAX;

impl Tables {
    /// Empty tables for a scope.
    pub fn new(scope: Scope, symmetric: bool) -> Self {
        let shape = Shape::of(&scope.initial());
        let names = Names::new(shape.servers, symmetric);
        let mut effects = Orbits::new();
        effects.intern(Effect::default(), &names, |effect, _| effect.clone());
        let mut lanes = Orbits::new();
        lanes.intern(Messages::from([]), &names, |lane, _| lane.clone());
        Self {
            scope,
            names,
            shape,
            processes: RwLock::new(Orbits::new()),
            messages: RwLock::new(Orbits::new()),
            lanes: RwLock::new(lanes),
            globals: RwLock::new(Orbits::new()),
            effects: RwLock::new(effects),
            facets: RwLock::new(Interner::new()),
            meetings: RwLock::default(),
            met: RwLock::default(),
            lanes_have_names: Apart(AtomicBool::new(false)),
        }
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Whether renaming servers may change a lane, apart from who its ends are.
    pub(crate) fn lanes_have_names(&self) -> bool {
        self.lanes_have_names.0.load(Ordering::Relaxed)
    }

    /// The ids of a system in normal form.
    pub(crate) fn key_of(&self, system: &System) -> Vec<u32> {
        let mut key: Vec<u32> = system
            .processes
            .iter()
            .map(|process| self.process_id(process.clone()))
            .collect();
        for &(from, to) in &self.shape.ends {
            let (from, to) = (self.shape.places[from], self.shape.places[to]);
            let between = |envelope: &&Envelope| envelope.from == from && envelope.to == to;
            let messages = system
                .network
                .iter()
                .filter(between)
                .map(|envelope| self.message_id(envelope.message.clone()));
            key.push(self.lane_of(messages.collect()));
        }
        key.push(self.global_id(Global {
            spent: system.spent,
            history: system.history.clone(),
        }));
        key
    }

    /// The system that a state stands for.
    pub fn system(&self, key: &[u32]) -> System {
        let places = self.shape.places.len();
        let global = Arc::clone(self.globals.read().value(key[self.shape.global()]));
        let mut network = BTreeSet::new();
        for (lane, &(from, to)) in key[places..].iter().zip(&self.shape.ends) {
            for message in self.messages(*lane).iter() {
                network.insert(self.envelope(from, to, *message));
            }
        }
        System {
            processes: key[..places]
                .iter()
                .map(|process| self.process(*process).as_ref().clone())
                .collect(),
            network,
            spent: global.spent,
            history: global.history.clone(),
            broken: None,
        }
    }

    /// A state without its lanes: equal for states that differ in their messages alone.
    pub(crate) fn without_messages(&self, key: &[u32]) -> Vec<u32> {
        let mut parts = key[self.shape.processes()].to_vec();
        parts.push(key[self.shape.global()]);
        parts
    }

    /// A process by its id.
    pub(crate) fn process(&self, id: u32) -> Arc<Process> {
        Arc::clone(self.processes.read().value(id))
    }

    /// The messages of a lane.
    pub(crate) fn messages(&self, lane: u32) -> Messages {
        Messages::clone(self.lanes.read().value(lane))
    }

    pub(crate) fn envelope(&self, from: usize, to: usize, message: u32) -> Envelope {
        Envelope {
            from: self.shape.places[from],
            to: self.shape.places[to],
            message: self.messages.read().value(message).as_ref().clone(),
        }
    }

    /// The place of a process.
    pub(crate) fn place_of(&self, process: &Process) -> usize {
        let place = self.shape.place_of(process.address());
        place.expect("every process has a place")
    }

    pub(crate) fn process_row(&self, id: u32) -> Vec<u32> {
        self.processes.read().row(id, &self.names).to_vec()
    }

    pub(crate) fn lane_row(&self, id: u32) -> Vec<u32> {
        self.lanes.read().row(id, &self.names).to_vec()
    }

    pub(crate) fn global_row(&self, id: u32) -> Vec<u32> {
        self.globals.read().row(id, &self.names).to_vec()
    }

    pub(crate) fn effect_row(&self, id: u32) -> Vec<u32> {
        self.effects.read().row(id, &self.names).to_vec()
    }

    /// Whether no server can crash any more.
    pub(crate) fn is_calm(&self, global: u32) -> bool {
        self.scope.is_calm(&self.globals.read().value(global).spent)
    }

    fn id_in<T: Relabel + Eq + Hash>(&self, orbits: &RwLock<Orbits<T>>, value: T) -> u32 {
        if let Some(id) = orbits.read().find(&value) {
            return id;
        }
        let rename = |value: &T, name| self.names.rename(value, name);
        orbits.write().intern(value, &self.names, rename)
    }

    /// The id of a process.
    pub(crate) fn process_id(&self, process: Process) -> u32 {
        self.id_in(&self.processes, process)
    }

    /// The id of a message.
    pub(crate) fn message_id(&self, message: Message) -> u32 {
        self.id_in(&self.messages, message)
    }

    fn lane_of(&self, messages: BTreeSet<u32>) -> u32 {
        self.lane_id(messages.into_iter().collect())
    }

    /// The id of a lane; its messages are ascending.
    pub(crate) fn lane_id(&self, lane: Messages) -> u32 {
        if let Some(id) = self.lanes.read().find(&lane) {
            return id;
        }
        let messages = self.messages.read();
        let rename = |lane: &Messages, name: usize| {
            let renamed = |message: &u32| messages.row(*message, &self.names)[name];
            let mut lane: Vec<u32> = lane.iter().map(renamed).collect();
            lane.sort_unstable();
            lane.into()
        };
        let mut lanes = self.lanes.write();
        let id = lanes.intern(lane, &self.names, rename);
        if lanes.has_names() {
            self.lanes_have_names.0.store(true, Ordering::Relaxed);
        }
        id
    }

    fn global_id(&self, global: Global) -> u32 {
        self.id_in(&self.globals, global)
    }

    /// What becomes of a process when it meets a message of the one at `sender`, or by itself
    /// ([`OWN`]); runs the real code the first time.
    pub(crate) fn meet(&self, process: u32, sender: usize, message: u32) -> Arc<Meeting> {
        let key = (process, sender, message);
        if let Some(known) = self.meetings.read().get(&key) {
            return Arc::clone(known);
        }
        let state = self.process(process);
        let (relevance, trimmed, locals) = if message == OWN {
            (Relevance::Live, OWN, self.locals(&state, sender, message))
        } else {
            let envelope = self.envelope(sender, self.place_of(&state), message);
            let relevance = self.scope.relevance(&state, &envelope);
            let trimmed = self.scope.trimmed(&state, &envelope.message);
            let trimmed = trimmed.map_or(message, |trimmed| self.message_id(trimmed));
            // What is ignored for ever is dropped before anyone asks what it would do.
            let locals = match relevance {
                Relevance::Dead => Vec::new(),
                _ => self.scope.deliveries(&envelope),
            };
            (relevance, trimmed, locals)
        };
        let mut meeting = Meeting {
            relevance,
            trimmed,
            steps: Vec::new(),
            early_count: 0,
            early: Posts::new(),
            early_witnesses: Witnesses::default(),
        };
        let mut early: Vec<Envelope> = Vec::new();
        for local in &locals {
            let Some(step) = self.scope.local_step(&state, local) else {
                continue;
            };
            if self.scope.reduction.send_early && self.scope.is_eager(&step, &state) {
                meeting.early_count += 1;
                meeting.early_witnesses.add_all(step.witnesses);
                early.extend(step.sent);
            } else {
                meeting.steps.push(self.step(step));
            }
        }
        meeting.early = self.posts(early);
        // Another thread may have been faster; what it found is the same.
        let mut meetings = self.meetings.write();
        Arc::clone(meetings.entry(key).or_insert_with(|| {
            self.met.write().push(key);
            Arc::new(meeting)
        }))
    }

    /// The keys of what was met after so many others: process, sender's place and message.
    pub(crate) fn met_since(&self, seen: usize) -> Vec<(u32, usize, u32)> {
        self.met.read()[seen..].to_vec()
    }

    /// The ways in which a message can be delivered to a process, or what it can do by itself.
    pub(crate) fn locals(&self, process: &Process, sender: usize, message: u32) -> Vec<Local> {
        if message == OWN {
            return self.scope.local_events(process);
        }
        let envelope = self.envelope_to(process, sender, message);
        self.scope.deliveries(&envelope)
    }

    /// A message from the process at `sender` to this one.
    pub(crate) fn envelope_to(&self, process: &Process, sender: usize, message: u32) -> Envelope {
        self.envelope(sender, self.place_of(process), message)
    }

    /// What an effect takes from the budget.
    pub(crate) fn cost_of(&self, effect: u32) -> Budget {
        self.effects.read().value(effect).cost
    }

    /// The first of a process's orbit, and the name under which it is this process.
    pub(crate) fn first_of(&self, process: u32) -> (u32, u32) {
        let processes = self.processes.read();
        let row = processes.row(process, &self.names);
        let first = row.iter().copied().min().unwrap_or(process);
        let renamed = processes.row(first, &self.names);
        let name = renamed.iter().position(|renamed| *renamed == process);
        let name = name.expect("a process is a renaming of the first of its orbit");
        (first, name as u32)
    }

    /// The names under which the first of an orbit is this process. They are several where the process
    /// does not tell two servers apart.
    pub(crate) fn names_of(&self, first: u32, process: u32) -> Vec<usize> {
        let processes = self.processes.read();
        let row = processes.row(first, &self.names).iter().enumerate();
        let is_it = row.filter(|(_, renamed)| **renamed == process);
        is_it.map(|(name, _)| name).collect()
    }

    /// The id of a process that is known.
    pub(crate) fn find_process(&self, process: &Process) -> Option<u32> {
        self.processes.read().find(process)
    }

    /// The id of a message that is known.
    pub(crate) fn find_message(&self, message: &Message) -> Option<u32> {
        self.messages.read().find(message)
    }

    /// A message by its id.
    pub(crate) fn message(&self, id: u32) -> Arc<Message> {
        Arc::clone(self.messages.read().value(id))
    }

    /// Whether a leader sends a message to replicate its log.
    pub(crate) fn is_leaders_request(&self, id: u32) -> bool {
        matches!(
            **self.messages.read().value(id),
            Message::AppendEntriesRequest(_) | Message::InstallSnapshotRequest(_)
        )
    }

    /// Whether a lane has any such message.
    pub(crate) fn has_leaders_request(&self, lane: u32) -> bool {
        let messages = self.messages(lane);
        messages
            .iter()
            .any(|message| self.is_leaders_request(*message))
    }

    /// A message under another name.
    pub(crate) fn message_under(&self, message: u32, name: usize) -> u32 {
        if name == 0 {
            return message;
        }
        self.messages.read().row(message, &self.names)[name]
    }

    fn step(&self, step: LocalStep) -> ProcessStep {
        let effect = Effect {
            cost: step.cost,
            observed: step.observed,
            witnesses: step.witnesses,
            broken: step.broken,
        };
        ProcessStep {
            next: self.process_id(step.next),
            effect: self.id_in(&self.effects, effect),
            posts: self.posts(step.sent),
        }
    }

    fn posts(&self, sent: Vec<Envelope>) -> Posts {
        let mut by_place = vec![BTreeSet::new(); self.shape.places.len()];
        for envelope in sent {
            // A message to someone who is not part of the system is lost.
            if let Some(place) = self.shape.place_of(envelope.to) {
                by_place[place].insert(self.message_id(envelope.message));
            }
        }
        let lanes = by_place.into_iter().enumerate();
        lanes
            .filter(|(_, messages)| !messages.is_empty())
            .map(|(place, messages)| (place, self.lane_of(messages)))
            .collect()
    }

    /// Posts of single messages, gathered by place.
    pub(crate) fn gather(&self, mut posts: Posts) -> Posts {
        if posts.len() < 2 {
            return posts;
        }
        posts.sort_unstable();
        posts.dedup();
        let same_place = posts.chunk_by(|(one, _), (other, _)| one == other);
        let gathered = same_place.map(|posts| match posts {
            [post] => *post,
            _ => {
                let lanes = posts.iter().map(|(_, lane)| self.messages(*lane));
                let messages = lanes.flat_map(|lane| lane.to_vec());
                (posts[0].0, self.lane_of(messages.collect()))
            }
        });
        gathered.collect()
    }

    /// Sorts ids by what they stand for.
    pub(crate) fn sort_messages(&self, ids: &mut [u32]) {
        let messages = self.messages.read();
        ids.sort_by(|one, other| messages.value(*one).cmp(messages.value(*other)));
    }

    /// What an effect does to a global.
    pub(crate) fn apply(&self, global: u32, effect: u32) -> GlobalStep {
        let effect = Arc::clone(self.effects.read().value(effect));
        let before = Arc::clone(self.globals.read().value(global));
        let step = LocalStep {
            // The process plays no part in what is recorded.
            next: self.process(0).as_ref().clone(),
            sent: Vec::new(),
            timers: Vec::new(),
            observed: effect.observed.clone(),
            cost: effect.cost,
            witnesses: effect.witnesses,
            broken: effect.broken.clone(),
        };
        match self.scope.record(&before.spent, &before.history, &step) {
            None => GlobalStep::Disabled,
            Some((_, _, _, Some(broken))) => GlobalStep::Broken(broken),
            Some((spent, history, witnesses, None)) => GlobalStep::To {
                global: self.global_id(Global { spent, history }),
                witnesses,
            },
        }
    }

    /// What a server is judged by beside other servers. Processes that are none share one.
    pub(crate) fn facet_of(&self, process: &Process) -> u32 {
        let facet = process.server().map(Facet::of);
        self.facets.write().intern(facet)
    }

    /// Judges two servers against each other, by their facets.
    pub(crate) fn judge_pair(&self, one: u32, other: u32) -> Result<(), Broken> {
        let facets = self.facets.read();
        match (facets.value(one).as_ref(), facets.value(other).as_ref()) {
            (Some(one), Some(other)) => laws::judge_pair(one, other, self.scope.laws),
            _ => Ok(()),
        }
    }

    /// How many distinct values of each kind there are, for reports.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            processes: self.processes.read().len(),
            messages: self.messages.read().len(),
            lanes: self.lanes.read().len(),
            histories: self.globals.read().len(),
            meetings: self.meetings.read().len(),
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
    /// Sets of messages on their way from one process to another.
    pub lanes: usize,
    /// Budgets with histories.
    pub histories: usize,
    /// (process state, message or own event) pairs: for how many the real code was asked.
    pub meetings: usize,
}
