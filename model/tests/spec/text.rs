//! The SMT-LIB text.

use model::system::spec::{
    Evaluator, Mutation, Protocol, Universe,
    evaluation::Transition,
    formula::Formula,
    signature::Relation,
    smt::{Expected, INITIAL, KEEPS_FACTS, SAFETY, VACUITY},
};
use std::collections::BTreeSet;

#[test]
fn proof_has_a_query_for_each_lemma_and_action() {
    let protocol = Protocol::raft();
    assert_eq!((protocol.actions.len(), protocol.lemmas.len()), (8, 21));
    let groups = protocol.queries();
    let names = |group: &str| {
        let group = groups.iter().find(|other| other.name == group);
        let queries = group.expect("the group exists").queries.iter();
        queries
            .map(|query| (query.name.as_str(), query.expected))
            .collect::<Vec<_>>()
    };
    let lemmas = protocol
        .lemmas
        .iter()
        .map(|lemma| (lemma.name, Expected::Unsat));
    let lemmas: Vec<_> = lemmas.collect();
    assert_eq!(names(INITIAL), lemmas);
    for action in &protocol.actions {
        let kept = (KEEPS_FACTS, Expected::Unsat);
        assert_eq!(names(action.name), [&lemmas[..], &[kept]].concat());
    }
    let consequences = protocol.consequences.iter();
    let consequences = consequences.map(|one| (one.name, Expected::Unsat));
    assert_eq!(names(SAFETY), consequences.collect::<Vec<_>>());
    let witnesses = protocol.witnesses.iter().map(|one| one.name);
    let actions = protocol.actions.iter().map(|one| one.name);
    let satisfiable = [INITIAL].into_iter().chain(witnesses).chain(actions);
    let satisfiable = satisfiable.map(|name| (name, Expected::Sat));
    assert_eq!(names(VACUITY), satisfiable.collect::<Vec<_>>());
    let queries: usize = groups.iter().map(|group| group.queries.len()).sum();
    let text = protocol.proof();
    assert_eq!(text.matches("(check-sat)").count(), queries);
    assert_eq!(queries, 21 + 8 * 22 + 7 + 13);
}

#[test]
fn text_is_balanced_and_defines_its_names_once() {
    let text = Protocol::raft().proof();
    let mut depth = 0_i32;
    for line in text.lines() {
        let code = line.split(';').next().unwrap_or_default();
        for symbol in code.chars() {
            depth += i32::from(symbol == '(') - i32::from(symbol == ')');
            assert!(depth >= 0, "{line}");
        }
    }
    assert_eq!(depth, 0);
    for relation in Relation::ALL {
        let declaration = format!("(declare-fun {} (", relation.name());
        assert_eq!(text.matches(&declaration).count(), 1, "{relation:?}");
    }
    assert_eq!(
        text.matches("(push 1)").count(),
        text.matches("(pop 1)").count()
    );
}

#[test]
fn commitment_is_written_as_expected() {
    let protocol = Protocol::raft();
    let groups = protocol.queries();
    let commit = groups.iter().find(|group| group.name == "commit");
    let script = protocol.script(commit.expect("an action"));
    let expected = "\
(push 1) ; commit: A leader commits an entry of its term that a quorum acknowledged (§5.3, §5.4.2).
(declare-const term Term)
(declare-const log Log)
(declare-const quorum Quorum)
; own-term: The last entry has the term of the leader.
(assert (and (= (last-term log) term) (not (= log empty))))
; leader-log: The leader has the log.
(assert (leader-log term log))
; majority: Every server of the quorum acknowledged the log in the term.
(assert (forall ((s Server)) (=> (member s quorum) (acked s term log))))
(define-fun committed.after ((a Log)) Bool (or (committed a) (= a log)))
";
    assert!(script.contains(expected), "{script}");
    let query = "(push 1) (assert (not (forall ((a Log)) (=> (committed.after a) (exists ((q Quorum)) \
                 (forall ((m Server)) (=> (member m q) (acked m (last-term a) a))))))))\n\
                 (echo \"commit committed-by-quorum\") (check-sat) (pop 1) ; unsat\n";
    assert!(script.contains(query), "{script}");
}

#[test]
fn scripts_of_the_groups_contain_the_assumptions_of_the_proof() {
    let protocol = Protocol::raft();
    for group in protocol.queries() {
        let script = protocol.script(&group);
        let assumes = script.contains("; The invariant.");
        assert_eq!(assumes, group.name != INITIAL, "{}", group.name);
        for axiom in &protocol.axioms {
            assert!(
                script.contains(&format!("; {}: ", axiom.name)),
                "{}",
                group.name
            );
        }
    }
}

#[test]
fn every_axiom_lemma_and_guard_is_removed_once() {
    let protocol = Protocol::raft();
    let mutations = Mutation::all();
    let names: BTreeSet<&str> = mutations.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), mutations.len(), "names are unique");
    for axiom in &protocol.axioms {
        let name = format!("without axiom {}", axiom.name);
        assert!(names.contains(name.as_str()), "{name}");
    }
    for lemma in &protocol.lemmas {
        let name = format!("without lemma {}", lemma.name);
        assert!(names.contains(name.as_str()), "{name}");
    }
    for action in &protocol.actions {
        for guard in &action.guards {
            let name = format!("{} without {}", action.name, guard.name);
            assert!(names.contains(name.as_str()), "{name}");
        }
    }
    for mutation in &mutations {
        assert_ne!(mutation.protocol, protocol, "{}", mutation.name);
        assert!(!mutation.queries().is_empty(), "{}", mutation.name);
    }
}

/// The names of the variables that a formula binds.
fn bound(formula: &Formula) -> Vec<&'static str> {
    match formula {
        Formula::Holds(..) | Formula::Equal(..) => Vec::new(),
        Formula::Not(inner) => bound(inner),
        Formula::And(parts) | Formula::Or(parts) => parts.iter().flat_map(bound).collect(),
        Formula::Implies(premise, conclusion) => [bound(premise), bound(conclusion)].concat(),
        Formula::ForAll(symbols, body) | Formula::Exists(symbols, body) => {
            let names = symbols.iter().map(|symbol| symbol.name);
            names.chain(bound(body)).collect()
        }
    }
}

#[test]
fn no_variable_hides_a_parameter() {
    let protocols = Mutation::all().into_iter();
    let protocols = protocols.map(|one| (one.name, one.protocol));
    for (name, protocol) in protocols.chain([("raft".into(), Protocol::raft())]) {
        for action in &protocol.actions {
            let guards = action.guards.iter().map(|guard| &guard.formula);
            let values = action.updates.iter().map(|update| &update.value);
            let arguments = action.updates.iter().flat_map(|update| &update.arguments);
            let names = arguments.map(|symbol| symbol.name);
            let names: Vec<_> = names.chain(guards.chain(values).flat_map(bound)).collect();
            for parameter in &action.parameters {
                let is_hidden = names.contains(&parameter.name);
                assert!(!is_hidden, "{name}: {} {parameter:?}", action.name);
            }
        }
    }
}

#[test]
fn explicit_step_is_written_as_ground_facts() {
    let protocol = Protocol::raft();
    let evaluator = Evaluator::new(&protocol, Universe::new(1, 1, 0, 1));
    let enter = protocol.actions.iter();
    let enter = enter
        .map(|action| action.name)
        .position(|name| name == "update-term");
    let enter = enter.expect("an action");
    let before = evaluator.initial();
    let steps = evaluator.steps_of(enter, &before);
    let [(step, unchanged), (_, after)] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(*unchanged, before, "the server enters term 0");
    let wrong = Transition {
        step: *step,
        before: before.clone(),
        after: after.clone(),
    };
    let right = Transition {
        step: steps[1].0,
        ..wrong.clone()
    };
    let group = protocol.steps_group(&evaluator, enter, &[right, wrong]);
    let expected = group.queries.iter().map(|query| query.expected);
    assert!(expected.eq([Expected::Sat, Expected::Unsat]));
    let script = protocol.script(&group);
    for expected in [
        "(declare-const Term-0 Term)\n(declare-const Term-1 Term)\n\
         (assert (distinct Term-0 Term-1))\n\
         (assert (forall ((x Term)) (or (= x Term-0) (= x Term-1))))\n",
        "(assert (= empty Log-0))\n\
         (assert (and (= (last-term Log-0) Term-0) (= (length Log-0) Length-0)))\n",
        "(assert (and (term-at-most Term-0 Term-0) (term-at-most Term-0 Term-1) \
         (not (term-at-most Term-1 Term-0)) (term-at-most Term-1 Term-1)))\n",
        "(assert (and (= server Server-0) (= term Term-1) \
         (not (left Server-0 Term-0)) (not (left Server-0 Term-1)) (has Server-0 Log-0) ",
        " (left.after Server-0 Term-0) (not (left.after Server-0 Term-1)) (has Server-0 Log-0) ",
        "(echo \"steps update-term-2\") (check-sat) (pop 1) ; unsat\n",
    ] {
        assert!(script.contains(expected), "{expected}\n{script}");
    }
}
