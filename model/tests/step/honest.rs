//! Honest runs.

use crate::{Act, act, cluster::Cluster, random, run};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// The size of a cluster, the number of entries per append, and the events.
fn honest_run() -> impl Strategy<Value = (usize, usize, Vec<Act>)> {
    (1..=5_usize, 1..=3_usize, vec(act(), 0..300))
}

proptest! {
    #![proptest_config(random(400))]

    /// The properties hold in every honest run. Afterwards, in a quiet phase, the cluster elects a
    /// leader that makes all logs agree.
    #[test]
    fn honest_run_keeps_the_properties_and_recovers(scenario in honest_run()) {
        let mut cluster = run(scenario);
        for id in cluster.ids() {
            cluster.restart(id);
        }
        cluster.heal();
        // Deposed leaders learn about the newer term.
        for id in cluster.ids() {
            cluster.heartbeat(id);
            cluster.settle();
        }
        let leader = calm_election(&mut cluster);
        for _commit_then_tell in 0..2 {
            cluster.heartbeat(leader);
            cluster.settle();
        }
        for id in cluster.ids() {
            let (log, led) = (cluster.raft(id).log(), cluster.raft(leader).log());
            prop_assert_eq!(log.last_id(), led.last_id());
            prop_assert!(log.agrees(led, led.last_index()));
            prop_assert_eq!(cluster.commit(id), led.last_index().get());
            prop_assert_eq!(cluster.raft(id).store(), cluster.raft(leader).store());
        }
    }
}

/// Lets servers campaign in turn until one leads. In the first round all servers reach the highest
/// term; in the second round, at the latest, the best log wins.
fn calm_election(cluster: &mut Cluster) -> u64 {
    for id in cluster.ids().repeat(2) {
        cluster.timeout(id);
        cluster.settle();
        if cluster.leads(id) {
            return id;
        }
    }
    panic!("nobody can win: {:#?}", cluster.status());
}

/// The random runs are only useful if they reach interesting states: repeated leaderships, truncated
/// logs, lost writes, answered reads.
#[test]
fn honest_runs_reach_what_they_are_to_test() {
    let witnesses = [
        "is now leader",
        "commits",
        "is now leader t2",
        "remove from",
        "crashes and loses",
        "stale term",
        "conflict at",
        "session s",
        "interrupted",
        "not leader",
        "session expired",
        "already acknowledged",
        "written at",
        "absent",
        "1, written at",
        "snapshot to",
        "restarts as follower",
        "Snapshot t",
        "Installed t",
    ];
    let mut runner = TestRunner::deterministic();
    let mut seen = [0; 19];
    for _ in 0..200 {
        let tree = honest_run().new_tree(&mut runner).expect("a run");
        let trace = run(tree.current()).take_trace();
        for (seen, witness) in seen.iter_mut().zip(witnesses) {
            *seen += usize::from(trace.iter().any(|line| line.contains(witness)));
        }
    }
    for (seen, witness) in seen.into_iter().zip(witnesses) {
        assert!(seen > 0, "no run of 200 shows: {witness}");
    }
}
