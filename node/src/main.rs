//! `raft-node`: a server of a Stateraft cluster.

mod cli;

use anyhow::{Context as _, bail};
use cli::{Cli, Command, Health, Keygen, Run};
use node::{Config, Failure, Node};
use program::{logging, output, signals::StopSignals};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
    time::Duration,
};
use tracing::{error, info, warn};
use transport::{Faults, Key};
use web::Secret;

/// The timeout of `health`.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    spare_memory();
    let cli = Cli::parse_arguments(std::env::args_os())
        .unwrap_or_else(|error| program::command_line::exit(&error, 2));
    let result = match cli.command {
        Command::Health(health) => ask_health(&health).map(|()| ExitCode::SUCCESS),
        Command::Keygen(keygen) => make_key(&keygen).map(|()| ExitCode::SUCCESS),
        Command::Run(run) => serve(*run),
    };
    result.unwrap_or_else(|error| {
        output::final_error(error);
        ExitCode::FAILURE
    })
}

/// Configures glibc malloc for a process with few threads. These threads pass allocations to each
/// other. A snapshot briefly needs as much memory as the whole state.
///
/// By default glibc gives each thread its own arena, and keeps large blocks for later allocations.
/// Measured with 10,000 keys under load, these settings reduce memory from 19 to 15 MB with values of
/// 64 bytes, and from 85 to 40 MB with values of 1 KiB. The price: the kernel zeroes each large block
/// again after it was returned.
#[cfg(target_env = "gnu")]
fn spare_memory() {
    const MIB: libc::c_int = 1 << 20;
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, MIB),
        (libc::M_TRIM_THRESHOLD, 2 * MIB),
    ] {
        // SAFETY: mallopt changes allocator settings under the allocator's own lock, and no other
        // thread exists yet. An unknown parameter has no effect.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
const fn spare_memory() {}

fn serve(run: Run) -> anyhow::Result<ExitCode> {
    let log = logging::start(run.log).map_err(anyhow::Error::msg)?;
    let config = config_of(run)?;
    // The server runs on its own thread. This runtime serves HTTP and waits for signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let mut signals = StopSignals::install().context("cannot install signal handlers")?;
        let node = tokio::select! {
            node = Node::start(config) => node?,
            signal = signals.next() => {
                // The server has acknowledged nothing yet, and the disk may hang. The next start
                // recovers.
                info!(%signal, "stopped before it was ready");
                return Ok(signal.exit_code().into());
            }
        };
        info!(listen = %node.local_addr(), "running");
        tokio::select! {
            ended = node.ended() => return Ok(exit_code(ended.as_ref().err().map(|e| &**e))),
            signal = signals.next() => info!(%signal, "stopping; a second signal after 1 s ends it immediately"),
        }
        tokio::select! {
            ended = node.stop() => Ok(exit_code(ended.as_ref().err().map(|e| &**e))),
            signal = signals.next() => {
                warn!(%signal, "terminating immediately");
                drop(log);
                // Exit without destructors: they would wait for the disk.
                std::process::exit(signal.exit_code().into());
            }
        }
    });
    // A pending name lookup must not delay the exit.
    runtime.shutdown_background();
    ended
}

fn config_of(run: Run) -> anyhow::Result<Config> {
    let key = run.key_file.map(Key::read).transpose()?;
    let client_key = run.client_key_file.map(Key::read).transpose()?;
    if !run.listen.ip().is_loopback() && key.is_none() && !run.insecure {
        bail!(
            "{} can be reached from other machines, and there is no key: \
             any machine could impersonate a server. Generate a key with `raft-node keygen` and pass it with \
             --key-file, listen on 127.0.0.1, or confirm with --insecure",
            run.listen
        );
    }
    if let Some(http) = run.http
        && !http.ip().is_loopback()
        && run.http_token_file.is_none()
        && !run.insecure
    {
        bail!(
            "--http {http} can be reached from other machines, and without a token any of them \
             could read the state of this server: pass --http-token-file, serve HTTP on 127.0.0.1, \
             or, if the network itself restricts access, confirm with --insecure"
        );
    }
    // Proxies and monitoring use the same host name for this server as its peers.
    let own_name = run.peers.iter().find(|peer| peer.id == run.id);
    let own_name = own_name.and_then(|peer| peer.at.rsplit_once(':'));
    let own_name = own_name.and_then(|(host, _)| web::site::parse_name(host).ok());
    let mut config = Config::new(run.id, run.cluster, run.data_dir);
    for peer in run.peers {
        config.voters.insert(peer.id);
        if let Some(other) = config.peers.insert(peer.id, peer.at.clone())
            && other != peer.at
        {
            bail!(
                "server {} has two addresses in --peer: {other} and {}",
                peer.id,
                peer.at
            );
        }
    }
    if !config.peers.contains_key(&run.id) {
        bail!(
            "server {} is not among the peers: pass --peer for every server of the cluster, including this one",
            run.id
        );
    }
    config.listen = run.listen;
    config.keys.cluster = key;
    config.keys.client = client_key;
    config.keys.check_distinct()?;
    config.faults = run.chaos.then(Faults::default);
    config.http = run.http;
    config.http_token = run
        .http_token_file
        .as_deref()
        .map(transport::read_secret)
        .transpose()?
        .map(|token| Secret::from(&token[..]));
    config.http_allow_host = run.http_allow_host;
    // Without a token, only allowed host names are accepted. With a token, an unset list must not add
    // restrictions.
    if config.http_token.is_none() {
        config.http_allow_host.extend(own_name);
    }
    config.heartbeat = run.heartbeat;
    config.election_min = run.election.min;
    config.election_max = run.election.max;
    config.snapshot_entries = run.snapshot_entries;
    config.snapshot_bytes = run.snapshot_bytes;
    config.busy_wait = run.busy_wait;
    config.max_sessions = run.max_sessions;
    config.session_window = run.session_window;
    config.state_quota = run.state_quota;
    config.max_datagram = run.max_datagram;
    config.trace = run.trace;
    Ok(config)
}

fn exit_code(failure: Option<&Failure>) -> ExitCode {
    let Some(failure) = failure else {
        info!("stopped");
        return ExitCode::SUCCESS;
    };
    let text = format!("{:#}", anyhow::Error::msg(chain(failure)));
    error!(reason = text, "the server failed");
    match failure {
        Failure::InvariantViolated { .. } | Failure::Panicked => ExitCode::from(70),
        _ => ExitCode::from(74),
    }
}

/// Formats an error and its causes as one line.
fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

fn make_key(keygen: &Keygen) -> anyhow::Result<()> {
    let text = Key::generate()?.to_text();
    let Some(path) = &keygen.file else {
        return writeln!(io::stdout(), "{text}").context("cannot print the key");
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| {
            format!(
                "cannot create {}: keygen overwrites no file",
                path.display()
            )
        })?;
    // The fsync of the directory makes the file name durable.
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    writeln!(file, "{text}")
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(directory)?.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn ask_health(health: &Health) -> anyhow::Result<()> {
    let at = health.http;
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)
        .with_context(|| format!("cannot reach {at}: is the server running, with --http {at}?"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /livez HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream
        .take(4096)
        .read_to_end(&mut answer)
        .with_context(|| format!("{at} does not respond"))?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!(
            "{at} is not alive: {}",
            answer.lines().last().unwrap_or(status)
        );
    }
    // The exit code is the result, so a failure to print does not matter.
    let _ = writeln!(io::stdout(), "ok");
    Ok(())
}
