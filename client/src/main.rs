//! `raft-client`: asks a Stateraft cluster.

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
    let cli: Cli = command_line::parse();
    let format = cli.global.output;
    let writes = cli.command.writes();
    // One thread is enough for what one socket carries, and costs the least.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run_until_stopped(cli));
            // A prompt that still waits for a line must not keep the process, nor a name that is
            // still being resolved.
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
            // Whoever read the output has gone.
            Some(ErrorKind::BrokenPipe) => Exit::Done.into(),
            Some(_) => {
                let error = error.context("standard output cannot be written");
                // A write was done, and its answer is lost. A read has changed nothing.
                let exit = if writes { Exit::Unknown } else { Exit::Usage };
                cli::output::complain(format, exit, &error);
                exit.into()
            }
            None => {
                let exit = match Exit::of(&error) {
                    // An answer that does not fit the question.
                    Exit::Unknown if !writes => Exit::Unavailable,
                    exit => exit,
                };
                cli::output::complain(format, exit, &error);
                exit.into()
            }
        },
    }
}

/// How long a program that a signal stops waits for its pending operations, to close their sessions.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the command and closes its sessions; `Err` with the exit code if a signal ended the command
/// first. A signal while sessions are being closed ends the program at once.
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

/// Why something could not be printed, if that is the error. An error with a file or a connection
/// comes with the name of it around it.
fn output_error(error: &anyhow::Error) -> Option<ErrorKind> {
    let outermost = error.chain().next()?;
    match outermost.downcast_ref() {
        Some(json) => serde_json::Error::io_error_kind(json),
        None => outermost.downcast_ref().map(io::Error::kind),
    }
}
