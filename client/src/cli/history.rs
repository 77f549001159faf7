//! The file of a history (`history`), written by `bench --history` for `raft-checker linearize`.

use history::{Op, OpResult, Record};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// A file to which completed operations are appended.
pub(crate) struct HistoryFile {
    file: Mutex<BufWriter<File>>,
    processes: AtomicU64,
    started: Instant,
    started_ns: u64,
}

impl HistoryFile {
    /// Creates the file, or empties it. `now` is the time of the calendar.
    pub(crate) fn create(path: &Path, now: SystemTime) -> io::Result<Self> {
        let since = now.duration_since(UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos());
        Ok(Self {
            file: Mutex::new(BufWriter::new(File::create(path)?)),
            processes: AtomicU64::new(0),
            started: Instant::now(),
            started_ns: u64::try_from(nanos).unwrap_or(0),
        })
    }

    /// Returns a new process number.
    pub(crate) fn new_process(&self) -> u64 {
        self.processes.fetch_add(1, Relaxed)
    }

    /// Records an operation that has just ended; without a result its outcome is unknown. Returns the
    /// process number for the next operation.
    pub(crate) fn record(
        &self,
        process: u64,
        op: Op,
        invoke: Instant,
        result: Option<OpResult>,
    ) -> io::Result<u64> {
        let record = Record {
            process,
            op,
            invoke: self.nanos(invoke),
            returned: result.as_ref().map(|_| self.nanos(Instant::now())),
            result,
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut *file, &record)?;
        file.write_all(b"\n")?;
        Ok(match record.result {
            Some(_) => process,
            None => self.new_process(),
        })
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started).as_nanos();
        self.started_ns
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::True;

    #[test]
    fn process_ends_with_an_operation_whose_outcome_is_unknown() {
        let name = format!("raft-client-processes-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let history = HistoryFile::create(&path, UNIX_EPOCH).unwrap();
        let (first, other) = (history.new_process(), history.new_process());
        let op = Op::Get {
            key: "k".to_owned(),
        };
        let now = Instant::now();
        let answer = OpResult::Absent(True);
        let same = history
            .record(first, op.clone(), now, Some(answer))
            .unwrap();
        let next = history.record(first, op, now, None).unwrap();
        history.flush().unwrap();
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(same, first);
        assert!(next != first && next != other);
        assert_eq!(lines.lines().count(), 2);
    }
}
