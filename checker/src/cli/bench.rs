//! `bench`: compares the performance of the engines, in one run.

use super::{
    Exit,
    format::{self, grouped},
    selection,
};
use crate::{
    bench::{self, Engine, Measurement, Task},
    machine,
};
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scope to search
    #[arg(long, value_name = "NAME", default_value = "replication", value_parser = selection::names())]
    scope: String,
    /// Maximum seconds for each of the eight measurements; a search that ends sooner is repeated, and
    /// the median run is reported
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print one JSON object per run and one summary, each on a line
    #[arg(long)]
    json: bool,
}

/// The arguments of one run in its own process.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    task: Task,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    machine: Machine,
    scope: String,
    /// The built-in engine's states per CPU second relative to each engine of stateright, on one thread,
    /// without symmetry reduction.
    times_stateright_dfs: f64,
    times_stateright_bfs: f64,
    /// States per second on all threads relative to one thread, without symmetry reduction.
    threads: usize,
    speed_up: f64,
}

#[derive(Debug, Serialize)]
struct Machine {
    processor: Option<String>,
    threads: usize,
    memory_bytes: Option<u64>,
}

pub(crate) fn run_one(args: &RunArgs) -> anyhow::Result<Exit> {
    let scope = selection::named(&args.task.scope)?;
    let measured = bench::measure(&scope, &args.task)?;
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &measured)?;
    writeln!(out)?;
    Ok(Exit::Passed)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let mut measured: Vec<Measurement> = Vec::new();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    for (engine, symmetry) in [
        (Engine::BuiltIn, true),
        (Engine::BuiltIn, false),
        (Engine::StaterightDfs, false),
        (Engine::StaterightBfs, false),
    ] {
        for threads in thread_counts() {
            bar.set_message(format!("{} on {threads}", engine.name()));
            bar.tick();
            let one = bench::measure_repeatedly(&Task {
                engine,
                scope: args.scope.clone(),
                threads,
                symmetry,
                seconds: args.seconds,
            })?;
            if args.json {
                serde_json::to_writer(&mut out, &one)?;
                writeln!(out)?;
                out.flush()?;
            }
            measured.push(one);
        }
    }
    bar.finish_and_clear();
    let summary = summarize(args.scope.clone(), &measured);
    if args.json {
        serde_json::to_writer(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        print(&mut out, &summary, &measured)?;
    }
    out.flush()?;
    Ok(Exit::Passed)
}

/// One thread, and all threads if there are several.
fn thread_counts() -> impl Iterator<Item = usize> {
    let all = machine::threads();
    std::iter::once(1).chain((all > 1).then_some(all))
}

fn summarize(scope: String, measured: &[Measurement]) -> Summary {
    let threads = machine::threads();
    let find = |engine: Engine, threads: usize| {
        let found = measured.iter().find(|one| {
            one.task.engine == engine && one.task.threads == threads && !one.task.symmetry
        });
        found.expect("every engine ran on one thread and on all")
    };
    let own = find(Engine::BuiltIn, 1);
    let times = |engine| own.states_per_cpu_second() / find(engine, 1).states_per_cpu_second();
    Summary {
        kind: "summary",
        machine: Machine {
            processor: machine::processor(),
            threads,
            memory_bytes: machine::total_bytes(),
        },
        scope,
        times_stateright_dfs: times(Engine::StaterightDfs),
        times_stateright_bfs: times(Engine::StaterightBfs),
        threads,
        speed_up: find(Engine::BuiltIn, threads).states_per_second() / own.states_per_second(),
    }
}

fn print(out: &mut impl Write, summary: &Summary, measured: &[Measurement]) -> anyhow::Result<()> {
    let machine = &summary.machine;
    writeln!(
        out,
        "{}, {} threads, {}; scope {}",
        machine.processor.as_deref().unwrap_or("unknown processor"),
        machine.threads,
        machine
            .memory_bytes
            .map_or_else(|| "unknown memory".to_owned(), format::bytes),
        summary.scope,
    )?;
    writeln!(out, "{}", table(measured))?;
    writeln!(
        out,
        "On one thread, without symmetry, the built-in engine finds {:.1} times the states per CPU second of stateright's DFS and {:.1} times those of its BFS.",
        summary.times_stateright_dfs, summary.times_stateright_bfs
    )?;
    writeln!(
        out,
        "On {} threads it finds {:.2} times the states per second of one.",
        summary.threads, summary.speed_up
    )?;
    Ok(())
}

fn table(measured: &[Measurement]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "engine",
        "symmetry",
        "threads",
        "states",
        "exhausted",
        "runs",
        "seconds",
        "CPU seconds",
        "states/CPU s",
        "states/s",
        "bytes/state held",
        "bytes/state resident",
    ]);
    let yes_no = |is: bool| Cell::new(if is { "yes" } else { "no" });
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for one in measured {
        let held = one.held_bytes_per_state();
        table.add_row([
            Cell::new(one.task.engine.name()),
            yes_no(one.task.symmetry),
            number(one.task.threads.to_string()),
            number(grouped(one.states)),
            yes_no(one.is_exhausted),
            number(one.runs.to_string()),
            number(format!("{:.2}", one.wall_seconds)),
            number(format!("{:.2}", one.cpu_seconds)),
            number(grouped(one.states_per_cpu_second() as u64)),
            number(grouped(one.states_per_second() as u64)),
            number(held.map_or_else(String::new, |bytes| format!("{bytes:.1}"))),
            number(format!("{:.1}", one.resident_bytes_per_state())),
        ]);
    }
    table
}
