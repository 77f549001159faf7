//! The steps of a proxy.

use crate::system::{
    process::{Local, LocalStep, Process},
    transition_system::TransitionSystem,
    witness::Witness,
};
use crate::{
    Envelope, Message, NodeId,
    message::ResponseBody,
    proxy::{self, Proxy},
};
use alloc::vec::Vec;

impl TransitionSystem {
    pub(in crate::system) fn proxy_events(&self, proxy: &Proxy) -> Vec<Local> {
        let timeouts = proxy.in_flight.keys().flat_map(|&(client, id)| {
            let asks = self.scope.nodes();
            asks.map(move |ask| Local::ProxyTimeout { client, id, ask })
        });
        let crash = (!self.scope.budget.proxy_crashes.is_never()).then_some(Local::Crash);
        timeouts.chain(crash).collect()
    }

    pub(in crate::system) fn proxy_step(&self, proxy: &Proxy, local: &Local) -> Option<LocalStep> {
        let event = match local {
            Local::Crash => return self.proxy_crash(proxy),
            Local::Deliver { envelope, ask } => proxy::Event::Receive {
                from: envelope.from,
                message: envelope.message.clone(),
                // The proxy uses the drawn server only for a new request of a client.
                random_node: ask.unwrap_or(NodeId::new(1)),
            },
            Local::ProxyTimeout { client, id, ask } => proxy::Event::Timeout {
                client: *client,
                id: *id,
                random_node: *ask,
            },
            _ => return None,
        };
        let mut next = proxy.clone();
        let refused = matches!(&event, proxy::Event::Receive { message: Message::ClientResponse(response), .. }
            if matches!(response.body, ResponseBody::NotLeader { .. }));
        // The last refusal is passed on to the client.
        let redirected = |sent: &Envelope| matches!(sent.message, Message::ClientRequest(_));
        let effects = next.step(event);
        let mut step = LocalStep::new(Process::Proxy(next));
        step.sent = effects.sends;
        if refused && step.sent.iter().any(redirected) {
            step.witnesses.add(Witness::ProxyRedirected);
        }
        Some(step)
    }

    /// The crash of a proxy, with its restart. It loses the requests in flight and the cached leader.
    ///
    /// A deployed proxy draws a new id at each start, and ignores responses to its earlier runs. Here
    /// the id stays the same, so that the number of ids is finite. Late responses to an earlier run then
    /// reach the next run too. Servers use the id only as the address of their responses. So every run
    /// of the deployed proxy is a run in which those responses are lost.
    fn proxy_crash(&self, proxy: &Proxy) -> Option<LocalStep> {
        let next = Proxy::new(proxy.id(), proxy.config().clone());
        if next == *proxy {
            return None;
        }
        let mut step = LocalStep::new(Process::Proxy(next));
        step.cost.proxy_crashes = self.scope.budget.proxy_crashes.cost();
        if proxy.in_flight() > 0 {
            step.witnesses.add(Witness::ProxyCrashed);
        }
        Some(step)
    }
}
