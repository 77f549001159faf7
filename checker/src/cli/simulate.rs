//! `simulate`: random walks through a scope, for scopes that no search can complete.

use super::{
    Exit,
    format::{self, counted_grouped, grouped, rate},
    interrupt::Interrupt,
    progress_bar,
    seed::random_seed,
    selection::{self, Bounds},
    verdict::BoundsJson,
    violation::{self, report_trace},
};
use crate::{
    simulate::{self, RandomWalks, RandomWalksProgress, RandomWalksReport, ViolatingWalk},
    step_guard,
};
use model::{
    mutant::Mutant,
    system::{Scope, Witness},
};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scope to walk through
    #[arg(long, value_name = "NAME", default_value = "end-to-end", value_parser = selection::names())]
    scope: String,
    #[command(flatten)]
    bounds: Bounds,
    /// Seed that determines all walks [default: a random seed, always printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of walks
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    walks: u64,
    /// Maximum number of steps of a walk
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps: u64,
    /// Plant a bug in every server, to see how it is found
    #[arg(long, value_name = "NAME", value_parser = selection::mutants(), hide_possible_values = true)]
    mutant: Option<Mutant>,
    /// File for a run that violates a property [default: raft-checker-SCOPE-violation.jsonl]
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The line of `--json`.
#[derive(Serialize)]
struct SimulationJson {
    #[serde(rename = "type")]
    kind: &'static str,
    scope: String,
    bounds: BoundsJson,
    mutant: Option<&'static str>,
    seed: u64,
    walks: u64,
    steps: u64,
    seconds: f64,
    interrupted: bool,
    witnesses: Vec<&'static str>,
    violation: Option<WalkViolationJson>,
    exit_code: u8,
}

#[derive(Serialize)]
struct WalkViolationJson {
    property: &'static str,
    why: String,
    /// The number of the violating walk, from 0, and its steps.
    walk: u64,
    walk_steps: usize,
    /// The number of steps of the shrunk walk, which has only the steps that the violation needs.
    steps: usize,
    /// Whether no further step can be removed; false if the shrinking was interrupted.
    shortest: bool,
    /// The file with the shrunk walk.
    trace: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut scope = args
        .bounds
        .applied_to(&selection::named(&args.scope)?)?
        .scope;
    scope.mutant = args.mutant;
    if let Some(file) = &args.trace {
        violation::try_file(file)?;
    }
    let simulation = RandomWalks {
        seed: args.seed.unwrap_or_else(random_seed),
        walks: args.walks,
        max_steps: args.steps as usize,
    };
    let interrupt = Interrupt::install()?;
    step_guard::configure(step_guard::Settings {
        json: args.json,
        max_memory: None,
    });
    if !args.json {
        // Printed before the walks, so that they can be repeated even if the process fails.
        writeln!(io::stdout(), "{}: seed {}", scope.name, simulation.seed)?;
    }
    let started = Instant::now();
    let report = walk(&scope, &simulation, &interrupt);
    let elapsed = started.elapsed();
    let exit = match &report.violation {
        Some(_) => Exit::Failed,
        None if report.walks < simulation.walks => Exit::Truncated,
        None => Exit::Passed,
    };
    let trace = tell(args, &scope, &report)?;
    let mut out = io::stdout().lock();
    if args.json {
        let json = as_json(&scope, &simulation, &report, elapsed, exit, trace);
        serde_json::to_writer(&mut out, &json)?;
        writeln!(out)?;
    } else {
        print(&mut out, &scope, &simulation, &report, elapsed)?;
    }
    out.flush()?;
    Ok(exit)
}

fn walk(scope: &Scope, simulation: &RandomWalks, interrupt: &Interrupt) -> RandomWalksReport {
    let progress = RandomWalksProgress::default();
    progress_bar::watch_line(
        &scope.name,
        || {
            if interrupt.is_asked() {
                progress.interrupt.store(true, Ordering::Relaxed);
            }
        },
        |elapsed| {
            let steps = progress.steps.load(Ordering::Relaxed);
            format!(
                "{} of {} walks · {} steps · {}/s · {}",
                grouped(progress.walks.load(Ordering::Relaxed)),
                grouped(simulation.walks),
                grouped(steps),
                grouped(rate(steps, elapsed) as u64),
                format::time(elapsed),
            )
        },
        || simulate::simulate(scope, simulation, &progress),
    )
}

/// Describes the violation, if there is one. Returns the file that contains it.
fn tell(args: &Args, scope: &Scope, report: &RandomWalksReport) -> anyhow::Result<Option<PathBuf>> {
    let Some(found) = &report.violation else {
        return Ok(None);
    };
    let given = args.trace.clone();
    let file = given.unwrap_or_else(|| violation::default_file(scope, "violation"));
    // With --json, standard output contains only JSON.
    let is_kept = if args.json {
        report_trace(&mut io::stderr().lock(), &found.trace, &file)?
    } else {
        report_trace(&mut io::stdout().lock(), &found.trace, &file)?
    };
    Ok(is_kept.then_some(file))
}

fn print(
    out: &mut impl Write,
    scope: &Scope,
    simulation: &RandomWalks,
    report: &RandomWalksReport,
    elapsed: Duration,
) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} of {}, {} in {}; seed {}.",
        grouped(report.walks),
        counted_grouped(simulation.walks, "walk"),
        counted_grouped(report.steps, "step"),
        format::time(elapsed),
        simulation.seed
    )?;
    let reached = reached(report);
    writeln!(
        out,
        "Reached: {}.",
        if reached.is_empty() {
            "no witness".to_owned()
        } else {
            reached.join(", ")
        }
    )?;
    match &report.violation {
        Some(found) => writeln!(
            out,
            "Walk {} violated a property of {} after {}; shown above: {}.",
            found.walk,
            scope.name,
            counted_grouped(found.steps as u64, "step"),
            kept(found)
        )?,
        None => {
            if report.walks < simulation.walks {
                writeln!(out, "Interrupted.")?;
            }
            writeln!(
                out,
                "No walk violated a property. Random walks prove nothing: only `check` visits every state."
            )?;
        }
    }
    if let Some(mutant) = scope.mutant {
        writeln!(
            out,
            "{} was planted: this is no verdict on Raft.",
            mutant.name()
        )?;
    }
    Ok(())
}

/// Describes which steps of the walk are shown.
fn kept(found: &ViolatingWalk) -> String {
    let steps = found.trace.steps.len();
    if found.is_shortest {
        format!("the {steps} steps needed")
    } else {
        format!("{steps}, not all needed: shrinking was interrupted")
    }
}

fn reached(report: &RandomWalksReport) -> Vec<&'static str> {
    let all = Witness::ALL.iter().copied();
    all.filter(|witness| report.witnesses.contains(*witness))
        .map(Witness::name)
        .collect()
}

fn as_json(
    scope: &Scope,
    simulation: &RandomWalks,
    report: &RandomWalksReport,
    elapsed: Duration,
    exit: Exit,
    trace: Option<PathBuf>,
) -> SimulationJson {
    let violation = report.violation.as_ref().and_then(|found| {
        let violation = found.trace.violation.as_ref()?;
        Some(WalkViolationJson {
            property: violation.property.name(),
            why: violation.cause.to_string(),
            walk: found.walk,
            walk_steps: found.steps,
            steps: found.trace.steps.len(),
            shortest: found.is_shortest,
            trace: trace.map(|file| file.display().to_string()),
        })
    });
    SimulationJson {
        kind: "simulation",
        scope: scope.name.clone(),
        bounds: BoundsJson::new(scope),
        mutant: scope.mutant.map(Mutant::name),
        seed: simulation.seed,
        walks: report.walks,
        steps: report.steps,
        seconds: elapsed.as_secs_f64(),
        interrupted: exit == Exit::Truncated,
        witnesses: reached(report),
        violation,
        exit_code: exit.code(),
    }
}
