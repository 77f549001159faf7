//! The transitions of a single process: the enabled events, and the step of each.
//!
//! A step of the whole system is a step of one process plus the messages that it sends. So all protocol
//! code runs here, as a function of one process and one [`Local`] event. Both engines use this function:
//! the readable model on whole states, the built-in engine through tables.

use super::{
    flaw::flawed,
    process::{Local, LocalStep, Process},
    properties::{
        Cause, Property,
        linearizability::{self, Call},
    },
    transition_system::TransitionSystem,
};
use crate::{
    Address, Envelope, Message,
    client::Invocation,
    message::{RequestBody, ResponseBody},
    store::Answer,
};
use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

mod answers;
mod client;
mod proxy;
mod server;

impl TransitionSystem {
    /// The events that a process can have without a message.
    pub fn local_events(&self, process: &Process) -> Vec<Local> {
        match process {
            Process::Server(server) => self.server_events(server),
            Process::Proxy(proxy) => self.proxy_events(proxy),
            Process::Client(process) => self.client_events(process),
        }
    }

    /// The events that deliver a message.
    pub fn deliveries(&self, envelope: &Envelope) -> Vec<Local> {
        let deliver = |ask| Local::Deliver {
            envelope: envelope.clone(),
            ask,
        };
        match (&envelope.to, &envelope.message) {
            (Address::Proxy(_), Message::ClientRequest(_)) => {
                self.scope.nodes().map(|ask| deliver(Some(ask))).collect()
            }
            _ => vec![deliver(None)],
        }
    }

    /// Executes an event at a process. Returns `None` if the event is not enabled. A panic is a violation:
    /// it would stop a deployed process.
    pub fn local_step(&self, process: &Process, local: &Local) -> Option<LocalStep> {
        self.watched(process, local, || self.unguarded_step(process, local))
            .unwrap_or_else(|message| {
                let mut step = LocalStep::new(process.clone());
                let verdict = self
                    .scope
                    .properties
                    .require(Property::Invariants, false, || Cause::StepPanicked {
                        process: process.address().to_string(),
                        message,
                    });
                step.record_verdict(verdict);
                Some(step)
            })
    }

    /// The result of a step, which the hooks enclose.
    ///
    /// # Errors
    /// The text of the panic, if the step panics.
    pub(super) fn watched<T>(
        &self,
        process: &Process,
        local: &Local,
        step: impl FnOnce() -> T,
    ) -> Result<T, String> {
        let Some(hooks) = self.hooks else {
            return caught(step);
        };
        (hooks.enter)(process, local);
        let result = caught(step);
        (hooks.leave)();
        result
    }

    fn unguarded_step(&self, process: &Process, local: &Local) -> Option<LocalStep> {
        if *local == Local::HeartbeatTimeout {
            assert!(!flawed!(self.scope, StepPanics), "the flaw is planted");
            if flawed!(self.scope, StepNeverEnds) {
                let mut endless = Vec::new();
                loop {
                    endless.push(local.clone());
                }
            }
        }
        match process {
            Process::Server(server) => self.server_step(server, local),
            Process::Proxy(proxy) => self.proxy_step(proxy, local),
            Process::Client(process) => self.client_step(process, local),
        }
    }
}

/// The result of a step.
///
/// # Errors
/// The text of the panic, if the step panics.
pub fn caught<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("no text").into()
    })
}

/// The call of a request; `None` if it concerns no key.
pub(super) fn call_of(body: &RequestBody) -> Option<Call> {
    match body {
        RequestBody::Write { operation, .. } => Some(Call::Write(operation.clone())),
        RequestBody::Read { query } | RequestBody::StaleRead { query } => {
            Some(Call::Read(query.clone()))
        }
        RequestBody::OpenSession
        | RequestBody::CloseSession { .. }
        | RequestBody::RenewSession { .. }
        | RequestBody::TransferLeadership { .. } => None,
    }
}

/// The call of an operation; `None` if it concerns no key.
pub(super) fn call_of_invocation(invocation: &Invocation) -> Option<Call> {
    match invocation {
        Invocation::Write(operation) | Invocation::WriteAfterIdle(operation) => {
            Some(Call::Write(operation.clone()))
        }
        Invocation::Read(query) | Invocation::StaleRead(query) => Some(Call::Read(query.clone())),
        Invocation::CloseSession | Invocation::TransferLeadership(_) => None,
    }
}

pub(super) fn result_of(body: &ResponseBody) -> Option<linearizability::Result> {
    match body {
        ResponseBody::Applied(answer) => result_of_answer(answer),
        ResponseBody::Found(found) => Some(linearizability::Result::Found(found.clone())),
        _ => None,
    }
}

/// The result of a write; `None` if the answer does not decide whether the write took effect, or does
/// not belong to a write.
pub(super) fn result_of_answer(answer: &Answer) -> Option<linearizability::Result> {
    match answer {
        Answer::Written { .. }
        | Answer::Number { .. }
        | Answer::ConditionFailed { .. }
        | Answer::NotANumber
        | Answer::Overflow
        | Answer::QuotaExceeded => Some(linearizability::Result::Answered(answer.clone())),
        Answer::Nothing
        | Answer::SessionOpened(_)
        | Answer::SessionExpired
        | Answer::AlreadyAcknowledged
        | Answer::NotApplied
        | Answer::SessionsInUse
        | Answer::SessionClosed
        | Answer::SessionRenewed
        | Answer::TooManyUnacknowledged => None,
    }
}
