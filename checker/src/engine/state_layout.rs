//! The layout of a system state: a slot for each process, for each channel between a pair that
//! communicates, and for the shared part.

use model::{
    Address,
    system::{System, process_address},
};
use std::ops::Range;

/// The slots of a state: the processes, then the channels by receiver, then the shared part.
#[derive(Clone, Debug)]
pub(crate) struct StateLayout {
    pub(crate) addresses: Vec<Address>,
    /// The number of servers; they come first.
    pub(crate) servers: usize,
    /// The sender and the receiver of each channel, in slot order.
    pub(crate) ends: Vec<(usize, usize)>,
    /// `between[from][to]`: the slot of their channel.
    between: Vec<Vec<Option<usize>>>,
    /// The slots of the channels to each process.
    into: Vec<Range<usize>>,
}

impl StateLayout {
    pub(crate) fn new(system: &System) -> Self {
        let addresses: Vec<Address> = system
            .processes
            .iter()
            .map(model::system::Process::address)
            .collect();
        let servers = addresses
            .iter()
            .filter(|address| matches!(address, Address::Node(_)))
            .count();
        let mut ends = Vec::new();
        let mut between = vec![vec![None; addresses.len()]; addresses.len()];
        let mut into = Vec::new();
        for to in 0..addresses.len() {
            let first = addresses.len() + ends.len();
            for from in 0..addresses.len() {
                if communicate(addresses[from], addresses[to]) {
                    between[from][to] = Some(addresses.len() + ends.len());
                    ends.push((from, to));
                }
            }
            into.push(first..addresses.len() + ends.len());
        }
        Self {
            addresses,
            servers,
            ends,
            between,
            into,
        }
    }

    /// The number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.addresses.len() + self.ends.len() + 1
    }

    /// The slots of the processes.
    pub(crate) fn processes(&self) -> Range<usize> {
        0..self.addresses.len()
    }

    /// The slots of the servers.
    pub(crate) fn servers_range(&self) -> Range<usize> {
        0..self.servers
    }

    /// The slots of all channels.
    pub(crate) fn channels(&self) -> Range<usize> {
        self.addresses.len()..self.shared()
    }

    /// The slot of the shared part: the last.
    pub(crate) fn shared(&self) -> usize {
        self.slots() - 1
    }

    /// The index of the process with this address, in any of its runs.
    pub(crate) fn index_of(&self, address: Address) -> Option<usize> {
        let process = process_address(address);
        self.addresses.iter().position(|known| *known == process)
    }

    /// The slot of the channel between two processes.
    ///
    /// # Panics
    /// If the two never communicate: there is no slot for such a message.
    pub(crate) fn channel(&self, from: usize, to: usize) -> usize {
        self.between[from][to].unwrap_or_else(|| {
            panic!(
                "{:?} sent to {:?}",
                self.addresses[from], self.addresses[to]
            );
        })
    }

    /// The sender and the receiver of the channel in a slot.
    pub(crate) fn ends(&self, slot: usize) -> (usize, usize) {
        self.ends[slot - self.addresses.len()]
    }

    /// The slots of all channels to a process.
    pub(crate) fn channels_to(&self, to: usize) -> Range<usize> {
        self.into[to].clone()
    }

    /// A state padded to the number of slots that the search is compiled for.
    pub(crate) fn padded<const S: usize>(&self, key: &[u32]) -> [u32; S] {
        let mut state = [0; S];
        state[..self.slots()].copy_from_slice(key);
        state
    }
}

fn communicate(from: Address, to: Address) -> bool {
    use Address::{Client, Node, Proxy};
    match (from, to) {
        (Node(from), Node(to)) => from != to,
        (Node(_), Proxy(_)) | (Proxy(_), Node(_) | Client(_)) | (Client(_), Proxy(_)) => true,
        _ => false,
    }
}

/// The numbers of slots that the search is compiled for. A layout uses the next larger one.
macro_rules! with_slots {
    ($slots:expr, $size:ident => $body:expr) => {
        match $slots {
            0..=10 => {
                const $size: usize = 10;
                $body
            }
            11..=17 => {
                const $size: usize = 17;
                $body
            }
            18..=26 => {
                const $size: usize = 26;
                $body
            }
            slots => {
                assert!(
                    slots <= $crate::engine::state_layout::MAX_SLOTS,
                    "{slots} slots"
                );
                const $size: usize = $crate::engine::state_layout::MAX_SLOTS;
                $body
            }
        }
    };
}
pub(crate) use with_slots;

/// The maximum number of slots: five servers, a proxy and four clients.
pub(crate) const MAX_SLOTS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_guard;
    use model::system::Scope;

    #[test]
    fn every_communicating_pair_has_a_slot() {
        let scopes = Scope::catalog();
        let scope = scopes.iter().find(|scope| scope.name == "end-to-end-reads");
        let layout = StateLayout::new(
            &step_guard::transitions(scope.expect("a scope of the catalog").clone()).initial(),
        );
        assert_eq!(layout.addresses.len(), 6);
        // Three servers among themselves, the proxy with each, and with two clients.
        assert_eq!(layout.ends.len(), 6 + 6 + 4);
        for slot in 6..layout.shared() {
            let (from, to) = layout.ends(slot);
            assert_eq!(layout.channel(from, to), slot);
        }
    }
}
