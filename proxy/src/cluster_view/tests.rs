use super::{
    known_server::{KnownServer, NewEvent},
    *,
};
use crate::{driver::Driver, metrics::Metrics, node_problem::NodeProblem};
use client::pool::{Pool, PoolConfig};
use futures_util::FutureExt;
use model::{
    Address,
    proxy::ProxyConfig,
    router::{RouterConfig, Sender},
};
use node::{Alert, AlertKind};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64};
use transport::Environment;

/// A view of one server that counts the polls and responds while `is_up`.
fn cluster_view(asked: &Arc<AtomicU64>, is_up: &Arc<AtomicBool>) -> ClusterView {
    let config = RouterConfig {
        proxy: ProxyConfig::new([NodeId::new(1)].into(), 1, 1),
        attempt_timeout: PATIENCE,
        sender: Sender::Proxy,
    };
    let mut random = StdRng::seed_from_u64(1);
    let driver = Driver::new(config, &mut random);
    let handle = driver.handle();
    let config = PoolConfig {
        proxy: Address::Proxy(handle.id),
        is_in_process: true,
        max_sessions: 1,
        max_waiting: 1,
        max_attempts: 1,
        attempt_timeout: PATIENCE,
    };
    let pool = Pool::new(config, random, |_| {});
    let kv_service = KvService::new(pool, Arc::new(Metrics::new()), CancellationToken::new());
    let (asked, is_up) = (Arc::clone(asked), Arc::clone(is_up));
    let ask = move |_| {
        asked.fetch_add(1, Relaxed);
        let up = is_up.load(Relaxed);
        async move {
            if up {
                Ok(Value::Object(Map::new()))
            } else {
                Err(NodeProblem::Stopped)
            }
        }
        .boxed()
    };
    let sources = BTreeMap::from([(NodeId::new(1), Source::Here(Box::new(ask)))]);
    let event_log = (
        Arc::new(EventLog::new(Environment::system().clock, 1)),
        None,
    );
    let services = (kv_service.clone(), kv_service);
    ClusterView::new(
        "test".into(),
        services,
        handle.gauges,
        sources,
        None,
        event_log,
    )
}

fn health(servers: &[ServerReport]) -> Health {
    Health::new(servers, &Contacts::new(servers))
}

/// A server that leads, follows, or does not respond.
fn known(id: u64, responds: Option<bool>, role: &str, index: u64) -> ServerReport {
    ServerReport {
        id,
        responds,
        is_isolated: false,
        status: parse_status(&json!({"role": role, "term": 7, "commit_index": index})),
        age_ms: if responds == Some(true) { 0 } else { 5000 },
    }
}

#[test]
fn health_counts_servers_that_are_up_and_keeps_the_last_commit_index() {
    let mut servers = vec![
        known(1, Some(true), "leader", 90),
        known(2, Some(true), "follower", 89),
        known(3, Some(false), "follower", 80),
    ];
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("ok", 2, 0));
    assert_eq!((found.leader, found.commit_index), (Some(1), Some(90)));
    assert_eq!(found.commit_age_ms, Some(0));
    // An isolated leader does not count as available.
    servers[0].is_isolated = true;
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("no_quorum", 1, -1));
    assert_eq!((found.leader, found.term), (None, Some(7)));
    servers[0] = known(1, Some(false), "leader", 90);
    let found = health(&servers);
    assert_eq!(found.state, "no_quorum");
    assert_eq!(
        (found.commit_index, found.commit_age_ms),
        (Some(90), Some(5000))
    );
    servers[2].responds = Some(true);
    assert_eq!(health(&servers).state, "no_leader");
}

#[test]
fn server_without_a_source_is_up_if_its_leader_receives_messages() {
    let mut servers = vec![
        known(1, Some(true), "leader", 90),
        known(2, None, "", 0),
        known(3, None, "", 0),
    ];
    assert_eq!(health(&servers).state, "unknown");
    servers[0].status = parse_status(&json!({
        "role": "leader", "term": 7, "commit_index": 90,
        "followers": {"2": {"silent_ms": 20}, "3": {"silent_ms": 90_000}},
    }));
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("ok", 2, 0));
}

/// A partition, another key or another cluster name: HTTP works, and the datagrams do not arrive.
#[test]
fn server_that_answers_http_is_up_only_if_its_leader_receives_messages() {
    let mut servers = vec![
        known(1, Some(true), "leader", 90),
        known(2, Some(true), "follower", 90),
        known(3, Some(true), "follower", 0),
    ];
    let leads = |silent: [u64; 2]| {
        parse_status(&json!({
            "role": "leader", "term": 7, "commit_index": 90, "heartbeat_ms": 100,
            "followers": {"2": {"silent_ms": silent[0], "counts": true},
                          "3": {"silent_ms": silent[1], "counts": true}},
        }))
    };
    servers[0].status = leads([20, 12_300]);
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("ok", 2, 0));
    let problem = NodeProblem::NotReceivedByLeader { seconds: 12 };
    let silent = Contacts::new(&servers).silent;
    assert_eq!(silent, BTreeMap::from([(3, problem.clone())]));
    // The leader has no message of server 3, so it did not admit it.
    let status = servers[0].status.as_mut().unwrap();
    status.followers.get_mut(&3).unwrap().counts = false;
    let silent = Contacts::new(&servers).silent;
    assert_eq!(silent, BTreeMap::from([(3, problem.clone())]));
    // A server that lost its disk sends messages, but its present run does not count.
    let status = servers[0].status.as_mut().unwrap();
    status.alerts.push(Alert {
        kind: AlertKind::LostDisk,
        node: 3,
        text: String::new(),
    });
    let silent = Contacts::new(&servers).silent;
    assert_eq!(silent[&3], NodeProblem::NotCounted);
    assert_eq!(health(&servers).up, 2);
    // The leader receives messages of server 2, whose HTTP does not respond.
    servers[1].responds = Some(false);
    assert_eq!(health(&servers).up, 2);
    servers[0].status = leads([2000, 12_300]);
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("no_quorum", 1, -1));
    // With rare heartbeats, a server is silent for longer.
    servers[0].status.as_mut().unwrap().heartbeat_ms = 1000;
    assert_eq!(health(&servers).state, "ok");
}

#[test]
fn servers_without_a_leader_and_without_messages_are_no_quorum() {
    let seeks = |id: u64, heard: &[(u64, Option<u64>)]| {
        let heard: BTreeMap<_, _> = heard.iter().copied().collect();
        let status = json!({
            "role": "pre-candidate", "term": 7, "commit_index": 90, "heartbeat_ms": 100,
            "uptime_seconds": 60, "peer_silence_ms": heard,
        });
        ServerReport {
            status: parse_status(&status),
            ..known(id, Some(true), "", 0)
        }
    };
    let mut servers = vec![
        seeks(1, &[(2, Some(12_300)), (3, Some(9000))]),
        seeks(2, &[(1, None), (3, Some(9000))]),
        known(3, Some(false), "leader", 90),
    ];
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("no_quorum", 1, -1));
    let problem = NodeProblem::NotReceived {
        other: 1,
        seconds: 12,
    };
    let silent = Contacts::new(&servers).silent;
    assert_eq!(silent, BTreeMap::from([(2, problem)]));
    // One direction is not enough for an election.
    servers[0] = seeks(1, &[(2, Some(20)), (3, Some(9000))]);
    assert_eq!(health(&servers).state, "no_quorum");
    servers[1] = seeks(2, &[(1, Some(30)), (3, Some(9000))]);
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("no_leader", 2, 0));
    // A follower does not report silences.
    servers[1] = known(2, Some(true), "follower", 90);
    assert_eq!(health(&servers).state, "no_leader");
}

#[test]
fn server_that_lost_its_disk_responds_and_does_not_count() {
    let mut servers = vec![
        known(1, Some(true), "leader", 90),
        known(2, Some(true), "follower", 89),
        known(3, Some(true), "follower", 0),
    ];
    assert_eq!(health(&servers).margin, 1);
    // The leader does not count server 3, and server 3 has not received that yet.
    servers[0].status = parse_status(&json!({
        "role": "leader", "term": 7, "commit_index": 90,
        "followers": {"2": {"silent_ms": 20, "counts": true},
                      "3": {"silent_ms": 20, "counts": false}},
    }));
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("ok", 2, 0));
    // Now server 3 reports it, and there is no leader.
    servers[0].responds = Some(false);
    servers[2].status = parse_status(&json!({
        "role": "follower", "term": 7, "commit_index": 0, "suspended": "another disk",
    }));
    let found = health(&servers);
    assert_eq!((found.state, found.up, found.margin), ("no_quorum", 1, -1));
    // The server's own claim to lead has no effect.
    servers[2].status = parse_status(&json!({
        "role": "leader", "term": 8, "commit_index": 0, "suspended": "another disk",
    }));
    assert_eq!(health(&servers).leader, None);
    servers[2].status = parse_status(&json!({
        "role": "follower", "term": 7, "commit_index": 0, "suspended": null,
    }));
    assert_eq!(health(&servers).up, 2);
}

#[tokio::test(start_paused = true)]
async fn servers_are_polled_rarely_without_observers_and_at_once_for_an_observer() {
    let (asked, is_up) = (Arc::default(), Arc::new(AtomicBool::new(true)));
    let cluster_view = Arc::new(cluster_view(&asked, &is_up));
    let closing = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&cluster_view).run(closing.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let unseen = asked.swap(0, Relaxed);
    assert!((5..=7).contains(&unseen), "{unseen} times in a minute");

    // The history reports the failure after at most two polls.
    is_up.store(false, Relaxed);
    tokio::time::sleep(POLL_INTERVAL + REFRESH_INTERVAL * 2).await;
    let news = cluster_view
        .event_log()
        .after(&mut crate::event_log::Position::default());
    let unreachable = news
        .events
        .iter()
        .filter(|event| event.what == "unreachable");
    assert_eq!(unreachable.count(), 1);

    asked.store(0, Relaxed);
    let mut looking = cluster_view.subscribe();
    looking.changed().await.expect("it goes on");
    assert_eq!(asked.load(Relaxed), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seen = asked.load(Relaxed);
    assert!(seen >= 10, "{seen} times in ten seconds");
    closing.cancel();
    running.await.expect("it ends");
}

fn merge(server: &mut KnownServer, status: Result<Value, ()>) -> Vec<(String, Option<u64>)> {
    let mut response = status.map_err(|()| NodeProblem::NoResponse);
    let events = server.merge(NodeId::new(2), &mut response);
    if let Ok(status) = response {
        assert_eq!(status.get("events"), None);
    }
    let summary = events.into_iter().map(|NewEvent { at, what, about }| {
        assert_eq!(about["node"], 2);
        (what, at)
    });
    summary.collect()
}

#[test]
fn events_of_a_server_are_recorded_once() {
    let status = |boot: &str, numbers: std::ops::RangeInclusive<u64>| {
        let events =
            numbers.map(|id| json!({"id": id, "at": 100 * id, "what": "voted", "node": 1}));
        Ok(json!({"boot": boot, "events": events.collect::<Vec<_>>()}))
    };
    let voted = |number: u64| ("voted".to_owned(), Some(100 * number));
    let mut server = KnownServer::default();
    assert_eq!(merge(&mut server, status("a", 1..=2)), [voted(1), voted(2)]);
    assert_eq!(merge(&mut server, status("a", 2..=3)), [voted(3)]);
    assert_eq!(server.last_event(), 3);
    // The server restarted. The poll requested events after number 3 of the previous run.
    assert!(merge(&mut server, status("b", 4..=5)).is_empty());
    assert_eq!(server.last_event(), 0);
    assert_eq!(merge(&mut server, status("b", 1..=2)), [voted(1), voted(2)]);
}

#[test]
fn server_is_unreachable_after_two_misses_and_then_back() {
    let mut server = KnownServer::default();
    assert!(merge(&mut server, Err(())).is_empty());
    assert!(server.is_late());
    let event = |what: &str| (what.to_owned(), None);
    assert_eq!(merge(&mut server, Err(())), [event("unreachable")]);
    assert!(!server.is_late());
    assert!(merge(&mut server, Err(())).is_empty());
    assert_eq!(merge(&mut server, Ok(json!({}))), [event("back")]);
    assert!(merge(&mut server, Err(())).is_empty());
    assert!(merge(&mut server, Ok(json!({}))).is_empty());
}
