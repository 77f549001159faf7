//! Three servers and a proxy, each a process, and what may be done to them.

use crate::{http, process, process::Process, wait::until};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Output,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};
use tempfile::TempDir;

/// The servers' numbers.
pub const NODES: [u64; 3] = [1, 2, 3];
const NAME: &str = "faults";

/// Clusters that share two cores would only show that two cores are few.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where a server is started.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What its command begins with: [`crate::Namespace::entry`], or nothing.
    pub entry: Vec<String>,
    /// Its directory, in place of one in the cluster's.
    pub data_dir: Option<PathBuf>,
    /// The address it listens at, in place of 127.0.0.1.
    pub ip: Option<Ipv4Addr>,
}

/// What is unusual about a cluster.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The servers that are in places of their own.
    pub places: BTreeMap<u64, Place>,
    /// What the proxy's command begins with.
    pub proxy_entry: Vec<String>,
    /// Names that the others know servers by, in place of addresses.
    pub names: BTreeMap<u64, String>,
    /// Whether nothing is sealed.
    pub without_keys: bool,
    /// Whether steps are not written down: what fills a disk would fill a trace many times.
    pub without_traces: bool,
    /// What the servers are told beside the usual.
    pub settings: Vec<String>,
    /// Whether timers are the usual ones of a server, and not ten times as quick.
    pub patient: bool,
}

/// A cluster that runs. Dropped, it is gone; its files stay if the test failed.
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

/// A `raft-client` that runs.
pub struct RunningClient {
    process: Process,
    log: PathBuf,
}

impl RunningClient {
    /// Sends SIGINT and waits for the end. Returns the exit code and the output.
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        self.process.assert_runs();
        self.process.signal(libc::SIGINT);
        let code = self.process.wait().code();
        (code, std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Cluster {
    /// Starts one, and waits until it has a leader.
    pub fn start() -> Self {
        Self::start_as(Shape::default())
    }

    /// Likewise, with more arguments for the servers.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_as(Shape {
            settings: settings.iter().map(|&setting| setting.into()).collect(),
            ..Shape::default()
        })
    }

    /// Starts one that is unusual, and waits until it has a leader.
    pub fn start_as(shape: Shape) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a directory for a cluster cannot be made");
        // All are held until all are found, so that none is found twice.
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
        let doors = listeners.each_ref().map(|listener| listener.local_addr());
        let doors = doors.map(|door| door.expect("a listener has an address"));
        let http = NODES.into_iter().zip(doors).collect();
        let (proxy_udp, proxy_http) = (at(NODES.len()), doors[NODES.len()]);
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

    /// Starts a server that does not run.
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

    /// The directory of a server.
    pub fn data_dir(&self, id: u64) -> PathBuf {
        let place = self.shape.places.get(&id);
        let place = place.and_then(|place| place.data_dir.clone());
        place.unwrap_or_else(|| self.dir().join(format!("node-{id}")))
    }

    /// Runs one more server than there are, which cannot start: with the number and the directory
    /// given, and addresses that nobody has. Returns its exit code and what it said.
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

    /// Starts the proxy, which does not run.
    ///
    /// # Panics
    /// If it does.
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

    /// Kills a server at once (SIGKILL).
    pub fn kill(&mut self, id: u64) {
        self.take(id).kill();
    }

    /// Kills a server that waits for its disk: it ends once `release` made the disk respond.
    pub fn kill_at_its_disk(&mut self, id: u64, release: impl FnOnce()) {
        let mut process = self.take(id);
        process.signal(libc::SIGKILL);
        release();
        process.wait();
    }

    /// Kills all servers, as nearly at once as can be.
    pub fn kill_all(&mut self) {
        for process in self.running.values() {
            process.signal(libc::SIGKILL);
        }
        self.running.clear();
    }

    /// Asks a server to stop, and waits until it did, without a complaint.
    pub fn stop(&mut self, id: u64) {
        let status = self.take(id).stop();
        assert!(
            status.success(),
            "server {id} ended with {status}; see its log"
        );
    }

    /// Asks a server that waits for its disk to stop, and waits until it logged `line`: it ends once
    /// `release` made the disk respond. Returns its exit code.
    pub fn stop_at_its_disk(&mut self, id: u64, line: &str, release: impl FnOnce()) -> Option<i32> {
        let mut process = self.take(id);
        process.signal(libc::SIGTERM);
        until(&format!("server {id} to log {line:?}"), || {
            self.said_by(id).contains(line).then_some(())
        });
        release();
        process.wait().code()
    }

    /// Asks a server to stop, twice at once. Returns its exit code and all it ever said.
    pub fn stop_at_once(&mut self, id: u64) -> (Option<i32>, String) {
        let code = self.take(id).stop_at_once().code();
        (code, self.said_by(id))
    }

    /// Waits until a server ended by itself. Returns its exit code and all it ever said.
    pub fn wait_for_end(&mut self, id: u64) -> (Option<i32>, String) {
        let code = self.take(id).wait().code();
        (code, self.said_by(id))
    }

    /// Whether a server that nobody ended has ended.
    pub fn has_ended(&mut self, id: u64) -> bool {
        let process = self.running.get_mut(&id);
        process.is_none_or(Process::has_ended)
    }

    /// All that a server said.
    pub fn said_by(&self, id: u64) -> String {
        std::fs::read_to_string(self.log(id)).unwrap_or_default()
    }

    /// Asks the proxy to stop, and waits until it did: its exit code.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop_proxy(&mut self) -> Option<i32> {
        let proxy = self.proxy.take().expect("the proxy does not run");
        proxy.stop().code()
    }

    /// The same, asked twice at once; and all it ever said.
    ///
    /// # Panics
    /// If it does not run.
    pub fn stop_proxy_at_once(&mut self) -> (Option<i32>, String) {
        let proxy = self.proxy.take().expect("the proxy does not run");
        let code = proxy.stop_at_once().code();
        let said = std::fs::read_to_string(self.dir().join("proxy.log"));
        (code, said.unwrap_or_default())
    }

    /// Changes where a server is started from now on.
    pub fn place(&mut self, id: u64, place: Place) {
        self.shape.places.insert(id, place);
    }

    fn take(&mut self, id: u64) -> Process {
        self.running
            .remove(&id)
            .unwrap_or_else(|| panic!("server {id} does not run"))
    }

    /// Stops a server without ending it (SIGSTOP): it hears nothing until [`Self::resume`].
    pub fn pause(&self, id: u64) {
        self.running[&id].signal(libc::SIGSTOP);
    }

    /// Lets a server go on (SIGCONT), which does not know that it was stopped.
    pub fn resume(&self, id: u64) {
        self.running[&id].signal(libc::SIGCONT);
    }

    /// Makes a server treat messages by these rules.
    pub fn chaos(&self, id: u64, rules: &Value) {
        let plan = json!({ "seed": id, "rules": rules }).to_string();
        let (code, text) = http::ask(self.http[&id], "PUT", "/chaos", &plan)
            .unwrap_or_else(|error| panic!("server {id} takes no plan of faults: {error}"));
        assert_eq!(code, 204, "server {id} takes no plan of faults: {text}");
    }

    /// What a server says of itself, if it answers.
    pub fn status(&self, id: u64) -> Option<Value> {
        let (code, text) = http::poll(self.http[&id], "/status").ok()?;
        (code == 200).then(|| serde_json::from_str(&text).expect("the status is no JSON"))
    }

    /// Waits for a server's status, and returns the number it has under this name.
    pub fn number(&self, id: u64, name: &str) -> u64 {
        let what = format!("the {name} of server {id}");
        until(&what, || self.status(id)?[name].as_u64())
    }

    /// Waits for a server's metrics, and returns one of them.
    pub fn metric(&self, id: u64, name: &str) -> u64 {
        let what = format!("{name} of server {id}");
        until(&what, || metric(self.http[&id], name))
    }

    /// The most bytes of memory that a server held at once.
    pub fn peak_memory(&self, id: u64) -> u64 {
        self.running[&id].peak_memory()
    }

    /// Waits for the proxy's metrics, and returns one of them.
    pub fn proxy_metric(&self, name: &str) -> u64 {
        let what = format!("{name} of the proxy");
        until(&what, || metric(self.proxy_http, name))
    }

    /// Waits for a server that leads and that a majority follows.
    pub fn leader(&self) -> u64 {
        self.leader_among(&NODES)
    }

    /// Waits for one of these servers to lead, followed by a majority.
    pub fn leader_among(&self, servers: &[u64]) -> u64 {
        until(&format!("a leader among {servers:?}"), || {
            let statuses = self.running.keys().filter(|id| servers.contains(id));
            let statuses = statuses.filter_map(|id| self.status(*id));
            let statuses = Vec::from_iter(statuses);
            let leader = statuses.iter().find(|status| {
                let believe = |other: &&Value| {
                    other["term"] == status["term"] && other["leader"] == status["id"]
                };
                let believers = statuses.iter().filter(believe).count();
                status["role"] == "leader" && believers > NODES.len() / 2
            });
            leader.and_then(|status| status["id"].as_u64())
        })
    }

    /// Waits until a server has a leader again, and has on its disk all that the other one knows
    /// to be committed by now.
    pub fn catches_up(&self, id: u64, other: u64) {
        let committed = self.number(other, "commit_index");
        until(&format!("server {id} to have {committed} entries"), || {
            let status = self.status(id)?;
            let is_there = |name: &str| status[name].as_u64().is_some_and(|at| at >= committed);
            let has_a_leader = !status["leader"].is_null();
            (has_a_leader && is_there("durable_index") && is_there("applied_index")).then_some(())
        });
    }

    /// How to reach the proxy with the clients' key.
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

    /// Runs `raft-client` against the proxy to its end, and returns what it prints.
    pub fn client(&self, arguments: &[String]) -> String {
        let output = self.try_client(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "raft-client {arguments:?}: {errors}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `raft-client` against the proxy to its end, whatever that is.
    pub fn try_client(&self, arguments: &[String]) -> Output {
        let proxy = format!("--endpoints={}", self.proxy_udp);
        self.try_client_at(&[&[proxy], arguments].concat())
    }

    /// Runs `raft-client` to its end, with the endpoints that the arguments name.
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

    /// Where a server hears datagrams.
    pub fn node_udp(&self, id: u64) -> SocketAddr {
        self.udp[&id]
    }

    /// Where a server answers operators.
    pub fn node_http(&self, id: u64) -> SocketAddr {
        self.http[&id]
    }

    /// Where the proxy hears datagrams.
    pub fn proxy_udp(&self) -> SocketAddr {
        self.proxy_udp
    }

    /// A directory for what a test writes.
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

    /// That no process ended which nobody ended.
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
