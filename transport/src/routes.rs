//! The addresses of processes: configured, and learned from received datagrams.
//!
//! Messages to an unlisted process go to the source address of its latest datagram. A listed process
//! may move as well (a restarted container gets another address). While its datagrams come from
//! another address, messages go there. When it is silent, the configured address applies again, so
//! that two processes that both moved find each other.
//!
//! A listed process may have several addresses, as the name `localhost` has. While none of them
//! answers, they are tried in turn.
//!
//! A server that admits runs of its peers names the run to follow ([`Routes::follow`]): a copy of a
//! server that runs beside it with the same keys does not divert the datagrams of the original.
//! Without a named run, the latest run is followed.
//!
//! Only the latest datagram of the latest run counts, so a replayed datagram from another address
//! redirects nothing. Runs are ordered by their start time on their own clock. Because clocks may
//! be set back, an earlier run may take over after a long silence. Without keys, boot id and
//! sequence number prove nothing: there the datagram that arrives last counts.

use model::{Address, wire::BootId};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    time::Duration,
};
use tokio::time::Instant;

/// For how long a learned address of a listed process takes precedence over its configured one.
const LEARNED_FOR: Duration = Duration::from_secs(5);
/// How long one of several addresses is tried before the next one.
const TRY_NEXT: Duration = Duration::from_millis(250);
/// The silence after which an earlier run may take over.
const SILENCE: Duration = Duration::from_secs(30);
/// For how long the datagrams of a process must come from the address of another one before that is
/// reported. Two processes that exchanged their addresses in a restart are resolved again
/// meanwhile.
const MISPLACED: Duration = Duration::from_secs(3);

/// The routing table.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: HashMap<Address, Route>,
    capacity: usize,
    learned_count: usize,
    /// The listed processes.
    listed: Vec<Address>,
    /// The run of a process that is followed, or `None` for no run.
    followed: HashMap<Address, Option<BootId>>,
    /// Listed processes whose datagrams come from the configured address of another process.
    misplaced: BTreeMap<Address, Since>,
}

/// A listed process sends from the configured address of another one: the configured list is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The process.
    pub process: Address,
    /// The address from which it sends.
    pub at: SocketAddr,
    /// The process for which this address is configured.
    pub configured_for: Address,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            at,
            configured_for,
        } = self;
        write!(
            f,
            "{process} sends from {at}, the configured address of {configured_for}: correct the list \
             of addresses"
        )
    }
}

/// The period in which a process was found misplaced.
#[derive(Clone, Copy, Debug)]
struct Since {
    misplaced: Misplaced,
    first: Instant,
    last: Instant,
    is_reported: bool,
}

#[derive(Clone, Debug, Default)]
struct Route {
    /// The configured addresses of a listed process; empty for an unlisted one.
    configured: Vec<SocketAddr>,
    /// The index of the configured address in use.
    current: usize,
    /// When that address last answered.
    answered: Option<Instant>,
    /// When it was first used since then.
    tried: Option<Instant>,
    learned: Option<Learned>,
}

impl Route {
    /// The configured address to use now.
    fn next_configured(&mut self, now: Instant) -> Option<SocketAddr> {
        let elapsed = |at: Option<Instant>, by| at.is_some_and(|at| now.duration_since(at) >= by);
        let answers = self.answered.is_some() && !elapsed(self.answered, LEARNED_FOR);
        if self.configured.len() > 1 && !answers {
            if elapsed(self.tried, TRY_NEXT) {
                self.skip();
            }
            self.tried.get_or_insert(now);
        }
        self.configured.get(self.current).copied()
    }

    fn skip(&mut self) {
        self.current = (self.current + 1) % self.configured.len();
        self.answered = None;
        self.tried = None;
    }
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    at: SocketAddr,
    boot: BootId,
    sequence: u64,
    when: Instant,
}

impl Routes {
    /// Creates a table with room for `capacity` learned addresses, beside the configured ones.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            routes: HashMap::new(),
            capacity,
            learned_count: 0,
            listed: Vec::new(),
            followed: HashMap::new(),
            misplaced: BTreeMap::new(),
        }
    }

    /// Restricts learning to this run of a process, or to no run. `at` is the address of this run.
    pub(crate) fn follow(
        &mut self,
        of: Address,
        run: Option<BootId>,
        at: Option<SocketAddr>,
        authentic: bool,
        now: Instant,
    ) {
        self.followed.insert(of, run);
        if let Some(route) = self.routes.get_mut(&of)
            && !route.configured.is_empty()
        {
            route.learned.take_if(|learned| Some(learned.boot) != run);
        }
        if let (Some(run), Some(at)) = (run, at) {
            self.observe_source(of, at, (run, 0), authentic, now);
        }
    }

    /// The source address of the last datagram from this process.
    pub(crate) fn learned_address(&self, of: Address) -> Option<SocketAddr> {
        Some(self.routes.get(&of)?.learned?.at)
    }

    /// The configured addresses of this process.
    pub(crate) fn configured(&self, of: Address) -> &[SocketAddr] {
        self.routes.get(&of).map_or(&[], |route| &route.configured)
    }

    /// The listed processes.
    pub(crate) fn listed(&self) -> &[Address] {
        &self.listed
    }

    /// Whether this process is listed.
    pub(crate) fn is_listed(&self, address: Address) -> bool {
        let route = self.routes.get(&address);
        route.is_some_and(|route| !route.configured.is_empty())
    }

    /// The address to which messages for this process are sent.
    pub(crate) fn find(&mut self, to: Address, now: Instant) -> Option<SocketAddr> {
        let route = self.routes.get_mut(&to)?;
        let stale = |learned: &Learned| now.duration_since(learned.when) >= LEARNED_FOR;
        match route.learned {
            Some(learned) if route.configured.is_empty() || !stale(&learned) => Some(learned.at),
            _ => route.next_configured(now),
        }
    }

    /// Configures the addresses of a process. An empty list changes nothing.
    pub(crate) fn configure(&mut self, of: Address, at: Vec<SocketAddr>) {
        if at.is_empty() {
            return;
        }
        let route = self.routes.entry(of).or_default();
        if route.configured.is_empty() {
            self.listed.push(of);
            if route.learned.is_some() {
                self.learned_count -= 1;
            }
        }
        // Resolving a name again mostly returns the same addresses, perhaps in another order. The
        // route then keeps its state.
        let same =
            route.configured.len() == at.len() && at.iter().all(|at| route.configured.contains(at));
        if !same {
            *route = Route {
                configured: at,
                ..Route::default()
            };
        }
    }

    /// Records that there is no route to this address: skips it if others are configured.
    pub(crate) fn unreachable(&mut self, at: SocketAddr) {
        for of in &self.listed {
            if let Some(route) = self.routes.get_mut(of)
                && route.configured.len() > 1
                && route.configured[route.current] == at
            {
                route.skip();
            }
        }
    }

    /// The listed processes that have sent from the address of another one for a while.
    pub(crate) fn misplaced(&self, now: Instant) -> Vec<Misplaced> {
        let is_shown =
            |since: &&Since| since.is_reported && now.duration_since(since.last) < LEARNED_FOR;
        let shown = self.misplaced.values().filter(is_shown);
        shown.map(|since| since.misplaced).collect()
    }

    /// Records whether a listed process sends from the address of another one. Returns a finding to
    /// report, once.
    fn compare(&mut self, of: Address, at: SocketAddr, now: Instant) -> Option<Misplaced> {
        let is_configured = |of: &Address| self.configured(*of).contains(&at);
        let other = if is_configured(&of) {
            None
        } else {
            self.listed.iter().copied().find(is_configured)
        };
        let Some(configured_for) = other else {
            if !self.misplaced.is_empty() {
                self.misplaced.remove(&of);
            }
            return None;
        };
        let misplaced = Misplaced {
            process: of,
            at,
            configured_for,
        };
        let fresh = Since {
            misplaced,
            first: now,
            last: now,
            is_reported: false,
        };
        let since = self.misplaced.entry(of).or_insert(fresh);
        if since.misplaced != misplaced || now.duration_since(since.last) >= LEARNED_FOR {
            *since = fresh;
        }
        since.last = now;
        let is_due = now.duration_since(since.first) >= MISPLACED;
        (is_due && !std::mem::replace(&mut since.is_reported, is_due)).then_some(misplaced)
    }

    /// Records that a datagram of this process came from `at`. `authentic`: no other process could
    /// have sent it. Returns a finding about the configured list.
    pub(crate) fn observe_source(
        &mut self,
        of: Address,
        at: SocketAddr,
        (boot, sequence): (BootId, u64),
        authentic: bool,
        now: Instant,
    ) -> Option<Misplaced> {
        let fresh = Learned {
            at,
            boot,
            sequence,
            when: now,
        };
        let followed = self.followed.get(&of).copied();
        if followed.flatten().is_some_and(|run| run != boot) {
            return None;
        }
        let is_followed = followed.is_none_or(|run| run == Some(boot));
        let misplaced = if self.is_listed(of) {
            self.compare(of, at, now)
        } else {
            None
        };
        match self.routes.get_mut(&of) {
            Some(route) => {
                if let Some(index) = route.configured.iter().position(|known| *known == at) {
                    route.current = index;
                    route.answered = Some(now);
                    route.tried = None;
                }
                if !is_followed || (!route.configured.is_empty() && !authentic) {
                    return misplaced;
                }
                let later = route.learned.is_none_or(|learned| {
                    !authentic
                        || (boot, sequence) > (learned.boot, learned.sequence)
                        || now.duration_since(learned.when) >= SILENCE
                });
                if later {
                    route.learned = Some(fresh);
                }
            }
            None if !is_followed => {}
            None => {
                if self.learned_count >= self.capacity {
                    self.forget();
                }
                self.learned_count += 1;
                self.routes.insert(
                    of,
                    Route {
                        learned: Some(fresh),
                        ..Route::default()
                    },
                );
            }
        }
        misplaced
    }

    /// Evicts an eighth of the learned routes, the longest silent ones, so that the search is not
    /// repeated for each newcomer.
    fn forget(&mut self) {
        let unlisted = |route: &Route| {
            route
                .configured
                .is_empty()
                .then_some(route.learned)
                .flatten()
        };
        let mut times: Vec<Instant> = self
            .routes
            .values()
            .filter_map(|route| unlisted(route).map(|learned| learned.when))
            .collect();
        let nth = times.len() / 8;
        if times.is_empty() {
            return;
        }
        let (_, last, _) = times.select_nth_unstable(nth);
        let last = *last;
        let mut going = nth + 1;
        self.routes.retain(|_, route| {
            let goes = going > 0 && unlisted(route).is_some_and(|learned| learned.when <= last);
            going -= usize::from(goes);
            !goes
        });
        self.learned_count -= nth + 1 - going;
    }
}

#[cfg(test)]
mod tests;
