//! The state of an endpoint that sending, receiving and its tasks share, and the socket calls.

use crate::{
    Config, Counters, DatagramSocket,
    config::new_boot,
    counters::{Cause, Count},
    delay_queue::{DelayQueue, Dispatch},
    fragment::FragmentSender,
    pack::Batch,
    path_mtu::Paths,
    queue::{Arrived, Received, SendQueue},
    resolve,
    routes::Routes,
    seal::Sealer,
};
use model::Address;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{sync::Notify, time::Instant};

/// The capacity of the inbox, in bytes of encoded messages.
const INBOX_BYTES: usize = 64 << 20;
/// How many batches one flush sends before other work gets a turn.
const FLUSH: usize = 64;

/// Whether this process has logged the warning about an endpoint on loopback without keys.
static WARNED_ON_LOOPBACK: AtomicBool = AtomicBool::new(false);

/// The state that sending, receiving and the tasks share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) sealer: Sealer,
    pub(crate) counters: Counters,
    pub(crate) routes: Mutex<Routes>,
    pub(crate) transmission: Transmission,
    backlog: Backlog,
    pub(crate) delays: Delays,
    pub(crate) arrivals: Arrivals,
    pub(crate) local: SocketAddr,
    pub(crate) socket: Box<dyn DatagramSocket>,
    /// Wakes the owner that serves the socket.
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Messages in transit. Lock order: `outgoing` before `paths`.
#[derive(Debug)]
pub(crate) struct Transmission {
    pub(crate) outgoing: Mutex<FragmentSender>,
    pub(crate) paths: Mutex<Paths>,
    /// The buffer in which messages are encoded, kept for reuse.
    pub(crate) scratch: Mutex<Vec<u8>>,
}

/// Datagrams that wait for the socket.
struct Backlog {
    queue: Mutex<SendQueue>,
    /// Whether the queue holds any batch; readable without a lock.
    queued: AtomicBool,
}

/// Messages that fault injection delays, and the timer of the second task.
#[derive(Default)]
pub(crate) struct Delays {
    pub(crate) held: Mutex<DelayQueue>,
    /// When the second task wakes by itself.
    alarm: Mutex<Option<Instant>>,
    pub(crate) wake: Notify,
}

/// Received messages that the owner has not taken yet.
pub(crate) struct Arrivals {
    pub(crate) arrived: Mutex<Arrived>,
    pub(crate) arrival: Notify,
}

impl Shared {
    pub(crate) fn new(config: Config) -> io::Result<Self> {
        config
            .check()
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let boot = match config.boot {
            Some(boot) => boot,
            None => new_boot(&config.environment)?,
        };
        let sealer = Sealer::new(&config.cluster, config.voters, boot, &config.keys);
        if config.keys.are_insecure()
            && let Some(warning) = unsealed_warning(config.listen, &WARNED_ON_LOOPBACK)
        {
            tracing::warn!(listen = %config.listen, "{warning}");
        }
        let socket = config.environment.network.bind(config.listen)?;
        let local = socket.local_addr()?;
        let shared = Self {
            sealer,
            counters: Counters::new(Arc::clone(&config.environment.clock)),
            routes: Mutex::new(Routes::new(config.learned_routes)),
            transmission: Transmission {
                outgoing: Mutex::new(FragmentSender::new(config.max_bulk)),
                paths: Mutex::new(Paths::new(config.max_datagram)),
                scratch: Mutex::default(),
            },
            backlog: Backlog {
                queue: Mutex::new(SendQueue::new(config.send_queue)),
                queued: AtomicBool::new(false),
            },
            delays: Delays::default(),
            arrivals: Arrivals {
                arrived: Mutex::new(Arrived::new(config.inbox, INBOX_BYTES)),
                arrival: Notify::new(),
            },
            local,
            waker: OnceLock::new(),
            socket,
            config,
        };
        for (address, at) in &shared.config.peers {
            shared.configure(*address, &[*at]);
        }
        Ok(shared)
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        self.config.environment.clock.now().into()
    }

    /// Configures the addresses of a process that this socket can reach. Logs a warning if there is
    /// none.
    pub(crate) fn configure(&self, address: Address, at: &[SocketAddr]) {
        let reachable = at
            .iter()
            .filter_map(|at| resolve::reachable_from(self.local, *at));
        let reachable = Vec::from_iter(reachable);
        if reachable.is_empty() {
            tracing::warn!(
                %address, ?at, local = %self.local,
                "this socket cannot reach that address: listen on [::] to reach both IP versions"
            );
        }
        lock(&self.routes).configure(address, reachable);
    }

    /// Puts messages into the inbox, each with its encoded length. Callable from any thread.
    pub(crate) fn deliver(&self, messages: impl IntoIterator<Item = (Received, usize)>) {
        let mut all = 0;
        let mut refused = 0;
        {
            let mut arrived = lock(&self.arrivals.arrived);
            for (message, bytes) in messages {
                all += 1;
                refused += usize::from(!arrived.push(message, bytes));
            }
        }
        if all > 0 {
            self.arrivals.arrival.notify_one();
        }
        self.counters.add(Count::MessagesReceived, all - refused);
        self.counters.drop(
            Cause::InboxFull,
            refused,
            format_args!("inbox full: messages arrive faster than this process handles them"),
        );
    }

    /// How many datagrams one system call can send.
    pub(crate) fn segments(&self) -> usize {
        self.socket.max_segments()
    }

    /// Sends a batch now if the socket accepts it, and queues it otherwise.
    pub(crate) fn transmit(&self, batch: Batch) {
        if self.backlog.queued.load(Ordering::Acquire) {
            return self.enqueue(batch);
        }
        if let Err(rest) = self.try_transmit(batch) {
            self.enqueue(rest);
        }
    }

    fn enqueue(&self, batch: Batch) {
        let mut queue = lock(&self.backlog.queue);
        let pushed = queue.push(batch);
        self.backlog
            .queued
            .store(!queue.is_empty(), Ordering::Release);
        drop(queue);
        match pushed {
            Ok(()) => self.delays.wake.notify_one(),
            Err(batch) => self.counters.drop(
                Cause::SendQueueFull,
                batch.datagrams(),
                format_args!(
                    "send queue full: {} bytes to {}",
                    batch.bytes.len(),
                    batch.to.0
                ),
            ),
        }
    }

    /// Sends a batch. Returns the unsent rest if the socket does not accept it yet.
    fn try_transmit(&self, mut batch: Batch) -> Result<(), Batch> {
        // A pending socket error is reported once, in place of an error of this datagram.
        let mut pending = true;
        let mut batches_failed = false;
        loop {
            // If the system no longer accepts batches, each datagram is sent on its own.
            let single = batch.datagrams() > self.segments().max(1);
            let length = if single {
                batch.segment
            } else {
                batch.bytes.len()
            };
            let datagrams = length.div_ceil(batch.segment);
            let bytes = &batch.bytes[..length];
            match self.socket.send(batch.to.0, bytes, batch.segment) {
                Ok(()) => {
                    self.counters.add(Count::SendCalls, 1);
                    self.counters.add(Count::DatagramsSent, datagrams);
                    self.counters.add(Count::BytesSent, length);
                }
                Err(error) => match SendRefusal::from_error(&error) {
                    SendRefusal::Full => return Err(batch),
                    SendRefusal::TooLong => {
                        if batches_failed {
                            // Some kernels return EINVAL for a batch of datagrams that are too
                            // long: they do not refuse batches.
                            self.socket.reset_segments();
                        }
                        let length = length.min(batch.segment);
                        self.send_shorter(batch, length);
                        return Ok(());
                    }
                    // The system just turned out to refuse batches: retry one by one.
                    _ if datagrams > self.segments() => {
                        batches_failed = true;
                        continue;
                    }
                    SendRefusal::Pending if pending => {
                        pending = false;
                        continue;
                    }
                    refusal => self.refused(refusal, &error, batch.to.0, datagrams),
                },
            }
            if length == batch.bytes.len() {
                return Ok(());
            }
            batch.bytes.drain(..length);
        }
    }

    /// Counts datagrams that the system refused, and logs a remedy.
    fn refused(&self, refusal: SendRefusal, error: &io::Error, to: SocketAddr, datagrams: usize) {
        if refusal == SendRefusal::NoRoute {
            lock(&self.routes).unreachable(to);
        }
        let (cause, advice) = refusal.advice(error, self.local, to);
        let about = format_args!("cannot send to {to}: {error}; {advice}");
        self.counters.drop(cause, datagrams, about);
    }

    /// Sends queued batches until the send buffer of the socket is full.
    pub(crate) fn flush(&self) {
        for _ in 0..FLUSH {
            let Some(batch) = lock(&self.backlog.queue).pop() else {
                break;
            };
            if let Err(rest) = self.try_transmit(batch) {
                lock(&self.backlog.queue).put_back(rest);
                break;
            }
        }
        let queue = lock(&self.backlog.queue);
        self.backlog
            .queued
            .store(!queue.is_empty(), Ordering::Release);
    }

    /// Whether any batch waits for the socket.
    pub(crate) fn is_queued(&self) -> bool {
        self.backlog.queued.load(Ordering::Acquire)
    }

    /// Removes and returns the received messages.
    pub(crate) fn take_arrived(&self) -> Vec<Received> {
        lock(&self.arrivals.arrived).take().unwrap_or_default()
    }

    /// Sets the function that wakes the owner that serves the socket.
    pub(crate) fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        let _ = self.waker.set(waker);
    }

    /// Wakes the owner that serves the socket, if there is one. Threads of this crate call it after
    /// they delivered a message.
    pub(crate) fn wake_owner(&self) {
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    /// The deadline of the next timer.
    pub(crate) fn due(&self) -> Option<Instant> {
        *lock(&self.delays.alarm)
    }

    /// Makes sure that the second task wakes by this time. Callable from any thread.
    pub(crate) fn wake_by(&self, due: Option<Instant>) {
        let Some(due) = due else {
            return;
        };
        let mut alarm = lock(&self.delays.alarm);
        if alarm.is_none_or(|at| due < at) {
            *alarm = Some(due);
            self.delays.wake.notify_one();
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant) {
        let (mut out, mut direct, mut arrive) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut held = lock(&self.delays.held);
            while let Some((dispatch, envelope)) = held.pop(now) {
                match dispatch {
                    Dispatch::Send(None) => out.push(envelope),
                    Dispatch::Send(Some(at)) => direct.push((at, envelope)),
                    Dispatch::Deliver(boot, at) => {
                        arrive.push((Received { envelope, boot, at }, 0));
                    }
                }
            }
        }
        self.send_past_faults(&out, None);
        for (at, envelope) in direct {
            self.send_past_faults(&[envelope], Some(at));
        }
        self.deliver(arrive);
        self.send_probes([], now);
        self.send_due_fragments(now);
    }

    /// Computes when the second task wakes by itself. It keeps the lock meanwhile, so that a thread
    /// that adds a deadline is either seen here or sees the value set here.
    pub(crate) fn set_alarm(&self) -> Option<Instant> {
        let mut alarm = lock(&self.delays.alarm);
        let held = lock(&self.delays.held).deadline();
        let fragments = lock(&self.transmission.outgoing).deadline();
        let probes = lock(&self.transmission.paths).deadline();
        *alarm = held.into_iter().chain(fragments).chain(probes).min();
        *alarm
    }
}

/// The reason why the system did not send a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendRefusal {
    /// The socket's send buffer is full.
    Full,
    /// The datagram exceeds the MTU of the interface.
    TooLong,
    /// There is no route, or the interface is down.
    NoRoute,
    /// A packet filter blocks it.
    Filtered,
    /// The system is short of memory.
    NoBuffers,
    /// The socket reported the error of an earlier datagram and did not send this one.
    Pending,
    Other,
}

impl SendRefusal {
    fn from_error(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        if quinn_udp::is_msg_size_err(error) {
            return Self::TooLong;
        }
        match error.kind() {
            Kind::WouldBlock => Self::Full,
            Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable => Self::NoRoute,
            Kind::PermissionDenied => Self::Filtered,
            Kind::OutOfMemory => Self::NoBuffers,
            Kind::ConnectionRefused | Kind::ConnectionReset => Self::Pending,
            _ if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                Self::NoBuffers
            }
            _ => Self::Other,
        }
    }

    /// The cause to count for a datagram from `local` to `to`, and a remedy.
    fn advice(self, error: &io::Error, local: SocketAddr, to: SocketAddr) -> (Cause, &'static str) {
        let is_loopback = |at: SocketAddr| at.ip().to_canonical().is_loopback();
        let is_invalid = error.kind() == io::ErrorKind::InvalidInput;
        match self {
            Self::NoRoute => (
                Cause::Unreachable,
                "check the routes and the interfaces of this machine",
            ),
            Self::Filtered => (
                Cause::Filtered,
                "a packet filter on this machine blocks it: check its output rules",
            ),
            Self::NoBuffers => (Cause::NoBuffers, "the system is short of memory"),
            _ if is_invalid && is_loopback(local) && !is_loopback(to) => (
                Cause::SendFailed,
                "this socket listens on loopback: listen on an address of the network",
            ),
            _ => (Cause::SendFailed, "later messages are still sent"),
        }
    }
}

/// The warning about an endpoint without keys, or `None` if it was logged before. An embedded cluster
/// has many endpoints on loopback, so all of them share one warning.
fn unsealed_warning(listen: SocketAddr, warned_on_loopback: &AtomicBool) -> Option<&'static str> {
    if !listen.ip().to_canonical().is_loopback() {
        return Some(
            "datagrams are not sealed: any host that reaches this socket can impersonate any server",
        );
    }
    let is_first = !warned_on_loopback.swap(true, Ordering::Relaxed);
    is_first.then_some(
        "datagrams on loopback are not sealed: any process on this machine can impersonate any server",
    )
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn errors_of_sending_are_distinguished() {
        for (errno, refusal) in [
            (Errno::AGAIN, SendRefusal::Full),
            (Errno::MSGSIZE, SendRefusal::TooLong),
            (Errno::NETUNREACH, SendRefusal::NoRoute),
            (Errno::HOSTUNREACH, SendRefusal::NoRoute),
            (Errno::NETDOWN, SendRefusal::NoRoute),
            (Errno::PERM, SendRefusal::Filtered),
            (Errno::ACCESS, SendRefusal::Filtered),
            (Errno::NOBUFS, SendRefusal::NoBuffers),
            (Errno::NOMEM, SendRefusal::NoBuffers),
            (Errno::CONNREFUSED, SendRefusal::Pending),
            (Errno::INVAL, SendRefusal::Other),
        ] {
            assert_eq!(SendRefusal::from_error(&errno.into()), refusal, "{errno}");
        }
    }

    #[test]
    fn warning_about_missing_keys_is_given_once_on_loopback_and_always_elsewhere() {
        let warned = AtomicBool::new(false);
        let warns = |text: &str| unsealed_warning(text.parse().unwrap(), &warned).is_some();
        let loopback = ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        assert_eq!(loopback.map(warns), [true, false, false]);
        assert_eq!(["192.0.2.1:1", "0.0.0.0:1", "[::]:1"].map(warns), [true; 3]);
    }

    #[test]
    fn socket_on_loopback_gets_advice_about_peers_elsewhere() {
        let at = |text: &str| text.parse().unwrap();
        let invalid = Errno::INVAL.into();
        for (local, to, is_advised) in [
            ("127.0.0.1:1", "192.0.2.1:7101", true),
            ("[::1]:1", "[2001:db8::1]:7101", true),
            ("127.0.0.1:1", "127.0.0.2:7101", false),
            ("0.0.0.0:1", "192.0.2.1:7101", false),
        ] {
            let (cause, advice) =
                SendRefusal::from_error(&invalid).advice(&invalid, at(local), at(to));
            assert_eq!(cause, Cause::SendFailed);
            assert_eq!(
                advice.contains("listens on loopback"),
                is_advised,
                "{local} {to}"
            );
        }
        // The system itself refuses such a datagram with this error.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Err(error) = socket.send_to(&[0], "192.0.2.1:7101") {
            let refusal = SendRefusal::from_error(&error);
            let local = socket.local_addr().unwrap();
            let (_, advice) = refusal.advice(&error, local, at("192.0.2.1:7101"));
            let is_known =
                refusal == SendRefusal::NoRoute || advice.contains("listens on loopback");
            assert!(is_known, "{error}: {advice}");
        }
    }
}
