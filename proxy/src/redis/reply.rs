//! Replies, and their encoding in RESP2 and RESP3.
//!
//! A command produces one [`Reply`] for both versions. RESP2 has no types for null, boolean, double,
//! map, set and verbatim string. They are encoded as Redis does: as null bulk string, integer, bulk
//! string or flat array.

use bytes::{BufMut, Bytes, BytesMut};

/// The protocol version of a connection, selected with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

impl Protocol {
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Simple(&'static str),
    /// An error code (`ERR`), a space and a text.
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Set(Vec<Self>),
    /// Human-readable text.
    Verbatim(String),
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Simple("OK")
    }

    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// Appends the encoded reply.
    pub(crate) fn encode(&self, protocol: Protocol, output: &mut BytesMut) {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Self::Simple(text) => line(output, b'+', text.as_bytes()),
            Self::Error(text) => {
                // A line break would end the reply and begin another one.
                let text: String = text.replace(['\r', '\n'], " ");
                line(output, b'-', text.as_bytes());
            }
            Self::Integer(number) => number_line(output, b':', *number),
            Self::Bulk(bytes) => bulk(output, b'$', bytes),
            Self::Null if resp3 => output.put_slice(b"_\r\n"),
            Self::Null => output.put_slice(b"$-1\r\n"),
            Self::Array(items) => {
                array_header(items.len(), output);
                for item in items {
                    item.encode(protocol, output);
                }
            }
            Self::Set(items) => {
                length_line(output, if resp3 { b'~' } else { b'*' }, items.len());
                for item in items {
                    item.encode(protocol, output);
                }
            }
            Self::Map(pairs) => {
                if resp3 {
                    length_line(output, b'%', pairs.len());
                } else {
                    array_header(pairs.len() * 2, output);
                }
                for (key, value) in pairs {
                    key.encode(protocol, output);
                    value.encode(protocol, output);
                }
            }
            Self::Verbatim(text) if resp3 => {
                length_line(output, b'=', text.len() + 4);
                output.put_slice(b"txt:");
                output.put_slice(text.as_bytes());
                output.put_slice(b"\r\n");
            }
            Self::Verbatim(text) => bulk(output, b'$', text.as_bytes()),
        }
    }
}

/// Appends the header of an array whose elements follow.
pub(crate) fn array_header(length: usize, output: &mut BytesMut) {
    length_line(output, b'*', length);
}

fn bulk(output: &mut BytesMut, mark: u8, bytes: &[u8]) {
    length_line(output, mark, bytes.len());
    output.put_slice(bytes);
    output.put_slice(b"\r\n");
}

fn length_line(output: &mut BytesMut, mark: u8, length: usize) {
    line(output, mark, length.to_string().as_bytes());
}

fn number_line(output: &mut BytesMut, mark: u8, number: i64) {
    line(output, mark, number.to_string().as_bytes());
}

fn line(output: &mut BytesMut, mark: u8, text: &[u8]) {
    output.reserve(text.len() + 3);
    output.put_u8(mark);
    output.put_slice(text);
    output.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> [String; 2] {
        [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
            let mut output = BytesMut::new();
            reply.encode(protocol, &mut output);
            String::from_utf8(output.to_vec()).unwrap()
        })
    }

    #[test]
    fn replies_have_the_types_of_each_version() {
        let one = || Reply::text("a");
        for (reply, resp2, resp3) in [
            (Reply::ok(), "+OK\r\n", "+OK\r\n"),
            (
                Reply::error("ERR a\r\n+b"),
                "-ERR a  +b\r\n",
                "-ERR a  +b\r\n",
            ),
            (Reply::Integer(-5), ":-5\r\n", ":-5\r\n"),
            (one(), "$1\r\na\r\n", "$1\r\na\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (
                Reply::Array(vec![one(), Reply::Null]),
                "*2\r\n$1\r\na\r\n$-1\r\n",
                "*2\r\n$1\r\na\r\n_\r\n",
            ),
            (
                Reply::Map(vec![(one(), Reply::Integer(1))]),
                "*2\r\n$1\r\na\r\n:1\r\n",
                "%1\r\n$1\r\na\r\n:1\r\n",
            ),
            (
                Reply::Set(vec![one()]),
                "*1\r\n$1\r\na\r\n",
                "~1\r\n$1\r\na\r\n",
            ),
            (
                Reply::Verbatim("hi".into()),
                "$2\r\nhi\r\n",
                "=6\r\ntxt:hi\r\n",
            ),
        ] {
            assert_eq!(encoded(&reply), [resp2, resp3], "{reply:?}");
        }
    }
}
