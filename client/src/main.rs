//! `raft-client`: asks a Stateraft cluster.

mod cli;

use clap::Parser;
use cli::{Cli, Exit};
use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.global.output;
    // One thread is enough for what one socket carries, and costs the least.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(cli::run(cli));
            // A prompt that still waits for a line must not keep the process.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => match output_error(&error) {
            // Whoever read the output has gone.
            Some(ErrorKind::BrokenPipe) => Exit::Done.into(),
            // Something was done that could not be told.
            Some(_) => {
                let error = error.context("standard output cannot be written");
                cli::output::complain(output, Exit::Unknown, &error);
                Exit::Unknown.into()
            }
            None => {
                let exit = Exit::of(&error);
                cli::output::complain(output, exit, &error);
                exit.into()
            }
        },
    }
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
