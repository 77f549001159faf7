use super::*;
use clap::Parser;
use std::{
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// The settings of a proxy with three embedded servers, on fixed ports of this address.
fn settings(address: IpAddr, data_dir: &Path) -> Settings {
    let line = format!(
        "raft-proxy --embedded 3 --listen {address}:7000 --http {address}:8080 --redis \
         {address}:6379"
    );
    let mut settings = Line::try_parse_from(line.split(' ')).unwrap().settings;
    settings.data_dir = data_dir.to_owned();
    settings
}

/// An address of the loopback interface that no other test process uses.
fn loopback_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, a | 0x80, b, c).into()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(60), future).await;
    result.expect("not within a minute")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_stage_stops_what_the_stages_before_it_started() {
    let (address, dir) = (loopback_address(), tempfile::tempdir().unwrap());
    // A file in place of the directory: server 3 cannot start, after servers 1 and 2 have started.
    let obstacle = dir.path().join("node-3");
    std::fs::write(&obstacle, "").unwrap();
    let failed = Server::start(settings(address, dir.path())).await;
    let error = failed.err().expect("server 3 has no directory");
    assert!(format!("{error:#}").contains("server 3"), "{error:#}");
    // The listeners are closed now, and the UDP socket as soon as its tasks have ended.
    for port in [8080, 6379] {
        TcpListener::bind((address, port)).unwrap();
    }
    within(async {
        while UdpSocket::bind((address, 7000)).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Servers 1 and 2 have released their directories, which only one process may use.
    std::fs::remove_file(&obstacle).unwrap();
    let server = Server::start(settings(address, dir.path())).await.unwrap();
    within(server.stop()).await;
}
