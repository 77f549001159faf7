//! The command line. Each subcommand is a module with its arguments and its `run`.
//!
//! Exit codes: 0 every scope exhausted and every law and witness holds, and progress where it was
//! checked; 1 one of them fails, or a bug was planted, found or not; 2 usage; 3 truncated, whatever
//! else. `linearize` and `replay` judge what a running cluster recorded by the same codes: 0 accepted,
//! 1 rejected, 2 unreadable, 3 nothing concluded.

mod bench;
mod certify;
mod check;
mod explore;
mod figures;
mod interrupt;
mod linearize;
mod live;
mod mutants;
mod next;
mod replay;
mod scopes;
mod selection;
mod simulate;
mod verdict;
mod verify;
mod violation;

pub(crate) use selection::is_default as is_default_scope;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Model-checks Raft: every state within stated bounds, against every law.
///
/// Without a subcommand: check.
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
    /// Searches scopes to exhaustion
    Check(check::Args),
    /// Plants each known bug in turn, and must find it
    Mutants(mutants::Args),
    /// Lists the scopes
    Scopes(scopes::Args),
    /// Walks at random through a scope too large to exhaust
    Simulate(simulate::Args),
    /// Checks a certificate without the search
    Verify(verify::Args),
    /// Judges recorded histories of a running cluster
    Linearize(linearize::Args),
    /// Judges traces that the servers of a running cluster recorded
    Replay(replay::Args),
    /// Walks through a scope step by step, in a browser
    Explore(explore::Args),
    /// Measures the engines against each other
    Bench(bench::Args),
    /// Runs one engine once, for `bench`
    #[command(hide = true)]
    BenchRun(bench::RunArgs),
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every scope is exhausted, and every law and witness holds.
    Passed,
    /// A law or a witness fails, a state is stuck, or a planted bug is not found.
    Failed,
    /// The arguments, or the world around, do not allow it.
    Usage,
    /// Something was stopped early: no claim, whatever else was found.
    Truncated,
}

impl Exit {
    /// The number other programs see.
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

/// Does what the arguments say.
///
/// # Errors
/// If the arguments or the world do not allow it: the message says what to do.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command.unwrap_or(Command::Check(cli.check)) {
        Command::Check(args) => check::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Scopes(args) => scopes::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Linearize(args) => linearize::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explore(args) => explore::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::BenchRun(args) => bench::run_one(&args),
    }
}
