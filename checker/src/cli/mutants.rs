//! `mutants`: plants each bug in turn, and must find it.

use super::{
    Exit,
    format::{grouped, time},
    interrupt::Interrupt,
    progress_bar, selection, verdict, violation,
};
use crate::{
    catalog::{self, CatalogEntry, Hunt, HuntEnd},
    engine::Limits,
    explain, machine, step_guard,
};
use anyhow::bail;
use comfy_table::{Table, presets};
use model::mutant::Mutant;
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// The maximum number of states of a search: a mutant that needs more must get another scope.
const MAX_STATES: u64 = 20_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these bugs; for a single bug, the violation is described step by step
    #[arg(value_name = "NAME", value_parser = selection::mutants())]
    names: Vec<Mutant>,
    /// Number of threads [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Write the run that shows the bug to this file; needs exactly one NAME
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.trace.is_some() && args.names.len() != 1 {
        bail!("--trace FILE is for the run of one bug: name exactly one");
    }
    if let Some(file) = &args.trace {
        violation::try_file(file)?;
    }
    let interrupt = Interrupt::install()?;
    let limits = Limits {
        threads: args.threads.map_or(1, usize::from),
        max_states: Some(MAX_STATES),
        max_memory: machine::available_bytes().map(|bytes| bytes / 10 * 8),
        symmetry: true,
    };
    step_guard::configure(step_guard::Settings {
        json: false,
        max_memory: limits.max_memory,
    });
    let is_asked =
        |entry: &CatalogEntry| args.names.is_empty() || args.names.contains(&entry.mutant);
    let mut hunted = Vec::new();
    let asked: Vec<CatalogEntry> = catalog::entries().into_iter().filter(is_asked).collect();
    let all = asked.len();
    for entry in asked {
        let hunt = progress_bar::watch(entry.mutant.name(), &interrupt, |progress| {
            entry.hunt(&limits, progress)
        });
        hunted.push((entry, hunt));
        if interrupt.is_asked() {
            break;
        }
    }
    let mut out = io::stdout().lock();
    let mut is_lost = false;
    if let [(entry, hunt)] = hunted.as_mut_slice()
        && let HuntEnd::Found {
            evidence, steps, ..
        } = &mut hunt.end
    {
        let trace = entry.trace(evidence)?;
        // A step of the search may be several steps of the real run. The table counts the steps of the
        // real run.
        *steps = trace.steps.len();
        match &args.trace {
            Some(file) => {
                is_lost = !violation::report_trace(&mut out, &trace, file)?;
            }
            None => writeln!(out, "{}", explain::explain(&trace))?,
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", table(&hunted))?;
    let found = hunted.iter().filter(|(_, hunt)| hunt.is_found());
    let (found, left) = (found.count(), all - hunted.len());
    for (entry, hunt) in &hunted {
        let name = entry.mutant.name();
        if let Some(unmet) = hunt.failed_obligation() {
            writeln!(
                out,
                "{name}: no violation was found, but it fails an obligation: {unmet}."
            )?;
        } else if let HuntEnd::Truncated(cause) = hunt.end {
            let reason = verdict::reason(cause);
            writeln!(out, "{name}: truncated, {reason}. No claim is made.")?;
        }
    }
    writeln!(out, "{found} of {all} planted bugs found.")?;
    if left > 0 {
        writeln!(out, "Interrupted: {left} were not searched for.")?;
    }
    let is_over = !interrupt.is_asked()
        && !hunted
            .iter()
            .any(|(_, hunt)| matches!(hunt.end, HuntEnd::Truncated(_)) && !hunt.is_found());
    Ok(match (found == all, is_over) {
        (_, false) => Exit::Truncated,
        (true, true) if is_lost => Exit::Usage,
        (true, true) => Exit::Passed,
        (false, true) => Exit::Failed,
    })
}

fn table(hunted: &[(CatalogEntry, Hunt)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "planted bug",
        "verdict",
        "violates",
        "scope",
        "steps",
        "states",
        "time",
    ]);
    for (entry, hunt) in hunted {
        let (verdict, steps) = match &hunt.end {
            HuntEnd::Found { steps, .. } => ("found", steps.to_string()),
            HuntEnd::Truncated(_) if hunt.is_found() => ("obligation failed", String::new()),
            HuntEnd::Survived => ("SURVIVED", String::new()),
            HuntEnd::Truncated(_) => ("truncated", String::new()),
        };
        table.add_row([
            entry.mutant.name().to_owned(),
            verdict.to_owned(),
            entry.violates.name().to_owned(),
            notation(entry),
            steps,
            grouped(hunt.states),
            time(hunt.elapsed),
        ]);
    }
    table
}

/// Servers, terms, client entries and crashes, in the notation of the catalog of bugs.
fn notation(entry: &CatalogEntry) -> String {
    let scope = &entry.scope;
    let budget = &scope.budget;
    format!(
        "{} {}/{}/{}/{}",
        scope.name, scope.servers, scope.terms, budget.entries, budget.crashes
    )
}
