//! Explicit states and steps as ground facts.
//!
//! A universe becomes constants, one for each value, with the fixed relations between them. Then a solver
//! has no freedom left, and its answer shows whether the text means the same as the evaluation.

use super::{
    super::{
        evaluation::{Evaluator, Facts, Transition},
        signature::{EMPTY, Relation, Sort},
    },
    AFTER, Expected, Group, Protocol, Query, STATES, STEPS, Statement, line, print, sort_name,
    variadic,
};
use alloc::{format, string::String, vec::Vec};

impl Protocol {
    /// For each transition of one action, the query whether it is an instance of the action. The expected
    /// answer is that of the evaluation.
    ///
    /// # Panics
    /// If a transition belongs to another action.
    pub fn steps_group(
        &self,
        evaluator: &Evaluator,
        action: usize,
        transitions: &[Transition],
    ) -> Group {
        let index = action;
        let action = &self.actions[index];
        let mut definitions = format!(" ; Steps of {}.\n", action.name);
        universe(&mut definitions, evaluator);
        action.define(&mut definitions);
        let changed: Vec<Relation> = action.updates.iter().map(|one| one.relation).collect();
        let query = |(number, transition): (usize, &Transition)| {
            assert_eq!(transition.step.action, index, "{transition:?}");
            let parameters = action.parameters.iter().zip(transition.step.parameters);
            let mut parts: Vec<String> = parameters
                .map(|(symbol, value)| {
                    format!("(= {} {})", symbol.name, element(symbol.sort, value))
                })
                .collect();
            parts.extend(facts(evaluator, &transition.before, &[]));
            parts.extend(facts(evaluator, &transition.after, &changed));
            let is_permitted = evaluator.permits(transition);
            Query {
                name: format!("{}-{}", action.name, number + 1),
                expected: if is_permitted {
                    Expected::Sat
                } else {
                    Expected::Unsat
                },
                assertion: variadic("and", "true", parts),
            }
        };
        Group {
            name: STEPS,
            queries: transitions.iter().enumerate().map(query).collect(),
            definitions,
            is_inductive: false,
        }
    }

    /// For each state, two queries: whether the lemmas, consequences and witnesses can be true or false as
    /// the evaluation reports, and whether one of them can differ.
    pub fn states_group(&self, evaluator: &Evaluator, states: &[Facts]) -> Group {
        let mut definitions = String::from(" ; States.\n");
        universe(&mut definitions, evaluator);
        let mut queries = Vec::new();
        for (number, state) in states.iter().enumerate() {
            let lemmas = truths(&self.lemmas, evaluator.false_lemmas(state));
            let consequences = truths(&self.consequences, evaluator.false_consequences(state));
            let witnesses = truths(&self.witnesses, evaluator.false_witnesses(state));
            let truths = [lemmas, consequences, witnesses].concat();
            let truths = variadic("and", "true", truths);
            let state = variadic("and", "true", facts(evaluator, state, &[]));
            let number = number + 1;
            for (name, expected, assertion) in [
                ("equal", Expected::Sat, format!("(and {state} {truths})")),
                (
                    "differing",
                    Expected::Unsat,
                    format!("(and {state} (not {truths}))"),
                ),
            ] {
                queries.push(Query {
                    name: format!("{number}-{name}"),
                    expected,
                    assertion,
                });
            }
        }
        Group {
            name: STATES,
            definitions,
            is_inductive: false,
            queries,
        }
    }
}

/// Each statement, negated if its name is among the false ones.
fn truths(statements: &[Statement], false_ones: impl Iterator<Item = &'static str>) -> Vec<String> {
    let false_ones: Vec<&str> = false_ones.collect();
    let truth = |statement: &Statement| {
        let text = print(&statement.formula, &[]);
        if false_ones.contains(&statement.name) {
            negated(&text)
        } else {
            text
        }
    };
    statements.iter().map(truth).collect()
}

fn negated(text: &str) -> String {
    format!("(not {text})")
}

/// The constant for a value.
fn element(sort: Sort, value: u8) -> String {
    format!("{}-{value}", sort_name(sort))
}

/// Constants for all values of each sort, and the fixed relations and functions.
fn universe(text: &mut String, evaluator: &Evaluator) {
    let universe = evaluator.universe();
    for sort in Sort::ALL {
        let name = sort_name(sort);
        let all: Vec<String> = (0..universe.size(sort))
            .map(|value| element(sort, value))
            .collect();
        for constant in &all {
            line(text, format_args!("(declare-const {constant} {name})"));
        }
        if all.len() > 1 {
            let all = all.join(" ");
            line(text, format_args!("(assert (distinct {all}))"));
        }
        let any = all.iter().map(|constant| format!("(= x {constant})"));
        let any = variadic("or", "false", any.collect());
        line(text, format_args!("(assert (forall ((x {name})) {any}))"));
    }
    line(
        text,
        format_args!("(assert (= {} {}))", EMPTY.name, element(Sort::Log, 0)),
    );
    for log in 0..universe.size(Sort::Log) {
        let term = element(Sort::Term, universe.last_term(log));
        let length = element(Sort::Length, universe.length(log));
        let log = element(Sort::Log, log);
        line(
            text,
            format_args!("(assert (and (= (last-term {log}) {term}) (= (length {log}) {length})))"),
        );
    }
    for relation in Relation::ALL.iter().filter(|one| !one.is_state()) {
        let all = tuples(evaluator, *relation);
        let all = all.iter().map(|values| {
            let atom = atom(*relation, "", values);
            if universe.relates(*relation, values) {
                atom
            } else {
                negated(&atom)
            }
        });
        let all = variadic("and", "true", all.collect());
        line(text, format_args!("(assert {all})"));
    }
}

/// Every fact of a state or its negation, with the relations in `changed` as they are after an action.
fn facts(evaluator: &Evaluator, state: &Facts, changed: &[Relation]) -> Vec<String> {
    let all = Relation::state().iter().flat_map(|relation| {
        let suffix = if changed.contains(relation) {
            AFTER
        } else {
            ""
        };
        let all = tuples(evaluator, *relation).into_iter();
        all.map(move |values| {
            let atom = atom(*relation, suffix, &values);
            if state.contains(evaluator.fact(*relation, &values)) {
                atom
            } else {
                negated(&atom)
            }
        })
    });
    all.collect()
}

fn atom(relation: Relation, suffix: &str, values: &[u8]) -> String {
    let values = relation.sorts().iter().zip(values);
    let values: Vec<String> = values.map(|(sort, value)| element(*sort, *value)).collect();
    format!("({}{suffix} {})", relation.name(), values.join(" "))
}

/// All values of the arguments of a relation.
fn tuples(evaluator: &Evaluator, relation: Relation) -> Vec<Vec<u8>> {
    let mut all = Vec::from([Vec::new()]);
    for sort in relation.sorts() {
        let size = evaluator.universe().size(*sort);
        let longer = all.iter().flat_map(|values: &Vec<u8>| {
            (0..size).map(|value| [values.as_slice(), &[value]].concat())
        });
        all = longer.collect();
    }
    all
}
