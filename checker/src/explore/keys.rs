//! Steps as short keys, so that a whole path fits into the URL of a page.
//!
//! A key consists of the number of a process in the system's order (the servers, the proxy, the
//! clients), a letter for the event, and the parameters of the event: `1e`, `2d3`, `4d7-2`. `x5` drops
//! message 5. No key contains a dot, which separates keys in a path. `docs/explore.md` lists them.

use model::{ClientId, NodeId, RequestId, system::Local};
use std::{fmt, str::FromStr};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An event at a process.
    Step {
        /// The number of the process, counted from 1.
        process: u32,
        /// The event.
        what: StepKind,
    },
    /// A message is dropped.
    Drop(u32),
}

/// An event at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StepKind {
    /// An event without a parameter: [`PLAIN`] lists them.
    Plain(char),
    /// A message is delivered.
    Deliver {
        /// Its number on this path.
        message: u32,
        /// For a proxy: the server that the driver drew.
        ask: Option<NodeId>,
    },
    /// A leader starts to transfer its leadership.
    Transfer {
        /// The server that should lead next.
        target: NodeId,
    },
    /// A proxy's timer for a request fires.
    ProxyTimeout {
        /// The client.
        client: ClientId,
        /// The request of the client.
        id: RequestId,
        /// The server that the driver drew.
        ask: NodeId,
    },
}

model::diagnostics! {
    /// The reason why a text is not a key.
    pub(super) enum BadKey {
        /// It has another form than a key.
        NoKey { key: String } = "{key:?} is not a step: write a key such as 1e or 2d3";
    }
}

/// The events without a parameter, by letter.
const PLAIN: &[(char, Local)] = &[
    ('e', Local::ElectionTimeout),
    ('h', Local::HeartbeatTimeout),
    ('q', Local::QuorumTimeout),
    ('w', Local::Propose),
    ('b', Local::ProposeTogether),
    ('g', Local::Read),
    ('s', Local::Sync),
    ('k', Local::Compact),
    ('c', Local::Crash),
    ('r', Local::Restart),
    ('i', Local::Invoke),
    ('t', Local::ClientTimeout),
];

impl StepKind {
    /// The event. Returns `None` for a delivery, because only the path contains the message.
    pub(super) fn local(self) -> Option<Local> {
        match self {
            Self::Plain(letter) => {
                let found = PLAIN.iter().find(|(known, _)| *known == letter);
                found.map(|(_, local)| local.clone())
            }
            Self::ProxyTimeout { client, id, ask } => Some(Local::ProxyTimeout { client, id, ask }),
            Self::Transfer { target } => Some(Local::TransferLeadership(target)),
            Self::Deliver { .. } => None,
        }
    }

    /// The key of an event; `message` returns the number of a delivered message.
    pub(super) fn from_local(
        local: &Local,
        message: impl FnOnce(&model::Envelope) -> Option<u32>,
    ) -> Option<Self> {
        match local {
            Local::Deliver { envelope, ask } => Some(Self::Deliver {
                message: message(envelope)?,
                ask: *ask,
            }),
            Local::ProxyTimeout { client, id, ask } => Some(Self::ProxyTimeout {
                client: *client,
                id: *id,
                ask: *ask,
            }),
            Local::TransferLeadership(target) => Some(Self::Transfer { target: *target }),
            plain => {
                let found = PLAIN.iter().find(|(_, known)| known == plain);
                found.map(|(letter, _)| Self::Plain(*letter))
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(message) => write!(f, "x{message}"),
            Self::Step { process, what } => {
                write!(f, "{process}")?;
                match what {
                    StepKind::Plain(letter) => write!(f, "{letter}"),
                    StepKind::Deliver { message, ask: None } => write!(f, "d{message}"),
                    StepKind::Deliver {
                        message,
                        ask: Some(ask),
                    } => write!(f, "d{message}-{ask}"),
                    StepKind::Transfer { target } => write!(f, "l{target}"),
                    StepKind::ProxyTimeout { client, id, ask } => write!(f, "p{client}-{id}-{ask}"),
                }
            }
        }
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        parse(text).ok_or_else(|| BadKey::NoKey {
            key: text.chars().take(20).collect(),
        })
    }
}

fn parse(text: &str) -> Option<Key> {
    let number = |text: &str| {
        let is_plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    if let Some(message) = text.strip_prefix('x') {
        return Some(Key::Drop(number(message)?));
    }
    let offset = text.find(|letter: char| !letter.is_ascii_digit())?;
    let process = number(&text[..offset])?;
    let letter = text[offset..].chars().next()?;
    let rest = &text[offset + letter.len_utf8()..];
    let what = match letter {
        'd' => {
            let (message, ask) = match rest.split_once('-') {
                None => (rest, None),
                Some((message, ask)) => (message, Some(NodeId::new(number(ask)?.into()))),
            };
            StepKind::Deliver {
                message: number(message)?,
                ask,
            }
        }
        'l' => StepKind::Transfer {
            target: NodeId::new(number(rest)?.into()),
        },
        'p' => {
            let mut parts = rest.split('-').map(number);
            let mut next = || parts.next().flatten().map(u64::from);
            let what = StepKind::ProxyTimeout {
                client: ClientId::new(next()?),
                id: RequestId::new(next()?),
                ask: NodeId::new(next()?),
            };
            if parts.next().is_some() {
                return None;
            }
            what
        }
        letter if rest.is_empty() => {
            PLAIN.iter().find(|(known, _)| *known == letter)?;
            StepKind::Plain(letter)
        }
        _ => return None,
    };
    Some(Key::Step { process, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_read_as_it_is_written() {
        for text in [
            "1e",
            "12h",
            "2d3",
            "4d7-2",
            "4p1-101-3",
            "x5",
            "3w",
            "1r",
            "1l3",
        ] {
            let key: Key = text.parse().expect(text);
            assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "e",
            "1",
            "1z",
            "1ee",
            "1d",
            "1dx",
            "1d3-",
            "1d03",
            "01e",
            "0e",
            "x",
            "x0",
            "1l",
            "1l-3",
            "1p1-2",
            "1p1-2-3-4",
            "1 e",
            "1é",
            "99999999999e",
            "1d-2",
            "-1e",
            "+1e",
            "1d+3",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
