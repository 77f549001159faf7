//! Steps and their causes, within a trace and among traces.

use crate::{Files, Node, World, sample};
use model::{
    Address, ClientId, ClientRequest, Config, Durable, Envelope, Event, Message, NodeId, RequestId,
    Role, message::RequestBody, mutant::Mutant, system::Property,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[test]
fn honest_traces_are_accepted() {
    let (mut elections, mut committed, mut runs) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(if seed % 5 == 0 { 5 } else { 3 }, None, seed);
        world.checks = seed < 20;
        world.run(1500);
        assert_eq!(world.violation, None, "seed {seed}");
        let report = match world.files().checked() {
            Ok(report) => report,
            Err(rejection) => panic!("seed {seed}: {rejection}"),
        };
        let steps: u64 = world
            .nodes
            .iter()
            .map(|node| node.lines.len() as u64 - node.runs)
            .sum();
        assert_eq!((report.steps, report.servers), (steps, world.nodes.len()));
        elections += report.elections;
        committed += report.committed;
        runs += report.runs;
    }
    assert!(
        elections > 100 && committed > 1000 && runs > 300,
        "{elections} {committed} {runs}"
    );
}

/// An independent definition of the steps inside a world that can be exhausted: the largest set of steps
/// of this world that contains, for each step, the previous steps of its server and a step that sent the
/// message it receives.
#[test]
fn steps_inside_are_those_that_nothing_outside_caused() {
    let (mut all, mut some) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(3, None, seed);
        world.busy = seed % 2 == 0;
        world.run(if world.busy { 400 } else { 60 });
        let report = world.files().checked().expect("accepted");
        let inside = inside_by_definition(&world);
        assert_eq!(report.coverage.inside, inside, "seed {seed}");
        all += u64::from(inside == report.steps);
        some += u64::from(inside > 10 && inside < report.steps);
    }
    assert!(all > 0 && some > 5, "{all} {some}");
}

fn inside_by_definition(world: &World) -> u64 {
    let mut steps: Vec<(usize, Value)> = Vec::new();
    let mut outside = Vec::new();
    for (server, node) in world.nodes.iter().enumerate() {
        let (mut runs, mut term) = (0, 0);
        for line in &node.lines {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if line["trace"].is_string() {
                runs += 1;
                continue;
            }
            let written = &line["effects"]["write"]["hard_state"]["current_term"];
            term = written.as_u64().unwrap_or(term);
            let event = &line["event"];
            let timers = ["ElectionTimeout", "HeartbeatTimeout", "QuorumTimeout"];
            let is_of_this_world = timers.iter().any(|timer| event == timer)
                || event["Persisted"].is_u64()
                || event["Receive"]["from"]["Node"].is_u64();
            // A request that a server refuses because it is not the leader does not count.
            let sends = line["effects"]["sends"].as_array().expect("sends");
            let is_told = sends.iter().any(|envelope| envelope["to"]["Node"].is_u64());
            let is_request = ["Requests", "RequestsUnderBackpressure"]
                .iter()
                .any(|kind| event[kind].is_array());
            if is_request && line["effects"]["write"].is_null() && !is_told {
                continue;
            }
            outside.push(runs > 1 || term > 2 || !is_of_this_world);
            steps.push((server, line));
        }
    }
    loop {
        let sent: BTreeSet<String> = steps
            .iter()
            .zip(&outside)
            .filter(|(_, outside)| !**outside)
            .flat_map(|((_, line), _)| line["effects"]["sends"].as_array().expect("sends"))
            .map(ToString::to_string)
            .collect();
        let mut changed = false;
        for place in 0..steps.len() {
            let (server, line) = &steps[place];
            let follows = place > 0 && steps[place - 1].0 == *server && outside[place - 1];
            let received = &line["event"]["Receive"];
            let is_unsent = received.is_object() && {
                let to = json!({ "Node": server + 1 });
                let envelope =
                    json!({ "from": received["from"], "to": to, "message": received["message"] });
                !sent.contains(&envelope.to_string())
            };
            if !outside[place] && (follows || is_unsent) {
                outside[place] = true;
                changed = true;
            }
        }
        if !changed {
            return outside.iter().filter(|outside| !**outside).count() as u64;
        }
    }
}

#[test]
fn a_run_starts_from_what_the_one_before_left() {
    // A cluster of one server needs no messages.
    let config = Config::production([NodeId::new(1)].into());
    let recorded = || {
        let mut node = Node::start(NodeId::new(1), &config, Durable::default());
        node.step(Event::ElectionTimeout);
        let ballot = node.unsynced[0].clone();
        node.step(Event::Persisted(ballot.id));
        let mut writes = vec![ballot];
        for id in 1..4 {
            let client = ClientId::new(5);
            let request = ClientRequest {
                client,
                id: RequestId::new(id),
                body: RequestBody::OpenSession,
            };
            node.step(Event::Requests(vec![(Address::Client(client), request)]));
        }
        writes.extend(node.unsynced.iter().cloned());
        assert!(writes.len() > 3, "there are writes");
        // The first three are reported durable.
        node.step(Event::Persisted(writes[2].id));
        (node, writes)
    };
    for reached in 0..=recorded().1.len() {
        let (mut node, writes) = recorded();
        let mut disk = Durable::default();
        for write in &writes[..reached] {
            disk.apply(write);
        }
        node.disk = disk.clone();
        node.begin(&config);
        let line = node.lines.len();
        let files = Files([("one".to_owned(), node.lines.clone())].into());
        if reached < 3 {
            let told = files.rejected();
            let place = format!("one:{line}: ");
            assert!(
                told.starts_with(&place) && told.contains("does not start from"),
                "{told}"
            );
        } else {
            files
                .checked()
                .expect("some of the writes reached the disk");
        }
        // Only the last run, which starts from a used disk.
        let files = Files([("one".to_owned(), node.lines[line - 1..].to_vec())].into());
        if disk != Durable::default() {
            let told = files.rejected();
            assert!(
                told.starts_with("one:1: ") && told.contains("--used-disks"),
                "{told}"
            );
        }
        files
            .checked_from(true)
            .expect("told that the disk was in use");
    }
}

#[test]
fn what_nobody_sent_is_not_received() {
    let files = sample();
    let mut alone = files.clone();
    alone.0.remove("node-2");
    let told = alone.rejected();
    assert!(told.contains("whose trace is not here"), "{told}");
    // The last step receives a message that its sender never sent, and no other step depends on it.
    let config = Config::production([1, 2].map(NodeId::new).into());
    let mut one = Node::start(NodeId::new(1), &config, Durable::default());
    let two = Node::start(NodeId::new(2), &config, Durable::default());
    let message = Message::RequestVoteResponse(model::RequestVoteResponse {
        term: model::Term::new(0),
        vote_granted: false,
    });
    let from = Address::Node(two.id);
    one.step(Event::Receive { from, message });
    let files = Files([("one".into(), one.lines), ("two".into(), two.lines)].into());
    let told = files.rejected();
    assert!(
        told.starts_with("one:2: ") && told.contains("no step of its trace sends"),
        "{told}"
    );
}

/// Two servers: the first becomes leader, writes an entry, and receives the second server's
/// acknowledgment of it. The leader receives `foreseen` before it writes the entry. Returns the traces
/// and the acknowledgment.
fn conversation(foreseen: Option<&Message>) -> (Files, Message) {
    let config = Config::production([1, 2].map(NodeId::new).into());
    let mut nodes = [1, 2].map(|id| Node::start(NodeId::new(id), &config, Durable::default()));
    let mut mail = VecDeque::new();
    let settle = |nodes: &mut [Node; 2], mail: &mut VecDeque<Envelope>| {
        let mut last = None;
        loop {
            for node in nodes.iter_mut() {
                while let Some(write) = node.unsynced.front() {
                    let id = write.id;
                    mail.extend(node.step(Event::Persisted(id)).sends);
                }
            }
            let Some(Envelope { from, to, message }) = mail.pop_front() else {
                return last;
            };
            let Address::Node(to) = to else {
                continue;
            };
            if to.get() == 1 {
                last = Some(message.clone());
            }
            let effects = nodes[to.get() as usize - 1].step(Event::Receive { from, message });
            mail.extend(effects.sends);
        }
    };
    mail.extend(nodes[0].step(Event::ElectionTimeout).sends);
    settle(&mut nodes, &mut mail);
    assert!(matches!(nodes[0].raft.role(), Role::Leader(_)));
    if let Some(message) = foreseen {
        let from = Address::Node(NodeId::new(2));
        let message = message.clone();
        mail.extend(nodes[0].step(Event::Receive { from, message }).sends);
        settle(&mut nodes, &mut mail);
    }
    let request = ClientRequest {
        client: ClientId::new(5),
        id: RequestId::new(1),
        body: RequestBody::OpenSession,
    };
    let asked = Event::Requests(vec![(Address::Client(ClientId::new(5)), request)]);
    mail.extend(nodes[0].step(asked).sends);
    let last = settle(&mut nodes, &mut mail).expect("an acknowledgement");
    let files = nodes.map(|node| (format!("node-{}", node.id), node.lines));
    (Files(files.into()), last)
}

#[test]
fn an_answer_received_before_its_question_was_sent_is_rejected() {
    let (honest, answer) = conversation(None);
    honest.checked().expect("honest");
    let (forged, again) = conversation(Some(&answer));
    assert_eq!(answer, again, "the answer is sent, but only later");
    let told = forged.rejected();
    assert!(
        told.starts_with("node-1:") && told.contains("sent only after it was received"),
        "{told}"
    );
}

#[test]
fn violations_by_definition_are_violations_in_traces() {
    let mut found_by: BTreeMap<&str, u32> = BTreeMap::new();
    for mutant in [
        Mutant::QuorumOffByOne,
        Mutant::VotesTwiceInATerm,
        Mutant::VotesWithoutComparingLogs,
        Mutant::ComparesLogsByLength,
        Mutant::PrevTermNotCompared,
        Mutant::ConflictingSuffixKept,
        Mutant::AppendAcknowledgedBeforeDurable,
        Mutant::CommitsOlderTermByCounting,
        Mutant::VoteNotPersisted,
        Mutant::CountsStaleVotes,
        Mutant::FollowerCommitsDespiteConflict,
        Mutant::RefusedBeforeTermIsDurable,
        Mutant::CommitsSentEntries,
        Mutant::ComparesTermOfLastEntry,
    ] {
        for seed in 0..12 {
            let mut world = World::new(3, Some(mutant), 1000 + seed);
            world.checks = true;
            world.run(1200);
            let files = world.files();
            let checked = files.checked_without_refinement();
            if let Err(rejection) = &checked {
                let with_all = files.checked();
                assert!(with_all.is_err(), "{mutant:?} seed {seed}: {rejection}");
            }
            match (world.violation, checked) {
                (None, Ok(report)) => assert_eq!(report.planted.as_deref(), Some(mutant.name())),
                (Some(property), Ok(_)) => {
                    panic!("{mutant:?} seed {seed}: {property} is violated, accepted")
                }
                (property, Err(rejection)) => {
                    let found = rejection
                        .violation()
                        .unwrap_or_else(|| panic!("{mutant:?} seed {seed}: {rejection}"))
                        .property;
                    // The traces show a promise that is not on the disk, and a commit that breaks the
                    // rule, before a property of whole states is violated.
                    let is_early = [
                        Property::OneVotePerTerm,
                        Property::MatchIsDurable,
                        Property::TermIsDurable,
                        Property::CommitIsDurable,
                        Property::CommitsOwnTerm,
                    ]
                    .contains(&found);
                    assert!(
                        property.is_some() || is_early,
                        "{mutant:?} seed {seed}: {rejection}"
                    );
                    *found_by.entry(found.name()).or_default() += 1;
                }
            }
        }
    }
    assert!(found_by.len() > 6, "{found_by:?}");
    for property in [
        Property::TermIsDurable,
        Property::CommitIsDurable,
        Property::CommitsOwnTerm,
    ] {
        assert!(found_by.contains_key(property.name()), "{found_by:?}");
    }
}

#[test]
fn a_long_trace_is_replayed() {
    let mut world = World::new(3, None, 99);
    world.run(12_000);
    let report = world.files().checked().expect("honest");
    assert!(report.steps > 6_000, "{report:?}");
}

#[test]
fn lines_cut_short_where_a_run_ended_are_left_out() {
    let mut files = sample();
    let lines = files.0.get_mut("node-1").expect("a file");
    lines.push("{\"step\":12,\"ev".into());
    let report = files.checked().expect("cut short at its end");
    assert_eq!(report.cut_short.len(), 1);
    let lines = files.0.get_mut("node-1").expect("a file");
    let middle = lines.len() / 2;
    lines.insert(middle, "{\"step\":12,\"ev".into());
    let told = files.rejected();
    assert!(
        told.starts_with(&format!("node-1:{}: ", middle + 1)),
        "{told}"
    );
}
