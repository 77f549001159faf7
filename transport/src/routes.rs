//! Where processes are: as told, and as last heard from.
//!
//! Whoever is not listed is answered where its latest datagram came from. A listed process may move
//! as well (a container that starts anew gets another address): while it is heard from elsewhere, it
//! is answered there; when it falls silent, the address that was told counts again, so that two
//! that both moved find one another.
//!
//! Only what the latest datagram of the latest run says counts, so a datagram recorded and sent
//! again from elsewhere redirects nothing. A run is later if it started later by its own clock;
//! since clocks may be set back, whoever has been silent for long enough may begin anew.

use model::{Address, wire::BootId};
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use tokio::time::Instant;

/// For how long a listed process is answered where it was heard from, and not where it was told to
/// be.
const HEARD_FOR: Duration = Duration::from_secs(5);
/// After how long a silence an earlier run may take over.
const SILENCE: Duration = Duration::from_secs(30);

/// Where processes are.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: HashMap<Address, Route>,
    capacity: usize,
    learned: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Route {
    told: Option<SocketAddr>,
    heard: Option<Heard>,
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
        }
    }

    /// Where to send what is for this process.
    pub(crate) fn find(&self, to: Address, now: Instant) -> Option<SocketAddr> {
        let route = self.routes.get(&to)?;
        match (route.told, route.heard) {
            (Some(told), Some(heard)) if now.duration_since(heard.when) >= HEARD_FOR => Some(told),
            (told, heard) => heard.map(|heard| heard.at).or(told),
        }
    }

    /// Someone who knows says where this process is.
    pub(crate) fn tell(&mut self, of: Address, at: SocketAddr) {
        let route = self.routes.entry(of).or_default();
        if route.told.is_none() && route.heard.is_some() {
            self.learned -= 1;
        }
        // Told the same again, which is what looking up a name mostly brings, it stays where it is
        // heard from.
        if route.told.replace(at) != Some(at) {
            route.heard = None;
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
        match self.routes.get_mut(&of) {
            Some(route) => {
                if route.told.is_some() && !authentic {
                    return;
                }
                let later = route.heard.is_none_or(|heard| {
                    (boot, sequence) > (heard.boot, heard.sequence)
                        || now.duration_since(heard.when) >= SILENCE
                });
                if later {
                    route.heard = Some(fresh);
                }
            }
            None => {
                if self.learned >= self.capacity {
                    self.forget();
                }
                self.learned += 1;
                self.routes.insert(
                    of,
                    Route {
                        told: None,
                        heard: Some(fresh),
                    },
                );
            }
        }
    }

    /// Makes room: an eighth of those learned go at once, so that it need not be looked for whom
    /// to forget with each newcomer.
    fn forget(&mut self) {
        let learned = |route: &Route| route.told.is_none().then_some(route.heard).flatten();
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
        routes.tell(NODE, at(1));
        routes.hear(NODE, at(2), (boot(1), 1), false, now);
        assert_eq!(routes.find(NODE, now), Some(at(1)));
        routes.hear(NODE, at(2), (boot(1), 2), true, now);
        assert_eq!(routes.find(NODE, now), Some(at(2)));
        routes.tell(NODE, at(1));
        assert_eq!(routes.find(NODE, now), Some(at(2)));
        assert_eq!(routes.find(NODE, now + HEARD_FOR), Some(at(1)));
        routes.tell(NODE, at(3));
        assert_eq!(routes.find(NODE, now), Some(at(3)));
    }

    #[test]
    fn table_is_bounded_and_forgets_the_longest_silent() {
        let start = Instant::now();
        let mut routes = Routes::new(16);
        routes.tell(NODE, at(1));
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
