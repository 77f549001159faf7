//! The Redis frontend: sessions over real sockets, byte by byte.

mod common;
#[path = "common/silent.rs"]
mod silent;

use common::{Redis, get, ready, settings, within};
use model::{
    LogIndex, NodeId,
    message::{RequestBody, ResponseBody},
    store::{Answer, Query},
};
use proxy::server::Server;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn commands_mean_what_they_mean_in_redis() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    redis.say("PING", "+PONG\r\n").await;
    redis.say("ping hi", "$2\r\nhi\r\n").await;
    redis.say("ECHO hi", "$2\r\nhi\r\n").await;
    redis.say("GET k", "$-1\r\n").await;
    redis.say("SET k v XX", "$-1\r\n").await;
    redis.say("SET k v NX", "+OK\r\n").await;
    redis.say("SET k w NX", "$-1\r\n").await;
    redis.say("GET k", "$1\r\nv\r\n").await;
    redis.say("SET k 41", "+OK\r\n").await;
    redis.say("INCR k", ":42\r\n").await;
    redis.say("INCRBY k 8", ":50\r\n").await;
    redis.say("DECR k", ":49\r\n").await;
    redis.say("DECRBY k 50", ":-1\r\n").await;
    redis.say("SET t text", "+OK\r\n").await;
    redis
        .say("INCR t", "-ERR value is not an integer or out of range\r\n")
        .await;
    redis
        .say("MGET k none t", "*3\r\n$2\r\n-1\r\n$-1\r\n$4\r\ntext\r\n")
        .await;
    redis.say("EXISTS k none t k", ":3\r\n").await;
    redis.say("DEL k none t k", ":2\r\n").await;
    redis.say("EXISTS k", ":0\r\n").await;
    redis.say("SELECT 0", "+OK\r\n").await;
    redis
        .say("SELECT 1", "-ERR there is one database, 0\r\n")
        .await;
    redis.say("COMMAND DOCS", "*0\r\n").await;
    redis.say("COMMAND INFO nonsense", "*1\r\n$-1\r\n").await;
    redis.send("COMMAND INFO get").await;
    let get = "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
    redis.expect(get).await;
    redis
        .say("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n")
        .await;
    let always = "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n";
    redis.say("CONFIG GET APPENDONLY", always).await;
    redis.say("CONFIG GET maxmemory", "*0\r\n").await;
    redis.say("CLIENT SETINFO LIB-NAME x", "+OK\r\n").await;
    redis.say("CLIENT SETNAME x", "+OK\r\n").await;
    redis
        .say(
            "GET",
            "-ERR wrong number of arguments for 'get' command\r\n",
        )
        .await;
    let long = format!("SET k {}", "v".repeat(262_145));
    redis
        .say(
            &long,
            "-ERR the value is too large: it has 262145 bytes, the limit is 262144\r\n",
        )
        .await;
    redis.say("QUIT", "+OK\r\n").await;
    assert_eq!(redis.rest().await, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_at_its_quota_is_out_of_memory_and_deletes_work() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1 --state-quota 200").await;
    let mut redis = Redis::connect(&server).await;
    let value = "v".repeat(100);
    redis.say(&format!("SET a {value}"), "+OK\r\n").await;
    let full = "-OOM the state has reached its quota: delete keys, or raise --state-quota of the servers; nothing was done\r\n";
    redis.say(&format!("SET b {value}"), full).await;
    redis.say("SET a 1", "+OK\r\n").await;
    redis.say("INCR a", ":2\r\n").await;
    redis.say(&format!("SET b {value}"), "+OK\r\n").await;
    redis.say("INCR c", full).await;
    redis.say("DEL b", ":1\r\n").await;
    redis.say("INCR c", ":1\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_commands_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    for _ in 0..50 {
        for line in [
            "SET k 1", "INCR k", "GET k", "SET l 5", "INCR k", "MGET k l", "DEL k l", "GET k",
        ] {
            redis.send(line).await;
        }
    }
    for _ in 0..50 {
        redis
            .expect(
                "+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n:3\r\n*2\r\n$1\r\n3\r\n$1\r\n5\r\n:2\r\n$-1\r\n",
            )
            .await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scan_goes_through_all_keys() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    for n in 0..5 {
        redis.say(&format!("SET a:{n} v"), "+OK\r\n").await;
    }
    redis.say("SET b v", "+OK\r\n").await;
    redis
        .say("SCAN 0 MATCH b", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n")
        .await;
    redis
        .say("SCAN 0 MATCH c*", "*2\r\n$1\r\n0\r\n*0\r\n")
        .await;
    redis
        .say(
            "SCAN 7",
            "-ERR the cursor is not known any more: start again from 0\r\n",
        )
        .await;
    let mut cursor = "0".to_owned();
    let mut keys = Vec::new();
    loop {
        redis
            .send(&format!("SCAN {cursor} MATCH a:* COUNT 2"))
            .await;
        redis.expect("*2\r\n$").await;
        cursor = line(&mut redis, true).await;
        redis.expect("*").await;
        let count: usize = line(&mut redis, false).await.parse().unwrap();
        for _ in 0..count {
            redis.expect("$").await;
            keys.push(line(&mut redis, true).await);
        }
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(keys, ["a:0", "a:1", "a:2", "a:3", "a:4"]);
    server.stop().await;
}

/// The rest of a line, or, after a length, the next line.
async fn line(redis: &mut Redis, skip_length: bool) -> String {
    let mut lines = Vec::new();
    let wanted = if skip_length { 2 } else { 1 };
    while lines.iter().filter(|byte| **byte == b'\n').count() < wanted {
        lines.push(within(redis.0.read_u8()).await.unwrap());
    }
    let text = String::from_utf8(lines).unwrap();
    text.lines().last().unwrap().to_owned()
}

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
async fn silence_is_tryagain_or_unknown() {
    let at = silent::server(NodeId::new(1)).await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let mut redis = Redis::connect(&server).await;
    let unknown = "-UNKNOWN the outcome is unknown: no leader confirmed the write in time, and it may have been carried out, or may yet be, at most once; read the key to find out\r\n";
    redis.say("SET k v", unknown).await;
    redis.say("DEL k l", unknown).await;
    redis
        .say("GET k", "-TRYAGAIN no leader answered in time")
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_tryagain() {
    let at = silent::responding(NodeId::new(1), |_| Some(ResponseBody::Overloaded)).await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let mut redis = Redis::connect(&server).await;
    redis
        .say("GET k", "-TRYAGAIN the cluster is overloaded")
        .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn replies_have_the_types_of_resp3() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    redis.send("HELLO").await;
    redis.expect("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n").await;
    while self::line(&mut redis, false).await != "modules" {}
    redis.expect("*0\r\n").await;
    redis.send("HELLO 3").await;
    redis.expect("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:").await;
    let id = line(&mut redis, false).await;
    redis.expect("$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n").await;
    redis.say("CLIENT ID", &format!(":{id}\r\n")).await;
    redis.say("CLIENT GETNAME", "_\r\n").await;
    redis.say("GET k", "_\r\n").await;
    redis.say("SET k v XX", "_\r\n").await;
    redis.say("SET k v", "+OK\r\n").await;
    redis.say("MGET k none", "*2\r\n$1\r\nv\r\n_\r\n").await;
    redis.say("EXISTS k none", ":1\r\n").await;
    redis.say("INCR n", ":1\r\n").await;
    redis.say("DEL n", ":1\r\n").await;
    redis
        .say("SCAN 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n")
        .await;
    redis
        .say("CONFIG GET save", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n")
        .await;
    redis.say("CONFIG GET nonsense", "%0\r\n").await;
    redis.say("COMMAND DOCS get", "%0\r\n").await;
    redis.send("COMMAND INFO get").await;
    redis
        .expect("*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n")
        .await;
    redis
        .expect("+fast\r\n:1\r\n:1\r\n:1\r\n~0\r\n*0\r\n*0\r\n*0\r\n")
        .await;
    redis.send("INFO server").await;
    redis.expect("=").await;
    let length: usize = line(&mut redis, false).await.parse().unwrap();
    let mut info = vec![0; length + 2];
    within(redis.0.read_exact(&mut info)).await.unwrap();
    let info = String::from_utf8(info).unwrap();
    assert!(
        info.starts_with("txt:# Server\r\nredis_version:7.0.0\r\n"),
        "{info}"
    );
    assert!(!info.contains("# Clients"), "{info}");
    // A pipeline that changes the protocol: each reply uses the protocol of its command.
    for line in [
        "GET none",
        "HELLO 2 SETNAME x",
        "GET none",
        "CLIENT GETNAME",
    ] {
        redis.send(line).await;
    }
    redis.expect("_\r\n*14\r\n").await;
    while self::line(&mut redis, false).await != "modules" {}
    redis.expect("*0\r\n$-1\r\n$1\r\nx\r\n").await;
    for (line, refusal) in [
        ("HELLO 1", "NOPROTO unsupported protocol version"),
        (
            "HELLO three",
            "ERR Protocol version is not an integer or out of range",
        ),
        (
            "HELLO 3 AUTH default",
            "ERR Syntax error in HELLO option 'AUTH'",
        ),
        (
            "HELLO 3 NONSENSE",
            "ERR Syntax error in HELLO option 'NONSENSE'",
        ),
    ] {
        redis.say(line, &format!("-{refusal}\r\n")).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_refused_transaction_is_executed() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    let refused =
        "-ERR MULTI is not served: commands are refused, not executed, until EXEC or DISCARD\r\n";
    let skipped =
        "-ERR not executed: MULTI was refused; send EXEC or DISCARD to end the transaction\r\n";
    let abort = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    redis.say("SET a old", "+OK\r\n").await;
    // The way clients send it: in one pipeline.
    for line in [
        "MULTI",
        "SET a new",
        "DEL a",
        "INCR n",
        "NONSENSE",
        "MULTI",
        "WATCH a",
        "HELLO 3",
        "EXEC",
        "GET a",
    ] {
        redis.send(line).await;
    }
    redis.expect(refused).await;
    for _ in 0..7 {
        redis.expect(skipped).await;
    }
    redis.expect(abort).await;
    redis.expect("$3\r\nold\r\n").await;
    redis.say("EXISTS n", ":0\r\n").await;
    // The transaction is abandoned.
    redis.say("MULTI", refused).await;
    redis.say("SET a new", skipped).await;
    redis.say("DISCARD", "+OK\r\n").await;
    redis.say("GET a", "$3\r\nold\r\n").await;
    redis.say("MULTI", refused).await;
    redis.say("RESET", "+RESET\r\n").await;
    redis.say("GET a", "$3\r\nold\r\n").await;
    redis.say("EXEC", "-ERR EXEC without MULTI\r\n").await;
    redis.say("DISCARD", "-ERR DISCARD without MULTI\r\n").await;
    redis
        .say("WATCH a", "-ERR WATCH is not served, as MULTI is not\r\n")
        .await;
    redis.say("UNWATCH", "+OK\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_integers_of_redis_are_incremented() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    let refused = "-ERR value is not an integer or out of range\r\n";
    for text in [
        "007",
        "+5",
        "-0",
        "1.0",
        "1e3",
        "0x1",
        "",
        "9223372036854775808",
        "\u{661}",
    ] {
        redis.say(&format!("SET n {text}"), "+OK\r\n").await;
        redis.say("INCR n", refused).await;
        redis
            .say("GET n", &format!("${}\r\n{text}\r\n", text.len()))
            .await;
        redis.say(&format!("INCRBY m {text}"), refused).await;
    }
    let overflow = "-ERR increment or decrement would overflow\r\n";
    redis.say("SET n 9223372036854775807", "+OK\r\n").await;
    redis.say("INCR n", overflow).await;
    redis.say("SET n -9223372036854775808", "+OK\r\n").await;
    redis.say("DECR n", overflow).await;
    redis.say("INCRBY n 9223372036854775807", ":-1\r\n").await;
    redis.say("EXISTS m", ":0\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_arguments_are_served_or_refused_and_the_connection_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    redis.say("SET k v", "+OK\r\n").await;
    redis.send(&format!("MGET{}", " k none".repeat(1024))).await;
    let both = "$1\r\nv\r\n$-1\r\n".repeat(1024);
    redis.expect(&format!("*2048\r\n{both}")).await;
    redis
        .say(&format!("EXISTS{}", " k none".repeat(1024)), ":1024\r\n")
        .await;
    redis
        .say(&format!("DEL{}", " none".repeat(1024)), ":0\r\n")
        .await;
    redis.send(&format!("MGET{}", " k".repeat(65_536))).await;
    redis
        .expect("-ERR too many arguments: 65537, the limit is 65536\r\n")
        .await;
    redis.send(&format!("SET k {}", "v".repeat(3 << 20))).await;
    redis
        .expect("-ERR the command is longer than 1048576 bytes\r\n")
        .await;
    redis.say("GET k", "$1\r\nv\r\n").await;
    // In the middle of a pipeline.
    for line in [
        "SET a 1",
        &format!("ECHO {}", "x".repeat(2 << 20)),
        "INCR a",
    ] {
        redis.send(line).await;
    }
    redis
        .expect("+OK\r\n-ERR the command is longer than 1048576 bytes\r\n:2\r\n")
        .await;
    // Larger than a single send.
    let large = "v".repeat(200_000);
    redis.say(&format!("SET k {large}"), "+OK\r\n").await;
    redis.send(&format!("MGET{}", " k".repeat(40))).await;
    redis
        .expect(&format!(
            "*40\r\n{}",
            format!("$200000\r\n{large}\r\n").repeat(40)
        ))
        .await;
    redis.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

/// A key that exceeds the limits is found before any other key of its command is read or deleted.
#[tokio::test(flavor = "multi_thread")]
async fn command_with_an_invalid_key_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let mut redis = Redis::connect(&server).await;
    let long = "k".repeat(1025);
    let empty = "-ERR the key is empty: give at least one byte\r\n";
    let too_large = "-ERR the key is too large: it has 1025 bytes, the limit is 1024\r\n";
    redis.say("SET a 1", "+OK\r\n").await;
    redis.say("SET b 2", "+OK\r\n").await;
    for command in ["DEL", "UNLINK", "EXISTS", "MGET"] {
        // The second space creates an empty key.
        redis.say(&format!("{command} a  b"), empty).await;
        redis.say(&format!("{command} a b {long}"), too_large).await;
    }
    redis.say("EXISTS a b", ":2\r\n").await;
    // After more values than are buffered before the first send.
    let large = "v".repeat(200_000);
    redis.say(&format!("SET k {large}"), "+OK\r\n").await;
    redis.say(&format!("MGET{} ", " k".repeat(40)), empty).await;
    redis.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

/// If a failure prevents the deletion of some keys, the reply must not claim that nothing was
/// executed.
#[tokio::test(flavor = "multi_thread")]
async fn failure_after_some_keys_were_removed_is_unknown() {
    let at = silent::responding(NodeId::new(1), |body| {
        let RequestBody::Write { operation, .. } = body else {
            return None;
        };
        Some(ResponseBody::Applied(match operation.key() {
            b"full" => Answer::QuotaExceeded,
            _ => Answer::Written {
                version: LogIndex::new(1),
            },
        }))
    })
    .await;
    let server = Server::start(settings(&format!("--peer 1={at}")))
        .await
        .unwrap();
    let mut redis = Redis::connect(&server).await;
    let quota =
        "the state has reached its quota: delete keys, or raise --state-quota of the servers";
    let unknown = format!(
        "-UNKNOWN the outcome is unknown: 2 of the keys were removed, for others {quota}\r\n"
    );
    redis.say("DEL a full b", &unknown).await;
    redis
        .say("DEL full", &format!("-OOM {quota}; nothing was done\r\n"))
        .await;
    server.stop().await;
}

/// Regardless of the number of keys in a command, at most 16 values are in memory at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_read_a_few_at_a_time() {
    let keys = Arc::new(Mutex::new(BTreeSet::new()));
    let read = Arc::clone(&keys);
    // No read succeeds, so none makes room for another one.
    let at = silent::responding(NodeId::new(1), move |body| {
        if let RequestBody::Read {
            query: Query::Get { key },
        } = body
        {
            read.lock().unwrap().insert(key.clone());
        }
        None
    })
    .await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let many: String = (0..100).map(|number| format!(" k{number}")).collect();
    for command in ["MGET", "EXISTS"] {
        let mut redis = Redis::connect(&server).await;
        redis
            .say(
                &format!("{command}{many}"),
                "-TRYAGAIN no leader answered in time",
            )
            .await;
        let read = std::mem::take(&mut *keys.lock().unwrap()).len();
        assert!((1..=16).contains(&read), "{command}: {read}");
    }
    server.stop().await;
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
    // The proxy accepts them now, and their commands are in flight.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
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
async fn strangers_that_take_no_replies_lock_nobody_out() {
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
    // If the strangers had kept their connections, all would be in use. In the end known clients have
    // all connections.
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
