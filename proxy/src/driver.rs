//! The driver of a [`model::router::Router`]: one task, one event loop, no protocol decisions.
//!
//! The driver collects all pending input, steps the router for it, and sends the resulting output
//! together, so that a busy proxy pays per batch and not per request. Requests arrive from two
//! sources: the UDP endpoint, and the frontends of this process (HTTP, Redis). The driver supplies the
//! time and the random numbers.

use crate::gauges::Gauges;
use model::{
    Envelope, ProxyId,
    router::{self, Router, RouterConfig},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use transport::{Endpoint, Inbox};

/// The handle with which frontends use the driver.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The id of the driver in its messages to the servers and the frontends.
    pub id: ProxyId,
    /// The counters and gauges of the driver.
    pub gauges: Arc<Gauges>,
    requests: mpsc::UnboundedSender<router::Event>,
}

impl Handle {
    /// Submits requests of clients in this process. Never blocks. The calling pool bounds their
    /// number.
    pub fn carry(&self, envelopes: Vec<Envelope>) {
        self.submit(envelopes, false);
    }

    /// Submits requests for the proxy's own page. They do not count as load.
    pub fn carry_uncounted(&self, envelopes: Vec<Envelope>) {
        self.submit(envelopes, true);
    }

    fn submit(&self, envelopes: Vec<Envelope>, is_internal: bool) {
        // The send fails only after the driver has ended. Then no response follows, and the caller's
        // timer expires.
        let _ = self.requests.send(router::Event::Requests {
            envelopes,
            is_internal,
        });
    }
}

/// The two steps of a shutdown. An operation of a frontend may consist of several requests, so the
/// frontends must finish before the driver ends.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The driver ignores requests from UDP clients, but still sends the responses to their requests in
    /// flight.
    pub refuse: CancellationToken,
    /// The driver ends as soon as no request is in flight.
    pub end: CancellationToken,
}

/// A driver that is not running yet.
#[derive(Debug)]
pub struct Driver {
    router: Router,
    random: StdRng,
    handle: Handle,
    requests: mpsc::UnboundedReceiver<router::Event>,
}

impl Driver {
    /// Creates a driver, with a random id and a generator of its own, both drawn from `random`. Its
    /// [`Handle`] is usable before the driver runs.
    ///
    /// # Panics
    /// If there are no servers.
    pub fn new(config: RouterConfig, random: &mut StdRng) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        let handle = Handle {
            id: ProxyId::new(random.random()),
            gauges: Arc::new(Gauges::new()),
            requests: sender,
        };
        Self {
            router: Router::new(handle.id, config),
            random: StdRng::from_rng(random),
            handle,
            requests,
        }
    }

    /// Returns the handle for the frontends.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the endpoint closes, or until `ending` requests the end and no request is in flight.
    /// `receive` gets the responses for the clients of this process.
    pub async fn run(
        mut self,
        endpoint: Endpoint,
        mut inbox: Inbox,
        receive: impl Fn(Vec<Envelope>) + Send,
        ending: Ending,
    ) {
        let gauges = self.handle.gauges;
        let mut router = self.router;
        let mut random = self.random;
        let start = Instant::now();
        let (mut batches, mut events) = (Vec::new(), Vec::new());
        let alarm = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(alarm);
        let mut is_alarm_set = false;
        loop {
            if let Some(next) = router.next_timeout()
                && !is_alarm_set
            {
                // Deadlines only increase, so an armed timer never fires too late.
                alarm.as_mut().reset(start + next);
                is_alarm_set = true;
            }
            tokio::select! {
                // A fixed order, so that a simulation can repeat a run: the inbox first. The code below
                // drains the requests and handles expired timers, so none of them starves.
                biased;
                arrived = inbox.receive() => {
                    let Some(envelopes) = arrived else { break };
                    events.push(router::Event::Datagrams(envelopes));
                }
                _ = self.requests.recv_many(&mut batches, 1024) => {}
                () = alarm.as_mut(), if is_alarm_set => is_alarm_set = false,
                () = ending.end.cancelled(), if !ending.end.is_cancelled() => {}
            }
            while let Ok(more) = self.requests.try_recv() {
                batches.push(more);
            }
            if ending.refuse.is_cancelled() && !router.is_draining() {
                events.insert(0, router::Event::Drain);
            }
            events.append(&mut batches);
            let now = start.elapsed();
            if router.next_timeout().is_some_and(|next| next <= now) {
                events.push(router::Event::Timeout);
            }
            let (mut sends, mut responses) = (Vec::new(), Vec::new());
            for event in events.drain(..) {
                let is_network = matches!(event, router::Event::Datagrams(_));
                let mut effects = router.step(now, random.random(), event);
                gauges.count(&effects, is_network);
                sends.append(&mut effects.sends);
                responses.append(&mut effects.responses);
            }
            gauges.set_in_flight(router.in_flight());
            gauges.set_leader(router.leader());
            if !sends.is_empty() {
                endpoint.send(sends);
            }
            if !responses.is_empty() {
                receive(responses);
            }
            if ending.end.is_cancelled() && router.in_flight() == 0 && self.requests.is_empty() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
