//! The level of detail of a status query.

use super::log_excerpt::TAIL;

/// The level of detail of a status query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusQuery {
    /// The number of last log entries to show, at most [`TAIL`].
    pub entries: usize,
    /// Only events after the one with this number are shown.
    pub since: u64,
}

impl StatusQuery {
    /// Neither entries nor events.
    pub const BRIEF: Self = Self {
        entries: 0,
        since: u64::MAX,
    };
}

impl Default for StatusQuery {
    fn default() -> Self {
        Self {
            entries: TAIL,
            since: 0,
        }
    }
}
