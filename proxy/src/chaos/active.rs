//! The set of active faults: a value without effects.

use super::api::{Action, LinkEnd, LinkFault};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The set of active faults.
#[derive(Clone, Debug, Default)]
pub(super) struct ActiveFaults {
    pub(super) links: BTreeMap<(LinkEnd, LinkEnd), Active<LinkFault>>,
    pub(super) isolated: BTreeMap<u64, Active<()>>,
    pub(super) halted: BTreeMap<u64, Active<Halted>>,
}

/// An active fault and the time at which it ends, if it has a duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active<T> {
    pub(super) fault: T,
    pub(super) until: Option<Instant>,
}

impl<T> Active<T> {
    fn has_expired(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The remaining time in whole seconds, rounded up.
    fn seconds_left(&self, now: Instant) -> Option<f64> {
        let until = self.until?;
        Some(until.saturating_duration_since(now).as_secs_f64().ceil())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Halted {
    Paused,
    Killed,
}

impl ActiveFaults {
    /// Replaces the fault of a link. A fault without any effect restores the link.
    pub(super) fn set_link(
        &mut self,
        from: LinkEnd,
        to: LinkEnd,
        fault: LinkFault,
        until: Option<Instant>,
    ) {
        if fault == LinkFault::default() {
            self.links.remove(&(from, to));
        } else {
            self.links.insert((from, to), Active { fault, until });
        }
    }

    pub(super) fn isolate(&mut self, node: u64, until: Option<Instant>) {
        self.isolated.insert(node, Active { fault: (), until });
    }

    pub(super) fn halt(&mut self, node: u64, fault: Halted, until: Option<Instant>) {
        self.halted.insert(node, Active { fault, until });
    }

    /// These faults without the faults of links, which include isolation.
    pub(super) fn halts_only(&self) -> Self {
        Self {
            halted: self.halted.clone(),
            ..Self::default()
        }
    }

    /// The earliest time at which a fault expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let links = self.links.values().filter_map(|active| active.until);
        let isolated = self.isolated.values().filter_map(|active| active.until);
        let halted = self.halted.values().filter_map(|active| active.until);
        links.chain(isolated).chain(halted).min()
    }

    /// The actions that end the expired faults.
    pub(super) fn ends_of_expired(&self, now: Instant) -> Vec<Action> {
        let links = self.links.iter();
        let links = links.filter(|(_, active)| active.has_expired(now));
        let links = links.map(|((from, to), _)| Action::restore_link(*from, *to));
        let isolated = self.isolated.iter();
        let isolated = isolated.filter(|(_, active)| active.has_expired(now));
        let isolated = isolated.map(|(node, _)| Action::Rejoin { node: *node });
        let halted = self.halted.iter();
        let halted = halted.filter(|(_, active)| active.has_expired(now));
        let halted = halted.map(|(node, active)| match active.fault {
            Halted::Paused => Action::Resume { node: *node },
            Halted::Killed => Action::Start { node: *node },
        });
        links.chain(isolated).chain(halted).collect()
    }

    /// The faults in the format of `docs/http.md`.
    pub(super) fn to_json(&self, now: Instant, are_embedded: bool) -> Value {
        let links = self.links.iter().map(|((from, to), active)| {
            json!({
                "from": from,
                "to": to,
                "faults": active.fault,
                "seconds_left": active.seconds_left(now),
            })
        });
        let isolated = self
            .isolated
            .iter()
            .map(|(id, active)| json!({ "node": id, "seconds_left": active.seconds_left(now) }));
        let halted = self.halted.iter().map(|(id, active)| {
            json!({ "node": id, "how": active.fault, "seconds_left": active.seconds_left(now) })
        });
        json!({
            "embedded": are_embedded,
            "links": links.collect::<Vec<_>>(),
            "isolated": isolated.collect::<Vec<_>>(),
            "halted": halted.collect::<Vec<_>>(),
        })
    }
}
