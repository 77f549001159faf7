//! The progress of a running search on the terminal, and the handling of stop signals.

use super::{
    format::{bytes, grouped, rate, time},
    interrupt::Interrupt,
};
use crate::engine::SearchProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// The polling interval of a search.
const POLL: Duration = Duration::from_millis(100);
/// The interval of progress lines if there is no terminal, as in CI.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// The time after which the progress of a search also names the option that skips the search.
const HINT_AFTER: Duration = Duration::from_secs(3);

/// Runs a search, shows its progress on standard error, and forwards stop signals to it.
pub(crate) fn watch<T>(
    name: &str,
    interrupt: &Interrupt,
    search: impl FnOnce(&SearchProgress) -> T,
) -> T {
    watch_with_hint(name, "", interrupt, search)
}

/// The same as [`watch`]. If the search takes longer than three seconds, its progress ends with the hint.
pub(crate) fn watch_with_hint<T>(
    name: &str,
    hint: &str,
    interrupt: &Interrupt,
    search: impl FnOnce(&SearchProgress) -> T,
) -> T {
    let progress = SearchProgress::default();
    watch_line(
        name,
        || {
            if interrupt.is_asked() {
                progress.interrupt.store(true, Ordering::Relaxed);
            }
        },
        |elapsed| with_hint(line(&progress, elapsed), hint, elapsed),
        || search(&progress),
    )
}

/// Runs some work and shows a line of progress on standard error: live on a terminal, every ten seconds
/// elsewhere. Calls `poll` before each update.
pub(crate) fn watch_line<T>(
    name: &str,
    poll: impl Fn() + Sync,
    line: impl Fn(Duration) -> String + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let log = (LOG_EVERY, |text: String| program::output::note(text));
    show_while(name, bar, log, poll, line, work)
}

/// The same as [`watch_line`], but instead of a hidden bar, `log` prints lines at this interval.
fn show_while<T>(
    name: &str,
    bar: ProgressBar,
    log: (Duration, impl Fn(String) + Sync),
    poll: impl Fn() + Sync,
    line: impl Fn(Duration) -> String + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let is_over = AtomicBool::new(false);
    let (log_every, print) = log;
    thread::scope(|scope| {
        let print = &print;
        let watcher = scope.spawn(|| {
            bar.set_style(style());
            bar.set_prefix(name.to_owned());
            let started = Instant::now();
            let mut next_line = log_every;
            while !is_over.load(Ordering::Relaxed) {
                poll();
                bar.set_message(line(started.elapsed()));
                bar.tick();
                if bar.is_hidden() && started.elapsed() >= next_line {
                    next_line += log_every;
                    print(format!("{name}  {}", line(started.elapsed())));
                }
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

fn line(progress: &SearchProgress, elapsed: Duration) -> String {
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

fn with_hint(line: String, hint: &str, elapsed: Duration) -> String {
    if hint.is_empty() || elapsed < HINT_AFTER {
        line
    } else {
        format!("{line} · {hint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn long_search_shows_its_hint() {
        let shown = |hint, elapsed| with_hint("5 states".to_owned(), hint, elapsed);
        let before = HINT_AFTER - Duration::from_nanos(1);
        assert_eq!(shown("skip it", before), "5 states");
        assert_eq!(shown("skip it", HINT_AFTER), "5 states · skip it");
        assert_eq!(shown("", HINT_AFTER), "5 states");
    }

    #[test]
    fn progress_without_a_terminal_is_printed_as_lines() {
        let (printed, lines) = mpsc::sync_channel(16);
        let every = Duration::from_nanos(1);
        let print = move |text: String| {
            let _ = printed.try_send(text);
        };
        // The work ends when a line was printed. Without lines, it would end with a failure.
        let line = show_while(
            "search",
            ProgressBar::hidden(),
            (every, print),
            || {},
            |_| "5 states".to_owned(),
            || lines.recv_timeout(Duration::from_secs(60)),
        );
        assert_eq!(line.as_deref(), Ok("search  5 states"));
    }
}
