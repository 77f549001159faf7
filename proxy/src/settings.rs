//! The command line of `raft-proxy`, and the check for inconsistent options.

use clap::Args;
use model::NodeId;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};
use transport::Environment;

/// The configuration of a proxy. Every option can also be set in the environment.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Run N servers in this process, to try out a whole cluster on one machine
    #[arg(long, value_name = "N", env = "RAFT_EMBEDDED", conflicts_with = "peers",
          value_parser = clap::value_parser!(u64).range(1..=9))]
    pub embedded: Option<u64>,
    /// The name of the cluster; datagrams of other clusters are ignored
    #[arg(
        long,
        value_name = "NAME",
        env = "RAFT_CLUSTER",
        default_value = "stateraft"
    )]
    pub cluster: String,
    /// The UDP address for clients
    #[arg(
        long,
        value_name = "ADDR",
        env = "RAFT_LISTEN",
        default_value = "127.0.0.1:7000"
    )]
    pub listen: SocketAddr,
    /// The address of the HTTP server, or "off"
    #[arg(
        long,
        value_name = "ADDR",
        env = "RAFT_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: ListenAddress,
    /// The address of the Redis server, or "off"
    #[arg(
        long,
        value_name = "ADDR",
        env = "RAFT_REDIS",
        default_value = "127.0.0.1:6379"
    )]
    pub redis: ListenAddress,
    /// The address of a server, 1=HOST:PORT. Once for each server
    #[arg(
        long = "peer",
        value_name = "ID=HOST:PORT",
        env = "RAFT_PEER",
        value_delimiter = ','
    )]
    pub peers: Vec<ServerAddress>,
    /// The HTTP address of a server, for the page at /, 1=HOST:PORT. Once for each server
    #[arg(
        long,
        value_name = "ID=HOST:PORT",
        env = "RAFT_NODE_HTTP",
        value_delimiter = ','
    )]
    pub node_http: Vec<ServerAddress>,
    /// The maximum datagram size in bytes, without UDP and IP headers. Path MTU discovery chooses the
    /// actual size up to this bound
    #[arg(long, value_name = "BYTES", env = "RAFT_MAX_DATAGRAM",
          default_value_t = transport::Config::DEFAULT_DATAGRAM,
          value_parser = transport::Config::parse_max_datagram)]
    pub max_datagram: usize,
    /// The directory for the logs of the --embedded servers
    #[arg(
        long,
        value_name = "DIR",
        env = "RAFT_DATA_DIR",
        default_value = "./data"
    )]
    pub data_dir: PathBuf,
    /// The maximum size of all keys and values in bytes, for the --embedded servers. Beyond it, writes
    /// that enlarge the state are rejected
    #[arg(long, value_name = "BYTES", env = "RAFT_STATE_QUOTA", default_value_t = 512 << 20,
          value_parser = clap::value_parser!(u64).range(1..=model::store::MAX_STATE_QUOTA))]
    pub state_quota: u64,
    /// The file with the key that servers and proxies share (raft-node keygen generates one)
    #[arg(long, value_name = "FILE", env = "RAFT_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// The file with the key that UDP clients share with servers and proxies
    #[arg(long, value_name = "FILE", env = "RAFT_CLIENT_KEY_FILE")]
    pub client_key_file: Option<PathBuf>,
    /// The file with the token that HTTP requests must carry as "Authorization: Bearer TOKEN"; also
    /// sent to the servers of --node-http
    #[arg(long, value_name = "FILE", env = "RAFT_HTTP_TOKEN_FILE")]
    pub http_token_file: Option<PathBuf>,
    /// The file with the token for the servers of --node-http, if it differs from --http-token-file
    #[arg(long, value_name = "FILE", env = "RAFT_NODE_HTTP_TOKEN_FILE")]
    pub node_http_token_file: Option<PathBuf>,
    /// An allowed host name for HTTP requests to this proxy, in addition to localhost and IP addresses.
    /// Without a token, requests with other host names are rejected. Repeat the option or separate names
    /// by commas
    #[arg(
        long,
        value_name = "NAME",
        env = "RAFT_HTTP_ALLOW_HOST",
        value_delimiter = ',',
        value_parser = web::site::parse_name
    )]
    pub http_allow_host: Vec<String>,
    /// The file with the password that Redis clients must send with AUTH
    #[arg(long, value_name = "FILE", env = "RAFT_REDIS_PASSWORD_FILE")]
    pub redis_password_file: Option<PathBuf>,
    /// Listen on non-loopback addresses even without keys, tokens and passwords
    #[arg(long, env = "RAFT_INSECURE")]
    pub insecure: bool,
    /// Allow fault injection by POST /v1/chaos for all users of HTTP: cut and disturb links, and
    /// isolate, pause and kill the --embedded servers. Never use it on a production cluster
    #[arg(long, env = "RAFT_CHAOS")]
    pub chaos: bool,
    /// The timeout for a server's response; after it, the request goes to another server
    #[arg(long, value_name = "TIME", env = "RAFT_ATTEMPT_TIMEOUT", default_value = "400ms",
          value_parser = positive)]
    pub attempt_timeout: Duration,
    /// The maximum number of attempts per request. The default outlasts an election
    #[arg(long, value_name = "N", env = "RAFT_ATTEMPTS", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: u32,
    /// The maximum number of requests in flight
    #[arg(
        long,
        value_name = "N",
        env = "RAFT_MAX_IN_FLIGHT",
        default_value_t = 65_536,
        value_parser = at_least_one
    )]
    pub max_in_flight: usize,
    /// The number of sessions that HTTP and Redis clients share. The total over all proxies of a
    /// cluster must stay below the limit of its servers (1024)
    #[arg(
        long,
        value_name = "N",
        env = "RAFT_MAX_SESSIONS",
        default_value_t = 256,
        value_parser = at_least_one
    )]
    pub max_sessions: usize,
    /// The maximum number of HTTP and Redis operations that wait for a free session, in total
    #[arg(
        long,
        value_name = "N",
        env = "RAFT_MAX_WAITING",
        default_value_t = 16_384,
        value_parser = at_least_one
    )]
    pub max_waiting: usize,
    /// The maximum number of connections per TCP frontend; reduced automatically if the open-file limit
    /// is too low
    #[arg(
        long,
        value_name = "N",
        env = "RAFT_MAX_CONNECTIONS",
        default_value_t = 1024,
        value_parser = at_least_one
    )]
    pub max_connections: usize,
    /// The timeout for a TCP client to send a request, and to receive each 32 KiB of a response
    #[arg(long, value_name = "TIME", env = "RAFT_CLIENT_TIMEOUT", default_value = "10s",
          value_parser = positive)]
    pub client_timeout: Duration,
    /// The timeout for idle Redis connections; 0s disables it
    #[arg(long, value_name = "TIME", env = "RAFT_IDLE_TIMEOUT", default_value = "10m",
          value_parser = duration)]
    pub idle_timeout: Duration,
    /// The minimum idle time before a Redis connection can be closed in favor of a new client. If all
    /// connections are in use, the connection with the longest idle time is closed
    #[arg(long, value_name = "TIME", env = "RAFT_EVICT_IDLE", default_value = "1m",
          value_parser = duration)]
    pub evict_idle: Duration,
    /// The timeout for pending operations during a shutdown
    #[arg(long, value_name = "TIME", env = "RAFT_DRAIN", default_value = "10s",
          value_parser = duration)]
    pub drain: Duration,
    /// The source of random numbers, calendar time and UDP sockets.
    #[arg(skip)]
    pub environment: Environment,
}

/// Parses a positive integer.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// The maximum duration of an option, as in `raft-client`. Sums of such durations and points in time
/// cannot overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses a duration of at most a day.
fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time > LONGEST => Err("give at most 1day".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a positive duration of at most a day.
fn positive(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("give more than 0s".to_owned()),
        other => other,
    }
}

/// The listen address of a frontend, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Disabled.
    Off,
    /// The listen address.
    At(SocketAddr),
}

impl ListenAddress {
    /// The listen address, unless the frontend is disabled.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|error| format!("{error}: give ADDRESS:PORT, or off")),
        }
    }
}

/// The id and the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// The id of the server.
    pub id: NodeId,
    /// `HOST:PORT`.
    pub at: String,
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not of the form ID=HOST:PORT, as in 1=127.0.0.1:7101");
        let (id, at) = text.split_once('=').ok_or_else(wrong)?;
        let id = id.trim().parse().map_err(|_| wrong())?;
        let at = at.trim();
        transport::check_endpoint(at).map_err(|expected| format!("{at:?} is not {expected}"))?;
        Ok(Self {
            id: NodeId::new(id),
            at: at.to_owned(),
        })
    }
}

/// An inconsistency between options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There are no servers to forward requests to.
    #[error("no servers: give --peer 1=HOST:PORT for each, or --embedded 3")]
    NoServers,
    /// The cluster name is invalid.
    #[error(transparent)]
    Cluster(#[from] transport::ClusterNameError),
    /// The keys do not go together.
    #[error(transparent)]
    Keys(#[from] transport::KeyPairError),
    /// One server has two addresses.
    #[error("server {0} has two addresses in {1}")]
    Twice(NodeId, &'static str),
    /// Two servers have the same address.
    #[error(
        "servers {0} and {1} have the same address {2} in {3}: every server needs its own address"
    )]
    SharedAddress(NodeId, NodeId, String, &'static str),
    /// A server is not part of the cluster.
    #[error("--node-http names server {0}, which --peer does not name")]
    UnknownServer(NodeId),
    /// Fault injection is enabled, but HTTP is off.
    #[error("--chaos needs HTTP: give --http ADDRESS:PORT")]
    ChaosWithoutHttp,
    /// Fault injection is enabled, and HTTP is reachable from other machines.
    #[error(
        "--chaos lets every client that reaches --http {0} stop the cluster, and other machines can \
             reach it: listen on 127.0.0.1, or confirm with --insecure"
    )]
    OpenChaos(SocketAddr),
    /// An address is reachable from other machines without authentication.
    #[error(
        "other machines can reach {option} {address}, and without {secret} each of them could read \
             and write all keys: give {secret}, listen on 127.0.0.1, or confirm with --insecure that \
             the network is closed"
    )]
    Open {
        /// The option to change.
        option: &'static str,
        /// The value of the option.
        address: SocketAddr,
        /// The missing secret.
        secret: &'static str,
    },
}

impl Settings {
    /// Checks for inconsistent options.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        transport::Config::check_cluster(&self.cluster)?;
        transport::check_key_files(self.key_file.as_deref(), self.client_key_file.as_deref())?;
        if self.embedded.is_none() && self.peers.is_empty() {
            return Err(SettingsError::NoServers);
        }
        let peers = addresses_by_server(&self.peers, "--peer")?;
        let http = addresses_by_server(&self.node_http, "--node-http")?;
        if let Some(unknown) = http.keys().find(|id| !peers.contains_key(id)) {
            return Err(SettingsError::UnknownServer(*unknown));
        }
        if self.chaos {
            match self.http.address() {
                None => return Err(SettingsError::ChaosWithoutHttp),
                Some(at) if !at.ip().is_loopback() && !self.insecure => {
                    return Err(SettingsError::OpenChaos(at));
                }
                Some(_) => {}
            }
        }
        if self.insecure {
            return Ok(());
        }
        for (option, address, secret, given) in [
            ("--listen", Some(self.listen), "--key-file", &self.key_file),
            (
                "--http",
                self.http.address(),
                "--http-token-file",
                &self.http_token_file,
            ),
            (
                "--redis",
                self.redis.address(),
                "--redis-password-file",
                &self.redis_password_file,
            ),
        ] {
            if let Some(address) = address
                && !address.ip().is_loopback()
                && given.is_none()
            {
                return Err(SettingsError::Open {
                    option,
                    address,
                    secret,
                });
            }
        }
        Ok(())
    }

    /// A timeout longer than all attempts of the proxy, so that the client receives the proxy's
    /// verdict.
    pub(crate) fn patience(&self) -> Duration {
        self.attempt_timeout.saturating_mul(self.attempts) + Duration::from_secs(1)
    }
}

/// Maps each server to its address.
pub(crate) fn addresses_by_server(
    addresses: &[ServerAddress],
    option: &'static str,
) -> Result<BTreeMap<NodeId, String>, SettingsError> {
    let mut by_id = BTreeMap::new();
    let mut by_text = BTreeMap::new();
    for ServerAddress { id, at } in addresses {
        if by_id.insert(*id, at.clone()).is_some() {
            return Err(SettingsError::Twice(*id, option));
        }
        // Host names are case-insensitive.
        if let Some(other) = by_text.insert(at.to_ascii_lowercase(), *id) {
            return Err(SettingsError::SharedAddress(other, *id, at.clone(), option));
        }
    }
    Ok(by_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn checked(line: &str) -> Result<(), SettingsError> {
        let words = std::iter::once("raft-proxy").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().settings.check()
    }

    #[test]
    fn servers_are_needed_once_each() {
        assert_eq!(checked(""), Err(SettingsError::NoServers));
        assert_eq!(checked("--embedded 3"), Ok(()));
        assert_eq!(
            checked("--peer 1=a:1 --peer 2=[::1]:2 --node-http 2=b:80"),
            Ok(())
        );
        let twice = SettingsError::Twice(NodeId::new(1), "--peer");
        assert_eq!(checked("--peer 1=a:1,1=b:1"), Err(twice));
        let (one, two) = (NodeId::new(1), NodeId::new(2));
        let shared =
            |at: &str, option| SettingsError::SharedAddress(one, two, at.to_owned(), option);
        for (line, refused) in [
            ("--peer 1=a:1,2=a:1", shared("a:1", "--peer")),
            ("--peer 1=a:1 --peer 2=A:1", shared("A:1", "--peer")),
            (
                "--peer 1=a:1,2=a:2 --node-http 1=a:80,2=a:80",
                shared("a:80", "--node-http"),
            ),
        ] {
            assert_eq!(checked(line), Err(refused), "{line}");
        }
        let unknown = SettingsError::UnknownServer(NodeId::new(2));
        assert_eq!(checked("--peer 1=a:1 --node-http 2=a:2"), Err(unknown));
    }

    #[test]
    fn open_frontends_need_a_secret_or_insecure() {
        let open = |line: &str| match checked(&format!("--embedded 1 {line}")) {
            Ok(()) => None,
            Err(SettingsError::Open { option, .. }) => Some(option),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(open("--listen 0.0.0.0:1"), Some("--listen"));
        assert_eq!(open("--listen 0.0.0.0:1 --key-file k"), None);
        assert_eq!(open("--http [::]:1"), Some("--http"));
        assert_eq!(open("--http [::1]:1"), None);
        assert_eq!(open("--http [::]:1 --http-token-file t"), None);
        assert_eq!(open("--redis 192.0.2.1:1"), Some("--redis"));
        assert_eq!(open("--redis off --http off"), None);
        assert_eq!(open("--redis 0.0.0.0:1 --http 0.0.0.0:1 --insecure"), None);
    }

    #[test]
    fn client_key_needs_another_cluster_key() {
        use transport::KeyPairError::{NoClusterKey, SameKey};
        for servers in ["--embedded 3", "--peer 1=a:1", "--peer 1=a:1 --insecure"] {
            let keys = |line: &str| checked(&format!("{servers} {line}"));
            assert_eq!(keys("--client-key-file c"), Err(NoClusterKey.into()));
            assert_eq!(
                keys("--client-key-file c --key-file c"),
                Err(SameKey.into())
            );
            assert_eq!(keys("--client-key-file c --key-file k"), Ok(()));
            assert_eq!(keys("--key-file k"), Ok(()));
        }
    }

    #[test]
    fn chaos_on_other_addresses_needs_insecure() {
        let at = "0.0.0.0:1".parse().unwrap();
        let chaos = |line: &str| checked(&format!("--embedded 1 --chaos {line}"));
        assert_eq!(chaos(""), Ok(()));
        assert_eq!(chaos("--http off"), Err(SettingsError::ChaosWithoutHttp));
        // A token grants access to the cluster, but not the right to disturb it.
        let open = "--http 0.0.0.0:1 --http-token-file t";
        assert_eq!(chaos(open), Err(SettingsError::OpenChaos(at)));
        assert_eq!(chaos("--http 0.0.0.0:1 --insecure"), Ok(()));
    }

    #[test]
    fn addresses_are_parsed_or_refused() {
        assert!("1=host:80".parse::<ServerAddress>().is_ok());
        for wrong in [
            "host:80",
            "x=host:80",
            "1=host",
            "1=:80",
            "1=host:99999",
            "1=host:0",
            "1=::1:80",
            "1=a b:80",
            "",
        ] {
            assert!(wrong.parse::<ServerAddress>().is_err(), "{wrong}");
        }
    }
}
