//! Diagnostics: sentences that are also data.
//!
//! A diagnostic explains a violation, a rejected trace or a rejected request. A person reads its English
//! sentence (`Display`). A program reads its code and its parameters: in JSON, a diagnostic is the object
//! `{"code": the name of the variant, ...the parameters}`. The page has a text for each code in its other
//! languages.

use core::{error::Error, fmt};
use serde::Serialize;

/// A sentence with a code and parameters.
pub trait Diagnostic: fmt::Display + fmt::Debug + Error + Serialize {
    /// The codes of this type, each with the names of its parameters.
    const CODES: &'static [(&'static str, &'static [&'static str])];
}

/// Defines an enum whose variants are diagnostics: a code, parameters, and an English sentence.
///
/// The sentence is a format string. It may name the parameters, and arguments can follow it. A parameter
/// that is a diagnostic itself makes a nested diagnostic.
///
/// ```
/// use model::system::Diagnostic;
///
/// model::diagnostics! {
///     /// The reason why a step is impossible.
///     enum Refusal {
///         /// The server is down.
///         Down { server: u64 } = "server {server} is down";
///         /// No such step exists.
///         NoSuchStep = "no such step exists";
///     }
/// }
///
/// assert_eq!(Refusal::Down { server: 2 }.to_string(), "server 2 is down");
/// assert_eq!(Refusal::NoSuchStep.to_string(), "no such step exists");
/// assert_eq!(Refusal::CODES[0], ("Down", &["server"][..]));
/// ```
#[macro_export]
macro_rules! diagnostics {
    ($(#[$about:meta])* $visibility:vis enum $name:ident {
        $(
            $(#[doc = $doc:literal])+
            $variant:ident $({ $($field:ident: $type:ty),+ $(,)? })? = $text:literal $(, $argument:expr)*;
        )+
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize)]
        #[serde(tag = "code")]
        #[allow(missing_docs, reason = "a parameter has its role in its name")]
        #[allow(
            clippy::enum_variant_names,
            reason = "a code is unique among all enums"
        )]
        $visibility enum $name {
            $($(#[doc = $doc])+ $variant $({ $($field: $type),+ })?,)+
        }

        impl $crate::system::Diagnostic for $name {
            const CODES: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($variant), &[$($(stringify!($field)),+)?]),)+];
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),+ })? => ::core::write!(f, $text $(, $argument)*),)+
                }
            }
        }

        impl ::core::error::Error for $name {}
    };
}
