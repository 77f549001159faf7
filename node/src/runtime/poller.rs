//! The poller: waits for datagrams, the timer, or an explicit wake-up.
//!
//! Several threads may wait at once, and each event wakes one of them. After an event of the
//! socket, no thread is woken for it until it is [armed](Poller::listen) again: datagrams that
//! arrive while that thread is busy wake no other one.
//!
//! It uses `epoll` in one-shot and edge-triggered mode, so a server runs on Linux only.

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fd::{AsFd, OwnedFd},
    io,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{
    sync::Arc,
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

const SOCKET: u64 = 0;
const TIMER: u64 = 1;
const WAKER: u64 = 2;

/// The poller; see the module documentation.
pub(crate) struct Poller {
    epoll: OwnedFd,
    clock: OwnedFd,
    waker: Waker,
}

/// Wakes one of the waiting threads, or the next one that waits.
struct EventFd(OwnedFd);

impl Wake for EventFd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The write fails only if the eventfd counter is full, and then the eventfd is readable
        // anyway.
        let _ = io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// The reason for a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakeup {
    /// The socket is ready. It causes no further wake-up until [`Poller::listen`].
    Socket,
    /// The timer fired, or the [waker](Poller::waker) was used.
    Otherwise,
}

impl Poller {
    /// Creates a poller without a socket.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64;
        epoll::add(&epoll, &clock, data(TIMER), edge)?;
        epoll::add(&epoll, &waker, data(WAKER), edge)?;
        Ok(Self {
            epoll,
            clock,
            waker: Arc::new(EventFd(waker)).into(),
        })
    }

    /// Adds the socket. It causes no wake-up until [`Self::listen`].
    pub(crate) fn add(&self, socket: impl AsFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(SOCKET);
        epoll::add(&self.epoll, socket, data, epoll::EventFlags::ONESHOT)
    }

    /// Wakes one of the waiting threads, or the next one that waits.
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Arms the socket: the next time it is readable, one waiting thread wakes. With `to_write`,
    /// also when it is writable.
    pub(crate) fn listen(&self, socket: impl AsFd, to_write: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        flags.set(epoll::EventFlags::OUT, to_write);
        epoll::modify(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(SOCKET),
            flags,
        )
    }

    /// Arms the timer. Replaces its former setting.
    pub(crate) fn arm_timer(&self, after: Duration) -> io::Result<()> {
        // Zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(after).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            }),
        };
        timerfd_settime(&self.clock, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// Waits for an event: busy polls until `awake`, then sleeps.
    pub(crate) fn wait(&self, awake: Option<Instant>) -> io::Result<Wakeup> {
        while awake.is_some_and(|end| Instant::now() < end) {
            if let Some(woken) = self.poll_once(Some(&Timespec::default()))? {
                return Ok(woken);
            }
            // Gives other threads a chance to run.
            thread::yield_now();
        }
        let woken = self.poll_once(None)?;
        Ok(woken.unwrap_or(Wakeup::Otherwise))
    }

    /// The next event, or `None` if none occurs within this time.
    fn poll_once(&self, within: Option<&Timespec>) -> io::Result<Option<Wakeup>> {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(WAKER),
        }];
        match epoll::wait(&self.epoll, &mut events[..], within) {
            Ok(0) | Err(io::Errno::INTR) => Ok(None),
            Ok(_) if events[0].data.u64() == SOCKET => Ok(Some(Wakeup::Socket)),
            Ok(_) => Ok(Some(Wakeup::Otherwise)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::UdpSocket,
        path::Path,
        sync::mpsc::{Receiver, channel},
    };

    /// Starts two waiting threads. Returns the channel of their wake-ups.
    fn two(poller: &Arc<Poller>) -> Receiver<Wakeup> {
        let (sender, received) = channel();
        for _ in 0..2 {
            let (poller, sender) = (Arc::clone(poller), sender.clone());
            thread::spawn(move || while sender.send(poller.wait(None).unwrap()).is_ok() {});
        }
        received
    }

    #[test]
    fn datagrams_wake_one_thread_once_until_rearmed() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let poller = Arc::new(Poller::new().unwrap());
        poller.add(&socket).unwrap();
        let received = two(&poller);
        socket.send_to(&[1], at).unwrap();
        poller.waker().wake();
        assert_eq!(
            received.recv().unwrap(),
            Wakeup::Otherwise,
            "not listening yet"
        );
        poller.listen(&socket, false).unwrap();
        assert_eq!(received.recv().unwrap(), Wakeup::Socket);
        // The socket is not armed, so neither the pending nor the new datagram wakes a thread.
        socket.send_to(&[2], at).unwrap();
        poller.waker().wake();
        assert_eq!(received.recv().unwrap(), Wakeup::Otherwise);
        assert!(received.try_recv().is_err());
        poller.listen(&socket, false).unwrap();
        assert_eq!(
            received.recv().unwrap(),
            Wakeup::Socket,
            "two are still there"
        );
        let mut buffer = [0];
        for expected in [1, 2] {
            socket.recv(&mut buffer).unwrap();
            assert_eq!(buffer[0], expected);
        }
        poller.listen(&socket, false).unwrap();
        poller.waker().wake();
        assert_eq!(
            received.recv().unwrap(),
            Wakeup::Otherwise,
            "nothing is there"
        );
        poller.listen(&socket, true).unwrap();
        assert_eq!(
            received.recv().unwrap(),
            Wakeup::Socket,
            "it can be written to"
        );
    }

    #[test]
    fn busy_poller_gets_the_same_events_and_sleeps_afterwards() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&socket).unwrap();
        let far = Some(Instant::now() + Duration::from_secs(3600));
        poller.listen(&socket, false).unwrap();
        socket.send_to(&[1], at).unwrap();
        assert_eq!(poller.wait(far).unwrap(), Wakeup::Socket);
        poller.arm_timer(Duration::from_millis(1)).unwrap();
        assert_eq!(poller.wait(far).unwrap(), Wakeup::Otherwise);
        poller.waker().wake();
        assert_eq!(poller.wait(far).unwrap(), Wakeup::Otherwise);
        thread::scope(|scope| {
            let (sender, received) = channel();
            let poller = &poller;
            scope.spawn(move || {
                sender
                    .send(std::fs::read_link("/proc/thread-self").unwrap())
                    .unwrap();
                let soon = Instant::now() + Duration::from_millis(1);
                assert_eq!(poller.wait(Some(soon)).unwrap(), Wakeup::Otherwise);
            });
            let stat = Path::new("/proc")
                .join(received.recv().unwrap())
                .join("stat");
            let begun = Instant::now();
            while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
                assert!(begun.elapsed() < Duration::from_secs(60), "still awake");
                thread::yield_now();
            }
            poller.waker().wake();
        });
    }

    #[test]
    fn clock_goes_off_not_before_its_time_and_can_be_set_earlier() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&socket).unwrap();
        let begun = Instant::now();
        poller.arm_timer(Duration::from_secs(3600)).unwrap();
        poller.arm_timer(Duration::from_millis(20)).unwrap();
        assert_eq!(poller.wait(None).unwrap(), Wakeup::Otherwise);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        poller.arm_timer(Duration::ZERO).unwrap();
        assert_eq!(poller.wait(None).unwrap(), Wakeup::Otherwise);
        poller.arm_timer(Duration::MAX).unwrap();
        poller.waker().wake();
        assert_eq!(poller.wait(None).unwrap(), Wakeup::Otherwise);
    }
}
