//! The canonical form of a state: the least of its permutations that sort the servers by an invariant
//! key (symmetry reduction).
//!
//! The key of a server is the first process of its orbit. If two servers have equal keys, the channels
//! to and from each server are added. If some are equal even then, all permutations that sort them are
//! compared.

use super::{
    hash::mix,
    permutations::MAX_SERVERS,
    state_layout::StateLayout,
    step_cache::{StepCache, UNKNOWN},
    tables::{EMPTY, Tables},
};
use model::system::Flaw;

/// Computes canonical forms with the step cache of a thread, which permutes the components.
pub(crate) struct Canonicalizer<'a, const S: usize> {
    tables: &'a Tables,
    layout: StateLayout,
}

impl<'a, const S: usize> Canonicalizer<'a, S> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            layout: tables.layout().clone(),
        }
    }

    /// The canonical form of a state.
    pub(crate) fn canonical(&self, cache: &mut StepCache<'_>, state: [u32; S]) -> [u32; S] {
        cache.refresh_holds_ids();
        if cache.permutations.count() == 1 {
            return state;
        }
        let servers = self.layout.servers;
        let mut keys = [0_u64; MAX_SERVERS];
        for (key, process) in keys[..servers].iter_mut().zip(&state) {
            *key = u64::from(cache.process(*process).first);
        }
        match cache.permutations.sorting(&keys[..servers]) {
            (0, false) => state,
            (permutation, false) => self.permute(cache, &state, permutation),
            (_, true) => self.canonical_of_tied(cache, &state, keys),
        }
    }

    /// Whether the canonical form of a permuted canonical state is the state itself.
    pub(crate) fn is_canonical_form(
        &self,
        cache: &mut StepCache<'_>,
        canonical: &[u32; S],
        permutation: usize,
    ) -> bool {
        cache.refresh_holds_ids();
        let permuted = self.permute(cache, canonical, permutation);
        self.canonical(cache, permuted) == *canonical
    }

    /// The canonical form of a successor. `permutation` sorts its servers (see [`sorting`]), and
    /// `process_part` has its processes and its shared part under this permutation.
    #[inline]
    pub(crate) fn complete(
        &self,
        cache: &mut StepCache<'_>,
        permutation: u32,
        process_part: &[u32; S],
        state: [u32; S],
    ) -> [u32; S] {
        match permutation {
            UNKNOWN => self.canonical(cache, state),
            // The servers are sorted already.
            0 => state,
            permutation => {
                let mut permuted = *process_part;
                self.permute_channels(cache, &state, permutation as usize, &mut permuted);
                permuted
            }
        }
    }

    fn canonical_of_tied(
        &self,
        cache: &mut StepCache<'_>,
        state: &[u32; S],
        mut keys: [u64; MAX_SERVERS],
    ) -> [u32; S] {
        self.refine(cache, state, &mut keys);
        let keys = &keys[..self.layout.servers];
        if let (permutation, false) = cache.permutations.sorting(keys) {
            return self.permute(cache, state, permutation);
        }
        let takes_first = self.tables.scope().flaw == Some(Flaw::FirstOrderIsCanonical);
        let mut best = [UNKNOWN; S];
        for permutation in 0..cache.permutations.count() {
            if cache.permutations.sorts(permutation, keys) && !(takes_first && best[0] != UNKNOWN) {
                best = best.min(self.permute(cache, state, permutation));
            }
        }
        best
    }

    /// Adds the channels to and from each server to its key.
    fn refine(&self, cache: &mut StepCache<'_>, state: &[u32; S], keys: &mut [u64; MAX_SERVERS]) {
        let orbits = *keys;
        let servers = self.layout.servers;
        let holds_ids = self.tables.channels_hold_ids();
        for slot in self.layout.channels() {
            let mut channel = state[slot];
            if channel == EMPTY {
                continue;
            }
            if holds_ids {
                let row = cache.channel_row(channel);
                channel = row.iter().copied().min().unwrap_or(channel);
            }
            let (from, to) = self.layout.ends(slot);
            // Sums do not depend on the order of the other servers.
            let end = |other: usize| match orbits.get(other) {
                Some(orbit) if other < servers => u64::from(channel) << 32 | orbit,
                _ => u64::from(channel) << 32 | (u64::from(UNKNOWN) - other as u64),
            };
            if from < servers {
                keys[from] = keys[from].wrapping_add(mix(end(to)).rotate_left(1));
            }
            if to < servers {
                keys[to] = keys[to].wrapping_add(mix(end(from)));
            }
        }
    }

    fn permute(&self, cache: &mut StepCache<'_>, state: &[u32; S], permutation: usize) -> [u32; S] {
        let mut permuted = self.permuted_process_part(cache, state, permutation);
        self.permute_channels(cache, state, permutation, &mut permuted);
        permuted
    }

    /// The processes and the shared part under a permutation.
    pub(crate) fn permuted_process_part(
        &self,
        cache: &mut StepCache<'_>,
        state: &[u32; S],
        permutation: usize,
    ) -> [u32; S] {
        let mut permuted = [EMPTY; S];
        for index in self.layout.processes() {
            let process = cache.permuted_process(state[index], permutation);
            permuted[cache.permutations.image(permutation, index)] = process;
        }
        let shared = self.layout.shared();
        permuted[shared] = cache.permuted_shared(state[shared], permutation);
        permuted
    }

    /// Adds the permuted channels to a permuted process part.
    #[inline]
    fn permute_channels(
        &self,
        cache: &mut StepCache<'_>,
        state: &[u32; S],
        permutation: usize,
        permuted: &mut [u32; S],
    ) {
        let channels = self.layout.channels();
        if cache.channels_hold_ids {
            for slot in channels {
                let channel = cache.permuted_channel(state[slot], permutation);
                permuted[usize::from(cache.permutations.slots(permutation)[slot])] = channel;
            }
        } else {
            let slots = &cache.permutations.slots(permutation)[channels.clone()];
            for (channel, slot) in state[channels].iter().zip(slots) {
                permuted[usize::from(*slot)] = *channel;
            }
        }
    }
}

/// The permutation that sorts the servers by these keys; `UNKNOWN` if two keys are equal.
#[inline]
pub(crate) fn sorting(cache: &StepCache<'_>, keys: &[u64]) -> u32 {
    if cache.permutations.count() == 1 {
        return 0;
    }
    match cache.permutations.sorting(keys) {
        (permutation, false) => permutation as u32,
        (_, true) => UNKNOWN,
    }
}
