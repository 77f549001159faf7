//! The steps of a client.

use super::{call_of_invocation, result_of_answer};
#[cfg(feature = "mutants")]
use crate::client::Session;
use crate::client::{self, Client, Done, NotDone, Outcome, Task};
use crate::system::{
    process::{ClientProcess, Local, LocalStep, Process},
    properties::{
        Cause, Property, Violation,
        history::Observation,
        linearizability::{self, OperationId},
    },
    transition_system::TransitionSystem,
    witness::Witness,
};
use crate::{ClientId, Message, message::ResponseBody, mutant::planted, store::Answer};
use alloc::vec::Vec;

impl TransitionSystem {
    pub(in crate::system) fn client_events(&self, process: &ClientProcess) -> Vec<Local> {
        let mut events = Vec::new();
        let has_more = (process.invoked as usize) < self.scope.plan(process.number).len();
        if !process.client.is_idle() {
            events.push(Local::ClientTimeout);
        } else if has_more {
            events.push(Local::Invoke);
        }
        // After a crash, a client without further operations never acts again. It is like a client that
        // receives no response and whose timer does not fire, so that crash is left out.
        if has_more && !self.scope.budget.client_crashes.is_never() {
            events.push(Local::Crash);
        }
        events
    }

    pub(in crate::system) fn client_step(
        &self,
        process: &ClientProcess,
        local: &Local,
    ) -> Option<LocalStep> {
        if *local == Local::Crash {
            return self.client_crash(process);
        }
        let id = process.run_id();
        let plan = self.scope.plan(process.number);
        let mut next = process.clone();
        let mut observed = Vec::new();
        let event = match local {
            Local::Deliver { envelope, .. } => client::Event::Receive {
                from: envelope.from,
                message: envelope.message.clone(),
            },
            Local::ClientTimeout if !process.client.is_idle() => client::Event::Timeout,
            Local::Invoke if process.client.is_idle() => {
                let invocation = plan.get(process.invoked as usize)?;
                next.invoked += 1;
                if let Some(call) = call_of_invocation(invocation) {
                    let id = OperationId(id.get(), next.invoked);
                    observed.push(Observation::Invoked { id, call });
                }
                client::Event::Invoke(invocation.clone())
            }
            _ => return None,
        };
        let effects = next.client.step(event);
        let operation = OperationId(id.get(), next.invoked);
        let mut step = LocalStep::new(Process::Client(next));
        step.observed = observed;
        step.sent = effects.sends;
        if *local == Local::ClientTimeout && !step.sent.is_empty() {
            step.witnesses.add(Witness::ClientRetried);
        }
        match effects.outcome {
            None => {}
            Some(Outcome::Unknown(_)) => {
                step.witnesses.add(Witness::OutcomeUnknown);
                step.record_verdict(self.check_forgotten(process, local));
            }
            // A read without a result does not constrain the order.
            Some(
                Outcome::NotDone(NotDone::NoLeader | NotDone::NoServer)
                | Outcome::Done(Done::FoundStale(_) | Done::Leads),
            ) => {}
            Some(Outcome::NotDone(_)) => {
                step.observed.push(Observation::Refused { id: operation });
            }
            // The client's earlier writes took effect before, or never will.
            Some(Outcome::Done(Done::SessionClosed)) => {
                step.observed.push(Observation::Settles { id: operation });
            }
            Some(Outcome::Done(Done::Answered(answer))) => {
                let id = operation;
                step.observed.push(Observation::Settles { id });
                if let Some(result) = result_of_answer(&answer) {
                    step.observed.push(Observation::Returned { id, result });
                }
            }
            Some(Outcome::Done(Done::Found(found))) => {
                let (id, result) = (operation, linearizability::Result::Found(found));
                step.observed.push(Observation::Returned { id, result });
            }
        }
        Some(step)
    }

    /// Requires that a write is not refused as acknowledged while its client waits for the answer: the
    /// client has not acknowledged it, and no other client shares its session.
    fn check_forgotten(&self, process: &ClientProcess, local: &Local) -> Result<(), Violation> {
        let in_flight = process.client.in_flight.as_ref();
        let Some(Task::Write {
            session, sequence, ..
        }) = in_flight.map(|in_flight| &in_flight.task)
        else {
            return Ok(());
        };
        let is_kept = !matches!(local, Local::Deliver { envelope, .. }
            if matches!(&envelope.message, Message::ClientResponse(response)
                if response.body == ResponseBody::Applied(Answer::AlreadyAcknowledged)));
        let properties = self.scope.properties;
        properties.require(Property::ExactlyOnce, is_kept, || Cause::AnswerForgotten {
            session: *session,
            sequence: *sequence,
        })
    }

    /// The crash of a client, with its restart. The operation in flight is abandoned: its outcome stays
    /// open. The next run has another id and no session, as the deployed client.
    fn client_crash(&self, process: &ClientProcess) -> Option<LocalStep> {
        let mut next = process.clone();
        next.invoked_before = process.invoked;
        let config = process.client.config();
        next.client = Client::new(self.restarted_id(&next), config.clone());
        #[cfg(feature = "mutants")]
        if planted!(config, SessionResumed) {
            next.client.session = process.client.session().map(Session::new);
        }
        if next == *process {
            return None;
        }
        let mut step = LocalStep::new(Process::Client(next));
        step.cost.client_crashes = self.scope.budget.client_crashes.cost();
        if !process.client.is_idle() {
            step.witnesses.add(Witness::ClientCrashed);
        }
        Some(step)
    }

    /// The id that a client draws when it restarts.
    fn restarted_id(&self, process: &ClientProcess) -> ClientId {
        if planted!(process.client.config(), ClientIdReused) {
            return process.client.id();
        }
        process.run_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Address, Envelope,
        system::{Scope, System, message_address, process_address, scope::Limit},
    };

    /// The scope `restarts`, and its client process.
    fn start() -> (TransitionSystem, ClientProcess) {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == "restarts");
        let transitions = TransitionSystem::new(scope.expect("a scope of the catalog"));
        let process = client(&transitions.start());
        (transitions, process)
    }

    fn client(system: &System) -> ClientProcess {
        let mut processes = system.processes.iter();
        let found = processes.find_map(|process| match process {
            Process::Client(process) => Some(process.clone()),
            _ => None,
        });
        found.expect("the scope has a client")
    }

    fn after(
        transitions: &TransitionSystem,
        process: &ClientProcess,
        local: &Local,
    ) -> (ClientProcess, LocalStep) {
        let step = transitions.client_step(process, local);
        let step = step.expect("the event is enabled");
        let Process::Client(next) = &step.next else {
            panic!("a client became another process");
        };
        (next.clone(), step)
    }

    #[test]
    fn restarted_client_has_a_new_id_no_session_and_no_operation_in_flight() {
        let (transitions, first) = start();
        assert!(first.client.session().is_some());
        let (busy, _) = after(&transitions, &first, &Local::Invoke);
        assert!(!busy.client.is_idle());
        let (second, step) = after(&transitions, &busy, &Local::Crash);
        assert!(second.client.is_idle() && second.client.session().is_none());
        assert_ne!(second.client.id(), first.client.id());
        assert_eq!(second.invoked, 1, "it continues with the next operation");
        assert!(step.witnesses.contains(Witness::ClientCrashed));
        assert_eq!(step.observed, [], "the outcome stays open");
        // The second run sends under its own id, and both belong to one process.
        let (_, step) = after(&transitions, &second, &Local::Invoke);
        let sent = &step.sent[0];
        assert_eq!(sent.from, Address::Client(second.client.id()));
        assert_eq!(process_address(sent.from), Address::Client(first.number));
        let Envelope { from, message, .. } = sent;
        assert_eq!(message_address(process_address(*from), message), *from);
    }

    #[test]
    fn operations_of_two_runs_have_different_ids() {
        let (transitions, first) = start();
        let (busy, one) = after(&transitions, &first, &Local::Invoke);
        let (second, _) = after(&transitions, &busy, &Local::Crash);
        let (_, other) = after(&transitions, &second, &Local::Invoke);
        let id = |step: &LocalStep| match &step.observed[..] {
            [Observation::Invoked { id, .. }] => *id,
            other => panic!("{other:?}"),
        };
        // An answer to the second run settles no operation of the first.
        assert_ne!(id(&one).0, id(&other).0);
    }

    #[test]
    fn crash_without_effect_is_no_event() {
        let (transitions, first) = start();
        // It only loses its session.
        let (fresh, step) = after(&transitions, &first, &Local::Crash);
        assert!(!step.witnesses.contains(Witness::ClientCrashed));
        assert!(transitions.client_step(&fresh, &Local::Crash).is_none());
        // The plan of two operations is over: the client would never act again.
        let (busy, _) = after(&transitions, &fresh, &Local::Invoke);
        let (second, _) = after(&transitions, &busy, &Local::Crash);
        assert!(transitions.client_events(&second).contains(&Local::Crash));
        let (last, _) = after(&transitions, &second, &Local::Invoke);
        assert_eq!(transitions.client_events(&last), [Local::ClientTimeout]);
    }

    #[test]
    fn crashes_are_counted_only_if_they_have_a_limit() {
        for (limit, cost) in [(Limit::Any, 0), (Limit::AtMost(2), 1)] {
            let (transitions, first) = start();
            let mut scope = transitions.scope().clone();
            scope.budget.client_crashes = limit;
            let transitions = TransitionSystem::new(scope);
            let (_, step) = after(&transitions, &first, &Local::Crash);
            assert_eq!(step.cost.client_crashes, cost, "{limit}");
        }
    }
}
