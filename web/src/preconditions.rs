//! `If-Match` and `If-None-Match` (RFC 9110 §13.1).

use axum::http::{HeaderMap, HeaderName};

/// A header is not a valid list of entity tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header} is a list of quoted entity tags, as in {header}: \"12\", or *")]
pub struct BadTags {
    /// The header.
    pub header: HeaderName,
}

/// The value of one of the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any current representation.
    Any,
    /// A list of tags.
    List(Vec<Tag>),
}

/// An entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Whether the tag is weak (`W/`).
    pub weak: bool,
    /// The text between the quotes.
    pub opaque: Vec<u8>,
}

impl Tags {
    /// Parses a header, which may have several lines. Returns `None` if the header is absent.
    ///
    /// # Errors
    /// If it violates RFC 9110 §8.8.3 or §13.1. An empty list is rejected as well: a client that lost
    /// its condition must not execute an unconditional request.
    pub fn read(headers: &HeaderMap, header: HeaderName) -> Result<Option<Self>, BadTags> {
        if !headers.contains_key(&header) {
            return Ok(None);
        }
        let lines = headers.get_all(&header).into_iter();
        let lines: Vec<_> = lines.map(|line| line.as_bytes()).collect();
        parse(&lines.join(&b','))
            .map(Some)
            .ok_or(BadTags { header })
    }

    /// Whether the current representation, if it exists, matches one of these tags by the strong
    /// comparison that `If-Match` requires. The server's own tags are strong.
    pub fn match_strongly(&self, current: Option<&[u8]>) -> bool {
        self.any(current, |tag, current| !tag.weak && tag.opaque == current)
    }

    /// Like [`Self::match_strongly`], but with the weak comparison that `If-None-Match` requires.
    pub fn match_weakly(&self, current: Option<&[u8]>) -> bool {
        self.any(current, |tag, current| tag.opaque == current)
    }

    fn any(&self, current: Option<&[u8]>, is: impl Fn(&Tag, &[u8]) -> bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::List(tags), Some(current)) => tags.iter().any(|tag| is(tag, current)),
        }
    }
}

fn parse(text: &[u8]) -> Option<Tags> {
    if text.trim_ascii() == b"*" {
        return Some(Tags::Any);
    }
    let (mut tags, mut rest) = (Vec::new(), text);
    loop {
        // Empty elements are allowed (RFC 9110 §5.6.1.2).
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            break;
        }
        let weak = rest.starts_with(b"W/");
        if weak {
            rest = &rest[2..];
        }
        rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let opaque = rest[..end].to_vec();
        if !opaque
            .iter()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))
        {
            return None;
        }
        tags.push(Tag { weak, opaque });
        rest = rest[end + 1..].trim_ascii_start();
        if !matches!(rest, [] | [b',', ..]) {
            return None;
        }
    }
    (!tags.is_empty()).then_some(Tags::List(tags))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header::IF_MATCH};

    fn read(lines: &[&'static str]) -> Result<Option<Tags>, BadTags> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_static(line));
        }
        Tags::read(&headers, IF_MATCH)
    }

    #[test]
    fn lists_are_read() {
        let tag = |weak, opaque: &str| Tag {
            weak,
            opaque: opaque.into(),
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[" * "]), Ok(Some(Tags::Any)));
        let list = |tags: &[Tag]| Ok(Some(Tags::List(tags.to_vec())));
        assert_eq!(read(&["\"4\""]), list(&[tag(false, "4")]));
        let both = list(&[tag(true, "4"), tag(false, "a,b")]);
        assert_eq!(read(&["W/\"4\", \"a,b\""]), both);
        assert_eq!(read(&[" , W/\"4\" ,,\t\"a,b\","]), both);
        assert_eq!(read(&["W/\"4\"", "\"a,b\""]), both);
        assert_eq!(read(&["\"\""]), list(&[tag(false, "")]));
    }

    #[test]
    fn other_values_are_errors() {
        for value in [
            "",
            ",",
            "4",
            "\"4",
            "4\"",
            "w/\"4\"",
            "W/4",
            "W/ \"4\"",
            "\"4\" \"5\"",
            "\"4\"x",
            "*, \"4\"",
            "\"4\", *",
            "\"a b\"",
            "**",
        ] {
            assert!(read(&[value]).is_err(), "{value}");
        }
    }

    #[test]
    fn comparison_is_strong_or_weak() {
        let tags = read(&["W/\"4\", \"5\""]).unwrap().unwrap();
        let results =
            |current: Option<&[u8]>| (tags.match_strongly(current), tags.match_weakly(current));
        assert_eq!(results(Some(b"4")), (false, true));
        assert_eq!(results(Some(b"5")), (true, true));
        assert_eq!(results(Some(b"6")), (false, false));
        assert_eq!(results(None), (false, false));
        assert!(Tags::Any.match_strongly(Some(b"x")) && !Tags::Any.match_strongly(None));
    }
}
