//! One thread's part of the search: its copies of the tables it uses, and the successors of a
//! state. After a while almost every look-up is answered here, without a lock.

use super::tables::{CALM_POST, GlobalStep, Tables};
use model::system::{Broken, Witnesses, laws};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Whether two servers were judged against each other and passed.
const PAIR_CACHE: usize = 1 << 16;

pub(crate) struct Worker<'a, const W: usize> {
    tables: &'a Mutex<Tables>,
    servers: usize,
    permutations: Vec<Vec<usize>>,
    symmetric: bool,
    views: Vec<KnownView>,
    /// For each view, its renamings.
    renamings: Vec<u32>,
    steps: Vec<KnownStep>,
    posts: Vec<(u32, u32)>,
    adds: FxHashMap<u64, (u32, Range)>,
    /// Posts to deliver; kept to reuse its memory.
    mail: Vec<(u32, u32)>,
    globals: FxHashMap<u64, KnownGlobal>,
    global_renamings: FxHashMap<u32, Box<[u32]>>,
    pairs: Vec<u64>,
    /// What was witnessed by the steps taken so far.
    pub(crate) witnesses: Witnesses,
    /// How many steps were enabled in the states expanded so far.
    pub(crate) enabled: u64,
}

/// What is known of a view; `steps` and `posts` point into the arenas of the worker.
#[derive(Clone, Copy)]
struct KnownView {
    process: u32,
    orbit: u32,
    /// How many steps are enabled; `UNKNOWN` until the steps are learnt.
    enabled: u32,
    first_step: u32,
    steps: u32,
}

/// A step of a view; its posts are a range of the worker's arena.
#[derive(Clone, Copy)]
struct KnownStep {
    next: u32,
    effect: u32,
    posts: Range,
}

#[derive(Clone, Copy)]
struct Range {
    first: u32,
    count: u32,
}

const UNKNOWN: u32 = u32::MAX;

#[derive(Clone)]
enum KnownGlobal {
    Disabled,
    To { global: u32, calms: bool },
    Broken(Box<Broken>),
}

/// A step that broke a law, from the state being expanded.
pub(crate) struct Violation {
    pub(crate) broken: Broken,
}

impl<'a, const W: usize> Worker<'a, W> {
    pub(crate) fn new(tables: &'a Mutex<Tables>) -> Self {
        let locked = tables.lock();
        let (servers, permutations) = (locked.servers(), locked.permutations());
        let symmetric = locked.is_symmetric();
        drop(locked);
        Self {
            tables,
            servers,
            permutations,
            symmetric,
            views: Vec::new(),
            renamings: Vec::new(),
            steps: Vec::new(),
            posts: Vec::new(),
            adds: FxHashMap::default(),
            mail: Vec::new(),
            globals: FxHashMap::default(),
            global_renamings: FxHashMap::default(),
            pairs: vec![u64::MAX; PAIR_CACHE],
            witnesses: Witnesses::default(),
            enabled: 0,
        }
    }

    /// Calls `found` with each successor of a state, in canonical form.
    pub(crate) fn successors(
        &mut self,
        state: &[u32; W],
        mut found: impl FnMut([u32; W]),
    ) -> Result<(), Violation> {
        for place in 0..W - 1 {
            let known = self.learn_steps(state[place]);
            self.enabled += u64::from(known.enabled);
            for number in known.first_step..known.first_step + known.steps {
                let step = self.steps[number as usize];
                if let Some(next) = self.take_step(state, place, step)? {
                    found(next);
                }
            }
        }
        Ok(())
    }

    fn take_step(
        &mut self,
        state: &[u32; W],
        place: usize,
        step: KnownStep,
    ) -> Result<Option<[u32; W]>, Violation> {
        let mut next = *state;
        self.mail.clear();
        self.post(step.posts);
        next[place] = step.next;
        if step.effect != 0 {
            match self.apply(state[W - 1], step.effect) {
                KnownGlobal::Disabled => return Ok(None),
                KnownGlobal::Broken(broken) => return Err(Violation { broken: *broken }),
                KnownGlobal::To { global, calms } => {
                    next[W - 1] = global;
                    if calms {
                        let servers = 0..self.servers as u32;
                        self.mail.extend(servers.map(|to| (to, CALM_POST)));
                    }
                }
            }
        }
        if place < self.servers {
            self.judge_pairs(&next, place)?;
        }
        // Deliver into inboxes until nothing more can be sent early.
        while let Some((to, post)) = self.mail.pop() {
            self.add(&mut next[to as usize], post);
        }
        Ok(Some(self.canonical(next)))
    }

    /// The least of all renamings of the servers. Servers are sorted by orbit, which renaming does
    /// not change; only servers of one orbit need every order to be tried.
    pub(crate) fn canonical(&mut self, state: [u32; W]) -> [u32; W] {
        if !self.symmetric {
            return state;
        }
        let mut orbits = [0_u32; W];
        for place in 0..self.servers {
            orbits[place] = self.known(state[place]).orbit;
        }
        let mut best: Option<[u32; W]> = None;
        for name in 0..self.permutations.len() {
            let sorted = {
                let mut renamed = [0_u32; W];
                for place in 0..self.servers {
                    renamed[self.permutations[name][place]] = orbits[place];
                }
                renamed[..self.servers].is_sorted()
            };
            if !sorted {
                continue;
            }
            let renamed = self.rename(&state, name);
            if best.is_none_or(|best| renamed < best) {
                best = Some(renamed);
            }
        }
        best.expect("some order is sorted")
    }

    fn rename(&mut self, state: &[u32; W], name: usize) -> [u32; W] {
        let mut renamed = [0_u32; W];
        for (place, &view) in state[..W - 1].iter().enumerate() {
            self.known(view);
            let view = self.renamings[view as usize * self.permutations.len() + name];
            let to = if place < self.servers {
                self.permutations[name][place]
            } else {
                place
            };
            renamed[to] = view;
        }
        renamed[W - 1] = self.rename_global(state[W - 1], name);
        renamed
    }

    fn rename_global(&mut self, global: u32, name: usize) -> u32 {
        if name == 0 {
            return global;
        }
        let tables = self.tables;
        self.global_renamings
            .entry(global)
            .or_insert_with(|| tables.lock().global_renaming_row(global).into())[name]
    }

    fn apply(&mut self, global: u32, effect: u32) -> KnownGlobal {
        let key = u64::from(global) << 32 | u64::from(effect);
        if let Some(known) = self.globals.get(&key) {
            return known.clone();
        }
        let known = match self.tables.lock().apply(global, effect) {
            GlobalStep::Disabled => KnownGlobal::Disabled,
            GlobalStep::To {
                global,
                witnesses,
                calms,
            } => {
                self.witnesses.add_all(witnesses);
                KnownGlobal::To { global, calms }
            }
            GlobalStep::Broken(broken) => KnownGlobal::Broken(Box::new(broken)),
        };
        self.globals.insert(key, known.clone());
        known
    }

    /// Puts a post into an inbox, and what is sent early because of it into the mail.
    fn add(&mut self, view: &mut u32, post: u32) {
        let tables = self.tables;
        let key = u64::from(*view) << 32 | u64::from(post);
        let (after, early) = match self.adds.get(&key) {
            Some(known) => *known,
            None => {
                let arrival = tables.lock().add(*view, post);
                let known = (arrival.view, keep(&mut self.posts, &arrival.early));
                self.adds.insert(key, known);
                known
            }
        };
        *view = after;
        self.post(early);
    }

    /// Puts posts into the mail.
    fn post(&mut self, posts: Range) {
        let first = posts.first as usize;
        let posts = &self.posts[first..first + posts.count as usize];
        self.mail.extend_from_slice(posts);
    }

    fn judge_pairs(&mut self, state: &[u32; W], place: usize) -> Result<(), Violation> {
        let one = self.known(state[place]).process;
        for other in (0..self.servers).filter(|other| *other != place) {
            let other = self.known(state[other]).process;
            let key = u64::from(one) << 32 | u64::from(other);
            let slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % PAIR_CACHE;
            if self.pairs[slot] == key {
                continue;
            }
            let tables = self.tables.lock();
            let servers = (tables.process(one).server(), tables.process(other).server());
            if let (Some(one), Some(other)) = servers
                && let Err(broken) = laws::judge_pair(one, other, tables.scope().laws)
            {
                return Err(Violation { broken });
            }
            self.pairs[slot] = key;
        }
        Ok(())
    }

    fn known(&mut self, view: u32) -> KnownView {
        let place = view as usize;
        if self
            .views
            .get(place)
            .is_none_or(|known| known.process == UNKNOWN)
        {
            self.learn(view);
        }
        self.views[place]
    }

    fn learn(&mut self, view: u32) {
        let (place, count) = (view as usize, self.permutations.len());
        if place >= self.views.len() {
            let unknown = KnownView {
                process: UNKNOWN,
                orbit: 0,
                enabled: UNKNOWN,
                first_step: 0,
                steps: 0,
            };
            self.views.resize(place + 1, unknown);
            self.renamings.resize((place + 1) * count, UNKNOWN);
        }
        let tables = self.tables.lock();
        self.views[place].process = tables.process_of(view);
        self.views[place].orbit = tables.orbit(view);
        self.renamings[place * count..][..count].copy_from_slice(tables.view_renaming_row(view));
    }

    fn learn_steps(&mut self, view: u32) -> KnownView {
        let known = self.known(view);
        if known.enabled != UNKNOWN {
            return known;
        }
        let expansion = self.tables.lock().expand(view);
        let first_step = number(self.steps.len());
        for step in &expansion.steps {
            let posts = keep(&mut self.posts, &step.posts);
            self.steps.push(KnownStep {
                next: step.next,
                effect: step.effect,
                posts,
            });
        }
        let known = &mut self.views[view as usize];
        known.enabled = expansion.enabled;
        known.first_step = first_step;
        known.steps = number(expansion.steps.len());
        *known
    }
}

/// Keeps posts in an arena.
fn keep(arena: &mut Vec<(u32, u32)>, posts: &[(u32, u32)]) -> Range {
    let range = Range {
        first: number(arena.len()),
        count: number(posts.len()),
    };
    arena.extend_from_slice(posts);
    range
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 remembered steps")
}
