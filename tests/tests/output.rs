//! Programs whose output cannot be written, whose terminal is closed, or whose environment comes from
//! a compose file.

use harness::{
    binaries,
    wait::{self, until},
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd, unix::process::CommandExt as _},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A child process that ends with its test, even if the test fails.
struct Spawned(Child);

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy with one embedded server, on free ports.
struct Proxy {
    child: Spawned,
    http: SocketAddr,
    redis: SocketAddr,
    _dir: TempDir,
}

impl Proxy {
    fn start(setup: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().expect("a directory cannot be made");
        let [udp, http, redis] = [(); 3].map(|()| free_port());
        let mut command = Command::new(binaries::path("raft-proxy"));
        command
            .args(["--embedded", "1"])
            .args(["--listen", &format!("127.0.0.1:{udp}")])
            .args(["--http", &format!("127.0.0.1:{http}")])
            .args(["--redis", &format!("127.0.0.1:{redis}")])
            .arg("--data-dir")
            .arg(dir.path())
            .stdin(Stdio::null());
        setup(&mut command);
        let [http, redis] = [http, redis].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let child = Spawned(command.spawn().expect("the proxy does not start"));
        Self {
            child,
            http,
            redis,
            _dir: dir,
        }
    }

    /// Waits until a write succeeds.
    fn assert_serves(&mut self) {
        until("the proxy to accept a write", || {
            let ended = self.child.0.try_wait().expect("a child can be asked for");
            assert_eq!(ended, None, "the proxy ended");
            let answer = request(self.http, "PUT", "/v1/kv/x", "1").ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
    }

    /// Writes one key this number of times. Each write begins after the previous one has ended, so
    /// each is a separate entry in the server's log.
    fn write_one_by_one(&self, count: usize) {
        let mut stream = TcpStream::connect(self.redis).expect("it listens");
        let timeout = Some(wait::DEADLINE);
        stream.set_read_timeout(timeout).expect("a time to wait");
        let command = b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1\r\n1\r\n";
        let reply = b"+OK\r\n";
        stream.write_all(&command.repeat(count)).expect("it reads");
        let mut replies = vec![0; reply.len() * count];
        stream.read_exact(&mut replies).expect("it replies");
        assert_eq!(replies, reply.repeat(count));
    }

    /// Sends a signal and waits for the exit code.
    fn stop(&mut self, signal: i32) -> Option<i32> {
        send(&self.child.0, signal);
        let status = until("the proxy to stop", || {
            self.child.0.try_wait().expect("a child can be asked for")
        });
        status.code()
    }
}

/// A port that is free for UDP and for TCP.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("no port is free");
        let port = udp.local_addr().expect("it is bound").port();
        // A connection of another test may use the same port.
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn send(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a process number is small");
    // SAFETY: kill(2) does not access our memory, and the child was not waited for.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

fn request(at: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn full() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has /dev/full")
}

/// The write end of a pipe whose reader has exited.
fn closed_pipe() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe cannot be made");
    drop(reader);
    writer.into()
}

#[test]
fn full_disk_behind_the_output_stops_nothing() {
    let mut proxy = Proxy::start(|command| {
        command.stdout(full()).stderr(full());
    });
    proxy.assert_serves();
    assert_eq!(proxy.stop(libc::SIGTERM), Some(0));
}

#[test]
fn exited_reader_of_the_output_stops_nothing() {
    let mut proxy = Proxy::start(|command| {
        command.stdout(closed_pipe()).stderr(closed_pipe());
    });
    proxy.assert_serves();
    assert_eq!(proxy.stop(libc::SIGTERM), Some(0));
}

/// A full pipe whose reader does not read: the read end and the write end.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe cannot be made");
    let set_flags = |flags: libc::c_int| {
        // SAFETY: F_SETFL takes an integer and does not access our memory.
        let result = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    };
    set_flags(libc::O_NONBLOCK);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    while (&writer).write(b"\n").is_ok() {}
    // The child shares the flags: its writes must block, as with any pipe.
    set_flags(0);
    (reader, writer)
}

#[test]
fn reader_that_stopped_reading_delays_nothing() {
    let (_unread, writer) = full_pipe();
    let mut proxy = Proxy::start(|command| {
        command.stdout(Stdio::null()).stderr(writer);
    });
    for _ in 0..20 {
        proxy.assert_serves();
    }
    assert_eq!(proxy.stop(libc::SIGTERM), Some(0));
}

/// Each write causes at least two lines at the level `trace`, and the queue has room for 8,192 lines.
const WRITES_TO_FILL_THE_QUEUE: usize = 5_000;

#[test]
fn full_queue_of_log_lines_does_not_delay_the_end() {
    for is_same_pipe in [false, true] {
        let (_unread, stderr) = full_pipe();
        let stdout = if is_same_pipe {
            Stdio::from(stderr.try_clone().expect("a descriptor is free"))
        } else {
            full().into()
        };
        let mut proxy = Proxy::start(|command| {
            command
                .env("RUST_LOG", "trace")
                .stdout(stdout)
                .stderr(stderr);
        });
        proxy.assert_serves();
        proxy.write_one_by_one(WRITES_TO_FILL_THE_QUEUE);
        assert_eq!(proxy.stop(libc::SIGTERM), Some(0), "{is_same_pipe}");
    }
}

/// Waits until a server of `raft-checker` responds to a request with 200.
fn assert_explores(child: &mut Child, at: SocketAddr, path: &str) {
    until("the explorer to answer", || {
        let ended = child.try_wait().expect("a child can be asked for");
        assert_eq!(ended, None, "the explorer ended");
        let answer = request(at, "GET", path, "").ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn unwritable_output_does_not_end_the_explorer() {
    let explore = |engine: &str, path: &str, stdout: Stdio, stderr: Stdio, stops: bool| {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = Command::new(binaries::path("raft-checker"))
            .args(["explore", "--scope", "elections", "--engine", engine])
            .args(["--address", &at.to_string()])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn();
        let mut child = Spawned(child.expect("the explorer does not start"));
        assert_explores(&mut child.0, at, path);
        send(&child.0, libc::SIGTERM);
        let status = until("the explorer to stop", || {
            child.0.try_wait().expect("a child can be asked for")
        });
        if stops {
            assert_eq!(status.code(), Some(0));
        }
    };
    let (_unread, writer) = full_pipe();
    let copy = || Stdio::from(writer.try_clone().expect("a descriptor is free"));
    for (engine, path, stops) in [
        ("built-in", "/api/app", true),
        ("stateright", "/.status", false),
    ] {
        explore(engine, path, full().into(), full().into(), stops);
        explore(engine, path, closed_pipe(), closed_pipe(), stops);
        explore(engine, path, copy(), copy(), stops);
    }
}

/// Sets the disposition of SIGHUP for a program, regardless of the disposition in the test process.
fn set_hang_up(command: &mut Command, disposition: libc::sighandler_t) {
    // SAFETY: signal(2) is async-signal-safe, and the child has only this thread.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGHUP, disposition);
            Ok(())
        });
    }
}

#[test]
fn closed_terminal_stops_in_good_order_unless_it_is_ignored() {
    let mut proxy = Proxy::start(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        set_hang_up(command, libc::SIG_DFL);
    });
    proxy.assert_serves();
    assert_eq!(proxy.stop(libc::SIGHUP), Some(0));
    let mut log = String::new();
    let mut stderr = proxy.child.0.stderr.take().expect("it is a pipe");
    stderr.read_to_string(&mut log).expect("the log is text");
    assert!(log.contains("SIGHUP"), "{log}");

    let mut proxy = Proxy::start(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Like `nohup`.
        set_hang_up(command, libc::SIG_IGN);
    });
    proxy.assert_serves();
    send(&proxy.child.0, libc::SIGHUP);
    proxy.assert_serves();
    assert_eq!(proxy.stop(libc::SIGTERM), Some(0));
}

#[test]
fn environment_may_be_empty_or_spell_true_in_several_ways() {
    let mut proxy = Proxy::start(|command| {
        command
            .env("RAFT_CHAOS", "yes")
            .env("RAFT_INSECURE", "0")
            .env("RAFT_KEY_FILE", "")
            .env("RAFT_DRAIN", "")
            .env("RAFT_PEER", "")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    });
    proxy.assert_serves();
    let answer = request(proxy.http, "GET", "/v1/chaos", "").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(proxy.stop(libc::SIGTERM), Some(0));
}

fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(binaries::path(program))
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program does not start")
}

#[test]
fn proxy_that_cannot_start_says_why_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory cannot be made");
    let not_a_dir = dir.path().join("file");
    File::create(&not_a_dir).expect("a file can be made");
    let data_dir = not_a_dir.to_str().expect("the path is text");
    let embedded = ["--embedded", "1", "--listen=127.0.0.1:0", "--redis=off"];
    let with = |more: &[&'static str]| [&embedded, more].concat();
    let mut in_a_file = with(&["--http=127.0.0.1:0", "--data-dir"]);
    in_a_file.push(data_dir);
    for (arguments, variables) in [
        (vec![], vec![]),
        (with(&["--http=192.0.2.1:1"]), vec![]),
        (with(&["--http=127.0.0.1:0"]), vec![("RUST_LOG", "a=b=c")]),
        (in_a_file, vec![]),
    ] {
        let output = run("raft-proxy", &arguments, &variables);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains("Caused by"), "{said}");
        assert!(!said.contains("Error: "), "{said}");
    }
}

#[test]
fn flags_in_the_environment_refuse_other_words() {
    let output = run(
        "raft-proxy",
        &["--embedded", "1"],
        &[("RAFT_CHAOS", "maybe")],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("maybe"), "{said}");
}

#[test]
fn stray_datagrams_and_a_full_log_disk_stop_no_server() {
    let dir = tempfile::tempdir().expect("a directory cannot be made");
    let port = free_port();
    let http = free_port();
    let child = Command::new(binaries::path("raft-node"))
        .args(["--id", "1", "--peer", &format!("1=127.0.0.1:{port}")])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--http", &format!("127.0.0.1:{http}")])
        .arg("--data-dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(full())
        .stderr(full())
        .spawn();
    let mut child = Spawned(child.expect("the server does not start"));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
    until("the server to be ready", || {
        let answer = request(http, "GET", "/readyz", "").ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
    let stray = UdpSocket::bind("127.0.0.1:0").expect("no port is free");
    for _ in 0..100 {
        let sent = stray.send_to(b"stray", ("127.0.0.1", port));
        sent.expect("a datagram can be sent");
    }
    let answer = request(http, "GET", "/readyz", "").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    send(&child.0, libc::SIGTERM);
    let status = until("the server to stop", || {
        child.0.try_wait().expect("a child can be asked for")
    });
    assert_eq!(status.code(), Some(0));
}
