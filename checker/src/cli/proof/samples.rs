//! Random steps and states, and real steps of servers, for the comparison of the evaluation with the SMT-LIB
//! text.

use crate::step_guard;
use model::system::{
    ActionKind, Limit, Scope,
    refinement::ground::GroundStep,
    spec::{
        Evaluator, Facts, Protocol, Universe,
        evaluation::{Step, Transition},
        signature::Relation,
        smt::Group,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The steps of one random run.
const RUN: usize = 60;
/// The number of runs within which every action must occur often enough.
const RUNS: usize = 10_000;
/// The number of random changes within which a step that violates one guard alone must occur.
const CHANGES: usize = 1_000_000;

/// For each action, `count` random steps, `count` steps of real servers, `count` altered steps that the
/// evaluation does not permit, and for each guard a step that violates this guard alone; and `count` random
/// states, of which most violate lemmas. The result depends on the arguments only.
pub(super) fn groups(protocol: &Protocol, count: usize) -> Vec<Group> {
    let mut random = Random(ChaCha8Rng::seed_from_u64(0));
    // The consequences have up to six variables. Shorter logs keep the number of their values small.
    let small = Evaluator::new(protocol, Universe::new(3, 2, 1, 1));
    let permitted = steps(protocol, &small, count, &mut random);
    let states = (0..count).map(|changes| {
        let mut state = permitted[changes % permitted.len()][changes].after.clone();
        for _ in 0..changes {
            flip(&small, &mut state, &mut random);
        }
        state
    });
    let states: Vec<Facts> = states.collect();
    let mut groups = vec![protocol.states_group(&small, &states)];
    let evaluator = Evaluator::new(protocol, Universe::new(3, 2, 2, 1));
    let permitted = steps(protocol, &evaluator, count, &mut random);
    let mut real = real_steps(&evaluator, count, &mut random);
    for (action, permitted) in permitted.into_iter().enumerate() {
        let guards = protocol.actions[action].guards.iter();
        let guarded =
            guards.map(|guard| violating(&evaluator, &permitted, guard.name, &mut random));
        let guarded: Vec<Transition> = guarded.collect();
        let altered = permitted.iter();
        let altered = altered.map(|transition| altered_from(&evaluator, transition, &mut random));
        let altered: Vec<Transition> = altered.collect();
        let all = [
            permitted,
            std::mem::take(&mut real[action]),
            altered,
            guarded,
        ]
        .concat();
        groups.push(protocol.steps_group(&evaluator, action, &all));
    }
    groups
}

struct Random(ChaCha8Rng);

impl Random {
    /// A number below `bound`, with a negligible bias.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).expect("it is less than the bound")
    }

    fn choose<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.below(all.len())].clone())
    }
}

/// Different steps of each action that change the state, from random runs. A run contributes at most one
/// step of each action, its last, so that most are late in a run.
///
/// # Panics
/// If random runs do not reach enough steps of an action.
fn steps(
    protocol: &Protocol,
    evaluator: &Evaluator,
    count: usize,
    random: &mut Random,
) -> Vec<Vec<Transition>> {
    let mut all: Vec<Vec<Transition>> = vec![Vec::new(); protocol.actions.len()];
    for _ in 0..RUNS {
        let mut last = vec![None; all.len()];
        let mut before = evaluator.initial();
        for _ in 0..RUN {
            let action = random.below(all.len());
            let mut steps = evaluator.steps_of(action, &before);
            steps.retain(|(_, after)| *after != before);
            if let Some((step, after)) = random.choose(&steps) {
                last[action] = Some(Transition {
                    step,
                    before,
                    after: after.clone(),
                });
                before = after;
            }
        }
        for (samples, transition) in all.iter_mut().zip(last) {
            if let Some(transition) = transition
                && samples.len() < count
                && !samples.contains(&transition)
            {
                samples.push(transition);
            }
        }
        if all.iter().all(|samples| samples.len() == count) {
            return all;
        }
    }
    panic!("random runs have too few steps of an action");
}

/// Different steps of each action that change the state, from random runs of real servers.
///
/// # Panics
/// If the runs do not reach enough steps of an action.
fn real_steps(evaluator: &Evaluator, count: usize, random: &mut Random) -> Vec<Vec<Transition>> {
    let mut scope = Scope::new("samples", "logs of at most two entries");
    scope.terms = 2;
    scope.budget.entries = 1;
    scope.budget.crashes = Limit::Any;
    scope.reduction.merge_syncs = false;
    let transitions = step_guard::transitions(scope);
    let mut all: Vec<Vec<Transition>> = vec![Vec::new(); ActionKind::ALL.len()];
    for _ in 0..RUNS {
        let mut system = transitions.start();
        for _ in 0..RUN {
            let Some(action) = random.choose(&transitions.actions(&system)) else {
                break;
            };
            let process = &system.processes[action.process];
            let Some(step) = transitions.local_step(process, &action.local) else {
                continue;
            };
            let ground = GroundStep::new(evaluator, &system, &action, &step);
            for transition in ground.into_iter().flat_map(|ground| ground.transitions) {
                let samples = &mut all[transition.step.action];
                let is_new = transition.after != transition.before && samples.len() < count;
                if is_new && !samples.contains(&transition) {
                    samples.push(transition);
                }
            }
            if let Some((next, _)) = transitions.next(&system, &action) {
                system = next;
            }
        }
        if all.iter().all(|samples| samples.len() == count) {
            return all;
        }
    }
    panic!("runs of real servers have too few steps of an action");
}

/// A step that violates one guard alone, with its effect: from a permitted one by other parameters and by
/// other facts before.
///
/// # Panics
/// If random changes find none.
fn violating(
    evaluator: &Evaluator,
    permitted: &[Transition],
    guard: &str,
    random: &mut Random,
) -> Transition {
    for _ in 0..CHANGES {
        let mut altered = random.choose(permitted).expect("a sample exists");
        if random.below(2) == 0 {
            altered.step = other_parameter(evaluator, altered.step, random);
        }
        for _ in 0..random.below(4) {
            flip(evaluator, &mut altered.before, random);
        }
        let mut violated = evaluator.false_guards(altered.step, &altered.before);
        if violated.next() == Some(guard) && violated.next().is_none() {
            drop(violated);
            altered.after = evaluator.effect(altered.step, &altered.before);
            return altered;
        }
    }
    panic!("random changes do not violate {guard} alone");
}

/// A similar transition that the evaluation does not permit: with another fact afterwards; or with other
/// parameters or another fact before, and the effect of the action, so that only a guard prevents it.
fn altered_from(evaluator: &Evaluator, transition: &Transition, random: &mut Random) -> Transition {
    loop {
        let mut altered = transition.clone();
        match random.below(3) {
            0 => flip(evaluator, &mut altered.after, random),
            1 => {
                altered.step = other_parameters(evaluator, altered.step, random);
                altered.after = evaluator.effect(altered.step, &altered.before);
            }
            _ => {
                flip(evaluator, &mut altered.before, random);
                altered.after = evaluator.effect(altered.step, &altered.before);
            }
        }
        if !evaluator.permits(&altered) {
            return altered;
        }
    }
}

/// Changes one random fact.
fn flip(evaluator: &Evaluator, state: &mut Facts, random: &mut Random) {
    let relation = random.choose(Relation::state()).expect("relations exist");
    let sizes = relation.sorts().iter();
    let sizes = sizes.map(|sort| evaluator.universe().size(*sort));
    let values: Vec<u8> = sizes.map(|size| value(size, random)).collect();
    state.flip(evaluator.fact(relation, &values));
}

fn other_parameters(evaluator: &Evaluator, mut step: Step, random: &mut Random) -> Step {
    for (parameter, sort) in step
        .parameters
        .iter_mut()
        .zip(evaluator.parameters(step.action))
    {
        *parameter = value(evaluator.universe().size(*sort), random);
    }
    step
}

/// Another value of one parameter.
fn other_parameter(evaluator: &Evaluator, mut step: Step, random: &mut Random) -> Step {
    let sorts = evaluator.parameters(step.action);
    let number = random.below(sorts.len());
    step.parameters[number] = value(evaluator.universe().size(sorts[number]), random);
    step
}

fn value(size: u8, random: &mut Random) -> u8 {
    u8::try_from(random.below(size.into())).expect("it is less than the size")
}
