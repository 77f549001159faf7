//! One UDP socket and the code that serves it. Two tasks serve an [`Endpoint`]: the first reads,
//! and the second sends queued batches and runs timers. Alternatively the owner serves a [`Socket`]
//! from its own event loop.

use crate::{
    Config, Counters, KeyError,
    config::new_boot,
    counters::{Cause, Count},
    delay_queue::{DelayQueue, Way},
    fragment::FragmentSender,
    inbound::Reader,
    pack::Batch,
    path_mtu::Paths,
    queue::{Arrived, SendQueue},
    resolve,
    routes::{Misplaced, Routes},
    seal::Sealer,
    socket::Socket,
};
use model::{Address, Envelope, wire::BootId};
use quinn_udp::{Transmit, UdpSocketState};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{io::Interest, net::UdpSocket, sync::Notify, task::JoinHandle, time::Instant};

/// The socket buffer size requested from the system, in bytes, for each direction. The system may
/// grant less.
const SOCKET_BUFFER: usize = 4 << 20;
/// The capacity of the inbox, in bytes of encoded messages.
const INBOX_BYTES: usize = 64 << 20;
/// How long reading pauses after the system returned an error.
const READ_PAUSE: Duration = Duration::from_millis(10);
/// How many batches one flush sends before other work gets a turn.
const FLUSH: usize = 64;

/// The sending half. Cheap to clone. Dropping the last clone ends the [`Inbox`] and closes the
/// socket.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Empty if the owner serves the socket.
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        lock(&self.shared.arrived).close();
        self.shared.arrival.notify_one();
    }
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub envelope: Envelope,
    /// The run (one execution of a process) that sent it.
    pub boot: BootId,
    /// The address from which it was sent.
    pub at: SocketAddr,
}

/// The receiving half.
pub struct Inbox {
    shared: Arc<Shared>,
}

/// The state that sending, receiving and the tasks share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) sealer: Sealer,
    pub(crate) counters: Counters,
    pub(crate) routes: Mutex<Routes>,
    /// Lock order: `outgoing` before `paths`.
    pub(crate) outgoing: Mutex<FragmentSender>,
    pub(crate) paths: Mutex<Paths>,
    pub(crate) held: Mutex<DelayQueue>,
    /// The buffer in which messages are encoded, kept for reuse.
    pub(crate) scratch: Mutex<Vec<u8>>,
    pub(crate) local: SocketAddr,
    socket: std::net::UdpSocket,
    /// The state for receiving.
    state: UdpSocketState,
    /// The state for sending. It caches that the system refuses batches, and that finding may be
    /// wrong.
    sending: RwLock<UdpSocketState>,
    queue: Mutex<SendQueue>,
    /// Whether the queue holds any batch; readable without a lock.
    queued: AtomicBool,
    arrived: Mutex<Arrived>,
    arrival: Notify,
    /// When the second task wakes by itself.
    alarm: Mutex<Option<Instant>>,
    wake: Notify,
    /// Wakes the owner that serves the socket.
    call: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Endpoint {
    /// Opens the socket. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If a setting is invalid, or the socket cannot be opened, most often because the address is
    /// in use.
    pub async fn bind(config: Config) -> io::Result<(Self, Inbox)> {
        let shared = Arc::new(Shared::new(config)?);
        let socket = Arc::new(UdpSocket::from_std(shared.socket.try_clone()?)?);
        let tasks = vec![
            tokio::spawn(read(Arc::clone(&shared), Arc::clone(&socket))),
            tokio::spawn(serve_timers(Arc::clone(&shared), socket)),
        ];
        let inbox = Inbox {
            shared: Arc::clone(&shared),
        };
        let inner = Arc::new(Inner { shared, tasks });
        Ok((Self { inner }, inbox))
    }

    /// Opens the socket for an owner that serves it: the owner polls it for readiness and runs its
    /// timers. Needs no runtime.
    ///
    /// # Errors
    /// See [`Self::bind`].
    pub fn open(config: Config) -> io::Result<(Self, Socket)> {
        let shared = Arc::new(Shared::new(config)?);
        let socket = Socket::new(Arc::clone(&shared));
        let tasks = Vec::new();
        let inner = Arc::new(Inner { shared, tasks });
        Ok((Self { inner }, socket))
    }

    /// The local address of the socket.
    ///
    /// # Errors
    /// If the system cannot return it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.shared.socket.local_addr()
    }

    /// Configures the address of a process. Repeating the same address has no effect.
    pub fn set_peer(&self, address: Address, at: SocketAddr) {
        self.set_peer_addresses(address, &[at]);
    }

    /// Configures several addresses of a process. Messages go to each address in turn, in this
    /// order and cyclically, until one answers.
    pub fn set_peer_addresses(&self, address: Address, at: &[SocketAddr]) {
        self.inner.shared.tell(address, at);
    }

    /// The address to which messages for a process are sent, if it is known.
    pub fn route_to(&self, address: Address) -> Option<SocketAddr> {
        lock(&self.inner.shared.routes).find(address, Instant::now())
    }

    /// Whether messages to a process go to a configured address, or to an address learned from a
    /// datagram under a key. Without keys, any sender can impersonate a process that has no
    /// configured address.
    pub fn has_trusted_route(&self, address: Address) -> bool {
        let shared = &self.inner.shared;
        let mut routes = lock(&shared.routes);
        let is_insecure = shared.config.keys.are_insecure();
        if is_insecure && !routes.is_listed(address) {
            return false;
        }
        routes.find(address, Instant::now()).is_some()
    }

    /// Restricts learning of a process's address to the datagrams of this run, or of no run if
    /// `run` is `None`. `at` is the address of that run, if a datagram from it was received. Before
    /// the first call, the latest run is followed.
    pub fn follow(&self, address: Address, run: Option<BootId>, at: Option<SocketAddr>) {
        let is_authentic = self.is_authentic();
        let mut routes = lock(&self.inner.shared.routes);
        routes.follow(address, run, at, is_authentic, Instant::now());
    }

    /// Whether datagrams between servers are sealed, so that no other process can forge their
    /// contents.
    pub fn is_authentic(&self) -> bool {
        !self.inner.shared.config.keys.are_insecure()
    }

    /// The source address of the last datagram from a process, if its address is learned from
    /// datagrams.
    pub fn heard_at(&self, address: Address) -> Option<SocketAddr> {
        lock(&self.inner.shared.routes).heard_at(address)
    }

    /// The configured addresses of a process.
    pub fn configured_addresses(&self, address: Address) -> Vec<SocketAddr> {
        lock(&self.inner.shared.routes).told(address).to_vec()
    }

    /// The maximum datagram size to this process, in bytes, according to the current path MTU
    /// estimate.
    pub fn datagram_size(&self, address: Address) -> usize {
        let at = self.route_to(address);
        lock(&self.inner.shared.paths).size_to(at)
    }

    /// The maximum datagram size to each process with a configured address.
    pub fn datagram_sizes(&self) -> Vec<(Address, usize)> {
        let listed = lock(&self.inner.shared.routes).listed().to_vec();
        let with_size = |address| (address, self.datagram_size(address));
        listed.into_iter().map(with_size).collect()
    }

    /// Resolves `HOST:PORT` until the result has addresses that this socket can reach. Container
    /// names appear late, so it retries without limit: apply a timeout, or run it in a task.
    pub async fn resolve(&self, host_port: &str) -> Vec<SocketAddr> {
        resolve::resolve(self.inner.shared.local, host_port).await
    }

    /// Sends messages, batching those for the same destination. Never blocks: messages that the
    /// socket cannot accept now are queued, and dropped if the queue is full.
    pub fn send(&self, envelopes: Vec<Envelope>) {
        self.inner.shared.send(envelopes, None);
    }

    /// Sends messages to this address, ignoring the routes of their receivers.
    pub fn send_to(&self, at: SocketAddr, envelopes: Vec<Envelope>) {
        self.inner.shared.send(envelopes, Some(at));
    }

    /// The listed processes whose datagrams come from the configured address of another process.
    /// The configured list is wrong.
    pub fn misplaced(&self) -> Vec<Misplaced> {
        lock(&self.inner.shared.routes).misplaced(Instant::now())
    }

    /// The counters of messages sent, received and dropped.
    pub fn counters(&self) -> &Counters {
        &self.inner.shared.counters
    }
}

impl Inbox {
    /// Returns the messages received since the last call, at least one, or `None` once the endpoint
    /// is closed. Cancel safe: no message is lost if the future is dropped.
    pub async fn receive(&mut self) -> Option<Vec<Envelope>> {
        loop {
            let all = lock(&self.shared.arrived).take()?;
            if !all.is_empty() {
                return Some(all.into_iter().map(|message| message.envelope).collect());
            }
            self.shared.arrival.notified().await;
        }
    }
}

impl Shared {
    fn new(config: Config) -> io::Result<Self> {
        config
            .check()
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let boot = match config.boot {
            Some(boot) => boot,
            None => new_boot().map_err(KeyError::into_io)?,
        };
        let sealer = Sealer::new(&config.cluster, config.voters, boot, &config.keys);
        if config.keys.are_insecure() {
            tracing::warn!(
                listen = %config.listen,
                "datagrams are not sealed: whoever reaches this socket can speak for anyone"
            );
        }
        let socket = open(config.listen)?;
        let state = UdpSocketState::new((&socket).into())?;
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let local = socket.local_addr()?;
        let sending = RwLock::new(UdpSocketState::new((&socket).into())?);
        let shared = Self {
            sealer,
            counters: Counters::new(),
            routes: Mutex::new(Routes::new(config.learned_routes)),
            outgoing: Mutex::new(FragmentSender::new(config.max_bulk)),
            paths: Mutex::new(Paths::new(config.max_datagram)),
            held: Mutex::new(DelayQueue::default()),
            scratch: Mutex::default(),
            local,
            state,
            sending,
            queue: Mutex::new(SendQueue::new(config.send_queue)),
            queued: AtomicBool::new(false),
            arrived: Mutex::new(Arrived::new(config.inbox, INBOX_BYTES)),
            arrival: Notify::new(),
            alarm: Mutex::new(None),
            wake: Notify::new(),
            call: OnceLock::new(),
            socket,
            config,
        };
        for (address, at) in &shared.config.peers {
            shared.tell(*address, &[*at]);
        }
        Ok(shared)
    }

    fn tell(&self, address: Address, at: &[SocketAddr]) {
        let reachable = at
            .iter()
            .filter_map(|at| resolve::reachable_from(self.local, *at));
        let reachable = Vec::from_iter(reachable);
        if reachable.is_empty() {
            tracing::warn!(
                %address, ?at, local = %self.local,
                "this socket cannot reach that address: listen on [::] to reach both kinds"
            );
        }
        lock(&self.routes).tell(address, reachable);
    }

    /// Puts messages into the inbox, each with its encoded length. Callable from any thread.
    pub(crate) fn deliver(&self, messages: impl IntoIterator<Item = (Received, usize)>) {
        let mut all = 0;
        let mut refused = 0;
        {
            let mut arrived = lock(&self.arrived);
            for (message, bytes) in messages {
                all += 1;
                refused += usize::from(!arrived.push(message, bytes));
            }
        }
        if all > 0 {
            self.arrival.notify_one();
        }
        self.counters.add(Count::MessagesReceived, all - refused);
        self.counters.drop(
            Cause::InboxFull,
            refused,
            format_args!("messages arrive faster than they are taken"),
        );
    }

    /// How many datagrams one system call can send.
    pub(crate) fn segments(&self) -> usize {
        self.sending().max_gso_segments()
    }

    fn sending(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.sending.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resets the cached finding that the system refuses batches: they were only too long.
    fn send_batches_again(&self) {
        if let Ok(state) = UdpSocketState::new((&self.socket).into()) {
            let mut sending = self.sending.write().unwrap_or_else(PoisonError::into_inner);
            *sending = state;
        }
    }

    /// Sends a batch now if the socket accepts it, and queues it otherwise.
    pub(crate) fn transmit(&self, batch: Batch) {
        if self.queued.load(Ordering::Acquire) {
            return self.enqueue(batch);
        }
        if let Err(rest) = self.try_transmit(batch) {
            self.enqueue(rest);
        }
    }

    fn enqueue(&self, batch: Batch) {
        let mut queue = lock(&self.queue);
        let pushed = queue.push(batch);
        self.queued.store(!queue.is_empty(), Ordering::Release);
        drop(queue);
        match pushed {
            Ok(()) => self.wake.notify_one(),
            Err(batch) => self.counters.drop(
                Cause::SendQueueFull,
                batch.datagrams(),
                format_args!(
                    "{} bytes for {} found no room",
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
            let transmit = Transmit {
                destination: batch.to.0,
                ecn: None,
                contents: &batch.bytes[..length],
                segment_size: Some(batch.segment),
                src_ip: None,
            };
            let datagrams = length.div_ceil(batch.segment);
            let sent = self.sending().try_send((&self.socket).into(), &transmit);
            match sent {
                Ok(()) => {
                    self.counters.add(Count::SendCalls, 1);
                    self.counters.add(Count::DatagramsSent, datagrams);
                    self.counters.add(Count::BytesSent, length);
                }
                Err(error) => match Refusal::of(&error) {
                    Refusal::Full => return Err(batch),
                    Refusal::TooLong => {
                        if batches_failed {
                            // Some kernels return EINVAL for a batch of datagrams that are too
                            // long.
                            self.send_batches_again();
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
                    Refusal::Pending if pending => {
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
    fn refused(&self, refusal: Refusal, error: &io::Error, to: SocketAddr, datagrams: usize) {
        let (cause, advice) = match refusal {
            Refusal::NoRoute => {
                lock(&self.routes).unreachable(to);
                (
                    Cause::Unreachable,
                    "check the routes and the interfaces of this machine",
                )
            }
            Refusal::Filtered => (
                Cause::Filtered,
                "a packet filter on this machine forbids it: check its output rules",
            ),
            Refusal::NoBuffers => (Cause::NoBuffers, "the system is short of memory"),
            _ => (Cause::SendFailed, "it will be tried again"),
        };
        let about = format_args!("cannot send to {to}: {error}; {advice}");
        self.counters.drop(cause, datagrams, about);
    }

    /// Sends queued batches. Returns whether the socket accepted all batches offered.
    pub(crate) fn flush(&self) -> bool {
        let mut taken = true;
        for _ in 0..FLUSH {
            let Some(batch) = lock(&self.queue).pop() else {
                break;
            };
            if let Err(rest) = self.try_transmit(batch) {
                lock(&self.queue).put_back(rest);
                taken = false;
                break;
            }
        }
        let queue = lock(&self.queue);
        self.queued.store(!queue.is_empty(), Ordering::Release);
        taken
    }

    /// Whether any batch waits for the socket.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }

    pub(crate) fn socket(&self) -> (&std::net::UdpSocket, &UdpSocketState) {
        (&self.socket, &self.state)
    }

    /// Removes and returns the received messages.
    pub(crate) fn take_arrived(&self) -> Vec<Received> {
        lock(&self.arrived).take().unwrap_or_default()
    }

    /// Sets the function that wakes the owner that serves the socket.
    pub(crate) fn set_waker(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.call.set(call);
    }

    /// Wakes the owner that serves the socket, if there is one. Threads of this crate call it after
    /// they delivered a message.
    pub(crate) fn wake_owner(&self) {
        if let Some(call) = self.call.get() {
            call();
        }
    }

    /// The deadline of the next timer.
    pub(crate) fn due(&self) -> Option<Instant> {
        *lock(&self.alarm)
    }

    /// Makes sure that the second task wakes by this time. Callable from any thread.
    pub(crate) fn wake_by(&self, due: Option<Instant>) {
        let Some(due) = due else {
            return;
        };
        let mut alarm = lock(&self.alarm);
        if alarm.is_none_or(|at| due < at) {
            *alarm = Some(due);
            self.wake.notify_one();
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant) {
        let (mut out, mut direct, mut arrive) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut held = lock(&self.held);
            while let Some((way, envelope)) = held.pop(now) {
                match way {
                    Way::Out(None) => out.push(envelope),
                    Way::Out(Some(at)) => direct.push((at, envelope)),
                    Way::In(boot, at) => arrive.push((Received { envelope, boot, at }, 0)),
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
        let mut alarm = lock(&self.alarm);
        let held = lock(&self.held).deadline();
        let fragments = lock(&self.outgoing).deadline();
        let probes = lock(&self.paths).deadline();
        *alarm = held.into_iter().chain(fragments).chain(probes).min();
        *alarm
    }
}

fn open(listen: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if listen.is_ipv6() {
        // [::] accepts IPv4 as well, regardless of the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into()).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on UDP {listen}: {error}"),
        )
    })?;
    Ok(socket.into())
}

/// The reason why the system did not send a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
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

impl Refusal {
    fn of(error: &io::Error) -> Self {
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
}

/// The first task: reads datagrams from the socket for as long as the endpoint lives.
async fn read(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut reader = Reader::new(&shared);
    loop {
        let received = socket
            .async_io(Interest::READABLE, || {
                reader.receive(&shared.state, (&shared.socket).into())
            })
            .await;
        match received {
            Ok(calls) => reader.process(&shared, calls),
            Err(error) => {
                shared
                    .counters
                    .drop(Cause::ReceiveFailed, 1, format_args!("{error}"));
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
    }
}

/// The second task: sends queued batches and runs timers.
async fn serve_timers(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    loop {
        let due = shared.set_alarm();
        let queued = shared.is_queued();
        let alarm = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = alarm => shared.tick(Instant::now()),
            writable = socket.writable(), if queued => {
                if writable.is_ok() {
                    // Reports a full socket to the runtime, so that it waits for writability.
                    let _ = socket.try_io(Interest::WRITABLE, || {
                        let taken = shared.flush();
                        taken.then_some(()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
                    });
                }
                // The socket may stay writable: give other tasks a turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn errors_of_sending_are_told_apart() {
        for (errno, refusal) in [
            (Errno::AGAIN, Refusal::Full),
            (Errno::MSGSIZE, Refusal::TooLong),
            (Errno::NETUNREACH, Refusal::NoRoute),
            (Errno::HOSTUNREACH, Refusal::NoRoute),
            (Errno::NETDOWN, Refusal::NoRoute),
            (Errno::PERM, Refusal::Filtered),
            (Errno::ACCESS, Refusal::Filtered),
            (Errno::NOBUFS, Refusal::NoBuffers),
            (Errno::NOMEM, Refusal::NoBuffers),
            (Errno::CONNREFUSED, Refusal::Pending),
            (Errno::INVAL, Refusal::Other),
        ] {
            assert_eq!(Refusal::of(&errno.into()), refusal, "{errno}");
        }
    }
}
