//! Puts the steps of all servers into one order that no cause contradicts, and judges them in it.
//!
//! A step comes after the step before it on its server, and after the step that sent the message it
//! receives. Any order that respects this will do: what is judged holds in all of them or in none,
//! for each is a way in which the same run can have happened. So each server's trace is followed as
//! far as it goes, and waits where it receives what is not sent yet.
//!
//! If all wait, either a message was never sent, or each waits for the next: then something was
//! received before it was sent.

use super::{
    Place, Rejection, Report,
    cluster::Cluster,
    coverage::{self, Tally},
    format::{Header, Line, Source, Step, to_json},
    server::{Server, broken_at},
};
use model::{
    Address, Config, Durable, Entry, Envelope, Event, HardState, NodeId, Raft, system::Broken,
};
use rustc_hash::FxHashMap;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// How many lines pass between two looks at whether to go on.
const LOOK: u64 = 1 << 10;

/// What a replay may take for granted, and what it shares with who watches it.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Whether a server's first run may start from a disk that was in use before. Then what was
    /// promised and committed before is not known, and the laws speak of what came after.
    pub used_disks: bool,
    /// Counts the lines that were judged.
    pub lines: &'a AtomicU64,
    /// Set when a person asks to stop.
    pub interrupt: &'a AtomicBool,
}

/// Judges the traces of the servers of one cluster, one trace each.
///
/// # Errors
/// The first thing that is wrong; [`Rejection::Interrupted`] if a person asked to stop.
pub fn replay(sources: Vec<Source>, conditions: Conditions<'_>) -> Result<Report, Rejection> {
    replay_watched(sources, conditions, &mut |_| {})
}

/// The same, and each line is shown to `watch` in the order in which it was judged, once it was. A
/// step that breaks a law is shown too, as the last.
///
/// # Errors
/// The same; what was shown before agrees with everything before it.
pub(crate) fn replay_watched(
    sources: Vec<Source>,
    conditions: Conditions<'_>,
    watch: &mut dyn FnMut(Seen<'_>),
) -> Result<Report, Rejection> {
    let mut replay = Replay::open(sources, conditions.used_disks)?;
    let mut runnable: Vec<usize> = (0..replay.tracks.len()).rev().collect();
    // Each begins with a header, which waits for nothing: so all servers are there from the start.
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
    Ok(replay.report())
}

/// A line that was judged, and its server after it.
pub(crate) struct Seen<'a> {
    server: &'a Server,
    servers: &'a [Server],
    cluster: &'a Cluster,
    /// What happened; `None` if a run began.
    pub(crate) event: Option<&'a Event>,
    /// What it sent.
    pub(crate) sends: &'a [Envelope],
    /// The law that it breaks.
    pub(crate) broken: Option<&'a Broken>,
}

impl<'a> Seen<'a> {
    /// Whose line it is.
    pub(crate) fn id(&self) -> NodeId {
        self.server.id
    }

    /// Every server as it is after this line.
    pub(crate) fn every(&self) -> impl Iterator<Item = Seen<'a>> {
        self.servers.iter().map(|server| Seen {
            server,
            servers: self.servers,
            cluster: self.cluster,
            event: None,
            sends: &[],
            broken: None,
        })
    }

    /// Which of its runs it is in, from 1.
    pub(crate) fn run(&self) -> u64 {
        self.server.runs
    }

    /// The server's core. There is one after the first header.
    pub(crate) fn raft(&self) -> Option<&'a Raft> {
        self.server.raft()
    }

    /// The term and the vote on its disk.
    pub(crate) fn hard_state(&self) -> HardState {
        self.server.disk.hard_state
    }

    /// How many entries its disk holds.
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

    /// How many writes are on their way to its disk.
    pub(crate) fn unsynced(&self) -> usize {
        self.server.unsynced()
    }
}

/// The traces, and how far they are.
struct Replay {
    tracks: Vec<Track>,
    servers: Vec<Server>,
    places: BTreeMap<NodeId, usize>,
    cluster: Cluster,
    /// The settings, and where they were first told.
    config: Option<(Config, Place)>,
    /// Every message a server sent to a server. Nothing is taken out: what was sent once may arrive
    /// any number of times. With each, whether it was first sent inside ([`super::coverage`]).
    sent: FxHashMap<Envelope, bool>,
    /// Who waits for a message.
    waiting: FxHashMap<Envelope, Vec<usize>>,
    received: u64,
    steps: u64,
    tally: Tally,
    used_disks: bool,
}

/// One trace, and its next line.
struct Track {
    source: Source,
    next: Option<(Line, Place)>,
    /// Lines after that, read to find out why nobody can go on.
    later: Vec<Line>,
}

enum Advance {
    /// A line; these may go on now.
    Took(Vec<usize>),
    /// The next step receives what is not sent yet.
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
    fn open(sources: Vec<Source>, used_disks: bool) -> Result<Self, Rejection> {
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
            used_disks,
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
                    let why =
                        "a step comes before any header: the beginning of the trace is missing";
                    return Err(Rejection::disagreement(place, why));
                }
                None => {
                    return Err(Rejection::Unreadable {
                        place: track.source.place(),
                        why: "there is no trace in this file".into(),
                    });
                }
            };
            let place = replay.servers.len();
            if let Some(other) = replay.places.insert(node, place) {
                let line = track.source.place();
                let other: &Track = &replay.tracks[other];
                let why = format!(
                    "this is a trace of server {node}, and so is {}: put the runs of a server into one file, in their order",
                    other.source.place()
                );
                return Err(Rejection::disagreement(&line, why));
            }
            replay.servers.push(Server::new(node));
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
                    broken: None,
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

    fn start(&mut self, track: usize, header: Header, place: &Place) -> Result<(), Rejection> {
        let id = self.servers[track].id;
        let wrong = |why: String| Err(Rejection::disagreement(place, why));
        if header.node != id {
            return wrong(format!(
                "this run is of server {}, the trace is of server {id}",
                header.node
            ));
        }
        if !header.config.voters.contains(&id) {
            return wrong(format!(
                "server {id} is not among the voters of its settings"
            ));
        }
        match &self.config {
            Some((config, first)) if *config != header.config => {
                return wrong(format!(
                    "the settings are not those of {first}: they are the same on all servers"
                ));
            }
            Some(_) => {}
            None => self.config = Some((header.config.clone(), place.clone())),
        }
        let is_first = self.servers[track].runs == 0;
        if is_first && !self.used_disks && header.durable != Durable::default() {
            return wrong(format!(
                "server {id} starts from a disk that was in use: what it recorded before is missing (--used-disks does without)"
            ));
        }
        self.tally.run(track, &header, !is_first);
        self.servers[track].start(header, place, &mut self.cluster)
    }

    fn step(
        &mut self,
        track: usize,
        step: Step,
        cause: Option<bool>,
        place: &Place,
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
        let judged = self.judge(track, step, heard, place);
        let broken = match &judged {
            Ok(()) => None,
            Err(Rejection::Broken { broken, .. }) => Some(broken),
            // It was not taken as it was recorded: there is nothing to show.
            Err(_) => return judged.map(|()| Vec::new()),
        };
        let server = &self.servers[track];
        watch(Seen {
            server,
            servers: &self.servers,
            cluster: &self.cluster,
            event: Some(&event),
            sends: &server.sends,
            broken,
        });
        judged?;
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

    /// Takes a step on its server, and judges it.
    fn judge(
        &mut self,
        track: usize,
        step: Step,
        heard: Option<usize>,
        place: &Place,
    ) -> Result<(), Rejection> {
        let led = self.servers[track].step(step, place, &mut self.cluster)?;
        let server = &self.servers[track];
        let broken = |broken| broken_at(place, broken);
        self.cluster.judge_step(server, &led).map_err(broken)?;
        if let Some(heard) = heard {
            self.received += 1;
            self.cluster
                .judge_belief(server, &self.servers[heard])
                .map_err(broken)?;
        }
        for envelope in &server.sends {
            self.cluster.judge_send(server, envelope).map_err(broken)?;
        }
        Ok(())
    }

    /// Why nobody can go on: the message that nobody sends, or that each waits for the next.
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
                return Ok(Rejection::disagreement(
                    place,
                    format!(
                        "server {to} receives a message from server {from}, whose trace is not here: give the traces of all servers"
                    ),
                ));
            };
            if !self.is_sent_later(sender, envelope)? {
                return Ok(Rejection::disagreement(
                    place,
                    format!(
                        "server {to} receives a message from server {from} that no step of its trace sends"
                    ),
                ));
            }
        }
        let (.., place) = &waits[0];
        let all: Vec<String> = waits.iter().map(|(.., place)| place.to_string()).collect();
        Ok(Rejection::disagreement(
            place,
            format!(
                "what is received here was sent only after it was received: each of {} waits for another",
                all.join(", ")
            ),
        ))
    }

    /// Whether a step that a trace has not come to records this message as sent. The rest of that
    /// trace is read for it, once for all.
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

    fn report(self) -> Report {
        let planted = self.config.as_ref().and_then(|(config, _)| config.mutant);
        Report {
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
