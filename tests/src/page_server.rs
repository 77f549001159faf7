//! A program that serves the browser app. Its output contains its address.

use crate::{process::Process, wait::until};
use std::fs;
use tempfile::TempDir;

/// A running HTTP server. Dropping it ends the process.
pub struct PageServer {
    process: Process,
    origin: String,
    dir: TempDir,
}

impl PageServer {
    /// Starts a program and waits until it prints its address. `{dir}` in an argument is a new
    /// directory of its own.
    ///
    /// # Panics
    /// If the program ends, or prints no address.
    pub fn open(program: &str, arguments: &[&str]) -> Self {
        Self::open_within(&[], program, arguments)
    }

    /// Starts a program with the command prefix `entry`: see [`Self::open`].
    ///
    /// # Panics
    /// If the program ends, or prints no address.
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
            // The address is complete if something follows.
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

    /// A file in its own directory.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Its complete output.
    pub fn said(&self) -> String {
        fs::read_to_string(self.file("said.txt")).unwrap_or_default()
    }

    /// Asserts that it is running.
    ///
    /// # Panics
    /// If it has ended.
    pub fn assert_runs(&mut self) {
        self.process.assert_runs();
    }

    /// Kills it, like a crash.
    pub fn kill(self) {
        self.process.kill();
    }
}
