//! The steps of a proxy.

use crate::system::{
    process::{Local, LocalStep, Process},
    transition_system::TransitionSystem,
    witness::Witness,
};
use crate::{
    Message, NodeId,
    message::ResponseBody,
    proxy::{self, Proxy},
};

impl TransitionSystem {
    pub(in crate::system) fn proxy_step(&self, proxy: &Proxy, local: &Local) -> Option<LocalStep> {
        let event = match local {
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
        let effects = next.step(event);
        let mut step = LocalStep::new(Process::Proxy(next));
        step.sent = effects.sends;
        if refused && !step.sent.is_empty() {
            step.witnesses.add(Witness::ProxyRedirected);
        }
        Some(step)
    }
}
