//! The refinement of the abstract Raft in traces of servers, and the checks of restarts.

use crate::{Files, Node, World};
use checker::replay::Rejection;
use model::{
    Address, ClientId, ClientRequest, Config, Durable, Envelope, Event, Message, NodeId, RequestId,
    message::RequestBody, mutant::Mutant, system::Property,
};
use std::collections::VecDeque;

fn violated(files: &Files) -> Option<Property> {
    let rejection = files.checked().err()?;
    let violation = rejection.violation();
    let violation = violation.unwrap_or_else(|| panic!("another rejection: {rejection}"));
    Some(violation.property)
}

/// No property of whole states and no other property of a step finds this bug.
#[test]
fn bug_that_only_the_refinement_finds_is_reported() {
    let mut found = 0;
    for seed in 0..12 {
        let mutant = Mutant::CandidateReportsCommittedLog;
        let mut world = World::new(3, Some(mutant), seed);
        world.run(400);
        let files = world.files();
        let others = files.checked_without_refinement();
        let all = violated(&files);
        found += u32::from(others.is_ok() && all == Some(Property::Refinement));
        assert!(others.is_ok() || all.is_some(), "seed {seed}: {others:?}");
    }
    assert!(found > 6, "{found}");
}

fn servers(mutant: Mutant) -> (Config, [Node; 3]) {
    let mut config = Config::production([1, 2, 3].map(NodeId::new).into());
    (config.pre_vote, config.check_quorum) = (false, false);
    config.mutant = Some(mutant);
    let nodes = [1, 2, 3].map(|id| Node::start(NodeId::new(id), &config, Durable::default()));
    (config, nodes)
}

/// A server becomes a candidate, and its vote for itself becomes durable.
fn candidate(node: &mut Node) -> Vec<Envelope> {
    node.step(Event::ElectionTimeout);
    let write = node.unsynced[0].id;
    node.step(Event::Persisted(write)).sends
}

/// Delivers messages between servers until none is left, and makes each write durable at once. A server that
/// installs a snapshot crashes instead, after the write reached its disk, if `crashes`.
fn exchange(
    config: &Config,
    nodes: &mut [Node; 3],
    sends: Vec<Envelope>,
    crashes: bool,
    passes: impl Fn(NodeId) -> bool,
) {
    let mut network = VecDeque::from(sends);
    while let Some(envelope) = network.pop_front() {
        let (Address::Node(from), Address::Node(to)) = (envelope.from, envelope.to) else {
            continue;
        };
        if !passes(from) || !passes(to) {
            continue;
        }
        let node = &mut nodes[to.get() as usize - 1];
        let (from, message) = (envelope.from, envelope.message);
        network.extend(node.step(Event::Receive { from, message }).sends);
        let installs = node.unsynced.iter().any(|write| write.snapshot.is_some());
        if crashes && installs {
            let pending = node.unsynced.len();
            node.crash(config, pending);
        }
        network.extend(persist(node));
    }
}

/// Makes all writes durable.
fn persist(node: &mut Node) -> Vec<Envelope> {
    let last = node.unsynced.back().map(|write| write.id);
    last.map_or_else(Vec::new, |id| node.step(Event::Persisted(id)).sends)
}

fn openings(count: u64) -> Event {
    let opening = |id| {
        let client = ClientId::new(100);
        let request = ClientRequest {
            client,
            id: RequestId::new(id),
            body: RequestBody::OpenSession,
        };
        (Address::Client(client), request)
    };
    Event::Requests((1..=count).map(opening).collect())
}

/// The snapshot ends with another entry than the log on the disk has there, and the log is longer. Until the
/// snapshot is on the disk, the log in memory begins after an entry that the disk does not have.
#[test]
fn snapshot_that_replaces_a_longer_log_is_accepted() {
    for crashes in [false, true] {
        let mut config = Config::production([1, 2, 3].map(NodeId::new).into());
        (config.pre_vote, config.check_quorum) = (false, false);
        (config.trailing_bytes, config.snapshot_patience) = (0, 0);
        let mut nodes =
            [1, 2, 3].map(|id| Node::start(NodeId::new(id), &config, Durable::default()));
        let third = NodeId::new(3);
        // Server 1 leads term 1, and no other server receives its entries.
        let sends = candidate(&mut nodes[0]);
        let votes = |envelope: &Envelope| envelope.to == Address::Node(third);
        let (request, _): (Vec<_>, Vec<_>) = sends.into_iter().partition(votes);
        let Some(Envelope { from, message, .. }) = request.into_iter().next() else {
            panic!("a candidate requests votes");
        };
        nodes[2].step(Event::Receive { from, message });
        let vote = persist(&mut nodes[2]).remove(0);
        let (from, message) = (vote.from, vote.message);
        nodes[0].step(Event::Receive { from, message });
        nodes[0].step(openings(11));
        persist(&mut nodes[0]);
        assert_eq!(nodes[0].disk.log.len(), 12);
        // Servers 2 and 3 commit 10 entries in term 2, and server 2 discards them from its log.
        let others = |id| id != NodeId::new(1);
        candidate(&mut nodes[1]);
        let sends = candidate(&mut nodes[1]);
        exchange(&config, &mut nodes, sends, crashes, others);
        let mut sends = nodes[1].step(openings(9)).sends;
        sends.extend(persist(&mut nodes[1]));
        exchange(&config, &mut nodes, sends, crashes, others);
        nodes[1].step(Event::Compact);
        persist(&mut nodes[1]);
        for _ in 0..4 {
            let sends = nodes[1].step(Event::HeartbeatTimeout).sends;
            exchange(&config, &mut nodes, sends, crashes, |_| true);
        }
        let snapshot = nodes[0].disk.snapshot.as_ref();
        assert_eq!(snapshot.map(|one| one.last_included_index.get()), Some(10));
        let checked = files(nodes).checked();
        assert!(
            checked.is_ok(),
            "{crashes}: {}",
            checked.expect_err("refused")
        );
    }
}

fn files(nodes: [Node; 3]) -> Files {
    let file = |node: Node| (format!("node-{}", node.id), node.lines);
    Files(nodes.map(file).into())
}

#[test]
fn restart_behind_the_disk_is_reported_with_its_line() {
    let (config, mut nodes) = servers(Mutant::RejoinsWithWipedDisk);
    candidate(&mut nodes[0]);
    nodes[0].crash(&config, 0);
    let rejection = files(nodes).checked().expect_err("it forgets its term");
    let Rejection::Violation { place, violation } = rejection else {
        panic!("{rejection}");
    };
    assert_eq!(place.to_string(), "node-1:4");
    assert_eq!(violation.property, Property::Monotone);
}

/// Two votes of one term reach the disk. No step reports them as durable, so only the disk of the next run
/// shows them.
#[test]
fn second_vote_that_reaches_the_disk_before_a_crash_is_reported() {
    let (config, mut nodes) = servers(Mutant::VotesTwiceInATerm);
    for candidate_of in [0, 1] {
        let sends = candidate(&mut nodes[candidate_of]);
        let request = sends.into_iter().find_map(|envelope| {
            let is_for_third = envelope.to == Address::Node(NodeId::new(3));
            (is_for_third && matches!(envelope.message, Message::RequestVoteRequest(_)))
                .then_some((envelope.from, envelope.message))
        });
        let (from, message) = request.expect("a candidate requests votes");
        nodes[2].step(Event::Receive { from, message });
    }
    let votes = nodes[2].unsynced.len();
    nodes[2].crash(&config, votes);
    let files = files(nodes);
    let others = files.checked_without_refinement().expect_err("two votes");
    let property = |rejection: &Rejection| rejection.violation().map(|found| found.property);
    assert_eq!(property(&others), Some(Property::OneVotePerTerm));
}
