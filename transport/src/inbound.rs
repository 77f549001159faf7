//! The receive path: unseal each datagram, drop replays, parse frames, reassemble fragments, and
//! check each message against the permissions of its key.
//!
//! Invalid input is counted by cause and dropped. A datagram whose seal is broken changes nothing
//! but a counter.

use crate::{
    DatagramSocket,
    counters::{Cause, Count},
    delay_queue::Dispatch,
    fragment::{Reassembly, ReassemblyLimits},
    outbound::PacketBuilders,
    path_mtu::Destination,
    peer_sessions::{PeerSessions, SessionId},
    queue::Received,
    shared::{Shared, lock},
};
use model::{
    Address,
    wire::{
        Acknowledgement, BootId, Fragment, Frame, Frames, Header, KeyId, ProbeAcknowledgement,
        VotersDigest, decode_envelope,
    },
};
use quinn_udp::RecvMeta;
use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::Instant;

/// Buffers that one system call may fill. Where the system supports it, each holds many datagrams
/// of the same sender (GRO).
const BUFFERS: usize = 8;
const BUFFER: usize = 65_536;
/// The limit on bytes of incomplete messages, for all peers together.
const ASSEMBLING: usize = 64 << 20;
/// The limit on probes acknowledged in one round of reading.
const PROBES: usize = 64;
/// The datagram with which a process checks whether a socket is open at an address. It is counted, but
/// causes no warning.
const LIVENESS_PROBE: &[u8] = &[0];
/// Longer messages are decoded on a thread of their own, because decoding them would delay others.
const APART: usize = 1 << 20;

/// Reads datagrams from the socket.
pub(crate) struct Reader {
    buffers: Vec<Vec<u8>>,
    metas: [RecvMeta; BUFFERS],
    peers: PeerSessions,
}

/// The results of one round of reading.
struct Round {
    now: Instant,
    messages: Vec<(Received, usize)>,
    /// Messages that received fragments, and the destination of their acknowledgements.
    touched: Vec<(SocketAddr, SessionId, u64)>,
    /// Destinations that may have room for further fragments.
    room_for: Vec<Destination>,
    /// Received probes and the lengths of their datagrams.
    probes: Vec<(Destination, ProbeAcknowledgement)>,
    /// Paths with an acknowledged probe and another probe to send.
    probed: Vec<Destination>,
    /// The sender of the previous datagram.
    last: Option<(Destination, BootId)>,
}

/// The origin of a datagram.
#[derive(Clone, Copy)]
struct Origin {
    at: SocketAddr,
    header: Header,
}

impl Reader {
    pub(crate) fn new(shared: &Shared) -> Self {
        let limits = ReassemblyLimits {
            message: shared.config.max_message,
            bytes: shared.config.max_message * 2,
            bulk: shared.config.max_bulk,
        };
        Self {
            buffers: vec![vec![0; BUFFER]; BUFFERS],
            metas: [RecvMeta::default(); BUFFERS],
            peers: PeerSessions::new(limits, ASSEMBLING),
        }
    }

    /// Reads the datagrams available at the socket. Returns the number of buffers filled.
    pub(crate) fn receive(&mut self, socket: &dyn DatagramSocket) -> io::Result<usize> {
        socket.receive(&mut slices(&mut self.buffers), &mut self.metas)
    }

    /// Waits for datagrams and reads them. Returns the number of buffers filled.
    pub(crate) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        socket: &dyn DatagramSocket,
    ) -> Poll<io::Result<usize>> {
        socket.poll_receive(context, &mut slices(&mut self.buffers), &mut self.metas)
    }

    /// Whether the system call filled every buffer, so that more datagrams may wait.
    pub(crate) const fn is_full(filled: usize) -> bool {
        filled >= BUFFERS
    }

    /// Processes the datagrams in the first `filled` buffers.
    pub(crate) fn process(&mut self, shared: &Arc<Shared>, filled: usize) {
        let mut round = Round {
            now: shared.now(),
            messages: Vec::new(),
            touched: Vec::new(),
            room_for: Vec::new(),
            probes: Vec::new(),
            probed: Vec::new(),
            last: None,
        };
        let counters = &shared.counters;
        counters.add(Count::ReceiveCalls, 1);
        for (buffer, meta) in self.buffers.iter_mut().zip(&self.metas).take(filled) {
            let bytes = &mut buffer[..meta.len.min(BUFFER)];
            counters.add(Count::BytesReceived, bytes.len());
            // An empty datagram yields no chunk below, so it is counted here.
            if bytes.is_empty() {
                counters.add(Count::DatagramsReceived, 1);
                let about = format_args!("an empty datagram from {}", meta.addr);
                counters.drop(Cause::Short, 1, about);
            }
            for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                counters.add(Count::DatagramsReceived, 1);
                take_datagram(shared, &mut self.peers, datagram, meta.addr, &mut round);
            }
        }
        let Round {
            now,
            messages,
            touched,
            room_for,
            probes,
            probed,
            last: _,
        } = round;
        if !touched.is_empty() || !room_for.is_empty() || !probes.is_empty() {
            let mut builders = PacketBuilders::new(shared);
            self.acknowledge(&touched, &mut builders);
            for (to, of) in probes {
                builders.to(to).push(&Frame::ProbeAcknowledgement(of));
            }
            shared.send_fragments(room_for, builders, now);
        }
        if !probed.is_empty() {
            shared.send_probes(probed, now);
        }
        shared.after_changes(now);
        if !messages.is_empty() {
            shared.deliver(messages);
        }
    }

    fn acknowledge(
        &self,
        touched: &[(SocketAddr, SessionId, u64)],
        builders: &mut PacketBuilders<'_>,
    ) {
        for (at, run, message) in touched {
            if let Some((length, first, ranges)) = self.peers.acknowledgement(*run, *message) {
                builders
                    .to((*at, run.1))
                    .push(&Frame::Acknowledgement(Acknowledgement {
                        message: *message,
                        length,
                        first,
                        ranges: &ranges,
                    }));
            }
        }
    }
}

fn slices(buffers: &mut [Vec<u8>]) -> [IoSliceMut<'_>; BUFFERS] {
    let mut slices = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
    std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])))
}

fn take_datagram(
    shared: &Arc<Shared>,
    peers: &mut PeerSessions,
    datagram: &mut [u8],
    at: SocketAddr,
    round: &mut Round,
) {
    let length = datagram.len();
    let Some((header, body)) = open_datagram(shared, peers, datagram, at, round.now) else {
        return;
    };
    let counters = &shared.counters;
    let from = (at, header.key);
    if round.last != Some((from, header.boot)) {
        round.last = Some((from, header.boot));
        lock(&shared.transmission.paths).on_datagram(from, header.boot, round.now);
    }
    let origin = Origin { at, header };
    let mut last_sender = None;
    for frame in Frames::new(body) {
        match frame {
            Ok(Frame::Envelope(bytes)) => {
                take_envelope(shared, bytes, origin, &mut last_sender, round);
            }
            Ok(Frame::Fragment(fragment)) => {
                counters.add(Count::FragmentsReceived, 1);
                if let Some(bytes) = take_fragment(shared, peers, &fragment, origin, round) {
                    counters.add(Count::FragmentedMessagesReceived, 1);
                    if bytes.len() > APART {
                        take_apart(shared, bytes, origin, round.now);
                    } else {
                        take_envelope(shared, &bytes, origin, &mut last_sender, round);
                    }
                }
            }
            Ok(Frame::Acknowledgement(of)) => {
                let room =
                    lock(&shared.transmission.outgoing).acknowledge(header.key, &of, round.now);
                if let Some(to) = room
                    && !round.room_for.contains(&to)
                {
                    round.room_for.push(to);
                }
            }
            Ok(Frame::Probe(probe)) => {
                // The length of a datagram fits in 16 bits.
                let length = u16::try_from(length).unwrap_or(u16::MAX);
                let of = ProbeAcknowledgement {
                    id: probe.id,
                    length,
                };
                if round.probes.len() < PROBES {
                    round.probes.push((from, of));
                }
            }
            Ok(Frame::ProbeAcknowledgement(of)) => {
                counters.add(Count::ProbesAcknowledged, 1);
                let (key, length) = (header.key, usize::from(of.length));
                let mut paths = lock(&shared.transmission.paths);
                if let Some(to) = paths.acknowledged(key, of.id, length, round.now)
                    && !round.probed.contains(&to)
                {
                    round.probed.push(to);
                }
            }
            Err(_) => {
                let about = format_args!("the rest of a datagram from {at}");
                counters.drop(Cause::Frame, 1, about);
            }
        }
    }
}

/// Unseals a datagram and checks its voters and its sequence number. Returns its header and its body, or
/// `None` if it was dropped.
fn open_datagram<'a>(
    shared: &Shared,
    peers: &mut PeerSessions,
    datagram: &'a mut [u8],
    at: SocketAddr,
    now: Instant,
) -> Option<(Header, &'a mut [u8])> {
    let counters = &shared.counters;
    if datagram == LIVENESS_PROBE {
        counters.drop_silently(Cause::Short);
        return None;
    }
    let length = datagram.len();
    let (header, body) = match shared.sealer.unseal(datagram) {
        Ok(opened) => opened,
        Err(cause) => {
            let about = format_args!("a datagram of {length} bytes from {at}");
            counters.drop(cause, 1, about);
            return None;
        }
    };
    let own = shared.config.voters;
    if own != VotersDigest::NONE && header.voters != VotersDigest::NONE && header.voters != own {
        let about = format_args!(
            "{at} was configured with other voters: digest {:016x} there, {:016x} here. \
             Pass the same --peer list to all servers and proxies of a cluster",
            header.voters.get(),
            own.get()
        );
        counters.drop(Cause::Voters, 1, about);
        return None;
    }
    let run = (header.boot, header.key);
    if !peers.admit(run, header.sequence, now) {
        let about = format_args!("datagram {} from {at}", header.sequence);
        counters.drop(Cause::Replayed, 1, about);
        return None;
    }
    Some((header, body))
}

fn take_envelope(
    shared: &Shared,
    bytes: &[u8],
    origin: Origin,
    last_sender: &mut Option<Address>,
    round: &mut Round,
) {
    read_envelope(shared, bytes, origin, last_sender, round.now, |message| {
        round.messages.push((message, bytes.len()));
    });
}

/// Decodes a large message on a thread of its own, so that other messages do not wait for it.
fn take_apart(shared: &Arc<Shared>, bytes: Vec<u8>, origin: Origin, now: Instant) {
    let to = Arc::clone(shared);
    let reading = move || {
        let mut read = Vec::new();
        read_envelope(&to, &bytes, origin, &mut None, now, |message| {
            read.push((message, bytes.len()));
        });
        to.deliver(read);
        to.wake_owner();
    };
    let threads = &shared.config.environment.threads;
    if let Err(error) = threads.spawn("raft-decode", Box::new(reading)) {
        let about = format_args!("cannot start a thread to decode a large message: {error}");
        shared.counters.drop(Cause::InboxFull, 1, about);
    }
}

/// Decodes a message and checks it against its key. Passes on the copies that the fault plan lets
/// through.
fn read_envelope(
    shared: &Shared,
    bytes: &[u8],
    Origin { at, header }: Origin,
    last_sender: &mut Option<Address>,
    now: Instant,
    mut pass: impl FnMut(Received),
) {
    let counters = &shared.counters;
    let Ok(envelope) = decode_envelope(bytes) else {
        let about = format_args!("{} undecodable bytes from {at}", bytes.len());
        return counters.drop(Cause::Message, 1, about);
    };
    if !header.key.allows(&envelope) {
        let (from, to) = (envelope.from, envelope.to);
        let about =
            format_args!("{at} sent a message as {from} to {to}, which its key does not allow");
        return counters.drop(Cause::Forbidden, 1, about);
    }
    let of_servers = matches!(
        (envelope.from, envelope.to),
        (Address::Node(_), Address::Node(_))
    );
    if of_servers && header.voters != shared.config.voters {
        let (from, to) = (envelope.from, envelope.to);
        let about = format_args!(
            "{at} sent a message as {from} to {to} without the voters digest of this process"
        );
        return counters.drop(Cause::Voters, 1, about);
    }
    if *last_sender != Some(envelope.from) {
        *last_sender = Some(envelope.from);
        let when = (header.boot, header.sequence);
        let authentic = header.key != KeyId::None;
        let misplaced =
            lock(&shared.routes).observe_source(envelope.from, at, when, authentic, now);
        if let Some(misplaced) = misplaced {
            tracing::warn!("{misplaced}");
        }
    }
    let boot = header.boot;
    shared.apply_faults(Dispatch::Deliver(boot, at), envelope, |envelope| {
        pass(Received { envelope, boot, at });
    });
}

/// Adds a fragment to its message. Returns the message if this fragment completes it.
fn take_fragment(
    shared: &Shared,
    peers: &mut PeerSessions,
    fragment: &Fragment<'_>,
    Origin { at, header }: Origin,
    round: &mut Round,
) -> Option<Vec<u8>> {
    let counters = &shared.counters;
    let run = (header.boot, header.key);
    let (taken, dropped) = peers.take(run, fragment);
    let about = format_args!("incomplete messages evicted for one from {at}");
    counters.drop(Cause::ReassemblyFull, dropped, about);
    let whole = match taken {
        Reassembly::Buffered | Reassembly::Duplicate => None,
        Reassembly::Complete(bytes) => Some(bytes),
        Reassembly::Inconsistent => {
            let about = format_args!("a fragment from {at} contradicts others of its message");
            counters.drop(Cause::Fragment, 1, about);
            return None;
        }
        Reassembly::Oversized => {
            let about = format_args!("a message from {at} exceeds the size limit");
            counters.drop(Cause::Oversized, 1, about);
            return None;
        }
    };
    // Consecutive fragments mostly belong to the same message.
    let touched = (at, run, fragment.message);
    if round.touched.last() != Some(&touched) && !round.touched.contains(&touched) {
        round.touched.push(touched);
    }
    whole
}
