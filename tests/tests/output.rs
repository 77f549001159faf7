//! Programs whose output cannot be written, whose terminal is closed, and whose environment is what
//! compose files make of it.

use harness::{binaries, wait::until};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd, unix::process::CommandExt as _},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A proxy with one embedded server, on ports of its own. Dropped, it is killed.
struct Proxy {
    child: Child,
    http: SocketAddr,
    _dir: TempDir,
}

impl Proxy {
    fn start(setup: impl FnOnce(&mut Command)) -> Self {
        let dir = tempfile::tempdir().expect("a directory cannot be made");
        let (udp, http) = (free_port(), free_port());
        let mut command = Command::new(binaries::path("raft-proxy"));
        command
            .args(["--embedded", "1", "--redis", "off"])
            .args(["--listen", &format!("127.0.0.1:{udp}")])
            .args(["--http", &format!("127.0.0.1:{http}")])
            .arg("--data-dir")
            .arg(dir.path())
            .stdin(Stdio::null());
        setup(&mut command);
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        let child = command.spawn().expect("the proxy does not start");
        Self {
            child,
            http,
            _dir: dir,
        }
    }

    /// Waits until a write succeeds.
    fn assert_serves(&mut self) {
        until("the proxy to accept a write", || {
            let ended = self.child.try_wait().expect("a child can be asked for");
            assert_eq!(ended, None, "the proxy ended");
            let answer = request(self.http, "PUT", "/v1/kv/x", "1").ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
    }

    /// Sends a signal and waits for the exit code.
    fn stop(&mut self, signal: i32) -> Option<i32> {
        send(&self.child, signal);
        let status = until("the proxy to stop", || {
            self.child.try_wait().expect("a child can be asked for")
        });
        status.code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("no port is free");
    let port = udp.local_addr().expect("it is bound").port();
    // HTTP needs the same number for TCP.
    TcpListener::bind(("127.0.0.1", port)).expect("the port is taken");
    port
}

fn send(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a process number is small");
    // SAFETY: kill(2) touches no memory of ours, and the child was not waited for.
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

/// The writing end of a pipe whose reader has exited.
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

/// A pipe that is full and whose reader does not read: the reader, and the writing end.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe cannot be made");
    let set_flags = |flags: libc::c_int| {
        // SAFETY: F_SETFL takes an integer and touches no memory of ours.
        let result = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    };
    set_flags(libc::O_NONBLOCK);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    while (&writer).write(b"\n").is_ok() {}
    // The child shares the flags: its writes must wait, as they do with any pipe.
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

#[test]
fn closed_terminal_stops_in_good_order_unless_it_is_ignored() {
    let mut proxy = Proxy::start(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
    });
    proxy.assert_serves();
    assert_eq!(proxy.stop(libc::SIGHUP), Some(0));
    let mut log = String::new();
    let mut stderr = proxy.child.stderr.take().expect("it is a pipe");
    stderr.read_to_string(&mut log).expect("the log is text");
    assert!(log.contains("SIGHUP"), "{log}");

    let mut proxy = Proxy::start(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // As `nohup` does.
        // SAFETY: signal(2) is async-signal-safe, and the child has only this thread.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                Ok(())
            });
        }
    });
    proxy.assert_serves();
    send(&proxy.child, libc::SIGHUP);
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
    let mut child = Command::new(binaries::path("raft-node"))
        .args(["--id", "1", "--peer", &format!("1=127.0.0.1:{port}")])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--http", &format!("127.0.0.1:{http}")])
        .arg("--data-dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(full())
        .stderr(full())
        .spawn()
        .expect("the server does not start");
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
    send(&child, libc::SIGTERM);
    let status = until("the server to stop", || {
        child.try_wait().expect("a child can be asked for")
    });
    assert_eq!(status.code(), Some(0));
}
