//! Reads commands off the wire: arrays of bulk strings, and nothing else.
//!
//! Strict and bounded, because anyone may connect. Deviation: `redis-protocol` writes the replies
//! but does not read the commands, as its decoder follows nested arrays without a bound on their
//! depth, and a few hundred kilobytes of `*1` would use up the stack and end the process.

use bytes::{Buf, Bytes, BytesMut};

/// The most arguments of one command.
pub(crate) const MAX_ARGUMENTS: usize = 1024;
/// Digits, sign and line end; more than any length needs.
const MAX_HEADER: usize = 24;

/// What is wrong with the bytes. Nothing that follows can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("Protocol error: expected '{expected}', got '{}'", char::from(*got).escape_default())]
    Kind { expected: char, got: u8 },
    #[error("Protocol error: invalid length")]
    Length,
    #[error("Protocol error: {0} arguments, the limit is {MAX_ARGUMENTS}")]
    Arguments(usize),
    #[error("Protocol error: the command has more than {0} bytes")]
    Long(usize),
    #[error("Protocol error: an argument does not end where its length says")]
    End,
}

/// Takes one command off the front, if all of it has arrived. An empty one means nothing.
/// Once `buffer` holds more than `limit` bytes and this still returns `None`, more is read in
/// vain: the next call returns an error.
pub(crate) fn parse(buffer: &mut BytesMut, limit: usize) -> Result<Option<Vec<Bytes>>, ParseError> {
    let Some((count, mut position)) = header(buffer, 0, '*')? else {
        return Ok(None);
    };
    if count > MAX_ARGUMENTS {
        return Err(ParseError::Arguments(count));
    }
    let mut ends = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((length, start)) = header(buffer, position, '$')? else {
            return Ok(None);
        };
        position = start.saturating_add(length).saturating_add(2);
        if position > limit {
            return Err(ParseError::Long(limit));
        }
        ends.push(start..start + length);
        if let Some(line_end) = buffer.get(start + length..position)
            && line_end != b"\r\n"
        {
            return Err(ParseError::End);
        }
    }
    if buffer.len() < position {
        return Ok(None);
    }
    let command = buffer.split_to(position).freeze();
    let arguments = ends.into_iter().map(|range| command.slice(range));
    Ok(Some(arguments.collect()))
}

/// A length behind its mark, and where the line after it begins. `None` if it has not arrived.
fn header(buffer: &[u8], at: usize, expected: char) -> Result<Option<(usize, usize)>, ParseError> {
    let Some(mut line) = buffer.get(at..).filter(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let got = line[0];
    if got != expected as u8 {
        return Err(ParseError::Kind { expected, got });
    }
    line.advance(1);
    let seen = &line[..line.len().min(MAX_HEADER)];
    let Some(length) = seen.iter().position(|byte| *byte == b'\n') else {
        return match seen.len() {
            MAX_HEADER => Err(ParseError::Length),
            _ => Ok(None),
        };
    };
    let digits = seen[..length]
        .strip_suffix(b"\r")
        .ok_or(ParseError::Length)?;
    let digits = match (expected, digits) {
        // The null array means the same as the empty one. There is no null argument.
        ('*', b"-1") => b"0",
        _ => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::Length);
    }
    let number = str::from_utf8(digits).map_err(|_| ParseError::Length)?;
    let number = number.parse().map_err(|_| ParseError::Length)?;
    Ok(Some((number, at + 1 + length + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn one(bytes: &[u8]) -> Result<Option<Vec<Bytes>>, ParseError> {
        parse(&mut BytesMut::from(bytes), LIMIT)
    }

    #[test]
    fn command_is_taken_off_the_front() {
        let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n"[..]);
        let command = parse(&mut buffer, LIMIT).unwrap().unwrap();
        assert_eq!(command, [&b"GET"[..], b"\r\n"]);
        assert_eq!(&buffer[..], b"*1\r\n");
        assert_eq!(parse(&mut buffer, LIMIT), Ok(None));
    }

    #[test]
    fn command_in_pieces_is_waited_for() {
        let whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(one(&whole[..end]), Ok(None), "{end}");
        }
        assert_eq!(one(whole).unwrap().unwrap().len(), 3);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(one(b"*0\r\n"), Ok(Some(vec![])));
        assert_eq!(one(b"*-1\r\n"), Ok(Some(vec![])));
    }

    #[test]
    fn nonsense_is_refused() {
        for nonsense in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PING\r\n",
            b"\r\n",
            b"*x\r\n",
            b"*\r\n",
            b"*+1\r\n",
            b"*-2\r\n",
            b"*1\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n*1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$1\r\nabc",
            b"*1025\r\n",
            b"*99999999999999999999999\r\n",
            b"*1\r\n$18446744073709551615\r\n",
            b"*1\r\n$1000\r\n",
            b"*000000000000000000000000000000000000000",
        ] {
            assert!(one(nonsense).is_err(), "{}", nonsense.escape_ascii());
        }
    }

    #[test]
    fn nested_arrays_do_not_nest() {
        let nested = b"*1\r\n".repeat(200_000);
        assert!(one(&nested).is_err());
    }
}
