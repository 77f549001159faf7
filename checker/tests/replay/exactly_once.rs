//! *Exactly-once application* in traces of servers, against the independent evaluation.

use crate::World;
use model::{
    mutant::Mutant,
    system::{Cause, Property},
};
use std::mem::{Discriminant, discriminant};

/// The causes by which the traces of some random runs violate Exactly-once.
fn causes(mutant: Mutant) -> Vec<Discriminant<Cause>> {
    let mut causes = Vec::new();
    for seed in 0..8 {
        let mut world = World::new(3, Some(mutant), seed);
        world.run(900);
        let Err(rejection) = world.files().checked() else {
            continue;
        };
        let violation = rejection.violation();
        let violation = violation.unwrap_or_else(|| panic!("another rejection: {rejection}"));
        assert_eq!(violation.property, Property::ExactlyOnce, "{rejection}");
        causes.push(discriminant(&*violation.cause));
    }
    causes
}

#[test]
fn stores_and_answers_differ_from_the_independent_evaluation() {
    let id = model::NodeId::new(1);
    let index = model::LogIndex::new(1);
    let store = discriminant(&Cause::StoreDiffers { server: id, index });
    let answer = discriminant(&Cause::AnswerDiffers { index });
    // A delete is answered as if it took effect.
    let found = causes(Mutant::DeleteKeepsKey);
    assert!(found.contains(&store), "{found:?}");
    // The answer is the wrong number.
    let found = causes(Mutant::TextCountsAsZero);
    assert!(found.contains(&answer), "{found:?}");
}
