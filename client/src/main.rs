//! `raft-client`: the command line client of a Stateraft cluster.

mod cli;

use cli::{Cli, Exit};
use client::CLOSE_PATIENCE;
use program::{command_line, output, signals::StopSignals};
use std::{
    io::{self, ErrorKind},
    process::ExitCode,
    time::Duration,
};

fn main() -> ExitCode {
    let cli: Cli = command_line::parse(2);
    let format = cli.global.output;
    let writes = cli.command.writes();
    // One thread is sufficient for one socket, and has the lowest overhead.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run_until_stopped(cli));
            // Neither a prompt that waits for a line nor a pending name lookup must delay the exit.
            runtime.shutdown_background();
            match done {
                Ok(done) => done,
                Err(stopped) => return stopped,
            }
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => match output_error(&error) {
            // The reader of the output is gone.
            Some(ErrorKind::BrokenPipe) => Exit::Done.into(),
            Some(_) => {
                let error = error.context("standard output cannot be written");
                // A write was executed, but its result is lost. A read has changed nothing.
                let exit = if writes { Exit::Unknown } else { Exit::Usage };
                cli::output::print_error(format, exit, &error);
                exit.into()
            }
            None => {
                let exit = match Exit::from_error(&error) {
                    // A response that does not match the request.
                    Exit::Unknown if !writes => Exit::Unavailable,
                    exit => exit,
                };
                cli::output::print_error(format, exit, &error);
                exit.into()
            }
        },
    }
}

/// After a signal, the time to finish pending operations and close their sessions.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the command and closes its sessions. Returns `Err` with the exit code if a signal interrupted
/// the command. A signal during the close of the sessions ends the program immediately.
async fn run_until_stopped(cli: Cli) -> Result<anyhow::Result<Exit>, ExitCode> {
    let mut signals = match StopSignals::install() {
        Ok(signals) => signals,
        Err(error) => return Ok(Err(error.into())),
    };
    let clients = cli.global.clients.clone();
    let (done, patience) = tokio::select! {
        done = cli::run(cli) => (Ok(done), CLOSE_PATIENCE),
        signal = signals.next() => {
            output::note(format_args!(
                "stopped by {signal}; the outcome of an operation that was pending is unknown"
            ));
            (Err(signal.exit_code().into()), STOP_PATIENCE)
        }
    };
    tokio::select! {
        () = clients.close(patience) => {}
        _ = signals.next() => {}
    }
    done
}

/// The kind of an output error, or `None` for other errors. An IO error of a file or a connection has
/// a context with its name, so a bare IO error is an output error.
fn output_error(error: &anyhow::Error) -> Option<ErrorKind> {
    let outermost = error.chain().next()?;
    match outermost.downcast_ref() {
        Some(json) => serde_json::Error::io_error_kind(json),
        None => outermost.downcast_ref().map(io::Error::kind),
    }
}
