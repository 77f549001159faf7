//! The scopes that are checked when none is named.

/// The scopes that are checked by default: about three minutes on two cores.
const DEFAULT_SCOPES: &[&str] = &[
    "elections",
    "elections-4",
    "older-term",
    "split-writes",
    "split-entries",
    "pipelining",
    "replication",
    "replication-4",
    "pipelining-terms",
    "mixed-settings",
    "quorum",
    "reads",
    "end-to-end",
    "snapshots",
    "snapshots-entries",
    "everything",
    "everything-3",
    "transfers",
    "transfers-quorum",
    "crashes",
    "elections-5",
    "sessions",
    "restarts",
    "restarts-reads",
    "fail-over-retries",
    "fail-over-crashes",
    "client-reads",
    "sessions-2",
    "store",
    "conditions",
    "batches",
];

/// Whether a scope is checked by default.
pub(crate) fn is_default(name: &str) -> bool {
    DEFAULT_SCOPES.contains(&name)
}
