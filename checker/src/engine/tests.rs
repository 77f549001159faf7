//! Compares the engine with the model: in every state of random walks both must find the same
//! successors. The scopes are too large to compare all states.

use super::{
    Limits, SearchOutcome, SearchProgress, check, state_layout::with_slots, successors::Worker,
    tables::Tables,
};
use model::{
    Message, Term,
    system::{
        Action, Budget, Limit, Local, Permutation, Reduction, Relabel, Scope, System, Witness,
        Witnesses,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::BTreeSet;

/// The number of walks that share tables and worker, so that cached results of earlier walks are used.
const WALKS: u64 = 2;
const STEPS: usize = 36;

fn scope(name: &str) -> Scope {
    let mut scopes = Scope::catalog().into_iter();
    let found = scopes.find(|scope| scope.name == name);
    found.unwrap_or_else(|| panic!("there is no scope {name}"))
}

/// The scope's reductions, without each single one, and without all.
fn reductions(base: Reduction) -> Vec<Reduction> {
    let mut all = vec![base];
    for number in 0..6 {
        let mut reduction = base;
        let switches = [
            &mut reduction.merge_syncs,
            &mut reduction.merge_restarts,
            &mut reduction.drop_dead,
            &mut reduction.send_early,
            &mut reduction.forget_hints,
            &mut reduction.trim_appends,
        ];
        for (context, switch) in switches.into_iter().enumerate() {
            *switch &= context != number;
        }
        all.push(reduction);
    }
    all.push(Reduction::NONE);
    all
}

/// Walks through a scope with each set of reductions. All walks together reach every witness.
#[track_caller]
fn assert_agrees(name: &str) {
    assert_agrees_on(name, WALKS);
}

#[track_caller]
fn assert_agrees_on(name: &str, walks: u64) {
    assert_agrees_but(name, walks, &[]);
}

/// As above, except for the rare witnesses.
#[track_caller]
fn assert_agrees_but(name: &str, walks: u64, rare: &[Witness]) {
    let mut witnesses = Witnesses::default();
    let base = scope(name);
    for (number, reduction) in reductions(base.reduction).into_iter().enumerate() {
        for symmetry in [false, true] {
            let scope = Scope {
                reduction,
                ..base.clone()
            };
            let tables = Tables::new(scope, symmetry);
            let seed = 2 * number as u64 + u64::from(symmetry);
            with_slots!(tables.layout().slots(), S => {
                let mut beside = Beside::<S>::new(&tables, symmetry);
                for walk in 0..walks {
                    beside.walk(100 * walk + seed);
                }
                witnesses.add_all(beside.witnesses);
            });
        }
    }
    let mut expected = base.expected.iter();
    let unseen = expected.find(|witness| !witnesses.contains(**witness) && !rare.contains(witness));
    assert_eq!(unseen, None, "no walk through {name} shows it");
}

#[test]
fn walks_through_snapshots_agree() {
    // A suffix that an installed snapshot discards takes two leaders and a follower left behind in
    // time, and one that it keeps a late snapshot: the search must reach them, walks hardly do.
    let rare = [Witness::SuffixDiscarded, Witness::SuffixKept];
    assert_agrees_but("snapshots", 16 * WALKS, &rare);
}

#[test]
fn walks_through_snapshots_beside_entries_agree() {
    assert_agrees_but("snapshots-entries", 4 * WALKS, &[Witness::SuffixKept]);
}

#[test]
fn walks_through_crashes_agree() {
    assert_agrees("crashes");
}

#[test]
fn walks_through_reads_agree() {
    assert_agrees("reads");
}

#[test]
fn walks_through_split_writes_agree() {
    // A conflict beside a crash is rare.
    assert_agrees_on("split-writes", 4 * WALKS);
}

#[test]
fn walks_through_split_entries_agree() {
    assert_agrees("split-entries");
}

#[test]
fn walks_end_to_end_agree() {
    assert_agrees("end-to-end");
}

#[test]
fn walks_through_restarts_of_clients_and_proxies_agree() {
    // A late copy of an abandoned write, or of a write whose session was evicted, is rare.
    let rare = [
        Witness::AbandonedTookEffect,
        Witness::SessionEvicted,
        Witness::SessionGone,
        Witness::WriteMoved,
    ];
    assert_agrees_but("restarts", 4 * WALKS, &rare);
    assert_agrees_on("client-reads", 4 * WALKS);
}

#[test]
fn walks_through_fail_over_agree() {
    assert_agrees("fail-over");
}

#[test]
fn walks_through_replication_agree() {
    assert_agrees("replication");
}

#[test]
fn walks_through_elections_of_four_agree() {
    assert_agrees("elections-4");
}

#[test]
fn walks_through_three_terms_agree() {
    // A conflict needs two leaders.
    assert_agrees_on("older-term", 3 * WALKS);
}

#[test]
fn walks_with_pre_votes_agree() {
    assert_agrees("quorum");
}

#[test]
fn walks_through_a_pipeline_agree() {
    assert_agrees("pipelining");
}

/// A witness needs a step that was taken. The engine also computes steps that the budget forbids, since
/// their cost is unknown before; these must add no witness.
#[test]
fn steps_beyond_the_budget_bear_no_witness() {
    let crashes = vec![
        Witness::Crashed,
        Witness::LeaderCrashed,
        Witness::UnsyncedWriteLost,
        Witness::VoteSurvivedCrash,
    ];
    let cases = [
        (
            "crashes",
            Budget {
                crashes: Limit::at_most(1),
                ..Budget::default()
            },
            crashes,
        ),
        (
            "crashes",
            Budget {
                entries: 1,
                ..Budget::default()
            },
            vec![Witness::WriteAcknowledged],
        ),
        (
            "reads",
            Budget {
                reads: 1,
                ..Budget::default()
            },
            vec![Witness::ReadServed],
        ),
    ];
    for (name, enough, of_steps) in cases {
        for symmetry in [false, true] {
            let reached = |budget| {
                let mut scope = scope(name);
                (scope.terms, scope.budget) = (1, budget);
                let limits = Limits {
                    threads: 1,
                    max_states: None,
                    max_memory: None,
                    symmetry,
                };
                let report = check(&scope, &limits, &SearchProgress::default()).report;
                assert!(matches!(report.outcome, SearchOutcome::Exhausted), "{name}");
                report.witnesses
            };
            let (with, without) = (reached(enough), reached(Budget::default()));
            assert!(without.contains(Witness::LeaderElected), "{name}");
            for witness in &of_steps {
                assert!(with.contains(*witness), "{name}: {witness}");
                assert!(!without.contains(*witness), "{name}: {witness}");
            }
        }
    }
}

/// Compares the engine with the model.
struct Beside<'a, const S: usize> {
    tables: &'a Tables,
    worker: Worker<'a, S>,
    permutations: Vec<Permutation>,
    symmetry: bool,
    witnesses: Witnesses,
}

impl<'a, const S: usize> Beside<'a, S> {
    fn new(tables: &'a Tables, symmetry: bool) -> Self {
        Self {
            tables,
            worker: Worker::new(tables),
            permutations: Permutation::all(tables.layout().servers),
            symmetry,
            witnesses: Witnesses::default(),
        }
    }

    fn walk(&mut self, seed: u64) {
        let scope = self.tables.scope();
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut system = self.tables.transitions().start();
        for step in 0..STEPS {
            let context = format!(
                "{} with {:?}, symmetry {}, seed {seed}, step {step}",
                scope.name, scope.reduction, self.symmetry
            );
            let ways = self.compare(&system, &context);
            let weights = ways.iter().map(|(action, _)| weight(&system, action));
            let Some(mut rest) = generator.next_u64().checked_rem(weights.sum()) else {
                return;
            };
            let chosen = ways.into_iter().find(|(action, _)| {
                let weight = weight(&system, action);
                let is_chosen = rest < weight;
                rest = rest.saturating_sub(weight);
                is_chosen
            });
            (_, system) = chosen.expect("the rest is less than all weights");
        }
    }

    /// Compares the successors of a system, and returns those of the model.
    fn compare(&mut self, system: &System, context: &str) -> Vec<(Action, System)> {
        let slots = self.tables.layout().slots();
        let key = self.tables.key_of(system);
        assert!(
            self.tables.system(&key) == *system,
            "another system: {context}"
        );
        let state = self.tables.layout().padded(&key);
        self.assert_one_form(system, context);

        let transitions = self.tables.transitions();
        let (mut ways, mut taken) = (Vec::new(), 0);
        for action in transitions.actions(system) {
            let Some((next, witnesses)) = transitions.next(system, &action) else {
                continue;
            };
            assert_eq!(next.violation, None, "{context}");
            taken += 1;
            self.witnesses.add_all(witnesses);
            if next != *system {
                ways.push((action, next));
            }
        }
        let expected: BTreeSet<System> = ways.iter().map(|(_, next)| next.clone()).collect();

        let before = self.worker.transitions;
        let mut keys: BTreeSet<[u32; S]> = BTreeSet::new();
        let mut keep = |next: &[u32; S]| {
            keys.insert(*next);
            true
        };
        let all_kept = self.worker.successors(&state, &mut keep);
        assert_eq!(all_kept, Ok(true), "{context}");
        assert_eq!(
            self.worker.transitions - before,
            taken,
            "transitions: {context}"
        );
        keys.remove(&self.worker.canonical(state));
        let found: BTreeSet<System> = keys
            .iter()
            .map(|key| self.tables.system(&key[..slots]))
            .collect();

        let mut expected = self.canonical(expected);
        expected.remove(&self.canonical_of(system));
        let found = self.canonical(found);
        assert_eq!(keys.len(), found.len(), "two forms of one state: {context}");
        assert_same(&found, &expected, context);
        ways
    }

    /// All permutations of a system have one canonical form.
    fn assert_one_form(&mut self, system: &System, context: &str) {
        if !self.symmetry {
            return;
        }
        let forms: BTreeSet<[u32; S]> = self
            .permutations
            .iter()
            .map(|permutations| {
                let key = self.tables.key_of(&system.relabel(permutations));
                self.worker.canonical(self.tables.layout().padded(&key))
            })
            .collect();
        assert_eq!(forms.len(), 1, "forms of one state: {context}");
    }

    fn canonical_of(&self, system: &System) -> System {
        if self.symmetry {
            system.canonical()
        } else {
            system.clone()
        }
    }

    fn canonical(&self, systems: BTreeSet<System>) -> BTreeSet<System> {
        if self.symmetry {
            systems.iter().map(System::canonical).collect()
        } else {
            systems
        }
    }
}

#[track_caller]
fn assert_same(found: &BTreeSet<System>, expected: &BTreeSet<System>, context: &str) {
    let missed: Vec<_> = expected.difference(found).collect();
    let invented: Vec<_> = found.difference(expected).collect();
    if missed.is_empty() && invented.is_empty() {
        return;
    }
    for (missed, invented) in missed.iter().zip(&invented) {
        if missed.processes == invented.processes {
            let (of_one, of_other) = (&missed.network, &invented.network);
            let lost: Vec<_> = of_one.difference(of_other).collect();
            let kept: Vec<_> = of_other.difference(of_one).collect();
            println!("only the model keeps {lost:?}, only the engine {kept:?}");
        }
    }
    panic!(
        "the engine misses {} successors and invents {}: {context}",
        missed.len(),
        invented.len()
    );
}

/// The weight of a step in a walk. Messages of the newest term get more weight; campaigns, timeouts and
/// crashes get less, since they end most walks early.
fn weight(system: &System, action: &Action) -> u64 {
    match &action.local {
        Local::Deliver { envelope, .. } => {
            let terms = system
                .network
                .iter()
                .filter_map(|sent| term_of(&sent.message));
            match (term_of(&envelope.message), terms.max()) {
                (Some(term), Some(newest)) if term < newest => 3,
                _ => 12,
            }
        }
        Local::Propose
        | Local::ProposeTogether
        | Local::Read
        | Local::Invoke
        | Local::Sync
        | Local::Compact
        | Local::TransferLeadership(_)
        | Local::Restart => 8,
        Local::HeartbeatTimeout => 4,
        Local::ElectionTimeout
        | Local::QuorumTimeout
        | Local::ClientTimeout
        | Local::ProxyTimeout { .. }
        | Local::Crash => 1,
    }
}

fn term_of(message: &Message) -> Option<Term> {
    Some(match message {
        Message::PreVoteRequest(request) => request.next_term,
        Message::PreVoteResponse(response) => response.term,
        Message::RequestVoteRequest(request) => request.term,
        Message::RequestVoteResponse(response) => response.term,
        Message::AppendEntriesRequest(request) => request.term,
        Message::AppendEntriesResponse(response) => response.term,
        Message::InstallSnapshotRequest(request) => request.term,
        Message::InstallSnapshotResponse(response) => response.term,
        Message::TimeoutNowRequest(request) => request.term,
        Message::ClientRequest(_) | Message::ClientResponse(_) | Message::Identity(_) => {
            return None;
        }
    })
}
