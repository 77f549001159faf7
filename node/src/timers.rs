//! When timers fire. The core says which to arm, this draws for how long.

use model::Timer;
use std::time::{Duration, Instant};

/// The timers of one server. A new one has its heartbeat, election and quorum timers armed.
pub(crate) struct Timers {
    heartbeat_every: Duration,
    election_min: Duration,
    election_max: Duration,
    heartbeat: Instant,
    election: Option<Instant>,
    quorum: Option<Instant>,
}

impl Timers {
    pub(crate) fn new(
        heartbeat_every: Duration,
        election_min: Duration,
        election_max: Duration,
    ) -> Self {
        let now = Instant::now();
        let mut timers = Self {
            heartbeat_every,
            election_min,
            election_max,
            heartbeat: now + heartbeat_every,
            election: None,
            quorum: None,
        };
        timers.arm(Timer::Election);
        timers.arm(Timer::Quorum);
        timers
    }

    /// Starts a timer anew.
    pub(crate) fn arm(&mut self, timer: Timer) {
        let now = Instant::now();
        match timer {
            Timer::Heartbeat => self.heartbeat = now + self.heartbeat_every,
            Timer::Quorum => self.quorum = Some(now + self.election_min),
            Timer::Election => {
                let spread = (self.election_max - self.election_min).as_secs_f64();
                let more = Duration::from_secs_f64(spread * rand::random::<f64>());
                self.election = Some(now + self.election_min + more);
            }
        }
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Instant {
        let others = [self.election, self.quorum];
        others
            .into_iter()
            .flatten()
            .fold(self.heartbeat, Instant::min)
    }

    /// Whether the heartbeat timer is due. It runs again at once.
    pub(crate) fn take_heartbeat(&mut self, now: Instant) -> bool {
        let due = self.heartbeat <= now;
        if due {
            self.heartbeat = now + self.heartbeat_every;
        }
        due
    }

    /// Whether the quorum timer is due. It is then off.
    pub(crate) fn take_quorum(&mut self, now: Instant) -> bool {
        take(&mut self.quorum, now)
    }

    /// Whether the election timer is due. It is then off.
    pub(crate) fn take_election(&mut self, now: Instant) -> bool {
        take(&mut self.election, now)
    }
}

fn take(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|due| *due <= now).is_some()
}
