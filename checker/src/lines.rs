//! Reads JSON lines from untrusted files: a device, the output of another program, a file of another
//! kind. A line may be endless, and a file may be large.

use crate::{escape::escaped, machine};
use serde::de::IgnoredAny;
use std::{
    fmt,
    io::{self, BufRead},
    sync::Arc,
};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileLine {
    /// The file.
    pub file: Arc<str>,
    /// The line in the file, counted from 1.
    pub line: usize,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", escaped(&self.file), self.line)
    }
}

/// A line longer than this many bytes may need memory that the machine does not have.
const LARGE: u64 = 64 << 20;

/// Appends the next line, including its end, to `text` and returns its length; 0 at the end of the file.
///
/// # Errors
/// * If the input cannot be read.
/// * If the line is not the beginning of a JSON object. This is detected at its first byte, or after
///   [`LARGE`] bytes, before the rest is read.
/// * If the line is longer than `limit` bytes or, beyond [`LARGE`], than an eighth of the free memory:
///   the buffer doubles when it grows, and is copied.
pub(crate) fn read_object(
    input: &mut impl BufRead,
    limit: u64,
    text: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut most = limit;
    let before = text.len();
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = text.len() - before;
        if read == 0 && !matches!(available.first(), None | Some(b'{')) {
            return Err(io::Error::other(
                "the line does not begin with `{`, so it is not a JSON object",
            ));
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        let length = (read + taken) as u64;
        if length > LARGE && read as u64 <= LARGE {
            let parsed = serde_json::from_slice::<IgnoredAny>(&text[before..]);
            if parsed.is_ok() || parsed.is_err_and(|error| !error.is_eof()) {
                return Err(io::Error::other("the line is not a JSON object"));
            }
            most = machine::available_bytes().map_or(limit, |free| limit.min(free / 8));
        }
        if length > most {
            return Err(io::Error::other(format!(
                "the line is longer than {most} bytes, the maximum"
            )));
        }
        text.extend_from_slice(&available[..taken]);
        input.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(text.len() - before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor, Read, repeat};

    fn read(bytes: &[u8], limit: u64) -> Vec<Result<String, String>> {
        let mut input = BufReader::with_capacity(3, Cursor::new(bytes.to_vec()));
        let mut lines = Vec::new();
        loop {
            let mut text = Vec::new();
            match read_object(&mut input, limit, &mut text) {
                Ok(0) => return lines,
                Ok(_) => lines.push(Ok(String::from_utf8(text).expect("it was text"))),
                Err(error) => {
                    lines.push(Err(error.to_string()));
                    return lines;
                }
            }
        }
    }

    #[test]
    fn lines_are_returned_whole_up_to_the_limit() {
        let lines = read(b"{\"a\":1}\n{\"bc\":2}", 8);
        assert_eq!(lines[0].as_deref(), Ok("{\"a\":1}\n"));
        assert_eq!(lines[1].as_deref(), Ok("{\"bc\":2}"));
        assert_eq!(lines.len(), 2);
        let lines = read(b"{\"a\":12}\n", 8);
        assert!(lines[0].as_ref().is_err_and(|why| why.contains("8 bytes")));
    }

    #[test]
    fn endless_input_is_refused_at_its_first_byte_or_at_the_limit() {
        let mut zeros = BufReader::new(repeat(0));
        let mut text = Vec::new();
        read_object(&mut zeros, u64::MAX, &mut text).expect_err("it is no object");
        assert!(text.is_empty());
        let mut braces = BufReader::new((&b"{"[..]).chain(repeat(b'x')));
        read_object(&mut braces, 1 << 20, &mut text).expect_err("it is too long");
        assert!(text.len() <= 1 << 20);
    }

    #[test]
    fn large_line_is_read_on_only_while_it_may_be_an_object() {
        for (start, is_object) in [("{", false), ("{}", false), ("{\"key\":\"", true)] {
            let mut input = BufReader::new(start.as_bytes().chain(repeat(b'x')));
            let mut text = Vec::new();
            let error = read_object(&mut input, 2 * LARGE, &mut text).expect_err("it is endless");
            assert_eq!(text.len() as u64 > LARGE + (1 << 20), is_object, "{start}");
            assert_eq!(error.to_string().contains("longer"), is_object, "{start}");
        }
    }
}
