//! The interruption of a long operation.

use std::sync::atomic::{AtomicBool, Ordering};

/// The operation was interrupted, so it has no result.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted: no claim")]
pub struct Interrupted;

/// # Errors
/// [`Interrupted`], once `interrupt` is set.
pub(crate) fn go_on(interrupt: &AtomicBool) -> Result<(), Interrupted> {
    if interrupt.load(Ordering::Relaxed) {
        Err(Interrupted)
    } else {
        Ok(())
    }
}
