//! Claims: conditions that must hold at a process and at all its successors.

use super::{Edge, ObligationChecks};
use crate::engine::tables::{Delivery, OWN};
use crate::explain::words;
use model::{
    Envelope,
    system::{
        Obligation, Obligations, Process, Relevance,
        obligation::{LeaderLog, ObservedResponse, says_no_more},
    },
};
use std::sync::Arc;

/// A condition that must hold at a process and at all its successors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    /// A message has no effect.
    Dead { from: u8, message: u32 },
    /// A request changes nothing. Its response is a refusal, or equal to the first response.
    Inert {
        from: u8,
        message: u32,
        response: u32,
        /// The part of the leader's log that the request reveals.
        log: u32,
        /// Only while no server can crash later.
        no_more_crashes: bool,
    },
    /// Two messages have equal effects.
    Equal {
        of: Obligation,
        from: u8,
        one: u32,
        other: u32,
        /// The part of the leader's log that the requests reveal.
        log: u32,
    },
}

impl Claim {
    /// The sender's process index and the message.
    pub(super) fn message(self) -> (u8, u32) {
        match self {
            Self::Dead { from, message } | Self::Inert { from, message, .. } => (from, message),
            Self::Equal { from, one, .. } => (from, one),
        }
    }
}

/// Stands for the log of a leader where no log is relevant.
pub(super) const NO_LOG: u32 = u32::MAX;

/// Stands for a response that is a refusal.
const REFUSAL: u32 = u32::MAX;

impl ObligationChecks<'_> {
    /// Adds the claims about a message that a reduction removes or changes.
    pub(super) fn claim(&mut self, node: u32, from: u8, message: u32, delivery: &Delivery) {
        let relevance = delivery.relevance;
        match relevance {
            Relevance::Dead => self.open.push((node, Claim::Dead { from, message })),
            Relevance::TermOnly | Relevance::TermOnlyAfterCrashes => {
                let state = Arc::clone(&self.nodes[node as usize].process);
                let envelope = self.envelope(node, from, message);
                let response = match self.obligations.has_no_effect(&state, &envelope) {
                    Ok(responses) => <[ObservedResponse; 1]>::try_from(responses)
                        .map(|[response]| response)
                        .map_err(|_| "it does not have exactly one response".into()),
                    Err(why) => Err(why),
                };
                // The response was sent when the message was delivered, and nothing was recorded.
                let response = if delivery.steps.is_empty() {
                    response
                } else {
                    Err("it causes a step that is not eager".into())
                };
                match response {
                    Ok(response) => {
                        let response = self.number_of(response);
                        let no_more_crashes = relevance == Relevance::TermOnlyAfterCrashes;
                        let claim = Claim::Inert {
                            from,
                            message,
                            response,
                            log: self.log_of(&state, message),
                            no_more_crashes,
                        };
                        self.open.push((node, claim));
                    }
                    Err(why) => {
                        self.note_received(Obligation::InertRequests, node, &envelope, Err(why));
                    }
                }
            }
            Relevance::Refusal(term) => {
                let plain = self.tables.message_id(Obligations::plain_refusal(term));
                self.open.push((
                    node,
                    Claim::Equal {
                        of: Obligation::Refusals,
                        from,
                        one: message,
                        other: plain,
                        log: NO_LOG,
                    },
                ));
            }
            Relevance::Contact(term) => {
                let plain = self.tables.message_id(Obligations::plain_contact(term));
                self.open.push((
                    node,
                    Claim::Equal {
                        of: Obligation::Contacts,
                        from,
                        one: message,
                        other: plain,
                        log: NO_LOG,
                    },
                ));
            }
            Relevance::Live => {}
        }
        if delivery.trimmed != message {
            let state = Arc::clone(&self.nodes[node as usize].process);
            let claim = Claim::Equal {
                of: Obligation::TrimmedAppends,
                from,
                one: message,
                other: delivery.trimmed,
                log: self.log_of(&state, message),
            };
            self.open.push((node, claim));
        }
    }

    pub(super) fn examine_open(&mut self) {
        while let Some((node, claim)) = self.open.pop() {
            if self.is_interrupted() {
                return;
            }
            self.examine(node, claim);
        }
    }

    /// Checks a claim at a process, and adds it to the successors.
    fn examine(&mut self, node: u32, claim: Claim) {
        if !self.nodes[node as usize].claims.insert(claim) {
            return;
        }
        let state = Arc::clone(&self.nodes[node as usize].process);
        let (obligation, envelope, verdict) = self.check_claim(&state, claim);
        let holds = verdict.is_ok();
        self.note_received(obligation, node, &envelope, verdict);
        if !holds {
            return;
        }
        for edge in 0..self.nodes[node as usize].edges.len() {
            let edge = self.nodes[node as usize].edges[edge];
            self.pass_on(edge, claim);
        }
        // The search takes one of several events that differ only by a permutation that fixes this process.
        // The claim must hold for each of them.
        for permutation in 0..self.nodes[node as usize].permutations.len() {
            let permutation = self.nodes[node as usize].permutations[permutation];
            self.open.push((node, self.permuted(claim, permutation)));
        }
    }

    /// Whether a claim holds at a process.
    pub(super) fn check_claim(
        &self,
        state: &Process,
        claim: Claim,
    ) -> (Obligation, Envelope, Result<(), String>) {
        let to_it = |from: u8, message| self.tables.envelope_to(state, from.into(), message);
        match claim {
            Claim::Dead { from, message } => {
                let envelope = to_it(from, message);
                let effect = self.obligations.has_no_effect(state, &envelope);
                let verdict = effect.and_then(|responses| match responses.as_slice() {
                    [] | [ObservedResponse::Waits] => Ok(()),
                    _ => Err("it has a response".into()),
                });
                (Obligation::DeadMessages, envelope, verdict)
            }
            Claim::Inert {
                from,
                message,
                response: first,
                ..
            } => {
                let envelope = to_it(from, message);
                let effect = self.obligations.has_no_effect(state, &envelope);
                let is_up = state
                    .server()
                    .is_some_and(|server| server.running.is_some());
                let first = self.responses.get(first as usize);
                let is_new = |response: &&ObservedResponse| match response {
                    ObservedResponse::Other(message) => {
                        !first.is_some_and(|first| says_no_more(message, first))
                    }
                    ObservedResponse::Refusal
                    | ObservedResponse::Repeated
                    | ObservedResponse::Waits => false,
                };
                let verdict = effect.and_then(|responses| {
                    if responses.is_empty() && is_up {
                        return Err("it has no response".into());
                    }
                    match responses.iter().find(is_new) {
                        None => Ok(()),
                        Some(other) => Err(format!("its response is now {other:?}")),
                    }
                });
                (Obligation::InertRequests, envelope, verdict)
            }
            Claim::Equal {
                of,
                from,
                one,
                other,
                ..
            } => {
                let envelope = to_it(from, one);
                let other = to_it(from, other);
                let verdict = self
                    .obligations
                    .have_equal_effects(state, &envelope, &other);
                (of, envelope, verdict)
            }
        }
    }

    /// A claim about a process, as a claim about a successor.
    pub(super) fn pass_on(&mut self, edge: Edge, claim: Claim) {
        let log = match claim {
            Claim::Dead { .. } => NO_LOG,
            Claim::Inert { log, .. } | Claim::Equal { log, .. } => log,
        };
        if self.is_contradicted(claim, edge.request) {
            return;
        }
        let next = Arc::clone(&self.nodes[edge.to as usize].process);
        let is_over = log != NO_LOG && self.outlived(&next, log) == NO_LOG;
        let log = if is_over { NO_LOG } else { log };
        let mut claim = self.permuted(claim, self.permutations.inverse(edge.permutation as usize));
        match &mut claim {
            Claim::Dead { .. } => {}
            Claim::Inert {
                no_more_crashes: true,
                ..
            } if edge.is_crash => return,
            Claim::Inert {
                response,
                log: known,
                ..
            } => {
                *known = log;
                if is_over {
                    // In a later term the only response is a refusal.
                    *response = REFUSAL;
                }
            }
            Claim::Equal { log: known, .. } => *known = log,
        }
        if !self.nodes[edge.to as usize].claims.contains(&claim) {
            self.open.push((edge.to, claim));
        }
    }

    /// Whether the leader's log of a claim contradicts the request that causes a step.
    pub(super) fn is_contradicted(&self, claim: Claim, (from, request): (u8, u32)) -> bool {
        let (Claim::Inert { log, .. } | Claim::Equal { log, .. }) = claim else {
            return false;
        };
        let log = self.logs.get(log as usize);
        request != OWN
            && log.is_some_and(|log| {
                let is_from_leader = from == claim.message().0;
                log.is_contradicted_by(&self.tables.message(request), is_from_leader)
            })
    }

    /// A claim under a permutation.
    fn permuted(&self, claim: Claim, permutation: usize) -> Claim {
        let sender = |from: u8| self.permutations.image(permutation, from.into()) as u8;
        let permuted = |message: u32| self.tables.permuted_message(message, permutation);
        match claim {
            Claim::Dead { from, message } => Claim::Dead {
                from: sender(from),
                message: permuted(message),
            },
            Claim::Inert {
                from,
                message,
                response,
                log,
                no_more_crashes,
            } => Claim::Inert {
                from: sender(from),
                message: permuted(message),
                response,
                log,
                no_more_crashes,
            },
            Claim::Equal {
                of,
                from,
                one,
                other,
                log,
            } => Claim::Equal {
                of,
                from: sender(from),
                one: permuted(one),
                other: permuted(other),
                log,
            },
        }
    }

    /// The part of the leader's log that a message to this process reveals.
    fn log_of(&mut self, receiver: &Process, message: u32) -> u32 {
        let message = self.tables.message(message);
        let Some(log) = LeaderLog::shown_to(receiver, &message) else {
            return NO_LOG;
        };
        let known = self.logs.iter().position(|known| *known == log);
        known.unwrap_or_else(|| {
            self.logs.push(log);
            self.logs.len() - 1
        }) as u32
    }

    /// Removes the leader's log from a claim once its term is over for a process.
    fn outlived(&self, receiver: &Process, log: u32) -> u32 {
        let Some(known) = self.logs.get(log as usize) else {
            return NO_LOG;
        };
        let server = receiver.server();
        let is_over =
            server.is_some_and(|server| known.term() < server.disk.hard_state.current_term);
        if is_over { NO_LOG } else { log }
    }

    fn number_of(&mut self, response: ObservedResponse) -> u32 {
        let ObservedResponse::Other(message) = response else {
            return REFUSAL;
        };
        let known = self.responses.iter().position(|known| *known == message);
        known.unwrap_or_else(|| {
            self.responses.push(message);
            self.responses.len() - 1
        }) as u32
    }

    fn envelope(&self, node: u32, from: u8, message: u32) -> Envelope {
        let receiver = &self.nodes[node as usize].process;
        self.tables.envelope_to(receiver, from.into(), message)
    }

    fn note_received(
        &mut self,
        obligation: Obligation,
        node: u32,
        envelope: &Envelope,
        verdict: Result<(), String>,
    ) {
        let state = Arc::clone(&self.nodes[node as usize].process);
        let event = || words::received(envelope);
        self.note(obligation, &state, event, verdict);
    }
}
