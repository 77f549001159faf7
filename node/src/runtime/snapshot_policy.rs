//! The snapshot policy: when a server takes a snapshot (log compaction, Raft §7).

use model::{Raft, Role};
use rand::{RngExt as _, rngs::StdRng};

/// The snapshot policy of one server.
pub(crate) struct SnapshotPolicy {
    /// The next snapshot is due after this many entries since the last one, before jitter.
    snapshot_entries: u64,
    /// The next snapshot is due after this many bytes of entries since the last one, before jitter.
    snapshot_bytes: u64,
    /// The number of bytes of entries since the last snapshot.
    pub(crate) growth: u64,
    /// The current jitter: the factor for both thresholds, in units of 1/1024.
    share: u64,
}

impl SnapshotPolicy {
    /// Creates a policy for a log that has grown by `growth` bytes since its last snapshot.
    pub(crate) fn new(
        snapshot_entries: u64,
        snapshot_bytes: u64,
        growth: u64,
        random: &mut StdRng,
    ) -> Self {
        let mut policy = Self {
            snapshot_entries,
            snapshot_bytes,
            growth,
            share: 0,
        };
        policy.begin(growth, random);
        policy
    }

    /// Restarts the count and draws the jitter anew. Servers apply the same entries. If they also
    /// wrote their snapshots at the same time, no write would become durable on any of them
    /// meanwhile, and all clients would wait.
    pub(crate) fn begin(&mut self, growth: u64, random: &mut StdRng) {
        self.growth = growth;
        self.share = random.random_range(768..=1280);
    }

    fn share_of(&self, usual: u64) -> u64 {
        let share = u128::from(usual) * u128::from(self.share) / 1024;
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Whether a snapshot is due. `last` is the size of the last snapshot in bytes.
    pub(crate) fn is_due(&self, raft: &Raft, last: u64) -> bool {
        let covered = raft.snapshot_index().get();
        let applied = raft.commit_index().get().saturating_sub(covered);
        raft.may_compact() && self.is_time(applied, last, sends_snapshots(raft))
    }

    /// Whether a snapshot is due after `applied` entries since the last one.
    fn is_time(&self, applied: u64, last: u64, is_sending: bool) -> bool {
        // However large the state, the disk writes about as many bytes of entries as of snapshots.
        let enough = self.share_of(last);
        let due = applied >= self.share_of(self.snapshot_entries)
            || self.growth >= self.share_of(self.snapshot_bytes);
        if !due || self.growth < enough {
            return false;
        }
        // The entries after a snapshot in transit should still be in the log when the follower
        // needs them. The wait is bounded, because a follower may never answer.
        let patience = (2 * enough).max(4 * self.snapshot_bytes);
        !is_sending || self.growth >= patience
    }
}

fn sends_snapshots(raft: &Raft) -> bool {
    let Role::Leader(leader) = raft.role() else {
        return false;
    };
    leader.followers.values().any(|of| of.snapshot_pause > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use std::collections::BTreeSet;

    const NO_STATE: u64 = 0;

    fn random() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    #[test]
    fn servers_take_snapshots_at_different_times_a_quarter_earlier_or_later_at_most() {
        let mut random = random();
        let mut first = |is_time: &dyn Fn(&SnapshotPolicy, u64) -> bool| {
            let drawn = (0..200).map(|_| {
                let policy = SnapshotPolicy::new(1000, 1000, 0, &mut random);
                (0..9999)
                    .find(|so_many| is_time(&policy, *so_many))
                    .unwrap()
            });
            drawn.collect::<BTreeSet<u64>>()
        };
        let entries = first(&|policy, applied| policy.is_time(applied, NO_STATE, false));
        let bytes = first(&|policy, growth| {
            let policy = SnapshotPolicy { growth, ..*policy };
            policy.is_time(0, NO_STATE, false)
        });
        for drawn in [entries, bytes] {
            assert!(drawn.iter().all(|so_many| (750..=1250).contains(so_many)));
            assert!(drawn.len() > 20, "of 200 few are alike: {drawn:?}");
        }
    }

    #[test]
    fn each_snapshot_draws_anew() {
        let mut random = random();
        let mut policy = SnapshotPolicy::new(1000, 1000, 0, &mut random);
        let drawn = (0..200).map(|_| {
            policy.begin(0, &mut random);
            policy.share
        });
        assert!(drawn.collect::<BTreeSet<u64>>().len() > 20);
    }

    #[test]
    fn log_grows_by_about_as_much_as_a_large_state_takes() {
        let mut random = random();
        let mut policy = SnapshotPolicy::new(1000, 1000, 0, &mut random);
        let state = 1 << 20;
        for (growth, is_time) in [(0, false), (state / 2, false), (state * 2, true)] {
            policy.growth = growth;
            assert_eq!(policy.is_time(u64::MAX, state, false), is_time, "{growth}");
        }
    }

    #[test]
    fn snapshot_on_its_way_is_waited_for_but_not_for_ever() {
        let mut random = random();
        let mut policy = SnapshotPolicy::new(1000, 1000, 0, &mut random);
        for (growth, state, is_time) in [
            (3999, NO_STATE, false),
            (4000, NO_STATE, true),
            (1_000_000, 1_000_000, false),
            (2_500_000, 1_000_000, true),
        ] {
            policy.growth = growth;
            assert_eq!(policy.is_time(u64::MAX, state, true), is_time, "{growth}");
        }
    }
}
