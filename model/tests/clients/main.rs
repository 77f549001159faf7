//! The guarantees for clients: linearizable reads (thesis §6.4), and writes that take effect exactly
//! once (§6.3).

#[path = "../cluster/mod.rs"]
mod cluster;
mod reads;
mod scans;
mod transfers;
mod writes;

use cluster::Cluster;
use model::{
    RequestId,
    message::ResponseBody,
    store::{Found, Versioned},
};

/// n1 leads in term 1, its no-op is committed, and all servers know that.
fn leader(size: usize) -> Cluster {
    let mut cluster = Cluster::new(size);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

/// The result of a read; `None` if the key is absent.
fn found(cluster: &Cluster, read: RequestId) -> Option<String> {
    match cluster.answer(read) {
        Some(ResponseBody::Found(Found::Value(found))) => {
            found.as_ref().map(|Versioned { value, .. }| text(value))
        }
        other => panic!("not a value: {other:?}"),
    }
}

/// The value of a key, read at an undisturbed leader.
fn value(cluster: &mut Cluster, leader: u64, key: &str) -> Option<String> {
    let read = cluster.read(leader, key);
    cluster.settle();
    found(cluster, read)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
