//! The command line. Each subcommand is a module with its arguments and its `run`.
//!
//! Exit codes: 0 if every scope is exhausted and all properties and witnesses hold, and progress if it
//! was checked. 1 if one of them fails, or a bug was planted, found or not. 2 for usage errors. 3 if
//! truncated, or if the result fails a check of the search itself, regardless of other results.
//! `linearize` and `replay` check records of a running cluster with similar codes: 0 accepted, 1
//! rejected, 2 unreadable, 3 nothing concluded. `verify` has its own.

mod bench;
mod certify;
mod check;
mod coverage;
mod explore;
mod format;
mod interrupt;
mod linearize;
mod mutants;
mod progress_bar;
mod proof;
mod recheck;
mod replay;
mod scopes;
mod seed;
mod selection;
mod simulate;
mod suggestions;
mod verdict;
mod verify;
mod violation;

pub use coverage::rustc_wrapper;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Model-check Raft: every state within stated bounds, against every property.
///
/// The default subcommand is `check`.
#[derive(Debug, Parser)]
#[command(name = "raft-checker", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: check::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search scopes to exhaustion
    Check(check::Args),
    /// Plant each known bug in turn, and require that it is found
    Mutants(mutants::Args),
    /// List the scopes
    Scopes(scopes::Args),
    /// Walk at random through any scope, also one that is too large to exhaust
    Simulate(simulate::Args),
    // The help of these commands is that of their arguments, with the exit codes.
    Coverage(coverage::Args),
    Proof(proof::Args),
    /// Check a certificate without the search
    Verify(verify::Args),
    /// Check recorded histories of a running cluster for linearizability
    Linearize(linearize::Args),
    /// Replay and check traces that the servers of a running cluster recorded
    Replay(replay::Args),
    /// Walk through a scope step by step, in a browser
    Explore(explore::Args),
    /// Compare the performance of the engines
    Bench(bench::Args),
    /// Run one engine once, for `bench`
    #[command(hide = true)]
    BenchRun(bench::RunArgs),
}

/// The exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every scope is exhausted, and every property and witness holds.
    Passed,
    /// A property or a witness fails, a state is stuck, or a planted bug is not found.
    Failed,
    /// The arguments or the environment do not permit the command.
    Usage,
    /// A search was stopped early or fails a check of itself: no claim, regardless of other results.
    Truncated,
}

impl Exit {
    /// The exit code for other programs.
    pub const fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Truncated => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Executes the command.
///
/// # Errors
/// If the arguments or the environment do not permit it; the message contains the remedy.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command.unwrap_or(Command::Check(cli.check)) {
        Command::Check(args) => check::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Scopes(args) => scopes::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Proof(args) => proof::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Linearize(args) => linearize::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchRun(args) => bench::run_one(&args),
    }
}
