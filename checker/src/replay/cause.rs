//! Orders the steps of all servers consistently with causality, and checks them in this order.
//!
//! A step comes after the previous step of its server, and after the step that sent the message it
//! receives. Any order with this property is sufficient: each is a possible execution of the same run,
//! so the checked properties hold in all of them or in none. The replay follows each server's trace as
//! far as possible, and waits at a message that is not sent yet.
//!
//! If all traces wait, either a message was never sent, or the traces wait for one another: in that case
//! a message was received before it was sent.

use super::{
    Disagreement, FileLine, Rejection, ReplayReport,
    cluster::Cluster,
    coverage::{self, Tally},
    disk::ClusterHistory as _,
    format::{Header, Line, RecordedStep, Source, Unreadable, to_json},
    server::{Server, violation_at},
};
use model::{
    Address, Config, Durable, Entry, Envelope, Event, HardState, NodeId, Raft, system::Violation,
};
use rustc_hash::FxHashMap;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The number of lines between two checks of the interrupt flag.
const LOOK: u64 = 1 << 10;

/// The assumptions of a replay, and the state shared with its caller.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Whether a server's first run may start from a disk that was used before. The earlier promises and
    /// commits are then unknown, and the properties cover only later events.
    pub used_disks: bool,
    /// Whether each step must refine the abstract Raft. It is false only in tests of other properties: a
    /// violation of this one mostly comes first.
    pub checks_refinement: bool,
    /// Counts the lines that were checked.
    pub lines: &'a AtomicU64,
    /// Set this to interrupt the replay.
    pub interrupt: &'a AtomicBool,
}

/// Checks the traces of the servers of one cluster, one trace each.
///
/// # Errors
/// The first problem; [`Rejection::Interrupted`] if the replay was interrupted.
pub fn replay(sources: Vec<Source>, conditions: Conditions<'_>) -> Result<ReplayReport, Rejection> {
    replay_watched(sources, conditions, &mut |_| {})
}

/// The same as [`replay`], and passes each line to `watch` after its check, in the order of the checks.
/// A violating step is also passed, as the last one.
///
/// # Errors
/// The same. The lines passed before agree with everything before them.
pub(crate) fn replay_watched(
    sources: Vec<Source>,
    conditions: Conditions<'_>,
    watch: &mut dyn FnMut(Seen<'_>),
) -> Result<ReplayReport, Rejection> {
    let mut replay = Replay::open(sources, conditions)?;
    let mut runnable: Vec<usize> = (0..replay.tracks.len()).rev().collect();
    // Each trace begins with a header, which waits for nothing. So all servers exist from the start.
    for track in 0..replay.tracks.len() {
        conditions.lines.fetch_add(1, Ordering::Relaxed);
        replay.advance(track, watch)?;
    }
    while let Some(track) = runnable.pop() {
        loop {
            let lines = conditions.lines.fetch_add(1, Ordering::Relaxed);
            if lines.is_multiple_of(LOOK) && conditions.interrupt.load(Ordering::Relaxed) {
                return Err(Rejection::Interrupted);
            }
            match replay.advance(track, watch)? {
                Advance::Took(woken) => runnable.extend(woken),
                Advance::Waits | Advance::Ended => break,
            }
        }
    }
    if replay.tracks.iter().any(|track| track.next.is_some()) {
        return Err(replay.stuck()?);
    }
    for track in 0..replay.tracks.len() {
        let mut place = replay.tracks[track].source.place();
        // The source is past its last line.
        place.line -= 1;
        replay.check_end(track, &place)?;
    }
    Ok(replay.report())
}

/// A line that was checked, and its server after it.
pub(crate) struct Seen<'a> {
    server: &'a Server,
    servers: &'a [Server],
    cluster: &'a Cluster,
    /// The event; `None` if a run began.
    pub(crate) event: Option<&'a Event>,
    /// The messages sent.
    pub(crate) sends: &'a [Envelope],
    /// The property that the step violates.
    pub(crate) violation: Option<&'a Violation>,
}

impl<'a> Seen<'a> {
    /// The id of the server.
    pub(crate) fn id(&self) -> NodeId {
        self.server.id
    }

    /// All servers as they are after this line.
    pub(crate) fn every(&self) -> impl Iterator<Item = Seen<'a>> {
        self.servers.iter().map(|server| Seen {
            server,
            servers: self.servers,
            cluster: self.cluster,
            event: None,
            sends: &[],
            violation: None,
        })
    }

    /// The number of the server's current run, counted from 1.
    pub(crate) fn run(&self) -> u64 {
        self.server.runs
    }

    /// The server's core. It exists after the first header.
    pub(crate) fn raft(&self) -> Option<&'a Raft> {
        self.server.raft()
    }

    /// The term and the vote on its disk.
    pub(crate) fn hard_state(&self) -> HardState {
        self.server.disk.hard_state
    }

    /// The number of entries on its disk.
    pub(crate) fn disk_len(&self) -> usize {
        self.server.disk.log.len()
    }

    /// The last entries on its disk, at most `count`.
    pub(crate) fn disk_tail(&self, count: usize) -> Vec<&'a Entry> {
        let log = &self.server.disk.log;
        let tail = &log[log.len().saturating_sub(count)..];
        tail.iter()
            .filter_map(|prefix| self.cluster.entry(*prefix))
            .collect()
    }

    /// The number of pending writes.
    pub(crate) fn unsynced(&self) -> usize {
        self.server.unsynced()
    }
}

/// The traces and the state of their replay.
struct Replay {
    tracks: Vec<Track>,
    servers: Vec<Server>,
    places: BTreeMap<NodeId, usize>,
    cluster: Cluster,
    /// The configuration, and the first line that contains it.
    config: Option<(Config, FileLine)>,
    /// Every message from a server to a server. No message is removed: it may be received any number of
    /// times. The value is whether the step that first sent it is inside ([`super::coverage`]).
    sent: FxHashMap<Envelope, bool>,
    /// The traces that wait for each message.
    waiting: FxHashMap<Envelope, Vec<usize>>,
    received: u64,
    steps: u64,
    tally: Tally,
    used_disks: bool,
}

/// One trace and its next line.
struct Track {
    source: Source,
    next: Option<(Line, FileLine)>,
    /// Later lines, read to find out why no trace can advance.
    later: Vec<Line>,
}

enum Advance {
    /// A line was taken. These traces may continue now.
    Took(Vec<usize>),
    /// The next step receives a message that is not sent yet.
    Waits,
    Ended,
}

impl Track {
    fn read(&mut self) -> Result<(), Rejection> {
        self.next = self
            .source
            .next_line()?
            .map(|line| (line, self.source.place()));
        Ok(())
    }
}

impl Replay {
    fn open(sources: Vec<Source>, conditions: Conditions<'_>) -> Result<Self, Rejection> {
        let mut replay = Self {
            tracks: Vec::new(),
            servers: Vec::new(),
            places: BTreeMap::new(),
            cluster: Cluster::new(),
            config: None,
            sent: FxHashMap::default(),
            waiting: FxHashMap::default(),
            received: 0,
            steps: 0,
            tally: Tally::new(),
            used_disks: conditions.used_disks,
        };
        for source in sources {
            let mut track = Track {
                source,
                next: None,
                later: Vec::new(),
            };
            track.read()?;
            let node = match &track.next {
                Some((Line::Header(header), _)) => header.node,
                Some((Line::Step(_), place)) => {
                    return Err(Rejection::disagreement(place, Disagreement::HeaderMissing));
                }
                None => {
                    let (place, why) = match track.source.cut_short.first() {
                        Some(line) => (line.clone(), Unreadable::OnlyLineTruncated),
                        None => (track.source.place(), Unreadable::NoTraceInFile),
                    };
                    return Err(Rejection::Unreadable { place, why });
                }
            };
            let place = replay.servers.len();
            if let Some(other) = replay.places.insert(node, place) {
                let line = track.source.place();
                let other: &Track = &replay.tracks[other];
                let why = Disagreement::SameServer {
                    server: node,
                    other: other.source.place().to_string(),
                };
                return Err(Rejection::disagreement(&line, why));
            }
            replay
                .servers
                .push(Server::new(node, conditions.checks_refinement));
            replay.tracks.push(track);
        }
        Ok(replay)
    }

    /// Takes the next line of a trace, if it can come now.
    fn advance(
        &mut self,
        track: usize,
        watch: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Advance, Rejection> {
        let mut cause = None;
        if let Some(envelope) = self.received_next(track) {
            cause = self.sent.get(&envelope).copied();
            if cause.is_none() {
                self.waiting.entry(envelope).or_default().push(track);
                return Ok(Advance::Waits);
            }
        }
        let Some((line, place)) = self.tracks[track].next.take() else {
            return Ok(Advance::Ended);
        };
        let woken = match line {
            Line::Header(header) => {
                self.start(track, *header, &place)?;
                watch(Seen {
                    server: &self.servers[track],
                    servers: &self.servers,
                    cluster: &self.cluster,
                    event: None,
                    sends: &[],
                    violation: None,
                });
                Vec::new()
            }
            Line::Step(step) => self.step(track, *step, cause, &place, watch)?,
        };
        self.tracks[track].read()?;
        Ok(Advance::Took(woken))
    }

    /// The message from a server that the next step of a trace receives.
    fn received_next(&self, track: usize) -> Option<Envelope> {
        let (Line::Step(step), _) = self.tracks[track].next.as_ref()? else {
            return None;
        };
        let Event::Receive { from, message } = &step.event else {
            return None;
        };
        matches!(from, Address::Node(_)).then(|| Envelope {
            from: *from,
            to: Address::Node(self.servers[track].id),
            message: message.clone(),
        })
    }

    fn start(&mut self, track: usize, header: Header, place: &FileLine) -> Result<(), Rejection> {
        let id = self.servers[track].id;
        let wrong = |why| Err(Rejection::disagreement(place, why));
        if header.node != id {
            return wrong(Disagreement::OtherServer {
                server: header.node,
                other: id,
            });
        }
        if !header.config.voters.contains(&id) {
            return wrong(Disagreement::NotVoter { server: id });
        }
        match &self.config {
            Some((config, first)) if *config != header.config => {
                return wrong(Disagreement::OtherConfiguration {
                    other: first.to_string(),
                });
            }
            Some(_) => {}
            None => self.config = Some((header.config.clone(), place.clone())),
        }
        let is_first = self.servers[track].runs == 0;
        if is_first && !self.used_disks && header.durable != Durable::default() {
            return wrong(Disagreement::UsedDisk { server: id });
        }
        if !is_first {
            self.check_end(track, place)?;
        }
        self.tally.run(track, &header, !is_first);
        self.cluster.start(id);
        self.servers[track].start(header, place, &mut self.cluster)
    }

    /// Checks a server where its run or its trace ends. `place` is the next line, or the last one.
    fn check_end(&mut self, track: usize, place: &FileLine) -> Result<(), Rejection> {
        let checked = self.cluster.check_end(&self.servers[track]);
        checked.map_err(|violation| violation_at(place, violation))
    }

    fn step(
        &mut self,
        track: usize,
        step: RecordedStep,
        cause: Option<bool>,
        place: &FileLine,
        watch: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Vec<usize>, Rejection> {
        let event = step.event.clone();
        let heard = match &step.event {
            Event::Receive {
                from: Address::Node(from),
                ..
            } => self.places.get(from).copied(),
            _ => None,
        };
        let changes = coverage::changes(self.servers[track].raft(), &event);
        let checked = self.check(track, step, heard, place);
        let violation = match &checked {
            Ok(()) => None,
            Err(Rejection::Violation { violation, .. }) => Some(violation),
            // The step differs from its record, so there is nothing to show.
            Err(_) => return checked.map(|()| Vec::new()),
        };
        let server = &self.servers[track];
        watch(Seen {
            server,
            servers: &self.servers,
            cluster: &self.cluster,
            event: Some(&event),
            sends: &server.sends,
            violation,
        });
        checked?;
        let term = server.raft().map(Raft::current_term).unwrap_or_default();
        let inside = self.tally.step(track, &event, cause, changes, term);
        let mut woken = Vec::new();
        for envelope in std::mem::take(&mut self.servers[track].sends) {
            if matches!(envelope.to, Address::Node(_)) && !self.sent.contains_key(&envelope) {
                woken.extend(self.waiting.remove(&envelope).into_iter().flatten());
                self.sent.insert(envelope, inside);
            }
        }
        self.steps += 1;
        Ok(woken)
    }

    /// Executes a step on its server and checks it.
    fn check(
        &mut self,
        track: usize,
        step: RecordedStep,
        heard: Option<usize>,
        place: &FileLine,
    ) -> Result<(), Rejection> {
        let led = self.servers[track].step(step, place, &mut self.cluster)?;
        let server = &self.servers[track];
        let violation = |violation| violation_at(place, violation);
        self.cluster.check_step(server, &led).map_err(violation)?;
        self.cluster.check_answers(server).map_err(violation)?;
        if let Some(heard) = heard {
            self.received += 1;
            self.cluster
                .check_belief(server, &self.servers[heard])
                .map_err(violation)?;
        }
        for envelope in &server.sends {
            self.cluster
                .check_send(server, envelope)
                .map_err(violation)?;
        }
        // Last: a property of Figure 3 that the same step violates says more.
        led.refined.map_err(violation)
    }

    /// The reason why no trace can advance: a message that no server sent, or a cycle of traces that
    /// wait for one another.
    fn stuck(&mut self) -> Result<Rejection, Rejection> {
        let mut waits = Vec::new();
        for track in 0..self.tracks.len() {
            if let (Some(envelope), Some((_, place))) =
                (self.received_next(track), &self.tracks[track].next)
            {
                waits.push((track, envelope, place.clone()));
            }
        }
        for (track, envelope, place) in &waits {
            let to = self.servers[*track].id;
            let Address::Node(from) = envelope.from else {
                continue;
            };
            let Some(sender) = self.places.get(&from).copied() else {
                let why = Disagreement::SenderMissing {
                    server: to,
                    other: from,
                };
                return Ok(Rejection::disagreement(place, why));
            };
            if !self.is_sent_later(sender, envelope)? {
                let why = Disagreement::MessageNotSent {
                    server: to,
                    other: from,
                };
                return Ok(Rejection::disagreement(place, why));
            }
        }
        let (.., place) = &waits[0];
        let lines = waits.iter().map(|(.., place)| place.to_string()).collect();
        let why = Disagreement::ReceivedBeforeSent { lines };
        Ok(Rejection::disagreement(place, why))
    }

    /// Whether a step that the replay has not reached records this message as sent. Reads the rest of
    /// that trace once.
    fn is_sent_later(&mut self, sender: usize, envelope: &Envelope) -> Result<bool, Rejection> {
        let wanted = to_json(envelope);
        let sends = |line: &Line| match line {
            Line::Header(_) => false,
            Line::Step(step) => step.sends(&wanted),
        };
        let track = &mut self.tracks[sender];
        let at_hand = track.next.as_ref().is_some_and(|(line, _)| sends(line));
        if at_hand || track.later.iter().any(sends) {
            return Ok(true);
        }
        while let Some(line) = track.source.next_line()? {
            let found = sends(&line);
            track.later.push(line);
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn report(self) -> ReplayReport {
        let planted = self.config.as_ref().and_then(|(config, _)| config.mutant);
        ReplayReport {
            servers: self.servers.len(),
            runs: self.servers.iter().map(|server| server.runs).sum(),
            steps: self.steps,
            received: self.received,
            sent: self.sent.len() as u64,
            elections: self.cluster.elections,
            highest_term: self.cluster.highest_term.get(),
            committed: self.cluster.committed() as u64,
            cut_short: self
                .tracks
                .into_iter()
                .flat_map(|track| track.source.cut_short)
                .collect(),
            planted: planted.map(|mutant| mutant.name().into()),
            coverage: self.tally.coverage(),
        }
    }
}
