//! The world of a walk: a scope of the catalog, with bounds that replace its own, and optionally a
//! planted bug.
//!
//! A bound has the same name as on the command line. If scope, bounds and bug are those with which
//! [`crate::catalog`] finds that bug, the world is the catalog's own. This includes settings that are
//! not bounds (the operations of a client, PreVote). So a bug that is selected in the page is found
//! where it is known to be found.

use super::problem::Problem;
use crate::catalog::{self, CatalogEntry};
use model::{
    mutant::Mutant,
    system::{
        Properties, Reduction, Scope,
        scope::{BOUNDS, Bound, BoundValue},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

/// All scopes: those of the catalog, then the scopes that only show planted bugs.
pub(super) fn scopes() -> &'static [Scope] {
    static SCOPES: LazyLock<Vec<Scope>> = LazyLock::new(|| {
        let mut scopes = Scope::catalog();
        for entry in entries() {
            if scopes.iter().all(|scope| scope.name != entry.scope.name) {
                scopes.push(Scope {
                    mutant: None,
                    properties: Properties::ALL,
                    ..entry.scope.clone()
                });
            }
        }
        scopes
    });
    &SCOPES
}

/// The catalog of bugs, with the scope that finds each.
pub(super) fn entries() -> &'static [CatalogEntry] {
    static ENTRIES: LazyLock<Vec<CatalogEntry>> = LazyLock::new(catalog::entries);
    &ENTRIES
}

model::diagnostics! {
    /// The reason why there is no such world.
    pub(super) enum BadWorld {
        /// The scope is unknown.
        UnknownScope { name: String } = "there is no scope {name:?}: /api/catalog lists them";
        /// The bound is unknown.
        UnknownBound { name: String } = "there is no bound {name:?}: /api/catalog lists them";
        /// The planted bug is unknown.
        MutantNotFound { name: String } = "there is no bug {name:?} to plant: /api/catalog lists them";
    }
}

/// A request for a world.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WorldRequest {
    scope: ScopeRequest,
    #[serde(default)]
    mutant: Option<String>,
    #[serde(default)]
    steps: Steps,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeRequest {
    name: String,
    #[serde(default)]
    bounds: BTreeMap<String, BoundValue>,
}

/// The granularity of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Steps {
    /// As the scope merges them.
    #[default]
    Merged,
    /// Every sync and every restart is a step of its own.
    Split,
}

impl Steps {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Split => "split",
        }
    }
}

/// The bounds of a scope by name.
pub(super) fn bounds_of(scope: &Scope) -> BTreeMap<&'static str, BoundValue> {
    BOUNDS
        .iter()
        .map(|bound| (bound.name, bound.value(scope)))
        .collect()
}

/// A world to walk through.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// The scope with the planted bug, all properties checked, and the reductions for `steps`.
    pub(super) scope: Scope,
    pub(super) steps: Steps,
    /// The catalog entry of the planted bug, if the catalog finds the bug in this scope.
    pub(super) entry: Option<Box<CatalogEntry>>,
}

impl World {
    /// The world that a request selects.
    pub(super) fn find(asked: &WorldRequest) -> Result<Self, Problem> {
        let name = &asked.scope.name;
        let named = scopes()
            .iter()
            .find(|scope| scope.name == *name)
            .cloned()
            .ok_or_else(|| Problem::unknown(BadWorld::UnknownScope { name: name.clone() }))?;
        let mut scope = named;
        for (name, value) in &asked.scope.bounds {
            let bound = Bound::named(name)
                .ok_or_else(|| Problem::bad(BadWorld::UnknownBound { name: name.clone() }))?;
            bound.replace(&mut scope, *value).map_err(Problem::bad)?;
        }
        scope.reduction.merge_syncs &= scope.may_merge_syncs();
        scope.validate().map_err(Problem::bad)?;
        let mutant = asked.mutant.as_deref().map(mutant).transpose()?;
        scope.mutant = mutant;
        let entry = mutant.and_then(|mutant| known_place(mutant, &scope));
        if let Some(entry) = &entry {
            scope = Scope {
                expected: scope.expected,
                properties: Properties::ALL,
                ..entry.scope.clone()
            };
        }
        if asked.steps == Steps::Split {
            scope.reduction = Reduction::NONE;
        }
        Ok(Self {
            scope,
            steps: asked.steps,
            entry,
        })
    }

    /// The world of a trace.
    pub(super) fn from_trace(scope: &Scope) -> Self {
        let is_split = !scope.reduction.merge_syncs && !scope.reduction.merge_restarts;
        Self {
            scope: Scope {
                properties: Properties::ALL,
                ..scope.clone()
            },
            steps: if is_split {
                Steps::Split
            } else {
                Steps::Merged
            },
            entry: None,
        }
    }

    /// The request for this world, if there is one.
    pub(super) fn place(&self) -> Option<Value> {
        let mutant = self.scope.mutant.map(Mutant::name);
        let alike = |scope: &Scope| {
            // Ignores the settings that have no effect on walks.
            let mut real = crate::trace::real_network(scope);
            real.reduction.forget_hints = false;
            serde_json::to_string(&real).ok()
        };
        let named = |steps: Steps| {
            let asked = json!({
                "scope": {"name": self.scope.name, "bounds": bounds_of(&self.scope)},
                "mutant": mutant,
                "steps": steps.name(),
            });
            let found = Self::find(&serde_json::from_value(asked.clone()).ok()?).ok()?;
            (alike(&found.scope) == alike(&self.scope)).then_some(asked)
        };
        named(Steps::Merged).or_else(|| named(Steps::Split))
    }

    /// A name that distinguishes the world from all others.
    pub(super) fn name(&self) -> String {
        let bounds = serde_json::to_string(&self.scope).expect("a scope has a form in JSON");
        let mutant = self.scope.mutant.map_or("", Mutant::name);
        format!("{} {mutant} {bounds}", self.steps.name())
    }
}

fn mutant(name: &str) -> Result<Mutant, Problem> {
    let mut all = Mutant::ALL.iter().copied();
    all.find(|mutant| mutant.name() == name)
        .ok_or_else(|| Problem::unknown(BadWorld::MutantNotFound { name: name.into() }))
}

/// The catalog entry of a bug, if the scope is where the catalog finds it.
fn known_place(mutant: Mutant, scope: &Scope) -> Option<Box<CatalogEntry>> {
    let entry = entries().iter().find(|entry| entry.mutant == mutant)?;
    let is_there = entry.scope.name == scope.name && bounds_of(&entry.scope) == bounds_of(scope);
    is_there.then(|| Box::new(entry.clone()))
}
