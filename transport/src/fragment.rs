//! Messages larger than a datagram: fragmentation, retransmission and reassembly.
//!
//! [`send`] fragments messages, keeps a congestion window per receiver ([`congestion`]), and retransmits.
//! A fragment is declared lost when a fragment with a number at least three higher was acknowledged, or when the
//! retransmission timeout expires. A message without progress for [`GIVE_UP_AFTER`] is dropped: Raft
//! retransmits its contents if they still matter. [`reassemble`] reassembles messages in bounded memory.
//!
//! A fragment states its byte offset in the message. Its length is chosen when it is sent, from the
//! datagram size of the path at that moment. A message in transit therefore survives a smaller path MTU:
//! lost bytes are fragmented again.
//!
//! A *bulk* message is a snapshot from one server to another. It may be a thousand times larger than any
//! other message. There is at most one per receiver, and a receiver reassembles one per session of a peer.
//! All other messages overtake it. Those keep their order: Raft would treat entries that later ones
//! overtook as lost, and retransmit them. The sender stays within [`MAX_AHEAD`] bytes of the first missing
//! byte, which bounds the reassembly buffer and the acknowledgements.
//!
//! Nothing here reads a clock or a socket: the caller passes time and fragments.

use crate::{
    config::{FLOOR, room_in},
    path_mtu::Destination,
};
use model::wire::{ACKNOWLEDGEMENT, FRAME, RANGE};
use std::time::Duration;

mod congestion;
mod reassemble;
mod send;
#[cfg(test)]
mod tests;

pub(crate) use reassemble::{Reassembler, Reassembly, ReassemblyLimits};
pub(crate) use send::FragmentSender;

/// The sender stays within this many bytes of the first missing byte of a message.
const MAX_AHEAD: u32 = 2 << 20;
/// The maximum number of ranges in an acknowledgement, so that it fits the smallest datagram.
const MAX_RANGES: usize = 48;
const _: () = assert!(FRAME + ACKNOWLEDGEMENT + MAX_RANGES * RANGE <= room_in(FLOOR));
/// A message without progress for this long is dropped.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
