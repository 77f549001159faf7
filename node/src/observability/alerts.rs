//! Conditions that need an operator's attention.

use serde::Serialize;

/// A condition that needs an operator's attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// The kind of condition.
    pub kind: AlertKind,
    /// The server involved.
    pub node: u64,
    /// A description for operators.
    pub text: String,
}

/// The kinds of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A server returned without its disk, or with an old copy of it, and does not count.
    LostDisk,
    /// Two servers run under the same number.
    DuplicateNumber,
    /// Datagrams arrive from processes that were configured with other voters.
    OtherVoters,
    /// A name in the `--peer` list resolves to the address of another server, or to one at which
    /// this server does not listen; or a server sends from the address of another one.
    PeerAddresses,
    /// A disk operation has been in progress for too long.
    SlowDisk,
}
