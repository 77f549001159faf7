//! `replay`: checks the traces that the servers of a running cluster recorded.

use super::{
    Exit, explore,
    format::{counted_grouped, grouped, time},
    interrupt::Interrupt,
    progress_bar, verdict,
};
use crate::{
    engine::{self, Limits, SearchOutcome},
    escape::escaped,
    explore::{Explore, Home, Input},
    machine,
    replay::{Conditions, Coverage, Rejection, ReplayReport, ReplayStop, Source, replay},
    step_guard,
    trace::{self, Read as Line, TraceKind},
};
use anyhow::{Context, bail};
use model::{mutant::Mutant, system::Property};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The maximum number of states for the search of the world of the run's beginning.
const MAX_STATES: u64 = 20_000_000;
/// The maximum number of bytes cached for an input that can be read only once.
const MAX_KEPT: u64 = 1 << 30;

/// Check traces that the servers of a running cluster recorded: execute every step again with the same
/// core, order the steps of all servers by causality, and check the properties over all servers. A trace
/// of a scope, written by `check`, `simulate` or the page, is executed again in the model.
///
/// Exit codes: 0 accepted; 1 rejected, or the trace of a scope violates a property; 2 usage error or
/// unreadable line; 3 interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Traces written by `raft-node --trace FILE`, one per server of the cluster; or one trace of a
    /// scope
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Accept first runs that start from a used disk: earlier promises and commits are then not checked
    #[arg(long)]
    used_disks: bool,
    /// Do not search the world that contains the beginning of the run
    #[arg(long)]
    no_search: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show the traces in a browser instead, step by step; also for a trace of a scope
    #[arg(long, conflicts_with = "json")]
    serve: bool,
    /// Address for --serve to listen on; port 0 selects a free port
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:3000",
        requires = "serve"
    )]
    address: String,
    /// Host name under which browsers may access this server, in addition to localhost and IP addresses.
    /// Repeatable
    #[arg(long, value_name = "NAME", value_parser = web::site::parse_name, requires = "serve")]
    http_allow_host: Vec<String>,
}

/// Serves the page with these traces until Ctrl-C. The page shows whether they are rejected.
fn serve(args: &Args) -> anyhow::Result<Exit> {
    let listener = explore::listen(&args.address)?;
    let address = listener.local_addr()?;
    let mut files = Vec::new();
    for path in &args.files {
        files.push(input(path)?);
    }
    let limits = explore::limits(None, explore::MAX_MEMORY);
    let explorer = Explore::new(Home::Replay, args.http_allow_host.clone(), limits)
        .with_traces(files, args.used_disks)?;
    let greeting = format!("Replaying at http://{address}/#/replay");
    explore::serve(explorer, listener, &greeting)
}

/// A trace that is read again for each requested part. An input that can be read only once (the output
/// of another program) is cached.
fn input(path: &Path) -> anyhow::Result<Input> {
    let name = path.display().to_string();
    let mut file = open(path)?;
    let kind = file.metadata();
    if !kind.is_ok_and(|kind| kind.is_file()) {
        let most = machine::available_bytes().unwrap_or(MAX_KEPT).min(MAX_KEPT);
        let mut bytes = Vec::new();
        (&mut file)
            .take(most + 1)
            .read_to_end(&mut bytes)
            .with_context(|| format!("{name} cannot be read"))?;
        if bytes.len() as u64 > most {
            bail!(
                "{name} is not a regular file and has more than {most} bytes: save the \
                 trace in a file first"
            );
        }
        return Ok(Input::from_bytes(name, bytes.into()));
    }
    let path = path.to_owned();
    let open = move || -> io::Result<Box<dyn BufRead + Send>> {
        Ok(Box::new(BufReader::new(File::open(&path)?)))
    };
    Ok(Input {
        name,
        open: Box::new(open),
    })
}

fn open(path: &Path) -> anyhow::Result<File> {
    let name = path.display().to_string();
    let file = File::open(path)
        .with_context(|| format!("cannot open {}: give a trace to replay", escaped(&name)))?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        bail!("{} is a directory: give a trace to replay", escaped(&name));
    }
    Ok(file)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.serve {
        return serve(args);
    }
    let interrupt = Interrupt::install()?;
    step_guard::configure(step_guard::Settings {
        json: args.json,
        max_memory: None,
    });
    let mut inputs = Vec::new();
    for path in &args.files {
        let mut input = BufReader::with_capacity(1 << 20, open(path)?);
        let name = path.display().to_string();
        let start = input
            .fill_buf()
            .with_context(|| format!("{} cannot be read", escaped(&name)))?;
        // A file of neither kind gets an error with its line when it is read.
        let is_scope = TraceKind::from_start(start) == Some(TraceKind::Scope);
        inputs.push((name, input, is_scope));
    }
    if inputs.iter().any(|(_, _, is_scope)| *is_scope) {
        return match <[_; 1]>::try_from(inputs) {
            Ok([(name, input, _)]) => replay_scope(&name, input, args.json),
            Err(_) => bail!(
                "a trace of a scope must be the only file: give one such file, or the traces of all \
                 nodes of one cluster"
            ),
        };
    }
    let sources: Vec<_> = inputs
        .into_iter()
        .map(|(name, input, _)| Source::new(&name, input))
        .collect();
    let started = Instant::now();
    let lines = AtomicU64::new(0);
    let checked = progress_bar::watch_line(
        "replay",
        || {},
        |elapsed| {
            let lines = grouped(lines.load(Ordering::Relaxed));
            format!("{lines} lines · {}", time(elapsed))
        },
        || {
            let conditions = Conditions {
                used_disks: args.used_disks,
                checks_refinement: true,
                lines: &lines,
                interrupt: interrupt.flag(),
            };
            replay(sources, conditions)
        },
    );
    let took = started.elapsed();
    let searched = match &checked {
        Ok(report) if report.planted.is_none() && report.coverage.inside > 0 && !args.no_search => {
            search(&report.coverage, &interrupt)
        }
        _ => Searched::Not,
    };
    let mut out = io::stdout().lock();
    let exit = match &checked {
        Ok(_) if searched.is_violated() => Exit::Failed,
        Ok(report) if report.planted.is_none() => Exit::Passed,
        Ok(_) | Err(Rejection::Disagreement { .. } | Rejection::Violation { .. }) => Exit::Failed,
        Err(Rejection::Interrupted) => Exit::Truncated,
        Err(Rejection::Unreadable { .. }) => {
            let Err(error) = checked else {
                unreachable!("matched as an error");
            };
            return Err(error).context("give traces that can be read");
        }
    };
    match &checked {
        _ if args.json => print_json(&mut out, &checked, &searched)?,
        Ok(report) => {
            print(&mut out, report, took)?;
            print_inside(&mut out, report, &searched)?;
        }
        Err(Rejection::Interrupted) => writeln!(out, "{}", Rejection::Interrupted)?,
        Err(rejection) => writeln!(out, "rejected: {rejection}")?,
    }
    out.flush()?;
    Ok(exit)
}

/// Executes a trace of a scope again.
fn replay_scope(name: &str, input: impl BufRead, json: bool) -> anyhow::Result<Exit> {
    let name = escaped(name);
    let mut steps = 0;
    let mut scope = None;
    let mut violation = None;
    let read = trace::read_each(input, |read| match read {
        Line::Start(start) => scope = Some(start.clone()),
        Line::Step(step) => {
            steps += 1;
            violation.clone_from(&step.state.violation);
        }
    });
    let mut out = io::stdout().lock();
    let (exit, verdict, why, cause) = match (&read, &violation) {
        (Ok(()), None) => (Exit::Passed, "accepted", None, Value::Null),
        (Ok(()), Some(violation)) => {
            let cause = ReplayStop::from(violation);
            let why = Some(cause.to_string());
            (Exit::Failed, "violated", why, json!(cause))
        }
        // No step was executed: the file cannot be read, which is not a violation.
        (Err(error), _) if scope.is_none() => {
            let why = error.why.to_string();
            bail!("{name} is not a trace: {}", escaped(&why))
        }
        (Err(error), _) => {
            let why = Some(format!("{name}: {error}"));
            (Exit::Failed, "rejected", why, json!(error.why))
        }
    };
    // A search for a planted bug may check one property alone, and its trace has this setting.
    let only = scope
        .as_ref()
        .and_then(|scope| Option::<Property>::from(scope.properties))
        .map(Property::name);
    let (scope_name, mutant) = match &scope {
        Some(scope) => (scope.name.as_str(), scope.mutant.map(Mutant::name)),
        None => ("", None),
    };
    if json {
        let line = json!({
            "verdict": verdict,
            "scope": scope_name,
            "mutant": mutant,
            "steps": steps,
            "only": only,
            "property": violation.as_ref().map(|violation| violation.property.name()),
            "why": why,
            "cause": cause,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{verdict}")?;
        writeln!(out, "  scope      {scope_name}")?;
        if let Some(mutant) = mutant {
            writeln!(out, "  mutant     {mutant}")?;
        }
        if let Some(property) = only {
            writeln!(out, "  checked    only {property}, as in the recorded run")?;
        }
        writeln!(out, "  steps      {}, each executed again", grouped(steps))?;
        if let Some(why) = &why {
            writeln!(out, "  reason     {}", escaped(why))?;
        }
    }
    out.flush()?;
    Ok(exit)
}

/// The result of a search of the world that contains the beginning of the run.
enum Searched {
    /// These bounds were not searched.
    Not,
    /// There are too many servers for a search.
    TooMany,
    /// The search ended, complete or stopped early.
    Ended(Box<engine::SearchReport>),
}

impl Searched {
    const fn is_violated(&self) -> bool {
        matches!(self, Self::Ended(found) if matches!(found.outcome, SearchOutcome::Violated { .. }))
    }

    const fn verdict(&self) -> &'static str {
        match self {
            Self::Not => "not searched",
            Self::TooMany => "too many servers",
            Self::Ended(found) => match found.outcome {
                SearchOutcome::Exhausted => "exhausted",
                SearchOutcome::Truncated(_) => "truncated",
                SearchOutcome::Violated { .. } => "violated",
            },
        }
    }
}

fn search(coverage: &Coverage, interrupt: &Interrupt) -> Searched {
    let Some(scope) = coverage.scope() else {
        return Searched::TooMany;
    };
    let limits = Limits {
        threads: machine::threads(),
        max_states: Some(MAX_STATES),
        max_memory: machine::available_bytes().map(|bytes| bytes / 10 * 8),
        symmetry: true,
    };
    let explored = progress_bar::watch_with_hint(
        "search of the run's beginning",
        "--no-search skips this search",
        interrupt,
        |progress| engine::check(&scope, &limits, progress),
    );
    Searched::Ended(Box::new(explored.report))
}

fn print(out: &mut impl Write, report: &ReplayReport, took: Duration) -> anyhow::Result<()> {
    match &report.planted {
        None => writeln!(out, "accepted")?,
        Some(bug) => writeln!(
            out,
            "every step agrees, but the servers had a planted bug: {bug}"
        )?,
    }
    writeln!(
        out,
        "  servers    {} ({})",
        report.servers,
        counted_grouped(report.runs, "run")
    )?;
    writeln!(
        out,
        "  steps      {}, each executed again in {}",
        grouped(report.steps),
        time(took)
    )?;
    writeln!(
        out,
        "  messages   {} between servers received, each sent before; {} distinct messages sent",
        grouped(report.received),
        grouped(report.sent)
    )?;
    writeln!(
        out,
        "  elections  {}, up to term {}",
        grouped(report.elections),
        report.highest_term
    )?;
    writeln!(
        out,
        "  committed  {}",
        counted_grouped(report.committed, "entry")
    )?;
    for place in &report.cut_short {
        writeln!(out, "  left out   {place}: truncated where its run ended")?;
    }
    Ok(())
}

/// Prints the part of the run inside a world that was searched.
fn print_inside(
    out: &mut impl Write,
    report: &ReplayReport,
    searched: &Searched,
) -> anyhow::Result<()> {
    let Coverage {
        inside,
        terms,
        config,
    } = &report.coverage;
    let servers = config.as_ref().map_or(0, |config| config.voters.len());
    writeln!(
        out,
        "{} of {} steps, with all their causes, are within the bounds of {} with these settings, {} and no clients.",
        grouped(*inside),
        grouped(report.steps),
        counted_grouped(servers as u64, "server"),
        counted_grouped(*terms, "term"),
    )?;
    match searched {
        Searched::Not if *inside == 0 => {}
        Searched::Not => writeln!(out, "These bounds were not searched.")?,
        Searched::TooMany => writeln!(out, "There are too many servers for a search.")?,
        Searched::Ended(found) => {
            let states = counted_grouped(found.states, "state");
            let took = time(found.elapsed);
            match &found.outcome {
                SearchOutcome::Exhausted => writeln!(
                    out,
                    "These bounds were exhausted now: {states} in {took}, and every property holds in each."
                )?,
                SearchOutcome::Truncated(cause) => writeln!(
                    out,
                    "The search of these bounds was truncated after {states}, {}: no claim.",
                    verdict::reason(*cause)
                )?,
                SearchOutcome::Violated { violation, .. } => writeln!(
                    out,
                    "Within these bounds, {} is violated: {}",
                    violation.property, violation.cause
                )?,
            }
        }
    }
    Ok(())
}

fn print_json(
    out: &mut impl Write,
    checked: &Result<ReplayReport, Rejection>,
    searched: &Searched,
) -> anyhow::Result<()> {
    let line = match checked {
        Ok(report) => json!({
            "verdict": if report.planted.is_some() { "planted" } else { "accepted" },
            "planted": report.planted,
            "servers": report.servers,
            "runs": report.runs,
            "steps": report.steps,
            "received": report.received,
            "sent": report.sent,
            "elections": report.elections,
            "highest_term": report.highest_term,
            "committed": report.committed,
            "cut_short": report.cut_short.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "inside": {
                "steps": report.coverage.inside,
                "terms": report.coverage.terms,
                "search": searched.verdict(),
                "states": match searched {
                    Searched::Ended(found) => Some(found.states),
                    _ => None,
                },
            },
        }),
        Err(Rejection::Interrupted) => json!({ "verdict": "interrupted" }),
        Err(rejection) => json!({
            "verdict": "rejected",
            "property": rejection.violation().map(|violation| violation.property.name()),
            "why": rejection.to_string(),
            "cause": rejection.cause(),
        }),
    };
    writeln!(out, "{line}")?;
    Ok(())
}
