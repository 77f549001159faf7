//! What a running search shows on the terminal, and how it learns that a person had enough.

use super::{
    figures::{bytes, grouped, rate, time},
    interrupt::Interrupt,
};
use crate::engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// How often a search is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Runs a search while showing its progress on standard error, if that is a terminal, and passing
/// Ctrl-C on to it.
pub(crate) fn watch<T>(
    name: &str,
    interrupt: &Interrupt,
    search: impl FnOnce(&Progress) -> T,
) -> T {
    let progress = Progress::default();
    watch_line(
        name,
        || {
            if interrupt.is_asked() {
                progress.interrupt.store(true, Ordering::Relaxed);
            }
        },
        |elapsed| line(&progress, elapsed),
        || search(&progress),
    )
}

/// Runs some work while showing a line on standard error, if that is a terminal. `poll` is called
/// before each look.
pub(crate) fn watch_line<T>(
    name: &str,
    poll: impl Fn() + Sync,
    line: impl Fn(Duration) -> String + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style());
            bar.set_prefix(name.to_owned());
            let started = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                poll();
                bar.set_message(line(started.elapsed()));
                bar.tick();
                thread::park_timeout(POLL);
            }
            bar.finish_and_clear();
        });
        let _over = Over(&is_over, watcher.thread().clone());
        work()
    })
}

/// Ends the watcher, even if the search panics.
struct Over<'a>(&'a AtomicBool, Thread);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}")
        .expect("the template names fields that exist")
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let states = read(&progress.states);
    format!(
        "{} states · {}/s · frontier {} · depth {} · {} · {}",
        grouped(states),
        grouped(rate(states, elapsed) as u64),
        grouped(read(&progress.frontier)),
        read(&progress.depth),
        bytes(read(&progress.bytes)),
        time(elapsed),
    )
}
