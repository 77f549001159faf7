//! A program that serves the browser app, found by the address that it prints.

use crate::{process::Process, wait::until};
use std::fs;
use tempfile::TempDir;

/// A server of pages. Dropped, it is gone.
pub struct Door {
    process: Process,
    origin: String,
    dir: TempDir,
}

impl Door {
    /// Starts a program and waits until it says where it serves. `{dir}` in an argument is a new
    /// directory of its own.
    ///
    /// # Panics
    /// If it ends, or names no address.
    pub fn open(program: &str, arguments: &[&str]) -> Self {
        Self::open_within(&[], program, arguments)
    }

    /// The same, by way of the words of `entry`.
    ///
    /// # Panics
    /// If it ends, or names no address.
    pub fn open_within(entry: &[String], program: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory cannot be made");
        let log = dir.path().join("said.txt");
        let place = dir.path().to_str().expect("the path is text");
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace("{dir}", place))
            .collect();
        let mut process = Process::start(entry, program, program, &arguments, &log);
        let origin = until(&format!("{program} to say where it serves"), || {
            process.assert_runs();
            let said = fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = said.split_once("http://")?;
            // Said whole once something follows.
            let (address, _) = rest.split_once('/')?;
            Some(format!("http://{address}"))
        });
        Self {
            process,
            origin,
            dir,
        }
    }

    /// `http://ADDRESS:PORT`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A file in the directory of its own.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// All that it said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.file("said.txt")).unwrap_or_default()
    }

    /// That it did not end.
    ///
    /// # Panics
    /// If it did.
    pub fn assert_runs(&mut self) {
        self.process.assert_runs();
    }

    /// Ends it, as a crash would.
    pub fn kill(self) {
        self.process.kill();
    }
}
