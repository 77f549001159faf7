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
    pub(crate) fn on_datagram(&mut self, from: Destination, boot: BootId, now: Instant) {
        let limit = self.limit;
        let Some(path) = self.paths.get_mut(&from) else {
            return;
        };
        let silent = now.duration_since(path.last_datagram) >= RUN_SILENCE;
        path.retry_at = None;
        path.silence = SILENCE_FIRST;
        match path.boot {
            Some(known) if known == boot => path.last_datagram = now,
            Some(known) if boot < known && !silent => {}
            None => (path.boot, path.last_datagram) = (Some(boot), now),
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
    /// The time of the last datagram of the run `boot`.
    last_datagram: Instant,
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
            last_datagram: now,
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
mod tests;
