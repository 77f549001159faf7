//! The budget of a scope: how often clients act and faults occur.

use super::BoundValue;
use core::{fmt, num::TryFromIntError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How often an event may occur. Its text and JSON are the number of times, or `any`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Never: the event is not part of the scope.
    #[default]
    Never,
    /// At most this number of times, 1 or more. The number of times is part of the state.
    AtMost(u8),
    /// Any number of times. The event is not counted, so that states which differ only in this number
    /// are one state.
    Any,
}

impl Limit {
    /// At most this number of times.
    pub const fn at_most(times: u8) -> Self {
        match times {
            0 => Self::Never,
            times => Self::AtMost(times),
        }
    }

    /// Whether the event never occurs.
    pub fn is_never(self) -> bool {
        self == Self::Never
    }

    /// Whether the event may occur, after it was counted this number of times.
    pub fn permits_another(self, counted: u8) -> bool {
        match self {
            Self::Never => false,
            Self::AtMost(times) => counted < times,
            Self::Any => true,
        }
    }

    /// The number to count for one event.
    pub(in crate::system) fn cost(self) -> u8 {
        u8::from(self != Self::Any)
    }

    fn covers(self, counted: u8) -> bool {
        counted == 0 || matches!(self, Self::AtMost(times) if counted <= times)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BoundValue::from(*self).fmt(f)
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BoundValue::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = BoundValue::deserialize(deserializer)?;
        Self::try_from(value).map_err(de::Error::custom)
    }
}

impl From<Limit> for BoundValue {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Never => Self::Number(0),
            Limit::AtMost(times) => Self::Number(times.into()),
            Limit::Any => Self::Any,
        }
    }
}

impl TryFrom<BoundValue> for Limit {
    type Error = TryFromIntError;

    fn try_from(value: BoundValue) -> Result<Self, TryFromIntError> {
        Ok(match value {
            BoundValue::Number(times) => Self::at_most(times.try_into()?),
            BoundValue::Any => Self::Any,
        })
    }
}

/// The events that a scope permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Entries that clients request. A leader's no-ops are not counted.
    pub entries: u8,
    /// Reads that leaders accept. They are always counted: each read makes a new read round.
    pub reads: u8,
    /// Crashes of servers.
    pub crashes: Limit,
    /// Snapshots that servers take.
    #[serde(default)]
    pub snapshots: Limit,
    /// Crashes of client processes. Traces of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "is_never")]
    pub client_crashes: Limit,
    /// Crashes of the proxy. Traces of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "is_never")]
    pub proxy_crashes: Limit,
    /// Leadership transfers that drivers request. Traces of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "is_never")]
    pub transfers: Limit,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_never(limit: &Limit) -> bool {
    limit.is_never()
}

impl Budget {
    /// Whether the budget permits the events that were counted.
    pub fn covers(&self, usage: &Usage) -> bool {
        usage.entries <= self.entries
            && usage.reads <= self.reads
            && self.crashes.covers(usage.crashes)
            && self.snapshots.covers(usage.snapshots)
            && self.client_crashes.covers(usage.client_crashes)
            && self.proxy_crashes.covers(usage.proxy_crashes)
            && self.transfers.covers(usage.transfers)
    }
}

/// The events that were counted: of a step, or since the start. Events without a limit are not
/// counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Usage {
    /// Entries that clients requested.
    pub entries: u8,
    /// Reads that leaders accepted.
    pub reads: u8,
    /// Crashes of servers.
    pub crashes: u8,
    /// Snapshots that servers took.
    pub snapshots: u8,
    /// Crashes of client processes.
    pub client_crashes: u8,
    /// Crashes of the proxy.
    pub proxy_crashes: u8,
    /// Leadership transfers.
    #[serde(default)]
    pub transfers: u8,
}

impl Usage {
    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            reads: self.reads.saturating_add(other.reads),
            crashes: self.crashes.saturating_add(other.crashes),
            snapshots: self.snapshots.saturating_add(other.snapshots),
            client_crashes: self.client_crashes.saturating_add(other.client_crashes),
            proxy_crashes: self.proxy_crashes.saturating_add(other.proxy_crashes),
            transfers: self.transfers.saturating_add(other.transfers),
        }
    }
}
