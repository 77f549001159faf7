//! Searches in the background: the check of a world, and "find me a state where ...".
//!
//! A job runs on its own thread, reports its progress from the live counters of the search, and ends
//! with exactly one verdict. `exhausted`, `violated` and `truncated` are the results of the engine. A
//! job that was stopped is `stopped` and makes no claim. With a planted bug, `exhausted` means only that
//! this scope does not show the bug, and the sentence states this.
//!
//! A violation is reported as a path, and only if a walk along it really ends with a violation of that
//! property. A bug of the catalog is found by the catalog's own method, which the verdict names. The
//! progress check finds a state; the path continues from there for some steps without faults, so that a
//! reader sees that no entry is committed. The result of a timed simulation has the tick of each step.
//!
//! The same check gives the same counterexample: the search that produces it uses one thread.
//!
//! Few jobs run at the same time, each with a memory limit. A job without listeners is stopped.

use super::{
    find::{self, Counts, FindResult, Goal},
    predicates::PREDICATES,
    problem::Problem,
    view,
    walk::{Effect, Walk},
    world::{Steps, World},
};
use crate::{
    catalog::{Breaks, Evidence, HuntEnd, Method},
    engine::{self, Limits, SearchOutcome, SearchProgress, StopCause},
    trace::{self, Trace},
};
use axum::http::StatusCode;
use model::{
    mutant::Mutant,
    system::{Cause, Properties, Property, Scope, Witness, Witnesses},
};
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

/// The maximum number of steps shown after a stuck state.
const SHOWN: usize = 24;

/// The request for a job.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AskedJob {
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
    Check(World, Option<Property>),
    /// Searches from a state for a state where this predicate holds.
    Find(
        Box<Walk>,
        &'static str,
        fn(&model::system::System, Witnesses) -> bool,
    ),
    /// Searches from a state for a step that reaches this witness.
    Witness(Box<Walk>, Witness),
}

impl AskedJob {
    /// The task, in a world along a path.
    pub(super) fn task(
        &self,
        world: World,
        walk: impl FnOnce(World) -> Result<Walk, Problem>,
    ) -> Result<Task, Problem> {
        match self.kind {
            JobKind::Check => {
                let property = self.property.as_deref().map(property).transpose()?;
                Ok(Task::Check(world, property))
            }
            JobKind::Find => {
                let name = self.predicate.as_deref().ok_or_else(|| {
                    Problem::bad("a job that finds needs a predicate: /api/catalog lists them")
                })?;
                let predicate = PREDICATES.iter().find(|known| known.name == name);
                let predicate = predicate.ok_or_else(|| {
                    Problem::unknown(format!(
                        "there is no predicate {name:?}: /api/catalog lists them"
                    ))
                })?;
                Ok(Task::Find(
                    Box::new(walk(world)?),
                    predicate.about,
                    predicate.holds,
                ))
            }
            JobKind::Witness => {
                let name = self.witness.as_deref().ok_or_else(|| {
                    Problem::bad("this job needs the name of a witness, as /api/walk lists them")
                })?;
                let mut all = Witness::ALL.iter().copied();
                let witness = all.find(|witness| witness.name() == name).ok_or_else(|| {
                    Problem::unknown(format!(
                        "there is no witness {name:?}: /api/walk lists them"
                    ))
                })?;
                Ok(Task::Witness(Box::new(walk(world)?), witness))
            }
        }
    }
}

fn property(name: &str) -> Result<Property, Problem> {
    let mut all = Property::ALL.iter().copied();
    all.find(|property| property.name() == name).ok_or_else(|| {
        Problem::unknown(format!(
            "there is no property {name:?}: /api/catalog lists them"
        ))
    })
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
    said: watch::Sender<Said>,
    listeners: Mutex<Listeners>,
}

struct Listeners {
    count: usize,
    since: Instant,
}

/// The last event of a job, which is sufficient for a listener that starts at any time.
#[derive(Clone, Default)]
pub(super) struct Said {
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
        let is_running = |job: &Arc<Job>| !job.said.borrow().is_done;
        let running = all.jobs.values().filter(|job| is_running(job)).count();
        if running >= MAX_RUNNING {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{running} searches are running: stop one, or wait until one ends"),
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
            said: watch::channel(Said::default()).0,
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
        started.map_err(|error| Problem::broken(format!("cannot start a thread: {error}")))?;
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
        found.ok_or_else(|| {
            Problem::unknown(format!(
                "there is no job {name}: it ended long ago, or the server was started anew"
            ))
        })
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
        let mut said = self.said.subscribe();
        said.mark_changed();
        Listening {
            job: Arc::clone(self),
            said,
        }
    }

    fn say(&self, event: &'static str, data: Value) {
        self.said.send_modify(|said| {
            said.number += 1;
            said.event = event;
            said.data = Arc::new(data);
            said.is_done = event == "done";
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
                Verdict::failed(format!(
                    "The search ended at an assertion, and concludes nothing: {}.",
                    super::panic_text(&*panic)
                ))
            });
            is_done.store(true, Ordering::Relaxed);
            ticker.thread().unpark();
            if ticker.join().is_err() {
                done = Verdict::failed("The search could not tell its progress.");
            }
            self.say("done", done.told(started.elapsed()));
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
        self.say(
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
            Task::Find(walk, about, holds) => {
                let what = about.trim_end_matches('.').to_owned();
                self.find(&walk, &what, &|system, witnesses| holds(system, witnesses))
            }
            Task::Witness(walk, witness) => {
                let what = format!("\"{witness}\" is witnessed");
                self.find(&walk, &what, &|_, witnesses| witnesses.contains(witness))
            }
        }
    }

    fn find(&self, walk: &Walk, what: &str, goal: Goal<'_>) -> Verdict {
        let mut counts = Counts::default();
        let found = find::find(walk, goal, &self.progress, &mut counts);
        let mut verdict = Verdict {
            states: self.progress.states.load(Ordering::Relaxed),
            transitions: Some(counts.transitions),
            depth: counts.depth,
            ..Verdict::default()
        };
        match found {
            Err(error) => {
                return Verdict {
                    states: verdict.states,
                    ..Verdict::failed(format!(
                        "The search failed, and concludes nothing: {error:#}."
                    ))
                };
            }
            Ok(FindResult::Here(found)) => {
                let more = found.steps.len() - walk.steps.len();
                verdict.verdict = "found";
                verdict.say = match more {
                    0 => format!("It holds here already: {what}."),
                    1 => format!("Found one step from here: {what}."),
                    more => format!(
                        "Found {more} steps from here, {} of them decisions, the fewest there are: {what}.",
                        verdict.depth
                    ),
                };
                verdict.witnesses = found.witnesses();
                verdict.path(&found);
            }
            Ok(FindResult::Nowhere) => {
                verdict.verdict = "not_found";
                verdict.say = format!(
                    "Nowhere: none of the {} states that can be reached from here shows this: {what}.",
                    verdict.states
                );
            }
            Ok(FindResult::Stopped(cause)) => self.stopped(&mut verdict, cause, "found"),
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
                        let property = match entry.breaks {
                            Breaks::Property(property) => Some(property),
                            Breaks::Progress | Breaks::Stability | Breaks::Latency => None,
                        };
                        verdict.property = Some(entry.breaks.name().to_owned());
                        verdict.why = Some(why.clone());
                        verdict.cause = evidence.violation().map(|it| it.cause.clone());
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
                        verdict.exhausted(&world.scope, Some(entry.breaks.name()));
                    }
                    HuntEnd::Truncated(cause) => self.stopped(&mut verdict, *cause, "judged"),
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
                        verdict.exhausted(&scope, property.map(Property::name));
                        let missing = report.missing(&scope);
                        if !missing.is_empty() && scope.mutant.is_none() {
                            let names: Vec<&str> = missing.into_iter().map(Witness::name).collect();
                            verdict.say += &format!(
                                " Within these bounds it does not reach: {}.",
                                names.join(", ")
                            );
                        }
                    }
                    SearchOutcome::Truncated(cause) => self.stopped(&mut verdict, *cause, "judged"),
                    SearchOutcome::Violated { broken, path } => {
                        verdict.property = Some(broken.property.name().to_owned());
                        verdict.why = Some(broken.cause.to_string());
                        verdict.cause = Some(broken.cause.clone());
                        verdict.method = Some(Method::Search);
                        let trace = trace::concrete(&scope, path, broken);
                        verdict.violated(trace, world, Some(broken.property));
                    }
                }
                verdict
            }
        }
    }

    /// Sets the verdict of a search that was stopped early, by a person or by a limit.
    fn stopped(&self, verdict: &mut Verdict, cause: StopCause, done: &str) {
        let states = verdict.states;
        if self.is_stopped.load(Ordering::Relaxed) {
            verdict.verdict = "stopped";
            verdict.say =
                format!("Stopped after {states} states: nothing is claimed of the others.");
            return;
        }
        verdict.verdict = "truncated";
        let limit = match cause {
            StopCause::MaxStates => "at its limit of states",
            StopCause::MaxMemory => "at its limit of memory",
            StopCause::Capacity => "as there are more states than it can number",
            StopCause::Interrupted => "early",
            StopCause::Obligation => "as a reduction assumes what this protocol does not do",
        };
        verdict.say = format!(
            "Truncated after {states} states, {limit}: the others were not {done}, and no claim is made."
        );
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

/// Continues a walk without faults, up to a number of steps or until there is no further event. Disks
/// sync, servers that are down restart, new messages are delivered, and heartbeat timers fire. Election
/// timers fire only if there is no leader. Stops before an entry is committed.
fn go_on(walk: &mut Walk, steps: usize) -> Result<(), String> {
    let from = walk.steps.len();
    let committed = walk.committed();
    while walk.steps.len() < from + steps {
        let mut possible: Vec<_> = walk
            .choices()
            .into_iter()
            .filter(|choice| matches!(choice.outcome, Ok(Effect::Something)))
            .filter_map(|choice| Some((walk.urgency(&choice, from)?, choice.key)))
            .collect();
        possible.sort_by_key(|(urgency, _)| *urgency);
        let Some((_, key)) = possible.first().copied() else {
            break;
        };
        walk.take(key)?;
        if walk.committed() > committed {
            walk.cut(walk.steps.len() - 1);
            break;
        }
    }
    Ok(())
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
    pub(super) said: watch::Receiver<Said>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.job.listeners.lock();
        listeners.count -= 1;
        listeners.since = Instant::now();
    }
}

/// How a job ended.
#[derive(Default)]
struct Verdict {
    verdict: &'static str,
    property: Option<String>,
    why: Option<String>,
    cause: Option<Box<Cause>>,
    /// The method that found it.
    method: Option<Method>,
    /// For a stuck state: the number of steps to it. The remaining steps show that no entry is
    /// committed.
    stuck_after: Option<usize>,
    /// For a timed simulation: the tick of each step.
    ticks: Option<Vec<u64>>,
    path: Option<Vec<String>>,
    steps: Option<&'static str>,
    states: u64,
    transitions: Option<u64>,
    depth: u64,
    witnesses: Witnesses,
    say: String,
}

impl Verdict {
    fn failed(say: impl Into<String>) -> Self {
        Self {
            verdict: "failed",
            say: say.into(),
            ..Self::default()
        }
    }

    fn path(&mut self, walk: &Walk) {
        let keys = walk.steps.iter().map(|step| step.key.to_string());
        self.path = Some(keys.collect());
        self.steps = Some(walk.world.steps.name());
    }

    /// Sets the verdict of an exhausted search without a violation.
    fn exhausted(&mut self, scope: &Scope, property: Option<&str>) {
        self.verdict = "exhausted";
        let states = self.states;
        self.say = match (scope.mutant, property) {
            (None, _) => format!(
                "Exhausted: all {states} states within these bounds were visited, and every property holds in each."
            ),
            (Some(mutant), None) => format!(
                "A bug is planted ({}), and this scope does not show it: in all {states} states every property holds. This is no verdict on Raft; pick the scope that the catalog names for this bug.",
                mutant.name()
            ),
            (Some(mutant), Some(property)) => format!(
                "A bug is planted ({}), and this scope does not show it: in all {states} states {property} holds, and no other property was judged. This is no verdict on Raft; pick the scope that the catalog names for this bug.",
                mutant.name()
            ),
        };
    }

    /// Sets the verdict of a violation, if a walk confirms it.
    fn violated(
        &mut self,
        trace: anyhow::Result<Trace>,
        world: &World,
        property: Option<Property>,
    ) {
        let walked = trace.and_then(|trace| {
            let mut walk = Walk::new(Arc::new(world.clone()));
            for action in trace.actions() {
                let taken = walk.take_action(&action);
                taken.map_err(|why| anyhow::anyhow!("the walk cannot take a step of it: {why}"))?;
            }
            let last = walk.steps.last();
            let is_broken = |property| {
                last.is_some_and(|step| {
                    step.broken.iter().any(|broken| broken.property == property)
                })
            };
            anyhow::ensure!(
                property.is_none_or(is_broken),
                "the walk along it does not end with this property broken"
            );
            let steps = walk.steps.len();
            if self.method == Some(Method::Progress) {
                let gone = go_on(&mut walk, SHOWN);
                gone.map_err(|why| anyhow::anyhow!("the walk cannot take a step of it: {why}"))?;
            }
            Ok((walk, steps))
        });
        let broken = self.property.clone().unwrap_or_default();
        match walked {
            Err(error) => {
                self.verdict = "failed";
                self.say = format!(
                    "The search says that {broken} is broken, but its path is no real run: {error:#}. This is a fault of the checker."
                );
            }
            Ok((walk, steps)) => {
                self.verdict = "violated";
                self.path(&walk);
                self.witnesses.add_all(walk.witnesses());
                let planted = world.scope.mutant.map(Mutant::name);
                self.say = match (planted, self.method) {
                    (None, _) => format!("{broken} is broken, {steps} steps from the start."),
                    (Some(bug), Some(Method::Progress)) => {
                        self.stuck_after = Some(steps);
                        format!(
                            "The planted bug ({bug}) is caught by the progress check: {steps} steps from the start the cluster is stuck. This is no verdict on Raft."
                        )
                    }
                    (Some(bug), Some(Method::Timed)) => format!(
                        "The planted bug ({bug}) is caught by a timed simulation: {broken} is broken after {steps} steps. This is no verdict on Raft."
                    ),
                    (Some(bug), Some(Method::Schedule)) => format!(
                        "The planted bug ({bug}) is caught by a recorded schedule of {steps} steps, which breaks {broken}. This is no verdict on Raft."
                    ),
                    (Some(bug), _) => format!(
                        "The planted bug ({bug}) is caught: {broken} is broken, {steps} steps from the start. This is no verdict on Raft."
                    ),
                };
            }
        }
    }

    fn told(&self, elapsed: Duration) -> Value {
        json!({
            "verdict": self.verdict,
            "property": self.property,
            "why": self.why,
            "cause": self.cause,
            "method": self.method.map(Method::name),
            "stuck_after": self.stuck_after,
            "ticks": self.ticks,
            "path": self.path,
            "steps": self.steps,
            "states": self.states,
            "transitions": self.transitions,
            "depth": self.depth,
            "elapsed_seconds": (elapsed.as_secs_f64() * 100.0).round() / 100.0,
            "witnesses": view::names(self.witnesses),
            "say": self.say,
        })
    }
}
