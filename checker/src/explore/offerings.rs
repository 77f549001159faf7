//! The list of scopes, bounds, bugs, properties and predicates that the page offers.

use super::{
    predicates::PREDICATES,
    world::{self, bounds_of},
};
use crate::{
    catalog::{Breaks, Method},
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
                    && crate::cli::is_default_scope(&scope.name),
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
                "property": entry.breaks.name(),
                "method": entry.method().name(),
                "scenario": entry.scenario().map(TimedScenario::name),
                "scope": entry.scope.name,
                "bounds": bounds_of(&entry.scope),
            })
        })
        .collect();
    let properties: Vec<Value> = Property::ALL
        .iter()
        .map(|property| json!({"name": property.name(), "about": about(*property)}))
        .collect();
    let liveness: Vec<Value> = Breaks::LIVENESS
        .iter()
        .map(|breaks| json!({"name": breaks.name(), "about": breaks.about()}))
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

/// A description of a property.
fn about(property: Property) -> &'static str {
    match property {
        Property::ElectionSafety => "At most one leader is ever elected in a term (Figure 3).",
        Property::LeaderAppendOnly => {
            "A leader never overwrites or removes entries of its log (Figure 3)."
        }
        Property::LogMatching => {
            "Two logs with an entry of the same index and term agree up to it (Figure 3)."
        }
        Property::LeaderCompleteness => {
            "A committed entry is in the log of every leader of a later term (Figure 3)."
        }
        Property::StateMachineSafety => {
            "No two servers ever apply different entries at one index (Figure 3)."
        }
        Property::Monotone => {
            "No server's term or commit index falls while it runs, nor its term below what it had \
             made durable."
        }
        Property::OneVotePerTerm => {
            "A server votes for one candidate in a term, restarts or not; it speaks of no vote \
             that its disk does not hold."
        }
        Property::AcknowledgedWritesKept => "An acknowledged write is committed, and stays so.",
        Property::ExactlyOnce => {
            "The store holds what the committed commands make, each applied once."
        }
        Property::Linearizability => {
            "Client operations appear to take effect one at a time, between call and return."
        }
        Property::TermsOrderedInLog => "Terms never fall within a log.",
        Property::MatchIsDurable => {
            "A leader's match_index never exceeds what that server holds durably, and a server \
             acknowledges only entries its disk holds."
        }
        Property::Invariants => {
            "The invariants every server checks after every step, in deployment too."
        }
    }
}
