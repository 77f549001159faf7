//! Leadership transfers, and rolling restarts, which use them.

use client::{Client, KeyValue as _, Options, Route};
use harness::{Cluster, Load, NODES, judge};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};

/// The timeout of an attempt: much longer than a restart takes.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The timeout of an operation, which may need an attempt for each redirection.
const PATIENCE: Duration = Duration::from_secs(80);
/// The number of strict clients per route.
const CLIENTS: u64 = 4;

/// Clients that write without a pause, and read after each write. A client that has to send a request twice,
/// because a server lost the request or its response, waits for the timeout of an attempt.
struct StrictClients {
    runtime: Runtime,
    tasks: JoinSet<Duration>,
    done: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl StrictClients {
    fn start(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("no runtime for the clients");
        let servers = NODES.map(|id| format!("{id}={}", cluster.node_udp(id)));
        let direct = Options {
            endpoints: servers.into(),
            route: Route::Direct,
            ..cluster.options()
        };
        let mut clients = Self {
            runtime,
            tasks: JoinSet::new(),
            done: Arc::default(),
            ended: Arc::default(),
        };
        for (route, options) in [cluster.options(), direct].into_iter().enumerate() {
            let options = Options {
                timeout: PATIENCE,
                attempt_timeout: ATTEMPT,
                ..options
            };
            let client = clients.runtime.block_on(Client::connect(options));
            let client = client.expect("the clients have no socket");
            for number in 0..CLIENTS {
                clients.spawn(client.clone(), format!("strict/{route}/{number}"));
            }
        }
        clients.expect_more(100);
        clients
    }

    fn spawn(&mut self, client: Client, key: String) {
        let (done, ended) = (Arc::clone(&self.done), Arc::clone(&self.ended));
        let work = async move {
            let mut longest = Duration::ZERO;
            for number in 1_i64.. {
                if ended.load(Relaxed) {
                    break;
                }
                let start = Instant::now();
                let written = client.increment(key.as_str(), 1).await;
                longest = longest.max(start.elapsed());
                let written = written.unwrap_or_else(|error| panic!("{key}: {error}"));
                assert_eq!(written.value, number, "{key}");
                let read = client.get(key.as_str()).await;
                let read = read.unwrap_or_else(|error| panic!("{key}: {error}"));
                let value = read.expect("the key exists").value;
                assert_eq!(&value[..], number.to_string().as_bytes(), "{key}");
                done.fetch_add(1, Relaxed);
            }
            longest
        };
        self.tasks.spawn_on(work, self.runtime.handle());
    }

    /// Waits for this number of further writes.
    fn expect_more(&self, number: u64) {
        let until = self.done.load(Relaxed) + number;
        harness::wait::until("the strict clients to go on", || {
            (self.done.load(Relaxed) >= until).then_some(())
        });
    }

    /// Ends the clients.
    ///
    /// # Panics
    /// If an operation failed, has an unknown outcome, or had to be sent twice.
    fn finish(mut self) {
        self.ended.store(true, Relaxed);
        let longest = self.runtime.block_on(async {
            let mut longest = Duration::ZERO;
            while let Some(done) = self.tasks.join_next().await {
                longest = longest.max(done.expect("an operation failed"));
            }
            longest
        });
        assert!(
            longest < ATTEMPT,
            "a request was lost: a write took {longest:?}"
        );
    }
}

/// Runs `raft-client transfer`, and returns its exit code and its output.
fn transfer(cluster: &Cluster, route: Route, more: &[&str], target: u64) -> (Option<i32>, String) {
    let key = format!("--key-file={}", cluster.dir().join("cluster.key").display());
    let mut arguments = vec!["transfer".to_owned(), target.to_string(), key];
    arguments.extend(more.iter().map(|&argument| argument.into()));
    let output = match route {
        Route::Proxy => cluster.try_client(&arguments),
        Route::Direct => {
            let servers = NODES.map(|id| format!("{id}={}", cluster.node_udp(id)));
            arguments.push("--direct".into());
            arguments.push(format!("--endpoints={}", servers.join(",")));
            cluster.try_client_at(&arguments)
        }
    };
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// An operator moves the leadership around, through the proxy and directly.
#[test]
fn operator_moves_the_leadership() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let clients = StrictClients::start(&cluster);
    for route in [Route::Proxy, Route::Direct] {
        for target in NODES {
            let (code, said) = transfer(&cluster, route, &["--output=json"], target);
            assert_eq!(
                (code, said.trim()),
                (Some(0), &*format!("{{\"leader\":{target}}}"))
            );
            assert_eq!(cluster.leader(), target);
            clients.expect_more(20);
        }
    }
    for route in [Route::Proxy, Route::Direct] {
        let (code, said) = transfer(&cluster, route, &[], 9);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("the cluster has no such server"), "{said}");
    }
    // The target's process is gone. The leader holds the requests until it finds that out.
    let leader = cluster.leader();
    let gone = NODES
        .into_iter()
        .find(|id| *id != leader)
        .expect("three servers");
    cluster.kill(gone);
    for route in [Route::Proxy, Route::Direct] {
        let (code, said) = transfer(&cluster, route, &[], gone);
        assert_eq!(code, Some(3), "{said}");
        assert!(
            said.contains("the leader did not hand over in time"),
            "{said}"
        );
        assert_eq!(cluster.leader(), leader);
        clients.expect_more(20);
    }
    cluster.restart(gone);
    cluster.catches_up(gone, leader);
    clients.finish();
    judge::assert_sound(cluster, load);
}

/// Every server is stopped and started in turn, each one first as the leader.
#[test]
fn rolling_restart_interrupts_no_client() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let clients = StrictClients::start(&cluster);
    for _ in 0..NODES.len() {
        let leader = cluster.leader();
        cluster.stop(leader);
        let said = cluster.said_by(leader);
        assert!(said.contains("transferred the leadership"), "{said}");
        cluster.restart(leader);
        let next = cluster.leader();
        assert_ne!(next, leader);
        cluster.catches_up(leader, next);
        clients.expect_more(100);
    }
    clients.finish();
    judge::assert_sound(cluster, load);
}
