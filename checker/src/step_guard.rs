//! Ends the program if a step of the protocol does not end.
//!
//! A step takes microseconds. A step in an endless loop would hang the program, and one that also allocates
//! would exhaust the memory of the machine, because the limits of a search are not read within a step. A
//! thread cannot be stopped from outside. So the program reports the process and the event, which are the
//! violation, and exits.
//!
//! [`transitions`] is the only way of the checker to make a transition system, and `recover` and `step`
//! are the only ways to call the core itself: `checker/clippy.toml` forbids the others.
//!
//! The limit is processor time of the thread, so a busy or suspended machine does not look like an endless
//! step. Only Linux reports the processor time of another thread; elsewhere the guard does nothing.

use crate::{explain::words, lines::FileLine, machine};
use model::{
    Config, Durable, Effects, Event, NodeId, Raft,
    system::{Local, Process, Scope, StepHooks, TransitionSystem, caught, obligation::described},
};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    process,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

/// The processor time that one step may take: at least a thousand times as much as any step needs.
const LIMIT: Duration = Duration::from_secs(2);
/// The same for a recorded step of a real server.
const RECORDED_LIMIT: Duration = Duration::from_secs(60);
/// The exit code: a violation.
const EXIT_CODE: u8 = 1;
/// The interval between two looks at the running steps.
const POLL: Duration = Duration::from_millis(50);
/// The share of the available memory, in percent, that is the limit if the settings have none.
const MEMORY_PERCENT: u64 = 80;

/// The form of the report, and a limit of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Whether the report is a JSON object.
    pub json: bool,
    /// If the program holds more bytes than this, a step may take less time. The default is a share of the
    /// memory that is available at the first step.
    pub max_memory: Option<u64>,
}

/// All threads that take steps.
struct Guard {
    settings: Mutex<Settings>,
    /// The limit of memory if the settings have none.
    max_memory: Option<u64>,
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// The step that a thread takes at present.
struct Slot {
    /// The thread's number in the operating system.
    thread: u64,
    current: Mutex<Current>,
}

/// The last step of a thread. It is kept after its end: the next step often has the same process, and a
/// comparison costs less than a copy.
#[derive(Default)]
struct Current {
    step: Option<Step>,
    is_running: bool,
    /// The processor time of the thread at the first look.
    since: Option<Duration>,
}

impl Current {
    fn enter(&mut self, step: Step) {
        self.step = Some(step);
        self.is_running = true;
        self.since = None;
    }

    /// As [`Self::enter`], but copies only the parts that differ from those of the last step.
    fn enter_modeled(&mut self, process: &Process, local: &Local) {
        let Some(Step::Modeled {
            process: last,
            local: last_local,
        }) = &mut self.step
        else {
            return self.enter(Step::Modeled {
                process: process.clone(),
                local: local.clone(),
            });
        };
        if last != process {
            last.clone_from(process);
        }
        if last_local != local {
            last_local.clone_from(local);
        }
        self.is_running = true;
        self.since = None;
    }

    fn leave(&mut self) {
        self.is_running = false;
        // The event of a recorded step may hold a snapshot of many megabytes.
        if matches!(self.step, Some(Step::Recorded { .. })) {
            self.step = None;
        }
    }

    /// The running step, and the processor time since the first look at it. `now` is the processor time
    /// of the thread.
    fn running(&mut self, now: Duration) -> Option<(&Step, Duration)> {
        let step = self.step.as_ref().filter(|_| self.is_running)?;
        let since = *self.since.get_or_insert(now);
        Some((step, now.saturating_sub(since)))
    }
}

#[expect(clippy::large_enum_variant, reason = "most steps are modeled")]
enum Step {
    /// A step of a process of a model.
    Modeled { process: Process, local: Local },
    /// A step of a server, and the line of the trace that records it. Without an event, the server starts.
    Recorded {
        server: NodeId,
        event: Option<Event>,
        place: Option<FileLine>,
    },
}

impl Step {
    /// The processor time that the step may take, and that it may take if the program holds much memory. The
    /// kernel may search for free memory within a step. A recorded step may install a snapshot of many
    /// megabytes.
    fn limits(&self) -> (Duration, Duration) {
        match self {
            Self::Modeled { .. } => (LIMIT, 4 * POLL),
            Self::Recorded { .. } => (RECORDED_LIMIT, 5 * LIMIT),
        }
    }
}

/// The transition system of a scope. The guard watches each of its steps.
pub fn transitions(scope: Scope) -> TransitionSystem {
    let enter = |process: &Process, local: &Local| {
        with_slot(|slot| slot.current.lock().enter_modeled(process, local));
    };
    #[expect(clippy::disallowed_methods, reason = "the steps are watched")]
    TransitionSystem::with_hooks(scope, StepHooks { enter, leave })
}

/// Starts a server, which the guard watches. `place` is the line that records the start.
///
/// # Errors
/// The text of the panic, if the start panics.
pub(crate) fn recover(
    server: NodeId,
    config: Config,
    durable: Durable,
    place: Option<&FileLine>,
) -> Result<Raft, String> {
    enter(Step::Recorded {
        server,
        event: None,
        place: place.cloned(),
    });
    #[expect(clippy::disallowed_methods, reason = "the start is watched")]
    let raft = caught(|| Raft::recover(server, config, durable));
    leave();
    raft
}

/// Executes a step of a server, which the guard watches. `place` is the line that records the step.
///
/// # Errors
/// The text of the panic, if the step panics.
pub(crate) fn step(
    raft: &mut Raft,
    event: Event,
    place: Option<&FileLine>,
) -> Result<Effects, String> {
    enter(Step::Recorded {
        server: raft.id(),
        event: Some(event.clone()),
        place: place.cloned(),
    });
    #[expect(clippy::disallowed_methods, reason = "the step is watched")]
    let effects = caught(|| raft.step(event));
    leave();
    effects
}

/// Must be called before a thread takes a step that may not end.
fn enter(step: Step) {
    with_slot(|slot| slot.current.lock().enter(step));
}

/// Must be called after the step.
fn leave() {
    with_slot(|slot| slot.current.lock().leave());
}

/// Changes the settings.
pub fn configure(settings: Settings) {
    *guard().settings.lock() = settings;
}

fn with_slot(act: impl FnOnce(&Slot)) {
    thread_local! {
        static OWN: Arc<Slot> = guard().new_slot();
    }
    // Without it the thread is about to end, and takes no step.
    let _ = OWN.try_with(|slot| act(slot));
}

fn guard() -> &'static Guard {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    static WATCH: OnceLock<()> = OnceLock::new();
    let guard = GUARD.get_or_init(|| Guard {
        settings: Mutex::default(),
        max_memory: default_limit(),
        slots: Mutex::default(),
    });
    WATCH.get_or_init(|| {
        thread::spawn(|| {
            loop {
                thread::sleep(POLL);
                guard.look();
            }
        });
    });
    guard
}

fn default_limit() -> Option<u64> {
    let (held, available) = (machine::resident_bytes()?, machine::available_bytes()?);
    Some(held + available / 100 * MEMORY_PERCENT)
}

impl Guard {
    fn new_slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            thread: machine::thread_number().unwrap_or_default(),
            current: Mutex::default(),
        });
        let mut slots = self.slots.lock();
        // A slot that only this list holds belongs to a thread that has ended.
        slots.retain(|slot| Arc::strong_count(slot) > 1);
        slots.push(Arc::clone(&slot));
        slot
    }

    /// Looks at each thread once. Does not return if a step does not end.
    fn look(&self) {
        let settings = *self.settings.lock();
        let is_large = || {
            let limit = settings.max_memory.or(self.max_memory);
            limit.is_some_and(|limit| machine::resident_bytes() > Some(limit))
        };
        for slot in &*self.slots.lock() {
            let mut current = slot.current.lock();
            let now = machine::thread_cpu_time(slot.thread);
            let Some((step, took)) = now.and_then(|now| current.running(now)) else {
                continue;
            };
            let (limit, limit_if_large) = step.limits();
            if took > limit || (took > limit_if_large && is_large()) {
                // The lock is held: the step cannot be replaced by the next one of this thread.
                report(step, took, settings);
            }
        }
    }
}

/// The last line of a program that a step ends.
#[derive(Serialize)]
struct EndlessStep {
    #[serde(rename = "type")]
    kind: &'static str,
    process: String,
    event: String,
    /// The line of the trace of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    seconds: f64,
    exit_code: u8,
}

/// Reports the step and ends the program.
fn report(step: &Step, took: Duration, settings: Settings) -> ! {
    let (process, event, line) = match step {
        Step::Modeled { process, local } => (described(process), words::event(local), None),
        Step::Recorded {
            server,
            event,
            place,
        } => (
            format!("server {server}"),
            event
                .as_ref()
                .map_or_else(|| words::event(&Local::Restart), words::recorded_event),
            place.as_ref().map(ToString::to_string),
        ),
    };
    let report = EndlessStep {
        kind: "endless_step",
        process,
        event,
        line,
        seconds: took.as_secs_f64(),
        exit_code: EXIT_CODE,
    };
    let text = if settings.json {
        serde_json::to_string(&report).unwrap_or_default()
    } else {
        format!(
            "violated: a step does not end.\n  process: {}\n  event: {}{}\n  It had used {:.1} s of processor time, and the memory of the program was {}. \
             The program ends here, because a step cannot be stopped. It makes no claim about other steps.",
            report.process,
            report.event,
            report
                .line
                .map_or_else(String::new, |line| format!("\n  line: {line}")),
            report.seconds,
            machine::resident_bytes()
                .map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20)),
        )
    };
    // The program ends in any case.
    let _ = print(&text);
    process::exit(EXIT_CODE.into())
}

/// Prints a line without the lock of standard output: the thread that takes the endless step may hold it, as
/// it does when a command prints a counterexample.
fn print(line: &str) -> io::Result<()> {
    let out = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(out).write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, process::Command};

    /// Set in the child process of the test.
    const CHILD: &str = "STATERAFT_ENDLESS_RECORDED_STEP";

    #[test]
    fn endless_recorded_step_is_reported_with_its_line() {
        if env::var_os(CHILD).is_some() {
            configure(Settings {
                json: true,
                // Any program holds more.
                max_memory: Some(1),
            });
            enter(Step::Recorded {
                server: NodeId::new(2),
                event: Some(Event::HeartbeatTimeout),
                place: Some(FileLine {
                    file: "node-2.jsonl".into(),
                    line: 17,
                }),
            });
            loop {
                std::hint::spin_loop();
            }
        }
        let mut child = Command::new(env::current_exe().expect("a test has a program"));
        let name = "step_guard::tests::endless_recorded_step_is_reported_with_its_line";
        child.args(["--exact", name, "--nocapture"]).env(CHILD, "");
        let output = child.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("no JSON: {text}"));
        let report: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!(report["process"], "server 2");
        assert_eq!(report["event"], "its heartbeat timeout");
        assert_eq!(report["line"], "node-2.jsonl:17");
    }

    /// The last step is kept after its end, but it does not run, and a repeated step starts anew.
    #[test]
    fn step_runs_from_its_start_to_its_end() {
        let [first, second] = [0, 1].map(|index| {
            let scope = Scope::catalog().swap_remove(0);
            transitions(scope).start().processes[index].clone()
        });
        let seconds = Duration::from_secs;
        let observed = |current: &mut Current, now| {
            current
                .running(seconds(now))
                .map(|(step, took)| match step {
                    Step::Modeled { process, local } => (process.clone(), local.clone(), took),
                    Step::Recorded { .. } => panic!("no recorded step started"),
                })
        };
        let (timeout, crash) = (Local::ElectionTimeout, Local::Crash);
        let expected = |process: &Process, local: &Local, took| {
            Some((process.clone(), local.clone(), seconds(took)))
        };
        let mut current = Current::default();
        assert_eq!(observed(&mut current, 1), None);
        current.enter_modeled(&first, &timeout);
        assert_eq!(observed(&mut current, 2), expected(&first, &timeout, 0));
        assert_eq!(observed(&mut current, 5), expected(&first, &timeout, 3));
        current.leave();
        assert_eq!(observed(&mut current, 6), None);
        current.enter_modeled(&first, &timeout);
        assert_eq!(observed(&mut current, 7), expected(&first, &timeout, 0));
        current.leave();
        current.enter_modeled(&first, &crash);
        assert_eq!(observed(&mut current, 8), expected(&first, &crash, 0));
        current.leave();
        current.enter_modeled(&second, &crash);
        assert_eq!(observed(&mut current, 9), expected(&second, &crash, 0));
        current.enter(Step::Recorded {
            server: NodeId::new(1),
            event: None,
            place: None,
        });
        current.leave();
        assert!(current.step.is_none(), "a recorded step is not kept");
    }

    #[test]
    fn memory_has_a_limit_without_settings() {
        let limit = default_limit().expect("Linux reports the memory");
        let total = machine::total_bytes().expect("Linux reports the memory");
        assert!(limit < total, "{limit} of {total}");
    }
}
