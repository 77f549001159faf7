//! Polls the status of all servers, and adds their new events to the event log.

use super::{PATIENCE, known_server::KnownServer, status::NodeStatus};
use crate::{event_log::EventLog, fetch, node_problem::NodeProblem, status_source::Source};
use futures_util::{FutureExt, future::join_all};
use model::NodeId;
use node::{StatusQuery, TAIL};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;
use web::Secret;

/// Polls the servers.
pub(super) struct Poller {
    sources: BTreeMap<NodeId, Source>,
    node_token: Option<Secret>,
    event_log: Arc<EventLog>,
    known: Mutex<BTreeMap<NodeId, KnownServer>>,
}

impl Poller {
    pub(super) fn new(
        sources: BTreeMap<NodeId, Source>,
        node_token: Option<Secret>,
        event_log: Arc<EventLog>,
    ) -> Self {
        Self {
            sources,
            node_token,
            event_log,
            known: Mutex::default(),
        }
    }

    /// Whether the server can be polled.
    pub(super) fn has_source(&self, id: NodeId) -> bool {
        let source = self.sources.get(&id);
        source.is_some_and(|source| !matches!(source, Source::Nowhere))
    }

    /// Whether a server missed a poll and does not count as unreachable yet.
    pub(super) fn is_any_late(&self) -> bool {
        self.known().values().any(KnownServer::is_late)
    }

    /// Polls all servers, and returns their state in the order of their ids.
    pub(super) async fn poll(&self) -> Vec<NodeStatus> {
        let sources = self.sources.iter();
        let polls = sources.map(|(id, source)| self.poll_one(*id, source));
        join_all(polls.collect::<Vec<_>>()).await
    }

    async fn poll_one(&self, id: NodeId, source: &Source) -> NodeStatus {
        let since = self.known().get(&id).map_or(0, KnownServer::last_event);
        let query = StatusQuery {
            entries: TAIL,
            since,
        };
        let mut response = self.fetch(id, source, query).await;
        let mut known = self.known();
        let server = known.entry(id).or_default();
        if self.has_source(id) {
            for event in server.merge(id, &mut response) {
                match event.at {
                    Some(at) => self.event_log.record_at(at, &event.what, event.about),
                    None => self.event_log.record(&event.what, event.about),
                }
            }
        }
        let (status, problem) = match response {
            Ok(status) => (Some(status), None),
            Err(problem) => (None, Some(problem)),
        };
        let last = match &status {
            Some(status) => {
                server.last = Some((status.clone(), Instant::now()));
                None
            }
            None => server.last.as_ref().map(|(last, _)| last.clone()),
        };
        let age = server.last.as_ref().map(|(_, at)| at.elapsed());
        NodeStatus {
            id: id.get(),
            status,
            problem: problem.into(),
            last,
            age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    async fn fetch(
        &self,
        id: NodeId,
        source: &Source,
        query: StatusQuery,
    ) -> Result<Value, NodeProblem> {
        let fetch = async {
            match source {
                Source::Here(status) => status(query).await,
                Source::Http(at) => {
                    let StatusQuery { entries, since } = query;
                    let path = format!("/status?entries={entries}&since={since}");
                    fetch::json(at, &path, self.node_token.as_ref()).await
                }
                Source::Nowhere => Err(NodeProblem::NoAddress { id: id.get() }),
            }
        };
        tokio::time::timeout(PATIENCE, fetch.boxed())
            .await
            .unwrap_or(Err(NodeProblem::NoResponse))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<NodeId, KnownServer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
