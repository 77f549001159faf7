//! The selection of scopes and their bounds.

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use model::{
    mutant::Mutant,
    system::{Scope, scope::MAX_BUDGET},
};

/// The scopes that are checked by default: about three minutes on two cores.
const DEFAULT_SCOPES: &[&str] = &[
    "elections",
    "elections-4",
    "older-term",
    "split-writes",
    "split-entries",
    "pipelining",
    "replication",
    "quorum",
    "reads",
    "end-to-end",
    "snapshots",
    "snapshots-entries",
    "crashes",
    "crashes-2",
    "elections-5",
    "fail-over",
    "sessions",
];
/// The scope for bounds without a scope.
const BASE_SCOPE: &str = "crashes";

#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Scope to check; repeatable
    #[arg(long = "scope", value_name = "NAME", value_parser = names())]
    scopes: Vec<String>,
    /// Check every scope, not only the default ones
    #[arg(long, conflicts_with = "scopes")]
    all: bool,
    #[command(flatten)]
    bounds: Bounds,
}

/// Bounds that replace a scope's own. Without a scope, they apply to "crashes".
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Bounds, in place of the scope's own")]
pub(crate) struct Bounds {
    /// Number of servers
    #[arg(long, value_name = "N")]
    servers: Option<u64>,
    /// Number of terms that servers may enter
    #[arg(long, value_name = "N")]
    terms: Option<u64>,
    /// Number of entries that clients request
    #[arg(long, value_name = "N")]
    entries: Option<u64>,
    /// Number of reads that leaders accept
    #[arg(long, value_name = "N")]
    reads: Option<u64>,
    /// Number of server crashes
    #[arg(long, value_name = "N")]
    crashes: Option<u64>,
    /// Number of snapshots that servers take
    #[arg(long, value_name = "N")]
    snapshots: Option<u64>,
    /// Maximum number of entries in one message
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
    /// Number of times that a client sends a request
    #[arg(long, value_name = "N")]
    attempts: Option<u64>,
}

/// A scope to check.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) scope: Scope,
    /// Whether its bounds differ from the catalog's. In that case its witnesses may be unreachable.
    pub(crate) is_altered: bool,
}

/// Whether a scope is checked by default.
pub(crate) fn is_default(name: &str) -> bool {
    DEFAULT_SCOPES.contains(&name)
}

/// Parses the name of a scope, and suggests the nearest name if there is no such scope.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(Scope::catalog().into_iter().map(|scope| scope.name))
}

/// Parses the name of a bug, and suggests the nearest name if there is no such bug.
pub(crate) fn mutants() -> impl TypedValueParser<Value = Mutant> {
    let names = Mutant::ALL.iter().map(|mutant| mutant.name());
    PossibleValuesParser::new(names).map(|name| {
        let found = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        *found.expect("only names of mutants are read")
    })
}

/// The scope with this name.
///
/// # Errors
/// If there is none.
pub(crate) fn named(name: &str) -> anyhow::Result<Scope> {
    Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name)
        .with_context(|| format!("there is no scope {name}: `raft-checker scopes` lists them"))
}

impl Selection {
    /// The given bounds.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Whether no scope and no bound was given: the default scopes with their own bounds.
    pub(crate) fn is_default(&self) -> bool {
        self.scopes.is_empty() && !self.all && !self.bounds.is_given()
    }

    /// The selected scopes, each once, in the order of the catalog.
    ///
    /// # Errors
    /// If a bound is out of range.
    pub(crate) fn scopes(&self) -> anyhow::Result<Vec<Selected>> {
        let is_asked = |name: &str| {
            if self.all {
                true
            } else if !self.scopes.is_empty() {
                self.scopes.iter().any(|asked| asked == name)
            } else if self.bounds.is_given() {
                name == BASE_SCOPE
            } else {
                DEFAULT_SCOPES.contains(&name)
            }
        };
        Scope::catalog()
            .into_iter()
            .filter(|scope| is_asked(&scope.name))
            .map(|scope| self.bounds.applied_to(&scope))
            .collect()
    }
}

impl Bounds {
    /// The bounds as they are typed, each with a space before it.
    pub(crate) fn arguments(&self) -> String {
        let Self {
            servers,
            terms,
            entries,
            reads,
            crashes,
            snapshots,
            batch,
            attempts,
        } = self;
        let typed = |name: &str, bound: &Option<u64>| match bound {
            Some(bound) => format!(" --{name} {bound}"),
            None => String::new(),
        };
        [
            typed("servers", servers),
            typed("terms", terms),
            typed("entries", entries),
            typed("reads", reads),
            typed("crashes", crashes),
            typed("snapshots", snapshots),
            typed("batch", batch),
            typed("attempts", attempts),
        ]
        .concat()
    }

    /// Smaller bounds: at most three servers, two terms and one of everything else. If the scope is
    /// already within these, one term. Returns `None` if there are no smaller bounds.
    pub(crate) fn smaller(&self, scope: &Scope) -> Option<Self> {
        let mut less = self.clone();
        let mut is_less = false;
        let mut cut = |bound: &mut Option<u64>, has: u64, most: u64| {
            if has > most {
                *bound = Some(most);
                is_less = true;
            }
        };
        cut(&mut less.servers, scope.servers, 3);
        cut(&mut less.terms, scope.terms, 2);
        cut(&mut less.entries, scope.budget.entries.into(), 1);
        cut(&mut less.reads, scope.budget.reads.into(), 1);
        cut(&mut less.crashes, scope.budget.crashes.into(), 1);
        cut(&mut less.snapshots, scope.budget.snapshots.into(), 1);
        if !is_less && scope.terms > 1 {
            less.terms = Some(1);
            is_less = true;
        }
        is_less.then_some(less)
    }

    /// The bounds with one more crash. Returns `None` if clients are processes: a crash then makes every
    /// sync a step of its own, which multiplies the number of states.
    pub(crate) fn with_crash(&self, scope: &Scope) -> Option<Self> {
        let crashes = scope.budget.crashes + 1;
        (scope.plans.is_empty() && crashes <= MAX_BUDGET).then(|| Self {
            crashes: Some(crashes.into()),
            ..self.clone()
        })
    }

    fn is_given(&self) -> bool {
        !self.arguments().is_empty()
    }

    /// A scope with these bounds in place of its own.
    ///
    /// # Errors
    /// If a bound is out of range.
    pub(crate) fn applied_to(&self, original: &Scope) -> anyhow::Result<Selected> {
        let mut scope = original.clone();
        scope.servers = self.servers.unwrap_or(scope.servers);
        scope.terms = self.terms.unwrap_or(scope.terms);
        scope.budget.entries = budget("entries", self.entries, scope.budget.entries)?;
        scope.budget.reads = budget("reads", self.reads, scope.budget.reads)?;
        scope.budget.crashes = budget("crashes", self.crashes, scope.budget.crashes)?;
        scope.budget.snapshots = budget("snapshots", self.snapshots, scope.budget.snapshots)?;
        if let Some(batch) = self.batch {
            scope.batch = usize::try_from(batch).unwrap_or(usize::MAX);
        }
        if let Some(attempts) = self.attempts {
            scope.attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
        }
        scope.reduction.merge_syncs &= scope.may_merge_syncs();
        scope
            .validate()
            .with_context(|| format!("scope {} cannot have these bounds", scope.name))?;
        let bounds = |scope: &Scope| {
            (
                (scope.servers, scope.terms, scope.budget),
                (scope.batch, scope.attempts),
            )
        };
        let is_altered = bounds(&scope) != bounds(original);
        Ok(Selected { scope, is_altered })
    }
}

fn budget(what: &str, given: Option<u64>, original: u8) -> anyhow::Result<u8> {
    let Some(given) = given else {
        return Ok(original);
    };
    match u8::try_from(given) {
        Ok(budget) if budget <= MAX_BUDGET => Ok(budget),
        _ => bail!("{what} {given} is out of range: give 0 to {MAX_BUDGET}"),
    }
}
