//! Ends the program if a step of the protocol does not end.
//!
//! A step takes microseconds. A step in an endless loop would hang the search, and one that also allocates
//! would exhaust the memory of the machine, because the limits of a search are not read within a step. A
//! thread cannot be stopped from outside. So the program reports the process and the event, which are the
//! violation, and exits.
//!
//! The limit is processor time of the thread, so a busy or suspended machine does not look like an endless
//! step. Only Linux reports the processor time of another thread; elsewhere the guard does nothing.

use crate::{explain::words, machine};
use model::system::{Local, Process, obligation::described};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    io::{self, Write},
    process,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

/// The processor time that one step may take: at least a thousand times as much as any step needs.
const LIMIT: Duration = Duration::from_secs(2);
/// The exit code: a violation.
const EXIT_CODE: u8 = 1;
/// The interval between two looks at the running steps.
const POLL: Duration = Duration::from_millis(50);

/// The form of the report, and a limit of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Whether the report is a JSON object.
    pub json: bool,
    /// If the program holds more bytes than this, a step may only take the time between two looks.
    pub max_memory: Option<u64>,
}

/// All threads that take steps.
#[derive(Default)]
struct Guard {
    settings: Mutex<Settings>,
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// The step that a thread takes at present.
struct Slot {
    /// The thread's number in the operating system.
    thread: u64,
    current: Mutex<Option<Current>>,
}

struct Current {
    process: Process,
    local: Local,
    /// The processor time of the thread at the first look.
    since: Option<Duration>,
}

/// While this value lives, the thread takes a step.
pub(crate) struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        with_slot(|slot| *slot.current.lock() = None);
    }
}

/// Must be called before a thread takes a step that may not end.
pub(crate) fn enter(process: &Process, local: &Local) -> Running {
    with_slot(|slot| {
        *slot.current.lock() = Some(Current {
            process: process.clone(),
            local: local.clone(),
            since: None,
        });
    });
    Running
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
    let guard = GUARD.get_or_init(Guard::default);
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
            let limit = settings.max_memory;
            limit.is_some_and(|limit| machine::resident_bytes() > Some(limit))
        };
        for slot in &*self.slots.lock() {
            let mut current = slot.current.lock();
            let (Some(step), Some(now)) = (&mut *current, machine::thread_cpu_time(slot.thread))
            else {
                continue;
            };
            let since = *step.since.get_or_insert(now);
            let took = now.saturating_sub(since);
            if took > LIMIT || (took > POLL && is_large()) {
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
    seconds: f64,
    exit_code: u8,
}

/// Reports the step and ends the program.
fn report(step: &Current, took: Duration, settings: Settings) -> ! {
    let report = EndlessStep {
        kind: "endless_step",
        process: described(&step.process),
        event: words::event(&step.local),
        seconds: took.as_secs_f64(),
        exit_code: EXIT_CODE,
    };
    let mut out = io::stdout().lock();
    // The program ends in any case.
    let _ = if settings.json {
        serde_json::to_writer(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        writeln!(
            out,
            "violated: a step does not end.\n  process: {}\n  event: {}\n  It had used {:.1} s of processor time, and the memory of the program was {}. \
             The search ends here, because a step cannot be stopped. It makes no claim about other states.",
            report.process,
            report.event,
            report.seconds,
            machine::resident_bytes()
                .map_or_else(|| "unknown".into(), |bytes| format!("{} MiB", bytes >> 20)),
        )
    };
    let _ = out.flush();
    process::exit(EXIT_CODE.into())
}
