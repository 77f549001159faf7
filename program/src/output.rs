//! Lines on standard output and standard error whose loss is harmless.
//!
//! `println!` and `eprintln!` panic if the stream cannot be written. Clippy's `print_stdout` and
//! `print_stderr` forbid them in the whole workspace. The result of a command is written with
//! `writeln!` instead, and the caller handles the error.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long [`final_error`] waits for the reader of standard error.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints a line to standard error; ignores a failure.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints an error and its causes to standard error as one line; ignores a failure.
pub fn error(error: impl Display) {
    note(format_args!("error: {error:#}"));
}

/// Prints text to standard output without waiting for its reader; ignores a failure. Servers print
/// their greeting with it: a pipe without an active reader must not delay their service or their exit.
pub fn announce(text: impl Into<String>) {
    let text = text.into();
    // If the system cannot spawn a thread, the text is lost.
    let _ = in_background(move || {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
}

/// Prints the fatal error of a server and its causes to standard error as one line. Waits for the
/// reader for at most one second; ignores a failure.
pub fn final_error(error: impl Display) {
    let text = format!("error: {error:#}");
    let (sender, printed) = mpsc::channel();
    let line = text.clone();
    let started = in_background(move || {
        note(line);
        let _ = sender.send(());
    });
    match started {
        Ok(_) => {
            let _ = printed.recv_timeout(PATIENCE);
        }
        Err(_) => note(text),
    }
}

/// Runs `print` on a detached thread.
fn in_background(print: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("output".into()).spawn(print)
}
