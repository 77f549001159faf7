//! The list of scopes, bounds, bugs, properties and predicates that the page offers.

use super::{
    predicates::PREDICATES,
    world::{self, bounds_of},
};
use crate::{
    catalog::{Method, Violates},
    default_scopes::is_default,
    timed::TimedScenario,
};
use model::system::{Property, Scope, Witness, scope::BOUNDS};
use serde_json::{Value, json};

/// `GET /api/catalog`
pub(super) fn catalog() -> Value {
    let known = Scope::catalog();
    let scopes: Vec<Value> = world::scopes()
        .iter()
        .map(|scope| {
            json!({
                "name": scope.name,
                "about": scope.summary,
                "bounds": bounds_of(scope),
                "must_reach": scope.expected.iter().copied().map(Witness::name).collect::<Vec<_>>(),
                "default": known.iter().any(|known| known.name == scope.name)
                    && is_default(&scope.name),
                "clients": scope.plans.len(),
            })
        })
        .collect();
    let bounds: Vec<Value> = BOUNDS
        .iter()
        .map(|bound| {
            json!({
                "name": bound.name,
                "about": bound.help,
                "min": bound.min,
                "max": bound.max,
                "may_be_any": bound.may_be_any(),
            })
        })
        .collect();
    let mutants: Vec<Value> = world::entries()
        .iter()
        .map(|entry| {
            let seen_in = entry.mutant.seen_in();
            json!({
                "name": entry.mutant.name(),
                "about": entry.mutant.summary(),
                "seen_in": (!seen_in.is_empty()).then_some(seen_in),
                "property": entry.violates.name(),
                "method": entry.method().name(),
                "scenario": entry.scenario().map(TimedScenario::name),
                "scope": entry.scope.name,
                "bounds": bounds_of(&entry.scope),
            })
        })
        .collect();
    let properties: Vec<Value> = Property::ALL
        .iter()
        .map(|property| json!({"name": property.name(), "about": property.summary()}))
        .collect();
    let liveness: Vec<Value> = Violates::LIVENESS
        .iter()
        .map(|violates| json!({"name": violates.name(), "about": violates.about()}))
        .collect();
    let methods: Vec<Value> = Method::ALL
        .iter()
        .map(|method| json!({"name": method.name(), "about": method.about()}))
        .collect();
    let scenarios: Vec<Value> = TimedScenario::ALL
        .iter()
        .map(|scenario| json!({"name": scenario.name(), "about": scenario.about()}))
        .collect();
    let predicates: Vec<Value> = PREDICATES
        .iter()
        .map(|predicate| json!({"name": predicate.name, "about": predicate.about}))
        .collect();
    json!({
        "scopes": scopes,
        "bounds": bounds,
        "mutants": mutants,
        "properties": properties,
        "liveness": liveness,
        "methods": methods,
        "scenarios": scenarios,
        "predicates": predicates,
    })
}
