//! Walks taken lately, so that one more step costs one step.
//!
//! A request names its whole path. The walk kept here that shares the most steps with it goes on
//! from there; what it does not share is cut off, from a copy where it may still be wanted. Walks
//! are kept up to a number and up to a number of steps in all of them, the latest first.

use super::{keys::Key, walk::Walk};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// The most walks kept.
const MAX_WALKS: usize = 64;
/// The most bytes that all walks kept may take, by their own estimate.
const MAX_BYTES: usize = 256 << 20;
/// So many steps are taken again faster than a walk is copied.
const FEW: usize = 32;

/// The walks.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<Kept>>);

struct Kept {
    world: String,
    bytes: usize,
    walk: Walk,
}

impl Cache {
    /// A walk in the world of this name along the path, as far as one is known; the walk may be cut
    /// and added to.
    pub(super) fn take(&self, world: &str, path: &[Key]) -> Option<Walk> {
        let mut kept = self.0.lock();
        let shared = |kept: &Kept| {
            let keys = kept.walk.steps.iter().map(|step| &step.key);
            keys.zip(path)
                .take_while(|(one, other)| one == other)
                .count()
        };
        let places = kept.iter().enumerate();
        let mine = places.filter(|(_, kept)| kept.world == world);
        let (count, place) = mine.map(|(place, kept)| (shared(kept), place)).max_by_key(
            // Of equals the shortest, which has the least to cut off.
            |(count, place)| (*count, usize::MAX - kept[*place].walk.steps.len()),
        )?;
        let beyond = kept[place].walk.steps.len() - count;
        let mut walk = if beyond <= FEW {
            kept.remove(place)?.walk
        } else {
            kept[place].walk.clone()
        };
        drop(kept);
        walk.cut(count);
        Some(walk)
    }

    /// Keeps a walk.
    pub(super) fn keep(&self, world: &str, walk: Walk) {
        let mut kept = self.0.lock();
        kept.push_front(Kept {
            world: world.to_owned(),
            bytes: walk.bytes(),
            walk,
        });
        while kept.len() > MAX_WALKS
            || kept.iter().map(|kept| kept.bytes).sum::<usize>() > MAX_BYTES
        {
            kept.pop_back();
        }
    }
}
