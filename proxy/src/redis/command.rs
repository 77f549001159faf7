//! The commands that are served, from their arguments.
//!
//! `GET`, `SET` with `NX` or `XX`, `DEL` (`UNLINK`), `EXISTS`, `MGET`, `INCR`, `DECR`, `INCRBY`,
//! `DECRBY`, `SCAN` with `MATCH prefix*` and `COUNT`; and what clients say to find their way:
//! `PING`, `ECHO`, `INFO`, `AUTH`, `SELECT 0`, `COMMAND`, `CONFIG GET`, `CLIENT`, `QUIT`.

use bytes::Bytes;
use model::store::Condition;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Get {
        key: Bytes,
    },
    Set {
        key: Bytes,
        value: Bytes,
        condition: Condition,
    },
    Delete {
        keys: Vec<Bytes>,
    },
    Exists {
        keys: Vec<Bytes>,
    },
    GetMany {
        keys: Vec<Bytes>,
    },
    Increment {
        key: Bytes,
        by: i64,
    },
    Scan {
        cursor: u64,
        prefix: Vec<u8>,
        /// Whether only the key that is the prefix is meant.
        exact: bool,
        count: u32,
    },
    Ping(Option<Bytes>),
    Echo(Bytes),
    Info,
    Auth(Bytes),
    /// Something that is agreed to without effect.
    Fine,
    /// A setting of Redis that has a meaning here.
    Setting {
        name: &'static str,
        value: &'static str,
    },
    /// A question whose answer is an empty list.
    Nothing,
    /// A question whose answer is nil.
    Nil,
    Quit,
}

/// Which keys a command touches.
pub(crate) enum Touches<'a> {
    None,
    Reads(&'a [Bytes]),
    Writes(&'a [Bytes]),
    ReadsAll,
}

/// Why a command is not carried out. The text follows the kind of error and a space.
pub(crate) type Refusal = String;

impl Command {
    /// Makes sense of a command. `arguments` holds the name too.
    pub(crate) fn new(arguments: &[Bytes]) -> Result<Self, Refusal> {
        let Some((name, rest)) = arguments.split_first() else {
            return Ok(Self::Nothing);
        };
        let name = name.to_ascii_uppercase();
        match (&name[..], rest) {
            (b"GET", [key]) => Ok(Self::Get { key: key.clone() }),
            (b"SET", [key, value, options @ ..]) => set(key, value, options),
            (b"DEL" | b"UNLINK", [_, ..]) => Ok(Self::Delete {
                keys: rest.to_vec(),
            }),
            (b"EXISTS", [_, ..]) => Ok(Self::Exists {
                keys: rest.to_vec(),
            }),
            (b"MGET", [_, ..]) => Ok(Self::GetMany {
                keys: rest.to_vec(),
            }),
            (b"INCR", [key]) => increment(key, 1),
            (b"DECR", [key]) => increment(key, -1),
            (b"INCRBY", [key, by]) => increment(key, number(by)?),
            (b"DECRBY", [key, by]) => {
                let by = number(by)?.checked_neg();
                increment(key, by.ok_or("ERR decrement would overflow")?)
            }
            (b"SCAN", [cursor, options @ ..]) => scan(cursor, options),
            (b"PING", []) => Ok(Self::Ping(None)),
            (b"PING", [text]) => Ok(Self::Ping(Some(text.clone()))),
            (b"ECHO", [text]) => Ok(Self::Echo(text.clone())),
            (b"INFO", _) => Ok(Self::Info),
            (b"AUTH", [password]) => Ok(Self::Auth(password.clone())),
            (b"AUTH", [user, password]) if &user[..] == b"default" => {
                Ok(Self::Auth(password.clone()))
            }
            (b"AUTH", [_, _]) => Err("WRONGPASS there is one user, named default".to_owned()),
            (b"SELECT", [index]) if &index[..] == b"0" => Ok(Self::Fine),
            (b"SELECT", [_]) => Err("ERR there is one database, 0".to_owned()),
            (b"COMMAND", _) => Ok(Self::Nothing),
            (b"CONFIG", [what, asked @ ..]) if what.eq_ignore_ascii_case(b"GET") => {
                Ok(setting(asked))
            }
            (b"CLIENT", [what, _, ..])
                if what.eq_ignore_ascii_case(b"SETNAME")
                    || what.eq_ignore_ascii_case(b"SETINFO") =>
            {
                Ok(Self::Fine)
            }
            (b"CLIENT", [what]) if what.eq_ignore_ascii_case(b"GETNAME") => Ok(Self::Nil),
            (b"QUIT", _) => Ok(Self::Quit),
            (b"HELLO", _) => Err("NOPROTO only RESP2 is spoken here, without HELLO".to_owned()),
            (
                b"GET" | b"SET" | b"DEL" | b"UNLINK" | b"EXISTS" | b"MGET" | b"INCR" | b"DECR"
                | b"INCRBY" | b"DECRBY" | b"SCAN" | b"PING" | b"ECHO" | b"AUTH" | b"SELECT",
                _,
            ) => Err(format!(
                "ERR wrong number of arguments for '{}' command",
                shown(&name.to_ascii_lowercase())
            )),
            _ => Err(format!(
                "ERR unknown command '{}': served are GET SET DEL EXISTS MGET INCR DECR INCRBY \
                 DECRBY SCAN PING ECHO INFO AUTH SELECT COMMAND CONFIG CLIENT QUIT",
                shown(&name)
            )),
        }
    }

    /// Which keys this touches, so that what it must not overtake can be told.
    pub(crate) fn touches(&self) -> Touches<'_> {
        match self {
            Self::Get { key } => Touches::Reads(std::slice::from_ref(key)),
            Self::Exists { keys } | Self::GetMany { keys } => Touches::Reads(keys),
            Self::Set { key, .. } | Self::Increment { key, .. } => {
                Touches::Writes(std::slice::from_ref(key))
            }
            Self::Delete { keys } => Touches::Writes(keys),
            Self::Scan { .. } => Touches::ReadsAll,
            _ => Touches::None,
        }
    }
}

/// The two settings that clients ask for to know how durable writes are, as Redis words them: no
/// dumps at intervals, and every write in a log. Of others nothing is said, which Redis does for
/// settings it does not know.
fn setting(asked: &[Bytes]) -> Command {
    let known = [("save", ""), ("appendonly", "yes")];
    let found = match asked {
        [name] => known
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())),
        _ => None,
    };
    found.map_or(Command::Nothing, |(name, value)| Command::Setting {
        name,
        value,
    })
}

fn set(key: &Bytes, value: &Bytes, options: &[Bytes]) -> Result<Command, Refusal> {
    let mut condition = Condition::Always;
    for option in options {
        condition = match (condition, &option.to_ascii_uppercase()[..]) {
            (Condition::Always | Condition::Absent, b"NX") => Condition::Absent,
            (Condition::Always | Condition::Present, b"XX") => Condition::Present,
            (_, b"NX" | b"XX") => {
                return Err("ERR syntax error: NX and XX exclude each other".into());
            }
            _ => {
                return Err(format!(
                    "ERR syntax error: SET takes NX or XX, not '{}' (nothing expires here)",
                    shown(option)
                ));
            }
        };
    }
    Ok(Command::Set {
        key: key.clone(),
        value: value.clone(),
        condition,
    })
}

fn increment(key: &Bytes, by: i64) -> Result<Command, Refusal> {
    let key = key.clone();
    Ok(Command::Increment { key, by })
}

fn scan(cursor: &Bytes, options: &[Bytes]) -> Result<Command, Refusal> {
    let cursor = str::from_utf8(cursor)
        .ok()
        .and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let (mut prefix, mut exact, mut count) = (Vec::new(), false, 10);
    let mut options = options.chunks_exact(2);
    for option in &mut options {
        match (&option[0].to_ascii_uppercase()[..], &option[1]) {
            (b"MATCH", pattern) => (prefix, exact) = pattern_prefix(pattern)?,
            (b"COUNT", text) => match number(text)? {
                wanted @ 1.. => count = u32::try_from(wanted).unwrap_or(u32::MAX),
                _ => return Err("ERR syntax error: COUNT is at least 1".into()),
            },
            (b"TYPE", kind) if kind.eq_ignore_ascii_case(b"string") => {}
            (b"TYPE", _) => return Err("ERR all values are of type string".into()),
            (other, _) => {
                return Err(format!(
                    "ERR syntax error: SCAN takes MATCH, COUNT and TYPE, not '{}'",
                    shown(other)
                ));
            }
        }
    }
    if !options.remainder().is_empty() {
        return Err("ERR syntax error: an option of SCAN lacks its value".into());
    }
    Ok(Command::Scan {
        cursor,
        prefix,
        exact,
        count,
    })
}

/// The text before a star at the end, and whether there was no star.
fn pattern_prefix(pattern: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
    let mut prefix = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => prefix.extend(bytes.next()),
            b'*' if bytes.as_slice().iter().all(|byte| *byte == b'*') => {
                return Ok((prefix, false));
            }
            b'*' | b'?' | b'[' => {
                return Err(
                    "ERR only patterns of the form prefix* are served (a backslash makes \
                            *, ? and [ plain)"
                        .into(),
                );
            }
            byte => prefix.push(*byte),
        }
    }
    Ok((prefix, true))
}

fn number(text: &[u8]) -> Result<i64, Refusal> {
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| "ERR value is not an integer or out of range".to_owned())
}

/// A few characters of what was sent, harmless within a line.
fn shown(bytes: &[u8]) -> String {
    let end = bytes.len().min(64);
    bytes[..end].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, Refusal> {
        let words = line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()));
        Command::new(&words.collect::<Vec<_>>())
    }

    fn scanned(line: &str) -> (String, bool, u32) {
        match command(line).unwrap() {
            Command::Scan {
                prefix,
                exact,
                count,
                ..
            } => (String::from_utf8(prefix).unwrap(), exact, count),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn set_options_become_conditions() {
        let condition = |line| match command(line).unwrap() {
            Command::Set { condition, .. } => condition,
            other => panic!("{other:?}"),
        };
        assert_eq!(condition("set k v"), Condition::Always);
        assert_eq!(condition("SET k v nx"), Condition::Absent);
        assert_eq!(condition("SET k v XX"), Condition::Present);
        for wrong in ["SET k v NX XX", "SET k v EX 5", "SET k", "SET k v GET"] {
            assert!(command(wrong).unwrap_err().starts_with("ERR"), "{wrong}");
        }
    }

    #[test]
    fn scan_patterns_are_prefixes() {
        assert_eq!(scanned("SCAN 0"), (String::new(), false, 10));
        assert_eq!(scanned("SCAN 0 MATCH * COUNT 5"), (String::new(), false, 5));
        assert_eq!(scanned("SCAN 0 MATCH a:*"), ("a:".into(), false, 10));
        assert_eq!(
            scanned("SCAN 0 MATCH a:** TYPE string"),
            ("a:".into(), false, 10)
        );
        assert_eq!(scanned("SCAN 0 MATCH a\\*b"), ("a*b".into(), true, 10));
        for wrong in [
            "SCAN 0 MATCH a*b",
            "SCAN 0 MATCH ?",
            "SCAN 0 MATCH [ab]*",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT",
            "SCAN x",
            "SCAN",
            "SCAN 0 TYPE list",
        ] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        let by = |line| match command(line) {
            Ok(Command::Increment { by, .. }) => Some(by),
            _ => None,
        };
        assert_eq!(by("INCR k"), Some(1));
        assert_eq!(by("DECR k"), Some(-1));
        assert_eq!(by("INCRBY k 7"), Some(7));
        assert_eq!(by("DECRBY k 7"), Some(-7));
        assert_eq!(by("DECRBY k -9223372036854775808"), None);
        assert_eq!(by("INCRBY k 9223372036854775808"), None);
    }

    #[test]
    fn unknown_command_is_named_without_harm() {
        let refusal = command("EVAL\r\n+OK x").unwrap_err();
        assert!(
            refusal.starts_with("ERR unknown command 'EVAL\\r\\n+OK'"),
            "{refusal}"
        );
    }
}
