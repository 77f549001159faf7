//! Parsing of arguments and `RAFT_*` environment variables.
//!
//! Two rules that clap does not have by default, because compose files and unit files need them:
//! * an empty variable counts as unset (`RAFT_HTTP=` in a compose file means "not given");
//! * a flag accepts the usual spellings of true and false (`1`, `yes`, `on`, `true`, and their
//!   opposites). Any other value is an error that lists them.

use crate::output;
use clap::{
    Arg, ArgAction, Command, CommandFactory, FromArgMatches,
    builder::{BoolishValueParser, Resettable},
};
use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind, Write as _},
    process,
};

/// Parses a command line.
///
/// # Errors
/// If clap refuses it; `clap::Error::exit` prints the message and ends the process with code 2.
pub fn parse_from<C: CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<C, clap::Error> {
    let mut command = with_lenient_environment(C::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    C::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Parses the command line of this process; prints help and errors, and exits, as [`exit`] does: `unwritable`
/// is the exit code if standard output cannot be written.
pub fn parse<C: CommandFactory + FromArgMatches>(unwritable: i32) -> C {
    parse_from(env::args_os()).unwrap_or_else(|error| exit(&error, unwritable))
}

/// Prints the help, the version or the error that parsing resulted in, and exits: with code 0 after
/// help and version, otherwise with code 2. If standard output cannot be written, the code is
/// `unwritable`, unless its reader is gone; clap ignores this.
pub fn exit(error: &clap::Error, unwritable: i32) -> ! {
    let printed = error.print().and_then(|()| io::stdout().flush());
    let code = match printed {
        Err(failure) if !error.use_stderr() && failure.kind() != ErrorKind::BrokenPipe => {
            output::error(format_args!("standard output cannot be written: {failure}"));
            unwritable
        }
        _ => error.exit_code(),
    };
    process::exit(code)
}

fn with_lenient_environment(command: Command) -> Command {
    let mut command = command.mut_args(lenient);
    for subcommand in command.get_subcommands_mut() {
        *subcommand = with_lenient_environment(std::mem::take(subcommand));
    }
    command
}

fn lenient(argument: Arg) -> Arg {
    let Some(variable) = argument.get_env() else {
        return argument;
    };
    if env::var_os(variable).is_some_and(|value| value.is_empty()) {
        return argument.env(Resettable::Reset);
    }
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return argument.value_parser(BoolishValueParser::new());
    }
    argument
}
