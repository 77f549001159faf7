//! The abstract Raft: its explicit form, its wrong variants, and its text.

mod mutations;
mod reachable;
mod text;

use model::system::spec::{Evaluator, Facts, signature::Relation};

/// Random numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bound = u64::try_from(bound).expect("it fits");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("it is less than the bound")
    }
}

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
