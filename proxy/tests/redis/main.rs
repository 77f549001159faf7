//! The Redis frontend: sessions over real sockets, byte by byte.

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod connections;
#[path = "../common/silent.rs"]
mod silent;

use common::{Redis, within};
use tokio::io::AsyncReadExt;

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
