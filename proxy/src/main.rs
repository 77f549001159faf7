//! `raft-proxy`: parses the command line and runs a proxy until a stop signal arrives.

use clap::{Parser, Subcommand};
use program::{
    command_line,
    logging::{self, LogFormat},
    output,
    signals::StopSignals,
};
use proxy::{
    health,
    server::Server,
    settings::{ListenAddress, Settings},
};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

const EXITS: &str = "Exit codes:
  0  stopped on request; health: the proxy is ready
  1  an embedded server failed while the proxy was running; health: the proxy is not ready, or does
     not respond
  2  the command line is invalid, or the proxy cannot start
  129, 130, 143  SIGHUP, SIGINT, SIGTERM before the start was complete, or as a second signal at
     least 1 s after the first";

/// The proxy of a cluster: UDP clients, HTTP and the Redis protocol
#[derive(Parser)]
#[command(
    name = "raft-proxy",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXITS
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// The format of the log; RUST_LOG sets its level
    #[arg(long, value_enum, env = "RAFT_LOG", default_value = "text")]
    log: LogFormat,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check that a running proxy is ready; exit code 0 if so
    Health {
        /// The HTTP address of the proxy
        #[arg(long, env = "RAFT_HTTP", default_value = "127.0.0.1:8080")]
        http: ListenAddress,
    },
}

/// The exit code if the command line is invalid, or the proxy cannot start.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    let cli: Cli = command_line::parse(2);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::final_error(format_args!("cannot start threads: {error}"));
            return CANNOT_START.into();
        }
    };
    let exit = runtime.block_on(run(cli)).unwrap_or_else(|error| {
        output::final_error(error);
        CANNOT_START.into()
    });
    // A pending name lookup must not delay the exit.
    runtime.shutdown_background();
    exit
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(Command::Health { http }) = cli.command {
        return Ok(check(http).await.unwrap_or_else(|error| {
            output::final_error(error);
            ExitCode::FAILURE
        }));
    }
    let _log = logging::start(cli.log).map_err(anyhow::Error::msg)?;
    // Install the handlers first, so that every later step can be interrupted.
    let mut signals = StopSignals::install()?;
    let server = tokio::select! {
        server = Server::start(cli.settings) => server?,
        signal = signals.next() => {
            tracing::info!(%signal, "stopped before it was ready");
            return Ok(signal.exit_code().into());
        }
    };
    greet(&server);
    let failure = tokio::select! {
        signal = signals.next() => {
            tracing::info!(%signal, "stopping; a second signal after 1 s stops it immediately");
            None
        }
        failure = server.failed() => {
            tracing::error!("{failure:#}");
            Some(failure)
        }
    };
    let forced = async {
        // After a failure, no signal has requested the stop yet.
        if failure.is_some() {
            let signal = signals.next().await;
            tracing::info!(%signal, "already stopping; a second signal after 1 s stops it immediately");
        }
        signals.next().await
    };
    tokio::select! {
        () = server.stop() => {}
        signal = forced => {
            tracing::warn!(%signal, "stopped immediately; the outcome of pending operations is unknown");
            return Ok(signal.exit_code().into());
        }
    }
    Ok(match failure {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

async fn check(http: ListenAddress) -> anyhow::Result<ExitCode> {
    let Some(mut at) = http.address() else {
        anyhow::bail!("HTTP is off: give the HTTP address of the proxy with --http ADDRESS:PORT");
    };
    if at.ip().is_unspecified() {
        // A server that listens on all addresses also listens on loopback.
        at.set_ip(if at.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let (ready, text) = health::ask(at).await?;
    // The exit code is the result, so a failure to print does not matter.
    let _ = write!(io::stdout(), "{text}");
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the addresses of all listeners and example commands.
fn greet(server: &Server) {
    tracing::info!(
        udp = %server.udp,
        http = server.http.map(tracing::field::display),
        redis = server.redis.map(tracing::field::display),
        "listening"
    );
    if server.chaos {
        tracing::warn!(
            "fault injection is enabled: every client of the HTTP interface can cut links and stop \
             servers with POST /v1/chaos; never use --chaos with data that matters"
        );
    }
    if let Some(embedded) = &server.embedded {
        output::announce(greeting(server, embedded));
    }
}

fn greeting(server: &Server, embedded: &proxy::embedded::Embedded) -> String {
    let mut lines = vec![
        format!("Servers:    {}", listed(embedded)),
        format!("UDP:        {}", server.udp),
    ];
    if let Some(http) = server.http {
        lines.push(format!(
            "HTTP:       http://{http}/    (open it in a browser)"
        ));
    }
    if let Some(redis) = server.redis {
        lines.push(format!("Redis:      {redis}"));
    }
    lines.push("\nTry:".to_owned());
    if let Some(http) = server.http {
        lines.push(format!(
            "  curl -X PUT http://{http}/v1/kv/greeting -d hello"
        ));
        lines.push(format!("  curl http://{http}/v1/kv/greeting"));
    }
    if let Some(redis) = server.redis {
        lines.push(format!("  redis-cli -p {} incr visitors", redis.port()));
    }
    lines.join("\n") + "\n"
}

fn listed(embedded: &proxy::embedded::Embedded) -> String {
    let addresses = embedded.addresses();
    let servers = addresses.iter().map(|(id, at)| format!("{id} on {at}"));
    servers.collect::<Vec<_>>().join(", ")
}
