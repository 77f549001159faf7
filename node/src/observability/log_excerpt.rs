//! An excerpt of the end of the log for display: the last entries, with long keys and values
//! truncated, so that the cost of a status query does not depend on the size of the entries.

use model::{
    Log, LogIndex, Payload,
    store::{Command, Operation, Value, Write},
};
use status::LogExcerptEntry;

/// The maximum number of entries in an excerpt.
pub const TAIL: usize = 24;
/// The maximum length of a key and of a value in an excerpt, in bytes.
const KEY: usize = 64;
const VALUE: usize = 32;

/// Removes key and value, and the amount of an increment. `cut` still contains their length.
pub(crate) fn redact(entry: &mut LogExcerptEntry) {
    let Payload::Command(Command::Write(write)) = &entry.payload else {
        return;
    };
    let key = Vec::new();
    let (operation, length) = match &write.operation {
        Operation::Put {
            key: whole,
            value,
            condition,
        } => (
            Operation::Put {
                key,
                value: Value::default(),
                condition: *condition,
            },
            whole.len() + value.len(),
        ),
        Operation::Delete {
            key: whole,
            condition,
        } => (
            Operation::Delete {
                key,
                condition: *condition,
            },
            whole.len(),
        ),
        Operation::Increment { key: whole, .. } => {
            (Operation::Increment { key, by: 0 }, whole.len())
        }
    };
    entry.cut.get_or_insert(length);
    entry.payload = Payload::Command(Command::from(Write {
        session: write.session,
        sequence: write.sequence,
        acknowledged: write.acknowledged,
        quota: write.quota,
        operation,
    }));
}

/// The last entries, at most `most`, and the index of the first of them.
pub(crate) fn excerpt(log: &Log, most: usize) -> (LogIndex, Vec<LogExcerptEntry>) {
    let most = most.min(TAIL);
    let start = (log.last_index().get() + 1).saturating_sub(most as u64);
    let start = LogIndex::new(start).max(log.base().index.next());
    let entries = log.slice(start, most).iter().map(|entry| {
        let (payload, cut) = cut(&entry.payload);
        LogExcerptEntry {
            term: entry.term,
            payload,
            cut,
        }
    });
    (start, entries.collect())
}

fn cut(payload: &Payload) -> (Payload, Option<usize>) {
    let Payload::Command(Command::Write(write)) = payload else {
        return (payload.clone(), None);
    };
    let short = |bytes: &[u8], most: usize| bytes[..bytes.len().min(most)].to_vec();
    let (operation, whole, long) = match &write.operation {
        Operation::Put {
            key,
            value,
            condition,
        } => (
            Operation::Put {
                key: short(key, KEY),
                value: short(value, VALUE).into(),
                condition: *condition,
            },
            key.len() + value.len(),
            key.len() > KEY || value.len() > VALUE,
        ),
        Operation::Delete { key, condition } => (
            Operation::Delete {
                key: short(key, KEY),
                condition: *condition,
            },
            key.len(),
            key.len() > KEY,
        ),
        Operation::Increment { key, by } => (
            Operation::Increment {
                key: short(key, KEY),
                by: *by,
            },
            key.len(),
            key.len() > KEY,
        ),
    };
    let payload = Payload::Command(Command::from(Write {
        quota: u64::MAX,
        session: write.session,
        sequence: write.sequence,
        acknowledged: write.acknowledged,
        operation,
    }));
    (payload, long.then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Entry, SessionId, Term, store::Condition};

    fn put(key: usize, value: usize) -> Entry {
        Entry {
            term: Term::new(1),
            payload: Payload::Command(Command::from(Write {
                quota: u64::MAX,
                session: SessionId::new(1),
                sequence: 1,
                acknowledged: 0,
                operation: Operation::Put {
                    key: vec![b'k'; key],
                    value: vec![b'v'; value].into(),
                    condition: Condition::Always,
                },
            })),
        }
    }

    #[test]
    fn only_the_end_is_shown_and_nothing_of_it_is_large() {
        let mut log = Log::default();
        assert_eq!(excerpt(&log, TAIL), (LogIndex::new(1), Vec::new()));
        log.append([put(4, 4)]);
        let (start, entries) = excerpt(&log, TAIL);
        assert_eq!((start.get(), entries.len()), (1, 1));
        assert_eq!(entries[0].payload, put(4, 4).payload);
        assert_eq!(entries[0].cut, None);
        for _ in 0..40 {
            log.append([put(4, 60_000)]);
        }
        let (start, entries) = excerpt(&log, usize::MAX);
        assert_eq!((start.get(), entries.len()), (18, TAIL));
        assert_eq!(entries[23].payload, put(4, VALUE).payload);
        assert_eq!(entries[23].cut, Some(60_004));
        assert_eq!(excerpt(&log, 0), (LogIndex::new(42), Vec::new()));
    }
}
