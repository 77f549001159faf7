//! The command line of `raft-client`: commands, options and exit codes.

pub(crate) mod bench;
pub(crate) mod clients;
pub(crate) mod history;
pub(crate) mod input;
pub(crate) mod operation;
pub(crate) mod output;
pub(crate) mod proc;
pub(crate) mod repl;
pub(crate) mod status;
pub(crate) mod text;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use client::{Client, ConnectError, Error, Key, Keys, Options, Route};
use model::{
    client::{NotDone, Unknown},
    message::NotTransferred,
};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const EXITS: &str = "Exit codes:
  0  done
  1  the key was not found, the condition did not hold, or the value to increment is not an
     integer or the sum would overflow
  2  the command line or a file that it names is invalid, a key or value is outside the limits,
     the cluster has no such server, or the output of a read or transfer cannot be written
  3  unavailable: the operation was not done, and never will be; or the server to transfer to is
     not confirmed as the leader
  4  the outcome is unknown: the write may have taken effect, or may yet, at most once; or the
     output of a write cannot be written
  129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM; a pending operation has an unknown outcome";

/// The client of a Stateraft cluster
#[derive(Debug, Parser)]
#[command(name = "raft-client", version, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of all commands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The proxies' UDP addresses as HOST:PORT; with --direct all servers, as ID=HOST:PORT
    #[arg(
        long,
        global = true,
        env = "RAFT_ENDPOINTS",
        value_name = "ADDR,..",
        value_delimiter = ',',
        default_value = "127.0.0.1:7000"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Connect to the servers directly, without a proxy
    #[arg(long, global = true, env = "RAFT_DIRECT")]
    pub(crate) direct: bool,
    /// The name of the cluster; datagrams of other clusters are ignored
    #[arg(
        long,
        global = true,
        env = "RAFT_CLUSTER",
        value_name = "NAME",
        default_value = "stateraft"
    )]
    pub(crate) cluster: String,
    /// The timeout of an operation, including all retries, as in 500ms or 10s
    #[arg(long, global = true, env = "RAFT_TIMEOUT", value_name = "TIME",
          default_value = "10s", value_parser = text::duration)]
    pub(crate) timeout: Duration,
    /// The timeout of one attempt; after it, the request is retransmitted
    #[arg(long, global = true, env = "RAFT_ATTEMPT_TIMEOUT", value_name = "TIME",
          default_value = "500ms", value_parser = text::duration)]
    pub(crate) attempt_timeout: Duration,
    /// The maximum datagram size in bytes, without UDP and IP headers. Path MTU discovery chooses the
    /// actual size up to this bound
    #[arg(long, global = true, env = "RAFT_MAX_DATAGRAM", value_name = "BYTES",
          default_value_t = transport::Config::DEFAULT_DATAGRAM,
          value_parser = transport::Config::parse_max_datagram)]
    pub(crate) max_datagram: usize,
    /// The consistency of the reads of get, scan and bench
    #[arg(
        long,
        global = true,
        env = "RAFT_CONSISTENCY",
        value_enum,
        default_value_t
    )]
    pub(crate) consistency: Consistency,
    /// The file with the clients' key
    #[arg(long, global = true, env = "RAFT_CLIENT_KEY_FILE", value_name = "FILE")]
    pub(crate) client_key_file: Option<PathBuf>,
    /// The file with the cluster's key, if available; the clients' key is sufficient
    #[arg(long, global = true, env = "RAFT_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The output format
    #[arg(
        short,
        long,
        global = true,
        env = "RAFT_OUTPUT",
        value_enum,
        default_value_t
    )]
    pub(crate) output: Output,
    /// The clients opened with these settings.
    #[arg(skip)]
    pub(crate) clients: clients::Clients,
}

/// The consistency of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// The read returns every write that completed before the read began
    #[default]
    Linearizable,
    /// The read returns the state of any one server without a quorum; it may be stale
    Stale,
}

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Human-readable
    #[default]
    Table,
    /// One JSON object per line
    Json,
    /// Values only
    Plain,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Operation(operation::Operation),
    /// Read commands from a prompt
    Repl(repl::Repl),
    /// Check that the cluster responds, and show its state and latency
    Status(status::Probe),
    /// Check that the cluster responds; the exit code is the result
    Health(status::Probe),
    /// Measure throughput and latency
    Bench(bench::Bench),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the command can change data. Each line of the prompt has a separate outcome.
    pub(crate) const fn writes(&self) -> bool {
        match self {
            Self::Operation(operation) => operation.writes(),
            Self::Bench(_) => true,
            Self::Repl(_) | Self::Status(_) | Self::Health(_) | Self::Completions { .. } => false,
        }
    }
}

/// The exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Done,
    /// Not found, or the condition did not hold.
    No,
    /// The command line, or an object that it names, is invalid.
    Usage,
    /// Certainly not executed, or a leadership transfer that is not confirmed.
    Unavailable,
    /// Possibly executed.
    Unknown,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 3,
            Exit::Unknown => 4,
        })
    }
}

impl Exit {
    /// Maps an error to an exit code.
    pub(crate) fn from_error(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<Error>() {
            return match error {
                Error::NotDone(NotDone::OutsideLimits(_))
                | Error::NotTransferred {
                    reason: NotDone::NotTransferred(NotTransferred::NoVoter),
                    ..
                }
                | Error::NotPermitted => Self::Usage,
                Error::NotTransferred { .. } => Self::Unavailable,
                Error::NotDone(_) | Error::QuotaExceeded | Error::MismatchedRead => {
                    Self::Unavailable
                }
                Error::NotANumber | Error::Overflow => Self::No,
                Error::Unknown(_) | Error::Mismatch => Self::Unknown,
            };
        }
        match error.downcast_ref::<ConnectError>() {
            Some(
                ConnectError::Resolve { .. } | ConnectError::Bind(_) | ConnectError::Random(_),
            ) => Self::Unavailable,
            _ if error.is::<status::Unhealthy>() => Self::Unavailable,
            _ => Self::Usage,
        }
    }

    /// The name of the exit code in JSON output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "no",
            Self::Usage => "usage",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

impl Global {
    pub(crate) async fn options(&self) -> anyhow::Result<Options> {
        let (key_file, client_key_file) = (self.key_file.clone(), self.client_key_file.clone());
        let read = move || {
            let key = |path: Option<PathBuf>| path.map(Key::read).transpose();
            Ok::<_, transport::KeyError>(Keys {
                cluster: key(key_file)?,
                client: key(client_key_file)?,
            })
        };
        let keys = if self.key_file.is_some() || self.client_key_file.is_some() {
            input::read(read).await??
        } else {
            Keys::default()
        };
        Ok(Options {
            endpoints: self.endpoints.clone(),
            route: if self.direct {
                Route::Direct
            } else {
                Route::Proxy
            },
            cluster: self.cluster.clone(),
            keys,
            max_datagram: self.max_datagram,
            timeout: self.timeout,
            attempt_timeout: self.attempt_timeout,
            ..Options::default()
        })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(self.clients.connect(self.options().await?).await?)
    }
}

/// Executes a command. The caller closes the [clients](Global::clients) that it opened.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { global, command } = cli;
    match command {
        Command::Operation(operation) => {
            let (consistency, timeout) = (global.consistency, global.timeout);
            let unanswered = operation.unanswered();
            // The time for reading the input does not count toward the timeout.
            let input = operation.input().await?;
            let run = async {
                let client = global.connect().await?;
                operation.run(&client, consistency, input).await
            };
            // The timeout includes name resolution. It is longer than the operation's own timeout,
            // which expires first.
            let reply = tokio::time::timeout(timeout + timeout / 10, run)
                .await
                .unwrap_or_else(|_| {
                    // A write that was not sent yet is never sent, because its future is dropped.
                    let late = if global.clients.have_sent_write() {
                        Error::Unknown(Unknown::NotConfirmed)
                    } else {
                        unanswered
                    };
                    Err(late.into())
                })?;
            let mut out = std::io::stdout().lock();
            let exit = reply.show(global.output, &mut out)?;
            std::io::Write::flush(&mut out)?;
            Ok(exit)
        }
        Command::Repl(repl) => repl.run(&global).await,
        Command::Status(probe) => probe.status(&global).await,
        Command::Health(probe) => probe.health(&global).await,
        Command::Bench(bench) => bench.run(&global).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "raft-client", &mut script);
            std::io::Write::write_all(&mut std::io::stdout(), &script)?;
            Ok(Exit::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
