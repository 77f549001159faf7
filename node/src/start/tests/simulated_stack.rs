//! A client, with and without a proxy, on a tokio runtime with a paused clock, beside three simulated
//! servers: one seed determines all results and their times.

use super::simulated::{Server, VOTERS, at};
use crate::storage::wal::Memory;
use clap::Parser;
use client::{Client, KeyValue as _, Options, Route};
use simulator::{Link, Simulation};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet},
    time::{Instant, timeout, timeout_at},
};

/// The simulated time after which a test fails.
const PATIENCE: Duration = Duration::from_secs(600);
/// The concurrent callers of the client, and the increments of each.
const WORKERS: usize = 16;
const INCREMENTS: usize = 20;
const PROXY: &str = "10.0.0.9:7000";

/// The time of a result, and the result.
type Observation = (Duration, String);

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: proxy::settings::Settings,
}

/// Starts a proxy without frontends for TCP.
async fn start_proxy(simulation: &Simulation) -> proxy::server::Server {
    let mut line = format!(
        "raft-proxy --cluster simulated --listen {PROXY} --insecure --http off --redis off"
    );
    for id in VOTERS {
        line += &format!(" --peer {id}={}", at(id));
    }
    let mut settings = CommandLine::parse_from(line.split(' ')).settings;
    settings.environment = simulation.environment();
    proxy::server::Server::start(settings).await.unwrap()
}

/// Runs a server as a task: a turn at each arrival of datagrams, and at its deadline.
async fn serve(mut server: Server, simulation: Simulation) {
    loop {
        let arrivals = simulation.arrivals();
        server.run(&simulation);
        let deadline = Instant::from_std(server.deadline());
        // Either may end the wait.
        let _ = timeout_at(deadline, arrivals).await;
    }
}

/// Executes operations, and returns their results.
async fn observe(simulation: &Simulation, route: Route) -> Vec<Observation> {
    let server = |id| format!("{id}={}", at(id));
    let options = Options {
        endpoints: match route {
            Route::Proxy => vec![PROXY.to_owned()],
            Route::Direct => VOTERS.map(server).collect(),
        },
        route,
        cluster: "simulated".to_owned(),
        timeout: PATIENCE,
        environment: simulation.environment(),
        ..Options::default()
    };
    let client = Client::connect(options).await.unwrap();
    let observations = Rc::new(RefCell::new(Vec::new()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, simulation) = (client.clone(), simulation.clone());
        let observations = Rc::clone(&observations);
        workers.spawn_local(async move {
            let note = |result| {
                observations
                    .borrow_mut()
                    .push((simulation.elapsed(), result));
            };
            for _ in 0..INCREMENTS {
                note(format!("{:?}", client.increment("n", 1).await));
                note(format!("{:?}", client.get_stale("n").await));
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let found = client.get("n").await.unwrap().unwrap();
    let sum = WORKERS * INCREMENTS;
    assert_eq!(*found.value, *sum.to_string().as_bytes());
    client.close().await;
    observations.take()
}

fn run(seed: u64, route: Route) -> Vec<Observation> {
    // Without IO: a real socket would fail.
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let simulation = Simulation::in_runtime(seed);
        simulation.set_link(Link {
            delay: [Duration::from_micros(100), Duration::from_millis(30)],
            loses_one_of: 20,
            duplicates_one_of: 20,
        });
        // Before the servers: a proxy reads its secrets on a thread of its own.
        let proxy = match route {
            Route::Proxy => Some(start_proxy(&simulation).await),
            Route::Direct => None,
        };
        for id in VOTERS {
            let server = Server::start(&simulation, id, Memory::default());
            tokio::task::spawn_local(serve(server, simulation.clone()));
        }
        let observations = timeout(PATIENCE, observe(&simulation, route)).await;
        if let Some(proxy) = proxy {
            proxy.stop().await;
        }
        observations.expect("the client does not end in time")
    })
}

#[test]
fn same_seed_same_observations_of_a_client() {
    let first = run(1, Route::Direct);
    assert_eq!(first, run(1, Route::Direct));
    assert_ne!(first, run(2, Route::Direct));
}

#[test]
fn same_seed_same_observations_through_a_proxy() {
    let first = run(1, Route::Proxy);
    assert_eq!(first, run(1, Route::Proxy));
    assert_ne!(first, run(2, Route::Proxy));
}
