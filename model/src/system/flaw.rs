//! Wrong reductions, wrong searches and wrong steps that tests can plant.

/// A wrong reduction, a wrong search, or a step without a result, that a test can plant. An obligation
/// must detect a wrong reduction. The expected counts or the recheck must detect a wrong search.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A candidate drops votes that it has not counted yet.
    DropsFreshVotes,
    /// A server drops a vote request that it could still grant.
    DropsVoteRequests,
    /// A request counts as absorbed permanently although a crash can take back its commit index.
    ForgetsCommitOfCrashed,
    /// A conflict counts as a refusal that only carries its term.
    ConflictsAreRefusals,
    /// A response that acknowledges further entries counts as mere contact.
    MatchesAreContacts,
    /// The trimming removes one more entry from a request than the receiver has.
    TrimsOneTooMany,
    /// A leader's silent writes are durable immediately.
    MergesWritesOfLeaders,
    /// A merged restart keeps writes that were not durable.
    RestartKeepsUnsynced,
    /// Leader hints are forgotten although a step depends on them.
    ForgetsUsedHints,
    /// A step that commits entries counts as a step that only sends.
    CommitsEagerly,
    /// Among servers that look alike, the first order found is canonical.
    FirstOrderIsCanonical,
    /// Each thread of the search drops one of this many successors.
    DropsSuccessors(u64),
    /// In the search, only leaders crash.
    OnlyLeadersCrash,
    /// The step of a heartbeat timeout panics.
    StepPanics,
    /// The step of a heartbeat timeout does not end, and allocates memory.
    StepNeverEnds,
}

/// Whether this wrong reduction is planted. Always false without the feature `mutants`.
macro_rules! flawed {
    ($scope:expr, $flaw:ident) => {{
        #[cfg(feature = "mutants")]
        {
            $scope.flaw == Some($crate::system::flaw::Flaw::$flaw)
        }
        #[cfg(not(feature = "mutants"))]
        {
            let _ = &$scope;
            false
        }
    }};
}
pub(super) use flawed;
