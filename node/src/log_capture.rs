//! Captures the log of one thread, for tests.

use std::{
    fmt,
    sync::{Arc, Mutex},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Captures events as level and message.
#[derive(Clone, Default)]
pub(crate) struct LogCapture(Arc<Mutex<Vec<(Level, String)>>>);

impl LogCapture {
    /// The messages of this level that were logged during `action`.
    pub(crate) fn during(level: Level, action: impl FnOnce()) -> Vec<String> {
        let capture = Self::default();
        tracing::subscriber::with_default(capture.clone(), action);
        let events = std::mem::take(&mut *capture.0.lock().unwrap());
        let matching = events.into_iter().filter(|(of, _)| *of == level);
        matching.map(|(_, message)| message).collect()
    }
}

impl Subscriber for LogCapture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut events = self.0.lock().unwrap();
        events.push((*event.metadata().level(), message.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
