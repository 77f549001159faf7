//! The verdict on one scope: in the table, in notes below it, and as JSON.

use super::{
    format::{counted_grouped, grouped, time},
    recheck::{self, RecheckJson},
    selection,
};
use crate::{
    engine::{Checked, Disagreement, Recheck, SearchOutcome, StopCause},
    expected_counts::Counts,
    progress::{NoProgressClaim, ProgressReport, ProgressVerdict},
};
use comfy_table::{Cell, CellAlignment, Table, presets};
use model::{
    mutant::Mutant,
    system::{
        ActionCounts, ActionKind, Limit, Obligation, Property, Scope, Unmet, Violation, Witness,
        Witnesses,
        scope::{BOUNDS, BoundValue, Feature},
    },
};
use serde::{Serialize, Serializer};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// The table's text for progress that was not checked.
const NOT_CHECKED: &str = "not checked";
/// The name of the built-in engine.
pub(crate) const BUILT_IN: &str = "built-in";

/// The result of a search of a scope.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) scope: Scope,
    /// Whether a witness that was not reached is a failure.
    pub(crate) witnesses_required: bool,
    pub(crate) symmetry: bool,
    pub(crate) engine: &'static str,
    pub(crate) outcome: SearchOutcome,
    pub(crate) states: u64,
    pub(crate) transitions: u64,
    pub(crate) depth: u64,
    /// The counts that an exhausted search must have; `None` if nothing is known about this search.
    pub(crate) expected: Option<Counts>,
    pub(crate) elapsed: Duration,
    /// Bytes of visited set, parents and frontier, if the engine reports them.
    pub(crate) bytes: Option<u64>,
    pub(crate) witnesses: Witnesses,
    /// The number of checks of the reductions' obligations, if the engine checks them.
    pub(crate) checked: Option<Checked>,
    /// The actions of the abstract Raft that the distinct steps are mapped to, if the engine counts them.
    pub(crate) actions: Option<ActionCounts>,
    /// The result of the recheck, if it ran.
    pub(crate) recheck: Option<Recheck>,
    /// The result of the progress check, if it ran.
    pub(crate) progress: Option<ProgressReport>,
    /// The file with the run to a violation, to a stuck state, or to a step that the search does not have.
    pub(crate) trace: Option<PathBuf>,
}

impl Verdict {
    fn missing(&self) -> Vec<Witness> {
        let expected = self.scope.expected.iter().copied();
        expected
            .filter(|witness| !self.witnesses.contains(*witness))
            .collect()
    }

    fn reached(&self) -> Vec<Witness> {
        let expected = self.scope.expected.iter().copied();
        expected
            .filter(|witness| self.witnesses.contains(*witness))
            .collect()
    }

    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self.outcome, SearchOutcome::Truncated(_))
    }

    pub(crate) fn is_violated(&self) -> bool {
        matches!(self.outcome, SearchOutcome::Violated { .. })
    }

    /// Whether the scope was exhausted without reaching all required witnesses.
    pub(crate) fn lacks_witnesses(&self) -> bool {
        matches!(self.outcome, SearchOutcome::Exhausted)
            && self.witnesses_required
            && !self.missing().is_empty()
    }

    pub(crate) fn progress_verdict(&self) -> Option<&ProgressVerdict> {
        self.progress.as_ref().map(|report| &report.verdict)
    }

    /// Whether there is a state from which no new entry can be committed.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self.progress_verdict(), Some(ProgressVerdict::Stuck(_)))
    }

    /// Whether a recheck of the states is possible: the search ended by itself. Unexpected counts have
    /// two causes, and the recheck may tell lost states from another protocol.
    pub(crate) fn is_rechecked(&self) -> bool {
        matches!(
            self.outcome,
            SearchOutcome::Exhausted | SearchOutcome::Truncated(StopCause::UnexpectedCounts)
        )
    }

    /// The name of the scope and the result of the recheck, if it ran.
    pub(crate) fn rechecked(&self) -> Option<(&str, &Recheck)> {
        let result = self.recheck.as_ref()?;
        Some((&self.scope.name, result))
    }

    /// The step that the search does not have, if the recheck found one.
    pub(crate) fn disagreement(&self) -> Option<&Disagreement> {
        self.recheck.as_ref()?.disagreement.as_ref()
    }

    /// Whether a requested check was stopped early, or fails for the search itself.
    pub(crate) fn lacks_claim(&self) -> bool {
        let progress = self.progress_verdict();
        let is_cut = self.recheck.as_ref().is_some_and(|one| one.is_interrupted);
        (self.is_truncated() && !self.is_stuck())
            || is_cut
            || matches!(progress, Some(ProgressVerdict::Truncated(_)))
    }

    /// Whether a bug was planted and all checks passed.
    pub(crate) fn is_undetected(&self) -> bool {
        matches!(self.outcome, SearchOutcome::Exhausted)
            && self.scope.mutant.is_some()
            && !self.is_stuck()
            && !self.lacks_claim()
    }

    /// The names of the reductions that were off, and `symmetry` if it was off.
    fn disabled_reductions(&self) -> Vec<&'static str> {
        let mut names = self.scope.reduction.disabled();
        names.extend((!self.symmetry).then_some("symmetry"));
        names
    }

    /// The obligations that failed.
    fn unmet(&self) -> &[Unmet] {
        let checked = self.checked.as_ref();
        checked.map_or(&[], |checked| &checked.unmet)
    }

    /// The reason why the scope did not pass; `None` if it passed.
    pub(crate) fn fault(&self) -> Option<String> {
        let name = &self.scope.name;
        match &self.outcome {
            SearchOutcome::Truncated(_) | SearchOutcome::Exhausted if self.is_stuck() => {
                Some(format!("{name} has a state without progress"))
            }
            SearchOutcome::Truncated(cause) => {
                Some(format!("{name} is truncated, {}", reason(*cause)))
            }
            SearchOutcome::Violated { violation, .. } => {
                Some(format!("{name} violates {}", violation.property))
            }
            SearchOutcome::Exhausted if self.lacks_witnesses() => {
                let missing = list(&self.missing());
                Some(format!(
                    "{name} did not reach required witnesses: {missing}"
                ))
            }
            SearchOutcome::Exhausted if self.lacks_claim() => match self.progress_verdict() {
                Some(ProgressVerdict::Truncated(_)) => {
                    Some(format!("the progress check of {name} has no verdict"))
                }
                _ => Some(format!("the recheck of {name} was interrupted")),
            },
            SearchOutcome::Exhausted if self.is_undetected() => {
                Some(format!("the bug planted in {name} was not found"))
            }
            SearchOutcome::Exhausted => None,
        }
    }

    /// Notes with details that are not in the table.
    pub(crate) fn notes(&self) -> Vec<String> {
        let name = &self.scope.name;
        let mut notes = Vec::new();
        match &self.outcome {
            SearchOutcome::Truncated(StopCause::Obligation) => notes.push(format!(
                "{name}: truncated, {}. The reductions may have omitted states: no claim.",
                reason(StopCause::Obligation)
            )),
            SearchOutcome::Truncated(StopCause::UnexpectedCounts) => {
                notes.extend(self.counts_note());
            }
            // The recheck has a note of its own.
            SearchOutcome::Truncated(StopCause::Recheck) => {}
            SearchOutcome::Truncated(cause) => notes.push(format!(
                "{name}: truncated, {}. Unvisited states may violate any property: no claim.",
                reason(*cause)
            )),
            SearchOutcome::Violated { violation, .. } => notes.push(format!(
                "{name}: {} is violated. The search ended there: no claim about the other properties.",
                violation.property
            )),
            SearchOutcome::Exhausted => notes.extend(self.witness_note()),
        }
        notes.extend(self.unmet().iter().map(|unmet| match self.outcome {
            SearchOutcome::Violated { .. } => format!(
                "{name}: obligation {unmet}. The violation is nevertheless a run of real steps."
            ),
            _ => format!(
                "{name}: obligation {unmet}. Without this reduction the search may find more."
            ),
        }));
        notes.extend(
            self.rechecked()
                .and_then(|(name, result)| recheck::note(name, result)),
        );
        notes.extend(self.progress_note());
        // Without the given bounds, the scope merges syncs.
        let is_switched_off = !self.scope.may_merge_syncs()
            && selection::named(name).is_ok_and(|base| base.reduction.merge_syncs);
        if is_switched_off {
            notes.push(format!(
                "{name}: with these bounds merge_syncs is off, and every sync is a separate step: the reduction is not sound with snapshots, with reads combined with a window, or with crashes combined with clients, a window or PreVote."
            ));
        }
        if let Some(mutant) = self.scope.mutant {
            notes.push(format!(
                "{name}: {} is planted: this is no verdict on Raft.",
                mutant.name()
            ));
            if self.is_undetected() {
                notes.push(self.undetected_note(mutant));
            }
        }
        notes
    }

    fn undetected_note(&self, mutant: Mutant) -> String {
        let (name, bug) = (&self.scope.name, mutant.name());
        let states = grouped(self.states);
        let holds = match self.progress {
            Some(_) => "no property is violated and progress stays possible",
            None => "no property is violated (progress was not checked)",
        };
        format!(
            "{name}: the planted bug {bug} was not found in this scope: {holds} in all {states} states. `raft-checker mutants {bug}` finds it: {}.",
            crate::catalog::shown_by(mutant)
        )
    }

    /// The difference from the expected counts, and how to accept it.
    fn counts_note(&self) -> Option<String> {
        let (name, expected) = (&self.scope.name, self.expected?);
        let found = Counts {
            states: self.states,
            transitions: self.transitions,
            depth: self.depth,
        };
        let (was, is) = (counts_text(&expected), counts_text(&found));
        let mut note = format!(
            "{name}: no claim: expected {was}; found {is}. The protocol, the scope or the checker changed: the search may have lost states."
        );
        // The depth of a depth-first search does not belong into the table.
        if self.engine == BUILT_IN {
            let [states, transitions, depth] = [found.states, found.transitions, found.depth]
                .map(|count| grouped(count).replace(',', "_"));
            note += &format!(
                " If the change is intended, the line of the scope in checker/src/expected_counts.rs becomes (\"{name}\", {states}, {transitions}, {depth}); CONTRIBUTING.md has the steps."
            );
        }
        Some(note)
    }

    fn witness_note(&self) -> Option<String> {
        let (name, missing) = (&self.scope.name, self.missing());
        if missing.is_empty() {
            return None;
        }
        let listed = list(&missing);
        Some(if self.witnesses_required {
            format!("{name}: required witnesses not reached: {listed}. This pass proves little.")
        } else if self.reached().is_empty() {
            format!(
                "{name}: vacuous: within these bounds no witness of the scope can occur (not reached: {listed}). Give larger bounds."
            )
        } else {
            format!("{name}: not reached (not required with these bounds): {listed}.")
        })
    }

    fn progress_note(&self) -> Option<String> {
        let (name, report) = (&self.scope.name, self.progress.as_ref()?);
        let checked = grouped(report.states_checked);
        Some(match &report.verdict {
            ProgressVerdict::Holds => format!(
                "{name}: from each of the {checked} states, a leader can still commit a new entry."
            ),
            ProgressVerdict::Stuck(stuck) => format!(
                "{name}: stuck: from the state shown above, no leader can commit a new entry without further faults ({} examined).",
                counted_grouped(stuck.extension_states, "state")
            ),
            ProgressVerdict::Truncated(NoProgressClaim::OneServer) => {
                format!("{name}: progress needs at least two servers: raise --servers.")
            }
            ProgressVerdict::Truncated(reason) => {
                let reason = match reason {
                    NoProgressClaim::Interrupted => "was interrupted",
                    NoProgressClaim::LargeExtension => {
                        "reached a state with too many continuations (give smaller bounds, or --no-progress)"
                    }
                    NoProgressClaim::EarlyMessage => {
                        "reached a state whose early messages cannot be distinguished from retransmitted ones"
                    }
                    NoProgressClaim::NotExhausted | NoProgressClaim::OneServer => {
                        "covers only the states that the search found"
                    }
                };
                let after = counted_grouped(report.states_checked, "state");
                format!(
                    "{name}: the progress check {reason}, after {after}: no claim about progress."
                )
            }
        })
    }

    fn cells(&self) -> Vec<Cell> {
        let properties = properties_checked(&self.scope);
        let (verdict, holding) = match &self.outcome {
            SearchOutcome::Exhausted => ("exhausted", format!("{properties}/{properties}")),
            SearchOutcome::Truncated(StopCause::UnexpectedCounts) => {
                ("truncated", "unexpected counts, no claim".to_owned())
            }
            SearchOutcome::Truncated(StopCause::Recheck) => {
                ("truncated", "the search lost states, no claim".to_owned())
            }
            SearchOutcome::Truncated(_) => ("truncated", "none seen violated, no claim".to_owned()),
            SearchOutcome::Violated { violation, .. } => {
                ("violated", format!("violated: {}", violation.property))
            }
        };
        let progress = match self.progress_verdict() {
            None => NOT_CHECKED,
            Some(ProgressVerdict::Holds) => "holds",
            Some(ProgressVerdict::Stuck(_)) => "stuck",
            Some(ProgressVerdict::Truncated(_)) => "no claim",
        };
        let expected = self.scope.expected.len();
        vec![
            Cell::new(&self.scope.name),
            Cell::new(verdict),
            number(grouped(self.states)),
            number(grouped(self.transitions)),
            number(grouped(self.depth)),
            number(time(self.elapsed)),
            number(format!("{}/{expected}", self.reached().len())),
            Cell::new(holding),
            Cell::new(progress),
        ]
    }

    /// The verdict as JSON.
    pub(crate) fn as_json(&self) -> impl Serialize {
        let names = |witnesses: Vec<Witness>| witnesses.into_iter().map(Witness::name).collect();
        let (verdict, stopped_by, violation) = match &self.outcome {
            SearchOutcome::Exhausted => ("exhausted", None, None),
            SearchOutcome::Truncated(cause) => ("truncated", Some(*cause), None),
            SearchOutcome::Violated { violation, path } => {
                ("violated", None, Some((violation, path.len())))
            }
        };
        let properties = properties_checked(&self.scope);
        ScopeJson {
            kind: "scope",
            scope: self.scope.name.clone(),
            engine: self.engine,
            symmetry: self.symmetry,
            bounds: BoundsJson::new(&self.scope),
            disabled_features: disabled_features(&self.scope),
            disabled_reductions: self.disabled_reductions(),
            mutant: self.scope.mutant.map(Mutant::name),
            verdict,
            stopped_by,
            states: self.states,
            transitions: self.transitions,
            depth: self.depth,
            expected_counts: self.expected,
            seconds: self.elapsed.as_secs_f64(),
            bytes: self.bytes,
            witnesses: WitnessesJson {
                required: self.witnesses_required,
                reached: names(self.reached()),
                missing: names(self.missing()),
            },
            properties: PropertiesJson {
                checked: properties,
                hold: matches!(self.outcome, SearchOutcome::Exhausted).then_some(properties),
            },
            obligations: self.checked.as_ref().map(|checked| ObligationsJson {
                checked: checked
                    .counts()
                    .map(|(obligation, count)| (obligation.name(), count))
                    .collect(),
                unmet: checked.unmet.clone(),
                seconds: checked.elapsed.as_secs_f64(),
            }),
            abstract_actions: self.actions,
            recheck: self
                .recheck
                .as_ref()
                .map(|result| RecheckJson::new(result, self.trace.as_deref())),
            progress: self
                .progress
                .as_ref()
                .map(|report| self.progress_json(report)),
            violation: violation.map(|(violation, steps)| ViolationJson {
                property: violation.property.name(),
                why: why(violation),
                steps,
                trace: self.trace.as_deref().map(shown),
            }),
        }
    }
}

impl Verdict {
    fn progress_json(&self, report: &ProgressReport) -> ProgressJson {
        let (verdict, stuck) = match &report.verdict {
            ProgressVerdict::Holds => ("holds", None),
            ProgressVerdict::Stuck(stuck) => ("stuck", Some(stuck)),
            ProgressVerdict::Truncated(_) => ("truncated", None),
        };
        ProgressJson {
            verdict,
            states_checked: report.states_checked,
            steps: stuck.map(|stuck| stuck.path.len().saturating_sub(1)),
            trace: stuck.and(self.trace.as_deref()).map(shown),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn why(violation: &Violation) -> String {
    violation.cause.to_string()
}

/// The number of properties checked in a scope. Without recorded operations, linearizability is not
/// checked.
fn properties_checked(scope: &Scope) -> usize {
    let is_checked = |property: &&Property| {
        let has_matter = **property != Property::Linearizability || scope.tracks_operations;
        scope.properties.contains(**property) && has_matter
    };
    Property::ALL.iter().filter(is_checked).count()
}

pub(super) fn reason(cause: StopCause) -> &'static str {
    match cause {
        StopCause::MaxStates => "the state limit was reached",
        StopCause::MaxMemory => "the memory limit was reached",
        StopCause::Interrupted => "it was interrupted",
        StopCause::Capacity => "the state ids are used up",
        StopCause::Obligation => "an obligation of a reduction failed",
        StopCause::UnexpectedCounts => "its counts are not the expected ones",
        StopCause::Recheck => "the recheck found a step that the search does not have",
    }
}

fn counts_text(counts: &Counts) -> String {
    let [states, transitions, depth] =
        [counts.states, counts.transitions, counts.depth].map(grouped);
    format!("{states} states, {transitions} transitions and depth {depth}")
}

fn list(witnesses: &[Witness]) -> String {
    let names: Vec<_> = witnesses.iter().map(|witness| witness.name()).collect();
    names.join(", ")
}

fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// The table of verdicts, with a row for each scope that was not run.
pub(crate) fn table(verdicts: &[Verdict], not_run: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "scope",
        "verdict",
        "distinct states",
        "transitions",
        "depth",
        "time",
        "witnesses",
        "properties that hold",
        "progress",
    ]);
    for verdict in verdicts {
        table.add_row(verdict.cells());
    }
    for name in not_run {
        table.add_row([
            name.as_str(),
            "not run",
            "",
            "",
            "",
            "",
            "",
            "no claim",
            NOT_CHECKED,
        ]);
    }
    table
}

/// The table of the features of the deployed programs that each scope enables, the faults that it does not
/// bound, and the number of checks of obligations in it.
pub(crate) fn features_table(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "scope",
        "enabled features of the deployed programs",
        "unbounded faults",
        "obligations",
    ]);
    for Verdict { scope, checked, .. } in verdicts {
        let features = Feature::ALL.iter().filter(|one| one.is_enabled(scope));
        let features: Vec<&str> = features.map(|feature| feature.name()).collect();
        let checks = checked.as_ref().map_or_else(
            || "not checked".to_owned(),
            |checked| grouped(checked.counts().map(|(_, count)| count).sum()),
        );
        table.add_row([
            Cell::new(&scope.name),
            Cell::new(features.join(", ")),
            Cell::new(unbounded_faults(scope).join(", ")),
            number(checks),
        ]);
    }
    table
}

/// The faults that may occur any number of times. Every message may be lost, repeated, delayed and
/// reordered.
fn unbounded_faults(scope: &Scope) -> Vec<&'static str> {
    let budget = &scope.budget;
    let crashes = [
        (budget.crashes, "crashes"),
        (budget.client_crashes, "client crashes"),
        (budget.proxy_crashes, "proxy crashes"),
    ];
    // Without clients as processes there is no proxy either.
    let present = if scope.plans.is_empty() { 1 } else { 3 };
    let unbounded = crashes
        .into_iter()
        .take(present)
        .filter(|(limit, _)| *limit == Limit::Any);
    let crashes = unbounded.map(|(_, name)| name);
    ["messages"].into_iter().chain(crashes).collect()
}

/// The names of the features that a scope disables.
pub(crate) fn disabled_features(scope: &Scope) -> Vec<&'static str> {
    let disabled = scope.disabled_features().into_iter();
    disabled.map(Feature::name).collect()
}

/// The table of the number of checks of each obligation, in all scopes together. Returns `None` if the
/// engine checks none.
pub(crate) fn obligations_table(verdicts: &[Verdict]) -> Option<Table> {
    let totals = obligation_totals(verdicts)?;
    let is_over = verdicts
        .iter()
        .all(|verdict| matches!(verdict.outcome, SearchOutcome::Exhausted));
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["obligation", "reduction", "assumption", "checked"]);
    for (obligation, total) in totals {
        let count = match total {
            0 if is_over => "not needed".to_owned(),
            0 => "not checked".to_owned(),
            _ => grouped(total),
        };
        table.add_row([
            Cell::new(obligation.name()),
            Cell::new(obligation.reduction()),
            Cell::new(obligation.statement()),
            number(count),
        ]);
    }
    Some(table)
}

/// The number of checks of each obligation.
fn obligation_totals(verdicts: &[Verdict]) -> Option<Vec<(Obligation, u64)>> {
    let checked: Vec<&Checked> = verdicts
        .iter()
        .filter_map(|verdict| verdict.checked.as_ref())
        .collect();
    let total = |obligation: Obligation| checked.iter().map(|one| one.count(obligation)).sum();
    let all = Obligation::ALL.iter();
    (!checked.is_empty()).then(|| all.map(|one| (*one, total(*one))).collect())
}

/// The obligations that no scope checked.
pub(crate) fn unchecked(verdicts: &[Verdict]) -> Vec<Obligation> {
    let totals = obligation_totals(verdicts).unwrap_or_default().into_iter();
    let unchecked = totals.filter(|(_, total)| *total == 0);
    unchecked.map(|(obligation, _)| obligation).collect()
}

/// The table of the distinct steps by action of the abstract Raft. Returns `None` if no steps were compared
/// with it.
pub(crate) fn actions_table(verdicts: &[Verdict]) -> Option<Table> {
    let counted = verdicts
        .iter()
        .filter_map(|verdict| Some((verdict, verdict.actions?)));
    let counted: Vec<(&Verdict, ActionCounts)> = counted.collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let actions = ActionKind::ALL.iter().map(|kind| kind.name());
    table.set_header(std::iter::once("steps of the abstract Raft").chain(actions));
    let mut add = |name: &str, counts: ActionCounts| {
        let counts = ActionKind::ALL
            .iter()
            .map(|kind| number(grouped(counts.of(*kind))));
        table.add_row(std::iter::once(Cell::new(name)).chain(counts));
    };
    for (verdict, counts) in &counted {
        add(&verdict.scope.name, *counts);
    }
    if counted.len() > 1 {
        add("all", action_totals(verdicts));
    }
    (!counted.is_empty()).then_some(table)
}

fn action_totals(verdicts: &[Verdict]) -> ActionCounts {
    let mut all = ActionCounts::default();
    for counts in verdicts.iter().filter_map(|verdict| verdict.actions) {
        all += counts;
    }
    all
}

/// The actions of the abstract Raft that no scope takes.
pub(crate) fn untaken(verdicts: &[Verdict]) -> Vec<ActionKind> {
    let all = action_totals(verdicts);
    let kinds = ActionKind::ALL.iter().copied();
    kinds.filter(|kind| all.of(*kind) == 0).collect()
}

/// The bounds of a scope as a JSON object, in the order of the table.
#[derive(Debug)]
pub(crate) struct BoundsJson(Vec<(&'static str, BoundValue)>);

impl BoundsJson {
    pub(crate) fn new(scope: &Scope) -> Self {
        let bounds = BOUNDS.iter();
        Self(
            bounds
                .map(|bound| (bound.name, bound.value(scope)))
                .collect(),
        )
    }
}

impl Serialize for BoundsJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[derive(Serialize)]
struct ScopeJson {
    #[serde(rename = "type")]
    kind: &'static str,
    scope: String,
    engine: &'static str,
    symmetry: bool,
    bounds: BoundsJson,
    /// The features of the deployed programs that the scope disables.
    disabled_features: Vec<&'static str>,
    /// The reductions that were off: by an option, or because the scope disables them.
    disabled_reductions: Vec<&'static str>,
    /// The planted bug.
    mutant: Option<&'static str>,
    verdict: &'static str,
    stopped_by: Option<StopCause>,
    states: u64,
    transitions: u64,
    depth: u64,
    /// The counts that an exhausted search must have. Null unless the scope is one of the catalog,
    /// without any change.
    expected_counts: Option<Counts>,
    seconds: f64,
    bytes: Option<u64>,
    witnesses: WitnessesJson,
    properties: PropertiesJson,
    /// Null if the engine does not check them.
    obligations: Option<ObligationsJson>,
    /// The number of distinct steps by action of the abstract Raft. Null if the engine does not count them.
    abstract_actions: Option<ActionCounts>,
    /// Null if no state was expanded again.
    recheck: Option<RecheckJson>,
    /// Null if progress was not checked.
    progress: Option<ProgressJson>,
    violation: Option<ViolationJson>,
}

#[derive(Serialize)]
struct ProgressJson {
    verdict: &'static str,
    states_checked: u64,
    /// Steps from the initial state to the stuck state.
    steps: Option<usize>,
    /// The file with the run to the stuck state.
    trace: Option<String>,
}

#[derive(Serialize)]
struct WitnessesJson {
    required: bool,
    reached: Vec<&'static str>,
    missing: Vec<&'static str>,
}

#[derive(Serialize)]
struct PropertiesJson {
    checked: usize,
    /// The number of properties known to hold: known only for an exhausted scope.
    hold: Option<usize>,
}

#[derive(Serialize)]
struct ObligationsJson {
    /// The number of checks of each obligation.
    checked: BTreeMap<&'static str, u64>,
    /// The failed obligations.
    unmet: Vec<Unmet>,
    /// The duration of the checks in seconds.
    seconds: f64,
}

#[derive(Serialize)]
struct ViolationJson {
    property: &'static str,
    why: String,
    /// The number of states on the path that the search found.
    steps: usize,
    /// The file with the run.
    trace: Option<String>,
}
