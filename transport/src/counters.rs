//! Counters of the activity of an endpoint and of its drops. Warnings about drops are rate limited
//! to one per second and cause.

use crate::environment::Clock;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

macro_rules! named {
    ($(#[$doc:meta])* $type:ident: $($(#[$of:meta])* $variant:ident = $name:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$of])* $variant,)*
        }

        impl $type {
            /// All variants.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// The counters of normal operation.
    Count:
    /// Datagrams handed to the system.
    DatagramsSent = "datagrams_sent",
    /// Bytes in these datagrams.
    BytesSent = "bytes_sent",
    /// System calls that sent datagrams. One call may send several.
    SendCalls = "send_calls",
    /// Messages sent, as datagrams or as fragments.
    MessagesSent = "messages_sent",
    /// Datagrams received from the system, valid or not.
    DatagramsReceived = "datagrams_received",
    /// Bytes in these datagrams.
    BytesReceived = "bytes_received",
    /// System calls that received datagrams.
    ReceiveCalls = "receive_calls",
    /// Messages put into the inbox.
    MessagesReceived = "messages_received",
    /// Fragments sent for the first time.
    FragmentsSent = "fragments_sent",
    /// Fragments retransmitted.
    FragmentsRetransmitted = "fragments_retransmitted",
    /// Fragments received, including duplicates.
    FragmentsReceived = "fragments_received",
    /// Fragmented messages with all fragments acknowledged.
    FragmentedMessagesDelivered = "fragmented_messages_delivered",
    /// Messages reassembled from fragments.
    FragmentedMessagesReceived = "fragmented_messages_received",
    /// Datagrams that the kernel refused as too long, whose frames were sent in shorter ones.
    DatagramsResplit = "datagrams_resplit",
    /// Padded datagrams sent to discover the path MTU.
    ProbesSent = "probes_sent",
    /// Probes that were acknowledged.
    ProbesAcknowledged = "probes_acknowledged",
    /// Path MTU black holes detected: datagrams of the size in use were lost while shorter ones
    /// arrived.
    BlackHoles = "black_holes",
    /// Messages that the fault plan duplicated.
    DuplicatedByFaults = "duplicated_by_faults",
    /// Messages that the fault plan delayed.
    DelayedByFaults = "delayed_by_faults",
}

named! {
    /// Causes of drops. For received data the unit is a datagram, a frame or a message; for sent
    /// data, a message or the datagrams that were not sent.
    Cause:
    /// A datagram shorter than a header.
    Short = "short",
    /// A datagram of another protocol.
    Magic = "magic",
    /// A datagram of another format version.
    Version = "version",
    /// A datagram of another cluster.
    Cluster = "cluster",
    /// A datagram of a process that was configured with other voters.
    Voters = "voters",
    /// A datagram under an unknown key.
    UnknownKey = "unknown_key",
    /// An unsealed datagram at an endpoint with keys.
    Unsealed = "unsealed",
    /// A sealed datagram at an endpoint without keys.
    Sealed = "sealed",
    /// A datagram with a broken seal: another key, or modified bytes.
    Seal = "seal",
    /// A datagram that is a duplicate or older than the replay window.
    Replayed = "replayed",
    /// The rest of a datagram after a malformed frame.
    Frame = "frame",
    /// A malformed message.
    Message = "message",
    /// A message that its key does not permit.
    Forbidden = "forbidden",
    /// A message for another process: the sender has a wrong address for that process.
    Misdirected = "misdirected",
    /// A fragment of a message above the size limit, or a message too large to send.
    Oversized = "oversized",
    /// A fragment that contradicts other fragments of its message.
    Fragment = "fragment",
    /// An incomplete message, evicted to make room for others.
    ReassemblyFull = "reassembly_full",
    /// A message that arrived while the inbox was full.
    InboxFull = "inbox_full",
    /// A message to a process without a known address.
    NoRoute = "no_route",
    /// A message that no key held here permits.
    NoKey = "no_key",
    /// Datagrams that did not fit into the send queue.
    SendQueueFull = "send_queue_full",
    /// A large message that exceeded the limit of waiting messages for its receiver.
    FragmentQueueFull = "fragment_queue_full",
    /// A large message that timed out despite retransmissions.
    GaveUp = "gave_up",
    /// Datagrams that the system refused to send, for a reason not listed below.
    SendFailed = "send_failed",
    /// Datagrams of the minimum size that are still too long for the interface.
    TooLong = "too_long",
    /// Datagrams to an address without a route.
    Unreachable = "unreachable",
    /// Datagrams that a packet filter of this machine blocked.
    Filtered = "filtered",
    /// Datagrams that the system had no memory to send.
    NoBuffers = "no_buffers",
    /// A system call for receiving that failed.
    ReceiveFailed = "receive_failed",
    /// A message that the fault plan dropped, or that a cut link blocked.
    Faults = "faults",
    /// A message that the fault plan delays, but that found the delay queue full.
    DelayFull = "delay_full",
}

/// The counters of an endpoint since it was opened.
#[derive(Debug)]
pub struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    drops: [AtomicU64; Cause::ALL.len()],
    /// The time of the last warning for each cause, in milliseconds since `start`, plus 1; 0 if
    /// none.
    warned: [AtomicU64; Cause::ALL.len()],
    clock: Arc<dyn Clock>,
    start: Instant,
}

impl Counters {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; _],
            drops: [const { AtomicU64::new(0) }; _],
            warned: [const { AtomicU64::new(0) }; _],
            start: clock.now(),
            clock,
        }
    }

    /// The value of a counter.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// The number of drops with this cause.
    pub fn dropped(&self, cause: Cause) -> u64 {
        self.drops[cause as usize].load(Ordering::Relaxed)
    }

    /// All counters by name. Drops have the prefix `dropped_`.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = Count::ALL
            .iter()
            .map(|of| (of.name().to_owned(), self.get(*of)));
        let drops = Cause::ALL
            .iter()
            .map(|of| (format!("dropped_{}", of.name()), self.dropped(*of)));
        counts.chain(drops)
    }

    pub(crate) fn add(&self, count: Count, many: usize) {
        self.counts[count as usize].fetch_add(many as u64, Ordering::Relaxed);
    }

    /// Counts a drop that is part of normal operation, without a warning.
    pub(crate) fn drop_silently(&self, cause: Cause) {
        self.drops[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts drops. `about` describes the object and the reason in the log.
    pub fn drop(&self, cause: Cause, many: usize, about: fmt::Arguments<'_>) {
        if many == 0 {
            return;
        }
        let before = self.drops[cause as usize].fetch_add(many as u64, Ordering::Relaxed);
        // Drops by the fault plan are intended, so they are not logged.
        if cause == Cause::Faults {
            return;
        }
        let since = self.clock.now().saturating_duration_since(self.start);
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last = &self.warned[cause as usize];
        let seen = last.load(Ordering::Relaxed);
        let due = seen == 0 || now.saturating_sub(seen) >= 1000;
        if due
            && last
                .compare_exchange(seen, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            tracing::warn!(
                cause = cause.name(),
                dropped = before + many as u64,
                "dropped: {about}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_name_of_its_own_and_is_listed() {
        let counters = Counters::new(crate::Environment::system().clock);
        counters.add(Count::BytesSent, 3);
        counters.drop(Cause::Seal, 2, format_args!("a test"));
        let listed: std::collections::BTreeMap<_, _> = counters.iter().collect();
        assert_eq!(listed.len(), Count::ALL.len() + Cause::ALL.len());
        assert_eq!(listed["bytes_sent"], 3);
        assert_eq!(listed["dropped_seal"], 2);
        assert_eq!(listed.values().sum::<u64>(), 5);
    }
}
