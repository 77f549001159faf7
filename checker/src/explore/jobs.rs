//! Searches in the background: the check of a world, and "find me a state where ...".
//!
//! A job runs on its own thread, reports its progress from the live counters of the search, and ends
//! with exactly one verdict ([`super::verdict`]). A bug of the catalog is found by the catalog's own
//! method, which the verdict names.
//!
//! The same check gives the same counterexample: the search that produces it uses one thread.
//!
//! Few jobs run at the same time, each with a memory limit. A job without listeners is stopped.

use super::{
    find::{self, Counts, FindResult, Goal},
    predicates::{PREDICATES, Predicate},
    problem::Problem,
    verdict::{SearchGoal, SearchResult, Verdict},
    walk::Walk,
    world::{Steps, World},
};
use crate::{
    catalog::{Evidence, HuntEnd, Method, Reason, Violates},
    engine::{self, Limits, SearchOutcome, SearchProgress, StopCause},
    trace,
};
use axum::http::StatusCode;
use model::system::{Properties, Property, Scope, Witness};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The maximum number of running jobs.
const MAX_RUNNING: usize = 3;
/// The maximum number of ended jobs that are still known.
const MAX_ENDED: usize = 32;
/// The interval of progress reports.
const TELL: Duration = Duration::from_millis(200);
/// A job without listeners for this long is stopped.
const LONELY: Duration = Duration::from_secs(60);

model::diagnostics! {
    /// The reason why a job cannot start, or is not found.
    pub(super) enum BadJob {
        /// A search for a state names no predicate.
        NoPredicateGiven = "this search needs a predicate: /api/catalog lists them";
        /// The predicate is unknown.
        NoPredicate { name: String } = "there is no predicate {name:?}: /api/catalog lists them";
        /// A search for a witness names no witness.
        NoWitnessGiven = "this search needs the name of a witness: /api/walk lists them";
        /// The witness is unknown.
        NoWitness { name: String } = "there is no witness {name:?}: /api/walk lists them";
        /// The property is unknown.
        NoProperty { name: String } = "there is no property {name:?}: /api/catalog lists them";
        /// Too many jobs run.
        TooManySearches { searches: usize }
            = "{searches} searches are running: stop one, or wait until one ends";
        /// The thread of the search cannot start.
        NoThread { error: String } = "cannot start a thread: {error}";
        /// The job is unknown.
        NoJob { name: String }
            = "there is no search {name}: it ended long ago, or the server was restarted";
    }
}

/// The request for a job.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct JobRequest {
    kind: JobKind,
    /// For a check: the only property to check.
    #[serde(default)]
    property: Option<String>,
    #[serde(default)]
    predicate: Option<String>,
    #[serde(default)]
    witness: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JobKind {
    Check,
    Find,
    Witness,
}

/// The task of a job.
pub(super) enum Task {
    /// Searches the whole world, and checks one property or all.
    Check(Box<World>, Option<Property>),
    /// Searches from a state for a state where this predicate holds.
    Find(Box<Walk>, &'static Predicate),
    /// Searches from a state for a step that reaches this witness.
    Witness(Box<Walk>, Witness),
}

impl JobRequest {
    /// The task, in a world along a path.
    pub(super) fn task(
        &self,
        world: World,
        walk: impl FnOnce(World) -> Result<Walk, Problem>,
    ) -> Result<Task, Problem> {
        match self.kind {
            JobKind::Check => {
                let property = self.property.as_deref().map(property).transpose()?;
                Ok(Task::Check(Box::new(world), property))
            }
            JobKind::Find => {
                let name = self.predicate.clone();
                let name = name.ok_or_else(|| Problem::bad(BadJob::NoPredicateGiven))?;
                let predicate = PREDICATES.iter().find(|known| known.name == name);
                let predicate =
                    predicate.ok_or_else(|| Problem::unknown(BadJob::NoPredicate { name }))?;
                Ok(Task::Find(Box::new(walk(world)?), predicate))
            }
            JobKind::Witness => {
                let name = self.witness.clone();
                let name = name.ok_or_else(|| Problem::bad(BadJob::NoWitnessGiven))?;
                let mut all = Witness::ALL.iter().copied();
                let witness = all.find(|witness| witness.name() == name);
                let witness =
                    witness.ok_or_else(|| Problem::unknown(BadJob::NoWitness { name }))?;
                Ok(Task::Witness(Box::new(walk(world)?), witness))
            }
        }
    }
}

fn property(name: &str) -> Result<Property, Problem> {
    let mut all = Property::ALL.iter().copied();
    all.find(|property| property.name() == name)
        .ok_or_else(|| Problem::unknown(BadJob::NoProperty { name: name.into() }))
}

/// All jobs.
pub(super) struct Jobs {
    limits: Limits,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    last: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

/// One job.
pub(super) struct Job {
    progress: SearchProgress,
    is_stopped: AtomicBool,
    latest: watch::Sender<LatestEvent>,
    listeners: Mutex<Listeners>,
}

struct Listeners {
    count: usize,
    since: Instant,
}

/// The last event of a job, which is sufficient for a listener that starts at any time.
#[derive(Clone, Default)]
pub(super) struct LatestEvent {
    /// The number of events so far.
    pub(super) number: u64,
    /// The type of the last event.
    pub(super) event: &'static str,
    pub(super) data: Arc<Value>,
    pub(super) is_done: bool,
}

impl Jobs {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: Mutex::default(),
        }
    }

    /// Starts a job and returns its number.
    pub(super) fn start(&self, task: Task) -> Result<u64, Problem> {
        let mut all = self.all.lock();
        let is_running = |job: &Arc<Job>| !job.latest.borrow().is_done;
        let searches = all.jobs.values().filter(|job| is_running(job)).count();
        if searches >= MAX_RUNNING {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                BadJob::TooManySearches { searches },
            ));
        }
        let ended: Vec<u64> = all
            .jobs
            .iter()
            .filter(|(_, job)| !is_running(job))
            .map(|(name, _)| *name)
            .collect();
        for name in ended.iter().rev().skip(MAX_ENDED - 1) {
            all.jobs.remove(name);
        }
        let job = Arc::new(Job {
            progress: SearchProgress::default(),
            is_stopped: AtomicBool::new(false),
            latest: watch::channel(LatestEvent::default()).0,
            listeners: Mutex::new(Listeners {
                count: 0,
                since: Instant::now(),
            }),
        });
        let limits = self.limits;
        let runs = Arc::clone(&job);
        let started = thread::Builder::new()
            .name("search".into())
            .spawn(move || runs.run(task, &limits));
        started.map_err(|error| {
            let error = error.to_string();
            Problem::internal(BadJob::NoThread { error })
        })?;
        all.last += 1;
        let name = all.last;
        all.jobs.insert(name, job);
        Ok(name)
    }

    /// The job with this name.
    pub(super) fn get(&self, name: &str) -> Result<Arc<Job>, Problem> {
        let found = name
            .parse()
            .ok()
            .and_then(|name: u64| self.all.lock().jobs.get(&name).cloned());
        found.ok_or_else(|| Problem::unknown(BadJob::NoJob { name: name.into() }))
    }

    /// Stops all jobs.
    pub(super) fn stop(&self) {
        for job in self.all.lock().jobs.values() {
            job.stop();
        }
    }
}

impl Job {
    /// Stops the job. It ends soon, with the verdict `stopped` unless it already had another verdict.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.progress.interrupt.store(true, Ordering::Relaxed);
    }

    /// Subscribes to the events of the job, beginning with the last one.
    pub(super) fn listen(self: &Arc<Self>) -> Listening {
        self.listeners.lock().count += 1;
        let mut latest = self.latest.subscribe();
        latest.mark_changed();
        Listening {
            job: Arc::clone(self),
            latest,
        }
    }

    fn emit(&self, event: &'static str, data: Value) {
        self.latest.send_modify(|latest| {
            latest.number += 1;
            latest.event = event;
            latest.data = Arc::new(data);
            latest.is_done = event == "done";
        });
    }

    fn run(&self, task: Task, limits: &Limits) {
        let started = Instant::now();
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let ticker = scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    self.tell(started);
                    if self.is_lonely() {
                        self.stop();
                    }
                    thread::park_timeout(TELL);
                }
            });
            let done = catch_unwind(AssertUnwindSafe(|| self.work(task, limits)));
            let mut done = done.unwrap_or_else(|panic| {
                Verdict::failed(SearchResult::Panicked {
                    assertion: super::panic_text(&*panic).into(),
                })
            });
            is_done.store(true, Ordering::Relaxed);
            ticker.thread().unpark();
            if ticker.join().is_err() {
                done = Verdict::failed(SearchResult::ProgressLost);
            }
            self.emit("done", done.to_json(started.elapsed()));
        });
    }

    fn is_lonely(&self) -> bool {
        let listeners = self.listeners.lock();
        listeners.count == 0 && listeners.since.elapsed() > LONELY
    }

    fn tell(&self, started: Instant) {
        let count = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        let progress = &self.progress;
        let (states, elapsed) = (count(&progress.states), started.elapsed().as_secs_f64());
        self.emit(
            "progress",
            json!({
                "states": states,
                "states_per_second": (states as f64 / elapsed.max(1e-3)).round(),
                "frontier": count(&progress.frontier),
                "depth": count(&progress.depth),
                "memory_bytes": count(&progress.bytes),
                "elapsed_seconds": (elapsed * 100.0).round() / 100.0,
            }),
        );
    }

    fn work(&self, task: Task, limits: &Limits) -> Verdict {
        match task {
            Task::Check(world, property) => self.check(&world, property, limits),
            Task::Find(walk, predicate) => {
                let goal = SearchGoal::PredicateHolds {
                    predicate: predicate.name,
                };
                self.find(&walk, goal, &predicate.holds)
            }
            Task::Witness(walk, witness) => {
                let goal = SearchGoal::WitnessReached {
                    witness: witness.name(),
                };
                self.find(&walk, goal, &|_, witnesses| witnesses.contains(witness))
            }
        }
    }

    fn find(&self, walk: &Walk, goal: SearchGoal, holds: Goal<'_>) -> Verdict {
        let mut counts = Counts::default();
        let found = find::find(walk, holds, &self.progress, &mut counts);
        let mut verdict = Verdict {
            states: self.progress.states.load(Ordering::Relaxed),
            transitions: Some(counts.transitions),
            depth: counts.depth,
            ..Verdict::default()
        };
        match found {
            Err(reason) => {
                return Verdict {
                    states: verdict.states,
                    ..Verdict::failed(SearchResult::Failed { reason })
                };
            }
            Ok(FindResult::Here(found)) => {
                let steps = found.steps.len() - walk.steps.len();
                verdict.verdict = "found";
                verdict.result = Some(match steps {
                    0 => SearchResult::HoldsHere { goal },
                    1 => SearchResult::FoundNext { goal },
                    steps => SearchResult::Found {
                        steps: steps as u64,
                        decisions: verdict.depth,
                        goal,
                    },
                });
                verdict.witnesses = found.witnesses();
                verdict.path(&found);
            }
            Ok(FindResult::Nowhere) => {
                verdict.verdict = "not_found";
                verdict.result = Some(SearchResult::NotFound {
                    states: verdict.states,
                    goal,
                });
            }
            Ok(FindResult::Stopped(cause)) => self.stopped(&mut verdict, cause),
        }
        verdict
    }

    fn check(&self, world: &World, property: Option<Property>, limits: &Limits) -> Verdict {
        match (&world.entry, property) {
            (Some(entry), None) => {
                let hunt = entry.hunt(&alone(limits), &self.progress);
                let mut verdict = Verdict {
                    states: hunt.states,
                    depth: self.progress.depth.load(Ordering::Relaxed),
                    ..Verdict::default()
                };
                match &hunt.end {
                    HuntEnd::Found { why, evidence, .. } => {
                        let property = match entry.violates {
                            Violates::Property(property) => Some(property),
                            Violates::Progress | Violates::Stability | Violates::Latency => None,
                        };
                        verdict.property = Some(entry.violates.name());
                        verdict.why = Some(why.clone());
                        verdict.method = Some(entry.method());
                        if let Evidence::Timed(_, ticks) = &**evidence {
                            verdict.ticks = Some(ticks.clone());
                        }
                        let trace = entry.trace(evidence);
                        // The world shows the steps of the catalog, regardless of the request.
                        let mut merged = world.clone();
                        merged.steps = Steps::Merged;
                        merged.scope.reduction = entry.scope.reduction;
                        verdict.violated(trace, &merged, property);
                    }
                    HuntEnd::Survived => {
                        verdict.exhausted(&world.scope, Some(entry.violates.name()), Vec::new());
                    }
                    HuntEnd::Truncated(cause) => self.stopped(&mut verdict, *cause),
                }
                verdict
            }
            (_, property) => {
                let mut scope = searchable(world);
                let planted = scope.mutant.is_some();
                // The obligations of the reductions also depend on properties that must be checked.
                let property = property.filter(|_| planted);
                scope.properties = property.map_or(Properties::ALL, Properties::only);
                let limits = if planted { alone(limits) } else { *limits };
                let mut report = engine::check(&scope, &limits, &self.progress).report;
                if limits.threads > 1 && matches!(report.outcome, SearchOutcome::Violated { .. }) {
                    report = engine::check(&scope, &alone(&limits), &self.progress).report;
                }
                let mut verdict = Verdict {
                    states: report.states,
                    transitions: Some(report.transitions),
                    depth: report.depth,
                    witnesses: report.witnesses,
                    ..Verdict::default()
                };
                match &report.outcome {
                    SearchOutcome::Exhausted => {
                        let missing = report.missing(&scope).into_iter();
                        let missing = missing.map(Witness::name).collect();
                        verdict.exhausted(&scope, property.map(Property::name), missing);
                    }
                    SearchOutcome::Truncated(cause) => self.stopped(&mut verdict, *cause),
                    SearchOutcome::Violated { violation, path } => {
                        verdict.property = Some(violation.property.name());
                        verdict.why = Some(Reason::Violation(violation.cause.clone()));
                        verdict.method = Some(Method::Search);
                        let trace = trace::concrete(&scope, path, violation);
                        verdict.violated(trace, world, Some(violation.property));
                    }
                }
                verdict
            }
        }
    }

    /// Sets the verdict of a search that was stopped early, by a person or by a limit.
    fn stopped(&self, verdict: &mut Verdict, cause: StopCause) {
        let states = verdict.states;
        if self.is_stopped.load(Ordering::Relaxed) {
            verdict.verdict = "stopped";
            verdict.result = Some(SearchResult::Stopped { states });
            return;
        }
        verdict.verdict = "truncated";
        let limit = cause.into();
        verdict.result = Some(SearchResult::Truncated { states, limit });
    }
}

/// The limits with one thread. With several threads, the choice among equally short counterexamples
/// depends on their scheduling.
fn alone(limits: &Limits) -> Limits {
    Limits {
        threads: 1,
        ..*limits
    }
}

/// The world as the engine searches it: split steps stay separate, and the reductions that do not merge
/// steps stay enabled.
fn searchable(world: &World) -> Scope {
    let mut scope = world.scope.clone();
    if scope.mutant.is_some() {
        // The rules for dropping and trimming messages hold only for the correct protocol.
        scope.reduction.drop_dead = false;
        scope.reduction.trim_appends = false;
    }
    if world.steps == Steps::Split {
        scope.reduction.drop_dead = scope.mutant.is_none();
        scope.reduction.send_early = true;
        scope.reduction.forget_hints = true;
    }
    scope
}

/// A listener of a job.
pub(super) struct Listening {
    job: Arc<Job>,
    pub(super) latest: watch::Receiver<LatestEvent>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.job.listeners.lock();
        listeners.count -= 1;
        listeners.since = Instant::now();
    }
}
