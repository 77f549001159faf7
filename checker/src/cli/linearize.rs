//! `linearize`: checks the histories that clients of a running cluster recorded.

use super::{
    Exit,
    format::{Size, counted_grouped, grouped, time},
    interrupt::Interrupt,
    progress_bar,
};
use crate::{
    escape::escaped,
    linearize::{
        ClientHistory, KeyVerdict, Limits, LinearizabilityReport, ReadLimits, UndecidedCause, Word,
        check,
    },
};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// Check recorded histories for linearizability: is there one order of the operations that explains
/// every response?
///
/// Exit codes: 0 linearizable, 1 not linearizable, 2 usage error or invalid line, 3 undecided.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Histories written by `raft-client bench --history FILE`; all files together form one history
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Give up on a key after this many configurations: undecided
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    max_configurations: u64,
    /// Give up on a key when its search holds this much memory, such as 512M or 4G: undecided
    #[arg(long, value_name = "SIZE", default_value_t = Size(2 << 30))]
    max_memory: Size,
    /// Stop after this many seconds: the remaining keys are undecided
    #[arg(long, value_name = "SECONDS")]
    max_time: Option<u64>,
    /// Print one JSON object per key that is not linearizable and one summary, each on a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::install()?;
    let mut history = ClientHistory::default();
    let mut files = HashMap::new();
    for path in &args.files {
        let file = open(path)?;
        // Two paths may lead to one file, whose operations would then count twice.
        let about = file
            .metadata()
            .with_context(|| format!("{} cannot be read", shown(path)))?;
        if let Some(other) = files.insert((about.dev(), about.ino()), path) {
            bail!(
                "{} is the same file as {}: give each history once",
                shown(path),
                shown(other)
            );
        }
        let read_limits = ReadLimits {
            max_bytes: args.max_memory.0,
            interrupt: interrupt.flag(),
        };
        let read = history.read(
            &path.display().to_string(),
            BufReader::new(file),
            read_limits,
        );
        if interrupt.is_asked() {
            writeln!(
                io::stdout(),
                "interrupted while reading: nothing was checked"
            )?;
            return Ok(Exit::Truncated);
        }
        read?;
    }
    if history.is_empty() {
        bail!(
            "the history has no operation to check ({} had no effect): \
             record one with `raft-client bench --history FILE`",
            history.without_effect
        );
    }
    let started = Instant::now();
    let limits = Limits {
        max_configurations: args.max_configurations,
        max_memory: args.max_memory.0,
        deadline: args
            .max_time
            .and_then(|seconds| started.checked_add(Duration::from_secs(seconds))),
        interrupt: interrupt.flag(),
    };
    let behind = AtomicUsize::new(0);
    let all = grouped(history.operations.len() as u64);
    let report = progress_bar::watch_line(
        "linearize",
        || {},
        |elapsed| {
            let behind = grouped(behind.load(Ordering::Relaxed) as u64);
            format!("{behind} of {all} operations · {}", time(elapsed))
        },
        || {
            check(&history, &limits, |count| {
                behind.store(count, Ordering::Relaxed);
            })
        },
    );
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&mut out, &history, &report)?;
    } else {
        print(&mut out, &history, &report, started.elapsed())?;
    }
    out.flush()?;
    Ok(match report.word() {
        Word::Linearizable => Exit::Passed,
        Word::Violated => Exit::Failed,
        Word::Undecided => Exit::Truncated,
    })
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path)
        .with_context(|| format!("cannot open {}: give a history to check", shown(path)))?;
    let is_directory = file.metadata().is_ok_and(|about| about.is_dir());
    ensure!(
        !is_directory,
        "{} is a directory: give a history to check",
        shown(path)
    );
    Ok(file)
}

fn shown(path: &Path) -> String {
    escaped(&path.display().to_string()).into_owned()
}

fn print(
    out: &mut impl Write,
    history: &ClientHistory,
    report: &LinearizabilityReport,
    took: Duration,
) -> anyhow::Result<()> {
    for key in &report.keys {
        match &key.verdict {
            KeyVerdict::Linearizable => {}
            KeyVerdict::Violated(explanation) => {
                writeln!(out, "key {:?}: not linearizable", key.key)?;
                write!(out, "{explanation}")?;
            }
            KeyVerdict::Undecided(cause) => writeln!(
                out,
                "key {:?}: undecided after {} of {}: {cause}",
                key.key,
                counted_grouped(key.configurations, "configuration"),
                counted_grouped(key.operations as u64, "operation")
            )?,
        }
    }
    if let Some(disorder) = &report.disorder {
        writeln!(out, "versions contradict real-time order: {disorder}")?;
    }
    if let Some(invented) = &report.invented {
        writeln!(out, "a stale read matches no prefix of the log: {invented}")?;
    }
    let figures = Figures::new(history, report);
    let word = match report.word() {
        Word::Linearizable => "linearizable",
        Word::Violated => "not linearizable",
        Word::Undecided => "undecided: no violation was found, no claim",
    };
    writeln!(out, "{word}")?;
    writeln!(
        out,
        "  operations  {} ({} of unknown outcome; {} more had no effect)",
        grouped(figures.operations as u64),
        grouped(figures.unknown as u64),
        grouped(figures.without_effect as u64)
    )?;
    if figures.stale_reads > 0 {
        writeln!(
            out,
            "  in addition {}: outside the order, each compared with the known part of the log",
            counted_grouped(figures.stale_reads as u64, "stale read")
        )?;
    }
    writeln!(
        out,
        "  keys        {} ({} not linearizable, {} undecided)",
        figures.keys, figures.violated, figures.undecided
    )?;
    writeln!(
        out,
        "  searched    {} in {}",
        counted_grouped(figures.configurations, "configuration"),
        time(took)
    )?;
    Ok(())
}

#[derive(Serialize)]
struct Figures {
    operations: usize,
    unknown: usize,
    without_effect: usize,
    /// Not part of the operations.
    stale_reads: usize,
    keys: usize,
    violated: usize,
    undecided: usize,
    configurations: u64,
}

impl Figures {
    fn new(history: &ClientHistory, report: &LinearizabilityReport) -> Self {
        let count = |wanted: fn(&KeyVerdict) -> bool| {
            let keys = report.keys.iter();
            keys.filter(|key| wanted(&key.verdict)).count()
        };
        let operations = history.operations.iter();
        Self {
            operations: history.operations.len(),
            unknown: operations.filter(|op| !op.is_definite()).count(),
            without_effect: history.without_effect,
            stale_reads: history.stale_reads.len(),
            keys: report.keys.len(),
            violated: count(|verdict| matches!(verdict, KeyVerdict::Violated(_))),
            undecided: count(|verdict| matches!(verdict, KeyVerdict::Undecided(_))),
            configurations: report.keys.iter().map(|key| key.configurations).sum(),
        }
    }
}

#[derive(Serialize)]
struct KeyJson<'a> {
    key: &'a str,
    verdict: &'static str,
    operations: usize,
    configurations: u64,
    /// Why it is undecided.
    stopped_by: Option<UndecidedCause>,
    /// The places where the contradicting operations were recorded.
    contradiction: Vec<String>,
}

#[derive(Serialize)]
struct WholeJson {
    verdict: &'static str,
    disorder: Option<String>,
    invented: Option<String>,
    #[serde(flatten)]
    figures: Figures,
}

fn print_json(
    out: &mut impl Write,
    history: &ClientHistory,
    report: &LinearizabilityReport,
) -> anyhow::Result<()> {
    for key in &report.keys {
        let (verdict, stopped_by, contradiction) = match &key.verdict {
            KeyVerdict::Linearizable => continue,
            KeyVerdict::Violated(explanation) => {
                let places = explanation.operations.iter().map(|op| op.place.to_string());
                ("violated", None, places.collect())
            }
            KeyVerdict::Undecided(cause) => ("undecided", Some(*cause), Vec::new()),
        };
        let json = KeyJson {
            key: &key.key,
            verdict,
            operations: key.operations,
            configurations: key.configurations,
            stopped_by,
            contradiction,
        };
        serde_json::to_writer(&mut *out, &json)?;
        writeln!(out)?;
    }
    let json = WholeJson {
        verdict: match report.word() {
            Word::Linearizable => "linearizable",
            Word::Violated => "violated",
            Word::Undecided => "undecided",
        },
        disorder: report.disorder.as_ref().map(ToString::to_string),
        invented: report.invented.as_ref().map(ToString::to_string),
        figures: Figures::new(history, report),
    };
    serde_json::to_writer(&mut *out, &json)?;
    writeln!(out)?;
    Ok(())
}
