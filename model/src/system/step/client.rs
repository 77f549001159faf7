//! The steps of a client.

use super::{call_of_invocation, result_of_answer, result_of_found};
use crate::client::{self, Done, NotDone, Outcome};
use crate::system::{
    process::{ClientProcess, Local, LocalStep, Process},
    properties::{history::Observation, linearizability::OperationId},
    transition_system::TransitionSystem,
    witness::Witness,
};
use alloc::vec::Vec;

impl TransitionSystem {
    pub(in crate::system) fn client_step(
        &self,
        process: &ClientProcess,
        local: &Local,
    ) -> Option<LocalStep> {
        let id = process.client.id();
        let plan = self.scope.plan(id);
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
            Some(Outcome::Unknown(_)) => step.witnesses.add(Witness::OutcomeUnknown),
            // A read without a result does not constrain the order.
            Some(
                Outcome::NotDone(NotDone::NoLeader | NotDone::NoServer)
                | Outcome::Done(Done::FoundStale(_)),
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
                let (id, result) = (operation, result_of_found(&found));
                step.observed.push(Observation::Returned { id, result });
            }
        }
        Some(step)
    }
}
