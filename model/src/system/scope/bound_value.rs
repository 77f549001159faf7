//! The value of a bound, as text and in JSON.

use core::{fmt, str::FromStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The value of a bound. Its text and JSON are the number, or `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundValue {
    /// A number.
    Number(u64),
    /// No limit, which only some bounds allow ([`super::Bound::may_be_any`]).
    Any,
}

impl BoundValue {
    /// The text of [`BoundValue::Any`].
    pub const ANY: &'static str = "any";

    /// Whether the bound permits more than this number.
    pub fn exceeds(self, most: u64) -> bool {
        match self {
            Self::Number(number) => number > most,
            Self::Any => true,
        }
    }
}

impl fmt::Display for BoundValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Any => f.pad(Self::ANY),
        }
    }
}

/// The text is not a [`BoundValue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotABoundValue;

impl fmt::Display for NotABoundValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give a number, or any where the bound allows it")
    }
}

impl core::error::Error for NotABoundValue {}

impl FromStr for BoundValue {
    type Err = NotABoundValue;

    fn from_str(text: &str) -> Result<Self, NotABoundValue> {
        if text == Self::ANY {
            return Ok(Self::Any);
        }
        text.parse().map(Self::Number).map_err(|_| NotABoundValue)
    }
}

impl Serialize for BoundValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Any => serializer.serialize_str(Self::ANY),
        }
    }
}

impl<'de> Deserialize<'de> for BoundValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = BoundValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or \"any\"")
            }

            fn visit_u64<E>(self, number: u64) -> Result<BoundValue, E> {
                Ok(BoundValue::Number(number))
            }

            // Formats with signed numbers only, such as TOML.
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<BoundValue, E> {
                let unsigned = number.try_into().map(BoundValue::Number);
                unsigned.map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<BoundValue, E> {
                let value = (text == BoundValue::ANY).then_some(BoundValue::Any);
                value.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
