//! The abstract Raft: its axioms, initial state, eight actions, 21 lemmas, and their consequences.
//!
//! The state consists of facts. Except for the logs of the servers (`has`), a fact stays true: a message
//! that was sent, a vote, a term that a server left. So the order in which messages arrive, and their
//! loss and repetition, need no description: an action may use any fact at any later time.
//!
//! Section numbers refer to the Raft paper.

mod actions;
mod axioms;
mod consequences;
mod lemmas;

use super::{
    formula::{Formula, equal},
    signature::{Relation, Symbol, Value},
    vocabulary::{before, has, is_empty, left, symbols},
};
use alloc::{vec, vec::Vec};

/// A formula with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The name.
    pub name: &'static str,
    /// The statement in a sentence.
    pub about: &'static str,
    /// The statement.
    pub formula: Formula,
}

/// The value of a relation after an action, or in the initial state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The relation.
    pub relation: Relation,
    /// The arguments of the relation, as variables.
    pub arguments: Vec<Symbol>,
    /// Whether it holds between the arguments. Refers to the state before the action.
    pub value: Formula,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The name.
    pub name: &'static str,
    /// The action in a sentence.
    pub about: &'static str,
    /// The values that distinguish the instances of the action.
    pub parameters: Vec<Symbol>,
    /// The conditions under which it may happen.
    pub guards: Vec<Statement>,
    /// Its effects. Other relations keep their values.
    pub updates: Vec<Update>,
}

/// A protocol with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The properties of quorums, orders and logs.
    pub axioms: Vec<Statement>,
    /// The initial state. Relations that it does not name are empty.
    pub initial: Vec<Update>,
    /// The actions.
    pub actions: Vec<Action>,
    /// The inductive invariant: it holds initially, and every action preserves it.
    pub lemmas: Vec<Statement>,
    /// The safety properties that the invariant implies.
    pub consequences: Vec<Statement>,
    /// Situations that satisfy the invariant, so that it is not vacuous.
    pub witnesses: Vec<Statement>,
}

fn statement(name: &'static str, about: &'static str, formula: Formula) -> Statement {
    Statement {
        name,
        about,
        formula,
    }
}

impl Action {
    fn new(name: &'static str, about: &'static str, parameters: impl Into<Vec<Symbol>>) -> Self {
        Self {
            name,
            about,
            parameters: parameters.into(),
            guards: vec![],
            updates: vec![],
        }
    }

    /// Adds a condition.
    #[must_use]
    fn guard(mut self, name: &'static str, about: &'static str, formula: Formula) -> Self {
        self.guards.push(statement(name, about, formula));
        self
    }

    /// Adds the facts of a relation that satisfy a condition, and keeps the others.
    #[must_use]
    fn adds(self, fact: Formula, condition: Formula) -> Self {
        let value = fact.clone() | condition;
        self.sets(fact, value)
    }

    /// Sets the facts of a relation.
    #[must_use]
    fn sets(mut self, fact: Formula, value: Formula) -> Self {
        self.set(fact, value);
        self
    }

    /// Sets the facts of a relation.
    pub(super) fn set(&mut self, fact: Formula, value: Formula) {
        self.updates.push(update(fact, value));
    }

    /// The server enters a term: it leaves all earlier ones.
    #[must_use]
    fn enters(self, server: Symbol, term: Symbol) -> Self {
        symbols!(Server: s; Term: t);
        self.adds(left(s, t), equal(s, server) & before(t, term))
    }
}

/// The facts of a relation, which `fact` names with variables as arguments.
fn update(fact: Formula, value: Formula) -> Update {
    let Formula::Holds(relation, values) = fact else {
        panic!("{fact:?} is no fact");
    };
    Update {
        relation,
        arguments: values.into_iter().map(Value::symbol).collect(),
        value,
    }
}

impl Protocol {
    /// The abstract Raft.
    pub fn raft() -> Self {
        symbols!(Server: s; Log: a);
        Self {
            axioms: axioms::axioms(),
            initial: vec![update(has(s, a), is_empty(a))],
            actions: actions::actions(),
            lemmas: lemmas::lemmas(),
            consequences: consequences::consequences(),
            witnesses: consequences::witnesses(),
        }
    }
}
