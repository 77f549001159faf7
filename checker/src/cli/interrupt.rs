//! Ctrl-C: the first ends what runs in good order, the second at once.

use super::Exit;
use anyhow::Context;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether a person asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C from here on. Once in a process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let in_handler = Arc::clone(&asked);
        ctrlc::set_handler(move || {
            if in_handler.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Truncated.code().into());
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self(asked))
    }

    /// What is set when a person asks to stop.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
