//! A trace of every step, as JSON lines, for `raft-checker replay`.
//!
//! The trace of a run begins with a header line, which contains the server's initial state. Each
//! step adds one line. The driver writes the line, with one `write` call, before it executes any
//! effect of the step: for every message or log write of a killed server, the trace contains its
//! cause. Lines are not synced, because they need to survive the process, not the machine.
//!
//! Each line ends in a digest of itself and of all earlier lines in the file, including those of
//! earlier runs: `docs/replay.md` defines it.

use model::{Config, Durable, Effects, Event, NodeId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The text before and after the digest of a line, and the number of its hexadecimal digits.
const BEFORE: &[u8] = b",\"digest\":\"";
const AFTER: &[u8] = b"\"}";
const DIGITS: usize = 16;
/// The block size of the search for the last digest, in bytes.
const TAIL: u64 = 1 << 16;
/// The maximum capacity of the line buffer that is kept between lines, in bytes.
const SPARE: usize = 1 << 20;

/// The writer of a trace.
pub(crate) struct TraceWriter {
    file: File,
    step: u64,
    /// The buffer for a line.
    line: Vec<u8>,
    /// The digest of the previous line; empty before the first.
    digest: Vec<u8>,
}

#[derive(Serialize)]
struct Header<'a> {
    trace: &'static str,
    version: u32,
    node: NodeId,
    boot: String,
    config: &'a Config,
    durable: &'a Durable,
}

#[derive(Serialize)]
struct StepLine<'a> {
    step: u64,
    event: &'a Event,
    effects: &'a Effects,
}

impl TraceWriter {
    /// Starts the trace of a run at the end of this file.
    ///
    /// # Errors
    /// If the file cannot be opened or written.
    pub(crate) fn begin(
        path: &Path,
        node: NodeId,
        boot: u64,
        config: &Config,
        durable: &Durable,
    ) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let mut line = Vec::new();
        let digest = last_digest(&mut file)?;
        if ends_within_a_line(&mut file)? {
            // The previous run was killed during a write. The header needs a line of its own.
            line.push(b'\n');
        }
        let header = Header {
            trace: "stateraft-node",
            version: 4,
            node,
            boot: format!("{boot:016x}"),
            config,
            durable,
        };
        let mut trace = Self {
            file,
            step: 0,
            line,
            digest,
        };
        trace.write(&header)?;
        Ok(trace)
    }

    /// Appends a step. The caller must not execute its effects before this returns.
    ///
    /// # Errors
    /// If the line cannot be written. The trace must not be continued then.
    pub(crate) fn add(&mut self, event: &Event, effects: &Effects) -> io::Result<()> {
        self.step += 1;
        self.write(&StepLine {
            step: self.step,
            event,
            effects,
        })
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let start = self.line.len();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.pop();
        let hash = Sha256::new()
            .chain_update(&self.digest)
            .chain_update(&self.line[start..])
            .finalize();
        self.digest.clear();
        for byte in &hash[..DIGITS / 2] {
            write!(self.digest, "{byte:02x}")?;
        }
        self.line.extend_from_slice(BEFORE);
        self.line.extend_from_slice(&self.digest);
        self.line.extend_from_slice(AFTER);
        self.line.push(b'\n');
        self.file.write_all(&self.line)?;
        self.line.clear();
        self.line.shrink_to(SPARE);
        Ok(())
    }
}

/// The digest of the last complete line, at which the chain continues. A truncated line has none.
fn last_digest(file: &mut File) -> io::Result<Vec<u8>> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL);
        let mut piece = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece)?;
        piece.append(&mut tail);
        tail = piece;
        end = start;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        if let Some(digest) = lines.find_map(digest_of) {
            return Ok(digest.to_owned());
        }
    }
    Ok(Vec::new())
}

/// The digest at the end of a line, if the line is complete.
fn digest_of(line: &[u8]) -> Option<&[u8]> {
    let (rest, digest) = line
        .strip_suffix(AFTER)?
        .split_last_chunk::<DIGITS>()
        .map(|(rest, digest)| (rest, &digest[..]))?;
    rest.ends_with(BEFORE).then_some(digest)
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Raft;
    use serde_json::Value;
    use std::fs;

    fn begin(path: &Path) -> TraceWriter {
        let id = NodeId::new(1);
        let config = Config::production([id].into());
        TraceWriter::begin(path, id, 7, &config, &Durable::default()).unwrap()
    }

    fn lines(path: &Path) -> Vec<Option<Value>> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines();
        lines.map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn line_is_in_the_file_once_the_step_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.jsonl");
        let mut trace = begin(&path);
        assert_eq!(lines(&path).len(), 1);
        let config = Config::production([NodeId::new(1)].into());
        let mut raft = Raft::recover(NodeId::new(1), config, Durable::default());
        for step in 1..=3 {
            let event = Event::HeartbeatTimeout;
            trace.add(&event, &raft.step(event.clone())).unwrap();
            let lines = lines(&path);
            assert_eq!(lines.len(), 1 + step);
            assert_eq!(lines[step].as_ref().unwrap()["step"], step);
        }
    }

    /// Asserts that every digest of the file is correct. Returns the number of complete lines.
    fn check_digests(path: &Path) -> usize {
        let (text, mut previous) = (fs::read_to_string(path).unwrap(), String::new());
        let mut right = 0;
        for line in text.lines() {
            let Some((body, end)) = line.rsplit_once(",\"digest\":\"") else {
                continue;
            };
            let hash = Sha256::digest(previous + body);
            previous = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(end, format!("{previous}\"}}"), "line {}", right + 1);
            right += 1;
        }
        right
    }

    #[test]
    fn digests_go_on_from_run_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.jsonl");
        for run in 1..=3 {
            let mut trace = begin(&path);
            for _ in 0..4 {
                trace
                    .add(&Event::HeartbeatTimeout, &Effects::default())
                    .unwrap();
            }
            assert_eq!(check_digests(&path), 5 * run);
        }
        // Truncated within a line, truncated just before its end, and with much junk behind the
        // last digest.
        let whole = fs::read(&path).unwrap();
        for (cut, lines) in [(30, 15), (1, 16)] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            drop(begin(&path));
            assert_eq!(check_digests(&path), lines);
        }
        let junk = vec![b'x'; 3 * TAIL as usize];
        fs::write(&path, [&whole[..], &junk].concat()).unwrap();
        drop(begin(&path));
        assert_eq!(check_digests(&path), 16);
    }

    #[test]
    fn run_after_a_line_cut_short_begins_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.jsonl");
        drop(begin(&path));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], br#"{"step":1,"ev"#].concat()).unwrap();
        drop(begin(&path));
        let readable: Vec<bool> = lines(&path).iter().map(Option::is_some).collect();
        assert_eq!(readable, [true, false, true]);
        drop(begin(&path));
        assert_eq!(lines(&path).len(), 4, "no line is empty");
    }
}
