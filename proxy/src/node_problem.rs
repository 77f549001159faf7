//! The reasons why a server has no status, or is not up although it has one.

use serde::Serialize;
use std::io;

/// A problem of a server. Its serialized form is `{"code", ...}` with the parameters; the page has a
/// text for each code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum NodeProblem {
    /// A server in this process has stopped.
    #[error("the server has stopped")]
    Stopped,
    /// No response arrived in time.
    #[error("no response in time")]
    NoResponse,
    /// The proxy does not have its HTTP address.
    #[error("its HTTP address is not configured: --node-http {id}=HOST:PORT")]
    NoAddress {
        /// The id of the server.
        id: u64,
    },
    /// Its name has no address.
    #[error("cannot resolve the name in {at}: {error}")]
    Unresolved {
        /// The HTTP address of the server.
        at: String,
        /// The error of the resolver.
        error: String,
    },
    /// No process listens.
    #[error("{at} refuses the connection")]
    ConnectionRefused {
        /// The HTTP address of the server.
        at: String,
    },
    /// The host or its network is unreachable.
    #[error("no route to {at}")]
    NoRoute {
        /// The HTTP address of the server.
        at: String,
    },
    /// The host did not accept the connection in time.
    #[error("connecting to {at} timed out")]
    ConnectTimeout {
        /// The HTTP address of the server.
        at: String,
    },
    /// The connection failed for another reason.
    #[error("cannot connect to {at}: {error}")]
    NotConnected {
        /// The HTTP address of the server.
        at: String,
        /// The error of the system.
        error: String,
    },
    /// The connection broke, or the response is not HTTP, too long, or not the expected JSON.
    #[error("the response of {at} is invalid: {error}")]
    InvalidResponse {
        /// The HTTP address of the server.
        at: String,
        /// The error.
        error: String,
    },
    /// The response has a status other than success, for example because a token is missing.
    #[error("{at} responded with status {status}")]
    Status {
        /// The HTTP address of the server.
        at: String,
        /// The HTTP status.
        status: u16,
    },
    /// It responds, and the leader reports that its disk was lost.
    #[error("responds over HTTP, but does not count toward a quorum: see the alerts")]
    NotCounted,
    /// It responds, and its datagrams do not arrive at the leader.
    #[error("responds over HTTP, but the leader has received no message from it for {seconds} s")]
    NotReceivedByLeader {
        /// The time since the last message, in seconds.
        seconds: u64,
    },
    /// It responds, and its datagrams do not arrive at another server. There is no leader.
    #[error(
        "responds over HTTP, but server {other} has received no message from it for {seconds} s"
    )]
    NotReceived {
        /// The id of the other server.
        other: u64,
        /// The time since the last message, in seconds.
        seconds: u64,
    },
    /// It responds, and the datagrams of another server do not arrive. There is no leader.
    #[error(
        "responds over HTTP, but it has received no message from server {other} for {seconds} s"
    )]
    ReceivesNothing {
        /// The id of the other server.
        other: u64,
        /// The time since the last message, in seconds.
        seconds: u64,
    },
}

impl NodeProblem {
    /// The reason for a failed connection.
    pub(crate) fn from_connect(at: &str, error: &io::Error) -> Self {
        let at = at.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused { at },
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::NoRoute { at }
            }
            io::ErrorKind::TimedOut => Self::ConnectTimeout { at },
            _ => Self::NotConnected {
                at,
                error: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NodeProblem::*;

    /// One problem of each kind.
    fn all() -> [NodeProblem; 14] {
        let (at, error) = ("host:1".to_owned(), "why".to_owned());
        let (other, seconds) = (2, 3);
        [
            Stopped,
            NoResponse,
            NoAddress { id: 1 },
            Unresolved {
                at: at.clone(),
                error: error.clone(),
            },
            ConnectionRefused { at: at.clone() },
            NoRoute { at: at.clone() },
            ConnectTimeout { at: at.clone() },
            NotConnected {
                at: at.clone(),
                error: error.clone(),
            },
            InvalidResponse {
                at: at.clone(),
                error,
            },
            Status { at, status: 401 },
            NotCounted,
            NotReceivedByLeader { seconds },
            NotReceived { other, seconds },
            ReceivesNothing { other, seconds },
        ]
    }

    #[test]
    fn page_has_a_text_for_each_code_with_its_parameters() {
        for language in ["en", "es"] {
            let file = format!("../ui/assets/js/lang/{language}/live.js");
            let texts = std::fs::read_to_string(file).unwrap();
            let texts = texts.lines().filter(|line| line.contains("'live.problem-"));
            let texts: Vec<_> = texts.collect();
            assert_eq!(texts.len(), all().len(), "{language}");
            for problem in all() {
                let json = serde_json::to_value(&problem).unwrap();
                let key = format!("'live.problem-{}':", json["code"].as_str().unwrap());
                let text = texts.iter().find(|line| line.contains(&key)).expect(&key);
                for parameter in text.split('{').skip(1) {
                    let (parameter, _) = parameter.split_once('}').unwrap();
                    assert!(!json[parameter].is_null(), "{language}: {text}");
                }
            }
        }
    }
}
