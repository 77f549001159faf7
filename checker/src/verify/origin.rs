//! The relation of a certificate's scope to the catalog: a certificate with the name of a scope and with
//! other bounds must not pass for that scope.

use model::system::{Reduction, Scope};
use std::fmt::Display;

/// The scope of a certificate, compared with the scope of the same name in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It has all bounds of the catalog's scope. It may have fewer reductions, which removes no state
    /// from the claim.
    Catalog,
    /// It has other bounds: each with its value, and the value in the catalog.
    Altered(Vec<String>),
    /// The catalog has no scope of this name.
    Unknown,
}

impl Origin {
    /// The origin of a scope.
    pub(super) fn new(scope: &Scope) -> Self {
        let catalog = Scope::catalog();
        match catalog.iter().find(|original| original.name == scope.name) {
            None => Self::Unknown,
            Some(original) => match differences(scope, original) {
                differences if differences.is_empty() => Self::Catalog,
                differences => Self::Altered(differences),
            },
        }
    }

    /// The name under which the certificate is accepted, for a scope called `name`.
    pub(super) fn qualified(&self, name: &str) -> String {
        match self {
            Self::Catalog => name.to_owned(),
            Self::Altered(differences) => {
                format!("altered {name} ({})", differences.join("; "))
            }
            Self::Unknown => format!("{name} (not in the catalog)"),
        }
    }
}

/// Each bound of a scope that differs from the original.
fn differences(scope: &Scope, original: &Scope) -> Vec<String> {
    // The pattern has no `..`, so that a new bound must be compared.
    let Scope {
        name: _,
        summary: _,
        servers,
        terms,
        budget,
        batch,
        window,
        together,
        pre_vote,
        check_quorum,
        trailing_bytes,
        max_sessions,
        mixed_settings,
        state_quota,
        append_entries,
        with_session,
        starts_with_leader,
        direct_clients,
        tracks_operations,
        plans,
        attempts,
        reduction,
        mutant,
        flaw: _,
        properties,
        expected: _,
    } = scope;
    let of = &original.budget;
    let mut found = vec![
        difference("servers", servers, &original.servers),
        difference("terms", terms, &original.terms),
        difference("entries", &budget.entries, &of.entries),
        difference("reads", &budget.reads, &of.reads),
        difference("crashes", &budget.crashes, &of.crashes),
        difference("snapshots", &budget.snapshots, &of.snapshots),
        difference("client crashes", &budget.client_crashes, &of.client_crashes),
        difference("proxy crashes", &budget.proxy_crashes, &of.proxy_crashes),
        difference("transfers", &budget.transfers, &of.transfers),
        difference("attempts", attempts, &original.attempts),
        difference("batch", batch, &original.batch),
        difference("window", window, &original.window),
        difference("trailing bytes", trailing_bytes, &original.trailing_bytes),
        difference(
            "sessions",
            &max_sessions.unwrap_or(0),
            &original.max_sessions.unwrap_or(0),
        ),
        difference(
            "state quota",
            &state_quota.unwrap_or(0),
            &original.state_quota.unwrap_or(0),
        ),
    ];
    let switches = [
        ("writes together", together, &original.together),
        ("pre-vote", pre_vote, &original.pre_vote),
        ("quorum checked", check_quorum, &original.check_quorum),
        ("mixed settings", mixed_settings, &original.mixed_settings),
        ("appends", append_entries, &original.append_entries),
        ("session", with_session, &original.with_session),
        (
            "leader at the start",
            starts_with_leader,
            &original.starts_with_leader,
        ),
        ("direct clients", direct_clients, &original.direct_clients),
        (
            "operations checked",
            tracks_operations,
            &original.tracks_operations,
        ),
    ];
    let yes_no = |flag: &bool| if *flag { "yes" } else { "no" };
    for (name, is_on, was_on) in switches {
        found.push(difference(name, &yes_no(is_on), &yes_no(was_on)));
    }
    let differs = |is_other: bool, text: &str| is_other.then(|| text.to_owned());
    found.extend([
        differs(*plans != original.plans, "other operations of clients"),
        differs(*mutant != original.mutant, "another planted bug"),
        differs(*properties != original.properties, "other properties"),
        differs(
            has_more(*reduction, original.reduction),
            "a reduction that the scope does not have",
        ),
    ]);
    found.into_iter().flatten().collect()
}

fn difference<T: PartialEq + Display>(name: &str, value: &T, original: &T) -> Option<String> {
    (value != original).then(|| format!("{name} {value}, in the catalog {original}"))
}

/// Whether a reduction is on that is off in the original.
fn has_more(reduction: Reduction, original: Reduction) -> bool {
    let Reduction {
        merge_syncs,
        merge_restarts,
        drop_dead,
        send_early,
        forget_hints,
        trim_appends,
    } = reduction;
    (merge_syncs && !original.merge_syncs)
        || (merge_restarts && !original.merge_restarts)
        || (drop_dead && !original.drop_dead)
        || (send_early && !original.send_early)
        || (forget_hints && !original.forget_hints)
        || (trim_appends && !original.trim_appends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::system::{Limit, Properties, Property};

    fn origin(name: &str, change: impl FnOnce(&mut Scope)) -> Origin {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == name);
        let mut scope = scope.expect("a scope of the catalog");
        change(&mut scope);
        Origin::new(&scope)
    }

    #[test]
    fn every_scope_of_the_catalog_keeps_its_name() {
        for scope in Scope::catalog() {
            assert_eq!(Origin::new(&scope), Origin::Catalog, "{}", scope.name);
        }
        let plain = origin("crashes", |scope| scope.reduction = Reduction::NONE);
        assert_eq!(plain, Origin::Catalog);
        let unknown = origin("crashes", |scope| scope.name = "mine".into());
        assert_eq!(unknown, Origin::Unknown);
        assert_eq!(unknown.qualified("mine"), "mine (not in the catalog)");
    }

    #[test]
    fn every_altered_bound_is_named() {
        type Change = fn(&mut Scope);
        let changes: [(Change, &str); 26] = [
            (|scope| scope.servers = 2, "servers 2, in the catalog 3"),
            (|scope| scope.terms = 1, "terms 1, in the catalog 2"),
            (|scope| scope.budget.entries = 1, "entries 1"),
            (|scope| scope.budget.reads = 1, "reads 1"),
            (|scope| scope.budget.crashes = Limit::Never, "crashes 0"),
            (
                |scope| scope.budget.snapshots = Limit::AtMost(1),
                "snapshots 1",
            ),
            (
                |scope| scope.budget.client_crashes = Limit::Any,
                "client crashes any",
            ),
            (
                |scope| scope.budget.proxy_crashes = Limit::Any,
                "proxy crashes any",
            ),
            (|scope| scope.budget.transfers = Limit::Any, "transfers any"),
            (|scope| scope.attempts = 2, "attempts 2"),
            (|scope| scope.batch = 1, "batch 1, in the catalog 64"),
            (|scope| scope.window = 2, "window 2"),
            (|scope| scope.trailing_bytes = 64, "trailing bytes 64"),
            (|scope| scope.max_sessions = Some(2), "sessions 2"),
            (|scope| scope.state_quota = Some(99), "state quota 99"),
            (|scope| scope.together = true, "writes together yes"),
            (|scope| scope.pre_vote = true, "pre-vote yes"),
            (|scope| scope.check_quorum = true, "quorum checked yes"),
            (|scope| scope.mixed_settings = true, "mixed settings yes"),
            (|scope| scope.append_entries = false, "appends no"),
            (|scope| scope.with_session = false, "session no"),
            (|scope| scope.starts_with_leader = true, "leader at the"),
            (|scope| scope.direct_clients = false, "direct clients no"),
            (|scope| scope.tracks_operations = true, "operations checked"),
            (|scope| scope.plans = vec![Vec::new()], "operations of"),
            (
                |scope| {
                    scope.properties = Properties::only(Property::LogMatching);
                },
                "other properties",
            ),
        ];
        for (change, words) in changes {
            let altered = origin("crashes", change);
            let text = altered.qualified("crashes");
            assert!(text.starts_with("altered crashes ("), "{words}: {text}");
            assert!(text.contains(words), "{words}: {text}");
        }
        let merged = origin("split-writes", |scope| scope.reduction.merge_syncs = true);
        let text = merged.qualified("split-writes");
        assert!(text.contains("a reduction that the scope does not have"));
    }
}
