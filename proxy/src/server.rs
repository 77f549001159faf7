//! Assembles a proxy in stages, and shuts it down in order.
//!
//! ```text
//!   Secrets ──► Bound ──► Cluster ──► Services ──► Frontends
//!   files       sockets   servers     driver,      HTTP, Redis
//!                         (embedded)  session pool
//! ```
//!
//! The signature of each stage lists the earlier stages that it needs. Stages that can fail come
//! first: `Secrets` and `Bound` start nothing, and `Cluster` stops the servers that it has started if
//! another one fails. `Services` and `Frontends` cannot fail, so no failure leaves a part running.

mod bound;
mod cluster;
mod frontends;
mod secrets;
mod services;

use crate::{
    driver::Ending,
    embedded::Embedded,
    gauges::Gauges,
    peers,
    settings::{Settings, addresses_by_server},
};
use anyhow::Context as _;
use bound::Bound;
use client::pool::Pool;
use cluster::Cluster;
use frontends::Frontends;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use secrets::Secrets;
use services::Services;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use transport::Faults;

/// The timeout for closing the sessions during a shutdown.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// A running proxy.
pub struct Server {
    /// The address of the UDP socket.
    pub udp: SocketAddr,
    /// The address of the HTTP listener, if enabled.
    pub http: Option<SocketAddr>,
    /// The address of the Redis listener, if enabled.
    pub redis: Option<SocketAddr>,
    /// The embedded servers, if configured.
    pub embedded: Option<Embedded>,
    /// The counters and gauges of the driver.
    pub gauges: Arc<Gauges>,
    /// Whether fault injection is enabled.
    pub chaos: bool,
    drain: Duration,
    pool: Pool,
    ending: Ending,
    /// The connections and other tasks that a shutdown waits for.
    tasks: TaskTracker,
    driver: JoinHandle<()>,
    resolver: JoinHandle<()>,
}

/// The fault plans of a proxy with fault injection.
#[derive(Clone, Default)]
struct FaultPlans {
    /// Shared by the embedded servers.
    servers: Faults,
    /// Of the proxy's socket.
    proxy: Faults,
}

impl Server {
    /// Starts a proxy. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the settings are inconsistent, a secret cannot be read, an address is in use, or an embedded
    /// server does not start. Nothing is left running then.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        let peers = addresses_by_server(&settings.peers, "--peer")?;
        peers::check(settings.listen, &peers).await?;
        let seed = settings.environment.seed();
        let seed = seed.context("the system provides no random numbers")?;
        let mut random = StdRng::from_seed(seed);
        let faults = settings.chaos.then(FaultPlans::default);
        let secrets = Secrets::read(&settings).await?;
        let bound = Bound::bind(&settings, &secrets.keys, faults.as_ref()).await?;
        let cluster = Cluster::start(&settings, &secrets.keys, faults.as_ref()).await?;
        let services = Services::start(&settings, bound.endpoint, &cluster, faults, &mut random);
        let frontends = Frontends {
            settings: &settings,
            secrets,
            services: &services,
            sources: cluster.sources,
            cursors: random.random(),
        };
        let (udp, http, redis) = (bound.udp, bound.http.address(), bound.redis.address());
        let tasks = frontends.start(bound.http, bound.redis);
        Ok(Self {
            udp,
            http,
            redis,
            embedded: cluster.embedded,
            gauges: services.gauges,
            chaos: services.chaos.is_some(),
            drain: settings.drain,
            pool: services.pool,
            ending: services.ending,
            tasks,
            driver: services.driver,
            resolver: services.resolver,
        })
    }

    /// Stops the proxy: rejects new operations, finishes pending operations, and then ends, all within
    /// the configured timeout.
    pub async fn stop(self) {
        self.ending.refuse.cancel();
        self.tasks.close();
        let finish = async {
            self.tasks.wait().await;
            self.pool.close(CLOSE_PATIENCE).await;
            self.ending.end.cancel();
            let _ = self.driver.await;
        };
        if tokio::time::timeout(self.drain, finish).await.is_err() {
            tracing::warn!(
                "some operations did not finish within --drain; their outcome is unknown"
            );
        }
        self.resolver.abort();
        if let Some(embedded) = &self.embedded {
            embedded.stop().await;
        }
    }

    /// Waits until a vital component fails.
    pub async fn failed(&self) -> anyhow::Error {
        match &self.embedded {
            Some(embedded) => embedded.failed().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::{
        net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
        path::Path,
    };

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    /// The settings of a proxy with three embedded servers, on fixed ports of this address.
    fn settings(address: IpAddr, data_dir: &Path) -> Settings {
        let line = format!(
            "raft-proxy --embedded 3 --listen {address}:7000 --http {address}:8080 --redis \
             {address}:6379"
        );
        let mut settings = Line::try_parse_from(line.split(' ')).unwrap().settings;
        settings.data_dir = data_dir.to_owned();
        settings
    }

    /// An address of the loopback interface that no other test process uses.
    fn loopback_address() -> IpAddr {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, a | 0x80, b, c).into()
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        let result = tokio::time::timeout(Duration::from_secs(60), future).await;
        result.expect("not within a minute")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn failed_stage_stops_what_the_stages_before_it_started() {
        let (address, dir) = (loopback_address(), tempfile::tempdir().unwrap());
        // A file in place of the directory: server 3 cannot start, after servers 1 and 2 have started.
        let obstacle = dir.path().join("node-3");
        std::fs::write(&obstacle, "").unwrap();
        let failed = Server::start(settings(address, dir.path())).await;
        let error = failed.err().expect("server 3 has no directory");
        assert!(format!("{error:#}").contains("server 3"), "{error:#}");
        // The listeners are closed now, and the UDP socket as soon as its tasks have ended.
        for port in [8080, 6379] {
            TcpListener::bind((address, port)).unwrap();
        }
        within(async {
            while UdpSocket::bind((address, 7000)).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // Servers 1 and 2 have released their directories, which only one process may use.
        std::fs::remove_file(&obstacle).unwrap();
        let server = Server::start(settings(address, dir.path())).await.unwrap();
        within(server.stop()).await;
    }
}
