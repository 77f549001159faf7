//! Three servers and a proxy as processes, and operations on them.

use crate::{http, process, process::Process, wait::until};
use serde_json::{Value, json};
use status::{Role, Status};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Output,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};
use tempfile::TempDir;

/// The ids of the servers.
pub const NODES: [u64; 3] = [1, 2, 3];
const NAME: &str = "faults";

/// Concurrent clusters on two cores would only show that two cores are too few.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The location of a server.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The prefix of its command: [`crate::Namespace::entry`], or nothing.
    pub entry: Vec<String>,
    /// Its data directory, instead of one in the cluster's directory.
    pub data_dir: Option<PathBuf>,
    /// Its IP address, instead of 127.0.0.1.
    pub ip: Option<Ipv4Addr>,
}

/// Deviations from the default cluster.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The servers with a location of their own.
    pub places: BTreeMap<u64, Place>,
    /// The prefix of the proxy's command.
    pub proxy_entry: Vec<String>,
    /// Host names of servers, instead of addresses.
    pub names: BTreeMap<u64, String>,
    /// Whether datagrams are not sealed.
    pub without_keys: bool,
    /// Whether steps are not traced: a load that fills a disk would fill a trace many times.
    pub without_traces: bool,
    /// Additional arguments of the servers.
    pub settings: Vec<String>,
    /// Whether the servers use their default timers, instead of timers ten times as fast.
    pub patient: bool,
}

/// A running cluster. Dropping it ends all processes; its files remain if the test failed.
pub struct Cluster {
    running: BTreeMap<u64, Process>,
    proxy: Option<Process>,
    udp: BTreeMap<u64, SocketAddr>,
    http: BTreeMap<u64, SocketAddr>,
    proxy_udp: SocketAddr,
    proxy_http: SocketAddr,
    dir: Option<TempDir>,
    shape: Shape,
    _turn: MutexGuard<'static, ()>,
}

/// A running `raft-client`.
pub struct RunningClient {
    process: Process,
    log: PathBuf,
}

impl RunningClient {
    /// Sends SIGINT and waits for the exit. Returns the exit code and the output.
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        self.process.assert_runs();
        self.process.signal(libc::SIGINT);
        let code = self.process.wait().code();
        (code, std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Cluster {
    /// Starts a cluster, and waits until it has a leader.
    pub fn start() -> Self {
        Self::start_as(Shape::default())
    }

    /// Starts a cluster with additional arguments for the servers, and waits until it has a leader.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_as(Shape {
            settings: settings.iter().map(|&setting| setting.into()).collect(),
            ..Shape::default()
        })
    }

    /// Starts a cluster with these deviations, and waits until it has a leader.
    pub fn start_as(shape: Shape) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a directory for a cluster cannot be made");
        // All sockets stay open until all ports are chosen, so that no port is chosen twice.
        let sockets = [(); NODES.len() + 1].map(|()| free(UdpSocket::bind));
        let listeners = [(); NODES.len() + 1].map(|()| free(TcpListener::bind));
        let at = |number: usize| {
            sockets[number]
                .local_addr()
                .expect("a socket has an address")
        };
        let udp = NODES
            .into_iter()
            .zip(0..)
            .map(|(id, number)| (id, at(number)));
        let udp = udp.collect();
        let addresses = listeners.each_ref().map(|listener| listener.local_addr());
        let addresses = addresses.map(|address| address.expect("a listener has an address"));
        let http = NODES.into_iter().zip(addresses).collect();
        let (proxy_udp, proxy_http) = (at(NODES.len()), addresses[NODES.len()]);
        drop((sockets, listeners));
        let mut cluster = Self {
            running: BTreeMap::new(),
            proxy: None,
            udp,
            http,
            proxy_udp,
            proxy_http,
            dir: Some(dir),
            shape,
            _turn: turn,
        };
        for key in ["cluster.key", "client.key"] {
            let arguments = ["keygen".to_owned(), cluster.text(key)];
            let made = process::run("raft-node", &arguments);
            assert!(
                made.status.success(),
                "no key: {}",
                String::from_utf8_lossy(&made.stderr)
            );
        }
        for id in NODES {
            cluster.restart(id);
        }
        cluster.start_proxy();
        cluster.leader();
        cluster
    }

    /// Starts a stopped server.
    pub fn restart(&mut self, id: u64) {
        let place = self.shape.places.get(&id).cloned().unwrap_or_default();
        let data_dir = self.data_dir(id);
        let mut listen = self.udp[&id];
        if let Some(ip) = place.ip {
            listen.set_ip(ip.into());
        }
        let mut arguments = vec![
            format!("--id={id}"),
            format!("--cluster={NAME}"),
            format!("--listen={listen}"),
            format!("--http={}", self.http[&id]),
            format!("--data-dir={}", data_dir.display()),
            "--chaos".into(),
        ];
        if !self.shape.patient {
            arguments.push("--heartbeat=30ms".into());
            arguments.push("--election=150ms..300ms".into());
        }
        arguments.extend_from_slice(&self.shape.settings);
        if !self.shape.without_traces {
            arguments.push(format!("--trace={}", self.trace(id).display()));
        }
        arguments.extend(self.peers_and_keys());
        let name = format!("server {id}");
        let log = self.log(id);
        let process = Process::start(&place.entry, "raft-node", &name, &arguments, &log);
        assert!(
            self.running.insert(id, process).is_none(),
            "{name} runs already"
        );
    }

    /// The data directory of a server.
    pub fn data_dir(&self, id: u64) -> PathBuf {
        let place = self.shape.places.get(&id);
        let place = place.and_then(|place| place.data_dir.clone());
        place.unwrap_or_else(|| self.dir().join(format!("node-{id}")))
    }

    /// Runs an additional server that cannot start, with this id and directory, and with unused
    /// addresses. Returns its exit code and its log.
    pub fn run_server(&self, id: u64, cluster: &str, data_dir: &Path) -> (Option<i32>, String) {
        let place = self.shape.places.get(&id);
        let entry = place.map_or(&[][..], |place| &place.entry);
        let mut arguments = vec![
            format!("--id={id}"),
            format!("--cluster={cluster}"),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--data-dir={}", data_dir.display()),
        ];
        arguments.extend(self.peers_and_keys());
        let log = self.dir().join("one-more.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start(entry, "raft-node", "one more", &arguments, &log);
        let status = process.wait();
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        (status.code(), said)
    }

    /// Starts the stopped proxy.
    ///
    /// # Panics
    /// If it is running.
    pub fn start_proxy(&mut self) {
        assert!(self.proxy.is_none(), "the proxy runs already");
        let mut arguments = vec![
            format!("--cluster={NAME}"),
            format!("--listen={}", self.proxy_udp),
            format!("--http={}", self.proxy_http),
            "--redis=off".into(),
            "--attempt-timeout=150ms".into(),
        ];
        arguments.extend(self.peers_and_keys());
        let log = self.dir().join("proxy.log");
        let process = Process::start(
            &self.shape.proxy_entry,
            "raft-proxy",
            "the proxy",
            &arguments,
            &log,
        );
        self.proxy = Some(process);
    }

    fn peers_and_keys(&self) -> Vec<String> {
        let peers = self
            .udp
            .iter()
            .map(|(id, at)| match self.shape.names.get(id) {
                Some(name) => format!("--peer={id}={name}:{}", at.port()),
                None => format!("--peer={id}={at}"),
            });
        let mut arguments = Vec::from_iter(peers);
        if self.shape.without_keys {
            return arguments;
        }
        arguments.push(format!("--key-file={}", self.text("cluster.key")));
        arguments.push(format!("--client-key-file={}", self.text("client.key")));
        arguments
    }

    /// Kills a server immediately (SIGKILL).
    pub fn kill(&mut self, id: u64) {
        self.take(id).kill();
    }

    /// Kills a server that waits for its disk: it ends after `release` has made the disk respond.
    pub fn kill_at_its_disk(&mut self, id: u64, release: impl FnOnce()) {
        let mut process = self.take(id);
        process.signal(libc::SIGKILL);
        release();
        process.wait();
    }

    /// Kills all servers, as close together as possible.
    pub fn kill_all(&mut self) {
        for process in self.running.values() {
            process.signal(libc::SIGKILL);
        }
        self.running.clear();
    }

    /// Stops a server with SIGTERM, and waits for a successful exit.
    pub fn stop(&mut self, id: u64) {
        let status = self.take(id).stop();
        assert!(
            status.success(),
            "server {id} ended with {status}; see its log"
        );
    }

    /// Sends a stop signal to a server that waits for its disk, and waits until it has logged `line`:
    /// it ends after `release` has made the disk respond. Returns its exit code.
    pub fn stop_at_its_disk(&mut self, id: u64, line: &str, release: impl FnOnce()) -> Option<i32> {
        let mut process = self.take(id);
        process.signal(libc::SIGTERM);
        until(&format!("server {id} to log {line:?}"), || {
            self.said_by(id).contains(line).then_some(())
        });
        release();
        process.wait().code()
    }

    /// Sends two stop signals to a server at once. Returns its exit code and its log.
    pub fn stop_with_two_signals(&mut self, id: u64) -> (Option<i32>, String) {
        let code = self.take(id).stop_with_two_signals().code();
        (code, self.said_by(id))
    }

    /// Waits until a server has ended by itself. Returns its exit code and its log.
    pub fn wait_for_end(&mut self, id: u64) -> (Option<i32>, String) {
        let code = self.take(id).wait().code();
        (code, self.said_by(id))
    }

    /// Whether a server has ended by itself.
    pub fn has_ended(&mut self, id: u64) -> bool {
        let process = self.running.get_mut(&id);
        process.is_none_or(Process::has_ended)
    }

    /// The log of a server.
    pub fn said_by(&self, id: u64) -> String {
        std::fs::read_to_string(self.log(id)).unwrap_or_default()
    }

    /// Stops the proxy with a signal, and waits for its exit code.
    ///
    /// # Panics
    /// If it is not running.
    pub fn stop_proxy(&mut self) -> Option<i32> {
        let proxy = self.proxy.take().expect("the proxy does not run");
        proxy.stop().code()
    }

    /// Sends two stop signals to the proxy at once. Returns its exit code and its log.
    ///
    /// # Panics
    /// If it is not running.
    pub fn stop_proxy_with_two_signals(&mut self) -> (Option<i32>, String) {
        let proxy = self.proxy.take().expect("the proxy does not run");
        let code = proxy.stop_with_two_signals().code();
        let said = std::fs::read_to_string(self.dir().join("proxy.log"));
        (code, said.unwrap_or_default())
    }

    /// Changes the location of a server for its next start.
    pub fn place(&mut self, id: u64, place: Place) {
        self.shape.places.insert(id, place);
    }

    fn take(&mut self, id: u64) -> Process {
        self.running
            .remove(&id)
            .unwrap_or_else(|| panic!("server {id} does not run"))
    }

    /// Pauses a server (SIGSTOP): it receives nothing until [`Self::resume`].
    pub fn pause(&self, id: u64) {
        self.running[&id].signal(libc::SIGSTOP);
    }

    /// Resumes a paused server (SIGCONT), which does not know about its pause.
    pub fn resume(&self, id: u64) {
        self.running[&id].signal(libc::SIGCONT);
    }

    /// Applies these fault rules at a server.
    pub fn chaos(&self, id: u64, rules: &Value) {
        let plan = json!({ "seed": id, "rules": rules }).to_string();
        let (code, text) = http::ask(self.http[&id], "PUT", "/chaos", &plan)
            .unwrap_or_else(|error| panic!("server {id} takes no plan of faults: {error}"));
        assert_eq!(code, 204, "server {id} takes no plan of faults: {text}");
    }

    /// The status of a server, if it responds.
    pub fn status(&self, id: u64) -> Option<Status> {
        http::status(self.http[&id])
    }

    /// Waits for a server's status.
    pub fn wait_for_status(&self, id: u64) -> Status {
        until(&format!("the status of server {id}"), || self.status(id))
    }

    /// Waits for a server's metrics, and returns one of them.
    pub fn metric(&self, id: u64, name: &str) -> u64 {
        let what = format!("{name} of server {id}");
        until(&what, || metric(self.http[&id], name))
    }

    /// The peak memory of a server in bytes.
    pub fn peak_memory(&self, id: u64) -> u64 {
        self.running[&id].peak_memory()
    }

    /// Waits for the proxy's metrics, and returns one of them.
    pub fn proxy_metric(&self, name: &str) -> u64 {
        let what = format!("{name} of the proxy");
        until(&what, || metric(self.proxy_http, name))
    }

    /// Waits for a leader with the support of a majority.
    pub fn leader(&self) -> u64 {
        self.leader_among(&NODES)
    }

    /// Waits until one of these servers leads with the support of a majority.
    pub fn leader_among(&self, servers: &[u64]) -> u64 {
        until(&format!("a leader among {servers:?}"), || {
            let statuses = self.running.keys().filter(|id| servers.contains(id));
            let statuses = statuses.filter_map(|id| self.status(*id));
            let statuses = Vec::from_iter(statuses);
            let leader = statuses.iter().find(|status| {
                let believe =
                    |other: &&Status| other.term == status.term && other.leader == Some(status.id);
                let believers = statuses.iter().filter(believe).count();
                status.role == Role::Leader && believers > NODES.len() / 2
            });
            leader.map(|status| status.id)
        })
    }

    /// Waits until a server has a leader again, and has everything on its disk that the other server
    /// knows to be committed now.
    pub fn catches_up(&self, id: u64, other: u64) {
        let committed = self.wait_for_status(other).commit_index;
        until(&format!("server {id} to have {committed} entries"), || {
            let status = self.status(id)?;
            let has_all = status.durable_index.min(status.applied_index) >= committed;
            (status.leader.is_some() && has_all).then_some(())
        });
    }

    /// Client options for the proxy, with the clients' key.
    pub fn options(&self) -> client::Options {
        let key = client::Key::read(self.dir().join("client.key"));
        client::Options {
            endpoints: vec![self.proxy_udp.to_string()],
            cluster: NAME.to_owned(),
            keys: client::Keys {
                cluster: None,
                client: Some(key.expect("the clients' key cannot be read")),
            },
            ..client::Options::default()
        }
    }

    /// Runs `raft-client` against the proxy, and returns its output.
    pub fn client(&self, arguments: &[String]) -> String {
        let output = self.try_client(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "raft-client {arguments:?}: {errors}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `raft-client` against the proxy, regardless of its exit code.
    pub fn try_client(&self, arguments: &[String]) -> Output {
        let proxy = format!("--endpoints={}", self.proxy_udp);
        self.try_client_at(&[&[proxy], arguments].concat())
    }

    /// Runs `raft-client` with the endpoints in the arguments.
    pub fn try_client_at(&self, arguments: &[String]) -> Output {
        process::run("raft-client", &self.client_arguments(arguments))
    }

    /// Starts `raft-client` against the proxy.
    pub fn start_client(&self, arguments: &[String]) -> RunningClient {
        let proxy = format!("--endpoints={}", self.proxy_udp);
        let arguments = self.client_arguments(&[&[proxy], arguments].concat());
        let log = self.dir().join("client.log");
        let process = Process::start(&[], "raft-client", "the client", &arguments, &log);
        RunningClient { process, log }
    }

    fn client_arguments(&self, arguments: &[String]) -> Vec<String> {
        let mut all = vec![
            format!("--cluster={NAME}"),
            format!("--client-key-file={}", self.text("client.key")),
        ];
        all.extend_from_slice(arguments);
        all
    }

    /// Sends an HTTP request to the proxy, and returns the status and the body.
    pub fn ask_proxy(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        http::ask(self.proxy_http, method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path} got no answer of the proxy: {error}"))
    }

    /// The UDP address of a server.
    pub fn node_udp(&self, id: u64) -> SocketAddr {
        self.udp[&id]
    }

    /// The HTTP address of a server.
    pub fn node_http(&self, id: u64) -> SocketAddr {
        self.http[&id]
    }

    /// The UDP address of the proxy.
    pub fn proxy_udp(&self) -> SocketAddr {
        self.proxy_udp
    }

    /// A directory for the files of a test.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("kept until dropped").path()
    }

    /// The trace of a server.
    pub fn trace(&self, id: u64) -> PathBuf {
        self.dir().join(format!("trace-{id}.jsonl"))
    }

    /// The traces of all servers.
    pub fn traces(&self) -> [PathBuf; 3] {
        NODES.map(|id| self.trace(id))
    }

    fn log(&self, id: u64) -> PathBuf {
        self.dir().join(format!("node-{id}.log"))
    }

    fn text(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// Asserts that no process has ended by itself.
    pub fn assert_all_run(&mut self) {
        assert_eq!(
            self.running.len(),
            NODES.len(),
            "all servers were started again"
        );
        self.running
            .values_mut()
            .chain(&mut self.proxy)
            .for_each(Process::assert_runs);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = thread::panicking();
        let mut all = self.running.values_mut().chain(&mut self.proxy);
        if failed && let Some(ended) = all.find_map(Process::ended) {
            eprintln!("{ended}");
        }
        self.running.clear();
        self.proxy = None;
        if failed && let Some(dir) = self.dir.take() {
            eprintln!(
                "logs, traces and disks are kept in {}",
                dir.keep().display()
            );
        }
    }
}

fn free<T>(bind: impl Fn((Ipv4Addr, u16)) -> std::io::Result<T>) -> T {
    bind((Ipv4Addr::LOCALHOST, 0)).expect("no port is free")
}

fn metric(at: SocketAddr, name: &str) -> Option<u64> {
    let (_, text) = http::poll(at, "/metrics").ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}
