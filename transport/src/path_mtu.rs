//! The size of datagrams on each path: packetization layer path MTU discovery (RFC 8899, RFC 9000
//! §14.3).
//!
//! A path is one receiver under one key. It starts at [`BASE`] bytes, which every IPv6 path
//! carries, and grows by probes: datagrams padded to the length under test, which the receiver
//! acknowledges. All lengths here are UDP payloads.
//!
//! Probes are sent in *rounds*: the length under test, and shorter ones beside it. A length failed
//! if it was not acknowledged in [`MAX_TRIES`] rounds in which a shorter one was. A round without
//! any acknowledgement provides no information about lengths: the receiver is down, or the path is cut.
//!
//! A *confirmation* tests the length in use while datagrams above [`FLOOR`] bytes are sent. If it
//! fails, the path has become a black hole for that length, and the greatest acknowledged length
//! replaces it. A *search* tests greater lengths, first the kernel's estimate, then by bisection.
//! It begins when there was more to send than fits in one datagram, so a path with little traffic
//! costs no probes.
//!
//! If the kernel refuses a datagram as too long, the path shrinks at once, without a round.
//!
//! This module reads no clock and sends nothing. The caller passes in the kernel's estimate. It
//! bounds the search, but it never takes a path below [`BASE`]: an ICMP message may be forged.
//!
//! Deliberate omissions: ICMP messages are not read (the kernel validates them and they reach this
//! module in its estimate), and congestion control is left to [`crate::fragment`].

use crate::config::FLOOR;
use model::wire::{BootId, KeyId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    time::Duration,
};
use tokio::time::Instant;

/// The receiver's address, and the key of its datagrams.
pub(crate) type Destination = (SocketAddr, KeyId);

/// The initial length of a path. With the headers of IPv6 and UDP, it takes 1,248 of the 1,280
/// bytes that every IPv6 path carries (`BASE_PLPMTU`, RFC 8899 §5.1.2).
pub(crate) const BASE: usize = 1_200;
/// The UDP payload of an Ethernet frame under IPv6: the first guess if the kernel has no estimate.
const ETHERNET: usize = 1_452;
/// A length failed after this many rounds (`MAX_PROBES`, RFC 8899 §5.1.2).
const MAX_TRIES: u32 = 3;
/// How many probes of a round are remembered: at least those of its last two tries.
const PROBES: usize = 6;
/// The search ends when the remaining range is smaller than this many bytes.
const STEP: usize = 16;
/// The minimum interval between confirmations, and between queries of the kernel's estimate.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// The delay before a failed length is tested again (`PMTU_RAISE_TIMER`; RFC 8899 suggests 600 s,
/// but a round costs little).
const RAISE_AFTER: Duration = Duration::from_secs(60);
/// The timeout of a probe before the round-trip time is known, and its bounds afterwards.
const TIMEOUT_FIRST: Duration = Duration::from_millis(100);
const TIMEOUT_LEAST: Duration = Duration::from_millis(50);
const TIMEOUT_MOST: Duration = Duration::from_secs(1);
/// The pause after rounds without any acknowledgement, initially and at most.
const SILENCE_FIRST: Duration = Duration::from_secs(1);
const SILENCE_MOST: Duration = Duration::from_secs(4);
/// The silence after which an earlier run of a peer may take over, because clocks may be set back.
const RUN_SILENCE: Duration = Duration::from_secs(30);
/// The maximum number of paths. The longest unused ones are evicted first.
const PATHS: usize = 4096;

/// A probe that the caller must send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeToSend {
    pub(crate) to: Destination,
    pub(crate) id: u64,
    /// The length of the datagram.
    pub(crate) length: usize,
}

/// A change of the datagram size on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) to: Destination,
    pub(crate) from: usize,
    pub(crate) size: usize,
    pub(crate) reason: Reason,
}

/// The reason for a change of the datagram size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A probe of that length was acknowledged.
    Probe,
    /// Datagrams of the former length are no longer acknowledged, while shorter ones are.
    BlackHole,
    /// The kernel refused a datagram, or lowered its estimate.
    Kernel,
    /// Another run of the peer answers at this address.
    NewRun,
}

/// All paths of an endpoint.
#[derive(Debug)]
pub(crate) struct Paths {
    /// The configured upper bound of the datagram size.
    limit: usize,
    paths: HashMap<Destination, Path>,
    /// The paths with a round in progress.
    active: BTreeSet<Destination>,
    /// The path of each outstanding probe.
    owners: BTreeMap<u64, Destination>,
    next_id: u64,
    changes: Vec<Change>,
}

impl Paths {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            paths: HashMap::new(),
            active: BTreeSet::new(),
            owners: BTreeMap::new(),
            next_id: 1,
            changes: Vec::new(),
        }
    }

    /// The current maximum size of a datagram on this path.
    pub(crate) fn size(&self, to: Destination) -> usize {
        let size = self.paths.get(&to).map(|path| path.size);
        size.unwrap_or(BASE.min(self.limit))
    }

    /// The maximum size to an address, under any key in use there. Returns the initial size if the
    /// address is not known.
    pub(crate) fn size_to(&self, at: Option<SocketAddr>) -> usize {
        let path = |key| self.paths.get(&(at?, key)).map(|path| path.size);
        let sizes = [KeyId::Cluster, KeyId::None, KeyId::Client].map(path);
        let known = sizes.into_iter().flatten().next();
        known.unwrap_or(BASE.min(self.limit))
    }

    /// Records that datagrams were sent to this receiver, the longest with length `longest`.
    /// `more`: there was more to send than fits in one datagram. Returns whether [`Self::poll`] has
    /// work to do.
    pub(crate) fn sent(
        &mut self,
        to: Destination,
        longest: usize,
        more: bool,
        now: Instant,
    ) -> bool {
        if longest <= FLOOR && !more {
            return false;
        }
        let path = self.path(to, now);
        path.used = now;
        path.wanted |= more;
        path.begins(now)
    }

    /// Records that fragments above [`FLOOR`] bytes to this receiver timed out. Returns whether
    /// [`Self::poll`] has work to do.
    pub(crate) fn suspect(&mut self, to: Destination, now: Instant) -> bool {
        let path = self.path(to, now);
        path.used = now;
        let recently = |at: Instant| now.duration_since(at) < CONFIRM_AFTER / 4;
        if path.round.is_none() && !path.confirmed.is_some_and(recently) {
            path.confirmed = None;
        }
        path.begins(now)
    }

    /// Records a datagram from this receiver and its run.
    pub(crate) fn heard(&mut self, from: Destination, boot: BootId, now: Instant) {
        let limit = self.limit;
        let Some(path) = self.paths.get_mut(&from) else {
            return;
        };
        let silent = now.duration_since(path.heard) >= RUN_SILENCE;
        path.retry_at = None;
        path.silence = SILENCE_FIRST;
        match path.boot {
            Some(known) if known == boot => path.heard = now,
            Some(known) if boot < known && !silent => {}
            None => (path.boot, path.heard) = (Some(boot), now),
            Some(_) => {
                let before = path.size;
                *path = Path::new(limit, now);
                path.boot = Some(boot);
                self.changed(from, before, Reason::NewRun);
                self.close(from);
            }
        }
    }

    /// Records the acknowledgement of a probe under this key. Returns the path if [`Self::poll`]
    /// has work to do for it.
    pub(crate) fn acknowledged(
        &mut self,
        key: KeyId,
        id: u64,
        length: usize,
        now: Instant,
    ) -> Option<Destination> {
        let to = *self.owners.get(&id)?;
        let path = self.paths.get_mut(&to).filter(|_| to.1 == key)?;
        let before = path.size;
        if !path.acknowledged(id, length, now) {
            return None;
        }
        let due = path.round.as_ref().is_some_and(|round| round.due) || path.begins(now);
        self.changed(to, before, Reason::Probe);
        self.close(to);
        due.then_some(to)
    }

    /// Records that the kernel refused a datagram of this length as too long. `link` is the
    /// kernel's estimate for the path. Returns whether shorter datagrams can be sent instead.
    pub(crate) fn refused(
        &mut self,
        to: Destination,
        length: usize,
        link: Option<usize>,
        now: Instant,
    ) -> bool {
        let path = self.path(to, now);
        path.used = now;
        let before = path.size;
        path.refused(length, link, now);
        let shorter = path.size < length;
        self.changed(to, before, Reason::Kernel);
        self.close(to);
        shorter
    }

    /// The probes to send now. `link` returns the kernel's estimate for a path.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        to: impl IntoIterator<Item = Destination>,
        mut link: impl FnMut(SocketAddr) -> Option<usize>,
    ) -> Vec<ProbeToSend> {
        let expired = |to: &Destination| {
            let round = self.paths.get(to).and_then(|path| path.round.as_ref());
            round.is_some_and(|round| round.expires <= now)
        };
        let mut all: BTreeSet<_> = self.active.iter().copied().filter(expired).collect();
        all.extend(to);
        let mut probes = Vec::new();
        for to in all {
            let Some(path) = self.paths.get_mut(&to) else {
                continue;
            };
            let before = path.size;
            let black_hole = path.expire(now);
            if black_hole {
                self.changed(to, before, Reason::BlackHole);
            }
            let Some(path) = self.paths.get_mut(&to) else {
                continue;
            };
            let before = path.size;
            let lengths = path.next_probes(now, || link(to.0));
            for length in lengths {
                let id = self.next_id;
                self.next_id += 1;
                path.note_probe(id, length, now);
                self.owners.insert(id, to);
                probes.push(ProbeToSend { to, id, length });
            }
            self.changed(to, before, Reason::Kernel);
            self.close(to);
        }
        probes
    }

    /// The deadline of the next call of [`Self::poll`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let rounds = self.active.iter().filter_map(|to| self.paths.get(to));
        let expires = |path: &Path| path.round.as_ref().map(|round| round.expires);
        rounds.filter_map(expires).min()
    }

    /// The changes since the last call.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn path(&mut self, to: Destination, now: Instant) -> &mut Path {
        if self.paths.len() >= PATHS && !self.paths.contains_key(&to) {
            self.forget();
        }
        let limit = self.limit;
        self.paths
            .entry(to)
            .or_insert_with(|| Path::new(limit, now))
    }

    fn changed(&mut self, to: Destination, from: usize, reason: Reason) {
        let size = self.size(to);
        if size != from {
            self.changes.push(Change {
                to,
                from,
                size,
                reason,
            });
        }
    }

    /// Updates `active` and `owners` after a path may have ended or changed its round.
    fn close(&mut self, to: Destination) {
        let round = self.paths.get(&to).and_then(|path| path.round.as_ref());
        if round.is_some() {
            self.active.insert(to);
        } else {
            self.active.remove(&to);
        }
        let under_way = |id: u64| round.is_some_and(|round| round.has(id));
        self.owners
            .retain(|id, owner| *owner != to || under_way(*id));
    }

    /// Evicts an eighth of the paths, the longest unused ones, so that not every new path costs a
    /// search.
    fn forget(&mut self) {
        let mut times: Vec<_> = self.paths.iter().map(|(to, of)| (of.used, *to)).collect();
        let nth = times.len() / 8;
        times.select_nth_unstable(nth);
        for (_, to) in times.drain(..=nth) {
            self.paths.remove(&to);
            self.close(to);
        }
    }
}

/// One path.
#[derive(Debug)]
struct Path {
    limit: usize,
    /// The length in use.
    size: usize,
    /// The smallest length that failed; `limit + 1` if none did.
    failed: usize,
    /// When `failed` is reset.
    forget_at: Option<Instant>,
    /// The kernel's estimate, and when it was queried.
    link: Option<usize>,
    link_at: Option<Instant>,
    /// When the length in use was last confirmed.
    confirmed: Option<Instant>,
    round: Option<Round>,
    /// There was more to send than fits in one datagram.
    wanted: bool,
    /// No round begins before this time, because nothing was acknowledged.
    retry_at: Option<Instant>,
    silence: Duration,
    round_trip: Option<Duration>,
    boot: Option<BootId>,
    heard: Instant,
    used: Instant,
}

/// A round of probes in progress.
#[derive(Debug)]
struct Round {
    /// The length under test.
    target: usize,
    /// The greatest length acknowledged in this round, 0 if none was.
    best: usize,
    /// The number of tries in which a shorter length was acknowledged, and of tries in which none
    /// was.
    tries: u32,
    silent: u32,
    /// Whether any probe of this try was acknowledged.
    answered: bool,
    probes: Vec<Sent>,
    expires: Instant,
    /// Whether the probes of this try still have to be sent.
    due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u64,
    length: usize,
    at: Instant,
}

impl Round {
    fn has(&self, id: u64) -> bool {
        self.probes.iter().any(|probe| probe.id == id)
    }
}

impl Path {
    fn new(limit: usize, now: Instant) -> Self {
        Self {
            limit,
            size: BASE.min(limit),
            failed: limit + 1,
            forget_at: None,
            link: None,
            link_at: None,
            confirmed: None,
            round: None,
            wanted: false,
            retry_at: None,
            silence: SILENCE_FIRST,
            round_trip: None,
            boot: None,
            heard: now,
            used: now,
        }
    }

    /// Whether a round begins now.
    fn begins(&self, now: Instant) -> bool {
        let paused = self.retry_at.is_some_and(|at| now < at);
        let searches = self.wanted && self.candidate().is_some();
        self.round.is_none() && !paused && (!self.is_fresh(now) || searches)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.confirmed
            .is_some_and(|at| now.duration_since(at) < CONFIRM_AFTER)
    }

    fn timeout(&self) -> Duration {
        let base = self.round_trip.map_or(TIMEOUT_FIRST, |of| of * 4);
        base.clamp(TIMEOUT_LEAST, TIMEOUT_MOST)
    }

    /// The greatest length that is worth a probe.
    fn top(&self) -> usize {
        let link = self.link.map_or(usize::MAX, |link| link.max(BASE));
        self.limit.min(self.failed - 1).min(link)
    }

    /// The next length that the search tests, if there is one.
    fn candidate(&self) -> Option<usize> {
        let top = self.top();
        if top <= self.size {
            return None;
        }
        let estimate = match self.link {
            Some(link) => link.max(BASE).min(self.limit),
            None => ETHERNET,
        };
        if self.size < estimate && estimate <= top {
            return Some(estimate);
        }
        // No length failed yet, so try the whole range.
        if self.failed > self.limit {
            return Some(top);
        }
        (top - self.size >= STEP).then(|| self.size + (top - self.size).div_ceil(2))
    }

    /// The lengths to probe now: for the try that is due, or for a round that begins.
    fn next_probes(&mut self, now: Instant, link: impl FnOnce() -> Option<usize>) -> Vec<usize> {
        if self.begins(now) {
            self.ask_kernel(now, link);
            self.begin(now);
        }
        let timeout = self.timeout();
        let size = self.size;
        let Some(round) = self.round.as_mut().filter(|round| round.due) else {
            return Vec::new();
        };
        round.due = false;
        round.answered = false;
        round.expires = now + timeout * 2_u32.pow(round.silent);
        if round.silent > 0 {
            // A silent receiver gets only the smallest probe: enough to detect that it is back.
            return vec![FLOOR.min(round.target)];
        }
        let mut lengths = vec![round.target];
        if round.target > size {
            lengths.push(size);
        } else {
            lengths.extend([BASE, FLOOR].into_iter().filter(|of| *of < size));
        }
        lengths
    }

    fn begin(&mut self, now: Instant) {
        if self.forget_at.is_some_and(|at| at <= now) {
            self.failed = self.limit + 1;
            self.forget_at = None;
        }
        let candidate = self.candidate().filter(|_| self.wanted);
        self.wanted = candidate.is_some();
        let target = match candidate {
            Some(candidate) if self.is_fresh(now) => candidate,
            _ => self.size,
        };
        self.round = Some(Round {
            target,
            best: 0,
            tries: 0,
            silent: 0,
            answered: false,
            probes: Vec::new(),
            expires: now,
            due: true,
        });
    }

    /// Queries the kernel's estimate, unless it was queried recently.
    fn ask_kernel(&mut self, now: Instant, link: impl FnOnce() -> Option<usize>) {
        let recently = |at: Instant| now.duration_since(at) < CONFIRM_AFTER;
        if self.link_at.is_some_and(recently) {
            return;
        }
        let before = self.link;
        self.link = link();
        self.link_at = Some(now);
        if let (Some(before), Some(link)) = (before, self.link)
            && link > before
        {
            // The route or the interface changed, so a length that failed may pass now.
            self.failed = self.limit + 1;
            self.wanted = true;
        }
        if let Some(link) = self.link
            && link.max(BASE) < self.size
        {
            self.size = link.max(BASE);
            self.confirmed = None;
        }
    }

    fn note_probe(&mut self, id: u64, length: usize, now: Instant) {
        if let Some(round) = &mut self.round {
            if round.probes.len() == PROBES {
                round.probes.remove(0);
            }
            round.probes.push(Sent {
                id,
                length,
                at: now,
            });
        }
    }

    /// Records an acknowledgement. Returns whether it changed anything.
    fn acknowledged(&mut self, id: u64, length: usize, now: Instant) -> bool {
        let Some(round) = &mut self.round else {
            return false;
        };
        // A proxy on the path may have truncated the datagram.
        let sent = |probe: &&Sent| probe.id == id && probe.length == length;
        let Some(probe) = round.probes.iter().find(sent).copied() else {
            return false;
        };
        round.answered = true;
        round.best = round.best.max(length);
        self.retry_at = None;
        self.silence = SILENCE_FIRST;
        let sample = now.duration_since(probe.at);
        self.round_trip = Some(match self.round_trip {
            None => sample,
            Some(smooth) => (smooth * 7 + sample) / 8,
        });
        if length >= self.size {
            self.confirmed = Some(now);
        }
        self.size = self.size.max(length);
        if length >= round.target {
            self.round = None;
        } else if round.silent > 0 && round.target > self.size && length < self.size {
            // The length in use was lost together with the longer one, and a short probe arrives:
            // the path may have shrunk during the search. A confirmation decides.
            self.round = None;
            self.confirmed = None;
        } else if round.silent > 0 {
            // The receiver answers again: repeat the whole round.
            round.silent = 0;
            round.due = true;
            round.expires = now;
        }
        true
    }

    /// Handles the timeout of a try. Returns whether the path turned out to be a black hole for the
    /// length in use.
    fn expire(&mut self, now: Instant) -> bool {
        let Some(round) = &mut self.round else {
            return false;
        };
        if round.expires > now || round.due {
            return false;
        }
        if round.answered {
            round.tries += 1;
        } else {
            round.silent += 1;
        }
        if round.silent >= MAX_TRIES {
            self.round = None;
            self.confirmed = None;
            self.retry_at = Some(now + self.silence);
            self.silence = (self.silence * 2).min(SILENCE_MOST);
            return false;
        }
        if round.tries < MAX_TRIES {
            round.due = true;
            return false;
        }
        let (target, best) = (round.target, round.best);
        self.round = None;
        self.failed = self.failed.min(target);
        self.forget_at = Some(now + RAISE_AFTER);
        if best >= self.size {
            // The search exceeded the path MTU; the length in use still passes.
            return false;
        }
        self.size = best.max(FLOOR.min(self.limit));
        self.confirmed = Some(now);
        self.wanted = true;
        true
    }

    fn refused(&mut self, length: usize, link: Option<usize>, now: Instant) {
        self.link = link;
        self.link_at = Some(now);
        let floor = FLOOR.min(self.limit);
        if length <= floor {
            return;
        }
        if length < self.failed {
            self.failed = length;
            self.forget_at = Some(now + RAISE_AFTER);
        }
        if self.size >= self.failed {
            let known = link.filter(|link| (floor..self.failed).contains(link));
            let base = (BASE < self.failed).then_some(BASE);
            self.size = known.or(base).unwrap_or(floor).min(self.size);
            self.confirmed = None;
        }
        let tests = |round: &Round| round.target >= self.failed;
        if self.round.as_ref().is_some_and(tests) {
            self.round = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 30_000;

    fn to() -> Destination {
        (([10, 0, 0, 1], 1).into(), KeyId::Cluster)
    }

    fn boot(started: u64) -> BootId {
        BootId { started, random: 1 }
    }

    /// A simulated path in virtual time, with its capacity, the MTU of its interface, and the
    /// lengths sent.
    struct Net {
        paths: Paths,
        now: Instant,
        /// The path loses longer datagrams.
        carries: usize,
        /// The kernel's estimate. It refuses longer datagrams.
        link: Option<usize>,
        round_trip: Duration,
        sent: Vec<usize>,
        reasons: Vec<Reason>,
    }

    impl Net {
        fn new(carries: usize, link: Option<usize>) -> Self {
            Self {
                paths: Paths::new(LIMIT),
                now: Instant::now(),
                carries,
                link,
                round_trip: Duration::from_millis(2),
                sent: Vec::new(),
                reasons: Vec::new(),
            }
        }

        /// Sends datagrams of the current size, with more data waiting. Returns whether they
        /// arrived.
        fn send(&mut self) -> bool {
            let length = self.paths.size(to());
            if self.paths.sent(to(), length, true, self.now) {
                self.poll(vec![to()]);
            }
            self.transmit(length)
        }

        fn transmit(&mut self, length: usize) -> bool {
            if self.link.is_some_and(|link| length > link) {
                let shorter = self.paths.refused(to(), length, self.link, self.now);
                assert!(shorter, "{length} bytes");
                self.poll(vec![to()]);
                return false;
            }
            length <= self.carries
        }

        fn poll(&mut self, due: Vec<Destination>) {
            let link = self.link;
            let probes = self.paths.poll(self.now, due, |_| link);
            let sent: Vec<_> = probes.iter().map(|of| (of.id, of.length)).collect();
            self.sent.extend(sent.iter().map(|of| of.1));
            let mut acknowledged = Vec::new();
            for (id, length) in sent {
                if self.transmit(length) {
                    acknowledged.push((id, length));
                }
            }
            if !acknowledged.is_empty() {
                self.now += self.round_trip;
            }
            for (id, length) in acknowledged {
                let key = KeyId::Cluster;
                if let Some(to) = self.paths.acknowledged(key, id, length, self.now) {
                    self.poll(vec![to]);
                }
            }
            self.reasons
                .extend(self.paths.changes().iter().map(|of| of.reason));
        }

        /// Advances the time, sending every 10 ms. Returns how many datagrams were lost.
        fn run(&mut self, time: Duration) -> usize {
            let end = self.now + time;
            let mut lost = 0;
            while self.now < end {
                self.now += Duration::from_millis(10);
                lost += usize::from(!self.send());
                if self.paths.deadline().is_some_and(|at| at <= self.now) {
                    self.poll(Vec::new());
                }
            }
            lost
        }

        fn size(&self) -> usize {
            self.paths.size(to())
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn path_begins_at_the_base_and_takes_the_kernels_estimate_at_once() {
        for (link, size) in [
            (65_507, LIMIT),
            (8_972, 8_972),
            (1_472, 1_472),
            (1_392, 1_392),
            (1_252, 1_252),
        ] {
            let mut net = Net::new(link, Some(link));
            assert_eq!(net.size(), BASE);
            assert_eq!(net.run(SECOND / 10), 0);
            assert_eq!(net.size(), size);
            // The confirmation of the base with the floor beside it, and one probe of the estimate.
            assert_eq!(net.sent, [BASE, FLOOR, size, BASE]);
        }
    }

    #[test]
    fn search_finds_a_bottleneck_behind_the_interface() {
        for carries in [1_252, 1_372, 1_392, 1_452, 8_000] {
            let mut net = Net::new(carries, Some(8_972));
            assert_eq!(net.run(10 * SECOND), 0, "no data is lost by a search");
            let found = net.size();
            assert!(
                found <= carries && carries - found < STEP,
                "{found} of {carries}"
            );
            assert!(!net.reasons.contains(&Reason::BlackHole));
            // The search is over: the remaining probes are confirmations.
            net.sent.clear();
            net.run(10 * SECOND);
            assert!(net.sent.iter().all(|length| *length <= found));
            assert!(net.sent.len() <= 33, "{:?}", net.sent);
        }
    }

    #[test]
    fn search_without_an_estimate_begins_with_ethernet() {
        let mut net = Net::new(1_472, None);
        net.run(5 * SECOND);
        assert!(net.sent.contains(&ETHERNET));
        assert!((1_472 - STEP..=1_472).contains(&net.size()));
    }

    #[test]
    fn black_hole_is_left_within_half_a_second_of_its_discovery() {
        let mut net = Net::new(1_472, Some(1_472));
        net.run(SECOND / 10);
        assert_eq!(net.size(), 1_472);
        net.carries = 1_392;
        let lost = net.run(5 * SECOND);
        assert!(net.reasons.contains(&Reason::BlackHole));
        // The interval between confirmations, plus three tries.
        assert!(lost <= 150, "{lost} datagrams lost");
        assert!(
            (1_392 - STEP..=1_392).contains(&net.size()),
            "{}",
            net.size()
        );
        assert_eq!(net.run(30 * SECOND), 0);
        // The path grows again, which the interface does not reveal. A later search finds it.
        net.carries = 1_472;
        assert_eq!(net.run(RAISE_AFTER), 0);
        assert_eq!(net.size(), 1_472);
    }

    #[test]
    fn path_that_shrinks_at_any_moment_of_a_search_is_no_black_hole_for_long() {
        for at in 0..120 {
            let mut net = Net::new(1_392, Some(1_472));
            net.run(at * SECOND / 100);
            net.carries = 1_100;
            net.run(5 * SECOND);
            assert!(net.size() <= 1_100, "shrunk after {at}0 ms: {}", net.size());
            assert_eq!(net.run(SECOND), 0, "shrunk after {at}0 ms");
        }
        // A longer length is tested again once a minute.
        for at in 0..110 {
            let mut net = Net::new(1_392, Some(1_472));
            net.run(RAISE_AFTER - 5 * SECOND + at * SECOND / 10);
            net.carries = 1_252;
            net.run(5 * SECOND);
            assert!(net.size() <= 1_252, "shrunk at {at}: {}", net.size());
            assert_eq!(net.run(SECOND), 0, "shrunk at {at}");
        }
    }

    #[test]
    fn memory_of_a_round_is_bounded_however_long_it_lasts() {
        let mut net = Net::new(1_472, Some(1_472));
        net.run(SECOND / 10);
        for answers in [false, true].repeat(500) {
            net.carries = if answers { FLOOR } else { 0 };
            net.run(SECOND / 20);
            let path = &net.paths.paths[&to()];
            let held = path.round.as_ref().map_or(0, |round| round.probes.len());
            assert!(held <= PROBES && net.paths.owners.len() <= PROBES);
        }
    }

    #[test]
    fn suspicion_tests_the_path_before_the_next_confirmation() {
        let mut net = Net::new(1_472, Some(1_472));
        net.run(SECOND / 10);
        net.carries = 1_200;
        net.now += CONFIRM_AFTER / 2;
        net.sent.clear();
        assert!(net.paths.suspect(to(), net.now));
        net.poll(vec![to()]);
        assert_eq!(net.sent, [1_472, BASE, FLOOR]);
    }

    #[test]
    fn interface_that_carries_less_takes_effect_at_once_and_so_does_one_that_carries_more() {
        let mut net = Net::new(65_508, Some(1_472));
        net.run(SECOND / 10);
        net.link = Some(1_392);
        net.run(SECOND / 50);
        assert_eq!(net.size(), 1_392);
        assert_eq!(net.reasons.last(), Some(&Reason::Kernel));
        net.link = Some(1_472);
        assert_eq!(net.run(2 * SECOND), 0);
        assert_eq!(net.size(), 1_472);
        assert!(!net.reasons.contains(&Reason::BlackHole));
    }

    #[test]
    fn refusal_without_an_estimate_leads_to_the_base_and_then_to_the_floor() {
        let now = Instant::now();
        let mut paths = Paths::new(LIMIT);
        assert!(paths.refused(to(), 1_400, None, now));
        assert_eq!(paths.size(to()), BASE);
        assert!(paths.refused(to(), BASE, None, now));
        assert_eq!(paths.size(to()), FLOOR);
        assert!(!paths.refused(to(), FLOOR, None, now), "nothing is shorter");
    }

    #[test]
    fn path_below_the_base_is_used_as_far_as_it_carries() {
        // First a tunnel that drops silently, then an interface with that MTU.
        for link in [Some(1_472), Some(972)] {
            let mut net = Net::new(972, link);
            net.run(10 * SECOND);
            let size = net.size();
            assert!((972 - STEP..=972).contains(&size), "{size} with {link:?}");
            assert_eq!(net.run(20 * SECOND), 0);
        }
    }

    #[test]
    fn low_estimate_that_may_be_forged_does_not_lead_below_the_base() {
        let mut net = Net::new(1_472, Some(1_472));
        net.run(SECOND / 10);
        let paths = &mut net.paths;
        let later = net.now + CONFIRM_AFTER;
        assert!(paths.sent(to(), 1_400, false, later));
        paths.poll(later, [to()], |_| Some(524));
        assert_eq!(paths.size(to()), BASE);
    }

    #[test]
    fn silent_receiver_costs_little_and_no_length() {
        let mut net = Net::new(LIMIT, Some(65_508));
        net.run(SECOND / 10);
        assert_eq!(net.size(), LIMIT);
        net.carries = 0;
        net.run(2 * SECOND);
        net.sent.clear();
        net.run(20 * SECOND);
        assert_eq!(net.size(), LIMIT);
        let bytes: usize = net.sent.iter().sum();
        assert!(
            bytes < 10 * LIMIT,
            "{bytes} bytes of probes: {:?}",
            net.sent
        );
        // The receiver answers again, and the length is unchanged.
        net.carries = LIMIT;
        net.run(5 * SECOND);
        assert_eq!(net.size(), LIMIT);
        assert!(!net.reasons.contains(&Reason::BlackHole));
    }

    #[test]
    fn new_run_of_a_peer_begins_anew_and_a_replayed_one_does_not() {
        let mut net = Net::new(LIMIT, Some(65_508));
        net.run(SECOND / 10);
        net.paths.heard(to(), boot(5), net.now);
        assert_eq!(net.size(), LIMIT);
        net.paths.heard(to(), boot(4), net.now);
        assert_eq!(net.size(), LIMIT, "an earlier run");
        net.paths.heard(to(), boot(6), net.now);
        assert_eq!(net.size(), BASE);
        let other = (([10, 0, 0, 2], 1).into(), KeyId::Cluster);
        assert_eq!(net.paths.size(other), BASE, "another address");
        net.run(SECOND / 10);
        net.paths.heard(to(), boot(1), net.now + RUN_SILENCE);
        assert_eq!(net.size(), BASE, "a clock that was set back");
    }

    #[test]
    fn acknowledgement_of_another_length_or_key_does_not_count() {
        let now = Instant::now();
        let mut paths = Paths::new(LIMIT);
        assert!(paths.sent(to(), BASE, true, now));
        let probes = paths.poll(now, [to()], |_| Some(1_472));
        let id = probes[0].id;
        assert_eq!(probes[0].length, BASE);
        assert_eq!(paths.acknowledged(KeyId::Client, id, BASE, now), None);
        assert_eq!(paths.acknowledged(KeyId::Cluster, id, BASE - 1, now), None);
        assert_eq!(paths.acknowledged(KeyId::Cluster, id + 9, BASE, now), None);
        let due = paths.acknowledged(KeyId::Cluster, id, BASE, now);
        assert_eq!(due, Some(to()), "the search follows");
    }

    #[test]
    fn little_traffic_costs_no_probes_and_no_memory() {
        let now = Instant::now();
        let mut paths = Paths::new(LIMIT);
        for _ in 0..100 {
            assert!(!paths.sent(to(), FLOOR, false, now));
        }
        assert!(paths.paths.is_empty());
        for port in 0..2 * PATHS {
            let to = (([10, 0, 0, 1], port as u16).into(), KeyId::Client);
            assert!(paths.sent(to, BASE, false, now));
            paths.poll(now, [to], |_| None);
            assert!(paths.paths.len() <= PATHS && paths.active.len() <= PATHS);
            assert!(paths.owners.len() <= 2 * PATHS);
        }
    }

    #[test]
    fn limit_is_never_exceeded() {
        for limit in [FLOOR, 900, BASE, 1_300, 65_507] {
            let mut net = Net::new(usize::MAX, Some(65_508));
            net.paths = Paths::new(limit);
            assert_eq!(net.size(), BASE.min(limit));
            net.run(2 * SECOND);
            assert_eq!(net.size(), limit);
            assert!(net.sent.iter().all(|length| *length <= limit));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// The length follows the path through any sequence of changes.
        #[test]
        fn length_follows_the_path(
            changes in prop::collection::vec((FLOOR + STEP..2_000_usize, prop::option::of(FLOOR + STEP..2_000_usize)), 1..5),
        ) {
            let mut net = Net::new(1_472, Some(1_472));
            for (carries, link) in changes {
                (net.carries, net.link) = (carries, link);
                net.run(RAISE_AFTER + 20 * SECOND);
                let most = carries.min(link.unwrap_or(usize::MAX)).min(LIMIT);
                prop_assert!(net.size() <= most, "{} of {most}", net.size());
                prop_assert!(most - net.size() < STEP, "{} of {most}", net.size());
                prop_assert_eq!(net.run(5 * SECOND), 0);
            }
        }
    }
}
