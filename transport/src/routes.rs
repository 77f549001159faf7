//! Where processes are: as told, and as last heard from.
//!
//! Whoever is not listed is answered where its latest datagram came from. A listed process may move
//! as well (a container that starts anew gets another address): while it is heard from elsewhere, it
//! is answered there; when it falls silent, the address that was told counts again, so that two
//! that both moved find one another.
//!
//! A listed process may have several addresses, as the name `localhost` has. While none of them
//! answers they are tried in turn.
//!
//! A server that admits runs of its peers names the run to follow ([`Routes::follow`]): a copy of a
//! server that runs beside it, with the same keys, does not divert the datagrams of the original.
//! Otherwise the latest run is followed.
//!
//! Only what the latest datagram of the latest run says counts, so a datagram recorded and sent
//! again from elsewhere redirects nothing. A run is later if it started later by its own clock;
//! since clocks may be set back, whoever has been silent for long enough may begin anew. Without
//! keys, run and number prove nothing: there the datagram that arrives last counts.

use model::{Address, wire::BootId};
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// For how long a listed process is answered where it was heard from, and not where it was told to
/// be.
const HEARD_FOR: Duration = Duration::from_secs(5);
/// How long an address of several is tried before the next one.
const TRY_NEXT: Duration = Duration::from_millis(250);
/// After how long a silence an earlier run may take over.
const SILENCE: Duration = Duration::from_secs(30);

/// Where processes are.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: HashMap<Address, Route>,
    capacity: usize,
    learned: usize,
    /// The listed processes.
    listed: Vec<Address>,
    /// The run of a process that is followed, or none.
    followed: HashMap<Address, Option<BootId>>,
}

#[derive(Clone, Debug, Default)]
struct Route {
    /// The addresses of a listed process; empty for one that is not listed.
    told: Vec<SocketAddr>,
    /// Which of those is used.
    current: usize,
    /// When that one last answered.
    answered: Option<Instant>,
    /// When it was first used since.
    tried: Option<Instant>,
    heard: Option<Heard>,
}

impl Route {
    /// The address to use of those told.
    fn next_told(&mut self, now: Instant) -> Option<SocketAddr> {
        let elapsed = |at: Option<Instant>, by| at.is_some_and(|at| now.duration_since(at) >= by);
        let answers = self.answered.is_some() && !elapsed(self.answered, HEARD_FOR);
        if self.told.len() > 1 && !answers {
            if elapsed(self.tried, TRY_NEXT) {
                self.skip();
            }
            self.tried.get_or_insert(now);
        }
        self.told.get(self.current).copied()
    }

    fn skip(&mut self) {
        self.current = (self.current + 1) % self.told.len();
        self.answered = None;
        self.tried = None;
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: SocketAddr,
    boot: BootId,
    sequence: u64,
    when: Instant,
}

impl Routes {
    /// Keeps as many learned addresses as this, besides those told.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            routes: HashMap::new(),
            capacity,
            learned: 0,
            listed: Vec::new(),
            followed: HashMap::new(),
        }
    }

    /// From now on only this run of a process, or none, says where it is. `at`: where this run is.
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
            && !route.told.is_empty()
        {
            route.heard.take_if(|heard| Some(heard.boot) != run);
        }
        if let (Some(run), Some(at)) = (run, at) {
            self.hear(of, at, (run, 0), authentic, now);
        }
    }

    /// Where this process was last heard from.
    pub(crate) fn heard_at(&self, of: Address) -> Option<SocketAddr> {
        Some(self.routes.get(&of)?.heard?.at)
    }

    /// The addresses that were told of this process.
    pub(crate) fn told(&self, of: Address) -> &[SocketAddr] {
        self.routes.get(&of).map_or(&[], |route| &route.told)
    }

    /// The listed processes.
    pub(crate) fn listed(&self) -> &[Address] {
        &self.listed
    }

    /// Whether this process is listed.
    pub(crate) fn is_listed(&self, address: Address) -> bool {
        let route = self.routes.get(&address);
        route.is_some_and(|route| !route.told.is_empty())
    }

    /// Where to send what is for this process.
    pub(crate) fn find(&mut self, to: Address, now: Instant) -> Option<SocketAddr> {
        let route = self.routes.get_mut(&to)?;
        let stale = |heard: &Heard| now.duration_since(heard.when) >= HEARD_FOR;
        match route.heard {
            Some(heard) if route.told.is_empty() || !stale(&heard) => Some(heard.at),
            _ => route.next_told(now),
        }
    }

    /// Someone who knows says where this process is: at one of these addresses.
    pub(crate) fn tell(&mut self, of: Address, at: Vec<SocketAddr>) {
        if at.is_empty() {
            return;
        }
        let route = self.routes.entry(of).or_default();
        if route.told.is_empty() {
            self.listed.push(of);
            if route.heard.is_some() {
                self.learned -= 1;
            }
        }
        // Told the same again, which is what looking up a name mostly brings, perhaps in another
        // order, it stays where it is heard from.
        let same = route.told.len() == at.len() && at.iter().all(|at| route.told.contains(at));
        if !same {
            *route = Route {
                told: at,
                ..Route::default()
            };
        }
    }

    /// Nothing can be sent to this address: there is no route.
    pub(crate) fn unreachable(&mut self, at: SocketAddr) {
        for of in &self.listed {
            if let Some(route) = self.routes.get_mut(of)
                && route.told.len() > 1
                && route.told[route.current] == at
            {
                route.skip();
            }
        }
    }

    /// A datagram of this process came from there. `authentic`: nobody else could have sent it.
    pub(crate) fn hear(
        &mut self,
        of: Address,
        at: SocketAddr,
        (boot, sequence): (BootId, u64),
        authentic: bool,
        now: Instant,
    ) {
        let fresh = Heard {
            at,
            boot,
            sequence,
            when: now,
        };
        let followed = self.followed.get(&of).copied();
        if followed.flatten().is_some_and(|run| run != boot) {
            return;
        }
        let is_followed = followed.is_none_or(|run| run == Some(boot));
        match self.routes.get_mut(&of) {
            Some(route) => {
                if let Some(place) = route.told.iter().position(|told| *told == at) {
                    route.current = place;
                    route.answered = Some(now);
                    route.tried = None;
                }
                if !is_followed || (!route.told.is_empty() && !authentic) {
                    return;
                }
                let later = route.heard.is_none_or(|heard| {
                    !authentic
                        || (boot, sequence) > (heard.boot, heard.sequence)
                        || now.duration_since(heard.when) >= SILENCE
                });
                if later {
                    route.heard = Some(fresh);
                }
            }
            None if !is_followed => {}
            None => {
                if self.learned >= self.capacity {
                    self.forget();
                }
                self.learned += 1;
                self.routes.insert(
                    of,
                    Route {
                        heard: Some(fresh),
                        ..Route::default()
                    },
                );
            }
        }
    }

    /// Makes room: an eighth of those learned go at once, so that it need not be looked for whom
    /// to forget with each newcomer.
    fn forget(&mut self) {
        let learned = |route: &Route| route.told.is_empty().then_some(route.heard).flatten();
        let mut times: Vec<Instant> = self
            .routes
            .values()
            .filter_map(|route| learned(route).map(|heard| heard.when))
            .collect();
        let nth = times.len() / 8;
        if times.is_empty() {
            return;
        }
        let (_, last, _) = times.select_nth_unstable(nth);
        let last = *last;
        let mut going = nth + 1;
        self.routes.retain(|_, route| {
            let goes = going > 0 && learned(route).is_some_and(|heard| heard.when <= last);
            going -= usize::from(goes);
            !goes
        });
        self.learned -= nth + 1 - going;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ClientId, NodeId};

    const CLIENT: Address = Address::Client(ClientId::new(7));
    const NODE: Address = Address::Node(NodeId::new(1));

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn boot(started: u64) -> BootId {
        BootId { started, random: 5 }
    }

    #[test]
    fn latest_datagram_of_latest_run_says_where() {
        let now = Instant::now();
        let mut routes = Routes::new(10);
        assert_eq!(routes.find(CLIENT, now), None);
        routes.hear(CLIENT, at(1), (boot(1), 10), true, now);
        routes.hear(CLIENT, at(2), (boot(1), 9), true, now);
        assert_eq!(routes.find(CLIENT, now), Some(at(1)));
        routes.hear(CLIENT, at(3), (boot(1), 11), true, now);
        assert_eq!(routes.find(CLIENT, now), Some(at(3)));
        routes.hear(CLIENT, at(4), (boot(2), 1), true, now);
        routes.hear(CLIENT, at(3), (boot(1), 12), true, now);
        assert_eq!(routes.find(CLIENT, now), Some(at(4)));
    }

    #[test]
    fn forged_run_and_number_do_not_silence_anyone() {
        let now = Instant::now();
        let mut routes = Routes::new(10);
        routes.hear(CLIENT, at(1), (boot(1), 10), false, now);
        routes.hear(CLIENT, at(2), (boot(u64::MAX), u64::MAX), false, now);
        routes.hear(CLIENT, at(1), (boot(1), 11), false, now);
        assert_eq!(routes.find(CLIENT, now), Some(at(1)));
    }

    #[test]
    fn clock_set_back_is_believed_after_a_silence() {
        let now = Instant::now();
        let mut routes = Routes::new(10);
        routes.hear(CLIENT, at(1), (boot(100), 10), true, now);
        let later = now + SILENCE;
        routes.hear(CLIENT, at(2), (boot(50), 1), true, later);
        assert_eq!(routes.find(CLIENT, later), Some(at(2)));
    }

    #[test]
    fn listed_process_is_followed_only_if_it_proves_itself_and_only_while_it_speaks() {
        let now = Instant::now();
        let mut routes = Routes::new(10);
        routes.tell(NODE, vec![at(1)]);
        routes.hear(NODE, at(2), (boot(1), 1), false, now);
        assert_eq!(routes.find(NODE, now), Some(at(1)));
        routes.hear(NODE, at(2), (boot(1), 2), true, now);
        assert_eq!(routes.find(NODE, now), Some(at(2)));
        routes.tell(NODE, vec![at(1)]);
        assert_eq!(routes.find(NODE, now), Some(at(2)));
        assert_eq!(routes.find(NODE, now + HEARD_FOR), Some(at(1)));
        routes.tell(NODE, vec![at(3)]);
        assert_eq!(routes.find(NODE, now), Some(at(3)));
    }

    #[test]
    fn later_run_diverts_nothing_unless_it_is_followed() {
        let now = Instant::now();
        let mut routes = Routes::new(10);
        routes.tell(NODE, vec![at(1), at(2)]);
        routes.follow(NODE, Some(boot(1)), None, true, now);
        routes.hear(NODE, at(1), (boot(1), 1), true, now);
        for port in [2, 3] {
            routes.hear(NODE, at(port), (boot(2), 1), true, now);
            assert_eq!(routes.find(NODE, now), Some(at(1)));
        }
        assert_eq!(routes.heard_at(NODE), Some(at(1)));
        // Nor does it select one of the configured addresses.
        assert_eq!(routes.find(NODE, now + HEARD_FOR), Some(at(1)));
        routes.follow(NODE, Some(boot(2)), Some(at(3)), true, now);
        routes.hear(NODE, at(1), (boot(1), 2), true, now);
        assert_eq!(routes.find(NODE, now), Some(at(3)));
        // Without a run to follow, the addresses that were told count.
        routes.follow(NODE, None, None, true, now);
        routes.hear(NODE, at(3), (boot(2), 2), true, now);
        assert_eq!(routes.find(NODE, now), Some(at(1)));
        // A process that was not told is found by the run that is followed.
        let other = Address::Node(NodeId::new(2));
        routes.follow(other, None, None, true, now);
        routes.hear(other, at(4), (boot(1), 1), true, now);
        assert_eq!(routes.find(other, now), None);
        routes.follow(other, Some(boot(1)), Some(at(4)), true, now);
        assert_eq!(routes.find(other, now), Some(at(4)));
    }

    #[test]
    fn addresses_of_a_name_are_tried_in_turn_until_one_answers() {
        let start = Instant::now();
        let after = |nth: u32| start + TRY_NEXT * nth;
        for authentic in [false, true] {
            let mut routes = Routes::new(10);
            routes.tell(NODE, vec![at(1), at(2), at(3)]);
            assert_eq!(routes.find(NODE, start), Some(at(1)));
            assert_eq!(routes.find(NODE, start + TRY_NEXT / 2), Some(at(1)));
            assert_eq!(routes.find(NODE, after(1)), Some(at(2)));
            // Without a route it is not waited for.
            routes.unreachable(at(2));
            assert_eq!(routes.find(NODE, after(1)), Some(at(3)));
            assert_eq!(routes.find(NODE, after(2)), Some(at(1)));
            // The answer of the second was late.
            routes.hear(NODE, at(2), (boot(1), 1), authentic, after(2));
            for nth in 3..10 {
                assert_eq!(routes.find(NODE, after(nth)), Some(at(2)));
            }
            // The same name again, in another order.
            routes.tell(NODE, vec![at(3), at(2), at(1)]);
            assert_eq!(routes.find(NODE, after(10)), Some(at(2)));
            // It falls silent.
            let silent = after(2) + HEARD_FOR;
            assert_eq!(routes.find(NODE, silent), Some(at(2)));
            assert_eq!(routes.find(NODE, silent + TRY_NEXT), Some(at(3)));
        }
    }

    #[test]
    fn table_is_bounded_and_forgets_the_longest_silent() {
        let start = Instant::now();
        let mut routes = Routes::new(16);
        routes.tell(NODE, vec![at(1)]);
        let client = |nth| Address::Client(ClientId::new(nth));
        for nth in 0..1000 {
            let when = start + Duration::from_millis(nth);
            routes.hear(client(nth), at(2), (boot(1), nth), true, when);
            assert!(routes.routes.len() <= 17);
            assert_eq!(routes.learned, routes.routes.len() - 1);
        }
        assert_eq!(routes.find(NODE, start), Some(at(1)));
        assert!(routes.find(client(999), start).is_some());
        assert!(routes.find(client(983), start).is_none());
    }
}
