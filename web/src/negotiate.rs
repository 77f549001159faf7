//! `Accept` and `Accept-Encoding` with their weights (RFC 9110 §12.4.2, §12.5).
//!
//! Malformed elements are ignored: some clients send media ranges that RFC 9110 does not allow (Java's
//! `*; q=.2`), and these headers are preferences.

use axum::http::{HeaderMap, HeaderName, header};

/// The weight of a media type for a client, from 0 (not acceptable) to 1000. The most specific range
/// decides. 1000 without an `Accept` header.
pub fn media_weight(headers: &HeaderMap, kind: &str) -> u16 {
    let Some(ranges) = ranges(headers, header::ACCEPT) else {
        return 1000;
    };
    let (main, _) = kind.split_once('/').unwrap_or((kind, ""));
    let any_of_main = format!("{main}/*");
    weight(&ranges, &[kind, &any_of_main, "*/*"]).unwrap_or(0)
}

/// Whether a client lists exactly this media type, with a weight above 0.
pub fn names_media(headers: &HeaderMap, kind: &str) -> bool {
    let ranges = ranges(headers, header::ACCEPT).unwrap_or_default();
    weight(&ranges, &[kind]).is_some_and(|weight| weight > 0)
}

/// Whether a range of `Accept` covers this media type, regardless of its weight.
pub fn mentions(headers: &HeaderMap, kind: &str) -> bool {
    let ranges = ranges(headers, header::ACCEPT).unwrap_or_default();
    let (main, _) = kind.split_once('/').unwrap_or((kind, ""));
    let any_of_main = format!("{main}/*");
    weight(&ranges, &[kind, &any_of_main, "*/*"]).is_some()
}

/// Whether a client accepts a response without content coding.
pub fn accepts_identity(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers, header::ACCEPT_ENCODING).unwrap_or_default();
    weight(&ranges, &["identity", "*"]) != Some(0)
}

/// The weight of the first listed name. The names are ordered from most to least specific.
fn weight(ranges: &[(String, u16)], names: &[&str]) -> Option<u16> {
    names.iter().find_map(|name| {
        let listed = ranges.iter().filter(|(range, _)| range == name);
        listed.map(|(_, weight)| *weight).max()
    })
}

/// The elements of a header in lower case, with their weights.
fn ranges(headers: &HeaderMap, name: HeaderName) -> Option<Vec<(String, u16)>> {
    if !headers.contains_key(&name) {
        return None;
    }
    let lines = headers.get_all(name).into_iter();
    let elements = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let ranges = elements.filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let range = parts.next()?.to_ascii_lowercase();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("q")
                .then_some(value.trim())
        });
        let weight = match weight {
            Some(text) => parse_weight(text)?,
            None => 1000,
        };
        (!range.is_empty()).then_some((range, weight))
    });
    Some(ranges.collect())
}

/// Parses a weight (`0`, `0.5`, `1.000`) in thousandths.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" if is_number => Some(thousandths),
        "1" if is_number && thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn most_specific_range_decides() {
        let weight = |value| media_weight(&headers(header::ACCEPT, value), "application/json");
        assert_eq!(weight("application/json"), 1000);
        assert_eq!(weight("*/*;q=0.3"), 300);
        assert_eq!(weight("application/*;q=0.2, */*"), 200);
        assert_eq!(weight("application/json;q=0, */*"), 0);
        assert_eq!(weight("Application/JSON; charset=utf-8; Q=0.5"), 500);
        assert_eq!(weight("text/html"), 0);
        assert_eq!(weight("text/html, *; q=.2, */*; q=0.2"), 200);
        assert_eq!(media_weight(&HeaderMap::new(), "application/json"), 1000);
    }

    #[test]
    fn excluded_type_is_not_named() {
        let names =
            |value| names_media(&headers(header::ACCEPT, value), "application/octet-stream");
        assert!(names("application/octet-stream"));
        assert!(names("application/json, application/octet-stream;q=0.001"));
        assert!(!names("application/octet-stream;q=0"));
        assert!(!names("application/octet-stream; q=0.000, */*"));
        assert!(!names("*/*"));
        assert!(!names("application/octet-stream;q=2"));
    }

    #[test]
    fn identity_is_accepted_unless_excluded() {
        let accepts = |value| accepts_identity(&headers(header::ACCEPT_ENCODING, value));
        assert!(accepts_identity(&HeaderMap::new()));
        assert!(accepts("gzip"));
        assert!(accepts("") && accepts("identity;q=0.5, *;q=0"));
        assert!(!accepts("identity;q=0"));
        assert!(!accepts("gzip, *;q=0"));
    }

    #[test]
    fn weights_are_thousandths() {
        assert_eq!(parse_weight("0"), Some(0));
        assert_eq!(parse_weight("0.5"), Some(500));
        assert_eq!(parse_weight("1."), Some(1000));
        for text in ["", "2", "-1", "0.1234", "1.001", ".5", "0.x", "+1"] {
            assert_eq!(parse_weight(text), None, "{text}");
        }
    }
}
