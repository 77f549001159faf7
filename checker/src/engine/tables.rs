//! Ids of the components of system states, and the results of local steps. All threads share them.
//!
//! A *channel* is the set of messages in flight from one process to another, normalized: messages that
//! can no longer affect the receiver are removed. The *shared part* is budget and history. A system
//! state has one process per process index, one channel per pair that communicates, and one shared part.
//! The effect of a message depends only on its receiver. Normalization depends only on the receiver, the
//! channel, and two facts about the other components ([`ChannelFacts`]). So a few thousand results make
//! up millions of states. Tables hold the permutations of the servers (symmetry) too ([`Orbits`]).

mod steps;

use super::{
    interner::{Interner, Orbits, PermutationGroup},
    state_layout::StateLayout,
};
use crate::step_guard;
use model::{
    Envelope, Message,
    system::{
        Facet, History, Permutation, Process, Relabel, Scope, System, TransitionSystem, Usage,
        Violation, message_address, process_address, properties,
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
use steps::Effect;
pub(crate) use steps::{Delivery, NO_EFFECT, OWN, ProcessStep, Sends, SharedStep};

/// Message ids, ascending.
type Messages = Arc<[u32]>;

/// The channel without messages.
pub(crate) const EMPTY: u32 = 0;

/// Facts about the rest of the state on which normalization depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelFacts {
    /// The sender cannot enter a newer term.
    pub(crate) term_final: bool,
    /// No server can crash later.
    pub(crate) no_more_crashes: bool,
}

/// Budget and history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shared {
    spent: Usage,
    history: History,
}

impl Relabel for Shared {
    fn relabel(&self, permutations: &Permutation) -> Self {
        Self {
            spent: self.spent,
            history: self.history.relabel(permutations),
        }
    }
}

/// All tables of one scope.
#[derive(Debug)]
pub struct Tables {
    transitions: TransitionSystem,
    permutations: PermutationGroup,
    layout: StateLayout,
    processes: RwLock<Orbits<Process>>,
    messages: RwLock<Orbits<Message>>,
    channels: RwLock<Orbits<Messages>>,
    shared_parts: RwLock<Orbits<Shared>>,
    effects: RwLock<Orbits<Effect>>,
    facets: RwLock<Interner<Option<Facet>>>,
    /// By process, sender's process index and message; for own events the process's own index and
    /// [`OWN`].
    deliveries: RwLock<FxHashMap<(u32, usize, u32), Arc<Delivery>>>,
    /// Their keys in the order of insertion.
    delivered: RwLock<Vec<(u32, usize, u32)>>,
    /// Whether any permutation changes the messages of any channel.
    channels_hold_ids: Apart<AtomicBool>,
}

/// Aligned to its own cache lines: it is read often, and its neighbors are written often.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl Tables {
    /// Empty tables for a scope.
    pub fn new(scope: Scope, symmetric: bool) -> Self {
        let transitions = step_guard::transitions(scope);
        let layout = StateLayout::new(&transitions.initial());
        let permutations = PermutationGroup::new(layout.servers, symmetric);
        let mut effects = Orbits::new();
        effects.intern(Effect::default(), &permutations, |effect, _| effect.clone());
        let mut channels = Orbits::new();
        channels.intern(Messages::from([]), &permutations, |channel, _| {
            channel.clone()
        });
        Self {
            transitions,
            permutations,
            layout,
            processes: RwLock::new(Orbits::new()),
            messages: RwLock::new(Orbits::new()),
            channels: RwLock::new(channels),
            shared_parts: RwLock::new(Orbits::new()),
            effects: RwLock::new(effects),
            facets: RwLock::new(Interner::new()),
            deliveries: RwLock::default(),
            delivered: RwLock::default(),
            channels_hold_ids: Apart(AtomicBool::new(false)),
        }
    }

    /// The scope.
    pub fn scope(&self) -> &Scope {
        self.transitions.scope()
    }

    /// The transition system of the scope.
    pub(crate) fn transitions(&self) -> &TransitionSystem {
        &self.transitions
    }

    pub(crate) fn layout(&self) -> &StateLayout {
        &self.layout
    }

    pub(crate) fn permutations(&self) -> &PermutationGroup {
        &self.permutations
    }

    /// Whether a permutation may change the messages of a channel.
    pub(crate) fn channels_hold_ids(&self) -> bool {
        self.channels_hold_ids.0.load(Ordering::Relaxed)
    }

    /// The ids of a normalized system.
    pub(crate) fn key_of(&self, system: &System) -> Vec<u32> {
        let mut key: Vec<u32> = system
            .processes
            .iter()
            .map(|process| self.process_id(process.clone()))
            .collect();
        for &(from, to) in &self.layout.ends {
            let (from, to) = (self.layout.addresses[from], self.layout.addresses[to]);
            let between = |envelope: &&Envelope| {
                process_address(envelope.from) == from && process_address(envelope.to) == to
            };
            let messages = system
                .network
                .iter()
                .filter(between)
                .map(|envelope| self.message_id(envelope.message.clone()));
            key.push(self.channel_of(messages.collect()));
        }
        key.push(self.shared_id(Shared {
            spent: system.spent,
            history: system.history.clone(),
        }));
        key
    }

    /// The system of a state.
    pub fn system(&self, key: &[u32]) -> System {
        let addresses = self.layout.addresses.len();
        let shared = Arc::clone(self.shared_parts.read().value(key[self.layout.shared()]));
        let mut network = BTreeSet::new();
        for (channel, &(from, to)) in key[addresses..].iter().zip(&self.layout.ends) {
            for message in self.messages(*channel).iter() {
                network.insert(self.envelope(from, to, *message));
            }
        }
        System {
            processes: key[..addresses]
                .iter()
                .map(|process| self.process(*process).as_ref().clone())
                .collect(),
            network,
            spent: shared.spent,
            history: shared.history.clone(),
            violation: None,
        }
    }

    /// A state without its channels: equal for states that differ only in messages in flight.
    pub(crate) fn without_messages(&self, key: &[u32]) -> Vec<u32> {
        let mut parts = key[self.layout.processes()].to_vec();
        parts.push(key[self.layout.shared()]);
        parts
    }

    /// A process by its id.
    pub(crate) fn process(&self, id: u32) -> Arc<Process> {
        Arc::clone(self.processes.read().value(id))
    }

    /// The messages of a channel.
    pub(crate) fn messages(&self, channel: u32) -> Messages {
        Messages::clone(self.channels.read().value(channel))
    }

    pub(crate) fn envelope(&self, from: usize, to: usize, message: u32) -> Envelope {
        let message = self.messages.read().value(message).as_ref().clone();
        let address = |index: usize| message_address(self.layout.addresses[index], &message);
        Envelope {
            from: address(from),
            to: address(to),
            message,
        }
    }

    /// The index of a process in the state layout.
    pub(crate) fn index_of(&self, process: &Process) -> usize {
        let index = self.layout.index_of(process.address());
        index.expect("every process has an index")
    }

    pub(crate) fn process_row(&self, id: u32) -> Vec<u32> {
        self.processes.read().row(id, &self.permutations).to_vec()
    }

    pub(crate) fn channel_row(&self, id: u32) -> Vec<u32> {
        self.channels.read().row(id, &self.permutations).to_vec()
    }

    pub(crate) fn shared_row(&self, id: u32) -> Vec<u32> {
        self.shared_parts
            .read()
            .row(id, &self.permutations)
            .to_vec()
    }

    pub(crate) fn effect_row(&self, id: u32) -> Vec<u32> {
        self.effects.read().row(id, &self.permutations).to_vec()
    }

    /// Whether no server can crash later.
    pub(crate) fn are_crashes_over(&self, shared: u32) -> bool {
        self.transitions
            .are_crashes_over(&self.shared_parts.read().value(shared).spent)
    }

    fn id_in<T: Relabel + Eq + Hash>(&self, orbits: &RwLock<Orbits<T>>, value: T) -> u32 {
        if let Some(id) = orbits.read().find(&value) {
            return id;
        }
        let permute = |value: &T, permutation| self.permutations.permute(value, permutation);
        orbits.write().intern(value, &self.permutations, permute)
    }

    /// The id of a process.
    pub(crate) fn process_id(&self, process: Process) -> u32 {
        self.id_in(&self.processes, process)
    }

    /// The id of a message.
    pub(crate) fn message_id(&self, message: Message) -> u32 {
        self.id_in(&self.messages, message)
    }

    fn channel_of(&self, messages: BTreeSet<u32>) -> u32 {
        self.channel_id(messages.into_iter().collect())
    }

    /// The id of a channel; its messages are ascending.
    pub(crate) fn channel_id(&self, channel: Messages) -> u32 {
        if let Some(id) = self.channels.read().find(&channel) {
            return id;
        }
        let messages = self.messages.read();
        let permute = |channel: &Messages, permutation: usize| {
            let renamed = |message: &u32| messages.row(*message, &self.permutations)[permutation];
            let mut channel: Vec<u32> = channel.iter().map(renamed).collect();
            channel.sort_unstable();
            channel.into()
        };
        let mut channels = self.channels.write();
        let id = channels.intern(channel, &self.permutations, permute);
        if channels.holds_ids() {
            self.channels_hold_ids.0.store(true, Ordering::Relaxed);
        }
        id
    }

    fn shared_id(&self, shared: Shared) -> u32 {
        self.id_in(&self.shared_parts, shared)
    }

    /// The first process of the orbit, and a permutation that maps it to this process.
    pub(crate) fn first_of(&self, process: u32) -> (u32, u32) {
        let processes = self.processes.read();
        let row = processes.row(process, &self.permutations);
        let first = row.iter().copied().min().unwrap_or(process);
        let renamed = processes.row(first, &self.permutations);
        let permutation = renamed.iter().position(|renamed| *renamed == process);
        let permutation =
            permutation.expect("a process is a permutation of the first of its orbit");
        (first, permutation as u32)
    }

    /// All permutations that map the first of an orbit to this process. There are several if the process
    /// does not distinguish two servers.
    pub(crate) fn permutations_to(&self, first: u32, process: u32) -> Vec<usize> {
        let processes = self.processes.read();
        let row = processes.row(first, &self.permutations).iter().enumerate();
        let is_it = row.filter(|(_, renamed)| **renamed == process);
        is_it.map(|(permutation, _)| permutation).collect()
    }

    /// The id of a process, if it has one.
    pub(crate) fn find_process(&self, process: &Process) -> Option<u32> {
        self.processes.read().find(process)
    }

    /// The id of a message, if it has one.
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

    /// Whether a channel has any such message.
    pub(crate) fn has_leaders_request(&self, channel: u32) -> bool {
        let messages = self.messages(channel);
        messages
            .iter()
            .any(|message| self.is_leaders_request(*message))
    }

    /// A message under a permutation.
    pub(crate) fn permuted_message(&self, message: u32, permutation: usize) -> u32 {
        if permutation == 0 {
            return message;
        }
        self.messages.read().row(message, &self.permutations)[permutation]
    }

    /// Sorts message ids by their messages.
    pub(crate) fn sort_messages(&self, ids: &mut [u32]) {
        let messages = self.messages.read();
        ids.sort_by(|one, other| messages.value(*one).cmp(messages.value(*other)));
    }

    /// The part of a server that pair properties compare. All other processes share one facet.
    pub(crate) fn facet_of(&self, process: &Process) -> u32 {
        let facet = process.server().map(Facet::new);
        self.facets.write().intern(facet)
    }

    /// Checks the pair properties of two servers by their facets.
    pub(crate) fn check_pair(&self, one: u32, other: u32) -> Result<(), Violation> {
        let facets = self.facets.read();
        match (facets.value(one).as_ref(), facets.value(other).as_ref()) {
            (Some(one), Some(other)) => {
                properties::pair::check_pair(one, other, self.scope().properties)
            }
            _ => Ok(()),
        }
    }

    /// How many distinct values of each kind there are, for reports.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            processes: self.processes.read().len(),
            messages: self.messages.read().len(),
            channels: self.channels.read().len(),
            histories: self.shared_parts.read().len(),
            deliveries: self.deliveries.read().len(),
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
    /// Channels: sets of messages in flight from one process to another.
    pub channels: usize,
    /// Budgets with histories.
    pub histories: usize,
    /// Pairs of a process and a message (or its own events): calls of the model's code.
    pub deliveries: usize,
}
