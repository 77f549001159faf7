//! Lines on standard output and standard error whose loss is harmless.
//!
//! `println!` and `eprintln!` panic when the stream cannot be written. Clippy's `print_stdout` and
//! `print_stderr` forbid them in the whole workspace. Output that is the result of a command is
//! written with `writeln!` instead, and its error is handled.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Prints a line to standard error; ignores a failure.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints an error and its causes to standard error as one line; ignores a failure.
pub fn error(error: impl Display) {
    note(format_args!("error: {error:#}"));
}
