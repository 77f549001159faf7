//! The command line of `raft-node`: subcommands, options and their parsers.

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use model::NodeId;
use program::logging::LogFormat;
use std::{ffi::OsString, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

const EXIT_CODES: &str = "\
Commands:
  run     run a server (the default); its options are listed above
  health  check whether a running server is alive
  keygen  generate a key
`raft-node COMMAND --help` shows the options of a command.

Exit codes:
  0   stopped by a signal; `health`: the server is alive
  1   could not start; `health`: the server is not alive
  2   invalid command line
  70  an invariant of the protocol was violated, or the server panicked: a bug
  74  the disk, the trace or the socket failed while running
  129, 130, 143  a second signal (SIGHUP, SIGINT, SIGTERM) after 1 s stopped it immediately

Every option can also be given in the environment, as RAFT_ and its name: RAFT_DATA_DIR.
RUST_LOG sets the log levels, for example `info,node=debug`.";

/// A server of a Stateraft cluster.
#[derive(Debug, Parser)]
#[command(name = "raft-node", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the command line. The subcommand `run` is optional.
    ///
    /// This function inserts `run` itself. If the options of `run` were also top-level options, clap
    /// would apply `RAFT_*` variables that a container sets for `run` to `health` as well.
    pub(crate) fn parse_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let version = ["-V", "--version"];
        let is_implicit_run = arguments.get(1).is_none_or(|first| {
            let first = first.to_string_lossy();
            first.starts_with('-') && !version.contains(&&*first)
        });
        if is_implicit_run {
            let index = arguments.len().min(1);
            arguments.insert(index, "run".into());
        }
        let cli: Self = program::command_line::parse_from(arguments)?;
        if let Command::Run(run) = &cli.command {
            let (cluster, client) = (run.key_file.as_deref(), run.client_key_file.as_deref());
            transport::check_key_files(cluster, client)
                .map_err(|why| Self::command().error(ErrorKind::ArgumentConflict, why))?;
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server of a Stateraft cluster (the default command)
    #[command(after_help = EXIT_CODES)]
    Run(Box<Run>),
    /// Check that a running server is alive
    Health(Health),
    /// Generate a key for --key-file or --client-key-file
    Keygen(Keygen),
}

/// The options of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The id of this server
    #[arg(long, env = "RAFT_ID", value_parser = node_id)]
    pub(crate) id: NodeId,
    /// The name of the cluster; datagrams of other clusters are ignored
    #[arg(
        long,
        env = "RAFT_CLUSTER",
        default_value = "stateraft",
        value_name = "NAME"
    )]
    pub(crate) cluster: String,
    /// The UDP address to listen on
    #[arg(long, env = "RAFT_LISTEN", default_value = "127.0.0.1:7101")]
    pub(crate) listen: SocketAddr,
    /// The address of the HTTP server for operators; HTTP is off by default
    #[arg(long, env = "RAFT_HTTP")]
    pub(crate) http: Option<SocketAddr>,
    /// A server of the cluster, including this one; repeat the option or separate servers by commas
    #[arg(
        long = "peer",
        env = "RAFT_PEER",
        value_delimiter = ',',
        required = true,
        value_name = "ID=HOST:PORT"
    )]
    pub(crate) peers: Vec<Peer>,
    /// The directory of the log; created if it does not exist
    #[arg(long, env = "RAFT_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The file with the key that servers and proxies share; see keygen
    #[arg(long, env = "RAFT_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The file with the key that clients share with servers and proxies
    #[arg(long, env = "RAFT_CLIENT_KEY_FILE", value_name = "FILE")]
    pub(crate) client_key_file: Option<PathBuf>,
    /// The file with the bearer token for HTTP requests; /livez and /readyz need no token
    #[arg(long, env = "RAFT_HTTP_TOKEN_FILE", value_name = "FILE")]
    pub(crate) http_token_file: Option<PathBuf>,
    /// An allowed host name for HTTP requests to this server, in addition to localhost, IP addresses and
    /// its own host in --peer. Without a token, requests with other host names are rejected
    #[arg(
        long,
        env = "RAFT_HTTP_ALLOW_HOST",
        value_delimiter = ',',
        value_name = "NAME",
        value_parser = web::site::parse_name
    )]
    pub(crate) http_allow_host: Vec<String>,
    /// Accept datagrams from other machines without a key, and HTTP requests without a token: any
    /// machine that reaches the ports can impersonate a server and read its state
    #[arg(long, env = "RAFT_INSECURE")]
    pub(crate) insecure: bool,
    /// The interval of a leader's heartbeats
    #[arg(long, env = "RAFT_HEARTBEAT", default_value = "100ms", value_parser = duration)]
    pub(crate) heartbeat: Duration,
    /// The range of the election timeout; a new random timeout is drawn for each wait
    #[arg(
        long,
        env = "RAFT_ELECTION",
        default_value = "1000ms..2000ms",
        value_name = "MIN..MAX"
    )]
    pub(crate) election: Span,
    /// Take a snapshot after about this many log entries since the last snapshot
    #[arg(
        long,
        env = "RAFT_SNAPSHOT_ENTRIES",
        default_value_t = 10_000,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) snapshot_entries: u64,
    /// Take a snapshot after about this many bytes of log since the last snapshot
    #[arg(
        long,
        env = "RAFT_SNAPSHOT_BYTES",
        default_value_t = node::Config::DEFAULT_SNAPSHOT_BYTES,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) snapshot_bytes: u64,
    /// Busy-poll for this long while a single client writes back to back; 0ms disables it
    #[arg(long, env = "RAFT_BUSY_WAIT", default_value = "500us", value_parser = duration)]
    pub(crate) busy_wait: Duration,
    /// The maximum number of client sessions in the cluster. The setting of the current leader applies
    #[arg(
        long,
        env = "RAFT_MAX_SESSIONS",
        default_value_t = model::Config::DEFAULT_MAX_SESSIONS,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(model::store::MAX_SESSIONS))
    )]
    pub(crate) max_sessions: u32,
    /// Protect a session from eviction for this many applied entries after its last use
    #[arg(
        long,
        env = "RAFT_SESSION_WINDOW",
        default_value_t = model::Config::DEFAULT_SESSION_WINDOW,
        value_name = "ENTRIES"
    )]
    pub(crate) session_window: u64,
    /// The maximum size of all keys and values in bytes. Beyond it, writes that enlarge the state are
    /// rejected. The setting of the current leader applies
    #[arg(
        long,
        env = "RAFT_STATE_QUOTA",
        default_value_t = model::Config::DEFAULT_STATE_QUOTA,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(1..=model::store::MAX_STATE_QUOTA)
    )]
    pub(crate) state_quota: u64,
    /// The maximum datagram size in bytes, without UDP and IP headers. Path MTU discovery chooses the
    /// actual size up to this bound
    #[arg(long, env = "RAFT_MAX_DATAGRAM", value_name = "BYTES",
          default_value_t = transport::Config::DEFAULT_DATAGRAM,
          value_parser = transport::Config::parse_max_datagram)]
    pub(crate) max_datagram: usize,
    /// Record every step in this file for `raft-checker replay`
    #[arg(long, env = "RAFT_TRACE", value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Serve /chaos, the HTTP interface for network fault injection
    #[arg(long, env = "RAFT_CHAOS")]
    pub(crate) chaos: bool,
    /// The format of the log on standard error
    #[arg(long, env = "RAFT_LOG", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,
}

/// The options of `health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The HTTP address of the server
    #[arg(long, env = "RAFT_HTTP", default_value = "127.0.0.1:8101")]
    pub(crate) http: SocketAddr,
}

/// The options of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// The file to create, readable by its owner only. It must not exist. Without this argument the
    /// key is printed
    pub(crate) file: Option<PathBuf>,
}

/// The id and the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) at: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not of the form ID=HOST:PORT, as in 2=10.0.0.2:7101");
        let (id, at) = text.split_once('=').ok_or_else(form)?;
        let at = at.trim();
        transport::check_endpoint(at).map_err(|expected| format!("{at:?} is not {expected}"))?;
        Ok(Self {
            id: node_id(id)?,
            at: at.to_owned(),
        })
    }
}

/// A range of durations: minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text
            .split_once("..")
            .ok_or_else(|| format!("{text:?} is not of the form MIN..MAX, as in 1000ms..2000ms"))?;
        Ok(Self {
            min: duration(min)?,
            max: duration(max)?,
        })
    }
}

fn node_id(text: &str) -> Result<NodeId, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a server id: ids start at 1")),
        Ok(number) => Ok(NodeId::new(number)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let form = || format!("{text:?} is not a duration such as 500us, 100ms or 2s");
    let units = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
    let of = |(unit, micros)| Some((text.strip_suffix(unit)?, micros));
    let (number, unit) = units.into_iter().find_map(of).ok_or_else(form)?;
    let number: u64 = number.parse().map_err(|_| form())?;
    let micros = number.checked_mul(unit).ok_or_else(form)?;
    Ok(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::parse_arguments(line.split(' ').map(OsString::from)).map(|cli| cli.command)
    }

    #[test]
    fn run_is_the_default() {
        for command in ["raft-node", "raft-node run"] {
            let line = format!("{command} --id 2 --data-dir d --peer 1=a:1,2=[::1]:2");
            let Command::Run(run) = parse(&line).unwrap() else {
                panic!("{line}");
            };
            assert_eq!(run.id, NodeId::new(2));
            assert_eq!(run.peers[1].at, "[::1]:2");
            assert_eq!(run.election.max, Duration::from_secs(2));
            assert_eq!(run.busy_wait, Duration::from_micros(500));
            assert_eq!(run.max_datagram, 30_000);
        }
        let error = parse("raft-node").map(|_| ()).unwrap_err();
        assert_eq!(
            error.kind(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn help_shows_the_options_of_run_and_the_other_commands() {
        for line in ["raft-node --help", "raft-node -h", "raft-node run --help"] {
            let help = parse(line).map(|_| ()).unwrap_err().to_string();
            for text in ["--data-dir", "--peer", "health", "keygen", "Exit codes"] {
                assert!(help.contains(text), "{line}: {text}\n{help}");
            }
        }
    }

    #[test]
    fn other_commands_need_nothing_of_run() {
        assert!(matches!(parse("raft-node health"), Ok(Command::Health(_))));
        assert!(matches!(
            parse("raft-node keygen k"),
            Ok(Command::Keygen(_))
        ));
        let error = parse("raft-node --help").map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp);
    }

    #[test]
    fn nonsense_is_refused_with_the_right_form() {
        for text in ["2", "=a:1", "0=a:1", "2=a"] {
            Peer::from_str(text).unwrap_err();
        }
        assert!(Peer::from_str("2=[fd00::2]:7101 ").is_ok());
        for text in ["", "5", "ms", "-1ms", "1m", "99999999999999999999s"] {
            duration(text).unwrap_err();
        }
        Span::from_str("1s").unwrap_err();
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
    }
}
