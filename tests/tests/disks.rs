//! Disk faults at servers of a cluster under load: each affected server ends with an error that names
//! a remedy, no acknowledged write is lost, and the other servers continue.

use harness::{Cluster, Load, NODES, Namespace, Place, Shape, http, judge, wait::until};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The exit code of a server after a disk failure.
const DISK_FAILED: Option<i32> = Some(74);
/// The exit code of a server that cannot start.
const NOT_STARTED: Option<i32> = Some(1);

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Checks that nothing is lost, that the history is linearizable, and that the traces replay.
fn judge_all(mut cluster: Cluster, load: Load) {
    load.expect_writes(50);
    let history = load.finish();
    let leader = cluster.leader();
    for id in NODES.into_iter().filter(|id| *id != leader) {
        cluster.catches_up(id, leader);
    }
    cluster.assert_all_run();
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 100);
    if cluster.trace(1).exists() {
        judge::assert_replays(&cluster.traces());
    }
}

/// Without snapshots nothing frees space, so that a full disk stays full.
const NO_SNAPSHOTS: [&str; 2] = [
    "--snapshot-entries=1000000000",
    "--snapshot-bytes=1000000000000",
];

/// Starts a cluster with server 3 on a separate file system of this size.
fn with_small_disk(
    namespace: &Namespace,
    size: &str,
    without_traces: bool,
    settings: &[&str],
) -> (Cluster, PathBuf) {
    // Any directory can serve as mount point, because the mount is visible only inside the namespace.
    let disk = PathBuf::from("/mnt");
    namespace.shell(&format!("mount -t tmpfs -o size={size} stateraft /mnt"));
    let place = Place {
        entry: namespace.entry(),
        data_dir: Some(disk.join("node-3")),
        ..Place::default()
    };
    let shape = Shape {
        places: BTreeMap::from([(3, place)]),
        without_traces,
        settings: settings.iter().map(|&setting| setting.into()).collect(),
        ..Shape::default()
    };
    (Cluster::start_as(shape), disk)
}

/// Writes large values for a second.
fn write_large(cluster: &Cluster) {
    // The benchmark writes the same values for the same number of keys. Each call uses different keys,
    // so that the state grows with the log over any number of calls.
    static KEYS: AtomicU64 = AtomicU64::new(10_000);
    let keys = KEYS.fetch_add(997, Relaxed);
    let line = "bench --ops=put --value-size=32000 --clients=8 --seconds=1 --warm-up=1ms";
    cluster.client(&words(&format!("{line} --keys={keys}")));
}

/// Writes until server 3 ends because its disk is full. Returns its log.
fn fill_the_disk(cluster: &mut Cluster) -> String {
    until("server 3 to fill its disk", || {
        write_large(cluster);
        cluster.has_ended(3).then_some(())
    });
    let (code, said) = cluster.wait_for_end(3);
    assert_eq!(code, DISK_FAILED, "{said}");
    said
}

/// If a disk is full, the server reports it and ends. With more space, it continues from its last
/// state.
#[test]
fn full_disk_ends_the_server_and_loses_nothing() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    // Two segments of the log fit, a third does not.
    let (mut cluster, _) = with_small_disk(&namespace, "40m", true, &NO_SNAPSHOTS);
    let load = Load::start(&cluster);
    let said = fill_the_disk(&mut cluster);
    assert!(said.contains("no space left for"), "{said}");
    assert!(
        said.contains("then start the server again. Delete nothing in the data directory"),
        "{said}"
    );
    load.expect_writes(100);
    // Without more space it cannot continue: the missed entries do not fit.
    write_large(&cluster);
    cluster.restart(3);
    let (code, said) = cluster.wait_for_end(3);
    assert_eq!(code, DISK_FAILED, "{said}");
    assert_eq!(said.matches("no space left for").count(), 2, "{said}");
    namespace.shell("mount -o remount,size=400m /mnt");
    cluster.restart(3);
    let leader = cluster.leader();
    cluster.catches_up(3, leader);
    judge_all(cluster, load);
}

/// If a snapshot does not fit, the log that it would have replaced remains unchanged.
#[test]
fn disk_too_small_for_a_snapshot_ends_the_server_and_loses_nothing() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    // Two segments of the log fit: up to 33 MB of entries. A snapshot of only 19 MB, a quarter less than
    // the setting, does not fit beside them. There is no spare segment, because it would leave too
    // little free space.
    let settings = ["--snapshot-entries=1000000000", "--snapshot-bytes=26000000"];
    let (mut cluster, disk) = with_small_disk(&namespace, "49m", true, &settings);
    let load = Load::start(&cluster);
    let said = fill_the_disk(&mut cluster);
    assert!(said.contains("no space left for spare.wal"), "{said}");
    let files = namespace.shell(&format!("ls {}", disk.join("node-3").display()));
    for segment in ["log-0000000001.wal", "log-0000000002.wal"] {
        assert!(files.contains(segment), "{files}");
    }
    load.expect_writes(100);
    // The log is intact, and now there is room for a snapshot.
    namespace.shell("mount -o remount,size=400m /mnt");
    cluster.restart(3);
    let leader = cluster.leader();
    cluster.catches_up(3, leader);
    until("a snapshot", || {
        write_large(&cluster);
        (cluster.metric(3, "raft_snapshots_total{event=\"taken\"}") > 0).then_some(())
    });
    judge_all(cluster, load);
}

/// On a read-only directory nothing starts, and nothing in it is damaged.
#[test]
fn read_only_directory_is_refused_with_a_reason() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let (mut cluster, disk) = with_small_disk(&namespace, "100m", false, &NO_SNAPSHOTS);
    let load = Load::start(&cluster);
    load.expect_writes(50);
    cluster.stop(3);
    namespace.shell("mount -o remount,ro /mnt");
    let (code, said) = cluster.run_server(3, "faults", &disk.join("node-3"));
    assert_eq!(code, NOT_STARTED, "{said}");
    assert!(
        said.contains("must be a directory this user may write to"),
        "{said}"
    );
    assert!(said.contains("Read-only file system"), "{said}");
    // The same applies if the directory does not exist yet.
    let (code, said) = cluster.run_server(3, "faults", &disk.join("other"));
    assert_eq!(code, NOT_STARTED, "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    load.expect_writes(50);
    namespace.shell("mount -o remount,rw /mnt");
    cluster.restart(3);
    let leader = cluster.leader();
    cluster.catches_up(3, leader);
    judge_all(cluster, load);
}

/// A removal of the log leaves other files. They prove that a log existed; with an empty log, the
/// server would have forgotten its votes.
#[test]
fn directory_without_its_log_is_refused() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    load.expect_writes(50);
    cluster.kill(3);
    let dir = cluster.data_dir(3);
    let away = cluster.dir().join("away");
    fs::create_dir(&away).expect("a directory can be made");
    let files = fs::read_dir(&dir).expect("the directory can be read");
    for file in files.map(|file| file.expect("the directory can be read")) {
        let name = file.file_name();
        if name != "lock" && name != "spare.wal" {
            fs::rename(file.path(), away.join(name)).expect("a file can be moved");
        }
    }
    for _ in 0..2 {
        let (code, said) = cluster.run_server(3, "faults", &dir);
        assert_eq!(code, NOT_STARTED, "{said}");
        assert!(said.contains("log-0000000001.wal is missing"), "{said}");
        assert!(said.contains("put it back"), "{said}");
        assert!(said.contains("do not start an empty one"), "{said}");
    }
    load.expect_writes(50);
    for file in fs::read_dir(&away).expect("the directory can be read") {
        let file = file.expect("the directory can be read");
        fs::rename(file.path(), dir.join(file.file_name())).expect("a file can be moved");
    }
    cluster.restart(3);
    let leader = cluster.leader();
    cluster.catches_up(3, leader);
    judge_all(cluster, load);
}

/// A lost disk is visible everywhere an operator may look, at the server and at its leader, with keys
/// and without.
#[test]
fn lost_disk_is_seen_in_logs_metrics_and_readiness() {
    for without_keys in [false, true] {
        let mut cluster = Cluster::start_as(Shape {
            without_keys,
            // An election would move the leader's message to another log.
            patient: true,
            ..Shape::default()
        });
        let leader = cluster.leader();
        let lost = leader % NODES.len() as u64 + 1;
        cluster.catches_up(lost, leader);
        cluster.stop(lost);
        fs::remove_dir_all(cluster.data_dir(lost)).expect("the directory can be removed");
        cluster.restart(lost);
        let other_disk = "its id is recorded with another disk";
        let advice = "see \"A lost disk\" in docs/deploy.md";
        let of_its_own =
            format!("this server does not count toward a quorum and takes no part: {other_disk}");
        let of_the_leader = format!("server {lost} does not count toward a quorum: {other_disk}");
        for (id, text) in [(lost, of_its_own), (leader, of_the_leader)] {
            until(
                &format!("the log of server {id} to report a lost disk"),
                || {
                    let said = cluster.said_by(id);
                    let mut lines = said.lines().filter(|line| line.contains("WARN"));
                    let is_it = |line: &str| line.contains(&text) && line.contains(advice);
                    lines.any(is_it).then_some(())
                },
            );
        }
        assert_eq!(cluster.metric(lost, "raft_suspended"), 1);
        assert_eq!(cluster.metric(leader, "raft_refused_peers"), 1);
        let ready = |id| {
            let response = http::ask(cluster.node_http(id), "GET", "/readyz", "");
            response.expect("the server responds")
        };
        let (code, text) = ready(lost);
        assert_eq!(code, 503, "{text}");
        assert!(text.contains("[-] identity"), "{text}");
        assert_eq!(ready(leader).0, 200);
    }
}

/// A directory belongs to one process, one server and one cluster.
#[test]
fn directory_of_another_is_refused_and_its_owner_goes_on() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let theirs = cluster.data_dir(1);
    let (code, said) = cluster.run_server(1, "faults", &theirs);
    assert_eq!(code, NOT_STARTED, "{said}");
    assert!(
        said.contains("is in use by another process: stop that one"),
        "{said}"
    );
    load.expect_writes(50);
    cluster.assert_all_run();
    cluster.kill(1);
    let (code, said) = cluster.run_server(2, "faults", &theirs);
    assert_eq!(code, NOT_STARTED, "{said}");
    assert!(
        said.contains("belongs to node 1, but this is node 2"),
        "{said}"
    );
    let (code, said) = cluster.run_server(1, "another", &theirs);
    assert_eq!(code, NOT_STARTED, "{said}");
    let belongs = "belongs to cluster \"faults\", but this server is of cluster \"another\"";
    assert!(said.contains(belongs), "{said}");
    cluster.restart(1);
    let leader = cluster.leader();
    cluster.catches_up(1, leader);
    judge_all(cluster, load);
}
