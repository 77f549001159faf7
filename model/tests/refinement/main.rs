//! Real steps, compared with the formulas of the abstract protocol.
//!
//! The property *Steps refine the abstract Raft* checks guards by code of its own. Here the evaluation of the
//! formulas executes the same steps.

mod mutants;
#[path = "../random/mod.rs"]
mod random;

use model::{
    Message,
    system::{
        Action, ActionKind, Budget, Limit, Local, LocalStep, Process, Properties, Scope, System,
        TransitionSystem, Witness,
        refinement::ground::GroundStep,
        spec::{
            Evaluator, Protocol, Universe,
            evaluation::Step,
            signature::{Relation, Sort},
        },
    },
};
use random::Random;
use std::{collections::BTreeMap, mem::discriminant};

/// Scopes whose logs fit a small universe: few terms and few entries.
fn scopes() -> Vec<Scope> {
    let mut together = Scope::new("together", "merged syncs and restarts");
    together.terms = 2;
    together.budget = Budget {
        entries: 1,
        crashes: Limit::Any,
        ..Budget::default()
    };
    let mut split = together.clone();
    split.reduction.merge_syncs = false;
    split.reduction.merge_restarts = false;
    let mut session = split.clone();
    session.terms = 1;
    session.with_session = true;
    let mut quorum = together.clone();
    (quorum.pre_vote, quorum.check_quorum) = (true, true);
    quorum.reduction.merge_syncs = false;
    let mut pipelining = split.clone();
    (pipelining.window, pipelining.batch) = (2, 1);
    pipelining.budget.entries = 2;
    let mut snapshots = pipelining.clone();
    snapshots.name = "snapshots".into();
    snapshots.budget.snapshots = Limit::Any;
    snapshots.terms = 1;
    (snapshots.with_session, snapshots.starts_with_leader) = (true, true);
    vec![together, split, session, quorum, pipelining, snapshots]
}

/// A random action, of a random kind: most actions are deliveries. Crashes are rare, because a server that
/// has just crashed does little.
fn choose<'a>(actions: &'a [Action], random: &mut Random) -> &'a Action {
    let kind = |action: &Action| discriminant(&action.local);
    let mut kinds = Vec::new();
    for action in actions {
        if !kinds.contains(&kind(action)) {
            kinds.push(kind(action));
        }
    }
    let crash = discriminant(&Local::Crash);
    let mut chosen = kinds[random.below(kinds.len())];
    for _ in 0..2 {
        if chosen == crash {
            chosen = kinds[random.below(kinds.len())];
        }
    }
    let of_kind = actions.iter().filter(|action| kind(action) == chosen);
    let of_kind: Vec<_> = of_kind.collect();
    of_kind[random.below(of_kind.len())]
}

/// Random runs of a scope. Calls `visit` with each step that is taken.
fn walk(scope: &Scope, seeds: u64, mut visit: impl FnMut(&System, &Action, &LocalStep)) {
    let transitions = TransitionSystem::new(scope.clone());
    for seed in 0..seeds {
        let mut random = Random(seed);
        let mut system = transitions.start();
        for _ in 0..60 {
            let actions = transitions.actions(&system);
            if actions.is_empty() {
                break;
            }
            let action = choose(&actions, &mut random);
            let process = &system.processes[action.process];
            let Some(step) = transitions.local_step(process, &action.local) else {
                continue;
            };
            visit(&system, action, &step);
            if let Some((next, _)) = transitions.next(&system, action) {
                system = next;
            }
        }
    }
}

#[test]
fn actions_are_those_of_the_abstract_protocol() {
    let protocol = Protocol::raft();
    let names: Vec<&str> = protocol.actions.iter().map(|action| action.name).collect();
    let kinds: Vec<&str> = ActionKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(kinds, names);
}

/// Each action that a real step is mapped to is enabled, and their effects explain every claim.
#[test]
fn formulas_permit_the_actions_of_real_steps() {
    let evaluator = Evaluator::new(&Protocol::raft(), Universe::new(3, 3, 4, 1));
    let mut taken: BTreeMap<ActionKind, usize> = BTreeMap::new();
    let (mut compared, mut pipelined, mut with_snapshot, mut installed) = (0, 0, 0, 0);
    for scope in scopes() {
        // Few runs create a snapshot, and fewer install one.
        let runs = if scope.name == "snapshots" { 400 } else { 60 };
        walk(&scope, runs, |system, action, step| {
            assert_eq!(step.violation, None);
            let before = &system.processes[action.process];
            let Some(ground) = GroundStep::new(&evaluator, system, action, step) else {
                return;
            };
            assert_eq!(
                ground.differences,
                Vec::<String>::new(),
                "{}: {:?}\n{:?}\nbefore {before:?}\nafter {:?}",
                scope.name,
                action.local,
                step.actions,
                step.next
            );
            compared += 1;
            pipelined += usize::from(step.witnesses.contains(Witness::Pipelined));
            let has_snapshot = |process: &Process| {
                process
                    .server()
                    .is_some_and(|server| server.disk.snapshot.is_some())
            };
            with_snapshot += usize::from(has_snapshot(&step.next));
            installed += usize::from(matches!(&action.local, Local::Deliver { envelope, .. }
                if matches!(envelope.message, Message::InstallSnapshotRequest(_)) && step.next != *before));
            for transition in &ground.transitions {
                assert!(evaluator.permits(transition));
                *taken
                    .entry(ActionKind::ALL[transition.step.action])
                    .or_default() += 1;
            }
        });
    }
    assert!(compared > 1_000, "{compared} steps");
    assert!(
        pipelined > 5,
        "{pipelined} steps with several requests in flight"
    );
    assert!(with_snapshot > 100, "{with_snapshot} steps with a snapshot");
    assert!(installed > 5, "{installed} installed snapshots");
    for kind in ActionKind::ALL {
        assert!(taken.get(kind).is_some_and(|count| *count > 5), "{taken:?}");
    }
}

/// A step without the property is not mapped.
#[test]
fn actions_are_counted_only_if_the_property_is_checked() {
    let mut scope = scopes().remove(0);
    let mut count = |properties: Properties| {
        scope.properties = properties;
        let mut actions = 0;
        walk(&scope, 3, |_, _, step| actions += step.actions.len());
        actions
    };
    assert!(count(Properties::ALL) > 0);
    assert_eq!(count(Properties::NONE), 0);
}

/// The image of a scope with a session is the state after an election in term 1, except for the votes.
#[test]
fn image_with_a_session_is_reachable() {
    let protocol = Protocol::raft();
    let evaluator = Evaluator::new(&protocol, Universe::new(3, 2, 1, 1));
    let log = (0..evaluator.universe().size(Sort::Log))
        .find(|log| evaluator.universe().terms_of(*log) == [1])
        .expect("the universe has the log of one entry of term 1");
    let members = |quorum: &u8| {
        let is_member = |server: &u8| evaluator.universe().is_member(*server, *quorum);
        (0..2).filter(is_member).count()
    };
    let mut quorums = 0..evaluator.universe().size(Sort::Quorum);
    let quorum = quorums.find(|quorum| members(quorum) == 2);
    let quorum = quorum.expect("servers 1 and 2 are a quorum");
    let steps = [
        (ActionKind::Stand, [0, 1, 0, 0]),
        (ActionKind::Vote, [1, 0, 1, 0]),
        (ActionKind::Vote, [2, 0, 1, 0]),
        (ActionKind::Elect, [0, 1, 0, quorum]),
        (ActionKind::ClientRequest, [0, 1, 0, log]),
        (ActionKind::Accept, [0, 1, log, 0]),
        (ActionKind::Accept, [1, 1, log, 0]),
        (ActionKind::Accept, [2, 1, log, 0]),
    ];
    let mut facts = evaluator.initial();
    for (kind, parameters) in steps {
        let action = kind as usize;
        let step = Step { action, parameters };
        assert!(evaluator.is_enabled(step, &facts), "{}", kind.name());
        facts = evaluator.effect(step, &facts);
    }
    assert_eq!(evaluator.false_lemmas(&facts).next(), None);
    let is_true = |relation, values: &[u8]| facts.contains(evaluator.fact(relation, values));
    let mut scope = Scope::new("session", "the image");
    scope.with_session = true;
    let image = TransitionSystem::new(scope).start();
    for server in image.processes.iter().filter_map(Process::server) {
        let id = u8::try_from(server.id.get() - 1).expect("servers are few");
        let term = u8::try_from(server.disk.hard_state.current_term.get()).expect("terms are few");
        for other in 0..evaluator.universe().size(Sort::Term) {
            assert_eq!(is_true(Relation::Left, &[id, other]), other < term);
        }
        for other in 0..evaluator.universe().size(Sort::Log) {
            let terms = evaluator.universe().terms_of(other);
            let disk = server.disk.log.iter().map(|entry| entry.term.get());
            let disk: Vec<u8> = disk
                .map(|term| u8::try_from(term).expect("small"))
                .collect();
            assert_eq!(
                is_true(Relation::Has, &[id, other]),
                disk.starts_with(&terms)
            );
        }
        // The disks have no vote, and no server can request one in this term.
        assert_eq!(server.disk.hard_state.voted_for, None);
        assert!(is_true(Relation::Left, &[id, 0]));
    }
}
