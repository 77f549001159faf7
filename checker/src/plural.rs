//! Counted nouns, singular or plural, and lists.

use model::system::scope::BoundValue;
use std::borrow::Cow;

/// `1 crash`, `2 crashes`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {}", noun(count, what))
}

/// `1 crash`, `2 crashes`, `any number of crashes`.
pub(crate) fn bounded(bound: BoundValue, what: &str) -> String {
    match bound {
        BoundValue::Number(count) => counted(count, what),
        BoundValue::Any => format!("any number of {}", noun(2, what)),
    }
}

/// The noun for a number of things: singular or plural.
pub(crate) fn noun(count: u64, what: &str) -> Cow<'_, str> {
    if count == 1 {
        return what.into();
    }
    if let Some(stem) = what.strip_suffix('y') {
        return format!("{stem}ies").into();
    }
    let ending = if what.ends_with('h') { "es" } else { "s" };
    format!("{what}{ending}").into()
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}
