//! What an endpoint did and what it dropped, counted. Complaints about drops are logged once a
//! second for each cause at most, however many there are.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
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
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name it is counted under.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// What is counted when all goes well.
    Count:
    /// Datagrams handed to the system.
    DatagramsSent = "datagrams_sent",
    /// Bytes of those.
    BytesSent = "bytes_sent",
    /// Calls of the system that sent them: several datagrams may go with one.
    SendCalls = "send_calls",
    /// Messages on their way, as datagrams or as fragments.
    MessagesSent = "messages_sent",
    /// Datagrams the system handed over, good or not.
    DatagramsReceived = "datagrams_received",
    /// Bytes of those.
    BytesReceived = "bytes_received",
    /// Calls of the system that received them.
    ReceiveCalls = "receive_calls",
    /// Messages put into the inbox.
    MessagesReceived = "messages_received",
    /// Fragments sent for the first time.
    FragmentsSent = "fragments_sent",
    /// Fragments sent again, since no word of them came.
    FragmentsRepeated = "fragments_repeated",
    /// Fragments received, repeats included.
    FragmentsReceived = "fragments_received",
    /// Messages sent as fragments all of which were acknowledged.
    FragmentedMessagesDelivered = "fragmented_messages_delivered",
    /// Messages put together from fragments.
    FragmentedMessagesReceived = "fragmented_messages_received",
    /// Datagrams that were too long for the kernel to send, and whose contents left in shorter ones.
    DatagramsResplit = "datagrams_resplit",
    /// Padded datagrams sent to find out which length a path carries.
    ProbesSent = "probes_sent",
    /// Those that were acknowledged.
    ProbesAcknowledged = "probes_acknowledged",
    /// Times a path ceased to carry datagrams of the length in use, while shorter ones passed.
    BlackHoles = "black_holes",
    /// Messages the fault plan sent twice.
    DuplicatedByFaults = "duplicated_by_faults",
    /// Messages the fault plan held back for a while.
    DelayedByFaults = "delayed_by_faults",
}

named! {
    /// Why something was dropped. Of what arrived: a datagram, a frame, a message; of what was to
    /// be sent: a message, or as many datagrams as did not leave.
    Cause:
    /// A datagram with fewer bytes than a header.
    Short = "short",
    /// A datagram of something else altogether.
    Magic = "magic",
    /// A datagram of another version of the format.
    Version = "version",
    /// A datagram of another cluster.
    Cluster = "cluster",
    /// A datagram of a process that was configured with other voters.
    Voters = "voters",
    /// A datagram under a key that is not known here.
    UnknownKey = "unknown_key",
    /// A datagram in the clear, where there are keys.
    Unsealed = "unsealed",
    /// A sealed datagram, where there are no keys.
    Sealed = "sealed",
    /// A datagram whose seal is broken: another key, or bytes changed on the way.
    Seal = "seal",
    /// A datagram that was received before, or is too old to tell.
    Replayed = "replayed",
    /// The rest of a datagram that cannot be read.
    Frame = "frame",
    /// A message that cannot be read.
    Message = "message",
    /// A message that its key does not allow its sender to send.
    Forbidden = "forbidden",
    /// A message for another process: the sender has the address of this one for it.
    Misdirected = "misdirected",
    /// A fragment of a message larger than is taken, or a message too large to be sent.
    Oversized = "oversized",
    /// A fragment that does not fit to others of its message.
    Fragment = "fragment",
    /// A half-assembled message that made room for others.
    ReassemblyFull = "reassembly_full",
    /// A message that came faster than messages were taken out.
    InboxFull = "inbox_full",
    /// A message to someone of whom no address is known.
    NoRoute = "no_route",
    /// A message that no key held here may seal.
    NoKey = "no_key",
    /// Datagrams that found the queue to the socket full.
    SendQueueFull = "send_queue_full",
    /// A large message that found too much waiting for its receiver already.
    FragmentQueueFull = "fragment_queue_full",
    /// A large message of which no word came in spite of repeats.
    GaveUp = "gave_up",
    /// Datagrams the system refused to send, for none of the reasons below.
    SendFailed = "send_failed",
    /// Datagrams that are too long for the interface although they have the least length there is.
    TooLong = "too_long",
    /// Datagrams to an address without a route.
    Unreachable = "unreachable",
    /// Datagrams that a packet filter of this machine refused to send.
    Filtered = "filtered",
    /// Datagrams the system had no memory to send.
    NoBuffers = "no_buffers",
    /// A call of the system that failed instead of handing over datagrams.
    ReceiveFailed = "receive_failed",
    /// A message the fault plan dropped, or cut off.
    Faults = "faults",
    /// A message the fault plan would have delayed, had there been room.
    DelayFull = "delay_full",
}

/// What an endpoint counted since it was opened.
#[derive(Debug)]
pub struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    drops: [AtomicU64; Cause::ALL.len()],
    /// For each cause, when it was last complained of, in milliseconds since `start`, plus 1.
    complained: [AtomicU64; Cause::ALL.len()],
    start: Instant,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; _],
            drops: [const { AtomicU64::new(0) }; _],
            complained: [const { AtomicU64::new(0) }; _],
            start: Instant::now(),
        }
    }

    /// How many there were.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// How many were dropped for this cause.
    pub fn dropped(&self, cause: Cause) -> u64 {
        self.drops[cause as usize].load(Ordering::Relaxed)
    }

    /// Everything counted, by name; drops as `dropped_` and the cause's name.
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

    /// Counts what was dropped. `about` says what and why in the log.
    pub fn drop(&self, cause: Cause, many: usize, about: fmt::Arguments<'_>) {
        if many == 0 {
            return;
        }
        let before = self.drops[cause as usize].fetch_add(many as u64, Ordering::Relaxed);
        // What a fault plan does is meant, and needs no complaint.
        if cause == Cause::Faults {
            return;
        }
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let last = &self.complained[cause as usize];
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
        let counters = Counters::new();
        counters.add(Count::BytesSent, 3);
        counters.drop(Cause::Seal, 2, format_args!("a test"));
        let listed: std::collections::BTreeMap<_, _> = counters.iter().collect();
        assert_eq!(listed.len(), Count::ALL.len() + Cause::ALL.len());
        assert_eq!(listed["bytes_sent"], 3);
        assert_eq!(listed["dropped_seal"], 2);
        assert_eq!(listed.values().sum::<u64>(), 5);
    }
}
