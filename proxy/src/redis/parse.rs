//! The command parser: it accepts arrays of bulk strings only.
//!
//! The parser is strict and bounded, because any client may connect. It keeps its position between
//! calls, so a command that arrives byte by byte costs time linear in its length. If a command is too
//! long or has too many arguments, the parser consumes it without storing it, and returns
//! [`Parsed::Refused`]; the connection stays usable. Only malformed input ends the connection.

use bytes::{Buf, Bytes, BytesMut};
use std::ops::Range;

/// The maximum number of arguments per command.
pub(crate) const MAX_ARGUMENTS: usize = 65_536;
/// The maximum length of an array that can be skipped, as in Redis. A longer array is a protocol
/// error.
const MAX_SKIPPED_ARGUMENTS: usize = 1 << 20;
/// The maximum length in bytes of an argument that can be skipped, as in Redis. A longer argument is a
/// protocol error.
const MAX_SKIPPED_BYTES: usize = 512 << 20;
/// The maximum length of a header: digits, sign and line end; more than any valid header needs.
const MAX_HEADER: usize = 24;

/// A protocol error. The rest of the input cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("Protocol error: expected '{expected}', got '{}'", char::from(*got).escape_default())]
    Kind { expected: char, got: u8 },
    #[error("Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    #[error("Protocol error: argument length mismatch")]
    End,
    #[error("Protocol error: unauthenticated clients may send {0} bytes in a command")]
    Unauthenticated(usize),
}

/// The bounds on one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The maximum length of the whole command in bytes.
    pub(crate) bytes: usize,
    /// Whether a longer command is a protocol error. Otherwise it is skipped.
    pub(crate) strict: bool,
}

/// A complete command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Its arguments, beginning with the name. An empty list has no effect.
    Command(Vec<Bytes>),
    /// A rejected command: too long, or with too many arguments. The text explains the reason.
    Refused(String),
}

/// The parser state of the command at the front of the buffer.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The number of missing arguments; `None` before the array header.
    remaining: Option<usize>,
    /// The position at which parsing continues.
    position: usize,
    /// The ranges of the arguments.
    arguments: Vec<Range<usize>>,
    /// The number of missing bytes of a skipped argument.
    skip: usize,
    /// Why the command is skipped.
    refusal: Option<String>,
}

impl Parser {
    /// Removes one command from the front of the buffer, or returns `None` if it is incomplete.
    ///
    /// `buffer` never exceeds `bounds.bytes` by more than the size of one read, because skipped input
    /// is removed at once.
    pub(crate) fn parse(
        &mut self,
        buffer: &mut BytesMut,
        bounds: Bounds,
    ) -> Result<Option<Parsed>, ParseError> {
        let mut remaining = match self.remaining {
            Some(remaining) => remaining,
            None => {
                // As in Redis: `redis-cli --pipe` ends with an empty line.
                skip_empty_lines(buffer);
                let Some((count, start)) = header(buffer, 0, '*')? else {
                    return Ok(None);
                };
                self.position = start;
                if count > MAX_ARGUMENTS {
                    self.refuse(
                        buffer,
                        bounds,
                        format!("too many arguments: {count}, the limit is {MAX_ARGUMENTS}"),
                    )?;
                }
                self.remaining = Some(count);
                count
            }
        };
        while remaining > 0 {
            if !self.skip_arrived(buffer) {
                return Ok(None);
            }
            let Some((length, start)) = header(buffer, self.position, '$')? else {
                return Ok(None);
            };
            let end = start.saturating_add(length);
            if self.refusal.is_none() && end.saturating_add(2) > bounds.bytes {
                let limit = bounds.bytes;
                self.refuse(
                    buffer,
                    bounds,
                    format!("the command is longer than {limit} bytes"),
                )?;
                // The header is parsed again at its new position.
                continue;
            }
            if self.refusal.is_some() {
                buffer.advance(start);
                self.position = 0;
                self.skip = length + 2;
            } else {
                let Some(line_end) = buffer.get(end..end + 2) else {
                    return Ok(None);
                };
                if line_end != b"\r\n" {
                    return Err(ParseError::End);
                }
                self.arguments.push(start..end);
                self.position = end + 2;
            }
            remaining -= 1;
            self.remaining = Some(remaining);
        }
        if !self.skip_arrived(buffer) {
            return Ok(None);
        }
        let finished = std::mem::take(self);
        if let Some(refusal) = finished.refusal {
            return Ok(Some(Parsed::Refused(refusal)));
        }
        let command = buffer.split_to(finished.position).freeze();
        let arguments = finished.arguments.into_iter();
        let arguments = arguments.map(|range| command.slice(range)).collect();
        Ok(Some(Parsed::Command(arguments)))
    }

    /// Whether part of a command has been consumed already.
    pub(crate) fn has_begun(&self) -> bool {
        self.remaining.is_some()
    }

    /// Switches to skipping this command.
    fn refuse(
        &mut self,
        buffer: &mut BytesMut,
        bounds: Bounds,
        refusal: String,
    ) -> Result<(), ParseError> {
        if bounds.strict {
            return Err(ParseError::Unauthenticated(bounds.bytes));
        }
        buffer.advance(self.position);
        self.position = 0;
        self.arguments = Vec::new();
        self.refusal = Some(refusal);
        Ok(())
    }

    /// Removes the received part of a skipped argument. Returns whether the argument is complete.
    fn skip_arrived(&mut self, buffer: &mut BytesMut) -> bool {
        let arrived = self.skip.min(buffer.len());
        buffer.advance(arrived);
        self.skip -= arrived;
        self.skip == 0
    }
}

/// Removes empty lines from the front.
fn skip_empty_lines(buffer: &mut BytesMut) {
    loop {
        match &buffer[..] {
            [b'\r', b'\n', ..] => buffer.advance(2),
            [b'\n', ..] => buffer.advance(1),
            _ => return,
        }
    }
}

/// Parses a length after its type byte. Returns the length and the position of the next line, or
/// `None` if the header is incomplete.
fn header(buffer: &[u8], at: usize, expected: char) -> Result<Option<(usize, usize)>, ParseError> {
    let Some(line) = buffer.get(at..).filter(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let got = line[0];
    if line == b"\r" && expected == '*' {
        return Ok(None);
    }
    if got != expected as u8 {
        return Err(ParseError::Kind { expected, got });
    }
    let (invalid, most) = match expected {
        '*' => (ParseError::ArrayLength, MAX_SKIPPED_ARGUMENTS),
        _ => (ParseError::BulkLength, MAX_SKIPPED_BYTES),
    };
    let seen = &line[1..line.len().min(MAX_HEADER)];
    let Some(length) = seen.iter().position(|byte| *byte == b'\n') else {
        return if line.len() >= MAX_HEADER {
            Err(invalid)
        } else {
            Ok(None)
        };
    };
    let Some(digits) = seen[..length].strip_suffix(b"\r") else {
        return Err(invalid);
    };
    let number = match (expected, model::store::parse_integer(digits)) {
        // A null array means the same as an empty array. A null argument is invalid.
        ('*', Some(-1)) => Some(0),
        (_, Some(number)) => usize::try_from(number)
            .ok()
            .filter(|number| *number <= most),
        (_, None) => None,
    };
    let number = number.ok_or(invalid)?;
    Ok(Some((number, at + 1 + length + 1)))
}

#[cfg(test)]
mod tests;
