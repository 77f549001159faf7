//! Passwords, limits, and connections that stall.

use crate::{
    common::{Redis, get, ready, settings, within},
    line,
};
use proxy::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_ends_the_connection_and_nothing_else() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9"))
        .await
        .unwrap();
    for nonsense in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"*1\r\n".repeat(500_000),
        b"*1000000000\r\n".to_vec(),
        b"*1\r\n$99999999999\r\n".to_vec(),
        b"*1\r\n$-1\r\n".to_vec(),
        b"*-5\r\n".to_vec(),
        b"PING\r\n".to_vec(),
        b"*1\r\n$4\r\nPINGxx".to_vec(),
        vec![0; 1000],
    ] {
        let mut redis = Redis::connect(&server).await;
        // The proxy may close before it has received everything.
        let _ = redis.0.write_all(&nonsense).await;
        let mut first = [0; 4];
        match within(redis.0.read_exact(&mut first)).await {
            Ok(_) => assert_eq!(&first, b"-ERR"),
            // Unread input at the proxy may reset the connection and lose the reply.
            Err(error) => {
                assert!(
                    nonsense.len() > 16_384,
                    "{error}: {}",
                    nonsense.escape_ascii()
                );
            }
        }
    }
    let mut redis = Redis::connect(&server).await;
    redis.say("PING", "+PONG\r\n").await;
    // The commands before the malformed input are answered.
    redis
        .0
        .write_all(b"*1\r\n$4\r\nPING\r\nnonsense")
        .await
        .unwrap();
    let rest = redis.rest().await;
    assert_eq!(
        rest,
        "+PONG\r\n-ERR Protocol error: expected '*', got 'n'\r\n"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn password_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let line = format!(
        "--peer 1=127.0.0.1:9 --redis-password-file {}",
        file.display()
    );
    let server = Server::start(settings(&line)).await.unwrap();
    let mut redis = Redis::connect(&server).await;
    let refused = "-NOAUTH Authentication required: send AUTH and the password\r\n";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    redis.say("PING", refused).await;
    redis.say("GET k", refused).await;
    redis.say("NONSENSE", refused).await;
    redis.say("AUTH wrong", wrong).await;
    redis.say("AUTH nobody sesame", wrong).await;
    redis.say("HELLO 3 AUTH default wrong", wrong).await;
    redis.send("HELLO 3").await;
    redis
        .expect("-NOAUTH HELLO must be called with the client already authenticated")
        .await;
    let rest = ", otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n";
    redis.expect(rest).await;
    // The failed attempts have changed nothing.
    redis
        .say("HELLO 4", "-NOPROTO unsupported protocol version\r\n")
        .await;
    redis.say("PING", refused).await;
    redis.send("HELLO 3 AUTH default sesame SETNAME me").await;
    redis.expect("%7\r\n").await;
    while self::line(&mut redis, false).await != "modules" {}
    redis.expect("*0\r\n").await;
    redis.say("CLIENT GETNAME", "$2\r\nme\r\n").await;
    redis.say("RESET", "+RESET\r\n").await;
    redis.say("PING", refused).await;
    redis.say("AUTH default sesame", "+OK\r\n").await;
    redis.say("CLIENT GETNAME", "$-1\r\n").await;
    redis.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_was_sent_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let (mut idle, mut busy) = (Redis::connect(&server).await, Redis::connect(&server).await);
    idle.say("PING", "+PONG\r\n").await;
    busy.say("SET k 1", "+OK\r\n").await;
    within(server.stop()).await;
    assert_eq!(idle.rest().await, "");
    assert_eq!(busy.rest().await, "");
}

/// Keepalive probes find clients whose machines are gone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_are_probed() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9"))
        .await
        .unwrap();
    let mut redis = Redis::connect(&server).await;
    redis.say("PING", "+PONG\r\n").await;
    let ends = [server.redis.unwrap(), redis.0.local_addr().unwrap()];
    let ports = ends.map(|end| format!(":{:04X}", end.port()));
    // The keepalive timer of the proxy's end: at most a minute, in hundredths of seconds.
    let is_probed = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, remote, _, _, timer, ..] = fields[..] else {
            return false;
        };
        let left = timer.strip_prefix("02:");
        let left = left.and_then(|left| u64::from_str_radix(left, 16).ok());
        local.ends_with(&ports[0])
            && remote.ends_with(&ports[1])
            && left.is_some_and(|left| left <= 6000)
    };
    within(async {
        while !std::fs::read_to_string("/proc/self/net/tcp")
            .unwrap()
            .lines()
            .any(is_probed)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_lock_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let password = format!("--redis-password-file {}", file.display());
    let full = "-ERR max number of clients reached\r\n";
    let unauthenticated = "-ERR max number of unauthenticated clients reached\r\n";
    for (line, evicted) in [("", full), (&password[..], unauthenticated)] {
        let line = format!("--peer 1=127.0.0.1:9 --max-connections 8 {line}");
        let server = Server::start(settings(&line)).await.unwrap();
        let hello = async |redis: &mut Redis| {
            redis.send("HELLO 2 AUTH default sesame").await;
            redis.expect("*14\r\n").await;
            while self::line(redis, false).await != "modules" {}
            redis.expect("*0\r\n").await;
        };
        let mut known = Vec::new();
        for _ in 0..4 {
            let mut redis = Redis::connect(&server).await;
            hello(&mut redis).await;
            known.push(redis);
        }
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(Redis::connect(&server).await);
        }
        // The most recent connections are still open; one more is served.
        for _ in 0..4 {
            let mut redis = Redis::connect(&server).await;
            hello(&mut redis).await;
            known.push(redis);
        }
        for redis in &mut known {
            redis.say("PING", "+PONG\r\n").await;
        }
        for redis in &mut silent {
            let told = redis.rest().await;
            assert_eq!(told, evicted);
        }
        // All clients are known now, so a new client is rejected with an error.
        for sent in [0, 1000].repeat(20) {
            let mut refused = Redis::connect(&server).await;
            let commands = b"*1\r\n$4\r\nPING\r\n".repeat(sent);
            // Unread commands must not cost the client the error message.
            refused.0.write_all(&commands).await.unwrap();
            let told = refused.rest().await;
            assert_eq!(told, full);
        }
        drop(known.pop());
        admitted(&server, "HELLO 2 AUTH default sesame", "*14\r\n").await;
        server.stop().await;
    }
}

/// All clients connect before the first of them gets a turn. On one thread, so that no client can send
/// its commands earlier.
#[tokio::test]
async fn clients_that_come_at_once_are_all_answered() {
    let line = "--peer 1=127.0.0.1:9 --max-connections 64";
    let server = Server::start(settings(line)).await.unwrap();
    let at = server.redis.unwrap();
    let mut connected = Vec::new();
    for _ in 0..60 {
        let stream = std::net::TcpStream::connect(at).unwrap();
        stream.set_nonblocking(true).unwrap();
        connected.push(stream);
    }
    // Half of the connections are open, and the others wait in the backlog. No command has arrived.
    let open = "\nstateraft_proxy_connections{frontend=\"redis\"} 32\n";
    let http = server.http.unwrap();
    let half_accepted = async {
        loop {
            let metrics = get(http, "/metrics").await;
            if metrics.shown().1.contains(open) {
                break;
            }
        }
    };
    within(half_accepted).await;
    let mut clients = Vec::new();
    for stream in connected {
        let mut redis = Redis(tokio::net::TcpStream::from_std(stream).unwrap());
        redis.send("PING").await;
        clients.push(redis);
    }
    for mut redis in clients {
        redis.expect("+PONG\r\n").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn client_without_the_password_gets_a_bounded_number_of_replies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let line = format!(
        "--peer 1=127.0.0.1:9 --client-timeout 1h --redis-password-file {}",
        file.display()
    );
    let server = Server::start(settings(&line)).await.unwrap();
    let refused = "-NOAUTH Authentication required: send AUTH and the password\r\n";
    let mut redis = Redis::connect(&server).await;
    let ping = b"*1\r\n$4\r\nPING\r\n";
    redis.0.write_all(&ping.repeat(999)).await.unwrap();
    redis.expect(&refused.repeat(999)).await;
    // Authentication begins the count again.
    redis.say("AUTH sesame", "+OK\r\n").await;
    redis.say("RESET", "+RESET\r\n").await;
    redis.0.write_all(&ping.repeat(999)).await.unwrap();
    redis.expect(&refused.repeat(999)).await;
    let told = redis.rest().await;
    assert_eq!(told, "-ERR 1000 commands without authentication\r\n");
    server.stop().await;
}

/// A client that is served, after any number of attempts; each attempt begins with this command.
async fn admitted(server: &Server, line: &str, reply: &str) -> Redis {
    within(async {
        loop {
            let mut redis = Redis::connect(server).await;
            redis.send(line).await;
            let mut first = vec![0; reply.len()];
            if redis.0.read_exact(&mut first).await.is_ok() && first == reply.as_bytes() {
                break redis;
            }
        }
    })
    .await
}

/// On one thread, so that the proxy runs whenever the test yields.
#[tokio::test]
async fn unauthenticated_clients_that_take_no_replies_lock_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let line = format!(
        "--peer 1=127.0.0.1:9 --max-connections 4 --client-timeout 1h --redis-password-file {}",
        file.display()
    );
    let server = Server::start(settings(&line)).await.unwrap();
    let refused = "-NOAUTH Authentication required: send AUTH and the password\r\n";
    let mut reader = Redis::connect(&server).await;
    reader.say("PING", refused).await;
    let mut stuck = Vec::new();
    for _ in 0..4 {
        let redis = Redis::connect(&server).await;
        send_until_nothing_is_read(&redis).await;
        stuck.push(redis);
    }
    // If the unauthenticated clients had kept their connections, all would be in use. In the end known
    // clients have all connections.
    let mut known = Vec::new();
    for _ in 0..4 {
        known.push(admitted(&server, "AUTH sesame", "+OK\r\n").await);
    }
    for redis in &mut known {
        redis.say("PING", "+PONG\r\n").await;
    }
    server.stop().await;
}

/// Sends commands and reads no reply, until the proxy blocks on its replies and stops reading, or has
/// closed the connection.
async fn send_until_nothing_is_read(redis: &Redis) {
    let commands = b"*1\r\n$4\r\nPING\r\n".repeat(1000);
    let (mut sent, mut vain) = (0, 0);
    while vain < 1000 {
        match redis.0.try_write(&commands[sent % commands.len()..]) {
            Ok(more) => (sent, vain) = (sent + more, 0),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => vain += 1,
            Err(_) => return,
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_lock_nobody_out() {
    let line = "--peer 1=127.0.0.1:9 --max-connections 8 --evict-idle 0s";
    let server = Server::start(settings(line)).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut redis = Redis::connect(&server).await;
        redis.say("PING", "+PONG\r\n").await;
        idle.push(redis);
    }
    // The proxy rejects the client while no connection counts as idle, which may last until shortly
    // after its reply.
    let mut newcomer = admitted(&server, "PING", "+PONG\r\n").await;
    let mut closed = 0;
    for redis in &mut idle {
        let _ = redis.0.write_all(b"*1\r\n$4\r\nPING\r\n").await;
        let mut reply = [0; 7];
        match within(redis.0.read_exact(&mut reply)).await {
            Ok(_) => assert_eq!(&reply, b"+PONG\r\n"),
            // A connection reset or the end of the stream.
            Err(_) => closed += 1,
        }
    }
    assert_eq!(closed, 1);
    newcomer.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_takes_its_first_reply_makes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1 --max-connections 2").await;
    let value = "v".repeat(200_000);
    let mut writer = Redis::connect(&server).await;
    writer.say(&format!("SET k {value}"), "+OK\r\n").await;
    // Larger than the buffers of two sockets, so the proxy is still writing it after it has begun.
    let mut reader = Redis::connect(&server).await;
    reader.send(&format!("MGET{}", " k".repeat(100))).await;
    assert_eq!(within(reader.0.peek(&mut [0])).await.unwrap(), 1);
    let told = Redis::connect(&server).await.rest().await;
    assert_eq!(told, "-ERR max number of clients reached\r\n");
    let values = format!("$200000\r\n{value}\r\n").repeat(100);
    let expected = format!("*100\r\n{values}");
    let mut reply = vec![0; expected.len()];
    within(reader.0.read_exact(&mut reply)).await.unwrap();
    assert!(reply == expected.as_bytes());
    reader.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

/// The number of reads of single keys that the servers answered.
async fn answered_reads(server: &Server) -> u64 {
    let metrics = get(server.http.unwrap(), "/metrics").await;
    let name = r#"stateraft_proxy_operations_total{operation="get",outcome="answered"} "#;
    let mut lines = metrics.shown().1.lines();
    let count = lines.find_map(|line| line.strip_prefix(name));
    count.expect("a metric").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let line = "--embedded 1 --client-timeout 200ms --idle-timeout 1s";
    let server = ready(dir.path(), line).await;
    let late = "-ERR timeout: the command did not arrive in time (--client-timeout)\r\n";
    // A silent client, half a command, and half a command after a complete one.
    let mut silent = Redis::connect(&server).await;
    assert_eq!(silent.rest().await, late);
    let mut half = Redis::connect(&server).await;
    half.0.write_all(b"*2\r\n$3\r\nGET\r\n").await.unwrap();
    assert_eq!(half.rest().await, late);
    let mut half = Redis::connect(&server).await;
    half.say("PING", "+PONG\r\n").await;
    half.0.write_all(b"*1\r\n$1000\r\nx").await.unwrap();
    assert_eq!(half.rest().await, late);
    // A known client may be idle for longer, and is closed without an error.
    let mut idle = Redis::connect(&server).await;
    idle.say("PING", "+PONG\r\n").await;
    assert_eq!(idle.rest().await, "");

    // A client that receives no replies loses its connection, regardless of its command.
    let mut redis = Redis::connect(&server).await;
    redis
        .say(&format!("SET k {}", "v".repeat(200_000)), "+OK\r\n")
        .await;
    drop(redis);
    let many = format!("MGET{}", " k".repeat(1000));
    for (line, times) in [(&many[..], 1), ("GET k", 1000)] {
        let before = answered_reads(&server).await;
        let mut stalled = Redis::connect(&server).await;
        for _ in 0..times {
            stalled.send(line).await;
        }
        // Before the proxy has accepted the connection, there is no reply either.
        let replied = within(stalled.0.peek(&mut [0])).await;
        assert_eq!(replied.unwrap(), 1);
        let none = r#"stateraft_proxy_connections{frontend="redis"} 0"#;
        within(async {
            let http = server.http.unwrap();
            while !get(http, "/metrics").await.shown().1.contains(none) {}
        })
        .await;
        // The values that the client did not receive prevented the proxy from reading on.
        let reads = answered_reads(&server).await - before;
        assert!(reads < 1000, "{reads}");
    }
    server.stop().await;
}
