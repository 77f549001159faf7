//! The abstract Raft: its explicit form, its wrong variants, and its text.

mod mutations;
#[path = "../random/mod.rs"]
mod random;
mod reachable;
mod text;

use model::system::spec::{Evaluator, Facts, signature::Relation};
use random::Random;

/// The actions by index, each as often as random runs take it. Terms are few, so the actions that use
/// them up are rare.
const FREQUENCIES: [usize; 17] = [0, 1, 1, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7];

/// A random step, if the chosen action has one.
fn random_step(evaluator: &Evaluator, facts: &Facts, random: &mut Random) -> Option<Facts> {
    let action = FREQUENCIES[random.below(FREQUENCIES.len())];
    let steps = evaluator.steps_of(action, facts);
    if steps.is_empty() {
        return None;
    }
    Some(steps[random.below(steps.len())].1.clone())
}

/// The state after random changes of one to three facts.
fn altered(evaluator: &Evaluator, facts: &Facts, random: &mut Random) -> Facts {
    let mut altered = facts.clone();
    for _ in 0..=random.below(3) {
        let relations = Relation::state();
        let relation = relations[random.below(relations.len())];
        let sizes = relation
            .sorts()
            .iter()
            .map(|sort| evaluator.universe().size(*sort));
        let values: Vec<u8> = sizes
            .map(|size| u8::try_from(random.below(size.into())).expect("a size is small"))
            .collect();
        altered.flip(evaluator.fact(relation, &values));
    }
    altered
}
