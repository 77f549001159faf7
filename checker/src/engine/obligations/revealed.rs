//! Messages that reveal a pending write, unless their receiver cannot distinguish them from others.

use super::{
    ObligationChecks,
    claims::{Claim, NO_LOG},
};
use crate::explain::words;
use model::{Message, system::Obligation};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::BTreeSet, sync::Arc};

/// A message that a process sends while a merged write is pending, and the message that it sends without
/// the write. They must have equal effects on the sender of the request that caused the write, from then
/// on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revealed {
    pub(super) node: u32,
    pub(super) from: u8,
    pub(super) request: u32,
    pub(super) one: Message,
    pub(super) other: Message,
}

impl ObligationChecks<'_> {
    /// Claims that pairs of messages have equal effects on the sender of a request, once it is sent.
    pub(super) fn claim_revealed(&mut self, revealed: &BTreeSet<Revealed>) {
        let tables = self.tables;
        let delivered = tables.delivered_since(0);
        // The original request of each trimmed request.
        let mut complete: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        // By the request, the process after sending it, the receiver's process index, and the sender's.
        let mut senders: FxHashMap<u32, FxHashSet<(u32, u8, u8)>> = FxHashMap::default();
        for (process, sender, message) in delivered {
            let delivery = tables.delivery(process, sender, message);
            if delivery.trimmed != message {
                complete.entry(delivery.trimmed).or_default().push(message);
            }
            let steps = delivery.steps.iter().map(|step| (step.next, &step.sends));
            for (next, sends) in steps.chain([(process, &delivery.eager)]) {
                let own = tables.index_of(&tables.process(next)) as u8;
                for (to, channel) in sends {
                    for sent in tables.messages(*channel).iter() {
                        if tables.is_leaders_request(*sent) {
                            let known = senders.entry(*sent).or_default();
                            known.insert((next, *to as u8, own));
                        }
                    }
                }
            }
        }
        for one in revealed {
            let receiver = tables.index_of(&self.nodes[one.node as usize].process);
            let pair = [&one.one, &one.other].map(|message| tables.message_id(message.clone()));
            let mut sources = BTreeSet::new();
            let mut open = vec![one.request];
            while let Some(request) = open.pop() {
                if sources.insert(request) {
                    open.extend(complete.get(&request).into_iter().flatten());
                }
            }
            let before = self.open.len();
            for permutation in 0..self.permutations.count() {
                let back = self.permutations.inverse(permutation);
                let at = |index: usize| self.permutations.image(back, index) as u8;
                let ends = (at(receiver), at(one.from.into()));
                for source in &sources {
                    let source = tables.permuted_message(*source, back);
                    let known = senders.get(&source).into_iter().flatten();
                    for (next, to, _) in known.filter(|(_, to, own)| (*to, *own) == ends) {
                        let (first, named) = tables.first_of(*next);
                        let Some(node) = self.numbers.get(&first) else {
                            continue;
                        };
                        let inverse = self.permutations.inverse(named as usize);
                        let [one, other] = pair.map(|message| {
                            let message = tables.permuted_message(message, back);
                            tables.permuted_message(message, inverse)
                        });
                        let claim = Claim::Equal {
                            of: Obligation::MergedSyncs,
                            from: self.permutations.image(inverse, (*to).into()) as u8,
                            one,
                            other,
                            log: NO_LOG,
                        };
                        self.open.push((*node, claim));
                    }
                }
            }
            let is_sent = self.open.len() > before;
            let sent = is_sent.then_some(());
            let sent = sent.ok_or_else(|| "the search knows no sender of the request".into());
            let state = Arc::clone(&self.nodes[one.node as usize].process);
            let event = || words::message(&tables.message(one.request));
            self.note(Obligation::MergedSyncs, &state, event, sent);
        }
    }
}
