//! A server inside another program: starts it, writes a key, reads it, and stops the server.
//!
//! ```text
//! cargo run -p stateraft-node --example embed -- DIRECTORY
//! ```
//!
//! A cluster needs one such process on each machine, with the same `voters` and `peers`.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use model::{
    NodeId,
    store::{Condition, Found, Operation, Query},
};
use node::{Config, Node, ProposeError};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: embed DIRECTORY")?;
    let mut config = Config::new(NodeId::new(1), "example", directory);
    config.voters = [NodeId::new(1)].into();
    let node = Node::start(config).await?;

    let put = Operation::Put {
        key: b"greeting".to_vec(),
        value: b"hello".to_vec().into(),
        condition: Condition::Always,
    };
    // A server that does not lead yet did nothing, so the same operation can be proposed again. Any
    // other error needs a decision: `Unknown` may have been executed.
    let answer = loop {
        match node.propose(put.clone()).await {
            Err(ProposeError::NotLeader { .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done => break done?,
        }
    };
    println!("written: {answer:?}");

    let query = Query::Get {
        key: b"greeting".to_vec(),
    };
    if let Found::Value(Some(found)) = node.read(query).await? {
        println!("read: {}", String::from_utf8_lossy(&found.value));
    }
    node.stop().await?;
    Ok(())
}
