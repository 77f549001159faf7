//! The command line: what may be said, and which exit code means what.

pub(crate) mod bench;
pub(crate) mod clients;
pub(crate) mod history;
pub(crate) mod operation;
pub(crate) mod output;
pub(crate) mod proc;
pub(crate) mod repl;
pub(crate) mod status;
pub(crate) mod text;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use client::{Client, ConnectError, Error, Key, Keys, Options, Route};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const EXITS: &str = "Exit codes:
  0  done
  1  the key was not found, or the condition did not hold
  2  the command line is not right, a key or value is outside of the limits, or the output of a
     read cannot be written
  3  unavailable: nothing was done, and nothing will be
  4  the outcome is unknown: the write may have been carried out, once at the most; or the output of
     a write cannot be written
  129, 130, 143  stopped by SIGHUP, SIGINT, SIGTERM; a pending operation has an unknown outcome";

/// Asks a Stateraft cluster.
#[derive(Debug, Parser)]
#[command(name = "raft-client", version, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
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
    /// Ask the servers themselves, without a proxy
    #[arg(long, global = true, env = "RAFT_DIRECT")]
    pub(crate) direct: bool,
    /// The cluster's name; others are not understood
    #[arg(
        long,
        global = true,
        env = "RAFT_CLUSTER",
        value_name = "NAME",
        default_value = "stateraft"
    )]
    pub(crate) cluster: String,
    /// How long an operation may take in all, as in 500ms or 10s
    #[arg(long, global = true, env = "RAFT_TIMEOUT", value_name = "TIME",
          default_value = "10s", value_parser = text::duration)]
    pub(crate) timeout: Duration,
    /// After how long without an answer a request is sent again
    #[arg(long, global = true, env = "RAFT_ATTEMPT_TIMEOUT", value_name = "TIME",
          default_value = "500ms", value_parser = text::duration)]
    pub(crate) attempt_timeout: Duration,
    /// The most bytes of a datagram, without the headers of UDP and IP. The length in use follows what
    /// each path carries; this only bounds it
    #[arg(long, global = true, env = "RAFT_MAX_DATAGRAM", value_name = "BYTES",
          default_value_t = transport::Config::DEFAULT_DATAGRAM,
          value_parser = transport::Config::parse_max_datagram)]
    pub(crate) max_datagram: usize,
    /// What get, scan and bench may read
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
    /// The file with the cluster's key, for who has it; the clients' key is enough
    #[arg(long, global = true, env = "RAFT_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// How answers are shown
    #[arg(
        short,
        long,
        global = true,
        env = "RAFT_OUTPUT",
        value_enum,
        default_value_t
    )]
    pub(crate) output: Output,
    /// The clients that were opened with these settings.
    #[arg(skip)]
    pub(crate) clients: clients::Clients,
}

/// What a read may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Every write that was answered before the read was asked
    #[default]
    Linearizable,
    /// What any one server has, without asking the others: perhaps old
    Stale,
}

/// How answers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Table,
    /// One JSON object in each line
    Json,
    /// Values and nothing else
    Plain,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Operation(operation::Operation),
    /// Takes commands line by line
    Repl(repl::Repl),
    /// Says whether the cluster answers, and how fast
    Status(status::Probe),
    /// Says whether the cluster answers, by its exit code
    Health(status::Probe),
    /// Measures throughput and latency
    Bench(bench::Bench),
    /// Prints what makes a shell complete commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether it changes anything. Each line of the prompt has its own outcome.
    pub(crate) const fn writes(&self) -> bool {
        match self {
            Self::Operation(operation) => operation.writes(),
            Self::Bench(_) => true,
            Self::Repl(_) | Self::Status(_) | Self::Health(_) | Self::Completions { .. } => false,
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Not found, or the condition did not hold.
    No,
    /// The command line is not right, or what it names.
    Usage,
    /// Certainly not done.
    Unavailable,
    /// Perhaps done.
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
    /// What an error means for whoever waits for the exit code.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<Error>() {
            return match error {
                Error::Unavailable(_)
                | Error::Overloaded(_)
                | Error::ClusterOverloaded
                | Error::SessionsInUse
                | Error::QuotaExceeded => Self::Unavailable,
                Error::OutsideLimits(_) => Self::Usage,
                Error::NotANumber => Self::No,
                Error::Unknown(_) | Error::Forgotten | Error::Mismatch => Self::Unknown,
            };
        }
        match error.downcast_ref::<ConnectError>() {
            Some(ConnectError::Resolve { .. } | ConnectError::Bind(_)) => Self::Unavailable,
            _ if error.is::<status::Unhealthy>() => Self::Unavailable,
            _ => Self::Usage,
        }
    }

    /// The word for it.
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
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let key = |path: &Option<PathBuf>| path.as_ref().map(Key::read).transpose();
        Ok(Options {
            endpoints: self.endpoints.clone(),
            route: if self.direct {
                Route::Direct
            } else {
                Route::Proxy
            },
            cluster: self.cluster.clone(),
            keys: Keys {
                cluster: key(&self.key_file)?,
                client: key(&self.client_key_file)?,
            },
            max_datagram: self.max_datagram,
            timeout: self.timeout,
            attempt_timeout: self.attempt_timeout,
            ..Options::default()
        })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(self.clients.connect(self.options()?).await?)
    }
}

/// Does what was said. The caller closes the [clients](Global::clients) that it opened.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { global, command } = cli;
    match command {
        Command::Operation(operation) => {
            let (consistency, timeout) = (global.consistency, global.timeout);
            let late = if operation.writes() {
                Error::Unknown(timeout)
            } else {
                Error::Unavailable(timeout)
            };
            // Not a part of the time for the operation.
            let input = operation.input().await?;
            let run = async {
                let client = global.connect().await?;
                operation.run(&client, consistency, input).await
            };
            // Looking up names counts, too. An operation alone ends a little earlier by itself.
            let reply = tokio::time::timeout(timeout + timeout / 10, run)
                .await
                .unwrap_or_else(|_| Err(late.into()))?;
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
