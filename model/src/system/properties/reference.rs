//! The state that committed entries must produce, computed without the store's code.

use crate::{
    Payload, SessionId,
    store::{Command, MAX_RETAINED_ANSWERS, Operation, PAIR_BYTES, REFUSALS_PER_WINDOW},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

/// The pairs of the store after the committed entries. This is an independent reference without the
/// cached responses of the sessions:
/// * Each (session, sequence) takes effect when it first occurs, unless the session has acknowledged it
///   earlier: in that case its client had given up the write and continued.
/// * Writes of a session that is not open have no effect. Such a session was never opened, was closed by
///   its client, or was evicted. A session may be evicted when another is opened, if it has been unused
///   for longer than the window.
/// * Writes of a session with too many unacknowledged responses have no effect, nor do writes that would
///   grow the pairs beyond the quota.
/// * The reference covers only the unconditional operations that the scopes use.
///
/// The first entry has index 1.
pub(in crate::system) fn reference_pairs<'a>(
    entries: impl IntoIterator<Item = &'a crate::Entry>,
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut settled: BTreeMap<_, u64> = BTreeMap::new();
    // In order of last use, each with the age of the log at that use.
    let mut open: Vec<(SessionId, u64)> = Vec::new();
    let mut age: u64 = 0;
    for (index, entry) in (1..).zip(entries) {
        age = age.saturating_add(1);
        let Payload::Command(command) = &entry.payload else {
            continue;
        };
        let (used, write) = match command {
            Command::OpenSession { capacity, window } => {
                let too_many = |open: &Vec<_>| open.len() >= (*capacity).max(1) as usize;
                while too_many(&open) && age - open[0].1 > *window {
                    open.remove(0);
                }
                if too_many(&open) {
                    age = age.saturating_add((window / REFUSALS_PER_WINDOW).max(1) - 1);
                } else {
                    open.push((SessionId::new(index), age));
                }
                continue;
            }
            Command::CloseSession { session } => {
                open.retain(|(id, _)| id != session);
                continue;
            }
            Command::RenewSession { session } => (session, None),
            Command::Write(write) => (&write.session, Some(write)),
        };
        let Some(position) = open.iter().position(|(id, _)| id == used) else {
            continue;
        };
        open.remove(position);
        open.push((*used, age));
        let Some(write) = write else {
            continue;
        };
        let settled = settled.entry(write.session).or_default();
        *settled = (*settled).max(write.acknowledged);
        let unacknowledged = seen.range((write.session, *settled)..=(write.session, u64::MAX));
        if write.sequence < *settled
            || seen.contains(&(write.session, write.sequence))
            || unacknowledged.count() >= MAX_RETAINED_ANSWERS
        {
            continue;
        }
        seen.insert((write.session, write.sequence));
        let (key, value) = match &write.operation {
            Operation::Put { key, value, .. } => (key, value.to_vec()),
            Operation::Delete { key, .. } => {
                pairs.remove(key);
                continue;
            }
            Operation::Increment { key, by } => {
                let held: i64 = pairs
                    .get(key)
                    .and_then(|value: &Vec<u8>| core::str::from_utf8(value).ok()?.parse().ok())
                    .unwrap_or(0);
                (key, format!("{}", held + by).into_bytes())
            }
        };
        let size = |pairs: &BTreeMap<Vec<u8>, Vec<u8>>| -> usize {
            let sizes = pairs
                .iter()
                .map(|(key, value)| key.len() + value.len() + PAIR_BYTES);
            sizes.sum()
        };
        let before = size(&pairs);
        let replaced = pairs.insert(key.clone(), value);
        let after = size(&pairs);
        if after > before && after as u64 > write.quota {
            match replaced {
                Some(value) => pairs.insert(key.clone(), value),
                None => pairs.remove(key),
            };
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config, Entry, NodeId, Store, Term,
        store::{Condition, Write},
    };
    use alloc::vec;
    use proptest::prelude::*;

    /// Commands over few sessions, sequences and keys, so that all rules interact.
    fn command() -> impl Strategy<Value = Command> {
        let session = || (1..12_u64).prop_map(SessionId::new);
        let key = || (0..2_u8).prop_map(|key| vec![b'a' + key]);
        let operation = prop_oneof![
            (key(), 0..12_usize).prop_map(|(key, length)| Operation::Put {
                key,
                value: vec![b'1'; length].into(),
                condition: Condition::Always,
            }),
            key().prop_map(|key| Operation::Delete {
                key,
                condition: Condition::Always,
            }),
        ];
        prop_oneof![
            2 => (1..3_u32, prop_oneof![0..4_u64, 100..300_u64])
                .prop_map(|(capacity, window)| Command::OpenSession { capacity, window }),
            1 => session().prop_map(|session| Command::CloseSession { session }),
            1 => session().prop_map(|session| Command::RenewSession { session }),
            8 => (session(), 1..5_u64, 0..5_u64, operation, 40..90_u64).prop_map(
                |(session, sequence, acknowledged, operation, quota)| {
                    Command::from(Write {
                        session,
                        sequence,
                        acknowledged,
                        operation,
                        quota,
                    })
                }
            ),
        ]
    }

    proptest! {
        /// The store and the reference produce the same pairs for any commands.
        #[test]
        fn store_agrees_with_the_reference(commands in prop::collection::vec(command(), 0..60)) {
            let (mut store, config) = (Store::default(), Config::new([NodeId::new(1)].into()));
            let mut log = Vec::new();
            for command in commands {
                let payload = Payload::Command(command);
                store.apply(&payload, &config);
                log.push(Entry { term: Term::new(1), payload });
                let pairs = store.pairs();
                let pairs = pairs.map(|(key, held)| (key.to_vec(), held.value.to_vec()));
                prop_assert_eq!(reference_pairs(&log), pairs.collect());
            }
        }
    }

    #[test]
    fn reference_refuses_a_session_that_leaves_too_much_unacknowledged() {
        let (mut store, config) = (Store::default(), Config::new([NodeId::new(1)].into()));
        let mut log = vec![Command::OpenSession {
            capacity: 1,
            window: 0,
        }];
        let more = MAX_RETAINED_ANSWERS as u64 + 2;
        for (sequence, acknowledged) in (1..=more).map(|nth| (nth, 1)).chain([(more, 3)]) {
            log.push(Command::from(Write {
                session: SessionId::new(1),
                sequence,
                acknowledged,
                operation: Operation::Increment {
                    key: b"n".to_vec(),
                    by: 1,
                },
                quota: u64::MAX,
            }));
        }
        let log: Vec<_> = log
            .into_iter()
            .map(|command| Entry {
                term: Term::new(1),
                payload: Payload::Command(command),
            })
            .collect();
        for entry in &log {
            store.apply(&entry.payload, &config);
        }
        let expected = format!("{}", MAX_RETAINED_ANSWERS + 1).into_bytes();
        assert_eq!(reference_pairs(&log)[&b"n".to_vec()], expected);
        let found = store.pairs().next().map(|(_, held)| held.value.to_vec());
        assert_eq!(found, Some(expected));
    }
}
