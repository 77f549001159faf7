//! Stop signals (SIGINT, SIGTERM, SIGHUP): the first ends a search in an orderly way, with no claim;
//! the second ends the process immediately.

use super::Exit;
use anyhow::Context;
use signal_hook::{consts, flag};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether a signal asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handlers. Once in a process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let mut signals = vec![consts::SIGINT, consts::SIGTERM];
        // `nohup` keeps a long search alive after its terminal is closed.
        if !program::signals::is_hang_up_ignored() {
            signals.push(consts::SIGHUP);
        }
        for number in signals {
            // In this order: the second signal finds the flag set by the first.
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

    /// Set when a signal arrives.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
