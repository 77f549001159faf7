//! `raft-client`: asks a Stateraft cluster.

mod cli;

use clap::Parser;
use cli::{Cli, Exit};
use std::{io::ErrorKind, process::ExitCode};

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
        Err(error) if is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            let exit = Exit::of(&error);
            cli::output::complain(output, exit, &error);
            exit.into()
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match cause.downcast_ref::<serde_json::Error>() {
            Some(json) => json.io_error_kind(),
            None => cause
                .downcast_ref::<std::io::Error>()
                .map(std::io::Error::kind),
        };
        kind == Some(ErrorKind::BrokenPipe)
    })
}
