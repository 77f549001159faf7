//! Committing entries from previous terms (§5.4.2, Figure 8).

use crate::cluster::{Cluster, disk};
use model::Config;

/// Figure 8, (a) to (d): an entry of an older term on a majority of servers is not thereby committed,
/// because it can still be replaced.
///
/// Deviation: our leaders begin with a no-op. So n2, which is probed with the end of the new leader's
/// log, gets the no-op of term 4 as well.
#[test]
fn figure_8_older_term_on_a_majority_can_still_be_replaced() {
    let mut cluster = figure_8_c(|_| {});
    assert_eq!(cluster.terms(3), [1, 2]);
    assert_eq!(
        cluster.commit(1),
        0,
        "2 of term 2 is on a majority, yet not committed"
    );
    figure_8_d(&mut cluster);
    for id in cluster.ids() {
        assert_eq!(cluster.terms(id), [1, 3, 5], "n{id}");
    }
}

/// Figure 8, (e): as soon as an entry of the leader's own term is on a majority, this entry and all
/// preceding entries are committed, and the other log can never win again.
#[test]
fn figure_8_own_term_on_a_majority_commits_what_came_before() {
    let mut cluster = figure_8_c(|_| {});
    cluster.deliver(1, 3);
    cluster.sync(3);
    cluster.deliver(3, 1);
    assert_eq!(cluster.terms(3), [1, 2, 4]);
    assert_eq!(cluster.commit(1), 3);
    cluster.crash(1);
    cluster.network.clear();
    cluster.restart(5);
    for _ in 0..3 {
        cluster.timeout(5);
        cluster.settle();
        assert!(!cluster.leads(5));
    }
    cluster.elect(2);
    assert_eq!(cluster.terms(5), [1, 2, 4, 7]);
}

/// Figure 8 again, with the bug that the paper warns about: counting replicas commits the entry of
/// term 2, and then the leader of term 5 lacks it.
#[cfg(feature = "mutants")]
#[test]
fn figure_8_counting_an_older_term_loses_a_committed_entry() {
    let mut cluster = figure_8_c(|config| {
        config.mutant = Some(model::mutant::Mutant::CommitsOlderTermByCounting);
    });
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.violation, None);
    cluster.expects_violation = true;
    figure_8_d(&mut cluster);
    assert_eq!(cluster.violation.as_deref(), Some("Leader Completeness"));
}

/// Figure 8 up to (c). Each append carries one entry, so that n1 can send n3 the entry of term 2
/// without the next entry.
fn figure_8_c(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[1]); 5], |config| {
        config.max_entries_per_append = 1;
        configure(config);
    });
    // (a) n1 leads in term 2 and replicates its entry to n2 only.
    cluster.elect_by(1, &[2, 3, 4, 5]);
    cluster.deliver(1, 2);
    cluster.sync(2);
    assert_eq!(cluster.terms(2), [1, 2]);
    // (b) n1 crashes; n5 wins term 3 with n3 and n4, and accepts another entry.
    cluster.sync(1);
    cluster.crash(1);
    cluster.elect_by(5, &[3, 4]);
    cluster.sync(5);
    assert_eq!(cluster.terms(5), [1, 3]);
    // (c) n5 crashes; n1 restarts, wins term 4 with n2 and n3, and continues replication. It was down
    // during term 3, so its first attempt is in term 3.
    cluster.crash(5);
    cluster.restart(1);
    cluster.timeout(1);
    cluster.sync(1);
    cluster.elect_by(1, &[2, 3]);
    cluster.sync(1);
    cluster.deliver(1, 2);
    for _probe_then_entry in 0..2 {
        cluster.deliver(1, 3);
        cluster.sync(3);
        cluster.sync(2);
        cluster.deliver(3, 1);
        cluster.deliver(2, 1);
    }
    assert_eq!(cluster.terms(1), [1, 2, 4]);
    assert_eq!(cluster.terms(3), [1, 2]);
    cluster
}

/// Figure 8 (d): n1 crashes again, and n5 wins with the votes of n3 and n4.
fn figure_8_d(cluster: &mut Cluster) {
    cluster.crash(1);
    cluster.restart(5);
    cluster.network.clear();
    // n5 was down during term 4, in which n3 has voted already.
    cluster.timeout(5);
    cluster.settle();
    assert!(!cluster.leads(5));
    cluster.elect(5);
    cluster.restart(1);
    cluster.heartbeat(5);
    cluster.settle();
}
