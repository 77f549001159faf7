//! Witnesses: what a scope must be seen to reach, so that a pass cannot be a vacuous one.

use alloc::vec::Vec;
use core::fmt;

macro_rules! witnesses {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// Something that must be reachable in the scopes that name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Witness {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Witness {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// A few words for tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

witnesses! {
    /// Some server became leader.
    LeaderElected = "leader elected";
    /// A leader was elected after one of an earlier term.
    ReElection = "re-election";
    /// A leader was elected after a crash and after one of an earlier term.
    ReElectionAfterCrash = "re-election after crash";
    /// A vote was refused because the candidate's log was behind.
    VoteRefusedForLog = "vote refused for its log";
    /// A vote was refused because it was given already.
    VoteRefusedAsGiven = "vote refused as given";
    /// A server asked whether it would win, a majority said so, and it ran.
    PreVoteWon = "pre-vote won";
    /// A pre-vote request came from a server whose next term is no news.
    PreVoteBehind = "pre-vote of an old term";
    /// A server that hears its leader refused or ignored someone who wants to lead.
    StuckToLeader = "stuck to its leader";
    /// A leader that no majority answered stepped down.
    QuorumLost = "leader lost its quorum";
    /// A leader sent entries while earlier ones were not acknowledged.
    Pipelined = "entries pipelined";
    /// A server went back to follower because of a newer term while it led.
    LeaderDeposed = "leader deposed";
    /// An entry was committed.
    EntryCommitted = "entry committed";
    /// A follower learnt that an entry is committed.
    FollowerCommitted = "follower committed";
    /// A leader committed an entry of an older term, below one of its own.
    OlderTermEntryCommitted = "older-term entry committed";
    /// A follower removed conflicting entries.
    ConflictRemoved = "conflict removed";
    /// A leader moved next_index back.
    NextIndexMovedBack = "next_index moved back";
    /// A server crashed.
    Crashed = "crash";
    /// A leader crashed.
    LeaderCrashed = "leader crashed";
    /// A crash lost a write.
    UnsyncedWriteLost = "unsynced write lost";
    /// A server came back with its vote.
    VoteSurvivedCrash = "vote survived crash";
    /// A leader committed an entry that its own disk did not hold yet.
    CommittedWithoutOwnDisk = "commit without own disk";
    /// A server took a snapshot.
    SnapshotTaken = "snapshot taken";
    /// A snapshot took the place of a follower's log.
    SnapshotInstalled = "snapshot installed";
    /// A snapshot ended with an entry that the follower had, and what followed that entry stayed.
    SuffixKept = "suffix kept";
    /// A snapshot ended where the follower had another entry, which went with all that followed.
    SuffixDiscarded = "suffix discarded";
    /// A server came back from a snapshot.
    RecoveredFromSnapshot = "recovered from a snapshot";
    /// A client was told that its write took effect.
    WriteAcknowledged = "write acknowledged";
    /// A read was answered.
    ReadServed = "read served";
    /// A read returned what a write wrote.
    ReadSawWrite = "read saw a write";
    /// A repeated command was answered from the session's memory.
    DuplicateAnswered = "duplicate answered from memory";
    /// A leader lost the lead while clients waited.
    ClientInterrupted = "client interrupted";
    /// A client sent a request again.
    ClientRetried = "client retried";
    /// A client ended with an unknown outcome.
    OutcomeUnknown = "outcome unknown";
    /// A proxy was sent on to another server.
    ProxyRedirected = "proxy redirected";
    /// A session made room for another.
    SessionEvicted = "session evicted";
    /// A write came when its session was gone.
    SessionGone = "write of a session that is gone";
    /// No session was opened, as all of them were in use.
    SessionRefused = "session refused";
    /// A client closed its session.
    SessionClosed = "session closed";
    /// A write was told that its session was evicted before any copy of it was applied.
    WriteMoved = "write moved to another session";
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of witnesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witnesses(u64);

impl Witnesses {
    /// The set as bits, one for each witness in the order of [`Witness::ALL`].
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Adds one.
    pub fn add(&mut self, witness: Witness) {
        self.0 |= 1 << witness as u64;
    }

    /// Adds all of another set.
    pub fn add_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Whether the witness is in the set.
    pub const fn contains(self, witness: Witness) -> bool {
        self.0 & (1 << witness as u64) != 0
    }

    /// The witnesses in the set.
    pub fn list(self) -> Vec<Witness> {
        Witness::ALL
            .iter()
            .copied()
            .filter(|witness| self.contains(*witness))
            .collect()
    }
}
