//! The recheck of an exhausted scope: its options, its notes and its JSON.

use super::{
    format::{counted_grouped, grouped, time},
    interrupt::Interrupt,
    progress_bar,
    seed::random_seed,
};
use crate::{
    engine::{self, Explored, Recheck, Sample},
    explain::describe_action,
};
use model::system::Scope;
use serde::Serialize;
use std::path::Path;

/// The default number of states for each scope. All default scopes together take about two
/// seconds on two threads.
const DEFAULT_STATES: u64 = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct RecheckOptions {
    /// Number of states of each exhausted scope to expand again with the readable model; 0 disables
    /// [default: 500]
    #[arg(long, value_name = "N")]
    recheck: Option<u64>,
    /// Seed that determines the states to recheck [default: a random seed, always printed]
    #[arg(long, value_name = "N")]
    recheck_seed: Option<u64>,
}

impl RecheckOptions {
    /// Whether a recheck was requested explicitly.
    pub(crate) fn is_asked(&self) -> bool {
        self.recheck.is_some_and(|states| states > 0) || self.recheck_seed.is_some()
    }

    /// The states to recheck in each scope; `None` if the recheck is disabled.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let states = self.recheck.unwrap_or(DEFAULT_STATES);
        (states > 0).then(|| Sample {
            states,
            seed: self.recheck_seed.unwrap_or_else(random_seed),
        })
    }

    /// The options as they are typed.
    pub(crate) fn typed(&self) -> [Option<String>; 2] {
        [
            self.recheck.map(|states| format!("--recheck {states}")),
            self.recheck_seed
                .map(|seed| format!("--recheck-seed {seed}")),
        ]
    }
}

/// Rechecks an exhausted scope.
pub(crate) fn recheck(
    scope: &Scope,
    explored: &mut Explored,
    sample: Sample,
    threads: usize,
    interrupt: &Interrupt,
) -> Recheck {
    progress_bar::watch_line(
        &scope.name,
        || {},
        |elapsed| format!("rechecking a sample of the states · {}", time(elapsed)),
        || engine::recheck(explored, sample, threads, interrupt.flag()),
    )
}

/// The result for all scopes that were rechecked completely.
pub(crate) fn summary<'a>(all: impl Iterator<Item = (&'a str, &'a Recheck)>) -> Option<String> {
    let passed: Vec<_> = all
        .filter(|(_, one)| one.disagreement.is_none() && one.rechecked > 0)
        .collect();
    let seed = passed.first()?.1.seed;
    let rechecked = passed.iter().map(|(_, one)| one.rechecked).sum();
    let stored = passed.iter().map(|(_, one)| one.stored).sum();
    let of = match &passed[..] {
        [(name, _)] => (*name).to_owned(),
        _ => counted_grouped(passed.len() as u64, "scope"),
    };
    let bound = passed.iter().map(|(_, one)| one.upper_bound());
    let bound = bound.fold(0.0, f64::max);
    let every = "and every successor is in the visited set";
    if bound <= 0.0 {
        let all = grouped(stored);
        return Some(format!(
            "Recheck: the readable model expanded all {all} states of {of} again, {every}."
        ));
    }
    let each = if passed.len() == 1 {
        ""
    } else {
        " of each scope"
    };
    Some(format!(
        "Recheck: the readable model expanded {} of the {} states of {of} again (seed {seed}), {every}. With 95 % confidence, at most {} of the states{each} lack a successor; this does not bound the number of states that only a missing successor reaches.",
        grouped(rechecked),
        grouped(stored),
        percent(bound)
    ))
}

/// A share, rounded up.
fn percent(share: f64) -> String {
    let hundredths = (share * 10_000.0).ceil().min(10_000.0);
    format!("{:.2} %", hundredths / 100.0)
}

/// The note of a recheck that did not pass.
pub(crate) fn note(name: &str, result: &Recheck) -> Option<String> {
    if let Some(found) = &result.disagreement {
        let event = event(result)?;
        let fault = match found.violation() {
            Some(violation) => format!(
                "this step violates {} in the readable model, and the search did not report it",
                violation.property
            ),
            None => "its result in the readable model is not in the visited set".to_owned(),
        };
        return Some(format!(
            "{name}: no claim: the recheck (seed {}) found a step that the search does not have. {} steps from the start (up to the names of servers), when {event}: {fault}. This is a fault of the checker, and states behind this step were not visited.",
            result.seed,
            grouped(found.path.len() as u64 - 1),
        ));
    }
    result.is_interrupted.then(|| {
        format!(
            "{name}: the recheck was interrupted, after {} of {}.",
            grouped(result.rechecked),
            counted_grouped(result.stored, "state")
        )
    })
}

/// The event of the step that the search does not have.
fn event(result: &Recheck) -> Option<String> {
    let found = result.disagreement.as_ref()?;
    Some(describe_action(&found.action, found.path.last()?))
}

/// A recheck as JSON.
#[derive(Serialize)]
pub(crate) struct RecheckJson {
    seed: u64,
    /// The number of states in the visited set.
    states: u64,
    /// The number of states whose successors are all in the visited set.
    rechecked: u64,
    /// The upper 95 % confidence bound on the share of the states that lack a successor. Null if one was
    /// found.
    upper_bound: Option<f64>,
    interrupted: bool,
    /// A step that the search does not have.
    disagreement: Option<DisagreementJson>,
    seconds: f64,
}

#[derive(Serialize)]
struct DisagreementJson {
    /// Steps from the initial state to the state that lacks a successor.
    steps: usize,
    event: String,
    /// The property that the step violates. Null if its result is not in the visited set.
    violates: Option<&'static str>,
    /// The file with the run that ends with the step.
    trace: Option<String>,
}

impl RecheckJson {
    /// `trace` is the file with the run to a disagreement.
    pub(crate) fn new(result: &Recheck, trace: Option<&Path>) -> Self {
        let found = result.disagreement.as_ref();
        Self {
            seed: result.seed,
            states: result.stored,
            rechecked: result.rechecked,
            upper_bound: found.is_none().then(|| result.upper_bound()),
            interrupted: result.is_interrupted,
            disagreement: found.zip(event(result)).map(|(found, event)| {
                let violates = found.violation().map(|found| found.property.name());
                DisagreementJson {
                    steps: found.path.len() - 1,
                    event,
                    violates,
                    trace: trace.map(|trace| trace.display().to_string()),
                }
            }),
            seconds: result.elapsed.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn result(rechecked: u64, stored: u64) -> Recheck {
        Recheck {
            seed: 7,
            rechecked,
            stored,
            is_interrupted: false,
            disagreement: None,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn summary_states_the_largest_bound_and_its_limit() {
        let (sampled, whole) = (result(1_000, 1_000_000), result(50, 50));
        let text = |all: &[(&str, &Recheck)]| summary(all.iter().copied());
        let one = text(&[("crashes", &sampled)]).expect("a summary");
        for words in [
            "1,000 of the 1,000,000 states of crashes",
            "seed 7",
            "at most 0.30 % of the states lack",
            "does not bound",
        ] {
            assert!(one.contains(words), "{words}: {one}");
        }
        let all = text(&[("elections", &whole)]).expect("a summary");
        assert!(all.contains("all 50 states of elections"), "{all}");
        assert!(!all.contains('%'), "{all}");
        let both = text(&[("crashes", &sampled), ("elections", &whole)]).expect("a summary");
        assert!(
            both.contains("0.30 % of the states of each scope"),
            "{both}"
        );
        assert_eq!(text(&[("crashes", &result(0, 9))]), None);
    }

    #[test]
    fn percentages_are_rounded_up() {
        assert_eq!(percent(0.002_991), "0.30 %");
        assert_eq!(percent(0.003_001), "0.31 %");
        assert_eq!(percent(1.0), "100.00 %");
    }

    #[test]
    fn interrupted_recheck_states_its_real_size() {
        let cut = Recheck {
            is_interrupted: true,
            ..result(12, 5_000)
        };
        let text = note("crashes", &cut).expect("a note");
        assert!(text.contains("after 12 of 5,000 states"), "{text}");
        assert_eq!(note("crashes", &result(12, 12)), None);
    }
}
