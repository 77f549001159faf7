//! The supported commands, and their parser.
//!
//! `GET`, `SET` with `NX` or `XX`, `DEL` (`UNLINK`), `EXISTS`, `MGET`, `INCR`, `DECR`, `INCRBY`,
//! `DECRBY`, `SCAN` with `MATCH prefix*` and `COUNT`; and the commands with which clients set up a
//! connection: `HELLO`, `AUTH`, `CLIENT`, `SELECT 0`, `RESET`, `QUIT`, `PING`, `ECHO`, `INFO`,
//! `COMMAND`, `CONFIG GET`. `MULTI` and `WATCH` are rejected in a way that prevents the execution of
//! the commands of the transaction (see `connection`).

use super::reply::Reply;
use bytes::Bytes;
use model::store::{Condition, check_key, parse_integer};

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RedisCommand {
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
        /// Whether only a key equal to the prefix matches.
        exact: bool,
        count: u32,
    },
    /// The sections of `INFO`, in lower case; empty for all sections.
    Info(Vec<String>),
    /// A command whose reply depends on its arguments only.
    Known(Reply),
    /// A command that reads or changes the state of the connection.
    Connection(ConnectionCommand),
}

/// A command about the connection itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionCommand {
    Auth {
        user: Option<Bytes>,
        password: Bytes,
    },
    /// The arguments of `HELLO`.
    Hello(Vec<Bytes>),
    Reset,
    Quit,
    Multi,
    Exec,
    Discard,
    Watch,
    ClientId,
    ClientGetName,
    ClientSetName(Bytes),
    ClientInfo,
}

/// A row of the reply to `COMMAND`: name, arity including the name (negative for a minimum), flags,
/// and the positions of the first and the last key (-1 for the last argument).
type Row = (&'static str, i64, &'static [&'static str], i64, i64);

const TABLE: &[Row] = &[
    ("get", 2, &["readonly", "fast"], 1, 1),
    ("set", -3, &["write", "denyoom"], 1, 1),
    ("del", -2, &["write"], 1, -1),
    ("unlink", -2, &["write", "fast"], 1, -1),
    ("exists", -2, &["readonly", "fast"], 1, -1),
    ("mget", -2, &["readonly", "fast"], 1, -1),
    ("incr", 2, &["write", "denyoom", "fast"], 1, 1),
    ("decr", 2, &["write", "denyoom", "fast"], 1, 1),
    ("incrby", 3, &["write", "denyoom", "fast"], 1, 1),
    ("decrby", 3, &["write", "denyoom", "fast"], 1, 1),
    ("scan", -2, &["readonly"], 0, 0),
    ("ping", -1, &["fast"], 0, 0),
    ("echo", 2, &["fast"], 0, 0),
    ("info", -1, &["loading", "stale"], 0, 0),
    ("hello", -1, &["noscript", "no_auth", "fast"], 0, 0),
    ("auth", -2, &["noscript", "no_auth", "fast"], 0, 0),
    ("select", 2, &["fast"], 0, 0),
    ("client", -2, &["noscript"], 0, 0),
    ("command", -1, &["loading", "stale"], 0, 0),
    ("config", -2, &["admin", "noscript"], 0, 0),
    ("multi", 1, &["noscript", "fast"], 0, 0),
    ("exec", 1, &["noscript"], 0, 0),
    ("discard", 1, &["noscript", "fast"], 0, 0),
    ("watch", -2, &["noscript", "fast"], 1, -1),
    ("unwatch", 1, &["noscript", "fast"], 0, 0),
    ("reset", 1, &["noscript", "no_auth", "fast"], 0, 0),
    ("quit", -1, &["noscript", "no_auth", "fast"], 0, 0),
];

/// The keys that a command touches.
pub(crate) enum Touches<'a> {
    None,
    Reads(&'a [Bytes]),
    Writes(&'a [Bytes]),
    ReadsAll,
}

/// Why a command is rejected. The text begins with the error code and a space.
pub(crate) type CommandError = String;

impl RedisCommand {
    /// Parses a command. `arguments` is not empty and begins with the name.
    pub(crate) fn new(arguments: &[Bytes]) -> Result<Self, CommandError> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err("ERR unknown command ''".into());
        };
        let lower = name.to_ascii_lowercase();
        let row = TABLE
            .iter()
            .find(|(known, ..)| known.as_bytes() == &lower[..]);
        let Some((name, arity, ..)) = row else {
            return Err(format!(
                "ERR unknown command '{}': supported are{}",
                shown(name),
                served()
            ));
        };
        let given = i64::try_from(arguments.len()).unwrap_or(i64::MAX);
        if *arity >= 0 && given != *arity || given < -arity {
            return Err(wrong_arity(name));
        }
        let connection = |command| Ok(Self::Connection(command));
        match (*name, rest) {
            ("get", [key]) => Ok(Self::Get { key: key.clone() }),
            ("set", [key, value, options @ ..]) => set(key, value, options),
            ("del" | "unlink", keys) => Ok(Self::Delete {
                keys: within_limits(keys)?,
            }),
            ("exists", keys) => Ok(Self::Exists {
                keys: within_limits(keys)?,
            }),
            ("mget", keys) => Ok(Self::GetMany {
                keys: within_limits(keys)?,
            }),
            ("incr", [key]) => increment(key, 1),
            ("decr", [key]) => increment(key, -1),
            ("incrby", [key, by]) => increment(key, number(by)?),
            ("decrby", [key, by]) => {
                let by = number(by)?.checked_neg();
                increment(key, by.ok_or("ERR decrement would overflow")?)
            }
            ("scan", [cursor, options @ ..]) => scan(cursor, options),
            ("ping", []) => Ok(Self::Known(Reply::Simple("PONG"))),
            ("ping" | "echo", [text]) => Ok(Self::Known(Reply::Bulk(text.clone()))),
            ("info", sections) => {
                let names = sections
                    .iter()
                    .map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
                Ok(Self::Info(names.collect()))
            }
            ("select", [index]) if &index[..] == b"0" => Ok(Self::Known(Reply::ok())),
            ("select", _) => Err("ERR there is one database, 0".to_owned()),
            ("command", rest) => command(rest),
            ("config", rest) => config(rest),
            ("client", rest) => client(rest),
            ("unwatch", _) => Ok(Self::Known(Reply::ok())),
            ("auth", [password]) => connection(ConnectionCommand::Auth {
                user: None,
                password: password.clone(),
            }),
            ("auth", [user, password]) => connection(ConnectionCommand::Auth {
                user: Some(user.clone()),
                password: password.clone(),
            }),
            ("auth", _) => Err("ERR syntax error".into()),
            ("hello", rest) => connection(ConnectionCommand::Hello(rest.to_vec())),
            ("reset", _) => connection(ConnectionCommand::Reset),
            ("quit", _) => connection(ConnectionCommand::Quit),
            ("multi", _) => connection(ConnectionCommand::Multi),
            ("exec", _) => connection(ConnectionCommand::Exec),
            ("discard", _) => connection(ConnectionCommand::Discard),
            ("watch", _) => connection(ConnectionCommand::Watch),
            (name, _) => Err(wrong_arity(name)),
        }
    }

    /// The keys that this command touches. They determine which commands it must not overtake.
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

/// Checks all keys of a command with several keys. Otherwise the command could fail after a part of it
/// was executed.
fn within_limits(keys: &[Bytes]) -> Result<Vec<Bytes>, CommandError> {
    match keys.iter().find_map(|key| check_key(key).err()) {
        Some(outside) => Err(format!("ERR {outside}")),
        None => Ok(keys.to_vec()),
    }
}

fn wrong_arity(name: &str) -> CommandError {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// The names of the commands, each preceded by a space.
fn served() -> String {
    let names = TABLE
        .iter()
        .map(|(name, ..)| format!(" {}", name.to_ascii_uppercase()));
    names.collect()
}

fn unknown_subcommand(name: &[u8], of: &str, served: &str) -> CommandError {
    format!(
        "ERR unknown subcommand '{}': {of} serves {served}",
        shown(name)
    )
}

/// The settings from which clients derive the durability of writes, in Redis's terms: no periodic
/// snapshots, and an append-only file. Other names match nothing, like unknown names in Redis.
fn config(rest: &[Bytes]) -> Result<RedisCommand, CommandError> {
    const SETTINGS: [(&str, &str); 2] = [("save", ""), ("appendonly", "yes")];
    let (what, patterns) = rest.split_first().ok_or_else(|| wrong_arity("config"))?;
    if !what.eq_ignore_ascii_case(b"get") {
        return Err(unknown_subcommand(what, "CONFIG", "GET"));
    }
    if patterns.is_empty() {
        return Err(wrong_arity("config|get"));
    }
    let is_asked = |name: &str| {
        let is =
            |pattern: &Bytes| &pattern[..] == b"*" || pattern.eq_ignore_ascii_case(name.as_bytes());
        patterns.iter().any(is)
    };
    let found = SETTINGS.into_iter().filter(|(name, _)| is_asked(name));
    let found = found.map(|(name, value)| (Reply::text(name), Reply::text(value)));
    Ok(RedisCommand::Known(Reply::Map(found.collect())))
}

fn command(rest: &[Bytes]) -> Result<RedisCommand, CommandError> {
    let Some((what, names)) = rest.split_first() else {
        let rows = TABLE.iter().map(described);
        return Ok(RedisCommand::Known(Reply::Array(rows.collect())));
    };
    let reply = match &what.to_ascii_lowercase()[..] {
        b"count" if names.is_empty() => {
            Reply::Integer(i64::try_from(TABLE.len()).unwrap_or(i64::MAX))
        }
        b"list" if names.is_empty() => {
            let names = TABLE.iter().map(|(name, ..)| Reply::text(*name));
            Reply::Array(names.collect())
        }
        b"info" if names.is_empty() => Reply::Array(TABLE.iter().map(described).collect()),
        b"info" => {
            let find = |name: &Bytes| {
                let row = TABLE
                    .iter()
                    .find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()));
                row.map_or(Reply::Null, described)
            };
            Reply::Array(names.iter().map(find).collect())
        }
        // No documentation is available. Clients interpret an empty reply as an older server.
        b"docs" => Reply::Map(Vec::new()),
        b"count" | b"list" => return Err(wrong_arity("command")),
        _ => return Err(unknown_subcommand(what, "COMMAND", "COUNT DOCS INFO LIST")),
    };
    Ok(RedisCommand::Known(reply))
}

/// Formats a row as Redis 7 does. The fields after the step between keys (categories, tips, key
/// specifications, subcommands) are empty.
fn described((name, arity, flags, first, last): &Row) -> Reply {
    let replies = flags.iter().map(|flag| Reply::Simple(flag));
    Reply::Array(vec![
        Reply::text(*name),
        Reply::Integer(*arity),
        Reply::Set(replies.collect()),
        Reply::Integer(*first),
        Reply::Integer(*last),
        Reply::Integer((*first).min(1)),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn client(rest: &[Bytes]) -> Result<RedisCommand, CommandError> {
    let (what, rest) = rest.split_first().ok_or_else(|| wrong_arity("client"))?;
    let connection = |command| Ok(RedisCommand::Connection(command));
    let name = String::from_utf8_lossy(what).to_ascii_lowercase();
    match (&name[..], rest) {
        ("id", []) => connection(ConnectionCommand::ClientId),
        ("getname", []) => connection(ConnectionCommand::ClientGetName),
        ("setname", [name]) => connection(ConnectionCommand::ClientSetName(client_name(name)?)),
        ("info", []) => connection(ConnectionCommand::ClientInfo),
        // Information about the client that has no effect here.
        ("setinfo", [attribute, value]) => {
            let known = [&b"lib-name"[..], b"lib-ver"];
            if !known
                .iter()
                .any(|known| attribute.eq_ignore_ascii_case(known))
            {
                return Err(format!("ERR Unrecognized option '{}'", shown(attribute)));
            }
            client_name(value)?;
            Ok(RedisCommand::Known(Reply::ok()))
        }
        ("no-evict" | "no-touch", [switch])
            if switch.eq_ignore_ascii_case(b"on") || switch.eq_ignore_ascii_case(b"off") =>
        {
            Ok(RedisCommand::Known(Reply::ok()))
        }
        ("no-evict" | "no-touch", [_]) => Err("ERR syntax error".into()),
        ("id" | "getname" | "setname" | "info" | "setinfo" | "no-evict" | "no-touch", _) => {
            Err(wrong_arity(&format!("client|{name}")))
        }
        _ => Err(unknown_subcommand(
            what,
            "CLIENT",
            "GETNAME ID INFO NO-EVICT NO-TOUCH SETINFO SETNAME",
        )),
    }
}

/// Parses the name of a client: printable ASCII without spaces, as in Redis. The result is a copy: a
/// slice would keep the whole read buffer in memory for as long as the connection has this name.
pub(crate) fn client_name(name: &Bytes) -> Result<Bytes, CommandError> {
    if name.iter().all(u8::is_ascii_graphic) {
        return Ok(Bytes::copy_from_slice(name));
    }
    Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
}

fn set(key: &Bytes, value: &Bytes, options: &[Bytes]) -> Result<RedisCommand, CommandError> {
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
                    "ERR syntax error: SET takes NX or XX, not '{}' (keys do not expire)",
                    shown(option)
                ));
            }
        };
    }
    Ok(RedisCommand::Set {
        key: key.clone(),
        value: value.clone(),
        condition,
    })
}

fn increment(key: &Bytes, by: i64) -> Result<RedisCommand, CommandError> {
    let key = key.clone();
    Ok(RedisCommand::Increment { key, by })
}

fn scan(cursor: &Bytes, options: &[Bytes]) -> Result<RedisCommand, CommandError> {
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
    Ok(RedisCommand::Scan {
        cursor,
        prefix,
        exact,
        count,
    })
}

/// The text before a trailing star, and whether there was no star.
fn pattern_prefix(pattern: &[u8]) -> Result<(Vec<u8>, bool), CommandError> {
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

fn number(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or_else(|| "ERR value is not an integer or out of range".to_owned())
}

/// The first characters of an argument, escaped for a single-line message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let end = bytes.len().min(64);
    bytes[..end].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<RedisCommand, CommandError> {
        let words = line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()));
        RedisCommand::new(&words.collect::<Vec<_>>())
    }

    #[test]
    fn client_name_keeps_no_read_buffer() {
        let buffer = Bytes::from(vec![b'x'; 1000]);
        let name = client_name(&buffer.slice(..1)).unwrap();
        assert_eq!(name, "x");
        assert!(buffer.is_unique());
    }

    fn scanned(line: &str) -> (String, bool, u32) {
        match command(line).unwrap() {
            RedisCommand::Scan {
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
            RedisCommand::Set { condition, .. } => condition,
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
            Ok(RedisCommand::Increment { by, .. }) => Some(by),
            _ => None,
        };
        assert_eq!(by("INCR k"), Some(1));
        assert_eq!(by("DECR k"), Some(-1));
        assert_eq!(by("INCRBY k 7"), Some(7));
        assert_eq!(by("DECRBY k 7"), Some(-7));
        assert_eq!(by("DECRBY k -9223372036854775808"), None);
        assert_eq!(by("INCRBY k 9223372036854775808"), None);
        assert_eq!(by("INCRBY k +7"), None);
        assert_eq!(by("INCRBY k 07"), None);
        assert_eq!(by("DECRBY k -0"), None);
    }

    #[test]
    fn refusal_names_what_is_wrong() {
        for (line, refusal) in [
            (
                "CLIENT KILL x",
                "ERR unknown subcommand 'KILL': CLIENT serves",
            ),
            (
                "CONFIG SET save x",
                "ERR unknown subcommand 'SET': CONFIG serves GET",
            ),
            (
                "COMMAND GETKEYS x",
                "ERR unknown subcommand 'GETKEYS': COMMAND serves",
            ),
            (
                "CLIENT",
                "ERR wrong number of arguments for 'client' command",
            ),
            (
                "CLIENT SETNAME",
                "ERR wrong number of arguments for 'client|setname' command",
            ),
            (
                "PING a b",
                "ERR wrong number of arguments for 'ping' command",
            ),
            (
                "MULTI x",
                "ERR wrong number of arguments for 'multi' command",
            ),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            (
                "LPUSH k v",
                "ERR unknown command 'LPUSH': supported are GET SET",
            ),
        ] {
            let found = command(line).unwrap_err();
            assert!(found.starts_with(refusal), "{line}: {found}");
        }
    }

    #[test]
    fn unknown_command_is_named_without_effect() {
        let refusal = command("EVAL\r\n+OK x").unwrap_err();
        assert!(
            refusal.starts_with("ERR unknown command 'EVAL\\r\\n+OK'"),
            "{refusal}"
        );
    }
}
