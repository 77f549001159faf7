//! Three servers and a proxy, each in a separate network namespace, joined by a bridge: networks with
//! a smaller MTU than Ethernet.
//!
//! The thread that creates a [`Network`] moves into a new network namespace, which contains the
//! bridge; clients of the test run there, too. The rest of the machine is unaffected, and everything
//! is gone with the last process in it. This requires root and iproute2. Without them the test fails:
//! a skip would hide that nothing was tested.

use crate::{
    binaries, http,
    process::{self, Process},
    wait::until,
};
use status::{Role, Status};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;

/// The ids of the servers.
const SERVERS: [u64; 3] = [1, 2, 3];
const PROXY: u64 = 4;
const UDP: u16 = 7000;
const HTTP: u16 = 8000;
const ADVICE: &str = "run this test as root, with iproute2 and util-linux installed \
    (apt-get install iproute2 util-linux); in a container, add the capability SYS_ADMIN";

/// Only one at a time, because two cores are too few for more.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A cluster on a network of its own. Dropping it removes both.
pub struct Network {
    servers: BTreeMap<u64, Process>,
    _proxy: Option<Process>,
    /// The processes that hold the namespaces.
    holders: BTreeMap<u64, Child>,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Network {
    /// Starts a cluster on links with this MTU in bytes, including IP headers, and waits until it has
    /// a leader.
    ///
    /// # Panics
    /// Without the permission to create network namespaces.
    pub fn start(mtu: u32) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the call does not access our memory. Only this thread moves.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        let error = io::Error::last_os_error();
        assert_eq!(
            moved, 0,
            "no network namespace can be made ({error}): {ADVICE}"
        );
        ip("link set lo up");
        ip("link add bridge type bridge");
        ip("addr add 10.77.0.254/24 dev bridge");
        ip("link set bridge up");
        let mut network = Self {
            servers: BTreeMap::new(),
            _proxy: None,
            holders: BTreeMap::new(),
            dir: tempfile::tempdir().expect("a directory for a cluster cannot be made"),
            _turn: turn,
        };
        for key in ["cluster.key", "client.key"] {
            let made = process::run("raft-node", &["keygen".to_owned(), network.file(key)]);
            let errors = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "no key: {errors}");
        }
        for id in SERVERS.into_iter().chain([PROXY]) {
            network.join(id);
            network.set_mtu(id, mtu);
        }
        for id in SERVERS {
            network.restart(id);
        }
        let arguments = [
            format!("--listen={}", at(PROXY, UDP)),
            "--http=off".to_owned(),
            "--redis=off".to_owned(),
            "--attempt-timeout=150ms".to_owned(),
        ];
        network._proxy = Some(network.run(PROXY, "raft-proxy", &arguments));
        network.leader();
        network
    }

    /// Creates the namespace of a process and joins it to the bridge.
    fn join(&mut self, id: u64) {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare does not start ({error}): {ADVICE}"));
        let pid = holder.id();
        self.holders.insert(id, holder);
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("no namespace");
        until("a network namespace", || {
            let its = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (its != own).then_some(())
        });
        ip(&format!(
            "link add port{id} type veth peer name eth0 netns {pid}"
        ));
        ip(&format!("link set port{id} master bridge up"));
        self.inside(id, &format!("ip addr add 10.77.0.{id}/24 dev eth0"));
        self.inside(id, "ip link set lo up");
        self.inside(id, "ip link set eth0 up");
    }

    /// Sets the MTU in bytes, including IP headers, at both ends of a process's link: the sender
    /// rejects larger packets.
    pub fn set_mtu(&self, id: u64, mtu: u32) {
        self.set_port_mtu(id, mtu);
        self.inside(id, &format!("ip link set eth0 mtu {mtu}"));
    }

    /// Sets the MTU at the bridge's end of the link only: larger packets to the process are lost
    /// silently.
    pub fn set_port_mtu(&self, id: u64, mtu: u32) {
        ip(&format!("link set port{id} mtu {mtu}"));
    }

    /// Starts a stopped server.
    pub fn restart(&mut self, id: u64) {
        let arguments = [
            format!("--id={id}"),
            format!("--listen={}", at(id, UDP)),
            format!("--http={}", at(id, HTTP)),
            format!(
                "--data-dir={}",
                self.dir.path().join(format!("node-{id}")).display()
            ),
        ];
        let process = self.run(id, "raft-node", &arguments);
        self.servers.insert(id, process);
    }

    fn run(&self, id: u64, program: &str, arguments: &[String]) -> Process {
        let mut arguments = Vec::from(arguments);
        arguments.push("--insecure".to_owned());
        arguments.push(format!("--key-file={}", self.file("cluster.key")));
        arguments.push(format!("--client-key-file={}", self.file("client.key")));
        for server in SERVERS {
            arguments.push(format!("--peer={server}={}", at(server, UDP)));
        }
        let log = self.dir.path().join(format!("{id}.log"));
        Process::start(&self.entry(id), program, program, &arguments, &log)
    }

    /// Stops a server, and waits for its exit.
    pub fn stop(&mut self, id: u64) {
        let process = self.servers.remove(&id).expect("it does not run");
        let status = process.stop();
        assert!(status.success(), "{status}: {}", self.log(id));
    }

    /// The log of a process.
    pub fn log(&self, id: u64) -> String {
        let path = self.dir.path().join(format!("{id}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// The status of a server, if it responds.
    pub fn status(&self, id: u64) -> Option<Status> {
        http::status(at(id, HTTP))
    }

    /// Waits for a leader, and returns it with its term.
    pub fn leader(&self) -> (u64, u64) {
        until("a leader", || {
            let leads = |id: &u64| {
                let status = self.status(*id)?;
                (status.role == Role::Leader).then_some((*id, status.term))
            };
            SERVERS.iter().find_map(leads)
        })
    }

    /// Waits until a server has applied everything that another server knows to be committed now.
    pub fn catches_up(&self, id: u64, other: u64) {
        let committed = until("a commit index", || Some(self.status(other)?.commit_index));
        until(&format!("server {id} to have {committed} entries"), || {
            (self.status(id)?.applied_index >= committed).then_some(())
        });
    }

    /// A metric of a server; 0 if the metric does not exist.
    pub fn metric(&self, id: u64, name: &str) -> u64 {
        let text = until("the metrics", || {
            let (code, text) = http::poll(at(id, HTTP), "/metrics").ok()?;
            (code == 200).then_some(text)
        });
        let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or(0)
    }

    /// The maximum datagram length from one server to another.
    pub fn datagram_bytes(&self, from: u64, to: u64) -> u64 {
        self.metric(from, &format!("raft_datagram_bytes{{peer=\"{to}\"}}"))
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Client options for the namespace of the bridge.
    ///
    /// # Panics
    /// If the clients' key cannot be read.
    pub fn options(&self) -> client::Options {
        let key = client::Key::read(self.file("client.key"));
        client::Options {
            keys: client::Keys {
                cluster: None,
                client: Some(key.expect("the clients' key cannot be read")),
            },
            endpoints: vec![at(PROXY, UDP).to_string()],
            ..client::Options::default()
        }
    }

    /// Runs `raft-client` in the namespace of the proxy, and returns its output.
    pub fn client(&self, words: &[&str]) -> String {
        let entry = self.entry(PROXY);
        let output = Command::new(&entry[0])
            .args(&entry[1..])
            .arg(binaries::path("raft-client"))
            .arg(format!("--endpoints={}", at(PROXY, UDP)))
            .arg(format!("--client-key-file={}", self.file("client.key")))
            .args(words)
            .output()
            .expect("raft-client does not start");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn entry(&self, id: u64) -> Vec<String> {
        let target = self.holders[&id].id().to_string();
        Vec::from(["nsenter", "--net", "--target", &target, "--"].map(str::to_owned))
    }

    fn inside(&self, id: u64, line: &str) {
        let entry = self.entry(id);
        let words = entry.iter().map(String::as_str).chain(line.split(' '));
        succeed(&words.collect::<Vec<_>>());
    }

    /// The directory of the cluster's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for id in SERVERS.into_iter().chain([PROXY]) {
                let log = self.log(id);
                let last = Vec::from_iter(log.lines().rev().take(15));
                let last = Vec::from_iter(last.into_iter().rev());
                eprintln!("-- process {id}:\n{}", last.join("\n"));
            }
        }
        for holder in self.holders.values_mut() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

fn at(id: u64, port: u16) -> SocketAddr {
    format!("10.77.0.{id}:{port}").parse().expect("an address")
}

fn ip(line: &str) {
    let words = ["ip"].into_iter().chain(line.split(' '));
    succeed(&words.collect::<Vec<_>>());
}

fn succeed(words: &[&str]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{} does not start ({error}): {ADVICE}", words[0]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}: {ADVICE}");
}
