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
        // Whoever read the output has gone.
        Err(error) if kinds(&error).any(|kind| kind == Some(ErrorKind::BrokenPipe)) => {
            Exit::Done.into()
        }
        // Something was done that could not be told; an error with any other file comes with its
        // name.
        Err(error) if kinds(&error).next().flatten().is_some() => {
            let error = error.context("standard output cannot be written");
            cli::output::complain(output, Exit::Unknown, &error);
            Exit::Unknown.into()
        }
        Err(error) => {
            let exit = Exit::of(&error);
            cli::output::complain(output, exit, &error);
            exit.into()
        }
    }
}

/// Of an error and its causes, the outermost first, what input or output each is an error of.
fn kinds(error: &anyhow::Error) -> impl Iterator<Item = Option<ErrorKind>> {
    error.chain().map(|cause| match cause.downcast_ref() {
        Some(json) => serde_json::Error::io_error_kind(json),
        None => cause.downcast_ref().map(io::Error::kind),
    })
}
