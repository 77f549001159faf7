//! Conversion between values and text.

use std::time::Duration;

pub(crate) use client::recorded::show;

/// Escapes text for a terminal: control characters and characters that change the text direction, as
/// in error messages.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.extend(c.escape_debug()),
            c if c.is_control() => shown.extend(c.escape_debug()),
            c => shown.push(c),
        }
    }
    shown
}

/// Parses a duration, as in 100ms or 2s.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let form = || format!("{text:?} is not a positive duration such as 100ms or 2s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(form)?, 1000),
    };
    let number: u64 = number.parse().map_err(|_| form())?;
    match number.checked_mul(unit) {
        Some(millis @ 1..=86_400_000) => Ok(Duration::from_millis(millis)),
        _ => Err(form()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_limit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        for text in [
            "2",
            "s",
            "-1s",
            "0s",
            "1h",
            "86401s",
            "99999999999999999999s",
            "18446744073709551615s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
