use super::*;
use crate::wire::loopback;
use model::{
    Address, ClientId, ClientRequest, ClientResponse, Message, NodeId, RequestId,
    message::{RequestBody, ResponseBody},
    proxy::ProxyConfig,
    router::Sender,
    store::{Found, Query},
};
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc::UnboundedReceiver;

/// A driver on loopback with one server, which the test simulates.
struct Stage {
    handle: Handle,
    server: (Endpoint, Inbox),
    answers: UnboundedReceiver<Vec<Envelope>>,
    ending: Ending,
    task: tokio::task::JoinHandle<()>,
    at: std::net::SocketAddr,
}

const SERVER: NodeId = NodeId::new(1);
const CLIENT: ClientId = ClientId::new(7);

async fn stage(attempt_timeout: Duration, max_attempts: u32) -> Stage {
    let server = loopback().await;
    let (endpoint, inbox) = loopback().await;
    endpoint.set_peer(Address::Node(SERVER), server.0.local_addr().unwrap());
    let config = RouterConfig {
        proxy: ProxyConfig::new([SERVER].into(), max_attempts, 2),
        attempt_timeout,
        sender: Sender::Proxy,
    };
    let driver = Driver::new(config, &mut StdRng::seed_from_u64(1));
    let handle = driver.handle();
    let at = endpoint.local_addr().unwrap();
    server.0.set_peer(Address::Proxy(handle.id), at);
    let (sender, answers) = mpsc::unbounded_channel();
    let ending = Ending::default();
    let receive = move |envelopes| {
        let _ = sender.send(envelopes);
    };
    let task = tokio::spawn(driver.run(endpoint, inbox, receive, ending.clone()));
    Stage {
        handle,
        server,
        answers,
        ending,
        task,
        at,
    }
}

fn request(id: u64, to: ProxyId) -> Envelope {
    Envelope {
        from: Address::Client(CLIENT),
        to: Address::Proxy(to),
        message: Message::ClientRequest(ClientRequest {
            client: CLIENT,
            id: RequestId::new(id),
            body: RequestBody::Read {
                query: Query::Get { key: b"k".to_vec() },
            },
        }),
    }
}

fn found(id: u64, to: ProxyId) -> Envelope {
    Envelope {
        from: Address::Node(SERVER),
        to: Address::Proxy(to),
        message: Message::ClientResponse(ClientResponse {
            client: CLIENT,
            id: RequestId::new(id),
            body: ResponseBody::Found(Found::Value(None)),
        }),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("nothing came within ten seconds")
}

#[tokio::test]
async fn request_from_a_frontend_is_answered_there() {
    let mut stage = stage(Duration::from_millis(100), 1000).await;
    let id = stage.handle.id;
    stage.handle.carry(vec![request(1, id)]);
    let asked = within(stage.server.1.receive()).await.unwrap();
    assert_eq!(asked[0].message, request(1, id).message);
    stage.server.0.send(vec![found(1, id)]);
    let answer = within(stage.answers.recv()).await.unwrap();
    assert_eq!(answer[0].to, Address::Client(CLIENT));
    assert_eq!(stage.handle.gauges.leader(), Some(SERVER));
    assert!(stage.handle.gauges.since_last_answer().is_some());
}

#[tokio::test]
async fn client_over_udp_is_answered_under_the_name_it_called() {
    let mut stage = stage(Duration::from_millis(100), 1000).await;
    let called = ProxyId::new(1);
    let mut client = loopback().await;
    client.0.set_peer(Address::Proxy(called), stage.at);
    // Retransmits until the request arrives: a datagram may be lost.
    let asked = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                asked = stage.server.1.receive() => break asked,
                _ = again.tick() => client.0.send(vec![request(1, called)]),
            }
        }
    };
    within(asked).await.unwrap();
    stage.server.0.send(vec![found(1, stage.handle.id)]);
    let answer = within(client.1.receive()).await.unwrap();
    assert_eq!(answer[0].from, Address::Proxy(called));
    assert_eq!(answer[0].to, Address::Client(CLIENT));
}

#[tokio::test]
async fn request_unanswered_is_sent_again_and_then_given_up() {
    let mut stage = stage(Duration::from_millis(5), 3).await;
    stage.handle.carry(vec![request(1, stage.handle.id)]);
    let answer = within(stage.answers.recv()).await.unwrap();
    let Message::ClientResponse(response) = &answer[0].message else {
        panic!("not a response");
    };
    assert_eq!(response.body, ResponseBody::Unavailable);
    // At least one of three datagrams arrives.
    within(stage.server.1.receive()).await.unwrap();
    assert_eq!(stage.handle.gauges.sends.load(Relaxed), 3);
    assert_eq!(stage.handle.gauges.timeouts.load(Relaxed), 3);
}

#[tokio::test]
async fn request_beyond_the_bound_is_refused_at_once() {
    let mut stage = stage(Duration::from_millis(100), 1000).await;
    let id = stage.handle.id;
    stage
        .handle
        .carry((1..=3).map(|n| request(n, id)).collect());
    let refused = within(stage.answers.recv()).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!(stage.handle.gauges.in_flight.load(Relaxed), 2);
}

#[tokio::test]
async fn ending_waits_for_what_is_in_flight() {
    let mut stage = stage(Duration::from_millis(100), 1000).await;
    let id = stage.handle.id;
    stage.handle.carry(vec![request(1, id)]);
    within(stage.server.1.receive()).await.unwrap();
    stage.ending.refuse.cancel();
    stage.ending.end.cancel();
    // The driver ignores new requests over UDP from now on.
    let client = loopback().await;
    client.0.set_peer(Address::Proxy(id), stage.at);
    client.0.send(vec![request(2, id)]);
    stage.server.0.send(vec![found(1, id)]);
    within(stage.answers.recv()).await.unwrap();
    within(stage.task).await.unwrap();
}
