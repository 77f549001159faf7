//! Commands and their replies.

use crate::{
    common::{Redis, ready, settings, within},
    line, silent,
};
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
use tokio::io::AsyncReadExt;

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
    let full = "-OOM nothing was done: the state has reached its quota. Delete keys, or raise --state-quota of the servers\r\n";
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
        .say("SCAN 7", "-ERR unknown cursor: start again from 0\r\n")
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

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_tryagain_or_unknown() {
    let at = silent::server(NodeId::new(1)).await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let mut redis = Redis::connect(&server).await;
    let unknown = "-UNKNOWN the outcome is unknown: no leader confirmed the write in time; it may have taken effect, or may yet, at most once. Read the key to find out\r\n";
    redis.say("SET k v", unknown).await;
    redis.say("DEL k l", unknown).await;
    redis
        .say(
            "GET k",
            "-TRYAGAIN nothing was done: no leader answered in time",
        )
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
        .say(
            "GET k",
            "-TRYAGAIN nothing was done: the cluster is overloaded",
        )
        .await;
    server.stop().await;
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
    let quota = "nothing was done: the state has reached its quota. Delete keys, or raise --state-quota of the servers";
    let unknown = format!(
        "-UNKNOWN the outcome is unknown: 2 of the keys were removed, for others {quota}\r\n"
    );
    redis.say("DEL a full b", &unknown).await;
    redis.say("DEL full", &format!("-OOM {quota}\r\n")).await;
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
                "-TRYAGAIN nothing was done: no leader answered in time",
            )
            .await;
        let read = std::mem::take(&mut *keys.lock().unwrap()).len();
        assert!((1..=16).contains(&read), "{command}: {read}");
    }
    server.stop().await;
}
