//! A client of a running proxy: writes a key, reads it, and handles the three outcomes of a write.
//!
//! ```text
//! raft-proxy --embedded 3 &
//! cargo run -p stateraft-client --example put_get -- 127.0.0.1:7000
//! ```

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use client::{Client, Error, KeyValue as _, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints: Vec<String> = std::env::args().skip(1).collect();
    if endpoints.is_empty() {
        return Err("usage: put_get HOST:PORT ...".into());
    }
    let client = Client::connect(Options {
        endpoints,
        ..Options::default()
    })
    .await?;
    match client.put("greeting", "hello").await {
        Ok(version) => println!("done: version {version}"),
        // The write may have been executed, once. Read the key to find out.
        Err(error @ Error::Unknown(_)) => println!("unknown: {error}"),
        // Every other error reports that nothing was done.
        Err(error) => println!("not done: {error}"),
    }
    match client.get("greeting").await? {
        Some(found) => println!("read: {}", String::from_utf8_lossy(&found.value)),
        None => println!("read: no such key"),
    }
    client.close().await;
    Ok(())
}
