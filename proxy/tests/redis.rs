//! The Redis door: conversations over real sockets, byte by byte.

mod common;
#[path = "common/silent.rs"]
mod silent;

use common::{Redis, ready, settings, within};
use model::NodeId;
use proxy::server::Server;
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

/// The rest of a line, or, behind a length, the line after it.
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
        b"*1\r\n$4\r\nPINGxx".to_vec(),
        vec![0; 1000],
    ] {
        let mut redis = Redis::connect(&server).await;
        // The proxy may have closed before it is all sent.
        let _ = redis.0.write_all(&nonsense).await;
        let mut first = [0; 4];
        match within(redis.0.read_exact(&mut first)).await {
            Ok(_) => assert_eq!(&first, b"-ERR"),
            // What the proxy did not care to read any more may cost the reply.
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
    // What is before the nonsense is answered.
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
    redis.say("PING", refused).await;
    redis.say("GET k", refused).await;
    redis.say("NONSENSE", refused).await;
    redis
        .say("AUTH wrong", "-WRONGPASS the password is not that\r\n")
        .await;
    redis.say("AUTH default sesame", "+OK\r\n").await;
    redis.say("PING", "+PONG\r\n").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_tryagain_or_unknown() {
    let at = silent::server(NodeId::new(1)).await;
    let line = format!("--peer 1={at} --attempt-timeout 50ms --attempts 4");
    let server = Server::start(settings(&line)).await.unwrap();
    let mut redis = Redis::connect(&server).await;
    let unknown = "-UNKNOWN outcome unknown: the write may have been carried out, or may yet be, at most once; read the key to find out\r\n";
    redis.say("SET k v", unknown).await;
    redis.say("DEL k l", unknown).await;
    redis
        .say("GET k", "-TRYAGAIN no server answered in time")
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
