//! One thread's part of the search: its copies of the tables it uses, and the successors of a
//! state. After a while almost every look-up is answered here, without a lock.

use super::tables::{CALM_POST, GlobalStep, Tables, ViewStep};
use model::system::{Broken, Witnesses, laws};
use rustc_hash::FxHashMap;
use std::{rc::Rc, sync::Mutex};

/// Whether two servers were judged against each other and passed.
const PAIR_CACHE: usize = 1 << 16;

pub(crate) struct Worker<'a, const W: usize> {
    tables: &'a Mutex<Tables>,
    servers: usize,
    permutations: Vec<Vec<usize>>,
    symmetric: bool,
    views: Vec<Option<Box<KnownView>>>,
    adds: FxHashMap<u64, (u32, Option<Rc<[(u32, u32)]>>)>,
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

struct KnownView {
    process: u32,
    orbit: u32,
    renamings: Box<[u32]>,
    steps: Option<KnownSteps>,
}

#[derive(Clone)]
struct KnownSteps {
    steps: Rc<[ViewStep]>,
    enabled: u32,
}

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
        let locked = tables.lock().expect("no thread panicked with the tables");
        let (servers, permutations) = (locked.servers(), locked.permutations());
        let symmetric = locked.is_symmetric();
        drop(locked);
        Self {
            tables,
            servers,
            permutations,
            symmetric,
            views: Vec::new(),
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
            let view = state[place];
            let known = self.steps(view).clone();
            self.enabled += u64::from(known.enabled);
            for step in known.steps.iter() {
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
        step: &ViewStep,
    ) -> Result<Option<[u32; W]>, Violation> {
        let mut next = *state;
        self.mail.clear();
        self.mail.extend_from_slice(&step.posts);
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
        for place in 0..W - 1 {
            let view = self.known(state[place]).renamings[name];
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
            .or_insert_with(|| lock(tables).global_renaming_row(global).into())[name]
    }

    fn apply(&mut self, global: u32, effect: u32) -> KnownGlobal {
        let key = u64::from(global) << 32 | u64::from(effect);
        if let Some(known) = self.globals.get(&key) {
            return known.clone();
        }
        let known = match lock(self.tables).apply(global, effect) {
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
        let (after, early) = self.adds.entry(key).or_insert_with(|| {
            let arrival = lock(tables).add(*view, post);
            let early = (!arrival.early.is_empty()).then(|| arrival.early.into());
            (arrival.view, early)
        });
        *view = *after;
        if let Some(early) = early {
            self.mail.extend_from_slice(early);
        }
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
            let tables = lock(self.tables);
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

    fn known(&mut self, view: u32) -> &mut KnownView {
        let place = view as usize;
        if place >= self.views.len() {
            self.views.resize_with(place + 1, || None);
        }
        let tables = self.tables;
        self.views[place].get_or_insert_with(|| {
            let tables = lock(tables);
            Box::new(KnownView {
                process: tables.process_of(view),
                orbit: tables.orbit(view),
                renamings: tables.view_renaming_row(view).into(),
                steps: None,
            })
        })
    }

    fn steps(&mut self, view: u32) -> &KnownSteps {
        let tables = self.tables;
        self.known(view).steps.get_or_insert_with(|| {
            let expansion = lock(tables).expand(view);
            KnownSteps {
                steps: expansion.steps.clone().into(),
                enabled: expansion.enabled,
            }
        })
    }
}

fn lock(tables: &Mutex<Tables>) -> std::sync::MutexGuard<'_, Tables> {
    tables.lock().expect("no thread panicked with the tables")
}
