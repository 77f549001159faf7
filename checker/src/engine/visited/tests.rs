//! Shards compared with the standard set.

use super::{
    packing::{MAX_WORDS, Packing},
    shard::{Inserted, Shard},
};
use crate::engine::{hash::hash, state_layout::StateLayout};
use model::system::Scope;
use std::collections::HashSet;

fn layout() -> StateLayout {
    StateLayout::new(&Scope::new("test", "three servers").initial())
}

/// Three servers have ten slots.
type State = [u32; 10];

fn insert(shard: &mut Shard, packing: &Packing, state: &State, hash: u64) -> bool {
    let mut words = [0; MAX_WORDS];
    assert!(packing.pack(state, &mut words));
    shard.insert::<10>(packing, &words[..packing.words()], hash, 0) == Inserted::New
}

#[test]
fn set_agrees_with_the_standard_one_through_growth() {
    let layout = layout();
    let packing = Packing::new(&layout);
    let mut shard = Shard::new(packing.words());
    let mut plain = HashSet::new();
    for number in 0..200_000_u32 {
        let mut state: State = [0; 10];
        state[0] = number % 1000;
        state[4] = number % 70;
        state[9] = number % 3;
        let is_new = insert(&mut shard, &packing, &state, hash(&state));
        assert_eq!(is_new, plain.insert(state));
    }
    assert_eq!(shard.len(), plain.len());
}

#[test]
fn states_with_equal_hashes_stay_apart() {
    let layout = layout();
    let packing = Packing::new(&layout);
    let mut shard = Shard::new(packing.words());
    for number in 0..100 {
        let mut state: State = [0; 10];
        state[1] = number;
        assert!(insert(&mut shard, &packing, &state, 7));
        assert!(!insert(&mut shard, &packing, &state, 7));
    }
    assert_eq!(shard.len(), 100);
}

#[test]
fn states_are_the_same_after_repacking() {
    let layout = layout();
    let narrow = Packing::new(&layout);
    let mut shard = Shard::new(narrow.words());
    let state = |number: u32| {
        let mut state: State = [number % 7; 10];
        state[2] = number % 1000;
        state
    };
    for number in 0..1000 {
        let state = state(number);
        assert!(insert(&mut shard, &narrow, &state, hash(&state)));
    }
    let mut large = state(0);
    large[5] = 1 << 20;
    let wide = narrow.widened(&layout, &large);
    shard.repack::<10>(&narrow, &wide);
    for number in 0..1000 {
        let state = state(number);
        assert!(!insert(&mut shard, &wide, &state, hash(&state)));
    }
    assert!(insert(&mut shard, &wide, &large, hash(&large)));
}
