//! `explore`: a scope step by step, in a browser.

use super::{
    Exit,
    format::Size,
    selection::{self, Bounds},
};
use crate::{
    engine::Limits,
    explore::{Explore, Home},
    machine, step_guard,
};
use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use model::{
    mutant::Mutant,
    system::{RaftModel, Reduction, Scope},
};
use stateright::Model;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The default scope.
const BASE_SCOPE: &str = "crashes";
/// The memory limit of the process for checks that the page starts.
pub(super) const MAX_MEMORY: Size = Size(2 << 30);

/// The time that the shutdown waits for the reader of standard error.
const NOTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Walk through a scope in a browser: every step is a step of the real core.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scope to walk through [default: the page offers a choice; crashes if bounds or a bug are given]
    #[arg(long, value_name = "NAME", value_parser = selection::names())]
    scope: Option<String>,
    /// Plant a bug in every server
    #[arg(long, value_name = "NAME", value_parser = selection::mutants(), hide_possible_values = true)]
    mutant: Option<Mutant>,
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    address: String,
    /// Host name under which browsers may access this server, in addition to localhost and IP addresses.
    /// Repeatable
    #[arg(long, value_name = "NAME", value_parser = web::site::parse_name)]
    http_allow_host: Vec<String>,
    /// Number of threads of a check [default: one per available CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: Option<u64>,
    /// Stop a check when the process holds this much memory, such as 512M or 16G [default: 2G]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<Size>,
    /// Explorer to serve
    #[arg(long, value_enum, default_value_t = Engine::BuiltIn)]
    engine: Engine,
    #[command(flatten)]
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The built-in explorer
    BuiltIn,
    /// stateright's Explorer, with every event as a step of its own. On loopback addresses only: it
    /// checks neither Host nor Origin
    Stateright,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    ensure!(
        args.engine == Engine::BuiltIn || (args.threads.is_none() && args.max_memory.is_none()),
        "stateright's Explorer has no limits: omit --threads and --max-memory, or use --engine built-in"
    );
    let name = args.scope.as_deref().unwrap_or(BASE_SCOPE);
    let named = selection::named(name)?;
    let mut scope = args.bounds.applied_to(&named)?.scope;
    scope.mutant = args.mutant;
    let listener = listen(&args.address)?;
    let address = listener.local_addr()?;
    match args.engine {
        Engine::BuiltIn => {
            let is_asked = args.scope.is_some()
                || args.mutant.is_some()
                || !args.bounds.arguments().is_empty();
            let greeting = if is_asked {
                let fragment = fragment(name, &args.bounds, args.mutant);
                format!("Exploring {name} at http://{address}/{fragment}")
            } else {
                format!("Explore at http://{address}/")
            };
            let limits = limits(args.threads, args.max_memory.unwrap_or(MAX_MEMORY));
            let explore = Explore::new(Home::Explore, args.http_allow_host.clone(), limits);
            serve(explore, listener, &greeting)
        }
        Engine::Stateright => {
            if !address.ip().is_loopback() {
                bail!(
                    "--engine stateright is served on a loopback address only, because its server has no access control: give --address 127.0.0.1:PORT, or use --engine built-in"
                );
            }
            drop(listener);
            serve_stateright(scope, name, address)
        }
    }
}

/// The limits of each check that the page starts.
pub(super) fn limits(threads: Option<u64>, max_memory: Size) -> Limits {
    Limits {
        threads: threads.map_or_else(machine::threads, |threads| threads as usize),
        max_states: None,
        max_memory: Some(max_memory.0),
        symmetry: true,
    }
}

/// Serves until Ctrl-C. Prints `greeting` if standard output is writable.
pub(super) fn serve(
    explore: Explore,
    listener: TcpListener,
    greeting: &str,
) -> anyhow::Result<Exit> {
    listener
        .set_nonblocking(true)
        .context("cannot prepare the listener")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the server threads")?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let closing = CancellationToken::new();
        let stop = closing.clone();
        // Without handlers, a signal terminates the process.
        let signals = program::signals::StopSignals::install();
        let stopped = tokio::spawn(async move {
            if let Ok(mut signals) = signals {
                let signal = signals.next().await;
                stop.cancel();
                let note = move || program::output::note(format_args!("stopping on {signal}"));
                let _ = tokio::task::spawn_blocking(note).await;
            }
        });
        program::output::announce(format!("{greeting} (Ctrl-C stops it)\n"));
        explore.serve(listener, closing).await;
        // The note can block if the reader of standard error does not read.
        let _ = tokio::time::timeout(NOTE_TIMEOUT, stopped).await;
        io::Result::Ok(())
    });
    runtime.shutdown_background();
    served.context("cannot serve")?;
    Ok(Exit::Passed)
}

/// The fragment of the page's URL, which selects the scope, the bounds and the bug.
fn fragment(scope: &str, bounds: &Bounds, mutant: Option<Mutant>) -> String {
    let mut parts = vec![format!("scope={scope}")];
    let typed = bounds.arguments();
    let mut words = typed.split_whitespace();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        parts.push(format!("{}={value}", name.trim_start_matches('-')));
    }
    parts.extend(mutant.map(|mutant| format!("mutant={}", mutant.name())));
    format!("#/explore?{}", parts.join("&"))
}

fn serve_stateright(mut scope: Scope, name: &str, address: SocketAddr) -> anyhow::Result<Exit> {
    // For a person, every event is a step of its own.
    scope.reduction = Reduction::NONE;
    // The Explorer prefers the files in the working directory's `ui` to its own.
    std::env::set_current_dir("/").context("cannot change the working directory to /")?;
    program::output::announce(format!(
        "Exploring {name} at http://{address}/ (Ctrl-C stops it)\n"
    ));
    // Serves until the process ends.
    let _checker = RaftModel::new(step_guard::transitions(scope), false)
        .checker()
        .serve(address);
    Ok(Exit::Passed)
}

/// Listens on the address that `text` resolves to. A name may resolve to several addresses.
pub(super) fn listen(text: &str) -> anyhow::Result<TcpListener> {
    let addresses: Vec<_> = text
        .to_socket_addrs()
        .map(Iterator::collect)
        .unwrap_or_default();
    if addresses.is_empty() {
        bail!("{text} is not an address to listen on: write HOST:PORT, such as 127.0.0.1:3000");
    }
    listen_on_first(&addresses)
}

/// Listens on the first of these addresses that this machine has. `localhost` may resolve to `::1` first
/// even if IPv6 is disabled.
fn listen_on_first(addresses: &[SocketAddr]) -> anyhow::Result<TcpListener> {
    let mut failures = Vec::new();
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            // A browser that tries this address first would reach another server.
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "{address} is in use: stop the program that listens there, or give another --address (port 0 selects a free port)"
            ),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    bail!(
        "cannot listen on {}; give an --address of this machine",
        failures.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_name_is_tried() {
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        // No machine has this address (RFC 5737).
        let foreign = "192.0.2.1:0".parse().unwrap();
        let listener = listen_on_first(&[foreign, free]).unwrap();
        let taken = listener.local_addr().unwrap();
        assert_eq!(taken.ip(), free.ip());

        let error = listen_on_first(&[foreign]).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0"), "{error}");
        let error = listen_on_first(&[taken, free]).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
    }
}
