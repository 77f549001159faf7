//! Stage 5: the frontends for TCP clients, and the tasks that serve them.

use super::{bound::Listener, secrets::Secrets, services::Services};
use crate::{
    cluster_view::ClusterView,
    gauges,
    http::{self, Http},
    kv_service::KvService,
    listen::{RESERVE, accept, room},
    metrics::Metrics,
    redis::Redis,
    settings::Settings,
    status_source::Source,
};
use model::NodeId;
use std::{collections::BTreeMap, sync::Arc};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use web::{server::Limits, shell::Shell, site::Policy};

/// The inputs of this stage.
pub(super) struct Frontends<'a> {
    pub(super) settings: &'a Settings,
    pub(super) secrets: Secrets,
    pub(super) services: &'a Services,
    pub(super) sources: BTreeMap<NodeId, Source>,
    /// A random number for the cursors of listings.
    pub(super) cursors: u64,
}

impl Frontends<'_> {
    /// Starts the frontends whose listeners are bound. They end when [`Services::ending`] refuses new
    /// operations; the returned tracker contains their connections.
    pub(super) fn start(self, http: Listener, redis: Listener) -> TaskTracker {
        let services = self.services;
        let closing = services.ending.refuse.clone();
        let tasks = TaskTracker::new();
        let metrics = Arc::new(Metrics::new());
        let kv_service =
            KvService::new(services.pool.clone(), Arc::clone(&metrics), closing.clone());
        let embedded = self.settings.embedded.unwrap_or(0);
        let room = room(self.settings.max_connections, embedded);
        if let Some(chaos) = &services.chaos {
            tasks.spawn(Arc::clone(chaos).run(closing));
        }
        if let Listener(Some((listener, _))) = redis {
            self.start_redis(listener, kv_service.clone(), &metrics, room, &tasks);
        }
        if let Listener(Some((listener, _))) = http {
            self.start_http(listener, kv_service, &metrics, room, &tasks);
        }
        tasks
    }

    fn start_redis(
        &self,
        listener: TcpListener,
        kv_service: KvService,
        metrics: &Metrics,
        room: usize,
        tasks: &TaskTracker,
    ) {
        let frontend = Arc::new(Redis::new(
            kv_service,
            self.secrets.password.clone(),
            Arc::clone(&self.services.gauges),
            self.settings,
            room,
            self.cursors,
        ));
        let open = metrics.redis_connections.clone();
        let closing = self.services.ending.refuse.clone();
        tasks.spawn(accept(listener, open, closing, tasks.clone(), frontend));
    }

    fn start_http(
        self,
        listener: TcpListener,
        kv_service: KvService,
        metrics: &Metrics,
        room: usize,
        tasks: &TaskTracker,
    ) {
        let Self {
            settings,
            secrets,
            services,
            sources,
            ..
        } = self;
        let closing = services.ending.refuse.clone();
        let sampler = gauges::sample(
            Arc::clone(&services.gauges),
            Arc::clone(&services.event_log),
        );
        spawn_until(tasks, &closing, sampler);
        let uncounted = KvService::new(
            services.uncounted.clone(),
            Arc::new(Metrics::new()),
            closing.clone(),
        );
        let cluster_view = Arc::new(ClusterView::new(
            settings.cluster.clone(),
            (kv_service.clone(), uncounted.clone()),
            Arc::clone(&services.gauges),
            sources,
            secrets.node_token,
            (Arc::clone(&services.event_log), services.chaos.clone()),
        ));
        tasks.spawn(Arc::clone(&cluster_view).run(closing.clone()));
        let shell = Shell {
            policy: Policy::new(settings.http_allow_host.clone(), secrets.token.is_some()),
            token: secrets.token,
            limits: Limits {
                connections: room,
                reserve: RESERVE,
                timeout: settings.client_timeout,
                max_body: http::MAX_BODY,
            },
            reject: http::reject,
        };
        let state = Http {
            kv_service,
            uncounted,
            has_token: shell.token.is_some(),
            watchers: Arc::new(Semaphore::new((room / 2).max(1))),
            gauges: Arc::clone(&services.gauges),
            endpoint: services.endpoint.clone(),
            cluster_view,
            chaos: services.chaos.clone(),
        };
        let routes = http::router(state, &shell);
        let open = metrics.http_connections.clone();
        let count = move |change| {
            open.inc_by(change);
        };
        tasks.spawn(async move { shell.serve(listener, routes, count, closing).await });
    }
}

/// Runs a future until it ends or `closing` is cancelled.
fn spawn_until(
    tasks: &TaskTracker,
    closing: &CancellationToken,
    future: impl Future<Output = ()> + Send + 'static,
) {
    let future = closing.clone().run_until_cancelled_owned(future);
    tasks.spawn(async {
        let _ = future.await;
    });
}
