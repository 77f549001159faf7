//! The start of a server: opens its directory, its log and its sockets, and starts its threads.

mod build;

use crate::{
    addresses::{self, AddressAlerts},
    config::Config,
    error::{Failure, StartError},
    node::{Ended, Inner, Node, WakeOnDrop},
    observability::http,
    peers,
    runtime::{event_loop::EventLoop, poller::Poller},
    storage::wal::Directory,
};
use build::{OpenDisk, Started, build, listen_error, open_wal};
use std::{io, sync::Arc, thread, time::Instant};
use tokio::{
    sync::{Mutex, oneshot, watch},
    time,
};
use web::site::Policy;

impl Node {
    /// Starts a server: reads its log, opens its sockets, and waits for a leader as a follower.
    /// Call it within a tokio runtime, which serves HTTP and resolves names; the server itself runs
    /// on threads of its own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        Self::start_with(config, open_wal).await
    }

    /// Starts a server on a disk supplied by the caller. `open` is called on the server's own
    /// thread.
    pub(crate) async fn start_with(
        config: Config,
        open: impl OpenDisk<Directory> + Send + 'static,
    ) -> Result<Self, StartError> {
        addresses::check(&config).await?;
        let http = match config.http {
            Some(address) => Some(http::listen(address).await?),
            None => None,
        };
        let access = http::Access {
            token: config.http_token.clone(),
            policy: Policy::new(config.http_allow_host.clone(), config.http_token.is_some()),
            faults: config.faults.clone(),
        };
        let names = config.peers.clone();
        let (id, listen) = (config.id, config.listen);
        let alerts = Arc::<AddressAlerts>::default();
        let for_driver = Arc::clone(&alerts);
        let span = move || tracing::info_span!("node", %id);
        let slow_disk = config.slow_disk;
        let (started, mut starting) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        thread::Builder::new()
            .name(format!("raft-{id}"))
            .spawn(move || {
                let _ending = Ending(end.clone());
                let span = span();
                let _entered = span.enter();
                let result = drive(config, open, for_driver, started);
                if let Some(result) = result {
                    end.send_replace(Some(result.map_err(Arc::new)));
                }
            })
            .map_err(StartError::Thread)?;
        let begun = Instant::now();
        let started = match time::timeout(slow_disk, &mut starting).await {
            Ok(started) => started,
            Err(_) => {
                tracing::warn!(
                    node = %id,
                    seconds = slow_disk.as_secs(),
                    "opening the data directory is slow: the log is large or the disk does not respond; check the disk and the kernel's log"
                );
                let started = starting.await;
                let seconds = begun.elapsed().as_secs();
                tracing::info!(node = %id, seconds, "the data directory is open");
                started
            }
        };
        let started = started
            .map_err(|_| StartError::Thread(io::Error::other("it panicked: see the log")))??;
        let inner = Arc::new(Inner {
            id,
            commands: started.commands,
            waker: WakeOnDrop(started.waker),
            ended,
            address: started.address,
            http: http.as_ref().map(|(_, address)| *address),
            liveness: started.liveness,
            metrics: started.metrics,
            fault_switch: started.fault_switch,
            helpers: Mutex::default(),
        });
        // The helper tasks hold no handle: they must not keep the server running.
        let weak = Arc::downgrade(&inner);
        let mut helpers = inner.helpers.lock().await;
        let own = (id, listen);
        helpers.spawn(peers::resolve(own, names, weak.clone(), alerts, span()));
        if let Some((listener, _)) = http {
            helpers.spawn(http::serve(listener, weak, access));
        }
        drop(helpers);
        Ok(Self { inner })
    }
}

/// Reports that the thread ended, even after a panic.
struct Ending(watch::Sender<Option<Ended>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_if_modified(|ended| {
            let unexpected = ended.is_none();
            if unexpected {
                *ended = Some(Err(Arc::new(Failure::Panicked)));
            }
            unexpected
        });
    }
}

/// The main function of the server's thread. `None` if the server did not start.
fn drive(
    config: Config,
    open: impl OpenDisk<Directory>,
    alerts: Arc<AddressAlerts>,
    started: oneshot::Sender<Result<Started, StartError>>,
) -> Option<Result<(), Failure>> {
    let (event_loop, handed_out) = match prepare(&config, open, alerts) {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = started.send(Err(error));
            return None;
        }
    };
    if started.send(Ok(handed_out)).is_err() {
        // The caller dropped the future of the start.
        return None;
    }
    let second = thread::Builder::new().name(format!("raft-{}-b", config.id));
    Some(event_loop.run(second))
}

fn prepare(
    config: &Config,
    open: impl OpenDisk<Directory>,
    alerts: Arc<AddressAlerts>,
) -> Result<(EventLoop, Started), StartError> {
    tracing::info!(directory = %config.data_dir.display(), "opening the data directory");
    let files = Arc::new(Directory::open(&config.data_dir)?);
    let failed = |error: rustix::io::Errno| listen_error(config, error.into());
    let poller = Poller::new().map_err(failed)?;
    let (driver, started) = build(config, files, open, alerts, poller.waker())?;
    let socket = driver.descriptor();
    let socket = socket.ok_or_else(|| listen_error(config, io::ErrorKind::Unsupported.into()))?;
    poller.add(socket).map_err(failed)?;
    Ok((EventLoop::new(driver, poller), started))
}

#[cfg(test)]
mod tests;
