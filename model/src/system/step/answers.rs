//! The responses of a server to clients, at the moment they are sent.
//!
//! An answer is judged by the request that it belongs to: the leader's state before the step names the
//! entry that the client waited for. The content of the answer plays no part in finding that entry.

use super::result_of;
use crate::system::{
    process::LocalStep,
    properties::{
        Cause, Property, history::Observation, linearizability::OperationId, step as properties,
    },
    transition_system::TransitionSystem,
    witness::Witness,
};
use crate::{
    Address, ClientResponse, Durable, Entry, Log, LogIndex, Payload, Raft, Role,
    message::ResponseBody,
    raft::Waiter,
    store::{Answer, Command, Found},
};
use alloc::vec::Vec;

/// The clients that wait for an entry before a step, in the order of the entries.
pub(super) struct Waiting<'a> {
    log: &'a Log,
    waiters: Vec<(LogIndex, Waiter)>,
}

impl<'a> Waiting<'a> {
    /// The clients that wait at this server; none unless it leads.
    pub(super) fn new(before: &'a Raft) -> Self {
        let waiters = match &before.role {
            Role::Leader(leader) => leader.writes.iter().map(|(at, it)| (*at, *it)).collect(),
            _ => Vec::new(),
        };
        let log = &before.log;
        Self { log, waiters }
    }

    /// The entry that this response answers. A client that repeated its request waits for several
    /// entries, which are answered in their order.
    fn take(&mut self, to: Address, response: &ClientResponse) -> Option<(LogIndex, &'a Entry)> {
        let answered = self.waiters.iter().position(|(_, waiter)| {
            waiter.address == to && waiter.client == response.client && waiter.id == response.id
        })?;
        let (index, _) = self.waiters.remove(answered);
        self.log.get(index).map(|entry| (index, entry))
    }
}

impl TransitionSystem {
    /// Records a response to a client, and checks the answer to an entry.
    pub(super) fn observe_response(
        &self,
        (after, disk): (&Raft, &Durable),
        waiting: &mut Waiting<'_>,
        (to, response): (Address, &ClientResponse),
        step: &mut LocalStep,
    ) {
        match &response.body {
            ResponseBody::Applied(answer) => match waiting.take(to, response) {
                Some((index, entry)) => {
                    step.record_verdict(properties::check_answer(
                        after,
                        disk,
                        index,
                        self.scope.properties,
                    ));
                    self.observe_answer((index, entry), waiting.log, (response, answer), step);
                }
                None => step.record_verdict(self.scope.properties.require(
                    Property::AcknowledgedWritesKept,
                    false,
                    || Cause::AnsweredWithoutRequest { server: after.id },
                )),
            },
            ResponseBody::Found(found) => {
                step.witnesses.add(Witness::ReadServed);
                match found {
                    Found::Value(None) => {}
                    Found::Value(Some(_)) => step.witnesses.add(Witness::ReadSawWrite),
                    Found::Pairs(_) => step.witnesses.add(Witness::PairsScanned),
                }
            }
            ResponseBody::Interrupted { .. } => step.witnesses.add(Witness::ClientInterrupted),
            // No property covers a stale read, and no scope requests one.
            ResponseBody::FoundStale(_) => {}
            ResponseBody::NotLeader { .. }
            | ResponseBody::Unavailable
            | ResponseBody::Overloaded
            | ResponseBody::OutsideLimits(_)
            | ResponseBody::Leads
            | ResponseBody::NotTransferred(_) => {}
        }
        if self.scope.direct_clients
            && self.scope.tracks_operations
            && let Some(result) = result_of(&response.body)
        {
            let id = OperationId(response.client.get(), response.id.get());
            step.observed.push(Observation::Returned { id, result });
        }
    }

    /// Records the answer to the client of an entry.
    fn observe_answer(
        &self,
        (index, entry): (LogIndex, &Entry),
        log: &Log,
        (response, answer): (&ClientResponse, &Answer),
        step: &mut LocalStep,
    ) {
        let write = match &entry.payload {
            // The request id of a direct client is the sequence of its write. The response refers to
            // that write, even if the entry is another one.
            _ if self.scope.direct_clients => Some((self.scope.session(), response.id.get())),
            Payload::Command(Command::Write(write)) => Some((write.session, write.sequence)),
            _ => None,
        };
        if let (Some(_), Answer::Written { version } | Answer::Number { version, .. }) =
            (write, answer)
        {
            step.witnesses.add(Witness::WriteAcknowledged);
            if *version < index {
                step.witnesses.add(Witness::DuplicateAnswered);
                let first = log.term_at(*version);
                if first.is_some_and(|term| term < entry.term) {
                    step.witnesses.add(Witness::DuplicateAnsweredLater);
                }
            }
        }
        match answer {
            Answer::ConditionFailed { .. } => {
                step.witnesses.add(Witness::ConditionFailed);
                if is_repeated(log, index, entry) {
                    step.witnesses.add(Witness::FailureRepeated);
                }
            }
            Answer::QuotaExceeded => step.witnesses.add(Witness::QuotaExceeded),
            Answer::SessionExpired => step.witnesses.add(Witness::SessionGone),
            Answer::NotApplied => {
                step.witnesses.add(Witness::SessionGone);
                step.witnesses.add(Witness::WriteMoved);
            }
            _ => {}
        }
        step.observed.push(Observation::Acknowledged {
            index,
            write,
            answer: answer.clone(),
        });
    }
}

/// Whether an earlier entry of the log is a copy of this write.
fn is_repeated(log: &Log, index: LogIndex, entry: &Entry) -> bool {
    let first = log.base().index.next();
    let earlier = index.get().saturating_sub(first.get()) as usize;
    let mut earlier = log.slice(first, earlier).iter();
    earlier.any(|earlier| earlier.payload == entry.payload)
}
