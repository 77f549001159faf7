//! Timer deadlines. The core decides which timers to arm; this module draws their durations.

use model::{Role, Term, Timer};
use rand::{RngExt as _, rngs::StdRng};
use std::time::{Duration, Instant};

/// The maximum factor by which a candidate's election timeout is multiplied.
const MOST_BACKOFF: u32 = 8;

/// The timers of one server. Initially the heartbeat, election and quorum timers are armed.
pub(crate) struct Timers {
    heartbeat_every: Duration,
    election_min: Duration,
    election_max: Duration,
    heartbeat: Instant,
    election: Option<Instant>,
    quorum: Option<Instant>,
    /// The number of consecutive elections that this server took part in as a candidate without any
    /// leader being elected, and the term of the last one.
    lost: u32,
    ran_in: Term,
    is_candidate: bool,
}

impl Timers {
    pub(crate) fn new(
        heartbeat_every: Duration,
        election_min: Duration,
        election_max: Duration,
        now: Instant,
        random: &mut StdRng,
    ) -> Self {
        let mut timers = Self {
            heartbeat_every,
            election_min,
            election_max,
            heartbeat: now + heartbeat_every,
            election: None,
            quorum: None,
            lost: 0,
            ran_in: Term::ZERO,
            is_candidate: false,
        };
        timers.arm(Timer::Election, now, random);
        timers.arm(Timer::Quorum, now, random);
        timers
    }

    /// Records the outcome of elections; called before timers are armed. A vote needs a sync of the
    /// voter's disk, which may be slower than the election timeout. From the third consecutive
    /// candidacy on, a candidate therefore backs off exponentially, up to [`MOST_BACKOFF`] times
    /// its timeout, until votes have time to arrive.
    pub(crate) fn note_role(&mut self, role: &Role, term: Term) {
        self.is_candidate = matches!(role, Role::Candidate(_));
        match role {
            Role::Candidate(_) if term > self.ran_in => {
                self.ran_in = term;
                self.lost += 1;
            }
            Role::Leader(_)
            | Role::Follower {
                leader: Some(_), ..
            } => self.lost = 0,
            _ => {}
        }
    }

    /// The current backoff factor of the election timeout.
    fn backoff(&self) -> u32 {
        if !self.is_candidate {
            return 1;
        }
        let doublings = self.lost.saturating_sub(2).min(MOST_BACKOFF.ilog2());
        1 << doublings
    }

    /// Restarts a timer.
    pub(crate) fn arm(&mut self, timer: Timer, now: Instant, random: &mut StdRng) {
        match timer {
            Timer::Heartbeat => self.heartbeat = now + self.heartbeat_every,
            Timer::Quorum => self.quorum = Some(now + self.election_min),
            Timer::Election => {
                let spread = self.election_max - self.election_min;
                let more = spread.mul_f64(share_of(random.random()));
                self.election = Some(now + (self.election_min + more) * self.backoff());
            }
        }
    }

    /// The longest election timeout of a server that is not a candidate.
    pub(crate) fn election_max(&self) -> Duration {
        self.election_max
    }

    /// The interval of heartbeats.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat_every
    }

    /// Whether a leader that was silent for this long has missed its heartbeats.
    pub(crate) fn is_silence(&self, silence: Duration) -> bool {
        silence >= self.heartbeat_every * 2
    }

    /// Shortens the election timeout to a random time within two heartbeats. Returns false if it
    /// expires within that time anyway. The other servers may need one heartbeat to detect the
    /// same, and only one of them should request votes first.
    pub(crate) fn hasten_election(&mut self, now: Instant, random: &mut StdRng) -> bool {
        let within = self.heartbeat_every * 2;
        let is_later = |due: Instant| due > now + within;
        if !self.election.is_some_and(is_later) {
            return false;
        }
        self.election = Some(now + within.mul_f64(random.random()));
        true
    }

    /// The deadline of the next timer.
    pub(crate) fn next(&self) -> Instant {
        let others = [self.election, self.quorum];
        others
            .into_iter()
            .flatten()
            .fold(self.heartbeat, Instant::min)
    }

    /// Whether the heartbeat timer is due. Restarts it if so.
    pub(crate) fn take_heartbeat(&mut self, now: Instant) -> bool {
        let due = self.heartbeat <= now;
        if due {
            self.heartbeat = now + self.heartbeat_every;
        }
        due
    }

    /// Whether the quorum timer is due. Disarms it if so.
    pub(crate) fn take_quorum(&mut self, now: Instant) -> bool {
        take(&mut self.quorum, now)
    }

    /// Whether the election timer is due. Disarms it if so.
    pub(crate) fn take_election(&mut self, now: Instant) -> bool {
        take(&mut self.election, now)
    }
}

/// The fraction of the spread between the shortest and the longest election timeout, from a uniform
/// random number between 0 and 1. Without a leader the first server to time out determines how long
/// the cluster waits, and two that time out within one round trip split the vote. The square makes
/// short timeouts likely and keeps them apart (ADR 15).
fn share_of(drawn: f64) -> f64 {
    drawn * drawn
}

fn take(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|due| *due <= now).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Config, Durable, Event, NodeId, Raft};
    use rand::SeedableRng as _;

    #[test]
    fn candidate_that_nobody_answers_in_time_waits_longer_each_time() {
        let mut config = Config::production((1..=3).map(NodeId::new).collect());
        config.pre_vote = false;
        let mut raft = Raft::recover(NodeId::new(1), config, Durable::default());
        let (min, max) = (Duration::from_millis(1000), Duration::from_millis(1000));
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut timers = Timers::new(Duration::from_millis(100), min, max, now, &mut random);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let effects = raft.step(Event::ElectionTimeout);
            let written = effects.write.expect("its own vote").id;
            raft.step(Event::Persisted(written));
            timers.note_role(raft.role(), raft.current_term());
            timers.arm(Timer::Election, now, &mut random);
            let due = timers.election.expect("it was armed");
            waits.push((due - now).as_secs());
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 8, 8]);
        // Another server becomes leader.
        let heartbeat = model::AppendEntriesRequest {
            term: raft.current_term(),
            prev_log_index: model::LogIndex::ZERO,
            prev_log_term: Term::ZERO,
            entries: Vec::new(),
            leader_commit: model::LogIndex::ZERO,
            read_round: 0,
        };
        raft.step(Event::Receive {
            from: model::Address::Node(NodeId::new(2)),
            message: model::Message::AppendEntriesRequest(heartbeat),
        });
        timers.note_role(raft.role(), raft.current_term());
        assert_eq!((timers.lost, timers.backoff()), (0, 1));
    }

    #[test]
    fn election_timeout_lies_within_its_bounds_and_mostly_in_their_lower_half() {
        let (min, max) = (Duration::from_millis(1000), Duration::from_millis(2000));
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut timers = Timers::new(Duration::from_millis(100), min, max, now, &mut random);
        let mut low = 0;
        for _ in 0..1000 {
            timers.arm(Timer::Election, now, &mut random);
            let due = timers.election.expect("it was armed");
            assert!((now + min..=now + max).contains(&due));
            low += u32::from(due < now + (min + max) / 2);
        }
        // Of 1000 squares of uniform random numbers, 707 on average are below one half, with a
        // standard deviation of 14. Without the square, 500 would be.
        assert!((600..800).contains(&low), "{low} of 1000");
    }
}
