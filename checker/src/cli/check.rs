//! `check`: searches scopes to exhaustion, one after another.

use super::{
    Exit, certify,
    format::{self, Size},
    interrupt::Interrupt,
    progress_bar, recheck,
    selection::{self, Selected, Selection},
    suggestions::{self, Ended, Options},
    verdict::{self, Verdict},
    violation::{self, report_missing, report_stuck, report_violation},
};
use crate::{
    certificate,
    engine::{self, Explored, Limits, SearchOutcome, SearchProgress},
    machine,
    progress::{ProgressReport, ProgressVerdict, check_progress, has_at_most_combinations},
    stateright_engine::{self, Order},
    step_guard,
};
use anyhow::ensure;
use clap::{ValueEnum, builder::PossibleValuesParser};
use model::{
    mutant::Mutant,
    system::{ActionKind, Obligation, Property, Reduction, Scope},
};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

/// The default memory limit, in percent of the memory available to this process.
const MEMORY_PERCENT: u64 = 80;
/// The maximum number of states of a scope for which progress is checked by default. In larger scopes the
/// combinations are not counted.
const MAX_PROGRESS_STATES: u64 = 2_000_000;
/// The maximum number of combinations. The check takes about 50 µs for each with three servers, and up to
/// 1.5 ms with five.
const MAX_PROGRESS_COMBINATIONS: usize = 30_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Search engine
    #[arg(long, value_enum, default_value_t = Engine::BuiltIn)]
    engine: Engine,
    /// Number of threads [default: one per available CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: Option<u64>,
    /// Disable symmetry reduction
    #[arg(long)]
    no_symmetry: bool,
    /// Disable all reductions: every event is a step of its own
    #[arg(long)]
    no_reduction: bool,
    /// Disable one reduction; repeatable
    #[arg(long, value_name = "NAME", conflicts_with = "no_reduction",
          value_parser = PossibleValuesParser::new(Reduction::NAMES))]
    without_reduction: Vec<String>,
    /// Stop each scope after this many states: truncated, no claim
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_states: Option<u64>,
    /// Stop when the process holds this much memory, such as 512M or 16G [default: 80% of the available
    /// memory]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Size>,
    /// Plant a bug in every server, to see how it is found
    #[arg(long, value_name = "NAME", value_parser = selection::mutants(), hide_possible_values = true)]
    mutant: Option<Mutant>,
    /// Check that a new entry can still be committed from every reachable state, regardless of state
    /// count [default: in exhausted scopes of up to 2,000,000 states and 30,000 combinations of
    /// processes]
    #[arg(long)]
    progress: bool,
    /// Check only the safety properties
    #[arg(long, conflicts_with = "progress")]
    no_progress: bool,
    #[command(flatten)]
    recheck: recheck::RecheckOptions,
    /// Write all states of one exhausted scope to a file, for `verify`
    #[arg(long, value_name = "FILE", conflicts_with = "mutant")]
    certificate: Option<PathBuf>,
    /// File for a run that violates a property; for one scope [default:
    /// raft-checker-SCOPE-violation.jsonl]
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print one JSON object per scope and one summary, each on a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The built-in engine; states are kept exactly
    BuiltIn,
    /// stateright's depth-first search; states are kept as hashes
    Stateright,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => verdict::BUILT_IN,
            Self::Stateright => "stateright",
        }
    }
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    exit_code: u8,
    exhausted: usize,
    violated: usize,
    truncated: usize,
    /// Exhausted scopes that did not reach all expected witnesses.
    without_witnesses: usize,
    /// Exhausted scopes with a state from which no new entry can be committed.
    stuck: usize,
    /// Exhausted scopes in which the planted bug was not found.
    undetected: usize,
    /// Obligations of reductions that the default scopes must check, but did not.
    unchecked: Vec<&'static str>,
    /// Actions of the abstract Raft that the default scopes must take, but did not.
    untaken: Vec<&'static str>,
    not_run: Vec<String>,
    states: u64,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let mut scopes = args.selection.scopes()?;
    for Selected { scope, .. } in &mut scopes {
        args.disable_reductions(&mut scope.reduction);
        scope.mutant = args.mutant;
    }
    ensure!(
        args.trace.is_none() || scopes.len() == 1,
        "--trace names one file for one run: give exactly one --scope with it"
    );
    let needs_states = args.progress || args.certificate.is_some() || args.recheck.is_asked();
    ensure!(
        args.engine == Engine::BuiltIn || !needs_states,
        "--certificate, --progress and --recheck need full states, and stateright keeps hashes only: omit --engine stateright"
    );
    if let Some(file) = &args.certificate {
        ensure!(
            scopes.len() == 1,
            "--certificate names one file for one scope: give exactly one --scope with it"
        );
        certificate::try_file(file)?;
    }
    if let Some(file) = &args.trace {
        violation::try_file(file)?;
    }
    let interrupt = Interrupt::install()?;
    let limits = args.limits();
    step_guard::configure(step_guard::Settings {
        json: args.json,
        max_memory: limits.max_memory,
    });
    let sample = args.recheck.sample();
    let mut verdicts = Vec::new();
    let mut not_run = Vec::new();
    let mut certified = None;
    for selected in scopes {
        if interrupt.is_asked() {
            not_run.push(selected.scope.name);
            continue;
        }
        let name = selected.scope.name.clone();
        let (mut verdict, explored) = progress_bar::watch(&name, &interrupt, |progress| {
            search(args.engine, selected, &limits, progress)
        });
        if let Some(mut explored) = explored {
            if let Some(sample) = sample.filter(|_| verdict.is_rechecked()) {
                let (scope, threads) = (&verdict.scope, limits.threads);
                let result = recheck::recheck(scope, &mut explored, sample, threads, &interrupt);
                verdict.recheck = Some(result);
                verdict.outcome = explored.report.outcome.clone();
            }
            if args.checks_progress(&verdict, |limit| has_at_most_combinations(&explored, limit)) {
                verdict.progress = Some(progress_of(&verdict.scope, &explored, &interrupt));
            }
            if let Some(file) = &args.certificate {
                certified = Some((
                    file,
                    certify::certify(&explored, &verdict, &interrupt, file),
                ));
            }
        }
        report(&mut verdict, args)?;
        verdicts.push(verdict);
    }
    let (unchecked, untaken) = args.missing(&verdicts);
    let of_verdicts = match exit(&verdicts, &not_run) {
        Exit::Passed if !(unchecked.is_empty() && untaken.is_empty()) => Exit::Failed,
        exit => exit,
    };
    let exit = match &certified {
        Some((_, certified)) => certified.exit(of_verdicts),
        None => of_verdicts,
    };
    if let Some((file, certified)) = certified.as_ref().filter(|_| args.json) {
        certified.report(file, true)?;
    }
    let mut out = io::stdout().lock();
    if args.json {
        let count = |is: fn(&Verdict) -> bool| verdicts.iter().filter(|one| is(one)).count();
        let summary = Summary {
            kind: "summary",
            exit_code: exit.code(),
            exhausted: count(|one| matches!(one.outcome, SearchOutcome::Exhausted)),
            violated: count(Verdict::is_violated),
            truncated: count(Verdict::is_truncated),
            without_witnesses: count(Verdict::lacks_witnesses),
            stuck: count(Verdict::is_stuck),
            undetected: count(Verdict::is_undetected),
            unchecked: unchecked.iter().map(|one| one.name()).collect(),
            untaken: untaken.iter().map(|one| one.name()).collect(),
            not_run,
            states: verdicts.iter().map(|one| one.states).sum(),
            seconds: started.elapsed().as_secs_f64(),
        };
        print_json(&mut out, &summary)?;
    } else {
        print_verdicts(&mut out, args, &verdicts, &not_run)?;
        for obligation in &unchecked {
            writeln!(
                out,
                "Never checked, although the default scopes must check it: {obligation}."
            )?;
        }
        for action in &untaken {
            writeln!(
                out,
                "Never taken, although the default scopes must take it: the action {} of the abstract Raft.",
                action.name()
            )?;
        }
        if let Some(disabled) = args.disabled_reductions() {
            writeln!(out, "Reductions disabled by options: {disabled}.")?;
        }
        if let Some((file, certified)) = &certified {
            certified.report(file, false)?;
        }
        print_suggestions(&mut out, args, &verdicts, &not_run, of_verdicts)?;
    }
    out.flush()?;
    Ok(exit)
}

impl Args {
    /// Whether progress is checked after this verdict. `has_at_most` counts the combinations of processes.
    fn checks_progress(&self, verdict: &Verdict, has_at_most: impl FnOnce(usize) -> bool) -> bool {
        let is_over = match verdict.outcome {
            SearchOutcome::Exhausted => true,
            // The search for a planted bug continues. A stuck state is stuck regardless of the
            // assumptions of the reductions.
            SearchOutcome::Truncated(engine::StopCause::Obligation) => self.mutant.is_some(),
            SearchOutcome::Truncated(_) | SearchOutcome::Violated { .. } => false,
        };
        // A single server gets no verdict, so progress is checked only on request.
        let may_be_small = verdict.states <= MAX_PROGRESS_STATES && verdict.scope.servers > 1;
        let is_small = || may_be_small && has_at_most(MAX_PROGRESS_COMBINATIONS);
        is_over && (self.progress || (!self.no_progress && is_small()))
    }

    /// The obligations that no scope checked, and the actions of the abstract Raft that no scope takes. Empty
    /// unless this is a complete run.
    fn missing(&self, verdicts: &[Verdict]) -> (Vec<Obligation>, Vec<ActionKind>) {
        if self.is_whole(verdicts) {
            (verdict::unchecked(verdicts), verdict::untaken(verdicts))
        } else {
            Default::default()
        }
    }

    /// Whether this is a complete run of the default scopes, with every reduction. It must check each
    /// obligation, and take each action of the abstract Raft.
    fn is_whole(&self, verdicts: &[Verdict]) -> bool {
        self.selection.is_default()
            && self.engine == Engine::BuiltIn
            && self.disabled_reductions().is_none()
            && self.mutant.is_none()
            && verdicts
                .iter()
                .all(|one| matches!(one.outcome, SearchOutcome::Exhausted))
    }

    fn disable_reductions(&self, reduction: &mut Reduction) {
        if self.no_reduction {
            *reduction = Reduction::NONE;
        }
        for name in &self.without_reduction {
            let is_known = reduction.disable(name);
            assert!(is_known, "only names of reductions are read");
        }
    }

    /// The names of the reductions that options disable; `None` if there are none.
    fn disabled_reductions(&self) -> Option<String> {
        let mut reduction = Reduction::ALL;
        self.disable_reductions(&mut reduction);
        let mut names = reduction.disabled();
        names.extend(self.no_symmetry.then_some("symmetry"));
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn trace_file(&self, scope: &Scope, what: &str) -> PathBuf {
        let given = self.trace.clone();
        given.unwrap_or_else(|| violation::default_file(scope, what))
    }

    /// The options other than scopes, bounds and a bug, as they are typed.
    fn options(&self) -> Options {
        let flag = |given: bool, name: &str| given.then(|| name.to_owned());
        let value = |name: &str, given: Option<u64>| given.map(|given| format!("{name} {given}"));
        let engine = self.engine.name();
        let options = [
            flag(
                self.engine != Engine::BuiltIn,
                &format!("--engine {engine}"),
            ),
            value("--threads", self.threads),
            flag(self.no_symmetry, "--no-symmetry"),
            flag(self.no_reduction, "--no-reduction"),
            value("--max-states", self.max_states),
            self.max_memory.map(|size| format!("--max-memory {size}")),
            flag(self.progress, "--progress"),
            flag(self.no_progress, "--no-progress"),
        ];
        let disabled = self.without_reduction.iter();
        let disabled = disabled.map(|name| Some(format!("--without-reduction {name}")));
        let options = options.into_iter().chain(disabled);
        Options(options.chain(self.recheck.typed()).flatten().collect())
    }

    fn limits(&self) -> Limits {
        let could_have = || Some(machine::available_bytes()? / 100 * MEMORY_PERCENT);
        Limits {
            threads: self
                .threads
                .map_or_else(machine::threads, |threads| threads as usize),
            max_states: self.max_states,
            max_memory: self.max_memory.map(|size| size.0).or_else(could_have),
            symmetry: !self.no_symmetry,
        }
    }
}

/// Searches a scope. Returns the visited states too, if the engine keeps them.
fn search(
    engine: Engine,
    selected: Selected,
    limits: &Limits,
    progress: &SearchProgress,
) -> (Verdict, Option<Explored>) {
    let Selected { scope, is_altered } = selected;
    match engine {
        Engine::BuiltIn => {
            let explored = engine::check(&scope, limits, progress);
            let found = explored.report.clone();
            let is_refined = scope.properties.contains(Property::Refinement);
            let actions = is_refined.then_some(found.actions);
            let verdict = Verdict {
                scope,
                witnesses_required: !is_altered,
                symmetry: limits.symmetry,
                engine: engine.name(),
                outcome: found.outcome,
                states: found.states,
                transitions: found.transitions,
                depth: found.depth,
                expected: found.expected,
                elapsed: found.elapsed,
                bytes: Some(found.bytes),
                witnesses: found.witnesses,
                checked: Some(found.checked),
                actions,
                recheck: None,
                progress: None,
                trace: None,
            };
            (verdict, Some(explored))
        }
        Engine::Stateright => {
            let found = stateright_engine::check(&scope, Order::Depth, limits, progress);
            let verdict = Verdict {
                scope,
                witnesses_required: !is_altered,
                symmetry: limits.symmetry,
                engine: engine.name(),
                outcome: found.outcome,
                states: found.states,
                transitions: found.transitions,
                depth: found.depth,
                expected: found.expected,
                elapsed: found.elapsed,
                bytes: None,
                witnesses: found.witnesses,
                checked: None,
                actions: None,
                recheck: None,
                progress: None,
                trace: None,
            };
            (verdict, None)
        }
    }
}

/// The number of additional terms that a state may need to commit a new entry.
const GRANTED_TERMS: u64 = 1;

fn progress_of(scope: &Scope, explored: &Explored, interrupt: &Interrupt) -> ProgressReport {
    progress_bar::watch_line(
        &scope.name,
        || {},
        |elapsed| {
            format!(
                "checking that progress stays possible · {}",
                format::time(elapsed)
            )
        },
        || check_progress(scope, explored, GRANTED_TERMS, interrupt.flag()),
    )
}

/// Reports the result of a scope immediately, because other scopes may take long.
fn report(verdict: &mut Verdict, args: &Args) -> anyhow::Result<()> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    // With --json, standard output contains only JSON.
    let to: &mut dyn Write = if args.json { &mut err } else { &mut out };
    if let SearchOutcome::Violated { violation, path } = &verdict.outcome {
        let file = args.trace_file(&verdict.scope, "violation");
        let is_kept = report_violation(to, &verdict.scope, violation, path, &file)?;
        verdict.trace = is_kept.then_some(file);
    }
    if let Some(ProgressVerdict::Stuck(stuck)) = verdict.progress_verdict() {
        let file = args.trace_file(&verdict.scope, "stuck");
        let is_kept = report_stuck(to, &verdict.scope, &stuck.path, &file)?;
        verdict.trace = is_kept.then_some(file);
    }
    if let Some(found) = verdict.disagreement() {
        let file = args.trace_file(&verdict.scope, "recheck");
        let is_kept = report_missing(to, &verdict.scope, found, &file)?;
        verdict.trace = is_kept.then_some(file);
    }
    if args.json {
        print_json(&mut out, &verdict.as_json())?;
    }
    out.flush()?;
    Ok(())
}

fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

fn print_verdicts(
    out: &mut impl Write,
    args: &Args,
    verdicts: &[Verdict],
    not_run: &[String],
) -> anyhow::Result<()> {
    writeln!(out, "{}", verdict::table(verdicts, not_run))?;
    writeln!(out, "{}", verdict::features_table(verdicts))?;
    if let Some(obligations) = verdict::obligations_table(verdicts) {
        writeln!(out, "{obligations}")?;
    }
    if let Some(actions) = verdict::actions_table(verdicts) {
        writeln!(out, "{actions}")?;
    }
    for note in verdicts.iter().flat_map(Verdict::notes) {
        writeln!(out, "{note}")?;
    }
    if !not_run.is_empty() {
        writeln!(out, "Not run: {}.", not_run.join(", "))?;
    }
    if let Some(summary) = recheck::summary(verdicts.iter().filter_map(Verdict::rechecked)) {
        writeln!(out, "{summary}")?;
    } else if args.recheck.sample().is_none() {
        writeln!(out, "Recheck: disabled. No state was expanded again.")?;
    }
    if args.engine == Engine::Stateright {
        writeln!(
            out,
            "stateright keeps states as 64-bit hashes: its verdicts hold up to collisions. It does not check what the reductions assume. Its depth is the longest path followed."
        )?;
    }
    Ok(())
}

fn print_suggestions(
    out: &mut impl Write,
    args: &Args,
    verdicts: &[Verdict],
    not_run: &[String],
    exit: Exit,
) -> anyhow::Result<()> {
    let Some(about) = worst(verdicts) else {
        return Ok(());
    };
    let called = std::env::args_os().next().unwrap_or("raft-checker".into());
    let directory = std::env::current_dir().unwrap_or_default();
    let ended = Ended {
        program: &suggestions::typed_program(Path::new(&called), &directory),
        exit,
        ran: verdicts,
        about,
        not_run: not_run.first().map(String::as_str),
        bounds: args.selection.bounds(),
        options: args.options(),
    };
    writeln!(out)?;
    for line in ended.suggestions() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The verdict that the suggestions refer to; `None` if no scope ran.
fn worst(verdicts: &[Verdict]) -> Option<&Verdict> {
    let find = |is: fn(&Verdict) -> bool| verdicts.iter().find(|one| is(one));
    find(Verdict::lacks_claim)
        .or_else(|| find(Verdict::is_violated))
        .or_else(|| find(Verdict::lacks_witnesses))
        .or_else(|| find(Verdict::is_stuck))
        .or_else(|| find(Verdict::is_undetected))
        .or(verdicts.last())
}

fn exit(verdicts: &[Verdict], not_run: &[String]) -> Exit {
    if !not_run.is_empty() || verdicts.iter().any(Verdict::lacks_claim) {
        Exit::Truncated
    } else if verdicts.iter().any(|one| one.fault().is_some()) {
        Exit::Failed
    } else {
        Exit::Passed
    }
}

#[cfg(test)]
mod tests;
