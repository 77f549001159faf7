//! Suggestions: three useful commands after a check, which keep the given options.

use super::{Exit, selection::Bounds, verdict::Verdict};
use crate::engine::{SearchOutcome, StopCause};
use model::{mutant::Mutant, system::Scope};
use std::path::Path;

/// Scopes that are exhausted in one or two minutes, smallest first.
const EXHAUSTIBLE: &[&str] = &["replication", "reads", "crashes", "fail-over"];
/// Crashes multiply the number of states several times. From this many states, the larger search takes
/// minutes.
const MAX_GROWN: u64 = 1_000_000;
/// The same for searches that visit more states, or visit them more slowly.
const MAX_GROWN_PLAIN: u64 = 20_000;
/// The bound for a search with an unknown number of states.
const BOUND: &str = "--max-states 10000000";

/// The options other than scopes, bounds and a bug, each as it is typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options(pub(crate) Vec<String>);

impl Options {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|option| option.starts_with(name))
    }

    fn without(&self, names: &[&str]) -> Self {
        let is_named = |option: &String| names.iter().any(|name| option.starts_with(name));
        let kept = self.0.iter().filter(|option| !is_named(option));
        Self(kept.cloned().collect())
    }

    fn with(mut self, option: &str) -> Self {
        self.0.push(option.to_owned());
        self
    }

    fn ten_times_as_far(&self) -> Self {
        let mut options = self.0.iter();
        let limit = options.find_map(|option| option.strip_prefix("--max-states ")?.parse().ok());
        let limit: u64 = limit.unwrap_or(1);
        self.without(&["--max-states"])
            .with(&format!("--max-states {}", limit.saturating_mul(10)))
    }

    fn bounded(self) -> Self {
        if self.has("--max-states") {
            return self;
        }
        self.with(BOUND)
    }

    /// Whether the search uses the built-in engine with all reductions.
    fn is_fast(&self) -> bool {
        ![
            "--engine",
            "--no-symmetry",
            "--no-reduction",
            "--without-reduction",
        ]
        .iter()
        .any(|name| self.has(name))
    }

    fn typed(&self) -> String {
        self.0.iter().map(|option| format!(" {option}")).collect()
    }
}

/// A completed check.
pub(crate) struct Ended<'a> {
    /// The name by which the program was called.
    pub(crate) program: &'a str,
    pub(crate) exit: Exit,
    /// All scopes that ran.
    pub(crate) ran: &'a [Verdict],
    /// The verdict that the suggestions refer to.
    pub(crate) about: &'a Verdict,
    /// The first scope that did not run.
    pub(crate) not_run: Option<&'a str>,
    /// The given bounds.
    pub(crate) bounds: &'a Bounds,
    pub(crate) options: Options,
}

impl Ended<'_> {
    /// Three commands, each with its purpose.
    pub(crate) fn suggestions(&self) -> [String; 3] {
        let suggestions = match self.exit {
            Exit::Passed => self.passed(),
            Exit::Truncated => self.truncated(),
            Exit::Failed | Exit::Usage => self.failed(),
        };
        suggestions.map(|(arguments, what)| format!("{} {arguments}   # {what}", self.program))
    }

    fn passed(&self) -> [(String, &'static str); 3] {
        [
            self.larger(),
            (
                "mutants".into(),
                "plant each known bug: the checker must find all of them",
            ),
            self.explore(),
        ]
    }

    fn truncated(&self) -> [(String, &'static str); 3] {
        let again = |options: &Options| self.check(self.bounds, options);
        let (name, options) = (&self.about.scope.name, &self.options);
        let first = match (&self.about.outcome, self.not_run) {
            (SearchOutcome::Truncated(StopCause::MaxStates), _) => (
                again(&options.ten_times_as_far()),
                "with ten times the limit",
            ),
            (SearchOutcome::Truncated(StopCause::MaxMemory), _) if options.has("--max-memory") => (
                again(&options.without(&["--max-memory"])),
                "with the default memory limit",
            ),
            (SearchOutcome::Truncated(StopCause::Interrupted), _) => {
                (again(options), "the same check, without interruption")
            }
            (SearchOutcome::Truncated(StopCause::Obligation), _) => self.without_the_obligation(),
            (SearchOutcome::Truncated(StopCause::UnexpectedCounts | StopCause::Recheck), _) => {
                self.second_opinion()
            }
            (SearchOutcome::Truncated(_), _) => self.simulate(),
            (_, _) if self.about.lacks_claim() => (
                again(&options.without(&["--progress"]).with("--no-progress")),
                "only the safety properties",
            ),
            (_, not_run) => {
                let name = not_run.unwrap_or(name);
                let bounds = self.bounds.arguments();
                (
                    format!(
                        "check --scope {name}{bounds}{}{}",
                        options.typed(),
                        self.bug()
                    ),
                    "the first scope that did not run",
                )
            }
        };
        let smaller = match self.bounds.smaller(&self.about.scope) {
            Some(bounds) => (
                self.check(&bounds, &options.without(&["--max-states"])),
                "or exhaust smaller bounds",
            ),
            None => ("scopes".into(), "the bounds of each scope"),
        };
        let last = match &self.about.outcome {
            SearchOutcome::Truncated(_) if first != self.simulate() => self.simulate(),
            _ => self.explore(),
        };
        [first, smaller, last]
    }

    fn failed(&self) -> [(String, &'static str); 3] {
        let last = self.explore();
        match self.about.scope.mutant {
            Some(bug) => [
                (
                    format!("mutants {}", bug.name()),
                    "plant it in the smallest scope known to show it",
                ),
                self.second_opinion(),
                last,
            ],
            None => [self.second_opinion(), self.unreduced(), last],
        }
    }

    /// A larger scope that can still be exhausted.
    fn larger(&self) -> (String, &'static str) {
        let most = if self.options.is_fast() {
            MAX_GROWN
        } else {
            MAX_GROWN_PLAIN
        };
        let options = self.options.without(&["--max-states"]);
        if let ([one], Some(bounds)) = (self.ran, self.bounds.with_crashes(&self.about.scope))
            && one.states <= most
        {
            return (self.check(&bounds, &options), "with any number of crashes");
        }
        let ran = |name: &str| self.ran.iter().any(|one| one.scope.name == name);
        let new = Scope::catalog()
            .into_iter()
            .filter(|scope| EXHAUSTIBLE.contains(&scope.name.as_str()) && !ran(&scope.name))
            .min_by_key(|scope| EXHAUSTIBLE.iter().position(|name| *name == scope.name));
        match new {
            Some(scope) => {
                let slow = ["--engine", "--no-symmetry", "--no-reduction", "--progress"];
                let options = options.without(&slow);
                let arguments = format!("check --scope {}{}", scope.name, options.typed());
                (arguments, scope.summary)
            }
            None => self.simulate(),
        }
    }

    /// A check that does not depend on the reduction whose obligation failed.
    fn without_the_obligation(&self) -> (String, &'static str) {
        if let Some(bug) = self.about.scope.mutant {
            return (
                format!("mutants {}", bug.name()),
                "plant it in the smallest scope known to show it",
            );
        }
        let plain = self.options.without(&["--no-reduction", "--no-symmetry"]);
        let plain = plain.with("--no-reduction").with("--no-symmetry");
        (self.check(self.bounds, &plain), "without reductions")
    }

    /// The same check with another engine.
    fn second_opinion(&self) -> (String, &'static str) {
        let options = &self.options;
        if options.has("--engine") {
            let own = options.without(&["--engine"]);
            return (
                self.check(self.bounds, &own),
                "confirm with the built-in engine",
            );
        }
        // stateright does not check progress, so it cannot confirm a stuck state.
        if self.about.is_stuck() || self.about.states > MAX_GROWN {
            return self.simulate();
        }
        let mut other = options
            .without(&["--progress", "--recheck"])
            .with("--engine stateright");
        if self.about.is_violated() {
            // The search ended early, so the whole scope may have many more states.
            other = other.bounded();
        }
        (
            self.check(self.bounds, &other),
            "confirm with the other engine",
        )
    }

    fn unreduced(&self) -> (String, &'static str) {
        let options = &self.options;
        let is_reduced = !options.has("--no-symmetry") || !options.has("--no-reduction");
        if is_reduced && self.about.states <= MAX_GROWN_PLAIN {
            let plain = options
                .without(&["--no-symmetry", "--no-reduction"])
                .with("--no-symmetry")
                .with("--no-reduction")
                .bounded();
            return (self.check(self.bounds, &plain), "without reductions");
        }
        match self.bounds.smaller(&self.about.scope) {
            Some(bounds) => (self.check(&bounds, options), "with smaller bounds"),
            None => ("scopes".into(), "the bounds of each scope"),
        }
    }

    fn check(&self, bounds: &Bounds, options: &Options) -> String {
        let name = &self.about.scope.name;
        let bounds = bounds.arguments();
        format!(
            "check --scope {name}{bounds}{}{}",
            options.typed(),
            self.bug()
        )
    }

    fn simulate(&self) -> (String, &'static str) {
        let (name, bounds) = (&self.about.scope.name, self.bounds.arguments());
        (
            format!("simulate --scope {name}{bounds}{}", self.bug()),
            "random walks: they may find a violation and prove nothing",
        )
    }

    fn explore(&self) -> (String, &'static str) {
        let (name, bounds) = (&self.about.scope.name, self.bounds.arguments());
        (
            format!("explore --scope {name}{bounds}{}", self.bug()),
            "walk through its states in a browser",
        )
    }

    fn bug(&self) -> String {
        let bug = self.about.scope.mutant.map(Mutant::name);
        bug.map_or(String::new(), |name| format!(" --mutant {name}"))
    }
}

/// The program name to type in `directory`: as it was called, but never an absolute path.
pub(crate) fn typed_program(called: &Path, directory: &Path) -> String {
    if called.is_relative() {
        return called.display().to_string();
    }
    let name = Path::new(called.file_name().unwrap_or("raft-checker".as_ref()));
    match called.strip_prefix(directory) {
        Ok(below) if below == name => format!("./{}", name.display()),
        Ok(below) => below.display().to_string(),
        Err(_) => name.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_named_as_it_is_typed() {
        let typed = |called: &str| typed_program(Path::new(called), Path::new("/home/a"));
        assert_eq!(typed("raft-checker"), "raft-checker");
        assert_eq!(
            typed("target/release/raft-checker"),
            "target/release/raft-checker"
        );
        assert_eq!(
            typed("/home/a/target/release/raft-checker"),
            "target/release/raft-checker"
        );
        assert_eq!(typed("/home/a/raft-checker"), "./raft-checker");
        assert_eq!(typed("/opt/deep/down/raft-checker"), "raft-checker");
    }
}
