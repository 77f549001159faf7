//! Stop signals (SIGINT, SIGTERM, SIGHUP): the first ends a search in an orderly way, with no claim;
//! the second ends the process immediately.

use super::Exit;
use anyhow::Context;
use signal_hook::{consts, flag};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether a stop signal was received.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the signal handlers. Call it once per process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let mut signals = vec![consts::SIGINT, consts::SIGTERM];
        // `nohup` keeps a long search alive after its terminal is closed.
        if !program::signals::is_hang_up_ignored() {
            signals.push(consts::SIGHUP);
        }
        for number in signals {
            // The order matters: the second signal finds the flag that the first one set.
            flag::register_conditional_shutdown(
                number,
                Exit::Truncated.code().into(),
                Arc::clone(&asked),
            )
            .and_then(|_| flag::register(number, Arc::clone(&asked)))
            .context("cannot install signal handlers")?;
        }
        Ok(Self(asked))
    }

    /// The flag that a stop signal sets.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
