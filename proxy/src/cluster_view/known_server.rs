//! The state of one server from earlier polls, and its update by the next response: pure functions.

use super::MISSES;
use crate::node_problem::NodeProblem;
use model::NodeId;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// The state of one server from earlier polls.
#[derive(Debug, Default)]
pub(super) struct KnownServer {
    /// The boot id of its present run.
    boot: String,
    /// The number of the last event that the event log contains.
    last_event: u64,
    /// The number of polls without a response since the last response.
    misses: u32,
    /// The last status that it reported, and the time of the report.
    pub(super) last: Option<(Value, Instant)>,
}

/// An event for the event log.
#[derive(Debug, PartialEq)]
pub(super) struct NewEvent {
    /// The time in milliseconds since 1970 by the clock of the server, or `None` for now.
    pub(super) at: Option<u64>,
    pub(super) what: String,
    pub(super) about: Map<String, Value>,
}

impl KnownServer {
    /// The number of the last event that the event log contains; the next poll requests later events.
    pub(super) fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Whether the server missed a poll and does not count as unreachable yet.
    pub(super) fn is_late(&self) -> bool {
        (1..MISSES).contains(&self.misses)
    }

    /// Updates the state with the response to a poll. Removes the events from the status, and returns
    /// those that are new. A server that becomes unreachable or returns is an event too.
    pub(super) fn merge(
        &mut self,
        id: NodeId,
        response: &mut Result<Value, NodeProblem>,
    ) -> Vec<NewEvent> {
        let status = match response {
            Ok(Value::Object(status)) => status,
            Ok(_) => return Vec::new(),
            Err(problem) => {
                self.misses += 1;
                if self.misses != MISSES {
                    return Vec::new();
                }
                let mut event = NewEvent::now("unreachable", id);
                let text = problem.to_string().into();
                event.about.insert("problem".to_owned(), text);
                let cause = serde_json::to_value(problem).expect("a problem has a form in JSON");
                event.about.insert("cause".to_owned(), cause);
                return vec![event];
            }
        };
        let mut new = Vec::new();
        if std::mem::take(&mut self.misses) >= MISSES {
            new.push(NewEvent::now("back", id));
        }
        let boot = status.get("boot").and_then(Value::as_str).unwrap_or("");
        if boot != self.boot {
            boot.clone_into(&mut self.boot);
            // After a restart, the numbers of events begin again at 1. The poll requested events after
            // a number of the previous run, so its result may lack the first events: the next poll
            // returns all of them.
            self.last_event = 0;
            let first = status
                .get("events")
                .and_then(|events| events.get(0)?.get("id"));
            if first != Some(&Value::from(1)) {
                status.remove("events");
                return new;
            }
        }
        let Some(Value::Array(events)) = status.remove("events") else {
            return new;
        };
        for event in events {
            // Two concurrent polls return the same events.
            if let Some((number, event)) = parse_event(id, event)
                && number > self.last_event
            {
                self.last_event = number;
                new.push(event);
            }
        }
        new
    }
}

impl NewEvent {
    /// An event of a server that the proxy has noticed now.
    fn now(what: &str, id: NodeId) -> Self {
        Self {
            at: None,
            what: what.to_owned(),
            about: Map::from_iter([("node".to_owned(), id.get().into())]),
        }
    }
}

/// The number and the content of an event in the status of a server. A server of another version may
/// send events of an unknown form, which are skipped.
fn parse_event(id: NodeId, event: Value) -> Option<(u64, NewEvent)> {
    let Value::Object(mut event) = event else {
        return None;
    };
    let number = event.remove("id")?.as_u64()?;
    let at = event.remove("at")?.as_u64()?;
    let Value::String(what) = event.remove("what")? else {
        return None;
    };
    if let Some(other) = event.remove("node") {
        event.insert("other".to_owned(), other);
    }
    event.insert("node".to_owned(), id.get().into());
    Some((
        number,
        NewEvent {
            at: Some(at),
            what,
            about: event,
        },
    ))
}
