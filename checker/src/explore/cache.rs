//! The cache of recent walks, so that one more step costs only one step.
//!
//! A request contains its whole path. The cached walk that shares the most steps with this path is
//! continued from there. Its other steps are cut off, from a copy if the full walk may still be needed.
//! The cache has a maximum number of walks and a maximum total size, and evicts the least recent walks.

use super::{keys::Key, walk::Walk};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// The maximum number of cached walks.
const MAX_WALKS: usize = 64;
/// The maximum estimated size in bytes of all cached walks.
const MAX_BYTES: usize = 256 << 20;
/// The number of steps that can be executed again faster than a walk can be copied.
const FEW: usize = 32;

/// The cached walks.
#[derive(Default)]
pub(super) struct Cache(Mutex<VecDeque<Kept>>);

struct Kept {
    world: String,
    bytes: usize,
    walk: Walk,
}

impl Cache {
    /// Returns a walk in the world of this name along the path, as far as one is cached. The caller may
    /// cut it and extend it.
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
        let (count, index) = mine.map(|(index, kept)| (shared(kept), index)).max_by_key(
            // Among equals the shortest, which has the fewest steps to cut off.
            |(count, index)| (*count, usize::MAX - kept[*index].walk.steps.len()),
        )?;
        let beyond = kept[index].walk.steps.len() - count;
        let mut walk = if beyond <= FEW {
            kept.remove(index)?.walk
        } else {
            kept[index].walk.clone()
        };
        drop(kept);
        walk.cut(count);
        Some(walk)
    }

    /// Adds a walk to the cache.
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
