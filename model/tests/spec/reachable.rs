//! The correct protocol: all reachable states of small universes, and random states of larger ones.

use crate::{Random, altered, random_step};
use model::system::spec::{
    Evaluator, Facts, Protocol, Universe,
    formula::Formula,
    protocol::Statement,
    signature::{EMPTY, Sort, Symbol, Value},
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

fn evaluator(universe: Universe) -> Evaluator {
    Evaluator::new(&Protocol::raft(), universe)
}

/// Requires the axioms, and in a state the lemmas and the consequences.
fn assert_holds(evaluator: &Evaluator, facts: &Facts) {
    assert_eq!(evaluator.false_axioms().next(), None);
    assert_eq!(evaluator.false_lemmas(facts).next(), None);
    assert_eq!(evaluator.false_consequences(facts).next(), None);
}

#[test]
fn lemmas_hold_in_all_reachable_states() {
    let protocol = Protocol::raft();
    let mut taken = BTreeSet::new();
    // Servers, terms, length of logs, commands; the number of reachable states.
    for (servers, terms, length, commands, states) in [
        (1, 2, 2, 1, 328),
        (2, 1, 1, 2, 71),
        (2, 2, 1, 1, 1_445),
        (3, 1, 1, 1, 1_515),
        (2, 2, 2, 1, 9_365),
    ] {
        let evaluator = evaluator(Universe::new(servers, terms, length, commands));
        let mut found = vec![evaluator.initial()];
        let mut visited: HashSet<Facts> = found.iter().cloned().collect();
        let mut next = 0;
        while let Some(facts) = found.get(next).cloned() {
            next += 1;
            assert_holds(&evaluator, &facts);
            for (step, after) in evaluator.steps(&facts) {
                taken.insert(protocol.actions[step.action].name);
                if visited.insert(after.clone()) {
                    found.push(after);
                }
            }
        }
        assert_eq!(found.len(), states, "{servers} {terms} {length} {commands}");
    }
    assert_eq!(taken.len(), protocol.actions.len(), "{taken:?}");
}

#[test]
fn lemmas_hold_in_random_runs_that_reach_all_witnesses() {
    let protocol = Protocol::raft();
    let evaluator = evaluator(Universe::new(3, 3, 2, 1));
    let mut missing: BTreeSet<&str> = protocol.witnesses.iter().map(|one| one.name).collect();
    for seed in 0..500 {
        let mut random = Random(seed);
        let mut facts = evaluator.initial();
        for _ in 0..60 {
            if let Some(after) = random_step(&evaluator, &facts, &mut random) {
                assert_holds(&evaluator, &after);
                facts = after;
            }
        }
        let absent: BTreeSet<&str> = evaluator.false_witnesses(&facts).collect();
        missing.retain(|witness| absent.contains(witness));
    }
    assert_eq!(missing, BTreeSet::new());
}

/// A step preserves the lemmas from every state that satisfies them, reachable or not.
#[test]
fn steps_preserve_the_lemmas_from_random_states() {
    for universe in [Universe::new(3, 2, 1, 1), Universe::new(2, 2, 2, 1)] {
        let evaluator = evaluator(universe);
        let mut tested = 0;
        for seed in 0..80 {
            let mut random = Random(seed);
            let mut facts = evaluator.initial();
            for _ in 0..200 {
                let next = if random.below(4) == 0 {
                    random_step(&evaluator, &facts, &mut random)
                } else {
                    Some(altered(&evaluator, &facts, &mut random))
                };
                let Some(next) = next else { continue };
                if evaluator.false_lemmas(&next).next().is_some() {
                    continue;
                }
                facts = next;
                assert_holds(&evaluator, &facts);
                for (step, after) in evaluator.steps(&facts) {
                    assert_eq!(evaluator.false_lemmas(&after).next(), None, "{step:?}");
                    tested += 1;
                }
            }
        }
        assert!(tested > 10_000, "{tested}");
    }
}

/// The definition of truth, without compilation.
fn is_true(
    formula: &Formula,
    values: &BTreeMap<&str, u8>,
    evaluator: &Evaluator,
    facts: &Facts,
) -> bool {
    let inner = |formula: &Formula| is_true(formula, values, evaluator, facts);
    let value = |value: &Value| {
        let symbol = values[value.symbol().name];
        match value {
            Value::Symbol(_) => symbol,
            Value::LastTerm(_) => evaluator.universe().last_term(symbol),
            Value::Length(_) => evaluator.universe().length(symbol),
        }
    };
    match formula {
        Formula::Holds(relation, arguments) => {
            let arguments: Vec<u8> = arguments.iter().map(value).collect();
            if relation.is_state() {
                facts.contains(evaluator.fact(*relation, &arguments))
            } else {
                evaluator.universe().relates(*relation, &arguments)
            }
        }
        Formula::Equal(left, right) => value(left) == value(right),
        Formula::Not(negated) => !inner(negated),
        Formula::And(parts) => parts.iter().all(inner),
        Formula::Or(parts) => parts.iter().any(inner),
        Formula::Implies(premise, conclusion) => !inner(premise) || inner(conclusion),
        Formula::ForAll(symbols, body) => assignments(symbols, values, evaluator)
            .iter()
            .all(|values| is_true(body, values, evaluator, facts)),
        Formula::Exists(symbols, body) => assignments(symbols, values, evaluator)
            .iter()
            .any(|values| is_true(body, values, evaluator, facts)),
    }
}

/// All assignments that extend one with values of these symbols.
fn assignments<'a>(
    symbols: &[Symbol],
    values: &BTreeMap<&'a str, u8>,
    evaluator: &Evaluator,
) -> Vec<BTreeMap<&'a str, u8>> {
    let mut all = vec![values.clone()];
    for symbol in symbols {
        let extended = all.iter().flat_map(|values| {
            (0..evaluator.universe().size(symbol.sort)).map(|value| {
                let mut values = values.clone();
                values.insert(symbol.name, value);
                values
            })
        });
        all = extended.collect();
    }
    all
}

/// The false statements, by the definition of truth.
fn false_ones(statements: &[Statement], evaluator: &Evaluator, facts: &Facts) -> Vec<&'static str> {
    let empty = BTreeMap::from([(EMPTY.name, 0)]);
    let statements = statements.iter();
    let statements = statements.filter(|one| !is_true(&one.formula, &empty, evaluator, facts));
    statements.map(|one| one.name).collect()
}

#[test]
fn compiled_formulas_agree_with_the_definition_of_truth() {
    let protocol = Protocol::raft();
    let evaluator = evaluator(Universe::new(2, 2, 1, 1));
    let mut differing = HashSet::new();
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut facts = evaluator.initial();
        for _ in 0..seed {
            facts = altered(&evaluator, &facts, &mut random);
            if let Some(after) = random_step(&evaluator, &facts, &mut random) {
                facts = after;
            }
        }
        let compiled: Vec<_> = evaluator.false_lemmas(&facts).collect();
        assert_eq!(
            compiled,
            false_ones(&protocol.lemmas, &evaluator, &facts),
            "seed {seed}"
        );
        differing.extend(compiled);
        let compiled: Vec<_> = evaluator.false_consequences(&facts).collect();
        assert_eq!(
            compiled,
            false_ones(&protocol.consequences, &evaluator, &facts)
        );
        let compiled: Vec<_> = evaluator.false_witnesses(&facts).collect();
        assert_eq!(
            compiled,
            false_ones(&protocol.witnesses, &evaluator, &facts)
        );
        for (index, action) in protocol.actions.iter().enumerate() {
            let empty = BTreeMap::from([(EMPTY.name, 0)]);
            let all = assignments(&action.parameters, &empty, &evaluator);
            let enabled = all.iter().filter(|values| {
                let mut guards = action.guards.iter();
                guards.all(|guard| is_true(&guard.formula, values, &evaluator, &facts))
            });
            let expected: Vec<Facts> = enabled
                .map(|values| {
                    let mut after = facts.clone();
                    for update in &action.updates {
                        for values in assignments(&update.arguments, values, &evaluator) {
                            let arguments = update.arguments.iter();
                            let arguments: Vec<u8> =
                                arguments.map(|symbol| values[symbol.name]).collect();
                            let fact = evaluator.fact(update.relation, &arguments);
                            let value = is_true(&update.value, &values, &evaluator, &facts);
                            if after.contains(fact) != value {
                                after.flip(fact);
                            }
                        }
                    }
                    after
                })
                .collect();
            let steps = evaluator.steps_of(index, &facts).into_iter();
            assert_eq!(
                steps.map(|step| step.1).collect::<Vec<_>>(),
                expected,
                "{}",
                action.name
            );
        }
    }
    assert_eq!(differing.len(), protocol.lemmas.len(), "{differing:?}");
}

#[test]
fn universe_has_all_logs_and_minimal_majorities() {
    let universe = Universe::new(4, 2, 2, 1);
    // The empty log, 2 of one entry, 4 of two entries.
    assert_eq!(universe.size(Sort::Log), 7);
    assert_eq!(universe.size(Sort::Quorum), 4);
    assert_eq!(universe.size(Sort::Term), 3);
    assert_eq!(universe.size(Sort::Length), 3);
}
