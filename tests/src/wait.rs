//! Waits for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The deadline of a wait. It is much longer than any expected time, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until there is a value.
///
/// # Panics
/// If there is none by the deadline; `what` names the condition in the message.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // Only the interval between two polls, not a replacement for a condition.
        thread::sleep(Duration::from_millis(10));
    }
}
