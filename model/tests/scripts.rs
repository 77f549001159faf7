//! Scenario scripts: each file in `tests/scripts` is a scenario, and its output describes the behavior
//! of every server. `UPDATE_GOLDENFILES=1 cargo test -p stateraft-model --test scripts` regenerates
//! the output; review it before a commit.
//!
//! A message delivery, a timer and a sync are unindented lines; the server's reaction is indented. An
//! entry is `index@term content`; `w1` is the first write since the server started.

mod cluster;

use cluster::{Cluster, add, put};
use goldenscript::{Context, Runner};
use model::{Config, Durable, Entry, Payload, SessionId, Term, message::RequestBody, store};
use std::{collections::BTreeSet, error::Error, str::FromStr};

macro_rules! stories {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            let path = format!("tests/scripts/{}", stringify!($name));
            goldenscript::run(&mut Story::default(), path).expect("the script runs");
        })+

        const STORIES: &[&str] = &[$(stringify!($name)),+];
    };
}

stories! {
    commit_older_term_figure_8
    crash_follower_loses_unsynced_write
    crash_leader_loses_unsynced_entry
    crash_vote_survives_restart
    deposed_leader_interrupts_clients
    election_split_vote_then_retry
    election_stale_log_refused
    election_three_servers
    explored_crash_and_reordering
    explored_older_term
    explored_split_writes
    read_index_waits_for_noop
    replication_basic
    replication_conflict_backtracks_by_term
    replication_duplicate_and_reordered_messages
    session_retry_applied_once
}

/// A script that no test runs would become outdated unnoticed.
#[test]
fn every_script_is_run() {
    let files = std::fs::read_dir("tests/scripts").expect("the scripts are there");
    let name = |file: std::fs::DirEntry| file.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = files.map(|file| name(file.expect("a file"))).collect();
    names.sort();
    assert_eq!(names, STORIES);
}

/// The commands of a script. Servers are `n1`, `n2`, ...
#[derive(goldenscript::Command)]
enum Command {
    /// Starts a cluster. Each append carries at most `batch` entries, and at most `window` entries are
    /// in flight to a follower.
    Cluster {
        size: usize,
        #[arg(key)]
        batch: Option<usize>,
        #[arg(key)]
        window: Option<usize>,
    },
    /// Starts a cluster with these logs, given by their terms: `logs 1-1-2 1-3`. `1o` opens a session.
    Logs {
        logs: Vec<Log>,
        #[arg(key)]
        batch: Option<usize>,
        #[arg(key)]
        window: Option<usize>,
    },
    /// The first server wins an election in which only the listed voters take part.
    Elect(Server, Vec<Server>),
    /// The election timer expires.
    Timeout(Server),
    /// The heartbeat timer expires.
    Heartbeat(Server),
    /// Writes become durable: all, or the oldest `writes`.
    Sync {
        server: Server,
        #[arg(key)]
        writes: Option<usize>,
    },
    /// The messages in flight on a channel arrive in order, or only the `nth` of them.
    Deliver {
        from: Server,
        to: Server,
        #[arg(key)]
        nth: Option<usize>,
    },
    /// Like `Deliver`, but a copy stays in flight.
    Repeat {
        from: Server,
        to: Server,
        #[arg(key)]
        nth: Option<usize>,
    },
    /// The messages in flight on a channel are lost.
    Lose {
        from: Server,
        to: Server,
    },
    /// All messages in flight are lost.
    LoseAll,
    /// Syncs and delivers everything until nothing is pending.
    Settle,
    /// Isolates servers.
    Isolate(Vec<Server>),
    /// Ends all isolation.
    Heal,
    Crash(Server),
    Restart(Server),
    /// A client opens a session.
    Open(Server),
    /// A client sets a key: `put n1 s2/1 a 5`, in session s2, with sequence number 1.
    Put(Server, Write, String, String),
    /// A client adds to a key: `add n1 s2/1 a 5`.
    Add(Server, Write, String, i64),
    /// A client reads a key.
    Read(Server, String),
    /// Prints each server on one line.
    Status,
    /// Prints each message in flight on one line.
    Flight,
}

struct Story {
    cluster: Cluster,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            cluster: Cluster::new(0),
        }
    }
}

impl Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let cluster = &mut self.cluster;
        match command {
            Command::Cluster {
                size,
                batch,
                window,
            } => {
                *cluster = Cluster::recover(vec![Durable::default(); *size], |config| {
                    limit(config, *batch, *window);
                });
            }
            Command::Elect(id, voters) => {
                cluster.elect_by(id.0, &voters.iter().map(|id| id.0).collect::<Vec<_>>());
            }
            Command::Logs {
                logs,
                batch,
                window,
            } => {
                let last = |log: &Log| log.0.last().map(|entry| entry.term);
                let term = logs.iter().filter_map(last).max();
                let disks = logs.iter().map(|log| {
                    let mut disk = cluster::disk(term.map_or(0, Term::get), &[]);
                    disk.log.clone_from(&log.0);
                    disk
                });
                *cluster = Cluster::recover(disks.collect(), |config| {
                    limit(config, *batch, *window);
                });
            }
            Command::Timeout(id) => cluster.timeout(id.0),
            Command::Heartbeat(id) => cluster.heartbeat(id.0),
            Command::Sync { server, writes } => {
                cluster.sync_first(server.0, writes.unwrap_or(usize::MAX));
            }
            Command::Deliver { from, to, nth } => {
                let mut taken = cluster.take(from.0, to.0);
                if let Some(nth) = nth {
                    let chosen = taken.remove(nth.checked_sub(1).ok_or("counted from 1")?);
                    cluster.network.append(&mut taken);
                    taken.push(chosen);
                }
                if taken.is_empty() {
                    return Err("nothing is in flight there".into());
                }
                taken.into_iter().for_each(|one| cluster.arrive(one));
            }
            Command::Repeat { from, to, nth } => {
                let mut copies = cluster.take(from.0, to.0);
                cluster.network.extend(copies.iter().cloned());
                if let Some(nth) = nth {
                    let chosen = copies.remove(nth.checked_sub(1).ok_or("counted from 1")?);
                    copies = vec![chosen];
                }
                copies.into_iter().for_each(|one| cluster.arrive(one));
            }
            Command::Lose { from, to } => drop(cluster.take(from.0, to.0)),
            Command::LoseAll => cluster.network.clear(),
            Command::Settle => cluster.settle(),
            Command::Isolate(ids) => {
                cluster.isolate(&ids.iter().map(|id| id.0).collect::<Vec<_>>());
            }
            Command::Heal => cluster.heal(),
            Command::Crash(id) => cluster.crash(id.0),
            Command::Restart(id) => cluster.restart(id.0),
            Command::Open(id) => {
                cluster.request(id.0, RequestBody::OpenSession);
            }
            Command::Put(id, write, key, value) => {
                cluster.write(id.0, write.place(), put(key, value));
            }
            Command::Add(id, write, key, by) => {
                cluster.write(id.0, write.place(), add(key, *by));
            }
            Command::Read(id, key) => {
                cluster.read(id.0, key);
            }
            Command::Status => return Ok(cluster.status().join("\n")),
            Command::Flight => return Ok(cluster.in_flight().join("\n")),
        }
        Ok(cluster.take_trace().join("\n"))
    }
}

/// `n1`
struct Server(u64);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('n').and_then(|n| n.parse().ok());
        number.map(Self).ok_or(format!("{text} is no server"))
    }
}

/// `s2/1`: session and sequence number.
struct Write {
    session: SessionId,
    sequence: u64,
}

impl Write {
    /// The client acknowledges no response.
    fn place(&self) -> (SessionId, u64, u64) {
        (self.session, self.sequence, 1)
    }
}

impl FromStr for Write {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.strip_prefix('s').and_then(|rest| rest.split_once('/'));
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
        let (session, sequence) = parts.ok_or(format!("{text} is no place in a session"))?;
        Ok(Self {
            session: SessionId::new(number(session)?),
            sequence: number(sequence)?,
        })
    }
}

/// `1-1-2`, or `none`: a log as the terms of its entries. The entries are no-ops; `1o` opens a
/// session.
struct Log(Vec<Entry>);

impl FromStr for Log {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let entry = |text: &str| {
            let (term, opens) = match text.strip_suffix('o') {
                Some(term) => (term, true),
                None => (text, false),
            };
            let term = term.parse().map_err(|_| format!("{term} is no term"))?;
            let mut entry = cluster::entries(&[term]).remove(0);
            if opens {
                let config = Config::production(BTreeSet::new());
                let (capacity, window) = (config.max_sessions, config.session_window);
                entry.payload = Payload::Command(store::Command::OpenSession { capacity, window });
            }
            Ok(entry)
        };
        text.split('-')
            .map(entry)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Limits the size of an append, and the entries in flight.
fn limit(config: &mut Config, batch: Option<usize>, window: Option<usize>) {
    config.max_entries_per_append = batch.unwrap_or(64);
    config.max_entries_in_flight = window.unwrap_or(config.max_entries_in_flight);
}
