//! Three servers in this process, on the loopback interface, with real disks: the number of puts
//! per second, and the cost of one.
//!
//! ```text
//! cargo run --release -p stateraft-node --example throughput -- [SECONDS] [CLIENTS...]
//! ```
//!
//! Prints one JSON object for each number of clients. `cpu_us_per_put` covers the whole process:
//! three servers and the client loops.

#![allow(clippy::print_stdout, reason = "an example for the command line")]

use model::{
    NodeId,
    client::{Invocation, Outcome},
    store::{Condition, Operation},
};
use node::{Config, Node};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let seconds = numbers.first().copied().unwrap_or(5);
    let clients = numbers.get(1..).filter(|clients| !clients.is_empty());
    let clients = clients.unwrap_or(&[1, 256]);
    // The directory for temporary files may be in memory, so it is not used.
    let dir = tempfile::Builder::new()
        .prefix("throughput-")
        .tempdir_in(".")?;
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let mut config = Config::new(
            NodeId::new(id),
            "throughput",
            dir.path().join(id.to_string()),
        );
        config.voters = (1..=3).map(NodeId::new).collect();
        nodes.push(Node::start(config).await?);
    }
    for node in &nodes {
        for other in &nodes {
            node.set_peer(other.id(), other.local_addr()).await;
        }
    }
    for clients in clients {
        measure(&nodes, *clients, Duration::from_secs(seconds)).await?;
    }
    for node in &nodes {
        node.stop().await?;
    }
    Ok(())
}

async fn leader(nodes: &[Node]) -> Result<Node, &'static str> {
    loop {
        for node in nodes {
            let status = node.status().await.ok_or("a server stopped")?;
            if status.role == node::Role::Leader && status.commit_index > 0 {
                return Ok(node.clone());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn syncs(nodes: &[Node]) -> u64 {
    let mut all = 0;
    for node in nodes {
        all += node.status().await.map_or(0, |status| status.syncs);
    }
    all
}

async fn measure(
    nodes: &[Node],
    clients: u64,
    time: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let leader = leader(nodes).await?;
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let mut loops = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (leader, counting) = (leader.clone(), Arc::clone(&counting));
        let (stop, failed) = (Arc::clone(&stop), Arc::clone(&failed));
        loops.spawn(async move {
            let mut took = Vec::new();
            for number in 0_u64.. {
                if stop.load(Relaxed) {
                    break;
                }
                let operation = Operation::Put {
                    key: format!("key {client} {}", number % 100).into_bytes(),
                    value: vec![b'v'; 100].into(),
                    condition: Condition::Always,
                };
                let begun = Instant::now();
                match leader.execute(Invocation::Write(operation)).await {
                    Outcome::Done(_) if counting.load(Relaxed) => took.push(begun.elapsed()),
                    Outcome::Done(_) => {}
                    Outcome::NotDone(_) | Outcome::Unknown(_) => {
                        failed.fetch_add(1, Relaxed);
                    }
                }
            }
            took
        });
    }
    tokio::time::sleep(time / 5).await;
    let (cpu, synced, begun) = (cpu_seconds()?, syncs(nodes).await, Instant::now());
    counting.store(true, Relaxed);
    tokio::time::sleep(time).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let (cpu, synced) = (cpu_seconds()? - cpu, syncs(nodes).await - synced);
    stop.store(true, Relaxed);
    let mut took = Vec::new();
    while let Some(done) = loops.join_next().await {
        took.extend(done?);
    }
    took.sort_unstable();
    let at = |share: f64| {
        let place = (took.len() as f64 * share) as usize;
        took.get(place).map_or(0, Duration::as_micros)
    };
    let puts = took.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "clients": clients,
            "puts_per_second": (puts / elapsed).round(),
            "p50_us": at(0.5),
            "p99_us": at(0.99),
            "syncs_per_second_each": (synced as f64 / elapsed / nodes.len() as f64).round(),
            "puts_per_sync": (puts * nodes.len() as f64 / synced as f64 * 10.0).round() / 10.0,
            "cpu_us_per_put": (cpu * 1e6 / puts * 10.0).round() / 10.0,
            "cpus_busy": (cpu / elapsed * 100.0).round() / 100.0,
            "failed": failed.load(Relaxed),
        })
    );
    Ok(())
}

/// The CPU time that this process has used so far, in seconds.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program may contain spaces; it ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<f64, Box<dyn std::error::Error>> {
        Ok(fields.next().ok_or("too few fields")?.parse::<f64>()?)
    };
    // Linux reports hundredths of a second, regardless of its internal clock rate.
    Ok((ticks()? + ticks()?) / 100.0)
}
