//! Numbers in a readable form.

use crate::plural::noun;
use std::{fmt, str::FromStr, time::Duration};

/// 1234567 as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and its noun, such as `1 term` or `2 terms`.
pub(crate) fn counted_grouped(number: u64, what: &str) -> String {
    format!("{} {}", grouped(number), noun(number, what))
}

/// A number of bytes with a unit.
pub(crate) fn bytes(number: u64) -> String {
    let mebibytes = number as f64 / f64::from(1 << 20);
    if mebibytes >= 1024.0 {
        format!("{:.1} GiB", mebibytes / 1024.0)
    } else {
        format!("{mebibytes:.0} MiB")
    }
}

/// A duration with a unit.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}

/// The rate per second.
pub(crate) fn rate(number: u64, duration: Duration) -> f64 {
    number as f64 / duration.as_secs_f64().max(1e-6)
}

/// A number of bytes as typed: `512M`, `16G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        let whole = |(shift, _): &&(u32, _)| self.0.trailing_zeros() >= *shift;
        match units.iter().find(whole) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "write a size as a number and a unit, such as 512M or 16G".to_owned();
        let digits = text.trim_end_matches(|symbol: char| !symbol.is_ascii_digit());
        let unit = text[digits.len()..].trim().to_ascii_uppercase();
        let shift = match unit.as_str() {
            "" | "B" => 0,
            "K" | "KB" | "KIB" => 10,
            "M" | "MB" | "MIB" => 20,
            "G" | "GB" | "GIB" => 30,
            "T" | "TB" | "TIB" => 40,
            _ => return Err(bad()),
        };
        let number: f64 = digits.parse().map_err(|_| bad())?;
        let bytes = number * (1_u64 << shift) as f64;
        if !(1.0..=2_f64.powi(63)).contains(&bytes) {
            return Err("out of range: the size is at least 1 byte and at most 8388608T".into());
        }
        Ok(Self(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!("512M".parse(), Ok(Size(512 << 20)));
        assert_eq!("16GiB".parse(), Ok(Size(16 << 30)));
        assert_eq!("1.5k".parse(), Ok(Size(1536)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        for text in ["512M", "16G", "3K", "1000"] {
            assert_eq!(
                text.parse().map(|size: Size| size.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in [
            "", "G", "0", "-1G", "16X", "1e30G", "many", "NaN", "inf", "١G",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["0", "0.1", "99999999999G", "8388609T"] {
            let why = text.parse::<Size>().expect_err("out of range");
            assert!(why.contains("at most 8388608T"), "{text}: {why}");
        }
        assert_eq!("8388608T".parse(), Ok(Size(1 << 63)));
    }

    #[test]
    fn nouns_agree_with_their_numbers() {
        assert_eq!(counted_grouped(0, "term"), "0 terms");
        assert_eq!(counted_grouped(1, "term"), "1 term");
        assert_eq!(counted_grouped(1_000, "term"), "1,000 terms");
    }
}
