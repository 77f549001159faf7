//! The selection of scopes and their bounds.

use crate::default_scopes::is_default;
use anyhow::Context;
use clap::{
    Arg, ArgMatches, Command,
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use model::{
    mutant::Mutant,
    system::{
        Limit, Scope,
        scope::{BOUNDS, BadBound, Bound, BoundValue},
    },
};
use std::collections::BTreeMap;

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

/// Bounds that replace a scope's own, by name. Without a scope, they apply to "crashes".
#[derive(Clone, Debug)]
pub(crate) struct Bounds(BTreeMap<&'static str, BoundValue>);

impl clap::Args for Bounds {
    fn augment_args(command: Command) -> Command {
        let heading = "Bounds, in place of the scope's own";
        command
            .next_help_heading(heading)
            .args(BOUNDS.iter().map(|bound| {
                Arg::new(bound.name)
                    .long(bound.name)
                    .value_name(if bound.may_be_any() { "N|any" } else { "N" })
                    .help(bound.help)
                    .value_parser(value_parser!(BoundValue))
            }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Bounds {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |bound: &Bound| {
            let value = matches.get_one::<BoundValue>(bound.name)?;
            Some((bound.name, *value))
        };
        Ok(Self(BOUNDS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

/// A scope to check.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) scope: Scope,
    /// Whether its bounds differ from the catalog's. In that case its witnesses may be unreachable.
    pub(crate) is_altered: bool,
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
                is_default(name)
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
    /// The bounds as they are typed, each with a space before it, in the order of the table.
    pub(crate) fn arguments(&self) -> String {
        let typed = |bound: &Bound| {
            let value = self.0.get(bound.name)?;
            Some(format!(" --{} {value}", bound.name))
        };
        BOUNDS.iter().filter_map(typed).collect()
    }

    /// Smaller bounds: at most three servers, two terms and one of everything else that events use up.
    /// If the scope is already within these, one term. Returns `None` if there are no smaller bounds.
    pub(crate) fn smaller(&self, scope: &Scope) -> Option<Self> {
        let small = [
            ("servers", 3),
            ("terms", 2),
            ("entries", 1),
            ("reads", 1),
            ("crashes", 1),
            ("snapshots", 1),
        ];
        let exceeded = |(name, most): &(&str, u64)| {
            Bound::named(name).is_some_and(|bound| bound.value(scope).exceeds(*most))
        };
        let cut = small.into_iter().filter(exceeded);
        let mut cut: BTreeMap<_, _> = cut
            .map(|(name, most)| (name, BoundValue::Number(most)))
            .collect();
        if cut.is_empty() && scope.terms > 1 {
            cut.insert("terms", BoundValue::Number(1));
        }
        (!cut.is_empty()).then(|| {
            let mut smaller = self.clone();
            smaller.0.extend(cut);
            smaller
        })
    }

    /// The bounds with any number of crashes. Returns `None` if the scope has these, if its servers cannot
    /// crash, or if clients are processes: a crash then makes every sync a step of its own, which
    /// multiplies the number of states.
    pub(crate) fn with_crashes(&self, scope: &Scope) -> Option<Self> {
        let may_crash = scope.plans.is_empty() && !scope.mixed_settings;
        (may_crash && scope.budget.crashes != Limit::Any).then(|| {
            let mut more = self.clone();
            more.0.insert("crashes", BoundValue::Any);
            more
        })
    }

    fn is_given(&self) -> bool {
        !self.0.is_empty()
    }

    /// A scope with these bounds in place of its own.
    ///
    /// # Errors
    /// If a bound is out of range.
    pub(crate) fn applied_to(&self, original: &Scope) -> anyhow::Result<Selected> {
        let mut scope = original.clone();
        let context = || format!("scope {} cannot have these bounds", original.name);
        for bound in BOUNDS {
            if let Some(value) = self.0.get(bound.name) {
                bound.replace(&mut scope, *value).with_context(context)?;
            }
        }
        if scope.plans.is_empty() && scope.attempts > original.attempts {
            let bound = "attempts";
            return Err(BadBound::BoundNeedsClients { bound }).with_context(context);
        }
        scope.reduction.merge_syncs &= scope.may_merge_syncs();
        scope.validate().with_context(context)?;
        let is_altered = BOUNDS
            .iter()
            .any(|bound| bound.value(&scope) != bound.value(original));
        Ok(Selected { scope, is_altered })
    }
}
