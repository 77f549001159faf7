//! A server inside another program: starts it, writes a key, reads it, and stops the server.
//!
//! ```text
//! cargo run -p stateraft-node --example embed -- DIRECTORY
//! ```
//!
//! A cluster needs one such process on each machine, with the same `voters` and `peers`.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use client::{Error, KeyValue as _};
use model::{NodeId, client::NotDone};
use node::{Config, Node};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: embed DIRECTORY")?;
    let mut config = Config::new(NodeId::new(1), "example", directory);
    config.voters = [NodeId::new(1)].into();
    let node = Node::start(config).await?;

    let store = |invocation| node.execute(invocation);
    // A server that does not lead yet did nothing, so the operation can be repeated. Other errors
    // need a decision: after `Error::Unknown` the write may have been executed, or may still be.
    let version = loop {
        match store.put("greeting", "hello").await {
            Err(Error::NotDone(NotDone::NotLeader { .. })) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => break done?,
        }
    };
    println!("written: version {version}");
    if let Some(found) = store.get("greeting").await? {
        println!("read: {}", String::from_utf8_lossy(&found.value));
    }
    node.stop().await?;
    Ok(())
}
