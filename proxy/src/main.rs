//! `raft-proxy`: reads the command line, runs a proxy until it is told to stop.

use clap::{Parser, Subcommand};
use proxy::{
    health,
    server::Server,
    settings::{Door, LogFormat, Settings},
};
use std::{io::IsTerminal, process::ExitCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The front door of a cluster: UDP clients, HTTP and the Redis protocol
#[derive(Parser)]
#[command(name = "raft-proxy", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// How log lines look. RUST_LOG says how much is logged
    #[arg(long, value_enum, env = "RAFT_LOG", default_value = "text")]
    log: LogFormat,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a proxy that runs whether it is ready: exit code 0 if so
    Health {
        /// Where it serves HTTP
        #[arg(long, env = "RAFT_HTTP", default_value = "127.0.0.1:8080")]
        http: Door,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(Command::Health { http }) = cli.command {
        return check(http).await;
    }
    start_log(cli.log);
    // Before anything can be interrupted.
    let mut interrupts = Interrupts::new()?;
    let server = tokio::select! {
        server = Server::start(cli.settings) => server?,
        () = interrupts.next() => return Ok(ExitCode::FAILURE),
    };
    greet(&server);
    let failure = tokio::select! {
        () = interrupts.next() => None,
        failure = server.failed() => Some(failure),
    };
    match &failure {
        None => tracing::info!("stopping; once more to stop at once"),
        Some(failure) => tracing::error!("{failure:#}"),
    }
    tokio::select! {
        () = server.stop() => {}
        () = interrupts.next() => {
            tracing::warn!("stopped at once; what was under way may or may not be done");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(match failure {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// Ctrl-C and what `kill` sends.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn check(http: Door) -> anyhow::Result<ExitCode> {
    let Some(mut at) = http.address() else {
        anyhow::bail!("HTTP is off, so there is nobody to ask: give --http ADDRESS:PORT");
    };
    if at.ip().is_unspecified() {
        // What listens everywhere listens here.
        at.set_ip(match at.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let (ready, text) = health::ask(at).await?;
    print!("{text}");
    Ok(if ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Where everything listens, and what to try.
fn greet(server: &Server) {
    tracing::info!(
        udp = %server.udp,
        http = server.http.map(tracing::field::display),
        redis = server.redis.map(tracing::field::display),
        "the proxy is open"
    );
    if server.chaos {
        tracing::warn!(
            "CHAOS: whoever may use HTTP may cut links and stop servers by POST /v1/chaos; never \
             run a cluster that matters like this"
        );
    }
    let Some(embedded) = &server.embedded else {
        return;
    };
    println!("Servers:    {}", listed(embedded));
    println!("UDP:        {}", server.udp);
    if let Some(http) = server.http {
        println!("HTTP:       http://{http}/    (open it in a browser)");
    }
    if let Some(redis) = server.redis {
        println!("Redis:      {redis}");
    }
    println!("\nTry:");
    if let Some(http) = server.http {
        println!("  curl -X PUT http://{http}/v1/kv/greeting -d hello");
        println!("  curl http://{http}/v1/kv/greeting");
    }
    if let Some(redis) = server.redis {
        println!("  redis-cli -p {} incr visitors", redis.port());
    }
}

fn listed(embedded: &proxy::embedded::Embedded) -> String {
    let places = embedded.places();
    let places = places.iter().map(|(id, at)| format!("{id} on {at}"));
    places.collect::<Vec<_>>().join(", ")
}
