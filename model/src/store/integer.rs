//! Decimal integers in the grammar of Redis.
//!
//! Each number has one canonical form: digits without leading zeros, with `-` before a negative
//! number; no `+`, no `-0`, no spaces. This is the grammar of Redis's `string2ll`. A value that
//! Redis refuses to increment is therefore refused here too, and an increment never rewrites `007`
//! as `8`.

/// Parses a canonical 64-bit integer; returns `None` for any other bytes.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        // Executed by the test `lib::store::integer::tests::integer_has_one_spelling`.
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        // Executed by the test `lib::store::integer::tests::integer_has_one_spelling`.
        _ => false,
    };
    // Executed by the test `lib::store::integer::tests::integer_has_one_spelling`.
    if !canonical {
        return None;
    }
    let text = core::str::from_utf8(text);
    text.ok().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integer_has_one_spelling() {
        for number in [0, 1, -1, 10, -10, 1_234_567_890, i64::MAX, i64::MIN] {
            let text = alloc::format!("{number}");
            assert_eq!(parse_integer(text.as_bytes()), Some(number), "{text}");
        }
        for text in [
            &b""[..],
            b"-",
            b"+5",
            b"007",
            b"-0",
            b"-01",
            b"00",
            b" 1",
            b"1 ",
            b"1\n",
            b"1.0",
            b"1e3",
            b"0x1",
            b"--1",
            b"\xd9\xa1",
            b"\xff",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"99999999999999999999999999",
        ] {
            assert_eq!(parse_integer(text), None, "{}", text.escape_ascii());
        }
    }
}
