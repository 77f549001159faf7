//! Witnesses: events that the search of a scope must reach, so that a scope cannot pass vacuously.

use alloc::vec::Vec;
use core::fmt;

macro_rules! witnesses {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// An event that must be reachable in the scopes that expect it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Witness {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Witness {
            /// All witnesses.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// A short name for tables.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

witnesses! {
    /// Some server became leader.
    LeaderElected = "leader elected";
    /// A leader was elected after a leader of an earlier term.
    ReElection = "re-election";
    /// A vote was refused because the candidate's log was behind.
    VoteRefusedForLog = "vote refused for its log";
    /// A vote was refused because the server had already voted in this term.
    VoteRefusedAsGiven = "vote refused as given";
    /// A server started a pre-vote, won a majority of it and started an election.
    PreVoteWon = "pre-vote won";
    /// A pre-vote request had a next term that is not newer than the receiver's term.
    PreVoteBehind = "pre-vote of an old term";
    /// A server with a live leader refused or ignored a (pre-)candidate (leader stickiness).
    VoteRefusedForLeader = "vote refused for a live leader";
    /// A leader stepped down because no majority responded.
    QuorumLost = "leader lost its quorum";
    /// A leader sent entries before earlier entries were acknowledged.
    Pipelined = "entries pipelined";
    /// A leader appended several writes of one event.
    WritesTogether = "writes appended together";
    /// A follower appended several entries of one request.
    EntriesTogether = "several entries in one request";
    /// A server became leader in an election that the earlier leader asked for.
    LeadershipTransferred = "leadership transferred";
    /// A leader aborted a leadership transfer.
    TransferAborted = "transfer aborted";
    /// A server with a live leader voted for the target of that leader's transfer.
    VotedDespiteLeader = "vote despite a live leader";
    /// A leader became follower because of a newer term.
    LeaderDeposed = "leader deposed";
    /// An entry was committed.
    EntryCommitted = "entry committed";
    /// A follower learned that an entry is committed.
    FollowerCommitted = "follower committed";
    /// A leader committed an entry of an older term, below an entry of its own term.
    OlderTermEntryCommitted = "older-term entry committed";
    /// A follower removed conflicting entries.
    ConflictRemoved = "conflict removed";
    /// A leader moved `next_index` back.
    NextIndexMovedBack = "next_index moved back";
    /// A server crashed.
    Crashed = "crash";
    /// A leader crashed.
    LeaderCrashed = "leader crashed";
    /// A crash lost a write.
    UnsyncedWriteLost = "unsynced write lost";
    /// A server restarted and still had its vote.
    VoteSurvivedCrash = "vote survived crash";
    /// A leader committed an entry that was not yet on its own disk.
    CommittedWithoutOwnDisk = "commit without own disk";
    /// A server took a snapshot.
    SnapshotTaken = "snapshot taken";
    /// A snapshot replaced a follower's log.
    SnapshotInstalled = "snapshot installed";
    /// The follower had the last entry of a snapshot, and kept the entries after it.
    SuffixKept = "suffix kept";
    /// The follower had another entry at the last index of a snapshot, and discarded that entry and all
    /// entries after it.
    SuffixDiscarded = "suffix discarded";
    /// A server recovered from a snapshot.
    RecoveredFromSnapshot = "recovered from a snapshot";
    /// A client received the response that its write took effect.
    WriteAcknowledged = "write acknowledged";
    /// A read was served.
    ReadServed = "read served";
    /// A read returned a value written by a write.
    ReadSawWrite = "read saw a write";
    /// A client received the answer of an earlier entry: the session's cached response to its write.
    DuplicateAnswered = "duplicate answered from memory";
    /// A leader stepped down or was deposed while clients waited.
    ClientInterrupted = "client interrupted";
    /// A client retried a request.
    ClientRetried = "client retried";
    /// A client ended with an unknown outcome.
    OutcomeUnknown = "outcome unknown";
    /// A proxy was redirected to another server.
    ProxyRedirected = "proxy redirected";
    /// A client crashed with an operation in flight.
    ClientCrashed = "client crashed";
    /// A proxy crashed with a request in flight.
    ProxyCrashed = "proxy crashed";
    /// A client received a result that shows the effect of a write of one of its earlier runs, which a
    /// crash had ended before the write was answered.
    AbandonedTookEffect = "abandoned write took effect";
    /// A client received the cached response to its write from another leader than the one that appended
    /// the first copy.
    DuplicateAnsweredLater = "duplicate answered by a later leader";
    /// A write was answered that its condition did not hold.
    ConditionFailed = "condition failed";
    /// A copy of such a write was answered: the session's cached response to its write.
    FailureRepeated = "failure answered from memory";
    /// A write was refused because the state would have exceeded its quota.
    QuotaExceeded = "quota exceeded";
    /// A scan was served.
    PairsScanned = "scan served";
    /// A session was evicted to make room for another.
    SessionEvicted = "session evicted";
    /// A session was evicted, and another one stayed open.
    OneOfSeveralEvicted = "one of several sessions evicted";
    /// A write arrived after its session was removed.
    SessionGone = "write of a session that is gone";
    /// No session was opened because all sessions were in use.
    SessionRefused = "session refused";
    /// A client closed its session.
    SessionClosed = "session closed";
    /// A write was rejected because its session was evicted before any copy of the write was applied.
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

    /// The set with these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Adds a witness.
    pub fn add(&mut self, witness: Witness) {
        self.0 |= 1 << witness as u64;
    }

    /// Adds all witnesses of another set.
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
