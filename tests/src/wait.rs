//! Waiting for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take. Much more than it should: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until there is a value.
///
/// # Panics
/// If there is none by the deadline; `what` says what was waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // Between two looks, not in place of one.
        thread::sleep(Duration::from_millis(10));
    }
}
