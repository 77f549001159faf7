//! SMT solvers as child processes.

use crate::interrupted::Interrupted;
use model::system::spec::smt::{Expected, Group};
use serde::Serialize;
use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

/// A solver stops a query at its limit. It is killed if it does not answer within this time after the
/// limit, or within twice the limit.
const GRACE: Duration = Duration::from_secs(10);
/// The interval at which an interrupt is noticed.
const POLL: Duration = Duration::from_millis(100);

/// A solver that is installed on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solver {
    program: PathBuf,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Cvc5,
    Z3,
}

impl FromStr for Solver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let program = PathBuf::from(text);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let family = if name.starts_with("cvc5") {
            Family::Cvc5
        } else if name.starts_with("z3") {
            Family::Z3
        } else {
            return Err("give cvc5, z3, or a path to a program whose name starts with one".into());
        };
        Ok(Self { program, family })
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

/// The answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// No state satisfies the query.
    Unsat,
    /// A state satisfies the query.
    Sat,
    /// The solver gave up, at its limit of time or before.
    Unknown,
}

impl Answer {
    /// Whether it is the answer that the proof needs; `None` if it is not known.
    pub fn agrees(self, expected: Expected) -> Option<bool> {
        match self {
            Self::Unsat => Some(expected == Expected::Unsat),
            Self::Sat => Some(expected == Expected::Sat),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsat => "unsat",
            Self::Sat => "sat",
            Self::Unknown => "unknown",
        })
    }
}

/// A solver that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    /// It cannot be started.
    #[error(
        "cannot start {solver}: install it (Debian: apt-get install cvc5 z3), or give its path"
    )]
    Missing {
        /// The solver.
        solver: Solver,
        /// The cause.
        source: io::Error,
    },
    /// It printed something else than the answer to a query, or failed.
    #[error(
        "{solver} failed at the query \"{query}\": {output}; try another version of the solver"
    )]
    Failed {
        /// The solver.
        solver: Solver,
        /// The query.
        query: String,
        /// The output.
        output: String,
    },
    /// A stop signal.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Kills the process when its output is no longer needed.
struct Running(Child);

impl Running {
    /// How the process ended, as text. Call it when its output has ended.
    fn status(&mut self) -> String {
        match self.0.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Solver {
    /// The version, as the solver reports it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn version(&self) -> Result<String, SolverError> {
        let output = Command::new(&self.program).arg("--version").output();
        let output = output.map_err(|source| self.missing(source))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split_whitespace();
        let version = words.skip_while(|word| *word != "version").nth(1);
        Ok(version.unwrap_or("of unknown version").to_owned())
    }

    /// Runs the script of a group, and returns the answer to each query with its time. The queries
    /// after one that took too long are unknown.
    ///
    /// # Errors
    /// If the solver cannot be started, prints something else than the answers, fails, or is interrupted.
    pub fn run(
        &self,
        script: String,
        group: &Group,
        limit: Duration,
        interrupt: &AtomicBool,
        progress: impl Fn(),
    ) -> Result<Vec<(Answer, Duration)>, SolverError> {
        let (mut running, lines) = self.start(script, limit)?;
        let mut answers = Vec::new();
        for query in &group.queries {
            let label = group.label(query);
            let started = Instant::now();
            let deadline = started + limit + GRACE.min(limit);
            let mut next = || match next_output(&lines, deadline, interrupt)? {
                Output::Line(line) => Ok(Some(line)),
                Output::TooLate => Ok(None),
                Output::End => {
                    let status = running.status();
                    Err(self.failed(&label, format!("it exited without an answer ({status})")))
                }
            };
            let Some(echo) = next()? else { break };
            if echo.trim_matches('"') != label {
                return Err(self.failed(&label, echo));
            }
            let Some(line) = next()? else { break };
            let answer = match line.as_str() {
                "unsat" => Answer::Unsat,
                "sat" => Answer::Sat,
                "unknown" | "timeout" => Answer::Unknown,
                _ => return Err(self.failed(&label, line)),
            };
            answers.push((answer, started.elapsed()));
            progress();
        }
        if answers.len() == group.queries.len() {
            let end = format!("{} end", group.name);
            match next_output(&lines, Instant::now() + GRACE, interrupt)? {
                Output::Line(line) => return Err(self.failed(&end, line)),
                Output::TooLate => return Err(self.failed(&end, "it does not exit".into())),
                Output::End if running.0.wait().is_ok_and(|status| status.success()) => {}
                Output::End => return Err(self.failed(&end, running.status())),
            }
        }
        answers.resize(group.queries.len(), (Answer::Unknown, Duration::ZERO));
        Ok(answers)
    }

    /// Starts the solver on a script. Returns it with the lines of its output.
    fn start(
        &self,
        script: String,
        limit: Duration,
    ) -> Result<(Running, mpsc::Receiver<String>), SolverError> {
        let mut command = Command::new(&self.program);
        let milliseconds = limit.as_millis();
        match self.family {
            // Without finite models, cvc5 does not answer the satisfiable queries.
            Family::Cvc5 => command
                .args(["--lang", "smt2", "--incremental", "--finite-model-find"])
                .arg(format!("--tlimit-per={milliseconds}")),
            Family::Z3 => command
                .args(["-smt2", "-in"])
                .arg(format!("-t:{milliseconds}")),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C reaches this process only, which then ends the solver.
        command.process_group(0);
        let child = command.stderr(Stdio::null()).spawn();
        let mut running = Running(child.map_err(|source| self.missing(source))?);
        let mut input = running.0.stdin.take().expect("a pipe");
        let output = BufReader::new(running.0.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        // These threads end when the process does. A solver that exits early shows in its output.
        thread::spawn(move || input.write_all(script.as_bytes()));
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok((running, lines))
    }

    fn missing(&self, source: io::Error) -> SolverError {
        SolverError::Missing {
            solver: self.clone(),
            source,
        }
    }

    fn failed(&self, query: &str, output: String) -> SolverError {
        SolverError::Failed {
            solver: self.clone(),
            query: query.to_owned(),
            output,
        }
    }
}

/// A part of the output of a solver.
enum Output {
    /// A line.
    Line(String),
    /// The end: no line follows.
    End,
    /// Nothing by the deadline.
    TooLate,
}

/// # Errors
/// [`Interrupted`], if `interrupt` is set before the next line.
fn next_output(
    lines: &mpsc::Receiver<String>,
    deadline: Instant,
    interrupt: &AtomicBool,
) -> Result<Output, Interrupted> {
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => return Ok(Output::Line(line)),
            Err(_) if interrupt.load(Ordering::Relaxed) => return Err(Interrupted),
            Err(RecvTimeoutError::Disconnected) => return Ok(Output::End),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                return Ok(Output::TooLate);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
