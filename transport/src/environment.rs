//! The environment of a process: its clock, its random numbers, its network and its background
//! threads.
//!
//! Two runs of a process with the same input can differ only in the values that these traits
//! return. [`Environment::system`] is the operating system. A simulation implements the traits
//! itself, and runs many processes on one thread, from one seed, in simulated time
//! ([ADR 27](../../docs/adr/0027-environment.md)).
//!
//! All calls are virtual. None is made more often than once per system call that the system's
//! implementation makes.

use quinn_udp::RecvMeta;
use std::{
    fmt::Debug,
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

/// The environment of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The source of the time.
    pub clock: Arc<dyn Clock>,
    /// The source of random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// The source of sockets.
    pub network: Arc<dyn Network>,
    /// The source of background threads.
    pub threads: Arc<dyn Threads>,
}

/// The time.
pub trait Clock: Debug + Send + Sync {
    /// The time now. It never decreases.
    fn now(&self) -> Instant;

    /// The time of the calendar. It may jump.
    fn calendar(&self) -> SystemTime;
}

/// Random numbers. Components draw ids and the seeds of their own generators.
pub trait Entropy: Debug + Send + Sync {
    /// Fills the buffer with random bytes.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The network.
pub trait Network: Debug + Send + Sync {
    /// Opens a socket at this address. Port 0 selects a free one.
    ///
    /// # Errors
    /// If the address cannot be bound, most often because it is in use.
    fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn DatagramSocket>>;

    /// The largest payload of a datagram that the kernel expects to reach `to` from a socket at
    /// `local`, in bytes. `None` if it has no estimate. Sends nothing.
    fn path_payload(&self, local: SocketAddr, to: SocketAddr) -> Option<usize>;

    /// Opens a separate socket that detects whether a process listens at `at`.
    ///
    /// # Errors
    /// If no socket is available, or there is no route.
    fn probe(&self, at: SocketAddr) -> io::Result<Box<dyn LivenessProbe>>;
}

/// A socket that detects whether a process listens at an address.
pub trait LivenessProbe: Debug + Send {
    /// Sends a datagram of one byte, which a live process drops.
    ///
    /// # Errors
    /// `ConnectionRefused` if ICMP reported that no process received an earlier datagram, or the
    /// system's error.
    fn send(&self) -> io::Result<()>;
}

/// Background threads.
pub trait Threads: Debug + Send + Sync {
    /// Runs a job on a thread of its own. A job ends by itself, and waits for no other thread. A
    /// simulation may therefore run it before this function returns.
    ///
    /// # Errors
    /// If the system starts no further thread. The job is dropped.
    fn spawn(&self, name: &str, job: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

/// A socket for datagrams. No call blocks.
pub trait DatagramSocket: Debug + Send + Sync {
    /// The local address.
    ///
    /// # Errors
    /// If the system cannot return it.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// How many datagrams one call of [`Self::send`] accepts; at least 1.
    fn max_segments(&self) -> usize {
        1
    }

    /// Sends datagrams of `segment` bytes each to one address. The last one may be shorter.
    ///
    /// # Errors
    /// `WouldBlock` if the socket accepts none now, or the system's error.
    fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()>;

    /// Resets [`Self::max_segments`], after [`Self::send`] had reduced it for a wrong reason.
    fn reset_segments(&self) {}

    /// Receives datagrams. Fills the buffers from the first on, each with datagrams of one sender,
    /// and describes their contents in `metas`. Returns the number of buffers filled.
    ///
    /// # Errors
    /// `WouldBlock` if no datagram has arrived, or the system's error.
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize>;

    /// Prepares the socket for the two functions below. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If the runtime cannot poll the socket.
    fn register(&self) -> io::Result<()> {
        Ok(())
    }

    /// [`Self::receive`], or a wake-up once a datagram has arrived. One task may wait.
    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// Whether [`Self::send`] may accept datagrams, or a wake-up once it may. One task may wait.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The descriptor, for owners that wait with `epoll`. `None` if it is no socket of the system.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Environment {
    /// Draws the seed of a component's own generator.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn seed(&self) -> io::Result<[u8; 32]> {
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed)?;
        Ok(seed)
    }
}
