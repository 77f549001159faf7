//! The wrong variants: the explicit form finds a counterexample to each, without a solver.

use crate::{Random, altered, random_step};
use model::system::spec::{
    Evaluator, Facts, Mutation, Outcome, Protocol, Universe, signature::Relation,
};

/// The variants whose counterexamples random states do not reach. Each has a test below.
const CONSTRUCTED: [&str; 2] = ["without lemma leader-term", "vote-compares-lengths"];

/// Walks at random through the states that satisfy the lemmas of a protocol, reachable or not, until a
/// state is a counterexample.
fn finds(evaluator: &Evaluator, runs: u64, is_counterexample: impl Fn(&Facts) -> bool) -> bool {
    (0..runs).any(|seed| {
        let mut random = Random(seed);
        let only_steps = random.below(40);
        let mut facts = evaluator.initial();
        (0..300).any(|at| {
            let next = if at < only_steps || random.below(4) == 0 {
                random_step(evaluator, &facts, &mut random)
            } else {
                Some(altered(evaluator, &facts, &mut random))
            };
            if let Some(next) = next
                && next != facts
                && evaluator.false_lemmas(&next).next().is_none()
            {
                facts = next;
                return is_counterexample(&facts);
            }
            false
        })
    })
}

/// Whether a step from the state breaks a lemma, or the state breaks a consequence.
fn rejects(evaluator: &Evaluator, facts: &Facts, action: Option<usize>) -> bool {
    let Some(action) = action else {
        return evaluator.false_consequences(facts).next().is_some();
    };
    let steps = evaluator.steps_of(action, facts);
    steps
        .iter()
        .any(|(_, after)| evaluator.false_lemmas(after).next().is_some())
}

fn action(protocol: &Protocol, name: &str) -> Option<usize> {
    protocol
        .actions
        .iter()
        .position(|action| action.name == name)
}

fn mutation(name: &str) -> Mutation {
    let mut all = Mutation::all().into_iter();
    all.find(|mutation| mutation.name == name)
        .expect("a variant has this name")
}

/// Requires a counterexample to each variant that the predicate selects.
fn assert_rejected(is_selected: impl Fn(&str) -> bool) {
    for mutation in Mutation::all() {
        let Outcome::Found(group, _) = mutation.outcome else {
            continue;
        };
        if !is_selected(&mutation.name) || CONSTRUCTED.contains(&mutation.name.as_str()) {
            continue;
        }
        // Without a lemma, several queries fail.
        let targets = if mutation.name.starts_with("without lemma") {
            let actions = 0..mutation.protocol.actions.len();
            actions.map(Some).chain([None]).collect()
        } else {
            vec![action(&mutation.protocol, group)]
        };
        let universes = [(2, 350), (3, 1_000)];
        let is_found = universes.into_iter().any(|(servers, runs)| {
            let universe = Universe::new(servers, 2, 2, 1);
            let evaluator = Evaluator::new(&mutation.protocol, universe);
            finds(&evaluator, runs, |facts| {
                targets
                    .iter()
                    .any(|target| rejects(&evaluator, facts, *target))
            })
        });
        assert!(is_found, "{} is not rejected", mutation.name);
    }
}

#[test]
fn explicit_form_rejects_the_protocol_without_a_lemma() {
    assert_rejected(|name| name.starts_with("without lemma"));
}

/// All universes satisfy the axioms, so the variants without an axiom need a solver.
#[test]
fn explicit_form_rejects_wrong_actions() {
    assert_rejected(|name| !name.starts_with("without "));
}

#[test]
fn explicit_form_accepts_the_harmless_variants_and_the_protocol() {
    let harmless = Mutation::all().into_iter();
    let harmless = harmless.filter(|one| matches!(one.outcome, Outcome::Harmless(_)));
    let harmless = harmless.map(|one| (one.name, one.protocol));
    for (name, protocol) in harmless.chain([("raft".into(), Protocol::raft())]) {
        let evaluator = Evaluator::new(&protocol, Universe::new(2, 2, 2, 1));
        let actions = 0..protocol.actions.len();
        let targets: Vec<_> = actions.map(Some).chain([None]).collect();
        let is_found = finds(&evaluator, 40, |facts| {
            targets
                .iter()
                .any(|target| rejects(&evaluator, facts, *target))
        });
        assert!(!is_found, "{name} is rejected");
    }
}

/// A state with the given facts.
fn state(evaluator: &Evaluator, all: &[(Relation, &[u8])]) -> Facts {
    let mut facts = evaluator.initial();
    for (relation, values) in all {
        facts.flip(evaluator.fact(*relation, values));
    }
    facts
}

/// The leader of term 1 has an entry of term 2. A server that accepts it has an entry of a term that it
/// did not reach.
#[test]
fn without_leader_term_a_server_accepts_an_entry_of_a_later_term() {
    use Relation::{Elected, LeaderLog, Left, Voted};
    let universe = Universe::new(3, 2, 1, 1);
    // The logs are empty, [1] and [2].
    let facts: &[(Relation, &[u8])] = &[
        (Left, &[0, 0]),
        (Left, &[0, 1]),
        (Left, &[1, 0]),
        (Left, &[1, 1]),
        (Left, &[2, 0]),
        (Voted, &[0, 1, 0]),
        (Voted, &[2, 1, 0]),
        (Voted, &[0, 2, 1]),
        (Voted, &[1, 2, 1]),
        (Elected, &[1, 0]),
        (Elected, &[2, 1]),
        (LeaderLog, &[1, 0]),
        (LeaderLog, &[1, 2]),
        (LeaderLog, &[2, 0]),
        (LeaderLog, &[2, 2]),
    ];
    let correct = Evaluator::new(&Protocol::raft(), universe.clone());
    let facts = state(&correct, facts);
    assert_eq!(
        correct.false_lemmas(&facts).collect::<Vec<_>>(),
        ["leader-term"]
    );
    let wrong = mutation("without lemma leader-term");
    let evaluator = Evaluator::new(&wrong.protocol, universe);
    assert_eq!(evaluator.false_lemmas(&facts).next(), None);
    assert!(rejects(
        &evaluator,
        &facts,
        action(&wrong.protocol, "accept")
    ));
}

/// Server 0 has two entries of term 1. Server 1, the leader of term 2, commits one entry with server 2.
/// If voters compare lengths only, server 2 votes for server 0 in term 3.
#[test]
fn with_lengths_only_a_longer_older_log_wins() {
    let universe = Universe::new(3, 3, 2, 1);
    let log = |terms: &[u8]| {
        let mut logs = 0..universe.size(model::system::spec::signature::Sort::Log);
        let is_log = |log: &u8| universe.terms_of(*log) == terms;
        logs.find(is_log).expect("the log is in the universe")
    };
    let (a, aa, b) = (log(&[1]), log(&[1, 1]), log(&[2]));
    let pair = |servers: [usize; 2]| {
        let mut quorums = 0..3;
        let members = |quorum: &u8| {
            servers
                .iter()
                .all(|s| universe.is_member(*s as u8, *quorum))
        };
        quorums.find(members).expect("a majority")
    };
    let (first, last) = (pair([0, 1]), pair([1, 2]));
    let run: &[(&str, &[u8])] = &[
        ("stand", &[0, 1, 0]),
        ("vote", &[1, 0, 1, 0]),
        ("elect", &[0, 1, 0, first]),
        ("client-request", &[0, 1, 0, a]),
        ("client-request", &[0, 1, a, aa]),
        ("accept", &[0, 1, aa]),
        ("stand", &[1, 2, 0]),
        ("vote", &[2, 1, 2, 0]),
        ("elect", &[1, 2, 0, last]),
        ("client-request", &[1, 2, 0, b]),
        ("accept", &[1, 2, b]),
        ("accept", &[2, 2, b]),
        ("commit", &[2, b, last]),
        ("stand", &[0, 3, aa]),
    ];
    let wrong = mutation("vote-compares-lengths");
    for protocol in [&Protocol::raft(), &wrong.protocol] {
        let evaluator = Evaluator::new(protocol, universe.clone());
        let mut facts = evaluator.initial();
        for (name, parameters) in run {
            let index = action(protocol, name).expect("an action");
            let mut steps = evaluator.steps_of(index, &facts).into_iter();
            let step = steps.find(|(step, _)| step.parameters[..parameters.len()] == **parameters);
            facts = step.unwrap_or_else(|| panic!("{name} {parameters:?}")).1;
            assert_eq!(evaluator.false_lemmas(&facts).next(), None, "{name}");
        }
        let is_rejected = rejects(&evaluator, &facts, action(protocol, "vote"));
        assert_eq!(is_rejected, *protocol == wrong.protocol);
    }
}
