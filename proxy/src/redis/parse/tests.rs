use super::*;

const BOUNDS: Bounds = Bounds {
    bytes: 1000,
    strict: false,
};

fn one(bytes: &[u8]) -> Result<Option<Parsed>, ParseError> {
    Parser::default().parse(&mut BytesMut::from(bytes), BOUNDS)
}

fn words(words: &[&'static [u8]]) -> Parsed {
    Parsed::Command(words.iter().map(|word| Bytes::from_static(word)).collect())
}

/// Parses these bytes in pieces of this size. Returns the results and the maximum number of
/// buffered bytes.
fn all(bytes: &[u8], piece: usize, bounds: Bounds) -> (Vec<Parsed>, usize) {
    let (mut parser, mut buffer) = (Parser::default(), BytesMut::new());
    let (mut found, mut most) = (Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Some(parsed) = parser.parse(&mut buffer, bounds).unwrap() {
            found.push(parsed);
        }
        most = most.max(buffer.len());
    }
    assert!(buffer.is_empty(), "{}", buffer.escape_ascii());
    (found, most)
}

#[test]
fn command_is_taken_off_the_front() {
    let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n"[..]);
    let mut parser = Parser::default();
    let command = parser.parse(&mut buffer, BOUNDS).unwrap();
    assert_eq!(command, Some(words(&[b"GET", b"\r\n"])));
    assert_eq!(&buffer[..], b"*1\r\n");
    assert_eq!(parser.parse(&mut buffer, BOUNDS), Ok(None));
}

#[test]
fn command_in_pieces_is_waited_for() {
    let whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(one(&whole[..end]), Ok(None), "{end}");
    }
    let twice = [&whole[..], whole].concat();
    for piece in 1..twice.len() {
        let (found, _) = all(&twice, piece, BOUNDS);
        let set = words(&[b"SET", b"k", b""]);
        assert_eq!(found, [set.clone(), set], "{piece}");
    }
}

#[test]
fn empty_lines_between_commands_are_skipped() {
    let bytes = b"\r\n*1\r\n$4\r\nPING\r\n\r\n\n\r\n*1\r\n$4\r\nPING\r\n\r\n";
    for piece in 1..bytes.len() {
        let (found, _) = all(bytes, piece, BOUNDS);
        assert_eq!(found, [words(&[b"PING"]), words(&[b"PING"])], "{piece}");
    }
    assert!(one(b"\rPING").is_err());
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(one(b"*0\r\n"), Ok(Some(words(&[]))));
    assert_eq!(one(b"*-1\r\n"), Ok(Some(words(&[]))));
}

#[test]
fn long_command_is_skipped_and_the_next_one_is_read() {
    let mut bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000\r\n".to_vec();
    bytes.extend([b'v'; 5000]);
    bytes.extend(b"\r\n*1\r\n$4\r\nPING\r\n");
    for piece in [1, 7, 100, 5000, 10_000] {
        let (found, most) = all(&bytes, piece, BOUNDS);
        let refused = "the command is longer than 1000 bytes".to_owned();
        assert_eq!(
            found,
            [Parsed::Refused(refused), words(&[b"PING"])],
            "{piece}"
        );
        assert!(
            most <= BOUNDS.bytes + piece,
            "{most} bytes stored of {piece}"
        );
    }
    // Many short arguments exceed the limit together.
    let mut bytes = b"*1000\r\n".to_vec();
    bytes.extend(b"$1\r\nk\r\n".repeat(1000));
    let (found, _) = all(&bytes, 9, BOUNDS);
    assert!(matches!(&found[..], [Parsed::Refused(_)]), "{found:?}");
}

#[test]
fn too_many_arguments_are_skipped() {
    let count = MAX_ARGUMENTS + 1;
    let mut bytes = format!("*{count}\r\n").into_bytes();
    bytes.extend(b"$0\r\n\r\n".repeat(count));
    bytes.extend(b"*1\r\n$4\r\nPING\r\n");
    let (found, most) = all(&bytes, 1000, BOUNDS);
    let refused = format!("too many arguments: {count}, the limit is {MAX_ARGUMENTS}");
    assert_eq!(found, [Parsed::Refused(refused), words(&[b"PING"])]);
    assert!(most < 2000, "{most}");
}

#[test]
fn unauthenticated_client_may_not_send_much() {
    let strict = Bounds {
        strict: true,
        ..BOUNDS
    };
    for bytes in [&b"*70000\r\n$1\r\n"[..], b"*1\r\n$5000\r\n"] {
        let parsed = Parser::default().parse(&mut BytesMut::from(bytes), strict);
        assert_eq!(parsed, Err(ParseError::Unauthenticated(1000)));
    }
}

#[test]
fn nonsense_is_refused() {
    for nonsense in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PING\r\n",
        b"\rPING",
        b"*x\r\n",
        b"*\r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"*-2\r\n",
        b"*1\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n*1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$+1\r\n",
        b"*1\r\n$1\r\nabc",
        b"*1048577\r\n",
        b"*99999999999999999999999\r\n",
        b"*1\r\n$18446744073709551615\r\n",
        b"*1\r\n$9223372036854775807\r\n",
        b"*1\r\n$536870913\r\n",
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
