//! `proof`: the abstract Raft as SMT-LIB text, and its proof by solvers.

mod report;
mod samples;

use super::{
    Exit,
    format::{counted_grouped, time},
    interrupt::Interrupt,
    progress_bar,
};
use crate::{
    machine,
    solver::{Answer, Solver, SolverError},
};
use model::system::spec::{
    Mutation, Protocol,
    smt::{Expected, Group},
};
use parking_lot::Mutex;
use program::output;
use std::{
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Prove an abstract Raft for any number of servers, terms and entries.
///
/// The proof is about the protocol, not about the code. `check` compares the steps of the code with it.
/// Without --solver, print the proof as SMT-LIB text. With --solver, run the solver on each query and
/// compare its answer with the expected one.
///
/// Exit codes: 0 every answer is as expected, 1 a query has another answer, 2 usage error, 3 no claim: a
/// solver is missing, fails, is too slow or undecided, and no query has another answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run this solver: cvc5, z3, or a path to one of them. May be repeated
    #[arg(long = "solver", value_name = "SOLVER")]
    solvers: Vec<Solver>,
    /// Require that the solver rejects wrong variants of the protocol, each with an axiom, a lemma or a
    /// condition removed or an effect changed
    #[arg(long, requires = "solvers")]
    mutations: bool,
    /// Require that the text agrees with the evaluation that the tests use: in N random steps of each
    /// action, N steps of real servers, N altered steps, one step for each guard that violates it alone,
    /// and N states
    #[arg(long, requires = "solvers", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    samples: Option<u8>,
    /// Give up on a query after this many seconds: no claim
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Number of solver processes at a time [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Print one JSON object per query and one summary, each on a line
    #[arg(long, requires = "solvers")]
    json: bool,
}

/// A group of queries for one solver.
struct Job<'a> {
    solver: &'a Solver,
    mutation: Option<&'a Mutation>,
    group: Group,
    script: String,
}

/// A query with its answer.
struct Answered<'a> {
    solver: &'a Solver,
    mutation: Option<&'a Mutation>,
    group: &'static str,
    query: String,
    expected: Expected,
    answer: Answer,
    took: Duration,
}

impl Answered<'_> {
    fn agrees(&self) -> Option<bool> {
        self.answer.agrees(self.expected)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let protocol = Protocol::raft();
    if args.solvers.is_empty() {
        let mut out = io::stdout().lock();
        write!(out, "{}", protocol.proof())?;
        out.flush()?;
        return Ok(Exit::Passed);
    }
    let interrupt = Interrupt::install()?;
    let mut versions = Vec::new();
    for solver in &args.solvers {
        match solver.version() {
            Ok(version) => versions.push(version),
            Err(error) => return Ok(no_claim(error)),
        }
    }
    let mutations = if args.mutations {
        Mutation::all()
    } else {
        Vec::new()
    };
    let started = Instant::now();
    let answered = match answer_all(args, jobs(args, &protocol, &mutations), &interrupt) {
        Ok(answered) => answered,
        Err(error) => return Ok(no_claim(error)),
    };
    let exit = exit(&answered);
    let mut out = io::stdout().lock();
    if args.json {
        report::json(&mut out, &answered, exit, started.elapsed())?;
    } else {
        for (solver, version) in args.solvers.iter().zip(&versions) {
            let own = |one: &&Answered<'_>| one.solver == solver;
            let own: Vec<_> = answered.iter().filter(own).collect();
            let title = format!("{solver} {version}");
            report::tables(&mut out, &protocol, &mutations, &title, &own)?;
        }
        let verdict = match exit {
            Exit::Passed => "proved: every answer is as expected",
            Exit::Failed => "not proved: a query has another answer than expected",
            _ => "no claim: a query has no answer; raise --timeout, or try another solver",
        };
        writeln!(out, "{verdict} ({})", time(started.elapsed()))?;
    }
    out.flush()?;
    Ok(exit)
}

/// Nothing is claimed, and standard output stays empty.
fn no_claim(error: SolverError) -> Exit {
    output::error(anyhow::Error::from(error));
    Exit::Truncated
}

/// A wrong answer counts, regardless of other queries without an answer.
///
/// # Panics
/// If there is no query.
fn exit(answered: &[Answered<'_>]) -> Exit {
    assert!(!answered.is_empty(), "nothing was proved");
    if answered.iter().any(|one| one.agrees() == Some(false)) {
        Exit::Failed
    } else if answered.iter().any(|one| one.agrees().is_none()) {
        Exit::Truncated
    } else {
        Exit::Passed
    }
}

fn jobs<'a>(args: &'a Args, protocol: &Protocol, mutations: &'a [Mutation]) -> Vec<Job<'a>> {
    let samples = args.samples.map(usize::from);
    let samples = samples.map(|count| samples::groups(protocol, count));
    let samples = samples.unwrap_or_default();
    let mut jobs = Vec::new();
    for solver in &args.solvers {
        let mut add = |mutation: Option<&'a Mutation>, protocol: &Protocol, groups| {
            for group in groups {
                jobs.push(Job {
                    solver,
                    mutation,
                    script: protocol.script(&group),
                    group,
                });
            }
        };
        add(None, protocol, protocol.queries());
        add(None, protocol, samples.clone());
        for mutation in mutations {
            add(Some(mutation), &mutation.protocol, mutation.queries());
        }
    }
    jobs
}

/// Runs all jobs, and returns the answers in the order of the jobs.
fn answer_all<'a>(
    args: &Args,
    jobs: Vec<Job<'a>>,
    interrupt: &Interrupt,
) -> Result<Vec<Answered<'a>>, SolverError> {
    let all: usize = jobs.iter().map(|job| job.group.queries.len()).sum();
    let threads = args.threads.map_or_else(machine::threads, usize::from);
    let limit = Duration::from_secs(args.timeout);
    let (finished, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<Mutex<Option<Result<_, SolverError>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(job) = jobs.get(index)
        {
            let count = || {
                finished.fetch_add(1, Ordering::Relaxed);
            };
            let script = job.script.clone();
            let result = job
                .solver
                .run(script, &job.group, limit, interrupt.flag(), count);
            if result.is_err() {
                // The other threads finish their jobs and start no further ones.
                next.store(jobs.len(), Ordering::Relaxed);
            }
            *results[index].lock() = Some(result);
        }
    };
    progress_bar::watch_line(
        "proof",
        || {},
        |elapsed| {
            let finished = finished.load(Ordering::Relaxed);
            format!(
                "{finished} of {} · {}",
                counted_grouped(all as u64, "query"),
                time(elapsed)
            )
        },
        || {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        },
    );
    let mut answered = Vec::new();
    let results: Vec<_> = results.into_iter().filter_map(Mutex::into_inner).collect();
    // Without a result, another job failed.
    let results: Vec<_> = results.into_iter().collect::<Result<_, _>>()?;
    for (job, answers) in jobs.into_iter().zip(results) {
        assert_eq!(answers.len(), job.group.queries.len(), "{}", job.group.name);
        let queries = job.group.queries.into_iter().zip(answers);
        answered.extend(queries.map(|(query, (answer, took))| Answered {
            solver: job.solver,
            mutation: job.mutation,
            group: job.group.name,
            query: query.name,
            expected: query.expected,
            answer,
            took,
        }));
    }
    assert_eq!(answered.len(), all, "every query has an answer");
    Ok(answered)
}
