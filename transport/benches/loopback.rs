//! The cost of a message over loopback, both ends together: `cargo bench -p stateraft-transport`.
//!
//! Sender and receiver share one thread, and a batch is sent after the previous one arrived. The
//! group `cpu` measures CPU time, which other programs do not disturb, and is the one to compare;
//! `wall` measures the time until all messages arrived.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::{
    Address, AppendEntriesRequest, Entry, Envelope, LogIndex, Message, NodeId, Payload, SessionId,
    Term,
    store::{Command, Condition, Operation, Write},
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use transport::{Config, Endpoint, Inbox, Key, Keys};

/// A message whose entries have values of `length` bytes.
fn append(entries: usize, length: usize) -> Envelope {
    let entry = Entry {
        term: Term::new(3),
        payload: Payload::Command(Command::from(Write {
            quota: u64::MAX,
            session: SessionId::new(1),
            sequence: 1,
            acknowledged: 1,
            operation: Operation::Put {
                key: b"key".to_vec(),
                value: vec![7; length].into(),
                condition: Condition::Always,
            },
        })),
    };
    Envelope {
        from: Address::Node(NodeId::new(1)),
        to: Address::Node(NodeId::new(2)),
        message: Message::AppendEntriesRequest(AppendEntriesRequest {
            term: Term::new(3),
            prev_log_index: LogIndex::new(1000),
            prev_log_term: Term::new(3),
            entries: vec![entry; entries],
            leader_commit: LogIndex::new(1000),
            read_round: 0,
        }),
    }
}

async fn pair(keys: Keys) -> (Endpoint, Endpoint, Inbox) {
    let open = async || {
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), "bench");
        config.keys = keys.clone();
        Endpoint::bind(config).await.expect("loopback is there")
    };
    let (a, _) = open().await;
    let (b, inbox) = open().await;
    let at = b.local_addr().expect("a bound socket has an address");
    a.set_peer(Address::Node(NodeId::new(2)), at);
    (a, b, inbox)
}

/// Sends a batch and waits until all of it has arrived. Losses are rare on loopback; sending again
/// makes up for them.
async fn exchange(sender: &Endpoint, inbox: &mut Inbox, batch: &[Envelope]) {
    sender.send(batch.to_vec());
    let mut arrived = 0;
    while arrived < batch.len() {
        match tokio::time::timeout(Duration::from_secs(1), inbox.receive()).await {
            Ok(some) => arrived += black_box(some).map_or(0, |some| some.len()),
            Err(_) => sender.send(batch[arrived..].to_vec()),
        }
    }
}

/// The CPU time that this process has used so far.
fn cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, and this clock always exists.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the clock of the process can be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn measure(criterion: &mut Criterion, group: &str, now: impl Fn() -> Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let sealed = Keys {
        cluster: Key::generate().ok(),
        client: None,
    };
    let mut group = criterion.benchmark_group(group);
    for (name, keys, batch) in [
        ("64 B, sealed", sealed.clone(), vec![append(1, 42); 1]),
        ("64 B, sealed", sealed.clone(), vec![append(1, 42); 16]),
        ("64 B, sealed", sealed.clone(), vec![append(1, 42); 256]),
        ("64 B, insecure", Keys::INSECURE, vec![append(1, 42); 256]),
        (
            "30 KB of 100 B entries",
            sealed.clone(),
            vec![append(250, 100); 1],
        ),
        (
            "30 KB of 100 B entries, insecure",
            Keys::INSECURE,
            vec![append(250, 100); 1],
        ),
        ("30 KB in one entry", sealed, vec![append(1, 30_000); 1]),
    ] {
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.bench_with_input(
            BenchmarkId::new(name, batch.len()),
            &batch,
            |bench, batch| {
                bench.iter_custom(|times| run(&runtime, &keys, batch, times, &now));
            },
        );
    }
    group.finish();
}

fn run(
    runtime: &Runtime,
    keys: &Keys,
    batch: &[Envelope],
    times: u64,
    now: &impl Fn() -> Duration,
) -> Duration {
    runtime.block_on(async {
        let (sender, receiver, mut inbox) = pair(keys.clone()).await;
        exchange(&sender, &mut inbox, batch).await;
        let start = now();
        for _ in 0..times {
            exchange(&sender, &mut inbox, batch).await;
        }
        let taken = now() - start;
        drop(receiver);
        taken
    })
}

fn loopback(criterion: &mut Criterion) {
    measure(criterion, "cpu", cpu);
    let start = Instant::now();
    measure(criterion, "wall", || start.elapsed());
}

criterion_group!(benches, loopback);
criterion_main!(benches);
