//! A simulated [`Environment`]: one seed determines the random numbers, the order of the datagrams
//! and the time of each event.
//!
//! The processes of a simulation share a [`Simulation`] and run on one thread. Their background
//! jobs run where they are spawned. Time passes only by [`Simulation::advance`], or with the paused
//! clock of a tokio runtime ([`Simulation::in_runtime`]).

mod network;

pub use network::Link;

use network::Datagrams;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, futures::Notified};
use transport::{Clock, Entropy, Environment, Threads};

/// The calendar time at the start of each simulation, in seconds since 1970.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// A simulation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Simulation {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    /// The time comes from the tokio runtime.
    is_in_runtime: bool,
    state: Mutex<State>,
    /// A datagram was sent.
    sent: Notify,
    /// A datagram arrived.
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    /// The time since the start, unless a runtime supplies it.
    elapsed: Duration,
    random: ChaCha8Rng,
    datagrams: Datagrams,
}

/// The random numbers of one process.
#[derive(Debug)]
struct SimulatedEntropy(Mutex<ChaCha8Rng>);

impl Simulation {
    /// Starts a simulation whose time passes by [`Self::advance`].
    pub fn new(seed: u64) -> Self {
        Self::start(seed, Instant::now(), false)
    }

    /// Starts a simulation with the clock of the current tokio runtime, which must be paused. A
    /// task of the runtime delivers the datagrams.
    pub fn in_runtime(seed: u64) -> Self {
        let origin = tokio::time::Instant::now().into_std();
        let simulation = Self::start(seed, origin, true);
        tokio::spawn(simulation.clone().deliver_in_runtime());
        simulation
    }

    fn start(seed: u64, origin: Instant, is_in_runtime: bool) -> Self {
        let state = State {
            elapsed: Duration::ZERO,
            random: ChaCha8Rng::seed_from_u64(seed),
            datagrams: Datagrams::default(),
        };
        let shared = Shared {
            origin,
            is_in_runtime,
            state: Mutex::new(state),
            sent: Notify::new(),
            arrived: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// An environment for one more run of a process, with random numbers of its own.
    pub fn environment(&self) -> Environment {
        let mut seed = [0; 32];
        self.lock().random.fill_bytes(&mut seed);
        let random = ChaCha8Rng::from_seed(seed);
        Environment {
            clock: Arc::new(self.clone()),
            entropy: Arc::new(SimulatedEntropy(Mutex::new(random))),
            network: Arc::new(self.clone()),
            threads: Arc::new(self.clone()),
        }
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.shared.origin)
    }

    /// A random number below `limit`, which is at least 1.
    pub fn below(&self, limit: u64) -> u64 {
        self.lock().below(limit)
    }

    /// Sets the behavior of the network for the datagrams sent from now on.
    pub fn set_link(&self, link: Link) {
        self.lock().datagrams.link = link;
    }

    /// Lets time pass until the next datagram arrives, or until `deadline` if that is earlier.
    /// Delivers the datagrams that arrive then.
    ///
    /// # Panics
    /// If the time comes from a runtime.
    pub fn advance(&self, deadline: Instant) {
        assert!(!self.shared.is_in_runtime, "the runtime advances the time");
        let deadline = deadline.saturating_duration_since(self.shared.origin);
        let mut state = self.lock();
        let next = state.datagrams.next_arrival();
        let until = next.map_or(deadline, |at| at.min(deadline));
        state.elapsed = state.elapsed.max(until);
        let now = state.elapsed;
        state.datagrams.deliver(now);
    }

    /// Waits, within a runtime, until datagrams arrive from now on. For processes that do not poll
    /// their sockets as tasks.
    pub fn arrivals(&self) -> Notified<'_> {
        self.shared.arrived.notified()
    }

    async fn deliver_in_runtime(self) {
        loop {
            let elapsed = self.elapsed();
            let (has_arrivals, next) = {
                let mut state = self.lock();
                let has_arrivals = state.datagrams.deliver(elapsed);
                (has_arrivals, state.datagrams.next_arrival())
            };
            if has_arrivals {
                self.shared.arrived.notify_waiters();
            }
            let sent = self.shared.sent.notified();
            match next {
                Some(at) => {
                    let at = (self.shared.origin + at).into();
                    let _ = tokio::time::timeout_at(at, sent).await;
                }
                None => sent.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.random.next_u64()) * u128::from(limit);
        (product >> 64) as u64
    }
}

impl Clock for Simulation {
    fn now(&self) -> Instant {
        if self.shared.is_in_runtime {
            return tokio::time::Instant::now().into_std();
        }
        self.shared.origin + self.lock().elapsed
    }

    fn calendar(&self) -> SystemTime {
        UNIX_EPOCH + EPOCH + self.elapsed()
    }
}

impl Entropy for SimulatedEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        lock(&self.0).fill_bytes(bytes);
        Ok(())
    }
}

impl Threads for Simulation {
    fn spawn(&self, _: &str, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        job();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
