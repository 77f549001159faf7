//! The protocol over finite sets: explicit states, the truth of formulas, and the steps of actions.
//!
//! Formulas are compiled first: symbols become slots of an assignment, and a part of a formula is
//! evaluated as soon as its symbols have values.

use super::{
    formula::Formula,
    protocol::{Protocol, Statement},
    signature::{EMPTY, Relation, Sort, Symbol, Value},
};
use alloc::{boxed::Box, vec, vec::Vec};

/// Finite sets of servers, terms and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Universe {
    servers: u8,
    /// The term of the empty log, 0, included.
    terms: u8,
    /// The lengths of logs are at most this.
    max_length: u8,
    /// Minimal majorities, as sets of bits.
    quorums: Vec<u64>,
    /// All logs. The empty log is the first, and a prefix precedes its extensions.
    logs: Vec<LogNode>,
}

/// A log: its parent in the tree with one more entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogNode {
    last_term: u8,
    length: u8,
    /// For each log, whether it is a prefix of this one.
    prefixes: Vec<bool>,
}

impl Universe {
    /// All logs of at most `length` entries, each with one of the terms from 1 to `terms` and one of
    /// `commands` commands.
    ///
    /// # Panics
    /// If there are no servers, more than 16 servers, or more than 255 logs.
    pub fn new(servers: u8, terms: u8, length: u8, commands: u8) -> Self {
        assert!((1..=16).contains(&servers), "{servers} servers");
        let sets = 0..1_u64 << servers;
        let majority = u32::from(servers / 2 + 1);
        let mut logs = vec![LogNode {
            last_term: 0,
            length: 0,
            prefixes: vec![true],
        }];
        let mut next = 0;
        while next < logs.len() {
            if logs[next].length < length {
                for last_term in (1..=terms).flat_map(|term| (0..commands).map(move |_| term)) {
                    let mut prefixes = logs[next].prefixes.clone();
                    prefixes.resize(logs.len(), false);
                    prefixes.push(true);
                    let length = logs[next].length + 1;
                    logs.push(LogNode {
                        last_term,
                        length,
                        prefixes,
                    });
                }
            }
            next += 1;
        }
        let all = logs.len();
        assert!(all <= 255, "{all} logs");
        for log in &mut logs {
            log.prefixes.resize(all, false);
        }
        Self {
            servers,
            terms: terms + 1,
            max_length: length,
            quorums: sets.filter(|set| set.count_ones() == majority).collect(),
            logs,
        }
    }

    /// The number of values of a sort. The values are 0, 1, ...
    pub fn size(&self, sort: Sort) -> u8 {
        let size = match sort {
            Sort::Server => usize::from(self.servers),
            Sort::Quorum => self.quorums.len(),
            Sort::Term => usize::from(self.terms),
            Sort::Length => usize::from(self.max_length) + 1,
            Sort::Log => self.logs.len(),
        };
        u8::try_from(size).expect("at most 255 values of each sort")
    }

    /// Whether a server belongs to a quorum.
    pub fn is_member(&self, server: u8, quorum: u8) -> bool {
        self.quorums[usize::from(quorum)] >> server & 1 == 1
    }

    /// Whether a log begins with another one.
    pub fn has_prefix(&self, log: u8, prefix: u8) -> bool {
        self.logs[usize::from(log)].prefixes[usize::from(prefix)]
    }

    /// Whether a fixed relation holds between values.
    ///
    /// # Panics
    /// If the relation is part of the state, or the values are not values of its sorts.
    pub fn relates(&self, relation: Relation, values: &[u8]) -> bool {
        match (relation, values) {
            (Relation::Member, [server, quorum]) => self.is_member(*server, *quorum),
            (Relation::TermAtMost | Relation::LengthAtMost, [low, high]) => low <= high,
            (Relation::Prefix, [short, long]) => self.has_prefix(*long, *short),
            _ => panic!("{relation:?} {values:?} is not fixed"),
        }
    }

    /// The term of the last entry of a log, 0 for the empty log.
    pub fn last_term(&self, log: u8) -> u8 {
        self.logs[usize::from(log)].last_term
    }

    /// The number of entries of a log.
    pub fn length(&self, log: u8) -> u8 {
        self.logs[usize::from(log)].length
    }

    /// The terms of the entries of a log.
    pub fn terms_of(&self, log: u8) -> Vec<u8> {
        let prefixes = (1..=log).filter(|prefix| self.has_prefix(log, *prefix));
        prefixes.map(|prefix| self.last_term(prefix)).collect()
    }
}

/// A state: the facts that are true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts(Box<[u64]>);

impl Facts {
    /// Whether the fact with this number is true.
    ///
    /// # Panics
    /// If there is no such fact.
    pub fn contains(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, bit: usize, value: bool) {
        let mask = 1 << (bit % 64);
        if value {
            self.0[bit / 64] |= mask;
        } else {
            self.0[bit / 64] &= !mask;
        }
    }

    /// Changes the truth of the fact with this number.
    ///
    /// # Panics
    /// If there is no such fact; [`Evaluator::facts`] is their number.
    pub fn flip(&mut self, fact: usize) {
        self.set(fact, !self.contains(fact));
    }
}

/// The values of symbols, by slot.
type Assignment = [u8; SLOTS];

/// No formula of the protocol has more symbols in scope.
const SLOTS: usize = 16;

/// A compiled value.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Slot(u8),
    LastTerm(u8),
    Length(u8),
}

/// A compiled formula.
#[derive(Clone, Debug)]
enum Code {
    Member(Operand, Operand),
    /// At most, for terms and lengths.
    AtMost(Operand, Operand),
    Prefix(Operand, Operand),
    /// A fact: the first bit of the relation, and for each argument the distance of its values.
    Fact(usize, Vec<(Operand, usize)>),
    Equal(Operand, Operand),
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// For all values of the slot, which are less than the number.
    ForAll(u8, u8, Box<Self>),
    Exists(u8, u8, Box<Self>),
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The index of the action in the protocol.
    pub action: usize,
    /// The values of its parameters, in order; zeros follow.
    pub parameters: [u8; 4],
}

impl Step {
    /// The parameters follow the constant.
    fn assignment(self) -> Assignment {
        let mut assignment = [0; SLOTS];
        assignment[1..=self.parameters.len()].copy_from_slice(&self.parameters);
        assignment
    }
}

/// A step with the state before it and a state after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The step.
    pub step: Step,
    /// The state before the step.
    pub before: Facts,
    /// The state after the step, if the protocol permits the transition.
    pub after: Facts,
}

/// An action, compiled.
#[derive(Clone, Debug)]
struct CompiledAction {
    parameters: Vec<Sort>,
    /// For each parameter, the conditions that refer to it and to earlier ones only.
    guards: Vec<Vec<(&'static str, Code)>>,
    updates: Vec<CompiledUpdate>,
}

#[derive(Clone, Debug)]
struct CompiledUpdate {
    first_bit: usize,
    arguments: Vec<Sort>,
    first_slot: u8,
    value: Code,
}

/// Executes a protocol over a universe.
#[derive(Clone, Debug)]
pub struct Evaluator {
    universe: Universe,
    facts: usize,
    initial: Vec<CompiledUpdate>,
    axioms: Vec<(&'static str, Code)>,
    lemmas: Vec<(&'static str, Code)>,
    consequences: Vec<(&'static str, Code)>,
    witnesses: Vec<(&'static str, Code)>,
    actions: Vec<CompiledAction>,
}

impl Evaluator {
    /// Compiles a protocol.
    ///
    /// # Panics
    /// If a formula refers to a symbol that has no value.
    pub fn new(protocol: &Protocol, universe: Universe) -> Self {
        let compiler = Compiler {
            universe: &universe,
        };
        let statements = |statements: &[Statement]| {
            let compile = |statement: &Statement| {
                let mut scope = vec![EMPTY];
                (
                    statement.name,
                    compiler.compile(&statement.formula, &mut scope),
                )
            };
            statements.iter().map(compile).collect()
        };
        let actions = protocol.actions.iter().map(|action| {
            let mut scope = vec![EMPTY];
            scope.extend(&action.parameters);
            let mut guards = vec![Vec::new(); action.parameters.len() + 1];
            for guard in &action.guards {
                let last = needed(&guard.formula, &scope);
                let code = compiler.compile(&guard.formula, &mut scope);
                guards[last].push((guard.name, code));
            }
            let updates = action.updates.iter();
            CompiledAction {
                parameters: action.parameters.iter().map(|symbol| symbol.sort).collect(),
                guards,
                updates: updates
                    .map(|update| compiler.update(update, &scope))
                    .collect(),
            }
        });
        let initial = protocol.initial.iter();
        Self {
            facts: compiler.first_bit(None),
            initial: initial
                .map(|update| compiler.update(update, &[EMPTY]))
                .collect(),
            axioms: statements(&protocol.axioms),
            lemmas: statements(&protocol.lemmas),
            consequences: statements(&protocol.consequences),
            witnesses: statements(&protocol.witnesses),
            actions: actions.collect(),
            universe,
        }
    }

    /// The number of a fact, for [`Facts::flip`].
    ///
    /// # Panics
    /// If the values are not values of the sorts of the relation, or the relation is not part of the
    /// state.
    pub fn fact(&self, relation: Relation, values: &[u8]) -> usize {
        assert!(relation.is_state(), "{relation:?} is no state");
        let sorts = relation.sorts();
        assert_eq!(values.len(), sorts.len(), "{relation:?} {values:?}");
        let compiler = Compiler {
            universe: &self.universe,
        };
        let mut position = 0;
        for (value, sort) in values.iter().zip(sorts) {
            let size = self.universe.size(*sort);
            assert!(*value < size, "{relation:?} {values:?}");
            position = position * usize::from(size) + usize::from(*value);
        }
        compiler.first_bit(Some(relation)) + position
    }

    /// The number of facts that can be true or false.
    pub fn facts(&self) -> usize {
        self.facts
    }

    /// The sets that the protocol runs over.
    pub fn universe(&self) -> &Universe {
        &self.universe
    }

    /// The state in which no fact is true.
    pub fn nothing(&self) -> Facts {
        Facts(vec![0; self.facts.div_ceil(64)].into())
    }

    /// The initial state.
    pub fn initial(&self) -> Facts {
        let nothing = self.nothing();
        self.updated(&self.initial, [0; SLOTS], &nothing)
    }

    /// The axioms that this universe does not satisfy.
    pub fn false_axioms(&self) -> impl Iterator<Item = &'static str> {
        let nothing = self.nothing();
        self.false_ones(&self.axioms, nothing)
    }

    /// The lemmas that are false in a state.
    pub fn false_lemmas(&self, facts: &Facts) -> impl Iterator<Item = &'static str> {
        self.false_ones(&self.lemmas, facts.clone())
    }

    /// The consequences that are false in a state.
    pub fn false_consequences(&self, facts: &Facts) -> impl Iterator<Item = &'static str> {
        self.false_ones(&self.consequences, facts.clone())
    }

    /// The witnesses that are false in a state.
    pub fn false_witnesses(&self, facts: &Facts) -> impl Iterator<Item = &'static str> {
        self.false_ones(&self.witnesses, facts.clone())
    }

    fn false_ones(
        &self,
        statements: &[(&'static str, Code)],
        facts: Facts,
    ) -> impl Iterator<Item = &'static str> {
        statements.iter().filter_map(move |(name, code)| {
            (!self.is_true(code, &mut [0; SLOTS], &facts)).then_some(*name)
        })
    }

    /// All steps from a state, each with the state after it.
    pub fn steps(&self, facts: &Facts) -> Vec<(Step, Facts)> {
        let actions = 0..self.actions.len();
        actions
            .flat_map(|action| self.steps_of(action, facts))
            .collect()
    }

    /// The steps of one action from a state, each with the state after it.
    pub fn steps_of(&self, action: usize, facts: &Facts) -> Vec<(Step, Facts)> {
        let mut steps = Vec::new();
        self.instances(action, 0, &mut [0; SLOTS], facts, &mut steps);
        steps
    }

    /// The sorts of the parameters of an action.
    ///
    /// # Panics
    /// If there is no such action.
    pub fn parameters(&self, action: usize) -> &[Sort] {
        &self.actions[action].parameters
    }

    /// Whether the guards of a step hold in a state.
    ///
    /// # Panics
    /// If the action or the values of its parameters do not exist.
    pub fn is_enabled(&self, step: Step, facts: &Facts) -> bool {
        self.false_guards(step, facts).next().is_none()
    }

    /// The guards of a step that are false in a state.
    ///
    /// # Panics
    /// If the action or the values of its parameters do not exist.
    pub fn false_guards(&self, step: Step, facts: &Facts) -> impl Iterator<Item = &'static str> {
        let mut assignment = step.assignment();
        let guards = self.actions[step.action].guards.iter().flatten();
        guards.filter_map(move |(name, guard)| {
            (!self.is_true(guard, &mut assignment, facts)).then_some(*name)
        })
    }

    /// The effect of a step on a state, whether or not its guards hold.
    ///
    /// # Panics
    /// If the action or the values of its parameters do not exist.
    pub fn effect(&self, step: Step, facts: &Facts) -> Facts {
        self.updated(&self.actions[step.action].updates, step.assignment(), facts)
    }

    /// Whether the guards of a transition hold and its effect is the state after it.
    ///
    /// # Panics
    /// If the action or the values of its parameters do not exist.
    pub fn permits(&self, transition: &Transition) -> bool {
        self.is_enabled(transition.step, &transition.before)
            && self.effect(transition.step, &transition.before) == transition.after
    }

    /// Gives values to the parameters of an action, one after the other.
    fn instances(
        &self,
        action: usize,
        given: usize,
        assignment: &mut Assignment,
        facts: &Facts,
        steps: &mut Vec<(Step, Facts)>,
    ) {
        let compiled = &self.actions[action];
        let guards = &compiled.guards[given];
        if !guards
            .iter()
            .all(|(_, guard)| self.is_true(guard, assignment, facts))
        {
            return;
        }
        let Some(sort) = compiled.parameters.get(given) else {
            let mut parameters = [0; 4];
            parameters[..given].copy_from_slice(&assignment[1..=given]);
            let after = self.updated(&compiled.updates, *assignment, facts);
            steps.push((Step { action, parameters }, after));
            return;
        };
        for value in 0..self.universe.size(*sort) {
            assignment[given + 1] = value;
            self.instances(action, given + 1, assignment, facts, steps);
        }
    }

    fn updated(
        &self,
        updates: &[CompiledUpdate],
        mut assignment: Assignment,
        facts: &Facts,
    ) -> Facts {
        let mut after = facts.clone();
        for update in updates {
            let mut bit = update.first_bit;
            self.set_all(update, 0, &mut bit, &mut assignment, facts, &mut after);
        }
        after
    }

    fn set_all(
        &self,
        update: &CompiledUpdate,
        given: usize,
        bit: &mut usize,
        assignment: &mut Assignment,
        facts: &Facts,
        after: &mut Facts,
    ) {
        let Some(sort) = update.arguments.get(given) else {
            after.set(*bit, self.is_true(&update.value, assignment, facts));
            *bit += 1;
            return;
        };
        for value in 0..self.universe.size(*sort) {
            assignment[usize::from(update.first_slot) + given] = value;
            self.set_all(update, given + 1, bit, assignment, facts, after);
        }
    }

    fn value(&self, operand: Operand, assignment: &Assignment) -> u8 {
        let of = |slot: u8| assignment[usize::from(slot)];
        match operand {
            Operand::Slot(slot) => of(slot),
            Operand::LastTerm(slot) => self.universe.last_term(of(slot)),
            Operand::Length(slot) => self.universe.length(of(slot)),
        }
    }

    fn is_true(&self, code: &Code, assignment: &mut Assignment, facts: &Facts) -> bool {
        match code {
            Code::Member(server, quorum) => {
                let server = self.value(*server, assignment);
                self.universe
                    .is_member(server, self.value(*quorum, assignment))
            }
            Code::AtMost(low, high) => {
                self.value(*low, assignment) <= self.value(*high, assignment)
            }
            Code::Prefix(short, long) => {
                let (short, long) = (
                    self.value(*short, assignment),
                    self.value(*long, assignment),
                );
                self.universe.has_prefix(long, short)
            }
            Code::Fact(first, arguments) => {
                let arguments = arguments.iter();
                let distances = arguments.map(|(operand, distance)| {
                    usize::from(self.value(*operand, assignment)) * distance
                });
                facts.contains(first + distances.sum::<usize>())
            }
            Code::Equal(left, right) => {
                self.value(*left, assignment) == self.value(*right, assignment)
            }
            Code::Not(inner) => !self.is_true(inner, assignment, facts),
            Code::All(parts) => parts
                .iter()
                .all(|part| self.is_true(part, assignment, facts)),
            Code::Any(parts) => parts
                .iter()
                .any(|part| self.is_true(part, assignment, facts)),
            Code::ForAll(slot, size, body) => (0..*size).all(|value| {
                assignment[usize::from(*slot)] = value;
                self.is_true(body, assignment, facts)
            }),
            Code::Exists(slot, size, body) => (0..*size).any(|value| {
                assignment[usize::from(*slot)] = value;
                self.is_true(body, assignment, facts)
            }),
        }
    }
}

struct Compiler<'a> {
    universe: &'a Universe,
}

impl Compiler<'_> {
    /// The bit of the first fact of a relation; without one, the number of bits.
    fn first_bit(&self, relation: Option<Relation>) -> usize {
        let earlier = Relation::state().iter();
        let earlier = earlier.take_while(|other| Some(**other) != relation);
        earlier.map(|other| self.count(other.sorts())).sum()
    }

    /// The number of tuples of values of these sorts.
    fn count(&self, sorts: &[Sort]) -> usize {
        let sizes = sorts.iter().map(|sort| self.universe.size(*sort));
        sizes.map(usize::from).product()
    }

    fn update(&self, update: &super::protocol::Update, scope: &[Symbol]) -> CompiledUpdate {
        let mut inner = scope.to_vec();
        inner.extend(&update.arguments);
        CompiledUpdate {
            first_bit: self.first_bit(Some(update.relation)),
            arguments: update.relation.sorts().to_vec(),
            first_slot: slot(scope.len()),
            value: self.compile(&update.value, &mut inner),
        }
    }

    fn compile(&self, formula: &Formula, scope: &mut Vec<Symbol>) -> Code {
        let operands = |values: &[Value]| {
            let values = values.iter();
            values
                .map(|value| operand(*value, scope))
                .collect::<Vec<_>>()
        };
        match formula {
            Formula::Holds(relation, values) => {
                let operands = operands(values);
                match relation {
                    Relation::Member => Code::Member(operands[0], operands[1]),
                    Relation::TermAtMost | Relation::LengthAtMost => {
                        Code::AtMost(operands[0], operands[1])
                    }
                    Relation::Prefix => Code::Prefix(operands[0], operands[1]),
                    state => {
                        let sorts = state.sorts();
                        let distances = (1..=sorts.len()).map(|next| self.count(&sorts[next..]));
                        let arguments = operands.into_iter().zip(distances).collect();
                        Code::Fact(self.first_bit(Some(*state)), arguments)
                    }
                }
            }
            Formula::Equal(left, right) => {
                Code::Equal(operand(*left, scope), operand(*right, scope))
            }
            Formula::Not(inner) => Code::Not(self.compile(inner, scope).into()),
            Formula::And(parts) => {
                Code::All(parts.iter().map(|part| self.compile(part, scope)).collect())
            }
            Formula::Or(parts) => {
                Code::Any(parts.iter().map(|part| self.compile(part, scope)).collect())
            }
            Formula::Implies(premise, conclusion) => {
                let premise = Code::Not(self.compile(premise, scope).into());
                Code::Any(vec![premise, self.compile(conclusion, scope)])
            }
            Formula::ForAll(symbols, body) => {
                let mut parts = Vec::new();
                disjuncts(body, true, &mut parts);
                self.quantified(symbols, parts, true, scope)
            }
            Formula::Exists(symbols, body) => {
                let mut parts = Vec::new();
                disjuncts(body, false, &mut parts);
                self.quantified(symbols, parts, false, scope)
            }
        }
    }

    /// A quantifier over a disjunction (`universal`) or over a negated one, `exists` over a conjunction.
    /// Parts without the remaining symbols are evaluated first: no sort is empty, so they can be moved
    /// out of the quantifier.
    fn quantified(
        &self,
        symbols: &[Symbol],
        parts: Vec<(Formula, bool)>,
        universal: bool,
        scope: &mut Vec<Symbol>,
    ) -> Code {
        let (ready, later): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .partition(|(part, _)| !symbols.iter().any(|symbol| mentions(part, *symbol)));
        let mut all: Vec<Code> = ready
            .into_iter()
            .map(|(part, positive)| {
                let code = self.compile(&part, scope);
                if positive {
                    code
                } else {
                    Code::Not(code.into())
                }
            })
            .collect();
        if let [first, rest @ ..] = symbols {
            let own = slot(scope.len());
            scope.push(*first);
            let body = self.quantified(rest, later, universal, scope).into();
            scope.pop();
            let size = self.universe.size(first.sort);
            all.push(if universal {
                Code::ForAll(own, size, body)
            } else {
                Code::Exists(own, size, body)
            });
        }
        if universal {
            Code::Any(all)
        } else {
            Code::All(all)
        }
    }
}

/// The parts of a disjunction (`is_disjunction`) or conjunction, each with whether it is positive.
fn disjuncts(formula: &Formula, is_disjunction: bool, parts: &mut Vec<(Formula, bool)>) {
    split(formula, is_disjunction, true, parts);
}

fn split(formula: &Formula, or: bool, positive: bool, parts: &mut Vec<(Formula, bool)>) {
    match formula {
        Formula::Not(inner) => split(inner, or, !positive, parts),
        Formula::Or(inner) if or == positive => {
            for part in inner {
                split(part, or, positive, parts);
            }
        }
        Formula::And(inner) if or != positive => {
            for part in inner {
                split(part, or, positive, parts);
            }
        }
        Formula::Implies(premise, conclusion) if or == positive => {
            split(premise, or, !positive, parts);
            split(conclusion, or, positive, parts);
        }
        other => parts.push((other.clone(), positive)),
    }
}

/// Whether a symbol occurs in a formula.
fn mentions(formula: &Formula, symbol: Symbol) -> bool {
    match formula {
        Formula::Holds(_, values) => values.iter().any(|value| value.symbol() == symbol),
        Formula::Equal(left, right) => left.symbol() == symbol || right.symbol() == symbol,
        Formula::Not(inner) => mentions(inner, symbol),
        Formula::And(parts) | Formula::Or(parts) => parts.iter().any(|part| mentions(part, symbol)),
        Formula::Implies(premise, conclusion) => {
            mentions(premise, symbol) || mentions(conclusion, symbol)
        }
        Formula::ForAll(bound, body) | Formula::Exists(bound, body) => {
            !bound.contains(&symbol) && mentions(body, symbol)
        }
    }
}

/// The number of parameters that a guard needs. The scope is the constant and the parameters.
fn needed(guard: &Formula, scope: &[Symbol]) -> usize {
    let last = scope.iter().rposition(|symbol| mentions(guard, *symbol));
    last.unwrap_or(0)
}

fn slot(position: usize) -> u8 {
    assert!(position < SLOTS, "a formula has too many symbols");
    u8::try_from(position).expect("slots are few")
}

fn operand(value: Value, scope: &[Symbol]) -> Operand {
    let symbol = value.symbol();
    let position = scope.iter().rposition(|other| *other == symbol);
    let slot = slot(position.unwrap_or_else(|| panic!("{symbol:?} has no value")));
    match value {
        Value::Symbol(_) => Operand::Slot(slot),
        Value::LastTerm(_) => Operand::LastTerm(slot),
        Value::Length(_) => Operand::Length(slot),
    }
}
