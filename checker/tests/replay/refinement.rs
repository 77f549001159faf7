//! The refinement of the abstract Raft in traces of servers, and the checks of restarts.

use crate::{Files, Node, World};
use checker::replay::Rejection;
use model::{
    Address, Config, Durable, Envelope, Event, Message, NodeId, mutant::Mutant, system::Property,
};

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
