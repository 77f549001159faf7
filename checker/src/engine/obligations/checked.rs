//! The counts of the checks, and the failures.

use model::system::{Obligation, Process, Unmet, obligation::described};
use std::time::Duration;

/// The number of checks of each obligation, and the failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    counts: [u64; Obligation::ALL.len()],
    /// The first failure of each obligation that failed.
    pub unmet: Vec<Unmet>,
    /// The time that the checks took. The search waits meanwhile.
    pub elapsed: Duration,
}

impl Checked {
    /// The number of checks of an obligation.
    pub fn count(&self, obligation: Obligation) -> u64 {
        self.counts[obligation as usize]
    }

    /// The obligations with the number of checks, in the order of [`Obligation::ALL`].
    pub fn counts(&self) -> impl Iterator<Item = (Obligation, u64)> {
        let all = Obligation::ALL.iter();
        all.map(|obligation| (*obligation, self.count(*obligation)))
    }

    pub(super) fn note(&mut self, obligation: Obligation, verdict: Result<(), Unmet>) {
        self.counts[obligation as usize] += 1;
        if let Err(unmet) = verdict
            && self
                .unmet
                .iter()
                .all(|known| known.obligation != obligation)
        {
            self.unmet.push(unmet);
        }
    }

    pub(super) fn record(
        &mut self,
        obligation: Obligation,
        process: &Process,
        event: impl FnOnce() -> String,
        verdict: Result<(), String>,
    ) {
        let verdict = verdict.map_err(|why| Unmet {
            obligation,
            process: described(process),
            event: event(),
            why,
        });
        self.note(obligation, verdict);
    }

    /// Records only a failure. The obligation needs this condition too, but no reduction removed anything
    /// here, and the count is the number of removals.
    pub(super) fn require(
        &mut self,
        obligation: Obligation,
        process: &Process,
        event: impl FnOnce() -> String,
        verdict: Result<(), String>,
    ) {
        if verdict.is_err() {
            self.record(obligation, process, event, verdict);
        }
    }

    /// Adds the checks of another thread.
    pub(super) fn add(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for unmet in other.unmet {
            self.counts[unmet.obligation as usize] -= 1;
            self.note(unmet.obligation, Err(unmet));
        }
    }
}
