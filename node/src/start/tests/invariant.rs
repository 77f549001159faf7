//! A broken invariant stops the server.

use super::*;
use model::NodeId;
use std::{os::unix::fs::PermissionsExt as _, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DEADLINE: Duration = Duration::from_secs(60);

async fn livez(at: SocketAddr) -> String {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn broken_invariant_stops_the_server_and_leaves_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(NodeId::new(1), "test", dir.path());
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.http = Some("127.0.0.1:0".parse().unwrap());
    let node = Node::start(config).await.unwrap();
    let http = node.http_addr().unwrap();
    let committed = async {
        while node
            .status()
            .await
            .is_none_or(|status| status.commit_index == 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, committed).await.unwrap();
    node.command(DriverCommand::LoseMemory).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, node.ended()).await;
    let failure = ended.unwrap().unwrap_err();
    assert!(
        matches!(*failure, Failure::InvariantViolated { .. }),
        "{failure}"
    );
    let names = std::fs::read_dir(dir.path()).unwrap();
    let report = names
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("violated-invariant-")
        })
        .unwrap();
    let mode = report.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a report holds keys and values");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["server"]["current_term"], 0);
    assert!(report["invariant"].is_string(), "{report}");
    let answer = livez(http).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}
