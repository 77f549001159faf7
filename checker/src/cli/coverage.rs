//! `coverage`: the lines of the protocol core that exhausted scopes execute.
//!
//! The search visits every state of a scope. A line that no scope executes is a line about which no
//! verdict makes a statement. This command reports each such line, unless the line itself carries its reason
//! in a form that runs: a named test that executes it, or an assertion.

mod judgment;
mod regions;
mod runs;
mod source;
mod toolchain;

pub use toolchain::rustc_wrapper;

use super::{
    Exit,
    format::{counted_grouped, grouped, time},
    interrupt::Interrupt,
    progress_bar,
};
use crate::machine;
use anyhow::{Context as _, ensure};
use comfy_table::{Table, presets};
use judgment::{Account, Accounts};
use regions::Regions;
use runs::{Searched, TestRun};
use serde::Serialize;
use source::Source;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};
use toolchain::Toolchain;

/// The folder of the protocol.
const CORE: &str = "model/src";

/// The modules in that folder that are not counted, each with the modules in it.
const NOT_COUNTED: &[&str] = &[
    // The models and their properties, which are not the protocol.
    "invariants",
    "mutant",
    "system",
    // Used beside the models, with tests of their own.
    "admission",
    "identity",
    "router",
    "session_pool",
    "wire",
    // The containers of the store, with tests of their own.
    "store/pairs",
    "store/value",
    // No code that can be executed.
    "lib",
];

/// Report the lines of the protocol core that exhausted scopes execute.
///
/// Builds an instrumented checker, searches a fixed list of scopes with it, and compares the executed
/// parts with the sources. Needs the repository, cargo and the LLVM tools of rustc (`rustup component add
/// llvm-tools`). Each other line must be an assertion that fails if it is executed, or name a test that
/// executes it.
///
/// Exit codes: 0 every line is accounted for, 1 a line is not, 2 usage error, 3 no claim: a scope is not
/// exhausted or lacks a witness, or the run was interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build the instrumented programs and stop
    #[arg(long)]
    build: bool,
    /// Number of scopes and tests that run at a time [default: one per available CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Print one JSON object per scope and per source and one summary, each on a line
    #[arg(long, conflicts_with = "build")]
    json: bool,
}

/// A source of the protocol, by its path.
type Sources = BTreeMap<String, Source>;

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let toolchain = Toolchain::find()?;
    let sources = sources(&toolchain.root)?;
    let named = sources.values().flat_map(|source| &source.markers);
    let named = named.flat_map(|marker| &marker.tests);
    let named: BTreeSet<&str> = named.map(String::as_str).collect();
    let checker = toolchain.build_checker()?;
    let programs = toolchain.build_tests(&named)?;
    if args.build {
        return Ok(Exit::Passed);
    }
    let threads = args.threads.map_or_else(machine::threads, usize::from);
    let interrupt = Interrupt::install()?;
    let mut out = io::stdout().lock();
    let searched = watch("searching scopes", || {
        runs::search(&toolchain, &checker, threads, &interrupt)
    })?;
    let Some((searched, regions)) = searched else {
        return Ok(Exit::Truncated);
    };
    report_scopes(&mut out, &searched, args.json)?;
    let refused = searched.iter().find(|one| !one.is_accepted());
    if let Some(refused) = refused {
        return no_claim(&mut out, args, refused, started.elapsed());
    }
    let tests = watch("running tests", || {
        runs::test(&toolchain, &programs, &named, threads, &interrupt)
    })?;
    let Some(tests) = tests else {
        return Ok(Exit::Truncated);
    };
    let accounts = accounts(&sources, &regions, &tests)?;
    let exit = if accounts.values().all(|one| one.faults.is_empty()) {
        Exit::Passed
    } else {
        Exit::Failed
    };
    report(&mut out, args, &sources, &accounts, exit, started.elapsed())?;
    out.flush()?;
    Ok(exit)
}

fn watch<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let line = |elapsed| format!("{what} · {}", time(elapsed));
    progress_bar::watch_line("coverage", || {}, line, work)
}

/// Reads the sources of the protocol, except for modules that only tests and planted bugs use.
fn sources(root: &Path) -> anyhow::Result<Sources> {
    let mut sources = Sources::new();
    let mut folders = vec![CORE.to_owned()];
    while let Some(folder) = folders.pop() {
        let files = fs::read_dir(root.join(&folder));
        for file in files.with_context(|| format!("cannot read {folder}"))? {
            let file = file?;
            let path = format!("{folder}/{}", file.file_name().to_string_lossy());
            let module = path.trim_end_matches(".rs").strip_prefix(CORE);
            let module = module.map(|module| module.trim_start_matches('/'));
            if module.is_some_and(|module| NOT_COUNTED.contains(&module)) {
                continue;
            }
            if file.file_type()?.is_dir() {
                folders.push(path);
            } else if path.ends_with(".rs") {
                let text = fs::read_to_string(file.path());
                let text = text.with_context(|| format!("cannot read {path}"))?;
                let source = Source::parse(&text).with_context(|| format!("cannot use {path}"))?;
                sources.insert(path, source);
            }
        }
    }
    let modules = |(path, source): (&String, &Source)| {
        let folder = path.trim_end_matches(".rs").to_owned();
        let modules = source.excluded_modules.iter();
        modules
            .map(move |module| format!("{folder}/{module}"))
            .collect::<Vec<_>>()
    };
    let excluded: Vec<String> = sources.iter().flat_map(modules).collect();
    sources.retain(|path, _| {
        let mut modules = Path::new(path.trim_end_matches(".rs")).ancestors();
        !modules.any(|module| excluded.iter().any(|one| module == Path::new(one)))
    });
    Ok(sources)
}

/// Accounts for each source.
///
/// # Errors
/// If a source has no regions: it was not compiled, and nothing is known about it.
fn accounts<'a>(
    sources: &'a Sources,
    regions: &BTreeMap<String, Regions>,
    tests: &BTreeMap<String, TestRun>,
) -> anyhow::Result<BTreeMap<&'a str, Accounts>> {
    let mut accounts = BTreeMap::new();
    for (path, source) in sources {
        let own = regions.get(path);
        let own =
            own.with_context(|| format!("the instrumented checker does not contain {path}"))?;
        let executed = |test: &str, position| match tests.get(test) {
            Some(Ok(regions)) => Ok(regions.get(path).is_some_and(|own| own.executes(position))),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("did not run".to_owned()),
        };
        let account = Accounts::new(source, own, executed);
        ensure!(
            account.lines() > 0,
            "{path} contains no code that can be executed"
        );
        accounts.insert(path.as_str(), account);
    }
    Ok(accounts)
}

#[derive(Serialize)]
struct ScopeJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    scope: &'a str,
    verdict: &'a str,
    states: u64,
    transitions: u64,
    seconds: f64,
    passed: bool,
}

fn report_scopes(out: &mut impl Write, searched: &[Searched], json: bool) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["scope", "verdict", "distinct states", "transitions", "time"]);
    for one in searched {
        let Searched {
            scope,
            verdict,
            is_passed,
        } = one;
        if json {
            let json = ScopeJson {
                kind: "scope",
                scope,
                verdict: &verdict.verdict,
                states: verdict.states,
                transitions: verdict.transitions,
                seconds: verdict.seconds,
                passed: *is_passed,
            };
            print_json(out, &json)?;
        }
        table.add_row([
            scope.clone(),
            verdict.verdict.clone(),
            grouped(verdict.states),
            grouped(verdict.transitions),
            time(Duration::from_secs_f64(verdict.seconds)),
        ]);
    }
    if !json {
        writeln!(out, "{table}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct SourceJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'a str,
    lines: usize,
    scopes: usize,
    tests: usize,
    impossible: usize,
    open: usize,
    faults: Vec<FaultJson<'a>>,
}

#[derive(Serialize)]
struct FaultJson<'a> {
    line: usize,
    column: usize,
    reason: &'a str,
    text: &'a str,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct SummaryJson {
    #[serde(rename = "type")]
    kind: &'static str,
    exit_code: u8,
    lines: usize,
    scopes: usize,
    tests: usize,
    impossible: usize,
    open: usize,
    seconds: f64,
}

fn no_claim(
    out: &mut impl Write,
    args: &Args,
    refused: &Searched,
    elapsed: Duration,
) -> anyhow::Result<Exit> {
    let exit = Exit::Truncated;
    if args.json {
        print_json(out, &summary(&BTreeMap::new(), exit, elapsed))?;
    } else {
        writeln!(
            out,
            "No claim: a scope is not exhausted, or does not reach a required witness. `raft-checker check --scope {}` shows the cause.",
            refused.scope
        )?;
    }
    out.flush()?;
    Ok(exit)
}

fn summary(accounts: &BTreeMap<&str, Accounts>, exit: Exit, elapsed: Duration) -> SummaryJson {
    let count = |account| accounts.values().map(|one| one.count(account)).sum();
    SummaryJson {
        kind: "summary",
        exit_code: exit.code(),
        lines: accounts.values().map(Accounts::lines).sum(),
        scopes: count(Account::Scopes),
        tests: count(Account::Test),
        impossible: count(Account::Impossible),
        open: count(Account::Open),
        seconds: elapsed.as_secs_f64(),
    }
}

fn report(
    out: &mut impl Write,
    args: &Args,
    sources: &Sources,
    accounts: &BTreeMap<&str, Accounts>,
    exit: Exit,
    elapsed: Duration,
) -> anyhow::Result<()> {
    let summary = summary(accounts, exit, elapsed);
    if args.json {
        for (path, account) in accounts {
            print_json(out, &source_json(path, &sources[*path], account))?;
        }
        return print_json(out, &summary);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "source",
        "lines",
        "by scopes",
        "by tests only",
        "impossible",
        "open",
    ]);
    for (path, account) in accounts {
        let count = |kind| grouped(account.count(kind) as u64);
        table.add_row([
            (*path).to_owned(),
            grouped(account.lines() as u64),
            count(Account::Scopes),
            count(Account::Test),
            count(Account::Impossible),
            count(Account::Open),
        ]);
    }
    writeln!(out, "{table}")?;
    let mut faults = 0;
    for (path, account) in accounts {
        for fault in &account.faults {
            let (line, column) = (fault.position.line, fault.position.column);
            let text = sources[*path].line(line);
            writeln!(out, "{path}:{line}:{column}: {}: {text}", fault.reason)?;
            faults += 1;
        }
    }
    let verdict = if faults == 0 {
        "Every line of the protocol is accounted for".to_owned()
    } else {
        format!(
            "{} without a reason: CONTRIBUTING.md describes how to account for a line",
            counted_grouped(faults, "line")
        )
    };
    writeln!(
        out,
        "{verdict} ({} executed by exhausted scopes, {} by named tests only, {} impossible; {}).",
        counted_grouped(summary.scopes as u64, "line"),
        grouped(summary.tests as u64),
        grouped(summary.impossible as u64),
        time(elapsed),
    )?;
    Ok(())
}

fn source_json<'a>(path: &'a str, source: &'a Source, account: &'a Accounts) -> SourceJson<'a> {
    let faults = account.faults.iter().map(|fault| FaultJson {
        line: fault.position.line,
        column: fault.position.column,
        reason: &fault.reason,
        text: source.line(fault.position.line),
    });
    SourceJson {
        kind: "source",
        source: path,
        lines: account.lines(),
        scopes: account.count(Account::Scopes),
        tests: account.count(Account::Test),
        impossible: account.count(Account::Impossible),
        open: account.count(Account::Open),
        faults: faults.collect(),
    }
}

fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}
