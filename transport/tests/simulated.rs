//! Endpoints on a simulated network: one seed determines every loss, every delay and every
//! retransmission, and no test waits for the clock of the system.

mod pair;

use model::Envelope;
use pair::{append, config, keys, node, receive};
use simulator::{Link, Simulation};
use std::time::{Duration, Instant};
use transport::{Clock as _, Count, Endpoint, Environment, Keys, Received, Socket};

const MILLISECOND: Duration = Duration::from_millis(1);

fn lossy() -> Link {
    Link {
        delay: [MILLISECOND, 20 * MILLISECOND],
        loses_one_of: 10,
        duplicates_one_of: 5,
    }
}

fn simulated(environment: Environment) -> transport::Config {
    transport::Config {
        environment,
        ..config(keys())
    }
}

/// Sends 20 messages of growing length from server 1 to server 2. Returns the arrivals with their
/// times since the start, and the number of retransmitted fragments.
fn run(seed: u64) -> (Vec<(Duration, Envelope)>, u64) {
    let simulation = Simulation::new(seed);
    simulation.set_link(lossy());
    let open = || Endpoint::open(simulated(simulation.environment())).unwrap();
    let ((a, mut a_socket), (b, mut b_socket)) = (open(), open());
    a.set_peer(node(2), b.local_addr().unwrap());
    b.set_peer(node(1), a.local_addr().unwrap());
    let message = |nth| append(node(1), node(2), nth, (nth * nth * 50) as usize);
    a.send((0..20).map(message).collect());
    let mut arrived = Vec::new();
    let end = simulation.now() + Duration::from_secs(30);
    while simulation.now() < end {
        let deadlines = [&mut a_socket, &mut b_socket].map(|socket| {
            let messages = socket.receive().into_iter();
            let messages = messages.map(|Received { envelope, .. }| envelope);
            arrived.extend(messages.map(|envelope| (simulation.elapsed(), envelope)));
            socket.serve_timers(simulation.now());
            socket.deadline()
        });
        simulation.advance(deadlines.into_iter().flatten().fold(end, Instant::min));
    }
    (arrived, a.counters().get(Count::FragmentsRetransmitted))
}

#[test]
fn same_seed_same_arrivals() {
    let (arrived, repeated) = run(1);
    assert_eq!((arrived.clone(), repeated), run(1));
    assert_ne!(arrived, run(2).0);
    // Datagrams with several small messages may be lost. Fragments are retransmitted.
    let long = |nth: &u64| *nth * *nth * 50 > 1_400;
    for nth in (0..20).filter(long) {
        let expected = append(node(1), node(2), nth, (nth * nth * 50) as usize);
        let is_there = arrived.iter().any(|(_, envelope)| *envelope == expected);
        assert!(is_there, "message {nth}");
    }
    assert!(repeated > 0);
    assert!(
        arrived.is_sorted_by_key(|(at, _)| *at) && arrived.last().unwrap().0 > 20 * MILLISECOND
    );
}

#[test]
fn address_is_free_once_its_socket_is_closed() {
    let simulation = Simulation::new(1);
    let at = ([10, 0, 0, 1], 7101).into();
    let open = || -> std::io::Result<(Endpoint, Socket)> {
        let mut config = transport::Config::new(at, "test");
        config.keys = Keys::INSECURE;
        config.environment = simulation.environment();
        Endpoint::open(config)
    };
    let first = open().unwrap();
    let error = open().err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    let (endpoint, socket) = open().unwrap();
    assert_eq!(endpoint.local_addr().unwrap(), at);
    assert!(socket.descriptor().is_none());
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_runtime_serve_a_simulated_socket() {
    let simulation = Simulation::in_runtime(3);
    simulation.set_link(Link {
        delay: [Duration::from_secs(3); 2],
        ..Link::default()
    });
    let open = async || {
        let config = simulated(simulation.environment());
        Endpoint::bind(config).await.unwrap()
    };
    let ((a, _inbox), (b, mut inbox)) = (open().await, open().await);
    a.set_peer(node(2), b.local_addr().unwrap());
    let sent = append(node(1), node(2), 1, 10);
    a.send(vec![sent.clone()]);
    assert_eq!(receive(&mut inbox, 1).await, [sent]);
    assert!(simulation.elapsed() >= Duration::from_secs(3));
}
