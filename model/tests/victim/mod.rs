//! One server under attack: it receives arbitrary messages, its disk is honest, and the always-on
//! invariants must hold after every step. The random tests and the fuzz target share it.

// Each crate that includes this module uses a different part of it.
#![allow(dead_code)]

use model::{
    Address, ClientId, Config, Durable, Entry, Event, Message, NodeId, Payload, Raft, Term,
    WriteId,
    invariants::{self, Watermarks},
};

/// An event at the server.
#[derive(Clone, Debug)]
pub(crate) enum Garbage {
    Event(Event),
    /// A message of a peer that knows the server's term.
    Insider(NodeId, Message),
    /// The given number of oldest writes becomes durable.
    Sync(usize),
    /// A crash after the given number of oldest writes became durable.
    CrashAfterWriting(usize),
}

/// The server with its disk.
pub(crate) struct Victim {
    config: Config,
    pub(crate) raft: Raft,
    disk: Durable,
    unsynced: Vec<model::Write>,
}

impl Victim {
    /// Server 1 of `size` servers, in term 1 with one entry.
    pub(crate) fn new(size: u64, pre_vote: bool) -> Self {
        let mut config = Config::production((1..=size).map(NodeId::new).collect());
        config.pre_vote = pre_vote;
        let mut disk = Durable {
            log: vec![Entry {
                term: Term::new(1),
                payload: Payload::Noop,
            }],
            ..Durable::default()
        };
        disk.hard_state.current_term = Term::new(1);
        Self {
            raft: Raft::recover(NodeId::new(1), config.clone(), disk.clone()),
            config,
            disk,
            unsynced: Vec::new(),
        }
    }

    /// Applies an event to the server.
    ///
    /// # Panics
    /// If the server panics, violates an invariant, or is not deterministic.
    pub(crate) fn suffer(&mut self, garbage: Garbage) {
        match garbage {
            Garbage::Event(event) => self.step(event),
            Garbage::Insider(from, message) => {
                let from = match message {
                    Message::ClientRequest(_) => Address::Client(ClientId::new(1)),
                    _ => Address::Node(from),
                };
                let message = of_term(message, self.raft.current_term());
                self.step(Event::Receive { from, message });
            }
            Garbage::Sync(count) => {
                if let Some(last) = self.write_out(count) {
                    self.step(Event::Persisted(last));
                }
            }
            Garbage::CrashAfterWriting(count) => {
                self.write_out(count);
                self.unsynced.clear();
                let (config, disk) = (self.config.clone(), self.disk.clone());
                self.raft = Raft::recover(self.raft.id(), config, disk);
            }
        }
    }

    pub(crate) fn step(&mut self, event: Event) {
        let mut twin = self.raft.clone();
        let before = Watermarks::new(&self.raft);
        let effects = self.raft.step(event.clone());
        assert_eq!(twin.step(event.clone()), effects);
        assert_eq!(twin, self.raft);
        if let Err(property) = invariants::check(before, &self.raft, &effects) {
            panic!("violated: {property}\n{event:?}\n{:?}", self.raft);
        }
        self.unsynced.extend(effects.write);
    }

    fn write_out(&mut self, count: usize) -> Option<WriteId> {
        let count = count.min(self.unsynced.len());
        let written = self.unsynced.drain(..count);
        let mut last = None;
        for write in written {
            self.disk.apply(&write);
            last = Some(write.id);
        }
        last
    }
}

/// Returns the message with its term changed.
fn of_term(mut message: Message, current: Term) -> Message {
    let next = Term::new(current.get().saturating_add(1));
    match &mut message {
        Message::RequestVoteRequest(request) => request.term = current,
        Message::RequestVoteResponse(response) => response.term = current,
        Message::AppendEntriesRequest(request) => request.term = current,
        Message::AppendEntriesResponse(response) => response.term = current,
        Message::InstallSnapshotRequest(request) => request.term = current,
        Message::InstallSnapshotResponse(response) => response.term = current,
        Message::TimeoutNowRequest(request) => request.term = current,
        Message::PreVoteRequest(request) => request.next_term = next,
        Message::PreVoteResponse(response) => {
            response.term = current;
            response.next_term = next;
        }
        Message::ClientRequest(_) | Message::ClientResponse(_) | Message::Identity(_) => {}
    }
    message
}

/// Interprets bytes as events and steps a server through them, for a fuzzer. Stops at the
/// first invalid message. The first byte selects the cluster, and each further byte an event; messages
/// are in wire encoding.
pub(crate) fn run(mut bytes: &[u8]) -> Victim {
    let take = |bytes: &mut &[u8]| match bytes {
        [first, rest @ ..] => {
            let first = *first;
            *bytes = rest;
            Some(first)
        }
        [] => None,
    };
    let cluster = take(&mut bytes).unwrap_or_default();
    let mut victim = Victim::new(u64::from(cluster % 5) + 1, cluster >= 128);
    while let Some(kind) = take(&mut bytes) {
        let from = NodeId::new(u64::from(kind >> 4) % 5 + 1);
        let garbage = match kind % 16 {
            0 => Garbage::Event(Event::ElectionTimeout),
            1 => Garbage::Event(Event::HeartbeatTimeout),
            2 => Garbage::Event(Event::QuorumTimeout),
            3 => Garbage::Event(Event::Compact),
            4 | 5 => Garbage::Sync(usize::from(kind >> 4) + 1),
            6 => Garbage::CrashAfterWriting(usize::from(kind >> 4)),
            8 => Garbage::Event(Event::TransferLeadership(from)),
            kind => {
                // The first byte selects the kind of message: nearly every value should be valid.
                let mut spelled = bytes.to_vec();
                if let Some(first) = spelled.first_mut() {
                    *first %= 12;
                }
                let Ok((message, rest)) = postcard::take_from_bytes::<Message>(&spelled) else {
                    return victim;
                };
                bytes = &bytes[bytes.len() - rest.len()..];
                match kind {
                    7 => Garbage::Event(Event::Receive {
                        from: Address::Node(from),
                        message,
                    }),
                    _ => Garbage::Insider(from, message),
                }
            }
        };
        victim.suffer(garbage);
    }
    victim
}
