//! The identifiers that all other modules use: terms, log positions, servers and their runs, sessions,
//! writes.
//!
//! Each number is a newtype with a private field, so that a term cannot be passed in place of an index.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $show:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a plain number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The next number.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($show, "{}"), self.0)
            }
        }
    };
}

number!(
    /// An election term (Raft §5.1). Term 0 precedes the first election.
    Term,
    "t"
);
number!(
    /// A position in the log, counted from 1; 0 is the position before the log.
    LogIndex,
    "i"
);
number!(
    /// A server of the cluster.
    NodeId,
    "n"
);
number!(
    /// A proxy.
    ProxyId,
    "p"
);
number!(
    /// A client process. Not a session: a client opens sessions in the replicated store.
    ClientId,
    "c"
);
number!(
    /// A client session (thesis §6.3), identified by the index of the log entry that opened it.
    SessionId,
    "s"
);
number!(
    /// A write to stable storage, counted from 1 since the server started. Writes become durable in
    /// this order.
    WriteId,
    "w"
);
number!(
    /// A request of one client or proxy; the response carries the same number.
    RequestId,
    "r"
);

impl LogIndex {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    /// The position before this one.
    ///
    /// # Panics
    /// At 0, because no position precedes it.
    #[must_use]
    pub const fn prev(self) -> Self {
        assert!(self.0 > 0, "no position precedes the start of the log");
        Self(self.0 - 1)
    }

    /// The position `count` entries later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl Term {
    /// The term before the first election.
    pub const ZERO: Self = Self(0);

    /// The last possible term. No election follows it.
    pub const LAST: Self = Self(u64::MAX);

    /// The maximum number of terms by which one message may raise the receiver's term. Otherwise a
    /// forged term near [`Self::LAST`] would end all elections forever. A server that missed more
    /// elections catches up within several messages.
    pub const MAX_JUMP: u64 = 1 << 20;

    /// The latest term to which one message may raise a server in this term.
    #[must_use]
    pub const fn farthest(self) -> Self {
        Self(self.0.saturating_add(Self::MAX_JUMP))
    }
}

/// The identity of an entry: the term it was created in and its position. By Log Matching (Raft
/// §5.3) this identifies one entry forever.
///
/// The derived order compares the term first and the index second, which is exactly "at least as
/// up-to-date" of Raft §5.4.1 when applied to last entries.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// The position of the entry.
    pub index: LogIndex,
}

/// The sender or the receiver of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A server.
    Node(NodeId),
    /// A proxy.
    Proxy(ProxyId),
    /// A client.
    Client(ClientId),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "server {id}"),
            Self::Proxy(id) => write!(f, "proxy {id}"),
            Self::Client(id) => write!(f, "client {id}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "{id:?}"),
            Self::Proxy(id) => write!(f, "{id:?}"),
            Self::Client(id) => write!(f, "{id:?}"),
        }
    }
}

/// One run of a process. Later runs compare greater, as far as the machine's clock is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId {
    /// The start of the run, in microseconds since 1970.
    pub started: u64,
    /// A random number that makes every run unique, regardless of the clock.
    pub random: u64,
}
